"""Scores of several sites of one gene, from the coverage summed over the bins of each: formulas, in float64.

R_i and A_i are sums over side i = 1 to n of the gene, in order of transcription; ps is a pseudo-count. The rules:

``ratio``  COVR, COVRWIDE of `borzoi_sed_paqtl_cov`::

    c_i = (A_i + ps) / (R_i + ps)                                 of each track
    V   = [1, c_1 .. c_n, 1],  s_j = log2(mean V[j:] / mean V[:j]), j = 1 to n + 1

    Only sides whose R, mean over tracks, is above a limit are kept, if one is. A split at j = 1 or n + 1 sets all sites
    against the ends: that is a change of expression and no switch of isoforms. Both have the same size and opposite
    signs, so that in the reference rounding decides on the sign of SCOVR.

``share``  COVR3, COVR3WIDE, PROP3::

    q = (x + ps) / sum(x + ps),  u_j = sum of q_i, i > j,  s_j = logit2 u_j(A) - logit2 u_j(R), j = 1 to n - 1

Of both, the score is s at the j where the mean over tracks of |s_j| is largest; sizes that agree within 1e-9 go to the
first. These scores, unlike others, depend on which tracks are chosen. The other rules do not, and of sizes that agree
within 1e-9 the first counts too, for of two exons one gains what the other loses:

``apart``  AlphaGenome's polyadenylation scorer: r_i = A_i / R_i (0 where that is no number), and the largest over k of
    |log2((n - k) / k * sum(r_1 .. r_k) / sum(r_k+1 .. r_n))|; what is no number counts as 0
``usage``  logit2 q_i(A) - logit2 q_i(R), q as above, where its size is largest: how an exon's share of the gene changes
``pairs``  sides in pairs E, I (exon and intron at one splice site): log2((E + ps) / (I + ps)) of A minus that of R,
    where its size is largest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..types import DoubleArray
from .formulas import SiteSplit

_TIE = 1e-9


@dataclass(frozen=True)
class Split:
    """Where the sites of a gene part.

    Attributes
    ----------
    position : int
        j*, from 1 on.
    sides : int
        n, the sides that were compared.
    ends : bool
        Whether there are splits before the first and behind the last side.
    """

    position: int
    sides: int
    ends: bool = True

    def __str__(self) -> str:
        if not self.ends:
            return f"split {self.position} of {self.sides - 1}"
        where = "terminal" if self.position in (1, self.sides + 1) else "internal"
        return f"split {self.position} of {self.sides + 1} ({where})"


def site_score(
    statistic: SiteSplit,
    ref: DoubleArray,
    alt: DoubleArray,
    *,
    pseudo: float,
    min_coverage: float,
    labels: Sequence[str] = (),
) -> tuple[DoubleArray, str]:
    """Return one score, float64 (tracks,), NaN where there is none, and in words where it is.

    Parameters
    ----------
    statistic : SiteSplit
    ref, alt : float64 ndarray of shape (tracks, sides)
        Sums of coverage.
    pseudo, min_coverage : float
        Pseudo-count, and what the mean over tracks of R must exceed for ``ratio``.
    labels : sequence of str
        What the sides, or pairs of them, are called; for ``usage`` and ``pairs``.
    """
    if statistic.rule == "apart":
        return apart(ref, alt), ""
    if statistic.rule in ("usage", "pairs"):
        values = usage(ref, alt, pseudo) if statistic.rule == "usage" else paired(ref, alt, pseudo)
        return _extreme(values, labels, statistic.direction)
    if statistic.rule == "share":
        found, split = shares(ref, alt, pseudo=pseudo)
    else:
        found, split = splits(ref, alt, pseudo=pseudo, min_coverage=min_coverage, internal=statistic.internal)
    return (found if statistic.direction else np.abs(found)), "" if split is None else str(split)


def splits(
    ref: DoubleArray, alt: DoubleArray, *, pseudo: float, min_coverage: float, internal: bool = False
) -> tuple[DoubleArray, Split | None]:
    """Return s at the best split by the rule ``ratio``, (tracks,), and where that is; NaN where there is none.

    Parameters
    ----------
    ref, alt, pseudo, min_coverage
        See :func:`site_score`.
    internal : bool
        Leave the two splits at the ends out.
    """
    kept = ref.mean(axis=0) > min_coverage
    if not kept.any():
        kept[:] = True
    ratio = (alt[:, kept] + pseudo) / (ref[:, kept] + pseudo)
    sides = ratio.shape[1]
    ends = np.ones((len(ratio), 1))
    values = np.concatenate([ends, ratio, ends], axis=1)
    total, left = values.sum(axis=1, keepdims=True), np.cumsum(values, axis=1)[:, :-1]
    count = np.arange(1, sides + 2)
    scores = np.log2((total - left) / (sides + 2 - count)) - np.log2(left / count)
    first = 0
    if internal:
        if sides < 2:
            return np.full(len(ratio), np.nan), None
        first, scores = 1, scores[:, 1:-1]
    best = _best(scores)
    return scores[:, best], Split(first + best + 1, sides)


def shares(ref: DoubleArray, alt: DoubleArray, *, pseudo: float) -> tuple[DoubleArray, Split | None]:
    """Return s at the best split by the rule ``share``, (tracks,), and where that is; NaN of a single side."""
    sides = ref.shape[1]
    if sides < 2:
        return np.full(len(ref), np.nan), None
    logits = []
    for values in (ref, alt):
        whole = values + pseudo
        near = np.cumsum(whole, axis=1)[:, :-1]
        logits.append(np.log2(whole.sum(axis=1, keepdims=True) - near) - np.log2(near))
    scores = logits[1] - logits[0]
    best = _best(scores)
    return scores[:, best], Split(best + 1, sides, ends=False)


def apart(ref: DoubleArray, alt: DoubleArray) -> DoubleArray:
    """Return the score of the rule ``apart``, (tracks,); NaN of a single side."""
    sides = ref.shape[1]
    if sides < 2:
        return np.full(len(ref), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(alt / ref, nan=0.0, posinf=0.0, neginf=0.0)
        near = np.cumsum(ratio, axis=1)
        count = np.arange(1, sides)
        far = near[:, -1:] - near[:, :-1]
        sizes = np.abs(np.log2((sides - count) / count * near[:, :-1] / far))
    return np.asarray(np.nan_to_num(sizes, nan=0.0, posinf=0.0).max(axis=1))


def usage(ref: DoubleArray, alt: DoubleArray, pseudo: float) -> DoubleArray:
    """Return how the share of each side changes, logit2, (tracks, sides); NaN of a single side."""
    if ref.shape[1] < 2:
        return np.full(ref.shape, np.nan)
    logits = []
    for values in (ref, alt):
        whole = values + pseudo
        logits.append(np.log2(whole) - np.log2(whole.sum(axis=1, keepdims=True) - whole))
    return np.asarray(logits[1] - logits[0])


def paired(ref: DoubleArray, alt: DoubleArray, pseudo: float) -> DoubleArray:
    """Return how log2(E / I) of each pair of sides changes, (tracks, pairs)."""
    ratios = [np.log2(values[:, 0::2] + pseudo) - np.log2(values[:, 1::2] + pseudo) for values in (ref, alt)]
    return np.asarray(ratios[1] - ratios[0])


def _best(scores: DoubleArray) -> int:
    """Return the first column whose size, mean over tracks, is the largest."""
    size = np.abs(scores).mean(axis=0)
    return int(np.flatnonzero(size >= size.max() * (1.0 - _TIE))[0])


def _extreme(values: DoubleArray, labels: Sequence[str], direction: bool) -> tuple[DoubleArray, str]:
    """Return, of each track, the value that is largest in size, and the label of the largest of all."""
    size = np.abs(values)
    widest = (size >= size.max(axis=1, keepdims=True) * (1.0 - _TIE)).argmax(axis=1)
    found = np.take_along_axis(values, widest[:, None], axis=1)[:, 0]
    if np.isnan(values).all():
        return found, ""
    where = labels[int(widest[int(np.nanargmax(np.abs(found)))])] if labels else ""
    return (found if direction else np.abs(found)), f"largest at {where}" if where else ""
