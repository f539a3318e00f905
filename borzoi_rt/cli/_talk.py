"""What one call of the program says on stderr: how much, in which form, and what a signal does."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import click

from ._extras import EXPORT_WORLD
from ._faults import one_line

_OURS = ("borzoi_rt", EXPORT_WORLD)


@dataclass
class Call:
    """One call of the program.

    Attributes
    ----------
    verbose : bool
        Show the traceback of an error, and what the library logs at level INFO.
    terminated : bool
        SIGTERM has come.
    json : bool
        Every line on stderr is a JSON object.
    """

    verbose: bool = False
    terminated: bool = False
    json: bool = False


def verbose_option() -> click.Option:
    """Return ``-v``, which every command has, so that it may stand anywhere on the line."""
    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_verbose,
        help="Say more on stderr: every step that is logged, and the traceback of an error.",
    )


def _set_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    call = ctx.find_object(Call)
    if value and call is not None:
        call.verbose = True


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--log-json``."""
    return click.option(
        "--log-json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_json,
        help="Say everything on stderr as JSON, an object a line, for services that read it  [default: in words].",
    )(command)


def _set_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    call = ctx.find_object(Call)
    if value and call is not None:
        call.json = True


def in_json() -> bool:
    """Tell whether the command that runs says everything as JSON."""
    context = click.get_current_context(silent=True)
    call = None if context is None else context.find_object(Call)
    return call is not None and call.json


def at_terminal() -> bool:
    """Tell whether a person reads stderr, in words: hints are for people alone."""
    return sys.stderr.isatty() and not in_json()


def line_of(level: str, text: str, *, as_json: bool) -> str:
    """Return a line for stderr: words, which an error or a warning begins with its level, or JSON."""
    if as_json:
        return json.dumps({"event": "message", "level": level, "message": text})
    return text if level == "info" else f"{level}: {text}"


def say(text: str) -> None:
    """Say something on stderr, in words or as JSON."""
    click.echo(line_of("info", text, as_json=in_json()), err=True)


@contextmanager
def talking(call: Call) -> Iterator[None]:
    """Let the library's log reach stderr, a line each, and SIGTERM interrupt like Ctrl-C.

    Warnings of the library are shown, with ``-v`` its whole log and what other libraries warn of.
    """
    handler = _Lines(call)
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in _OURS]
    levels = [logger.level for logger in ours]
    root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.INFO)
    shown = warnings.showwarning
    logging.captureWarnings(True)
    try:
        with _termination(call):
            yield
    finally:
        logging.captureWarnings(False)
        warnings.showwarning = shown
        for logger, level in zip(ours, levels, strict=True):
            logger.setLevel(level)
        root.removeHandler(handler)


class _Lines(logging.Handler):
    """One line on stderr for each record that is to be seen; never a traceback."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def filter(self, record: logging.LogRecord) -> bool:
        """Choose by level and by whose record it is."""
        ours = record.name.partition(".")[0] in _OURS
        return self._call.verbose if not ours or record.levelno < logging.WARNING else True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        with suppress(OSError):  # nobody reads stderr any more
            level, text = record.levelname.lower(), one_line(record.getMessage())
            # In words what is only informed of has its level too: it is seen with -v alone.
            line = line_of(level, text, as_json=True) if self._call.json else f"{level}: {text}"
            click.echo(line, err=True)


@contextmanager
def _termination(call: Call) -> Iterator[None]:
    """Turn SIGTERM, as schedulers send it before they kill, into an interruption; work that is done is then kept."""
    can_be_set = threading.current_thread() is threading.main_thread()
    if not can_be_set or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        call.terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
