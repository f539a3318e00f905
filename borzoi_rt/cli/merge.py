"""``borzoi-rt merge``."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..engine.options import PredictionOptions
from ..engine.sessions import EngineOptions
from ..errors import FormatError, InputError
from ..runs.shards import FinishedShard, output_of, read_shard_folder
from ..scoring.options import ScoreOptions

# The commands that make shards.
_RUNS = (["score"], ["ism"], ["explain"], ["predict"], ["calibrate"], ["dft", "score"])
# Arguments that shards may differ in: results do not depend on them, or the identity of a run holds what they become.
_FREE = {item.name for kind in (EngineOptions, PredictionOptions, ScoreOptions) for item in fields(kind)}
# Outputs besides OUT, which are no inputs to be looked for.
_WRITTEN = ("bigwig", "plot", "modisco", "seqlets", "hits", "report", "curves", "profiles", "plots")
_FREE |= {"out", "device", "threads", "wisdom", "bundle", "bundles", "preset", "no_merge", "span_bp"}


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
    another, or that were asked for another output, are refused. Inputs are read again from where they were; one that
    is gone is looked for under its name in the working directory.
    """
    held = [read_shard_folder(folder) for folder in shards]
    first = held[0]
    command = _command(ctx, first)
    params = {name: _restored(command, name, value) for name, value in _params(first).items()}
    _check_same(command, held)
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


def _check_same(command: click.Command, shards: Sequence[FinishedShard]) -> None:
    """Refuse shards that were asked for another output, as one of other columns.

    Raises
    ------
    InputError
        Naming what differs.
    """
    first, written = shards[0], {item.name: max(item.opts, key=len) for item in command.params}
    for shard in shards[1:]:
        if shard.arguments.get("command") != first.arguments["command"]:
            raise InputError(f"{shard.folder}: was made by another command; merge shards of one run")
        one, other = _params(first), _params(shard)
        for name in sorted({*one, *other} - _FREE):
            there, here = other.get(name), one.get(name)
            if not _is_same(there, here):
                option, values = written.get(name, name), f"{there!r:.80} there, {here!r:.80} in {first.folder.name}"
                raise InputError(f"{shard.folder}: was made with another {option} ({values}); merge shards of one run")


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether arguments are equal; the same file may lie in two folders."""
    if one == other:
        return True
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if not (isinstance(one, str) and isinstance(other, str) and Path(one).is_absolute() and Path(other).is_absolute()):
        return False
    left, right = Path(one), Path(other)
    both = left.is_file() and right.is_file()
    return left.name == right.name and (not both or filecmp.cmp(left, right, shallow=False))


def _restored(command: click.Command, name: str, value: Any) -> Any:
    """Return an argument as click would have made it."""
    if isinstance(value, list):
        return tuple(_restored(command, name, item) for item in value)
    kinds = {parameter.name: parameter.type for parameter in command.params}
    if name not in kinds:
        raise FormatError(f"argument {name!r:.60} of a shard is unknown; make the shard again")
    if value is not None and isinstance(kinds[name], click.Path):
        return Path(value) if name in _WRITTEN else _found(Path(value))
    if name == "vcf" and isinstance(value, str) and not isinstance(kinds[name], click.Path):
        return str(_found(Path(value)))
    return value


def _found(path: Path) -> Path:
    here = Path(path.name)
    return here if not path.exists() and here.exists() else path
