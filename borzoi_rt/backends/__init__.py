"""Sessions: a model that answers ``run``, wherever it runs.

A backend is anything with the members of :class:`Session`. ``open_session(bundle, "onnx:cpu")`` makes one; the part
before the colon names the backend, the rest its device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..bundle import Bundle, open_bundle
from ..errors import InputError, ParityError
from ..manifest import Geometry, Tiling

BACKENDS = {"onnx": "onnx", "triton": "served"}
KNOWN = "onnx:cpu, onnx:cuda[:N], onnx:tensorrt[:N], triton:grpc://HOST:PORT/MODEL (or grpcs, http, https)"


@dataclass(frozen=True, slots=True)
class Limits:
    """What two engines may differ by: ``atol``, times the value where that exceeds 1, and ``rtol`` of value + 1e-4."""

    atol: float
    rtol: float


# By precision of a bundle. Half precision rounds a typical bin of the trained test model by 0.3 %, the worst by 6 %.
PARITY_LIMITS = {"fp32": Limits(2e-5, 1e-4), "fp16": Limits(0.1, 0.1)}


class Session(Protocol):
    """What the engine needs of a model."""

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""

    @property
    def provider(self) -> str:
        """Name of what computes, for the record: ``cpu``, ``cuda:0``, ``tensorrt:0``."""

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Predict squashed coverage.

        Parameters
        ----------
        sequence : uint8 ndarray of shape (batch, 4, length)
            One-hot DNA in the order A, C, G, T; a column of zeros is an unknown base.
        track_index : int64 ndarray of shape (tracks,), optional
            Outputs to compute, in any order; all when None.
        n_fill : float
            Value of the four rows of an unknown base: 0 or 0.25.
        bins : (int, int), optional
            First and last + 1 of the output bins to return; all when None.

        Returns
        -------
        float32 ndarray of shape (batch, tracks, bins)
        """

    def close(self) -> None:
        """Free the model; further runs fail."""


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums over the bins of the coverage R of the reference and A of the alternate allele, by row.

    Attributes
    ----------
    ref, alt, absolute, square : float64 ndarray of shape (3, rows)
        Sum of f(R), f(A), |f(A) - f(R)| and (f(A) - f(R))^2; f is the identity, log2(x + 1), the square root.
    extreme : float64 ndarray of shape (rows,)
        A - R at the first bin where its size is largest.
    """

    ref: np.ndarray
    alt: np.ndarray
    absolute: np.ndarray
    square: np.ndarray
    extreme: np.ndarray

    def turned(self) -> BinSums:
        """Return the sums with the alleles exchanged."""
        return BinSums(self.alt, self.ref, self.absolute, self.square, -self.extreme)


@dataclass(frozen=True, slots=True)
class Views:
    """What one allele's coverage is the sum of: views, each with a share of every bin.

    Attributes
    ----------
    embedding : float32 ndarray of shape (views, bins, channels)
        What the head reads; bins of a reverse complement already turned.
    share : float32 ndarray of shape (views, bins)
        Weight of a view in each bin: a half for two strands, 0 or 1 for the halves of an indel.
    tracks : int64 ndarray of shape (views, tracks)
        Output of the head that each view reads for a track.
    """

    embedding: np.ndarray
    share: np.ndarray
    tracks: np.ndarray


class Parts(Protocol):
    """The split graphs of a model: what the engine needs to redo only what a variant changes."""

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""

    @property
    def tiling(self) -> Tiling:
        """How tiles make a window."""

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""

    @property
    def provider(self) -> str:
        """Name of what computes, for the record."""

    def tile(self, sequence: np.ndarray, n_fill: float) -> tuple[np.ndarray, ...]:
        """Run the convolution tower.

        Parameters
        ----------
        sequence : uint8 ndarray of shape (batch, 4, tile length)
            One-hot DNA of tiles.
        n_fill : float
            Value of the four rows of an unknown base.

        Returns
        -------
        tuple of float32 ndarray of shape (batch, positions, channels)
            Tokens, then every skip as the decoder adds it.
        """

    def body(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], *, name: str = "body", token_start: int | None = None
    ) -> np.ndarray:
        """Run transformer and decoder.

        Parameters
        ----------
        tokens : float32 ndarray of shape (batch, tokens, channels)
            All tokens of the windows.
        skips : sequence of float32 ndarray of shape (batch, positions, channels)
            The parts of the skips that the body reads.
        name : str
            A body of the tiling.
        token_start : int, optional
            First token of the output, for a body that moves.

        Returns
        -------
        float32 ndarray of shape (batch, bins, embedding channels)
        """

    def head(self, embedding: np.ndarray, track_index: np.ndarray) -> np.ndarray:
        """Turn an embedding into squashed coverage, float32 (batch, tracks, bins)."""

    def close(self) -> None:
        """Free the graphs; further runs fail."""


class SummingParts(Parts, Protocol):
    """Split graphs with one more, which hands over sums over bins instead of coverage."""

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], strand_share: np.ndarray) -> BinSums:
        """Turn the embeddings of two alleles into sums over bins.

        Parameters
        ----------
        ref, alt : Views
            The alleles.
        squash : mapping of str to ndarray of shape (tracks,)
            As :meth:`borzoi_rt.squash.Squash.inverse_terms` gives it.
        strand_share : float64 ndarray of shape (rows, strands)
            Tracks, in the order of ``rows`` and then ``strands``, are added to rows with these weights.
        """


def open_session(
    bundle: Bundle | str, backend: str = "onnx:cpu", *, threads: int | None = None, check: bool | None = None
) -> Session:
    """Load a bundle into a backend.

    Parameters
    ----------
    bundle : Bundle or path
        The model; a path is opened and verified first.
    backend : str
        ``onnx:cpu``, ``onnx:cuda[:device]``, ``onnx:tensorrt[:device]``, or ``triton:`` and the address of a model on a
        Triton server, see :mod:`borzoi_rt.backends.triton`.
    threads : int, optional
        CPU threads inside one operator; the cores this process may use when None.
    check : bool, optional
        Run the bundle's golden example before returning. None checks everywhere but on the CPU provider, where the
        exporter has done it (a forward pass of the published shape costs half a minute there).

    Returns
    -------
    Session

    Raises
    ------
    BackendError
        If the provider or its package is missing; the message names the fix.
    ParityError
        If the golden example gives other numbers here.
    """
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(bundle)
    module, device = _backend(backend)
    session: Session = module.open_session(bundle, device, threads=threads)
    if check or (check is None and session.provider != "cpu"):
        try:
            replay_golden(session, bundle)
        except ParityError:
            session.close()
            raise
    return session


def open_parts(bundle: Bundle, backend: str = "onnx:cpu", *, threads: int | None = None) -> Parts:
    """Prepare the split graphs of a bundle; parameters and errors as in :func:`open_session`."""
    module, device = _backend(backend)
    parts: Parts = module.open_parts(bundle, device, threads=threads)
    return parts


def _backend(backend: str) -> tuple[Any, str]:
    """Return the module of a backend and the device in it."""
    name, _, device = backend.partition(":")
    if name not in BACKENDS or not device:
        raise InputError(f"backend {backend!r} is unknown; allowed: {KNOWN}")
    return import_module(f".{BACKENDS[name]}", __name__), device


def replay_golden(session: Session, bundle: Bundle) -> dict[str, float]:
    """Run the golden example of a bundle and compare, under the limits of its precision.

    Returns
    -------
    dict
        ``max_abs`` and ``max_rel``, the latter with the denominator ``coverage + 1e-4``.

    Raises
    ------
    ParityError
        If both limits are not met; the message names the worst track and bin.
    """
    golden = bundle.golden()
    want = golden["coverage"]
    got = session.run(golden["sequence"], golden["track_index"])
    if got.shape != want.shape:
        raise ParityError(
            f"{bundle.path}: the golden example has shape {want.shape}, {session.provider} gave {got.shape}"
        )
    found, wanted = (np.concatenate(list(values), axis=-1) for values in (got, want))  # windows side by side
    limits = PARITY_LIMITS[bundle.info.precision]
    report = compare_coverage(found, wanted, limits)
    if report.wrong is not None:
        track, position = report.wrong
        name = bundle.tracks.identifier[int(golden["track_index"][track])]
        raise ParityError(
            f"{bundle.path}: {session.provider} does not reproduce the golden example: largest difference "
            f"{report.max_abs:.3g} absolute, {report.max_rel:.3g} relative (allowed {limits.atol:g} and "
            f"{limits.rtol:g}); worst track {name!r}, bin {position % want.shape[-1]}; "
            "check the driver and provider versions, or use onnx:cpu"
        )
    return {"max_abs": report.max_abs, "max_rel": report.max_rel}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Largest differences of two coverages; ``wrong`` is the worst (track, bin) where a limit is broken."""

    max_abs: float
    max_rel: float
    wrong: tuple[int, int] | None


