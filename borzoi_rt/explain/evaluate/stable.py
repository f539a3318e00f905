"""Would attributions be said again? A method is run again under changes that should not matter, or that must.

``seeds``            other numbers for chance to follow
``shifts``           the window moved by -3 to 3 bases, maps compared base by base of the genome
``strands``          the reverse complement of the window read alone, every track by its strand pair
``folds``            other models that were trained alike
``max-sensitivity``  max over sequences with substitutions outside of the bases and 1 kb around of |a' - a| / |a|
``randomised``       models whose weights are in random order: here maps must part (Adebayo et al., NeurIPS 2018)

The map of the file is compared with each of these by ``pearson``, ``spearman``, ``top_overlap`` (the strongest 5 % of
the bases in size) and ``top_jaccard`` (the strongest 1 %), mean over these. By chance are maps whose bases are in
random order.

Of ``folds``, too, ``seqlets``: which share of the seqlets of the map are found in three quarters of the models or more,
that of the file among them, and in two at least. A seqlet is found where one of another map, of the same sign, holds
half of its bases or more. By chance are the seqlets of the other maps moved together round the row, each map by its own
way: as many, as long and as near to each other.

Of ``seeds``, too, ``noise``: the standard error that chance gives one map, its standard deviation over seeds, in the
mean of the tenth of the bases with the largest scores, over the mean size of these scores; and
``samples_for_5_percent``: how many shuffles or copies (``samples``, ``references``) would bring it to 5 %, since it
falls with the root of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...backends.device import Device
from ...bundle.opening import Bundle
from ...engine.gene_bins import Frame
from ...errors import InputError
from ...scoring.ensemble import check_members
from ...types import ByteArray, DoubleArray, IndexArray
from ..agreement import mean_known, pearson, spearman, top_jaccard, top_overlap
from ..explainer import Explainer, ExplainOptions
from ..rows import Row
from ..seqlets import Seqlet, find_seqlets
from .faithful import EvaluateOptions
from .maps import Reading, ScoreMap
from .subject import Subject

SHIFTS_BP = (-3, -2, -1, 1, 2, 3)
MARGIN_BP = 1000
CHANGES = 10  # substitutions of max-sensitivity
_TOP_SHARE, _QUIET = 0.1, 0.05
_MEASURES = {"pearson": pearson, "spearman": spearman, "top_overlap": top_overlap, "top_jaccard": top_jaccard}
_MODELS_SHARE, _HELD_SHARE = 0.75, 0.5  # of the models that find a seqlet, and of its bases


def concordance(held: ScoreMap, others: Sequence[DoubleArray], options: EvaluateOptions) -> dict[str, Reading]:
    """Return how far a map agrees with others of the same bases, mean over them, beside maps in random order.

    Parameters
    ----------
    held : ScoreMap
    others : sequence of float64 ndarray of shape (bases,)
        Scores of the bases that are there.
    options : EvaluateOptions
    """
    rng, known = np.random.default_rng([options.seed, 98]), held.known

    def measured(scores: DoubleArray) -> dict[str, float | None]:
        return {
            name: mean_known([measure(scores[known], other[known]) for other in others])
            for name, measure in _MEASURES.items()
        }

    value = measured(held.projected)
    if value["pearson"] is None:
        return {"pearson": Reading(None, detail="a map is the same everywhere")}
    draws = [measured(held.permuted(rng).projected) for _ in range(options.draws)]
    return {
        name: Reading(one, np.array([draw[name] or 0.0 for draw in draws]), stretches=(held.stretches,))
        for name, one in value.items()
    }


def largest_change(held: ScoreMap, others: Sequence[DoubleArray], options: EvaluateOptions) -> dict[str, Reading]:
    """Return the largest |a' - a| / |a|, beside that of maps in random order against the same."""
    rng, own = np.random.default_rng([options.seed, 97]), held.projected
    size = float(np.linalg.norm(own))
    if size == 0.0:
        return {"change": Reading(None, detail="the map is 0 everywhere")}

    def largest(scores: DoubleArray) -> float:
        return max(float(np.linalg.norm(other - scores)) for other in others) / size

    draws = [largest(held.permuted(rng).projected) for _ in range(options.draws)]
    return {"change": Reading(largest(own), np.array(draws), stretches=(held.stretches,))}


