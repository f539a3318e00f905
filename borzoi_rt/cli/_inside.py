"""Options and words that commands which look inside the network share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import Bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..inside.activations import Activations
from . import _shared
from ._progress import Reporter
from ._talk import say


@contextmanager
def looking(
    model: Bundle, fasta: Path, out: Path, choices: Mapping[str, Any], verb: str
) -> Iterator[tuple[Fasta, Activations, Reporter]]:
    """Open the genome, what lies inside a model, and a progress bar, and say on an interrupt what was not written."""
    device = Device.parse(choices["device"], threads=choices["threads"])
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        Activations(model, device, n_code=choices["n_code"]) as activations,
        _shared.progress_bar(verb) as progress,
    ):
        yield genome, activations, progress


def check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the check of a map, and its seed."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Number that chance follows, of --check and --truth.",
        ),
        click.option(
            "--truth",
            type=click.Path(path_type=Path),
            help="Known features, a BED file: say how well the map finds the positions that hold one  [default: none].",
        ),
        click.option(
            "--check",
            type=click.IntRange(min=8),
            metavar="POSITIONS",
            help="Shuffle that many positions one at a time, a prediction each, and say whether the map follows what "
            "that does  [default: no check].",
        ),
    ):
        command = option(command)
    return command


def check_seed(choices: Mapping[str, Any]) -> None:
    """Refuse a seed that nothing heeds.

    Raises
    ------
    InputError
        If it is given without a check.
    """
    if _shared.typed(["seed"]) and choices["check"] is None and choices["truth"] is None:
        raise InputError("--seed is of --check and --truth: give one of these, or leave it out")


def say_checks(facts: Sequence[Mapping[str, Any]]) -> None:
    """Say on stderr what the check found of each row."""
    for told in facts:
        known = told.get("truth")
        if known is not None:
            finds = "finds" if known["recovers"] else "does NOT find"
            say(
                f"note: {told['name']}: the map {finds} the known features (AUROC {known['auroc']:.2f}, p "
                f"{known['p_value']:.3g} at equal distance, {known['known']} of {known['positions']} positions)"
            )
        held = told.get("check")
        if held is None:
            continue
        follows = "follows" if held["agrees"] else "does NOT follow"
        say(
            f"note: {told['name']}: the map {follows} what shuffling does (rank correlation "
            f"{held['correlation']:.2f} at equal distance, p {held['p_value']:.3g}, {held['positions']} positions)"
        )
