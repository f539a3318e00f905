"""Gradient graphs for a bundle that was exported without them; all that is in it stays as it is, to the byte."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper

from borzoi_rt.backends.gradient import has_gradient
from borzoi_rt.bundle.opening import GOLDEN, MANIFEST, TRACKS, WEIGHTS, Bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import InputError

from ..weights.bundle import read_network
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

    def __init__(self, directory: Path, graph: onnx.GraphProto) -> None:
        self.precision = "fp32"
        self._stored: dict[str, tuple[int, int]] = {}
        self._known = {item.name: item for item in graph.initializer}
        self._directory = directory
        self._handle = (directory / WEIGHTS).open("ab")

    def add(self, name: str, values: np.ndarray) -> TensorProto:
        """Return the initializer of a weight, stored now if the bundle has none of that name.

        Raises
        ------
        ValueError
            If the bundle has another one of that name.
        """
        known = self._known.get(name.removesuffix(".points"))  # under that name stand the taps here, the points there
        if known is None or tuple(known.dims) != values.shape:
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
    if info.tiling is None:
        raise InputError(f"{bundle.path}: has no split graphs, which gradients are computed beside; export it again")
    model = read_network(bundle)
    graph = onnx.load(str(bundle.graph_path()), load_external_data=False).graph
    written = info.parity.get("convolution")
    form = Form("cpu", written if written in CONVOLUTIONS else "direct")
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        for name in bundle.files:
            if name not in (MANIFEST, TRACKS, GOLDEN):
                shutil.copyfile(bundle.path / name, directory / name)
        weights = KnownWeights(directory, graph)
        try:
            with one_thread():
                graphs = write_gradient(model, info.tiling, directory, weights, form)
        finally:
            weights.close()
        told = replace(info, graphs={**info.graphs, **graphs})
        draft = Bundle(path=directory, info=told, files={}, sha256="0" * 64)
        draft.__dict__["tracks"] = bundle.tracks  # not on disk yet
        parity = {**info.parity, **GradientGate(model)(draft)}
        provenance = {**info.provenance, "gradient_torch": torch.__version__}
        return finish(replace(told, parity=parity, provenance=provenance), bundle.tracks, bundle.golden())
