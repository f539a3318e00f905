"""Borzoi: DNA to squashed coverage, the network of Linder et al. and its smaller and finer-grained relatives.

Axes inside the network are ``(batch, channels, length)`` around convolutions and ``(batch, tokens, channels)`` in the
transformer. One token covers ``stem_pool * 2 ** tower blocks`` bp (128 for every published model); each U-net block
halves the bin width from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from borzoi_rt.errors import FormatError, InputError

from .params import read_params

# Keras defaults; PyTorch's own 1e-5 moves a third of the output (batch) or a thousandth (layer).
BATCH_NORM_EPS = 1e-3
LAYER_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.1  # Keras' 0.9 keeps the old value, PyTorch's counts the new one
POSITION_DROPOUT = 0.01
POSITION_FORMS = ("table", "dense")
QUERY_CHUNK = 512  # rows of the attention matrix held at once; any value gives the same numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class BorzoiConfig:
    """Shape of one network with one head; JSON round trip by :meth:`to_dict` and :meth:`from_dict`.

    Attributes
    ----------
    sequence_length_bp : int
        Input window; a multiple of ``token_bp``.
    tower_channels : tuple of int
        Channels after each convolution of the tower, the last is the width of the transformer.
    dense_expansion : float
        Hidden width of the feed-forward part over the width of the transformer, truncated to an integer.
    reference_tokens : int, optional
        Tokens at which the weights were trained. It fixes the widths of the relative-position functions, which belong
        to the weights and not to the window: keep it when ``sequence_length_bp`` is replaced.
        None: the tokens of ``sequence_length_bp``, written out at once.
    crop_bins : int
        Bins dropped on each side of the window.
    nac_channels : int, optional
        Channels of the last 1x1 convolution; None when there is none.
    tracks : int
        Outputs of the head.
    """

    sequence_length_bp: int
    stem_channels: int
    stem_kernel: int
    stem_pool: int = 2
    tower_channels: tuple[int, ...]
    tower_kernel: int = 5
    transformer_blocks: int
    heads: int
    key_size: int
    position_features: int = 32
    dense_expansion: float = 2.0
    reference_tokens: int | None = None
    unet_blocks: int
    unet_kernel: int = 3
    upsample_conv: bool = False
    crop_bins: int = 0
    nac_channels: int | None = None
    nac_kernel: int = 1
    tracks: int
    head: str = "human"
    dropout: float = 0.2
    attention_dropout: float = 0.05
    nac_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stem_kernel", "tower_kernel", "unet_kernel", "nac_kernel"):
            if getattr(self, name) % 2 != 1:
                raise FormatError(f"{name} is {getattr(self, name)!r}; an odd width is needed (symmetric padding)")
        if self.sequence_length_bp < self.token_bp or self.sequence_length_bp % self.token_bp:
            raise FormatError(
                f"sequence_length_bp is {self.sequence_length_bp}; a positive multiple of {self.token_bp} "
                "(bp per token) is needed"
            )
        if self.channels % self.heads:
            raise FormatError(f"{self.heads} heads do not divide {self.channels} channels")
        if self.position_features % 2:
            raise FormatError(f"position_features is {self.position_features}; an even number is needed")
        if self.unet_blocks > len(self.tower_channels):
            raise FormatError(
                f"{self.unet_blocks} U-net blocks, but only {len(self.tower_channels)} tower blocks to take skips from"
            )
        if not 0 <= 2 * self.crop_bins < self.tokens << self.unet_blocks:
            raise FormatError(f"crop_bins is {self.crop_bins}; two crops must leave some of {self.tokens << self.unet_blocks}")
        if self.reference_tokens is None:
            object.__setattr__(self, "reference_tokens", self.tokens)

    @classmethod
    def from_params(cls, params: Mapping[str, Any], head: int | str = 0) -> BorzoiConfig:
        """Read a Calico ``params.json`` document; see :func:`borzoi_export.models.params.read_params`.

        Raises
        ------
        FormatError
            If an option is missing or not supported; the message names the key.
        """
        return cls(**read_params(params, head))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"network": "borzoi", **asdict(self), "tower_channels": list(self.tower_channels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BorzoiConfig:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        FormatError
            If it describes another network or has unknown or missing keys.
        """
        values = dict(values)
        network = values.pop("network", None)
        if network != "borzoi":
            raise FormatError(f"the architecture is {network!r}; 'borzoi' is needed")
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise FormatError(f"architecture: unknown key {unknown[0]!r}")
        try:
            return cls(**{**values, "tower_channels": tuple(values["tower_channels"])})
        except (KeyError, TypeError) as error:
            raise FormatError(f"the architecture is incomplete or malformed ({error})") from error

    @property
    def channels(self) -> int:
        """Width of the transformer and of the decoder."""
        return self.tower_channels[-1]

    @property
    def hidden(self) -> int:
        """Width inside the feed-forward part."""
        return int(self.dense_expansion * self.channels)

    @property
    def token_bp(self) -> int:
        """Bases per token."""
        return self.stem_pool << len(self.tower_channels)

    @property
    def tokens(self) -> int:
        """Tokens in the window."""
        return self.sequence_length_bp // self.token_bp

    @property
    def bin_size_bp(self) -> int:
        """Bases per output bin."""
        return self.token_bp >> self.unet_blocks

    @property
    def bins(self) -> int:
        """Output bins."""
        return (self.tokens << self.unet_blocks) - 2 * self.crop_bins

    @property
    def embedding_channels(self) -> int:
        """Channels that the head reads."""
        return self.nac_channels or self.channels

    @property
    def skip_channels(self) -> tuple[int, ...]:
        """Channels of the tower output that each U-net block reads, in the order of the blocks."""
        return tuple(reversed(self.tower_channels))[: self.unet_blocks]


