"""``borzoi-rt dft``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..motifs.scan import PVALUE
from ..promoter.dft import COMPAT
from ..promoter.options import ABLATIONS, DftOptions
from ..promoter.removal import BASELINES, SCALES
from . import _runs, _shared
from ._extras import check_extras
from .report import check_report, make_dft_report, page_option

if TYPE_CHECKING:
    from ..demo.promoter import Recovery
    from ..tables.dft import StoredWindow
    from ..types import DoubleArray

_FILE = click.Path(path_type=Path)


class Window(click.ParamType):  # type: ignore[type-arg]
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
    "--bundle",
    "bundles",
    required=True,
    multiple=True,
    type=_FILE,
    help="Bundle directory; give it once for each net of an ensemble.",
)
@_shared.fasta_option
@click.option(
    "--bed", type=_FILE, help="TSSs to score (BED): the first base of each interval on its strand  [default: none]."
)
@click.option(
    "--vcf",
    type=_FILE,
    help="Variants to score: with --bed at every TSS whose window holds them, without it with the TSS at each "
    "variant  [default: none].",
)
@click.option("--out", required=True, type=_FILE, help="Table to write (TSV); OUT.meta.json is written beside it.")
@click.option(
    "--curves",
    type=_FILE,
    help="HDF5 file to write, with the effect curves and spectra of every window  [default: none].",
)
@click.option(
    "--profiles",
    type=_FILE,
    help="Table to write (TSV) of the mean effect of each motif by position, with 95 % bands  [default: none].",
)
@click.option(
    "--plots", type=_FILE, help="Directory of figures (PNG) to make; it must not exist, or be empty  [default: none]."
)
@page_option
@click.option(
    "--ablation",
    type=click.Choice(ABLATIONS),
    help="How a motif is removed: by its channels in a promoter model, or by editing the sequence  "
    "[default: channel; sequence with --motifs or a bundle of another family].",
)
@click.option(
    "--motifs", type=_FILE, help="Motifs to look for, a MEME or JASPAR file; for --ablation sequence  [default: none]."
)
@click.option(
    "--baseline",
    type=click.Choice(BASELINES),
    help="What replaces the activation of a removed motif, --ablation channel: 0, or its minimum or median over the "
    "window  [default: zero].",
)
@click.option(
    "--pvalue",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help=f"Chance of a match at a position of random DNA, --ablation sequence  [default: {PVALUE:g}].",
)
@click.option(
    "--shuffles",
    type=click.IntRange(min=1),
    help="Replacements of each match to average over, --ablation sequence  [default: 10].",
)
@click.option("--seed", type=int, help="Seed of the replacements, --ablation sequence  [default: 0].")
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    help="Scale of effects: ln(1 + count), or counts  [default: log1p for promoter bundles, else linear].",
)
@click.option(
    "--window", "window_bp", type=Window(), help="Bases UPSTREAM,DOWNSTREAM of the TSS to score  [default: all]."
)
@click.option(
    "--shift-window",
    "shift_window_bp",
    type=click.FloatRange(min=0, min_open=True),
    help="How far from the TSS the peak of tss_shift_bp is looked for, bp  [default: 200, at least 8 bins].",
)
@_shared.tracks_option
@click.option(
    "--compat",
    type=click.Choice(COMPAT),
    help="Fix baseline, scale and window to the published definition  [default: off].",
)
@click.option("--wisdom", type=_FILE, help="File in which FFTW's plans are kept between runs  [default: none].")
@_runs.spread_options
@_shared.threads_option
@_shared.device_option
def score(
    bundles: tuple[Path, ...],
    fasta: Path,
    bed: Path | None,
    vcf: Path | None,
    out: Path,
    curves: Path | None,
    profiles: Path | None,
    plots: Path | None,
    report: Path | None,
    motifs: Path | None,
    wisdom: Path | None,
    **choices: Any,
) -> None:
    """Write a table of motif scores, one row per site, motif, track and allele.

    The score is how much the prediction changes, in all frequencies of its discrete Fourier transform (DFT), when a
    motif is removed; docs/promoter.md explains every column. --bed, --vcf or both are needed.
    """
    if bed is None and vcf is None:
        raise click.UsageError("give TSSs (--bed), variants (--vcf), or both")
    from ..report.dft_sheet import SiteCurves
    from ..report.promoter import Gallery
    from ..runs.dft import score_file
    from ..runs.outputs import check_directory

    if report is not None:
        check_extras(("report",))
        check_report(report, (bed, vcf, fasta, motifs, *bundles))
        if choices["shard"] is not None:
            raise InputError("a report is not made with shard; leave one of the two out")
    settings_of = _runs.take_settings(choices)
    options = DftOptions(**{name: value for name, value in choices.items() if value is not None})
    if plots is not None:
        check_directory(plots)
    if wisdom is not None:
        from ..promoter.dft import keep_wisdom

        keep_wisdom(wisdom)
    gallery = None if plots is None else Gallery(plots)
    collected = None if report is None else SiteCurves()
    takers = [taker for taker in (gallery, collected) if taker is not None]

    def keep(window: StoredWindow, position_bp: DoubleArray) -> None:
        for taker in takers:
            taker.add(window, position_bp)

    with _shared.progress_bar("scoring") as progress:
        settings = settings_of(progress)
        counts = score_file(
            out,
            bundles=bundles,
            fasta=fasta,
            bed=bed,
            vcf=vcf,
            motifs=motifs,
            options=options,
            curves=curves,
            profiles=profiles,
            settings=settings,
            keep=keep if takers else None,
        )
    if _runs.is_told(settings):
        return
    if gallery is not None and settings.shard is None:
        gallery.draw()
    _shared.say_counts(counts, "windows", _runs.left_by(settings, out))
    if report is not None:
        make_dft_report(report, out, collected)


@dft.command()
@click.option(
    "--out",
    type=_FILE,
    default=Path("dft-demo-out"),
    show_default=True,
    help="Directory to make; it must not exist, or be empty.",
)
@_shared.device_option
@_shared.threads_option
def demo(out: Path, device: str, threads: int | None) -> None:
    """Score synthetic promoters with the small model of the package, and say how often their driver comes first.

    Needs no download. A genome is made in which one motif drives each promoter; the model was trained on another
    without being told the motifs.
    """
    from ..demo.promoter import run_demo
    from ..report.promoter import Gallery
    from ..runs.settings import RunSettings

    gallery = Gallery(out / "plots")
    with _shared.progress_bar("scoring") as progress:
        result = run_demo(
            out,
            settings=RunSettings(device=device, threads=threads, progress=progress.done, total=progress.total),
            keep=gallery.add,
        )
    gallery.draw()
    for driver, (right, count) in result.found.by_driver.items():
        click.echo(f"{driver:<8}{right:4d} of {count:3d}")
    click.echo(f"driver named first: {_share(result.found)} of {result.found.sites} promoters")
    click.echo(f"  by a search for the planted words themselves: {_share(result.words)}")
    click.echo(f"  by naming the commonest driver: {result.commonest:.3f}")


def _share(found: Recovery) -> str:
    low, high = found.interval
    return f"{found.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})"
