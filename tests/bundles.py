"""A bundle without a network behind it: enough for everything that does not predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import toys

from borzoi_rt.bundle.manifest import BundleInfo, Geometry, GraphInfo, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.writing import staged_bundle

GOLDEN = {
    "sequence": np.eye(4, 8, dtype=np.uint8)[None],
    "track_index": np.arange(2),
    "coverage": np.ones((1, 2, 4), dtype=np.float32),
}
INFO = BundleInfo(
    name="toy",
    head="human",
    geometry=Geometry(sequence_length_bp=8, bin_size_bp=2, bins=4),
    squash=SquashSpec(kind="old", unscale=True),
    graphs={
        "predict": GraphInfo(file="predict.onnx", inputs=("sequence", "track_index", "n_fill"), outputs=("coverage",))
    },
    architecture={},
)


def _message(*fields: tuple[int, int | bytes]) -> bytes:
    """Return a message of the wire format of Protocol Buffers; numbers and lengths are below 128."""
    return b"".join(
        bytes([number << 3, value]) if isinstance(value, int) else bytes([number << 3 | 2, len(value)]) + value
        for number, value in fields
    )


def _tensor(name: bytes, kind: int, *dims: int | bytes) -> bytes:
    shape = _message(*((1, _message((1 if isinstance(size, int) else 2, size))) for size in dims))
    return _message((1, name), (2, _message((1, _message((1, kind), (2, shape))))))


def toy_graph(note: bytes = b"") -> bytes:
    """Return an ONNX graph that a bundle may hold and that nobody can run; ``note`` goes to its description."""
    inputs = (_tensor(b"sequence", 2, b"batch", 4, 8), _tensor(b"track_index", 7, b"tracks"), _tensor(b"n_fill", 1))
    output = _tensor(b"coverage", 1, b"batch", b"tracks", 4)
    node = _message((1, b"sequence"), (2, b"coverage"), (4, b"Identity"))
    graph = _message((1, node), (2, b"g"), *((11, item) for item in inputs), (12, output))
    size = bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7])
    return _message((1, 9), (6, note), (8, _message((2, 20)))) + bytes([7 << 3 | 2]) + size + graph


GRAPH = toy_graph()


def write_bundle(
    out: Path, files: dict[str, bytes] | None = None, *, overwrite: bool = False, **changes: Any
) -> Bundle:
    """Write a bundle of some files, by default one graph that nobody can run; ``changes`` go to its manifest."""
    with staged_bundle(out, overwrite=overwrite) as (staging, finish):
        for name, content in (files or {"predict.onnx": GRAPH}).items():
            (staging / name).write_bytes(content)
        return finish(replace(INFO, **changes), toys.tracks(), GOLDEN)