class Trunk(NamedTuple):
    """What the transformer and the decoder need of a sequence.

    ``tokens`` has shape (batch, channels, tokens); ``skips[i]``, already projected to the decoder's width, has shape
    (batch, channels, tokens * 2 ** (i + 1)) and feeds U-net block i.
    """

    tokens: Tensor
    skips: tuple[Tensor, ...]


class Borzoi(nn.Module):
    """The network: ``head(body(trunk(sequence)))``.

    Parameters
    ----------
    config : BorzoiConfig
    positions : str
        How relative positions enter attention: ``table``, the exact short form, or ``dense``, the published one.
    """

    def __init__(self, config: BorzoiConfig, *, positions: str = "table") -> None:
        super().__init__()
        if positions not in POSITION_FORMS:
            raise InputError(f"positions is {positions!r}; allowed: {', '.join(POSITION_FORMS)}")
        self.config = config
        self.stem = Stem(config.stem_channels, config.stem_kernel, config.stem_pool)
        widths = (config.stem_channels, *config.tower_channels)
        self.tower = nn.ModuleList(
            [ConvBlock(before, after, config.tower_kernel) for before, after in zip(widths, widths[1:], strict=False)]
        )
        self.positions = RelativePositions(config, positions)
        self.transformer = nn.ModuleList([TransformerBlock(config) for _ in range(config.transformer_blocks)])
        self.unet = nn.ModuleList([UNetBlock(config, channels) for channels in config.skip_channels])
        self.nac = (
            ConvBlock(config.channels, config.nac_channels, config.nac_kernel, dropout=config.nac_dropout)
            if config.nac_channels
            else None
        )
        self.head = Head(config.embedding_channels, config.tracks)

    def forward(self, sequence: Tensor, track_index: Tensor | None = None, *, n_fill: float = 0.0) -> Tensor:
        """Predict squashed coverage.

        Parameters
        ----------
        sequence : uint8 or float tensor of shape (batch, 4, length)
            One-hot DNA in the order A, C, G, T; a column of zeros is an unknown base.
        track_index : int64 tensor of shape (tracks,), optional
            Outputs to compute, in this order; all when None.
        n_fill : float
            Value of the four rows of an unknown base.

        Returns
        -------
        tensor of shape (batch, tracks, bins)

        Raises
        ------
        InputError
            If the shape is not that of the config.
        """
        self._check(sequence)
        x = sequence.to(self.stem.conv.weight.dtype)
        if n_fill:
            x = x + n_fill * (1 - x.sum(dim=1, keepdim=True))
        coverage: Tensor = self.head(self.body(*self.trunk(x)), track_index)
        return coverage

    def trunk(self, x: Tensor) -> Trunk:
        """Run the convolutions: (batch, 4, length) to tokens and projected skips.

        Any length that is a multiple of ``token_bp`` is accepted: a token depends on nearby bases only.
        """
        x = self.stem(x)
        outputs = []
        for block in self.tower:
            x = block(x)
            outputs.append(x)
            x = F.max_pool1d(x, 2)
        skips = outputs[::-1][: len(self.unet)]
        return Trunk(x, tuple(unet.project(skip) for unet, skip in zip(self.unet, skips, strict=True)))

    def body(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Run transformer and decoder: the trunk's output to the embedding (batch, channels, bins)."""
        x = tokens.transpose(1, 2)
        for block in self.transformer:
            x = block(x, self.positions)
        x = x.transpose(1, 2)
        for unet, skip in zip(self.unet, skips, strict=True):
            x = unet(x, skip)
        # An explicit end: a negative one is wrong when nothing is cropped.
        x = x[..., self.config.crop_bins : x.shape[-1] - self.config.crop_bins]
        if self.nac is not None:
            x = self.nac(x)
        return gelu(x)

    def _check(self, sequence: Tensor) -> None:
        length = self.config.sequence_length_bp
        if sequence.ndim != 3 or sequence.shape[1] != 4 or not (sequence.dtype == torch.uint8 or sequence.is_floating_point()):
            raise InputError(
                f"sequence is {sequence.dtype} of shape {tuple(sequence.shape)}; "
                f"uint8 or float of shape (batch, 4, {length}) is needed"
            )
        if sequence.shape[2] != length:
            raise InputError(
                f"sequence has {sequence.shape[2]} bp, the model was built for {length} (a multiple of "
                f"{self.config.token_bp}); for another window build it from replace(config, sequence_length_bp=...)"
            )


class Stem(nn.Module):
    """Convolution of the one-hot bases and max-pool; no norm, no activation."""

    def __init__(self, channels: int, kernel: int, pool: int) -> None:
        super().__init__()
        self.conv = _conv(4, channels, kernel)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 4, length) to (batch, channels, length / pool)."""
        return F.max_pool1d(self.conv(x), self.pool)


class ConvBlock(nn.Module):
    """Batch norm, GELU, convolution, dropout; no residual, in spite of the name ``res_tower``."""

    def __init__(self, channels: int, out_channels: int, kernel: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = batch_norm(channels)
        self.conv = _conv(channels, out_channels, kernel)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, length) to (batch, out_channels, length)."""
        out: Tensor = self.dropout(self.conv(gelu(self.norm(x))))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm block: x + attention(x), then x + feedforward(x)."""

    def __init__(self, config: BorzoiConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feedforward = FeedForward(config.channels, config.hidden, config.dropout)

    def forward(self, x: Tensor, positions: RelativePositions) -> Tensor:
        """(batch, tokens, channels) to the same."""
        x = x + self.attention(x, positions)
        x = x + self.feedforward(x)
        return x


class Attention(nn.Module):
    """Attention with relative positions.

    With q scaled by key_size ** -0.5 *before* its two biases are added, d = key - query and P the position features::

        logits[i, j] = (q_i + content_bias) . k_j + (q_i + position_bias) . (relative_key P(j - i))
    """

    def __init__(self, config: BorzoiConfig) -> None:
        super().__init__()
        self.heads, self.key_size = config.heads, config.key_size
        channels, keys = config.channels, config.heads * config.key_size
        self.norm = layer_norm(channels)
        self.query = _dense(channels, keys, bias=False, scale=2.0)
        self.key = _dense(channels, keys, bias=False, scale=2.0)
        self.value = _dense(channels, channels, bias=False, scale=2.0)
        self.relative_key = _dense(config.position_features, keys, bias=False, scale=2.0)
        self.content_bias = _parameter((config.heads, config.key_size), fan_in=config.heads)
        self.position_bias = _parameter((config.heads, config.key_size), fan_in=config.heads)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.attention_dropout = nn.Dropout(config.attention_dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: RelativePositions) -> Tensor:
        """(batch, tokens, channels) to the same, without the residual."""
        x = self.norm(x)
        query = self._split(self.query(x)) * self.key_size**-0.5
        key, value = self._split(self.key(x)).transpose(-1, -2), self._split(self.value(x))
        relative = positions.logits(query + self.position_bias[:, None], self.relative_key.weight)
        query = query + self.content_bias[:, None]
        rows = []
        for start in range(0, x.shape[1], QUERY_CHUNK):
            chunk = slice(start, start + QUERY_CHUNK)
            weights = torch.softmax(query[:, :, chunk] @ key + relative(chunk), dim=-1)
            rows.append(self.attention_dropout(weights) @ value)
        out: Tensor = self.out(torch.cat(rows, dim=2).transpose(1, 2).flatten(2))
        return self.dropout(out)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, tokens, heads * size) to (batch, heads, tokens, size)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Layer norm, dense, dropout, ReLU (not GELU), dense, dropout."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = layer_norm(channels)
        self.up = _dense(channels, hidden, scale=2.0)
        self.down = _dense(hidden, channels, scale=2.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same, without the residual."""
        hidden = F.relu(self.dropout(self.up(self.norm(x))))
        out: Tensor = self.dropout(self.down(hidden))
        return out


