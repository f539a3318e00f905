"""``borzoi-rt activations``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.rows import OK, VARIANT_WIDTH_BP, Row, region_rows, variant_rows
from ..genome.fasta import Fasta
from ..genome.intervals import Interval, read_bed
from ..genome.variants import Variant
from ..inside.activation_run import activation_rows
from ..inside.activations import Activations
from ..inside.tables import check_output
from . import _inside, _shared
from ._talk import say

_FILE = click.Path(path_type=Path)


class Units(click.ParamType):  # type: ignore[type-arg]
    """Numbers and ranges of numbers, like ``0,3,16-31``."""

    name = "units"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers; click shows the error."""
        if isinstance(value, tuple):
            return value
        found: list[int] = []
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not (first.isdecimal() and (last.isdecimal() if dash else True) and len(first + last) < 18):
                self.fail(f"{value!r} is no list of units, like 0,3,16-31", param, ctx)
            ends = int(first), int(last or first)
            if ends[1] - ends[0] not in range(1_000_000):
                self.fail(f"{part!r} is no range of units, like 16-31", param, ctx)
            found += range(ends[0], ends[1] + 1)
        return tuple(found)


@click.command()
@click.option("--region", help="Region to look at, 1-based, like chr1:1,001-1,200  [default: none].")
@click.option("--bed", type=_FILE, help="Regions of a BED file to look at  [default: none].")
@click.option("--variant", help="Variant, like chr1:14677:G:A, on both haplotypes  [default: none].")
@click.option(
    "--width",
    type=click.IntRange(min=1),
    help="Bases around the middle of each region or variant  [default: the region itself; of a variant "
    f"{VARIANT_WIDTH_BP}].",
)
@click.option(
    "--layer",
    default="tokens",
    show_default=True,
    help="Layer to show: stem, tower_N, layer_N (tokens behind block N of the transformer), tokens (behind the last), "
    "embedding (what the head reads).",
)
@click.option("--units", type=Units(), help="Channels to show, like 0,3,16-31  [default: all].")
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def activations(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Show what units of the network are at a stretch of bases: a row for each position, a column for each unit.

    Give one of --region, --bed and --variant. A region of --bed that cannot be read keeps a row with the reason as its
    status. Stem and tower see the bases around a position; tokens behind the
    transformer may depend on the whole window: the resolution of a layer says where a value stands, not which bases it
    is made of. Layers other than embedding and layer_0 need a bundle that was exported with --activations.
    """
    if sum(choices[name] is not None for name in ("region", "bed", "variant")) != 1:
        raise InputError("give one of --region, --bed and --variant")
    check_output(out, [fasta, bundle, choices["bed"]])
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "reading") as (genome, opened, progress):
        rows = _rows(choices, genome, opened)
        progress.total(len(rows))
        chosen = {name: choices[name] for name in ("layer", "units")}
        table = activation_rows(rows, out, activations=opened, fasta=genome, progress=progress.done, **chosen)
        layer = opened.layer(choices["layer"])
    missing = [text for text in table.columns["status"] if text != OK]  # one row each
    if missing:
        say(f"note: {len(missing)} of {len(rows)} regions have no activations; the first: {missing[0]}")
    count = len(table) - len(missing)
    click.echo(
        f"{count} position{'' if count == 1 else 's'} of {layer.resolution_bp} bp, {layer.name} -> {out}", err=True
    )


def _rows(choices: dict[str, Any], genome: Fasta, opened: Activations) -> list[Row]:
    grid, width = opened.network.bundle.geometry, choices["width"]
    if choices["variant"] is not None:
        return variant_rows(Variant.parse(choices["variant"]), genome, grid, width_bp=width or VARIANT_WIDTH_BP)
    regions = [Interval.parse(choices["region"])] if choices["region"] is not None else read_bed(choices["bed"])
    return region_rows(regions, genome, grid, width_bp=width, keep=choices["bed"] is not None)
