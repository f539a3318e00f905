"""The promoter networks: from DNA through motif activations to the start of transcription on both strands.

Follows GenoRetriever (``train/stage_1.py``, ``stage_2.py``, ``stage_3_PI_W82.py``). In every stage the sequence is seen
by motif kernels on both strands, and all else reads the *activations* of these, (batch, 2 * motifs, length): first the
motifs as written, then their reverse complements. ``forward(x, mask, fill)`` replaces activations a by
``a * mask + fill``; a mask of zeros at m and m + motifs removes motif m. Output: ln(1 + count), (batch, 2, bins), sense
strand first. Comments give shapes for the published sizes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from borzoi_rt.errors import InputError

from .promoter_config import PromoterConfig

STRANDS = 2


def both_strands(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a convolution to one-hot DNA and to its reverse complement, the latter turned back; channels joined."""
    return torch.cat([conv(x), conv(x.flip(1, 2)).flip(2)], dim=1)


class LongConv(nn.Conv1d):
    """A "same" convolution with kernels of hundreds of bases, by Fourier transform in training.

    The same sum in another order, to rounding; forward and backward of the published width are many times quicker. In
    inference mode the convolution is plain, which is what the ONNX graph computes.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        length, half = x.shape[-1], self.kernel_size[0] // 2
        size = 1 << (length + 2 * half - 1).bit_length()
        with torch.autocast(x.device.type, enabled=False):  # no transform of half precision is exact enough
            weight = self.weight
            x = x.to(weight.dtype)
            product = torch.einsum("bcf,ocf->bof", torch.fft.rfft(x, size), torch.fft.rfft(weight, size).conj())
            y = torch.fft.irfft(product, size)  # y[t] = sum over k of w[k] x[t + k]
        y = torch.cat([y[..., size - half :], y[..., : length - half]], dim=-1)
        return y if self.bias is None else y + self.bias[:, None]


class MotifNetwork(nn.Module):
    """What the stages share: input, motif kernels, mask, crop."""

    def __init__(self, config: PromoterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.motif_width
        self.motif = nn.Conv1d(4, config.motifs, width, padding=width // 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, fill: Tensor | None = None) -> Tensor:
        length = self.config.sequence_length_bp
        if x.ndim != 3 or x.shape[1:] != (4, length):
            raise InputError(f"input has shape {tuple(x.shape)}; (batch, 4, {length}) is needed")
        x = x.to(self.motif.weight.dtype)
        a = self.activations(x)  # (batch, 54, 4650)
        if mask is not None:
            a = a * mask
        if fill is not None:
            a = a + fill
        crop = self.config.crop_bp
        return self.effects(x, a)[..., crop : length - crop]

    def activations(self, x: Tensor) -> Tensor:
        """Return motif activations, (batch, 2 * motifs, length)."""
        raise NotImplementedError

    def effects(self, x: Tensor, a: Tensor) -> Tensor:
        """Return the uncropped output, (batch, 2, length)."""
        raise NotImplementedError


class ConsensusNet(MotifNetwork):
    """Stage 1: motifs, and for each one curve of effects per strand; all of it trained."""

    def __init__(self, config: PromoterConfig) -> None:
        super().__init__(config)
        width = config.effect_width
        self.effect = LongConv(2 * config.motifs, STRANDS, width, padding=width // 2)
        self.norm = nn.BatchNorm1d(STRANDS)

    def activations(self, x: Tensor) -> Tensor:
        return functional.silu(both_strands(self.motif, x))  # (batch, 80, 4650)

    def effects(self, x: Tensor, a: Tensor) -> Tensor:
        return functional.softplus(self.norm(self.effect(a)))


class ResidualNet(MotifNetwork):
    """Stage 2: motifs and their curves are frozen but for biases; short kernels learn what is left."""

    def __init__(self, config: PromoterConfig) -> None:
        super().__init__(config)
        width, other, other_effect = config.effect_width, config.other_width, config.other_effect_width
        self.other = nn.Conv1d(4, config.others, other, padding=other // 2)
        self.scale_motif = nn.Parameter(torch.ones(1))
        self.scale_other = nn.Parameter(torch.ones(1))
        self.effect = LongConv(2 * config.motifs, STRANDS, width, padding=width // 2)
        self.norm = nn.BatchNorm1d(STRANDS)
        self.effect_other = nn.Conv1d(2 * config.others, STRANDS, other_effect, padding=other_effect // 2)
        self.norm_other = nn.BatchNorm1d(STRANDS)
        for frozen in (self.motif.weight, self.effect.weight):
            frozen.requires_grad_(False)

    def activations(self, x: Tensor) -> Tensor:
        return torch.sigmoid(both_strands(self.motif, x) * self.scale_motif.square())

    def effects(self, x: Tensor, a: Tensor) -> Tensor:
        other = torch.sigmoid(both_strands(self.other, x) * self.scale_other.square())
        return functional.softplus(self.norm(self.effect(a)) + self.norm_other(self.effect_other(other)))


class ChannelGate(nn.Module):
    """ECA: scale each channel by a gate that sees the mean and the maximum of all channels over the whole window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Linear(channels, channels, bias=False)
        self.norm_mean = nn.BatchNorm1d(channels)
        self.peak = nn.Linear(channels, channels, bias=False)
        self.norm_peak = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.norm_mean(self.mean(x.mean(dim=-1))) + self.norm_peak(self.peak(x.amax(dim=-1)))
        return x * torch.sigmoid(gate)[..., None]


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm, SiLU."""

    def __init__(self, channels: int, filters: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, filters, width, stride=stride, padding=width // 2, bias=False)
        self.norm = nn.BatchNorm1d(filters)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.norm(self.conv(x)))


class ConvBlock(nn.Module):
    """Gate with a residual, then an inverted bottleneck with one wide convolution."""

    def __init__(self, channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.gate = ChannelGate(channels)
        self.widen = ConvNorm(channels, 2 * channels, 1)
        self.conv = ConvNorm(2 * channels, 2 * channels, width)
        self.dropout = nn.Dropout1d(dropout)
        self.narrow = ConvNorm(2 * channels, channels, 1)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        u = self.gate(x) + x
        return self.norm(self.narrow(self.dropout(self.conv(self.widen(u)))) + u)


class Up(nn.Module):
    """Linear interpolation by ``stride``, convolution with bias, BatchNorm, the skip, SiLU."""

    def __init__(self, channels: int, filters: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(channels, filters, width, padding=width // 2)
        self.norm = nn.BatchNorm1d(filters)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=float(self.stride), mode="linear", align_corners=False)
        return functional.silu(self.norm(self.conv(x)) + skip)


class Unet(nn.Module):
    """A U-net from and to the features of the encoder; four levels of 110, 220, 220, 220, 220 channels."""

    def __init__(self, config: PromoterConfig, features: int) -> None:
        super().__init__()
        channels, width, strides = config.channels, config.decoder_width, config.strides
        levels = (channels, *(2 * channels for _ in strides))
        self.enter = ConvNorm(features, channels, width)
        self.first = ConvBlock(channels, width, config.dropout)
        self.norm_first = nn.BatchNorm1d(channels)
        self.down = nn.ModuleList(
            ConvNorm(here, below, width, stride)
            for here, below, stride in zip(levels, levels[1:], strides, strict=False)
        )
        self.down_block = nn.ModuleList(ConvBlock(below, width, config.dropout) for below in levels[1:])
        self.up = nn.ModuleList(
            Up(below, here, width, stride)
            for here, below, stride in reversed(list(zip(levels, levels[1:], strides, strict=False)))
        )
        self.up_block = nn.ModuleList(ConvBlock(here, width, config.dropout) for here in reversed(levels[:-1]))
        self.leave = nn.Sequential(ConvNorm(channels, channels, width), ConvNorm(channels, features, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_first(self.first(self.enter(x)))  # (batch, 110, 4650)
        skips = []
        for down, block in zip(self.down, self.down_block, strict=True):
            skips.append(x)
            x = block(down(x))  # (batch, 220, 930), then 186, 62, 31
        for up, block in zip(self.up, self.up_block, strict=True):
            x = block(up(x, skips.pop()))
        return self.leave(x)


class Predictor(MotifNetwork):
    """Stage 3: frozen kernels with trained biases, gated and mixed, then U-nets in a row."""

    def __init__(self, config: PromoterConfig) -> None:
        super().__init__(config)
        width, features = config.other_width, 2 * (config.motifs + config.others)
        self.other = nn.Conv1d(4, config.others, width, padding=width // 2)
        self.gate = ChannelGate(2 * config.motifs)
        self.mix = ConvNorm(features, features, 1)
        self.norm_mean = nn.BatchNorm1d(features)
        self.norm_peak = nn.BatchNorm1d(features)
        self.unets = nn.Sequential(*(Unet(config, features) for _ in range(config.decoders)))
        self.head = nn.Conv1d(features, STRANDS, 1, bias=False)
        for frozen in (self.motif.weight, self.other.weight):
            frozen.requires_grad_(False)

    def activations(self, x: Tensor) -> Tensor:
        return self.gate(torch.sigmoid(both_strands(self.motif, x)))  # (batch, 54, 4650)

    def effects(self, x: Tensor, a: Tensor) -> Tensor:
        other = torch.sigmoid(both_strands(self.other, x))  # (batch, 24, 4650)
        x = self.mix(torch.cat([a, other], dim=1))  # (batch, 78, 4650)
        # The published code pools here to the length that x has already.
        x = functional.silu(self.norm_mean(x)) + functional.silu(self.norm_peak(x)) + x
        return functional.softplus(self.head(self.unets(x)))


STAGES: dict[int, type[MotifNetwork]] = {1: ConsensusNet, 2: ResidualNet, 3: Predictor}


def build(config: PromoterConfig) -> MotifNetwork:
    """Return the network of a config, with fresh weights."""
    return STAGES[config.stage](config)


def set_kernels(
    model: MotifNetwork, *, motif: Tensor, effect: Tensor | None = None, other: Tensor | None = None
) -> None:
    """Copy kernels of an earlier stage, or the published ones, into a network.

    Parameters
    ----------
    model : MotifNetwork
        Stage 2 or 3.
    motif : Tensor of shape (motifs, 4, width)
    effect : Tensor of shape (2, 2 * motifs, taps), optional
        Curves of stage 1, for stage 2.
    other : Tensor of shape (others, 4, width), optional
        Short kernels, for stage 3.

    Raises
    ------
    InputError
        If a shape is not the network's.
    """
    for name, values in (("motif", motif), ("effect", effect), ("other", other)):
        if values is None:
            continue
        layer = getattr(model, name, None)
        if layer is None or layer.weight.shape != values.shape:
            needed = "no such layer" if layer is None else f"{tuple(layer.weight.shape)} is needed"
            raise InputError(f"kernels {name!r} have shape {tuple(values.shape)}; {needed}")
        with torch.no_grad():
            layer.weight.copy_(values)
