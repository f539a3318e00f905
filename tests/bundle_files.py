"""Bundles that hold no network: enough for everything that happens before a backend is opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import toys

from borzoi_rt.bundle import Bundle, staged_bundle
from borzoi_rt.manifest import BodyInfo, BundleInfo, Geometry, GraphInfo, SquashSpec, Tiling

GRAPH = GraphInfo(file="predict.onnx", inputs=("sequence", "track_index", "n_fill"), outputs=("coverage",))


def info(**changes: Any) -> BundleInfo:
    """Return a manifest that uses every key."""
    values: dict[str, Any] = {
        "name": "paper",
        "head": "toy",
        "geometry": Geometry(sequence_length_bp=256, bin_size_bp=32, bins=6),
        "squash": SquashSpec(kind="old", unscale=True, unclip=False),
        "graphs": {"predict": GRAPH, "body": GraphInfo(file="body.onnx", inputs=("tokens",), outputs=("embedding",))},
        "architecture": {"family": "paper", "rate": 0.25, "blocks": [1, 2]},
        "n_policy": "uniform",
        "averaging": "coverage",
        "positional_widths": (1, 4, 16),
        "tiling": Tiling(
            token_bp=64,
            own_tokens=2,
            halo_tokens=0,
            channels=8,
            skips_per_token=(1, 2),
            bodies={"body": BodyInfo(bins=6, skips=((0, 4), (1, 7)), moving=False)},
        ),
        "parity": {"max_abs": 1e-6},
        "provenance": {"source": "nowhere"},
    }
    return BundleInfo(**{**values, **changes})


def golden() -> dict[str, np.ndarray]:
    """Return arrays of the shapes that a stored example has."""
    return {
        "sequence": np.eye(4, dtype=np.uint8)[None].repeat(64, axis=2),
        "track_index": np.array([4, 0], dtype=np.int64),
        "coverage": np.arange(12, dtype=np.float32).reshape(1, 2, 6),
    }


def write(out: Path, *, overwrite: bool = False, weights: bytes = b"weights" * 9, **changes: Any) -> Bundle:
    """Write a bundle whose graphs and weights are a few bytes of text."""
    with staged_bundle(out, overwrite=overwrite) as (staging, finish):
        for name in ("predict.onnx", "body.onnx"):
            (staging / name).write_bytes(f"graph {name}".encode())
        (staging / "weights.bin").write_bytes(weights)
        return finish(info(**changes), toys.tracks(), golden())


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as a hostile hand would: nothing else notices."""
    path = bundle / "bundle.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def relist(bundle: Path, *names: str) -> None:
    """Make the manifest agree with files that were changed or added."""

    def change(document: dict[str, Any]) -> None:
        for name in names:
            content = (bundle / name).read_bytes()
            document["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    edit_manifest(bundle, change)
