"""Options of the commands that look at units over many regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..bundle.opening import Bundle
from ..errors import InputError
from ..explain.rows import OK, Row, region_rows
from ..genome.fasta import Fasta
from ..genome.intervals import read_bed
from ..inside.unit_rows import random_rows
from ._talk import say
from .activations import Units

WINDOWS = 16
_FILE = click.Path(path_type=Path)


def unit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the regions, and which units."""
    for option in (
        click.option("--units", type=Units(), help="Channels to look at, like 0,3,16-31  [default: all]."),
        click.option(
            "--windows",
            type=click.IntRange(min=1),
            help=f"Windows of the model drawn at random from the genome, instead of --bed  [default: {WINDOWS}].",
        ),
        click.option(
            "--bed", type=_FILE, help="Regions of a BED file to look at, each within a window  [default: --windows]."
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Number that chance follows, of windows and of what is compared with.",
        ),
    ):
        command = option(command)
    return command


def check_regions(choices: dict[str, Any]) -> None:
    """Refuse both kinds of regions at once."""
    if choices["bed"] is not None and choices["windows"] is not None:
        raise InputError("give one of --bed and --windows")


def say_left_out(rows: Sequence[Row]) -> None:
    """Say on stderr how many regions were left out, and why the first."""
    lost = [row for row in rows if row.status != OK]
    if lost:
        say(f"note: {len(lost)} of {len(rows)} regions are left out (regions.tsv); the first: {lost[0].detail}")


def unit_rows(choices: dict[str, Any], genome: Fasta, model: Bundle) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows that the options mean, and what the output says of them."""
    if choices["bed"] is not None:
        rows = region_rows(read_bed(choices["bed"]), genome, model.geometry, keep=True)
        return rows, {"bed": choices["bed"].name}
    count = choices["windows"] or WINDOWS
    return random_rows(genome, model.geometry, count, seed=choices["seed"]), {"windows": count}
