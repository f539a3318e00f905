"""Attention with relative positions for GPUs: all heads and queries in one node, the position logits beside them.

A distance enters only through its class (:mod:`borzoi_export.graphs.attention`). Its logit reaches the attention as an
additive bias of shape (batch, heads, queries, tokens), taken by an index that is made once a run and shared by all
blocks: the one large tensor a block writes and reads. At the published size it is 0.27 GB in half precision.
"""

from __future__ import annotations

import numpy as np
import torch

from ..models.borzoi import Attention
from .builder import MICROSOFT, GraphBuilder
from .layers import array, dense, padded, take
from .spans import Span

# onnxruntime's fused kernels read a bias in groups of 8 queries in half precision, and of 16 in single.
QUERY_GROUP = 16


class BatchedAttentionWriter:
    """Writes the attention of every block of one network into one graph.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    fused : bool
        One ``com.microsoft.MultiHeadAttention``, instead of products, sum and softmax.
    """

    def __init__(self, graph: GraphBuilder, *, fused: bool) -> None:
        self.graph = graph
        self.fused = fused
        self._indices: dict[tuple[int, int, str | None, int], str] = {}

    def write(self, x: str, attention: Attention, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""
        graph = self.graph
        key = dense(graph, x, attention.key, f"{name}.key")
        value = dense(graph, x, attention.value, f"{name}.value")
        # The scale goes into the projection: it comes before the two biases.
        query = dense(graph, take(graph, x, span), attention.query, f"{name}.query", attention.key_size**-0.5)
        rows = span.size
        if self.fused and rows % QUERY_GROUP:
            rows += QUERY_GROUP - rows % QUERY_GROUP
            query = padded(graph, query, 0, rows - span.size, attention.heads * attention.key_size)
        bias = graph.weight(f"{name}.content_bias", array(attention.content_bias).reshape(-1))
        content = graph.node("Add", query, bias)
        positions = self._positions(query, attention, name, span, rows)
        mix = self._fused if self.fused else self._plain
        mixed = mix(content, key, value, positions, attention.heads)
        if rows > span.size:
            mixed = graph.slice(mixed, 1, 0, span.size)
        return dense(graph, mixed, attention.out, f"{name}.out")

    def _positions(self, query: str, attention: Attention, name: str, span: Span, rows: int) -> str:
        """Return the logits that depend on the distance, (batch, heads, rows, tokens)."""
        graph = self.graph
        bias = graph.weight(f"{name}.position_bias", array(attention.position_bias).reshape(-1))
        position = self._split(graph.node("Add", query, bias), attention.heads, [0, 2, 1, 3])
        with torch.no_grad():
            keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
        by_class = graph.node("MatMul", position, graph.weight(f"{name}.relative_keys", keys))
        return graph.node("GatherElements", by_class, self._index(query, attention, span, rows), axis=3)

    def _index(self, like: str, attention: Attention, queries: Span, rows: int) -> str:
        """Return the class of the distance of every key from each query, int32 (batch, heads, rows, tokens).

        Class number m of the table is that of distance ``key - query = m - (tokens - 1)``. Rows behind the queries
        repeat the last of them. ``like`` gives the batch.
        """
        graph, tokens = self.graph, attention.tokens
        where = (queries.start, queries.end, queries.origin, rows)
        if where not in self._indices:
            table = graph.weight("position_classes", array(attention.position_classes).astype(np.int32))
            keys = graph.weight("key_places", np.arange(tokens, dtype=np.int64))
            filled = np.minimum(np.arange(queries.start, queries.start + rows), queries.end - 1)
            last = graph.weight(f"query_places_{queries.start}_{queries.end}", tokens - 1 - filled[:, None])
            if queries.origin is not None:
                last = graph.node("Sub", last, queries.origin)
            index = graph.node("Gather", table, graph.node("Add", last, keys))
            batch = graph.node("Shape", like, start=0, end=1)
            shape = graph.node("Concat", batch, graph.integers(attention.heads, rows, tokens), axis=0)
            self._indices[where] = graph.node("Expand", index, shape)
        return self._indices[where]

    def _fused(self, query: str, key: str, value: str, positions: str, heads: int) -> str:
        return self.graph.node(
            "MultiHeadAttention", query, key, value, "", "", positions, domain=MICROSOFT, num_heads=heads, scale=1.0
        )

    def _plain(self, query: str, key: str, value: str, positions: str, heads: int) -> str:
        graph = self.graph
        queries = self._split(query, heads, [0, 2, 1, 3])
        logits = graph.node("MatMul", queries, self._split(key, heads, [0, 2, 3, 1]))
        shares = graph.node("Softmax", graph.node("Add", logits, positions), axis=-1)
        mixed = graph.node("MatMul", shares, self._split(value, heads, [0, 2, 1, 3]))
        return graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)

    def _split(self, x: str, heads: int, perm: list[int]) -> str:
        return self.graph.node("Transpose", self.graph.reshape(x, 0, 0, heads, -1), perm=perm)
