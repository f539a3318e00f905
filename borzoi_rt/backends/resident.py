"""The split graphs with everything between them in the memory of a device: onnxruntime bound to buffers of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bundle.manifest import Tiling
from ..bundle.opening import STATISTICS, Bundle
from ..errors import BackendError
from ..types import IndexArray
from .device import Device
from .gather import gather_graph
from .onnx import OnnxParts, split_of
from .protocols import BankLayout, BinSums, Embedding, Views
from .runtime import check_provider, line, onnxruntime, open_on

TILES = 16  # 1.8 ms on an H200, 32 of them 2.6: more slow down a variant more, fewer a window that is new
_FLOAT_BYTES = 4


class DeviceArray:
    """A float32 array in the memory of a device, or a part of one.

    Parameters
    ----------
    owner : onnxruntime.OrtValue
        What holds the memory; kept as long as this is.
    shape : tuple of int
        Shape of the array or part, C order.
    start : int
        Elements of the owner before it.
    """

    def __init__(self, owner: Any, shape: tuple[int, ...], start: int = 0) -> None:
        self._owner = owner
        self.shape = shape
        self.address = owner.data_ptr() + _FLOAT_BYTES * start
        self._start = start

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return _FLOAT_BYTES * int(np.prod(self.shape))

    def setflags(self, *, write: bool) -> None:
        """Nothing: who writes to a device says so."""

    def part(self, shape: tuple[int, ...], start: int = 0) -> DeviceArray:
        """Return elements from ``start`` on, in another shape."""
        return DeviceArray(self._owner, shape, self._start + start)


class DeviceParts(OnnxParts):
    """See :class:`borzoi_rt.backends.ResidentParts`; made by :func:`open_resident`.

    All graphs share one queue of the card: what stays there is not waited for, only what comes to the host is.
    """

    _queued = True

    def __init__(self, bundle: Bundle, tiling: Tiling, device: Device, bank_bytes: int) -> None:
        super().__init__(bundle, tiling, device)
        self._runtime = onnxruntime(device)
        self._memory = ("cpu", 0) if device.kind == "cpu" else ("cuda", device.number)
        self._channels = tiling.channels
        self.layout = _layout(self.geometry.sequence_length_bp, tiling, bank_bytes)
        self._loaded["gather"] = open_on(gather_graph(), device, queued=True)
        self._no_wait = self._runtime.RunOptions()
        self._no_wait.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._buffers: dict[tuple[str, tuple[int, ...]], DeviceArray] = {}
        self._unread: list[np.ndarray] = []  # arrays of the host that a card may still be reading

    def fill(self, page: int, sequence: np.ndarray, n_fill: float) -> None:
        """See :meth:`borzoi_rt.backends.ResidentParts.fill`."""
        layout = self.layout
        batch = np.empty((layout.tiles, *sequence.shape[1:]), dtype=np.uint8)
        batch[: len(sequence)], batch[len(sequence) :] = sequence, sequence[0]
        outputs = {
            _part(number): self._rows(page * layout.tiles, number, layout.tiles) for number in range(len(layout.scales))
        }
        self._bound("trunk_tile", {"sequence": batch, "n_fill": np.array(n_fill, dtype=np.float32)}, outputs)

    def move(self, source: int, target: int) -> None:
        """See :meth:`borzoi_rt.backends.ResidentParts.move`."""
        for number, scale in enumerate(self.layout.scales):
            first = self.layout.row(source, number)
            self._copy(self._bank, first + np.arange(self.layout.width * scale), self._rows(target, number))

    def cover(
        self, name: str, rows: Sequence[IndexArray], track_index: np.ndarray, *, token_start: int | None = None
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.ResidentParts.cover`."""
        embedding = self._embedding(name, rows, token_start)
        coverage = np.empty((1, len(track_index), embedding.shape[1]), dtype=np.float32)
        self._bound("head", {"embedding": embedding, "track_index": track_index}, {"coverage": coverage})
        return coverage

    def embed(
        self, name: str, rows: Sequence[IndexArray], picks: IndexArray, *, token_start: int | None = None
    ) -> DeviceArray:
        """See :meth:`borzoi_rt.backends.ResidentParts.embed`."""
        whole = self._embedding(name, rows, token_start)
        chosen = self._new((len(picks), whole.shape[2]))
        self._copy(whole.part(whole.shape[1:]), picks, chosen)
        return chosen

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], strand_share: np.ndarray) -> BinSums:
        """See :meth:`borzoi_rt.backends.ResidentParts.sums`."""
        feeds: dict[str, np.ndarray | DeviceArray] = {**squash, "strand_share": strand_share}
        for name, views in (("ref", ref), ("alt", alt)):
            feeds[name] = self._stacked(name, views.embedding)
            feeds |= {f"{name}_share": views.share, f"{name}_tracks": views.tracks}
        outputs = {item.name: None for item in self._graph(STATISTICS).get_outputs()}
        ref_sum, alt_sum, absolute, square, extreme = self._bound(STATISTICS, feeds, outputs).copy_outputs_to_cpu()
        return BinSums(ref_sum, alt_sum, absolute, square, extreme[0])

    def close(self) -> None:
        """Free the graphs and the memory of the device."""
        super().close()
        self._buffers.clear()

    def _embedding(self, name: str, rows: Sequence[IndexArray], token_start: int | None) -> DeviceArray:
        """Gather a window, run a body, and return its output (1, bins, channels), which the next call overwrites."""
        feeds: dict[str, np.ndarray | DeviceArray] = {}
        for number, wanted in enumerate(rows):
            part = self._buffer(_part(number), (1, len(wanted), self._channels))
            self._copy(self._bank, wanted, part)
            feeds[_part(number)] = part
        if token_start is not None:
            feeds["token_start"] = np.array([token_start], dtype=np.int64)
        channels = int(self._graph(name).get_outputs()[0].shape[-1])
        embedding = self._buffer("embedding", (1, self.tiling.bodies[name].bins, channels))
        self._bound(name, feeds, {"embedding": embedding})
        return embedding

    def _stacked(self, name: str, views: Sequence[Embedding]) -> DeviceArray:
        """Return the embeddings of an allele as (views, bins, channels)."""
        found = [view for view in views if isinstance(view, DeviceArray)]
        bins, channels = views[0].shape
        if len(found) == 1:
            return found[0].part((1, bins, channels))
        stack, every = self._buffer(name, (len(found), bins, channels)), np.arange(bins)
        for number, view in enumerate(found):
            self._copy(view, every, stack.part((bins, channels), number * bins * channels))
        return stack

    @property
    def _bank(self) -> DeviceArray:
        """All pages, (rows, channels)."""
        return self._buffer("bank", (self.layout.pages * self.layout.page_rows, self._channels))

    def _rows(self, slot: int, output: int, tiles: int = 1) -> DeviceArray:
        """Return where the bank keeps an output of the tiles from a slot on."""
        first = self.layout.row(slot, output)
        shape = (tiles, self.layout.width * self.layout.scales[output], self._channels)
        return self._bank.part(shape, first * self._channels)

    def _copy(self, source: DeviceArray, rows: IndexArray, target: DeviceArray) -> None:
        """Copy rows of (positions, channels) to where there is room for them."""
        shape = (1, len(rows), source.shape[1])
        self._bound("gather", {"bank": source, "row_index": rows[None]}, {"rows": target.part(shape)})

    def _bound(
        self,
        name: str,
        feeds: Mapping[str, np.ndarray | DeviceArray],
        outputs: Mapping[str, np.ndarray | DeviceArray | None],
    ) -> Any:
        """Run a graph on arrays of the host and of the device, and return the binding, which holds outputs of None."""
        graph = self._graph(name)
        try:
            binding = graph.io_binding()
            for item, values in feeds.items():
                if isinstance(values, DeviceArray):
                    binding.bind_input(item, *self._memory, np.float32, values.shape, values.address)
                else:
                    self._unread.append(np.ascontiguousarray(values))
                    binding.bind_cpu_input(item, self._unread[-1])
            for item, target in outputs.items():
                if target is None:
                    binding.bind_output(item)
                elif isinstance(target, DeviceArray):
                    binding.bind_output(item, *self._memory, np.float32, target.shape, target.address)
                else:
                    binding.bind_output(item, "cpu", 0, np.float32, target.shape, target.ctypes.data)
            stays = all(isinstance(target, DeviceArray) for target in outputs.values())
            graph.run_with_iobinding(binding, self._no_wait if stays else None)
            if not stays:
                self._unread.clear()
            return binding
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise BackendError(f"onnxruntime ({self.provider}) failed in graph {name!r}: {line(error)}") from error

    def _buffer(self, name: str, shape: tuple[int, ...]) -> DeviceArray:
        """Return memory of the device that is kept from run to run."""
        self._check_open()
        if (name, shape) not in self._buffers:
            self._buffers[name, shape] = self._new(shape)
        return self._buffers[name, shape]

    def _new(self, shape: tuple[int, ...]) -> DeviceArray:
        create = self._runtime.OrtValue.ortvalue_from_shape_and_type
        try:
            return DeviceArray(create(list(shape), np.float32, *self._memory), shape)
        except Exception as error:  # see _bound
            size = _FLOAT_BYTES * int(np.prod(shape)) / 1e6
            raise BackendError(
                f"{self.provider} has no {size:.0f} MB left ({line(error)}); lower memory_bytes"
            ) from error


def open_resident(bundle: Bundle, device: str | Device, *, bank_bytes: int) -> DeviceParts:
    """Prepare the split graphs of a bundle with a bank of ``bank_bytes``, at least enough for two windows.

    Errors as in :func:`borzoi_rt.backends.open_parts`.
    """
    where = Device.parse(device)
    check_provider(where)
    return DeviceParts(bundle, split_of(bundle), where, bank_bytes)


def _part(number: int) -> str:
    return f"skip_{number - 1}" if number else "tokens"


def _layout(length_bp: int, tiling: Tiling, bank_bytes: int) -> BankLayout:
    tokens = length_bp // tiling.token_bp
    width = min(tiling.own_tokens + 2 * tiling.halo_tokens, tokens)
    window = -(-tokens // (tiling.own_tokens * TILES))
    page = BankLayout(1, TILES, width, (1, *tiling.skips_per_token))
    pages = max(bank_bytes // (_FLOAT_BYTES * page.page_rows * tiling.channels), 2 * window + 2)
    return BankLayout(pages, TILES, width, page.scales)
