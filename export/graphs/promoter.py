"""The ``predict`` graph of a promoter network, with the motif mask as input.

Inputs ``mask`` and ``fill`` have defaults (1 and 0, stored in the graph), so that a reader that knows nothing of motifs
runs the model as it is; activations are replaced by ``a * mask + fill``. Two exact rewrites: the reverse strand is read
by turned kernels in the same convolution, and activations are (batch, channels, 1, length), as in :mod:`.predict`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto
from torch import nn

from borzoi_rt.bundle.manifest import GraphInfo

from ..models.promoter import (
    ChannelGate,
    ConsensusNet,
    ConvBlock,
    ConvNorm,
    MotifNetwork,
    Predictor,
    ResidualNet,
    Unet,
    Up,
)
from ..models.puffin import Puffin
from .builder import GraphBuilder, WeightsFile

FILE = "predict.onnx"
INPUTS = ("sequence", "track_index", "n_fill", "mask", "fill")
OUTPUTS = ("coverage", "activations")


def write_promoter(model: MotifNetwork | Puffin, directory: Path, weights: WeightsFile) -> GraphInfo:
    """Write ``predict.onnx`` of a network of any stage and return its description."""
    config = model.config
    grid, channels = config.geometry, 2 * config.motifs
    length, crop = grid.sequence_length_bp, grid.crop_bp
    graph = GraphBuilder("predict", weights)
    sequence = graph.input("sequence", TensorProto.UINT8, ["batch", 4, length])
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    n_fill = graph.input("n_fill", TensorProto.FLOAT, [])
    for name, default in (("mask", 1.0), ("fill", 0.0)):
        graph.input(name, TensorProto.FLOAT, [f"{name}_batch", channels, f"{name}_positions"])
        graph.weight(name, np.full((1, channels, 1), default, dtype=np.float32))
    emitter = _Emitter(graph)
    x = emitter.filled(sequence, n_fill)
    a = emitter.activations(model, x)
    masked = graph.node("Mul", a, graph.node("Unsqueeze", "mask", graph.integers(2)))
    masked = graph.node("Add", masked, graph.node("Unsqueeze", "fill", graph.integers(2)), label="removed")
    out = graph.node("Squeeze", emitter.effects(model, x, masked), graph.integers(2))
    out = graph.node("Gather", graph.slice(out, 2, crop, length - crop), track_index, axis=1)
    graph.save(
        directory / FILE,
        {
            "coverage": (out, ["batch", "tracks", grid.bins]),
            "activations": (graph.node("Squeeze", a, graph.integers(2)), ["batch", channels, length]),
        },
    )
    return GraphInfo(file=FILE, inputs=INPUTS, outputs=OUTPUTS)


class _Emitter:
    """Writes the parts of the networks; names of weights are those of the layers."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph

    def filled(self, sequence: str, n_fill: str) -> str:
        """x + n_fill * (1 - sum of the four rows), (batch, 4, 1, length)."""
        graph = self.graph
        x = graph.node("Cast", sequence, to=TensorProto.FLOAT)
        one = graph.weight("one", np.array(1.0, dtype=np.float32))
        unknown = graph.node("Sub", one, graph.node("ReduceSum", x, graph.integers(1), keepdims=1))
        x = graph.node("Add", x, graph.node("Mul", unknown, n_fill), label="filled")
        return graph.node("Unsqueeze", x, graph.integers(2))

    def activations(self, model: nn.Module, x: str) -> str:
        if isinstance(model, Puffin):
            return self.graph.node("Softplus", self.both_strands(x, model.conv, "conv"))
        if isinstance(model, ConsensusNet):
            return self.silu(self.both_strands(x, model.motif, "motif"))
        if isinstance(model, ResidualNet):
            return self.scaled_sigmoid(self.both_strands(x, model.motif, "motif"), model.scale_motif, "scale_motif")
        assert isinstance(model, Predictor)
        return self.gate(self.graph.node("Sigmoid", self.both_strands(x, model.motif, "motif")), model.gate, "gate")

    def effects(self, model: nn.Module, x: str, a: str) -> str:
        graph = self.graph
        if isinstance(model, Puffin):
            short = graph.node("Softplus", self.both_strands(x, model.conv_sim, "conv_sim"))
            initiator = graph.node("Softplus", self.both_strands(x, model.conv_inr, "conv_inr"))
            out = graph.node(
                "Add", self.conv(a, model.deconv, "deconv"), self.conv(short, model.deconv_sim, "deconv_sim")
            )
            return graph.node(
                "Softplus", graph.node("Add", out, self.transposed(initiator, model.deconv_inr, "deconv_inr"))
            )
        if isinstance(model, ConsensusNet):
            return graph.node("Softplus", self.norm(self.conv(a, model.effect, "effect"), model.norm, "norm"))
        if isinstance(model, ResidualNet):
            other = self.scaled_sigmoid(self.both_strands(x, model.other, "other"), model.scale_other, "scale_other")
            long = self.norm(self.conv(a, model.effect, "effect"), model.norm, "norm")
            short = self.norm(self.conv(other, model.effect_other, "effect_other"), model.norm_other, "norm_other")
            return graph.node("Softplus", graph.node("Add", long, short))
        assert isinstance(model, Predictor)
        other = graph.node("Sigmoid", self.both_strands(x, model.other, "other"))
        y = self.conv_norm(graph.node("Concat", a, other, axis=1), model.mix, "mix")
        mean, peak = (
            self.silu(self.norm(y, model.norm_mean, "norm_mean")),
            self.silu(self.norm(y, model.norm_peak, "norm_peak")),
        )
        y = graph.node("Add", graph.node("Add", mean, peak), y)
        for index, unet in enumerate(model.unets):
            y = self.unet(y, unet, f"unets.{index}")  # type: ignore[arg-type]
        return graph.node("Softplus", self.conv(y, model.head, "head"))

    def both_strands(self, x: str, conv: nn.Conv1d, name: str) -> str:
        """A kernel turned in both axes reads the reverse complement where it stands."""
        weight, bias = _array(conv.weight), _array(conv.bias)
        weight = np.concatenate([weight, weight[:, ::-1, ::-1]])
        return self._conv(x, weight, np.concatenate([bias, bias]), f"{name}.both", pad=conv.kernel_size[0] // 2)

    def conv(self, x: str, conv: nn.Conv1d, name: str) -> str:
        bias = None if conv.bias is None else _array(conv.bias)
        return self._conv(x, _array(conv.weight), bias, name, pad=conv.kernel_size[0] // 2, stride=conv.stride[0])

    def transposed(self, x: str, conv: nn.ConvTranspose1d, name: str) -> str:
        """A transposed convolution of stride 1 is a convolution with turned kernels."""
        weight = _array(conv.weight).transpose(1, 0, 2)[:, :, ::-1]
        return self._conv(x, weight, _array(conv.bias), name, pad=conv.kernel_size[0] // 2)

    def _conv(
        self, x: str, weight: np.ndarray, bias: np.ndarray | None, name: str, *, pad: int, stride: int = 1
    ) -> str:
        inputs = [self.graph.weight(f"{name}.weight", np.ascontiguousarray(weight[:, :, None, :]))]
        if bias is not None:
            inputs.append(self.graph.weight(f"{name}.bias", bias))
        kernel = [1, weight.shape[-1]]
        return self.graph.node(
            "Conv", x, *inputs, label=name, kernel_shape=kernel, pads=[0, pad, 0, pad], strides=[1, stride]
        )

    def norm(self, x: str, norm: nn.BatchNorm1d, name: str) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        values = [self.graph.weight(f"{name}.{part}", _array(getattr(norm, part))) for part in parts]
        return self.graph.node("BatchNormalization", x, *values, epsilon=norm.eps, label=name)

    def silu(self, x: str) -> str:
        return self.graph.node("Mul", x, self.graph.node("Sigmoid", x), label="silu")

    def scaled_sigmoid(self, x: str, scale: torch.Tensor, name: str) -> str:
        factor = self.graph.weight(name, _array(scale) ** 2)
        return self.graph.node("Sigmoid", self.graph.node("Mul", x, factor))

    def conv_norm(self, x: str, block: ConvNorm, name: str) -> str:
        return self.silu(self.norm(self.conv(x, block.conv, f"{name}.conv"), block.norm, f"{name}.norm"))

    def gate(self, x: str, gate: ChannelGate, name: str) -> str:
        graph = self.graph
        pooled: dict[str, Callable[[], str]] = {
            "mean": lambda: graph.node("ReduceMean", x, graph.integers(2, 3), keepdims=0),
            "peak": lambda: graph.node("ReduceMax", x, graph.integers(2, 3), keepdims=0),
        }
        sides = []
        for side, pool in pooled.items():
            weight = graph.weight(f"{name}.{side}.weight", _array(getattr(gate, side).weight).T.copy())
            y = graph.node("MatMul", pool(), weight)
            sides.append(self.norm(y, getattr(gate, f"norm_{side}"), f"{name}.norm_{side}"))
        opened = graph.node("Sigmoid", graph.node("Add", *sides))
        return graph.node("Mul", x, graph.node("Unsqueeze", opened, graph.integers(2, 3)), label=name)

    def block(self, x: str, block: ConvBlock, name: str) -> str:
        u = self.graph.node("Add", self.gate(x, block.gate, f"{name}.gate"), x)
        y = u
        for part in ("widen", "conv", "narrow"):
            y = self.conv_norm(y, getattr(block, part), f"{name}.{part}")
        return self.norm(self.graph.node("Add", y, u), block.norm, f"{name}.norm")

    def up(self, x: str, skip: str, up: Up, name: str) -> str:
        scales = self.graph.weight(f"scales_{up.stride}", np.array([1, 1, 1, up.stride], dtype=np.float32))
        x = self.graph.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
        x = self.norm(self.conv(x, up.conv, f"{name}.conv"), up.norm, f"{name}.norm")
        return self.silu(self.graph.node("Add", x, skip))

    def unet(self, x: str, unet: Unet, name: str) -> str:
        x = self.block(self.conv_norm(x, unet.enter, f"{name}.enter"), unet.first, f"{name}.first")
        x = self.norm(x, unet.norm_first, f"{name}.norm_first")
        skips = []
        for index, (down, block) in enumerate(zip(unet.down, unet.down_block, strict=True)):
            skips.append(x)
            x = self.conv_norm(x, down, f"{name}.down.{index}")  # type: ignore[arg-type]
            x = self.block(x, block, f"{name}.down_block.{index}")  # type: ignore[arg-type]
        for index, (up, block) in enumerate(zip(unet.up, unet.up_block, strict=True)):
            x = self.up(x, skips.pop(), up, f"{name}.up.{index}")  # type: ignore[arg-type]
            x = self.block(x, block, f"{name}.up_block.{index}")  # type: ignore[arg-type]
        for index, leave in enumerate(unet.leave):
            x = self.conv_norm(x, leave, f"{name}.leave.{index}")  # type: ignore[arg-type]
        return x


def _array(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().cpu().numpy()
