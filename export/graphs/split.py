"""The split graphs: ``trunk_tile``, ``body`` and ``head``, which together compute what ``predict`` does.

The tower of convolutions sees about 390 bp around a base, so that a window is made of tiles that are computed one by
one and kept; the transformer mixes everything and is redone for every sequence. A tile reads ``halo_tokens`` more on
each side than it owns, because the zero padding at its cuts spoils that many; at the ends of a window tiles lie
flush, where the padding is the network's own.
"""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto

from borzoi_rt.bundle.manifest import BodyInfo, GraphInfo, Tiling

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig
from .builder import GraphBuilder, WeightsFile
from .emitter import Emitter
from .form import Form
from .spans import Span, decoder_spans, whole_output

OWN_TOKENS = 32  # 4,096 bp for tokens of 128 bp: a power of two, so that windows on a grid of 4,096 bp share tiles
MOVING_BINS = (64, 256, 1024)


def halo_tokens(config: BorzoiConfig) -> int:
    """Return how many tokens a cut spoils: half of each kernel more, then half of all by each pool."""
    spoiled = -(-(config.stem_width // 2) // 2)
    for _ in config.tower_widths:
        spoiled = -(-(spoiled + config.tower_width // 2) // 2)
    return spoiled


def write_split(
    model: Borzoi, directory: Path, weights: WeightsFile, form: Form
) -> tuple[dict[str, GraphInfo], Tiling]:
    """Write the split graphs and return their descriptions and how tiles make a window."""
    config = model.config
    halo = halo_tokens(config)
    width = min(OWN_TOKENS + 2 * halo, config.tokens)
    graphs = {"trunk_tile": _write_tile(model, directory, weights, width, form)}
    bodies: dict[str, BodyInfo] = {}
    outputs = {"body": whole_output(config)}
    for bins in MOVING_BINS:
        if bins < config.bins and _can_move(config, bins):
            outputs[f"body_{bins}"] = Span(0, bins, bins, origin="token_start")
    for name, output in outputs.items():
        graphs[name], bodies[name] = _write_body(model, directory, weights, name, output, form)
    graphs["head"] = _write_head(model, directory, weights)
    tiling = Tiling(
        token_bp=config.sequence_length_bp // config.tokens,
        own_tokens=OWN_TOKENS,
        halo_tokens=halo,
        channels=config.tower_widths[-1],
        skips_per_token=tuple(2 ** (index + 1) for index in range(config.unets)),
        bodies=bodies,
    )
    return graphs, tiling


def _can_move(config: BorzoiConfig, bins: int) -> bool:
    """Tell whether what ``bins`` bins depend on stays inside the grid, wherever a whole token starts them."""
    per_token = 2**config.unets
    first = -(-config.crop_bins // per_token)
    return bins % per_token == 0 and all(
        span.start + first * (2 ** (index + 1)) >= 0
        for index, span in enumerate(decoder_spans(config, Span(0, bins, bins, origin="token_start")))
    )


def _write_tile(model: Borzoi, directory: Path, weights: WeightsFile, tokens: int, form: Form) -> GraphInfo:
    config = model.config
    token_bp = config.sequence_length_bp // config.tokens
    graph = GraphBuilder("trunk_tile", weights)
    sequence = graph.input("sequence", TensorProto.UINT8, ["batch", 4, tokens * token_bp])
    n_fill = graph.input("n_fill", TensorProto.FLOAT, [])
    emitter = Emitter(graph, model, form=form)
    x, skips = emitter.trunk(emitter.filled(sequence, n_fill), tile_tokens=tokens)
    channels = config.tower_widths[-1]
    outputs: dict[str, tuple[str, list[int | str]]] = {"tokens": (graph.wide(x), ["batch", tokens, channels])}
    for index, skip in enumerate(skips):
        outputs[f"skip_{index}"] = (graph.wide(skip), ["batch", tokens * 2 ** (index + 1), channels])
    graph.save(directory / "trunk_tile.onnx", outputs)
    return GraphInfo(file="trunk_tile.onnx", inputs=("sequence", "n_fill"), outputs=tuple(outputs))


def _write_body(
    model: Borzoi, directory: Path, weights: WeightsFile, name: str, output: Span, form: Form
) -> tuple[GraphInfo, BodyInfo]:
    config = model.config
    channels = config.tower_widths[-1]
    graph = GraphBuilder(name, weights)
    inputs = ["tokens"]
    tokens = graph.narrow(graph.input("tokens", TensorProto.FLOAT, ["batch", config.tokens, channels]))
    emitter = Emitter(graph, model, output, form=form)
    skips = []
    for index, span in enumerate(emitter.spans):
        inputs.append(f"skip_{index}")
        skips.append(graph.narrow(graph.input(inputs[-1], TensorProto.FLOAT, ["batch", span.size, channels])))
    if output.origin is not None:
        inputs.append(graph.input(output.origin, TensorProto.INT64, [1]))
    embedding = emitter.embed(tokens, skips)
    file = f"{name}.onnx"
    graph.save(directory / file, {"embedding": (embedding, ["batch", output.size, config.embedding_channels])})
    info = BodyInfo(
        bins=output.size,
        skips=tuple((span.start, span.end) for span in emitter.spans),
        moving=output.origin is not None,
    )
    return GraphInfo(file=file, inputs=tuple(inputs), outputs=("embedding",)), info


def _write_head(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    graph = GraphBuilder("head", weights)
    embedding = graph.input("embedding", TensorProto.FLOAT, ["batch", "bins", model.config.embedding_channels])
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    coverage = Emitter(graph, model).head(embedding, track_index)
    graph.save(directory / "head.onnx", {"coverage": (coverage, ["batch", "tracks", "bins"])})
    return GraphInfo(file="head.onnx", inputs=("embedding", "track_index"), outputs=("coverage",))
