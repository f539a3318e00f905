"""Stretches of the network's grids: which positions of one layer another needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..models.config import BorzoiConfig


@dataclass(frozen=True)
class Span:
    """Positions [start, end) of a grid of ``length``; with ``origin``, a graph value that is added to both.

    A span with an origin lies inside the grid wherever it is put: nothing of it is padding.
    """

    start: int
    end: int
    length: int
    origin: str | None = None

    @property
    def size(self) -> int:
        """Number of positions."""
        return self.end - self.start

    def widened(self, half: int) -> Span:
        """Inputs of a convolution that reaches ``half`` positions each way, clipped at the ends of the grid."""
        if self.origin is not None:
            return replace(self, start=self.start - half, end=self.end + half)
        return Span(max(self.start - half, 0), min(self.end + half, self.length), self.length)

    def doubled(self) -> Span:
        """The same stretch of a grid twice as fine."""
        return Span(2 * self.start, 2 * self.end, 2 * self.length, self.origin)

    def grouped(self, size: int) -> Span:
        """Groups of ``size`` positions that hold the span."""
        return Span(self.start // size, -(-self.end // size), self.length // size, self.origin)

    def halved(self) -> Span:
        """Inputs of a doubling; the origin, in positions of the coarsest grid, stays."""
        return self.grouped(2)


def whole_output(config: BorzoiConfig) -> Span:
    """Return the output bins of a network as a span of its finest grid."""
    length = config.sequence_length_bp // config.bin_size_bp
    return Span(config.crop_bins, length - config.crop_bins, length)


def decoder_spans(config: BorzoiConfig, output: Span) -> list[Span]:
    """Return, for each U-net block, the positions of its fine grid that ``output`` depends on."""
    spans: list[Span] = []
    for _ in range(config.unets):
        output = output.widened(config.unet_width // 2)
        spans.insert(0, output)
        output = output.halved()
    return spans
