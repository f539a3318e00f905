"""The Borzoi network: convolution tower, transformer, U-net decoder, one head.

Follows calico/baskerville (``blocks.py``, ``layers.py``, ``seqnn.py``). Comments give shapes for the published human
model: 524,288 bp, 4,096 tokens of 128 bp, 6,144 bins of 32 bp.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from borzoi_rt.errors import InputError

from .config import BorzoiConfig
from .rotary import RotaryAttention

BATCH_NORM_EPS = 1e-3  # Keras' default; PyTorch's 1e-5 shifts track sums by 20 %
LAYER_NORM_EPS = 1e-3


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, the one Borzoi was trained with."""
    return functional.gelu(x, approximate="tanh")


def position_features(tokens: int, features: int, widths_of: int) -> np.ndarray:
    """Return the relative-position basis, float32 of shape (2 * tokens - 1, features).

    Row r is the distance d = key - query = r - (tokens - 1): half of the columns are 1 where a central mask is wider
    than |d|, the other half the same times sign(d). ``widths_of`` is the token count the widths were made for: they
    belong to the weights and do not change with the input.
    """
    half = features // 2
    rate = np.float32(math.exp(math.log(widths_of + 1) / half))
    widths = rate ** np.arange(1, half + 1, dtype=np.float32) - np.float32(1)
    distance = np.arange(-(tokens - 1), tokens, dtype=np.float32)
    masks = (widths[None, :] > np.abs(distance)[:, None]).astype(np.float32)
    return np.concatenate([masks, np.sign(distance)[:, None] * masks], axis=1)


def position_table(tokens: int, features: int, widths_of: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows of the basis (31 for the published model) and the row of every distance.

    Returns
    -------
    rows : float32 ndarray of shape (classes, features)
    classes : int64 ndarray of shape (2 * tokens - 1,)
    """
    basis = position_features(tokens, features, widths_of)
    rows, classes = np.unique(basis, axis=0, return_inverse=True)
    return rows, classes.reshape(-1).astype(np.int64)


class NormConv(nn.Module):
    """BatchNorm, GELU, convolution: the pre-activation block of tower and tail."""

    def __init__(self, channels: int, filters: int, width: int, momentum: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, eps=BATCH_NORM_EPS, momentum=momentum)
        self.conv = nn.Conv1d(channels, filters, width, padding=width // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.conv(gelu(self.norm(x))))


class Attention(nn.Module):
    """Multi-head attention with Transformer-XL biases and central-mask relative positions.

    ``plain_positions`` chooses the dense form, ``(heads, tokens, 2 * tokens - 1)`` products and a shift, which is the
    oracle of the default: products with the distinct rows of the basis, spread by class of distance.
    """

    position_rows: Tensor
    position_classes: Tensor

    def __init__(self, config: BorzoiConfig, channels: int) -> None:
        super().__init__()
        heads, key_size = config.heads, config.key_size
        self.heads, self.key_size, self.tokens = heads, key_size, config.tokens
        self.query = nn.Linear(channels, heads * key_size, bias=False)
        self.key = nn.Linear(channels, heads * key_size, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.relative_key = nn.Linear(config.position_features, heads * key_size, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(1, heads, 1, key_size))
        self.position_bias = nn.Parameter(torch.zeros(1, heads, 1, key_size))
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(config.attention_dropout)
        self.plain_positions = False
        self.set_positions(config)

    def set_positions(self, config: BorzoiConfig) -> None:
        """Make the position tables, which follow from the config and are not weights."""
        rows, classes = position_table(config.tokens, config.position_features, config.widths_of)
        self.register_buffer("position_rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("position_classes", torch.from_numpy(classes), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """(batch, tokens, heads * size) -> (batch, heads, tokens, size)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query = self.split(self.query(x)) * self.key_size**-0.5  # scaled before the two biases are added
        key, value = self.split(self.key(x)), self.split(self.value(x))
        logits = (query + self.content_bias) @ key.transpose(-1, -2)  # (batch, 8, 4096, 4096)
        logits = logits + self.relative_logits(query + self.position_bias)
        mixed = self.dropout(torch.softmax(logits, dim=-1)) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))

    def relative_keys(self) -> Tensor:
        """Keys of the distinct rows, (heads, classes, key size)."""
        return self.relative_key(self.position_rows).unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def relative_logits(self, query: Tensor) -> Tensor:
        rows = query @ self.relative_keys().transpose(-1, -2)  # (batch, 8, 4096, 31)
        if self.plain_positions:
            dense = rows[..., self.position_classes]  # (batch, 8, 4096, 8191)
            return relative_shift(dense)
        tokens = torch.arange(self.tokens, device=query.device)
        classes = self.position_classes[tokens[None, :] - tokens[:, None] + self.tokens - 1]
        return rows.gather(-1, classes.expand(*rows.shape[:2], -1, -1))


def relative_shift(x: Tensor) -> Tensor:
    """Turn rows over distances into rows over keys: ``out[i, j] = x[i, j - i + tokens - 1]``."""
    batch, heads, tokens, distances = x.shape
    x = functional.pad(x, (1, 0)).reshape(batch, heads, distances + 1, tokens)[:, :, 1:]
    return x.reshape(batch, heads, tokens, distances)[..., :tokens]


