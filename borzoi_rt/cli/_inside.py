"""Options and words that commands which look inside the network share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from ._talk import say


def check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the check of a map, and its seed."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Number that chance follows, of the check.",
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


def say_checks(facts: Sequence[Mapping[str, Any]]) -> None:
    """Say on stderr what the check found of each row."""
    for told in facts:
        held = told.get("check")
        if held is None:
            continue
        follows = "follows" if held["agrees"] else "does NOT follow"
        say(
            f"note: {told['name']}: the map {follows} what shuffling does (rank correlation "
            f"{held['correlation']:.2f} at equal distance, p {held['p_value']:.3g}, {held['positions']} positions)"
        )
