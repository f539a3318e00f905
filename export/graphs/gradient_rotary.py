"""Attention with rotary positions forward and back, as :mod:`borzoi_export.graphs.gradient_attention` without classes.

A turn by ``x * c + exchanged(x) * s`` has the way back ``g * c + exchanged(g * s)``. Keys and values that query heads
share get the sum of their derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..models.rotary import RotaryAttention
from .attention import QUERY_CHUNK
from .builder import GraphBuilder
from .gradient_layers import Back, dense, product, take
from .rotary import Turning, projections
from .spans import Span


@dataclass(frozen=True)
class _Head:
    """One query head: its number, that of its keys, and of each chunk ends, queries, shares and outputs."""

    number: int
    shared: int
    chunks: list[tuple[int, int, str, str, str]]


class RotaryGradient:
    """Writes the attention of every block of one network, both ways, into one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        self._turning = Turning(graph)

    def write(self, x: str, attention: RotaryAttention, name: str, span: Span) -> tuple[str, Back]:
        """Attend from the queries in ``span`` to all tokens."""
        graph, whole = self.graph, Span(0, attention.tokens, attention.tokens)
        asking, untake = take(graph, x, span)
        parts, backs = {}, {}
        for part, matrix, bias in projections(attention):
            read = asking if part == "query" else x
            y, backs[part] = product(graph, read, matrix, torch.from_numpy(bias), f"{name}.{part}")
            parts[part] = graph.reshape(y, 0, 0, -1, attention.size)
        query = self._turning.write(parts["query"], attention, span)
        key = self._turning.write(parts["key"], attention, whole)
        query, key, value = (graph.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, key, parts["value"]))
        heads = [self._forth(number, (query, key, value), attention, span) for number in range(attention.heads)]
        mixed = graph.concat([graph.concat([chunk[-1] for chunk in head.chunks], 2) for head in heads], 1)
        joined = graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)
        y, from_out = dense(graph, joined, attention.out, f"{name}.out")

        def back(g: str) -> str:
            by_head = graph.node("Transpose", graph.reshape(from_out(g), 0, 0, -1, attention.size), perm=[0, 2, 1, 3])
            to_query, to_key, to_value = self._back(heads, by_head, key, value)
            to_query = self._unturned(to_query, attention, span)
            to_key = self._unturned(to_key, attention, whole)
            to_value = graph.node("Transpose", to_value, perm=[0, 2, 1, 3])
            joined = [graph.reshape(part, 0, 0, -1) for part in (to_query, to_key, to_value)]
            total = untake(backs["query"](joined[0]))
            total = graph.node("Add", total, backs["key"](joined[1]))
            return graph.node("Add", total, backs["value"](joined[2]))

        return y, back

    def _forth(self, number: int, parts: tuple[str, str, str], attention: RotaryAttention, span: Span) -> _Head:
        graph = self.graph
        shared = number // (attention.heads // attention.key_heads)
        query = graph.slice(parts[0], 1, number, number + 1)
        key, value = (graph.slice(part, 1, shared, shared + 1) for part in parts[1:])
        turned, chunks = graph.node("Transpose", key, perm=[0, 1, 3, 2]), []
        for start in range(0, span.size, QUERY_CHUNK):
            end = min(start + QUERY_CHUNK, span.size)
            some = graph.slice(query, 2, start, end)
            shares = graph.node("Softmax", graph.node("MatMul", some, turned), axis=-1)
            chunks.append((start, end, some, shares, graph.node("MatMul", shares, value)))
        return _Head(number, shared, chunks)

    def _back(self, heads: list[_Head], g: str, key: str, value: str) -> tuple[str, str, str]:
        """Return the derivatives by turned queries, turned keys and values, (batch, heads, positions, size) each."""
        graph, exchange = self.graph, [0, 1, 3, 2]
        to_query: list[str] = []
        to_key, to_value = ([""] * (heads[-1].shared + 1) for _ in range(2))
        for head in heads:
            of_head = graph.slice(g, 1, head.number, head.number + 1)
            keys, values = (graph.slice(part, 1, head.shared, head.shared + 1) for part in (key, value))
            values, chunks = graph.node("Transpose", values, perm=exchange), []
            for start, end, query, shares, output in head.chunks:
                own = graph.slice(of_head, 2, start, end)
                common = graph.node("ReduceSum", graph.node("Mul", own, output), graph.integers(-1), keepdims=1)
                apart = graph.node("Sub", graph.node("MatMul", own, values), common)
                logits = graph.node("Mul", shares, apart)
                chunks.append(graph.node("MatMul", logits, keys))
                for total, left, right in ((to_key, logits, query), (to_value, shares, own)):
                    part = graph.node("MatMul", graph.node("Transpose", left, perm=exchange), right)
                    known = total[head.shared]
                    total[head.shared] = graph.node("Add", known, part) if known else part
            to_query.append(graph.concat(chunks, 2))
        return graph.concat(to_query, 1), graph.concat(to_key, 1), graph.concat(to_value, 1)

    def _unturned(self, g: str, attention: RotaryAttention, span: Span) -> str:
        """Follow a derivative (batch, heads, span, size) back through the turn, to (batch, span, heads, size)."""
        graph = self.graph
        g = graph.node("Transpose", g, perm=[0, 2, 1, 3])
        cosine, sine = self._turning.factors(attention, span)
        crossed = self._turning.exchanged(graph.node("Mul", g, sine), attention)
        return graph.node("Add", graph.node("Mul", g, cosine), crossed)