class UNetBlock(nn.Module):
    """Double the resolution of the decoder and add a skip of the tower."""

    def __init__(self, config: BorzoiConfig, skip_channels: int) -> None:
        super().__init__()
        channels = config.channels
        self.norm = batch_norm(channels)
        self.norm_skip = batch_norm(skip_channels)
        self.dense = _conv(channels, channels, 1) if config.upsample_conv else None
        self.dense_skip = _conv(skip_channels, channels, 1)
        self.depthwise = nn.Conv1d(
            channels, channels, config.unet_kernel, padding="same", groups=channels, bias=False
        )
        self.pointwise = nn.Conv1d(channels, channels, 1)
        # Keras' separable convolution ignores the initialiser it is given and keeps its own, Glorot's.
        limit = math.sqrt(6 / (config.unet_kernel * (channels + 1)))
        nn.init.uniform_(self.depthwise.weight, -limit, limit)
        nn.init.xavier_uniform_(self.pointwise.weight)
        _zero(self.pointwise.bias)

    def project(self, skip: Tensor) -> Tensor:
        """Bring a tower output (batch, skip_channels, length) to the decoder's width."""
        out: Tensor = self.dense_skip(gelu(self.norm_skip(skip)))
        return out

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(batch, channels, length) and the projected skip (batch, channels, 2 * length) to the latter's shape."""
        x = gelu(self.norm(x))
        if self.dense is not None:
            x = self.dense(x)
        out: Tensor = self.pointwise(self.depthwise(x.repeat_interleave(2, dim=-1) + skip))
        return out


