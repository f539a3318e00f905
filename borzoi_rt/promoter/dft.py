"""The DFT score of motif removal.

With f = KO - WT, the effect of a motif on a track of N bins, and X_k = sum_t f(t) exp(-2 pi i k t / N),

    raw = sqrt(sum over all N bins |X_k|^2),    score_m = raw_m / sum over motifs of raw.

The transform of real data is stored for k = 0..N//2 only; the bins that are missing are conjugates, which the Hermitian
weights 1, 2, 2, ..., 2, 1 count. f is taken in float64 *before* the transform: a float32 transform of both tracks loses
effects that are small against the track. By Parseval ``raw = sqrt(N) * norm(f)``, so raw and score are unsigned and
blind to position; what tells gain from loss and a move from a change of level stands beside them in :class:`DFTScores`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import InputError
from .fftw import CHUNK_ROWS, Transform, make_transform
from .fftw import keep_wisdom as keep_wisdom

ENGINES = ("fftw", "numpy", "time")
COMPAT = ("genoretriever",)
SHIFT_WINDOW_BP = 200.0  # over a whole promoter window the centroid is ruled by far, faint signal
NOISE_FACTOR = 3.0


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
        lambda = sum(KO) / sum(WT), and its logarithm; NaN where the track is empty. On a log scale this is a ratio of
        sums of logarithms.
    abundance, positional, cross : float64 ndarray
        Exact parts ``raw**2 = abundance**2 + positional**2 + cross`` of the effect: the change of level
        A = (lambda - 1) WT, and the redistribution P = KO - lambda WT, which sums to 0.
    tss_shift_bp : float64 ndarray
        Centroid of KO minus centroid of WT near the TSS; positive is downstream.
    centroid_bp : float64 ndarray or None
        Centroid of the effect itself, -arg F(w_1) / w_1, for effects of one sign; None without spectra.
    noise : float64 ndarray of shape (...) or None
        ``raw`` of a second WT prediction, where one was given.
    above_noise : bool ndarray or None
        Whether ``raw`` is more than ``noise_factor`` times ``noise``.
    effect : float64 ndarray of shape (..., motifs, bins) or None
        f = KO - WT; None without spectra, as are the next two.
    omega : float64 ndarray of shape (frequencies,) or None
        Angular frequency, rad/bp.
    spectrum : complex128 ndarray of shape (..., motifs, frequencies) or None
        F(w) = dt exp(i w c dt) X, the integral of f(t) exp(-i w t) with t = 0 at the TSS.
    band_power : dict of str to float64 ndarray
        Share of the power per band of periods.
    magnitude : float64 ndarray or None
        Norm of |spectrum of KO| - |spectrum of WT|: blind to a pure circular move.
    """

    raw: np.ndarray
    score: np.ndarray
    degenerate: np.ndarray
    dominant: np.ndarray
    delta_sum: np.ndarray
    ratio: np.ndarray
    log2fc: np.ndarray
    abundance: np.ndarray
    positional: np.ndarray
    cross: np.ndarray
    tss_shift_bp: np.ndarray
    centroid_bp: np.ndarray | None
    noise: np.ndarray | None
    above_noise: np.ndarray | None
    effect: np.ndarray | None
    omega: np.ndarray | None
    spectrum: np.ndarray | None
    band_power: Mapping[str, np.ndarray]
    magnitude: np.ndarray | None

    def __getitem__(self, name: str) -> Any:
        if name not in {item.name for item in fields(self)}:
            raise KeyError(name)
        return getattr(self, name)


