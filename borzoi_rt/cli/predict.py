"""``borzoi-rt predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..engine.options import PredictionOptions
from ..errors import InputError
from ..genome.intervals import read_bed
from ..runs.predict import CoverageOptions, predict_regions
from ..runs.predict_variant import FORMATS, predict_variant
from . import _runs, _shared
from ._talk import say


@click.command()
@click.argument("regions", required=False, type=click.Path(path_type=Path))
@click.option(
    "--variant",
    metavar="VARIANT",
    help="Instead of REGIONS: a variant, like chr1:14677:G:A, whose REF, ALT and difference are predicted  "
    "[default: none].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="With --variant: form of the files of tracks  [default: bigwig].",
)
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
@_shared.n_code_option
@click.option("--squashed", is_flag=True, help="Write the squashed scale that the model gives  [default: undo it].")
@_shared.squash_option
@_shared.unscale_option
@_runs.spread_options
@_shared.device_option
@_shared.threads_option
def predict(
    regions: Path | None, variant: str | None, form: str | None, bundle: Path, fasta: Path, out: Path, **choices: Any
) -> None:
    """Predict the coverage of REGIONS, a BED file: a bigWig for each track, and predictions.npz.

    A region that is no longer than the output of the model gives the window around its middle; a longer one is cut into
    adjacent windows that cover it: the output is always whole windows, not the bases of the region alone. OUT also gets
    predictions.json, which says how they were made.

    With --variant instead of REGIONS three files for each track: NUMBER_TRACK.ref.bw, .alt.bw and .diff.bw (ALT - REF),
    of the window that the variant is the middle of. Alleles of different length are stitched, as for scores.
    """
    if (regions is None) == (variant is None):
        raise click.UsageError("give REGIONS, or a variant with --variant, and not both")
    prediction = PredictionOptions(rc=bool(choices["rc"]), shifts=choices["shifts"] or (0,), n_code=choices["n_code"])
    options = CoverageOptions(
        prediction=prediction, **{name: choices[name] for name in ("tracks", "squashed", "squash", "unscale")}
    )
    if variant is not None:
        unused = _runs.chosen_of_run(click.get_current_context())
        if unused:
            raise InputError(f"{unused[0]} is for regions; a variant is one job")
        how: dict[str, Any] = {"device": choices["device"], "threads": choices["threads"]}
        made = predict_variant(
            variant, out, bundle=bundle, fasta=fasta, options=options, form=form or FORMATS[0], **how
        )
        click.echo(f"1 variant: {len(made)} files -> {out}", err=True)
        return
    assert regions is not None
    if form is not None:
        raise InputError("--format is for --variant; regions are written as bigWig")
    settings_of = _runs.take_settings(choices)
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
