"""Motif kernels: cleaning, naming, similarity; after the consensus step of GenoRetriever.

A kernel is a float array ``(4, width)``, rows in the order A, C, G, T: the weights of one convolution filter. Nothing
here changes its argument.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..sequence import BASES

COMPAT_SHIFTS = 46  # the published code tries 46 of the 51 shifts, and those of the second kernel only

# The 27 + 12 published kernels: what their rows are.
GROUPS = {"motif": range(18), "long_inr": range(18, 24), "short_inr": range(24, 27), "other": range(27, 39)}
# Names that the published analysis gives to patterns.
IDENTITIES = {
    "[T][A][T][A][A][A]": "TATA",
    "[T][T][T][A][A][GT][A]": "HHO3-like",
    "[G][G][G][C][C][C][A]": "TCP20",
    "[C][A][C][G][T][G]": "HY5",
    "[A][A][AC].[C][T]": "TBF1",
    "[A].[T][A].[T].[AT][A]": "ATHB-23",
    "[A][T][G][G][C]": "YY1",
}


def centre_offset(kernel: np.ndarray) -> int:
    """Return how far right the kernel must move so that the centre of its energy is the middle.

    The energy of a position is ``sum_b (m_b - mean_b m)^2``; a kernel without energy does not move.
    """
    m = _checked(kernel)
    energy = ((m - m.mean(axis=0)) ** 2).sum(axis=0)
    total = energy.sum()
    if total == 0:
        return 0
    position = np.arange(m.shape[1])
    return int((m.shape[1] - 1) // 2 - round(float((position * energy).sum() / total)))


def recentred(kernel: np.ndarray, offset: int | None = None) -> np.ndarray:
    """Return the kernel moved right by ``offset`` (:func:`centre_offset` when None), with zeros where it came from."""
    m = _checked(kernel)
    offset = centre_offset(m) if offset is None else offset
    return _moved(m, offset)


def recentred_curves(forward: np.ndarray, reverse: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Move the effect curves of a kernel that moved right by ``offset``, so that the output of the network stays.

    Parameters
    ----------
    forward, reverse : ndarray of shape (..., taps)
        Weights of the second convolution for the kernel on either strand.
    offset : int
        Bases that the kernel moved right.

    Returns
    -------
    tuple of ndarray
        ``forward[k + offset]`` and ``reverse[k - offset]``, with zeros at the ends: exact but for the taps that leave.
    """
    return _moved(np.asarray(forward), -offset), _moved(np.asarray(reverse), offset)


