"""What the commands that train share: the words after Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from .training.processes import is_first_process
from .training.stopping import StoppedError


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
