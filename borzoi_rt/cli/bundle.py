"""``borzoi-rt bundle``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import click

from ..backends.opening import open_session
from ..backends.parity import replay_golden
from ..bundle.opening import open_bundle
from ..engine.replay import replay_sums
from ..engine.sessions import EngineOptions, can_sum, open_engine
from ..engine.summing import SummingSession
from . import _shared

bundle_argument = click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))


@click.group()
def bundle() -> None:
    """Verify a model bundle, or show what is in it."""


@bundle.command()
@bundle_argument
@_shared.device_option
@_shared.threads_option
def verify(path: Path, device: str, threads: int | None) -> None:
    """Check the hash of every file, and that the model reproduces its golden example on DEVICE: whole, by tiles, and in
    the sums that are made inside the graph.

    Exit code 0 or 1.
    """
    model = open_bundle(path)
    with closing(open_session(model, device, threads=threads, check=False)) as session:
        text = f"golden example on {session.provider}, {replay_golden(session, model)}"
    if model.info.tiling is not None:  # scores are made by the split graphs
        with closing(open_engine(model, device, threads=threads)) as engine:
            text += f"; by tiles, {replay_golden(engine, model, split=True)}"
    if can_sum(model, device):
        with closing(open_engine(model, device, threads=threads, options=EngineOptions(fused=True))) as engine:
            golden = model.golden()
            off = replay_sums(cast("SummingSession", engine), model, golden["sequence"], golden["track_index"])
            text += f"; sums inside the graph, off by {off:.0e} of what they are made of"
    click.echo(f"{path}: {len(model.files)} files match their hashes; {text}")


@bundle.command()
@bundle_argument
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON instead.")
@click.option(
    "--tracks", "list_tracks", is_flag=True, help="List every track too: number, identifier, strand, description."
)
def show(path: Path, as_json: bool, list_tracks: bool) -> None:
    """Print window, tracks, squashed scale, parity, and size and hash of every file."""
    model = open_bundle(path, verify=False)
    info, geometry, strand = model.info, model.geometry, model.tracks.strand
    if as_json:
        click.echo(json.dumps(info.to_json(), indent=2))
        return
    lines = {
        "name": f"{info.name} ({info.architecture.get('family', '?')}, {info.head})",
        "window": f"{geometry.sequence_length_bp:,} bp -> {geometry.bins:,} bins of {geometry.bin_size_bp} bp",
        "tracks": f"{len(model.tracks):,}, {sum(mark != '.' for mark in strand):,} of them stranded",
        "squash": f"{info.squash.kind}, unscale {info.squash.unscale}, unclip {info.squash.unclip}",
        "unknown bases": info.n_policy,
        "precision": f"{info.precision}, opset {info.opset}",
        "written for": info.target.upper() + ("; runs on a CPU too, more slowly" if info.target == "gpu" else ""),
        "graphs": ", ".join(sorted(info.graphs)),
        "parity at export": _parity(info.parity),
        "provenance": ", ".join(f"{key} {value}" for key, value in info.provenance.items()),
        "identity": model.sha256,
    }
    lines.update({name: f"{entry.bytes:>12,} bytes  {entry.sha256}" for name, entry in sorted(model.files.items())})
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        click.echo(f"{name:<{width}}{value}")
    if list_tracks:
        rows = zip(model.tracks.index, model.tracks.identifier, strand, model.tracks.description, strict=True)
        for unit, identifier, mark, text in rows:
            click.echo(f"{unit}\t{identifier}\t{mark}\t{text}")


def _parity(parity: Mapping[str, Any]) -> str:
    """Return in words what the exporter measured; `--json` has all of it."""
    try:
        checks = parity["checks"].items()
        parts = [f"{name} {check['rms']:.2e} of {check['allowed_rms']:.2e}" for name, check in checks]
    except (AttributeError, KeyError, TypeError, ValueError):  # of another release, or damaged
        return ", ".join(f"{key} {value}" for key, value in parity.items()) or "not recorded"
    form = f"; {parity['convolution']} convolutions" if "convolution" in parity else ""
    return f"difference from float64 in logits, root mean square: {', '.join(parts)} allowed{form}"
