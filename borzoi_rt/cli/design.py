"""``borzoi-rt design``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.explainer import Explainer
from ..explain.rows import region_rows
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..inside.activations import Activations
from ..inside.design import GOALS, GUIDES, SEARCHES, DesignOptions
from ..inside.design_run import design_row, design_unit
from ..runs.outputs import check_directory
from . import _shared
from ._explaining import OF_TARGET, read_rows, read_spec, target_options
from ._talk import say

_FILE = click.Path(path_type=Path)
_DEFAULT = DesignOptions()


@click.command()
@click.option("--region", required=True, help="Region to design, 1-based, like chr1:1,001-1,200.")
@click.option(
    "--unit",
    type=click.IntRange(min=0),
    help="Channel of --layer to raise instead of a target: its largest activation in the region  [default: a target].",
)
@click.option("--layer", help="Layer of --unit: stem, tower_N, layer_N (tokens), embedding  [default: none].")
@click.option("--gene", help="Gene of the target, id or name, of --genes; its window is predicted  [default: none].")
@target_options
@click.option(
    "--search",
    type=click.Choice(SEARCHES),
    default=_DEFAULT.search,
    show_default=True,
    help="greedy: the best substitution of each step, while it helps; beam: the best few sequences of each step.",
)
@click.option(
    "--guide",
    type=click.Choice(GUIDES),
    default=_DEFAULT.guide,
    show_default=True,
    help="What is predicted in a step: exact, all substitutions; gradient, those whose slope promises most, which "
    "needs gradient graphs.",
)
@click.option(
    "--goal", type=click.Choice(GOALS), default=_DEFAULT.goal, show_default=True, help="Raise the target, or lower it."
)
@click.option(
    "--edits",
    type=click.IntRange(min=1),
    default=_DEFAULT.edits,
    show_default=True,
    help="Most substitutions, one a step.",
)
@click.option(
    "--candidates",
    type=click.IntRange(min=1),
    help="Substitutions of one sequence to predict in a step: of exact that many by chance  [default: all; of gradient "
    "32].",
)
@click.option(
    "--beam", type=click.IntRange(min=1), help=f"Sequences that --search beam holds  [default: {_DEFAULT.beam}]."
)
@click.option("--gc-min", type=float, help="Least share of G and C of the designed region  [default: 0].")
@click.option("--gc-max", type=float, help="Largest share of G and C of the designed region  [default: 1].")
@click.option(
    "--forbid",
    multiple=True,
    metavar="WORD",
    help="Word that may not touch the region on either strand, N for any base; may be given again  [default: none].",
)
@click.option(
    "--fixed",
    multiple=True,
    metavar="REGION",
    help="Bases of the region that stay, 1-based; may be given again  [default: none].",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number that chance follows, of --candidates with exact.",
)
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Directory to make: steps, sequence, what was asked.")
@_shared.rc_option
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def design(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Design a sequence that raises a predicted number, by substitutions in a region (activation maximisation).

    What is raised is a target, of the whole window unless --target names bins, or a --unit of a --layer. Every sequence
    that is taken was predicted, whatever proposed it. OUT holds the substitutions in order with the value before and
    behind each (steps.tsv), the region as it was and as designed (designed.fa), and design.json. A prediction says what
    the network makes of the sequence, not what a cell would.
    """
    options = _options(choices)
    fixed = [Interval.parse(text) for text in choices["fixed"]]
    Interval.parse(choices["region"])
    check_directory(out, [bundle])
    _check_unit(choices)
    spec = read_spec(choices) if choices["unit"] is None else None
    model = open_bundle(bundle)
    device = Device.parse(choices["device"], threads=choices["threads"])
    asked = {**choices, "bed": None, "variant": None, "width": None}
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        _shared.progress_bar("designing") as progress,
        ExitStack() as stack,
    ):
        how: dict[str, Any] = {"fixed": fixed, "progress": progress.done}
        if spec is None:
            (row,) = region_rows([Interval.parse(choices["region"])], genome, model.geometry)
            opened = stack.enter_context(Activations(model, device, n_code=choices["n_code"]))
            found = design_unit(opened, genome, row, choices["layer"], choices["unit"], options, out, **how)
        else:
            (row,) = read_rows(asked, spec, genome, model, keep=False)
            explainer = stack.enter_context(Explainer(model, genome, device))
            how |= {"rc": bool(choices["rc"]), "n_code": choices["n_code"]}
            found = design_row(explainer, row, spec, options, out, **how)
    if spec is not None:
        _shared.say_notes(spec.notes(model))
        if spec.region == "window":
            say(f"note: {spec.name} is of the whole window, not of the region; {spec.name}@center:512 is of bins there")
    name = f"unit {choices['unit']} of {choices['layer']}" if spec is None else spec.name
    count = len(found.steps)
    click.echo(
        f"{name}: {found.start:.6g} -> {found.value:.6g} by {count} edit{'' if count == 1 else 's'}, "
        f"{found.predicted} predictions -> {out}",
        err=True,
    )


def _check_unit(choices: dict[str, Any]) -> None:
    """Refuse what does not go with a unit, or is of one alone."""
    if choices["unit"] is None:
        if choices["layer"] is not None:
            raise InputError("--layer is of the unit that is raised: give --unit, or leave it out")
        return
    if choices["layer"] is None:
        raise InputError("--unit is a channel of a layer: give --layer, like stem or tower_3")
    unused = _shared.typed((*OF_TARGET, "strand", "gene", "genes", "rc"))
    if unused:
        raise InputError(f"{unused[0]} is of a target, and a unit is raised instead; leave it or --unit out")


def _options(choices: dict[str, Any]) -> DesignOptions:
    if choices["beam"] is not None and choices["search"] != "beam":
        raise click.UsageError("--beam is of --search beam: choose that, or leave it out")
    low, high = choices["gc_min"], choices["gc_max"]
    share = None if low is None and high is None else (0.0 if low is None else low, 1.0 if high is None else high)
    return DesignOptions(
        **{name: choices[name] for name in ("search", "guide", "goal", "edits", "candidates", "seed")},
        beam=choices["beam"] or _DEFAULT.beam,
        gc=share,
        forbid=tuple(word.upper() for word in choices["forbid"]),
    )