class Head(nn.Module):
    """Dense layer and softplus, in float32 whatever the precision of the embedding."""

    def __init__(self, channels: int, tracks: int) -> None:
        super().__init__()
        self.weight = _parameter((tracks, channels), fan_in=channels, scale=1.0)
        self.bias = nn.Parameter(torch.zeros(tracks))

    def forward(self, embedding: Tensor, track_index: Tensor | None = None) -> Tensor:
        """(batch, channels, bins) to (batch, tracks, bins)."""
        weight, bias = self.weight, self.bias
        if track_index is not None:
            weight, bias = weight[track_index], bias[track_index]
        # Half precision would overflow: 4.68 on a track of scale 0.01 un-squashes to 145,244.
        with torch.autocast(embedding.device.type, enabled=False):
            wide = torch.promote_types(embedding.dtype, torch.float32)
            return F.softplus(weight.to(wide) @ embedding.to(wide) + bias.to(wide)[:, None])


class RelativePositions(nn.Module):
    """Features of the distances key - query, shared by all attention layers.

    They are computed once, from the config, in float32: never from the input and never in the precision of the
    activations. The few thousand distances have about thirty distinct feature rows, hence the ``table`` form: one
    logit per row, then a look-up by distance.
    """

    rows: Tensor
    bucket: Tensor

    def __init__(self, config: BorzoiConfig, form: str) -> None:
        super().__init__()
        self.form = form
        self.tokens = config.tokens
        rows, bucket = position_table(config.tokens, config.position_features, config.reference_tokens)
        # from_numpy stays on the CPU under torch.device("meta"), so that weights can be assigned to a meta model.
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("bucket", torch.from_numpy(bucket), persistent=False)
        self.dropout = nn.Dropout(POSITION_DROPOUT)

    def logits(self, query: Tensor, relative_key: Tensor) -> _Logits:
        """Return a function from a slice of queries to their logits (batch, heads, queries, tokens).

        Parameters
        ----------
        query : tensor of shape (batch, heads, tokens, key_size)
            Scaled, with the position bias added.
        relative_key : tensor of shape (heads * key_size, features)
        """
        # Dropout acts on every distance by itself, so that training needs the features of all of them.
        dense = self.form == "dense" or (self.training and self.dropout.p > 0)
        features = self.dropout(self.rows[self.bucket]) if dense else self.rows
        keys = F.linear(features.to(relative_key.dtype), relative_key).unflatten(-1, (query.shape[1], -1))
        relative = query @ keys.permute(1, 2, 0)
        return _Logits(relative_shift(relative) if dense else relative, None if dense else self.bucket)


