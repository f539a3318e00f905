"""Window statistics of a variant: what is made of the coverage R of the reference and A of the alternate allele.

R and A are un-squashed, (pairs, tracks, bins); sums run over bins, log2p(x) = log2(x + 1), pairs are shifts and phases.
Formulas are those of calico/baskerville ``snps.py`` (family ``hound``) and ``borzoi_sad.py`` (family ``sad``):

===========================  =======================================================================
SUM, logSUM, sqrtSUM         sum f(A) - sum f(R), f = identity, log2p, square root
logSED                       log2p(sum A) - log2p(sum R), over the whole window
SAX                          A - R where |A - R| is largest; the first such bin
D1, logD1, sqrtD1            sum |f(A) - f(R)|
D2, logD2, sqrtD2            sqrt(sum (f(A) - f(R))^2)
JS, logJS                    half of sum P ln(P / Q) + Q ln(Q / P); P = (f(R) + ps) / its sum, Q likewise of A,
                             ps = 25th percentile of f(R) over bins. A symmetrised Kullback-Leibler divergence,
                             not Jensen-Shannon, under its published name
===========================  =======================================================================

The families differ in order. ``hound`` averages the statistic over pairs and joins strands last, by sum, or by the root
of the sum of squares for the D2 type. ``sad`` sums the strands first. The same name in two families is two statistics.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..backends.protocols import BinSums
from ..errors import InputError
from ..tracks import MergePlan

FAMILIES = ("hound", "sad")
_BLOCK_BYTES = 8 * 2**20

_SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "log2p": lambda x: np.log2(x + 1.0),
    "sqrt": np.sqrt,
}


@dataclass
class Coverage:
    """R and A of a block of tracks in float64, with their transforms computed once."""

    ref: np.ndarray
    alt: np.ndarray
    _held: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def scaled(self, scale: str) -> tuple[np.ndarray, np.ndarray]:
        """Return f(R) and f(A)."""
        if scale not in self._held:
            function = _SCALES[scale]
            self._held[scale] = (function(self.ref), function(self.alt))
        return self._held[scale]


@dataclass(frozen=True, slots=True)
class Difference:
    """sum f(A) - sum f(R)."""

    scale: str = "identity"
    binwise = False
    squares = False

    def __call__(self, coverage: Coverage) -> np.ndarray:
        ref, alt = coverage.scaled(self.scale)
        return alt.sum(-1) - ref.sum(-1)

    def of_sums(self, sums: BinSums) -> np.ndarray:
        """Return the same from sums over bins."""
        place = list(_SCALES).index(self.scale)
        return sums.alt[place] - sums.ref[place]


@dataclass(frozen=True, slots=True)
class LogTotal:
    """log2p(sum A) - log2p(sum R)."""

    binwise = False
    squares = False

    def __call__(self, coverage: Coverage) -> np.ndarray:
        return np.log2(coverage.alt.sum(-1) + 1.0) - np.log2(coverage.ref.sum(-1) + 1.0)

    def of_sums(self, sums: BinSums) -> np.ndarray:
        """Return the same from sums over bins."""
        return np.log2(sums.alt[0] + 1.0) - np.log2(sums.ref[0] + 1.0)


@dataclass(frozen=True, slots=True)
class Extreme:
    """A - R at the first bin where its size is largest."""

    binwise = True
    squares = False

    def __call__(self, coverage: Coverage) -> np.ndarray:
        difference = coverage.alt - coverage.ref
        place = np.abs(difference).argmax(-1)[..., None]
        return np.take_along_axis(difference, place, -1)[..., 0]

    def of_sums(self, sums: BinSums) -> np.ndarray:
        """Return the same from sums over bins."""
        return sums.extreme


@dataclass(frozen=True, slots=True)
class Distance:
    """L1 or L2 norm of f(A) - f(R) over bins."""

    order: int
    scale: str = "identity"
    binwise = True

    @property
    def squares(self) -> bool:
        """Whether strands join by the root of the sum of squares."""
        return self.order == 2

    def __call__(self, coverage: Coverage) -> np.ndarray:
        ref, alt = coverage.scaled(self.scale)
        difference = alt - ref
        if self.order == 1:
            return np.abs(difference).sum(-1)
        return np.sqrt(np.square(difference).sum(-1))

    def of_sums(self, sums: BinSums) -> np.ndarray:
        """Return the same from sums over bins."""
        place = list(_SCALES).index(self.scale)
        return sums.absolute[place] if self.order == 1 else np.sqrt(sums.square[place])


@dataclass(frozen=True, slots=True)
class Divergence:
    """Half of the symmetrised Kullback-Leibler divergence of the two profiles."""

    scale: str = "identity"
    binwise = True
    squares = False

    def __call__(self, coverage: Coverage) -> np.ndarray:
        ref, alt = coverage.scaled(self.scale)
        pseudo = np.percentile(ref, 25, axis=-1, keepdims=True)
        p, q = ref + pseudo, alt + pseudo
        p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
        return 0.5 * ((p - q) * (np.log(p) - np.log(q))).sum(-1)


Statistic = Difference | LogTotal | Extreme | Distance | Divergence

_COMMON: dict[str, Statistic] = {
    "SUM": Difference(),
    "logSUM": Difference("log2p"),
    "logSED": LogTotal(),
    "sqrtSUM": Difference("sqrt"),
    "SAX": Extreme(),
    "D1": Distance(1),
    "D2": Distance(2),
    "logD1": Distance(1, "log2p"),
    "logD2": Distance(2, "log2p"),
    "sqrtD1": Distance(1, "sqrt"),
    "sqrtD2": Distance(2, "sqrt"),
    "JS": Divergence(),
}
STATISTICS: dict[str, dict[str, Statistic]] = {
    "hound": _COMMON,
    "sad": {
        **_COMMON,
        "SAD": Difference(),
        "logSAD": Difference("log2p"),
        "SADlog": LogTotal(),
        "sqrtSAD": Difference("sqrt"),
        "logJS": Divergence("log2p"),
    },
}


def find_statistics(names: Sequence[str], family: str) -> dict[str, Statistic]:
    """Look statistics up by name.

    Raises
    ------
    InputError
        If the family or a name is unknown; the message lists what is allowed.
    """
    if family not in STATISTICS:
        raise InputError(f"family {family!r} is unknown; allowed: {', '.join(FAMILIES)}")
    known = STATISTICS[family]
    if not names:
        raise InputError(f"no statistics; choose from {', '.join(known)}")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"statistic {name!r} is not in family {family!r}; allowed: {', '.join(known)}{hint}")
    return {name: known[name] for name in dict.fromkeys(names)}


def are_sums(statistics: Mapping[str, Statistic]) -> bool:
    """Tell whether all can be made of sums over bins; JS cannot, it needs a percentile of the bins."""
    return not any(isinstance(statistic, Divergence) for statistic in statistics.values())


def score_sums(
    pairs: Sequence[BinSums],
    *,
    statistics: Mapping[str, Statistic],
    strand_order: str = "after",
    merge: MergePlan | None = None,
) -> dict[str, np.ndarray]:
    """Score one variant from sums over bins, one for each pair; otherwise as :func:`score_pair`.

    The rows of ``pairs`` are tracks, or, where the family adds strands first, those of ``merge``.
    """
    scores = {}
    for name, statistic in statistics.items():
        if isinstance(statistic, Divergence):
            raise InputError(f"{name} cannot be made of sums over bins")
        scores[name] = np.mean([statistic.of_sums(sums) for sums in pairs], axis=0)
    return _finished(scores, statistics, strand_order, merge)


def score_pair(
    ref: np.ndarray,
    alt: np.ndarray,
    *,
    statistics: Mapping[str, Statistic],
    strand_order: str = "after",
    merge: MergePlan | None = None,
) -> dict[str, np.ndarray]:
    """Score one variant.

    Parameters
    ----------
    ref, alt : float32 ndarray of shape (pairs, tracks, bins)
        Un-squashed coverage of the alleles.
    statistics : mapping of str to Statistic
        As :func:`find_statistics` returns.
    family : str
        ``hound`` or ``sad``: where strands are joined.
    merge : MergePlan, optional
        Strands to join; None keeps one row per track.

    Returns
    -------
    dict of str to float32 ndarray of shape (rows,)
        Sums and logarithms are made in float64; NaN in the coverage gives NaN.
    """
    rows = ref.shape[1] if merge is None else len(merge)
    early = merge if strand_order == "before" else None
    units = rows if early is not None else ref.shape[1]
    scores = {name: np.empty(units, dtype=np.float64) for name in statistics}
    block = max(1, _BLOCK_BYTES // (8 * ref.shape[0] * ref.shape[2]))
    for start in range(0, units, block):
        part = slice(start, start + block)
        coverage = Coverage(_rows(ref, part, early), _rows(alt, part, early))
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, statistic in statistics.items():
                scores[name][part] = statistic(coverage).mean(axis=0)
    return _finished(scores, statistics, strand_order, merge)


def _finished(
    scores: dict[str, np.ndarray], statistics: Mapping[str, Statistic], strand_order: str, merge: MergePlan | None
) -> dict[str, np.ndarray]:
    """Join strands, where the family does so last, and round."""
    if merge is not None and strand_order != "before":
        scores = {name: _join(values, merge, squares=statistics[name].squares) for name, values in scores.items()}
    return {name: values.astype(np.float32) for name, values in scores.items()}


def _rows(values: np.ndarray, part: slice, merge: MergePlan | None) -> np.ndarray:
    if merge is None:
        return values[:, part].astype(np.float64)
    first, second = merge.first[part], merge.second[part]
    rows = values[:, first].astype(np.float64)
    pairs = second != first
    rows[:, pairs] += values[:, second[pairs]]
    return rows


def _join(values: np.ndarray, merge: MergePlan, *, squares: bool) -> np.ndarray:
    """Join the strands of per-track scores; an unstranded track stands for itself."""
    first, second = values[merge.first], values[merge.second]
    joined = np.hypot(first, second) if squares else first + second
    return np.where(merge.first == merge.second, first, joined)
