"""``borzoi-rt evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..backends.opening import open_session
from ..bundle.opening import open_bundle
from ..dataset import SPLITS, open_data
from ..errors import InputError
from ..evaluation.run import EvaluationOptions, check_data, write_metrics, write_windows
from ..evaluation.run import evaluate as run_evaluation
from . import _shared
from ._extras import check_extras
from .report import check_report, make_metrics_report, page_option


@click.command()
@_shared.bundle_option
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Data directory, as `borzoi-rt data make` or baskerville (TFRecord) makes it.",
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    show_default=True,
    help="Which windows of the data to compare with.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write, a row per track (TSV); OUT.meta.json is written beside it.",
)
@click.option(
    "--windows", type=click.Path(path_type=Path), help="Second table to write: the loss of each window (TSV)."
)
@page_option
@click.option(
    "--total-weight",
    type=float,
    default=0.2,
    show_default=True,
    help="Weight of the loss of sums (Poisson) beside that of shapes (multinomial).",
)
@click.option(
    "--weight-range",
    type=float,
    default=1.0,
    show_default=True,
    help="How much more the middle bin weighs than the outermost in the loss; 1 weighs all alike.",
)
@click.option(
    "--weight-exp",
    type=float,
    default=4.0,
    show_default=True,
    help="Exponent of the curve from middle to ends, an even number.",
)
@click.option(
    "--rc",
    is_flag=True,
    help="Average each prediction with that of the reverse complement  [default: forward strand only].",
)
@_shared.device_option
@_shared.threads_option
def evaluate(
    bundle: Path, data: Path, split: str, out: Path, windows: Path | None, report: Path | None, **choices: Any
) -> None:
    """Compare predictions with held-out coverage: loss, Pearson correlation and R2 of every track.

    All are taken in the squashed scale, as in training.
    """
    if report is not None:
        check_extras(("report",))
        check_report(report, (bundle, data))
        if any(name is not None and report.absolute() == name.absolute() for name in (out, windows)):
            raise InputError(f"{report}: is a table of the run too; choose another name for the report")
    model, source = open_bundle(bundle), open_data(data)
    check_data(source, model.geometry, model.tracks)
    device = choices.pop("device")
    session = open_session(model, device, threads=choices.pop("threads"))
    options = EvaluationOptions(n_code=model.info.n_policy, **choices)
    with (
        _shared.last_words("interrupted: nothing was written, an evaluation is not kept; run the command again"),
        _shared.progress_bar("evaluating", source.info.windows.get(split)) as progress,
    ):
        result = run_evaluation(session, model.tracks, source, split, options=options, progress=progress.done)
    session.close()
    about: dict[str, Any] = {
        "model": model.info.name,
        "model_sha256": model.sha256,
        "data": data.resolve().name,
        "split": split,
    }
    about |= {"windows": len(result.losses), "device": str(device), "options": asdict(options)}
    write_metrics(out, model.tracks, result, about)
    if windows is not None:
        write_windows(windows, source, split, result)
    click.echo(f"{result.summary()} -> {out}", err=True)
    if report is not None:
        make_metrics_report(report, out)
