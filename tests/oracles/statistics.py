"""Window statistics in plain float64 loops: one track, one pair, one bin at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Profile = Sequence[float]


def identity(x: float) -> float:
    return x


def log2p(x: float) -> float:
    return math.log2(x + 1.0)


def percentile_25(values: Profile) -> float:
    """25th percentile with linear interpolation between neighbours."""
    ordered = sorted(values)
    rank = 0.25 * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def difference(ref: Profile, alt: Profile, f: Callable[[float], float]) -> float:
    return math.fsum(f(a) for a in alt) - math.fsum(f(r) for r in ref)


def log_total(ref: Profile, alt: Profile) -> float:
    return log2p(math.fsum(alt)) - log2p(math.fsum(ref))


def extreme(ref: Profile, alt: Profile) -> float:
    best = 0.0
    for r, a in zip(ref, alt, strict=True):
        if abs(a - r) > abs(best):  # strict, so that the first of equals stays
            best = a - r
    return best


def distance(ref: Profile, alt: Profile, f: Callable[[float], float], order: int) -> float:
    total = math.fsum(abs(f(a) - f(r)) ** order for r, a in zip(ref, alt, strict=True))
    return total if order == 1 else math.sqrt(total)


def divergence(ref: Profile, alt: Profile, f: Callable[[float], float]) -> float:
    ref, alt = [f(r) for r in ref], [f(a) for a in alt]
    pseudo = percentile_25(ref)
    total_p = math.fsum(r + pseudo for r in ref)
    total_q = math.fsum(a + pseudo for a in alt)
    if total_p == 0 or total_q == 0:
        return math.nan
    result = 0.0
    for r, a in zip(ref, alt, strict=True):
        p, q = (r + pseudo) / total_p, (a + pseudo) / total_q
        result += 0.5 * (relative_entropy(p, q) + relative_entropy(q, p))
    return result


def profiles(ref: Profile, alt: Profile, pseudo: float | None = None) -> tuple[list[float], list[float]]:
    """Shares of bins in R + ps and in A + ps."""
    extra = percentile_25(ref) if pseudo is None else pseudo
    total_p, total_q = math.fsum(r + extra for r in ref), math.fsum(a + extra for a in alt)
    return [(r + extra) / total_p for r in ref], [(a + extra) / total_q for a in alt]


def profile_distance(ref: Profile, alt: Profile, order: int, pseudo: float | None = None) -> float:
    """L1, L2, or (order 0) the largest change of a share."""
    sizes = [abs(p - q) for p, q in zip(*profiles(ref, alt, pseudo), strict=True)]
    return max(sizes) if order == 0 else math.fsum(size**order for size in sizes) ** (1 / order)


def profile_extreme(ref: Profile, alt: Profile, pseudo: float | None = None) -> float:
    """The change of a share that is largest in size, with its sign; the first of equals."""
    return extreme(*profiles(ref, alt, pseudo))


def mean(values: Profile) -> float:
    return math.fsum(values) / len(values)


def relative_entropy(p: float, q: float) -> float:
    """p ln(p / q), with its limits at 0."""
    if p == 0:
        return 0.0
    return math.inf if q == 0 else p * math.log(p / q)


COMMON: dict[str, Callable[[Profile, Profile], float]] = {
    "SUM": lambda r, a: difference(r, a, identity),
    "logSUM": lambda r, a: difference(r, a, log2p),
    "sqrtSUM": lambda r, a: difference(r, a, math.sqrt),
    "logSED": log_total,
    "SAX": extreme,
    "D1": lambda r, a: distance(r, a, identity, 1),
    "logD1": lambda r, a: distance(r, a, log2p, 1),
    "sqrtD1": lambda r, a: distance(r, a, math.sqrt, 1),
    "D2": lambda r, a: distance(r, a, identity, 2),
    "logD2": lambda r, a: distance(r, a, log2p, 2),
    "sqrtD2": lambda r, a: distance(r, a, math.sqrt, 2),
    "JS": lambda r, a: divergence(r, a, identity),
    "SED": lambda r, a: difference(r, a, identity),
    "nD1": lambda r, a: profile_distance(r, a, 1),
    "nD2": lambda r, a: profile_distance(r, a, 2),
    "nDi": lambda r, a: profile_distance(r, a, 0),
    "nDi_signed": profile_extreme,
    "DIFF_MEAN": lambda r, a: mean(a) - mean(r),
    "DIFF_SUM": lambda r, a: difference(r, a, identity),
    "DIFF_SUM_LOG2": lambda r, a: difference(r, a, log2p),
    "DIFF_LOG2_SUM": log_total,
    "L2_DIFF": lambda r, a: distance(r, a, identity, 2),
    "L2_DIFF_LOG1P": lambda r, a: distance(r, a, math.log1p, 2),
    "ACTIVE_MEAN": lambda r, a: max(mean(r), mean(a)),
    "ACTIVE_SUM": lambda r, a: max(math.fsum(r), math.fsum(a)),
    "MAX_DIFF": lambda r, a: max(abs(y - x) for x, y in zip(r, a, strict=True)),
    "LFC": lambda r, a: math.log(mean(a) + 1e-3) - math.log(mean(r) + 1e-3),
}
FAMILIES = {
    "hound": COMMON,
    "sad": {
        **COMMON,
        "SAD": COMMON["SUM"],
        "logSAD": COMMON["logSUM"],
        "sqrtSAD": COMMON["sqrtSUM"],
        "SADlog": log_total,
        "logJS": lambda r, a: divergence(r, a, log2p),
    },
}
SIGNED = (
    "SUM",
    "logSUM",
    "sqrtSUM",
    "logSED",
    "SAX",
    "SED",
    "DIFF_MEAN",
    "DIFF_SUM",
    "DIFF_SUM_LOG2",
    "DIFF_LOG2_SUM",
    "LFC",
)
SYMMETRIC = (
    *("D1", "logD1", "sqrtD1", "D2", "logD2", "sqrtD2"),
    *("L2_DIFF", "L2_DIFF_LOG1P", "ACTIVE_MEAN", "ACTIVE_SUM", "MAX_DIFF"),
)
ROOT_OF_SQUARES = ("D2", "logD2", "sqrtD2", "nD2", "L2_DIFF", "L2_DIFF_LOG1P")
ACTIVITY = ("ACTIVE_MEAN", "ACTIVE_SUM")  # no difference: equal alleles do not give 0


def score(
    name: str, family: str, ref: np.ndarray, alt: np.ndarray, strands: Sequence[tuple[int, int]] | None
) -> np.ndarray:
    """Score coverage of shape (pairs, tracks, bins).

    ``strands`` lists the two tracks of every row, the same one twice where it is unstranded; None keeps tracks apart.
    """
    function = FAMILIES[family][name]
    ref, alt = np.asarray(ref, dtype=np.float64), np.asarray(alt, dtype=np.float64)
    rows = strands if strands is not None else [(track, track) for track in range(ref.shape[1])]

    def mean_over_pairs(left: np.ndarray, right: np.ndarray) -> float:
        return math.fsum(function(list(r), list(a)) for r, a in zip(left, right, strict=True)) / len(left)

    scores = []
    for plus, minus in rows:
        if plus == minus:
            scores.append(mean_over_pairs(ref[:, plus], alt[:, plus]))
        elif family == "sad":
            scores.append(mean_over_pairs(ref[:, plus] + ref[:, minus], alt[:, plus] + alt[:, minus]))
        else:
            parts = [mean_over_pairs(ref[:, track], alt[:, track]) for track in (plus, minus)]
            scores.append(math.hypot(*parts) if name in ROOT_OF_SQUARES else sum(parts))
    return np.array(scores)