def dft_scores(
    wt: np.ndarray,
    ko: np.ndarray,
    *,
    dt: float = 1.0,
    center: int = 0,
    n_fft: int | None = None,
    taper: np.ndarray | None = None,
    detrend: bool = False,
    eps: float = 0.0,
    engine: str = "fftw",
    compat: str | None = None,
    spectra: bool = True,
    bands: Mapping[str, tuple[float, float]] | None = None,
    magnitude: bool = False,
    shift_window_bp: float = SHIFT_WINDOW_BP,
    replica: np.ndarray | None = None,
    noise_factor: float = NOISE_FACTOR,
) -> DFTScores:
    """Score the removal of motifs by discrete Fourier transform.

    Parameters
    ----------
    wt : ndarray of shape (..., bins)
        Track as it is, one strand.
    ko : ndarray of shape (..., motifs, bins)
        The same track with each motif removed. The score depends on which motifs are here.
    dt : float
        Width of a bin in bp.
    center : int
        Bin of the TSS.
    n_fft : int, optional
        Zero-padded length; ``raw`` and its parts grow by sqrt(n_fft / bins), ``score`` does not change.
    taper : ndarray of shape (bins,), optional
        Window on the effect, for spectra and bands only: scores are never tapered.
    detrend : bool
        Subtract the mean of the effect, for spectra and bands only.
    eps : float
        A site is degenerate where the sum of ``raw`` is not above this.
    engine : str
        ``fftw``; ``numpy`` (``numpy.fft``, the oracle); or ``time`` (sqrt(n_fft) * norm(f), without spectra).
    compat : str, optional
        ``genoretriever``: the published definition, whose degenerate sites are NaN and which knows no padding, taper
        or detrending.
    spectra : bool
        Keep effects and spectra, 16 bytes per motif and bin.
    bands : mapping of str to (float, float), optional
        Periods in bp, [low, high) each, e.g. ``{"turn": (9.5, 11.5)}``; the constant term has period infinity.
    magnitude : bool
        Compute the magnitude-only distance.
    shift_window_bp : float
        Half width of the window of ``tss_shift_bp`` around the TSS.
    replica : ndarray of shape (..., bins), optional
        WT predicted again, for the noise floor.
    noise_factor : float
        Multiple of the noise that an effect must exceed.

    Returns
    -------
    DFTScores

    Raises
    ------
    InputError
        If shapes do not fit, a value is NaN or infinite, there are no bins, or ``n_fft`` is shorter than the track.
    """
    wt, ko = np.asarray(wt), np.asarray(ko)
    size, bins = _check(wt, ko, n_fft), wt.shape[-1]
    _check_choices(engine, compat, extended=n_fft is not None or taper is not None or detrend)
    if engine == "time" and (bands or magnitude):
        raise InputError("engine 'time' has no spectra; bands and magnitude need engine 'fftw'")
    if not dt > 0:
        raise InputError(f"dt is {dt!r}; a positive width in bp is needed")
    sites = wt.reshape(-1, bins).astype(np.float64)
    rows = ko.reshape(-1, bins)
    keep = spectra and engine != "time"
    omega = 2.0 * np.pi * np.arange(size // 2 + 1) / (size * dt)
    turn = dt * np.exp(1j * omega * center * dt)
    window = _shift_window(bins, dt, center, shift_window_bp)
    shaped = taper is not None or detrend
    spectra_wt = rfft(sites, size, engine=engine) if magnitude else None
    out = {name: np.empty(len(rows)) for name in _PER_ROW}
    spectrum = np.empty((len(rows), len(omega)), dtype=np.complex128) if keep else None
    effect = np.empty(rows.shape) if keep else None
    powers = {name: np.empty(len(rows)) for name in bands or {}}
    distance = np.empty(len(rows)) if magnitude else None
    for here, of_site, base, f, transform in _effects(sites, rows, size, engine):
        _statistics(out, here, f, base, window, dt, size)
        if effect is not None:
            effect[here] = f
        if engine == "time":
            continue
        X = transform.run(len(f))
        out["raw"][here] = np.sqrt(_total_power(X, size))
        if distance is not None and spectra_wt is not None:
            change = np.abs(spectra_wt[of_site] + X) - np.abs(spectra_wt[of_site])
            distance[here] = np.sqrt((hermitian_weights(size) * change**2).sum(axis=-1))
        if shaped:
            X = rfft(_shape(f, taper, detrend), size, engine=engine)
        for name, (low, high) in (bands or {}).items():
            powers[name][here] = _band_share(X, size, dt, low, high)
        if spectrum is not None:
            np.multiply(X, turn, out=spectrum[here])
    shape = ko.shape[:-1]
    values = {name: array.reshape(shape) for name, array in out.items()}
    noise = None
    if replica is not None:
        noise = spectral_norms(wt, np.asarray(replica)[..., None, :], n_fft=n_fft, engine=engine)[..., 0]
    return DFTScores(
        **values,
        **_normalised(values["raw"], eps, compat),
        log2fc=_log2(values["ratio"]),
        centroid_bp=_effect_centroid(spectrum, size, dt, center, shape),
        noise=noise,
        above_noise=None if noise is None else values["raw"] > noise_factor * noise[..., None],
        effect=None if effect is None else effect.reshape(ko.shape),
        omega=omega if keep else None,
        spectrum=None if spectrum is None else spectrum.reshape(*shape, -1),
        band_power={name: array.reshape(shape) for name, array in powers.items()},
        magnitude=None if distance is None else distance.reshape(shape),
    )


def spectral_norms(wt: np.ndarray, ko: np.ndarray, *, n_fft: int | None = None, engine: str = "fftw") -> np.ndarray:
    """Return ``raw`` alone, float64 (..., motifs): the spectra live in one buffer and are never stored."""
    wt, ko = np.asarray(wt), np.asarray(ko)
    size = _check(wt, ko, n_fft)
    _check_choices(engine, None, extended=False)
    raw = np.empty(ko.shape[:-1])
    flat = raw.reshape(-1)
    rows = ko.reshape(-1, ko.shape[-1])
    for here, _, _, f, transform in _effects(wt.reshape(-1, wt.shape[-1]), rows, size, engine):
        flat[here] = size * _dot(f, f) if engine == "time" else _total_power(transform.run(len(f)), size)
    return np.sqrt(raw, out=raw)


def hermitian_weights(n_fft: int) -> np.ndarray:
    """Return how often each stored bin of a real transform stands in the full one: 1, 2, ..., 2, and 1 if n is even."""
    weights = np.full(n_fft // 2 + 1, 2.0)
    weights[0] = 1.0
    if n_fft % 2 == 0:
        weights[-1] = 1.0
    return weights


def rfft(x: np.ndarray, n_fft: int | None = None, *, engine: str = "fftw") -> np.ndarray:
    """Transform real rows, float64 (..., bins) to complex128 (..., n_fft // 2 + 1); forward, unscaled, exp(-i).

    The input is never touched, and every call returns an array of its own.
    """
    x = np.asarray(x, dtype=np.float64)
    size = _check(x, None, n_fft)
    _check_choices(engine, None, extended=False)
    if engine != "fftw":
        return np.asarray(np.fft.rfft(x, size))
    rows = x.reshape(-1, x.shape[-1])
    out = np.empty((len(rows), size // 2 + 1), dtype=np.complex128)
    transform = make_transform(engine, x.shape[-1], size)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        transform.input(len(part))[:] = part
        out[start : start + len(part)] = transform.run(len(part))
    return out.reshape(*x.shape[:-1], -1)


def _effects(
    sites: np.ndarray, rows: np.ndarray, n_fft: int, engine: str
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray, Transform]]:
    """Yield, chunk by chunk, rows, their sites, WT of these, and the effects in the input buffer of the transform."""
    motifs = len(rows) // max(len(sites), 1)
    transform = make_transform(engine, rows.shape[-1], n_fft)
    for start in range(0, len(rows), CHUNK_ROWS):
        here = slice(start, min(start + CHUNK_ROWS, len(rows)))
        of_site = np.arange(here.start, here.stop) // motifs
        f = transform.input(here.stop - here.start)
        base = sites[of_site]
        np.subtract(rows[here], base, out=f, dtype=np.float64)
        if not np.isfinite(_dot(f, f)).all():
            raise InputError("the tracks hold NaN, infinite or overflowing values; their effect has no spectrum")
        yield here, of_site, base, f, transform


_PER_ROW = ("raw", "delta_sum", "ratio", "abundance", "positional", "cross", "tss_shift_bp")


def _statistics(
    out: dict[str, np.ndarray], here: slice, f: np.ndarray, wt: np.ndarray, window: np.ndarray, dt: float, size: int
) -> None:
    """Fill what needs no spectrum; ``raw`` by Parseval, which the transform then replaces."""
    out["raw"][here] = np.sqrt(size * _dot(f, f))
    out["delta_sum"][here] = f.sum(axis=-1)
    level = wt.sum(axis=-1)
    gain = np.divide(out["delta_sum"][here], level, out=np.full(len(f), np.nan), where=level > 0)  # lambda - 1
    out["ratio"][here] = 1.0 + gain
    P = f - gain[:, None] * wt  # and A = gain * wt needs no array of its own
    out["abundance"][here] = np.abs(gain) * np.sqrt(size * _dot(wt, wt))
    out["positional"][here] = np.sqrt(size * _dot(P, P))
    out["cross"][here] = 2.0 * size * gain * _dot(wt, P)
    near = np.flatnonzero(window)
    first, last = (near[0], near[-1] + 1) if len(near) else (0, 0)
    place = dt * np.arange(last - first)
    before, after = wt[:, first:last], wt[:, first:last] + f[:, first:last]
    out["tss_shift_bp"][here] = _centroid(after, place) - _centroid(before, place)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("rt,rt->r", a, b)


def _centroid(track: np.ndarray, place: np.ndarray) -> np.ndarray:
    total = track.sum(axis=-1)
    return np.divide(track @ place, total, out=np.full(len(track), np.nan), where=total > 0)


def _total_power(X: np.ndarray, n_fft: int) -> np.ndarray:
    """Sum the Hermitian weights times |X|^2: twice everything, less the bins that have no conjugate."""
    flat = X.view(np.float64)
    power = 2.0 * _dot(flat, flat) - np.abs(X[:, 0]) ** 2
    return power - np.abs(X[:, -1]) ** 2 if n_fft % 2 == 0 else power


def _band_share(X: np.ndarray, n_fft: int, dt: float, low: float, high: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        period = n_fft * dt / np.arange(X.shape[-1])
    chosen = np.where((period >= low) & (period < high), hermitian_weights(n_fft), 0.0)
    power = np.abs(X) ** 2
    total = power @ hermitian_weights(n_fft)
    return np.divide(power @ chosen, total, out=np.zeros(len(X)), where=total > 0)


def _shape(f: np.ndarray, taper: np.ndarray | None, detrend: bool) -> np.ndarray:
    shaped = f - f.mean(axis=-1, keepdims=True) if detrend else f
    return shaped if taper is None else shaped * np.asarray(taper, dtype=np.float64)


def _shift_window(bins: int, dt: float, center: int, reach_bp: float) -> np.ndarray:
    return np.asarray(np.abs((np.arange(bins) - center) * dt) <= reach_bp)


def _normalised(raw: np.ndarray, eps: float, compat: str | None) -> dict[str, np.ndarray]:
    total = raw.sum(axis=-1, keepdims=True)
    good = total > eps
    score = np.divide(raw, total, out=np.full(raw.shape, np.nan if compat else 0.0), where=good)
    degenerate = ~good[..., 0]
    dominant = np.where(degenerate, -1, raw.argmax(axis=-1)) if raw.shape[-1] else np.full(degenerate.shape, -1)
    return {"score": score, "degenerate": degenerate, "dominant": dominant}


def _log2(ratio: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(ratio)


def _effect_centroid(
    spectrum: np.ndarray | None, n_fft: int, dt: float, center: int, shape: tuple[int, ...]
) -> np.ndarray | None:
    """Return -arg F(w_1) / w_1, moved by whole lengths into the track."""
    if spectrum is None or spectrum.shape[-1] < 2:
        return None
    first, span = spectrum[:, 1], n_fft * dt
    place = -np.angle(first) * span / (2.0 * np.pi)
    start = -center * dt
    place = np.where(np.abs(first) > 0, start + np.mod(place - start, span), np.nan)
    return np.asarray(place.reshape(shape))


def _check(wt: np.ndarray, ko: np.ndarray | None, n_fft: int | None) -> int:
    """Judge the shapes and return the length of the transform."""
    if wt.ndim < 1 or wt.shape[-1] < 1:
        raise InputError(f"the track has shape {wt.shape}; (..., bins) with at least one bin is needed")
    if ko is not None and (ko.ndim != wt.ndim + 1 or ko.shape[:-2] != wt.shape[:-1] or ko.shape[-1] != wt.shape[-1]):
        raise InputError(f"ko has shape {ko.shape}; (..., motifs, bins) with the axes of wt {wt.shape} is needed")
    size = wt.shape[-1] if n_fft is None else n_fft
    if size < wt.shape[-1]:
        raise InputError(f"n_fft is {n_fft}, less than the {wt.shape[-1]} bins; a transform must not cut the track")
    return size


def _check_choices(engine: str, compat: str | None, *, extended: bool) -> None:
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown; allowed: {', '.join(ENGINES)}")
    if compat is not None and compat not in COMPAT:
        raise InputError(f"compat {compat!r} is unknown; allowed: {', '.join(COMPAT)}")
    if compat and extended:
        raise InputError(f"compat {compat!r} has no padding, taper or detrending; leave n_fft, taper and detrend out")
