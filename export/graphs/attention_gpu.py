"""Attention with relative positions for GPUs: all heads and queries in one product.

A distance enters only through its class (:mod:`borzoi_export.graphs.attention`). Its logits, (batch, heads, queries,
tokens), are taken by an index that is made once a run and shared by all blocks. onnxruntime's fused attention, with
these as its bias, was no faster (benchmarks/NOTES.md).
"""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto

from ..models.borzoi import Attention
from .builder import GraphBuilder
from .layers import array, dense, take, zeros_like
from .spans import Span


class BatchedAttentionWriter:
    """Writes the attention of every block of one network into one graph.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    """

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        self._indices: dict[tuple[int, int, str | None], str] = {}

    def write(self, x: str, attention: Attention, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""
        graph = self.graph
        key = dense(graph, x, attention.key, f"{name}.key")
        value = dense(graph, x, attention.value, f"{name}.value")
        # The scale goes into the projection: it comes before the two biases.
        query = dense(graph, take(graph, x, span), attention.query, f"{name}.query", attention.key_size**-0.5)
        bias = graph.weight(f"{name}.content_bias", array(attention.content_bias).reshape(-1))
        queries = self._split(graph.node("Add", query, bias), attention.heads, [0, 2, 1, 3])
        logits = graph.node("MatMul", queries, self._split(key, attention.heads, [0, 2, 3, 1]))
        positions = self._positions(query, attention, name, span)
        shares = graph.node("Softmax", graph.node("Add", logits, positions), axis=-1)
        mixed = graph.node("MatMul", shares, self._split(value, attention.heads, [0, 2, 1, 3]))
        joined = graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 0, 0, -1)
        return dense(graph, joined, attention.out, f"{name}.out")

    def _positions(self, query: str, attention: Attention, name: str, span: Span) -> str:
        """Return the logits that depend on the distance, (batch, heads, span, tokens)."""
        graph = self.graph
        bias = graph.weight(f"{name}.position_bias", array(attention.position_bias).reshape(-1))
        position = self._split(graph.node("Add", query, bias), attention.heads, [0, 2, 1, 3])
        with torch.no_grad():
            keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
        by_class = graph.node("MatMul", position, graph.weight(f"{name}.relative_keys", keys))
        return graph.node("GatherElements", by_class, self._index(by_class, attention, span), axis=3)

    def _index(self, by_class: str, attention: Attention, queries: Span) -> str:
        """Return the class of the distance of every key from each query, int32 (batch, heads, queries, tokens).

        Class number m of the table is that of distance ``key - query = m - (tokens - 1)``. ``by_class`` gives the
        batch, by zeros that are added: a ``Shape`` would run on the CPU, and the pass could not be captured.
        """
        graph, tokens = self.graph, attention.tokens
        where = (queries.start, queries.end, queries.origin)
        if where not in self._indices:
            table = graph.weight("position_classes", array(attention.position_classes).astype(np.int32))
            keys = graph.weight("key_places", np.arange(tokens, dtype=np.int64))
            rows = tokens - 1 - np.arange(queries.start, queries.end)[:, None]
            last = graph.weight(f"query_places_{queries.start}_{queries.end}", rows)
            if queries.origin is not None:
                last = graph.node("Sub", last, queries.origin)
            index = graph.node("Gather", table, graph.node("Add", last, keys))
            zeros = graph.node("Cast", zeros_like(graph, graph.slice(by_class, 3, 0, 1)), to=TensorProto.INT32)
            self._indices[where] = graph.node("Add", index, zeros)
        return self._indices[where]

    def _split(self, x: str, heads: int, perm: list[int]) -> str:
        return self.graph.node("Transpose", self.graph.reshape(x, 0, 0, heads, -1), perm=perm)
