"""The archive of a DFT score run: curves and spectra of every window in one HDF5 file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from ..promoter.spectra import rfft
from ..types import DoubleArray
from .dft import Shards, stored_windows
from .hdf5_files import new_hdf5


def write_curves(path: Path, shards: Shards, position_bp: DoubleArray, dt: float, metadata: Mapping[str, Any]) -> None:
    """Write curves and spectra of every window to HDF5.

    ``/wt`` float32 (windows, bins), ``/effect`` float32 (windows, motifs, bins), ``/spectrum`` complex64 (windows,
    motifs, frequencies), ``/omega`` rad/bp, ``/position_bp``, ``/motif`` and ``/window``, whose fields are those of the
    table. The attribute ``borzoi_rt`` is the description of the run.
    """
    bins, count = len(position_bp), 0
    omega = 2.0 * np.pi * np.arange(bins // 2 + 1) / (bins * dt)
    turn = dt * np.exp(-1j * omega * position_bp[0])  # the phase of the first bin
    text = h5py.string_dtype()
    with _hdf5(path) as file:
        for window in stored_windows(shards):
            if window.effect is None or window.wt is None:
                continue
            entries: dict[str, Any] = {
                "wt": window.wt,
                "effect": window.effect,
                "spectrum": (rfft(window.effect) * turn).astype(np.complex64),
                "window/site": window.site.label,
                "window/chrom": window.site.chrom,
                "window/pos0": window.site.pos0,
                "window/strand": window.site.strand,
                "window/variant": window.variant,
                "window/net": window.net,
                "window/track": window.track,
            }
            for name, entry in entries.items():
                if not count:
                    _begin_dataset(file, name, entry, text)
                file[name].resize(count + 1, axis=0)
                file[name][-1] = entry
            if not count:
                file.create_dataset("motif", data=list(window.motifs), dtype=text)
            count += 1
        file["omega"], file["position_bp"] = omega, position_bp
        file.attrs["borzoi_rt"] = json.dumps(metadata)


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a new file; a full disk is said in words."""
    try:
        with new_hdf5(path) as file:
            yield file
    except (OSError, RuntimeError) as error:  # h5py says in more than one way that a disk is full
        raise InputError(f"{path.name}: cannot be written ({error}); make room, and resume the run") from error


def _begin_dataset(file: h5py.File, name: str, entry: Any, text: Any) -> None:
    if isinstance(entry, np.ndarray):
        chunks, limit = (1, *entry.shape), (None, *entry.shape)
        file.create_dataset(name, (0, *entry.shape), entry.dtype, maxshape=limit, chunks=chunks, compression="gzip")
    else:
        file.create_dataset(name, (0,), text if isinstance(entry, str) else np.int64, maxshape=(None,))
