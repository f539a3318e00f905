"""``borzoi-rt merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import FormatError, InputError
from ..runs.shards import FinishedShard, output_of, read_shard_folder

# The commands that make shards.
_RUNS = (["score"], ["ism"], ["predict"], ["calibrate"], ["dft", "score"])


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Output to write, of the form that its shards were made for  [default: the one that they are named for].",
)
@click.pass_context
def merge(ctx: click.Context, shards: tuple[Path, ...], out: Path | None) -> None:
    """Make the output of a run from its SHARDS, the folders OUT.shard-I-of-N that --shard leaves.

    The output is, byte for byte, that of the same run in one process. All shards of one run are needed; those of
    another are refused. Inputs are read again from where they were; one that is gone is looked for under its name in
    the working directory.
    """
    held = [read_shard_folder(folder) for folder in shards]
    first = held[0]
    command = _command(ctx, first)
    params = {name: _restored(command, name, value) for name, value in _params(first).items()}
    params["out"] = out or output_of(first.folder)
    if params["out"] is None:
        raise InputError(f"{first.folder}: was renamed, so that its output has no name; give one (out)")
    ctx.invoke(command, **{**params, "adopt": tuple(shards)})


def _command(ctx: click.Context, shard: FinishedShard) -> click.Command:
    """Return the command that made a shard."""
    if shard.version != __version__:
        raise InputError(
            f"{shard.folder}: was made by borzoi-rt {shard.version}, this is {__version__}; merge it there"
        )
    names = shard.arguments.get("command")
    if names is None:
        raise InputError(
            f"{shard.folder}: was made from Python; merge it there, with the same call and RunSettings(adopt=)"
        )
    if names not in _RUNS:
        raise FormatError(f"{shard.folder}: names the command {names!r:.60}, which makes no shards; make it again")
    found = ctx.find_root().command
    for name in names:
        assert isinstance(found, click.Group)
        below = found.get_command(ctx, name)
        assert below is not None
        found = below
    return found


def _params(shard: FinishedShard) -> dict[str, Any]:
    held = shard.arguments.get("params")
    if not isinstance(held, dict):
        raise FormatError(f"{shard.folder}: does not say how it was made; make it again")
    return held


def _restored(command: click.Command, name: str, value: Any) -> Any:
    """Return an argument as click would have made it."""
    if isinstance(value, list):
        return tuple(_restored(command, name, item) for item in value)
    kinds = {parameter.name: parameter.type for parameter in command.params}
    if name not in kinds:
        raise FormatError(f"argument {name!r:.60} of a shard is unknown; make the shard again")
    if value is not None and isinstance(kinds[name], click.Path):
        return _found(Path(value))
    if name == "vcf" and isinstance(value, str) and not isinstance(kinds[name], click.Path):
        return str(_found(Path(value)))
    return value


def _found(path: Path) -> Path:
    here = Path(path.name)
    return here if not path.exists() and here.exists() else path
