"""DeepLIFT's rules (Shrikumar et al., ICML 2017; those of tangermeme 1.6 for what is not elementwise).

A *pair* is what a layer makes of a sequence x and of a reference r. A rule gives the multipliers of a layer: numbers m
with ``sum m (x - r) = y - y_r``, which stand where the derivatives of the layer would. Chained, they are those of the
network, and autograd chains them: the x of a pair carries a function whose way back is the rule, its r carries nothing.

=================  =================================================================================================
elementwise        (y - y_r) / (x - r); the slope between them where these are close
max of two         what the largest gains goes to the base that has it, what it loses to the one that had it
product a b        a gets (b + b_r) / 2, b gets (a + a_r) / 2
layer norm         product of centred input and inverse deviation, the second by way of the variance
softmax            exp, sum and quotient, each by its logarithm: y = exp(x - log sum exp x)
=================  =================================================================================================

All hold exactly but for rounding. Differences of logarithms are never taken of small numbers: the mean slope of exp
between two points, (e^a - e^b) / (a - b), is ``e^max (1 - e^-d) / d`` with d = |a - b|.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]

# Where x and r are closer than this, the slope between them errs less (by d^2 / 24 of the third derivative) than the
# quotient of two rounded differences does.
_CLOSE = {torch.float32: 1e-2, torch.float64: 1e-4}


class _Scaled(torch.autograd.Function):
    """``y`` forward; back, a derivative times ``multipliers``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, multipliers: Tensor) -> Tensor:
        ctx.save_for_backward(multipliers)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (multipliers,) = ctx.saved_tensors
        return grads[0] * multipliers, None, None


def linear(layer: Callable[[Tensor], Tensor], pair: Pair) -> Pair:
    """Apply a layer that is linear up to a constant, whose derivatives are its multipliers."""
    with torch.no_grad():
        reference = layer(pair[1])
    return layer(pair[0]), reference


def added(one: Pair, other: Pair) -> Pair:
    """Add two pairs."""
    return one[0] + other[0], one[1] + other[1]


def elementwise(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], pair: Pair) -> Pair:
    """Apply a smooth function to every number."""
    x, r = pair[0].detach(), pair[1]
    with torch.no_grad():
        y, reference, change = function(x), function(r), x - r
        close = change.abs() < _CLOSE[x.dtype]
        quotient = (y - reference) / change.masked_fill(close, 1.0)
        multipliers = torch.where(close, slope(0.5 * (x + r)), quotient)
    return _scaled(pair[0], y, multipliers), reference


def gelu(pair: Pair) -> Pair:
    """GELU in its tanh form."""

    def slope(x: Tensor) -> Tensor:
        found: Tensor = torch.ops.aten.gelu_backward(torch.ones_like(x), x, approximate="tanh")
        return found

    return elementwise(lambda x: functional.gelu(x, approximate="tanh"), slope, pair)


def softplus(pair: Pair) -> Pair:
    """``log(1 + exp(x))``, without the threshold beyond which torch's is a line."""
    return elementwise(lambda x: torch.logaddexp(torch.zeros_like(x), x), torch.sigmoid, pair)


def relu(pair: Pair) -> Pair:
    """Keep what is above 0: of one side the multiplier is 1 or 0, across it a quotient without cancellation."""
    x, r = pair[0].detach(), pair[1]
    with torch.no_grad():
        y, reference = torch.relu(x), torch.relu(r)
        crossed = (x > 0) != (r > 0)
        quotient = (y - reference) / (x - r).masked_fill(~crossed, 1.0)
        multipliers = torch.where(crossed, quotient, (x > 0).to(x.dtype))
    return _scaled(pair[0], y, multipliers), reference


def pool(pair: Pair) -> Pair:
    """Take the larger of every two neighbours along the last axis; of equal ones the first counts."""
    with torch.no_grad():
        (x1, x2), (r1, r2) = (_neighbours(part.detach()) for part in pair)
        x_first, r_first = x1 >= x2, r1 >= r2
        y, reference = torch.where(x_first, x1, x2), torch.where(r_first, r1, r2)
        gained = (y - reference).clamp_min(0.0)  # to whoever is largest in x
        lost = (y - reference).clamp_max(0.0)  # to whoever was in r
        parts = []
        for x, r, has, had in ((x1, r1, x_first, r_first), (x2, r2, ~x_first, ~r_first)):
            change = x - r
            share = torch.where(has, gained, 0.0) + torch.where(had, lost, 0.0)
            moved = change != 0.0
            quotient = torch.where(moved, share / change.masked_fill(~moved, 1.0), has.to(x.dtype))
            parts.append(torch.where(has == had, has.to(x.dtype), quotient))
        multipliers = torch.stack(parts, dim=-1).flatten(-2)
    return _Pooled.apply(pair[0], y, multipliers), reference


