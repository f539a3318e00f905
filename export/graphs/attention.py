"""Attention with relative positions as ONNX nodes, one head and some hundred queries at a time.

A distance enters only through its class, of which there are 31 at the published size: each query has one logit per
class, and every key takes that of its distance by index. The indices are the same for all heads and blocks, and are
made once a run. No ``(heads, tokens, tokens)`` tensor is ever whole; the largest is ``(QUERY_CHUNK, tokens)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..models.borzoi import Attention
from .builder import GraphBuilder
from .layers import array, dense, take
from .spans import Span

QUERY_CHUNK = 512


class AttentionWriter:
    """Writes the attention of every block of one network into one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        self._indices: dict[tuple[int, int, str | None], str] = {}

    def write(self, x: str, attention: Attention, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""
        graph = self.graph

        def split(projected: str, perm: list[int]) -> str:
            return graph.node("Transpose", graph.reshape(projected, 0, 0, attention.heads, -1), perm=perm)

        key = split(dense(graph, x, attention.key, f"{name}.key"), [0, 2, 3, 1])
        value = split(dense(graph, x, attention.value, f"{name}.value"), [0, 2, 1, 3])
        # The scale goes into the projection: it comes before the two biases.
        projected = dense(graph, take(graph, x, span), attention.query, f"{name}.query", attention.key_size**-0.5)
        query = split(projected, [0, 2, 1, 3])
        content = graph.node("Add", query, graph.weight(f"{name}.content_bias", array(attention.content_bias)))
        position = graph.node("Add", query, graph.weight(f"{name}.position_bias", array(attention.position_bias)))
        with torch.no_grad():
            keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
        by_class = graph.node("MatMul", position, graph.weight(f"{name}.relative_keys", keys))
        mixed = []
        for head in range(attention.heads):
            parts = [graph.slice(part, 1, head, head + 1) for part in (content, by_class, key, value)]
            mixed.append(self._head(parts, attention, span))
        joined = graph.node("Transpose", graph.concat(mixed, 1), perm=[0, 2, 1, 3])
        return dense(graph, graph.reshape(joined, 0, 0, -1), attention.out, f"{name}.out")

    def _head(self, parts: Sequence[str], attention: Attention, span: Span) -> str:
        """Return (batch, 1, span, value size) of one head."""
        graph, chunks = self.graph, []
        content, by_class, key, value = parts
        for start in range(0, span.size, QUERY_CHUNK):
            end = min(start + QUERY_CHUNK, span.size)
            index = self.index(content, attention, Span(span.start + start, span.start + end, span.length, span.origin))
            logits = graph.node("MatMul", graph.slice(content, 2, start, end), key)
            of_distance = graph.node("GatherElements", graph.slice(by_class, 2, start, end), index, axis=3)
            shares = graph.node("Softmax", graph.node("Add", logits, of_distance), axis=-1)
            chunks.append(graph.node("MatMul", shares, value))
        return graph.concat(chunks, 2)

    def index(self, like: str, attention: Attention, queries: Span) -> str:
        """Return the class of the distance of every key from each query, int64 (batch, 1, queries, tokens).

        Class number m of the table is that of distance ``key - query = m - (tokens - 1)``. ``like`` gives the batch.
        """
        graph, tokens = self.graph, attention.tokens
        where = (queries.start, queries.end, queries.origin)
        if where not in self._indices:
            table = graph.weight("position_classes", array(attention.position_classes).astype(np.int64))
            keys = graph.weight("key_places", np.arange(tokens, dtype=np.int64))
            last = graph.weight(
                f"query_places_{queries.start}_{queries.end}",
                tokens - 1 - np.arange(queries.start, queries.end)[:, None],
            )
            if queries.origin is not None:
                last = graph.node("Sub", last, queries.origin)
            batch = graph.node("Shape", like, start=0, end=1)
            shape = graph.node("Concat", batch, graph.integers(1, queries.size, tokens), axis=0)
            index = graph.node("Gather", table, graph.node("Add", last, keys))
            self._indices[where] = graph.node("Expand", index, shape)
        return self._indices[where]
