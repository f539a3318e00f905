"""A map of scores that is judged, maps by chance to compare it with, and what a measure read from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import factorial, prod
from typing import Any

import numpy as np

from ...types import BoolArray, ByteArray, DoubleArray, IndexArray
from ..agreement import mean_known
from ..objective import Bases

UNKNOWN = 4
CHANCE_SHARE = 0.01  # of maps by chance that may do better
TOO_FEW = "too few orders to tell"  # how the detail ends where no verdict can be given
_TIED = 1e-9  # share by which values differ that are the same but for the order of sums
FALLEN = 0.5  # what the correlation with a model in random order must be below


@dataclass(frozen=True)
class ScoreMap:
    """Scores of the bases of one stretch.

    Attributes
    ----------
    codes : uint8 ndarray of shape (bases,)
        The letters that are there, 0 to 3; 4 for an unknown base.
    hypothetical : float64 ndarray of shape (4, bases)
        What each base would add; 0 of the bases that are not there where a method is about those that are.
    """

    codes: ByteArray
    hypothetical: DoubleArray

    @property
    def known(self) -> BoolArray:
        """Which bases are known, bool (bases,)."""
        return np.asarray(self.codes < UNKNOWN)

    @property
    def projected(self) -> DoubleArray:
        """Scores of the bases that are there, float64 (bases,); 0 of unknown ones."""
        return _picked(self.hypothetical, self.codes)

    def fall(self, mutants: ByteArray) -> DoubleArray:
        """Return by how much the target should fall where letters are exchanged: the sum of (x - x') a.

        Parameters
        ----------
        mutants : uint8 ndarray of shape (mutants, bases)
            Letters; unknown bases are the same in all.

        Returns
        -------
        float64 ndarray of shape (mutants,)
        """
        before = self.projected
        return np.array([float((before - _picked(self.hypothetical, mutant)).sum()) for mutant in mutants])

    def permuted(self, rng: np.random.Generator) -> ScoreMap:
        """Return the map with the known bases in random order; what is said of the base that is there stays with it.

        Neighbours of the same scores, as the bases of one stretch have, stay together: a map of stretches is compared
        with other orders of them, since single bases agree with anything by less.
        """
        columns, letters = self._there()
        held, runs = self.hypothetical[letters, columns], self._runs()
        order = np.concatenate([runs[number] for number in rng.permutation(len(runs))])
        found = self.hypothetical.copy()
        found[letters, columns] = held[:, order]
        return ScoreMap(self.codes, found)

    @property
    def stretches(self) -> int:
        """How many stretches of the same scores are put in another order by :meth:`permuted`."""
        return len(self._runs())

    def _there(self) -> tuple[IndexArray, IndexArray]:
        """Return the columns of known bases, and their four letters, beginning with the one that is there."""
        columns = np.flatnonzero(self.known)
        return columns, (self.codes[columns].astype(np.int64) + np.arange(4)[:, None]) % 4

    def _runs(self) -> list[IndexArray]:
        """Return the known bases, by their number, in stretches of the same scores."""
        columns, letters = self._there()
        changes = np.flatnonzero((np.diff(self.hypothetical[letters, columns], axis=1) != 0.0).any(axis=0)) + 1
        return np.split(np.arange(len(columns)), changes)


def _picked(hypothetical: DoubleArray, codes: ByteArray) -> DoubleArray:
    known = codes < UNKNOWN
    found = np.zeros(len(codes))
    found[known] = hypothetical[codes[known], np.flatnonzero(known)]
    return found


def with_codes(window: ByteArray, bases: Bases, codes: ByteArray) -> ByteArray:
    """Return a window (4, length) with other letters at some bases."""
    found = window.copy()
    found[:, bases[0] : bases[1]] = codes == np.arange(4)[:, None]
    return found


@dataclass(frozen=True)
class Reading:
    """What one measure says of one map.

    Attributes
    ----------
    value : float or None
        None where it says nothing; ``detail`` says why.
    chance : float64 ndarray of shape (draws,)
        The same of maps by chance; empty where there is nothing to compare with.
    detail : str
    stretches : tuple of int
        Of each map, how many stretches chance puts in order; empty where it does something else.
    """

    value: float | None
    chance: DoubleArray = field(default_factory=lambda: np.zeros(0))
    detail: str = ""
    stretches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a measure says of the maps of one file: the mean over rows.

    Attributes
    ----------
    value : float or None
    random, random_low, random_high : float or None
        Mean, and the 1 % and 99 % quantiles, of maps by chance.
    passed : bool or None
        Whether the value is better than 99 % of those by chance, or what else the measure asks; None where it asks
        nothing, or where no value could be better: ``detail`` then ends with :data:`TOO_FEW`.
    detail : str
    """

    value: float | None
    random: float | None
    random_low: float | None
    random_high: float | None
    passed: bool | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(vars(self))


def judged(readings: list[Reading], *, better: str) -> Verdict:
    """Return what the readings of several rows say together.

    Parameters
    ----------
    readings : list of Reading
        Of rows.
    better : str
        ``high`` (1 at best), ``more`` or ``low`` (0 at best), than chance; ``fallen``, below :data:`FALLEN`; or
        nothing, where no verdict is asked for.
    """
    told = [reading for reading in readings if reading.value is not None]
    value, random = mean_known([reading.value for reading in told]), [one.chance for one in told if len(one.chance)]
    detail = next((reading.detail for reading in readings if reading.detail), "")
    if value is None or not random:
        return Verdict(value, None, None, None, None, detail)
    draws = np.mean(random, axis=0)
    low, high = (float(edge) for edge in np.quantile(draws, [CHANCE_SHARE, 1.0 - CHANCE_SHARE]))
    passed = {"high": value > high, "more": value > high, "low": value < low, "fallen": value < FALLEN}.get(better)
    untold = "" if passed is None else _untold(told, value, draws, (low, high), better)
    return Verdict(value, float(draws.mean()), low, high, None if untold else passed, untold or detail)


def _untold(told: list[Reading], value: float, draws: DoubleArray, edges: tuple[float, float], better: str) -> str:
    """Return why there is no verdict: of few orders more than :data:`CHANCE_SHARE` are, or tie with, the best one."""
    stretches = [count for reading in told for count in reading.stretches]
    if stretches and prod(factorial(min(count, 20)) for count in stretches) * CHANCE_SHARE <= 1.0:
        many, rows = sum(stretches), len(stretches)
        return f"{many} stretch{'' if many == 1 else 'es'}{f' in {rows} rows' if rows > 1 else ''}: {TOO_FEW}"
    low, high = edges
    if better in ("high", "more"):
        tied = value > 0.0 and value >= draws.max() * (1.0 - _TIED)
        unbeaten = value <= high * (1.0 + _TIED) and (tied or (better == "high" and high >= 1.0 - _TIED))
    else:
        tied = value <= draws.min() * (1.0 + _TIED)
        unbeaten = better == "low" and value >= low * (1.0 - _TIED) and (tied or low <= 0.0)
    return f"random orders do as well as any could: {TOO_FEW}" if unbeaten else ""
