"""Training, the slow and obvious way: a TFRecord writer, the loss as loops, correlations in two passes."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np


def varint(value: int) -> bytes:
    """Return a protocol-buffer varint."""
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return varint(8 * number + 2) + varint(len(content)) + content


def example(**features: bytes) -> bytes:
    """Return a serialised tf.train.Example with byte features."""
    entries = b""
    for name, value in features.items():
        feature = field(1, field(1, value))  # Feature.bytes_list.value
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def tfrecord(payloads: list[bytes]) -> bytes:
    """Return a zlib-compressed TFRecord file; its checksums are left 0."""
    frames = b"".join(struct.pack("<Q", len(item)) + bytes(4) + item + bytes(4) for item in payloads)
    return zlib.compress(frames)


def poisson_multinomial(
    prediction: np.ndarray, target: np.ndarray, total_weight: float, weights: np.ndarray
) -> np.ndarray:
    """Return the loss of one window (tracks, bins), float64 (tracks,), one term at a time."""
    losses = []
    for p_row, y_row in zip(prediction.astype("f8"), target.astype("f8"), strict=True):
        p = [value * weight for value, weight in zip(p_row, weights, strict=True)]
        y = [value * weight for value, weight in zip(y_row, weights, strict=True)]
        s_p, s_y, scale = math.fsum(p), math.fsum(y), math.fsum(weights)
        poisson = (s_p - s_y * math.log(s_p + 1e-7)) / scale
        terms = [(b + 1e-7) * math.log((a + 1e-7) / s_p) for a, b in zip(p, y, strict=True)]
        losses.append(-math.fsum(terms) / scale + total_weight * poisson)
    return np.array(losses)


def pearson(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the correlation of two flat arrays, in two passes."""
    p, y = prediction.astype("f8").ravel(), target.astype("f8").ravel()
    p, y = p - p.mean(), y - y.mean()
    return float((p * y).sum() / math.sqrt((p * p).sum() * (y * y).sum()))


def r2(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the explained share of the variance, in two passes."""
    p, y = prediction.astype("f8").ravel(), target.astype("f8").ravel()
    return float(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def poisson_multinomial_slope(
    prediction: np.ndarray, target: np.ndarray, total_weight: float, weights: np.ndarray
) -> np.ndarray:
    """Return d loss / d prediction of one window, (tracks, bins), by the formula.

    With p, y weighted by w, d/dp_i of ``-sum_j (y_j + e) ln((p_j + e) / S)`` is
    ``-(y_i + e) / (p_i + e) + sum (y + e) / S``,
    and of ``S - Y ln(S + e)`` it is ``1 - Y / (S + e)``. Then the chain rule gives a factor w_i, and all is over W.
    """
    e = 1e-7
    p, y = prediction.astype("f8") * weights, target.astype("f8") * weights
    s_p, s_y = p.sum(axis=1, keepdims=True), y.sum(axis=1, keepdims=True)
    profile = -(y + e) / (p + e) + (y + e).sum(axis=1, keepdims=True) / s_p
    total = 1 - s_y / (s_p + e)
    return (profile + total_weight * total) * weights / weights.sum()


def keras_adam(
    weight: np.ndarray,
    gradients: list[np.ndarray],
    rates: list[float],
    epsilon: float,
    b1: float = 0.9,
    b2: float = 0.999,
) -> np.ndarray:
    """Return a weight after some updates, by the formula of Keras."""
    m = v = np.zeros_like(weight, dtype="f8")
    w = weight.astype("f8")
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + epsilon)
    return w