def cleaned(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel centred, less its background, without small weights.

    1. Move the centre of the energy to the middle.
    2. Subtract the mean of each position, then 0.4 times the mean of the magnitudes left.
    3. Set to 0 what is smaller in magnitude than mean + deviation of the positive weights.
    """
    m = recentred(kernel).astype(np.float64)
    m -= m.mean(axis=0)
    m -= 0.4 * np.abs(m).mean(axis=0)
    positive = m[m > 0]
    if positive.size:
        m[np.abs(m) < positive.mean() + positive.std()] = 0.0
    return m


def motif_name(kernel: np.ndarray) -> str:
    """Return the pattern of a kernel, like ``[C].[T][A]``: the bases with positive weight at each cleaned position."""
    m = cleaned(kernel)
    letters = ["".join(base for base, weight in zip(BASES, column, strict=True) if weight > 0) for column in m.T]
    used = [index for index, text in enumerate(letters) if text]
    if not used:
        return ""
    return "".join(f"[{text}]" if text else "." for text in letters[used[0] : used[-1] + 1])


def motif_identity(kernel: np.ndarray) -> str:
    """Return the published name of a kernel's pattern, or the pattern itself."""
    name = motif_name(kernel)
    return IDENTITIES.get(name, name)


def similarities(
    first: np.ndarray, second: np.ndarray, *, centred: bool = True, shifts: int | None = None
) -> np.ndarray:
    """Return the similarity of every kernel of one set to every kernel of another.

    It is the largest Pearson r of the flattened kernels over the second one moved left in a circle by ``0..shifts-1``
    and over the reverse complements of these.

    Parameters
    ----------
    first, second : ndarray of shape (kernels, 4, width)
    centred : bool
        Subtract the mean of each position first (within a tissue); kernels are compared as they are across tissues.
    shifts : int, optional
        All ``width`` when None, which is symmetric; the published code takes ``COMPAT_SHIFTS`` and is not.

    Returns
    -------
    float64 ndarray of shape (first, second)
    """
    a, b = (np.asarray(kernels, dtype=np.float64) for kernels in (first, second))
    if a.ndim != 3 or a.shape[1:] != b.shape[1:] or a.shape[1] != 4:
        raise InputError(f"kernels have shapes {a.shape} and {b.shape}; (kernels, 4, width) of one width are needed")
    if centred:
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    width = a.shape[-1]
    flat = _standardised(a.reshape(len(a), -1))
    best = np.full((len(a), len(b)), -np.inf)
    for shift in range(width if shifts is None else shifts):
        moved = np.roll(b, -shift, axis=-1)
        for strand in (moved, moved[:, ::-1, ::-1]):
            np.maximum(best, flat @ _standardised(strand.reshape(len(b), -1)).T, out=best)
    return best


def probabilities(kernel: np.ndarray, *, trim: bool = True) -> np.ndarray:
    """Return a kernel as base probabilities, softmax over the bases of each position, float64 (4, positions).

    A filter under a sigmoid responds to sums of weights: its weights are log-odds up to a constant per position.
    ``trim`` keeps the positions from the first to the last that :func:`cleaned` keeps.
    """
    m = recentred(kernel).astype(np.float64)
    if trim:
        used = np.flatnonzero((cleaned(kernel) > 0).any(axis=0))
        if used.size:
            m = m[:, used[0] : used[-1] + 1]
    odds = np.exp(m - m.max(axis=0))
    return np.asarray(odds / odds.sum(axis=0))


@dataclass(frozen=True)
class Motif:
    """A named matrix of base probabilities.

    Attributes
    ----------
    name : str
        Without white space.
    matrix : float64 ndarray of shape (4, width)
        Probabilities of A, C, G, T; columns sum to 1.
    alternative : str
        A second name, as files give it: ``CTCF`` of ``MA0139.1``; empty for none.
    """

    name: str
    matrix: npt.NDArray[np.float64]
    alternative: str = ""

    @property
    def label(self) -> str:
        """Both names, ``MA0139.1_CTCF``, or the one there is."""
        return f"{self.name}_{self.alternative}" if self.alternative else self.name

    def __post_init__(self) -> None:
        m = self.matrix
        if m.ndim != 2 or m.shape[0] != 4 or not m.shape[1]:
            raise InputError(f"motif {self.name!r} has shape {m.shape}; (4, width) is needed")
        if not (np.isfinite(m).all() and (m >= 0).all() and np.allclose(m.sum(axis=0), 1.0, atol=1e-3)):
            raise InputError(f"motif {self.name!r}: every position needs probabilities that sum to 1")


def unique_names(names: list[str]) -> list[str]:
    """Return the names with ``_2``, ``_3`` added to repeats."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


def _checked(kernel: np.ndarray) -> np.ndarray:
    m = np.asarray(kernel)
    if m.ndim != 2 or m.shape[0] != 4 or not m.shape[1]:
        raise InputError(f"kernel has shape {m.shape}; (4, width) is needed")
    return m


def _moved(values: np.ndarray, offset: int) -> np.ndarray:
    """Shift the last axis right, zeros entering."""
    out = np.zeros_like(values)
    width = values.shape[-1]
    if abs(offset) < width:
        out[..., max(offset, 0) : width + min(offset, 0)] = values[..., max(-offset, 0) : width - max(offset, 0)]
    return out


def _standardised(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return found
