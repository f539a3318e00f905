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
    """Make or show training data."""


@data.command()
@click.option("--targets", required=True, type=_PATH, help="Track table; column `file` names the bigWigs.")
@_shared.fasta_option
@click.option("--regions", required=True, type=_PATH, help="BED of training windows, each re-centred.")
@click.option("--valid", type=_PATH, help="BED of validation windows.")
@click.option("--test", type=_PATH, help="BED of test windows.")
@click.option("--valid-chroms", help="Comma list of chromosomes of --regions that validate.")
@click.option("--test-chroms", help="Comma list of chromosomes of --regions that test.")
@click.option("--valid-folds", help="Comma list of names (column 4 of --regions) that validate.")
@click.option("--test-folds", help="Comma list of names (column 4 of --regions) that test.")
@click.option("--squash", required=True, type=click.Choice(KINDS), help="Kind of the squashed scale. Never guessed.")
@click.option("--out", required=True, type=_PATH, help="Directory to make.")
@click.option("--length", type=_COUNT, default=524_288, show_default=True, help="Window in bp.")
@click.option("--bin-size", type=_COUNT, default=32, show_default=True, help="Bin in bp.")
@click.option(
    "--crop", type=click.IntRange(min=0), default=163_840, show_default=True, help="Bases without target, each side."
)
@click.option("--blacklist", type=_PATH, help="BED of bases to clip to the window's baseline.")
@click.option("--blacklist-percentile", type=float, default=50.0, show_default=True, help="Of the baseline.")
@click.option("--unmappable", type=_PATH, help="BED of bases that no read can map to.")
@click.option(
    "--umap-percentile", type=float, default=50.0, show_default=True, help="Unmappable bins are clipped to it."
)
@click.option("--interpolate", is_flag=True, help="Fill bases without coverage by lines, not by 0.")
@click.option("--empty-contigs", is_flag=True, help="A contig that a bigWig does not list has no reads.")
@click.option("--decimals", type=click.IntRange(min=0), help="Round squashed values, as the reference does to 2.")
@click.option("--workers", type=_COUNT, default=1, show_default=True, help="Processes; the result is the same.")
def make(targets: Path, fasta: Path, out: Path, length: int, bin_size: int, crop: int, **choices: Any) -> None:
    """Bin and squash coverage of windows into shards for training.

    An interrupted call goes on where it stopped.
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
    with _shared.progress_bar("making data", sum(map(len, regions.values()))) as progress:
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
@click.option("--json", "as_json", is_flag=True, help="Print statistics.json.")
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
