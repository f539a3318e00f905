"""``borzoi-rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..engine.alleles import INDEL_POLICIES
from ..engine.gene_bins import BIN_RULES
from ..errors import InputError
from ..genome.gene_index import open_genes
from ..genome.pas import SITE_KINDS
from ..runs.score import score_file, score_list
from ..runs.settings import RunSettings
from ..scoring.ensemble import open_members
from ..scoring.options import ENSEMBLES, GENE_MODES, REF_POLICIES
from ..scoring.presets import PRESETS, check_preset
from ..tables import LAYOUTS
from . import _scoring, _shared


@click.command()
@click.argument("vcf", required=False)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="VARIANT",
    help="Instead of VCF: a variant, like chr1:14677:G:A; may be given several times.",
)
@click.option(
    "--bundle",
    "bundles",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="The model: a bundle directory, as `borzoi-rt export` makes it. Given several times, the members of an "
    "ensemble (folds or replicates): scores are their means, beside them score_sd (n - 1) and sign_agreement.",
)
@click.option(
    "--ensemble",
    type=click.Choice(ENSEMBLES),
    help="What is averaged over several bundles: mean_scores, as in the reference, or mean_predictions, the coverage "
    "of each allele, which is then scored once  [default: mean_scores].",
)
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write; its suffix names the form: .tsv, .tsv.gz, .parquet, .h5 or .vcf.gz.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="long",
    show_default=True,
    help="long: a row per allele, track and score. wide: a row per allele, a column per score and track.",
)
@_scoring.scoring_options
@click.option(
    "--genes",
    "annotation",
    type=click.Path(path_type=Path),
    help="Annotation for scores of genes (STAT@exons, STAT@span, STAT@tss:BP): GTF or GFF3, plain or compressed. It is "
    "indexed once, in the user's cache  [default: none].",
)
@click.option(
    "--pas",
    type=click.Path(path_type=Path),
    help="Table of polyadenylation sites (PolyA_DB 3) for scores of region pas, like COVR@pas  [default: none].",
)
@click.option(
    "--sites",
    type=click.Choice(SITE_KINDS),
    help="Sites that are compared: utr3 takes those of the last exon, as long as no number is missing, intron also "
    "those of introns  [default: utr3].",
)
@click.option("--site-pseudo", type=float, help="Pseudo-count of scores of region pas, in coverage  [default: 50].")
@click.option(
    "--site-min-coverage",
    type=float,
    help="Coverage above which sites are compared where one has it, mean over tracks  [default: 100].",
)
@click.option(
    "--gene",
    "gene_names",
    multiple=True,
    metavar="NAME|ID",
    help="Score this gene alone; may be given several times  [default: all genes].",
)
@click.option(
    "--gene-type",
    "gene_types",
    multiple=True,
    metavar="TYPE",
    help="Score genes of this type alone, like protein_coding; may be given several times  [default: all types].",
)
@click.option(
    "--gene-mode",
    type=click.Choice(GENE_MODES),
    help="all: every gene that has bins of the region in the output window. nearest: of these the one whose span is "
    "nearest to the variant  [default: all].",
)
@click.option(
    "--bin-rule",
    type=click.Choice(BIN_RULES),
    help="Which bins belong to an exon: overlap takes every bin that it meets, half those between its rounded ends "
    "(about half covered)  [default: overlap; family sad: half].",
)
@click.option(
    "--with-alleles",
    is_flag=True,
    default=None,
    help="Write the sum of coverage over the region for REF and for ALT beside every score  [default: scores alone].",
)
@click.option(
    "--ref-policy",
    type=click.Choice(REF_POLICIES),
    help="What to do where REF is not in the genome: strict gives the status ref_mismatch; where the genome holds ALT, "
    "flip scores the opposite change and turns it round, edit writes REF into the genome  [default: strict].",
)
@click.option(
    "--flip-deletions",
    is_flag=True,
    default=None,
    help="Let --ref-policy flip apply to deletions too, nearly all of which look flipped  [default: not to them].",
)
@click.option(
    "--indel",
    type=click.Choice(INDEL_POLICIES),
    help="How alleles of different length are aligned: stitch joins two phases at the variant, average averages their "
    "scores, centre_trim cuts both ends of the longer, none leaves each as it is  [default: stitch; family sad: "
    "centre_trim].",
)
@click.option(
    "--window",
    metavar="WINDOW",
    help="centered: each variant in the middle of a window of its own. grid:BP: windows start at multiples of BP, so "
    "that variants share them; this changes scores (8 SNVs, grid:4096: correlation with centered 0.92 for SUM, 0.44 "
    "for logSED; docs/scoring.md has more). at:START: one window for all variants, from the 0-based START on  "
    "[default: centered].",
)
@click.option(
    "--preset",
    type=click.Choice(tuple(PRESETS)),
    help="All options of a published command; `borzoi-rt scores` says which  [default: none].",
)
@_shared.run_options
def score(
    vcf: str | None,
    variants: tuple[str, ...],
    bundles: tuple[Path, ...],
    fasta: Path,
    out: Path,
    layout: str,
    annotation: Path | None,
    pas: Path | None,
    **choices: Any,
) -> None:
    """Score every ALT allele of VCF (VCF, BCF or - for stdin) and write a table.

    A score compares the coverage that the model predicts for the two alleles; `borzoi-rt scores` lists statistics,
    regions and presets. Every allele has a row and a status (ok, flipped, ref_edited, undefined, ref_mismatch,
    contig_missing, out_of_bounds, symbolic_alt, invalid_allele, too_many_n, no_gene, error); what has no score is
    empty, never 0.
    """
    if (vcf is None) == (not variants):
        raise click.UsageError("give a VCF, or variants with --variant, and not both")
    running = _shared.take_run(choices)
    options = _scoring.read_options(**choices)
    if pas is not None and annotation is None:
        raise InputError("--pas needs --genes: sites are compared along genes")
    members = open_members(bundles)
    model = members[0]
    if choices["preset"] is not None:
        _shared.say_notes(check_preset(choices["preset"], model.info, choices.get("squash")))
    genes = annotation if annotation is None or pas is None else open_genes(annotation, pas=pas)
    with _shared.progress_bar("scoring") as progress:
        settings = RunSettings(**running, progress=progress.done, total=progress.total)
        given: dict[str, Any] = {
            "bundle": members,
            "fasta": fasta,
            "options": options,
            "settings": settings,
            "genes": genes,
        }
        if vcf is None:
            counts = score_list(variants, out, layout=layout, **given)
        else:
            counts = score_file(vcf, out, layout=layout, **given)
    _shared.say_notes(options.notes(model.info))
    _shared.say_counts(counts, "alleles", out)
