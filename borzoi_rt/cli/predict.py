"""``borzoi-rt predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.manifest import N_POLICIES
from ..engine.options import PredictionOptions
from ..genome.intervals import read_bed
from ..runs.predict import CoverageOptions, predict_regions
from ..squash import KINDS
from . import _runs, _shared
from ._talk import say


@click.command()
@click.argument("regions", type=click.Path(path_type=Path))
@_shared.bundle_option
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory to make; it must not exist, or be empty.",
)
@_shared.rc_option
@_shared.shifts_option
@_shared.tracks_option
@click.option(
    "--n-code",
    type=click.Choice(tuple(N_POLICIES)),
    help="Code of unknown bases: zero, or uniform (0.25 for each base)  [default: the bundle's].",
)
@click.option("--squashed", is_flag=True, help="Write the squashed scale that the model gives  [default: undo it].")
@click.option("--squash", type=click.Choice(KINDS), help="Kind of the squashed scale to undo  [default: the bundle's].")
@click.option(
    "--unscale/--no-unscale",
    default=None,
    help="Divide by the scale of the track, which gives reads  [default: the bundle's].",
)
@_runs.spread_options
@_shared.device_option
@_shared.threads_option
def predict(regions: Path, bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Predict the coverage of REGIONS, a BED file: a bigWig for each track, and predictions.npz.

    A region that is no longer than the output of the model gives the window around its middle; a longer one is cut into
    adjacent windows that cover it: the output is always whole windows, not the bases of the region alone. OUT also gets
    predictions.json, which says how they were made.
    """
    settings_of = _runs.take_settings(choices)
    prediction = PredictionOptions(rc=bool(choices["rc"]), shifts=choices["shifts"] or (0,), n_code=choices["n_code"])
    options = CoverageOptions(
        prediction=prediction, **{name: choices[name] for name in ("tracks", "squashed", "squash", "unscale")}
    )
    intervals = read_bed(regions)
    with _shared.progress_bar("predicting") as progress:
        settings = settings_of(progress)
        written = predict_regions(intervals, out, bundle=bundle, fasta=fasta, options=options, settings=settings)
    if _runs.is_told(settings):
        return
    regions_text = f"{len(intervals)} region{'' if len(intervals) == 1 else 's'}"
    left = _runs.left_by(settings, out)
    held = f"{len(written)} files" if left == out else "a shard of their windows"
    say(f"{regions_text}: {held} -> {left}")