def compare_coverage(got: np.ndarray, want: np.ndarray, limits: Limits) -> Comparison:
    """Compare squashed coverage (tracks, bins)."""
    difference = np.abs(got.astype(np.float64) - want)
    relative = difference / (np.abs(want) + 1e-4)
    # Rounding grows with the value, so the absolute limit does above 1. ~(x <= limit), not x > limit: a NaN must fail.
    wrong = ~((difference <= limits.atol * np.maximum(1.0, np.abs(want))) & (relative <= limits.rtol))
    worst = None
    if wrong.any():
        place = np.argmax(np.where(wrong, np.nan_to_num(relative, nan=np.inf), -1.0))
        track, position = np.unravel_index(place, wrong.shape)
        worst = (int(track), int(position))
    return Comparison(float(difference.max(initial=0.0)), float(relative.max(initial=0.0)), worst)


def check_bins(bins: tuple[int, int] | None, geometry: Geometry) -> tuple[int, int]:
    """Return the bins to give, [start, end) of the output.

    Raises
    ------
    InputError
        If the range is empty or leaves the output.
    """
    if bins is None:
        return 0, geometry.bins
    start, end = bins
    if not 0 <= start < end <= geometry.bins:
        raise InputError(f"bins {start}:{end} do not lie in the output of {geometry.bins} bins")
    return int(start), int(end)


