"""Options of the commands that score, and the object they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from ..bundle.manifest import N_POLICIES
from ..engine.alleles import EDGE_FILLS
from ..errors import InputError
from ..scoring.options import ScoreOptions
from ..scoring.presets import PRESETS
from ..scoring.statistics import FAMILIES
from ..squash import KINDS
from . import _shared


def scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add statistics, strands, shifts, tracks, bins and the inverse of the squashed scale."""
    for option in (
        click.option(
            "--max-n-fraction",
            type=float,
            help="Largest share of unknown bases in a window, 0 to 1; more gives too_many_n  [default: any].",
        ),
        click.option(
            "--no-merge",
            is_flag=True,
            help="Give each strand of a stranded track a row of its own  [default: one row for both].",
        ),
        click.option(
            "--unclip/--no-unclip", default=None, help="Undo the soft clip of high coverage  [default: the bundle's]."
        ),
        click.option(
            "--unscale/--no-unscale",
            default=None,
            help="Divide by the scale of the track, which gives reads  [default: the bundle's].",
        ),
        click.option(
            "--region",
            help="Bins that a score without @REGION is taken over: window, span:BP, center:BP, or of genes exons, "
            "span, tss:BP  [default: window].",
        ),
        click.option(
            "--span",
            "span_bp",
            type=click.IntRange(min=1),
            metavar="BP",
            help="Short for --region span:BP: only the bins around the variant that cover BP bases.",
        ),
        click.option(
            "--squash",
            type=click.Choice(KINDS),
            help="Kind of the squashed scale to undo  [default: the bundle's].",
        ),
        click.option(
            "--n-code",
            type=click.Choice(tuple(N_POLICIES)),
            help="Code of unknown bases: zero, or uniform (0.25 for each base)  [default: the family's, else the "
            "bundle's].",
        ),
        click.option(
            "--edge-fill",
            type=click.Choice(EDGE_FILLS),
            help="What enters a window at its end after a deletion or a shift: bases of the genome, or unknown ones "
            "(pad)  [default: genome; family sad: pad].",
        ),
        _shared.tracks_option,
        _shared.shifts_option,
        _shared.rc_option,
        click.option(
            "--family",
            type=click.Choice(FAMILIES),
            help="Order of the steps: hound takes the statistic of each strand and then adds the strands, sad adds the "
            "strands first  [default: hound].",
        ),
        click.option(
            "--stats",
            help="Scores, separated by commas: STAT or STAT@REGION; `borzoi-rt scores` lists them  "
            "[default: SUM,logSUM,logSED].",
        ),
    ):
        command = option(command)
    return command


def read_options(*, preset: str | None = None, stats: str | None, no_merge: bool, **choices: Any) -> ScoreOptions:
    """Turn a command's arguments into options; a preset fixes all but tracks, statistics and the limit of N."""
    span_bp = choices.pop("span_bp", None)
    if span_bp is not None:
        if choices.get("region") is not None:
            raise InputError("--span is short for --region span:BP; leave one of the two out")
        choices["region"] = f"span:{span_bp}"
    names = tuple(name.strip() for name in stats.split(",")) if stats is not None else None
    given = {name: value for name, value in choices.items() if value not in (None, ())}
    if preset is None:
        if str(given.get("window")).startswith("cluster:"):
            raise InputError("--window cluster makes a score depend on its neighbours; --preset hound-cluster has it")
        family = given.pop("family", "hound")
        return ScoreOptions.for_family(family, stats=names, merge_strands=not no_merge, **given)
    free = {"tracks", "max_n_fraction", "squash", "region", "with_alleles"}
    free |= {"gene_names", "gene_types", "gene_mode", "ensemble"}
    fixed = sorted(set(given) - free)
    if fixed:
        raise InputError(f"--preset {preset} fixes {fixed[0]!r}; leave one of the two out")
    chosen = replace(PRESETS[preset], merge_strands=not no_merge, **given)
    return chosen if names is None else replace(chosen, stats=names)
