"""What a concept itself does to a target: put into the rows as they are, beside its letters in another order.

    effect = S(row with the concept) - S(row with the letters of the concept in random order, at the same bases)

so that what is lost with the bases that are overwritten is in both. TCAV is a slope along a direction that tells where
a concept is; this is the experiment, in the unit of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.rows import Row
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..inside.activations import Activations
from ..inside.slopes import check_finite
from ..types import DoubleArray
from .examples import Concept, Inserted, put

LEAST, MOST = 20, 100  # effects of each concept: rows are used again, or only the first


@dataclass(frozen=True, eq=False)
class Implant:
    """Effects of a concept that was put in, float64 (effects,)."""

    effects: DoubleArray

    @property
    def mean(self) -> float:
        """Mean effect, in the unit of the target."""
        return float(self.effects.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(self.effects.std(ddof=1) / np.sqrt(len(self.effects)))

    @property
    def says(self) -> str:
        """``raises`` or ``lowers`` where the mean is more than two standard errors from 0, else ``nothing``."""
        if abs(self.mean) <= 2.0 * self.error:
            return "nothing"
        return "raises" if self.mean > 0.0 else "lowers"


def count_of(concept: Concept, rows: Sequence[Row]) -> int:
    """Return how many effects :func:`implanted` takes, each of two passes; 0 of what is not put in."""
    return min(MOST, len(rows) * -(-LEAST // len(rows))) if isinstance(concept, Inserted) else 0


def implanted(
    concept: Concept,
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    seed: int,
    progress: Callable[[], None] | None = None,
) -> Implant | None:
    """Return what a concept does where it is put into rows; None for intervals, which are not put in.

    Starts are drawn, by ``seed``. There are :data:`LEAST` to :data:`MOST` effects: all rows as often as each other, or
    the first :data:`MOST`. ``progress`` is called after each.
    """
    if not isinstance(concept, Inserted):
        return None
    bundle, effects = activations.network.bundle, []
    for number in range(count_of(concept, rows)):
        row = rows[number % len(rows)]
        window, (start, end) = row.window(fasta, bundle.geometry), row.columns
        rng = np.random.default_rng([seed, number])
        letters = concept.letters(number, rng)
        width = letters.shape[1]
        if width > end - start:
            raise InputError(f"concept {concept.name} has {width} bases; a row has {end - start}: take wider rows")
        first = int(rng.integers(start, end - width + 1))
        other, known = letters.copy(), np.flatnonzero(letters.any(axis=0))
        other[:, known] = letters[:, rng.permutation(known)]
        target = spec.bind(bundle, row.where)
        readings = [activations.reading(put(window, held, first)) for held in (letters, other)]
        values = [check_finite(target.value(one.coverage(target.positions, target.bins))) for one in readings]
        effects.append(values[0] - values[1])
        if progress is not None:
            progress()
    return Implant(np.array(effects))
