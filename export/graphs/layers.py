"""Layers that tower and decoder share, on activations whose last axis is the channel."""

from __future__ import annotations

import numpy as np
import torch

from ..models.borzoi import BATCH_NORM_EPS
from .builder import GraphBuilder
from .spans import Span


def array(tensor: torch.Tensor) -> np.ndarray:
    """Return a parameter as an array."""
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values


def norm_terms(norm: torch.nn.BatchNorm1d, bias: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift of a normalisation of ``x + bias``, float64 (channels,)."""
    mean, variance = (array(torch.as_tensor(part)).astype(np.float64) for part in (norm.running_mean, norm.running_var))
    scale = array(norm.weight) / np.sqrt(variance + BATCH_NORM_EPS)
    return scale, array(norm.bias) - (mean - (0.0 if bias is None else array(bias).astype(np.float64))) * scale


def norm_gelu(
    graph: GraphBuilder,
    x: str,
    norm: torch.nn.BatchNorm1d,
    name: str,
    bias: torch.Tensor | None = None,
    *,
    axes_behind: int = 0,
) -> str:
    """Normalise and activate ``x + bias``: one product and one sum, folded in float64.

    ``axes_behind`` is the number of axes after that of the channels.
    """
    scale, shift = norm_terms(norm, bias)
    factor, term = (part.astype(np.float32).reshape(-1, *[1] * axes_behind) for part in (scale, shift))
    x = graph.node("Mul", x, graph.weight(f"{name}.scale", factor), label=name)
    x = graph.node("Add", x, graph.weight(f"{name}.shift", term))
    return graph.node("Gelu", x, approximate="tanh")


def pointwise(graph: GraphBuilder, x: str, conv: torch.nn.Conv1d, name: str) -> str:
    """Convolution of width 1, as a product."""
    x = graph.node("MatMul", x, graph.weight(f"{name}.weight", array(conv.weight)[:, :, 0].T), label=name)
    return x if conv.bias is None else graph.node("Add", x, graph.weight(f"{name}.bias", array(conv.bias)))


def dense(graph: GraphBuilder, x: str, linear: torch.nn.Linear, name: str, scale: float = 1.0) -> str:
    """Linear layer, its weights times ``scale``."""
    weight = (array(linear.weight).T.astype(np.float64) * scale).astype(np.float32)
    x = graph.node("MatMul", x, graph.weight(f"{name}.weight", weight), label=name)
    return x if linear.bias is None else graph.node("Add", x, graph.weight(f"{name}.bias", array(linear.bias)))


def take(graph: GraphBuilder, x: str, span: Span) -> str:
    """Take the positions of a span."""
    if span.origin is None:
        return x if span.size == span.length else graph.slice(x, 1, span.start, span.end)
    return graph.window(x, 1, graph.node("Add", graph.integers(span.start), span.origin), span.size)


def zeros_like(graph: GraphBuilder, x: str) -> str:
    """Return zeros of the shape of a value, for GPUs: without ``Shape``, which runs on the CPU."""
    return graph.node("Mul", x, graph.weight("zero", np.zeros(1, dtype=np.float32)))


def padded(graph: GraphBuilder, x: str, left: int, right: int) -> str:
    """Put zeros before and behind (batch, length, channels) without ``Pad``, which CUDA lacks in some releases."""
    before, behind = ([zeros_like(graph, graph.slice(x, 1, 0, count))] if count else [] for count in (left, right))
    return graph.concat([*before, x, *behind], 1)
