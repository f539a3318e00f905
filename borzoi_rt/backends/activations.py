"""The graphs of activations of a bundle on onnxruntime: the one door to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bundle.graph_check import check_graph_file
from ..bundle.names import (
    ACTIVATIONS_LAYERS,
    ACTIVATIONS_TILE,
    SLOPES_DECODER,
    SLOPES_HEAD,
    attention_graph,
    slopes_graph,
)
from ..bundle.opening import Bundle
from ..errors import BackendError, InputError
from .device import Device
from .onnx import OnnxParts, split_of
from .runtime import check_provider, line, onnxruntime


class OnnxActivations(OnnxParts):
    """The split graphs of a bundle with those that show what lies inside; each is loaded when it is first run."""

    def tile_activations(self, name: str, sequence: np.ndarray, n_fill: float) -> np.ndarray:
        """Return one activation of a tile.

        Parameters
        ----------
        name : str
            ``stem``, or ``tower_1`` and so on.
        sequence : uint8 ndarray of shape (1, 4, tile length)
            One-hot DNA.
        n_fill : float
            Value of the four rows of an unknown base.

        Returns
        -------
        float32 ndarray of shape (1, positions, channels)
            Before pooling, with the bias.
        """
        feeds = {"sequence": np.ascontiguousarray(sequence), "n_fill": np.asarray(n_fill, dtype=np.float32)}
        return self._fetched(ACTIVATIONS_TILE, [name], feeds)[0]

    def layers(self, tokens: np.ndarray, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return tokens behind chosen blocks of the transformer, counted from 1.

        Parameters
        ----------
        tokens : float32 ndarray of shape (1, tokens, channels)
            What enters the transformer.
        numbers : sequence of int
            Blocks; none behind the last of them is computed.
        """
        return self._fetched(ACTIVATIONS_LAYERS, [f"layer_{number}" for number in numbers], {"tokens": tokens})

    def attention(
        self, layer: int, tokens: np.ndarray, queries: np.ndarray, to_attended: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return rows of attention of chosen queries.

        Parameters
        ----------
        layer : int
            Block of the transformer, counted from 1.
        tokens : float32 ndarray of shape (1, tokens, channels)
            What enters the block.
        queries : int64 ndarray of shape (queries,)
            Tokens that attend.
        to_attended : float32 ndarray of shape (1, queries, channels), optional
            Derivative of a number by what the attention of the block adds to these tokens.

        Returns
        -------
        shares : float32 ndarray of shape (1, heads, queries, tokens)
            Each row sums to 1.
        by_share : float32 ndarray of the same shape, or None
            Derivative of that number by every share.
        """
        given = np.zeros((1, len(queries), tokens.shape[2]), np.float32) if to_attended is None else to_attended
        wanted = ["shares"] if to_attended is None else ["shares", "by_share"]
        feeds = {"tokens": tokens, "queries": np.asarray(queries, dtype=np.int64), "to_attended": given}
        found = self._fetched(attention_graph(layer), wanted, feeds)
        return found[0], found[1] if to_attended is not None else None

    def linear(self, embedding: np.ndarray, track_index: np.ndarray) -> np.ndarray:
        """Return what the weights of the head make of an embedding without bias, float32 (1, tracks, bins)."""
        nothing = np.zeros((1, len(track_index), embedding.shape[1]), dtype=np.float32)
        feeds = {"embedding": embedding, "track_index": track_index, "cotangent": nothing}
        return self._fetched(SLOPES_HEAD, ["linear"], feeds)[0]

    def head_slopes(self, embedding: np.ndarray, track_index: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        """Return the derivative by the embedding, from that by squashed coverage (1, tracks, bins)."""
        feeds = {"embedding": embedding, "track_index": track_index, "cotangent": cotangent}
        return self._fetched(SLOPES_HEAD, ["to_embedding"], feeds)[0]

    def decoder_slopes(self, tokens: np.ndarray, skips: Sequence[np.ndarray], to_embedding: np.ndarray) -> np.ndarray:
        """Return the derivative by the tokens behind the transformer, from that by the embedding."""
        feeds = {"tokens": tokens, **{f"skip_{number}": skip for number, skip in enumerate(skips)}}
        return self._fetched(SLOPES_DECODER, ["to_tokens"], {**feeds, "to_embedding": to_embedding})[0]

    def layer_slopes(self, layer: int, tokens: np.ndarray, to_layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives by the tokens before a block and by what its attention adds, from that behind it."""
        feeds = {"tokens": tokens, "to_layer": to_layer}
        to_tokens, to_attended = self._fetched(slopes_graph(layer), ["to_tokens", "to_attended"], feeds)
        return to_tokens, to_attended

    def shapes(self, name: str) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of a graph's outputs, as the graph states them."""
        return check_graph_file(self._bundle.check_graph(name)).outputs

    def _fetched(self, name: str, outputs: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run what some outputs of a graph need, and no more."""
        graph = self._graph(name)
        options = onnxruntime().RunOptions()
        options.only_execute_path_to_fetches = True
        try:
            found: list[np.ndarray] = graph.run(list(outputs), feeds, options)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise BackendError(f"onnxruntime ({self.provider}) failed in graph {name!r}: {line(error)}") from error
        return found


def has_activations(bundle: Bundle) -> bool:
    """Tell whether a bundle has the graphs of activations."""
    return bundle.info.graphs.keys() >= {ACTIVATIONS_TILE, ACTIVATIONS_LAYERS, SLOPES_HEAD, SLOPES_DECODER}


def open_activations(bundle: Bundle, device: str | Device = "cpu", *, threads: int | None = None) -> OnnxActivations:
    """Prepare the graphs of activations of a bundle on ``cpu``, ``cuda[:N]`` or ``tensorrt[:N]``.

    Bundles without these graphs open, too: what the head reads is there in any case.

    Raises
    ------
    InputError
        If the bundle has no split graphs.
    BackendError
        If the device cannot run them.
    """
    where = Device.parse(device, threads=threads)
    if where.kind == "triton":
        raise BackendError("activations are not served: open the bundle on cpu or cuda")
    tiling = split_of(bundle)
    check_provider(where)
    return OnnxActivations(bundle, tiling, where)


def need_activations(bundle: Bundle) -> None:
    """Refuse a bundle without the graphs of activations.

    Raises
    ------
    InputError
        Saying how to get them.
    """
    if not has_activations(bundle):
        raise InputError(
            f"{bundle.path.name} has no graphs of activations; export the model again with its activations, or add "
            "them (borzoi-rt export activations)"
        )
