"""Spectra of removal effects: real transforms, their norms, and the share of a band of periods.

The transform of real data is stored for k = 0..N//2 only; the frequencies that are missing are conjugates, which the
Hermitian weights 1, 2, 2, ..., 2, 1 count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import DoubleArray
from .fftw import CHUNK_ROWS, Transform, make_transform

Complexes = npt.NDArray[np.complex128]


class EffectRows(NamedTuple):
    """Some rows of a batch: which they are, WT and KO of each, and f = KO - WT in the input buffer of a transform."""

    rows: slice
    wt: DoubleArray
    ko: DoubleArray
    effect: DoubleArray
    transform: Transform


def effect_rows(wt: npt.ArrayLike, ko: npt.ArrayLike) -> Iterator[EffectRows]:
    """Yield the effects of removals in the order of the flattened KO rows, up to ``CHUNK_ROWS`` at a time.

    Parameters
    ----------
    wt : array of shape (..., bins)
    ko : array of shape (..., motifs, bins)

    Raises
    ------
    InputError
        If shapes do not fit, or an effect is not finite.
    """
    wt, ko = np.asarray(wt), np.asarray(ko)
    check_shapes(wt, ko)
    bins = wt.shape[-1]
    sites, removed = np.asarray(wt.reshape(-1, bins), dtype=np.float64), ko.reshape(-1, bins)
    motifs = len(removed) // max(len(sites), 1)
    transform = make_transform(bins)
    for start in range(0, len(removed), CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, len(removed)))
        base = sites[np.arange(rows.start, rows.stop) // motifs]
        without = np.asarray(removed[rows], dtype=np.float64)  # a view where they are float64: not to be written to
        f = transform.input(rows.stop - rows.start)
        np.subtract(without, base, out=f)
        if not np.isfinite(row_products(f, f)).all():
            raise InputError("the tracks hold NaN, infinite or overflowing values; their effect has no spectrum")
        yield EffectRows(rows, base, without, f, transform)


def rfft(x: npt.ArrayLike) -> Complexes:
    """Transform real rows, float64 (..., bins) to complex128 (..., bins // 2 + 1); forward, unscaled, exp(-i).

    The input is never touched, and every call returns an array of its own.
    """
    x = np.asarray(x, dtype=np.float64)
    check_shapes(x)
    bins = x.shape[-1]
    rows = x.reshape(-1, bins)
    out = np.empty((len(rows), bins // 2 + 1), dtype=np.complex128)
    transform = make_transform(bins)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        transform.input(len(part))[:] = part
        out[start : start + len(part)] = transform.run(len(part))
    return out.reshape(*x.shape[:-1], -1)


def spectral_norms(wt: npt.ArrayLike, ko: npt.ArrayLike) -> DoubleArray:
    """Return ``raw`` alone, float64 (..., motifs): the spectra live in one buffer and are never stored."""
    raw = np.empty(np.shape(ko)[:-1])
    flat = raw.reshape(-1)
    for part in effect_rows(wt, ko):
        flat[part.rows] = total_power(part.transform.run(len(part.effect)), part.effect.shape[-1])
    return np.sqrt(raw, out=raw)


def hermitian_weights(bins: int) -> DoubleArray:
    """Return how often each stored frequency of a real transform stands in the full one: 1, 2, ..., 2; 1 if even."""
    weights = np.full(bins // 2 + 1, 2.0)
    weights[0] = 1.0
    if bins % 2 == 0:
        weights[-1] = 1.0
    return weights


def total_power(X: Complexes, bins: int) -> DoubleArray:
    """Sum the Hermitian weights times |X|^2: twice everything, less the frequencies that have no conjugate."""
    flat = X.view(np.float64)
    power = 2.0 * row_products(flat, flat) - np.abs(X[:, 0]) ** 2
    return np.asarray(power - np.abs(X[:, -1]) ** 2 if bins % 2 == 0 else power)


def band_share(X: Complexes, bins: int, dt: float, low_bp: float, high_bp: float) -> DoubleArray:
    """Return the share of the power at periods of [low, high) bp.

    The constant term has period infinity. Periods below two bins are not in the data: their share is NaN, not 0.
    """
    if low_bp < 2 * dt:
        return np.full(len(X), np.nan)
    with np.errstate(divide="ignore"):
        period = bins * dt / np.arange(X.shape[-1])
    chosen = np.where((period >= low_bp) & (period < high_bp), hermitian_weights(bins), 0.0)
    power = np.abs(X) ** 2
    total = power @ hermitian_weights(bins)
    found: DoubleArray = np.divide(power @ chosen, total, out=np.zeros(len(X)), where=total > 0)
    return found


def row_products(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    """Return the inner product of each pair of rows."""
    return np.asarray(np.einsum("rt,rt->r", a, b))


def check_shapes(wt: npt.NDArray[np.generic], ko: npt.NDArray[np.generic] | None = None) -> None:
    """Refuse tracks without bins, and KO that does not belong to WT."""
    if wt.ndim < 1 or wt.shape[-1] < 1:
        raise InputError(f"the track has shape {wt.shape}; (..., bins) with at least one bin is needed")
    if ko is not None and (ko.ndim != wt.ndim + 1 or ko.shape[:-2] != wt.shape[:-1] or ko.shape[-1] != wt.shape[-1]):
        raise InputError(f"ko has shape {ko.shape}; (..., motifs, bins) with the axes of wt {wt.shape} is needed")
