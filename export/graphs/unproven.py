"""A bundle without the gate, for measurements: a float64 pass of the published size takes minutes, writing seconds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.tracks import TrackTable

from ..models.borzoi import Borzoi
from . import bundle_info, write_graphs
from .exact import one_thread
from .form import Form, forms
from .parity import random_window


def write_unproven(
    model: Borzoi,
    tracks: TrackTable,
    out: str | os.PathLike[str],
    *,
    squash: SquashSpec,
    precision: str = "fp32",
    target: str = "cpu",
    form: Form | None = None,
    gradient: bool = False,
    activations: bool = False,
) -> Bundle:
    """Write the graphs of a network as :func:`borzoi_export.graphs.export_bundle` does, without running any of them.

    Nothing in the bundle says that it computes what the network does: its ``parity`` is empty, and the coverage of its
    example is not a number, so that whatever compares with it fails. For measurements only.

    Parameters
    ----------
    model, tracks, out, squash, precision, target, activations
        See :func:`borzoi_export.graphs.export_bundle`.
    form : Form, optional
        How tower and attention are written; the preferred one of the target when None.
    gradient : bool
        Write the gradient graphs too.
    """
    model.eval()
    form = form or forms(target, precision)[0]
    name = f"unproven {precision}, {target}: {form.convolution}"
    info = bundle_info(model, tracks, squash=squash, name=name, precision=precision, target=target)
    example = {
        "sequence": random_window(info.geometry.sequence_length_bp),
        "track_index": np.zeros(1, dtype=np.int64),
        "coverage": np.full((1, 1, info.geometry.bins), np.nan, dtype=np.float32),
    }
    with staged_bundle(Path(out)) as (directory, finish):
        with one_thread():
            wanted = {"gradient": gradient, "activations": activations}
            graphs, tiling = write_graphs(model, directory, form, precision, squash.kind, **wanted)
        return finish(replace(info, graphs=graphs, tiling=tiling), tracks, example)