class _Logits:
    """Position logits, looked up for a slice of queries at a time."""

    def __init__(self, relative: Tensor, bucket: Tensor | None) -> None:
        self.relative = relative
        self.bucket = bucket

    def __call__(self, chunk: slice) -> Tensor:
        relative = self.relative[:, :, chunk]
        if self.bucket is None:
            return relative
        tokens = self.relative.shape[2]
        positions = torch.arange(tokens, device=relative.device)
        bucket = self.bucket[positions[None, :] - positions[chunk, None] + tokens - 1]
        return relative.gather(-1, bucket.expand(*relative.shape[:2], -1, -1))


def relative_shift(relative: Tensor) -> Tensor:
    """Turn logits by distance into logits by key: out[..., i, j] = relative[..., i, (j - i) + tokens - 1].

    (batch, heads, tokens, 2 * tokens - 1) to (batch, heads, tokens, tokens), by padding one column and reading the
    same memory with another row length (Transformer-XL).
    """
    *lead, tokens, distances = relative.shape
    padded = F.pad(relative, (1, 0)).reshape(*lead, distances + 1, tokens)
    return padded[..., 1:, :].reshape(*lead, tokens, distances)[..., :tokens]


def position_widths(features: int, reference_tokens: int) -> np.ndarray:
    """Return the widths w_k = r**k - 1, k = 1..features/2, float32, with r = float32(exp(ln(tokens + 1) / (features/2)))."""
    half = features // 2
    rate = np.float32(math.exp(math.log(reference_tokens + 1) / half))
    widths: np.ndarray = rate ** np.arange(1, half + 1, dtype=np.float32) - np.float32(1)
    return widths


def position_limits(features: int, reference_tokens: int) -> tuple[int, ...]:
    """Return, for each function, the largest distance at which it is 1 (1 if w_k > |d|, strictly)."""
    return tuple(int(math.ceil(float(width))) - 1 for width in position_widths(features, reference_tokens))


def position_table(tokens: int, features: int, reference_tokens: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct feature rows and the row of every distance.

    Parameters
    ----------
    tokens : int
        Tokens of the window; distances run from -(tokens - 1) to tokens - 1.
    features : int
        Columns: first half ``w_k > |d|``, second half the same times sign(d).
    reference_tokens : int, optional
        Tokens at which the weights were trained; ``tokens`` when None.

    Returns
    -------
    rows : float32 ndarray of shape (rows, features)
        In order of distance; 31 rows for 512 tokens and more.
    bucket : int64 ndarray of shape (2 * tokens - 1,)
        ``rows[bucket[d + tokens - 1]]`` are the features of distance d.
    """
    limits = np.array(position_limits(features, reference_tokens or tokens))
    distance = np.arange(-(tokens - 1), tokens)
    mask = (limits[None, :] >= np.abs(distance)[:, None]).astype(np.float32)
    dense = np.concatenate([mask, np.sign(distance).astype(np.float32)[:, None] * mask], axis=1)
    changed = np.any(dense[1:] != dense[:-1], axis=1)
    bucket = np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)
    return dense[np.concatenate([[True], changed])], bucket


def gelu(x: Tensor) -> Tensor:
    """GELU by the tanh formula, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); the erf form differs by 5e-4."""
    return F.gelu(x, approximate="tanh")


def batch_norm(channels: int) -> nn.BatchNorm1d:
    """Return a batch norm with the constants of the family."""
    return nn.BatchNorm1d(channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


def layer_norm(channels: int) -> nn.LayerNorm:
    """Return a layer norm with the constants of the family."""
    return nn.LayerNorm(channels, eps=LAYER_NORM_EPS)


def _conv(channels: int, out_channels: int, kernel: int) -> nn.Conv1d:
    conv = nn.Conv1d(channels, out_channels, kernel, padding=kernel // 2)
    _variance_scaling(conv.weight, fan_in=channels * kernel, scale=1.0)
    _zero(conv.bias)
    return conv


def _dense(channels: int, out_channels: int, *, bias: bool = True, scale: float) -> nn.Linear:
    dense = nn.Linear(channels, out_channels, bias=bias)
    _variance_scaling(dense.weight, fan_in=channels, scale=scale)
    _zero(dense.bias)
    return dense


def _parameter(shape: tuple[int, ...], *, fan_in: int, scale: float = 2.0) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(shape))
    _variance_scaling(parameter, fan_in=fan_in, scale=scale)
    return parameter


def _variance_scaling(weight: Tensor, *, fan_in: int, scale: float) -> None:
    """Fill as Keras does: normal cut at two deviations and widened to variance scale / fan_in (1: LeCun, 2: He)."""
    deviation = math.sqrt(scale / fan_in) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def _zero(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
