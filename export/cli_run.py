"""What the commands that train share: options of a run, and the words after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .training.processes import StoppedError, is_first_process

RUN = ("devices", "accelerator", "threads", "workers", "deterministic", "tf32")
PRECISIONS = ("32", "bf16", "16")
_COUNT = click.IntRange(min=1)
_OPTIONS = (
    click.option(
        "--resume",
        is_flag=True,
        help="Go on from OUT/last.ckpt, with the same steps as an unbroken run  [default: a new run].",
    ),
    click.option(
        "--devices", type=_COUNT, default=1, show_default=True, help="GPUs to train on, or processes on the CPU."
    ),
    click.option(
        "--accelerator",
        default="auto",
        show_default=True,
        help="Where to train: cpu, gpu, or auto for a GPU where there is one.",
    ),
    click.option("--threads", type=_COUNT, help="CPU threads of each process  [default: torch's choice]."),
    click.option(
        "--workers",
        type=_COUNT,
        help="Threads of each process that read windows; batches are the same for any number  [default: its share of "
        "the cores, 8 at most; on the CPU a quarter].",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help="Number format of the network; bf16 and 16 keep weights and loss in float32  [default: 32].",
    ),
    click.option(
        "--tf32/--no-tf32",
        default=False,
        show_default=True,
        help="Let a GPU round the factors of float32 products to 10 bits: faster, and no longer float32.",
    ),
    click.option(
        "--deterministic/--no-deterministic",
        default=True,
        show_default=True,
        help="Repeat a run bit by bit on the same device. On a GPU this costs time: the backward pass of attention "
        "sorts one key per head and pair of tokens (134 million a layer at the published size) before it adds.",
    ),
    click.option("--accumulate", type=_COUNT, help="Batches whose mean gradient makes one update  [default: 1]."),
    click.option(
        "--ema",
        type=click.FloatRange(0, 1, max_open=True),
        help="Decay of a running average of the weights, like 0.999; it is what is validated and exported  "
        "[default: 0, none].",
    ),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that mean the same to every command that trains."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def stops_told(out: Path) -> Iterator[None]:
    """Say what a run that was stopped has kept, and how to go on; end with 130 after Ctrl-C, 143 after SIGTERM."""
    try:
        yield
    except StoppedError as stop:
        _tell(f"{stop}; the same command with --resume goes on from there" if stop.kept is not None else str(stop))
        raise SystemExit(stop.exit_code) from None
    except KeyboardInterrupt:
        kept = f"{out / 'last.ckpt'} is as it was" if (out / "last.ckpt").is_file() else "nothing is kept"
        _tell(f"stopped before training began; {kept}")
        raise SystemExit(130) from None


def _tell(text: str) -> None:
    if is_first_process():
        click.echo(text, err=True)


def taken(choices: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Take some options out of a command's arguments."""
    return {name: choices.pop(name) for name in names}
