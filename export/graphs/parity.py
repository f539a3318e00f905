"""What the gate compares of a Borzoi network: one pass under both codes of unknown bases, and the split graphs."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import moving_parts
from borzoi_rt.bundle.manifest import N_POLICIES
from borzoi_rt.bundle.opening import STATISTICS, Bundle
from borzoi_rt.bundle.parity import Noise, differences, largest_logit
from borzoi_rt.engine.replay import replay_sums
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.engine.summing import SummingSession
from borzoi_rt.errors import ParityError

from ..models.borzoi import Borzoi
from .exact import coverage_of, doubled, exact_coverage, halved, inherited, one_thread
from .finish import THREADS, Check, Reference

# Enough tracks to see every part of the head, few enough that golden.npz stays small.
_GOLDEN_TRACKS = 16
_PARITY_TRACKS = 256
_SUMMING = EngineOptions(fused=True)


def borzoi_reference(model: Borzoi, precision: str) -> Reference:
    """Run the network in float64 and in its own precision on a random window with unknown bases.

    The noise is measured with unknown bases as zeros; the other code changes 2 % of the window and is checked with it.
    """
    config = model.config
    sequence = random_window(config.sequence_length_bp)
    chosen = np.unique(np.linspace(0, config.tracks - 1, _PARITY_TRACKS).astype(np.int64))
    twin = halved(model) if precision == "fp16" else model
    with one_thread():
        rounded = coverage_of(twin, sequence, chosen, 0.0)
    exact = doubled(model)
    coverage = {n_fill: exact_coverage(exact, sequence, chosen, n_fill) for n_fill in N_POLICIES.values()}
    noise = noise_of(rounded, coverage[0.0])
    kept = np.linspace(0, len(chosen) - 1, min(_GOLDEN_TRACKS, len(chosen))).astype(int)
    golden, exact_n0 = coverage[0.0][:, kept], coverage[0.0]

    def whole(n_fill: float) -> Check:
        def run(draft: Bundle) -> np.ndarray:
            session = open_session(draft, "onnx:cpu", threads=THREADS)
            try:
                return session.run(sequence, chosen, n_fill=n_fill)
            finally:
                session.close()

        name = f"whole pass, N as {n_fill:g}"
        return Check(name=name, run=run, want=coverage[n_fill], noise=noise, errors=differences)

    def split(draft: Bundle) -> np.ndarray:
        session = open_engine(draft, "onnx:cpu", threads=THREADS)
        try:
            whole = session.run(sequence, chosen)
            found = [whole]
            for start, end in moving_parts(draft):  # what a body that moves computes, inside the rest
                found.append(whole.copy())
                found[-1][..., start:end] = session.run(sequence, chosen, bins=(start, end))
        finally:
            session.close()
        if STATISTICS in draft.info.graphs and np.isfinite(whole).all():  # other coverage is refused as such
            summing = cast("SummingSession", open_engine(draft, "onnx:cpu", threads=THREADS, options=_SUMMING))
            try:
                replay_sums(summing, draft, sequence, chosen)
            finally:
                summing.close()
        return max(found, key=lambda coverage: float(np.abs(differences(coverage, exact_n0)).max()))

    # One engine after the other: their peaks of memory must not add up at the published size.
    parts = Check(name="split graphs", run=split, want=coverage[0.0], noise=noise, errors=differences)
    return Reference(
        checks=[*(whole(n_fill) for n_fill in coverage), parts],
        golden={"sequence": sequence, "track_index": chosen[kept], "coverage": golden.astype(np.float32)},
        noise=noise,
        golden_noise=Noise.measure(rounded[:, kept], golden),
        inherited=lambda: noise_of(inherited(model, exact, sequence, chosen), coverage[0.0]).rms,
    )


def noise_of(rounded: np.ndarray, exact: np.ndarray) -> Noise:
    """Return the noise of a network.

    Raises
    ------
    ParityError
        If it gives NaN or infinite values.
    """
    if not (np.isfinite(rounded).all() and np.isfinite(exact).all()):
        raise ParityError("PyTorch gives NaN or infinite values on a random window; no bundle was written")
    return Noise.of(differences(rounded, exact), largest_logit(exact))


def random_window(length_bp: int) -> NDArray[np.uint8]:
    """Return the fixed random window of the gate, uint8 (1, 4, length), 2 % of it unknown in one run."""
    letters = np.random.default_rng(20240229).integers(0, 4, length_bp)
    letters[length_bp // 3 : length_bp // 3 + length_bp // 50] = 4
    return (letters[None, :] == np.arange(4)[:, None]).astype(np.uint8)[None]
