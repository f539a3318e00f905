"""Graphs that give what lies inside the network, for whoever looks there; a bundle need not have them.

``activations_tile``    bases of a tile -> ``stem`` (1 bp, before pooling) and ``tower_1`` ... (2 bp, 4 bp and so on)
``activations_layers``  tokens of the tower -> ``layer_1`` ..., the tokens behind every block of the transformer
``attention_LAYER``     tokens before a block and chosen queries -> their rows of attention, head by head

What the head reads needs no graph of its own: ``body`` gives it. ``slopes_LAYER``, ``slopes_decoder`` and
``slopes_head`` lead back through the same parts (:mod:`borzoi_export.graphs.slopes`). A row of attention is all that
is ever computed of it: ``queries`` is as long as the caller chooses.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from onnx import TensorProto

from borzoi_rt.bundle.manifest import GraphInfo, Tiling
from borzoi_rt.bundle.names import ACTIVATIONS_LAYERS, ACTIVATIONS_TILE, attention_graph
from borzoi_rt.errors import InputError

from ..models.borzoi import Attention, Borzoi, NormConv, TransformerBlock
from ..models.rotary import RotaryAttention
from .builder import GraphBuilder, WeightsFile
from .emitter import Emitter
from .gradient_layers import direct_conv, exchanged, narrow_conv, pool
from .layers import array, dense, norm_gelu
from .rotary import Turning, projections
from .slopes import write_slopes
from .spans import Span

Outputs = dict[str, tuple[str, list[int | str]]]


def check_precision(precision: str) -> None:
    """Refuse a precision in which derivatives underflow.

    Raises
    ------
    InputError
        If it is not fp32.
    """
    if precision != "fp32":
        raise InputError(f"graphs of activations are for fp32, not {precision}: their slopes underflow in half")


def write_activations(model: Borzoi, tiling: Tiling, directory: Path, weights: WeightsFile) -> dict[str, GraphInfo]:
    """Write all graphs of activations and slopes, and return their descriptions; one form, for CPUs and GPUs."""
    check_precision(weights.precision)
    width = min(tiling.own_tokens + 2 * tiling.halo_tokens, model.config.tokens)
    graphs = {
        ACTIVATIONS_TILE: _write_tile(model, directory, weights, width),
        ACTIVATIONS_LAYERS: _write_layers(model, directory, weights),
    }
    for number, block in enumerate(cast("Iterable[TransformerBlock]", model.transformer), start=1):
        graphs[attention_graph(number)] = _write_attention(model, block, number, directory, weights)
    return graphs | write_slopes(model, directory, weights)


def _write_tile(model: Borzoi, directory: Path, weights: WeightsFile, tokens: int) -> GraphInfo:
    """Write stem and tower with every activation before its pool, biases included."""
    length = tokens * (model.config.sequence_length_bp // model.config.tokens)
    graph = GraphBuilder(ACTIVATIONS_TILE, weights)
    sequence = graph.input("sequence", TensorProto.UINT8, [1, 4, length])
    n_fill = graph.input("n_fill", TensorProto.FLOAT, [])
    x, _ = narrow_conv(graph, Emitter(graph, model).filled(sequence, n_fill), model.stem.weight, "stem.taps", length)
    outputs: Outputs = {}

    def keep(name: str, conv: torch.nn.Conv1d) -> None:
        if conv.bias is None:
            raise TypeError("every convolution of the tower has a bias")
        with_bias = graph.node("Add", x, graph.weight(f"{name}.bias", array(conv.bias)))
        outputs[name] = (with_bias, [1, length, conv.out_channels])

    keep("stem", model.stem)
    last = model.stem
    for number, block in enumerate(cast("Iterable[NormConv]", model.tower), start=1):
        x, _ = pool(graph, x, length)
        length //= 2
        x = norm_gelu(graph, x, block.norm, f"tower.{number - 1}.norm", last.bias)
        x, _ = direct_conv(graph, x, block.conv.weight, f"tower.{number - 1}.conv", length)
        keep(f"tower_{number}", block.conv)
        last = block.conv
    return graph.write(directory, outputs)


def _write_layers(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    config, channels = model.config, model.config.tower_widths[-1]
    graph = GraphBuilder(ACTIVATIONS_LAYERS, weights)
    x = graph.input("tokens", TensorProto.FLOAT, [1, config.tokens, channels])
    emitter, outputs = Emitter(graph, model), cast("Outputs", {})
    for number, block in enumerate(cast("Iterable[TransformerBlock]", model.transformer), start=1):
        x = emitter.transformer(x, block, f"transformer.{number - 1}", Span(0, config.tokens, config.tokens))
        outputs[f"layer_{number}"] = (x, [1, config.tokens, channels])
    return graph.write(directory, outputs)


def _write_attention(
    model: Borzoi, block: TransformerBlock, number: int, directory: Path, weights: WeightsFile
) -> GraphInfo:
    """Write the shares of chosen queries, and the derivative by them from that by what attention adds there."""
    config, channels = model.config, model.config.tower_widths[-1]
    graph = GraphBuilder(attention_graph(number), weights)
    x = graph.input("tokens", TensorProto.FLOAT, [1, config.tokens, channels])
    queries = graph.input("queries", TensorProto.INT64, ["queries"])
    to_attended = graph.input("to_attended", TensorProto.FLOAT, [1, "queries", channels])
    name = f"transformer.{number - 1}"
    normed = Emitter(graph, model).layer_norm(x, block.norm_attention, f"{name}.norm_attention")
    if isinstance(block.attention, RotaryAttention):
        shares, value = _rotary_rows(graph, normed, queries, block.attention, f"{name}.attention")
    else:
        shares, value = _relative_rows(graph, normed, queries, block.attention, f"{name}.attention")
    by_share = _by_share(graph, to_attended, value, block.attention, f"{name}.attention")
    shape: list[int | str] = [1, config.heads, "queries", config.tokens]
    return graph.write(directory, {"shares": (shares, shape), "by_share": (by_share, shape)})


def _relative_rows(graph: GraphBuilder, x: str, queries: str, attention: Attention, name: str) -> tuple[str, str]:
    """Return shares (1, heads, queries, tokens) and values (1, heads, size, tokens)."""
    tokens, heads = attention.tokens, attention.heads

    def split(projected: str, perm: list[int]) -> str:
        return graph.node("Transpose", graph.reshape(projected, 0, 0, heads, -1), perm=perm)

    key = split(dense(graph, x, attention.key, f"{name}.key"), [0, 2, 3, 1])
    value = split(dense(graph, x, attention.value, f"{name}.value"), [0, 2, 3, 1])
    asking = graph.node("Gather", x, queries, axis=1)
    query = split(dense(graph, asking, attention.query, f"{name}.query", attention.key_size**-0.5), [0, 2, 1, 3])
    content = graph.node("Add", query, graph.weight(f"{name}.content_bias", array(attention.content_bias)))
    position = graph.node("Add", query, graph.weight(f"{name}.position_bias", array(attention.position_bias)))
    with torch.no_grad():
        keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
    by_class = graph.node("MatMul", position, graph.weight(f"{name}.relative_keys", keys))
    # Class number m of the table is that of distance ``key - query = m - (tokens - 1)``.
    table = graph.weight("position_classes", array(attention.position_classes).astype(np.int64))
    columns = graph.weight("last_minus_key", np.arange(tokens - 1, 2 * tokens - 1, dtype=np.int64))
    rows = graph.node("Unsqueeze", queries, graph.integers(1))
    index = graph.node("Gather", table, graph.node("Sub", columns, rows))
    shape = graph.node("Concat", graph.integers(1, heads), graph.node("Shape", queries), graph.integers(tokens), axis=0)
    of_distance = graph.node("GatherElements", by_class, graph.node("Expand", index, shape), axis=3)
    logits = graph.node("Add", graph.node("MatMul", content, key), of_distance)
    return graph.node("Softmax", logits, axis=-1), value


def _rotary_rows(graph: GraphBuilder, x: str, queries: str, attention: RotaryAttention, name: str) -> tuple[str, str]:
    """Return what :func:`_relative_rows` does; values are of the heads for keys, (1, key heads, size, tokens)."""
    turning, whole = Turning(graph), Span(0, attention.tokens, attention.tokens)
    parts = []
    for part, matrix, bias in projections(attention):
        read = graph.node("Gather", x, queries, axis=1) if part == "query" else x
        y = graph.node("MatMul", read, graph.weight(f"{name}.{part}.weight", matrix), label=f"{name}.{part}")
        y = graph.node("Add", y, graph.weight(f"{name}.{part}.bias", bias))
        parts.append(graph.reshape(y, 0, 0, -1, attention.size))
    query, key, value = parts
    cosine, sine = (graph.node("Gather", table, queries, axis=1) for table in turning.factors(attention, whole))
    crossed = graph.node("Mul", turning.exchanged(query, attention), sine)
    query = graph.node("Add", graph.node("Mul", query, cosine), crossed)
    query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
    query = graph.reshape(query, 0, attention.key_heads, -1, attention.size)  # heads of a group one below another
    key, value = (
        graph.node("Transpose", part, perm=[0, 2, 3, 1]) for part in (turning.write(key, attention, whole), value)
    )
    shares = graph.node("Softmax", graph.node("MatMul", query, key), axis=-1)
    return graph.reshape(shares, 0, attention.heads, -1, attention.tokens), value


def _by_share(
    graph: GraphBuilder, to_attended: str, value: str, attention: Attention | RotaryAttention, name: str
) -> str:
    """Return the derivative by shares: that by the mixture of a head times its values."""
    weight = graph.weight(f"{name}.out.weight", array(attention.out.weight).T)
    by_mixture = graph.node("MatMul", to_attended, exchanged(graph, weight))
    by_head = graph.node("Transpose", graph.reshape(by_mixture, 0, 0, attention.heads, -1), perm=[0, 2, 1, 3])
    if isinstance(attention, RotaryAttention):
        by_head = graph.reshape(by_head, 0, attention.key_heads, -1, attention.size)
    found = graph.node("MatMul", by_head, value)
    return graph.reshape(found, 0, attention.heads, -1, attention.tokens)
