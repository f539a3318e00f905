"""Attention with rotary positions and grouped heads, as Flashzoi has it.

Follows ``FlashAttention`` of borzoi-pytorch, which is the ``MHA`` of flash-attn 2.8 with 128 rotated channels of each
head, base 20,000, half as many heads for keys and values as for queries, and biases. It is plain attention: the package
is a way to compute it, and is not needed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import BorzoiConfig

ROTARY_BASE = 20000.0


def rotary_table(tokens: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosine and sine of the angle by which a token turns each pair of channels.

    The angle of token t and pair m is ``t * base ** (-2 m / size)``, in float32 step by step as flash-attn computes it
    on a GPU: at token 4,095 a float64 angle differs by up to 2e-4, and the weights were trained with these.

    Returns
    -------
    cosine, sine : float32 ndarray of shape (tokens, size / 2)
    """
    power = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    frequency = np.float32(1.0) / np.power(ROTARY_BASE, power.astype(np.float64)).astype(np.float32)
    angle = (np.arange(tokens, dtype=np.float32)[:, None] * frequency).astype(np.float64)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


class RotaryAttention(nn.Module):
    """Multi-head attention whose queries and keys are turned by their position; no mask, no other positions.

    Channel m of the first ``rotary_size`` of a head is paired with channel ``m + rotary_size / 2``. Key and value head
    g serves the query heads from ``g * heads / key_heads`` on. Rows of ``qkv`` are queries, keys, values.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: BorzoiConfig, channels: int) -> None:
        super().__init__()
        self.heads, self.key_heads, self.size = config.heads, config.key_heads, config.key_size
        self.rotary_size, self.tokens = config.rotary_size, config.tokens
        self.qkv = nn.Linear(channels, (config.heads + 2 * config.key_heads) * self.size)
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(config.attention_dropout)
        cosine, sine = rotary_table(config.tokens, config.rotary_size)
        self.register_buffer("cosine", torch.from_numpy(cosine), persistent=False)
        self.register_buffer("sine", torch.from_numpy(sine), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same shape."""
        parts = self.qkv(x).unflatten(-1, (-1, self.size)).transpose(1, 2)  # (batch, 16, 4096, 192)
        query, key, value = torch.split(parts, [self.heads, self.key_heads, self.key_heads], dim=1)
        group = self.heads // self.key_heads
        key, value = (part.repeat_interleave(group, dim=1) for part in (self.turned(key), value))
        dropout = self.dropout.p if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            self.turned(query), key, value, dropout_p=dropout, scale=self.size**-0.5
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def turned(self, x: Tensor) -> Tensor:
        """Turn (batch, heads, tokens, size) by position."""
        half = self.rotary_size // 2
        first, second, rest = torch.split(x, [half, half, self.size - 2 * half], dim=-1)
        cosine, sine = self.cosine.to(x.dtype), self.sine.to(x.dtype)
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest], dim=-1)
