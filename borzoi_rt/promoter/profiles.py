"""Mean effect curves: what the removal of a motif does at each position, over all sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import DoubleArray

BAND = 1.96  # standard errors on each side: 95 % where the mean of sites is about normal


@dataclass(frozen=True)
class Profile:
    """The mean effect curve of one motif, one value per position.

    Attributes
    ----------
    net, track, motif : str
    sites : int
        Sites that are averaged.
    position_bp : float64 ndarray of shape (bins,)
        Position of the base relative to the TSS, on the strand of the gene.
    mean : float64 ndarray of shape (bins,)
        Mean of KO - WT over sites.
    sd : float64 ndarray of shape (bins,)
        Standard deviation between sites, NaN for one site.
    low, high : float64 ndarray of shape (bins,)
        95 % band of the mean, 1.96 standard errors on each side; NaN for one site.
    share_negative : float64 ndarray of shape (bins,)
        Share of sites that lose signal here, when the motif is removed.
    """

    net: str
    track: str
    motif: str
    sites: int
    position_bp: DoubleArray
    mean: DoubleArray
    sd: DoubleArray
    low: DoubleArray
    high: DoubleArray
    share_negative: DoubleArray


class EffectProfiles:
    """Collect effect curves site by site; iterating gives a :class:`Profile` per net, track and motif.

    Parameters
    ----------
    position_bp : float64 ndarray of shape (bins,)
        Positions of the bins of every curve.
    """

    def __init__(self, position_bp: DoubleArray) -> None:
        self.position_bp = position_bp
        self._sums: dict[tuple[str, str, str], _Sums] = {}

    def add(self, net: str, track: str, motifs: Sequence[str], effect: npt.ArrayLike) -> None:
        """Take the effects of all motifs at a site, (motifs, bins)."""
        effect = np.asarray(effect, dtype=np.float64)
        if effect.shape != (len(motifs), len(self.position_bp)):
            raise InputError(
                f"effects have shape {effect.shape}; (motifs, bins) = {(len(motifs), len(self.position_bp))} is needed"
            )
        for motif, curve in zip(motifs, effect, strict=True):
            self._sums.setdefault((net, track, motif), _Sums(len(curve))).add(curve)

    def __iter__(self) -> Iterator[Profile]:
        for (net, track, motif), sums in self._sums.items():
            sd = np.sqrt(sums.squares / (sums.sites - 1)) if sums.sites > 1 else np.full(len(sums.mean), np.nan)
            half = BAND * sd / np.sqrt(sums.sites)
            yield Profile(
                net, track, motif, sums.sites, self.position_bp, sums.mean, sd, sums.mean - half, sums.mean + half,
                sums.negative / sums.sites,
            )  # fmt: skip


class _Sums:
    """Mean and squared deviations as they come, by Welford's recurrence, which does not cancel."""

    def __init__(self, bins: int) -> None:
        self.sites = 0
        self.mean, self.squares, self.negative = np.zeros(bins), np.zeros(bins), np.zeros(bins)

    def add(self, curve: DoubleArray) -> None:
        self.sites += 1
        before = curve - self.mean
        self.mean = self.mean + before / self.sites
        self.squares = self.squares + before * (curve - self.mean)
        self.negative = self.negative + (curve < 0)
