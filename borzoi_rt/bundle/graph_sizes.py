"""Sizes that depend on how much a graph is given: a number times how many windows, tracks or rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from ..errors import FormatError

Dims = tuple["Size", ...]


@dataclass(frozen=True, slots=True)
class Size:
    """``factor`` times the product of ``symbols``, each of which stands for a number of 1 or more.

    All operations give upper bounds that grow with the symbols, so that what holds for the largest inputs holds for
    smaller ones.
    """

    factor: int
    symbols: tuple[str, ...] = ()

    def __mul__(self, other: Size) -> Size:
        """Return the product."""
        return Size(self.factor * other.factor, tuple(sorted(self.symbols + other.symbols)))

    def __add__(self, other: Size) -> Size:
        """Return a bound of the sum."""
        if self.symbols == other.symbols:
            return Size(self.factor + other.factor, self.symbols)
        return Size(self.factor + other.factor, self.join(other).symbols)

    def join(self, other: Size) -> Size:
        """Return a bound of the larger."""
        if self == other or other == ONE:
            return self
        if self == ONE:
            return other
        symbols = Counter(self.symbols) | Counter(other.symbols)
        return Size(max(self.factor, other.factor), tuple(sorted(symbols.elements())))

    def over(self, other: Size) -> Size:
        """Return a bound of the quotient.

        Raises
        ------
        FormatError
            If it would grow where a symbol shrinks.
        """
        left = Counter(self.symbols)
        left.subtract(other.symbols)
        if min(left.values(), default=0) < 0:
            raise FormatError(f"a size is {self} divided by {other}")
        return Size(-(-self.factor // max(1, other.factor)), tuple(sorted(left.elements())))

    def __str__(self) -> str:
        return " x ".join((str(self.factor), *self.symbols))


ONE = Size(1)


def fixed(sizes: Iterable[int]) -> Dims:
    """Return sizes that depend on nothing."""
    return tuple(map(Size, sizes))


def product(sizes: Iterable[Size]) -> Size:
    """Return the product of sizes."""
    return reduce(Size.__mul__, sizes, ONE)


def broadcast(shapes: Sequence[Dims]) -> Dims:
    """Return a bound of the shape that some shapes are brought to, counted from the last axis."""
    rank = max(map(len, shapes))
    padded = [(ONE,) * (rank - len(dims)) + dims for dims in shapes]
    return tuple(reduce(Size.join, axis) for axis in zip(*padded, strict=True))
