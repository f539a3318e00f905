"""What the gate says of the gradient graphs: onnxruntime against autograd in float64, measured in autograd's own noise.

Max-pools make a gradient jump: where two neighbours are equal but for rounding, the other one wins, and the derivatives
of some hundred bases differ at once. float32 autograd does the same elsewhere. So three figures are judged, each
against that of autograd in float32: the error that nine of ten positions stay below, the share of positions that are
far off, and the correlation. Of a long window eight stretches are followed through the tower, its ends and its unknown
bases among them; everything behind the tower is compared by way of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from borzoi_rt.backends.gradient import open_gradient
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.parity import EXPORT_FACTOR
from borzoi_rt.engine.gradient import GradientSession
from borzoi_rt.errors import ParityError

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig
from .exact import TILE_TOKENS, doubled, one_thread, reach_tokens, tiled_trunk
from .finish import THREADS
from .parity import random_window
from .spans import Span

_TRACKS = 16
_STRETCHES = 8
_SHARE = 0.9  # of the positions whose error must be small
_FAR = 1e-3  # of the largest derivative: what only another winner of a pool explains
# What is allowed of a network that autograd in float32 gets right to the last digit.
_LEAST_ERROR, _LEAST_FAR, _LEAST_LOSS = 1e-5, 2e-3, 1e-5


@dataclass(frozen=True)
class GradientFigures:
    """How far a gradient is from float64: error of most positions and share far off, in the largest; 1 - Pearson."""

    error: float
    far: float
    loss: float

    @classmethod
    def of(cls, got: np.ndarray, want: np.ndarray) -> GradientFigures:
        """Compare gradients (4, bases)."""
        errors = np.abs(got - want).max(axis=0) / np.abs(want).max()
        loss = 1.0 - float(np.corrcoef(got.ravel(), want.ravel())[0, 1])
        return cls(float(np.quantile(errors, _SHARE)), float(np.mean(errors > _FAR)), loss)

    def allowed(self) -> GradientFigures:
        """Return what is allowed where these are the figures of autograd in float32."""
        return GradientFigures(
            max(EXPORT_FACTOR * self.error, _LEAST_ERROR),
            max(EXPORT_FACTOR * self.far, _LEAST_FAR),
            max(EXPORT_FACTOR * self.loss, _LEAST_LOSS),
        )

    def within(self, allowed: GradientFigures) -> bool:
        """Tell whether no figure is larger; a NaN is."""
        mine, theirs = asdict(self), asdict(allowed)
        return all(mine[name] <= theirs[name] for name in mine)


class GradientGate:
    """Judges drafts of one network; autograd runs once, however many forms of the graphs are tried."""

    def __init__(self, model: Borzoi) -> None:
        config = model.config
        self._window = random_window(config.sequence_length_bp)
        self._tracks = np.unique(np.linspace(0, config.tracks - 1, _TRACKS).astype(np.int64))
        rng = np.random.default_rng(20240229)
        self._cotangent = rng.standard_normal((len(self._tracks), config.bins))
        twin = doubled(model)
        for parameter in twin.parameters():
            parameter.requires_grad_(False)
        twin.transformer = nn.ModuleList(_Rewound(block) for block in twin.transformer)
        starts = stretches_of(config)
        self._seen = _seen(config, starts)
        self._want = self._by_autograd(twin, starts)
        with one_thread():
            self._noise = GradientFigures.of(self._by_autograd(twin.float(), starts), self._want)

    def _by_autograd(self, model: Borzoi, starts: Sequence[int]) -> np.ndarray:
        found = autograd(model, self._window, self._tracks, self._cotangent, starts)
        return found[:, self._seen]

    def __call__(self, draft: Bundle) -> dict[str, dict[str, float]]:
        """Return the figures of a draft bundle, for its manifest.

        Raises
        ------
        ParityError
            If one of them is larger than allowed.
        """
        session = GradientSession(open_gradient(draft, "cpu", threads=THREADS))
        try:
            found = session.pullback(
                self._window[0].astype(np.float32),
                self._tracks,
                self._cotangent,
                bins=(0, draft.geometry.bins),
                bases=(0, draft.geometry.sequence_length_bp),
            )
        finally:
            session.close()
        figures, allowed = GradientFigures.of(found[:, self._seen], self._want), self._noise.allowed()
        if not figures.within(allowed):
            raise ParityError(
                f"gradient graphs: onnxruntime gives {figures}, allowed is {allowed}, where autograd in float32 gives "
                f"{self._noise}; no bundle was written"
            )
        return {"gradient": asdict(figures), "gradient_allowed": asdict(allowed)}


def gate_once(model: Borzoi) -> Callable[[Bundle], dict[str, dict[str, float]]]:
    """Return a gate that runs autograd when the first draft comes: the peaks of memory must not add up."""
    made: list[GradientGate] = []

    def judge(draft: Bundle) -> dict[str, dict[str, float]]:
        if not made:
            made.append(GradientGate(model))
        return made[0](draft)

    return judge


class _Rewound(nn.Module):
    """A block that is computed again on the way back, so that the shares of one block at a time are in memory."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(self.block, x, use_reentrant=False)
        return found


