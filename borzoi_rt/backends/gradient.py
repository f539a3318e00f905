"""The gradient graphs of a bundle on onnxruntime: the one door to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bundle.names import GRADIENT_BODY, GRADIENT_TILE, GRADIENT_TRUNK
from ..bundle.opening import Bundle
from ..errors import BackendError, InputError
from .device import Device
from .onnx import OnnxParts
from .protocols import GradientParts
from .runtime import check_provider


class OnnxGradient(OnnxParts):
    """The split graphs of a bundle with those of its gradient; see :class:`borzoi_rt.backends.protocols.GradientParts`.

    Each graph is loaded when it is first run.
    """

    def real_tile(self, sequence: np.ndarray) -> tuple[np.ndarray, ...]:
        """See :meth:`borzoi_rt.backends.protocols.GradientParts.real_tile`."""
        return tuple(self._run(GRADIENT_TRUNK, {"sequence": np.ascontiguousarray(sequence)}))

    def body_gradient(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], track_index: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """See :meth:`borzoi_rt.backends.protocols.GradientParts.body_gradient`."""
        feeds = {"tokens": tokens, **{f"skip_{number}": skip for number, skip in enumerate(skips)}}
        return tuple(self._run(GRADIENT_BODY, {**feeds, "track_index": track_index, "cotangent": cotangent}))

    def tile_gradient(self, sequence: np.ndarray, derivatives: Sequence[np.ndarray]) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.protocols.GradientParts.tile_gradient`."""
        names = ["to_tokens", *(f"to_skip_{number}" for number in range(len(derivatives) - 1))]
        feeds = {"sequence": np.ascontiguousarray(sequence), **dict(zip(names, derivatives, strict=True))}
        gradient: np.ndarray = self._run(GRADIENT_TILE, feeds)[0]
        return gradient


def has_gradient(bundle: Bundle) -> bool:
    """Tell whether a bundle has gradient graphs."""
    return bundle.info.graphs.keys() >= {GRADIENT_TRUNK, GRADIENT_BODY, GRADIENT_TILE}


def check_gradient(bundle: Bundle) -> None:
    """Refuse a bundle without gradient graphs.

    Raises
    ------
    InputError
        Saying what to do.
    """
    if not has_gradient(bundle) or bundle.info.tiling is None:
        raise InputError(
            f"{bundle.path.name} has no gradient graphs; export the model again with its gradient (borzoi-rt export "
            "with gradient), or choose a method of perturbation"
        )


def open_gradient(bundle: Bundle, device: str | Device = "cpu", *, threads: int | None = None) -> GradientParts:
    """Prepare the gradient graphs of a bundle on ``cpu``, ``cuda[:N]`` or ``tensorrt[:N]``.

    Raises
    ------
    InputError
        If the bundle has none.
    BackendError
        If the device cannot run them.
    """
    where = Device.parse(device, threads=threads)
    if where.kind == "triton":
        raise BackendError(
            "gradients are not served beside the whole network: name its scorer (NAME_scorer), open the bundle on cpu "
            "or cuda, or choose a method without them"
        )
    check_gradient(bundle)
    assert bundle.info.tiling is not None
    check_provider(where)
    return OnnxGradient(bundle, bundle.info.tiling, where)
