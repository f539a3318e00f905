"""Options and words that commands which look inside the network share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
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
