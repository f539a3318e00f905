"""Random weights that are the same on any machine, so that an archive of outputs need not hold them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np


def drawn_weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Return float32 tensors for which no layer is without effect, by the names and shapes of borzoi-pytorch.

    They are made of the bits of PCG64, whose stream is fixed where that of distributions is not: uniform in (-1, 1),
    scaled to the variance of a matrix, or moved to what its kind needs.
    """
    bits = np.random.PCG64(seed)
    weights = {}
    for name, shape in shapes.items():
        values = (bits.random_raw(math.prod(shape)) >> 11).astype(np.float64).reshape(shape) * 2.0**-52 - 1.0
        if name.endswith("running_var"):
            values = 1.0 + 0.5 * values
        elif len(shape) == 1:
            # Scales of normalisation lie around 1, means and biases around 0.
            scale = name.endswith("weight")
            values = 1.0 + 0.3 * values if scale else 0.3 * values
        else:
            values = values * math.sqrt(3.6 / math.prod(shape[1:]))
        weights[name] = values.astype(np.float32)
    return weights


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of all values in the order of the names given."""
    found = hashlib.sha256()
    for values in weights.values():
        found.update(values.tobytes())
    return found.hexdigest()
