"""Regions of the output that a statistic is taken over, as the bins of one variant's window.

``window``    every bin of the output
``span:BP``   the bins around the middle of REF that cover BP bases; moved where they would leave the output
``center:BP`` the ceil(BP / bin size) bins around the bin of POS, cut at the ends of the output: the centre mask of
              AlphaGenome's variant scorers (width in bp)

Regions of genes hold bins of each gene near the variant, see :mod:`borzoi_rt.engine.gene_bins`:

``exons``     the exons of all transcripts, united
``span``      everything from the first to the last exon
``tss:BP``    BP bases around the first base of the span that is transcribed
``gene_mask`` the exons of those transcripts that begin in the output, united: AlphaGenome's gene mask
``gene_body`` the span of a gene that the variant overlaps: AlphaGenome's mask for splicing
``pas``       bins on each side of its polyadenylation sites, see :mod:`borzoi_rt.scoring.site_scores`
``splice``    bins on each side of its splice sites, and its exons, see :mod:`borzoi_rt.scoring.splice_sites`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.variants import Variant

ALLOWED = "window, span:BP, center:BP; of genes exons, span, tss:BP, gene_mask, gene_body, pas, splice"
_OF_GENES = ("exons", "tss", "gene_mask", "gene_body", "pas", "splice")


@dataclass(frozen=True, slots=True)
class Region:
    """A region by its kind and its width in bp, where it has one."""

    kind: str
    width_bp: int | None = None

    @property
    def of_genes(self) -> bool:
        """Whether it is a region of every gene, and not one of the variant."""
        return self.kind in _OF_GENES or (self.kind == "span" and self.width_bp is None)

    @property
    def of_sites(self) -> bool:
        """Whether it is sites of a gene that are compared with each other."""
        return self.kind in ("pas", "splice")

    @property
    def of_transcripts(self) -> bool:
        """Whether it depends on the transcripts of a gene, and not on its exons alone."""
        return self.kind in ("gene_mask", "splice")

    def __str__(self) -> str:
        return self.kind if self.width_bp is None else f"{self.kind}:{self.width_bp}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``window``, ``span:2000``, ``center:501``, ``exons``, ``span``, ``tss:1000``, ``gene_mask``, ...

        Raises
        ------
        InputError
            If it is none of these.
        """
        found = re.fullmatch(r"(span|center|tss):([1-9][0-9]{0,8})", text)
        if found:
            return cls(found[1], int(found[2]))
        if text not in ("window", "span", *(kind for kind in _OF_GENES if kind != "tss")):
            raise InputError(f"region {text!r} is unknown; allowed: {ALLOWED} with BP of 1 or more")
        return cls(text)

    def bins(self, variant: Variant, window_start: int, geometry: Geometry) -> tuple[int, int]:
        """Return the bins [start, end) of the output; empty where the variant lies too far from it.

        Parameters
        ----------
        variant : Variant
            Its POS and the length of REF say where it is.
        window_start : int
            0-based start of the input window.
        geometry : Geometry
            Window and output grid of the model.

        Raises
        ------
        InputError
            If it is a region of genes.
        """
        if self.of_genes:
            raise InputError(f"region {self} belongs to genes; a variant alone has none")
        if self.width_bp is None:
            return 0, geometry.bins
        count = -(-self.width_bp // geometry.bin_size_bp)
        offset_bp = variant.pos - 1 - window_start - geometry.crop_bp
        if self.kind == "center":
            first = offset_bp // geometry.bin_size_bp - count // 2
            start, end = (min(max(edge, 0), geometry.bins) for edge in (first, first + count))
            return start, end
        count = min(count, geometry.bins)
        middle_bp = offset_bp + len(variant.ref) // 2
        first = (middle_bp - count * geometry.bin_size_bp // 2 + geometry.bin_size_bp // 2) // geometry.bin_size_bp
        first = min(max(first, 0), geometry.bins - count)
        return first, first + count


WINDOW = Region("window")


def hull(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the smallest range that holds all ranges that are not empty.

    Raises
    ------
    InputError
        If all are empty.
    """
    held = [(start, end) for start, end in parts if start < end]
    if not held:
        raise InputError(
            "the region holds no bin of the output: the variant lies too far from the middle of its window"
        )
    return min(start for start, _ in held), max(end for _, end in held)
