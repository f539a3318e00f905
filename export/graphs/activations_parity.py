"""What the gate says of activations and slopes: onnxruntime against the network's own layers in float64.

Every activation, row of attention and slope is compared by the root mean square of the difference, in the root mean
square of what the network gives, with the same figure of the network in float32. Of a long window some tiles, tokens
and queries are compared; all that comes before them in the network is part of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.parity import EXPORT_FACTOR
from borzoi_rt.engine.tiles import Tile, TilePlan
from borzoi_rt.errors import ParityError
from borzoi_rt.inside.network import Network

from ..models.borzoi import Attention, Borzoi, NormConv, TransformerBlock
from ..models.rotary import RotaryAttention
from .exact import doubled, one_thread, tiled_trunk
from .finish import THREADS
from .parity import random_window

_TRACKS, _TOKENS, _QUERIES, _TILES = 16, 256, 8, 3
_LEAST = 1e-5  # allowed of a network that float32 gets right to the last digit
_LEAST_SLOPE = 1e-4  # of slopes: a ReLU whose input is 0 but for rounding may pass the derivative or not

Parts = Iterator[tuple[str, np.ndarray]]


class ActivationsGate:
    """Judges drafts of one network; the network runs once, however many forms of the graphs are tried."""

    def __init__(self, model: Borzoi) -> None:
        config = model.config
        self._window = random_window(config.sequence_length_bp)
        self._tracks = np.unique(np.linspace(0, config.tracks - 1, _TRACKS).astype(np.int64))
        self._cotangent = np.random.default_rng(20240301).standard_normal((len(self._tracks), config.bins))
        self._queries = np.unique(np.linspace(0, config.tokens - 1, _QUERIES).astype(np.int64))
        self._step = max(config.tokens // _TOKENS, 1)
        self._model = model
        self._want: dict[str, np.ndarray] = {}
        self._noise: dict[str, float] = {}

    def __call__(self, draft: Bundle) -> dict[str, dict[str, float]]:
        """Return the figures of a draft bundle, for its manifest.

        Raises
        ------
        ParityError
            If one of them is larger than allowed.
        """
        plan = TilePlan.of(draft.geometry, draft.info.tiling) if draft.info.tiling is not None else None
        assert plan is not None
        tiles = [plan.tiles[number] for number in sorted({*np.linspace(0, len(plan.tiles) - 1, _TILES).astype(int)})]
        if not self._want:
            self._want = dict(self._by_network(doubled(self._model), plan, tiles))
            with one_thread():
                rounded = dict(self._by_network(self._model, plan, tiles))
            self._noise = {name: distance(rounded[name], want) for name, want in self._want.items()}
        figures, allowed = {}, {}
        for name, got in self._by_graphs(draft, tiles):
            figures[name] = distance(got, self._want[name])
            least = _LEAST_SLOPE if name.startswith(("slopes", "attended", "by_share")) else _LEAST
            allowed[name] = max(EXPORT_FACTOR * self._noise[name], least)
            if not figures[name] <= allowed[name]:
                raise ParityError(
                    f"activations: onnxruntime is {figures[name]:.2e} from the network in {name}, allowed is "
                    f"{allowed[name]:.2e}, where PyTorch in float32 is {self._noise[name]:.2e}; no bundle was written"
                )
        if figures.keys() != self._want.keys():
            raise ParityError(f"activations: {sorted(self._want.keys() ^ figures.keys())} were not compared")
        return {"activations": figures, "activations_allowed": allowed}

    def _by_graphs(self, draft: Bundle, tiles: list[Tile]) -> Parts:
        with Network(draft, f"cpu:{THREADS}", n_code="zero") as network:
            reading = network.read(self._window[0])
            for name in network.parts.shapes("activations_tile"):
                yield name, np.concatenate([reading.tile(tile, name) for tile in tiles])
            slopes = reading.slopes(self._tracks, self._cotangent, (0, draft.geometry.bins))
            yield "linear", reading.linear(self._tracks)
            yield "slopes_embedding", slopes.by_embedding[0] * slopes.size
            yield f"slopes_{network.depth}", slopes.by_layer(network.depth)[0, :: self._step] * slopes.size
            for number in range(network.depth, 0, -1):
                yield f"layer_{number}", reading.layer(number)[0, :: self._step]
                to_attended = slopes.by_attended(number)[0]
                yield f"attended_{number}", to_attended[:: self._step] * slopes.size
                yield f"slopes_{number - 1}", slopes.by_layer(number - 1)[0, :: self._step] * slopes.size
                shares, by_share = reading.attention(number, self._queries, to_attended[self._queries])
                assert by_share is not None
                yield f"shares_{number}", shares
                yield f"by_share_{number}", by_share * slopes.size

    def _by_network(self, model: Borzoi, plan: TilePlan, tiles: list[Tile]) -> Parts:
        kind = model.head.weight.dtype
        x = torch.from_numpy(self._window).to(kind)
        with torch.no_grad():
            yield from _tower(model, x, plan, tiles)
            tokens, skips = tiled_trunk(model, x)
            layers = [tokens.transpose(1, 2)]
            blocks = list(cast("Iterable[TransformerBlock]", model.transformer))
            for block in blocks:
                layers.append(block(layers[-1]))
        leaf = layers[-1].clone().requires_grad_()
        embedding = model.decode(leaf.transpose(1, 2), skips)
        embedding.retain_grad()
        linear = model.head.weight[self._tracks] @ embedding
        logits = linear + model.head.bias[self._tracks][:, None]
        coverage = torch.logaddexp(torch.zeros_like(logits), logits)
        (coverage * torch.from_numpy(self._cotangent).to(kind)).sum().backward()
        yield "linear", _array(linear[0])
        yield "slopes_embedding", _array(_grad(embedding)[0].T)
        slope = _grad(leaf)
        yield f"slopes_{len(blocks)}", _array(slope[0, :: self._step])
        for number in range(len(blocks), 0, -1):
            yield f"layer_{number}", _array(layers[number][0, :: self._step])
            to_tokens, to_attended = _block_back(blocks[number - 1], layers[number - 1], slope)
            yield f"attended_{number}", _array(to_attended[0, :: self._step])
            yield f"slopes_{number - 1}", _array(to_tokens[0, :: self._step])
            shares, by_share = _rows(blocks[number - 1], layers[number - 1], self._queries, to_attended)
            yield f"shares_{number}", _array(shares[0])
            yield f"by_share_{number}", _array(by_share[0])
            slope = to_tokens


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """Return the root mean square of the difference, in that of ``want``."""
    scale = float(np.sqrt(np.mean(np.square(want, dtype=np.float64))))
    found = float(np.sqrt(np.mean(np.square(got.astype(np.float64) - want))))
    return found / scale if scale else found


def activations_gate(model: Borzoi) -> Callable[[Bundle], Mapping[str, dict[str, float]]]:
    """Return a gate of a network; it runs the network when the first draft comes."""
    return ActivationsGate(model)


def _tower(model: Borzoi, x: Tensor, plan: TilePlan, tiles: list[Tile]) -> Parts:
    """Yield stem and tower of some tiles, what they own, (positions, units)."""
    found: dict[str, list[np.ndarray]] = {}
    for tile in tiles:
        part = model.stem(x[..., plan.bases(tile)])
        parts = {"stem": part}
        for number, block in enumerate(cast("Iterable[NormConv]", model.tower), start=1):
            part = block(functional.max_pool1d(part, 2))
            parts[f"tower_{number}"] = part
        for name, values in parts.items():
            scale = values.shape[2] // plan.width
            owned = values[0, :, (tile.start - tile.read) * scale : (tile.end - tile.read) * scale]
            found.setdefault(name, []).append(_array(owned.T))
    for name, pieces in found.items():
        yield name, np.concatenate(pieces)


def _block_back(block: TransformerBlock, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives by the input of a block and by what its attention adds."""
    leaf, added = x.detach().clone().requires_grad_(), cast("list[Tensor]", [])

    def keep(_module: torch.nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        added.append(output)

    hook = block.attention.register_forward_hook(keep)
    try:
        block(leaf).backward(slope)
    finally:
        hook.remove()
    return _grad(leaf), _grad(added[0])


def _rows(block: TransformerBlock, x: Tensor, queries: np.ndarray, to_attended: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows of attention, (1, heads, queries, tokens), and the derivative by them, by autograd.

    Raises
    ------
    ParityError
        If what is made of these rows is not what the network's attention gives.
    """
    attention = block.attention
    with torch.no_grad():
        normed = block.norm_attention(x)
        if isinstance(attention, RotaryAttention):
            shares, value = _rotary(attention, normed, queries)
        else:
            shares, value = _relative(attention, normed, queries)
        given = attention(normed)[:, queries]
    leaf = shares.clone().requires_grad_()
    made = attention.out((leaf @ value).transpose(1, 2).flatten(2))
    tolerance = 1e-9 if x.dtype == torch.float64 else 1e-3
    if float((made.detach() - given).abs().max()) > tolerance * max(float(given.abs().max()), 1.0):
        raise ParityError("activations: rows of attention do not give what the attention gives; no bundle was written")
    (made * to_attended[:, queries]).sum().backward()
    return shares, _grad(leaf)


def _relative(attention: Attention, x: Tensor, queries: np.ndarray) -> tuple[Tensor, Tensor]:
    query = attention.split(attention.query(x)) * attention.key_size**-0.5
    key, value = attention.split(attention.key(x)), attention.split(attention.value(x))
    logits = (query + attention.content_bias)[:, :, queries] @ key.transpose(-1, -2)
    rows = (query + attention.position_bias)[:, :, queries] @ attention.relative_keys().transpose(-1, -2)
    distance = np.arange(attention.tokens)[None, :] - queries[:, None] + attention.tokens - 1
    classes = attention.position_classes[torch.from_numpy(distance)]
    return torch.softmax(logits + rows.gather(-1, classes.expand(*rows.shape[:2], -1, -1)), dim=-1), value


def _rotary(attention: RotaryAttention, x: Tensor, queries: np.ndarray) -> tuple[Tensor, Tensor]:
    parts = attention.qkv(x).unflatten(-1, (-1, attention.size)).transpose(1, 2)
    query, key, value = torch.split(parts, [attention.heads, attention.key_heads, attention.key_heads], dim=1)
    group = attention.heads // attention.key_heads
    key, value = (part.repeat_interleave(group, dim=1) for part in (attention.turned(key), value))
    logits = attention.turned(query)[:, :, queries] @ key.transpose(-1, -2) * attention.size**-0.5
    return torch.softmax(logits, dim=-1), value


def _grad(leaf: Tensor) -> Tensor:
    if leaf.grad is None:
        raise AssertionError("autograd left no derivative")
    return leaf.grad


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().numpy()
    return found
