"""A map of scores that is judged, maps by chance to compare it with, and what a measure read from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...types import BoolArray, ByteArray, DoubleArray
from ..agreement import mean_known
from ..objective import Bases

UNKNOWN = 4
CHANCE_SHARE = 0.01  # of maps by chance that may do better
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
        columns = np.flatnonzero(self.known)
        letters = (self.codes[columns].astype(np.int64) + np.arange(4)[:, None]) % 4
        held = self.hypothetical[letters, columns]
        changes = np.flatnonzero((np.diff(held, axis=1) != 0.0).any(axis=0)) + 1
        runs = np.split(np.arange(len(columns)), changes)
        order = np.concatenate([runs[number] for number in rng.permutation(len(runs))])
        found = self.hypothetical.copy()
        found[letters, columns] = held[:, order]
        return ScoreMap(self.codes, found)


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
    """

    value: float | None
    chance: DoubleArray = field(default_factory=lambda: np.zeros(0))
    detail: str = ""


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
        nothing.
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
        ``high`` or ``low``, than chance; ``fallen``, below :data:`FALLEN`; or nothing, where no verdict is asked for.
    """
    told = [reading for reading in readings if reading.value is not None]
    value, random = mean_known([reading.value for reading in told]), [one.chance for one in told if len(one.chance)]
    detail = next((reading.detail for reading in readings if reading.detail), "")
    if value is None or not random:
        return Verdict(value, None, None, None, None, detail)
    draws = np.mean(random, axis=0)
    low, high = (float(edge) for edge in np.quantile(draws, [CHANCE_SHARE, 1.0 - CHANCE_SHARE]))
    passed = {"high": value > high, "low": value < low, "fallen": value < FALLEN}.get(better)
    return Verdict(value, float(draws.mean()), low, high, passed, detail)
