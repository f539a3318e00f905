"""Which tile lies where in the memory of a device: pages of tiles, the page used longest ago given up first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from ..backends.protocols import BankLayout
from ..types import IndexArray
from .tiles import TilePlan

SCRATCH = 0  # the page in which single tiles are computed before they are moved
FEW = 2  # up to so many missing tiles are computed in the scratch page and moved: a variant changes one or two


class Bank:
    """Slots of tiles by key.

    Parameters
    ----------
    layout : BankLayout
        Pages and tiles a page.

    Attributes
    ----------
    computed : int
        Tiles that were not there and had to be computed.
    """

    def __init__(self, layout: BankLayout) -> None:
        self.layout = layout
        self.computed = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slots: dict[bytes, int] = {}
        self._keys: OrderedDict[int, list[bytes]] = OrderedDict()  # of each page in use, the last used at the end
        self._free = list(range(self.layout.pages - 1, SCRATCH, -1))
        self._open: int | None = None  # the page that takes single tiles

    def slot(self, key: bytes) -> int | None:
        """Return where a tile lies, and mark its page as used just now."""
        slot = self._slots.get(key)
        if slot is not None:
            self._keys.move_to_end(slot // self.layout.tiles)
        return slot

    def page(self, keys: Sequence[bytes]) -> int:
        """Give a page to tiles that are to be computed there, in this order."""
        page = self._take()
        self._hold(page, keys)
        return page

    def single(self, key: bytes) -> int:
        """Give a slot to one tile, on a page that fills up with such tiles."""
        if self._open is None or len(self._keys.get(self._open, ())) >= self.layout.tiles:
            self._open = self._take()
        self._hold(self._open, [key])
        return self._slots[key]

    def _hold(self, page: int, keys: Iterable[bytes]) -> None:
        held = self._keys.setdefault(page, [])
        for key in keys:
            self._slots[key] = page * self.layout.tiles + len(held)
            held.append(key)
            self.computed += 1
        self._keys.move_to_end(page)

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        page, keys = self._keys.popitem(last=False)
        for key in keys:
            if self._slots.get(key, -1) // self.layout.tiles == page:
                del self._slots[key]
        if page == self._open:
            self._open = None
        return page


class BankRows:
    """Rows of the bank that make a window, from the slots of its tiles.

    Parameters
    ----------
    plan : TilePlan
        The tiles of a window.
    layout : BankLayout
        How a page is laid out.
    """

    def __init__(self, plan: TilePlan, layout: BankLayout) -> None:
        self._layout = layout
        self._tile, self._within = [], []
        owner = np.concatenate([np.full(tile.end - tile.start, number) for number, tile in enumerate(plan.tiles)])
        read = np.array([tile.read for tile in plan.tiles])
        for scale in layout.scales:
            position = np.arange(plan.tokens * scale)
            tile = owner[position // scale]
            self._tile.append(tile)
            self._within.append(position - read[tile] * scale)

    def of(self, slots: IndexArray, spans: Sequence[tuple[int, int]]) -> list[IndexArray]:
        """Return the rows of the tokens, all of them, and of a span of each skip."""
        ends = (len(self._tile[0]), *(end for _, end in spans))
        starts = (0, *(start for start, _ in spans))
        rows = []
        for output, (start, end) in enumerate(zip(starts, ends, strict=True)):
            first = self._layout.first_row(slots, output)
            rows.append(first[self._tile[output][start:end]] + self._within[output][start:end])
        return rows
