"""``borzoi-rt dft``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..motifs.scan import PVALUE
from ..promoter.options import ABLATIONS, DftOptions
from ..promoter.removal import BASELINES, SCALES
from . import _shared

_FILE = click.Path(path_type=Path)


class Window(click.ParamType):
    """Bases upstream and downstream of the TSS, like ``3500,500``."""

    name = "up,down"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the two numbers; click shows the error."""
        try:
            upstream, downstream = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers of bases, like 3500,500", param, ctx)
        return upstream, downstream


@click.group()
def dft() -> None:
    """Score motifs by what their removal does to transcription."""


@dft.command()
@click.option(
    "--bundle", "bundles", required=True, multiple=True, type=_FILE, help="Bundle; again for each net of an ensemble."
)
@_shared.fasta_option
@click.option("--bed", type=_FILE, help="TSSs: first base of each interval on its strand.")
@click.option(
    "--vcf", type=_FILE, help="Variants: at every TSS of --bed whose window holds them, or with the TSS at each."
)
@click.option("--out", required=True, type=_FILE, help="Table to write (.tsv).")
@click.option("--curves", type=_FILE, help="HDF5 of effect curves and spectra to write.")
@click.option("--plots", type=_FILE, help="Directory of figures to make.")
@click.option(
    "--ablation", type=click.Choice(ABLATIONS), help="How motifs are removed  [default: by bundle and --motifs]."
)
@click.option("--motifs", type=_FILE, help="MEME or JASPAR file, for --ablation sequence.")
@click.option(
    "--baseline", type=click.Choice(BASELINES), help="What replaces an activation, channel mode  [default: zero]."
)
@click.option("--pvalue", type=float, help=f"Match threshold, sequence mode  [default: {PVALUE:g}].")
@click.option("--shuffles", type=click.IntRange(min=1), help="Replacements to average, sequence mode  [default: 10].")
@click.option("--seed", type=int, help="Of the shuffles  [default: 0].")
@click.option("--scale", type=click.Choice(SCALES), help="Scale of the effects  [default: the model's].")
@click.option("--window", "window_bp", type=Window(), help="Bases upstream,downstream of the TSS  [default: all].")
@_shared.tracks_option
@click.option("--compat", type=click.Choice(["genoretriever"]), help="The published definition, nothing else.")
@click.option("--wisdom", type=_FILE, help="File that keeps FFTW's plans between runs.")
@_shared.device_option
@_shared.threads_option
def score(
    bundles: tuple[Path, ...],
    fasta: Path,
    bed: Path | None,
    vcf: Path | None,
    out: Path,
    curves: Path | None,
    plots: Path | None,
    motifs: Path | None,
    wisdom: Path | None,
    **choices: Any,
) -> None:
    """Write a table of motif scores, one row per site, motif, track and allele."""
    if bed is None and vcf is None:
        raise click.UsageError("give TSSs (--bed), variants (--vcf), or both")
    from ..report.promoter import Gallery
    from ..runs.dft import score_file

    device, threads = choices.pop("device"), choices.pop("threads")
    options = DftOptions(**{name: value for name, value in choices.items() if value is not None})
    if plots is not None and plots.exists() and (not plots.is_dir() or any(plots.iterdir())):
        raise InputError(f"{plots}: exists and is not an empty directory; choose another with --plots")
    if wisdom is not None:
        from ..promoter.dft import keep_wisdom

        keep_wisdom(wisdom)
    gallery = None if plots is None else Gallery(plots)
    with _shared.progress_bar("scoring", None) as progress:
        counts = score_file(
            out,
            bundles=bundles,
            fasta=fasta,
            bed=bed,
            vcf=vcf,
            motifs=motifs,
            options=options,
            curves=curves,
            backend=device,
            threads=threads,
            progress=progress.done,
            keep=None if gallery is None else gallery.add,
        )
    if gallery is not None:
        gallery.draw()
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    click.echo(f"{counts.total()} windows: {parts} -> {out}", err=True)


@dft.command()
@click.option("--out", type=_FILE, default=Path("dft-demo-out"), show_default=True, help="Directory to make.")
@_shared.device_option
@_shared.threads_option
def demo(out: Path, device: str, threads: int | None) -> None:
    """Score synthetic promoters with the model of the package, and see if their drivers are found."""
    from ..demo.promoter import run_demo
    from ..report.promoter import Gallery

    gallery = Gallery(out / "plots")
    with _shared.progress_bar("scoring", None) as progress:
        found = run_demo(
            out,
            backend=device,
            threads=threads,
            progress=progress.done,
            keep=gallery.add,
        )
    gallery.draw()
    for driver, (right, count) in found.by_driver.items():
        click.echo(f"{driver:<8}{right:4d} of {count:3d}")
    click.echo(f"driver named first: {found.accuracy:.3f} of {found.sites} promoters")
