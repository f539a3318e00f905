"""``borzoi-rt ism``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import InputError
from ..genome.intervals import Interval, read_bed
from ..runs.ism import score_ism
from . import _runs, _scoring, _shared


@click.command()
@click.argument("interval", metavar="[REGION]", required=False)
@click.option(
    "--bed",
    type=click.Path(path_type=Path),
    help="Instead of REGION: regions of a BED file, each in the window around its own middle  [default: none].",
)
@click.option(
    "--width",
    type=click.IntRange(min=1),
    help="Bases to change around the middle of each region  [default: the region itself].",
)
@_shared.bundle_option
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write; its suffix names the form: .h5, .tsv, .tsv.gz or .parquet.",
)
@click.option(
    "--gene",
    metavar="NAME|ID",
    help="Gene of --genes for scores like logSED@exons; all regions then have the window around it  [default: none].",
)
@click.option(
    "--genes", type=click.Path(path_type=Path), help="Annotation with the gene: GTF or GFF3  [default: none]."
)
@_scoring.scoring_options
@_runs.run_options
def ism(
    interval: str | None, bundle: Path, fasta: Path, out: Path, gene: str | None, genes: Path | None, **choices: Any
) -> None:
    """Score every substitution of REGION (1-based, like chr1:1,001-1,200) in the one window around its middle.

    The bases that are changed are REGION; over which bins a score is taken is said by --stats, --region and --span. A
    .h5 table holds an array of (positions, 4, tracks) for each score, its second axis in the order A, C, G, T; the base
    that the genome has is 0. With --bed it is (regions, positions, 4, tracks). A score equals that of the same SNV
    given to `borzoi-rt score` with --window at:START of that window. For one number instead of tracks, and for files
    that say what drives it, see `borzoi-rt explain --method ism`.
    """
    settings_of = _runs.take_settings(choices)
    bases = _intervals(interval, choices.pop("bed"), choices.pop("width"))
    if (gene is None) != (genes is None):
        raise InputError("--gene is looked up in --genes: give both, or neither")
    options = _scoring.read_options(**choices)
    if gene is not None:
        if not any(spec.of_genes for spec in options.specs):
            raise InputError(
                f"--gene is for scores over a region of it, and --stats has none; name one, like "
                f"--stats {options.specs[0].stat}@exons, or leave --gene and --genes out"
            )
        options = replace(options, gene_names=(gene,))
    model = open_bundle(bundle)
    with _shared.progress_bar("mutating", noun="variants") as progress:
        settings = settings_of(progress)
        how: dict[str, Any] = {"options": options, "settings": settings, "genes": genes}
        counts = score_ism(bases, out, bundle=model, fasta=fasta, **how)
    if _runs.is_told(settings):
        return
    _shared.say_notes(options.notes(model.info))
    _shared.say_counts(counts, "substitutions", _runs.left_by(settings, out))


def _intervals(interval: str | None, bed: Path | None, width: int | None) -> Interval | Sequence[Interval]:
    """Return the bases that are changed."""
    if (interval is None) == (bed is None):
        raise click.UsageError("give REGION, or regions with --bed, and not both")
    if interval is not None:
        region = Interval.parse(interval)
        return region if width is None else region.centred(width)
    assert bed is not None
    regions = read_bed(bed)
    return regions if width is None else [region.centred(width) for region in regions]
