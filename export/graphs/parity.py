"""The gate every bundle passes: onnxruntime must compute what PyTorch does, in one pass and from parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import PARITY_LIMITS, Limits
from borzoi_rt.bundle.manifest import N_POLICIES
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import ParityError

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig

# Enough tracks to see every part of the head, few enough that golden.npz stays small.
_GOLDEN_TRACKS = 16
_PARITY_TRACKS = 256


@dataclass(frozen=True)
class Reference:
    """What PyTorch computes: a window, some tracks, and coverage (1, tracks, bins) by the code of unknown bases."""

    sequence: np.ndarray
    tracks: np.ndarray
    coverage: dict[float, np.ndarray]


def torch_reference(model: Borzoi) -> Reference:
    """Run the network on a random window with unknown bases, under both codes of them."""
    config = model.config
    sequence = parity_sequence(config)
    chosen = np.unique(np.linspace(0, config.tracks - 1, _PARITY_TRACKS).astype(np.int64))
    coverage = {n_fill: _torch_coverage(model, sequence, chosen, n_fill) for n_fill in N_POLICIES.values()}
    return Reference(sequence, chosen, coverage)


def gate(reference: Reference, draft: Bundle) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare a bundle with its network.

    Returns
    -------
    dict
        Figures for the manifest: of one pass (``max_abs``, ``max_rel``) and of the split graphs (``split_...``).
    dict
        The golden example.

    Raises
    ------
    ParityError
        If a limit is broken.
    """
    sequence, chosen, wanted = reference.sequence, reference.tracks, reference.coverage
    # One engine after the other: their peaks of memory must not add up at the published size.
    session = open_session(draft, "onnx:cpu")
    try:
        found = {n_fill: session.run(sequence, chosen, n_fill=n_fill) for n_fill in wanted}
        index = chosen[np.linspace(0, len(chosen) - 1, min(_GOLDEN_TRACKS, len(chosen))).astype(int)]
        golden = {"sequence": sequence, "track_index": index, "coverage": session.run(sequence, index)}
    finally:
        session.close()
    limits = PARITY_LIMITS[draft.info.precision]
    whole = _judge(wanted, found, limits, "onnxruntime")
    parts = open_engine(draft, "onnx:cpu")
    try:
        found = {0.0: parts.run(sequence, chosen)}
    finally:
        parts.close()
    split = _judge({0.0: wanted[0.0]}, found, limits, "the split graphs on onnxruntime")
    report = {
        "max_abs": whole[0],
        "max_rel": whole[1],
        "median_rel": whole[2],
        "split_max_abs": split[0],
        "split_max_rel": split[1],
        "tracks": len(chosen),
        "bins": draft.geometry.bins,
        "provider": "cpu",
    }
    return report, golden


def parity_sequence(config: BorzoiConfig) -> np.ndarray:
    """Return the fixed random window of the gate, uint8 (1, 4, length), 2 % of it unknown in one run."""
    length = config.sequence_length_bp
    generator = np.random.default_rng(20240229)
    letters = generator.integers(0, 4, length)
    letters[length // 3 : length // 3 + length // 50] = 4
    return (letters[None, :] == np.arange(4)[:, None]).astype(np.uint8)[None]


def _torch_coverage(model: Borzoi, sequence: np.ndarray, chosen: np.ndarray, n_fill: float) -> np.ndarray:
    x = torch.from_numpy(sequence).float()
    x = x + n_fill * (1.0 - x.sum(dim=1, keepdim=True))
    with torch.inference_mode():
        embedding = model.embed(*model.trunk(x))
        weight, bias = model.head.weight[chosen], model.head.bias[chosen]
        coverage: np.ndarray = torch.nn.functional.softplus(weight @ embedding + bias[:, None]).numpy()
    return coverage


def _judge(
    wanted: dict[float, np.ndarray], found: dict[float, np.ndarray], limits: Limits, name: str
) -> tuple[float, float, float]:
    """Return the largest absolute and relative difference, both within the limits, and the median of the relative."""
    max_abs = max_rel = median_rel = largest = 0.0
    for n_fill, got in found.items():
        want = wanted[n_fill]
        difference = np.abs(got - want)
        if not np.isfinite(difference).all():
            raise ParityError(f"{name} gives NaN or infinite values on a random window; no bundle was written")
        max_abs = max(max_abs, float(difference.max()))
        relative = difference / (want + 1e-4)
        max_rel = max(max_rel, float(relative.max()))
        median_rel = max(median_rel, float(np.median(relative)))
        largest = max(largest, float(want.max()))
    if not (max_abs <= limits.atol * max(1.0, largest) and max_rel <= limits.rtol):
        raise ParityError(
            f"{name} differs from PyTorch by {max_abs:.3g} absolute and {max_rel:.3g} relative (allowed: "
            f"{limits.atol * max(1.0, largest):.3g} and {limits.rtol:g}); no bundle was written"
        )
    return max_abs, max_rel, median_rel
