"""The one rule by which two computations of the same coverage are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bundle import Bundle
from ..errors import ParityError
from .protocols import Session


@dataclass(frozen=True, slots=True)
class Limits:
    """What two engines may differ by: ``atol``, times the value where that exceeds 1, and ``rtol`` of value + 1e-4."""

    atol: float
    rtol: float


# By precision of a bundle. Half precision rounds a typical bin of the trained test model by 0.3 %, the worst by 6 %.
PARITY_LIMITS = {"fp32": Limits(2e-5, 1e-4), "fp16": Limits(0.1, 0.1)}


def replay_golden(session: Session, bundle: Bundle) -> dict[str, float]:
    """Run the golden example of a bundle and compare, under the limits of its precision.

    Returns
    -------
    dict
        ``max_abs`` and ``max_rel``, the latter with the denominator ``coverage + 1e-4``.

    Raises
    ------
    ParityError
        If both limits are not met; the message names the worst track and bin.
    """
    golden = bundle.golden()
    want = golden["coverage"]
    got = session.run(golden["sequence"], golden["track_index"])
    if got.shape != want.shape:
        raise ParityError(
            f"{bundle.path}: the golden example has shape {want.shape}, {session.provider} gave {got.shape}"
        )
    found, wanted = (np.concatenate(list(values), axis=-1) for values in (got, want))  # windows side by side
    limits = PARITY_LIMITS[bundle.info.precision]
    report = compare_coverage(found, wanted, limits)
    if report.wrong is not None:
        track, position = report.wrong
        name = bundle.tracks.identifier[int(golden["track_index"][track])]
        raise ParityError(
            f"{bundle.path}: {session.provider} does not reproduce the golden example: largest difference "
            f"{report.max_abs:.3g} absolute, {report.max_rel:.3g} relative (allowed {limits.atol:g} and "
            f"{limits.rtol:g}); worst track {name!r}, bin {position % want.shape[-1]}; "
            "check the driver and provider versions, or use onnx:cpu"
        )
    return {"max_abs": report.max_abs, "max_rel": report.max_rel}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Largest differences of two coverages; ``wrong`` is the worst (track, bin) where a limit is broken."""

    max_abs: float
    max_rel: float
    wrong: tuple[int, int] | None


def compare_coverage(got: np.ndarray, want: np.ndarray, limits: Limits) -> Comparison:
    """Compare squashed coverage (tracks, bins)."""
    difference = np.abs(got.astype(np.float64) - want)
    relative = difference / (np.abs(want) + 1e-4)
    # Rounding grows with the value, so the absolute limit does above 1. ~(x <= limit), not x > limit: a NaN must fail.
    wrong = ~((difference <= limits.atol * np.maximum(1.0, np.abs(want))) & (relative <= limits.rtol))
    worst = None
    if wrong.any():
        place = np.argmax(np.where(wrong, np.nan_to_num(relative, nan=np.inf), -1.0))
        track, position = np.unravel_index(place, wrong.shape)
        worst = (int(track), int(position))
    return Comparison(float(difference.max(initial=0.0)), float(relative.max(initial=0.0)), worst)
