"""Attention with rotary positions as ONNX nodes, for a CPU and for a GPU.

Positions enter before the product of queries and keys: each is ``x * c + y * s`` with two tables by token, where ``y``
has the halves of the rotated channels exchanged. Queries that move take the rows of their tokens from the tables.

On a CPU a head and some hundred queries are done at a time, as in :mod:`borzoi_export.graphs.attention`, and query
heads that share keys and values read the same ones. On a GPU it is one ``com.microsoft.MultiHeadAttention``, without
the additive bias that relative positions need, on keys and values repeated for every query head.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..models.rotary import RotaryAttention
from .attention import QUERY_CHUNK
from .builder import MICROSOFT, GraphBuilder
from .layers import array, dense, take
from .spans import Span


class RotaryWriter:
    """Writes the attention of every block of one network into one graph.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    fused : bool
        One ``com.microsoft.MultiHeadAttention`` a block, instead of products and softmax by head.
    """

    def __init__(self, graph: GraphBuilder, *, fused: bool) -> None:
        self.graph = graph
        self.fused = fused
        self._tables: dict[tuple[int, int, str | None], tuple[str, str]] = {}

    def write(self, x: str, attention: RotaryAttention, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""
        heads, shared, size = attention.heads, attention.key_heads, attention.size
        ends = np.cumsum([0, heads, shared, shared]) * size  # rows of queries, keys, values
        rows = [slice(start, end) for start, end in pairwise(ends)]
        # The scale goes into the projection, with its bias: turning keeps it.
        query = self._projected(take(self.graph, x, span), attention, f"{name}.query", rows[0], size**-0.5)
        key = self._projected(x, attention, f"{name}.key", rows[1])
        value = self._projected(x, attention, f"{name}.value", rows[2])
        whole = Span(0, attention.tokens, attention.tokens)
        query, key = self._turned(query, attention, span), self._turned(key, attention, whole)
        mix = self._fused if self.fused else self._by_head
        return dense(self.graph, mix(query, key, value, attention, span), attention.out, f"{name}.out")

    def _projected(self, x: str, attention: RotaryAttention, name: str, rows: slice, scale: float = 1.0) -> str:
        """Return (batch, positions, heads, size) of some rows of the projection, times ``scale``."""
        graph, qkv = self.graph, attention.qkv
        parts = ((part, array(tensor)[rows].astype(np.float64) * scale) for part, tensor in qkv.named_parameters())
        weight, bias = (graph.weight(f"{name}.{part}", values.T.astype(np.float32)) for part, values in parts)
        x = graph.node("Add", graph.node("MatMul", x, weight, label=name), bias)
        return graph.reshape(x, 0, 0, -1, attention.size)

    def _turned(self, x: str, attention: RotaryAttention, span: Span) -> str:
        """Turn (batch, span, heads, size) by position."""
        graph, half = self.graph, attention.rotary_size // 2
        cosine, sine = self._table(attention, span)
        parts = [graph.slice(x, 3, half, 2 * half), graph.slice(x, 3, 0, half)]
        if 2 * half < attention.size:
            parts.append(graph.slice(x, 3, 2 * half, attention.size))
        exchanged = graph.node("Mul", graph.concat(parts, 3), sine)
        return graph.node("Add", graph.node("Mul", x, cosine), exchanged)

    def _table(self, attention: RotaryAttention, span: Span) -> tuple[str, str]:
        """Return the two factors of the positions in ``span``, (1, span, 1, size); what is not turned has 1 and 0."""
        where = (span.start, span.end, span.origin)
        if where not in self._tables:
            cosine, sine = array(attention.cosine), array(attention.sine)
            rest = np.zeros((attention.tokens, attention.size - attention.rotary_size), dtype=np.float32)
            factors = {
                "rotary_cosine": np.concatenate([cosine, cosine, rest + 1], axis=1),
                "rotary_sine": np.concatenate([-sine, sine, rest], axis=1),
            }
            names = (self.graph.weight(name, values[None, :, None]) for name, values in factors.items())
            first, second = (take(self.graph, name, span) for name in names)
            self._tables[where] = (first, second)
        return self._tables[where]

    def _by_head(self, query: str, key: str, value: str, attention: RotaryAttention, span: Span) -> str:
        graph = self.graph
        query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
        key, value = (graph.node("Transpose", x, perm=perm) for x, perm in ((key, [0, 2, 3, 1]), (value, [0, 2, 1, 3])))
        group = attention.heads // attention.key_heads
        mixed = []
        for shared in range(attention.key_heads):
            keys, values = (graph.slice(x, 1, shared, shared + 1) for x in (key, value))
            for head in range(shared * group, (shared + 1) * group):
                queries = graph.slice(query, 1, head, head + 1)
                chunks = []
                for start in range(0, span.size, QUERY_CHUNK):
                    some = graph.slice(queries, 2, start, min(start + QUERY_CHUNK, span.size))
                    shares = graph.node("Softmax", graph.node("MatMul", some, keys), axis=-1)
                    chunks.append(graph.node("MatMul", shares, values))
                mixed.append(graph.concat(chunks, 2))
        joined = graph.node("Transpose", graph.concat(mixed, 1), perm=[0, 2, 1, 3])
        return graph.reshape(joined, 0, 0, -1)

    def _fused(self, query: str, key: str, value: str, attention: RotaryAttention, span: Span) -> str:
        graph, group = self.graph, attention.heads // attention.key_heads
        repeated = (
            graph.concat([graph.node("Unsqueeze", x, graph.integers(3))] * group, 3) for x in (key, value)
        )  # (batch, tokens, shared, group, size): the query heads of a group stand side by side
        inputs = [graph.reshape(x, 0, 0, attention.heads * attention.size) for x in (query, *repeated)]
        return graph.node("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=attention.heads, scale=1.0)
