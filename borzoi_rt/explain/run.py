"""Explain many rows and write what was found."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..backends.device import Device
from ..bundle.opening import Bundle
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..genome.fasta import Fasta
from ..motifs.files import read_motifs
from ..motifs.scan import MotifScanner
from ..report.dependency import plot_maps
from ..runs.outputs import check_target
from ..scoring.ensemble import check_members
from ..types import FloatArray
from .attr_file import StoredRow, write_attributions
from .explainer import Explainer, ExplainOptions
from .methods import METHODS
from .motif_tables import TABLES, hits_of, seqlets_of
from .outputs import bigwig_of, modisco_of
from .page import write_explanation
from .panels import MOST_PANELS, panel_of, title_of
from .result import Explanation
from .rows import Row, check_widths
from .seqlets import PVALUE as SEQLET_PVALUE
from .target import TargetSpec

FIGURES = (".png", ".svg", ".pdf")
ERRORS = {"hypothetical": "se", "effect": "effect_se"}  # arrays and those of their standard errors


@dataclass(frozen=True, kw_only=True)
class ExplainOutputs:
    """What to write.

    Parameters
    ----------
    out : Path
        Attributions, ``.h5``; see :mod:`borzoi_rt.explain.attr_file`.
    bigwig : Path, optional
        Scores of the bases that are there.
    plot : Path, optional
        Figure of the first rows.
    modisco : Path, optional
        Directory to make, of inputs of TF-MoDISco.
    seqlets : Path, optional
        BED; see :func:`borzoi_rt.explain.motif_tables.seqlets_of`.
    hits : Path, optional
        Hits of motifs, ``.parquet`` or ``.tsv``; see :func:`borzoi_rt.explain.motif_tables.hits_of`.
    motifs : path, optional
        MEME or JASPAR file: names for seqlets, and what hits are of.
    seqlet_pvalue : float, optional
        See :func:`borzoi_rt.explain.seqlets.find_seqlets`; 0.01 when None.
    report : Path, optional
        HTML file; see :func:`borzoi_rt.explain.page.write_explanation`.
    """

    out: Path
    bigwig: Path | None = None
    plot: Path | None = None
    modisco: Path | None = None
    seqlets: Path | None = None
    hits: Path | None = None
    motifs: Path | None = None
    seqlet_pvalue: float | None = None
    report: Path | None = None

    def check(self, sources: Sequence[str | os.PathLike[str] | None]) -> None:
        """Refuse what cannot be written, before anything is computed."""
        if self.out.suffix != ".h5":
            raise InputError(f"{self.out.name}: attributions are written as .h5; choose that suffix")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"{self.report.name}: a report is an HTML file; give a name that ends in .html")
        if self.plot is not None and self.plot.suffix not in FIGURES:
            raise InputError(f"{self.plot.name}: figures are written as {', '.join(FIGURES)}; choose one of these")
        self._check_motifs()
        optional = (self.bigwig, self.plot, self.seqlets, self.hits, self.report)
        files = [self.out, *(path for path in optional if path is not None)]
        taken = self.modisco
        if taken is not None and taken.exists() and (not taken.is_dir() or any(taken.iterdir())):
            raise InputError(f"{taken}: exists and is not an empty directory; choose another name")
        named: set[Path] = set()
        for path in files if self.modisco is None else [*files, self.modisco]:
            if path.resolve() in named:
                raise InputError(f"{path}: two outputs have this name; give each its own")
            named.add(path.resolve())
            if self.modisco is not None and self.modisco.resolve() in path.resolve().parents:
                raise InputError(f"{path}: lies in {self.modisco}, the directory of modisco; choose another folder")
        for path in files:
            check_target(path, [*sources, self.motifs])
        if self.modisco is not None:
            check_target(self.modisco.with_name(self.modisco.name + ".bed"), sources)

    def _check_motifs(self) -> None:
        """Refuse a motif file that cannot be read, and choices that nothing heeds."""
        if self.hits is not None and self.hits.suffix not in TABLES:
            raise InputError(f"{self.hits.name}: hits are written as {', '.join(TABLES)}; choose one of these")
        if self.hits is not None and self.motifs is None:
            raise InputError("hits are of the motifs of a file: give motifs, a MEME or JASPAR file")
        if self.motifs is not None and self.hits is None and self.seqlets is None and self.report is None:
            raise InputError("motifs are read for seqlets, hits and report: give one of these, or leave motifs out")
        if self.seqlet_pvalue is not None and self.seqlets is None and self.report is None:
            raise InputError("seqlet_pvalue is of seqlets and report: give one of these, or leave it out")
        if self.seqlet_pvalue is not None and not 0.0 < self.seqlet_pvalue < 1.0:
            raise InputError(f"seqlet_pvalue is {self.seqlet_pvalue!r}; a number between 0 and 1 is needed")
        if self.motifs is not None:
            held = read_motifs(self.motifs)
            if self.hits is not None:
                MotifScanner(held)  # says what is missing, if it is


def explain_rows(
    rows: Sequence[Row],
    outputs: ExplainOutputs,
    *,
    bundles: Sequence[Bundle],
    fasta: Fasta,
    spec: TargetSpec,
    options: ExplainOptions,
    device: Device | None = None,
    engine: EngineOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Explain rows by one model, or by several folds whose attributions are averaged.

    Parameters
    ----------
    rows : sequence of Row
        All of one width.
    outputs : ExplainOutputs
        What to write.
    bundles : sequence of Bundle
        Folds of one model, with the same tracks.
    fasta : Fasta
        The genome.
    spec : TargetSpec
        What is explained.
    options : ExplainOptions
        How.
    device : Device, optional
        Where the models run.
    engine : EngineOptions, optional
        How windows are predicted for methods that need values alone.
    progress : callable, optional
        Called with the number of rows done, those of every fold.

    Returns
    -------
    list of dict
        The facts of each row.

    Raises
    ------
    InputError
        If the rows differ in width, two folds hold one model or differ in tracks, window, squashed scale or code of
        unknown bases, or the target has no value.
    """
    width = check_widths(rows)
    check_members(bundles)
    outputs.check([fasta.path, *(bundle.path for bundle in bundles)])
    folder = Path(tempfile.mkdtemp(prefix=f".{outputs.out.name}.", dir=outputs.out.parent))
    try:
        store = _Store(folder, len(rows))
        panels: list[dict[str, Any]] = []
        about: dict[str, Any] = {}
        done = 0
        for bundle in bundles:
            for row in rows:  # a target that has no bin ends the run before the model is loaded
                spec.bind(bundle, row.where)
            with Explainer(bundle, fasta, device, engine) as explainer:
                for number, row in enumerate(rows):
                    found = explainer.explain(row, spec, options)
                    store.add(number, found)
                    about = dict(found.about)
                    done += 1
                    if progress is not None:
                        progress(done)
            store.next_fold()
        about |= about_run(bundles, fasta, device, options)
        facts: list[dict[str, Any]] = []

        def stored() -> Iterator[StoredRow]:
            for number, row in enumerate(rows):
                one = store.row(number, row)
                facts.append(dict(one.facts))
                if len(panels) < MOST_PANELS:
                    panels.append(panel_of(one.row.name, one.row.bases, one.codes, one.arrays, about))
                yield one

        draft = folder / outputs.out.name
        write_attributions(draft, stored(), len(rows), width, about)
        _finish(draft, outputs, fasta, panels, title_of(about))
        return facts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Store:
    """What each fold says of each row, on disk: whole windows of many genes do not fit into memory."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._arrays: list[dict[str, np.memmap[Any, Any]]] = [{}]
        self._light: list[list[tuple[float, dict[str, Any]]]] = [[]]
        self._codes: dict[int, Any] = {}

    def add(self, number: int, found: Explanation) -> None:
        """Keep one row of the fold at hand."""
        for name, values in {"hypothetical": found.hypothetical, **found.attribution.arrays}.items():
            held = self._arrays[-1]
            if name not in held:
                path = self._folder / f"{len(self._arrays)}.{name}"
                shape = (self._count, *np.shape(values))  # (4, bases) or (bases,)
                held[name] = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
            held[name][number] = values
        self._light[-1].append((found.value, dict(found.facts)))
        self._codes[number] = found.codes

    def next_fold(self) -> None:
        """Begin another fold."""
        self._arrays.append({})
        self._light.append([])

    def row(self, number: int, row: Row) -> StoredRow:
        """Return a row: of one fold as it is, of several the mean of every array, errors, and how far they agree.

        Standard errors are then over folds, and no more over what a method drew within each.
        """
        folds, light = self._arrays[:-1], [fold[number] for fold in self._light[:-1]]
        codes = self._codes[number]
        if len(folds) == 1:
            arrays = {name: np.array(values[number]) for name, values in folds[0].items()}
            return StoredRow(row, codes, light[0][0], arrays, light[0][1])
        parts = np.stack([fold["hypothetical"][number] for fold in folds]).astype(np.float64)
        arrays = {}
        for name in folds[0]:
            if name in ERRORS.values():
                continue
            values = np.stack([fold[name][number] for fold in folds]).astype(np.float64)
            arrays[name] = values.mean(axis=0).astype(np.float32)
            if name in ERRORS:
                deviation = values.std(axis=0, ddof=1) / np.sqrt(len(values))
                arrays[ERRORS[name]] = deviation.astype(np.float32)
        onehot = codes == np.arange(4)[:, None]
        facts = {
            "folds": [{"value": value, **told} for value, told in light],
            "fold_concordance": _concordance([(part * onehot).sum(axis=0) for part in parts]),
        }
        return StoredRow(row, codes, float(np.mean([value for value, _ in light])), arrays, facts)


def _concordance(parts: Sequence[FloatArray]) -> float | None:
    """Return the mean Pearson correlation of every two folds; None where one says nothing."""
    found = [
        float(np.corrcoef(one, other)[0, 1]) if one.std() > 0.0 and other.std() > 0.0 else None
        for one, other in combinations(parts, 2)
    ]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def _finish(draft: Path, outputs: ExplainOutputs, fasta: Fasta, panels: Sequence[dict[str, Any]], title: str) -> None:
    """Make every output beside its final name, then move them, the attributions last."""
    made: list[tuple[Path, Path]] = []
    pvalue = outputs.seqlet_pvalue or SEQLET_PVALUE
    if outputs.bigwig is not None:
        made.append((draft.parent / "out.bw", outputs.bigwig))
        bigwig_of(draft, made[-1][0], fasta.contigs)
    if outputs.plot is not None:
        made.append((draft.parent / f"plot{outputs.plot.suffix}", outputs.plot))
        plot_maps(made[-1][0], panels, title=title)
    if outputs.seqlets is not None:
        made.append((draft.parent / "seqlets.bed", outputs.seqlets))
        seqlets_of(draft, made[-1][0], fasta.contigs, motifs=outputs.motifs, pvalue=pvalue)
    if outputs.hits is not None and outputs.motifs is not None:
        made.append((draft.parent / f"hits{outputs.hits.suffix}", outputs.hits))
        hits_of(draft, made[-1][0], outputs.motifs)
    if outputs.report is not None:
        made.append((draft.parent / "report.html", outputs.report))
        write_explanation(made[-1][0], draft, name=outputs.out.name, motifs=outputs.motifs, pvalue=pvalue)
    if outputs.modisco is not None:
        made.append((draft.parent / "modisco", outputs.modisco))
        made[-1][0].mkdir()
        modisco_of(draft, made[-1][0])
    for source, target in [*made, (draft, outputs.out)]:
        if source.is_dir():
            source.chmod(0o755)
            source.replace(target)
        else:
            shutil.move(source, target)


def about_run(
    bundles: Sequence[Bundle], fasta: Fasta, device: Device | None, options: ExplainOptions
) -> dict[str, Any]:
    """Return models, genome, device and version of a run as JSON values."""
    method = METHODS[options.method]
    return {
        "models": [{"name": bundle.info.name, "sha256": bundle.sha256} for bundle in bundles],
        "genome": {"name": fasta.name, "fingerprint": fasta.fingerprint()},
        "device": str(device or "cpu"),
        "projected_only": method.projected,
        "approximate": method.approximate,
        "borzoi_rt": __version__,
    }
