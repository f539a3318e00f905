"""Fourier transforms by definition, and the published motif score in the order of its own code. float64, NumPy only."""

from __future__ import annotations

import numpy as np


def dft(x: np.ndarray) -> np.ndarray:
    """All N bins of one row: X_k = sum_t x_t exp(-2 pi i k t / N)."""
    n = len(x)
    out = np.zeros(n, dtype=np.complex128)
    for k in range(n):
        for t in range(n):
            out[k] += x[t] * np.exp(-2j * np.pi * k * t / n)
    return out


def published_scores(wt: np.ndarray, ko: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transform both tracks over all bins, subtract, take the norm, divide by the sum over motifs; (N,) and (M, N)."""
    base = np.fft.fft(wt)
    raw = np.array([np.sqrt(np.sum(np.abs(np.fft.fft(row) - base) ** 2)) for row in ko])
    return raw, raw / raw.sum()


def integral(f: np.ndarray, position_bp: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """The integral of f(t) exp(-i omega t) by the trapezoid rule on a grid ``position_bp``."""
    values = [f * np.exp(-1j * w * position_bp) for w in omega]  # NumPy 1 and 2 name the rule differently
    return np.array([np.sum(np.diff(position_bp) * (v[1:] + v[:-1]) / 2) for v in values])


def parts(f: np.ndarray, wt: np.ndarray) -> tuple[float, float]:
    """Norms of the part of f along WT and of the rest, each times sqrt(N), by a least-squares solver."""
    a = np.linalg.lstsq(wt[:, None], f, rcond=None)[0][0]
    root = np.sqrt(len(f))
    return float(root * np.linalg.norm(a * wt)), float(root * np.linalg.norm(f - a * wt))


def effect_centre(f: np.ndarray, center: int, dt: float) -> float:
    """Mean direction of the effect on a circle of N bins, in bp from the TSS; NaN for mixed signs and for none.

    Mixed: the smaller of gain and loss is more than a twentieth of both together.
    """
    n = len(f)
    gain, loss = sum(x for x in f if x > 0), -sum(x for x in f if x < 0)
    if min(gain, loss) > (gain + loss) / 20:
        return float("nan")
    sign = 1.0 if gain > loss else -1.0
    z = sum(sign * x * np.exp(2j * np.pi * t / n) for t, x in enumerate(f))
    if not abs(z) > 0.01 * (gain + loss):
        return float("nan")
    position = np.angle(z) / (2 * np.pi) * n
    while position < -0.5:
        position += n
    while position >= n - 0.5:
        position -= n
    return float((position - center) * dt)


def peak_shift(wt: np.ndarray, ko: np.ndarray, center: int, reach: int) -> tuple[float, float, bool]:
    """Move of the peak in bins, its error, and whether it is one, step by step and on a grid; away from track ends."""
    window = np.arange(center - reach, center + reach + 1)
    lags = range(-(reach // 2) - 1, reach // 2 + 2)
    alike = [np.corrcoef(wt[window], ko[window + lag])[0, 1] for lag in lags]
    lag = lags[int(np.argmax(alike))]
    n = len(window)
    position = (np.arange(n) + 0.5) / n
    taper = np.array([0.5 - 0.5 * np.cos(np.pi * min(1.0, x / 0.25, (1 - x) / 0.25)) for x in position])
    while True:
        spectra = []
        for track in (wt[window], ko[window + lag]):
            level = sum((1 - h) * x for h, x in zip(taper, track, strict=True)) / sum(1 - h for h in taper)
            spectra.append(dft(taper * (track - level))[1 : n // 2 + 1])
        cross = spectra[0] * spectra[1].conj()
        omega = 2 * np.pi * np.arange(1, n // 2 + 1) / n
        grid = np.linspace(-1, 1, 20001)
        misfit = [np.sum(np.abs(cross) * (1 - np.cos(np.angle(cross) - omega * t))) for t in grid]
        slope = grid[int(np.argmin(misfit))]
        if abs(slope) <= 0.5 + 1e-4:
            break
        lag += round(slope)
    error = np.angle(cross * np.exp(-1j * omega * slope))
    v = np.abs(cross) * omega**2 * np.cos(error)
    pull = np.array([x / sum(v) for x in v])
    left = np.abs(cross) * omega * np.sin(error) / np.maximum(1 - pull, 0.05)
    se = np.sqrt(sum(left**2) / np.mean(taper**2)) / sum(v)
    common = sum((cross * np.exp(-1j * omega * slope)).real)
    of_wt, of_ko = (sum(np.abs(spectrum) ** 2) for spectrum in spectra)
    valid = common / np.sqrt(of_wt * of_ko) >= np.sqrt(0.5) and common / of_wt >= 0.2 and sum(ko) / sum(wt) >= 0.2
    move = round(lag + slope)
    peak = taper * (wt[window] - sum((1 - h) * x for h, x in zip(taper, wt[window], strict=True)) / sum(1 - taper))
    power = np.abs(dft(peak)) ** 2
    alike_itself = min(
        sum(power * np.cos(2 * np.pi * np.arange(n) * near / n)) / sum(power) for near in range(abs(move) + 1)
    )
    before = np.cov(wt[window + move], ko[window + move], aweights=np.maximum(peak, 0))
    was_there = before[0, 1] / np.sqrt(before[0, 0] * before[1, 1]) >= np.sqrt(0.5)
    end = 1 - taper
    left, old = (taper * (x[window + move] - np.sum(end * x[window]) / sum(end)) for x in (ko, wt))
    was_there = was_there or max(left - old) < 0.1 * max(left)
    valid = valid and not (alike_itself < 0.5 and was_there)
    return lag + slope, float(se), bool(valid and lags[0] < lag < lags[-1])
