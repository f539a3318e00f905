"""``borzoi-rt scores``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..scoring.statistics import FAMILIES
from ._statistics import PRESETS, REGIONS, Described, describe_statistics

_ORDER = {
    "hound": "The statistic of each strand comes first, then strands are added (D2, logD2, sqrtD2: as squares).",
    "sad": "The coverage of the strands is added first, then comes the statistic.",
}


@click.command()
@click.option(
    "--family",
    type=click.Choice(FAMILIES),
    default="hound",
    show_default=True,
    help="Whose statistics to list; the same name in two families is two statistics.",
)
def scores(family: str) -> None:
    """List what `borzoi-rt score` can compute: statistics with their formulas, regions, and presets.

    A score is a statistic over a region, STAT@REGION, like logSED@span:2000; STAT alone is taken over the window.
    """
    click.echo(f"Statistics of family {family} (--stats). {_ORDER[family]}")
    click.echo("R, A: coverage of REF and ALT, un-squashed; sums run over bins of the region; log2p(x) = log2(x + 1).")
    _list(describe_statistics(family))
    click.echo("\nRegions (STAT@REGION, or --region for all)")
    _list(REGIONS)
    click.echo("\nPresets (--preset): all options of a published command")
    _list(PRESETS)


def _list(items: Sequence[Described]) -> None:
    name, formula = (max(map(len, texts)) for texts in zip(*((item.name, item.formula) for item in items), strict=True))
    for item in items:
        middle = f"{item.formula:<{formula}}  " if formula else ""
        click.echo(f"  {item.name:<{name}}  {middle}{item.text}")
