"""Design: substitutions that raise a target, found by exact predictions (activation maximisation).

A step exchanges one base of the region. Of the sequences one step away that are proposed, all are predicted, and

- **greedy** takes the best if it is better than what it began with, and ends where none is;
- **beam** keeps the best few of all that came of the few it held, whether or not they are better, since two halves of
  a motif may be worth something together alone. The best sequence it has seen is the answer.

Proposed are all substitutions, some of them drawn by chance, or, with a guide, those whose slope promises most: the
derivative by the new base less that by the base which is there. A slope only proposes; what is taken was predicted.

A sequence that breaks a constraint is behind every one that breaks fewer: a region whose own bases break one is first
repaired, at the cost of the target, and no step adds a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..explain.objective import Bases, Differentiable, Objective, check_bases, check_counts
from ..plain import check_types
from ..sequence import BASES
from ..types import BoolArray, ByteArray

SEARCHES = ("greedy", "beam")
GOALS = ("raise", "lower")
GUIDES = ("exact", "gradient")
_COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignOptions:
    """How a sequence is designed.

    Parameters
    ----------
    search : str
        ``greedy`` or ``beam``.
    guide : str
        ``exact``: every substitution, or ``candidates`` of them by chance, is predicted. ``gradient``: those that the
        slope promises most of.
    goal : str
        ``raise`` or ``lower`` the target.
    edits : int
        Most steps, a substitution each.
    candidates : int, optional
        Substitutions of one sequence that are predicted in one step; None takes all, and with ``gradient`` 32.
    beam : int
        Sequences that ``beam`` holds.
    gc : (float, float), optional
        Least and largest share of G and C among the known bases of the region.
    forbid : tuple of str
        Words of A, C, G, T and N for any base, which may not touch the region on either strand.
    seed : int
        Of what is drawn by chance.

    Raises
    ------
    InputError
        If a field is not what it may be.
    """

    search: str = "greedy"
    guide: str = "exact"
    goal: str = "raise"
    edits: int = 10
    candidates: int | None = None
    beam: int = 4
    gc: tuple[float, float] | None = None
    forbid: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        for name, allowed in (("search", SEARCHES), ("guide", GUIDES), ("goal", GOALS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")
        check_counts(self, "edits", "beam", *(() if self.candidates is None else ("candidates",)))
        if self.gc is not None and not 0.0 <= self.gc[0] <= self.gc[1] <= 1.0:
            raise InputError(f"gc is {self.gc!r}; two shares from 0 to 1, the lower one first, are needed")
        for word in self.forbid:
            if not re.fullmatch("[ACGTN]*[ACGT][ACGTN]*", word):
                raise InputError(f"forbidden word {word!r} cannot be read; letters A, C, G, T and N are needed")


@dataclass(frozen=True, slots=True)
class Step:
    """One substitution: column of the window, base before and behind it, target before and behind it."""

    column: int
    ref: str
    alt: str
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Design:
    """A designed sequence.

    Attributes
    ----------
    window : uint8 ndarray of shape (4, length)
        With the designed bases in it.
    bases : (int, int)
        The region, columns of the window.
    steps : tuple of Step
        What led to it, in order.
    start, value : float
        The target before and behind all steps.
    predicted, slopes : int
        Sequences that were predicted, and slopes taken.
    gc : (float, float)
        Share of G and C of the region before and behind all steps.
    """

    window: ByteArray
    bases: Bases
    steps: tuple[Step, ...]
    start: float
    value: float
    predicted: int
    slopes: int
    gc: tuple[float, float]

    def __repr__(self) -> str:
        count = self.bases[1] - self.bases[0]
        steps = f"{len(self.steps)} substitution{'' if len(self.steps) == 1 else 's'}"
        return f"<Design of {count:,} bases: {steps}, target {self.start:.4g} -> {self.value:.4g}>"

    @property
    def sequence(self) -> str:
        """The designed bases of the region, as text."""
        return "".join(_letters(self.window[:, slice(*self.bases)]))


@dataclass(frozen=True, eq=False)
class _State:
    window: ByteArray
    value: float
    faults: int
    steps: tuple[Step, ...] = field(default=())


def design(
    objective: Objective,
    window: ByteArray,
    bases: Bases,
    options: DesignOptions | None = None,
    *,
    fixed: BoolArray | None = None,
    guide: Differentiable | None = None,
    progress: Callable[[int], None] | None = None,
) -> Design:
    """Return a sequence that raises an objective, or lowers it.

    Parameters
    ----------
    objective : Objective
        What is raised; every value of the answer is one of its own.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA to begin with. Unknown bases stay unknown.
    bases : (int, int)
        First and last + 1 of the columns that may change.
    options : DesignOptions, optional
    fixed : bool ndarray of shape (bases,), optional
        Which of the columns may not change after all.
    guide : Differentiable, optional
        What slopes are of, with ``guide='gradient'``: the same target.
    progress : callable, optional
        Called with the number of sequences predicted.

    Raises
    ------
    InputError
        If no base may change, or the constraints are not met within the steps.
    """
    options = options or DesignOptions()
    if (options.guide == "gradient") != (guide is not None):
        raise InputError(f"guide {options.guide!r} and an objective with slopes belong together; give both, or neither")
    search = _Search(objective, window, check_bases(bases, objective.length), options, fixed, guide, progress)
    best = search.run()
    if best.faults:
        raise InputError(
            f"the constraints are not met within {options.edits} edits: {best.faults} faults are left; allow more "
            "edits, or loosen the constraints"
        )
    content = search.gc(window), search.gc(best.window)
    counts = search.predicted, search.slopes
    return Design(best.window, search.bases, best.steps, search.first.value, best.value, *counts, content)


class _Search:
    """What both searches share."""

    def __init__(
        self,
        objective: Objective,
        window: ByteArray,
        bases: Bases,
        options: DesignOptions,
        fixed: BoolArray | None,
        guide: Differentiable | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.bases, self.options, self.predicted, self.slopes = bases, options, 0, 0
        self._objective, self._guide, self._progress = objective, guide, progress
        self._sign = 1.0 if options.goal == "raise" else -1.0
        self._rng = np.random.default_rng(options.seed)
        width = bases[1] - bases[0]
        if fixed is not None and fixed.shape != (width,):
            raise InputError(f"fixed has shape {fixed.shape}; ({width},) is needed")
        known = window[:, bases[0] : bases[1]].sum(axis=0) == 1
        self._open = known if fixed is None else known & ~fixed
        if not self._open.any():
            raise InputError("no base may change: all are unknown or fixed")
        turned = [word.translate(_COMPLEMENT)[::-1] for word in options.forbid]
        words = dict.fromkeys([*options.forbid, *turned])
        # A look ahead finds matches that overlap.
        self._forbidden = [(len(word), re.compile(f"(?={word.replace('N', '[ACGT]')})")) for word in words]
        self.first = _State(window, self._value(window), self._faults(window))

    def run(self) -> _State:
        """Search."""
        width = self.options.beam if self.options.search == "beam" else 1
        best, held = self.first, [self.first]
        for _ in range(self.options.edits):
            children = self._children(held)
            if not children:
                break
            held = sorted(children, key=self._rank, reverse=True)[:width]
            better = self._rank(held[0]) > self._rank(best)
            best = held[0] if better else best
            if self.options.search == "greedy" and not better:
                break
        return best

    def _rank(self, state: _State) -> tuple[int, float]:
        return -state.faults, self._sign * state.value

    def _children(self, held: list[_State]) -> list[_State]:
        """Return all that is proposed one step from some sequences, each sequence once."""
        found: dict[bytes, _State] = {}
        for state in held:
            for column, base, faults in self._proposed(state):
                changed = _with(state.window, column, base)
                key = changed[:, self.bases[0] : self.bases[1]].tobytes()
                if key in found:
                    continue
                value = self._value(changed)
                ref = BASES[int(state.window[:, column].argmax())]
                step = Step(column, ref, BASES[base], state.value, value)
                found[key] = _State(changed, value, faults, (*state.steps, step))
        return list(found.values())

    def _proposed(self, state: _State) -> Iterator[tuple[int, int, int]]:
        """Yield column, base and faults of what is to be predicted."""
        most, count = self.options.candidates, 0
        if most is None and self._guide is not None:
            most = 32
        for offset, base in self._ordered(state):
            if most is not None and count == most:
                return
            column = self.bases[0] + offset
            # The rank of a sequence needs its faults alone to be behind, so that these are never predicted.
            faults = self._faults(_with(state.window, column, base)) if self._constrained else 0
            if faults == 0 or faults < state.faults:
                count += 1
                yield column, base, faults

    @property
    def _constrained(self) -> bool:
        return self.options.gc is not None or bool(self._forbidden)

    def _ordered(self, state: _State) -> list[tuple[int, int]]:
        """Return every substitution, the most promising first."""
        start, end = self.bases
        there = state.window[:, start:end]
        offsets, letters = np.nonzero((there == 0).T & self._open[:, None])
        if self._guide is not None:
            _, slopes = self._guide.slope(state.window.astype(np.float64), self.bases)
            self.slopes += 1
            gains = self._sign * (slopes - (slopes * there).sum(axis=0))
            order = np.argsort(-gains[letters, offsets], kind="stable")
        elif self.options.candidates is not None:
            order = self._rng.permutation(len(offsets))
        else:
            order = np.arange(len(offsets))
        return list(zip(offsets[order].tolist(), letters[order].tolist(), strict=True))

    def _faults(self, window: ByteArray) -> int:
        """Count forbidden words that touch the region, and bases by which it misses the range of G and C."""
        start, end = self.bases
        count = 0
        if self.options.gc is not None:
            there = window[:, start:end]
            strong, known = int(there[1:3].sum()), int(there.sum())
            low, high = (share * known for share in self.options.gc)
            count += max(int(np.ceil(low - 1e-9)) - strong, strong - int(np.floor(high + 1e-9)), 0)
        for length, pattern in self._forbidden:
            around = window[:, max(0, start - length + 1) : end + length - 1]
            text = "".join(_letters(around))
            count += sum(1 for _ in pattern.finditer(text))
        return count

    def gc(self, window: ByteArray) -> float:
        """Return the share of G and C among the known bases of the region."""
        there = window[:, self.bases[0] : self.bases[1]]
        return float(there[1:3].sum() / there.sum())

    def _value(self, window: ByteArray) -> float:
        self.predicted += 1
        value = float(self._objective.values(window[None])[0])
        if self._progress is not None:
            self._progress(self.predicted)
        return value


def _with(window: ByteArray, column: int, base: int) -> ByteArray:
    changed = window.copy()
    changed[:, column] = 0
    changed[base, column] = 1
    return changed


def _letters(onehot: ByteArray) -> list[str]:
    codes = np.where(onehot.any(axis=0), onehot.argmax(axis=0), 4)
    return [f"{BASES}N"[code] for code in codes.tolist()]