def noise(
    held: ScoreMap, others: Sequence[DoubleArray], samples: int | None, options: EvaluateOptions
) -> dict[str, Reading]:
    """Return how much of a map is chance, see the head of this module, beside the same of maps in random order.

    Parameters
    ----------
    held : ScoreMap
    others : sequence of float64 ndarray of shape (bases,)
        Scores with other seeds.
    samples : int, optional
        What each map is the mean of.
    options : EvaluateOptions
    """
    rng, known = np.random.default_rng([options.seed, 94]), held.known
    count = max(1, round(_TOP_SHARE * int(known.sum())))

    def measured(maps: Sequence[DoubleArray]) -> float | None:
        stacked = np.stack([scores[known] for scores in maps])
        mean = np.abs(stacked.mean(axis=0))
        top = np.argsort(-mean, kind="stable")[:count]
        size = float(mean[top].mean())
        return float(stacked.std(axis=0, ddof=1)[top].mean()) / size if size else None

    value = measured([held.projected, *others])
    if value is None:
        return {"noise": Reading(None, detail="the map is 0 everywhere")}
    draws = [
        measured([held.projected, *(held.permuted(rng).projected for _ in others)]) or 0.0 for _ in range(options.draws)
    ]
    found = {"noise": Reading(value, np.array(draws), stretches=(held.stretches,))}
    if samples is not None:
        found["samples_for_5_percent"] = Reading(float(np.ceil(samples * (value / _QUIET) ** 2)))
    return found


def found_again(held: ScoreMap, others: Sequence[DoubleArray], options: EvaluateOptions) -> dict[str, Reading]:
    """Return which share of the seqlets of a map most models find, see the head of this module.

    Parameters
    ----------
    held : ScoreMap
    others : sequence of float64 ndarray of shape (bases,)
        Scores that other models give.
    options : EvaluateOptions
    """
    known = held.known
    own = find_seqlets(held.projected[None], known[None])
    if not own:
        return {"seqlets": Reading(None, detail="the map has no seqlet")}
    owners = [_owners(find_seqlets(other[None], known[None]), len(known)) for other in others]
    least = max(2, int(np.ceil(_MODELS_SHARE * (len(others) + 1))))

    def share(moved: Sequence[IndexArray]) -> float:
        counts = [1 + sum(_holds(owner, one) for owner in moved) for one in own]
        return float(np.mean([count >= least for count in counts]))

    rng = np.random.default_rng([options.seed, 93])
    draws = [share([np.roll(owner, rng.integers(len(known))) for owner in owners]) for _ in range(options.draws)]
    return {"seqlets": Reading(share(owners), np.array(draws))}


def _owners(seqlets: Sequence[Seqlet], length: int) -> IndexArray:
    """Return the number of the seqlet of each base from 1 on, negative of a negative sum; 0 of none."""
    found = np.zeros(length, dtype=np.int64)
    for number, one in enumerate(seqlets, start=1):
        found[one.start : one.end] = number if one.attribution > 0.0 else -number
    return found


def _holds(owner: IndexArray, one: Seqlet) -> bool:
    """Return whether a seqlet of the same sign holds enough of the bases of this one."""
    inside = owner[one.start : one.end] * (1 if one.attribution > 0.0 else -1)
    most = int(np.bincount(inside[inside > 0], minlength=1).max())
    return most >= _HELD_SHARE * (one.end - one.start)


def shifted(row: Row, by: int, length: int) -> Row:
    """Return a row in a window that begins ``by`` bases further; bins of targets are looked up there again.

    Raises
    ------
    InputError
        If the bases do not lie in that window.
    """
    start, frame = row.where.window_start + by, row.where.frame
    moved = None if frame is None else Frame(frame.start + by, frame.edits)
    found = replace(row, where=replace(row.where, window_start=start, frame=moved))
    low, high = found.columns
    if not 0 <= low < high <= length:
        raise InputError(f"row {row.name} reaches the end of its window, which cannot be shifted; explain fewer bases")
    return found


