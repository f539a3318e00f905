"""Activations of a network, chosen by layer, units and positions.

===================  =============================  ================================================================
layer                resolution                     what it is
===================  =============================  ================================================================
``stem``             1 bp                           first convolution over the bases, before pooling
``tower_1`` ...      2, 4, ... bp                   convolutions of the tower, each before its pool
``layer_0``          128 bp                         tokens that enter the transformer
``layer_1`` ...      128 bp                         tokens behind each block of it
``tokens``           128 bp                         another name of the last of these
``embedding``        32 bp                          what the head reads; of the output bins alone
===================  =============================  ================================================================

Resolutions are those of the published models. Stem and tower see the bases alone, some dozens to 400 of them; tokens
behind the transformer may depend on the whole window, so that ``resolution_bp`` says where a value stands and nothing
about which bases it is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..backends.activations import has_activations
from ..backends.device import Device
from ..bundle.names import ACTIVATIONS_TILE
from ..bundle.opening import Bundle
from ..errors import FormatError, InputError
from ..types import ByteArray, FloatArray, IndexArray
from .network import Network, Reading

EMBEDDING, TOKENS = "embedding", "tokens"
MOST_BYTES = 2 * 2**30  # of one answer


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network and where its positions lie.

    Attributes
    ----------
    name : str
    units : int
        Channels.
    positions : int
        Of one window.
    resolution_bp : int
        Bases from one position to the next.
    first_bp : int
        Where position 0 begins, in bases from the start of the window.
    """

    name: str
    units: int
    positions: int
    resolution_bp: int
    first_bp: int = 0

    def overlapping(self, bases: tuple[int, int]) -> tuple[int, int]:
        """Return first and last + 1 of the positions that hold bases [start, end) of the window.

        Raises
        ------
        InputError
            If some of these bases are in no position.
        """
        start, end = bases
        low, high = start - self.first_bp, end - self.first_bp
        if not 0 <= low < high <= self.positions * self.resolution_bp:
            last = self.first_bp + self.positions * self.resolution_bp
            raise InputError(
                f"bases {start}:{end} of the window do not lie in {self.name}, which holds {self.first_bp}:{last}"
            )
        return low // self.resolution_bp, -(-high // self.resolution_bp)

    def chosen(self, units: Sequence[int] | IndexArray | None) -> IndexArray:
        """Return the channels that ``units`` means, all when None.

        Raises
        ------
        InputError
            If one is not there, or there is none.
        """
        if units is None:
            return np.arange(self.units, dtype=np.int64)
        found = np.asarray(units)
        if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
            raise InputError(f"units are {units!r:.60}; whole numbers from 0 to {self.units - 1} are needed")
        outside = found[(found < 0) | (found >= self.units)]
        if len(outside):
            raise InputError(f"unit {outside[0]} is not there; {self.name} has 0 to {self.units - 1}")
        return found.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Activation:
    """What chosen units of a layer are at some positions of one window.

    Attributes
    ----------
    layer : Layer
    units : int64 ndarray of shape (units,)
    positions : (int, int)
        First and last + 1, of the layer's grid.
    values : float32 ndarray of shape (units, positions)
    """

    layer: Layer
    units: IndexArray
    positions: tuple[int, int]
    values: FloatArray

    @property
    def resolution_bp(self) -> int:
        """Bases from one position to the next."""
        return self.layer.resolution_bp

    @property
    def starts_bp(self) -> IndexArray:
        """Where each position begins, in bases from the start of the window, int64 (positions,)."""
        return self.layer.first_bp + np.arange(*self.positions, dtype=np.int64) * self.layer.resolution_bp

    def __repr__(self) -> str:
        return (
            f"<{self.layer.name}: {len(self.units)} units, {self.values.shape[1]} positions of "
            f"{self.resolution_bp} bp from base {self.layer.first_bp + self.positions[0] * self.resolution_bp}>"
        )


