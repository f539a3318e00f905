"""Read ``golden.npz`` without trusting it: no pickle, and nothing unpacked that is larger than the model says."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import FormatError
from .manifest import MOST_CHANNELS, Geometry

MOST_WINDOWS = 64
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_golden(path: Path, geometry: Geometry) -> dict[str, np.ndarray]:
    """Return the arrays ``sequence`` (n, 4, length), ``track_index`` (t,) and ``coverage`` (n, t, bins).

    Raises
    ------
    FormatError
        If one is missing, or of another shape or type.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {name: _shape(archive, name) for name in ("sequence", "track_index", "coverage")}
        fault = _fault(shapes, geometry)
        if not fault:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in shapes}
    # A damaged archive raises any of these; NotImplementedError and RuntimeError: a method or a password of zip.
    except (
        OSError, EOFError, ValueError, TypeError, KeyError, SyntaxError, MemoryError, OverflowError,
        NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        fault = " ".join(str(error).split())[:200] or type(error).__name__
    raise FormatError(f"{path}: not a golden archive ({fault}); export the model again")


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(f"{name}.npy") as handle:
        reader = _READERS.get(np.lib.format.read_magic(handle))
        if reader is None:
            raise ValueError(f"{name} is no array that can be read")
        shape, _, kind = reader(handle)
        return shape, kind


def _fault(found: dict[str, tuple[tuple[int, ...], np.dtype]], geometry: Geometry) -> str:
    (sequence, sequence_kind), (index, index_kind) = found["sequence"], found["track_index"]
    coverage, coverage_kind = found["coverage"]
    windows, tracks = sequence[0] if sequence else 0, index[0] if index else 0
    if sequence != (windows, 4, geometry.sequence_length_bp) or not 1 <= windows <= MOST_WINDOWS:
        return f"sequence has shape {sequence}; (1 to {MOST_WINDOWS}, 4, {geometry.sequence_length_bp}) is needed"
    if index != (tracks,) or not 1 <= tracks <= MOST_CHANNELS:
        return f"track_index has shape {index}; a vector is needed"
    if coverage != (windows, tracks, geometry.bins):
        return f"coverage has shape {coverage}; {(windows, tracks, geometry.bins)} is needed"
    kinds = (sequence_kind.kind, index_kind.kind, coverage_kind.kind)
    return "" if kinds[0] == "u" and kinds[1] in "iu" and kinds[2] == "f" else f"types are {sequence_kind}, ..."
