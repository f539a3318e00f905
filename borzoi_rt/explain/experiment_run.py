"""Experiments of many rows, as a table: the target before and after, for every background, shuffle and spacing."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..drafts import draft_of
from ..errors import InputError
from ..motifs.files import read_motifs
from ..plain import check_types
from ..runs.outputs import check_target
from ..sequence import BASES
from ..types import ByteArray, DoubleArray
from .costs import Counted
from .experiments import ablate, marginalize, motif_letters, space
from .explainer import Explainer, ExplainOptions
from .methods import options_of
from .objective import Bases, Objective, check_counts
from .rows import Row
from .run import about_run
from .shuffles import BIN_BP, shuffled
from .target import TargetSpec

COLUMNS = (
    *("row", "name", "chrom", "start", "end", "allele", "window_start", "motif", "sequence", "spacing", "sample"),
    *("before", "after", "change"),
)
_GROUP = ("row", "name", "allele", "motif", "sequence", "spacing")
_PLAIN = "occlusion"  # a method that needs values alone: its objective is that of experiments

Motif = tuple[str, str]  # what it is called, and its letters


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginalizeOptions:
    """Options of ``marginalize``.

    Parameters
    ----------
    motif : tuple of (str, str)
        Motifs to put in, each by itself: what they are called, and their letters.
    backgrounds : int
        Shuffles of the bases of a row, into which motifs are put; 0 takes the bases as they are.
    bin_bp : int
        Length of the stretches that are shuffled.
    seed : int
        Background k follows ``(seed, k)``.
    """

    motif: tuple[Motif, ...] = ()
    backgrounds: int = 10
    bin_bp: int = BIN_BP
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "bin_bp")
        if not isinstance(self.backgrounds, int) or isinstance(self.backgrounds, bool) or self.backgrounds < 0:
            raise InputError(f"backgrounds is {self.backgrounds!r}; a whole number of 0 or more is needed")
        if not self.motif:
            raise InputError("there is no motif to put in; give one (motif)")
        for _, letters in self.motif:
            motif_letters(letters)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceOptions(MarginalizeOptions):
    """Options of ``space``: those of ``marginalize``, and how many bases are between neighbours, all alike."""

    spacing: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)
        MarginalizeOptions.__post_init__(self)  # super() knows nothing of a class that slots have made anew
        if len(self.motif) < 2:
            raise InputError(f"space moves motifs apart, and there is {self.motif[0][0]} alone; give two (motif)")
        if not self.spacing or any(gap < 0 for gap in self.spacing):
            raise InputError(f"spacing is {self.spacing!r}; one or more numbers of bases, each 0 or more, are needed")
        if len(set(self.spacing)) < len(self.spacing):
            raise InputError(f"spacing is {self.spacing!r}; give each number of bases once")


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateOptions:
    """Options of ``ablate``: shuffles of the bases of each row, and their seed."""

    samples: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "samples")


def _marginalized(
    objective: Objective, window: ByteArray, bases: Bases, options: MarginalizeOptions
) -> Iterator[dict[str, Any]]:
    for name, letters in dict.fromkeys(options.motif):  # of one that comes twice, samples would count twice
        for sample, background in _backgrounds(window, bases, options):
            found = marginalize(objective, background[None], letters, bases=bases)
            yield {"motif": name, "sequence": letters, "sample": sample, **_values(found.before[0], found.after[0])}


def _spaced(objective: Objective, window: ByteArray, bases: Bases, options: SpaceOptions) -> Iterator[dict[str, Any]]:
    names, letters = zip(*options.motif, strict=True)
    gaps = np.repeat(np.array(options.spacing)[:, None], len(letters) - 1, axis=1)
    shown = {"motif": ",".join(names), "sequence": ",".join(letters)}
    for sample, background in _backgrounds(window, bases, options):
        found = space(objective, background[None], letters, gaps, bases=bases)
        for gap, after in zip(options.spacing, found.after[0].tolist(), strict=True):
            yield {**shown, "spacing": gap, "sample": sample, **_values(found.before[0], after)}


def _ablated(objective: Objective, window: ByteArray, bases: Bases, options: AblateOptions) -> Iterator[dict[str, Any]]:
    found = ablate(objective, window[None], bases, samples=options.samples, seed=options.seed)
    for sample, after in enumerate(found.after[0].tolist()):
        yield {"sample": sample, **_values(found.before[0], after)}


def _backgrounds(window: ByteArray, bases: Bases, options: MarginalizeOptions) -> Iterator[tuple[int, ByteArray]]:
    if not options.backgrounds:
        yield 0, window
    for sample in range(options.backgrounds):
        yield sample, shuffled(window, *bases, np.random.default_rng([options.seed, sample]), bin_bp=options.bin_bp)


def _values(before: float, after: float) -> dict[str, float]:
    return {"before": float(before), "after": float(after), "change": float(after - before)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment: ``run(objective, window, bases, options)`` gives lines of the table."""

    run: Callable[[Any, ByteArray, Bases, Any], Iterator[dict[str, Any]]]
    options: type[Any]
    summary: str


