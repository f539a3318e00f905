"""An incremental session whose tiles, windows and embeddings stay in the memory of a GPU.

On a card a body takes milliseconds, about as long as moving its 25 MB of tokens from the host. So tiles live in a
*bank* on the device, a window is gathered there by row numbers, and only bases go in and chosen coverage comes out.

Tiles are computed in batches of one size, also where one is missing: the size decides which kernels run, and the
reference and the alleles of a score must be computed alike. Equal bases give the same slot, so that a null variant is
the reference bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np

from ..backends.checks import check_bins
from ..backends.protocols import Embedding, ResidentParts
from .bank import FEW, SCRATCH, Bank, BankRows
from .cache import Cache
from .incremental import IncrementalSession
from .summing import SummingSession
from .tile_cache import TileCache
from .tiles import choose_body


class _Resident(IncrementalSession):
    """What both sessions share: the bank, and windows gathered from it."""

    def __init__(self, parts: ResidentParts, *, model: str, cache: Cache | None = None) -> None:
        super().__init__(parts, model=model, cache=TileCache(cache))
        self._resident = parts
        self.bank = Bank(parts.layout)
        self._rows = BankRows(self._plan, parts.layout)
        self._lock = Lock()

    def _covered(self, window: np.ndarray, n_fill: float, bins: tuple[int, int], index: np.ndarray) -> np.ndarray:
        choice = choose_body(self.geometry, self._parts.tiling, bins)
        self.counts[choice.name] += 1
        with self._lock:
            rows = self._rows.of(self._slots(window, n_fill), choice.spans)
            values = self._resident.cover(choice.name, rows, index, token_start=choice.token_start)
        return values[0, :, choice.offset : choice.offset + bins[1] - bins[0]]

    def embed(self, window: np.ndarray, n_fill: float, bins: tuple[int, int], *, turned: bool = False) -> Embedding:
        """See :meth:`borzoi_rt.engine.summing.SummingSession.embed`; what it returns is memory of the device."""
        start, end = check_bins(bins, self.geometry)
        choice = choose_body(self.geometry, self._parts.tiling, (start, end))
        self.counts[choice.name] += 1
        picks = choice.offset + np.arange(end - start, dtype=np.int64)
        with self._lock:
            rows = self._rows.of(self._slots(window, n_fill), choice.spans)
            return self._resident.embed(
                choice.name, rows, picks[::-1] if turned else picks, token_start=choice.token_start
            )

    def clear(self) -> None:
        """See :meth:`borzoi_rt.engine.incremental.IncrementalSession.clear`."""
        super().clear()
        self.bank.clear()

    def _slots(self, window: np.ndarray, n_fill: float) -> np.ndarray:
        """Return the slot of every tile of a window; those that are missing are computed."""
        tiles = self._keys(window, n_fill)
        missing = {
            key: self._plan.bases(tile)
            for key, tile in zip(tiles, self._plan.tiles, strict=True)
            if self.bank.slot(key) is None
        }
        size = self.bank.layout.tiles
        keys = list(missing)
        self.counts["tiles"] += len(tiles)
        self.counts["computed"] += len(keys)
        batches = [keys[first : first + size] for first in range(0, len(keys), size)]
        try:
            self._compute(batches, missing, window, n_fill)
        except BaseException:
            self.bank.clear()  # what was to be computed has slots already
            raise
        slots = [self.bank.slot(key) for key in tiles]
        if None in slots:  # its tiles lay on more pages than the bank has, and one was given up for another
            self.bank.clear()
            return self._slots(window, n_fill)
        return np.array(slots, dtype=np.int64)

    def _compute(
        self, batches: Sequence[Sequence[bytes]], bases: Mapping[bytes, slice], window: np.ndarray, n_fill: float
    ) -> None:
        """Compute tiles, batch by batch: on a page of their own, or a few and moved to a page that is shared."""
        size = self.bank.layout.tiles
        few = sum(map(len, batches)) <= FEW
        for batch in batches:
            one_hot = np.stack([window[:, bases[key]] for key in batch])
            if not few:
                self._resident.fill(self.bank.page(batch), one_hot, n_fill)
                continue
            self._resident.fill(SCRATCH, one_hot, n_fill)
            for position, key in enumerate(batch):
                self._resident.move(SCRATCH * size + position, self.bank.single(key))


class ResidentSession(_Resident):
    """The split graphs as a session, with everything between them on the device.

    Parameters
    ----------
    parts : ResidentParts
        The split graphs and their bank.
    model : str
        Identity of the weights: the bundle's hash.
    cache : Cache, optional
        Coverage computed before.
    """


class ResidentSummingSession(_Resident, SummingSession):
    """The same with the ``statistics`` graph, which reads embeddings where they are; parameters as before."""

    block_bytes = 512 * 2**20  # a card holds some ten arrays of this size beside the model
