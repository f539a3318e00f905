"""Several methods on one target and the same bases: what each says, what it costs, and how far they agree."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backends.device import Device
from ..drafts import draft_folder
from ..errors import InputError
from ..runs.outputs import check_directory
from ..types import DoubleArray
from .agreement import TOP_SHARE, agreement, mean_known
from .attr_file import StoredRow, write_attributions
from .explainer import Explainer, ExplainOptions
from .methods import METHODS, find_method, read_options
from .remote import RemoteExplainer
from .result import Explanation
from .rows import Row, check_widths
from .run import about_run
from .target import TargetSpec

MEASURES = ("pearson", "spearman", "top_overlap")
_MOST_ROWS = 4  # that a figure shows


@dataclass
class MethodMaps:
    """What one method says of every row.

    Attributes
    ----------
    options : ExplainOptions
        The method and its options.
    maps : list of float64 ndarray of shape (bases,)
        Of every row, the scores of the bases that are there.
    facts : list of dict
        What the method says of the quality of each.
    passes : dict of str to int
        What it took, see :mod:`borzoi_rt.explain.costs`; nothing of a model on a server.
    processor_s : float
        Seconds that the processors worked in this process, all cores together, once the model was loaded; of a model
        on a server those of sending and receiving.
    """

    options: ExplainOptions
    maps: list[DoubleArray] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    processor_s: float = 0.0

    @property
    def completeness_error(self) -> float | None:
        """The largest share of the difference of the target that attributions miss; None where that says nothing."""
        errors = [told.get("completeness_error") for told in self.facts]
        return max((error for error in errors if error is not None), default=None)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several methods side by side.

    Attributes
    ----------
    rows : list of Row
    letters : list of str
        Bases of each row.
    methods : dict of str to MethodMaps
        In the order in which they were asked for.
    target : str
        What is explained.
    explanations : dict of str to Explanation
        Of one row that was explained in memory; otherwise empty.
    """

    rows: Sequence[Row]
    letters: Sequence[str]
    methods: Mapping[str, MethodMaps]
    target: str
    explanations: Mapping[str, Explanation] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = [row.name for row in self.rows]  # of a variant with the allele
        more = "" if len(names) == 1 else f" and {len(names) - 1} more"
        return f"<Comparison of {', '.join(self.methods)}: {self.target} at {names[0]}{more}>"

    def agreement(self, one: str, other: str, row: int | None = None) -> dict[str, float | None]:
        """Return how far two methods agree: in one row, or the mean over those rows where that says something.

        Unknown bases, which have no score, do not count. See :mod:`borzoi_rt.explain.agreement`.
        """
        if row is None:
            found = [self.agreement(one, other, number) for number in range(len(self.rows))]
            return {name: mean_known([part[name] for part in found]) for name in MEASURES}
        known = [number for number, letter in enumerate(self.letters[row]) if letter != "N"]
        return agreement(self.methods[one].maps[row][known], self.methods[other].maps[row][known])

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each method: costs, completeness, and how far it agrees with every other."""
        lines = []
        for name, held in self.methods.items():
            line: dict[str, Any] = {"method": name, "approximate": METHODS[name].approximate}
            line |= {f"{kind}_passes": held.passes.get(kind, 0) for kind in ("forward", "gradient", "tower")}
            line |= {"processor_s": held.processor_s, "completeness_error": held.completeness_error}
            for other in self.methods:
                agreed = self.agreement(name, other)
                line |= {f"{measure}_{other}": agreed[measure] for measure in MEASURES}
            lines.append(line)
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return target, costs and agreement, also of every row, as JSON values."""
        names = list(self.methods)
        pairs = [(one, other) for number, one in enumerate(names) for other in names[number + 1 :]]
        rows = [
            {
                "name": row.name,
                "allele": row.allele,
                "agreement": [{"methods": [*pair], **self.agreement(*pair, number)} for pair in pairs],
                "facts": {name: held.facts[number] for name, held in self.methods.items()},
            }
            for number, row in enumerate(self.rows)
        ]
        about = {name: held.options.to_json() for name, held in self.methods.items()}
        mean = [{"methods": [*pair], **self.agreement(*pair)} for pair in pairs]
        shared = {"target": self.target, "top_share": TOP_SHARE, "methods": about, "table": self.table()}
        return {**shared, "agreement": mean, "rows": rows}

    def to_tsv(self) -> str:
        """Return :meth:`table` as text; what says nothing is empty."""
        lines = self.table()
        shown = [[_text(value) for value in line.values()] for line in lines]
        return "".join("\t".join(cells) + "\n" for cells in [list(lines[0]), *shown])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the maps of the first rows below each other, each with its own scale, and how far methods agree."""
        from ..report.comparison import plot_comparison

        blocks = [
            {
                "name": row.name,
                "chrom": row.bases.chrom,
                "start": row.bases.start,
                "letters": letters,
                "maps": {self._label(name): held.maps[number] for name, held in self.methods.items()},
            }
            for number, (row, letters) in enumerate(zip(self.rows, self.letters, strict=True))
        ]
        names = list(self.methods)
        matrix = [[self.agreement(one, other)["pearson"] for other in names] for one in names]
        plot_comparison(path, blocks[:_MOST_ROWS], names, matrix, title=self.target)

    def _label(self, name: str) -> str:
        held = self.methods[name]
        passes = ", ".join(f"{count:,} {kind}" for kind, count in held.passes.items() if count)
        return f"{name}: {passes} passes, {held.processor_s:.3g} processor seconds"


def chosen_methods(
    names: Sequence[str], given: Mapping[str, Any], *, rc: bool = False, n_code: str | None = None
) -> list[ExplainOptions]:
    """Return the methods to compare, each with those of the given options that it has.

    Parameters
    ----------
    names : sequence of str
        Keys of :data:`borzoi_rt.explain.methods.METHODS`.
    given : mapping
        Options of methods by name; None counts as not given.
    rc, n_code
        Of all, see :class:`borzoi_rt.explain.explainer.ExplainOptions`.

    Raises
    ------
    InputError
        If there are fewer than two methods, one comes twice, or none of them has an option that was given.
    """
    names = [names] if isinstance(names, str) else names
    for name in names:
        find_method(name)
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"methods are {', '.join(names) or 'none'}; name two or more, each once")
    asked = {name: value for name, value in given.items() if value is not None}
    held = {name: find_method(name).options.__dataclass_fields__ for name in names}
    for option in asked:
        if not any(option in fields for fields in held.values()):
            raise InputError(f"none of the methods {', '.join(names)} has an option {option!r}")
    return [
        ExplainOptions(
            method=name,
            options=read_options(name, {option: value for option, value in asked.items() if option in held[name]}),
            rc=rc,
            n_code=n_code,
        )
        for name in names
    ]


def compare(
    row: Row, spec: TargetSpec, chosen: Sequence[ExplainOptions], explainer: Explainer | RemoteExplainer
) -> Comparison:
    """Explain one row by several methods, in memory."""
    methods, explanations = _entries(chosen), {}
    for name, entry in methods.items():
        (explanations[name],) = _explained([row], spec, explainer, entry)
    letters = next(iter(explanations.values())).sequence
    return Comparison([row], [letters], methods, spec.name, explanations)


def compare_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    explainer: Explainer | RemoteExplainer,
    spec: TargetSpec,
    chosen: Sequence[ExplainOptions],
    device: Device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Explain rows by several methods and write a directory.

    It holds ``METHOD.h5`` of each (:mod:`borzoi_rt.explain.attr_file`), ``compare.tsv``, ``compare.json`` and
    ``compare.png``, and appears when all is done.

    Parameters
    ----------
    rows : sequence of Row
        All of one width.
    out : Path
        Directory to make.
    explainer : Explainer or RemoteExplainer
        The model; loaded once for all methods.
    spec : TargetSpec
        What is explained.
    chosen : sequence of ExplainOptions
        How, see :func:`chosen_methods`.
    device : Device, optional
        Where the model runs, as it is written into the files.
    progress : callable, optional
        Called with the number of rows done, those of every method.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the rows differ in width, the target has no value, or the directory cannot be made.
    """
    width, bundle = check_widths(rows), explainer.bundle
    check_directory(out, [explainer.fasta.path, bundle.path])
    for row in rows:  # a target that has no bin ends the run before the model is loaded
        spec.bind(bundle, row.where)
    methods, done = _entries(chosen), 0
    letters: list[str] = []

    def stored(entry: MethodMaps) -> Iterator[StoredRow]:
        nonlocal done
        for row, found in zip(rows, _explained(rows, spec, explainer, entry), strict=True):
            if len(letters) < len(rows):
                letters.append(found.sequence)
            arrays = {"hypothetical": found.hypothetical, **found.attribution.arrays}
            yield StoredRow(row, found.codes, found.value, arrays, found.facts)
            done += 1
            if progress is not None:
                progress(done)

    with draft_folder(out) as folder:
        for name, entry in methods.items():
            about = about_run([bundle], rows[0], spec, entry.options, fasta=explainer.fasta, device=device or "cpu")
            write_attributions(folder / f"{name}.h5", stored(entry), len(rows), width, about)
        made = Comparison(rows, letters, methods, spec.name)
        (folder / "compare.tsv").write_text(made.to_tsv(), encoding="utf-8")
        (folder / "compare.json").write_text(json.dumps(made.to_json(), indent=1) + "\n", encoding="utf-8")
        made.plot(folder / "compare.png")
    return made


def _entries(chosen: Sequence[ExplainOptions]) -> dict[str, MethodMaps]:
    return {options.method: MethodMaps(options) for options in chosen}


def _explained(
    rows: Sequence[Row], spec: TargetSpec, explainer: Explainer | RemoteExplainer, entry: MethodMaps
) -> Iterator[Explanation]:
    """Explain rows one after the other, and note what that costs."""
    explainer.prepare(entry.options)  # loads what the method needs, which is no cost of it
    for row in rows:
        began = time.process_time()
        found = explainer.explain(row, spec, entry.options)
        entry.processor_s += time.process_time() - began
        for kind, count in found.passes.items():
            entry.passes[kind] = entry.passes.get(kind, 0) + count
        entry.maps.append(found.projected)
        entry.facts.append(dict(found.facts))
        yield found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
