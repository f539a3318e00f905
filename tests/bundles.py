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
    graphs={"predict": GraphInfo(file="predict.onnx", inputs=("sequence",), outputs=("coverage",))},
    architecture={},
)


def write_bundle(
    out: Path, files: dict[str, bytes] | None = None, *, overwrite: bool = False, **changes: Any
) -> Bundle:
    """Write a bundle of some files, by default one graph of nonsense; ``changes`` go to its manifest."""
    with staged_bundle(out, overwrite=overwrite) as (staging, finish):
        for name, content in (files or {"predict.onnx": b"graph"}).items():
            (staging / name).write_bytes(content)
        return finish(replace(INFO, **changes), toys.tracks(), GOLDEN)