@dataclass
class Rerun:
    """Runs the method of a file again.

    Parameters
    ----------
    explainer : Explainer
        Of the model of the file.
    subject : Subject
    """

    explainer: Explainer
    subject: Subject

    def map(
        self,
        row: Row,
        *,
        options: ExplainOptions | None = None,
        window: ByteArray | None = None,
        opposite: bool = False,
        explainer: Explainer | None = None,
    ) -> DoubleArray:
        """Return the scores of the bases that are there, float64 (bases,)."""
        model = explainer or self.explainer
        codes, found, _ = model.attributed(
            row, self.subject.spec, options or self.subject.options, window=window, opposite=opposite
        )
        return ScoreMap(codes, np.asarray(found.hypothetical, dtype=np.float64)).projected

    def seeds(self, number: int, options: EvaluateOptions) -> dict[str, Reading]:
        """Run with other seeds."""
        own = self.subject.options
        if not hasattr(own.options, "seed"):
            return {"spearman": Reading(None, detail=f"{own.method} follows no chance")}
        others = [
            self.map(
                self.subject.rows[number],
                options=replace(own, options=replace(own.options, seed=own.options.seed + repeat)),
            )
            for repeat in range(1, options.repeats + 1)
        ]
        held, given = self.subject.maps[number], own.options
        samples = getattr(given, "samples", None) or getattr(given, "references", None)
        return concordance(held, others, options) | noise(held, others, samples, options)

    def shifts(self, number: int, options: EvaluateOptions) -> dict[str, Reading]:
        """Run in windows that begin elsewhere."""
        length = self.explainer.bundle.geometry.sequence_length_bp
        others = [self.map(shifted(self.subject.rows[number], by, length)) for by in SHIFTS_BP]
        return concordance(self.subject.maps[number], others, options)

    def strands(self, number: int, options: EvaluateOptions) -> dict[str, Reading]:
        """Run on the other strand."""
        if self.subject.options.rc:
            return {"spearman": Reading(None, detail="the map is of both strands already")}
        others = [self.map(self.subject.rows[number], opposite=True)]
        return concordance(self.subject.maps[number], others, options)

    def max_sensitivity(self, number: int, options: EvaluateOptions) -> dict[str, Reading]:
        """Run with substitutions far from the bases."""
        row, rng = self.subject.rows[number], np.random.default_rng([options.seed, 5])
        window = row.window(self.explainer.fasta, self.explainer.bundle.geometry)
        low, high = row.columns
        far = np.flatnonzero(window.any(axis=0))
        far = far[(far < low - MARGIN_BP) | (far >= high + MARGIN_BP)]
        if len(far) < CHANGES:
            return {"change": Reading(None, detail=f"the window has no bases {MARGIN_BP} bp beside those explained")}
        others = []
        for _ in range(options.repeats):
            mutant, columns = window.copy(), rng.choice(far, CHANGES, replace=False)
            letters = (window[:, columns].argmax(axis=0) + rng.integers(1, 4, CHANGES)) % 4
            mutant[:, columns] = letters == np.arange(4)[:, None]
            others.append(self.map(row, window=mutant))
        return largest_change(self.subject.maps[number], others, options)

    def folds(self, number: int, explainers: Sequence[Explainer], options: EvaluateOptions) -> dict[str, Reading]:
        """Run with other models."""
        held, others = self.subject.maps[number], self._of_models(number, explainers)
        return concordance(held, others, options) | found_again(held, others, options)

    def randomised(self, number: int, explainers: Sequence[Explainer], options: EvaluateOptions) -> dict[str, Reading]:
        """Run with models in random order; of each its own reading, by the name of its folder."""
        held, others = self.subject.maps[number], self._of_models(number, explainers)
        return {
            f"spearman_{one.bundle.path.name}": _rank(concordance(held, [other], options))
            for one, other in zip(explainers, others, strict=True)
        }

    def _of_models(self, number: int, explainers: Sequence[Explainer]) -> list[DoubleArray]:
        return [self.map(self.subject.rows[number], explainer=one) for one in explainers]


def _rank(found: dict[str, Reading]) -> Reading:
    return found.get("spearman") or found["pearson"]


def reruns(subject: Subject) -> int | None:
    """Return about how many passes of the network one run of the method takes for a row, a gradient being three.

    None of a method that is not known here.
    """
    width, chosen = subject.rows[0].width, subject.options
    held, method = chosen.options, chosen.method
    if getattr(held, "segments", ""):
        tiles = max(len(row.segments or ()) for row in subject.rows)
    else:
        tiles = -(-width // held.tile_bp) if hasattr(held, "tile_bp") else 0
    count: dict[str, Callable[[], int]] = {
        "saliency": lambda: 3,
        "ixg": lambda: 3,
        "ig": lambda: 1 + held.references * (3 * held.steps + 1),
        "smoothgrad": lambda: 1 + 3 * held.samples,
        "expected-gradients": lambda: 1 + 4 * held.samples,
        "ism": lambda: 1 + 3 * width,
        "ism-hybrid": lambda: 3 + held.recheck + held.sample,
        "shuffle": lambda: 1 + tiles * held.samples,
        "deletion": lambda: 1 + tiles,
        "occlusion": lambda: 1 + tiles,
        "shap": lambda: 1 + held.samples * (tiles if held.sampling == "permutation" else 2),
        "lime": lambda: 1 + held.samples,
        "dependency": lambda: 9 * width,
        "deeplift": lambda: 5 * held.references,
    }
    return count[method]() * (2 if chosen.rc else 1) if method in count else None


def open_all(bundles: Sequence[Bundle], explainer: Explainer, device: Device | None) -> list[Explainer]:
    """Return other models on the same genome.

    Raises
    ------
    InputError
        If one differs from the model of the file in window or tracks, or two are the same.
    """
    check_members([explainer.bundle, *bundles])
    return [Explainer(bundle, explainer.fasta, device) for bundle in bundles]
