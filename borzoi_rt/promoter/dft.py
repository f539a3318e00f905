"""The DFT score of motif removal.

With f = KO - WT, the effect of a motif on a track of N bins, and X_k = sum_t f(t) exp(-2 pi i k t / N),

    raw = sqrt(sum over all N frequencies |X_k|^2),    score_m = raw_m / sum over motifs of raw.

f is taken in float64 *before* the transform: a float32 transform of both tracks loses effects that are small against
the track. By Parseval ``raw = sqrt(N) * norm(f)``, so raw and score are unsigned and blind to position; what tells gain
from loss and a move from a change of level stands beside them in :class:`DFTScores`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import BoolArray, DoubleArray
from .fftw import keep_wisdom as keep_wisdom
from .shift import peak_shifts
from .spectra import (
    EffectRows,
    band_share,
    check_shapes,
    effect_rows,
    hermitian_weights,
    rfft,
    row_products,
    spectral_norms,
    total_power,
)

COMPAT = ("genoretriever",)
NOISE_FACTOR = 3.0
LEAST_SIGN = 0.9  # an effect has one sign where |sum f| >= 0.9 sum |f|: at most 5 % of it is of the other sign
LEAST_CENTRED = 0.01  # of sum |f|: below, the effect is spread evenly over the track and has no centre

Complexes = npt.NDArray[np.complex128]


@dataclass(frozen=True, kw_only=True)
class DFTScores:
    """Effects of motifs, axes ``(..., motifs)`` unless said otherwise; ``scores["raw"]`` reads like ``scores.raw``.

    Attributes
    ----------
    raw : float64 ndarray
        Norm of the spectrum of the effect over all frequencies.
    score : float64 ndarray
        ``raw`` over its sum; 0 where ``degenerate`` (NaN under ``compat="genoretriever"``).
    degenerate : bool ndarray of shape (...)
        No motif of the site has an effect.
    dominant : int64 ndarray of shape (...)
        Motif with the largest score; -1 where degenerate.
    delta_sum : float64 ndarray
        Sum of the effect, negative where the motif drives transcription.
    ratio, log2fc : float64 ndarray
        sum(KO) / sum(WT), and its logarithm; NaN where the track is empty. On a log scale this is a ratio of sums of
        logarithms.
    abundance, positional : float64 ndarray
        Orthogonal parts of the effect, ``raw**2 = abundance**2 + positional**2``: the change of level a WT, with
        ``a = <f, WT> / <WT, WT>`` by least squares, and what is left, f - a WT. A change of level alone is all
        abundance. A move is mostly positional: it has the abundance of the signal that is missing where it was.
    tss_shift_bp, tss_shift_se_bp : float64 ndarray
        How far the peak at the TSS moved and its standard error, by the phase of the cross-spectrum of WT and KO;
        positive is downstream, NaN where not valid. See :mod:`borzoi_rt.promoter.shift`.
    tss_shift_valid : bool ndarray
        KO still has the peak, and it looks like the one of WT.
    centroid_bp : float64 ndarray
        Centre of the effect itself relative to the TSS, by the phase of its lowest frequency: -arg F(w_1) / w_1, of -F
        where the effect is negative. NaN where it is of mixed sign (:data:`LEAST_SIGN`) or spread over the whole track
        (:data:`LEAST_CENTRED`).
    magnitude : float64 ndarray
        Norm of |spectrum of KO| - |spectrum of WT|: blind to a pure circular move.
    noise : float64 ndarray of shape (...) or None
        ``raw`` of a second WT prediction, where one was given.
    above_noise : bool ndarray or None
        Whether ``raw`` is more than ``noise_factor`` times ``noise``.
    band_power : dict of str to float64 ndarray
        Share of the power per band of periods; NaN where the bins are too wide for the band.
    effect : float64 ndarray of shape (..., motifs, bins) or None
        f = KO - WT; None without spectra, as are the next two.
    omega : float64 ndarray of shape (frequencies,) or None
        Angular frequency, rad/bp.
    spectrum : complex128 ndarray of shape (..., motifs, frequencies) or None
        F(w) = dt exp(i w c dt) X, the integral of f(t) exp(-i w t) with t = 0 at the TSS.
    """

    raw: DoubleArray
    score: DoubleArray
    degenerate: BoolArray
    dominant: npt.NDArray[np.int64]
    delta_sum: DoubleArray
    ratio: DoubleArray
    log2fc: DoubleArray
    abundance: DoubleArray
    positional: DoubleArray
    tss_shift_bp: DoubleArray
    tss_shift_se_bp: DoubleArray
    tss_shift_valid: BoolArray
    centroid_bp: DoubleArray
    magnitude: DoubleArray
    noise: DoubleArray | None
    above_noise: BoolArray | None
    band_power: Mapping[str, DoubleArray]
    effect: DoubleArray | None
    omega: DoubleArray | None
    spectrum: Complexes | None

    def __getitem__(self, name: str) -> Any:
        if name not in {item.name for item in fields(self)}:
            raise KeyError(name)
        return getattr(self, name)


def dft_scores(
    wt: npt.ArrayLike,
    ko: npt.ArrayLike,
    *,
    dt: float = 1.0,
    center: int = 0,
    compat: str | None = None,
    spectra: bool = True,
    bands: Mapping[str, tuple[float, float]] | None = None,
    shift_window_bp: float | None = None,
    replica: npt.ArrayLike | None = None,
    noise_factor: float = NOISE_FACTOR,
) -> DFTScores:
    """Score the removal of motifs by discrete Fourier transform.

    Parameters
    ----------
    wt : array of shape (..., bins)
        Track as it is, one strand, read downstream.
    ko : array of shape (..., motifs, bins)
        The same track with each motif removed. The score depends on which motifs are here.
    dt : float
        Width of a bin in bp.
    center : int
        Bin of the TSS.
    compat : str, optional
        ``genoretriever``: sites without any effect have the score NaN, as published, not 0.
    spectra : bool
        Keep effects and spectra, 24 bytes per motif and bin.
    bands : mapping of str to (float, float), optional
        Periods in bp, [low, high) each, e.g. ``{"turn": (9.5, 11.5)}``; the constant term has period infinity.
    shift_window_bp : float, optional
        How far from the TSS the peak of ``tss_shift_bp`` is looked for; 200 bp, at least 8 bins, when None. Moves of up
        to half as much are found.
    replica : array of shape (..., bins), optional
        WT predicted again, for the noise floor.
    noise_factor : float
        Multiple of the noise that an effect must exceed.

    Returns
    -------
    DFTScores

    Raises
    ------
    InputError
        If shapes do not fit, a value is NaN or infinite, or there are no bins.
    """
    wt, ko = np.asarray(wt), np.asarray(ko)
    if compat is not None and compat not in COMPAT:
        raise InputError(f"compat {compat!r} is unknown; allowed: {', '.join(COMPAT)}")
    if not (dt > 0 and np.isfinite(dt)):
        raise InputError(f"dt is {dt!r}; a positive width in bp is needed")
    if shift_window_bp is not None and not (shift_window_bp > 0 and np.isfinite(shift_window_bp)):
        raise InputError(f"shift_window_bp is {shift_window_bp!r}; a positive number of bases is needed")
    check_shapes(wt, ko)
    shape, bins = ko.shape[:-1], wt.shape[-1]
    rows, motifs = int(np.prod(shape)), shape[-1]
    columns = {name: np.empty(rows) for name in _PER_ROW}
    valid = np.zeros(rows, dtype=bool)
    powers = {name: np.empty(rows) for name in bands or {}}
    omega = 2.0 * np.pi * np.arange(bins // 2 + 1) / (bins * dt)
    turn = dt * np.exp(1j * omega * center * dt)
    spectrum = np.empty((rows, len(omega)), dtype=np.complex128) if spectra else None
    effect = np.empty((rows, bins)) if spectra else None
    base = rfft(wt).reshape(-1, len(omega))  # before the loop, whose chunks share the buffers of the plan
    for part in effect_rows(wt, ko):
        here = part.rows
        _levels(columns, part)
        shifts = peak_shifts(part.wt, part.ko, dt=dt, center=center, reach_bp=shift_window_bp)
        columns["tss_shift_se_bp"][here], valid[here] = shifts.se_bp, shifts.valid
        if effect is not None:
            effect[here] = part.effect
        mass = np.abs(part.effect).sum(axis=-1)
        columns["tss_shift_bp"][here] = np.where(shifts.valid & (mass == 0.0), 0.0, shifts.bp)  # and not rounding
        X = part.transform.run(len(part.effect))
        columns["raw"][here] = np.sqrt(total_power(X, bins))
        columns["centroid_bp"][here] = _centres(X, columns["delta_sum"][here], mass, bins, dt, center)
        columns["magnitude"][here] = _magnitude_distance(base[np.arange(here.start, here.stop) // motifs], X, bins)
        for name, (low, high) in (bands or {}).items():
            powers[name][here] = band_share(X, bins, dt, low, high)
        if spectrum is not None:
            np.multiply(X, turn, out=spectrum[here])
    values: dict[str, Any] = {name: array.reshape(shape) for name, array in columns.items()}
    noise = None if replica is None else spectral_norms(wt, np.asarray(replica)[..., None, :])[..., 0]
    return DFTScores(
        **values,
        **_normalised(values["raw"], compat),
        log2fc=_log2(values["ratio"]),
        tss_shift_valid=valid.reshape(shape),
        noise=noise,
        above_noise=None if noise is None else values["raw"] > noise_factor * noise[..., None],
        band_power={name: array.reshape(shape) for name, array in powers.items()},
        effect=None if effect is None else effect.reshape(ko.shape),
        omega=omega if spectra else None,
        spectrum=None if spectrum is None else spectrum.reshape(*shape, -1),
    )


_PER_ROW = (
    "raw", "delta_sum", "ratio", "abundance", "positional", "tss_shift_bp", "tss_shift_se_bp", "centroid_bp",
    "magnitude",
)  # fmt: skip


def _levels(columns: Mapping[str, DoubleArray], part: EffectRows) -> None:
    """Fill what needs no spectrum."""
    f, wt, bins = part.effect, part.wt, part.wt.shape[-1]
    columns["delta_sum"][part.rows] = f.sum(axis=-1)
    level, power = wt.sum(axis=-1), row_products(wt, wt)
    missing = np.full(len(f), np.nan)
    columns["ratio"][part.rows] = 1.0 + np.divide(f.sum(axis=-1), level, out=missing, where=level > 0)
    a = np.divide(row_products(f, wt), power, out=np.zeros(len(f)), where=power > 0)
    rest = f - a[:, None] * wt
    columns["abundance"][part.rows] = np.abs(a) * np.sqrt(bins * power)
    columns["positional"][part.rows] = np.sqrt(bins * row_products(rest, rest))


def _centres(X: Complexes, delta_sum: DoubleArray, mass: DoubleArray, bins: int, dt: float, center: int) -> DoubleArray:
    """Return the centre of each effect in bp from the TSS, NaN where it has none."""
    if X.shape[-1] < 2:
        return np.full(len(X), np.nan)
    first = np.where(delta_sum < 0, -X[:, 1], X[:, 1])
    position = -np.angle(first) * bins / (2.0 * np.pi)
    position = np.mod(position + 0.5, bins) - 0.5  # a phase is known but for whole turns; bins span [-1/2, N - 1/2)
    good = (np.abs(delta_sum) >= LEAST_SIGN * mass) & (np.abs(first) > LEAST_CENTRED * mass)
    return np.where(good, (position - center) * dt, np.nan)


def _magnitude_distance(base: Complexes, X: Complexes, bins: int) -> DoubleArray:
    change = np.abs(base + X) - np.abs(base)
    found: DoubleArray = np.sqrt((hermitian_weights(bins) * change**2).sum(axis=-1))
    return found


def _normalised(raw: DoubleArray, compat: str | None) -> dict[str, npt.NDArray[Any]]:
    total = raw.sum(axis=-1, keepdims=True)
    good = total > 0
    score = np.divide(raw, total, out=np.full(raw.shape, np.nan if compat else 0.0), where=good)
    degenerate = ~good[..., 0]
    dominant = np.where(degenerate, -1, raw.argmax(axis=-1)) if raw.shape[-1] else np.full(degenerate.shape, -1)
    return {"score": score, "degenerate": degenerate, "dominant": dominant}


def _log2(ratio: DoubleArray) -> DoubleArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log2(ratio))
