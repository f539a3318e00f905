"""Options and progress that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

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
device_option = click.option("--device", type=int, default=0, show_default=True, help="GPU number.")
threads_option = click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default: all usable cores].")
tracks_option = click.option(
    "--tracks", help="Tracks: comma list of ids or numbers, @FILE with one a line, or a regular expression."
)
rc_option = click.option("--rc", is_flag=True, default=None, help="Average with the reverse complement.")


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
