"""``borzoi-rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..engine.alleles import INDEL_POLICIES
from ..runs.score import count_alleles, score_file
from ..scoring.options import PRESETS, REF_POLICIES, check_preset
from . import _scoring, _shared


@click.command()
@click.argument("vcf")
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="OUT.(tsv|tsv.gz|parquet|h5|vcf.gz).")
@_scoring.scoring_options
@click.option("--ref-policy", type=click.Choice(REF_POLICIES), help="Where REF is not the genome  [default: strict].")
@click.option("--flip-deletions", is_flag=True, default=None, help="Let --ref-policy flip apply to deletions.")
@click.option("--indel", type=click.Choice(INDEL_POLICIES), help="Alignment of indels  [default: by family].")
@click.option("--window", help="centered, or grid:BP to let variants share windows  [default: centered].")
@click.option("--preset", type=click.Choice(tuple(PRESETS)), help="Options of a published command.")
@_shared.run_options
def score(vcf: str, bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Score every ALT allele of VCF (VCF, BCF or - for stdin) and write a table.

    Every allele has a row and a status (ok, flipped, ref_edited, ref_mismatch, contig_missing, out_of_bounds,
    symbolic_alt, invalid_allele, too_many_n, error); what has no score is empty, never 0.
    """
    running = _shared.take_run(choices)
    options = _scoring.read_options(**choices)
    model = open_bundle(bundle)
    if choices["preset"] is not None:
        check_preset(choices["preset"], model)
    with _shared.progress_bar("scoring", count_alleles(vcf)) as progress:
        counts = score_file(vcf, out, bundle=model, fasta=fasta, options=options, progress=progress, **running)
    _shared.say_counts(counts, "alleles", out)
