"""Dependency maps: how a substitution at one base changes what is said of the others.

    M[j, i] = mean over bases b that are not at i of |a_j(x with b at i) - a_j(x)|

a is the score of the base that is there: of the corrected gradient (``saliency``), or of exact mutagenesis (``ism``,
convention ``mean4``). Rows are the bases whose score changes, columns those that are exchanged, as in tangermeme's
``dependency_map``, after Tomaz da Silva et al. (Nature Genetics 2025). At an unknown base all four are put in, and the
mean is over them. A target that treats bases one by one has a map that is 0 but for its diagonal; the diagonal, the
change of the score of the exchanged base itself, is not comparable with the rest.

Of W known bases ``saliency`` takes 3 W + 1 gradients. ``ism`` takes 1 + 3 W + 9 W (W - 1) / 2 predictions: every pair
of substitutions once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..plain import check_types
from ..types import ByteArray, DoubleArray
from .gradients import corrected
from .objective import Attribution, Bases, Objective, check_bases, check_counts, one_value
from .substitutions import centred

ATTRIBUTIONS = ("saliency", "ism")
_Edit = tuple[int, int]  # column of the window, base


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyOptions:
    """Options of ``dependency``.

    Parameters
    ----------
    attribution : str
        ``saliency`` or ``ism``: the scores whose change is looked at.
    max_passes : int
        Gradients, or predictions, that one row may take; one that takes more is refused.
    """

    attribution: str = "saliency"
    max_passes: int = 2000

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "max_passes")
        if self.attribution not in ATTRIBUTIONS:
            raise InputError(f"attribution {self.attribution!r} is unknown; allowed: {', '.join(ATTRIBUTIONS)}")

    @property
    def gradient(self) -> bool:
        """Whether a gradient is needed."""
        return self.attribution == "saliency"


def dependency_map(objective: Objective, window: ByteArray, bases: Bases, options: DependencyOptions) -> Attribution:
    """Return the scores of the bases, and as ``dependency`` (bases, bases) how they depend on each other.

    Raises
    ------
    InputError
        If it takes more passes than allowed.
    """
    start, end = check_bases(bases, objective.length)
    edits = [(column, base) for column in range(start, end) for base in range(4) if not window[base, column]]
    needed, noun = passes_of(edits, options.attribution)
    if needed > options.max_passes:
        raise InputError(
            f"dependencies of {end - start:,} bases by {options.attribution} take {needed:,} {noun}, max_passes is "
            f"{options.max_passes:,}; explain fewer bases, or allow more"
        )
    of = _by_gradient if options.gradient else _by_mutagenesis
    value, scores = of(objective, window, (start, end), edits)
    inside = window[:, start:end]
    own = (scores(None) * inside).sum(axis=0)
    total, counts = np.zeros((end - start, end - start)), np.zeros(end - start)
    for column, base in edits:
        changed = inside.copy()
        changed[:, column - start] = np.arange(4) == base
        total[:, column - start] += np.abs((scores((column, base)) * changed).sum(axis=0) - own)
        counts[column - start] += 1
    facts = {"attribution": options.attribution, "substitutions": len(edits), noun: needed}
    return Attribution(value, scores(None), facts, {"dependency": total / counts})


def passes_of(edits: list[_Edit], attribution: str) -> tuple[int, str]:
    """Return how many passes a map takes, and of what kind they are."""
    if attribution == "saliency":
        return 1 + len(edits), "gradients"
    columns = np.unique([column for column, _ in edits], return_counts=True)[1]
    pairs = (len(edits) ** 2 - int((columns**2).sum())) // 2  # two at one base are one
    return 1 + len(edits) + pairs, "predictions"


_Scores = Callable[[_Edit | None], DoubleArray]


def _by_gradient(objective: Objective, window: ByteArray, bases: Bases, edits: list[_Edit]) -> tuple[float, _Scores]:
    """Return the target, and the corrected gradient (4, bases) as a function of a substitution."""
    slope = objective.slope  # type: ignore[attr-defined]  # what is asked for by saliency has one
    value, first = slope(window.astype(np.float64), bases)

    def scores(edit: _Edit | None) -> DoubleArray:
        if edit is None:
            return corrected(first)
        mutant = window.astype(np.float64)
        mutant[:, edit[0]] = np.arange(4) == edit[1]
        return corrected(slope(mutant, bases)[1])

    return value, scores


def _by_mutagenesis(objective: Objective, window: ByteArray, bases: Bases, edits: list[_Edit]) -> tuple[float, _Scores]:
    """Return the target, and what exact mutagenesis says (4, bases) as a function of a substitution."""
    mutant = window.copy()

    def value_of(*changes: _Edit) -> float:
        mutant[:] = window
        for column, base in changes:
            mutant[:, column] = np.arange(4) == base
        return one_value(objective, mutant)

    value, singles = value_of(), np.array([value_of(edit) for edit in edits])
    pairs = np.empty((len(edits), len(edits)))
    for row, one in enumerate(edits):
        for column, other in enumerate(edits[:row]):
            # Two substitutions at one base are the later one.
            same = one[0] == other[0]
            pairs[row, column] = singles[column] if same else value_of(one, other)
            pairs[column, row] = singles[row] if same else pairs[row, column]
    numbers = {edit: number for number, edit in enumerate(edits)}

    def scores(edit: _Edit | None) -> DoubleArray:
        effects, inside = np.zeros((4, bases[1] - bases[0])), window[:, bases[0] : bases[1]].copy()
        at = value if edit is None else singles[numbers[edit]]
        if edit is not None:
            inside[:, edit[0] - bases[0]] = np.arange(4) == edit[1]
            effects[:, edit[0] - bases[0]] = window[:, edit[0]] * (value - at)  # back to what was there
        for number, other in enumerate(edits):
            if other != edit:
                reached = singles[number] if edit is None else pairs[numbers[edit], number]
                effects[other[1], other[0] - bases[0]] = reached - at
        return centred(effects, inside, "mean4")

    return value, scores
