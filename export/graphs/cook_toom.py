"""Convolutions of width 5 as products: four outputs cost 8 multiplications instead of 20 (Cook 1966, Toom 1963).

Outputs and inputs are read as coefficients of polynomials, whose product is known from its values at eight points. The
two changes between coefficients and values are small constant matrices; between them lies one product of channel
matrices a point. Exact in real arithmetic; in float32 the rounding is about that of the plain sum, larger tiles lose
more.
"""

from __future__ import annotations

import numpy as np

WIDTH = 5
OUTPUTS = 4
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity; small powers of two keep the matrices benign


def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float64 ``(to_outputs, to_kernel, to_inputs)`` of shapes (4, 8), (8, 5) and (8, 8).

    For a kernel k and eight inputs x, ``to_outputs @ ((to_kernel @ k) * (to_inputs @ x))`` is the correlation
    ``y[i] = sum_j k[j] x[i + j]``.
    """

    def values(count: int) -> np.ndarray:
        powers = [[point**power for power in range(count)] for point in _POINTS]
        return np.array([*powers, [0.0] * (count - 1) + [1.0]])

    return values(OUTPUTS).T, values(WIDTH), np.linalg.inv(values(OUTPUTS + WIDTH - 1)).T


def kernels(weight: np.ndarray) -> np.ndarray:
    """Return the kernel of a convolution (filters, channels, 5) at the eight points, float32 (8, channels, filters)."""
    return np.einsum("nk,ock->nco", matrices()[1], weight.astype(np.float64), optimize=True).astype(np.float32)


def backward_matrices() -> tuple[np.ndarray, np.ndarray]:
    """Return float64 ``(to_outputs, to_inputs)`` of the correlation with the reversed kernel, from the same products.

    The gradient of a correlation by its input is one with the kernel reversed and its channels exchanged. A reversed
    polynomial of degree 4 has at the point p the value that the polynomial has at 1 / p, times p^4; 0 and infinity
    change roles. So :func:`kernels` of the weights serve again, with their channels exchanged.
    """
    to_outputs, _, to_inputs = matrices()
    infinity = len(_POINTS)
    partner = [infinity if point == 0.0 else _POINTS.index(1.0 / point) for point in _POINTS] + [_POINTS.index(0.0)]
    grown = np.array([1.0 if point == 0.0 else point**4 for point in _POINTS] + [1.0])
    return to_outputs[:, partner] * grown[partner], to_inputs[partner]
