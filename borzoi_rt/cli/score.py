"""``borzoi-rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..genome.gene_index import genes_of
from ..report.ranking import read_ranking
from ..runs.score import score_file, score_list
from ..scoring.ensemble import open_members
from ..scoring.presets import check_preset
from ..tables.reading import READABLE, open_scores
from . import _alleles, _runs, _scoring, _shared
from ._talk import at_terminal, say
from .report import check_report_of_run, make_report, report_option


@click.command()
@click.argument("vcf", required=False)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="VARIANT",
    help="Instead of VCF: a variant, like chr1:14677:G:A; may be given several times.",
)
@_scoring.ensemble_options
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write; its suffix names the form: .tsv, .tsv.gz, .parquet, .h5 or .vcf.gz.",
)
@click.option(
    "--layout",
    type=click.Choice(("long", "wide")),
    default="long",
    show_default=True,
    help="long: a row per allele, track and score. wide: a row per allele, a column per score and track.",
)
@click.option(
    "--columns",
    type=click.Choice(("native", "alphagenome")),
    default="native",
    show_default=True,
    help="alphagenome: the long table with the columns of AlphaGenome's client (variant_id, variant_scorer, raw_score, "
    "quantile_score, ...), without rows for alleles that have no scores.",
)
@_scoring.scoring_options
@_scoring.gene_options
@click.option(
    "--with-alleles",
    is_flag=True,
    default=None,
    help="Write the sum of coverage over the region for REF and for ALT beside every score  [default: scores alone].",
)
@_scoring.policy_options
@_alleles.allele_options
@_alleles.explain_options
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Folder of null distributions that `borzoi-rt calibrate` made in the same way: adds quantile, phred and "
    "vs_null_max to every score  [default: none].",
)
@report_option
@_runs.run_options
def score(
    vcf: str | None,
    variants: tuple[str, ...],
    bundles: tuple[Path, ...],
    fasta: Path,
    out: Path,
    layout: str,
    columns: str,
    annotation: Path | None,
    pas: Path | None,
    chrom_aliases: Path | None,
    calibration: Path | None,
    report: Path | None,
    **choices: Any,
) -> None:
    """Score every ALT allele of VCF (VCF, BCF or - for stdin) and write a table.

    A score compares the coverage that the model predicts for the two alleles; `borzoi-rt scores` lists statistics,
    regions and presets. Every allele has a row and a status (ok, flipped, ref_edited, undefined, ref_mismatch,
    contig_missing, out_of_bounds, symbolic_alt, invalid_allele, too_many_n, no_gene, error; of haplotypes also
    unphased, missing_genotype, overlapping_edits); what has no score is empty, never 0.
    """
    if (vcf is None) == (not variants):
        raise click.UsageError("give a VCF, or variants with --variant, and not both")
    if columns == "alphagenome":
        if layout != "long":
            raise InputError("--columns alphagenome is a long table; leave --layout wide out")
        layout = columns
    sharded, title = choices["shard"] is not None, "measuring a sample" if choices["plan"] else "scoring"
    settings_of = _runs.take_settings(choices)
    haplotypes = _alleles.take_haplotypes(choices, of_file=vcf is not None)
    explain = _alleles.take_explain(choices)
    options = _scoring.read_options(**choices)
    if report is not None:
        sources = (Path(vcf) if vcf is not None else None, *bundles, fasta, annotation, pas, chrom_aliases, calibration)
        check_report_of_run(report, out, layout, sources=sources, haplotypes=haplotypes is not None, shard=sharded)
    members = open_members(bundles)
    model = members[0]
    if choices["preset"] is not None:
        _shared.say_notes(check_preset(choices["preset"], model.info, choices.get("squash")))
    genes = _scoring.open_annotation(annotation, pas, chrom_aliases)
    drawn_alone = report is not None and pas is None and not any(spec.of_genes for spec in options.specs)
    if drawn_alone:
        genes = genes_of(genes)  # the run does not read it: what is wrong with it is said before, not behind hours
    with _shared.progress_bar(title, noun="variants") as progress:
        settings = settings_of(progress)
        given: dict[str, Any] = {
            "bundle": members,
            "fasta": fasta,
            "options": options,
            "settings": settings,
            "genes": None if drawn_alone else genes,
            "calibration": calibration,
            "explain": explain,
        }
        if vcf is None:
            counts = score_list(variants, out, layout=layout, **given)
        else:
            counts = score_file(vcf, out, layout=layout, haplotypes=haplotypes, **given)
    if _runs.is_told(settings):
        return
    _shared.say_notes(options.notes(model.info))
    _shared.say_counts(counts, "alleles" if haplotypes is None else "haplotypes", _runs.left_by(settings, out))
    if sharded:
        return
    if explain is not None:
        _alleles.say_explained(out)
    if at_terminal() and layout == "long" and out.name.endswith(READABLE):
        _say_strongest(out, options.specs[0].name)
    if report is not None:
        given = {"bundles": members, "fasta": fasta, "genes": genes}
        make_report(report, out, **given, device=settings.worker_device)
    elif at_terminal() and counts.total() > 1 and layout == "long" and out.name.endswith(READABLE):
        page = out.with_name(out.name.partition(".")[0] + ".html")
        line = f"{_shared.program()} report {_shared.near(out)} --out {_shared.near(page)}"
        say(f"rows are in the order of the input; ranked by size of a score, as a page: {line}")


_LONGEST_NAME = 80
_MOST_BYTES = 200e6  # of a table that is read once more for one line


def _say_strongest(table: Path, score: str) -> None:
    """Say which allele of a long table has the largest score in size, and in which track or gene."""
    if table.stat().st_size > _MOST_BYTES:
        return
    ranking = read_ranking(open_scores(table))
    first = next(iter(ranking.ranked(score)), None) if score in ranking.scores else None
    best = None if first is None else first.best.get(score)
    if first is not None and best is not None:
        where = f"{best.track} at gene {best.gene}" if best.gene else best.track
        name = first.name if len(first.name) <= _LONGEST_NAME else f"{first.name[:_LONGEST_NAME]}…"
        say(f"largest in size: {score} {best.score:+.4g} of {name} in {where}")
