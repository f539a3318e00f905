"""``borzoi-rt score``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..engine.alleles import EDGE_FILLS, INDEL_POLICIES
from ..errors import InputError
from ..manifest import N_POLICIES
from ..scoring.options import PRESETS, REF_POLICIES, ScoreOptions
from ..scoring.run import count_alleles, score_file
from ..scoring.statistics import FAMILIES
from . import _shared


@click.command()
@click.argument("vcf")
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="OUT.(tsv|tsv.gz|parquet|h5|vcf.gz).")
@click.option("--stats", help="Comma list of statistics  [default: SUM,logSUM,logSED].")
@click.option("--family", type=click.Choice(FAMILIES), help="Where strands are joined  [default: hound].")
@_shared.rc_option
@_shared.shifts_option
@_shared.tracks_option
@click.option("--ref-policy", type=click.Choice(REF_POLICIES), help="Where REF is not the genome  [default: strict].")
@click.option("--flip-deletions", is_flag=True, default=None, help="Let --ref-policy flip apply to deletions.")
@click.option("--indel", type=click.Choice(INDEL_POLICIES), help="Alignment of indels  [default: by family].")
@click.option("--edge-fill", type=click.Choice(EDGE_FILLS), help="What enters at window ends  [default: by family].")
@click.option(
    "--n-code", type=click.Choice(tuple(N_POLICIES)), help="Unknown bases: zero or 0.25  [default: by family]."
)
@click.option("--unscale/--no-unscale", default=None, help="Reads, or scale x reads  [default: the bundle's].")
@click.option("--unclip/--no-unclip", default=None, help="Undo the soft clip  [default: the bundle's].")
@click.option("--no-merge", is_flag=True, help="Keep the strands of a track apart.")
@click.option("--max-n-fraction", type=float, help="Most unknown bases a window may have, as a share.")
@click.option("--preset", type=click.Choice(tuple(PRESETS)), help="Options of a published command.")
@_shared.provider_option
@_shared.device_option
@_shared.threads_option
@click.option("--resume", is_flag=True, help="Go on where an interrupted run with the same options stopped.")
def score(vcf: str, bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Score every ALT allele of VCF (VCF, BCF or - for stdin) and write a table.

    Every allele has a row and a status (ok, flipped, ref_edited, ref_mismatch, contig_missing, out_of_bounds,
    symbolic_alt, invalid_allele, too_many_n, error); what has no score is empty, never 0.
    """
    provider, device = choices.pop("provider"), choices.pop("device")
    threads, resume = choices.pop("threads"), choices.pop("resume")
    options = _options(**choices)
    with _shared.progress_bar("scoring", count_alleles(vcf)) as progress:
        counts = score_file(
            vcf,
            out,
            bundle=bundle,
            fasta=fasta,
            options=options,
            backend=_shared.backend_name(provider, device),
            threads=threads,
            resume=resume,
            progress=progress,
        )
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    click.echo(f"{counts.total()} alleles: {parts} -> {out}", err=True)


def _options(*, preset: str | None, stats: str | None, no_merge: bool, **choices: Any) -> ScoreOptions:
    names = tuple(name.strip() for name in stats.split(",")) if stats is not None else None
    given = {name: value for name, value in choices.items() if value is not None}
    if preset is None:
        family = given.pop("family", "hound")
        return ScoreOptions.for_family(family, stats=names, merge_strands=not no_merge, **given)
    fixed = sorted(set(given) - {"tracks", "max_n_fraction"})
    if fixed:
        raise InputError(f"--preset {preset} fixes {fixed[0]!r}; leave one of the two out")
    chosen = replace(PRESETS[preset], merge_strands=not no_merge, **given)
    return chosen if names is None else replace(chosen, stats=names)
