"""Batches in an order that follows from the seed alone, so that any process can begin at any batch.

An epoch takes every window of every data set once (but for the rest that fills no batch), in batches of one data set
whose sequence is shuffled, as in the reference. Batch ``number`` counts through all epochs. Augmentation is drawn by a
generator of its own for each batch, keyed by (seed, batch, process): nothing of it needs to be stored to resume.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from borzoi_rt.dataset import Split
from borzoi_rt.dataset.window import UNKNOWN, Window
from borzoi_rt.errors import InputError

_ORDER, _MIX, _AUGMENT = 1, 2, 3  # purposes of random numbers
_AHEAD = 4


class TrainBatches:
    """All training batches of one process, from ``start`` on.

    Parameters
    ----------
    splits : sequence of Split
        Training windows of each data set.
    strand_pairs : sequence of int64 ndarray, optional per data set
        Position of the opposite strand of each track.
    batch_size : int
        Windows of one batch of one process.
    epochs : int
        Passes over the data.
    seed, rank, world : int
        ``rank`` of ``world`` processes.
    augment_rc : bool
        Reverse-complement a batch, by a coin, with the strands of its targets swapped.
    augment_shift : int
        Shift a batch by up to so many bp; unknown bases fill the end.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        strand_pairs: Sequence[np.ndarray],
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        augment_rc: bool = True,
        augment_shift: int = 3,
    ) -> None:
        self._splits, self._pairs = tuple(splits), tuple(strand_pairs)
        self._size, self._epochs, self._seed, self._rank, self._world = batch_size, epochs, seed, rank, world
        self._rc, self._shift = augment_rc, augment_shift
        self._counts = [len(split) // (batch_size * world) for split in self._splits]
        if not all(self._counts):
            short = self._counts.index(0)
            needed = batch_size * world
            raise InputError(
                f"data set {short} has {len(self._splits[short])} training windows, fewer than the {needed} of one "
                "batch of all devices"
            )
        self.start = 0

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch."""
        return sum(self._counts)

    def __len__(self) -> int:
        return self.per_epoch * self._epochs

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return _ahead(self._batches(self.start))

    def plan(self, epoch: int) -> np.ndarray:
        """Return the data set of each batch of an epoch."""
        sets = np.repeat(np.arange(len(self._counts)), self._counts)
        return np.random.default_rng([self._seed, _MIX, epoch]).permutation(sets)

    def _batches(self, start: int) -> Iterator[dict[str, Any]]:
        for epoch in range(start // self.per_epoch, self._epochs):
            skip = max(start - epoch * self.per_epoch, 0)
            plan = self.plan(epoch)
            done = [int((plan[:skip] == place).sum()) for place in range(len(self._splits))]
            sources = [self._windows(place, epoch, done[place]) for place in range(len(self._splits))]
            for offset in range(skip, self.per_epoch):
                place = int(plan[offset])
                windows = [next(sources[place]) for _ in range(self._size)]
                yield self._batch(windows, place, epoch, epoch * self.per_epoch + offset)

    def _windows(self, place: int, epoch: int, done: int) -> Iterator[Window]:
        """Yield this process's windows of an epoch: consecutive batches go to consecutive processes."""
        size, first = self._size, done * self._size * self._world
        return self._splits[place].shuffled(
            (self._seed, _ORDER, place, epoch),
            lambda position: position >= first and position // size % self._world == self._rank,
        )

    def _batch(self, windows: Sequence[Window], place: int, epoch: int, number: int) -> dict[str, Any]:
        codes = np.stack([window.codes for window in windows])
        target = np.stack([window.target for window in windows])
        generator = np.random.default_rng([self._seed, _AUGMENT, number, self._rank])
        turn, shift = generator.random() < 0.5, int(generator.integers(-self._shift, self._shift + 1))
        if self._rc and turn:
            codes, target = turned(codes), target[:, self._pairs[place], ::-1]
        return {
            "codes": torch.from_numpy(np.ascontiguousarray(shifted(codes, shift))),
            "target": torch.from_numpy(np.ascontiguousarray(target)),
            "head": place,
            "epoch": epoch,
            "number": number,
        }


class ValidBatches:
    """Validation windows of one data set in order, every ``world``-th for this process."""

    def __init__(self, split: Split, *, head: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self._split, self._head, self._size, self._rank, self._world = split, head, batch_size, rank, world

    def __len__(self) -> int:
        mine = (len(self._split) - self._rank + self._world - 1) // self._world
        return (mine + self._size - 1) // self._size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return _ahead(self._batches())

    def _batches(self) -> Iterator[dict[str, Any]]:
        held: list[Window] = []
        for number, window in enumerate(self._split.in_order()):
            if number % self._world == self._rank:
                held.append(window)
            if len(held) == self._size:
                yield self._batch(held)
                held = []
        if held:
            yield self._batch(held)

    def _batch(self, windows: list[Window]) -> dict[str, Any]:
        return {
            "codes": torch.from_numpy(np.stack([window.codes for window in windows])),
            "target": torch.from_numpy(np.stack([window.target for window in windows])),
            "head": self._head,
        }


def turned(codes: np.ndarray) -> np.ndarray:
    """Return the reverse complement of codes (..., length)."""
    other: np.ndarray = np.where(codes < UNKNOWN, 3 - codes, codes)[..., ::-1]
    return other


def shifted(codes: np.ndarray, shift: int) -> np.ndarray:
    """Move codes (..., length) to the right (left where negative); unknown bases fill the end."""
    if not shift:
        return codes
    out = np.full_like(codes, UNKNOWN)
    if shift > 0:
        out[..., shift:] = codes[..., :-shift]
    else:
        out[..., :shift] = codes[..., -shift:]
    return out


def _ahead(batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Read and decompress in a thread while the model computes; errors reach the reader."""
    held: queue.Queue[Any] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            with suppress(queue.Full):
                held.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:  # handed over, whatever it is
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := held.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
