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
nD1, nD2, nDi                sum, root of the sum of squares and maximum of |P - Q|
===========================  =======================================================================

Those of AlphaGenome's scorers are in :mod:`borzoi_rt.scoring.registry`. The families differ in the order of strands.
``after`` (``hound``): the statistic is averaged over pairs and the strands are joined last, by sum, or by the root of
the sum of squares for the D2 type. ``before`` (``sad``): the coverage of the strands is summed first. The same name in
two families is two statistics.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..backends.protocols import BinSums
from ..engine.regions import Region
from ..errors import InputError
from ..tracks import MergePlan
from ..types import DoubleArray, FloatArray, SignArray
from .formulas import Coverage, Difference, Divergence, MeanDifference, Profile, Statistic, is_sum
from .registry import FAMILIES, REGISTRY, SITE_SUMMARIES, STATISTICS, STRAND_ORDERS, StatisticDescription

__all__ = [
    "FAMILIES",
    "STATISTICS",
    "STRAND_ORDERS",
    "StatisticDescription",
    "are_sums",
    "canonical_names",
    "describe_statistics",
    "find_statistics",
    "joining_of",
    "mean_scores",
    "score_pair",
    "score_sums",
    "undefined_scores",
]

_BLOCK_BYTES = 8 * 2**20


def describe_statistics(family: str) -> list[StatisticDescription]:
    """Return what the statistics of a family are, in the order of the registry.

    Raises
    ------
    InputError
        If the family is unknown.
    """
    _known(family)
    return [
        StatisticDescription(name, entry.formula, entry.summary, entry.statistic.signed)
        for name, entry in REGISTRY[family].items()
    ]


def meaning_of(score: str, family: str) -> str:
    """Return in words what a score (``STAT`` or ``STAT@REGION``) is, with its formula; empty where it is unknown.

    R and A in a formula are the coverage of REF and ALT in the bins of the region.
    """
    name = score.partition("@")[0]
    if name in SITE_SUMMARIES:
        return SITE_SUMMARIES[name]
    entry = REGISTRY.get(family, {}).get(name)
    if entry is None:
        return ""
    summary = entry.summary.replace("of the window", "of the region") if "@" in score else entry.summary
    return f"{summary}: {entry.formula}"


def joining_of(score: str, family: str, strand_order: str | None = None) -> str:
    """Return in words what a score of a pair of strands, which is one row, is of the two; empty where it is unknown.

    Parameters
    ----------
    score : str
        ``STAT`` or ``STAT@REGION``.
    family : str
        Table of statistics.
    strand_order : str, optional
        ``after`` or ``before``; that of the family when None.
    """
    name, _, region = score.partition("@")
    entry = REGISTRY.get(family, {}).get(name)
    if entry is None and name not in SITE_SUMMARIES:
        return ""
    late = _joined_after(strand_order or STRAND_ORDERS[family])
    if entry is None or not late:
        found = "the score of the added coverage of its two strands"
    elif entry.statistic.squares:
        found = "the root of the sum of squares of the scores of its two strands"
    else:
        linear = entry.statistic in (Difference(), MeanDifference())  # alike in either order
        found = "the sum of the scores of its two strands" + (
            "" if linear else ", not the score of their added coverage"
        )
    if region and Region.parse(region).of_genes:
        return f"the score of the strand that the gene lies on; for a gene without strand {found}"
    return found


def canonical_names(names: Sequence[str], family: str) -> tuple[str, ...]:
    """Return names of statistics as they are spelled, one for each given, whatever its case: ``logsed`` is ``logSED``.

    Raises
    ------
    InputError
        If the family or a name is unknown; the message lists what is allowed.
    """
    known = _known(family)
    if not names:
        raise InputError(f"no statistics; choose from {', '.join(known)}")
    spelled = {name.casefold(): name for name in known}
    for name in names:
        if name.casefold() not in spelled:
            raise InputError(
                f"statistic {name!r} is not in family {family!r}; allowed: {', '.join(known)}"
                f"{_hint(name.casefold(), family, spelled)}"
            )
    return tuple(spelled[name.casefold()] for name in names)