class _Pooled(_Scaled):
    """As :class:`_Scaled`, from every two numbers to one."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (multipliers,) = ctx.saved_tensors
        return grads[0].repeat_interleave(2, dim=-1) * multipliers, None, None


def product(one: Pair, other: Pair) -> Pair:
    """Multiply matrices: ``one @ other``."""
    with torch.no_grad():
        reference = one[1] @ other[1]
        halves = [0.5 * (part[0] + part[1]) for part in (one, other)]
    found: Tensor = _Product.apply(one[0], other[0], *halves)
    return found, reference


class _Product(torch.autograd.Function):
    """A product of matrices whose way back is that at the middle of both pairs."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, one_half: Tensor, other_half: Tensor) -> Tensor:
        ctx.save_for_backward(one_half, other_half)
        return one @ other

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        one, other = ctx.saved_tensors
        return grads[0] @ other.transpose(-1, -2), one.transpose(-1, -2) @ grads[0], None, None


def layer_norm(layer: nn.LayerNorm, pair: Pair) -> Pair:
    """Normalise over the last axis.

    With a the centred input, s its variance and v = 1 / sqrt(s + eps): ``y = weight a v + bias``, and
    ``v - v_r = -(s - s_r) (v v_r)^2 / (v + v_r)``, where the variance is a mean of products of a with itself.
    """
    x, r = pair[0].detach(), pair[1]
    with torch.no_grad():
        y, reference = layer(x), layer(r)
        a, a_r = (part - part.mean(dim=-1, keepdim=True) for part in (x, r))
        v, v_r = ((part.square().mean(dim=-1, keepdim=True) + layer.eps).rsqrt() for part in (a, a_r))
        inner = 0.5 * (a + a_r)
        bend = -2.0 * (v * v_r).square() / ((v + v_r) * x.shape[-1]) * inner
    found: Tensor = _Normed.apply(pair[0], y, layer.weight.detach(), 0.5 * (v + v_r), inner, bend)
    return found, reference


class _Normed(torch.autograd.Function):
    """The way back of :func:`layer_norm`: by the centred input, and by the variance."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, v: Tensor, inner: Tensor, bend: Tensor) -> Tensor:
        ctx.save_for_backward(weight, v, inner, bend)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        weight, v, inner, bend = ctx.saved_tensors
        g = grads[0] * weight
        found = v * (g - g.mean(dim=-1, keepdim=True)) + bend * (g * inner).sum(dim=-1, keepdim=True)
        return found, None, None, None, None, None


def softmax(pair: Pair) -> Pair:
    """Shares along the last axis.

    By logarithms, ``y_i - y_ir = own_i ((x_i - r_i) - (S - S_r))`` with S = log sum exp x, and
    ``S - S_r = sum_j common_j (x_j - r_j)``; ``own`` is the mean slope of exp between the logarithms of both shares,
    ``common`` that between the logits, over that between the sums.
    """
    x, r = pair[0].detach(), pair[1]
    with torch.no_grad():
        total, total_r = (part.logsumexp(dim=-1, keepdim=True) for part in (x, r))
        y, reference = (x - total).exp(), (r - total_r).exp()
        own = mean_exp(x - total, r - total_r)
        largest = torch.maximum(total, total_r)
        common = mean_exp(x - largest, r - largest) / mean_exp(total - largest, total_r - largest)
    found: Tensor = _Shares.apply(pair[0], y, own, common)
    return found, reference


class _Shares(torch.autograd.Function):
    """The way back of :func:`softmax`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, own: Tensor, common: Tensor) -> Tensor:
        ctx.save_for_backward(own, common)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        own, common = ctx.saved_tensors
        g = grads[0] * own
        return g - common * g.sum(dim=-1, keepdim=True), None, None, None


def mean_exp(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of exp between two numbers: ``(e^a - e^b) / (a - b)``, and e^a where they are equal."""
    d = (a - b).abs()
    same = d == 0.0
    mean = torch.where(same, 1.0, -torch.expm1(-d) / d.masked_fill(same, 1.0))
    return torch.maximum(a, b).exp() * mean


def _neighbours(x: Tensor) -> tuple[Tensor, Tensor]:
    pairs = x.unflatten(-1, (-1, 2))
    return pairs[..., 0], pairs[..., 1]


def _scaled(x: Tensor, y: Tensor, multipliers: Tensor) -> Tensor:
    found: Tensor = _Scaled.apply(x, y, multipliers)
    return found
