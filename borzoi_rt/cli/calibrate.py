"""``borzoi-rt calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..runs.calibrate import calibrate as make_calibration
from ..scoring.calibration import LEAST, MIN_COUNT
from ..scoring.ensemble import open_members
from ..scoring.presets import check_preset
from . import _alleles, _runs, _scoring, _shared


@click.command()
@click.option(
    "--variants",
    type=click.Path(path_type=Path),
    help="VCF or BCF of variants without effect, as common ones are  [default: none].",
)
@click.option(
    "--random",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Instead of --variants: number of SNVs drawn evenly from the genome.",
)
@click.option(
    "--matched",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Instead of --variants themselves: number of copies of each at random positions that match it in alleles and "
    "neighbouring bases.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what is drawn at random."
)
@click.option(
    "--min-count",
    type=click.IntRange(min=LEAST),
    default=MIN_COUNT,
    show_default=True,
    help="Least number of null values of every score; fewer end the run.",
)
@_scoring.ensemble_options
@_shared.fasta_option
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder to make, for `borzoi-rt score --calibration`."
)
@_scoring.scoring_options
@_scoring.gene_options
@_scoring.policy_options
@_alleles.normalize_option
@_runs.run_options
def calibrate(
    bundles: tuple[Path, ...],
    fasta: Path,
    out: Path,
    annotation: Path | None,
    pas: Path | None,
    chrom_aliases: Path | None,
    **choices: Any,
) -> None:
    """Score variants without effect, and keep what they score as null distributions.

    Give the model, scores and options with which variants will be scored: a calibration that was made with others is
    refused. Effects and activity (ACTIVE_SUM, ACTIVE_MEAN) have nulls of their own; scores of genes are compared with
    all pairs of null variants and genes.
    """
    settings_of = _runs.take_settings(choices)
    source = {name: choices.pop(name) for name in ("variants", "random", "matched", "seed", "min_count")}
    options = _scoring.read_options(**choices)
    members = open_members(bundles)
    if choices["preset"] is not None:
        _shared.say_notes(check_preset(choices["preset"], members[0].info, choices.get("squash")))
    with _shared.progress_bar("calibrating", noun="variants") as progress:
        settings = settings_of(progress)
        counts = make_calibration(
            out,
            bundle=members,
            fasta=fasta,
            options=options,
            settings=settings,
            genes=_scoring.open_annotation(annotation, pas, chrom_aliases),
            **source,
        )
    if _runs.is_told(settings):
        return
    _shared.say_notes(options.notes(members[0].info))
    _shared.say_counts(counts, "null variants", _runs.left_by(settings, out))
