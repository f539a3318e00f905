"""From a trained network to a bundle: graphs, one weights file, parity gate, golden example."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.bundle.manifest import BundleInfo, GraphInfo, SquashSpec, Tiling
from borzoi_rt.bundle.opening import STATISTICS, Bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import FormatError, InputError, ParityError
from borzoi_rt.tracks import TrackTable

from ..models.borzoi import Borzoi, position_features
from ..models.config import BorzoiConfig
from ..weights import check_finite
from .builder import OPSET, WeightsFile
from .parity import gate, torch_reference
from .predict import write_predict
from .split import write_split
from .statistics import write_statistics
from .tower import CONVOLUTIONS

log = logging.getLogger(__name__)

_NO_GRAPHS = {"predict": GraphInfo(file="predict.onnx", inputs=(), outputs=())}  # until they are written


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
    convolution: str | None = None,
    precision: str = "fp32",
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
    convolution : str, optional
        ``cook-toom`` or ``direct``. None takes the first, which is faster, and the second where the weights magnify its
        rounding beyond the limits; a warning says so and the manifest records it. In half precision only ``direct``.
    precision : str
        ``fp32``, or ``fp16`` for GPUs: everything but the head, inputs and outputs in half precision.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If a weight is not finite or the table has another number of rows, or rows in another order.
    ParityError
        If onnxruntime and PyTorch, in float32, differ by more than the precision's share of
        :data:`borzoi_rt.backends.PARITY_LIMITS`; no bundle is left.
    """
    forms = _forms(convolution, precision)
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
    reference = torch_reference(model)
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        info = BundleInfo(
            name=name,
            head=config.head,
            geometry=config.geometry,
            squash=squash,
            graphs=_NO_GRAPHS,
            architecture={"family": "borzoi", **config.to_dict()},
            n_policy=n_policy,
            precision=precision,
            opset=OPSET,
            positional_widths=_positional_widths(config),
            provenance={"torch": torch.__version__, **(provenance or {})},
        )
        for form in forms:
            graphs, tiling = _write_graphs(model, directory, form, precision, squash.kind)
            written = replace(info, graphs=graphs, tiling=tiling)
            draft = Bundle(path=directory, info=written, files={}, sha256="0" * 64)
            draft.__dict__["tracks"] = tracks  # not on disk yet
            try:
                parity, golden = gate(reference, draft)
            except ParityError as error:
                if form == forms[-1]:
                    raise
                log.warning("%s convolutions: %s; direct ones are tried", form, error)
                continue
            return finish(replace(written, parity={**parity, "convolution": form}), tracks, golden)
    raise AssertionError("the last form returns or raises")


def _forms(convolution: str | None, precision: str) -> tuple[str, ...]:
    """Return the forms of the convolutions to try, in order."""
    if precision == "fp32":
        return CONVOLUTIONS if convolution is None else (convolution,)
    # The sums of a Cook-Toom product cancel; in half precision that costs a digit, on a GPU without any gain.
    if convolution == "cook-toom":
        raise InputError(f"cook-toom convolutions are for fp32, not {precision}; leave the form out")
    return ("direct",)


def _write_graphs(
    model: Borzoi, directory: Path, convolution: str, precision: str, squash: str
) -> tuple[dict[str, GraphInfo], Tiling]:
    weights = WeightsFile(directory, precision)
    try:
        graphs, tiling = write_split(model, directory, weights, convolution)
        graphs[STATISTICS] = write_statistics(model, squash, directory, weights)
        return {"predict": write_predict(model, directory, weights, convolution), **graphs}, tiling
    finally:
        weights.close()


def _positional_widths(config: BorzoiConfig) -> tuple[int, ...]:
    """Return the largest distance inside each central mask, for the record."""
    basis = position_features(config.tokens, config.position_features, config.widths_of)
    half = config.position_features // 2
    return tuple(int(count // 2) for count in basis[:, :half].sum(axis=0))
