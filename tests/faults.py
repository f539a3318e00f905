"""Mistakes that exporters and ports have made, planted into the writer of graphs: name -> what changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


def tf32(values: np.ndarray) -> np.ndarray:
    """Round float32 to the 10 bits of mantissa that TF32 keeps."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    return ((bits + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32).reshape(values.shape)


def half(values: np.ndarray) -> np.ndarray:
    """Round float32 to half and back."""
    return values.astype(np.float16).astype(np.float32)


def weights(change: Callable[[np.ndarray], np.ndarray], name: str | None = None) -> Plant:
    """Store weights changed: one of them, or all that are float32."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        from borzoi_export.graphs.builder import WeightsFile

        add = WeightsFile.add

        def wrong(self: Any, key: str, values: np.ndarray) -> Any:
            hit = key == name if name is not None else values.dtype == np.float32
            return add(self, key, change(values) if hit else values)

        patch.setattr(WeightsFile, "add", wrong)

    return plant


def nodes(kind: str, **changes: Any) -> Plant:
    """Write nodes of a kind with another attribute."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        from borzoi_export.graphs.builder import GraphBuilder

        node = GraphBuilder.node

        def wrong(self: Any, given: str, *inputs: str, **attributes: Any) -> str:
            return node(self, given, *inputs, **({**attributes, **changes} if given == kind else attributes))

        patch.setattr(GraphBuilder, "node", wrong)

    return plant


def epsilon(module: str, name: str) -> Plant:
    """Write a normalisation with PyTorch's default epsilon, not Keras'."""
    return lambda patch: patch.setattr(f"borzoi_export.graphs.{module}.{name}", 1e-5)


ROUNDED: dict[str, Plant] = {"weights rounded to half": weights(half), "weights rounded to TF32": weights(tf32)}
BORZOI: dict[str, Plant] = {
    "erf GELU": nodes("Gelu", approximate="none"),
    "epsilon of batch normalisation": epsilon("layers", "BATCH_NORM_EPS"),
    "epsilon of layer normalisation": epsilon("emitter", "LAYER_NORM_EPS"),
    "a bias left out": weights(np.zeros_like, "unet.1.pointwise.bias"),
    **ROUNDED,
}