class TransformerBlock(nn.Module):
    """Pre-LayerNorm attention and a ReLU feed-forward network, both added to the input."""

    def __init__(self, config: BorzoiConfig, channels: int) -> None:
        super().__init__()
        hidden = int(config.dense_expansion * channels)
        self.norm_attention = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        kind = RotaryAttention if config.rotary_size else Attention
        self.attention: Attention | RotaryAttention = kind(config, channels)
        self.norm_dense = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.dense_up = nn.Linear(channels, hidden)
        self.dense_down = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        hidden = torch.relu(self.dropout(self.dense_up(self.norm_dense(x))))
        return x + self.dropout(self.dense_down(hidden))


class UnetBlock(nn.Module):
    """Double the resolution, add the skip, then a separable convolution of width 3."""

    def __init__(self, config: BorzoiConfig, channels: int, skip_channels: int) -> None:
        super().__init__()
        momentum = config.batch_norm_momentum
        self.norm = nn.BatchNorm1d(channels, eps=BATCH_NORM_EPS, momentum=momentum)
        self.norm_skip = nn.BatchNorm1d(skip_channels, eps=BATCH_NORM_EPS, momentum=momentum)
        self.dense = nn.Conv1d(channels, channels, 1) if config.upsample_conv else nn.Identity()
        self.dense_skip = nn.Conv1d(skip_channels, channels, 1)
        width = config.unet_width
        self.depthwise = nn.Conv1d(channels, channels, width, padding=width // 2, groups=channels, bias=False)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.dense(gelu(self.norm(x)))
        # Nearest-neighbour repeat as a broadcast: exact, and every exporter knows it.
        x = x.unsqueeze(-1).expand(-1, -1, -1, 2).flatten(2)
        x = x + self.dense_skip(gelu(self.norm_skip(skip)))
        return self.pointwise(self.depthwise(x))


class Borzoi(nn.Module):
    """One trunk with one head.

    ``forward``: one-hot (batch, 4, length), uint8 or float, to squashed coverage (batch, tracks, bins).
    """

    def __init__(self, config: BorzoiConfig) -> None:
        super().__init__()
        self.config = config
        momentum = config.batch_norm_momentum
        widths = config.tower_widths
        stem = config.stem_filters
        self.stem = nn.Conv1d(4, stem, config.stem_width, padding=config.stem_width // 2)
        inputs = (stem, *widths[:-1])
        self.tower = nn.ModuleList(
            NormConv(channels, filters, config.tower_width, momentum)
            for channels, filters in zip(inputs, widths, strict=True)
        )
        channels = widths[-1]
        self.transformer = nn.ModuleList(TransformerBlock(config, channels) for _ in range(config.depth))
        self.unet = nn.ModuleList(UnetBlock(config, channels, skip) for skip in reversed(widths[-config.unets :]))
        self.tail = None
        if config.tail_filters:
            self.tail = NormConv(channels, config.tail_filters, 1, momentum, config.tail_dropout)
        self.head = nn.Linear(config.tail_filters or channels, config.tracks)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        tokens, skips = self.trunk(x)
        return self.outputs(self.embed(tokens, skips))

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return tokens (batch, channels, tokens) and the skips, the finest last."""
        length = self.config.sequence_length_bp
        if x.ndim != 3 or x.shape[1:] != (4, length):
            raise InputError(f"input has shape {tuple(x.shape)}; (batch, 4, {length}) is needed")
        return self.convolve(x)

    def convolve(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return tokens and skips of any stretch of whole tokens; its ends are padded as those of a window are."""
        x = functional.max_pool1d(self.stem(x.to(self.stem.weight.dtype)), 2)  # (batch, 512, 262144)
        skips: list[Tensor] = []
        for block in self.tower:
            x = block(x)
            skips.insert(0, x)  # stored before pooling
            x = functional.max_pool1d(x, 2)
        return x, skips[: self.config.unets]  # (batch, 1536, 4096); (.., 8192), (.., 16384)

    def embed(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Return what the head reads, (batch, channels, bins)."""
        x = x.transpose(1, 2)  # (batch, 4096, 1536)
        for block in self.transformer:
            x = block(x)
        return self.decode(x.transpose(1, 2), skips)

    def decode(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Return what the head reads, from the tokens behind the transformer, (batch, channels, tokens)."""
        for block, skip in zip(self.unet, skips, strict=True):
            x = block(x, skip)  # (batch, 1536, 8192), then 16384
        crop = self.config.crop_bins
        x = x[..., crop : x.shape[-1] - crop]
        if self.tail is not None:
            x = self.tail(x)  # (batch, 1920, 6144)
        return gelu(x)

    def outputs(self, x: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Return squashed coverage; in float32 whatever the trunk ran in, for half precision overflows here."""
        head = self.head if head is None else head
        with torch.autocast(x.device.type, enabled=False):
            return functional.softplus(head.weight.float() @ x.float() + head.bias.float()[:, None])

    def initialise(self) -> None:
        """Draw the initial weights: LeCun normal for convolutions and head, He normal for the transformer."""
        for name, parameter in self.named_parameters():
            if name.endswith(".attention.out.weight") or (name.endswith("bias") and parameter.ndim == 1):
                nn.init.zeros_(parameter)
            elif parameter.ndim >= 2:
                shape = parameter.shape
                fan_in = shape[-1] if parameter.ndim == 4 else math.prod(shape[1:])
                gain = 2.0 if name.startswith("transformer") else 1.0
                # A normal cut at two deviations has 0.8796 of its deviation left.
                deviation = math.sqrt(gain / fan_in) / 0.87962566
                nn.init.trunc_normal_(parameter, std=deviation, a=-2 * deviation, b=2 * deviation)