class Activations:
    """The inside of a bundle, window by window; a context manager.

    Parameters
    ----------
    bundle : Bundle
        The model. ``embedding`` and ``layer_0`` need its split graphs alone, all else its graphs of activations.
    device : Device or str, optional
        Where it runs.
    n_code : str, optional
        ``zero`` or ``uniform`` for unknown bases; None takes what the weights were trained with.

    Attributes
    ----------
    layers : dict of str to Layer
        Those the bundle can show.
    """

    def __init__(self, bundle: Bundle, device: Device | str = "cpu", *, n_code: str | None = None) -> None:
        self.network = Network(bundle, device, n_code=n_code)
        self.layers = layers_of(self.network)
        self._last: Reading | None = None

    def of(
        self,
        window: ByteArray,
        layer: str = TOKENS,
        *,
        units: Sequence[int] | IndexArray | None = None,
        positions: slice | tuple[int, int] | None = None,
        bases: tuple[int, int] | None = None,
    ) -> Activation:
        """Return activations of one window.

        Parameters
        ----------
        window : uint8 ndarray of shape (4, length)
            One-hot DNA; a column of zeros is an unknown base.
        layer : str
            A name of ``layers``, or ``tokens``.
        units : sequence of int, optional
            Channels; all when None.
        positions : slice or (int, int), optional
            First and last + 1 of the layer's grid; all when None.
        bases : (int, int), optional
            Instead of positions: first and last + 1 of bases of the window, whose positions are wanted.

        Raises
        ------
        InputError
            If there is no such layer, unit or position, or the answer would need more than ``MOST_BYTES``.
        """
        about = self.layer(layer)
        chosen = about.chosen(units)
        start, end = self._positions(about, positions, bases)
        if 4 * len(chosen) * (end - start) > MOST_BYTES:
            raise InputError(
                f"{len(chosen)} units at {end - start} positions of {about.name} are "
                f"{4 * len(chosen) * (end - start) / 2**30:.1f} GiB; choose units or positions, or take pieces"
            )
        found = np.empty((len(chosen), end - start), dtype=np.float32)
        for first, part in self._pieces(window, about, chosen, (start, end)):
            found[:, first - start : first - start + part.shape[1]] = part
        return Activation(about, chosen, (start, end), found)

    def pieces(
        self,
        window: ByteArray,
        layer: str = TOKENS,
        *,
        units: Sequence[int] | IndexArray | None = None,
        positions: slice | tuple[int, int] | None = None,
        bases: tuple[int, int] | None = None,
    ) -> Iterator[Activation]:
        """Yield what :meth:`of` returns in pieces of some hundred kilobytes to some megabytes, in order."""
        about = self.layer(layer)
        chosen = about.chosen(units)
        for first, part in self._pieces(window, about, chosen, self._positions(about, positions, bases)):
            yield Activation(about, chosen, (first, first + part.shape[1]), part)

    def layer(self, name: str) -> Layer:
        """Return a layer by name.

        Raises
        ------
        InputError
            If the bundle has none of that name.
        """
        if name == TOKENS and TOKENS not in self.layers and has_activations(self.network.bundle):
            name = f"layer_{self.network.depth}"
        if name not in self.layers:
            told = (
                ""
                if has_activations(self.network.bundle)
                else ("; the others need a bundle that was exported with activations: export the model again with them")
            )
            raise InputError(f"layer {name!r} is unknown; this bundle has {', '.join(self.layers)}{told}")
        return self.layers[name]

    def reading(self, window: ByteArray) -> Reading:
        """Return what the network makes of a window; that of the last window is kept."""
        if self._last is None or not np.array_equal(self._last.window, window):
            self._last = self.network.read(window)
        return self._last

    def _pieces(
        self, window: ByteArray, layer: Layer, units: IndexArray, positions: tuple[int, int]
    ) -> Iterator[tuple[int, FloatArray]]:
        """Yield first position and values (units, positions) of each piece, without gaps."""
        reading, (start, end) = self.reading(window), positions
        if layer.name == EMBEDDING:
            yield start, np.ascontiguousarray(reading.embedded((start, end))[0, :, units])
            return
        if layer.name.startswith("layer_"):
            yield start, np.ascontiguousarray(reading.layer(int(layer.name[6:]))[0, start:end, units])
            return
        scale = layer.positions // self.network.plan.tokens
        for tile in self.network.plan.tiles:
            low, high = max(tile.start * scale, start), min(tile.end * scale, end)
            if low < high:
                values = reading.tile(tile, layer.name)[low - tile.start * scale : high - tile.start * scale]
                yield low, np.ascontiguousarray(values[:, units].T)

    @staticmethod
    def _positions(
        layer: Layer, positions: slice | tuple[int, int] | None, bases: tuple[int, int] | None
    ) -> tuple[int, int]:
        if positions is not None and bases is not None:
            raise InputError("positions and bases both say where; give one of them")
        if bases is not None:
            return layer.overlapping(bases)
        if positions is None:
            return 0, layer.positions
        if isinstance(positions, slice):
            if positions.step not in (None, 1):
                raise InputError(f"positions have the step {positions.step}; 1 is needed")
            stop = layer.positions if positions.stop is None else positions.stop
            positions = (positions.start or 0, stop)
        start, end = positions
        if not 0 <= start < end <= layer.positions:
            raise InputError(f"positions {start}:{end} do not lie in {layer.name}, which has {layer.positions}")
        return int(start), int(end)

    def close(self) -> None:
        """Free the model."""
        self._last = None
        self.network.close()

    def __enter__(self) -> Activations:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def layers_of(network: Network) -> dict[str, Layer]:
    """Return the layers that a bundle can show, from the bases up."""
    grid, plan, parts = network.bundle.geometry, network.plan, network.parts
    found: dict[str, Layer] = {}
    known = has_activations(network.bundle)
    if known:
        for name, shape in parts.shapes(ACTIVATIONS_TILE).items():
            scale = _size(shape, 1) // plan.width
            found[name] = Layer(name, _size(shape, 2), plan.tokens * scale, parts.tiling.token_bp // scale)
    for number in range(network.depth + 1 if known else 1):
        name = f"layer_{number}"
        found[name] = Layer(name, network.channels, plan.tokens, parts.tiling.token_bp)
    units = _size(parts.shapes("body")["embedding"], 2)
    found[EMBEDDING] = Layer(EMBEDDING, units, grid.bins, grid.bin_size_bp, grid.crop_bp)
    return found


def _size(shape: Sequence[int | None], axis: int) -> int:
    """Return a size that every graph of the exporter fixes."""
    size = shape[axis]
    if size is None:
        raise FormatError("a graph of activations leaves a size open; export the model again")
    return size
