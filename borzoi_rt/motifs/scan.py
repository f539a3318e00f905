"""Where motifs lie in a sequence, and what replaces them when they are taken out; the only door to lightmotif."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..errors import InputError, missing_package
from ..sequence import BASES, decode
from .matrices import Motif

PVALUE = 1e-4
_SHOWN = 5  # motifs that a warning names
PSEUDOCOUNT = 1e-3
CONTEXT_BP = 100  # on each side of a hit: what is shuffled must be longer than the motif, or the motif comes back

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """A match of a motif: [start, start + width) of the window, on either strand, with its log2 odds."""

    start: int
    width: int
    strand: str
    score: float


class MotifScanner:
    """Find motifs in one-hot DNA.

    Parameters
    ----------
    motifs : sequence of Motif
    pvalue : float
        Chance of a match at one position of random DNA with equal base frequencies. A motif whose best score is
        likelier than this has no matches at all; :func:`say_unreachable` says which.
    """

    def __init__(self, motifs: Sequence[Motif], *, pvalue: float = PVALUE) -> None:
        if not 0 < pvalue < 1:
            raise InputError(f"pvalue is {pvalue!r}; a number between 0 and 1 is needed")
        self.motifs = tuple(motifs)
        self._library = _lightmotif()
        self._matrices = [self._scoring(motif, pvalue) for motif in self.motifs]

    def _scoring(self, motif: Motif, pvalue: float) -> tuple[object, object, float]:
        odds = log_odds(motif)
        forward = self._library.ScoringMatrix({base: row.tolist() for base, row in zip(BASES, odds, strict=True)})
        return forward, forward.reverse_complement(), float(forward.score(pvalue))

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Log2 odds that a match of each motif needs."""
        return tuple(threshold for _, _, threshold in self._matrices)

    def scores(self, onehot: np.ndarray) -> list[np.ndarray]:
        """Return the log2 odds of every motif at every position, whether they are a match or not.

        Parameters
        ----------
        onehot : uint8 ndarray of shape (4, length)

        Returns
        -------
        list of float64 ndarray of shape (2, positions)
            The '+' strand, then the '-' strand; -inf where there is an unknown base.
        """
        found = []
        unknown = onehot.sum(axis=0) == 0
        for motif in self.motifs:
            odds, width = log_odds(motif), motif.matrix.shape[1]
            if onehot.shape[1] < width:
                found.append(np.zeros((2, 0)))
                continue
            windows = np.lib.stride_tricks.sliding_window_view(onehot, width, axis=1)  # (4, positions, width)
            both = [np.einsum("bpw,bw->p", windows, matrix) for matrix in (odds, odds[::-1, ::-1])]
            open_bases = np.lib.stride_tricks.sliding_window_view(unknown, width).any(axis=1)
            found.append(np.where(open_bases, -np.inf, np.stack(both)))
        return found

    def hits(self, onehot: np.ndarray) -> list[list[Hit]]:
        """Return the matches of every motif on both strands, by start; none of them holds an unknown base.

        Parameters
        ----------
        onehot : uint8 ndarray of shape (4, length)
        """
        text = self._library.stripe(decode(onehot))
        unknown = np.concatenate([[0], np.cumsum(onehot.sum(axis=0) == 0)])
        found = []
        for motif, (forward, reverse, threshold) in zip(self.motifs, self._matrices, strict=True):
            width = motif.matrix.shape[1]
            hits = [
                Hit(int(hit.position), width, strand, float(hit.score))
                for strand, matrix in (("+", forward), ("-", reverse))
                for hit in self._library.scan(matrix, text, threshold=threshold)
                if hit.position + width < len(unknown) and unknown[hit.position + width] == unknown[hit.position]
            ]
            found.append(sorted(hits, key=lambda hit: (hit.start, hit.strand)))
        return found


def say_unreachable(motifs: Sequence[Motif], pvalue: float) -> None:
    """Log a warning that names the motifs which cannot have a match at a p-value: even their best score is likelier."""
    silent = [(motif, least) for motif in motifs if (least := least_pvalue(motif)) > pvalue]
    if silent:
        named = ", ".join(
            f"{motif.label} ({motif.matrix.shape[1]} bp, {least:.2g})" for motif, least in silent[:_SHOWN]
        )
        rest = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        log.warning(
            "%d of %d motifs can have no match: by chance a position of random DNA is their best match more often than "
            "pvalue %g: %s%s",
            *(len(silent), len(motifs), pvalue, named, rest),
        )


def least_pvalue(motif: Motif) -> float:
    """Return the chance of the best score of a motif at one position of random DNA with equal base frequencies."""
    best = motif.matrix.max(axis=0)
    return float(np.prod((motif.matrix == best).sum(axis=0) / len(BASES)))


def log_odds(motif: Motif) -> np.ndarray:
    """Return log2 of probabilities over 1/4, float64 (4, width)."""
    odds: np.ndarray = np.log2((motif.matrix + PSEUDOCOUNT) / (1 + 4 * PSEUDOCOUNT) * 4)
    return odds


def without(
    onehot: np.ndarray, hits: Sequence[Hit], generator: np.random.Generator, *, context_bp: int = CONTEXT_BP
) -> np.ndarray:
    """Return the sequence with each hit replaced by what a dinucleotide shuffle of its surroundings puts there.

    Overlapping and adjoining hits are replaced as one stretch; all other bases stay.
    """
    codes = _codes(onehot)
    for start, end in _stretches(hits):
        low, high = max(0, start - context_bp), min(len(codes), end + context_bp)
        codes[start:end] = dinucleotide_shuffle(codes[low:high], generator)[start - low : end - low]
    found: np.ndarray = (codes[None, :] == np.arange(4)[:, None]).astype(np.uint8)
    return found


def dinucleotide_shuffle(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a random sequence with the same first and last letter and the same count of every pair of neighbours.

    Every such sequence is equally likely (Altschul and Erickson 1985): letters are nodes, pairs are edges, and a random
    Eulerian path is one whose last exits form a random tree towards the last letter.
    """
    if len(codes) < 3:
        return codes.copy()
    successors = {int(letter): codes[1:][codes[:-1] == letter] for letter in np.unique(codes)}
    end = int(codes[-1])
    while True:
        exits = {a: int(generator.integers(len(b))) for a, b in successors.items() if a != end and len(b)}
        if all(_reaches(a, end, exits, successors) for a in exits):
            break
    queues = {}
    for letter, following in successors.items():
        rest = np.delete(following, exits[letter]) if letter in exits else following
        queue = generator.permutation(rest).tolist()
        queues[letter] = iter([*queue, following[exits[letter]]] if letter in exits else queue)
    out = np.empty_like(codes)
    out[0] = codes[0]
    for index in range(1, len(codes)):
        out[index] = next(queues[int(out[index - 1])])
    return out


def _reaches(letter: int, end: int, exits: dict[int, int], successors: dict[int, np.ndarray]) -> bool:
    for _ in range(len(exits) + 1):
        if letter == end:
            return True
        letter = int(successors[letter][exits[letter]])
    return letter == end


def _stretches(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted((hit.start, hit.start + hit.width) for hit in hits):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _codes(onehot: np.ndarray) -> np.ndarray:
    """A, C, G, T as 0..3, unknown as 4."""
    return np.where(onehot.any(axis=0), onehot.argmax(axis=0), 4)


def _lightmotif() -> ModuleType:
    try:
        import lightmotif
    except ImportError as error:
        raise missing_package(error, "lightmotif", "promoter", "scanning for motifs") from error
    module: ModuleType = lightmotif
    return module
