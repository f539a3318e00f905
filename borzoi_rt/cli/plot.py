"""``borzoi-rt plot``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..engine.options import PredictionOptions
from ..errors import InputError
from ..explain.panels import read_panels
from ..genome.intervals import Interval
from ..genome.variants import Variant
from ..model import open_model
from ..report.attribution import plot_substitutions, strongest_rows
from ..report.coverage import TRACKS, Pictures
from ..report.curves import TOP, plot_curves, plot_mean_curves
from ..report.dependency import plot_maps
from ..report.figures import plot_alleles, short_name
from ..report.style import check_form
from ..runs.outputs import check_target
from ..runs.predict import CoverageOptions
from ..scoring.options import ScoreOptions
from ..tables.dft_reading import is_curves, is_profiles
from ..tables.ism_reading import is_ism, read_ism
from . import _scoring, _shared
from ._talk import say

_REGION = re.compile(r"\S+:[0-9,]+-[0-9,]+")
_MODEL = ("bundles", "fasta", "genes", "tracks", "top", "rc", "device", "threads")
# What a figure is of -> the options that it heeds.
HEEDED = {
    "a variant": (*_MODEL, "width_bp"),
    "a region": _MODEL,
    "an explanation": ("rows", "region"),
    "mutagenesis": ("rows", "top"),
    "curves": ("rows", "top", "spectrum"),
    "mean curves": ("top",),
}


@click.command()
@click.argument("what")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The model, for a variant or a region: a bundle directory; given several times, the coverage of a variant is "
    "averaged over the members of an ensemble  [default: none].",
)
@click.option(
    "--fasta",
    type=click.Path(path_type=Path),
    help="Genome with its index, for a variant or a region  [default: none].",
)
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
    help="How many tracks, pairs of strands or motifs are drawn: those that change most, of a region those with the "
    f"largest mean coverage  [default: {TRACKS} tracks, {TOP} motifs, 1 track of mutagenesis].",
)
@click.option(
    "--width",
    "width_bp",
    type=click.IntRange(min=1),
    help="Width of the figure of a variant in bp, with the variant in the middle  [default: 129 bins].",
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    help="Row of an explanation, region of mutagenesis or site of curves, by its name or its number from 0 on. May be "
    "given again for an explanation  [default: the first 12 rows; the first region; the site with the largest effect].",
)
@click.option("--region", help="Part of an explanation to draw, 1-based, like chr1:1,001-1,100  [default: whole rows].")
@click.option("--spectrum", is_flag=True, help="Draw the spectrum of the curves  [default: the curves themselves].")
@_shared.rc_option
@_shared.device_option
@_shared.threads_option
def plot(what: str, out: Path, **choices: Any) -> None:
    """Draw WHAT: a variant, a region, an explanation, mutagenesis, or curves of dft score.

    A variant, like chr1:14677:G:A: coverage of REF and ALT around it, and ALT - REF. A region, like chr1:1,001-9,000:
    its coverage. Both need --bundle and --fasta; every track has a scale of its own, that of the model, not squashed.
    A file of `borzoi-rt explain` (.h5): letters as high as their scores, and the effects of mutagenesis below. A file
    of `borzoi-rt ism` (.h5): the first of its scores for every substitution. A file of `borzoi-rt dft score`: its
    --curves (.h5) at one site, or its --profiles (.tsv).
    """
    check_form(out)
    kind, draw = _kind(what)
    _check_choices(kind)
    check_target(out, (*choices["bundles"], choices["fasta"], choices["genes"], what if kind in _FILES else None))
    drawn = draw(what, out, choices)
    say(f"{drawn} -> {out}")


_LONGEST_NAME = 255


def _kind(what: str) -> tuple[str, Callable[[str, Path, dict[str, Any]], str]]:
    """Return what a figure is of, and what draws it."""
    path = Path(what)
    if len(path.name) <= _LONGEST_NAME and path.is_file():  # a long allele is no name of a file, and asking would fail
        if is_profiles(path):
            return "mean curves", _mean_curves
        if is_ism(path):
            return "mutagenesis", _substitutions
        return ("curves", _curves) if is_curves(path) else ("an explanation", _explanation)
    if path.suffix in (".h5", ".tsv"):
        raise InputError(f"{path}: no such file")
    return ("a region", _region) if _REGION.fullmatch(what) else ("a variant", _variant)


_FILES = ("an explanation", "mutagenesis", "curves", "mean curves")


def _check_choices(kind: str) -> None:
    """Refuse options that a figure of this kind does not heed, and ask for those that it needs."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for option in context.command.params:
        name = option.name or ""
        known = any(name in heeded for heeded in HEEDED.values())
        if known and name not in HEEDED[kind] and context.get_parameter_source(name) == given:
            raise click.UsageError(f"{option.opts[0]} is not of {kind}; leave it out")
    if "fasta" in HEEDED[kind] and not (context.params["bundles"] and context.params["fasta"]):
        raise click.UsageError(f"{kind} is predicted: give --bundle and --fasta")


