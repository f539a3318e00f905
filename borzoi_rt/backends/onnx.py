"""A bundle on onnxruntime, in process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bundle.graph_check import check_graph_file
from ..bundle.manifest import Geometry, Tiling
from ..bundle.opening import STATISTICS, Bundle
from ..errors import BackendError, InputError
from .checks import check_bins, check_fill, check_motif_input, check_run_input
from .device import Device
from .protocols import BinSums, Views
from .runtime import check_provider, line, load_graph, open_on


class OnnxSession:
    """A bundle loaded into onnxruntime; made by :func:`open_session`."""

    def __init__(self, session: Any, geometry: Geometry, tracks_count: int, provider: str) -> None:
        self._session = session
        self.geometry = geometry
        self.tracks_count = tracks_count
        self.provider = provider

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
        mask: np.ndarray | None = None,
        fill: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Session.run`.

        ``mask`` and ``fill``, float32 (1 or batch, channels, 1 or length), replace the motif activations a of a
        promoter model by ``a * mask + fill``; without them the model runs as it is.
        """
        if self._session is None:
            raise BackendError("this session is closed; open another with open_session")
        index = check_run_input(sequence, track_index, self.geometry, self.tracks_count)
        check_fill(n_fill)
        start, end = check_bins(bins, self.geometry)
        coverage = np.empty((len(sequence), len(index), self.geometry.bins), dtype=np.float32)
        if not coverage.size:
            return coverage[..., start:end]
        if mask is not None or fill is not None:
            masked = self._run_masked(sequence, index, n_fill, {"mask": mask, "fill": fill})
            return np.ascontiguousarray(masked[..., start:end])
        # Bound to our own buffer, the output is written once; session.run would hand over a copy of up to 187 MB.
        binding = self._session.io_binding()
        binding.bind_cpu_input("sequence", np.ascontiguousarray(sequence))
        binding.bind_cpu_input("track_index", index)
        binding.bind_cpu_input("n_fill", np.asarray(n_fill, dtype=np.float32))
        binding.bind_output("coverage", "cpu", 0, np.float32, coverage.shape, coverage.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise BackendError(f"onnxruntime ({self.provider}) failed on {sequence.shape}: {line(error)}") from error
        return np.ascontiguousarray(coverage[..., start:end])

    def _run_masked(
        self, sequence: np.ndarray, index: np.ndarray, n_fill: float, given: dict[str, np.ndarray | None]
    ) -> np.ndarray:
        """Run with inputs that have defaults, which onnxruntime cannot bind."""
        feed = {
            "sequence": np.ascontiguousarray(sequence),
            "track_index": index,
            "n_fill": np.array(n_fill, dtype=np.float32),
        }
        for name, values in given.items():
            if values is not None:
                length, channels = self.geometry.sequence_length_bp, self.motif_channels
                feed[name] = check_motif_input(name, values, batch=len(sequence), channels=channels, length=length)
        return self._fetch("coverage", feed)

    def _fetch(self, name: str, feed: dict[str, Any]) -> np.ndarray:
        try:
            (values,) = self._session.run([name], feed)
        except Exception as error:  # see run
            raise BackendError(
                f"onnxruntime ({self.provider}) failed on {feed['sequence'].shape}: {line(error)}"
            ) from error
        return np.asarray(values)

    def activations(self, sequence: np.ndarray, *, n_fill: float = 0.0) -> np.ndarray:
        """Return the motif activations of a promoter model, float32 (batch, channels, length), before any mask."""
        if self._session is None:
            raise BackendError("this session is closed; open another with open_session")
        if not self.motif_channels:
            raise InputError("the model has no motif activations; a bundle of the family 'promoter' is needed")
        index = check_run_input(sequence, np.zeros(1, dtype=np.int64), self.geometry, self.tracks_count)
        check_fill(n_fill)
        feed = {
            "sequence": np.ascontiguousarray(sequence),
            "track_index": index,
            "n_fill": np.array(n_fill, dtype=np.float32),
        }
        return self._fetch("activations", feed)

    @property
    def motif_channels(self) -> int:
        """Channels of the motif mask, 0 where the model has none."""
        defaults = {item.name: item.shape for item in self._session.get_overridable_initializers()}
        return int(defaults["mask"][1]) if "mask" in defaults else 0

    def close(self) -> None:
        """Free the graph and its arenas."""
        self._session = None


class OnnxParts:
    """The split graphs of a bundle, each loaded when it is first run; made by :func:`open_parts`."""

    _queued = False  # whether a run may begin before the one before it has ended

    def __init__(self, bundle: Bundle, tiling: Tiling, device: Device) -> None:
        self.geometry = bundle.geometry
        self.tracks_count = len(bundle.tracks)
        self.tiling = tiling
        self.provider = str(device)
        self._bundle, self._device = bundle, device
        self._loaded: dict[str, Any] = {}
        self._closed = False

    def tile(self, sequence: np.ndarray, n_fill: float) -> tuple[np.ndarray, ...]:
        """See :meth:`borzoi_rt.backends.Parts.tile`."""
        feeds = {"sequence": np.ascontiguousarray(sequence), "n_fill": np.asarray(n_fill, dtype=np.float32)}
        return tuple(self._run("trunk_tile", feeds))

    def body(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], *, name: str = "body", token_start: int | None = None
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Parts.body`."""
        feeds = {"tokens": tokens, **{f"skip_{number}": skip for number, skip in enumerate(skips)}}
        if token_start is not None:
            feeds["token_start"] = np.array([token_start], dtype=np.int64)
        embedding: np.ndarray = self._run(name, feeds)[0]
        return embedding

    def head(self, embedding: np.ndarray, track_index: np.ndarray) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Parts.head`."""
        coverage: np.ndarray = self._run("head", {"embedding": embedding, "track_index": track_index})[0]
        return coverage

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], strand_share: np.ndarray) -> BinSums:
        """See :meth:`borzoi_rt.backends.SummingParts.sums`."""
        feeds = {**squash, "strand_share": strand_share}
        for name, views in (("ref", ref), ("alt", alt)):
            stacked = np.stack([np.asarray(view) for view in views.embedding])
            feeds |= {name: stacked, f"{name}_share": views.share, f"{name}_tracks": views.tracks}
        ref_sum, alt_sum, absolute, square, extreme = self._run(STATISTICS, feeds)
        return BinSums(ref_sum, alt_sum, absolute, square, extreme[0])

    def close(self) -> None:
        """Free the graphs."""
        self._loaded.clear()
        self._closed = True

    def _run(self, name: str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        graph = self._graph(name)
        try:
            outputs: list[np.ndarray] = graph.run(None, feeds)
        except Exception as error:  # see OnnxSession.run
            raise BackendError(f"onnxruntime ({self.provider}) failed in graph {name!r}: {line(error)}") from error
        return outputs

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("this session is closed; open another with open_session")

    def _graph(self, name: str) -> Any:
        self._check_open()
        if name not in self._loaded:
            self._loaded[name] = load_graph(self._bundle, name, self._device, queued=self._queued)
        return self._loaded[name]


class Graph:
    """One ONNX file on the CPU, by the names of its inputs and outputs; it runs as sessions and parts do.

    Parameters
    ----------
    path : path
        The file.
    threads : int, optional
        Threads inside one operator; the cores this process may use when None.

    Attributes
    ----------
    facts : GraphFacts
        Names and shapes of its inputs and outputs.

    Raises
    ------
    FormatError
        If the file cannot be loaded, or holds what no graph of a bundle holds.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        self.facts = check_graph_file(path)
        self._session = open_on(path, Device("cpu", threads=threads))

    def run(self, feeds: dict[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Return the named outputs.

        Raises
        ------
        InputError
            If onnxruntime refuses the shape or the values of an input.
        BackendError
            If it fails otherwise, or the graph is closed.
        """
        if self._session is None:
            raise BackendError("this graph is closed")
        try:
            values: list[np.ndarray] = self._session.run(list(outputs), feeds)
        except Exception as error:  # see OnnxSession.run
            kind = InputError if "INVALID_ARGUMENT" in str(error) or "out of" in str(error) else BackendError
            raise kind(f"onnxruntime failed: {line(error)}") from error
        return values

    def close(self) -> None:
        """Free the graph."""
        self._session = None


def open_session(bundle: Bundle, device: str | Device = "cpu") -> OnnxSession:
    """Load the ``predict`` graph of a bundle on ``cpu``, ``cuda[:N]`` or ``tensorrt[:N]``.

    Raises
    ------
    BackendError
        If onnxruntime or the provider is missing, or the provider did not start; the CPU is never a silent fallback.
    FormatError
        If the graph cannot be read.
    """
    where = Device.parse(device)
    session = load_graph(bundle, "predict", where)
    return OnnxSession(session, bundle.geometry, len(bundle.tracks), str(where))


def open_parts(bundle: Bundle, device: str | Device = "cpu") -> OnnxParts:
    """Prepare the split graphs of a bundle; errors as in :func:`open_session`.

    Raises
    ------
    InputError
        If the bundle has no split graphs.
    """
    where = Device.parse(device)
    check_provider(where)
    return OnnxParts(bundle, split_of(bundle), where)


def split_of(bundle: Bundle) -> Tiling:
    """Return how tiles make a window of a bundle."""
    if bundle.info.tiling is None:
        raise InputError(f"{bundle.path.name} has no split graphs; export the model again, or score with whole passes")
    return bundle.info.tiling
