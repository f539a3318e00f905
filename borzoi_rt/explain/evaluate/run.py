"""Judge files of attributions, and write what was found.

A directory of three files:

``metrics.tsv``      a row for each file, measure and number of it: :data:`COLUMNS`
``metrics.json``     the same with every row of the files, the curves, and what was chosen
``evaluation.png``   the curves against random order, and every number with a verdict
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import __version__
from ...backends.device import Device
from ...bundle.opening import Bundle
from ...drafts import draft_folder
from ...genome.intervals import Interval
from ...report.judgement import plot_evaluation
from ...runs.outputs import check_directory
from ..explainer import Explainer
from .consistency import consistency
from .faithful import (
    Curves,
    EvaluateOptions,
    ExactEffects,
    Scene,
    curves,
    infidelity,
    ism_agreement,
    sensitivity_n,
)
from .maps import TOO_FEW, Reading, Verdict, judged
from .metrics import BY_CONSTRUCTION, METRICS, SAME, Asked
from .planted import known_in, recovery
from .stable import Rerun, open_all
from .subject import Subject, read_exact
from .words import verdict_of

COLUMNS = (
    *("file", "method", "metric", "quantity", "value", "random", "random_low", "random_high", "good", "passed"),
    *("rows", "detail"),
)
_FAITHFUL = ("ism", "deletion", "infidelity", "sensitivity-n")
_NO_CURVE = "shuffling all of the bases does not change the target"
_ONE_TILE = f"1 stretch: {TOO_FEW}"


@dataclass
class Judgement:
    """What the measures say of one file.

    Attributes
    ----------
    subject : Subject
    readings : dict of str to dict of str to dict of int to Reading
        By measure, number and row.
    curves : list of Curves or None
        Of every row, where ``deletion`` was asked for.
    pooled : dict of str to dict of str to Reading
        What measures say of all rows together, by measure and number.
    """

    subject: Subject
    readings: dict[str, dict[str, dict[int, Reading]]] = field(default_factory=dict)
    curves: list[Curves | None] = field(default_factory=list)
    pooled: dict[str, dict[str, Reading]] = field(default_factory=dict)

    def add(self, metric: str, row: int, found: Mapping[str, Reading]) -> None:
        """Keep what a measure says of one row."""
        for quantity, reading in found.items():
            self.readings.setdefault(metric, {}).setdefault(quantity, {})[row] = reading

    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """Return what is said of the file, by measure and number; mutagenesis is no check of itself."""
        found = {
            (metric, quantity): list(readings.values())
            for metric, held in self.readings.items()
            for quantity, readings in held.items()
        } | {(metric, quantity): [one] for metric, held in self.pooled.items() for quantity, one in held.items()}
        verdicts = {key: judged(said, better=METRICS[key[0]].better_of(key[1])) for key, said in found.items()}
        if self.subject.options.method != "ism":
            return verdicts
        return {
            key: replace(one, passed=None, detail=BY_CONSTRUCTION)
            if key[0] == "ism" and (one.value or 0.0) > SAME
            else one
            for key, one in verdicts.items()
        }

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.tsv``."""
        return [
            {
                "file": self.subject.name,
                "method": self.subject.options.method,
                "metric": metric,
                "quantity": quantity,
                **verdict.to_json(),
                "good": METRICS[metric].good(quantity),
                "rows": self._rows(metric, quantity),
            }
            for (metric, quantity), verdict in self.verdicts().items()
        ]

    def _rows(self, metric: str, quantity: str) -> int:
        """Return of how many rows a number is."""
        if metric in self.pooled:
            return len(self.subject.rows) if self.pooled[metric][quantity].value is not None else 0
        return sum(reading.value is not None for reading in self.readings[metric][quantity].values())

    def to_json(self) -> dict[str, Any]:
        """Return every row's readings and curves as JSON values."""
        rows = []
        for number, row in enumerate(self.subject.rows):
            said = {
                metric: {
                    quantity: {"value": readings[number].value, "detail": readings[number].detail}
                    for quantity, readings in held.items()
                    if number in readings
                }
                for metric, held in self.readings.items()
            }
            line: dict[str, Any] = {"name": row.name, "allele": row.allele, "metrics": said}
            drawn = self.curves[number] if self.curves else None
            if drawn is not None:
                line["curves"] = {
                    "share": drawn.share.tolist(),
                    "largest_first": drawn.first_large.tolist(),
                    "smallest_first": drawn.first_small.tolist(),
                    "random": drawn.random.tolist(),
                }
            rows.append(line)
        together = {
            metric: {quantity: {"value": one.value, "detail": one.detail} for quantity, one in held.items()}
            for metric, held in self.pooled.items()
        }
        return {"file": self.subject.name, **self.subject.options.to_json(), "rows": rows, "all_rows": together}


def costs(subject: Subject, metrics: Sequence[str], asked: Asked) -> dict[str, int | None]:
    """Return about how many passes of the network each measure takes for a row, a gradient being three."""
    return {name: METRICS[name].passes(subject, asked) for name in metrics}


