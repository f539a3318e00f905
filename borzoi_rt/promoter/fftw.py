"""Real transforms of many short rows, planned once: the only door to pyfftw."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

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


class Transform:
    """One plan with its aligned buffers: the real transform of up to ``CHUNK_ROWS`` rows of ``bins`` values."""

    def __init__(self, bins: int) -> None:
        library = _pyfftw()
        self._in = library.empty_aligned((CHUNK_ROWS, bins), dtype="float64")
        self._out = library.empty_aligned((CHUNK_ROWS, bins // 2 + 1), dtype="complex128")
        with _planner:
            # Measuring overwrites the input, so the buffers are filled after it.
            self._plan = library.FFTW(self._in, self._out, axes=(-1,), flags=("FFTW_MEASURE",))
            _store_wisdom(library)
        self._in[:] = 0.0

    def input(self, rows: int) -> npt.NDArray[np.float64]:
        """Return the buffer of so many rows, to be filled before a run."""
        return np.asarray(self._in[:rows])

    def run(self, rows: int) -> npt.NDArray[np.complex128]:
        """Transform so many rows; the result is overwritten by the next run."""
        self._in[rows:] = 0.0
        self._plan.execute()
        return np.asarray(self._out[:rows])


def make_transform(bins: int) -> Transform:
    """Return this thread's transform of rows of so many bins; the latest few are kept."""
    plans: OrderedDict[int, Transform] | None = getattr(_held, "plans", None)
    if plans is None:
        plans = _held.plans = OrderedDict()
    if bins not in plans:
        plans[bins] = Transform(bins)
        if len(plans) > _PLANS_HELD:
            plans.popitem(last=False)
    plans.move_to_end(bins)
    return plans[bins]


def _pyfftw() -> ModuleType:
    try:
        import pyfftw
    except ImportError as error:
        raise missing_package(error, "pyfftw", "promoter", "the DFT score") from error
    module: ModuleType = pyfftw
    return module


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
