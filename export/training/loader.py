"""Batches in an order that follows from the seed alone, so that any process can begin at any batch.

An epoch takes every window of every data set once (but for the rest that fills no batch), in batches of one data set
whose sequence is shuffled, as in the reference. Batch ``number`` counts through all epochs. Augmentation is drawn by a
generator of its own for each batch, keyed by (seed, batch, process): nothing of it needs to be stored to resume.

A batch is therefore a function of its number, and threads make several at once: they come out in order, with the same
bytes, for any number of threads. Decompression and copies leave the interpreter's lock, so threads are enough. A stream
(TFRecord) is read in one thread; the threads turn, shift and join its windows.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from borzoi_rt.dataset import IndexedSplit, Split
from borzoi_rt.dataset.window import UNKNOWN, Window
from borzoi_rt.errors import InputError

_ORDER, _MIX, _AUGMENT = 1, 2, 3  # purposes of random numbers
_AHEAD = 4
_TURNED_BYTES = 1 << 18

Batch = dict[str, Any]
Read = Callable[[], Window]


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
    workers : int
        Threads that make batches.
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
        workers: int = 1,
    ) -> None:
        self._splits, self._pairs = tuple(splits), tuple(strand_pairs)
        self._size, self._epochs, self._seed, self._rank, self._world = batch_size, epochs, seed, rank, world
        self._rc, self._shift, self._workers = augment_rc, augment_shift, workers
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

    def __iter__(self) -> Iterator[Batch]:
        return in_order(self._jobs(self.start), self._workers)

    def plan(self, epoch: int) -> np.ndarray:
        """Return the data set of each batch of an epoch."""
        sets = np.repeat(np.arange(len(self._counts)), self._counts)
        return np.random.default_rng([self._seed, _MIX, epoch]).permutation(sets)

    def _jobs(self, start: int) -> Iterator[Callable[[], Batch]]:
        for epoch in range(start // self.per_epoch, self._epochs):
            skip = max(start - epoch * self.per_epoch, 0)
            plan = self.plan(epoch)
            done = [int((plan[:skip] == number).sum()) for number in range(len(self._splits))]
            sources = [self._reads(number, epoch, done[number]) for number in range(len(self._splits))]
            for offset in range(skip, self.per_epoch):
                number = int(plan[offset])
                reads = list(islice(sources[number], self._size))
                yield partial(self._batch, reads, number, epoch, epoch * self.per_epoch + offset)

    def _reads(self, number: int, epoch: int, done: int) -> Iterator[Read]:
        """Yield this process's windows of an epoch: consecutive batches go to consecutive processes."""
        size, first = self._size, done * self._size * self._world

        def mine(rank: int) -> bool:
            return rank >= first and rank // size % self._world == self._rank

        split, seed = self._splits[number], (self._seed, _ORDER, number, epoch)
        if isinstance(split, IndexedSplit):
            return (partial(split.__getitem__, window) for rank, window in enumerate(split.order(seed)) if mine(rank))
        return map(_read_already, split.shuffled(seed, mine))

    def _batch(self, reads: Sequence[Read], head: int, epoch: int, number: int) -> Batch:
        generator = np.random.default_rng([self._seed, _AUGMENT, number, self._rank])
        turn, shift = generator.random() < 0.5, int(generator.integers(-self._shift, self._shift + 1))
        batch = joined(reads, self._pairs[head] if self._rc and turn else None, shift)
        return {**batch, "head": head, "epoch": epoch, "number": number}


class ValidBatches:
    """Validation windows of one data set in order, every ``world``-th for this process."""

    def __init__(
        self, split: Split, *, head: int, batch_size: int, rank: int = 0, world: int = 1, workers: int = 1
    ) -> None:
        self._split, self._head, self._size, self._rank, self._world = split, head, batch_size, rank, world
        self._workers = workers

    def __len__(self) -> int:
        mine = (len(self._split) - self._rank + self._world - 1) // self._world
        return (mine + self._size - 1) // self._size

    def __iter__(self) -> Iterator[Batch]:
        return in_order(self._jobs(), self._workers)

    def _jobs(self) -> Iterator[Callable[[], Batch]]:
        reads = islice(self._reads(), self._rank, None, self._world)
        while held := list(islice(reads, self._size)):
            yield partial(self._batch, held)

    def _reads(self) -> Iterator[Read]:
        if isinstance(self._split, IndexedSplit):
            return (partial(self._split.__getitem__, number) for number in range(len(self._split)))
        return map(_read_already, self._split.in_order())

    def _batch(self, reads: Sequence[Read]) -> Batch:
        return {**joined(reads), "head": self._head}


def joined(reads: Sequence[Read], pairs: np.ndarray | None = None, shift: int = 0) -> Batch:
    """Return windows as one batch of tensors.

    Parameters
    ----------
    reads : sequence of callable
        Each returns a window.
    pairs : int64 ndarray of shape (tracks,), optional
        Reverse-complement the windows; track t of the result is track ``pairs[t]`` backwards.
    shift : int
        Move the sequences right by so many bp, after they are turned.

    Returns
    -------
    dict
        ``codes`` uint8 (batch, length), ``target`` (batch, tracks, bins) in the type of the windows.
    """
    first = reads[0]()
    codes = np.empty((len(reads), *first.codes.shape), dtype=first.codes.dtype)
    target = np.empty((len(reads), *first.target.shape), dtype=first.target.dtype)
    for row, read in enumerate(reads):
        window = first if row == 0 else read()
        # Each value is copied once: the target of the published model has 94 MB.
        codes[row] = shifted(window.codes if pairs is None else turned(window.codes), shift)
        if pairs is None:
            target[row] = window.target
        else:
            _turn_target(window.target, pairs, target[row])
    return {"codes": torch.from_numpy(codes), "target": torch.from_numpy(target)}


def _turn_target(target: np.ndarray, pairs: np.ndarray, out: np.ndarray) -> None:
    """Write ``target[pairs, ::-1]`` a few tracks at a time, so that what is gathered stays in the cache."""
    rows = max(1, _TURNED_BYTES // max(target[:1].nbytes, 1))
    for start in range(0, len(pairs), rows):
        out[start : start + rows] = target.take(pairs[start : start + rows], axis=0)[:, ::-1]


def _read_already(window: Window) -> Read:
    return lambda: window


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


def in_order(jobs: Iterator[Callable[[], Batch]], workers: int) -> Iterator[Batch]:
    """Yield what the jobs return, in their order; threads work ahead of the reader, and errors reach it in order."""
    ahead = max(_AHEAD, workers + 1)
    held: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="borzoi-rt-loader") as pool:
        # A stream is read by whoever asks for the next job: a thread of its own, or the model would wait for it.
        feed = _ahead(jobs, 1)
        try:
            while True:
                while len(held) < ahead and (job := next(feed, None)) is not None:
                    held.append(pool.submit(job))
                if not held:
                    return
                yield held.popleft().result()
        finally:
            feed.close()
            for waiting in held:
                waiting.cancel()


def _ahead(jobs: Iterator[Callable[[], Batch]], most: int) -> Generator[Callable[[], Batch]]:
    """Take jobs in a thread while the model computes; errors reach the reader."""
    held: queue.Queue[Any] = queue.Queue(maxsize=most)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            with suppress(queue.Full):
                held.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for job in jobs:
                if not put(job):
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
