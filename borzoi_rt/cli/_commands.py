"""The commands by name, in the order of their use; each is imported when it is called, so that ``--help`` is quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from importlib import import_module
from typing import Any

import click

from ._examples import FIRST, epilog
from ._extras import EXPORT_WORLD, NEEDS, check_extras
from ._outputs import check_outputs
from ._talk import verbose_option

COMMANDS = {
    "score": ("borzoi_rt.cli.score", "Score the variants of a VCF: a table, a row per allele and track."),
    "ism": ("borzoi_rt.cli.ism", "Score every substitution of a region (in-silico mutagenesis)."),
    "predict": ("borzoi_rt.cli.predict", "Predict the coverage of regions as bigWig files."),
    "merge": ("borzoi_rt.cli.merge", "Make the output of a run from its shards."),
    "report": ("borzoi_rt.cli.report", "Make one HTML file of a table or an explanation, to share (extra: report)."),
    "plot": ("borzoi_rt.cli.plot", "Draw a variant, a region, an explanation or curves: PDF, SVG or PNG."),
    "calibrate": ("borzoi_rt.cli.calibrate", "Make null distributions that scores are compared with."),
    "scores": ("borzoi_rt.cli.scores", "List statistics, regions and presets of `score`, a line each."),
    "explain": ("borzoi_rt.cli.explain", "Attribute a predicted number to bases: gradients, references, logos."),
    "cam": ("borzoi_rt.cli.cam", "Map a predicted number to tokens or bins: CAM, Grad-CAM, Grad-CAM++."),
    "attention": ("borzoi_rt.cli.attention", "Show where tokens attend to; this is not attribution."),
    "activations": ("borzoi_rt.cli.activations", "Show what units of the network are at a stretch of bases."),
    "embed": ("borzoi_rt.cli.embed", "Embed regions, alleles or genes: one vector each, as a table."),
    "design": ("borzoi_rt.cli.design", "Design sequences that raise a predicted number (activation maximisation)."),
    "filters": ("borzoi_rt.cli.filters", "Show the motifs that units of the first layers look for."),
    "dissect": ("borzoi_rt.cli.dissect", "Say which units follow annotations or motifs (network dissection)."),
    "neighbours": ("borzoi_rt.cli.neighbours", "Find the regions or alleles with the nearest embeddings."),
    "surrogate": ("borzoi_rt.cli.surrogate", "Fit simple models and rules to the mutants of a region."),
    "tcav": ("borzoi_rt.cli.tcav", "Test in which direction concepts move a prediction (extra: surrogate)."),
    "bottleneck": ("borzoi_rt.cli.bottleneck", "Say a prediction by named concepts alone (extra: surrogate)."),
    "influence": ("borzoi_rt.cli.influence", "Say which training windows made a model predict what it predicts."),
    "models": ("borzoi_rt.cli.models", "List the published weights that `get` knows by name."),
    "get": ("borzoi_export.cli_get", "Download published weights and export them (extra: export)."),
    "bundle": ("borzoi_rt.cli.bundle", "Verify a model bundle, or show what is in it."),
    "export": ("borzoi_export.cli", "Convert trained weights into a bundle (extra: export)."),
    "train": ("borzoi_export.cli_train", "Train or fine-tune a Borzoi-family network (extra: train)."),
    "data": ("borzoi_rt.cli.data", "Make training data of bigWig files, or show what data hold."),
    "evaluate": ("borzoi_rt.cli.evaluate", "Compare predictions with held-out coverage: loss, correlation, R2."),
    "dft": ("borzoi_rt.cli.dft", "Score promoter motifs by what their removal does (extra: promoter)."),
    "promoter": ("borzoi_export.promoter.cli", "Train promoter networks and take motifs from them (extra: train)."),
    "triton": ("borzoi_rt.cli.triton", "Serve a bundle with Triton, and check a server (extra: triton)."),
    "demo": ("borzoi_rt.cli.demo", "Score a synthetic genome with the model that comes with the package."),
    "doctor": ("borzoi_rt.cli.doctor", "Say what is installed, what this machine grants, and what is missing."),
    "bench": ("borzoi_rt.cli.bench", "Measure latencies on this machine and of a Triton server."),
}
# Commands that stand beside one that is also a command by itself: `explain --method ...`, `explain NAME ...`.
BESIDE: dict[str, dict[str, tuple[str, str]]] = {
    "explain": {
        "compare": ("borzoi_rt.cli.explain_compare", "Explain by several methods: maps, costs and agreement."),
        "evaluate": ("borzoi_rt.cli.explain_evaluate", "Judge attributions: faithful to the model, and stable?"),
        "rate": ("borzoi_rt.cli.explain_rate", "Let people compare logos without names, offline (extra: report)."),
    },
}
# What a command is for, by the last one of its group; one that is inserted above joins the group it stands in.
GROUPS = {
    "Score": "scores",
    "Explain": "influence",
    "Get and check models": "export",
    "Train and evaluate": "evaluate",
    "Promoters": "promoter",
    "Serve": "triton",
    "Try and measure": "bench",
}


class _Named(click.Group):
    """A group whose commands are named in a table, and imported when they are called."""

    path: tuple[str, ...] = ()

    @property
    def table(self) -> Mapping[str, tuple[str, str]]:
        """Module and short help of every command, by its name."""
        raise NotImplementedError

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of their use."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.table:
            return None
        if cmd_name not in self.commands:
            command: click.Command = getattr(import_module(self.table[cmd_name][0]), cmd_name)
            _complete(command, (*self.path, cmd_name))
            self.commands[cmd_name] = command
        return self.commands[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the words name, or say which one was meant."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            raise click.UsageError(_no_such(args[0], self.table, self.path), ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(_Named):
    """The commands of the program; the torch world is never imported unless one of its own is called."""

    @property
    def table(self) -> Mapping[str, tuple[str, str]]:
        """Module and short help of every command, by its name."""
        return COMMANDS

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the words name; what the torch world needs is checked before it is imported."""
        words = [word for word in args if not word.startswith("-")]
        if COMMANDS.get(words[0] if words else "", ("",))[0].startswith(EXPORT_WORLD):
            check_extras(_known(words))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for, without importing them; first what people do first."""
        with formatter.section("Begin with"):
            formatter.write_dl(list(FIRST))
        rows = [(name, text) for name, (_, text) in COMMANDS.items()]
        for title, last in GROUPS.items():
            count = [name for name, _ in rows].index(last) + 1
            with formatter.section(title):
                formatter.write_dl(rows[:count])
            rows = rows[count:]


class _Beside(_Named):
    """The commands beside one that is also a command by itself."""

    def __init__(self, path: tuple[str, ...], **settings: Any) -> None:
        super().__init__(path[-1], **settings)
        self.path = path

    @property
    def table(self) -> Mapping[str, tuple[str, str]]:
        """Module and short help of every command, by its name."""
        return BESIDE[" ".join(self.path)]


class WithOthers(_Beside):
    """A command that has others beside it: with an option first it runs by itself, with a word first another does.

    Parameters
    ----------
    name : str
        Its name, a key of :data:`BESIDE`.
    **settings
        Of a command.
    """

    allow_extra_args = False  # its own options are followed by no command
    allow_interspersed_args = True

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__((name,), invoke_without_command=True, no_args_is_help=False, **settings)
        self._others = _Beside(self.path, commands=self.commands)
        self.subcommand_metavar = "| COMMAND [ARGS]..." if self.table else ""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of this command, or of the group of those beside it."""
        if args and not args[0].startswith("-"):
            return self._others.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands beside it, without importing them."""
        if self.table:
            with formatter.section("Commands"):
                formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


def _no_such(name: str, table: Mapping[str, object], path: Sequence[str]) -> str:
    """Name the command that was meant, or where all are listed."""
    near = get_close_matches(name, table, n=1)
    listed = f"`{' '.join(('borzoi-rt', *path))} --help` lists them"
    return f"No such command {name!r}; " + (f"did you mean {near[0]}?" if near else listed)


def _known(words: list[str]) -> list[str]:
    """Return the name of a command, and of the one below it where extras are known by both."""
    return words[:2] if " ".join(words[:2]) in NEEDS else words[:1]


def _complete(command: click.Command, path: tuple[str, ...]) -> None:
    """Give a command, and those below it, what all have: ``-v``, an example, a look at packages and at outputs."""
    command.params.append(verbose_option())
    command.epilog = command.epilog or epilog(path)
    _refuse_twice(command)
    if isinstance(command, click.Group) and not isinstance(command, _Named):  # those are completed when imported
        for name, below in command.commands.items():
            _complete(below, (*path, name))
    elif command.callback is not None:
        command.callback = _checked(command.callback, path)


def _refuse_twice(command: click.Command) -> None:
    """Refuse an option that is given again, unless the command takes several: the last would be taken in silence."""
    make = command.make_parser

    def make_parser(ctx: click.Context) -> Any:
        parser = make(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            found = parse(args)
            for parameter, count in Counter(found[2]).items():
                if count > 1 and _taken_once(parameter):
                    said = f"{parameter.opts[0]} is given {count} times, and one is taken; give it once"
                    raise click.UsageError(said, ctx)
            return found

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser

    command.make_parser = make_parser  # type: ignore[method-assign]


def _taken_once(parameter: click.Parameter) -> bool:
    """Return whether a second value would replace the first; a switch that has no opposite says the same again."""
    if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count:
        return False
    return not parameter.is_flag or bool(parameter.secondary_opts)


def _checked(callback: Callable[..., Any], path: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(callback)
    def call(*args: Any, **options: Any) -> Any:
        check_extras(path)
        check_outputs(options)
        return callback(*args, **options)

    return call
