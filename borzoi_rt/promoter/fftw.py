"""Real transforms of many short rows, planned once: the only door to pyfftw."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from ..errors import FormatError, missing_package

CHUNK_ROWS = 64  # 2 MB of input at N = 4,000: long enough to hide the call, short enough for the cache
_PLANS_HELD = 4

_planner = threading.Lock()  # FFTW's planner and its wisdom are one per process, and not thread-safe
_held = threading.local()
_wisdom_file: Path | None = None


def keep_wisdom(path: str | os.PathLike[str]) -> bool:
    """Read FFTW's wisdom from a file if it exists, and write it there from now on; return whether it was read.

    Wisdom turns a second of planning into a millisecond. It belongs to one machine: FFTW ignores what does not fit.

    Raises
    ------
    FormatError
        If the file is not what this function writes.
    """
    global _wisdom_file
    path = Path(path)
    found = path.is_file()
    with _planner:
        if found:
            try:
                stored = json.loads(path.read_text(encoding="ascii"))["wisdom"]
                wisdom = tuple(str(text).encode("ascii") for text in stored)
                if len(wisdom) != 3:
                    raise ValueError("three parts are needed")
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise FormatError(f"{path}: no FFTW wisdom ({error}); delete the file, it is made again") from error
            _pyfftw().import_wisdom(wisdom)
        _wisdom_file = path
        _store_wisdom(_pyfftw())
    return found


class Transform(Protocol):
    """A real transform of up to ``CHUNK_ROWS`` rows of one shape, with buffers of its own."""

    def input(self, rows: int) -> np.ndarray:
        """Return the buffer of so many rows, to be filled before a run."""

    def run(self, rows: int) -> np.ndarray:
        """Transform so many rows; the result is overwritten by the next run."""


class _FftwTransform:
    """One plan with its aligned buffers: ``CHUNK_ROWS`` rows of ``bins`` values, zero-padded to ``n_fft``."""

    def __init__(self, bins: int, n_fft: int) -> None:
        library = _pyfftw()
        self._bins = bins
        self._in = library.empty_aligned((CHUNK_ROWS, n_fft), dtype="float64")
        self._out = library.empty_aligned((CHUNK_ROWS, n_fft // 2 + 1), dtype="complex128")
        with _planner:
            # Measuring overwrites the input, so the buffers are filled after it.
            self._plan = library.FFTW(self._in, self._out, axes=(-1,), flags=("FFTW_MEASURE",))
            _store_wisdom(library)
        self._in[:] = 0.0

    def input(self, rows: int) -> np.ndarray:
        """See :class:`Transform`."""
        return np.asarray(self._in[:rows, : self._bins])

    def run(self, rows: int) -> np.ndarray:
        """See :class:`Transform`."""
        self._in[rows:, : self._bins] = 0.0
        self._plan.execute()
        return np.asarray(self._out[:rows])


class _NumpyTransform:
    """The same, by numpy.fft; also the buffer of the ``time`` engine."""

    def __init__(self, bins: int, n_fft: int) -> None:
        self._n_fft = n_fft
        self._in = np.zeros((CHUNK_ROWS, bins))

    def input(self, rows: int) -> np.ndarray:
        """See :class:`Transform`."""
        return self._in[:rows]

    def run(self, rows: int) -> np.ndarray:
        """See :class:`Transform`."""
        return np.asarray(np.fft.rfft(self._in[:rows], self._n_fft))


def make_transform(engine: str, bins: int, n_fft: int) -> Transform:
    """Return this thread's transform of a shape; the latest few are kept."""
    if engine != "fftw":
        return _NumpyTransform(bins, n_fft)
    plans: OrderedDict[tuple[int, int], _FftwTransform] | None = getattr(_held, "plans", None)
    if plans is None:
        plans = _held.plans = OrderedDict()
    key = (bins, n_fft)
    if key not in plans:
        plans[key] = _FftwTransform(bins, n_fft)
        if len(plans) > _PLANS_HELD:
            plans.popitem(last=False)
    plans.move_to_end(key)
    return plans[key]


def _pyfftw() -> ModuleType:
    try:
        import pyfftw
    except ImportError as error:
        raise missing_package(error, "pyfftw", "promoter", "the DFT score") from error
    return pyfftw


def _store_wisdom(library: ModuleType) -> None:
    """Write the wisdom by a rename, so that a reader never sees half a file; the planner is locked."""
    if _wisdom_file is None:
        return
    _wisdom_file.parent.mkdir(parents=True, exist_ok=True)
    document = json.dumps({"wisdom": [part.decode("ascii") for part in library.export_wisdom()]})
    handle, name = tempfile.mkstemp(prefix=f".{_wisdom_file.name}.", dir=_wisdom_file.parent)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(document)
    Path(name).replace(_wisdom_file)
