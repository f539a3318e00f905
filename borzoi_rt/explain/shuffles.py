"""Sequences to compare with: shuffles that keep every dinucleotide as often as it is.

A sequence of letters is a walk in a graph whose edges are its dinucleotides, and every other walk that uses each edge
once is a shuffle of it. One is drawn uniformly by drawing a tree of last edges that leads to the last letter, and the
order of all other edges (Altschul and Erickson, Mol Biol Evol 1985).
"""

from __future__ import annotations

import numpy as np

from ..types import ByteArray, IndexArray

BIN_BP = 1024  # of the local shuffle, as in tangermeme
_UNKNOWN = 4


def dinucleotide_shuffle(codes: IndexArray, rng: np.random.Generator) -> IndexArray:
    """Return a random sequence with the same dinucleotides, and the same first and last letter.

    Parameters
    ----------
    codes : int64 ndarray of shape (length,)
        Letters as numbers from 0 on.
    rng : Generator
        Where chance comes from.
    """
    if len(codes) < 4:
        return codes.copy()  # with the ends fixed there is nothing to exchange
    last = int(codes[-1])
    edges = {int(letter): codes[1:][codes[:-1] == letter] for letter in np.unique(codes[:-1])}
    final = _last_edges(edges, last, rng)
    order: dict[int, list[int]] = {}
    for letter, targets in edges.items():
        held = targets if letter not in final else np.delete(targets, final[letter])
        order[letter] = rng.permutation(held).tolist()
        if letter in final:
            order[letter].append(int(targets[final[letter]]))
    walk, taken = [int(codes[0])], dict.fromkeys(order, 0)
    for _ in range(len(codes) - 1):
        letter = walk[-1]
        walk.append(order[letter][taken[letter]])
        taken[letter] += 1
    return np.array(walk, dtype=np.int64)


def _last_edges(edges: dict[int, IndexArray], last: int, rng: np.random.Generator) -> dict[int, int]:
    """Draw which edge of each letter is its last, so that all of them lead to the last letter."""
    while True:
        drawn = {letter: int(rng.integers(len(targets))) for letter, targets in edges.items() if letter != last}
        reached = {last}
        for _ in drawn:
            reached |= {letter for letter, edge in drawn.items() if int(edges[letter][edge]) in reached}
        if reached >= drawn.keys():
            return drawn


def shuffled(window: ByteArray, start: int, end: int, rng: np.random.Generator, *, bin_bp: int = BIN_BP) -> ByteArray:
    """Return a window whose bases [start, end) are shuffled, stretch by stretch.

    Parameters
    ----------
    window : uint8 ndarray of shape (4, length)
        One-hot DNA. Unknown bases stay where they are.
    start, end : int
        Bases to shuffle; the others stay.
    rng : Generator
        Where chance comes from.
    bin_bp : int
        Length of a stretch. The ends of each keep their base, so that the dinucleotides of the whole stay as they are
        while local composition does too.

    Returns
    -------
    uint8 ndarray of shape (4, length)
    """
    found = window.copy()
    codes = np.where(window[:, start:end].any(axis=0), window[:, start:end].argmax(axis=0), _UNKNOWN)
    edges = np.flatnonzero(np.diff(codes == _UNKNOWN)) + 1
    cuts = np.unique(np.concatenate([[0], edges, np.arange(bin_bp, len(codes), bin_bp), [len(codes)]]))
    for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if codes[low] != _UNKNOWN:
            letters = dinucleotide_shuffle(codes[low:high], rng)
            found[:, start + low : start + high] = letters == np.arange(4)[:, None]
    return found