def _variant(what: str, out: Path, choices: dict[str, Any]) -> str:
    allele = Variant.parse(what)
    options = ScoreOptions(tracks=choices["tracks"], prediction=PredictionOptions(rc=bool(choices["rc"])))
    annotation = _scoring.open_annotation(choices["genes"], None, None)
    where: dict[str, Any] = {name: choices[name] for name in ("device", "threads")}
    with Pictures(choices["bundles"], choices["fasta"], options, genes=annotation, **where) as pictures:
        picture = pictures.variant(allele, count=choices["top"] or TRACKS, width_bp=choices["width_bp"])
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
        title=short_name(allele),
        genes=picture.genes,
        gap=near.gap,
    )
    return f"{short_name(allele)}: {_shared.counted(len(picture.tracks), 'track')}"


def _region(what: str, out: Path, choices: dict[str, Any]) -> str:
    region, bundles = Interval.parse(what), choices["bundles"]
    if len(bundles) > 1:
        raise InputError("a region is drawn of one model; give one bundle")
    device = Device.parse(choices["device"], threads=choices["threads"])
    options = CoverageOptions(prediction=PredictionOptions(rc=bool(choices["rc"])))
    with open_model(bundles[0], fasta=choices["fasta"], device=device) as model:
        found = model.predict(region, tracks=choices["tracks"], options=options)
    inside = Interval(found.windows[0].chrom, region.start, region.end)  # under the name that the genome has
    drawn = found.plot(out, region=inside, genes=choices["genes"], top=choices["top"] or TRACKS)
    return f"{what}: {_shared.counted(len(drawn), 'track')}"


def _explanation(what: str, out: Path, choices: dict[str, Any]) -> str:
    part = None if choices["region"] is None else Interval.parse(choices["region"])
    panels, title = read_panels(what, rows=choices["rows"], region=part)
    plot_maps(out, panels, title=title)
    return f"{what}: {_shared.counted(len(panels), 'row')}"


def _substitutions(what: str, out: Path, choices: dict[str, Any]) -> str:
    rows = choices["rows"]
    if len(rows) > 1:
        raise InputError("mutagenesis is drawn of one region; name one row")
    found = read_ism(what, rows[0] if rows else None)
    shown = strongest_rows(found.values, choices["top"] or 1)
    names = [found.rows[number] for number in shown]
    where: dict[str, Any] = {"chrom": found.chrom, "start": found.start, "letters": found.sequence}
    plot_substitutions(out, found.values[:, :, shown], names, **where, score=found.score)
    return f"{what}: {found.name}, {_shared.counted(len(shown), 'track')}"


def _curves(what: str, out: Path, choices: dict[str, Any]) -> str:
    rows = choices["rows"]
    if len(rows) > 1:
        raise InputError("curves are drawn of one site; name one row")
    row = rows[0] if rows else None
    drawn = plot_curves(out, what, row=row, top=choices["top"] or TOP, spectrum=choices["spectrum"])
    return f"{what}: {_shared.counted(len(drawn), 'motif')}"


def _mean_curves(what: str, out: Path, choices: dict[str, Any]) -> str:
    drawn = plot_mean_curves(out, what, top=choices["top"] or TOP)
    return f"{what}: {_shared.counted(len(drawn), 'motif')}"