def check_run_input(
    sequence: np.ndarray, track_index: np.ndarray | None, geometry: Geometry, tracks_count: int
) -> np.ndarray:
    """Judge the arguments of :meth:`Session.run` and return the track index as contiguous int64.

    Raises
    ------
    InputError
        With what was given and what is needed.
    """
    needed = f"(batch, 4, {geometry.sequence_length_bp})"
    if not isinstance(sequence, np.ndarray) or sequence.dtype != np.uint8:
        found = getattr(sequence, "dtype", type(sequence).__name__)
        raise InputError(f"sequence is {found}; a uint8 array of shape {needed} is needed")
    if sequence.ndim != 3 or sequence.shape[0] < 1 or sequence.shape[1:] != (4, geometry.sequence_length_bp):
        raise InputError(f"sequence has shape {sequence.shape}; {needed} is needed")
    if track_index is None:
        return np.arange(tracks_count, dtype=np.int64)
    index = np.ascontiguousarray(track_index)
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise InputError(f"track_index has shape {index.shape} and dtype {index.dtype}; a vector of integers is needed")
    if index.size and (index.min() < 0 or index.max() >= tracks_count):
        raise InputError(
            f"track_index runs from {index.min()} to {index.max()}; the model has outputs 0 to {tracks_count - 1}"
        )
    return index.astype(np.int64, copy=False)