EXPERIMENTS: dict[str, Experiment] = {
    "marginalize": Experiment(run=_marginalized, options=MarginalizeOptions, summary="motifs put into shuffled bases"),
    "ablate": Experiment(run=_ablated, options=AblateOptions, summary="the bases shuffled"),
    "space": Experiment(run=_spaced, options=SpaceOptions, summary="motifs at several distances"),
}


def read_experiment(name: str, given: Mapping[str, Any]) -> Any:
    """Return the options of an experiment from those that a user gave; None counts as not given.

    Raises
    ------
    InputError
        If the experiment has no option of that name.
    """
    return options_of(name, EXPERIMENTS[name].options, given)


def motifs_from(texts: Sequence[str]) -> tuple[Motif, ...]:
    """Return motifs from their letters, or from ``@FILE``, a MEME or JASPAR file, each as its likeliest sequence."""
    found: list[Motif] = []
    for text in texts:
        if text.startswith("@"):
            found += [
                (motif.label, "".join(BASES[row] for row in motif.matrix.argmax(axis=0)))
                for motif in read_motifs(text[1:])
            ]
        else:
            found.append((text.upper(), text.upper()))
    return tuple(found)


def check_table(out: Path, sources: Sequence[str | os.PathLike[str] | None]) -> None:
    """Refuse what cannot be written, before anything is computed."""
    if out.suffix != ".tsv":
        raise InputError(f"{out.name}: experiments are written as .tsv; choose that suffix")
    check_target(out, sources)


def run_experiment(
    rows: Sequence[Row],
    out: Path,
    *,
    explainer: Explainer,
    spec: TargetSpec,
    method: str,
    options: Any,
    rc: bool = False,
    n_code: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Do an experiment with the bases of every row, and write ``OUT`` and ``OUT.meta.json``.

    Parameters
    ----------
    rows : sequence of Row
        Their bases are shuffled, and motifs are put into their middle; their windows are predicted.
    out : Path
        Table to write, ``.tsv``: a line for each motif, spacing and sample, with :data:`COLUMNS`.
    explainer : Explainer
        The model.
    spec : TargetSpec
        What is looked at.
    method : str
        A key of :data:`EXPERIMENTS`.
    options : object
        Of the experiment.
    rc, n_code
        See :class:`borzoi_rt.explain.explainer.ExplainOptions`.
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    list of dict
        For every row, motif and spacing the means of ``before``, ``after`` and ``change``, the standard error of
        ``change`` over samples, and their number; they stand in ``OUT.meta.json`` too.
    """
    check_table(out, [explainer.fasta.path, explainer.bundle.path])
    for row in rows:  # a target that has no bin ends the run before the model is loaded
        spec.bind(explainer.bundle, row.where)
    plain = ExplainOptions(method=_PLAIN, rc=rc, n_code=n_code)
    held: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    forward = 0
    with draft_of(out) as draft:
        with draft.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, restval="", delimiter="\t", lineterminator="\n")
            table.writeheader()
            for number, row in enumerate(rows):
                counted = Counted(explainer.objective(row, spec, plain), strands=2 if rc else 1)
                window = row.window(explainer.fasta, explainer.bundle.geometry)
                for line in EXPERIMENTS[method].run(_Remembered(counted), window, row.columns, options):
                    line |= _where(number, row)
                    held.setdefault(tuple(line.get(name) for name in _GROUP), []).append(line)
                    table.writerow({name: _text(value) for name, value in line.items()})
                forward += counted.passes["forward"]
                if progress is not None:
                    progress(number + 1)
        summary = [{**dict(zip(_GROUP, key, strict=True)), **_means(lines)} for key, lines in held.items()]
        device = explainer.device
        about = about_run([explainer.bundle], rows[0], spec, plain, fasta=explainer.fasta, device=device)
        about |= {"method": method, "options": asdict(options), "projected_only": False, "passes": forward}
        document = {"about": about, "change": "after - before", "summary": summary}
        draft.with_name(f"{out.name}.meta.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return summary


class _Remembered:
    """An objective that is asked once for equal windows: backgrounds without a motif come again with each motif."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._known: dict[bytes, float] = {}

    @property
    def length(self) -> int:
        return self._objective.length

    def values(self, sequences: ByteArray) -> DoubleArray:
        found = []
        for window in sequences:
            key = hashlib.sha256(window.tobytes()).digest()
            if key not in self._known:
                self._known[key] = float(self._objective.values(window[None])[0])
            found.append(self._known[key])
        return np.array(found)


def _where(number: int, row: Row) -> dict[str, Any]:
    bases = row.bases
    return {
        "row": number,
        "name": row.name,
        "chrom": bases.chrom,
        "start": bases.start,
        "end": bases.end,
        "allele": row.allele,
        "window_start": row.where.window_start,
    }


def _means(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    change = np.array([line["change"] for line in lines])
    error = float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else None
    means = {name: float(np.mean([line[name] for line in lines])) for name in ("before", "after", "change")}
    return {**means, "change_se": error, "samples": len(lines)}


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
