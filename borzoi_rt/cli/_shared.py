"""Options and progress that several commands share."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from ..backends.device import ALLOWED, Device
from ..bundle.manifest import N_POLICIES
from ..errors import InputError, RunInterrupted
from ..squash import KINDS
from ._progress import Reporter, progress_bar
from ._talk import say

__all__ = ["Reporter", "progress_bar"]  # other names of this module are options and what is made of them


class DeviceText(click.ParamType):  # type: ignore[type-arg]
    """Where a model runs, as one text; what release 0.1 called it is told in today's words."""

    name = "device"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, checked; click shows the error."""
        text = str(value)
        if text.isascii() and text.isdigit():
            self.fail(f"{text!r} is no device any more; GPU {text} is now --device cuda:{text}", param, ctx)
        try:
            Device.parse(text)
        except InputError as error:
            self.fail(str(error), param, ctx)
        return text


def _old_provider(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        known = value if value in ("cpu", "cuda", "tensorrt") else "DEVICE"
        raise click.BadOptionUsage("--provider", f"--provider is now --device: give --device {known} ({ALLOWED})", ctx)


def _old_backend(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        known = value.removeprefix("onnx:")
        try:
            Device.parse(known)
        except InputError:
            known = "DEVICE"
        raise click.BadOptionUsage("--backend", f"--backend is now --device: give --device {known} ({ALLOWED})", ctx)


def device_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--device``, and the options that it has replaced, which say so."""
    for option in (
        click.option("--backend", hidden=True, expose_value=False, callback=_old_backend, help="Now --device."),
        click.option("--provider", hidden=True, expose_value=False, callback=_old_provider, help="Now --device."),
        click.option(
            "--device",
            type=DeviceText(),
            default="cpu",
            show_default=True,
            metavar="DEVICE",
            help="Where the model runs: cpu, cpu:THREADS, cuda[:N], tensorrt[:N] or triton:grpc://HOST:PORT/MODEL.",
        ),
    ):
        command = option(command)
    return command


bundle_option = click.option(
    "--bundle",
    required=True,
    type=click.Path(path_type=Path),
    help="The model: a bundle directory, as `borzoi-rt export` makes it.",
)
fasta_option = click.option(
    "--fasta",
    required=True,
    type=click.Path(path_type=Path),
    help="The genome: FASTA, plain or bgzip, with its index (.fai, and .gzi) beside it.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of the model, the same as --device cpu:THREADS  [default: all cores that may be used].",
)
tracks_option = click.option(
    "--tracks",
    help="Tracks to use: identifiers, numbers, strand pairs (RNA+/-) or regular expressions, separated by commas, or "
    "@FILE with one on each line; `borzoi-rt bundle show BUNDLE --tracks` lists them  [default: all].",
)
n_code_option = click.option(
    "--n-code",
    type=click.Choice(tuple(N_POLICIES)),
    help="Code of unknown bases: zero, or uniform (0.25 for each base)  [default: the bundle's].",
)
squash_option = click.option(
    "--squash", type=click.Choice(KINDS), help="Kind of the squashed scale to undo  [default: the bundle's]."
)
unclip_option = click.option(
    "--unclip/--no-unclip", default=None, help="Undo the soft clip of high coverage  [default: the bundle's]."
)
unscale_option = click.option(
    "--unscale/--no-unscale",
    default=None,
    help="Divide by the scale of the track, which gives reads  [default: the bundle's].",
)
rc_option = click.option(
    "--rc",
    is_flag=True,
    default=None,
    help="Average each prediction with that of the reverse complement  [default: forward strand only].",
)


def say_counts(counts: Counter[str], noun: str, out: Path) -> None:
    """Say on stderr how many had which status."""
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    noun = noun.removesuffix("s") if counts.total() == 1 else noun
    say(f"{counts.total()} {noun}{f': {parts}' if parts else ''} -> {out}")


def say_notes(notes: Sequence[str]) -> None:
    """Say on stderr where the options depart from what the bundle says."""
    for note in notes:
        say(f"note: {note}")


class IntegerList(click.ParamType):  # type: ignore[type-arg]
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


shifts_option = click.option(
    "--shifts",
    type=IntegerList(),
    help="Shifts of the sequence in bp whose predictions are averaged, like 0,1,-1; positive is to the right"
    "  [default: 0].",
)


def program() -> str:
    """Return how this program was called, so that a line which begins with it works in the same shell."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m borzoi_rt"
    found = shutil.which(called.name)
    if not called.is_file() or (found is not None and Path(found).samefile(called)):
        return called.name if found is not None else f"{shlex.quote(sys.executable)} -m borzoi_rt"
    return shlex.quote(str(called))


def near(path: Path) -> str:
    """Return a path as a word of a shell, relative to the working directory where it lies in it."""
    absolute, here = path.resolve(), Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else path))


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Say what is left after an interruption, in a command that is no numbered run.

    Raises
    ------
    RunInterrupted
        With ``text``.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterrupted(text) from None


def typed(names: Iterable[str]) -> list[str]:
    """Return those of some parameters that the command line gives, whatever their values, as ``--option-names``."""
    context, given = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    return [f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) == given]


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
