"""Graphs that lead from a cotangent back through head, decoder and transformer, and stop on the way.

``slopes_head``     embedding, tracks and the cotangent of their squashed coverage -> derivative by the embedding, and
                    ``linear``, what the weights of the head alone make of it
``slopes_decoder``  tokens behind the transformer, skips and the derivative by the embedding -> that by these tokens
``slopes_LAYER``    tokens before a block and the derivative by those behind it -> that by the tokens before it, and by
                    what its attention adds

One graph a block, so that the shares of one block at a time are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from onnx import TensorProto

from borzoi_rt.bundle.manifest import GraphInfo
from borzoi_rt.bundle.names import SLOPES_DECODER, SLOPES_HEAD, slopes_graph

from ..models.borzoi import Borzoi, TransformerBlock
from .builder import GraphBuilder, WeightsFile
from .gradient_body import Block, BodyGradient
from .gradient_layers import take
from .spans import Span


def write_slopes(model: Borzoi, directory: Path, weights: WeightsFile) -> dict[str, GraphInfo]:
    """Write the graphs and return their descriptions."""
    graphs = {
        SLOPES_HEAD: _write_head(model, directory, weights),
        SLOPES_DECODER: _write_decoder(model, directory, weights),
    }
    for number, block in enumerate(cast("Iterable[TransformerBlock]", model.transformer), start=1):
        graphs[slopes_graph(number)] = _write_layer(model, block, number, directory, weights)
    return graphs


def _write_head(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    config = model.config
    graph = GraphBuilder(SLOPES_HEAD, weights)
    embedding = graph.input("embedding", TensorProto.FLOAT, [1, config.bins, config.embedding_channels])
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    cotangent = graph.input("cotangent", TensorProto.FLOAT, [1, "tracks", config.bins])
    body = BodyGradient(graph, model)
    found = body.head(embedding, track_index, cotangent)
    linear, _, _ = body.linear(embedding, track_index)
    return graph.write(
        directory,
        {
            "to_embedding": (found, [1, config.bins, config.embedding_channels]),
            "linear": (linear, [1, "tracks", config.bins]),
        },
    )


def _write_decoder(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    config, channels = model.config, model.config.tower_widths[-1]
    graph = GraphBuilder(SLOPES_DECODER, weights)
    tokens = graph.input("tokens", TensorProto.FLOAT, [1, config.tokens, channels])
    body = BodyGradient(graph, model)
    skips = [
        graph.input(f"skip_{number}", TensorProto.FLOAT, [1, span.size, channels])
        for number, span in enumerate(body.spans)
    ]
    to_embedding = graph.input("to_embedding", TensorProto.FLOAT, [1, config.bins, config.embedding_channels])
    held, untake = take(graph, tokens, body.held)
    _, back = body.decoder(held, skips)
    found = untake(back(to_embedding)[0])
    return graph.write(directory, {"to_tokens": (found, [1, config.tokens, channels])})


def _write_layer(
    model: Borzoi, block: TransformerBlock, number: int, directory: Path, weights: WeightsFile
) -> GraphInfo:
    config, channels = model.config, model.config.tower_widths[-1]
    graph = GraphBuilder(slopes_graph(number), weights)
    tokens = graph.input("tokens", TensorProto.FLOAT, [1, config.tokens, channels])
    given = graph.input("to_layer", TensorProto.FLOAT, [1, config.tokens, channels])
    written = Block(graph, BodyGradient(graph, model).attention, block, f"transformer.{number - 1}")
    written.write(tokens, Span(0, config.tokens, config.tokens))
    to_attended = written.to_attended(given)
    shape: list[int | str] = [1, config.tokens, channels]
    outputs = {"to_tokens": (written.to_input(to_attended), shape), "to_attended": (to_attended, shape)}
    return graph.write(directory, outputs)
