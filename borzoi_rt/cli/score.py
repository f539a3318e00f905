"""``borzoi-rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..engine.alleles import INDEL_POLICIES
from ..runs.score import score_file, score_list
from ..runs.settings import RunSettings
from ..scoring.options import REF_POLICIES
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
    help="Instead of VCF: one variant, like chr1:14677:G:A; may be repeated.",
)
@_shared.bundle_option
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
@click.option("--ref-policy", type=click.Choice(REF_POLICIES), help="Where REF is not the genome  [default: strict].")
@click.option("--flip-deletions", is_flag=True, default=None, help="Let --ref-policy flip apply to deletions.")
@click.option("--indel", type=click.Choice(INDEL_POLICIES), help="Alignment of indels  [default: by family].")
@click.option(
    "--window",
    help="centered: each variant in the middle of its own window. grid:BP: windows start at multiples of BP and are "
    "shared, which changes scores (prefer 128). at:START: one window for all, from 0-based START on  "
    "[default: centered].",
)
@click.option("--preset", type=click.Choice(tuple(PRESETS)), help="Options of a published command.")
@_shared.run_options
def score(
    vcf: str | None, variants: tuple[str, ...], bundle: Path, fasta: Path, out: Path, layout: str, **choices: Any
) -> None:
    """Score every ALT allele of VCF (VCF, BCF or - for stdin) and write a table.

    Every allele has a row and a status (ok, flipped, ref_edited, undefined, ref_mismatch, contig_missing,
    out_of_bounds, symbolic_alt, invalid_allele, too_many_n, error); what has no score is empty, never 0.
    """
    if (vcf is None) == (not variants):
        raise click.UsageError("give a VCF, or variants with --variant, and not both")
    running = _shared.take_run(choices)
    options = _scoring.read_options(**choices)
    model = open_bundle(bundle)
    if choices["preset"] is not None:
        check_preset(choices["preset"], model.info, options.squash)
    with _shared.progress_bar("scoring") as progress:
        settings = RunSettings(**running, progress=progress.done, total=progress.total)
        given: dict[str, Any] = {"bundle": model, "fasta": fasta, "options": options, "settings": settings}
        if vcf is None:
            counts = score_list(variants, out, layout=layout, **given)
        else:
            counts = score_file(vcf, out, layout=layout, **given)
    _shared.say_notes(options.notes(model.info))
    _shared.say_counts(counts, "alleles", out)
