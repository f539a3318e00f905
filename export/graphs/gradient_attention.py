"""Attention forward and back as ONNX nodes, one head and some hundred queries at a time.

With P the shares, O = P V their mixture and dO the derivative of the target by it,

    dV = P^T dO,    dS = P (dO V^T - sum(dO O)),    dQ = dS K,    dK = dS^T Q,

and a logit by class of distance gets the sum of dS over the keys of that class: the rows of dS, each moved so that
columns are distances, times a 0/1 matrix. P is kept from the way forth; it is the one large tensor of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..models.borzoi import Attention
from .attention import QUERY_CHUNK, AttentionWriter
from .builder import GraphBuilder
from .gradient_layers import Back, dense, take
from .layers import array
from .spans import Span


@dataclass(frozen=True)
class _Head:
    """One head: queries with either bias, keys (.., size, tokens), values; of each chunk its ends, shares, outputs."""

    content: str
    by_class: str
    key: str
    value: str
    chunks: list[tuple[int, int, str, str]]


def mixture_back(graph: GraphBuilder, g: str, output: str, shares: str, value: str) -> str:
    """Return the derivative by logits, from that by the mixture ``output``; ``value`` is (.., size, tokens)."""
    common = graph.node("ReduceSum", graph.node("Mul", g, output), graph.integers(-1), keepdims=1)
    return graph.node("Mul", shares, graph.node("Sub", graph.node("MatMul", g, value), common))


class AttentionGradient:
    """Writes the attention of every block of one network, both ways, into one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        self._writer = AttentionWriter(graph)

    def write(self, x: str, attention: Attention, name: str, span: Span) -> tuple[str, Back]:
        """Attend from the queries in ``span`` to all tokens."""
        graph, heads = self.graph, attention.heads

        def split(projected: str, perm: list[int]) -> str:
            return graph.node("Transpose", graph.reshape(projected, 0, 0, heads, -1), perm=perm)

        asking, untake = take(graph, x, span)
        query, from_query = dense(graph, asking, attention.query, f"{name}.query", attention.key_size**-0.5)
        key, from_key = dense(graph, x, attention.key, f"{name}.key")
        value, from_value = dense(graph, x, attention.value, f"{name}.value")
        query, key, value = split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]), split(value, [0, 2, 1, 3])
        content = graph.node("Add", query, graph.weight(f"{name}.content_bias", array(attention.content_bias)))
        position = graph.node("Add", query, graph.weight(f"{name}.position_bias", array(attention.position_bias)))
        with torch.no_grad():
            keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
        relative = graph.weight(f"{name}.relative_keys", keys)
        by_class = graph.node("MatMul", position, relative)
        written = []
        for head in range(heads):
            parts = [graph.slice(part, 1, head, head + 1) for part in (content, by_class, key, value)]
            written.append(self._forth(parts, attention, span))
        mixed = graph.concat([graph.concat([chunk[3] for chunk in head.chunks], 2) for head in written], 1)
        joined = graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)
        y, from_out = dense(graph, joined, attention.out, f"{name}.out")

        def back(g: str) -> str:
            by_head = split(from_out(g), [0, 2, 1, 3])
            found = [
                self._back(head, graph.slice(by_head, 1, number, number + 1), attention, span)
                for number, head in enumerate(written)
            ]
            to_query, to_class, to_key, to_value = (graph.concat(list(part), 1) for part in zip(*found, strict=True))
            turned = graph.node("Transpose", relative, perm=[0, 2, 1])
            to_query = graph.node("Add", to_query, graph.node("MatMul", to_class, turned))

            def joined(part: str, perm: list[int]) -> str:
                return graph.reshape(graph.node("Transpose", part, perm=perm), 0, 0, -1)

            total = untake(from_query(joined(to_query, [0, 2, 1, 3])))
            total = graph.node("Add", total, from_key(joined(to_key, [0, 3, 1, 2])))
            return graph.node("Add", total, from_value(joined(to_value, [0, 3, 1, 2])))

        return y, back

    def _forth(self, parts: Sequence[str], attention: Attention, span: Span) -> _Head:
        graph, chunks = self.graph, []
        content, by_class, key, value = parts
        for start in range(0, span.size, QUERY_CHUNK):
            end = min(start + QUERY_CHUNK, span.size)
            queries = Span(span.start + start, span.start + end, span.length)
            index = self._writer.index(content, attention, queries)
            logits = graph.node("MatMul", graph.slice(content, 2, start, end), key)
            of_distance = graph.node("GatherElements", graph.slice(by_class, 2, start, end), index, axis=3)
            shares = graph.node("Softmax", graph.node("Add", logits, of_distance), axis=-1)
            chunks.append((start, end, shares, graph.node("MatMul", shares, value)))
        return _Head(content, by_class, key, value, chunks)

    def _back(self, head: _Head, g: str, attention: Attention, span: Span) -> tuple[str, str, str, str]:
        """Return the derivatives by content, logits by class, keys and values (both .., size, tokens) of one head."""
        graph, exchange = self.graph, [0, 1, 3, 2]
        value, key = (graph.node("Transpose", part, perm=exchange) for part in (head.value, head.key))
        to_query, to_class, to_key, to_value = [], [], "", ""
        for start, end, shares, output in head.chunks:
            own = graph.slice(g, 2, start, end)
            logits = mixture_back(graph, own, output, shares, value)
            to_query.append(graph.node("MatMul", logits, key))
            to_class.append(self._by_class(logits, attention, Span(span.start + start, span.start + end, span.length)))
            asking = graph.node("Transpose", graph.slice(head.content, 2, start, end), perm=exchange)
            to_key = self._added(to_key, graph.node("MatMul", asking, logits))
            to_value = self._added(to_value, graph.node("MatMul", graph.node("Transpose", own, perm=exchange), shares))
        return graph.concat(to_query, 2), graph.concat(to_class, 2), to_key, to_value

    def _added(self, total: str, part: str) -> str:
        return self.graph.node("Add", total, part) if total else part

    def _by_class(self, logits: str, attention: Attention, queries: Span) -> str:
        """Sum (batch, 1, queries, tokens) over the keys of each class of distance: (batch, 1, queries, classes).

        Row r is moved right by ``queries - 1 - r``: it is padded, read as if rows were one longer, and so a column
        holds one distance, ``column - queries.start - queries``, counted from the class of the first.
        """
        graph, tokens, count = self.graph, attention.tokens, queries.size
        width = tokens + count - 1
        if count > 1:
            padded = graph.node("Pad", logits, graph.integers(0, 0, 0, 0, 0, 0, 0, count - 2))
            flat = graph.node("Pad", graph.reshape(padded, 0, 0, -1), graph.integers(0, 0, count - 1, 0, 0, 1))
            logits = graph.reshape(flat, 0, 0, count, width)
        classes = array(attention.position_classes)
        member = (classes[:, None] == np.arange(classes.max() + 1)).astype(np.float32)
        first = tokens - count - queries.start
        matrix = graph.slice(graph.weight("class_members", member), 0, first, first + width)
        return graph.node("MatMul", logits, matrix)
