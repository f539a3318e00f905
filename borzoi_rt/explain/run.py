"""Explain many rows and write what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.gradient import check_gradient
from ..bundle.opening import Bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..motifs.files import read_motifs
from ..motifs.scan import MotifScanner
from ..report.dependency import plot_maps
from ..runs.estimate import Output
from ..runs.journal import Journal, read_shard
from ..runs.outputs import check_target, finish_outputs
from ..runs.run import do_jobs, is_over, open_journal
from ..runs.settings import RunSettings
from ..scoring.ensemble import check_members
from .answer import Answer, joined
from .attr_file import StoredRow, write_attributions
from .explainer import ExplainOptions, described
from .kept import from_table, lost_row, stored_row
from .methods import METHODS
from .motif_tables import TABLES, hits_of, seqlets_of
from .outputs import MODISCO_FILES, bigwig_of, modisco_of
from .page import write_explanation
from .panels import MOST_PANELS, panel_of, title_of
from .plan import ExplainPlan, identity_of, part_bp
from .rows import OK, Row, check_widths
from .secants import check_secant
from .seqlets import PVALUE as SEQLET_PVALUE
from .target import TargetSpec

FIGURES = (".png", ".svg", ".pdf")


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

    @property
    def targets(self) -> list[Path]:
        """All that is written, the attributions first."""
        return [*self._files, *([] if self.modisco is None else [self.modisco])]

    @property
    def _files(self) -> list[Path]:
        optional = (self.bigwig, self.plot, self.seqlets, self.hits, self.report)
        return [self.out, *(path for path in optional if path is not None)]

    def check(self, sources: Sequence[str | os.PathLike[str] | None], *, resume: bool = False) -> None:
        """Refuse what cannot be written, before anything is computed.

        With ``resume`` the directory may hold what such a run writes: it may have been killed after that.
        """
        if self.out.suffix != ".h5":
            raise InputError(f"{self.out.name}: attributions are written as .h5; choose that suffix")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"{self.report.name}: a report is an HTML file; give a name that ends in .html")
        if self.plot is not None and self.plot.suffix not in FIGURES:
            raise InputError(f"{self.plot.name}: figures are written as {', '.join(FIGURES)}; choose one of these")
        self._check_motifs()
        taken = self.modisco
        own = set(MODISCO_FILES) if resume else set()
        if (
            taken is not None
            and taken.exists()
            and (not taken.is_dir() or {path.name for path in taken.iterdir()} - own)
        ):
            raise InputError(f"{taken}: exists and is not an empty directory; choose another name")
        named: set[Path] = set()
        for path in self.targets:
            if path.resolve() in named:
                raise InputError(f"{path}: is another output of the run too; give each a name of its own")
            named.add(path.resolve())
            if self.modisco is not None and self.modisco.resolve() in path.resolve().parents:
                raise InputError(f"{path}: lies in {self.modisco}, the directory of modisco; choose another folder")
        for path in self._files:
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
    settings: RunSettings | None = None,
) -> list[dict[str, Any]]:
    """Explain rows by one model, or by several folds whose attributions are averaged.

    A run of numbered jobs: it may be spread, stopped and resumed, and gives the same bytes.

    Parameters
    ----------
    rows : sequence of Row
        All of one width. A row that has a status, or has none of the target's bins, is in the output with its status.
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
    settings : RunSettings, optional
        Device, processes, resumption.

    Returns
    -------
    list of dict
        Of each row its ``status``, ``detail``, and the facts of its method; nothing where no output is written: of a
        shard, or of an estimate.

    Raises
    ------
    InputError
        If the rows differ in width, two folds hold one model or differ in tracks, window, squashed scale or code of
        unknown bases, or not one row can be explained.
    """
    settings = settings or RunSettings()
    width = check_widths(rows)
    if outputs.modisco is not None and width < 2:
        raise InputError("rows of one base are too narrow for TF-MoDISco; two or more are needed")
    if METHODS[options.method].secant:
        check_secant(settings.worker_device)
    check_members(bundles)
    if len(bundles) > 1 and settings.worker_device.kind == "triton":
        raise InputError(f"{settings.worker_device}: is one model; folds run on cpu, cuda or tensorrt")
    outputs.check([fasta.path, *(bundle.path for bundle in bundles)], resume=settings.resume)
    if METHODS[options.method].needs_gradient(options.options):
        for bundle in bundles:
            check_gradient(bundle)
    judged = _judged(rows, bundles, spec)
    plan = _plan([row for row in judged if row.status == OK], bundles, fasta, spec, options, settings)
    about = about_run(bundles, plan.rows[0], spec, options, fasta=fasta, device=plan.device)
    told: list[dict[str, Any]] = []
    with open_journal(outputs.out, settings) as journal:
        do_jobs(plan, journal, settings)
        if is_over(plan, journal, settings, Output(outputs.out.name, None, _bytes_of(plan, width, len(rows)))):
            return []
        found = _Found(plan, journal, judged)
        try:
            found.check()
        except InputError:
            journal.remove()
            raise

        def write(drafts: list[Path]) -> None:
            told[:] = _write(dict(zip(outputs.targets, drafts, strict=True)), outputs, found, fasta, about)

        finish_outputs(outputs.targets, journal, write)
    return told


def _judged(rows: Sequence[Row], bundles: Sequence[Bundle], spec: TargetSpec) -> list[Row]:
    """Return the rows, those without any bin of the target with a status.

    Raises
    ------
    InputError
        If none is left to be explained; the reason of the first.
    """
    for selection in (spec.tracks, spec.against):
        bundles[0].tracks.select(selection)  # what is wrong with it is no row's fault
    judged = []
    for row in rows:
        try:
            for bundle in bundles if row.status == OK else ():
                spec.bind(bundle, row.where)
            judged.append(row)
        except InputError as error:
            judged.append(row.failed("no_target", str(error)))
    if all(row.status != OK for row in judged):
        raise InputError(judged[0].detail)
    return judged


def _plan(
    rows: Sequence[Row],
    bundles: Sequence[Bundle],
    fasta: Fasta,
    spec: TargetSpec,
    options: ExplainOptions,
    settings: RunSettings,
) -> ExplainPlan:
    return ExplainPlan(
        rows=tuple(rows),
        part_bp=part_bp(bundles[0], options, rows[0].width),
        bundles=tuple(bundles),
        fasta=fasta.path,
        spec=spec,
        options=options,
        device=settings.worker_device,
        engine=settings.engine,
        identity=identity_of(bundles, fasta, rows, spec, options),
        measured=settings.estimate is not None,
    )


class _Found:
    """What a finished run says of each row, read from the journal as it is needed."""

    def __init__(self, plan: ExplainPlan, journal: Journal, rows: Sequence[Row]) -> None:
        self._plan, self._journal, self.rows = plan, journal, rows
        explained = [number for number, row in enumerate(rows) if row.status == OK]
        self._numbers = {row: number for number, row in enumerate(explained)}

    def check(self) -> None:
        """Refuse a run in which no row has an answer, for the reason of the first.

        Raises
        ------
        InputError
        """
        reasons = []
        for number in self._numbers:
            found = self.row(number)
            if found.row.status == OK:
                return
            reasons.append(found.row.detail)
        raise InputError(reasons[0])

    def row(self, number: int) -> StoredRow:
        """Return a row as it is written."""
        row = self.rows[number]
        if row.status != OK:
            return lost_row(row)
        folds = [self._fold(fold, self._numbers[number]) for fold in range(len(self._plan.bundles))]
        return stored_row(row, folds)

    def _fold(self, fold: int, row: int) -> Answer:
        numbers = self._plan.numbers(fold, row)
        return joined([from_table(read_shard(self._journal.directory, number)) for number in numbers])


def _write(
    drafts: Mapping[Path, Path], outputs: ExplainOutputs, found: _Found, fasta: Fasta, about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Write every output under its draft name; return what is told of each row."""
    told: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []

    def stored() -> Iterator[StoredRow]:
        for number in range(len(found.rows)):
            one = found.row(number)
            told.append({"status": one.row.status, "detail": one.row.detail, **one.facts})
            if len(panels) < MOST_PANELS and one.row.status == OK:
                panels.append(
                    panel_of(one.row.name, one.row.bases, one.codes, one.arrays, about, allele=one.row.allele)
                )
            yield one

    draft = drafts[outputs.out]
    write_attributions(draft, stored(), len(found.rows), found.rows[0].width, about)
    if outputs.bigwig is not None:
        bigwig_of(draft, drafts[outputs.bigwig], fasta.contigs)
    if outputs.plot is not None:
        plot_maps(drafts[outputs.plot], panels, title=title_of(about))
    _write_motifs(drafts, outputs, fasta)
    if outputs.modisco is not None:
        drafts[outputs.modisco].mkdir()
        modisco_of(draft, drafts[outputs.modisco])
    return told


