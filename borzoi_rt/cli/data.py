"""``borzoi-rt data``."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..bundle.manifest import Geometry
from ..dataset import SPLITS, Split, open_data
from ..dataset.make import MakeOptions, Sources, make_data
from ..dataset.splits import split_regions
from ..dataset.window import UNKNOWN
from ..errors import InputError
from ..squash import KINDS
from . import _shared

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_SHOWN = 16


@click.group()
def data() -> None:
    """Make training data of bigWig files, or show what data hold."""


@data.command()
@click.option(
    "--targets", required=True, type=_PATH, help="Track table (TSV); its column `file` names the bigWig of each track."
)
@_shared.fasta_option
@click.option(
    "--regions",
    required=True,
    type=_PATH,
    help="BED of training windows; each is moved to the window length around its middle.",
)
@click.option("--valid", type=_PATH, help="BED of validation windows  [default: none].")
@click.option("--test", type=_PATH, help="BED of test windows  [default: none].")
@click.option("--valid-chroms", help="Chromosomes of --regions to validate on, like chr8,chr9.")
@click.option("--test-chroms", help="Chromosomes of --regions to test on, like chr8,chr9.")
@click.option("--valid-folds", help="Folds (column 4 of --regions) to validate on, like fold3.")
@click.option("--test-folds", help="Folds (column 4 of --regions) to test on, like fold4.")
@click.option(
    "--squash",
    required=True,
    type=click.Choice(KINDS),
    help="Kind of the squashed scale to write; it is never guessed.",
)
@click.option("--out", required=True, type=_PATH, help="Directory to make; it must not exist, or be empty.")
@click.option("--length", type=_COUNT, default=524_288, show_default=True, help="Length of a window in bp.")
@click.option("--bin-size", type=_COUNT, default=32, show_default=True, help="Length of a bin in bp.")
@click.option(
    "--crop",
    type=click.IntRange(min=0),
    default=163_840,
    show_default=True,
    help="Bases at each end of a window that have no target.",
)
@click.option(
    "--blacklist",
    type=_PATH,
    help="BED of bases whose coverage is clipped to the baseline of the window  [default: none].",
)
@click.option(
    "--blacklist-percentile",
    type=float,
    default=50.0,
    show_default=True,
    help="Percentile of the coverage of a window that is its baseline.",
)
@click.option("--unmappable", type=_PATH, help="BED of bases that no read can map to  [default: none].")
@click.option(
    "--umap-percentile",
    type=float,
    default=50.0,
    show_default=True,
    help="Percentile of the bins of a window to which bins are clipped that are mostly unmappable.",
)
@click.option(
    "--interpolate", is_flag=True, help="Fill bases that a bigWig leaves out by straight lines  [default: by 0]."
)
@click.option(
    "--empty-contigs",
    is_flag=True,
    help="Take a contig that a bigWig does not list as one without reads  [default: an error].",
)
@click.option(
    "--decimals",
    type=click.IntRange(min=0),
    help="Decimals to round squashed values to; the reference rounds to 2  [default: no rounding].",
)
@click.option(
    "--workers",
    type=_COUNT,
    default=1,
    show_default=True,
    help="Processes that share the work; results do not depend on their number.",
)
def make(targets: Path, fasta: Path, out: Path, length: int, bin_size: int, crop: int, **choices: Any) -> None:
    """Bin and squash the coverage of windows, and write it as shards for training.

    An interrupted call leaves OUT.partial; the same call goes on from there.
    """
    if (length - 2 * crop) % bin_size or length <= 2 * crop:
        raise InputError(f"--length {length} without twice --crop {crop} is no number of bins of {bin_size} bp")
    bins = (length - 2 * crop) // bin_size
    geometry = Geometry(sequence_length_bp=length, bin_size_bp=bin_size, bins=bins)
    regions = _regions(choices)
    sources = Sources(
        targets=targets,
        fasta=fasta,
        regions=regions,
        blacklist=choices.pop("blacklist"),
        unmappable=choices.pop("unmappable"),
    )
    workers = choices.pop("workers")
    options = MakeOptions(geometry=geometry, **choices)
    words = f"interrupted: finished shards are kept in {out}.partial; repeat the command to go on"
    with (
        _shared.last_words(words),
        _shared.progress_bar("making data", sum(map(len, regions.values()))) as progress,
    ):
        made = make_data(sources, out, options=options, workers=workers, progress=progress.done)
    counts = ", ".join(f"{made.info.windows[split]} {split}" for split in SPLITS)
    click.echo(f"{made.info.tracks} tracks, windows: {counts} -> {out}", err=True)
    for pair, count in made.info.provenance["overlaps"].items():
        left, right = pair.split("-")
        click.echo(f"warning: {count} {left} windows overlap {right} windows; these are not held out", err=True)


def _regions(choices: dict[str, Any]) -> dict[str, Any]:
    """Take the options that say which windows belong to which split."""
    chroms = {split: _names(choices.pop(f"{split}_chroms")) for split in ("valid", "test")}
    folds = {split: _names(choices.pop(f"{split}_folds")) for split in ("valid", "test")}
    if any(chroms.values()) and any(folds.values()):
        raise InputError("splits are given by chromosomes and by folds; leave one of the two out")
    by = folds if any(folds.values()) else chroms
    return split_regions(
        choices.pop("regions"),
        valid=choices.pop("valid"),
        test=choices.pop("test"),
        valid_by=by["valid"],
        test_by=by["test"],
        column="fold" if any(folds.values()) else "chrom",
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


@data.command()
@click.argument("path", metavar="DATA", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the content of statistics.json instead.")
def show(path: Path, as_json: bool) -> None:
    """Print sizes, splits and tracks, and what the first windows of each split hold."""
    found = open_data(path)
    info, grid = found.info, found.info.geometry
    if as_json:
        click.echo(json.dumps(info.to_json(), indent=2))
        return
    lines = {
        "format": "Arrow shards" if info.shards else "TFRecord",
        "window": f"{grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of {grid.bin_size_bp} bp",
        "tracks": f"{info.tracks:,}"
        + ("" if found.tracks is None else f", {_stranded(found.tracks.strand):,} stranded"),
        "squash": info.squash or "not recorded",
    }
    for split in SPLITS:
        count = info.windows.get(split, 0)
        lines[split] = f"{count:,} windows" + (f"; {_content(found.split(split), min(count, _SHOWN))}" if count else "")
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        click.echo(f"{name:<{width}}{value}")


def _stranded(strand: tuple[str, ...]) -> int:
    return sum(mark != "." for mark in strand)


def _content(split: Split, count: int) -> str:
    low, high, total, unknown = np.inf, -np.inf, 0.0, 0.0
    for window in islice(split.in_order(), count):
        target = window.target.astype(np.float32)
        low, high = min(low, float(target.min())), max(high, float(target.max()))
        total += float(target.mean())
        unknown += float((window.codes == UNKNOWN).mean())
    return (
        f"of the first {count}: targets {low:.4g} to {high:.4g}, mean {total / count:.4g}, "
        f"{unknown / count:.2%} of bases unknown"
    )
