"""DeepLIFT and DeepSHAP: methods that compare a sequence with references, layer by layer.

A multiplier is what a derivative would be if the straight line through two points stood for the function: with r a
reference and m its multipliers, ``sum m (x - r) = S(x) - S(r)`` (*completeness*), however far x and r are apart. The
rules of each layer are those of tangermeme 1.6 and lie beside the network (:mod:`borzoi_export.deeplift`, with torch);
the target, which any formula may be, is followed along the straight line between both coverages.

    a[b, p] = mean over r of (m[b, p] - sum over c of m[c, p] r[c, p])
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Protocol, cast

import numpy as np

from ..backends.device import Device
from ..bundle.manifest import Geometry
from ..bundle.opening import Bundle
from ..errors import InputError, missing_package
from ..plain import check_types
from ..tracks import TrackTable
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .gradients import against, completed, references_of
from .models import coded, finite, mean_of_strands, mirrored
from .objective import Attribution, Bases, Objective, check_bases, check_counts
from .shuffles import BIN_BP
from .target import Target

# Panels of the line between two coverages, four times as narrow with every step to an end: where one is nearly 0, the
# logarithm of a target rises there by most of what it rises at all.
_STEPS = (0.5 * 4.0 ** -np.arange(9, -1, -1)).tolist()
_PANELS, _NODES = (0.0, *_STEPS, *(1.0 - step for step in _STEPS[-2::-1]), 1.0), 8


class IncompleteError(InputError):
    """Attributions miss the difference of the target by more than is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLiftOptions:
    """Options of ``deeplift``.

    Parameters
    ----------
    references : int
        Shuffles to compare with.
    max_delta : float
        Largest completeness error that is accepted: the mean over references of how far the attributions miss the
        difference of the target, in the mean difference.
    bin_bp : int
        Length of the stretches that are shuffled, see :func:`borzoi_rt.explain.shuffles.shuffled`.
    seed : int
        Of the shuffles; the first ones are those of ``ig``.
    """

    references: int = 20
    max_delta: float = 0.01
    bin_bp: int = BIN_BP
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "references", "bin_bp")
        if isinstance(self.max_delta, bool) or not isinstance(self.max_delta, int | float) or not self.max_delta >= 0.0:
            raise InputError(f"max_delta is {self.max_delta!r}; a share of 0 or more is needed")


class Comparable(Objective, Protocol):
    """An objective that can be compared with a reference."""

    def secant(self, window: ByteArray, reference: ByteArray, bases: Bases) -> DoubleArray:
        """Return multipliers, float64 (4, bases), by which the window differs from a reference; see the module."""


class Paired(Protocol):
    """A network over pairs, see :class:`borzoi_export.deeplift.network.PairedNetwork`."""

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""

    def coverage(self, window: FloatArray, positions: IndexArray, bins: tuple[int, int]) -> FloatArray:
        """Return squashed coverage (tracks, bins) of a window (4, length)."""

    def multipliers(
        self,
        window: FloatArray,
        reference: FloatArray,
        positions: IndexArray,
        cotangent: DoubleArray,
        *,
        bins: tuple[int, int],
        bases: tuple[int, int],
    ) -> DoubleArray:
        """Return multipliers (4, bases) of the sum of cotangent times coverage."""

    def close(self) -> None:
        """Free the network."""


def deep_lift(objective: Comparable, window: ByteArray, bases: Bases, options: DeepLiftOptions) -> Attribution:
    """Return DeepLIFT's attributions, mean over references; see the head of this module.

    Raises
    ------
    InputError
        If they are further from complete than ``max_delta``.
    """
    start, end = check_bases(bases, objective.length)
    references = references_of(window, bases, options.references, options.bin_bp, options.seed)
    parts = [
        against(objective.secant(window, reference, bases), reference[:, start:end].astype(np.float64))
        for reference in references
    ]
    found = completed(objective, window, bases, references, parts)
    delta = found.facts["delta_share"]
    if delta is not None and delta > options.max_delta:
        raise IncompleteError(
            f"attributions miss {delta:.2g} of the difference of the target in the mean of {len(references)} "
            f"references, allowed is {options.max_delta:.2g}; use method ig, or accept it with a larger max_delta"
        )
    return found


