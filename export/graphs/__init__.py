"""From a trained network to a bundle: graphs, one weights file, parity gate, golden example."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt.bundle.manifest import BundleInfo, GraphInfo, SquashSpec, Tiling
from borzoi_rt.bundle.opening import STATISTICS, Bundle
from borzoi_rt.errors import FormatError
from borzoi_rt.tracks import TrackTable

from ..models.borzoi import Borzoi
from .activations import check_precision as activations_precision
from .activations import write_activations
from .activations_parity import activations_gate
from .builder import OPSET, WeightsFile
from .finish import NO_GRAPHS, finish_bundle
from .form import Form, forms
from .gradient import check_precision, write_gradient
from .gradient_parity import gate_once
from .parity import borzoi_reference
from .predict import write_predict
from .split import write_split
from .statistics import write_statistics


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
    target: str = "cpu",
    gradient: bool = False,
    activations: bool = False,
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
        ``cook-toom`` or ``direct``. None takes the first, which is faster, and the second where that breaks the
        rule; a warning says so and the manifest records it. In half precision only ``direct``, for GPUs neither.
    precision : str
        ``fp32``, or ``fp16`` for GPUs: everything but the head, inputs and outputs in half precision.
    target : str
        ``cpu``, or ``gpu`` for graphs that compute a window at once, by convolutions and one attention node a block. A
        bundle for GPUs also runs on a CPU, more slowly and with more memory.
    gradient : bool
        Write the gradient graphs too, for explanation, and compare them with autograd; in fp32 only.
    activations : bool
        Write the graphs of what lies inside the network, and of slopes by it, and compare them with the network's own;
        in fp32 only.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If a weight is not finite or the table has another number of rows, or rows in another order.
    InputError
        If convolution, precision and target do not go together.
    ParityError
        If onnxruntime breaks the rule of :mod:`borzoi_rt.bundle.parity`; no bundle is left.
    """
    if gradient:
        check_precision(precision)
    if activations:
        activations_precision(precision)
    judges = [*([gate_once(model)] if gradient else []), *([activations_gate(model)] if activations else [])]
    tried = {form.convolution: form for form in forms(target, precision, convolution)}
    return finish_bundle(
        model,
        tracks,
        out,
        info=bundle_info(
            model,
            tracks,
            squash=squash,
            name=name,
            n_policy=n_policy,
            provenance=provenance,
            precision=precision,
            target=target,
        ),
        forms=tuple(tried),
        write=lambda directory, form: write_graphs(
            model, directory, tried[form], precision, squash.kind, gradient=gradient, activations=activations
        ),
        reference=lambda: borzoi_reference(model, precision),
        overwrite=overwrite,
        further=lambda draft: {name: value for judge in judges for name, value in judge(draft).items()},
    )


def bundle_info(
    model: Borzoi,
    tracks: TrackTable,
    *,
    squash: SquashSpec,
    name: str,
    n_policy: str = "zero",
    provenance: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    target: str = "cpu",
) -> BundleInfo:
    """Return the manifest of a network before its graphs are written; parameters as of :func:`export_bundle`.

    Raises
    ------
    FormatError
        If the table has another number of rows than the head outputs, or rows in another order.
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
    return BundleInfo(
        name=name,
        head=config.head,
        geometry=config.geometry,
        squash=squash,
        graphs=NO_GRAPHS,
        architecture={"family": "borzoi", **config.to_dict()},
        n_policy=n_policy,
        precision=precision,
        target=target,
        opset=OPSET,
        provenance=provenance or {},
    )


def write_graphs(
    model: Borzoi,
    directory: Path,
    form: Form,
    precision: str,
    squash: str,
    *,
    gradient: bool = False,
    activations: bool = False,
) -> tuple[dict[str, GraphInfo], Tiling]:
    """Write graphs and weights of a bundle into a directory, unproven; return what the manifest says of them."""
    weights = WeightsFile(directory, precision)
    try:
        graphs, tiling = write_split(model, directory, weights, form)
        graphs[STATISTICS] = write_statistics(model, squash, directory, weights)
        if gradient:
            graphs |= write_gradient(model, tiling, directory, weights, form)
        if activations:
            graphs |= write_activations(model, tiling, directory, weights)
        return {"predict": write_predict(model, directory, weights, form), **graphs}, tiling
    finally:
        weights.close()
