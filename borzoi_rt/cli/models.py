"""``borzoi-rt models``."""

from __future__ import annotations

import dataclasses
import json

import click

from ..published import DOWNLOAD, HUB, PUBLISHED


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print all that is known as JSON, addresses too  [default: a table]."
)
def models(as_json: bool) -> None:
    """List the published weights that `borzoi-rt get` knows by name, with their licence and squash kind.

    The four replicates of a model were trained alike; the mean of their scores is steadier than any one.
    """
    if as_json:
        rows = [{**dataclasses.asdict(entry), "addresses": entry.addresses()} for entry in PUBLISHED.values()]
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("NAME", "MODEL", "HEAD", "TRACKS", "BINS", "SQUASH", "FROM")]
    for entry in PUBLISHED.values():
        bins = f"{entry.bins} x {entry.bin_size_bp} bp"
        table.append((entry.name, entry.family, entry.head, str(entry.tracks), bins, entry.squash, entry.source))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"\nowner/name is a repository of {HUB}. Licences:")
    for licence in dict.fromkeys(entry.licence for entry in PUBLISHED.values()):
        names = [entry.name for entry in PUBLISHED.values() if entry.licence == licence]
        click.echo(f"  {licence}\n    {', '.join(names)}")
    click.echo(f"\nNext: borzoi-rt get NAME --out BUNDLE (downloads {DOWNLOAD}; a bundle takes about as much)")