def judge(
    subject: Subject,
    metrics: Sequence[str],
    *,
    explainer: Explainer,
    options: EvaluateOptions,
    exact: Sequence[ExactEffects] | None = None,
    folds: Sequence[Explainer] = (),
    randomised: Sequence[Explainer] = (),
    truth: Sequence[Interval] = (),
    progress: Callable[[], None] | None = None,
) -> Judgement:
    """Take measures of every row of a file.

    Parameters
    ----------
    subject : Subject
    metrics : sequence of str
        Of :data:`borzoi_rt.explain.evaluate.metrics.METRICS`.
    explainer : Explainer
        The model that the file was made with.
    options : EvaluateOptions
    exact : sequence of ExactEffects, optional
        Of every row; a sample is computed when None.
    folds, randomised : sequence of Explainer
        Other models for the measures of these names.
    truth : sequence of Interval
        Bases of the genome that are known to count, for the measure of that name.
    progress : callable, optional
        Called after each measure of each row.
    """
    found, rerun = Judgement(subject), Rerun(explainer, subject)
    known = known_in(subject.rows, truth, explainer.fasta) if "truth" in metrics else []
    for number in range(len(subject.rows)):
        scene = subject.scene(number, explainer)
        for metric in metrics:
            if metric == "completeness":
                found.add(metric, number, {"error": _completeness(subject, number)})
            elif metric == "consistency":
                if number == 0:
                    found.pooled[metric] = consistency(subject.maps, options)
            elif metric == "truth":
                found.add(metric, number, recovery(subject.maps[number], known[number], options))
            elif metric == "deletion":
                drawn = curves(scene, options)
                found.curves.append(drawn)
                why = _NO_CURVE if len(options.tiles(scene.bases)) > 1 else _ONE_TILE
                found.add(metric, number, {"abpc": Reading(None, detail=why)} if drawn is None else drawn.readings())
            elif metric in _FAITHFUL:
                found.add(metric, number, _faithful(metric, scene, options, None if exact is None else exact[number]))
            elif metric in ("folds", "randomised"):
                one = rerun.folds if metric == "folds" else rerun.randomised
                found.add(metric, number, one(number, folds if metric == "folds" else randomised, options))
            else:
                found.add(metric, number, getattr(rerun, metric.replace("-", "_"))(number, options))
            if progress is not None:
                progress()
    return found


def _completeness(subject: Subject, number: int) -> Reading:
    """Return what the method said of its own completeness; most claim none."""
    told, method = subject.facts[number], subject.options.method
    error = told.get("completeness_error")
    if error is not None:
        return Reading(float(error))
    none = f"{method} does not claim that its attributions add up to the difference from a reference"
    return Reading(None, detail=told.get("note", none))


def _faithful(metric: str, scene: Scene, options: EvaluateOptions, exact: ExactEffects | None) -> dict[str, Reading]:
    if metric == "ism":
        return ism_agreement(scene, options, exact)
    return {"infidelity": infidelity, "sensitivity-n": sensitivity_n}[metric](scene, options)


def evaluate_files(
    subjects: Sequence[Subject],
    out: Path,
    *,
    metrics: Sequence[str],
    explainer: Explainer,
    options: EvaluateOptions,
    against: Path | None = None,
    folds: Sequence[Bundle] = (),
    randomised: Sequence[Bundle] = (),
    truth: Sequence[Interval] = (),
    device: Device | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Judgement]:
    """Judge files and write a directory, see the head of this module; it appears when all is done.

    Parameters
    ----------
    subjects : sequence of Subject
        See :func:`borzoi_rt.explain.evaluate.subject.read_subject`.
    out : Path
        Directory to make.
    metrics, explainer, options
        See :func:`judge`.
    against : Path, optional
        A file of exact mutagenesis for the measure ``ism``.
    folds, randomised : sequence of Bundle
        Other models for the measures of these names.
    truth : sequence of Interval
        See :func:`judge`.
    device : Device, optional
        Where these run.
    progress : callable, optional
        Called with the number of measures of rows that are done.

    Raises
    ------
    InputError
        If a file does not fit, or the directory cannot be made.
    """
    check_directory(out, [explainer.fasta.path, explainer.bundle.path])
    for subject in subjects if "truth" in metrics else ():
        known_in(subject.rows, truth, explainer.fasta)  # before anything is computed
    exact = [None if against is None else read_exact(against, one, explainer.bundle) for one in subjects]
    done, found = 0, []

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done)

    with ExitStack() as stack:
        others = [open_all(bundles, explainer, device) for bundles in (folds, randomised)]
        for one in (*others[0], *others[1]):
            stack.callback(one.close)
        how: dict[str, Any] = {"explainer": explainer, "options": options, "progress": count}
        how |= {"folds": others[0], "randomised": others[1], "truth": truth}
        for subject, effects in zip(subjects, exact, strict=True):
            found.append(judge(subject, metrics, exact=effects, **how))
    with draft_folder(out) as folder:
        (folder / "metrics.tsv").write_text(to_tsv(found), encoding="utf-8")
        model = {"name": explainer.bundle.info.name, "sha256": explainer.bundle.sha256}
        document = {
            "model": model,
            "metrics": list(metrics),
            "options": asdict(options),
            "against": None if against is None else against.name,
            "folds": [bundle.info.name for bundle in folds],
            "randomised": [bundle.path.name for bundle in randomised],
            "truth": len(truth),
            "verdicts": [verdict_of(one.table()) for one in found],
            "table": table(found),
            "files": [one.to_json() for one in found],
            "borzoi_rt": __version__,
        }
        (folder / "metrics.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        drawn = [(one.subject.name, [held for held in one.curves if held is not None]) for one in found]
        plot_evaluation(folder / "evaluation.png", drawn, table(found), title=f"{subjects[0].spec.name}")
    return found


def table(found: Sequence[Judgement]) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.tsv`` of all files."""
    return [{name: line[name] for name in COLUMNS} for one in found for line in one.table()]


def to_tsv(found: Sequence[Judgement]) -> str:
    """Return ``metrics.tsv``; what says nothing is empty."""
    lines = [COLUMNS, *([_text(line[name]) for name in COLUMNS] for line in table(found))]
    return "".join("\t".join(cells) + "\n" for cells in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
