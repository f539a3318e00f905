"""``borzoi-rt get``, loaded by name from the runtime's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .cli import export_options, report
from .published import get_bundle


@click.command()
@click.argument("name")
@click.option(
    "--files",
    type=click.Path(path_type=Path),
    help="Directory of the files, fetched by hand; nothing is downloaded then  [default: downloaded, and kept in the "
    "cache].",
)
@click.option(
    "--targets",
    type=click.Path(path_type=Path),
    help="Another track table than the published one, with a row for each output  [default: the published one].",
)
@click.option("--revision", help="Branch, tag or commit of the Hugging Face repository  [default: its newest].")
@export_options
def get(name: str, out: Path, **options: Any) -> None:
    """Download the published weights NAME and export them as a bundle, with the squash kind they were trained with.

    `borzoi-rt models` lists the names. The Hugging Face hub is read with its own cache and settings (HF_HOME,
    HF_ENDPOINT for a mirror); other files are kept in the cache folder of `borzoi-rt doctor`. Without a network, the
    error says which files to fetch elsewhere; name their directory with --files.
    """
    report(get_bundle(name, out, say=lambda text: click.echo(text, err=True), **options))
