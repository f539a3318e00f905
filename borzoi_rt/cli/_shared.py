"""Options and progress that several commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..engine.sessions import EngineOptions

PROVIDERS = ("cpu", "cuda", "tensorrt")

bundle_option = click.option(
    "--bundle", required=True, type=click.Path(path_type=Path), help="Bundle directory made by `borzoi-rt export`."
)
fasta_option = click.option(
    "--fasta", required=True, type=click.Path(path_type=Path), help="Indexed genome, plain or bgzip FASTA."
)
provider_option = click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    default="cpu",
    show_default=True,
    help="What computes; a provider that is missing is an error.",
)
backend_option = click.option(
    "--backend", metavar="BACKEND", help="Instead of --provider: triton:grpc://HOST:PORT/MODEL, a Triton server."
)
device_option = click.option("--device", type=int, default=0, show_default=True, help="GPU number.")
threads_option = click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default: all usable cores].")
tracks_option = click.option(
    "--tracks", help="Tracks: comma list of ids or numbers, @FILE with one a line, or a regular expression."
)
rc_option = click.option("--rc", is_flag=True, default=None, help="Average with the reverse complement.")


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add provider, threads, tiles and resumption: how a run is made, not what it gives; see :func:`take_run`."""
    for option in (
        click.option("--resume", is_flag=True, help="Go on where an interrupted run with the same options stopped."),
        click.option("--fused/--no-fused", default=None, help="Sum over bins inside the graph  [default: on GPUs]."),
        click.option("--verify-fraction", type=float, default=0.0, help="Share of windows to check by whole passes."),
        click.option("--tile-cache", type=click.Path(path_type=Path), help="Folder to keep tiles in between runs."),
        click.option("--full", is_flag=True, help="Whole passes only, nothing shared."),
        threads_option,
        backend_option,
        device_option,
        provider_option,
    ):
        command = option(command)
    return command


def take_run(choices: dict[str, Any]) -> dict[str, Any]:
    """Take the options of :func:`run_options` out of a command's arguments, as arguments of a scoring function."""
    engine = EngineOptions(**{name: choices.pop(name) for name in ("full", "tile_cache", "verify_fraction", "fused")})
    backend = take_backend(choices)
    return {"backend": backend, "engine": engine, "threads": choices.pop("threads"), "resume": choices.pop("resume")}


def say_counts(counts: Counter[str], noun: str, out: Path) -> None:
    """Say on stderr how many had which status."""
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    click.echo(f"{counts.total()} {noun}: {parts} -> {out}", err=True)


class IntegerList(click.ParamType):
    """A comma list of integers, like ``0,1,-1``."""

    name = "integers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the integers; click shows the error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a comma list of integers, like 0,1,-1", param, ctx)


shifts_option = click.option("--shifts", type=IntegerList(), help="Shifts in bp, like 0,1,-1  [default: 0].")


def backend_name(provider: str, device: int) -> str:
    """Return the name that ``open_session`` takes."""
    return "onnx:cpu" if provider == "cpu" else f"onnx:{provider}:{device}"


def take_backend(choices: dict[str, Any]) -> str:
    """Take provider, device and backend out of a command's arguments, as the name that ``open_session`` takes."""
    provider, device, backend = (choices.pop(name) for name in ("provider", "device", "backend"))
    if backend is None:
        return backend_name(provider, device)
    context = click.get_current_context()
    for name in ("provider", "device"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--backend says what computes; leave out --{name}")
    return str(backend)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left on stderr, if that is a terminal; yield a function that takes the number done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
