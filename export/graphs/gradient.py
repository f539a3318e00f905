"""The gradient graphs: from a cotangent, the derivative of a number by every bin, back to the bases.

``gradient_trunk``  a tile of the window forward, from any real input: what ``trunk_tile`` does for one-hot bases
``gradient_body``   tokens, skips and the cotangent of chosen tracks -> derivatives by tokens and skips
``gradient_tile``   a tile and the derivatives by its tokens and skips -> derivative by its bases

The target is not in the graphs: whoever calls them makes the cotangent from coverage that ``body`` and ``head`` gave,
so that one file serves every target. The tower is redone tile after tile, and only for tiles whose bases are asked for.
The input of all three is float32; unknown bases are coded by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from onnx import TensorProto

from borzoi_rt.bundle.manifest import GraphInfo, Tiling
from borzoi_rt.bundle.names import GRADIENT_BODY, GRADIENT_TILE, GRADIENT_TRUNK
from borzoi_rt.errors import InputError

from ..models.borzoi import Borzoi, NormConv, UnetBlock
from . import cook_toom
from .builder import GraphBuilder, WeightsFile
from .emitter import Emitter
from .form import Form
from .gradient_body import BodyGradient
from .gradient_layers import Back, conv, narrow_conv, norm_gelu, pointwise, pool


def check_precision(precision: str) -> None:
    """Refuse a precision in which derivatives underflow.

    Raises
    ------
    InputError
        If it is not fp32.
    """
    if precision != "fp32":
        raise InputError(f"gradient graphs are for fp32, not {precision}: derivatives of a base underflow in half")


def write_gradient(
    model: Borzoi, tiling: Tiling, directory: Path, weights: WeightsFile, form: Form
) -> dict[str, GraphInfo]:
    """Write the three graphs and return their descriptions."""
    check_precision(weights.precision)
    if form.target != "cpu":
        form = Form("cpu", "direct")  # which runs on a GPU, too
    width = min(tiling.own_tokens + 2 * tiling.halo_tokens, model.config.tokens)
    return {
        GRADIENT_TRUNK: _write_trunk(model, directory, weights, width, form),
        GRADIENT_BODY: _write_body(model, directory, weights),
        GRADIENT_TILE: _write_tile(model, directory, weights, width, form),
    }


def _write_trunk(model: Borzoi, directory: Path, weights: WeightsFile, tokens: int, form: Form) -> GraphInfo:
    config = model.config
    graph = GraphBuilder(GRADIENT_TRUNK, weights)
    x = graph.input("sequence", TensorProto.FLOAT, [1, 4, tokens * config.sequence_length_bp // config.tokens])
    emitter = Emitter(graph, model, form=form)
    found, skips = emitter.trunk(graph.node("Transpose", x, perm=[0, 2, 1]), tile_tokens=tokens)
    return graph.write(directory, _shapes(model, ["tokens", *_skip_names(model)], [found, *skips], tokens))


def _write_body(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    config, channels = model.config, model.config.tower_widths[-1]
    graph = GraphBuilder(GRADIENT_BODY, weights)
    tokens = graph.input("tokens", TensorProto.FLOAT, [1, config.tokens, channels])
    body = BodyGradient(graph, model)
    skips = [
        graph.input(name, TensorProto.FLOAT, [1, span.size, channels])
        for name, span in zip(_skip_names(model), body.spans, strict=True)
    ]
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    cotangent = graph.input("cotangent", TensorProto.FLOAT, [1, "tracks", config.bins])
    to_tokens, to_skips = body.write(tokens, skips, track_index, cotangent)
    sizes = [config.tokens, *(span.size for span in body.spans)]
    outputs: dict[str, tuple[str, list[int | str]]] = {
        f"to_{name}": (value, [1, size, channels])
        for name, value, size in zip(["tokens", *_skip_names(model)], [to_tokens, *to_skips], sizes, strict=True)
    }
    return graph.write(directory, outputs)


def _write_tile(model: Borzoi, directory: Path, weights: WeightsFile, tokens: int, form: Form) -> GraphInfo:
    config, channels = model.config, model.config.tower_widths[-1]
    length = tokens * config.sequence_length_bp // config.tokens
    graph = GraphBuilder(GRADIENT_TILE, weights)
    x = graph.input("sequence", TensorProto.FLOAT, [1, 4, length])
    given = [
        graph.input(f"to_{name}", TensorProto.FLOAT, [1, tokens * 2**level, channels])
        for level, name in enumerate(["tokens", *_skip_names(model)])
    ]
    back = _trunk_back(graph, model, graph.node("Transpose", x, perm=[0, 2, 1]), length, form)
    found = graph.node("Transpose", back(given[0], given[1:]), perm=[0, 2, 1])
    return graph.write(directory, {"gradient": (found, [1, 4, length])})


def _skip_names(model: Borzoi) -> list[str]:
    return [f"skip_{number}" for number in range(model.config.unets)]


def _shapes(model: Borzoi, names: list[str], values: list[str], tokens: int) -> dict[str, tuple[str, list[int | str]]]:
    channels = model.config.tower_widths[-1]
    return {
        name: (value, [1, tokens * 2**level, channels])
        for level, (name, value) in enumerate(zip(names, values, strict=True))
    }


def _trunk_back(graph: GraphBuilder, model: Borzoi, x: str, length: int, form: Form) -> Callable[[str, list[str]], str]:
    """Write the tower forward over (1, length, 4) and return what writes its way back."""
    blocks = [cast("NormConv", block) for block in model.tower]
    by_tiles = form.convolution == "cook-toom" and model.config.tower_width == cook_toom.WIDTH
    x, from_stem = narrow_conv(graph, x, model.stem.weight, "stem.taps", length)
    backs: list[tuple[Back, Back, Back]] = []
    raw: list[str] = []
    bias = model.stem.bias
    for index, block in enumerate(blocks):
        x, from_pool = pool(graph, x, length)
        length //= 2
        x, from_norm = norm_gelu(graph, x, block.norm, f"tower.{index}.norm", bias)
        name, whole = f"tower.{index}.conv", length % 4 == 0
        x, from_conv = conv(graph, x, block.conv.weight, name, length, by_tiles=by_tiles and whole)
        bias = block.conv.bias
        raw.insert(0, x)
        backs.append((from_pool, from_norm, from_conv))
    _, last_pool = pool(graph, x, length)
    skips = []
    for index, (unet, skip) in enumerate(zip(cast("Iterable[UnetBlock]", model.unet), raw, strict=False)):
        name = f"unet.{index}"
        skip, from_norm = norm_gelu(graph, skip, unet.norm_skip, f"{name}.norm_skip", blocks[-1 - index].conv.bias)
        _, from_dense = pointwise(graph, skip, unet.dense_skip, f"{name}.dense_skip")
        skips.append((from_norm, from_dense))

    def back(to_tokens: str, to_skips: list[str]) -> str:
        g = last_pool(to_tokens)
        for depth, (from_pool, from_norm, from_conv) in enumerate(reversed(backs)):
            if depth < len(skips):
                skip_norm, skip_dense = skips[depth]
                g = graph.node("Add", g, skip_norm(skip_dense(to_skips[depth])))
            g = from_pool(from_norm(from_conv(g)))
        return from_stem(g)

    return back
