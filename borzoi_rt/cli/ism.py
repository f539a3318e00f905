"""``borzoi-rt ism``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..genome.intervals import Interval
from ..runs.ism import score_ism
from . import _runs, _scoring, _shared


@click.command()
@click.argument("interval", metavar="REGION")
@_shared.bundle_option
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write; its suffix names the form: .h5, .tsv, .tsv.gz or .parquet.",
)
@_scoring.scoring_options
@_runs.run_options
def ism(interval: str, bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Score every substitution of REGION (1-based, like chr1:1,001-1,200) in the one window around its middle.

    The bases that are changed are REGION; over which bins a score is taken is said by --stats, --region and --span. A
    .h5 table holds an array of (positions, 4, tracks) for each score, its second axis in the order A, C, G, T; the base
    that the genome has is 0. A score equals that of the same SNV given to `borzoi-rt score` with --window at:START of
    that window.
    """
    settings_of = _runs.take_settings(choices)
    options = _scoring.read_options(**choices)
    bases, model = Interval.parse(interval), open_bundle(bundle)
    with _shared.progress_bar("mutating", noun="variants") as progress:
        settings = settings_of(progress)
        counts = score_ism(bases, out, bundle=model, fasta=fasta, options=options, settings=settings)
    if _runs.is_told(settings):
        return
    _shared.say_notes(options.notes(model.info))
    _shared.say_counts(counts, "substitutions", _runs.left_by(settings, out))