class SecantObjective:
    """A target of a network over pairs; parameters as those of :class:`borzoi_rt.explain.models.ModelObjective`."""

    def __init__(
        self, session: Paired, target: Target, tracks: TrackTable, *, rc: bool = False, n_fill: float = 0.0
    ) -> None:
        self._session, self._target = session, target
        self._rc, self._n_fill = rc, n_fill
        self._opposite = tracks.positions_of(tracks.strand_pair[target.positions]) if rc else target.positions
        self._known: dict[bytes, FloatArray] = {}  # coverage by window: each is asked for twice

    @property
    def length(self) -> int:
        """Bases of the window."""
        return self._session.geometry.sequence_length_bp

    def values(self, sequences: ByteArray) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.objective.Objective.values`."""
        return np.array([finite(self._target.value(self._predicted(window))) for window in sequences])

    def secant(self, window: ByteArray, reference: ByteArray, bases: Bases) -> DoubleArray:
        """See :meth:`Comparable.secant`."""
        target, bins = self._target, self._target.bins
        cotangent = _along(target, self._predicted(window), self._predicted(reference))
        x, r = (coded(one.astype(np.float64), self._n_fill) for one in (window, reference))
        if not self._rc:
            return self._session.multipliers(x, r, target.positions, cotangent, bins=bins, bases=bases)
        half = 0.5 * cotangent
        forward = self._session.multipliers(x, r, target.positions, half, bins=bins, bases=bases)
        backward = self._session.multipliers(
            np.ascontiguousarray(x[::-1, ::-1]),
            np.ascontiguousarray(r[::-1, ::-1]),
            self._opposite,
            np.ascontiguousarray(half[:, ::-1]),
            bins=mirrored(bins, self._session.geometry.bins),
            bases=mirrored(bases, self.length),
        )
        return forward + backward[::-1, ::-1]

    def _predicted(self, window: ByteArray) -> FloatArray:
        key = hashlib.sha256(window.tobytes()).digest()
        if key not in self._known:
            x = coded(window.astype(np.float64), self._n_fill)
            found = self._session.coverage(x, self._target.positions, self._target.bins)
            if self._rc:
                turned = np.ascontiguousarray(x[::-1, ::-1])
                bins = mirrored(self._target.bins, self._session.geometry.bins)
                found = mean_of_strands(found, self._session.coverage(turned, self._opposite, bins))
            self._known[key] = found
        return self._known[key]


def _along(target: Target, coverage: FloatArray, reference: FloatArray) -> DoubleArray:
    """Return the mean derivative of a target on the straight line between two coverages, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    total = np.zeros(coverage.shape, dtype=np.float64)
    start, change = reference.astype(np.float64), coverage.astype(np.float64) - reference
    for low, high in pairwise(_PANELS):
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            point = low + 0.5 * (node + 1.0) * (high - low)
            _, slopes = target.cotangent((start + point * change).astype(np.float32))
            total += 0.5 * weight * (high - low) * slopes
    return total


def check_secant(device: Device) -> None:
    """Refuse a device of methods that torch computes, before anything is asked of it.

    Raises
    ------
    InputError
        If it is neither the CPU nor a GPU of this machine.
    """
    if device.kind not in ("cpu", "cuda"):
        raise InputError(f"device {device}: DeepLIFT runs by torch in float32 on cpu, or on cuda:N that torch can use")


def open_paired(bundle: Bundle, device: Device) -> Paired:
    """Open the network of a bundle with torch.

    Raises
    ------
    BackendError
        If the packages of the extra ``explain`` are missing.
    """
    check_secant(device)
    try:
        module = import_module("borzoi_export.deeplift")
    except ImportError as error:
        raise missing_package(error, "torch", "explain", "method deeplift") from error
    return cast("Paired", module.open_paired(bundle, device))
