"""Attention with rotary positions forward and back; the twin of :mod:`borzoi_export.graphs.rotary`.

As in :mod:`borzoi_export.graphs.gradient_attention`, without classes of distance: a position turns queries and keys,
and the way back turns by the opposite angle. Heads that share keys and values add their derivatives up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..models.rotary import RotaryAttention
from .attention import QUERY_CHUNK
from .builder import GraphBuilder
from .gradient_attention import mixture_back
from .gradient_layers import Back, dense, product, take
from .layers import array
from .spans import Span

_EXCHANGED = [0, 1, 3, 2]


class RotaryGradient:
    """Writes the attention of every block of one network, both ways, into one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph

    def write(self, x: str, attention: RotaryAttention, name: str, span: Span) -> tuple[str, Back]:
        """Attend from the queries in ``span`` to all tokens."""
        graph, size = self.graph, attention.size
        ends = np.cumsum([0, attention.heads, attention.key_heads, attention.key_heads]) * size
        rows = [slice(int(start), int(end)) for start, end in pairwise(ends)]
        asking, untake = take(graph, x, span)
        whole = Span(0, attention.tokens, attention.tokens)
        query, from_query = self._projected(asking, attention, f"{name}.query", rows[0], span, size**-0.5)
        key, from_key = self._projected(x, attention, f"{name}.key", rows[1], whole)
        value, from_value = self._projected(x, attention, f"{name}.value", rows[2], None)
        group = attention.heads // attention.key_heads
        written = []
        for head in range(attention.heads):
            own, shared = head, head // group
            written.append(
                self._forth(
                    graph.slice(query, 1, own, own + 1),
                    graph.node("Transpose", graph.slice(key, 1, shared, shared + 1), perm=_EXCHANGED),
                    graph.slice(value, 1, shared, shared + 1),
                    span,
                )
            )
        mixed = graph.concat([graph.concat([chunk[3] for chunk in head[3]], 2) for head in written], 1)
        joined = graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)
        y, from_out = dense(graph, joined, attention.out, f"{name}.out")

        def back(g: str) -> str:
            by_head = graph.reshape(from_out(g), 0, 0, attention.heads, size)
            by_head = graph.node("Transpose", by_head, perm=[0, 2, 1, 3])
            found = [
                self._back(head, graph.slice(by_head, 1, number, number + 1)) for number, head in enumerate(written)
            ]
            to_query = graph.concat([part[0] for part in found], 1)
            to_key, to_value = (
                graph.concat([self._sum([found[n][kind] for n in range(first, first + group)]) for first in firsts], 1)
                for kind, firsts in ((1, range(0, attention.heads, group)), (2, range(0, attention.heads, group)))
            )
            total = untake(from_query(to_query))
            for part, onwards in ((to_key, from_key), (to_value, from_value)):
                total = graph.node("Add", total, onwards(graph.node("Transpose", part, perm=_EXCHANGED)))
            return total

        return y, back

    def _projected(
        self, x: str, attention: RotaryAttention, name: str, rows: slice, span: Span | None, scale: float = 1.0
    ) -> tuple[str, Back]:
        """Return (batch, heads, positions, size) of some rows of the projection, turned by the positions of a span."""
        graph, size = self.graph, attention.size
        matrix = (array(attention.qkv.weight)[rows].astype(np.float64) * scale).T.astype(np.float32)
        y, from_product = product(graph, x, matrix, attention.qkv.bias[rows] * scale, name)
        y = graph.reshape(y, 0, 0, -1, size)
        factors = None if span is None else self._table(attention, span)
        if factors is not None:
            cosine, sine = factors
            exchanged = graph.node("Mul", self._halves(y, attention), sine)
            y = graph.node("Add", graph.node("Mul", y, cosine), exchanged)

        def back(g: str) -> str:
            g = graph.node("Transpose", g, perm=[0, 2, 1, 3])
            if factors is not None:
                cosine, sine = factors
                turned = self._halves(graph.node("Mul", g, sine), attention)
                g = graph.node("Add", graph.node("Mul", g, cosine), turned)
            return from_product(graph.reshape(g, 0, 0, -1))

        return graph.node("Transpose", y, perm=[0, 2, 1, 3]), back

    def _halves(self, x: str, attention: RotaryAttention) -> str:
        """Exchange the halves of the rotated channels of (batch, positions, heads, size)."""
        graph, half = self.graph, attention.rotary_size // 2
        parts = [graph.slice(x, 3, half, 2 * half), graph.slice(x, 3, 0, half)]
        if 2 * half < attention.size:
            parts.append(graph.slice(x, 3, 2 * half, attention.size))
        return graph.concat(parts, 3)

    def _table(self, attention: RotaryAttention, span: Span) -> tuple[str, str]:
        """Return the two factors of the positions in a span, (1, span, 1, size)."""
        cosine, sine = array(attention.cosine), array(attention.sine)
        rest = np.zeros((attention.tokens, attention.size - attention.rotary_size), dtype=np.float32)
        first = np.concatenate([cosine, cosine, rest + 1], axis=1)[None, :, None]
        second = np.concatenate([-sine, sine, rest], axis=1)[None, :, None]
        names = (self.graph.weight("rotary_cosine", first), self.graph.weight("rotary_sine", second))
        return take(self.graph, names[0], span)[0], take(self.graph, names[1], span)[0]

    def _forth(
        self, query: str, key: str, value: str, span: Span
    ) -> tuple[str, str, str, list[tuple[int, int, str, str]]]:
        graph, chunks = self.graph, []
        for start in range(0, span.size, QUERY_CHUNK):
            end = min(start + QUERY_CHUNK, span.size)
            logits = graph.node("MatMul", graph.slice(query, 2, start, end), key)
            shares = graph.node("Softmax", logits, axis=-1)
            chunks.append((start, end, shares, graph.node("MatMul", shares, value)))
        return query, key, value, chunks

    def _back(self, head: tuple[str, str, str, list[tuple[int, int, str, str]]], g: str) -> tuple[str, str, str]:
        """Return the derivatives by queries, and by keys and values (.., size, tokens), of one head."""
        graph = self.graph
        query, key, value, chunks = head
        value, key = (graph.node("Transpose", part, perm=_EXCHANGED) for part in (value, key))
        to_query, to_key, to_value = [], [], []
        for start, end, shares, output in chunks:
            own = graph.slice(g, 2, start, end)
            logits = mixture_back(graph, own, output, shares, value)
            to_query.append(graph.node("MatMul", logits, key))
            asking = graph.node("Transpose", graph.slice(query, 2, start, end), perm=_EXCHANGED)
            to_key.append(graph.node("MatMul", asking, logits))
            to_value.append(graph.node("MatMul", graph.node("Transpose", own, perm=_EXCHANGED), shares))
        return graph.concat(to_query, 2), self._sum(to_key), self._sum(to_value)

    def _sum(self, parts: Sequence[str]) -> str:
        total = parts[0]
        for part in parts[1:]:
            total = self.graph.node("Add", total, part)
        return total
