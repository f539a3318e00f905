"""A bundle on a Triton server, as session and as parts; see :mod:`borzoi_rt.backends.address` for the URL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..bundle.manifest import Tiling
from ..bundle.opening import Bundle
from ..errors import BackendError, InputError
from .address import Address
from .checks import check_bins, check_fill, check_motif_input, check_run_input, motif_channels
from .device import Device
from .triton import MESSAGE_BYTES, Connection, Counters

# Under the 64 MiB that newer servers allow a body of HTTP, and under gRPC's message.
_SENT_BYTES = 60 * 2**20
_ANSWER_BYTES = MESSAGE_BYTES - 2**20


class ServedSession:
    """The whole network on a server; made by :func:`borzoi_rt.open_session`.

    A batch is one request, computed by the server as one run, as in process; where it or its answer is too large for
    one message, it is cut, and the pieces are on their way at once.
    """

    def __init__(self, connection: Connection, model: str, bundle: Bundle, most_windows: int) -> None:
        self.geometry = bundle.geometry
        self.tracks_count = len(bundle.tracks)
        self.motif_channels = motif_channels(bundle)
        self.provider = f"triton:{connection.address}"
        self._connection: Connection | None = connection
        self._model, self._most_windows = model, most_windows
        self._pool = ThreadPoolExecutor(connection.address.flight, thread_name_prefix="borzoi-rt-triton")

    @property
    def counters(self) -> Counters:
        """What was sent and received so far."""
        return self._open().counters

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
        """See :meth:`borzoi_rt.backends.Session.run`; only the bins asked for are sent back.

        ``mask`` and ``fill`` are those of a promoter model, float32 (1 or batch, channels, 1 or length).
        """
        self._open()
        index = check_run_input(sequence, track_index, self.geometry, self.tracks_count)
        check_fill(n_fill)
        start, end = check_bins(bins, self.geometry)
        if not index.size:
            return np.empty((len(sequence), 0, end - start), dtype=np.float32)
        motifs = self._motif_inputs(len(sequence), {"mask": mask, "fill": fill})
        # A server takes no more tracks than the model has; one that is wanted twice is copied here.
        sent, copies = (index, None) if len(index) <= self.tracks_count else np.unique(index, return_inverse=True)
        inputs = {"sequence": sequence, **self._small_inputs(sent, n_fill, (start, end)), **motifs}
        coverage = self._ask(inputs, "coverage", (len(sent), end - start))
        return coverage if copies is None else coverage[:, copies]

    def activations(self, sequence: np.ndarray, *, n_fill: float = 0.0) -> np.ndarray:
        """Return the motif activations of a promoter model, float32 (batch, channels, length), before any mask."""
        self._open()
        if not self.motif_channels:
            raise InputError("the model has no motif activations; a bundle of the family 'promoter' is needed")
        index = check_run_input(sequence, np.zeros(1, dtype=np.int64), self.geometry, self.tracks_count)
        check_fill(n_fill)
        motifs = self._motif_inputs(len(sequence), {"mask": None, "fill": None})
        inputs = {"sequence": sequence, **self._small_inputs(index, n_fill, (0, self.geometry.bins)), **motifs}
        return self._ask(inputs, "activations", (self.motif_channels, self.geometry.sequence_length_bp))

    def _small_inputs(self, index: np.ndarray, n_fill: float, bins: tuple[int, int]) -> dict[str, np.ndarray]:
        return {
            "track_index": index,
            "n_fill": np.array([n_fill], dtype=np.float32),
            "trim_bins": np.array([bins[0], self.geometry.bins - bins[1]], dtype=np.int64),
        }

    def _motif_inputs(self, batch: int, given: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
        """Return mask and fill; the served graph has no defaults for them."""
        channels, length = self.motif_channels, self.geometry.sequence_length_bp
        return {
            name: np.full((1, channels, 1), name == "mask", dtype=np.float32)
            if values is None
            else check_motif_input(name, values, batch=batch, channels=channels, length=length)
            for name, values in given.items()
            if channels or values is not None
        }

    def _ask(self, inputs: dict[str, np.ndarray], output: str, shape: tuple[int, ...]) -> np.ndarray:
        """Send windows and what goes with each, in as many requests as are needed."""
        connection, batch = self._open(), len(inputs["sequence"])
        by_window: list[str] = [
            name for name in ("sequence", "mask", "fill") if name in inputs and len(inputs[name]) == batch
        ]

        def ask(part: slice) -> np.ndarray:
            cut = {name: np.ascontiguousarray(inputs[name][part]) for name in by_window}
            wanted = (len(cut["sequence"]), *shape)
            return connection.infer(self._model, {**inputs, **cut}, {output: wanted})[output]

        sent_bytes = sum(inputs[name].nbytes // batch for name in by_window)
        most = max(1, min(self._most_windows, _SENT_BYTES // sent_bytes, _ANSWER_BYTES // (4 * math.prod(shape))))
        if batch <= most:
            return ask(slice(0, batch))
        return np.concatenate(list(self._pool.map(ask, (slice(i, i + most) for i in range(0, batch, most)))))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._pool.shutdown()
            self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            raise BackendError("this session is closed; open another with open_session")
        return self._connection


class ServedParts:
    """The split graphs on a server, each a model of its own; made by :func:`borzoi_rt.backends.open_parts`."""

    def __init__(self, connection: Connection, model: str, bundle: Bundle, tiling: Tiling) -> None:
        self.geometry = bundle.geometry
        self.tracks_count = len(bundle.tracks)
        self.tiling = tiling
        self.provider = f"triton:{connection.address}"
        self._connection = connection
        self._model = model

    def tile(self, sequence: np.ndarray, n_fill: float) -> tuple[np.ndarray, ...]:
        """See :meth:`borzoi_rt.backends.Parts.tile`."""
        names = ("tokens", *(f"skip_{number}" for number in range(len(self.tiling.skips_per_token))))
        fill = np.array([n_fill], dtype=np.float32)
        inputs = {"sequence": np.ascontiguousarray(sequence), "n_fill": fill}
        answer = self._connection.infer(f"{self._model}_trunk_tile", inputs, dict.fromkeys(names))
        return tuple(answer[name] for name in names)

    def body(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], *, name: str = "body", token_start: int | None = None
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Parts.body`."""
        inputs = {"tokens": tokens, **{f"skip_{number}": skip for number, skip in enumerate(skips)}}
        if token_start is not None:
            inputs["token_start"] = np.array([token_start], dtype=np.int64)
        return self._connection.infer(f"{self._model}_{name}", inputs, {"embedding": None})["embedding"]

    def head(self, embedding: np.ndarray, track_index: np.ndarray) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Parts.head`."""
        shape = (len(embedding), len(track_index), embedding.shape[1])
        inputs = {"embedding": embedding, "track_index": track_index}
        return self._connection.infer(f"{self._model}_head", inputs, {"coverage": shape})["coverage"]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_session(bundle: Bundle, device: Device) -> ServedSession:
    """Connect to the model that an address names, and make sure that it is this bundle.

    Raises
    ------
    InputError
        If the address is wrong, or the server does not have the model.
    BackendError
        If the server cannot be reached or serves another bundle.
    """
    address = _address(device)
    connection, (parameters,) = _checked(address, bundle, [address.model])
    return ServedSession(connection, address.model, bundle, int(parameters["windows"]))


def open_parts(bundle: Bundle, device: Device) -> ServedParts:
    """Connect to the split graphs of the model that an address names; errors as in :func:`open_session`."""
    tiling = bundle.info.tiling
    if tiling is None:
        raise InputError(f"{bundle.path.name} has no split graphs; score with whole passes")
    address = _address(device)
    models = [f"{address.model}_{graph}" for graph in ("trunk_tile", *tiling.bodies, "head")]
    return ServedParts(_checked(address, bundle, models)[0], address.model, bundle, tiling)


def _address(device: Device) -> Address:
    address = Address.parse(device.url)
    if not address.model:
        raise InputError(f"Triton address {device.url!r} names no model; SCHEME://HOST:PORT/MODEL is needed")
    return address


def _checked(address: Address, bundle: Bundle, models: Sequence[str]) -> tuple[Connection, list[Mapping[str, str]]]:
    """Return a connection to models of this bundle, and their parameters."""
    connection = Connection(address)
    try:
        found: list[Mapping[str, str]] = [connection.expect(model, bundle.sha256) for model in models]
        if not all(parameters.get("windows", "").isdigit() for parameters in found):
            raise BackendError(f"{address}: {models[0]} was made by another release; make the repository again")
    except BaseException:
        connection.close()
        raise
    return connection, found
