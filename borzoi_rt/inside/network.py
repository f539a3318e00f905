"""One bundle with its inside open, and what it makes of one window: tokens of every layer, embeddings, slopes.

Everything is made when it is first asked for, and kept for as long as the :class:`Reading` of the window is.

    bases -> tower (tiles) -> layer 0 -> block 1 -> layer 1 -> ... -> layer depth -> decoder -> embedding -> head

Tokens of layer 0 enter the transformer, those of layer ``depth`` leave it. Slopes are derivatives of one number by
each of these, from that by squashed coverage (the *cotangent*): ``d S / d layer`` in the shape of the layer.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..backends.activations import need_activations, open_activations
from ..backends.device import Device
from ..bundle.graph_memory import QUERIES
from ..bundle.manifest import N_POLICIES
from ..bundle.names import ACTIVATIONS_LAYERS, attention_graph
from ..bundle.opening import Bundle
from ..engine.tiles import Tile, TilePlan, choose_body
from ..errors import FormatError, InputError
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray

ROWS_AT_ONCE = QUERIES  # of a run of attention: at the published size 34 MB of shares


class Network:
    """A bundle opened for a look inside; a context manager.

    Parameters
    ----------
    bundle : Bundle
        The model; what goes beyond embeddings needs its graphs of activations.
    device : Device, optional
        Where it runs.
    n_code : str, optional
        ``zero`` or ``uniform`` for unknown bases; None takes what the weights were trained with.

    Raises
    ------
    InputError
        If the bundle has no split graphs, or the code is unknown.
    """

    def __init__(self, bundle: Bundle, device: Device | str = "cpu", *, n_code: str | None = None) -> None:
        code = n_code or bundle.info.n_policy
        if code not in N_POLICIES:
            raise InputError(f"n_code {code!r} is unknown; allowed: {', '.join(N_POLICIES)}")
        self.bundle, self.n_code, self.n_fill = bundle, code, N_POLICIES[code]
        self.device = Device.parse(device)
        self.parts = open_activations(bundle, self.device)
        self.plan = TilePlan.of(bundle.geometry, self.parts.tiling)

    @cached_property
    def depth(self) -> int:
        """Blocks of the transformer."""
        need_activations(self.bundle)
        return len(self.parts.shapes(ACTIVATIONS_LAYERS))

    @cached_property
    def heads(self) -> int:
        """Heads of a block's attention."""
        need_activations(self.bundle)
        heads = self.parts.shapes(attention_graph(1))["shares"][1]
        if heads is None:
            raise FormatError("a graph of attention leaves the number of heads open; export the model again")
        return heads

    @property
    def channels(self) -> int:
        """Channels of a token."""
        return self.parts.tiling.channels

    def read(self, window: ByteArray) -> Reading:
        """Return what the network makes of one window, one-hot uint8 (4, length).

        Raises
        ------
        InputError
            If the window has another shape or type.
        """
        needed = (4, self.bundle.geometry.sequence_length_bp)
        if window.shape != needed or window.dtype != np.uint8:
            raise InputError(f"window is {window.dtype} of shape {window.shape}; uint8 of shape {needed} is needed")
        return Reading(self, window)

    def close(self) -> None:
        """Free the graphs."""
        self.parts.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Reading:
    """What a network makes of one window; made by :meth:`Network.read`."""

    def __init__(self, network: Network, window: ByteArray) -> None:
        self.network, self.window = network, window
        self._layers: dict[int, FloatArray] = {}

    def tile(self, tile: Tile, name: str) -> FloatArray:
        """Return an activation of the tower that a tile owns, float32 (positions, units); ``stem`` or ``tower_N``."""
        network = self.network
        need_activations(network.bundle)
        bases = np.ascontiguousarray(self.window[None, :, network.plan.bases(tile)])
        found = network.parts.tile_activations(name, bases, network.n_fill)[0]
        scale = len(found) // network.plan.width
        owned: FloatArray = found[(tile.start - tile.read) * scale : (tile.end - tile.read) * scale]
        return owned

    @cached_property
    def _tiles(self) -> list[tuple[np.ndarray, ...]]:
        network, found = self.network, []
        for tile in network.plan.tiles:
            bases = np.ascontiguousarray(self.window[None, :, network.plan.bases(tile)])
            found.append(network.plan.owned(tile, [part[0] for part in network.parts.tile(bases, network.n_fill)]))
        return found

    def _trunk(self, spans: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, list[np.ndarray]]:
        return self.network.plan.assemble(self._tiles, spans)

    def layer(self, number: int) -> FloatArray:
        """Return the tokens behind block ``number``, float32 (1, tokens, channels); 0 is before the transformer.

        Raises
        ------
        InputError
            If there is no such layer.
        """
        if number == 0:
            if 0 not in self._layers:
                nothing = ((0, 0),) * len(self.network.parts.tiling.skips_per_token)
                self._layers[0] = self._trunk(nothing)[0]
            return self._layers[0]
        self._check(number)
        if number not in self._layers:
            missing = [other for other in range(1, number + 1) if other not in self._layers]
            found = self.network.parts.layers(self.layer(0), missing)
            self._layers.update(zip(missing, found, strict=True))
        return self._layers[number]

    def _check(self, number: int) -> None:
        if not 1 <= number <= self.network.depth:
            raise InputError(f"layer {number!r} is not there; the transformer has layers 1 to {self.network.depth}")

    @cached_property
    def embedding(self) -> FloatArray:
        """What the head reads of every output bin, float32 (1, bins, channels)."""
        return self.embedded((0, self.network.bundle.geometry.bins))

    def embedded(self, bins: tuple[int, int]) -> FloatArray:
        """Return what the head reads of bins [start, end), float32 (1, bins, channels), by the smallest body."""
        network = self.network
        choice = choose_body(network.bundle.geometry, network.parts.tiling, bins)
        tokens, skips = self._trunk(choice.spans)
        found = network.parts.body(tokens, skips, name=choice.name, token_start=choice.token_start)
        return np.ascontiguousarray(found[:, choice.offset : choice.offset + bins[1] - bins[0]])

    def coverage(self, track_index: IndexArray, bins: tuple[int, int]) -> FloatArray:
        """Return squashed coverage of chosen tracks and bins, float32 (tracks, bins)."""
        if "embedding" in self.__dict__ or bins == (0, self.network.bundle.geometry.bins):
            wanted = np.ascontiguousarray(self.embedding[:, bins[0] : bins[1]])
        else:
            wanted = self.embedded(bins)
        found: FloatArray = self.network.parts.head(wanted, track_index)[0]
        return found

    def linear(self, track_index: IndexArray) -> FloatArray:
        """Return what the weights of the head alone make of the embedding, float32 (tracks, bins)."""
        need_activations(self.network.bundle)
        found: FloatArray = self.network.parts.linear(self.embedding, track_index)[0]
        return found

    def attention(
        self, layer: int, queries: IndexArray, to_attended: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Return rows of attention of some tokens in block ``layer``, float32 (heads, queries, tokens).

        Parameters
        ----------
        layer : int
            Block, from 1.
        queries : int64 ndarray of shape (queries,)
            Tokens that attend; at most ``ROWS_AT_ONCE`` keep memory small.
        to_attended : float32 ndarray of shape (queries, channels), optional
            Derivative of a number by what the block's attention adds to these tokens; with it the derivative by every
            share is returned, too.
        """
        self._check(layer)
        given = None if to_attended is None else np.ascontiguousarray(to_attended[None])
        shares, by_share = self.network.parts.attention(layer, self.layer(layer - 1), queries, given)
        return shares[0], None if by_share is None else by_share[0]

    def slopes(self, track_index: IndexArray, cotangent: DoubleArray, bins: tuple[int, int]) -> Slopes:
        """Return the derivatives of a number by layers.

        Parameters
        ----------
        track_index : int64 ndarray of shape (tracks,)
            Outputs of the head.
        cotangent : float64 ndarray of shape (tracks, bins)
            Derivative of the number by their squashed coverage.
        bins : (int, int)
            First and last + 1 of these bins.
        """
        need_activations(self.network.bundle)
        return Slopes(self, track_index, cotangent, bins)


class Slopes:
    """Derivatives of one number by what lies inside the network; made by :meth:`Reading.slopes`.

    Arrays are float32 but for a common factor, ``size``, which is taken out of the cotangent: multiply by it.
    """

    def __init__(
        self, reading: Reading, track_index: IndexArray, cotangent: DoubleArray, bins: tuple[int, int]
    ) -> None:
        self._reading, self._tracks = reading, track_index
        size = float(np.abs(cotangent).max(initial=0.0))
        if not np.isfinite(size):
            raise InputError("the derivative by coverage is not finite: the target has no value, or no slope, there")
        self.size = size or 1.0
        self._cotangent = np.zeros((1, len(track_index), reading.network.bundle.geometry.bins), dtype=np.float32)
        self._cotangent[0, :, bins[0] : bins[1]] = cotangent / self.size
        self._layers: dict[int, FloatArray] = {}
        self._attended: dict[int, FloatArray] = {}

    @cached_property
    def by_embedding(self) -> FloatArray:
        """Derivative by the embedding, float32 (1, bins, channels), over ``size``."""
        return self._reading.network.parts.head_slopes(self._reading.embedding, self._tracks, self._cotangent)

    def by_layer(self, number: int) -> FloatArray:
        """Derivative by the tokens of a layer, float32 (1, tokens, channels), over ``size``."""
        depth = self._reading.network.depth
        if not 0 <= number <= depth:
            raise InputError(f"layer {number!r} is not there; there are 0 to {depth}")
        if number == depth and depth not in self._layers:
            parts = self._reading.network.parts
            spans = parts.tiling.bodies["body"].skips
            skips = self._reading._trunk(spans)[1]
            self._layers[depth] = parts.decoder_slopes(self._reading.layer(depth), skips, self.by_embedding)
        if number not in self._layers:
            self._through(number + 1)
        return self._layers[number]

    def by_attended(self, number: int) -> FloatArray:
        """Derivative by what the attention of block ``number`` adds, float32 (1, tokens, channels), over ``size``."""
        self._reading._check(number)
        if number not in self._attended:
            self._through(number)
        return self._attended[number]

    def _through(self, block: int) -> None:
        """Lead back through one block."""
        behind, before = self.by_layer(block), self._reading.layer(block - 1)
        found = self._reading.network.parts.layer_slopes(block, before, behind)
        self._layers[block - 1], self._attended[block] = found
