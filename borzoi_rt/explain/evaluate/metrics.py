"""The measures by name: what each costs, and which values are good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError
from .faithful import EvaluateOptions
from .maps import FALLEN
from .stable import SHIFTS_BP, reruns
from .subject import Subject

HIGH, MORE, LOW, FELL, NOTHING = "high", "more", "low", "fallen", ""
SAME = 0.999  # a map by mutagenesis that agrees less with mutagenesis is not what its file says
BY_CONSTRUCTION = "1 by construction: the map itself is exact mutagenesis"
_WORDS = {
    HIGH: "above random, 1 at best",
    MORE: "above random",
    LOW: "below random, 0 at best",
    FELL: f"near 0, below {FALLEN:g}",
    NOTHING: "",
}
_MAPS = {"pearson": HIGH, "spearman": HIGH, "top_overlap": HIGH, "top_jaccard": HIGH}


@dataclass(frozen=True)
class Asked:
    """What a cost depends on beside the file: what was given for measures that need it."""

    options: EvaluateOptions
    against: bool = False
    folds: int = 0
    randomised: int = 0


@dataclass(frozen=True)
class Metric:
    """One measure.

    Attributes
    ----------
    summary : str
        What it is, in a few words.
    better : mapping of str to str
        Of each number that it gives, whether high or low values are better than chance; numbers whose names begin with
        it and an underscore are meant too.
    passes : callable
        Passes of the network for a row, about, a gradient being three; None where that is not known.
    cheap : bool
        Whether it is done unless others are named: its cost does not depend on the method.
    """

    summary: str
    better: Mapping[str, str]
    passes: Callable[[Subject, Asked], int | None]
    cheap: bool = False

    def better_of(self, quantity: str) -> str:
        """Return which values of one of its numbers are good."""
        return self.better.get(quantity, self.better.get(quantity.split("_")[0], NOTHING))

    def good(self, quantity: str) -> str:
        """Return the same in words."""
        return _WORDS[self.better_of(quantity)]


def _times(count: Callable[[Asked], int]) -> Callable[[Subject, Asked], int | None]:
    def cost(subject: Subject, asked: Asked) -> int | None:
        one = reruns(subject)
        return None if one is None else count(asked) * one

    return cost


def _strands(subject: Subject) -> int:
    return 2 if subject.options.rc else 1


def _ism(subject: Subject, asked: Asked) -> int:
    known = min(asked.options.positions, subject.rows[0].width)
    return 0 if asked.against else _strands(subject) * (3 * known + 1)


def _deletion(subject: Subject, asked: Asked) -> int:
    options = asked.options
    tiles = len(options.tiles((0, subject.rows[0].width)))
    if tiles < 2:
        return 0
    inner = min(options.points, tiles) - 1
    return _strands(subject) * (1 + options.shuffles * (1 + (2 + 2 * options.orders) * inner))


def _infidelity(subject: Subject, asked: Asked) -> int:
    return _strands(subject) * (1 + asked.options.samples)


def _sensitivity(subject: Subject, asked: Asked) -> int:
    options = asked.options
    return _strands(subject) * (1 + options.samples * len(options.subsets(subject.rows[0].width)))


METRICS: dict[str, Metric] = {
    "completeness": Metric(
        "share of the difference that attributions miss, as the method told", {"error": NOTHING}, lambda *_: 0, True
    ),
    "ism": Metric(
        "correlation with exact mutagenesis",
        {"pearson": HIGH, "spearman": HIGH, "top": HIGH, "letters": HIGH},
        _ism,
        True,
    ),
    "deletion": Metric(
        "deletion and insertion curves against random order",
        {"abpc": MORE, "deletion": NOTHING, "insertion": NOTHING},
        _deletion,
        True,
    ),
    "infidelity": Metric("how badly random mutants are predicted", {"infidelity": LOW}, _infidelity, True),
    "sensitivity-n": Metric("how well shuffled subsets are predicted", {"correlation": HIGH}, _sensitivity, True),
    "truth": Metric("whether bases that are known to count are found", {"auroc": HIGH, "auprc": HIGH}, lambda *_: 0),
    "consistency": Metric(
        "whether the strong scores of all rows belong to few words of three bases", {"kld": MORE}, lambda *_: 0
    ),
    "seeds": Metric(
        "agreement with other seeds, and how much of a map is their chance",
        {**_MAPS, "noise": LOW},
        _times(lambda asked: asked.options.repeats),
    ),
    "shifts": Metric("agreement with shifted windows", _MAPS, _times(lambda asked: len(SHIFTS_BP))),
    "strands": Metric("agreement with the other strand", _MAPS, _times(lambda asked: 1)),
    "max-sensitivity": Metric(
        "largest change by substitutions far away", {"change": LOW}, _times(lambda asked: asked.options.repeats)
    ),
    "folds": Metric("agreement with other folds", {**_MAPS, "seqlets": HIGH}, _times(lambda asked: asked.folds)),
    "randomised": Metric(
        "correlation with models in random order", {"spearman": FELL}, _times(lambda asked: asked.randomised)
    ),
}
CHEAP = tuple(name for name, metric in METRICS.items() if metric.cheap)


_CHANCE = tuple(name for name in METRICS if name != "completeness")
# Fields of EvaluateOptions, and the measures that heed them.
HEEDED = {
    "positions": ("ism",),
    "samples": ("infidelity", "sensitivity-n"),
    **dict.fromkeys(("tile_bp", "points", "shuffles", "orders"), ("deletion",)),
    "repeats": ("seeds", "max-sensitivity"),
    "draws": tuple(name for name in _CHANCE if name != "deletion"),
    "seed": _CHANCE,
}


def unheeded(names: Sequence[str], metrics: Sequence[str], *, against: bool = False) -> tuple[str, str] | None:
    """Return the first of some fields of EvaluateOptions that no measure heeds, and why.

    Parameters
    ----------
    names, metrics : sequence of str
    against : bool
        Whether exact mutagenesis is given, which then draws no positions.

    Returns
    -------
    (str, str) or None
        The field and the reason; None where all are heeded.
    """
    if against and "positions" in names:
        return "positions", "of a sample of exact mutagenesis, and with against none is drawn"
    name = next((name for name in names if not set(HEEDED[name]) & set(metrics)), None)
    if name is None:
        return None
    left = [one for one in METRICS if one not in HEEDED[name]]
    whose = ", ".join(HEEDED[name]) if len(left) > 2 else f"all but {' and '.join(left)}"
    return name, f"of {whose}, and the metrics are {', '.join(metrics)}"


# What measures need that is not in every call, and what it is.
NEEDED = {"truth": "known features", "folds": "other models", "randomised": "other models"}


def chosen_metrics(
    names: str | Sequence[str] | None, *, folds: int = 0, randomised: int = 0, truth: int = 0
) -> tuple[str, ...]:
    """Return the measures to take, in the order of :data:`METRICS`.

    Parameters
    ----------
    names : str or sequence of str, optional
        Of :data:`METRICS`, or ``all`` for those that have what they need; the cheap ones when None, with those that
        something was given for.
    folds, randomised, truth : int
        How many models, or known features, were given for these.

    Raises
    ------
    InputError
        If a measure is unknown, lacks what it needs, or was given something and is not among them.
    """
    given = {"folds": folds, "randomised": randomised, "truth": truth}
    able = [name for name in METRICS if given.get(name, 1)]
    if names is None:
        return tuple(name for name in able if name in CHEAP or name in given)
    asked = [names] if isinstance(names, str) else list(names)
    asked = able if asked == ["all"] else asked
    for name in asked:
        if name not in METRICS:
            raise InputError(f"metric {name!r} is unknown; allowed: {', '.join(METRICS)}, or all alone")
        if name not in able:
            raise InputError(f"metric {name!r} needs {NEEDED[name]}; give {name}")
    for name, count in given.items():
        if count and name not in asked:
            raise InputError(f"{name} is given, and {name!r} is not among the metrics; add it, or leave it out")
    return tuple(name for name in METRICS if name in asked)
