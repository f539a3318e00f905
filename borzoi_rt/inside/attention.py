"""Attention of chosen queries: rows, profiles by distance, rollout, and relevance weighted by slopes.

A[l, h] are the shares of head h in block l, (tokens, tokens): row i says how token i is mixed from all, and sums to 1.

=============  =====================================================================================================
rows           A[l, h][q], of chosen tokens q
profile        mean over q of the share of keys at a distance, summed over classes of distance
rollout        R = e_q prod over blocks, the last first, of (mean over h of A[l, h] + I) / 2; each row sums to 1
relevance      R = e_q prod over blocks, the last first, of (I + B[l]),  B[l] = mean over h of max(A * dS/dA, 0)
=============  =====================================================================================================

(Abnar and Zuidema, ACL 2020; Chefer et al., ICCV 2021, for self-attention.) e_q is 1 at token q. None of these is
attribution: tokens are bypassed by two skips, the feed-forward networks and values are left out of a rollout, and a
share that is large may carry nothing. Relevance grows with the size of the target, so that its order alone says
something. Rows are computed some hundred at a time; no (heads, tokens, tokens) array is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.target import Target
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .activations import Activations
from .network import ROWS_AT_ONCE, Reading, Slopes
from .slopes import check_finite

NOT_ATTRIBUTION = (
    "attention is not attribution: it says how tokens are mixed, not what drives a prediction; skips lead past the "
    "tokens, and what a share carries depends on values and on all that follows"
)
MOST_SHARES = 2**28  # of one answer, 1 GiB


@dataclass(frozen=True, eq=False)
class AttentionRows:
    """Rows of attention of some tokens of one window.

    Attributes
    ----------
    queries : int64 ndarray of shape (queries,)
        Tokens that attend.
    layers : tuple of int
        Blocks of the transformer, from 1.
    shares : float32 ndarray of shape (layers, heads, queries, tokens)
        Each row sums to 1.
    token_bp : int
        Bases of a token.
    """

    queries: IndexArray
    layers: tuple[int, ...]
    shares: FloatArray
    token_bp: int

    @property
    def mean(self) -> DoubleArray:
        """Mean over queries, float64 (layers, heads, tokens)."""
        found: DoubleArray = self.shares.mean(axis=2, dtype=np.float64)
        return found


@dataclass(frozen=True, eq=False)
class Profile:
    """Shares by distance, mean over queries.

    Attributes
    ----------
    low, high : int64 ndarray of shape (classes,)
        First and last distance of a class in tokens, key - query: below 0 is left of the query.
    share : float64 ndarray of shape (layers, heads, classes)
        Adds up to 1 over classes.
    keys : float64 ndarray of shape (classes,)
        Keys in a class, mean over queries: near the ends of the window there are fewer.
    entropy : float64 ndarray of shape (layers, heads)
        Of a row, in that of an even one: 1 where all tokens have the same share, 0 where one has all.
    distance : float64 ndarray of shape (layers, heads)
        Mean distance in tokens, weighted by shares.
    """

    low: IndexArray
    high: IndexArray
    share: DoubleArray
    keys: DoubleArray
    entropy: DoubleArray
    distance: DoubleArray


def attention_rows(
    activations: Activations, window: ByteArray, queries: IndexArray, *, layers: Sequence[int] | None = None
) -> AttentionRows:
    """Return rows of attention of chosen tokens.

    Parameters
    ----------
    activations : Activations
        The model, of a bundle with graphs of activations.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA.
    queries : int64 ndarray of shape (queries,)
        Tokens.
    layers : sequence of int, optional
        Blocks of the transformer, from 1; all when None.

    Raises
    ------
    InputError
        If a token or a block is not there, or there are too many of them.
    """
    reading = activations.reading(window)
    asked = check_queries(activations, queries)
    chosen = chosen_layers(activations, layers)
    reading.layer(max(chosen) - 1)  # with all below it: asked for one by one, each would begin at the first
    first, tokens = reading.attention(chosen[0], asked[:1])[0], activations.network.plan.tokens
    size = len(chosen) * len(first) * len(asked) * tokens
    if size > MOST_SHARES:
        raise InputError(
            f"{len(asked)} queries in {len(chosen)} layers of {len(first)} heads are {size / 2**28:.1f} GiB of shares; "
            "choose fewer queries or layers, or ask for a profile"
        )
    found = np.empty((len(chosen), len(first), len(asked), tokens), dtype=np.float32)
    for number, layer in enumerate(chosen):
        for start in range(0, len(asked), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            found[number, :, some] = reading.attention(layer, asked[some])[0]
    return AttentionRows(asked, chosen, found, activations.network.parts.tiling.token_bp)


def profile(
    activations: Activations, window: ByteArray, queries: IndexArray, *, layers: Sequence[int] | None = None
) -> Profile:
    """Return shares by distance, see :class:`Profile`; rows are added up as they come, of all tokens if need be."""
    reading, asked = activations.reading(window), check_queries(activations, queries)
    chosen, tokens = chosen_layers(activations, layers), activations.network.plan.tokens
    reading.layer(max(chosen) - 1)  # see attention_rows
    low, high = classes_of(tokens)
    edges = np.append(low, high[-1] + 1)
    sums: list[np.ndarray] = []
    keys = np.zeros(len(low))
    for layer in chosen:
        total: DoubleArray | float = 0.0
        entropy: DoubleArray | float = 0.0
        distance: DoubleArray | float = 0.0
        for start in range(0, len(asked), ROWS_AT_ONCE):
            some = asked[start : start + ROWS_AT_ONCE]
            shares = reading.attention(layer, some)[0].astype(np.float64)
            for row, query in enumerate(some.tolist()):
                ends = np.clip(query + edges, 0, tokens)
                running = np.concatenate([np.zeros((len(shares), 1)), shares[:, row].cumsum(axis=1)], axis=1)
                total = total + np.diff(running[:, ends], axis=1)
                distance = distance + shares[:, row] @ np.abs(np.arange(tokens) - query)
                if layer == chosen[0]:
                    keys += np.diff(ends)
            logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0.0)
            entropy = entropy - (shares * logs).sum(axis=(1, 2)) / np.log(tokens)
        sums.append(np.concatenate([total, np.stack([entropy, distance], axis=1)], axis=1) / len(asked))
    every = np.stack(sums)
    return Profile(low, high, every[..., :-2], keys / len(asked), every[..., -2], every[..., -1])


def rollout(activations: Activations, window: ByteArray, queries: IndexArray) -> DoubleArray:
    """Return the rollout of chosen tokens, float64 (queries, tokens); see the head of this module."""
    reading, asked = activations.reading(window), check_queries(activations, queries)
    found = _ones(asked, activations.network.plan.tokens)
    for layer in range(activations.network.depth, 0, -1):
        found = 0.5 * (found + _through(reading, layer, found, None))
    return found


def relevance(activations: Activations, window: ByteArray, target: Target, queries: IndexArray) -> DoubleArray:
    """Return the relevance of all tokens for chosen ones, float64 (queries, tokens); see the head of this module.

    Parameters
    ----------
    activations, window
        As of :func:`attention_rows`.
    target : Target
        The number whose slopes weigh attention, bound to the window.
    queries : int64 ndarray of shape (queries,)
        Tokens that the target is read from, as a rule; see :func:`tokens_of_target`.

    Raises
    ------
    InputError
        If the target has no value there.
    """
    reading, asked = activations.reading(window), check_queries(activations, queries)
    value, cotangent = target.cotangent(reading.coverage(target.positions, target.bins))
    check_finite(value)
    slopes = reading.slopes(target.positions, cotangent, target.bins)
    found = _ones(asked, activations.network.plan.tokens)
    for layer in range(activations.network.depth, 0, -1):
        found = found + _through(reading, layer, found, slopes)
    return found


def tokens_of_target(activations: Activations, target: Target) -> IndexArray:
    """Return the tokens that hold the bins of a target, ascending."""
    grid, token_bp = activations.network.bundle.geometry, activations.network.parts.tiling.token_bp
    bins = np.concatenate(target.columns)
    return np.unique((grid.crop_bp + bins * grid.bin_size_bp) // token_bp)


def classes_of(tokens: int) -> tuple[IndexArray, IndexArray]:
    """Return first and last distance of each class: 0, 1, 2, 3 to 4, 5 to 8 and so on, and the same to the left."""
    low, high = [0], [0]
    while high[-1] < tokens - 1:
        first = high[-1] + 1
        low.append(first)
        high.append(min(max(2 * high[-1], 1), tokens - 1))
    left = [(-last, -first) for first, last in zip(low, high, strict=True)][:0:-1]
    pairs = np.array([*left, *zip(low, high, strict=True)], dtype=np.int64)
    return pairs[:, 0], pairs[:, 1]


def check_queries(activations: Activations, queries: IndexArray) -> IndexArray:
    """Return tokens as int64.

    Raises
    ------
    InputError
        If one is not there, or there are none.
    """
    asked, tokens = np.asarray(queries), activations.network.plan.tokens
    if asked.ndim != 1 or not len(asked) or asked.dtype.kind not in "iu":
        raise InputError(f"queries are {queries!r:.60}; whole numbers from 0 to {tokens - 1} are needed")
    outside = asked[(asked < 0) | (asked >= tokens)]
    if len(outside):
        raise InputError(f"token {outside[0]} is not there; a window has 0 to {tokens - 1}")
    return asked.astype(np.int64)


def chosen_layers(activations: Activations, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Return blocks of the transformer, all when None.

    Raises
    ------
    InputError
        If one is not there.
    """
    depth = activations.network.depth
    if layers is None:
        return tuple(range(1, depth + 1))
    unknown = [layer for layer in layers if layer not in range(1, depth + 1)]
    if unknown or not layers:
        raise InputError(f"layer {unknown[0] if unknown else 'none'} is not there; the transformer has 1 to {depth}")
    return tuple(layers)


def _ones(queries: IndexArray, tokens: int) -> DoubleArray:
    found = np.zeros((len(queries), tokens))
    found[np.arange(len(queries)), queries] = 1.0
    return found


def _through(reading: Reading, layer: int, rows: DoubleArray, slopes: Slopes | None) -> DoubleArray:
    """Return rows times the mean over heads of a block's shares, or of their part that slopes say raises the target."""
    found = np.zeros_like(rows)
    to_attended = None if slopes is None else slopes.by_attended(layer)[0]
    for start in range(0, rows.shape[1], ROWS_AT_ONCE):
        some = np.arange(start, min(start + ROWS_AT_ONCE, rows.shape[1]))
        some = some[rows[:, some].any(axis=0)]  # what nothing comes from need not be computed
        if not len(some):
            continue
        given = None if to_attended is None else to_attended[some]
        shares, by_share = reading.attention(layer, some, given)
        mean = shares if by_share is None else np.maximum(shares * by_share, 0.0)
        part = mean.mean(axis=0, dtype=np.float64)
        found += rows[:, some] @ (part if slopes is None else part * slopes.size)
    return found
