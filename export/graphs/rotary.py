"""Attention with rotary positions as ONNX nodes, for a CPU and for a GPU.

Positions enter before the product of queries and keys: each is ``x * c + y * s`` with two tables by token, where ``y``
has the halves of the rotated channels exchanged. Queries that move take the rows of their tokens from the tables.

On a CPU a head and some hundred queries are done at a time, as in :mod:`borzoi_export.graphs.attention`; on a GPU all
at once. Query heads that share keys and values read the same ones: nothing is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..models.rotary import RotaryAttention
from .attention import QUERY_CHUNK
from .builder import GraphBuilder
from .layers import array, dense, take
from .spans import Span


def projections(attention: RotaryAttention) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield query, key and value: a name, and float32 matrix (channels, outputs) and bias of its part of ``qkv``.

    The scale of the logits goes into the queries: turning keeps it.
    """
    size = attention.size
    ends = np.cumsum([attention.heads, attention.key_heads, attention.key_heads]) * size
    parts = (np.split(array(tensor).astype(np.float64), ends[:-1]) for tensor in attention.qkv.parameters())
    for name, weight, bias in zip(("query", "key", "value"), *parts, strict=True):
        scale = size**-0.5 if name == "query" else 1.0
        yield name, (weight.T * scale).astype(np.float32), (bias * scale).astype(np.float32)


class Turning:
    """Turns queries and keys of every block of one network by position, in one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        self._factors: dict[tuple[int, int, str | None], tuple[str, str]] = {}

    def write(self, x: str, attention: RotaryAttention, span: Span) -> str:
        """Turn (batch, span, heads, size)."""
        cosine, sine = self.factors(attention, span)
        exchanged = self.graph.node("Mul", self.exchanged(x, attention), sine)
        return self.graph.node("Add", self.graph.node("Mul", x, cosine), exchanged)

    def exchanged(self, x: str, attention: RotaryAttention) -> str:
        """Exchange the halves of the rotated channels."""
        graph, half = self.graph, attention.rotary_size // 2
        parts = [graph.slice(x, 3, half, 2 * half), graph.slice(x, 3, 0, half)]
        if 2 * half < attention.size:
            parts.append(graph.slice(x, 3, 2 * half, attention.size))
        return graph.concat(parts, 3)

    def factors(self, attention: RotaryAttention, span: Span) -> tuple[str, str]:
        """Return the two factors of the positions in ``span``, (1, span, 1, size); what is not turned has 1 and 0."""
        where = (span.start, span.end, span.origin)
        if where not in self._factors:
            cosine, sine = array(attention.cosine), array(attention.sine)
            rest = np.zeros((attention.tokens, attention.size - attention.rotary_size), dtype=np.float32)
            tables = {
                "rotary_cosine": np.concatenate([cosine, cosine, rest + 1], axis=1),
                "rotary_sine": np.concatenate([-sine, sine, rest], axis=1),
            }
            names = [self.graph.weight(name, values[None, :, None]) for name, values in tables.items()]
            first, second = (take(self.graph, name, span) for name in names)
            self._factors[where] = (first, second)
        return self._factors[where]


class RotaryWriter:
    """Writes the attention of every block of one network into one graph.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    batched : bool
        All heads and queries of a block in one product, instead of some queries of one head.
    """

    def __init__(self, graph: GraphBuilder, *, batched: bool) -> None:
        self.graph = graph
        self.batched = batched
        self._turning = Turning(graph)

    def write(self, x: str, attention: RotaryAttention, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""
        graph, parts = self.graph, []
        for part, matrix, bias in projections(attention):
            read = take(graph, x, span) if part == "query" else x
            label = f"{name}.{part}"
            y = graph.node("MatMul", read, graph.weight(f"{label}.weight", matrix), label=label)
            y = graph.node("Add", y, graph.weight(f"{label}.bias", bias))
            parts.append(graph.reshape(y, 0, 0, -1, attention.size))
        query, key, value = parts
        query = self._turning.write(query, attention, span)
        key = self._turning.write(key, attention, Span(0, attention.tokens, attention.tokens))
        query, value = (graph.node("Transpose", x, perm=[0, 2, 1, 3]) for x in (query, value))
        key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
        mix = self._batched if self.batched else self._by_head
        mixed = mix(query, key, value, attention, span)  # (batch, heads, span, size)
        joined = graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)
        return dense(graph, joined, attention.out, f"{name}.out")

    def _by_head(self, query: str, key: str, value: str, attention: RotaryAttention, span: Span) -> str:
        graph, group, mixed = self.graph, attention.heads // attention.key_heads, []
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
        return graph.concat(mixed, 1)

    def _batched(self, query: str, key: str, value: str, attention: RotaryAttention, span: Span) -> str:
        graph, rows = self.graph, attention.heads // attention.key_heads * span.size
        query = graph.reshape(query, 0, attention.key_heads, rows, attention.size)  # heads of a group one below another
        shares = graph.node("Softmax", graph.node("MatMul", query, key), axis=-1)
        mixed = graph.node("MatMul", shares, value)
        return graph.reshape(mixed, 0, attention.heads, span.size, attention.size)
