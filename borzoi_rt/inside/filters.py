"""Feature visualisation: the sequences at which a unit is most active, as a matrix of base probabilities.

For each unit the ``sites`` positions of all regions with the largest activation are taken, none within half a width of
a larger one of the same region, and the bases around the middle of each position are counted:

    m[b, p] = (count of b at p + 1/4) / (sites + 1)

A matrix is named by the largest correlation with the motifs of a file over all offsets and both strands,
:func:`borzoi_rt.motifs.matrices.similarities` of base probabilities, uniform beyond the ends. Its p is that of the same
matrix with its informative positions in random order, of which the best of the file counts, too: bases alone, as a
run of A, name nothing. Of several units q is p after Benjamini and Hochberg, and a name is given where q is at most
``NAMED``. Beside it stands what as many sites at random positions of the same regions give: what chance names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.objective import check_counts
from ..motifs.matrices import Motif, similarities
from ..plain import check_types
from ..sequence import BASES
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .activations import Layer
from .unit_rows import Piece

LOCAL = ("stem", "tower_")  # layers that see the bases alone
NAMED = 0.05
_WIDTHS = {"stem": 15}
_WIDTH = 31
_DRAWS = 399  # orders of chance
_CORE = 0.2  # of the most informative position: what counts as informative


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """What is collected.

    Parameters
    ----------
    sites : int
        Positions of each unit.
    width : int, optional
        Bases around the middle of each; 15 for ``stem``, 31 for a layer of the tower when None.
    seed : int
        Of the random positions and orders.
    """

    sites: int = 100
    width: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "sites", *(() if self.width is None else ("width",)))


@dataclass(frozen=True, eq=False)
class Filter:
    """What a unit looks for.

    Attributes
    ----------
    unit : int
    matrix : float64 ndarray of shape (4, width)
        Base probabilities of its most active sites.
    chance : float64 ndarray of shape (4, width)
        Those of random sites of the same regions.
    sites : int
        How many there are; 0 for a unit that is the same everywhere.
    largest, least : float
        Activation of the first and last of them.
    """

    unit: int
    matrix: DoubleArray
    chance: DoubleArray
    sites: int
    largest: float
    least: float

    @property
    def bits(self) -> float:
        """Information of the matrix, summed over positions: 2 + sum of p log2 p each."""
        return float((2.0 + (self.matrix * np.log2(self.matrix)).sum(axis=0)).sum())

    @property
    def consensus(self) -> str:
        """The most frequent base of each position, in small letters below one half."""
        tops = self.matrix.max(axis=0)
        letters = [BASES[row] for row in self.matrix.argmax(axis=0).tolist()]
        return "".join(one if top >= 0.5 else one.lower() for one, top in zip(letters, tops, strict=True))


@dataclass(frozen=True, slots=True)
class Name:
    """The motif of a file that a matrix is most like: its number, correlation, and p and q of the best of the file."""

    motif: int
    correlation: float
    p: float
    q: float

    @property
    def known(self) -> bool:
        """Whether chance would seldom be as like."""
        return self.q <= NAMED


class _Best:
    """The most active sites of every unit."""

    def __init__(self, units: int, most: int) -> None:
        self._most = most
        self.values: FloatArray = np.zeros((units, 0), dtype=np.float32)
        self.codes: IndexArray = np.zeros((units, 0), dtype=np.int64)

    def add(self, values: FloatArray, codes: IndexArray) -> None:
        """Take (units, sites) values and where they were seen."""
        both = np.concatenate([self.values, values], axis=1)
        where = np.concatenate([self.codes, codes], axis=1)
        if both.shape[1] > self._most:
            kept = np.argsort(-both, axis=1, kind="stable")[:, : self._most]
            both, where = np.take_along_axis(both, kept, axis=1), np.take_along_axis(where, kept, axis=1)
        self.values, self.codes = both, where


def check_local(layer: str) -> None:
    """Refuse a layer whose units may see the whole window.

    Raises
    ------
    InputError
        Naming those that do not.
    """
    if not layer.startswith(LOCAL):
        raise InputError(f"layer {layer!r} sees more than the bases around a position; allowed: stem, tower_N")


def filters_of(pieces: Iterable[Piece], layer: Layer, options: FilterOptions | None = None) -> list[Filter]:
    """Return what each unit looks for, in the order of the units.

    Parameters
    ----------
    pieces : iterable of Piece
        Of :func:`borzoi_rt.inside.unit_rows.pieces_of`, all of the same units.
    layer : Layer
        ``stem`` or a layer of the tower.
    options : FilterOptions, optional

    Raises
    ------
    InputError
        If the layer is another, or there are fewer positions than sites.
    """
    options = options or FilterOptions()
    check_local(layer.name)
    width = options.width or _WIDTHS.get(layer.name, _WIDTH)
    rng, sequences, last = np.random.default_rng(options.seed), list[_Bases](), None
    numbers: IndexArray = np.zeros(0, dtype=np.int64)
    lowest: FloatArray | None = None
    best, chance, seen, length = None, list[tuple[float, int]](), 0, 1
    for piece in pieces:
        if piece.window is not last:
            last = piece.window
            sequences.append(_Bases.of(piece, width))
        usable, centres = _usable(piece, width)
        values = piece.found.values[:, usable]
        if not values.shape[1]:
            continue
        if best is None:
            numbers = piece.found.units
            best = _Best(len(numbers), 4 * options.sites)
        length = piece.window.shape[1]
        where = (len(sequences) - 1) * length + centres
        least = values.min(axis=1)
        lowest = least if lowest is None else np.minimum(lowest, least)
        best.add(*_apart(values, where, layer, width, 4 * options.sites))
        drawn = rng.random(len(where))  # the smallest of all pieces are a uniform draw of positions
        chance = sorted([*chance, *zip(drawn.tolist(), where.tolist(), strict=True)])[: options.sites]
        seen += len(where)
    if best is None or lowest is None or seen < options.sites:
        raise InputError(f"there are {seen} positions with {width} known bases around them; {options.sites} are needed")
    reader = _Reader(sequences, length, width)
    random = reader.matrix(np.array([code for _, code in chance], dtype=np.int64))
    found = []
    for row, unit in enumerate(numbers.tolist()):
        values, codes = best.values[row], best.codes[row]
        kept = np.isfinite(values)
        values, codes = values[kept][: options.sites], codes[kept][: options.sites]
        if values[0] == lowest[row]:  # the same everywhere: which sites come first means nothing
            flat = np.full((4, width), 0.25)
            found.append(Filter(unit, flat, random, 0, float(values[0]), float(values[0])))
            continue
        found.append(Filter(unit, reader.matrix(codes), random, len(codes), float(values[0]), float(values[-1])))
    return found


def names_of(matrices: Sequence[DoubleArray], motifs: Sequence[Motif], *, seed: int = 0) -> list[Name]:
    """Return the motif that each matrix (4, width) is most like; see the head of this module.

    Raises
    ------
    InputError
        If there is no motif.
    """
    if not motifs:
        raise InputError("there are no motifs to take names from")
    rng = np.random.default_rng(seed)
    whole = max(item.shape[1] for item in (*matrices, *(motif.matrix for motif in motifs)))
    known = np.stack([_padded(motif.matrix, 2 * whole) for motif in motifs])
    tops, p_values = list[tuple[int, float]](), np.zeros(len(matrices))
    for row, matrix in enumerate(matrices):
        bits = 2.0 + (matrix * np.log2(np.maximum(matrix, 1e-12))).sum(axis=0)
        core = np.flatnonzero(bits >= _CORE * bits.max())
        tried = [matrix]
        for _ in range(_DRAWS):
            tried.append(matrix.copy())
            tried[-1][:, core] = matrix[:, rng.permutation(core)]
        found = similarities(np.stack([_padded(item, 2 * whole) for item in tried]), known)
        best = found.max(axis=1)
        tops.append((int(found[0].argmax()), float(best[0])))
        p_values[row] = (1 + (best[1:] >= best[0] - 1e-12).sum()) / (1 + _DRAWS)
    adjusted = _adjusted(p_values)
    return [
        Name(motif, correlation, float(p), float(q))
        for (motif, correlation), p, q in zip(tops, p_values, adjusted, strict=True)
    ]


def _adjusted(p_values: DoubleArray) -> DoubleArray:
    """Return q of Benjamini and Hochberg."""
    order = np.argsort(p_values)
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found


@dataclass(frozen=True, eq=False)
class _Bases:
    """The bases of a row and those around it: whole windows of many small regions do not fit into memory."""

    first: int
    onehot: ByteArray

    @classmethod
    def of(cls, piece: Piece, width: int) -> _Bases:
        start, end = piece.row.columns
        # A position may begin before the row that it holds bases of.
        reach = width + piece.found.layer.resolution_bp
        first = max(0, start - reach)
        return cls(first, piece.window[:, first : end + reach].copy())


class _Reader:
    """Bases around sites."""

    def __init__(self, sequences: Sequence[_Bases], length: int, width: int) -> None:
        self._sequences, self._length, self._width = sequences, length, width

    def matrix(self, codes: IndexArray) -> DoubleArray:
        """Return base probabilities around sites, float64 (4, width)."""
        counts = np.zeros((4, self._width))
        for code in codes.tolist():
            number, centre = divmod(code, self._length)
            held = self._sequences[number]
            first = centre - self._width // 2 - held.first
            counts += held.onehot[:, first : first + self._width]
        found: DoubleArray = (counts + 0.25) / (len(codes) + 1.0)
        return found


def _usable(piece: Piece, width: int) -> tuple[IndexArray, IndexArray]:
    """Return the positions around whose middle all bases are known, and these middles as columns of the window."""
    layer, window = piece.found.layer, piece.window
    centres = piece.found.starts_bp + layer.resolution_bp // 2
    unknown = np.concatenate([[0], np.cumsum(window.sum(axis=0) == 0)])
    first = centres - width // 2
    inside = (first >= 0) & (first + width <= window.shape[1])
    held = np.flatnonzero(inside)
    clear = unknown[first[held] + width] == unknown[first[held]]
    held = held[clear]
    return held, centres[held]


def _apart(values: FloatArray, where: IndexArray, layer: Layer, width: int, most: int) -> tuple[FloatArray, IndexArray]:
    """Return of each unit the most active positions of a piece that are the largest within half a width, padded."""
    reach = max(width // 2 // layer.resolution_bp, 0)
    padded = np.pad(values, ((0, 0), (reach, reach)), constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1).max(axis=2)
    peaks = np.where(values >= around, values, -np.inf)
    order = np.argsort(-peaks, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(peaks, order, axis=1), where[order]


def _padded(matrix: DoubleArray, width: int) -> DoubleArray:
    """Return a matrix with uniform positions behind it, so that no move in a circle brings both ends together."""
    found = np.full((4, width), 0.25)
    found[:, : matrix.shape[1]] = matrix
    return found
