"""Predict the windows of a split with a bundle, and compare with what was measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..backends.protocols import Session
from ..bundle.manifest import N_POLICIES, Geometry
from ..dataset import Data
from ..dataset.window import onehot_of
from ..drafts import draft_of
from ..errors import InputError
from ..plain import check_types
from ..sequence import reverse_complement
from ..tracks import TrackTable
from .losses import poisson_multinomial, position_weights
from .metrics import TrackSums


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What is compared, and how.

    Parameters
    ----------
    total_weight, weight_range, weight_exp : float
        Of the loss; 0.2 is what all published recipes train with (Calico's own evaluation takes 1).
    rc : bool
        Average each window with its reverse complement, stranded tracks swapped.
    n_code : str
        ``zero`` or ``uniform``: code of unknown bases; training used zero.
    """

    total_weight: float = 0.2
    weight_range: float = 1.0
    weight_exp: float = 4.0
    rc: bool = False
    n_code: str = "zero"

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class Evaluation:
    """Figures of a split.

    Attributes
    ----------
    losses : float64 ndarray of shape (windows, tracks)
    pearson, r2 : float64 ndarray of shape (tracks,)
        NaN where the target is constant.
    """

    losses: np.ndarray
    pearson: np.ndarray
    r2: np.ndarray

    def summary(self) -> str:
        """Return the means in one line; tracks with a constant target have no correlation and are left out."""
        known = int(np.isfinite(self.pearson).sum())
        left_out = f"; {len(self.pearson) - known} tracks are constant" if known < len(self.pearson) else ""
        means = [float(np.nanmean(values)) if known else float("nan") for values in (self.pearson, self.r2)]
        return (
            f"{len(self.losses)} windows, {len(self.pearson)} tracks: loss {self.losses.mean():.6f}, "
            f"Pearson {means[0]:.6f}, R2 {means[1]:.6f}{left_out}"
        )


def evaluate(
    session: Session,
    tracks: TrackTable,
    data: Data,
    split: str,
    *,
    options: EvaluationOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run every window of a split, one at a time, in the order of sequences.bed.

    Parameters
    ----------
    session : Session
        The loaded model.
    tracks : TrackTable
        Its tracks.
    data : Data
        Must have the window, grid and tracks of the model.
    split : str
        ``train``, ``valid`` or ``test``.

    Raises
    ------
    InputError
        If data and model do not belong together.
    """
    options = options or EvaluationOptions()
    check_data(data, session.geometry, tracks)
    weights = position_weights(session.geometry.bins, options.weight_range, options.weight_exp)
    n_fill = N_POLICIES[options.n_code]
    partner = tracks.positions_of(tracks.strand_pair) if options.rc else None
    sums = TrackSums(len(tracks))
    losses = []
    for number, window in enumerate(data.split(split).in_order()):
        onehot = onehot_of(window.codes)
        prediction = session.run(onehot[None], n_fill=n_fill)[0]
        if partner is not None:
            other = session.run(reverse_complement(onehot)[None], n_fill=n_fill)[0]
            prediction = (prediction + other[partner][:, ::-1]) * np.float32(0.5)
        if not np.isfinite(window.target).all():
            raise InputError(f"{data.path}: window {number} of split {split!r} holds NaN or infinite targets")
        losses.append(
            poisson_multinomial(prediction, window.target, total_weight=options.total_weight, weights=weights)
        )
        sums.add(prediction, window.target)
        if progress:
            progress(number + 1)
    return Evaluation(np.array(losses), sums.pearson(), sums.r2())


def check_data(data: Data, geometry: Geometry, tracks: TrackTable) -> None:
    """Compare a data set with a model.

    Raises
    ------
    InputError
        If window, grid, number or names of tracks differ.
    """
    if data.info.tracks != len(tracks):
        raise InputError(f"{data.path} has {data.info.tracks} tracks, the model {len(tracks)}")
    if data.info.geometry != geometry:
        found, needed = (
            f"{g.sequence_length_bp} bp -> {g.bins} x {g.bin_size_bp} bp" for g in (data.info.geometry, geometry)
        )
        raise InputError(f"{data.path} holds windows of {found}, the model has {needed}")
    if data.tracks is not None and data.tracks.identifier != tracks.identifier:
        pairs = zip(data.tracks.identifier, tracks.identifier, strict=True)
        number, (theirs, ours) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
        raise InputError(f"{data.path}: track {number} is {theirs!r}, in the model it is {ours!r}")


def write_metrics(
    path: str | os.PathLike[str], tracks: TrackTable, result: Evaluation, about: Mapping[str, Any] | None = None
) -> None:
    """Write one row per track: index, identifier, loss, pearson, r2, description; what is undefined is empty.

    Where it is said what the numbers depend on (``about``), ``PATH.meta.json`` says it too.
    """
    rows = ["index\tidentifier\tloss\tpearson\tr2\tdescription"]
    columns = (result.losses.mean(axis=0), result.pearson, result.r2)
    for index, values in enumerate(zip(*columns, strict=True)):
        numbers = "\t".join(_text(value) for value in values)
        rows.append(f"{tracks.index[index]}\t{tracks.identifier[index]}\t{numbers}\t{tracks.description[index]}")
    target = Path(path)
    _write(target, rows)
    if about is not None:
        text = json.dumps({"borzoi_rt": __version__, **about}, indent=2, ensure_ascii=False)
        _write(target.with_name(target.name + ".meta.json"), [text])


def write_windows(path: str | os.PathLike[str], data: Data, split: str, result: Evaluation) -> None:
    """Write one row per window: its number, target region where known, loss (mean over tracks)."""
    regions = data.regions(split)
    rows = ["window\tchrom\tstart\tend\tloss"]
    for number, losses in enumerate(result.losses):
        region = (regions[number].chrom, str(regions[number].start), str(regions[number].end)) if regions else ("",) * 3
        rows.append("\t".join((str(number), *region, _text(losses.mean()))))
    _write(Path(path), rows)


def _text(value: float) -> str:
    return f"{value:.8g}" if np.isfinite(value) else ""


def _write(path: Path, rows: list[str]) -> None:
    with draft_of(path) as draft:
        draft.write_text("\n".join(rows) + "\n", encoding="utf-8")
