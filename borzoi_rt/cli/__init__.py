"""The command line: ``borzoi-rt``."""

from __future__ import annotations

import os
import select
import sys
import traceback
from contextlib import suppress

import click

from .. import __version__
from ..errors import RunInterrupted, bounded
from ._commands import LazyGroup
from ._faults import describe, one_line
from ._talk import Call, line_of, talking, verbose_option

_NAME = "borzoi-rt"
_COMPLETION = "_BORZOI_RT_COMPLETE"  # set by a shell that completes words
_INTERRUPTED, _TERMINATED = 130, 143  # what a shell says after SIGINT and SIGTERM


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, params=[verbose_option()])
@click.version_option(__version__, prog_name=_NAME, message="%(prog)s %(version)s", help="Show the version and exit.")
def main() -> None:
    """Variant scores and coverage from Borzoi-family models, on onnxruntime.

    `borzoi-rt COMMAND --help` says what a command does and what it takes, with an example.
    """


def run() -> None:
    """Entry point: one ``error:`` line and exit code 1 for bad data, 2 for bad usage, 130 or 143 for a signal."""
    if _COMPLETION in os.environ:
        main(prog_name=_NAME)
    call = Call()
    with talking(call):
        code = _run(call)
    _close_stdout()
    if code:
        sys.exit(code)


def _run(call: Call) -> int:
    """Run the command that the arguments name and return the exit code; nothing but ``SystemExit`` passes."""
    try:
        # Not click's own main, which turns interruptions, ends of files and closed pipes alike into one exception.
        with main.make_context(_NAME, sys.argv[1:], obj=call) as context:
            main.invoke(context)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        return _usage(call, error)
    except (click.Abort, KeyboardInterrupt) as stop:
        return _interruption(call, stop)
    except Exception as error:
        if call.terminated:
            return _interruption(call, error)
        if isinstance(error, BrokenPipeError) and _stdout_is_gone():
            return 1  # as with `| head`: nothing is wrong
        _show_traceback(call, error)
        _say(line_of("error", describe(error), as_json=call.json))
        return 1
    return 0


def _usage(call: Call, error: click.ClickException) -> int:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # newer click gives the help of a group without arguments as an error
    else:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else _NAME
        text = f"{bounded(one_line(error.format_message()))} (see `{command} --help`)"
        _say(line_of("error", text, as_json=call.json))
    return int(error.exit_code)


def _interruption(call: Call, stop: BaseException) -> int:
    """Say what is kept, where the run knows."""
    _show_traceback(call, stop)
    resumable = isinstance(stop, RunInterrupted) and stop.resumable
    said = str(stop) if isinstance(stop, RunInterrupted) else "interrupted"
    text = f"{said}; repeat the command with --resume to go on" if resumable else said
    _say(line_of("info", text, as_json=call.json))
    return _TERMINATED if call.terminated else _INTERRUPTED


def _show_traceback(call: Call, error: BaseException) -> None:
    if call.verbose:
        _say("".join(traceback.format_exception(error)).rstrip())


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads stderr any more
        click.echo(text, err=True)


def _stdout_is_gone() -> bool:
    """Tell whether the program that read our stdout has ended."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
    except (OSError, ValueError):
        return True


def _close_stdout() -> None:
    """Write what is left; where that fails, it has been said, and Python must not complain again while it closes."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