def _write_motifs(drafts: Mapping[Path, Path], outputs: ExplainOutputs, fasta: Fasta) -> None:
    """Write what is found in the attributions."""
    draft, motifs = drafts[outputs.out], outputs.motifs
    pvalue = SEQLET_PVALUE if outputs.seqlet_pvalue is None else outputs.seqlet_pvalue
    if outputs.seqlets is not None:
        seqlets_of(draft, drafts[outputs.seqlets], fasta.contigs, motifs=motifs, pvalue=pvalue)
    if outputs.hits is not None and motifs is not None:
        hits_of(draft, drafts[outputs.hits], motifs)
    if outputs.report is not None:
        write_explanation(drafts[outputs.report], draft, name=outputs.out.name, motifs=motifs, pvalue=pvalue)


def _bytes_of(plan: ExplainPlan, width: int, rows: int) -> int:
    """Return the size of the file before compression: letters, and some arrays of four numbers a base."""
    arrays = 1 + (len(plan.bundles) > 1) + plan.options.method.startswith("ism")
    return rows * width * (1 + 16 * arrays)


def about_run(
    bundles: Sequence[Bundle], row: Row, spec: TargetSpec, options: ExplainOptions, *, fasta: Fasta, device: object
) -> dict[str, Any]:
    """Return target, method, models, genome, device and version of a run as JSON values."""
    method = METHODS[options.method]
    return {
        **described(bundles[0], row, spec, options),
        "models": [{"name": bundle.info.name, "sha256": bundle.sha256} for bundle in bundles],
        "genome": {"name": fasta.name, "fingerprint": fasta.fingerprint()},
        "device": str(device),
        "projected_only": method.projected,
        "approximate": method.approximate,
        "borzoi_rt": __version__,
    }