def find_statistics(names: Sequence[str], family: str) -> dict[str, Statistic]:
    """Look statistics up by name, in any case; the keys are the names as :func:`canonical_names` spells them.

    Raises
    ------
    InputError
        If the family or a name is unknown; the message lists what is allowed.
    """
    return {name: STATISTICS[family][name] for name in canonical_names(names, family)}


def _known(family: str) -> dict[str, Statistic]:
    if family not in STATISTICS:
        raise InputError(f"family {family!r} is unknown; allowed: {', '.join(FAMILIES)}")
    return STATISTICS[family]


def _hint(folded: str, family: str, spelled: Mapping[str, str]) -> str:
    """Return what may have been meant: a statistic of the same formula, or one of like spelling."""
    for other, entries in REGISTRY.items():
        for name, entry in entries.items():
            if name.casefold() == folded:
                same = [twin for twin, held in STATISTICS[family].items() if held == entry.statistic]
                like = f", like {same[0]} here but for the order of strands" if same else ""
                return f"; {name} is of family {other!r}{like}"
    near = difflib.get_close_matches(folded, spelled, n=1, cutoff=0.4)
    return f"; did you mean {spelled[near[0]]}?" if near else ""


def are_sums(statistics: Mapping[str, Statistic]) -> bool:
    """Tell whether all can be made of sums over bins; JS cannot, it needs a percentile of the bins, nor can means."""
    return all(is_sum(statistic) for statistic in statistics.values())


def score_sums(
    pairs: Sequence[BinSums],
    *,
    statistics: Mapping[str, Statistic],
    strand_order: str = "after",
    merge: MergePlan | None = None,
    stronger: dict[str, SignArray] | None = None,
) -> dict[str, FloatArray]:
    """Score one variant from sums over bins, one for each pair; otherwise as :func:`score_pair`.

    The rows of ``pairs`` are tracks, or, where the strands are joined before the statistic, those of ``merge``.

    Raises
    ------
    InputError
        If a statistic cannot be made of sums.
    """
    late = _joined_after(strand_order)
    scores: dict[str, DoubleArray] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, statistic in statistics.items():
            if not is_sum(statistic):
                raise InputError(f"{name} cannot be made of sums over bins")
            scores[name] = np.mean([statistic.of_sums(sums) for sums in pairs], axis=0)
    return finish_scores(scores, statistics, merge if late else None, stronger)


def score_pair(
    ref: FloatArray,
    alt: FloatArray,
    *,
    statistics: Mapping[str, Statistic],
    strand_order: str = "after",
    merge: MergePlan | None = None,
    stronger: dict[str, SignArray] | None = None,
) -> dict[str, FloatArray]:
    """Score one variant.

    Parameters
    ----------
    ref, alt : float32 ndarray of shape (pairs, tracks, bins)
        Un-squashed coverage of the alleles.
    statistics : mapping of str to Statistic
        As :func:`find_statistics` returns.
    strand_order : str
        ``after``: strands are joined after the statistic. ``before``: their coverage is summed before it.
    merge : MergePlan, optional
        Strands to join; None keeps one row per track.
    stronger : dict, optional
        Filled, where strands are joined after the statistic, with int8 (rows,) for each statistic: 1 where the score of
        the '+' strand is larger in size, -1 where that of the '-' strand is, 0 where neither is.

    Returns
    -------
    dict of str to float32 ndarray of shape (rows,)
        Sums and logarithms are made in float64. NaN in the coverage gives NaN, and so does a formula without a value,
        see :func:`undefined_scores`.

    Raises
    ------
    InputError
        If the order of strands is unknown.
    """
    late = _joined_after(strand_order)
    scores = mean_scores(ref, alt, statistics=statistics, early=None if late else merge)
    return finish_scores(scores, statistics, merge if late else None, stronger)


