"""``borzoi-rt predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..backends.opening import open_session
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import open_bundle
from ..engine.options import PredictionOptions
from ..engine.prediction import Predictor
from ..genome.fasta import Fasta
from ..genome.intervals import read_bed
from ..runs.predict import predict_regions
from . import _shared


@click.command()
@click.argument("regions", type=click.Path(path_type=Path))
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to make.")
@_shared.rc_option
@_shared.shifts_option
@_shared.tracks_option
@click.option("--n-code", type=click.Choice(tuple(N_POLICIES)), help="Unknown bases  [default: the bundle's].")
@click.option("--squashed", is_flag=True, help="Keep the squashed scale of the model.")
@click.option("--unscale/--no-unscale", default=None, help="Reads, or scale x reads  [default: the bundle's].")
@_shared.provider_option
@_shared.device_option
@_shared.backend_option
@_shared.threads_option
def predict(regions: Path, bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Predict coverage around the middle of each region of a BED file: a bigWig per track, and predictions.npz."""
    intervals = read_bed(regions)
    model = open_bundle(bundle)
    positions = model.tracks.select(choices["tracks"])
    shifts = choices["shifts"] or (0,)
    options = PredictionOptions(rc=bool(choices["rc"]), shifts=shifts, n_code=choices["n_code"] or model.info.n_policy)
    with Fasta(fasta) as genome:
        backend = _shared.take_backend(choices)
        session = open_session(model, backend, threads=choices["threads"])
        squash = model.squash(positions, unscale=choices["unscale"])
        predictor = Predictor(session, model.tracks, squash, positions=positions, options=options)
        with _shared.progress_bar("predicting", len(intervals)) as progress:
            written = predict_regions(
                intervals,
                predictor=predictor,
                fasta=genome,
                tracks=model.tracks.take(positions),
                out=out,
                squashed=choices["squashed"],
                progress=progress,
            )
        session.close()
    click.echo(f"{len(intervals)} regions, {len(positions)} tracks: {len(written)} files -> {out}", err=True)
