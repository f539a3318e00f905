"""What is explained: rows of bases, each in the window that is predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.alleles import Haplotypes, View, haplotypes
from ..engine.gene_bins import Frame, gene_window
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import Gene
from ..genome.intervals import Interval
from ..genome.pas import Sites
from ..genome.variants import Variant
from ..scoring.reference import check_reference
from ..sequence import encode
from ..types import ByteArray
from .where import Where, anchored

VARIANT_WIDTH_BP = 512  # bases around a variant, where nobody says otherwise
GENOME, REF, ALT = "genome", "ref", "alt"
OK = "ok"
STATUSES = (
    OK,
    "contig_missing",
    "out_of_bounds",
    "ref_mismatch",
    "invalid_allele",
    "symbolic_alt",
    "out_of_window",
    "too_many_n",
    "no_target",
    "no_segment",
    "incomplete",
    "error",
)


class RowError(InputError):
    """What is wrong with one row: of several, it is the status of that row."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Segment:
    """A stretch [start, end) of a row, counted from its first base, by its name; ``cut`` where the row ends in it."""

    start: int
    end: int
    name: str
    cut: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One stretch of bases to explain.

    Attributes
    ----------
    name : str
        What people call it.
    bases : Interval
        0-based; of an ALT haplotype as many bases of its window, from the same base on.
    where : Where
        Window, gene and frame of the target.
    allele : str
        ``genome``; or ``ref`` or ``alt`` of a variant.
    variant : Variant, optional
        The variant of ``ref`` and ``alt``, its REF as the genome holds it.
    status : str
        ``ok``, or why it cannot be explained, one of :data:`STATUSES`.
    detail : str
        The same in words.
    segments : tuple of Segment, optional
        Stretches that methods of stretches take, ascending and apart, see :mod:`borzoi_rt.explain.segments`; None for
        stretches of one length.
    """

    name: str
    bases: Interval
    where: Where
    allele: str = GENOME
    variant: Variant | None = None
    genome_allele: str | None = None
    status: str = OK
    detail: str = ""
    segments: tuple[Segment, ...] | None = None

    @property
    def width(self) -> int:
        """Bases that are explained."""
        return self.bases.end - self.bases.start

    @property
    def columns(self) -> tuple[int, int]:
        """First and last + 1 of the bases in the window."""
        start = self.bases.start - self.where.window_start
        return start, start + self.width

    def part(self, low: int, high: int) -> Row:
        """Return the row of its bases [low, high), counted from its first, in the same window."""
        start = self.bases.start
        return replace(self, bases=replace(self.bases, start=start + low, end=start + high))

    def failed(self, status: str, detail: str) -> Row:
        """Return the row with a status that says why it is not explained."""
        return replace(self, status=status, detail=detail)

    def window(self, fasta: Fasta, geometry: Geometry) -> ByteArray:
        """Return the window as one-hot DNA, uint8 (4, length)."""
        start = self.where.window_start
        if self.variant is None:
            return encode(fasta.fetch(self.bases.chrom, start, start + geometry.sequence_length_bp))
        held = _haplotypes(fasta, self.variant, geometry, start, self.genome_allele)
        return held.window(View("alt" if self.allele == ALT else "ref", 0))


def region_rows(
    intervals: Sequence[Interval],
    fasta: Fasta,
    geometry: Geometry,
    *,
    width_bp: int | None = None,
    gene: Gene | None = None,
    sites: Sites | None = None,
    keep: bool = False,
) -> list[Row]:
    """Return a row for each interval.

    Parameters
    ----------
    intervals : sequence of Interval
        0-based.
    fasta : Fasta
        The genome.
    geometry : Geometry
        Window of the model.
    width_bp : int, optional
        Take as many bases around the middle of each interval instead of the interval.
    gene : Gene, optional
        What the target is of: the window is then around the gene, otherwise around the interval.
    sites : Sites, optional
        Polyadenylation sites.
    keep : bool
        Give an interval that cannot be explained a row with a status, instead of an error.

    Raises
    ------
    RowError
        If an interval is not in the genome or not in the window, holds unknown bases alone, or the gene is on another
        contig.
    """
    rows = []
    for given in intervals:
        where = given if width_bp is None else given.centred(width_bp)
        try:
            row = region_row(where, fasta, geometry, gene=gene, sites=sites)
            _check_known(row, fasta)
            rows.append(row)
        except RowError as fault:
            if not keep:
                raise
            bases = replace(where, name=_name_of(where))
            lost = Row(name=bases.name, bases=bases, where=Where(window_start=-1))
            rows.append(lost.failed(fault.status, str(fault)))
    return rows


def region_row(
    where: Interval,
    fasta: Fasta,
    geometry: Geometry,
    *,
    gene: Gene | None = None,
    sites: Sites | None = None,
    window_start: int | None = None,
    anchor: int | None = None,
) -> Row:
    """Return the row of an interval as it is.

    Parameters
    ----------
    where, fasta, geometry, gene, sites
        See :func:`region_rows`.
    window_start : int, optional
        0-based start of the window, instead of the one around gene or interval.
    anchor : int, optional
        1-based base that ``span:BP`` and ``center:BP`` are around, instead of the middle of the interval.

    Raises
    ------
    RowError
        If it cannot be explained.
    """
    contig, name = _contig(fasta, where), f"{where.chrom}:{where.start + 1}-{where.end}"
    if not 0 <= where.start < where.end <= fasta.contigs[contig]:
        raise RowError("out_of_bounds", f"region {name} does not lie in {contig} (1-{fasta.contigs[contig]})")
    bases = Interval(contig, where.start, where.end, _name_of(where), where.strand)
    start = bases.centred(geometry.sequence_length_bp).start if gene is None else gene_window(gene, geometry)
    if window_start is not None:
        start = window_start
    _check_gene(gene, fasta, f"region {name}", contig)
    if not start <= bases.start < bases.end <= start + geometry.sequence_length_bp:
        raise RowError(
            "out_of_window",
            f"region {name} does not lie in the window {contig}:{start + 1}-{start + geometry.sequence_length_bp}"
            f"{'' if gene is None else f' of gene {gene}'}; explain a part of it",
        )
    middle = anchored(contig, bases.start, bases.end) if anchor is None else anchored(contig, anchor - 1, anchor - 1)
    inside = Where(window_start=start, anchor=middle, gene=gene, sites=sites)
    return Row(name=bases.name, bases=bases, where=inside)


def _check_known(row: Row, fasta: Fasta) -> None:
    """Refuse a row of which no base is known."""
    bases = row.bases
    if not encode(fasta.fetch(bases.chrom, bases.start, bases.end)).any():
        name = f"{bases.chrom}:{bases.start + 1}-{bases.end}"
        raise RowError("too_many_n", f"region {name}: every base is unknown; there is nothing to explain")


def _name_of(where: Interval) -> str:
    return where.name or f"{where.chrom}:{where.start + 1}-{where.end}"


def gene_row(gene: Gene, fasta: Fasta, geometry: Geometry, *, sites: Sites | None = None) -> Row:
    """Return the whole window around a gene, as far as its contig goes, as one row."""
    contig = _contig(fasta, Interval(gene.chrom, *gene.span))
    start = gene_window(gene, geometry)
    end = min(start + geometry.sequence_length_bp, fasta.contigs[contig])
    bases = Interval(contig, max(start, 0), end, gene.name, gene.strand)
    middle = anchored(contig, *gene.span)
    inside = Where(window_start=start, anchor=middle, gene=gene, sites=sites)
    return Row(name=gene.name, bases=bases, where=inside)


def changed_bases(name: str, allele: str) -> tuple[int, int] | None:
    """Return where the variant of a row is, as [start, end) of its haplotype, 0-based; None where the row is of none.

    Bases that REF and ALT begin with alike are left out, so that the base before an indel is not part of it. Where the
    haplotype lacks bases that the other one has, start and end are equal: the joint is before that base.

    Parameters
    ----------
    name, allele : str
        Of a row, as :func:`variant_rows` makes them, or as a file of attributions keeps them.
    """
    if allele not in ("ref", "alt") or not name.endswith(f" {allele}"):
        return None
    variant = Variant.parse(name.removesuffix(f" {allele}"))
    pairs = enumerate(zip(variant.ref, variant.alt, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(variant.ref), len(variant.alt)))
    own = variant.ref if allele == "ref" else variant.alt
    return variant.pos - 1 + same, variant.pos - 1 + len(own)


def variant_rows(
    variant: Variant,
    fasta: Fasta,
    geometry: Geometry,
    *,
    width_bp: int,
    gene: Gene | None = None,
    sites: Sites | None = None,
) -> list[Row]:
    """Return two rows: the bases around a variant on the REF and on the ALT haplotype.

    The window is that of the variant's scores; of an insertion or deletion, what lies behind it moves in the ALT row.
    The variant is in the middle of the bases, but near an end of its contig, where they begin or end with that.

    Raises
    ------
    RowError
        If the variant cannot be scored, as where REF is not what the genome holds, or the gene is on another contig.
    InputError
        If there are no such bases around it.
    """
    found = check_reference(fasta, variant)
    if found.variant is None:
        status = found.status if found.status in STATUSES else "error"
        raise RowError(status, f"{variant}: {found.status}: {found.detail}")
    held = found.variant
    _check_gene(gene, fasta, f"variant {variant}", held.chrom)
    start = _haplotypes(fasta, held, geometry, None, found.genome_allele).window_start
    # Within the contig, where it is that long: nothing is explained of what is not there.
    ends = max(fasta.contigs[held.chrom] - width_bp, 0)
    first = min(max(held.pos - 1 - width_bp // 2, 0), ends)
    if width_bp < 1 or not start <= first < first + width_bp <= start + geometry.sequence_length_bp:
        raise InputError(f"width_bp is {width_bp}; 1 to about {geometry.sequence_length_bp} bases around a variant")
    bases = Interval(held.chrom, first, first + width_bp, str(variant))
    rows = []
    for allele, length in ((REF, len(held.ref)), (ALT, len(held.alt))):
        frame = Frame(start + geometry.crop_bp, ((held.pos - 1, len(held.ref), length),))
        inside = Where(window_start=start, anchor=held, gene=gene, sites=sites, frame=frame)
        rows.append(
            Row(
                name=f"{variant} {allele}",
                bases=bases,
                where=inside,
                allele=allele,
                variant=held,
                genome_allele=found.genome_allele,
            )
        )
    return rows


def allele_rows(
    variants: Iterable[Variant],
    fasta: Fasta,
    geometry: Geometry,
    *,
    width_bp: int,
    gene: Gene | None = None,
    sites: Sites | None = None,
) -> list[Row]:
    """Return two rows for each variant, REF and ALT, see :func:`variant_rows`; one that is wrong has a status in both.

    Raises
    ------
    InputError
        If ``width_bp`` does not fit into a window.
    """
    if not 1 <= width_bp <= geometry.sequence_length_bp:
        raise InputError(f"width_bp is {width_bp}; 1 to about {geometry.sequence_length_bp} bases around a variant")
    how: dict[str, Any] = {"width_bp": width_bp, "gene": gene, "sites": sites}
    rows = []
    for variant in variants:
        try:
            rows += variant_rows(variant, fasta, geometry, **how)
        except InputError as fault:
            status = fault.status if isinstance(fault, RowError) else "error"
            first = max(variant.pos - 1 - width_bp // 2, 0)
            bases = Interval(variant.chrom, first, first + width_bp, str(variant))
            for allele in (REF, ALT):
                lost = Row(name=f"{variant} {allele}", bases=bases, where=Where(window_start=-1), allele=allele)
                rows.append(lost.failed(status, str(fault)))
    return rows


def check_widths(rows: Sequence[Row]) -> int:
    """Return the one width that all rows have.

    Raises
    ------
    InputError
        If there are none, or they differ: an array has one width.
    """
    widths = sorted({row.width for row in rows})
    if not widths:
        raise InputError("there is nothing to explain")
    if len(widths) > 1:
        raise InputError(
            f"regions of {widths[0]} to {widths[-1]} bases; those of one file need one width: give one (width), which "
            "is taken around their middle"
        )
    return widths[0]


def codes_of(window: ByteArray) -> ByteArray:
    """Return letters of one-hot DNA as numbers, 0 to 3 for A, C, G, T and 4 for an unknown base."""
    return np.where(window.any(axis=0), window.argmax(axis=0), 4).astype(np.uint8)


def on_contigs(intervals: Sequence[Interval], fasta: Fasta, what: str) -> list[Interval]:
    """Return intervals with their contigs named as the genome names them, ``chr1`` for ``1``.

    An interval on a contig that the genome lacks stays as it is: no base of the genome lies in it.

    Parameters
    ----------
    intervals : sequence of Interval
    fasta : Fasta
    what : str
        What they are, for the message.

    Raises
    ------
    InputError
        If the genome has none of their contigs.
    """
    named = {chrom: fasta.resolve(chrom) for chrom in dict.fromkeys(item.chrom for item in intervals)}
    if named and not any(named.values()):
        first, more = next(iter(named)), len(named) - 1
        others = f", nor the {more} others" if more else ""
        raise InputError(f"{what} are on contig {first}, which {fasta.name} lacks{others}; take those of this genome")
    return [replace(item, chrom=named[item.chrom] or item.chrom) for item in intervals]


def _contig(fasta: Fasta, where: Interval) -> str:
    contig = fasta.resolve(where.chrom)
    if contig is None:
        name = f"{where.chrom}:{where.start + 1}-{where.end}"
        raise RowError("contig_missing", f"region {name}: {fasta.name} has no such contig")
    return contig


def _check_gene(gene: Gene | None, fasta: Fasta, what: str, contig: str) -> None:
    """Refuse a gene whose bins would be counted on a contig that is not its own."""
    own = None if gene is None else fasta.resolve(gene.chrom)
    if gene is not None and own != contig:
        lost = "" if own is not None else f", which is no contig of {fasta.name}"
        raise RowError(
            "no_target", f"{what} is on {contig}, gene {gene} is on {gene.chrom}{lost}; name a gene of {contig}"
        )


def _haplotypes(
    fasta: Fasta, variant: Variant, geometry: Geometry, start: int | None, genome_allele: str | None
) -> Haplotypes:
    window = "centered" if start is None else f"at:{start}"
    return haplotypes(fasta, variant, geometry, flank_bp=0, genome_allele=genome_allele, window=window)
