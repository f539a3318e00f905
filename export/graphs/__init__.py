"""From a trained network to a bundle: graphs, one weights file, parity gate, golden example."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.backends import GOLDEN_ATOL, GOLDEN_RTOL, Session, open_session
from borzoi_rt.bundle import Bundle, staged_bundle
from borzoi_rt.errors import FormatError, ParityError
from borzoi_rt.manifest import N_POLICIES, BundleInfo, GraphInfo, SquashSpec, Tiling
from borzoi_rt.tracks import TrackTable

from ..models.borzoi import Borzoi, position_features
from ..models.config import BorzoiConfig
from ..weights import check_finite
from .builder import OPSET, WeightsFile
from .predict import write_predict
from .split import write_split

# Enough tracks to see every part of the head, few enough that golden.npz stays small.
_GOLDEN_TRACKS = 16
_PARITY_TRACKS = 256


def export_bundle(
    model: Borzoi,
    tracks: TrackTable,
    out: str | os.PathLike[str],
    *,
    squash: SquashSpec,
    name: str,
    n_policy: str = "zero",
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a network as an ONNX bundle, and prove that it computes the same.

    Parameters
    ----------
    model : Borzoi
        The trained network; put into inference mode.
    tracks : TrackTable
        One row per output.
    out : path
        Directory to make.
    squash : SquashSpec
        The squashed scale the weights were trained in.
    name : str
        Name of the model, for people.
    n_policy : str
        Code of unknown bases the weights were trained with, the default of readers.
    provenance : mapping, optional
        JSON values: where the weights come from.
    overwrite : bool
        Replace an existing bundle.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If a weight is not finite or the table has another number of rows, or rows in another order.
    ParityError
        If onnxruntime and PyTorch differ by more than 2e-5 (of the largest value, where that exceeds 1) or by more
        than 1e-4 of a value; no bundle is left.
    """
    config = model.config
    if len(tracks) != config.tracks:
        raise FormatError(f"the track table has {len(tracks)} rows, the head {config.tracks} outputs")
    misplaced = np.flatnonzero(tracks.index != np.arange(config.tracks))
    if len(misplaced):
        raise FormatError(
            f"row {misplaced[0]} of the track table is output {tracks.index[misplaced[0]]} by its index; rows must "
            f"stand in the order of the outputs, 0 to {config.tracks - 1}: sort the table by its first column"
        )
    model.eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            check_finite(tensor.numpy(), f"parameter {key!r}")
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        graphs, tiling = _write_graphs(model, directory)
        parity, golden = _gate(model, directory, tracks, graphs, tiling, squash, name)
        info = BundleInfo(
            name=name,
            head=config.head,
            geometry=config.geometry,
            squash=squash,
            graphs=graphs,
            architecture={"family": "borzoi", **config.to_dict()},
            n_policy=n_policy,
            opset=OPSET,
            positional_widths=_positional_widths(config),
            tiling=tiling,
            parity=parity,
            provenance={"torch": torch.__version__, **(provenance or {})},
        )
        return finish(info, tracks, golden)


def _write_graphs(model: Borzoi, directory: Path) -> tuple[dict[str, GraphInfo], Tiling]:
    weights = WeightsFile(directory)
    try:
        graphs, tiling = write_split(model, directory, weights)
        return {"predict": write_predict(model, directory, weights), **graphs}, tiling
    finally:
        weights.close()


def _gate(
    model: Borzoi,
    directory: Path,
    tracks: TrackTable,
    graphs: Mapping[str, GraphInfo],
    tiling: Tiling,
    squash: SquashSpec,
    name: str,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare PyTorch and onnxruntime on a random window with unknown bases, under both codes of them."""
    config = model.config
    draft = Bundle(
        path=directory,
        info=BundleInfo(
            name=name,
            head=config.head,
            geometry=config.geometry,
            squash=squash,
            graphs=graphs,
            tiling=tiling,
            architecture={},
        ),
        files={},
        sha256="0" * 64,
    )
    draft.__dict__["tracks"] = tracks  # not on disk yet
    session = open_session(draft, "onnx:cpu")
    try:
        sequence = parity_sequence(config)
        chosen = np.unique(np.linspace(0, config.tracks - 1, _PARITY_TRACKS).astype(np.int64))
        worst = [_compare(model, session, sequence, chosen, n_fill) for n_fill in N_POLICIES.values()]
        max_abs, max_rel, largest = (max(figures) for figures in zip(*worst, strict=True))
        if not (max_abs <= GOLDEN_ATOL * max(1.0, largest) and max_rel <= GOLDEN_RTOL):
            raise ParityError(
                f"onnxruntime differs from PyTorch by {max_abs:.3g} absolute and {max_rel:.3g} relative (allowed: "
                f"{GOLDEN_ATOL * max(1.0, largest):.3g} and {GOLDEN_RTOL:g}); no bundle was written"
            )
        report = {
            "max_abs": max_abs,
            "max_rel": max_rel,
            "tracks": len(chosen),
            "bins": config.bins,
            "provider": session.provider,
        }
        index = chosen[np.linspace(0, len(chosen) - 1, min(_GOLDEN_TRACKS, len(chosen))).astype(int)]
        golden = {"sequence": sequence, "track_index": index, "coverage": session.run(sequence, index)}
        return report, golden
    finally:
        session.close()


def parity_sequence(config: BorzoiConfig) -> np.ndarray:
    """Return the fixed random window of the gate, uint8 (1, 4, length), 2 % of it unknown in one run."""
    length = config.sequence_length_bp
    generator = np.random.default_rng(20240229)
    letters = generator.integers(0, 4, length)
    letters[length // 3 : length // 3 + length // 50] = 4
    return (letters[None, :] == np.arange(4)[:, None]).astype(np.uint8)[None]


def _compare(
    model: Borzoi, session: Session, sequence: np.ndarray, chosen: np.ndarray, n_fill: float
) -> tuple[float, float, float]:
    """Return the largest absolute and relative difference, and the largest value."""
    x = torch.from_numpy(sequence).float()
    x = x + n_fill * (1.0 - x.sum(dim=1, keepdim=True))
    with torch.inference_mode():
        embedding = model.embed(*model.trunk(x))
        weight, bias = model.head.weight[chosen], model.head.bias[chosen]
        want = torch.nn.functional.softplus(weight @ embedding + bias[:, None]).numpy()
    got = session.run(sequence, chosen, n_fill=n_fill)
    difference = np.abs(got - want)
    if not np.isfinite(difference).all():
        raise ParityError("the exported graph gives NaN or infinite values on a random window; no bundle was written")
    return float(difference.max()), float((difference / (want + 1e-4)).max()), float(want.max())


def _positional_widths(config: BorzoiConfig) -> tuple[int, ...]:
    """Return the largest distance inside each central mask, for the record."""
    basis = position_features(config.tokens, config.position_features, config.widths_of)
    half = config.position_features // 2
    return tuple(int(count // 2) for count in basis[:, :half].sum(axis=0))
