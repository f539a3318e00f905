"""``borzoi-rt plot``."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.options import PredictionOptions
from ..errors import InputError
from ..genome.variants import Variant
from ..report.coverage import TRACKS, Pictures
from ..report.figures import plot_alleles
from ..runs.outputs import check_target
from ..scoring.options import ScoreOptions
from . import _scoring, _shared
from ._talk import say

_FORMS = (".pdf", ".svg", ".png")


@click.command()
@click.argument("variant")
@click.option(
    "--bundle",
    "bundles",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="The model: a bundle directory; given several times, the coverage of the members of an ensemble is averaged.",
)
@_shared.fasta_option
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Figure to write: a .pdf, .svg or .png file."
)
@click.option(
    "--genes",
    type=click.Path(path_type=Path),
    help="Annotation (GTF or GFF3) for the genes above the coverage  [default: none are drawn].",
)
@_shared.tracks_option
@click.option(
    "--top",
    type=click.IntRange(min=1, max=20),
    default=TRACKS,
    show_default=True,
    help="How many tracks, or pairs of strands, are drawn: those whose coverage in the figure changes most.",
)
@click.option(
    "--width",
    "width_bp",
    type=click.IntRange(min=1),
    help="Width of the figure in bp, with the variant in the middle  [default: 129 bins].",
)
@_shared.rc_option
@_shared.device_option
@_shared.threads_option
def plot(
    variant: str,
    bundles: tuple[Path, ...],
    fasta: Path,
    out: Path,
    genes: Path | None,
    tracks: str | None,
    top: int,
    width_bp: int | None,
    rc: bool | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw the coverage that is predicted for REF and ALT of VARIANT, like chr1:14677:G:A.

    Strands of a pair are added. Coverage is that of the model's own scale, not squashed, and every track has a scale of
    its own.
    """
    allele = Variant.parse(variant)
    if out.suffix.lower() not in _FORMS:
        raise InputError(f"{out}: the suffix names no figure; allowed: {', '.join(_FORMS)}")
    check_target(out, (*bundles, fasta, genes))
    options = ScoreOptions(tracks=tracks, prediction=PredictionOptions(rc=bool(rc)))
    annotation = _scoring.open_annotation(genes, None, None)
    with Pictures(bundles, fasta, options, genes=annotation, device=device, threads=threads) as pictures:
        picture = pictures.variant(allele, count=top, width_bp=width_bp)
    near = picture.near
    plot_alleles(
        out,
        near.ref,
        near.alt,
        names=picture.tracks,
        chrom=allele.chrom,
        start=near.start,
        bin_size_bp=near.step_bp,
        position=allele.pos,
        title=str(allele),
        genes=picture.genes,
    )
    say(f"{allele}: {len(picture.tracks)} tracks -> {out}")
