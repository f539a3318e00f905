"""Options of the commands that are runs of numbered jobs: processes, cluster, shards, resumption; what they become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..runs.cost import Stopwatch
from ..runs.estimate import Estimate
from ..runs.executors import EXECUTORS
from ..runs.settings import RunSettings
from ..runs.shards import Shard
from . import _shared
from ._progress import Reporter, duration
from ._talk import json_option

# How a run is made; an output does not depend on it, and a shard forgets it.
_HOW = ("resume", "workers", "engine", "address", "shard", "adopt", "plan", "as_json")


class ShardText(click.ParamType):  # type: ignore[type-arg]
    """Which share of how many, like ``3/16``."""

    name = "i/n"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, checked; click shows the error."""
        try:
            return str(Shard.parse(str(value)))
        except InputError as error:
            self.fail(str(error), param, ctx)


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add resumption, processes, cluster and shards; see :func:`take_settings`."""
    for option in (
        json_option,
        click.option(
            "--json", "as_json", is_flag=True, help="Print what --plan finds as JSON  [default: as a table in words]."
        ),
        click.option(
            "--plan",
            is_flag=True,
            help="Write nothing, but compute a few items, some seconds long, and print what the run will cost: passes, "
            "arithmetic, time, memory and size of the output  [default: run].",
        ),
        click.option("--adopt", hidden=True, multiple=True, type=click.Path(path_type=Path), help="Shards to merge."),
        click.option(
            "--shard",
            type=ShardText(),
            metavar="I/N",
            help="Do share I of N alone, like 3/16, and leave it in the folder OUT.shard-I-of-N; `borzoi-rt merge` "
            "makes OUT of all of them  [default: the whole run].",
        ),
        click.option(
            "--address",
            help="Address of the Ray cluster, with --engine ray, like HOST:6379  [default: that of the "
            "environment, RAY_ADDRESS; else one is started on this machine].",
        ),
        click.option(
            "--engine",
            type=click.Choice(EXECUTORS),
            default=EXECUTORS[0],
            show_default=True,
            help="Who starts the --workers: this machine, or a Ray cluster (extra: ray), whose nodes need the files "
            "under the same paths.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Processes that share the work; each loads the model, and results do not depend on their number.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Go on where an interrupted run with the same input and options stopped  [default: start anew].",
        ),
    ):
        command = option(command)
    return command


def tile_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add how coverage is computed: tiles, their folder, checks and sums inside the graph."""
    for option in (
        click.option(
            "--fused/--no-fused",
            default=None,
            help="Sum over bins inside the graph, where statistics allow it  [default: on GPUs only].",
        ),
        click.option(
            "--verify-fraction",
            type=click.FloatRange(0.0, 1.0),
            default=0.0,
            show_default=True,
            help="Share of windows, 0 to 1, to compute by a whole pass too; a difference ends the run.",
        ),
        click.option(
            "--tile-cache",
            type=click.Path(path_type=Path),
            help="Folder that keeps computed tiles for later runs  [default: none are kept].",
        ),
        click.option(
            "--full",
            is_flag=True,
            help="Compute every window whole  [default: tiles that variants have in common are computed once].",
        ),
    ):
        command = option(command)
    return command


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add device, tiles, and what :func:`spread_options` adds: how a run is made, not what it gives."""
    for add in (spread_options, tile_options, _shared.threads_option, _shared.device_option):
        command = add(command)
    return command


def take_settings(choices: dict[str, Any]) -> Callable[[Reporter], RunSettings]:
    """Take the options of a run out of a command's arguments.

    Returns
    -------
    callable
        Makes the settings of a run that reports its progress.
    """
    arguments = _arguments(click.get_current_context())
    held: dict[str, Any] = {name: choices.pop(name) for name in ("device", "threads", *_HOW)}
    held["executor"] = held.pop("engine")
    if "full" in choices:
        names = ("full", "tile_cache", "verify_fraction", "fused")
        held["engine"] = EngineOptions(**{name: choices.pop(name) for name in names})
    if held["address"] is not None and held["executor"] != "ray":
        raise click.UsageError("--address is that of a Ray cluster; give --engine ray too, or leave it out")
    plan, as_json = held.pop("plan"), held.pop("as_json")
    if as_json and not plan:
        raise click.UsageError("--json is for --plan; leave it out, or give both")
    if plan:
        held |= {"estimate": show_json if as_json else show, "began": Stopwatch.of_process()}
    return lambda progress: RunSettings(
        **held,
        arguments=arguments,
        progress=progress.done,
        total=progress.total,
        reading=progress.read,
        tiles=progress.tiles,
    )


def chosen_of_run(context: click.Context) -> list[str]:
    """Return the options of :func:`spread_options` that differ from their defaults, as they are written."""
    found = []
    for option in context.command.params:
        if option.name in _HOW and context.params[option.name] not in (option.get_default(context), (), False, None):
            found.append(option.opts[0])
    return found


def left_by(settings: RunSettings, out: Path) -> Path:
    """Return what a run leaves: its output, or the folder of its shard."""
    shard = settings.chosen_shard
    return out if shard is None else shard.path(out)


def is_told(settings: RunSettings) -> bool:
    """Tell whether the run was only planned, so that nothing is left to say."""
    return settings.estimate is not None


def show_json(estimate: Estimate) -> None:
    """Print an estimate as JSON."""
    click.echo(json.dumps(estimate.to_dict(), indent=2))


def show(estimate: Estimate) -> None:
    """Print an estimate in words, a line for each number."""
    reused = f" ({estimate.tiles_reused / estimate.tiles:.0%} of tiles used again)" if estimate.tiles else ""
    flops = "not counted for this family" if estimate.flops is None else f"{estimate.flops / 1e12:,.3g} TFLOP"
    workers = f", {estimate.workers} workers" if estimate.workers > 1 else ""
    alone = ", if none slows another down" if estimate.measured_workers < min(estimate.workers, estimate.jobs) else ""
    for name, text in (
        ("items", f"{estimate.items:,} in {estimate.jobs:,} jobs"),
        ("forwards", f"{estimate.forwards:,}{reused}"),
        ("arithmetic", flops),
        ("time", f"{duration(estimate.seconds)} on {estimate.device}{workers}{alone}"),
        ("processors", duration(estimate.processor_seconds)),
        ("memory", _bytes(estimate.memory_bytes)),
        ("output", _bytes(estimate.output_bytes)),
        (
            "measured",
            f"{estimate.sampled:,} of {estimate.units:,} units in {estimate.sampled_seconds:.2g} s{_rest(estimate)}",
        ),
    ):
        click.echo(f"{name:<12}{text}")


def _rest(estimate: Estimate) -> str:
    """Return what is taken of units that were not measured, and what a unit is."""
    if estimate.sampled >= estimate.units:
        return ""
    return ", the others in proportion (a unit: an allele, a window or a block of bases)"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _arguments(context: click.Context) -> dict[str, Any]:
    """Return a command and its arguments as JSON values, from which :mod:`borzoi_rt.cli.merge` calls it again."""
    names = context.command_path.split()[1:]
    return {
        "command": names,
        "params": {key: _plain(key, value) for key, value in context.params.items() if key not in _HOW},
    }


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    if name == "vcf" and isinstance(value, str) and value != "-":
        return str(Path(value).absolute())
    return value  # a list of tracks (@FILE) too: its text stands in the output, and must be that of one process
