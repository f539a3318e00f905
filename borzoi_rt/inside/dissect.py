"""Network dissection: which units of a layer tell where an annotation is (Bau et al., CVPR 2017).

A unit's mask M is the share ``quantile`` of all positions where it is most active; a concept's mask C the positions
that hold a base of it. Of unit u and concept c

    IoU[u, c] = |M_u and C_c| / |M_u or C_c|

and the best unit of a concept is compared with two kinds of chance, the best unit of each counting:

- **rotation**: units, each of mean 0 and deviation 1, are mixed by a random orthogonal matrix. The layer holds as much
  as before, but its axes mean nothing: a concept that needs no rotation to be seen is one of single units.
- **labels**: the concept is moved along the positions, in a circle, by random distances, each row of regions by its
  own. It covers as much as before, and says nothing of the bases.

p is (1 + draws as good) / (1 + draws), ties among these; a concept is *found* where neither is above ``FOUND``. That is
of each concept by itself: of a hundred that are nowhere, up to five are found by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.objective import check_counts
from ..plain import check_types
from ..types import BoolArray, DoubleArray, FloatArray, IndexArray

FOUND = 0.05
LEAST_DRAWS = round(1 / FOUND) - 1  # with fewer, p cannot be as small
FEW_ACTIVE = 10  # positions of a unit below which IoU takes so few values that chance reaches the same


@dataclass(frozen=True, slots=True, kw_only=True)
class DissectOptions:
    """How units and concepts are compared.

    Parameters
    ----------
    quantile : float
        Share of positions where a unit counts as active.
    draws : int
        Rotations, and moves of labels; 19 or more, with fewer nothing could be found.
    seed : int
        Of both.
    """

    quantile: float = 0.005
    draws: int = 39
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "draws")
        if self.draws < LEAST_DRAWS:
            raise InputError(
                f"draws is {self.draws}; {LEAST_DRAWS} or more are needed: p is at least 1 / (1 + draws), and found is "
                f"what has at most {FOUND:g}"
            )
        if not 0.0 < self.quantile < 1.0:
            raise InputError(f"quantile is {self.quantile!r}; a share between 0 and 1 is needed")


@dataclass(frozen=True, eq=False)
class Dissection:
    """Units against concepts.

    Attributes
    ----------
    iou : float64 ndarray of shape (units, concepts)
    thresholds : float32 ndarray of shape (units,)
        Least activation of a unit that counts; NaN for a unit that is the same everywhere, whose IoU is 0.
    rotated, moved : float64 ndarray of shape (draws, concepts)
        The best unit's IoU of each rotation, and of each move of the labels.
    note : str or None
        What is wrong where a unit counts as active at too few positions to be told from chance.
    """

    iou: DoubleArray
    thresholds: FloatArray
    rotated: DoubleArray
    moved: DoubleArray
    note: str | None = None

    @property
    def best(self) -> IndexArray:
        """Best unit of each concept, a row of ``iou``."""
        found: IndexArray = self.iou.argmax(axis=0)
        return found

    @property
    def p_rotation(self) -> DoubleArray:
        """Chance that the best unit of a random rotation is as good, (concepts,)."""
        return _p(self.iou.max(axis=0), self.rotated)

    @property
    def p_labels(self) -> DoubleArray:
        """Chance that the best unit is as good for labels that were moved, (concepts,)."""
        return _p(self.iou.max(axis=0), self.moved)

    @property
    def found(self) -> BoolArray:
        """Whether neither is above ``FOUND``, (concepts,)."""
        both: BoolArray = (self.p_rotation <= FOUND) & (self.p_labels <= FOUND)
        return both

    @property
    def said(self) -> str:
        """How many concepts are found, and how far chance goes that far, in words."""
        found, total = int(self.found.sum()), len(self.found)
        least = 1.0 / (1 + len(self.rotated))
        equalled = int((self.found & (np.maximum(self.p_rotation, self.p_labels) > least + 1e-12)).sum())
        more = f"; in {equalled} of these a draw of chance does as well" if equalled else ""
        return (
            f"{found} of {total} concepts are found by a unit (p at most {FOUND:g} each, not corrected for {total} "
            f"concept{'' if total == 1 else 's'}: up to {FOUND * total:.2g} by chance{more})"
        )


def dissect(
    values: FloatArray, concepts: BoolArray, lengths: IndexArray, options: DissectOptions | None = None
) -> Dissection:
    """Compare units with concepts.

    Parameters
    ----------
    values : float32 ndarray of shape (units, positions)
        Activations over all regions.
    concepts : bool ndarray of shape (concepts, positions)
        Which positions hold each concept.
    lengths : int64 ndarray of shape (regions,)
        Positions of each region, in order: labels are moved within these.
    options : DissectOptions, optional

    Raises
    ------
    InputError
        If shapes do not fit, a concept is nowhere or everywhere, or the quantile is less than one position.
    """
    options = options or DissectOptions()
    units, positions = values.shape
    if concepts.shape[1:] != (positions,) or int(lengths.sum()) != positions:
        raise InputError(f"values have {positions} positions, concepts {concepts.shape}, regions {int(lengths.sum())}")
    counts = concepts.sum(axis=1)
    for number in np.flatnonzero((counts == 0) | (counts == positions)).tolist():
        raise InputError(f"concept {number} is at {counts[number]} of {positions} positions; some, not all, are needed")
    active = int(options.quantile * positions)
    if active < 1:
        raise InputError(f"quantile {options.quantile} of {positions} positions is less than one; give more regions")
    rng = np.random.default_rng(options.seed)
    masks, thresholds = _masks(values, active)
    found = _iou(masks, concepts)
    moved = np.stack([_iou(masks, _moved(concepts, lengths, rng)).max(axis=0) for _ in range(options.draws)])
    centred = values - values.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    rotated = []
    for _ in range(options.draws):
        rotation, upper = np.linalg.qr(rng.standard_normal((units, units)))
        turned = (rotation * np.sign(np.diag(upper))).astype(np.float32) @ scaled
        rotated.append(_iou(_masks(turned, active)[0], concepts).max(axis=0))
    return Dissection(found, thresholds, np.stack(rotated), moved, _too_few(active, positions, len(lengths), options))


def _too_few(active: int, positions: int, regions: int, options: DissectOptions) -> str | None:
    """Return what is said where too few positions are active to tell a unit from chance; None where they are enough."""
    if active >= FEW_ACTIVE:
        return None
    needed = math.ceil(FEW_ACTIVE / options.quantile)
    more = math.ceil(needed * regions / positions)
    return (
        f"each unit counts as active at {active} of {positions:,} positions, so that chance often has the same IoU and "
        f"p says little; about {more:,} regions or windows like these ({needed:,} positions), a finer layer, or a "
        "larger quantile are needed"
    )


def _masks(values: FloatArray, active: int) -> tuple[BoolArray, FloatArray]:
    """Return where each unit is among its ``active`` largest values, or equal to these, and the least of them."""
    thresholds = np.partition(values, values.shape[1] - active, axis=1)[:, values.shape[1] - active].copy()
    flat = values.min(axis=1) == thresholds  # an activation that is mostly one number has no top
    masks = values >= thresholds[:, None]
    masks[flat] = values[flat] > thresholds[flat, None]
    thresholds[values.min(axis=1) == values.max(axis=1)] = np.nan
    return masks, thresholds


def _iou(masks: BoolArray, concepts: BoolArray) -> DoubleArray:
    """Return intersection over union, float64 (units, concepts)."""
    # Counts are exact in float32 up to 2^24.
    both = (masks.astype(np.float32) @ concepts.T.astype(np.float32)).astype(np.float64)
    either = masks.sum(axis=1)[:, None] + concepts.sum(axis=1)[None] - both
    found: DoubleArray = both / either
    return found


def _moved(concepts: BoolArray, lengths: IndexArray, rng: np.random.Generator) -> BoolArray:
    """Return concepts moved in a circle within each region, all by the same distance."""
    ends = np.cumsum(lengths)
    parts = [
        np.roll(concepts[:, end - length : end], int(rng.integers(1, length)) if length > 1 else 0, axis=1)
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _p(best: DoubleArray, draws: DoubleArray) -> DoubleArray:
    found: DoubleArray = (1 + (draws >= best - 1e-12).sum(axis=0)) / (1 + len(draws))
    return found
