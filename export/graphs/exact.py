"""The same network in float64, in float32 and rounded to half: what the gate measures against, and the noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig
from .spans import Span

Network = TypeVar("Network", bound=nn.Module)
TILE_TOKENS = 64  # 8,192 bp: at the published size a tile needs 0.2 GB in float64, the whole tower 9 GB


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: how a sum is shared between threads changes its rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def doubled(model: Network) -> Network:
    """Return a float64 copy of a network in inference mode."""
    return copy.deepcopy(model).double().eval()


def halved(model: Network) -> Network:
    """Return a float32 copy whose weights and layer outputs are rounded to half; the head is left as it is."""
    twin = copy.deepcopy(model).eval()
    for name, module in twin.named_modules():
        if name.split(".")[0] == "head" or next(module.children(), None) is not None:
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.half().float()
        module.register_forward_hook(lambda _module, _inputs, output: output.half().float())
    return twin


def filled(sequence: NDArray[np.uint8], n_fill: float, kind: torch.dtype) -> Tensor:
    """Return one-hot windows (batch, 4, length) with unknown bases coded by ``n_fill``."""
    x = torch.from_numpy(sequence).to(kind)
    return x + n_fill * (1.0 - x.sum(dim=1, keepdim=True))


def coverage_of(model: Borzoi, sequence: NDArray[np.uint8], tracks: NDArray[np.int64], n_fill: float) -> np.ndarray:
    """Return squashed coverage (batch, tracks, bins) of chosen tracks, as the network computes in its own precision."""
    with torch.inference_mode():
        x = filled(sequence, n_fill, model.head.weight.dtype)
        return head_of(model, model.embed(*model.trunk(x)), tracks)


def exact_coverage(model: Borzoi, sequence: NDArray[np.uint8], tracks: NDArray[np.int64], n_fill: float) -> np.ndarray:
    """Return what :func:`coverage_of` does, of a float64 network, its tower tile after tile to save memory."""
    with torch.inference_mode():
        return head_of(model, model.embed(*tiled_trunk(model, filled(sequence, n_fill, torch.float64))), tracks)


def head_of(model: Borzoi, embedding: Tensor, tracks: NDArray[np.int64]) -> np.ndarray:
    """Return squashed coverage of chosen tracks from (batch, channels, bins), all in the precision of the head.

    ``logaddexp(0, logit)`` is softplus, and is exact to rounding for any logit.
    """
    weight, bias = model.head.weight[tracks], model.head.bias[tracks]
    logits = weight @ embedding + bias[:, None]
    coverage: np.ndarray = torch.logaddexp(torch.zeros_like(logits), logits).numpy()
    return coverage


def tiled_trunk(model: Borzoi, x: Tensor, own: int = TILE_TOKENS) -> tuple[Tensor, list[Tensor]]:
    """Return tokens and skips as :meth:`Borzoi.trunk` does, of ``own`` tokens at a time.

    A tile reads further than its cuts spoil; at the ends of a window the padding is the network's.
    """
    config = model.config
    token_bp, halo = config.sequence_length_bp // config.tokens, reach_tokens(config)
    parts: list[list[Tensor]] = []
    for start in range(0, config.tokens, own):
        kept = Span(start, min(start + own, config.tokens), config.tokens)
        read = kept.widened(halo)
        tokens, skips = model.convolve(x[..., read.start * token_bp : read.end * token_bp])
        pieces = []
        for piece in (tokens, *skips):
            scale = piece.shape[-1] // read.size
            first = (kept.start - read.start) * scale
            pieces.append(piece[..., first : first + kept.size * scale].clone())
        parts.append(pieces)
    tokens, *skips = (torch.cat(pieces, dim=-1) for pieces in zip(*parts, strict=True))
    return tokens, skips


def reach_tokens(config: BorzoiConfig) -> int:
    """Return how many tokens away the tower reads at most: half of every kernel, and one token for all pools."""
    token_bp = config.sequence_length_bp // config.tokens
    reach_bp = config.stem_width // 2 + token_bp
    for block in range(len(config.tower_widths)):
        reach_bp += (config.tower_width // 2) * 2 ** (block + 1)
    return -(-reach_bp // token_bp)


def inherited(model: Borzoi, exact: Borzoi, sequence: NDArray[np.uint8], tracks: NDArray[np.int64]) -> np.ndarray:
    """Return coverage where the tower alone was rounded: by ``model``; all after it is float64."""
    with torch.inference_mode():
        with one_thread():
            tokens, skips = model.trunk(filled(sequence, 0.0, torch.float32))
        return head_of(exact, exact.embed(tokens.double(), [skip.double() for skip in skips]), tracks)
