"""``borzoi-rt evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..backends.opening import open_session
from ..bundle.opening import open_bundle
from ..dataset import open_data
from ..evaluation.run import EvaluationOptions, check_data, write_metrics, write_windows
from ..evaluation.run import evaluate as run_evaluation
from . import _shared


@click.command()
@_shared.bundle_option
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Data directory (`data make`, or TFRecords)."
)
@click.option("--split", default="test", show_default=True, help="train, valid or test.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Table of tracks to write (TSV).")
@click.option("--windows", type=click.Path(path_type=Path), help="Also write the loss of each window (TSV).")
@click.option("--total-weight", type=float, default=0.2, show_default=True, help="Share of the Poisson term.")
@click.option("--weight-range", type=float, default=1.0, show_default=True, help="Weight of the middle over the ends.")
@click.option("--weight-exp", type=float, default=4.0, show_default=True, help="Shape of the weights, an even number.")
@click.option("--rc", is_flag=True, help="Average with the reverse complement.")
@_shared.device_option
@_shared.threads_option
def evaluate(bundle: Path, data: Path, split: str, out: Path, windows: Path | None, **choices: Any) -> None:
    """Loss, Pearson correlation and R2 of every track on held-out windows, in squashed scale."""
    model, source = open_bundle(bundle), open_data(data)
    check_data(source, model.geometry, model.tracks)
    session = open_session(model, choices.pop("device"), threads=choices.pop("threads"))
    options = EvaluationOptions(n_code=model.info.n_policy, **choices)
    with _shared.progress_bar("evaluating", source.info.windows.get(split)) as progress:
        result = run_evaluation(session, model.tracks, source, split, options=options, progress=progress.done)
    session.close()
    write_metrics(out, model.tracks, result)
    if windows is not None:
        write_windows(windows, source, split, result)
    click.echo(f"{result.summary()} -> {out}", err=True)
