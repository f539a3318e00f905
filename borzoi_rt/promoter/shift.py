"""How far the peak at a TSS moved when a motif was removed: the slope of a phase.

A move by s turns the spectrum, K(w) = g W(w) exp(-i w s): the phase of the cross-spectrum C = conj(K) W is w s, a line
through 0 whose slope is the move. A change of level (g > 0) leaves the phase alone, and a constant baseline is in w = 0
only, which is not used. The estimate has two steps.

1. Whole bins: the lag at which WT near the TSS and KO, that many bins away, correlate best (Pearson's r, so that level
   and baseline do not matter). KO is then read at that lag, and what enters at one end of the window and leaves at the
   other does not disturb; the phase that is left is too small to wrap.
2. The rest: the slope of the phase of C by least squares weighted with the cross-power |C|, through 0,
   ``t = argmin sum |C| (1 - cos(arg C - w t))``, by a grid and Newton's method. For small phases this is the usual
   weighted fit, sum |C| w arg C / sum |C| w^2; it is also the t that aligns both tracks best by least squares.

The error is what the phases leave open. With residual phases e = arg C - w t, weights v = |C| w^2 cos e and their share
p = v / sum v, ``se^2 = sum (|C| w sin e / (1 - p))^2 / (sum v)^2``: each frequency is one observation, and 1 - p takes
its own pull on the slope out of its residual. The tracks are tapered at the ends of the window (Tukey), which hides
noise beside the peak: se^2 is divided by the mean square of the taper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import BoolArray, DoubleArray, IndexArray

Complexes = npt.NDArray[np.complex128]

SHIFT_WINDOW_BP = 200.0  # over a whole promoter window far, faint signal would rule
LEAST_BINS = 8  # the window holds at least so many bins on each side of the TSS, however wide they are
LEAST_KEPT = 0.2  # of the peak's height and of the level: below, the peak has vanished and nothing moved
LEAST_GAIN = 0.1  # of the moved peak's height: what KO must have more than WT had, where the peak is said to be
LEAST_COHERENCE = np.sqrt(0.5)  # a moved copy of WT explains half of the variance of KO
_FLAT = 0.5  # share of the window that the taper leaves as it is
_PASSES = 4
_STEPS = 20
_GRID = 20  # points per bin from which Newton's method starts


@dataclass(frozen=True)
class Shifts:
    """Moves of the peak, one per row.

    Attributes
    ----------
    bp, se_bp : float64 ndarray of shape (rows,)
        Move, positive downstream, and its standard error; NaN where not ``valid``.
    valid : bool ndarray of shape (rows,)
        The peak is still there (``LEAST_KEPT``), KO looks like a moved WT (``LEAST_COHERENCE``), it did not look so
        before, as where another peak is left when that of the TSS is gone, and the best lag is not at an end of the
        range.
    """

    bp: DoubleArray
    se_bp: DoubleArray
    valid: BoolArray


def peak_shifts(wt: DoubleArray, ko: DoubleArray, *, dt: float, center: int, reach_bp: float | None = None) -> Shifts:
    """Estimate how far the peak near the TSS moved.

    Parameters
    ----------
    wt, ko : float64 ndarray of shape (rows, bins)
    dt : float
        Width of a bin in bp.
    center : int
        Bin of the TSS.
    reach_bp : float, optional
        Half width of the window of WT that is looked for in KO; ``SHIFT_WINDOW_BP``, but at least ``LEAST_BINS`` bins,
        when None. Moves of up to half as much are found.
    """
    bins = wt.shape[-1]
    reach = max(int(SHIFT_WINDOW_BP // dt), LEAST_BINS) if reach_bp is None else int(reach_bp // dt)
    first, last = max(center - reach, 0), min(center + reach + 1, bins)
    if last - first < LEAST_BINS:  # too few bins for a phase
        return _none(len(wt))
    furthest = reach // 2 + 1  # further off are other promoters
    lag, inside = _best_lags(wt, ko, first, last, furthest)
    fit = _fits(wt, ko, first, last, lag)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = ko.sum(axis=-1) / wt.sum(axis=-1)
        valid = inside & (fit.coherence >= LEAST_COHERENCE) & (fit.gain >= LEAST_KEPT) & (kept >= LEAST_KEPT)
    valid &= ~_was_there(wt, ko, first, last, np.nan_to_num(np.rint(fit.bins)).astype(np.int64))
    valid &= np.isfinite(fit.bins) & (np.abs(fit.bins) <= furthest)
    return Shifts(np.where(valid, fit.bins * dt, np.nan), np.where(valid, fit.se_bins * dt, np.nan), valid)


def _none(rows: int) -> Shifts:
    missing = np.full(rows, np.nan)
    return Shifts(missing, missing.copy(), np.zeros(rows, dtype=bool))


def _best_lags(wt: DoubleArray, ko: DoubleArray, first: int, last: int, furthest: int) -> tuple[IndexArray, BoolArray]:
    """Return the lag of best correlation of WT in [first, last) with KO, and whether it is not the largest lag tried.

    At the ends of the track the overlap is shorter; lags that leave less than half of the window, or of the variance
    of WT in it, are not tried: the peak must be in the overlap.
    """
    bins, width = wt.shape[-1], last - first
    lags = np.array(sorted(range(-furthest, furthest + 1), key=abs))  # of equally good lags the shortest
    a, b = np.maximum(first, -lags), np.minimum(last, bins - lags)  # overlap, in bins of WT
    keep = b - a >= (width + 1) // 2
    lags, a, b = lags[keep], a[keep], b[keep]
    start, end = max(first - furthest, 0), min(last + furthest, bins)
    w, k = wt[:, first:last], ko[:, start:end]
    w, k = w - w.mean(axis=-1, keepdims=True), k - k.mean(axis=-1, keepdims=True)
    size = _fast_length(width + k.shape[-1])
    product = np.fft.irfft(np.conj(np.fft.rfft(w, size)) * np.fft.rfft(k, size), size)
    sum_wk = product[:, (lags + first - start) % size]
    count = b - a
    sum_w, sum_ww = (_range_sums(values, a - first, b - first) for values in (w, w * w))
    sum_k, sum_kk = (_range_sums(values, a + lags - start, b + lags - start) for values in (k, k * k))
    spread = np.maximum(sum_ww - sum_w**2 / count, 0) * np.maximum(sum_kk - sum_k**2 / count, 0)
    power = (w * w).sum(axis=-1, keepdims=True)
    floor = 1e-12 * power * (k * k).sum(axis=-1, keepdims=True)
    good = (spread > floor) & (sum_ww >= 0.5 * power)
    r = np.divide(sum_wk - sum_w * sum_k / count, np.sqrt(spread), out=np.full(spread.shape, -1.0), where=good)
    best = lags[r.argmax(axis=-1)]
    return best, (best > lags.min()) & (best < lags.max())


@dataclass
class _Fit:
    bins: DoubleArray
    se_bins: DoubleArray
    gain: DoubleArray
    coherence: DoubleArray


def _fits(wt: DoubleArray, ko: DoubleArray, first: int, last: int, lag: IndexArray) -> _Fit:
    """Fit the phase around each lag; a fit that ends nearer to another whole bin is made again from there."""
    lag = lag.copy()
    fit = _phase_fit(wt, ko, first, last, lag)
    for _ in range(_PASSES):
        again = np.flatnonzero(np.abs(fit.bins - lag) > 0.5 + 1e-6)
        if not len(again):
            break
        lag[again] = np.rint(fit.bins[again]).astype(np.int64)
        part = _phase_fit(wt[again], ko[again], first, last, lag[again])
        for name in ("bins", "se_bins", "gain", "coherence"):
            getattr(fit, name)[again] = getattr(part, name)
    return fit


def _phase_fit(wt: DoubleArray, ko: DoubleArray, first: int, last: int, lag: IndexArray) -> _Fit:
    bins = wt.shape[-1]
    at = np.arange(first, last)
    a, b = np.maximum(first, -lag)[:, None], np.minimum(last, bins - lag)[:, None]
    taper = _taper((at + 0.5 - a) / np.maximum(b - a, 1))
    shifted = np.take_along_axis(ko, np.clip(at + lag[:, None], 0, bins - 1), axis=-1)
    size = len(at)  # without padding, so that frequencies are independent: the taper ends in 0, and the rest is small
    W, K = (np.fft.rfft(_centred(part, taper))[:, 1:] for part in (wt[:, first:last], shifted))
    omega = 2.0 * np.pi * np.arange(1, size // 2 + 1) / size
    C = np.conj(K) * W
    rest, valid = _slope(C, omega)
    turned = C * np.exp(-1j * omega * rest[:, None])
    power_w, power_k = (np.abs(W) ** 2).sum(axis=-1), (np.abs(K) ** 2).sum(axis=-1)
    common = turned.real.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = omega**2 * turned.real
        total = weight.sum(axis=-1, keepdims=True)
        # The residual of a frequency without its own pull on the slope; the taper took noise from beside the peak.
        left = omega * turned.imag / np.clip(1.0 - weight / total, 0.05, None)
        se = np.sqrt((left**2).sum(axis=-1) / (taper**2).mean(axis=-1)) / total[:, 0]
        gain, coherence = common / power_w, common / np.sqrt(power_w * power_k)
    return _Fit(np.where(valid, lag + rest, np.nan), se, gain, coherence)


def _slope(C: Complexes, omega: DoubleArray) -> tuple[DoubleArray, BoolArray]:
    """Return the slope of the phase of each row in [-1, 1] bins, and whether a maximum is there.

    The best of a grid first, as noise at short periods makes more than one maximum, and Newton's method from there.
    """
    grid = np.linspace(-1.0, 1.0, 2 * _GRID + 1)
    slope = grid[(C @ np.exp(-1j * np.outer(omega, grid))).real.argmax(axis=-1)]
    valid = np.ones(len(C), dtype=bool)
    for _ in range(_STEPS):
        turned = C * np.exp(-1j * omega * slope[:, None])
        curvature = (omega**2 * turned.real).sum(axis=-1)
        valid = curvature > 0
        gradient = (omega * turned.imag).sum(axis=-1)
        step = np.clip(np.divide(gradient, curvature, out=np.zeros(len(C)), where=valid), -1 / _GRID, 1 / _GRID)
        slope = slope + step
        if (np.abs(step) < 1e-12).all():
            break
    return slope, valid


def _was_there(wt: DoubleArray, ko: DoubleArray, first: int, last: int, lag: IndexArray) -> BoolArray:
    """Whether KO has at the lag what WT had there too: another peak that is left when the one at the TSS is gone.

    Judged for lags beyond the peak's own width, to which the autocorrelation of WT falls below 1/2 (peaks closer than
    this are one). It was there where KO nowhere exceeds WT by ``LEAST_GAIN`` of its height, levels at the ends of the
    window taken off, or where KO and WT correlate under the moved peak, each base weighted with its height.
    """
    bins = wt.shape[-1]
    at = np.arange(first, last)
    there = np.clip(at + lag[:, None], 0, bins - 1)
    a, b = np.maximum(first, -lag)[:, None], np.minimum(last, bins - lag)[:, None]
    taper = _taper((at + 0.5 - a) / np.maximum(b - a, 1))
    peak = _centred(wt[:, first:last], taper)
    like_itself = np.fft.irfft(np.abs(np.fft.rfft(peak)) ** 2, len(at))
    lowest = np.minimum.accumulate(like_itself, axis=-1)  # a second peak makes it rise again
    distance = np.minimum(np.abs(lag), len(at) - 1)[:, None]
    far = np.take_along_axis(lowest, distance, axis=-1)[:, 0] < 0.5 * like_itself[:, 0]
    weight = np.maximum(peak, 0.0)
    x_there, y_there = (np.take_along_axis(track, there, axis=-1) for track in (wt, ko))
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = weight / weight.sum(axis=-1, keepdims=True)
        x, y = (values - (weight * values).sum(axis=-1, keepdims=True) for values in (x_there, y_there))
        sxy, sxx, syy = ((weight * product).sum(axis=-1) for product in (x * y, x * x, y * y))
        r = sxy / np.sqrt(sxx * syy)
    level_wt, level_ko = (_level(track[:, first:last], _taper((at + 0.5 - first) / len(at))) for track in (wt, ko))
    left, before = taper * (y_there - level_ko), taper * (x_there - level_wt)
    gained = (left - before).max(axis=-1) >= LEAST_GAIN * left.max(axis=-1)
    return np.asarray(far & ((r >= LEAST_COHERENCE) | ~gained))


def _centred(track: DoubleArray, taper: DoubleArray) -> DoubleArray:
    """Return the tapered track less its level at the ends of the window, so that a baseline leaves no trace."""
    return taper * (track - _level(track, taper))


def _level(track: DoubleArray, taper: DoubleArray) -> DoubleArray:
    """Return the mean at the ends of the window, where the taper falls, (rows, 1)."""
    outer = (1.0 - taper) * (taper > 0)
    return np.asarray((outer * track).sum(axis=-1, keepdims=True) / outer.sum(axis=-1, keepdims=True))


def _taper(position: DoubleArray) -> DoubleArray:
    """Return Tukey's window at positions of 0 to 1: flat in the middle, a cosine to 0 at the ends, 0 outside."""
    ramp = (1.0 - _FLAT) / 2
    edge = np.clip(np.minimum(position, 1.0 - position) / ramp, 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * edge))


def _range_sums(values: DoubleArray, starts: IndexArray, ends: IndexArray) -> DoubleArray:
    """Return the sum of each row over each of some ranges, (rows, ranges)."""
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=-1)], axis=-1)
    return np.asarray(running[:, ends] - running[:, starts])


def _fast_length(length: int) -> int:
    """Return the next power of two."""
    return 1 << (int(length) - 1).bit_length()
