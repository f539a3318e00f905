"""Forward pass of a Borzoi network in float64, one window at a time, written for reading.

Activations are (channels, length). ``weights`` maps the names of the state dict to arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]
EPSILON = 1e-3  # of batch and layer normalisation alike


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def batch_norm(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + EPSILON)
    return (x - w[f"{name}.running_mean"][:, None]) * scale[:, None] + w[f"{name}.bias"][:, None]


def layer_norm(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    scaled = centred / np.sqrt((centred**2).mean(axis=0) + EPSILON)
    return scaled * w[f"{name}.weight"][:, None] + w[f"{name}.bias"][:, None]


def conv(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """out[o, p] = bias[o] + sum over c, t of weight[o, c, t] * x[c, p + t - width // 2], zeros outside."""
    weight = w[f"{name}.weight"]
    width, length = weight.shape[2], x.shape[1]
    padded = np.pad(x, ((0, 0), (width // 2, width // 2)))
    out = sum(weight[:, :, tap] @ padded[:, tap : tap + length] for tap in range(width))
    return out + w[f"{name}.bias"][:, None]


def depthwise(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    weight = w[f"{name}.weight"][:, 0]
    width, length = weight.shape[1], x.shape[1]
    padded = np.pad(x, ((0, 0), (width // 2, width // 2)))
    return sum(weight[:, tap, None] * padded[:, tap : tap + length] for tap in range(width))


def pool(x: np.ndarray) -> np.ndarray:
    return np.maximum(x[:, 0::2], x[:, 1::2])


def dense(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    y = w[f"{name}.weight"] @ x
    return y + w[f"{name}.bias"][:, None] if f"{name}.bias" in w else y


def position_basis(tokens: int, features: int, widths_of: int) -> np.ndarray:
    """Row r is the distance d = key - query = r - (tokens - 1); (2 * tokens - 1, features)."""
    half = features // 2
    rate = np.float32(math.exp(math.log(widths_of + 1) / half))
    basis = np.zeros((2 * tokens - 1, features))
    for row in range(2 * tokens - 1):
        d = row - (tokens - 1)
        for k in range(1, half + 1):
            inside = float(rate ** np.float32(k) - np.float32(1) > abs(d))
            basis[row, k - 1] = inside
            basis[row, half + k - 1] = np.sign(d) * inside
    return basis


def attention(w: Weights, name: str, x: np.ndarray, heads: int, widths_of: int) -> np.ndarray:
    """Multi-head attention with the plain relative term: tokens x (2 tokens - 1) products, then a shift."""
    tokens = x.shape[1]
    query, key, value = (dense(w, f"{name}.{part}", x) for part in ("query", "key", "value"))
    size, value_size = len(query) // heads, len(value) // heads
    basis = position_basis(tokens, w[f"{name}.relative_key.weight"].shape[1], widths_of)
    relative_key = dense(w, f"{name}.relative_key", basis.T)
    mixed = []
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        q = query[rows] / math.sqrt(size)
        content = (q + w[f"{name}.content_bias"][0, head, 0, :, None]).T @ key[rows]
        distances = (q + w[f"{name}.position_bias"][0, head, 0, :, None]).T @ relative_key[rows]
        shifted = np.stack([distances[i, tokens - 1 - i : 2 * tokens - 1 - i] for i in range(tokens)])
        logits = content + shifted
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mixed.append(value[head * value_size : (head + 1) * value_size] @ share.T)
    return dense(w, f"{name}.out", np.concatenate(mixed))


def turned(x: np.ndarray, size: int) -> np.ndarray:
    """Turn the first ``size`` rows of one head (rows, tokens): pair m, m + size / 2 by t * 20000 ** (-2 m / size).

    The angle is a product of float32 numbers, as the published model computes it.
    """
    out = x.copy()
    half = size // 2
    for m in range(half):
        frequency = np.float32(1) / np.float32(20000.0 ** (2 * m / size))
        angle = (np.arange(x.shape[1], dtype=np.float32) * frequency).astype(np.float64)
        out[m] = x[m] * np.cos(angle) - x[m + half] * np.sin(angle)
        out[m + half] = x[m] * np.sin(angle) + x[m + half] * np.cos(angle)
    return out


def rotary_attention(w: Weights, name: str, x: np.ndarray, heads: int, key_heads: int, rotary_size: int) -> np.ndarray:
    """Attention of Flashzoi: rows of the projection are heads of queries, then of keys, then of values."""
    rows = dense(w, f"{name}.qkv", x)
    size = len(rows) // (heads + 2 * key_heads)
    parts = [rows[i * size : (i + 1) * size] for i in range(heads + 2 * key_heads)]
    mixed = []
    for head in range(heads):
        shared = head // (heads // key_heads)
        key, value = parts[heads + shared], parts[heads + key_heads + shared]
        logits = turned(parts[head], rotary_size).T @ turned(key, rotary_size) / math.sqrt(size)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mixed.append(value @ share.T)
    return dense(w, f"{name}.out", np.concatenate(mixed))


def embedding(
    w: Weights,
    x: np.ndarray,
    *,
    heads: int,
    widths_of: int,
    depth: int,
    unets: int,
    crop: int,
    key_heads: int = 0,
    rotary_size: int = 0,
) -> np.ndarray:
    """What the head reads: (channels, bins) for one window (4, length)."""
    x = pool(conv(w, "stem", x))
    stored = []
    for number in range(sum(name.startswith("tower.") and name.endswith("conv.bias") for name in w)):
        x = conv(w, f"tower.{number}.conv", gelu(batch_norm(w, f"tower.{number}.norm", x)))
        stored.append(x)
        x = pool(x)
    for number in range(depth):
        name = f"transformer.{number}"
        normed = layer_norm(w, f"{name}.norm_attention", x)
        if rotary_size:
            x = x + rotary_attention(w, f"{name}.attention", normed, heads, key_heads, rotary_size)
        else:
            x = x + attention(w, f"{name}.attention", normed, heads, widths_of)
        hidden = dense(w, f"{name}.dense_up", layer_norm(w, f"{name}.norm_dense", x))
        x = x + dense(w, f"{name}.dense_down", np.maximum(hidden, 0))
    for number in range(unets):
        name = f"unet.{number}"
        skip = next(item for item in reversed(stored) if item.shape[1] == 2 * x.shape[1])
        x = gelu(batch_norm(w, f"{name}.norm", x))
        if f"{name}.dense.weight" in w:
            x = conv(w, f"{name}.dense", x)
        skip = conv(w, f"{name}.dense_skip", gelu(batch_norm(w, f"{name}.norm_skip", skip)))
        x = np.repeat(x, 2, axis=1) + skip
        x = conv(w, f"{name}.pointwise", depthwise(w, f"{name}.depthwise", x))
    x = x[:, crop : x.shape[1] - crop]
    if "tail.conv.weight" in w:
        x = conv(w, "tail.conv", gelu(batch_norm(w, "tail.norm", x)))
    return gelu(x)


def forward(w: Weights, x: np.ndarray, **sizes: int) -> np.ndarray:
    """Squashed coverage, (tracks, bins)."""
    return softplus(dense(w, "head", embedding(w, x, **sizes)))
