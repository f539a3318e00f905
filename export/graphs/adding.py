"""Graphs of gradient or activations for a bundle that was exported without; all that is in it stays, to the byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper

from borzoi_rt.backends.activations import has_activations
from borzoi_rt.backends.gradient import has_gradient
from borzoi_rt.bundle.manifest import GraphInfo, Tiling
from borzoi_rt.bundle.opening import GOLDEN, MANIFEST, TRACKS, WEIGHTS, Bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import InputError

from ..models.borzoi import Borzoi
from ..weights.bundle import read_network
from .activations import check_precision as activations_precision
from .activations import write_activations
from .activations_parity import ActivationsGate
from .builder import WeightsFile
from .exact import one_thread
from .form import CONVOLUTIONS, Form
from .gradient import check_precision, write_gradient
from .gradient_parity import GradientGate

_EQUAL = 1e-6  # of the largest: a kernel that was read back from its values at points, and its values again


class KnownWeights(WeightsFile):
    """The weights file of a bundle, which grows by what its graphs do not have yet.

    A weight whose name is known is that of the bundle, not what is offered: both follow from the same numbers, and a
    digit that was lost on the way back would be stored as a second weight.
    """

    def __init__(self, directory: Path, graphs: Iterable[onnx.GraphProto]) -> None:
        self.precision = "fp32"
        self._stored: dict[str, tuple[int, int]] = {}
        self._known = {(item.name, tuple(item.dims)): item for graph in graphs for item in graph.initializer}
        self._directory = directory
        self._handle = (directory / WEIGHTS).open("ab")

    def add(self, name: str, values: np.ndarray) -> TensorProto:
        """Return the initializer of a weight, stored now if the bundle has none of that name.

        Raises
        ------
        ValueError
            If the bundle has another one of that name.
        """
        # The points of a kernel stand under its own name in graphs that have no taps of it.
        known = self._known.get((name, values.shape)) or self._known.get((name.removesuffix(".points"), values.shape))
        if known is None:
            return super().add(name, values)
        held = numpy_helper.to_array(known, base_dir=str(self._directory))
        limit = _EQUAL * max(float(np.abs(held).max(initial=0)), 1e-30)
        if held.dtype != values.dtype or not np.allclose(held, values, rtol=0.0, atol=limit):
            raise ValueError(f"{name}: the weight of the bundle is another one than that of its network")
        tensor = TensorProto()
        tensor.CopyFrom(known)
        tensor.name = name
        return tensor


def add_gradient(bundle: Bundle, out: str | os.PathLike[str], *, overwrite: bool = False) -> Bundle:
    """Write a copy of a bundle that has gradient graphs, made of its weights and compared with autograd.

    Parameters
    ----------
    bundle : Bundle
        Of the Borzoi family, in fp32.
    out : path
        Bundle to make.
    overwrite : bool
        Replace an existing bundle; it may be that of ``bundle`` itself.

    Raises
    ------
    InputError
        If the bundle has gradient graphs, or is of a kind that can have none.
    ParityError
        If onnxruntime is further from autograd than :mod:`borzoi_export.graphs.gradient_parity` allows.
    """
    info = bundle.info
    if has_gradient(bundle):
        raise InputError(f"{bundle.path}: has gradient graphs; nothing is to be added")
    check_precision(info.precision)
    written = info.parity.get("convolution")
    form = Form("cpu", written if written in CONVOLUTIONS else "direct")

    def write(model: Borzoi, tiling: Tiling, directory: Path, weights: WeightsFile) -> dict[str, GraphInfo]:
        return write_gradient(model, tiling, directory, weights, form)

    return _added(bundle, out, write, GradientGate, "gradient", overwrite=overwrite)


def add_activations(bundle: Bundle, out: str | os.PathLike[str], *, overwrite: bool = False) -> Bundle:
    """Write a copy of a bundle that has graphs of activations, made of its weights and compared with the network.

    A bundle holds the biases of stem and tower folded into the normalisations behind them: units of ``stem`` and
    ``tower_N`` are then less by their bias, a constant each, than in a bundle that was exported with activations.
    Parameters and errors as of :func:`add_gradient`.
    """
    if has_activations(bundle):
        raise InputError(f"{bundle.path}: has graphs of activations; nothing is to be added")
    activations_precision(bundle.info.precision)
    return _added(bundle, out, write_activations, ActivationsGate, "activations", overwrite=overwrite)


Write = Callable[[Borzoi, Tiling, Path, WeightsFile], Mapping[str, GraphInfo]]
Gate = Callable[[Borzoi], Callable[[Bundle], Mapping[str, dict[str, float]]]]


def _added(
    bundle: Bundle, out: str | os.PathLike[str], write: Write, gate: Gate, what: str, *, overwrite: bool
) -> Bundle:
    info = bundle.info
    if info.tiling is None:
        raise InputError(f"{bundle.path}: has no split graphs, which {what} graphs stand beside; export it again")
    model = read_network(bundle)
    held = [onnx.load(str(bundle.graph_path(name)), load_external_data=False).graph for name in info.graphs]
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        for name in bundle.files:
            if name not in (MANIFEST, TRACKS, GOLDEN):
                shutil.copyfile(bundle.path / name, directory / name)
        weights = KnownWeights(directory, held)
        try:
            with one_thread():
                graphs = write(model, info.tiling, directory, weights)
        finally:
            weights.close()
        told = replace(info, graphs={**info.graphs, **graphs})
        draft = Bundle(path=directory, info=told, files={}, sha256="0" * 64)
        draft.__dict__["tracks"] = bundle.tracks  # not on disk yet
        parity = {**info.parity, **gate(model)(draft)}
        provenance = {**info.provenance, f"{what}_torch": torch.__version__}
        return finish(replace(told, parity=parity, provenance=provenance), bundle.tracks, bundle.golden())
