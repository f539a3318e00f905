"""``borzoi-rt report``, and ``--report`` of other commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..drafts import draft_of
from ..errors import InputError
from ..explain.page import write_explanation
from ..report.coverage import Pictures
from ..report.dft_sheet import SiteCurves, is_dft_table, write_dft_report
from ..report.latency_sheet import is_latencies, read_latencies, write_latency_report
from ..report.metrics_sheet import is_metrics, write_metrics_report
from ..report.page import TOP, write_report
from ..runs.outputs import check_target
from ..scoring.remote import is_scorer
from ..tables.reading import READABLE, open_scores
from . import _scoring, _shared
from ._extras import check_extras
from ._talk import say

page_option = click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Also write a report: one HTML file with summary, figures, and rows to search and order (extra: report)  "
    "[default: none].",
)
report_option = click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Also write a report of the table: one HTML file with ranked variants and the coverage of the strongest 10, "
    "over the genes of --genes where they are given, as `borzoi-rt report` makes it (extra: report)  [default: none].",
)


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Report to write, an .html file.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The model of the table, for the coverage of the strongest variants; once for each member of an ensemble"
    "  [default: no coverage].",
)
@click.option(
    "--fasta", type=click.Path(path_type=Path), help="The genome of the table, with --bundle  [default: no coverage]."
)
@click.option(
    "--genes",
    type=click.Path(path_type=Path),
    help="Annotation (GTF or GFF3) for the gene models over the coverage  [default: none are drawn].",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=TOP,
    show_default=True,
    help="How many of the strongest variants are shown one by one.",
)
@click.option("--rank-by", metavar="SCORE", help="The score that ranks, like logSED@exons  [default: the first].")
@click.option(
    "--motifs",
    type=click.Path(path_type=Path),
    help="Motifs that give stretches of an explanation their names, a MEME or JASPAR file  [default: none].",
)
@_shared.device_option
@_shared.threads_option
def report(
    table: Path,
    out: Path,
    bundles: tuple[Path, ...],
    fasta: Path | None,
    genes: Path | None,
    top: int,
    rank_by: str | None,
    motifs: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Make a report of TABLE, a long table of `borzoi-rt score`: one HTML file that opens in any browser, offline.

    It shows the run, statuses with reasons, ranked variants with search and filters, and distributions; of the
    strongest variants the effect in every track and assay, the motifs that change where the run was explained, and,
    with --bundle and --fasta, the coverage of REF and ALT, which is predicted anew for these alone.

    TABLE may be a file of `borzoi-rt explain` (.h5) too: its report shows the rows with their letters, effects and the
    stretches that count. Tables (.tsv) of `borzoi-rt dft score`, `evaluate` and `bench latency` are recognised by their
    first line, and become a page with summary, figures, and rows to search, order and download.
    """
    if table.suffix == ".h5":
        if not table.is_file():
            raise InputError(f"{table}: no such file")
        _explanation(table, out, motifs)
        return
    if is_dft_table(table) or is_metrics(table) or is_latencies(table):
        _check_given("of reports of other files", ())
        check_report(out, (table,))
        if is_dft_table(table):
            make_dft_report(out, table)
        elif is_metrics(table):
            make_metrics_report(out, table)
        else:
            make_latency_report(out, read_latencies(table), name=table.name)
        return
    if motifs is not None:
        raise click.UsageError("--motifs is of an explanation; a table has its motifs from `borzoi-rt score --explain`")
    if bool(bundles) != (fasta is not None):
        raise click.UsageError("--bundle and --fasta belong together: give both for coverage, or neither")
    if genes is not None and not bundles:
        raise click.UsageError("--genes is drawn over coverage, which needs --bundle and --fasta; give both")
    check_report(out, (table, *bundles, fasta, genes))
    annotation = _scoring.open_annotation(genes, None, None)
    given: dict[str, Any] = {"bundles": bundles, "fasta": fasta, "genes": annotation}
    given |= {"device": device, "threads": threads}
    make_report(out, table, top=top, rank_by=rank_by, **given)


def _explanation(attributions: Path, out: Path, motifs: Path | None) -> None:
    """Make the report of a file of attributions."""
    _check_given("not of an explanation", ("motifs",))
    check_report(out, (attributions, motifs))
    with draft_of(out) as draft:
        rows = write_explanation(draft, attributions, name=attributions.name, motifs=motifs)
    say(f"report of {rows} row{'' if rows == 1 else 's'} -> {out}")


def _check_given(why: str, heeded: Sequence[str]) -> None:
    """Refuse options that the report of this file does not heed."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        if given and name not in ("table", "out", "verbose", *heeded):
            raise click.UsageError(f"{option.opts[0]} is {why}; leave it out")


def make_dft_report(out: Path, table: Path, collected: SiteCurves | None = None) -> None:
    """Write the report of a table of DFT scores, and say so."""
    say(f"report of {_shared.counted(write_dft_report(out, table, collected=collected), 'row')} -> {out}")


def make_metrics_report(out: Path, table: Path) -> None:
    """Write the report of a table of metrics, and say so."""
    say(f"report of {_shared.counted(write_metrics_report(out, table), 'track')} -> {out}")


def make_latency_report(out: Path, rows: Sequence[Sequence[Any]], **given: Any) -> None:
    """Write the report of latencies, and say so."""
    say(f"report of {_shared.counted(write_latency_report(out, rows, **given), 'measurement')} -> {out}")


def check_report(out: Path, sources: Sequence[Path | None]) -> None:
    """Refuse a report that cannot be made, before anything is computed.

    Raises
    ------
    InputError
        If its name is not that of a page, or it would take the name of an input.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out}: a report is an HTML file; give a name that ends in .html")
    check_target(out, sources)


def check_report_of_run(out: Path, table: Path, layout: str, *, sources: Sequence[Path | None], **parts: bool) -> None:
    """Refuse a report of a run that will not leave a table which a report can be made of.

    Raises
    ------
    InputError
        Naming what stands against it.
    """
    check_extras(("report",))
    check_report(out, sources)
    if out.absolute() == table.absolute():
        raise InputError(f"{out}: is the table of the run too; choose another name for the report")
    if not table.name.endswith(READABLE) or layout != "long":
        raise InputError(f"a report is made of a long table, as {', '.join(READABLE)}; write one, or leave report out")
    for name, there in parts.items():
        if there:
            raise InputError(f"a report is not made with {name}; leave one of the two out")


def make_report(
    out: Path,
    table: Path,
    *,
    bundles: Sequence[Path] | Any,
    fasta: Path | None,
    genes: Any,
    device: Any = "cpu",
    threads: int | None = None,
    top: int = TOP,
    rank_by: str | None = None,
) -> None:
    """Write a report, and say so."""
    with ExitStack() as stack:
        pictures, where = None, Device.parse(device, threads=threads)
        if where.kind == "triton" and is_scorer(where.url):
            say(f"note: {where} serves scores, no coverage; the report shows none")
        elif bundles and fasta is not None and top:
            metadata = open_scores(table).metadata
            how: dict[str, Any] = {"genes": genes, "device": where}
            pictures = stack.enter_context(Pictures.of_run(bundles, fasta, metadata, **how))
        ranking = write_report(out, table, top=top, rank_by=rank_by, pictures=pictures)
    say(f"report of {_shared.counted(len(ranking.alleles), 'allele')} -> {out}")