def stretches_of(config: BorzoiConfig) -> list[int]:
    """Return the first tokens of the stretches that are followed through the tower: all of a short window."""
    every = list(range(0, config.tokens, TILE_TOKENS))
    if len(every) <= _STRETCHES:
        return every
    chosen = {round(number * (len(every) - 1) / (_STRETCHES - 2)) for number in range(_STRETCHES - 1)}
    chosen.add(config.tokens // 3 // TILE_TOKENS)  # where the unknown bases begin
    return [every[number] for number in sorted(chosen)]


def _seen(config: BorzoiConfig, starts: Sequence[int]) -> np.ndarray:
    """Return which bases depend on tokens of these stretches alone, bool (length,)."""
    token_bp, reach = config.sequence_length_bp // config.tokens, reach_tokens(config)
    done = np.zeros(config.tokens, dtype=bool)
    for start in starts:
        done[start : start + TILE_TOKENS] = True
    missing = np.convolve(~done, np.ones(2 * reach + 1), mode="same") > 0
    return np.repeat(~missing, token_bp)


def autograd(
    model: Borzoi,
    window: np.ndarray,
    tracks: np.ndarray,
    cotangent: np.ndarray,
    starts: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the derivative of ``sum(cotangent * coverage)`` by the window, float64 (4, length), tile after tile.

    Parameters
    ----------
    model : Borzoi
        In the precision to compute in.
    window : ndarray of shape (1, 4, length)
    tracks : int64 ndarray of shape (tracks,)
    cotangent : float64 ndarray of shape (tracks, bins)
    starts : sequence of int, optional
        First tokens of the stretches of ``TILE_TOKENS`` whose part is added up; all when None.
    """
    kind = model.head.weight.dtype
    x = torch.from_numpy(np.ascontiguousarray(window)).to(kind)
    with torch.no_grad():
        tokens, skips = tiled_trunk(model, x)
    leaves = [part.requires_grad_() for part in (tokens, *skips)]
    embedding = model.embed(leaves[0], leaves[1:])
    logits = model.head.weight[tracks] @ embedding + model.head.bias[tracks][:, None]
    coverage = torch.logaddexp(torch.zeros_like(logits), logits)
    (coverage * torch.from_numpy(cotangent).to(kind)).sum().backward()
    derivatives = [part.grad for part in leaves if part.grad is not None]
    return _trunk_back(model, x, derivatives, range(0, model.config.tokens, TILE_TOKENS) if starts is None else starts)


def _trunk_back(model: Borzoi, x: Tensor, derivatives: list[Tensor], starts: Sequence[int]) -> np.ndarray:
    """Follow derivatives by tokens and skips back to the bases, of some tokens at a time."""
    config = model.config
    token_bp, halo = config.sequence_length_bp // config.tokens, reach_tokens(config)
    total = torch.zeros(x.shape[1:], dtype=torch.float64)
    for start in starts:
        kept = Span(start, min(start + TILE_TOKENS, config.tokens), config.tokens)
        read = kept.widened(halo)
        bases = slice(read.start * token_bp, read.end * token_bp)
        leaf = x[..., bases].clone().requires_grad_()
        tokens, skips = model.convolve(leaf)
        score = torch.zeros((), dtype=x.dtype)
        for part, derivative in zip((tokens, *skips), derivatives, strict=True):
            scale = part.shape[-1] // read.size
            first, count = (kept.start - read.start) * scale, kept.size * scale
            own = derivative[..., kept.start * scale : kept.end * scale]
            score = score + (part[..., first : first + count] * own).sum()
        score.backward()
        if leaf.grad is not None:
            total[:, bases] += leaf.grad[0].double()
    found: np.ndarray = total.numpy()
    return found
