"""The command line: ``borzoi-rt``. Commands are loaded when they are called, so that ``--help`` is quick."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import click

from .. import __version__
from ..errors import BackendError, BorzoiError, RunInterrupted

_COMMANDS = {
    "bench": ("borzoi_rt.cli.bench", "Measure latencies here and on a Triton server."),
    "bundle": ("borzoi_rt.cli.bundle", "Verify or show a bundle."),
    "data": ("borzoi_rt.cli.data", "Make or show training data."),
    "demo": ("borzoi_rt.cli.demo", "Score a synthetic genome with the model that comes with the package."),
    "dft": ("borzoi_rt.cli.dft", "Score motifs by what their removal does to transcription."),
    "evaluate": ("borzoi_rt.cli.evaluate", "Loss and correlation on held-out coverage."),
    "export": ("borzoi_export.cli", "Convert trained weights into a bundle (needs the extra `export`)."),
    "ism": ("borzoi_rt.cli.ism", "Score every substitution of a region."),
    "predict": ("borzoi_rt.cli.predict", "Predict coverage of regions as bigWig."),
    "promoter": ("borzoi_export.promoter.cli", "Train promoter networks and take motifs from them (needs `export`)."),
    "score": ("borzoi_rt.cli.score", "Score the variants of a VCF."),
    "train": ("borzoi_export.cli_train", "Train or fine-tune a network (needs the extra `train`)."),
    "triton": ("borzoi_rt.cli.triton", "Serve a bundle with Triton, and check a server."),
}
_EXPORT_PACKAGES = ("torch", "onnx", "safetensors", "huggingface_hub", "networkx")
_TRAIN_PACKAGES = ("lightning", "tensorboard")


class _LazyGroup(click.Group):
    """A group whose commands are imported by name; ``export`` lies in the torch world, never imported otherwise."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(import_module(module), cmd_name)
        except ModuleNotFoundError as error:
            root = (error.name or "").split(".")[0]
            if root not in _EXPORT_PACKAGES + _TRAIN_PACKAGES:
                raise
            extra = "train" if cmd_name == "train" else "export"
            raise BackendError(f"`{cmd_name}` needs {error.name}; pip install 'borzoi-rt[{extra}]'") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="borzoi-rt")
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
def main(verbose: bool) -> None:
    """Variant scores and coverage from Borzoi-family models, on onnxruntime."""


def run() -> None:
    """Entry point: one ``error:`` line and exit code 1 for bad data, 2 for bad usage."""
    try:
        main.main(prog_name="borzoi-rt", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            error.show()  # newer click gives the help of a group without arguments as an error
        else:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "borzoi-rt"
            click.echo(f"error: {' '.join(error.format_message().split())} (see `{command} --help`)", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        cause = stop.__cause__ or stop  # click turns every interruption into an Abort
        click.echo(str(cause) if isinstance(cause, RunInterrupted) else "interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our stdout has gone; nothing is wrong, and Python must not complain while it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (BorzoiError, OSError, MemoryError) as error:
        if sys.argv[1:2] in (["-v"], ["--verbose"]):
            traceback.print_exc()
        click.echo(f"error: {' '.join(str(error).split()) or type(error).__name__}", err=True)
        sys.exit(1)
