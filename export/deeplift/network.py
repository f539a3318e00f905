"""A Borzoi network over pairs: multipliers of DeepLIFT from chosen outputs back to the bases.

The tower runs tile after tile and a transformer block is computed again on the way back, so that a window of the
published size needs the memory of a few forward passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from borzoi_rt.backends.device import Device
from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.types import DoubleArray, FloatArray, IndexArray

from ..graphs.exact import TILE_TOKENS, reach_tokens, tiled_trunk
from ..graphs.spans import Span
from ..models.borzoi import Attention, Borzoi, NormConv, TransformerBlock, UnetBlock
from ..models.rotary import RotaryAttention
from ..weights.bundle import read_network
from . import rules
from .rules import Pair


class PairedNetwork:
    """Coverage, and multipliers between a window and a reference.

    Parameters
    ----------
    model : Borzoi
        In inference mode; its precision is that of the answer.
    device : torch.device, optional
        Where it runs.
    """

    def __init__(self, model: Borzoi, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._model = model.eval().requires_grad_(False).to(self._device)
        self._kind = model.head.weight.dtype

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self._model.config.geometry

    def coverage(self, window: FloatArray, positions: IndexArray, bins: tuple[int, int]) -> FloatArray:
        """Return squashed coverage, float32 (tracks, bins), of a window (4, length)."""
        with torch.no_grad():
            tokens, skips = tiled_trunk(self._model, self._tensor(window))
            embedding = self._model.embed(tokens, skips)[..., slice(*bins)]
            logits = self._logits(embedding, positions)
            found = torch.logaddexp(torch.zeros_like(logits), logits)
        coverage: FloatArray = found[0].float().cpu().numpy()
        return coverage

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
        """Return m with ``sum m (window - reference) = sum cotangent (coverage - coverage of the reference)``.

        Parameters
        ----------
        window, reference : float32 ndarray of shape (4, length)
        positions : int64 ndarray of shape (tracks,)
        cotangent : float64 ndarray of shape (tracks, bins)
            Multipliers of the target, of coverage.
        bins : (int, int)
            First and last + 1 of the output bins of ``cotangent``.
        bases : (int, int)
            Bases to answer for.

        Returns
        -------
        float64 ndarray of shape (4, bases)
        """
        inputs = (self._tensor(window), self._tensor(reference))
        with torch.no_grad():
            held = [tiled_trunk(self._model, part) for part in inputs]
        leaves = [part.requires_grad_() for part in (held[0][0], *held[0][1])]
        pairs = list(zip(leaves, (held[1][0], *held[1][1]), strict=True))
        with torch.enable_grad():
            x, r = self._embed(pairs[0], pairs[1:])
            embedding = (x[..., slice(*bins)], r[..., slice(*bins)])
            coverage, _ = rules.softplus(rules.linear(lambda part: self._logits(part, positions), embedding))
            weights = torch.from_numpy(np.ascontiguousarray(cotangent)).to(self._device, self._kind)
            (coverage[0] * weights).sum().backward()
        slopes = [leaf.grad for leaf in leaves if leaf.grad is not None]
        return self._to_bases(inputs, slopes, bases)

    def close(self) -> None:
        """Free the network."""
        del self._model

    def _tensor(self, window: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(window)[None]).to(self._device, self._kind)

    def _logits(self, embedding: Tensor, positions: IndexArray) -> Tensor:
        head, chosen = self._model.head, torch.from_numpy(np.asarray(positions)).to(self._device)
        return head.weight[chosen] @ embedding + head.bias[chosen][:, None]

    def _to_bases(self, inputs: Pair, slopes: list[Tensor], bases: tuple[int, int]) -> DoubleArray:
        """Follow multipliers of tokens and skips to the bases, through the tiles that read one of these."""
        config = self._model.config
        token_bp, halo = config.sequence_length_bp // config.tokens, reach_tokens(config)
        total = torch.zeros(4, config.sequence_length_bp, dtype=torch.float64)
        for start in range(0, config.tokens, TILE_TOKENS):
            kept = Span(start, min(start + TILE_TOKENS, config.tokens), config.tokens)
            read = kept.widened(halo)
            columns = slice(read.start * token_bp, read.end * token_bp)
            if columns.stop <= bases[0] or bases[1] <= columns.start:
                continue
            leaf = inputs[0][..., columns].clone().requires_grad_()
            with torch.enable_grad():
                score = torch.zeros((), dtype=self._kind, device=self._device)
                for (part, _), slope in zip(self._convolve((leaf, inputs[1][..., columns])), slopes, strict=True):
                    scale = part.shape[-1] // read.size
                    first = (kept.start - read.start) * scale
                    own = slope[..., kept.start * scale : kept.end * scale]
                    score = score + (part[..., first : first + kept.size * scale] * own).sum()
                score.backward()
            assert leaf.grad is not None
            total[:, columns] += leaf.grad[0].double().cpu()
        found: DoubleArray = total[:, slice(*bases)].numpy()
        return found

    def _convolve(self, x: Pair) -> list[Pair]:
        """Return tokens and skips, as :meth:`Borzoi.convolve` does."""
        x = rules.pool(rules.linear(self._model.stem, x))
        skips: list[Pair] = []
        for block in self._model.tower:
            x = _norm_conv(cast("NormConv", block), x)
            skips.insert(0, x)
            x = rules.pool(x)
        return [x, *skips[: self._model.config.unets]]

    def _embed(self, x: Pair, skips: Iterable[Pair]) -> Pair:
        """Return what the head reads, as :meth:`Borzoi.embed` does."""
        x = _exchanged(x)
        for block in self._model.transformer:
            x = checkpoint(_transformer, cast("TransformerBlock", block), *x, use_reentrant=False)
        x = _exchanged(x)
        for layer, skip in zip(self._model.unet, skips, strict=True):
            x = _unet(cast("UnetBlock", layer), x, skip)
        crop = self._model.config.crop_bins
        x = (x[0][..., crop : x[0].shape[-1] - crop], x[1][..., crop : x[1].shape[-1] - crop])
        if self._model.tail is not None:
            x = _norm_conv(self._model.tail, x)
        return rules.gelu(x)


def _exchanged(x: Pair) -> Pair:
    return x[0].transpose(1, 2), x[1].transpose(1, 2)


def _norm_conv(block: NormConv, x: Pair) -> Pair:
    return rules.linear(block.conv, rules.gelu(rules.linear(block.norm, x)))


def _unet(block: UnetBlock, x: Pair, skip: Pair) -> Pair:
    x = rules.linear(block.dense, rules.gelu(rules.linear(block.norm, x)))
    x = (x[0].repeat_interleave(2, dim=-1), x[1].repeat_interleave(2, dim=-1))
    x = rules.added(x, rules.linear(block.dense_skip, rules.gelu(rules.linear(block.norm_skip, skip))))
    return rules.linear(lambda part: block.pointwise(block.depthwise(part)), x)


def _transformer(block: TransformerBlock, x: Tensor, r: Tensor) -> Pair:
    pair = (x, r)
    attend = _rotary if isinstance(block.attention, RotaryAttention) else _relative
    attended = attend(block.attention, rules.layer_norm(block.norm_attention, pair))  # type: ignore[arg-type]
    pair = rules.added(pair, rules.linear(block.attention.out, attended))
    hidden = rules.relu(rules.linear(block.dense_up, rules.layer_norm(block.norm_dense, pair)))
    return rules.added(pair, rules.linear(block.dense_down, hidden))


def _relative(attention: Attention, x: Pair) -> Pair:
    """Return the mixture of values, (batch, tokens, channels), of attention with relative positions."""
    query = rules.linear(lambda part: attention.split(attention.query(part)) * attention.key_size**-0.5, x)
    key = rules.linear(lambda part: attention.split(attention.key(part)).transpose(-1, -2), x)
    value = rules.linear(lambda part: attention.split(attention.value(part)), x)
    keys = attention.relative_keys().transpose(-1, -2)
    tokens = torch.arange(attention.tokens, device=keys.device)
    classes = attention.position_classes[tokens[None, :] - tokens[:, None] + attention.tokens - 1]
    mixed = []
    for head in range(attention.heads):  # the largest tensors are (tokens, tokens), of one head at a time
        one = slice(head, head + 1)
        asking = (query[0][:, one], query[1][:, one])
        content = (asking[0] + attention.content_bias[:, one], asking[1] + attention.content_bias[:, one])
        logits = rules.product(content, (key[0][:, one], key[1][:, one]))

        def by_distance(part: Tensor, one: slice = one) -> Tensor:
            rows = (part + attention.position_bias[:, one]) @ keys[one]
            return rows.gather(-1, classes.expand(*rows.shape[:2], -1, -1))

        shares = rules.softmax(rules.added(logits, rules.linear(by_distance, asking)))
        mixed.append(rules.product(shares, (value[0][:, one], value[1][:, one])))
    return _joined(mixed)


def _rotary(attention: RotaryAttention, x: Pair) -> Pair:
    """Return the mixture of values, (batch, tokens, channels), of attention with rotary positions."""
    sizes = [attention.heads, attention.key_heads, attention.key_heads]

    def part_of(number: int) -> Pair:
        def projected(part: Tensor) -> Tensor:
            parts = attention.qkv(part).unflatten(-1, (-1, attention.size)).transpose(1, 2)
            found = torch.split(parts, sizes, dim=1)[number]
            return found if number == 2 else attention.turned(found)

        return rules.linear(projected, x)

    (query, key, value), group, mixed = map(part_of, range(3)), attention.heads // attention.key_heads, []
    for head in range(attention.heads):
        one, shared = slice(head, head + 1), slice(head // group, head // group + 1)
        asking = (query[0][:, one] * attention.size**-0.5, query[1][:, one] * attention.size**-0.5)
        logits = rules.product(asking, (key[0][:, shared].transpose(-1, -2), key[1][:, shared].transpose(-1, -2)))
        mixed.append(rules.product(rules.softmax(logits), (value[0][:, shared], value[1][:, shared])))
    return _joined(mixed)


def _joined(heads: list[Pair]) -> Pair:
    """Return heads (batch, 1, tokens, size) beside each other: (batch, tokens, channels)."""
    x, r = (torch.cat([head[part] for head in heads], dim=1) for part in range(2))
    return x.transpose(1, 2).flatten(2), r.transpose(1, 2).flatten(2)


def open_paired(bundle: Bundle, device: Device) -> PairedNetwork:
    """Read the network of a bundle for DeepLIFT.

    Raises
    ------
    InputError
        If the bundle is of another family than Borzoi or not in fp32, or torch cannot use the device.
    """
    usable = device.kind == "cpu" or (device.kind == "cuda" and device.number < torch.cuda.device_count())
    if not usable or device.tf32:
        raise InputError(f"device {device}: DeepLIFT runs by torch in float32 on cpu, or on cuda:N that torch can use")
    if device.threads is not None:
        torch.set_num_threads(device.threads)
    torch.backends.cudnn.allow_tf32 = False  # which torch takes for convolutions
    return PairedNetwork(read_network(bundle), torch.device(str(device)))