def mean_scores(
    ref: FloatArray,
    alt: FloatArray,
    *,
    statistics: Mapping[str, Statistic],
    early: MergePlan | None = None,
    pseudo: Callable[[str], DoubleArray] | None = None,
) -> dict[str, DoubleArray]:
    """Return the mean over pairs of each statistic, float64 (rows,), strands not joined after it.

    Parameters
    ----------
    ref, alt : float32 ndarray of shape (pairs, tracks, bins)
    statistics : mapping of str to Statistic
    early : MergePlan, optional
        Which tracks make the rows, added up before the statistic; None keeps tracks.
    pseudo : callable, optional
        Gives the pseudo-count of profiles on a scale, float64 (pairs, rows, 1), instead of that of these bins.
    """
    rows = ref.shape[1] if early is None else len(early)
    scores = {name: np.empty(rows, dtype=np.float64) for name in statistics}
    block = max(1, _BLOCK_BYTES // (8 * ref.shape[0] * ref.shape[2]))
    for start in range(0, rows, block):
        part = slice(start, start + block)
        coverage = Coverage(joined_rows(ref, part, early), joined_rows(alt, part, early))
        if pseudo is not None:
            coverage.pseudo = {scale: pseudo(scale)[:, part] for scale in profile_scales(statistics)}
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, statistic in statistics.items():
                scores[name][part] = statistic(coverage).mean(axis=0)
    return scores


def profile_scales(statistics: Mapping[str, Statistic]) -> tuple[str, ...]:
    """Return the scales on which profiles, which have a pseudo-count, are compared; none where nothing does that."""
    found = (item.scale for item in statistics.values() if isinstance(item, Divergence | Profile))
    return tuple(dict.fromkeys(found))


def undefined_scores(scores: Mapping[str, FloatArray]) -> dict[str, int]:
    """Return how many rows of each statistic have no finite value, for those statistics that have such rows.

    A formula has no finite value where it takes the root of negative coverage or the logarithm of coverage below -1
    (a linear head under a kind of the squashed scale that lets them pass), for JS where an allele has no coverage at
    all (NaN) or a bin is empty in one allele alone and the pseudo-count is 0 (infinite), and where a sum is too large
    for float32.
    """
    missing = {name: int(np.count_nonzero(~np.isfinite(values))) for name, values in scores.items()}
    return {name: count for name, count in missing.items() if count}


def _joined_after(strand_order: str) -> bool:
    """Tell whether strands are joined after the statistic."""
    if strand_order not in ("after", "before"):
        raise InputError(f"strand_order {strand_order!r} is unknown; allowed: after, before")
    return strand_order == "after"


def finish_scores(
    scores: Mapping[str, DoubleArray],
    statistics: Mapping[str, Statistic],
    merge: MergePlan | None,
    stronger: dict[str, SignArray] | None,
) -> dict[str, FloatArray]:
    """Join strands where that is still to be done, and round."""
    finished = {}
    for name, values in scores.items():
        joined = values if merge is None else _join(values, merge, squares=statistics[name].squares)
        with np.errstate(over="ignore", invalid="ignore"):
            finished[name] = joined.astype(np.float32)
            if merge is not None and stronger is not None:
                size = np.abs(values)
                stronger[name] = np.sign(np.nan_to_num(size[merge.first] - size[merge.second])).astype(np.int8)
    return finished


def joined_rows(values: FloatArray | DoubleArray, part: slice, merge: MergePlan | None) -> DoubleArray:
    if merge is None:
        return values[:, part].astype(np.float64)
    first, second = merge.first[part], merge.second[part]
    rows = values[:, first].astype(np.float64)
    pairs = second != first
    rows[:, pairs] += values[:, second[pairs]]
    return rows


def _join(values: DoubleArray, merge: MergePlan, *, squares: bool) -> DoubleArray:
    """Join the strands of per-track scores; an unstranded track stands for itself."""
    first, second = values[merge.first], values[merge.second]
    joined = np.hypot(first, second) if squares else first + second
    return np.where(merge.first == merge.second, first, joined)
