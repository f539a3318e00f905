"""Scores of genes: which genes a variant has, the bins of each, and the statistics over them.

Tracks are matched to the strand of the gene. Where strands make one row, a gene on '+' is scored by the '+' track of
the pair and a gene on '-' by the '-' track; a gene whose strand is not known by both, joined as for window scores.
Where strands are kept apart every track is scored, sense and antisense. The profiles of JS and nD have one
pseudo-count, the 25th percentile of R over all bins of the window, as in `borzoi_sed`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.gene_bins import Frame, covered_fraction, intervals_of
from ..engine.prediction import AllelePrediction
from ..engine.regions import Region
from ..errors import InputError
from ..genome.contig_names import chromosome_of, other_assembly
from ..genome.fasta import Fasta
from ..genome.genes import Gene, Genes
from ..genome.variants import Variant
from ..tracks import MergePlan
from ..types import DoubleArray, FloatArray, IndexArray
from .formulas import SiteSplit, Statistic, quartile, scaled
from .site_scores import Sides, SiteBins, genes_with_sites
from .splice_sites import splice_bins
from .splits import site_score
from .statistics import finish_scores, joined_rows, mean_scores

log = logging.getLogger(__name__)

_BLOCK_BYTES = 8 * 2**20


class GeneFinder:
    """Finds the genes near a variant under the names that the genome has for contigs.

    Parameters
    ----------
    genes : Genes
        The annotation.
    fasta : Fasta
        The genome; its rule for names of contigs applies.
    names, types : sequence of str
        Which genes are wanted, see :meth:`borzoi_rt.genome.genes.Genes.mask`.
    site_kind : str
        Which polyadenylation sites are compared, see :meth:`borzoi_rt.genome.pas.Sites.of_kind`.

    Raises
    ------
    InputError
        If no contig of the annotation is in the genome, or nothing is left of its genes.
    """

    def __init__(
        self,
        genes: Genes,
        fasta: Fasta,
        *,
        names: Sequence[str] = (),
        types: Sequence[str] = (),
        site_kind: str = "utr3",
    ) -> None:
        self.genes = genes
        self._kept = genes.mask(names, types)
        if not self._kept.any():
            raise InputError(f"{genes.source}: no gene has one of the names {list(names)} and the types {list(types)}")
        self._codes = contigs_of(genes, fasta)
        self._sites: IndexArray | None = None
        self._site_chroms: dict[str, list[str]] = {}
        if genes.sites is not None:
            self._sites = genes.sites.of_kind(site_kind)
            for name in dict.fromkeys(genes.sites.chrom):
                self._site_chroms.setdefault(str(fasta.resolve(name)), []).append(name)

    def with_sites(
        self,
        variant: Variant,
        frames: Sequence[tuple[Frame, Frame]],
        *,
        window_start: int,
        geometry: Geometry,
        layouts: Sequence[str],
    ) -> list[SiteBins]:
        """Return the wanted genes that have polyadenylation sites in the output window."""
        if self.genes.sites is None or self._sites is None:
            raise InputError("scores of region pas need a table of polyadenylation sites (pas)")
        start = window_start + geometry.crop_bp
        numbers = self._numbers(variant.chrom, start, start + geometry.bins * geometry.bin_size_bp)
        chroms = self._site_chroms.get(variant.chrom, [])
        # All genes have a part in whose the sites are: which genes are wanted changes no score.
        near = [self.genes[number] for number in numbers]
        wanted = {gene.id for gene, number in zip(near, numbers, strict=True) if self._kept[number]}
        found = genes_with_sites(
            self.genes.sites,
            self._sites,
            chroms,
            near,
            frames,
            window_start=window_start,
            geometry=geometry,
            layouts=layouts,
            overlapping=overlapped(variant),
        )
        return [item for item in found if item.gene.id in wanted]

    def with_splice_sites(
        self, variant: Variant, frames: Sequence[tuple[Frame, Frame]], *, window_start: int, geometry: Geometry
    ) -> list[SiteBins]:
        """Return the wanted genes that have splice sites or exons in the output window."""
        start = window_start + geometry.crop_bp
        near = self.near(variant.chrom, start, start + geometry.bins * geometry.bin_size_bp)
        found = (splice_bins(gene, frames, geometry, variant.chrom) for gene in near)
        return [item for item in found if item is not None]

    def near(self, chrom: str, start: int, end: int) -> list[Gene]:
        """Return the wanted genes of a contig of the genome whose span meets [start, end), in the order of start."""
        return [self.genes[number] for number in self._numbers(chrom, start, end) if self._kept[number]]

    def _numbers(self, chrom: str, start: int, end: int) -> list[int]:
        return [
            int(number) for code in self._codes.get(chrom, ()) for number in self.genes.overlapping(code, start, end)
        ]


def contigs_of(genes: Genes, fasta: Fasta) -> dict[str, list[int]]:
    """Return which contigs of an annotation each contig of the genome is, by their codes.

    By a table of names (``chrom_aliases``), else by the genome's own rule (:meth:`Fasta.resolve`), else by what the
    annotation says of its contigs. RefSeq's chromosomes that are not found are said; other contigs, which many genomes
    leave out, are not.

    Raises
    ------
    InputError
        If none is found, or a table gives one contig two names of the genome.
    """
    found: dict[str, list[int]] = {}
    missing: list[int] = []
    wrong = ""
    for code, name in enumerate(genes.contigs):
        contig = _listed(genes, fasta, name) or fasta.resolve(name) or fasta.resolve(genes.aliases.get(name, name))
        # An accession says its assembly, whatever name it was found by; resolve() has refused what it alone led to.
        held = contig or fasta.resolve(chromosome_of(name) or "")
        conflict = None if held is None else other_assembly(name, fasta.contigs[held])
        wrong = wrong or conflict or ""
        if contig is None or conflict:
            missing.append(code)
        else:
            found.setdefault(contig, []).append(code)
    if not found:
        raise InputError(
            f"{genes.source}: none of its contigs ({', '.join(genes.contigs[:3])}, ...) is in {fasta.name} "
            f"({', '.join(list(fasta.contigs)[:3])}, ...){f': {wrong}' if wrong else ''}; use the annotation of this "
            "assembly, or give a table of contig names (chrom_aliases)"
        )
    lost = [code for code in missing if genes.contigs[code].startswith("NC_")]
    if lost:
        count = int(np.isin(genes.contig, lost).sum())
        log.warning(
            "%s: %d gene%s on %s left out, %s has no such contig%s",
            genes.source,
            count,
            "" if count == 1 else "s",
            ", ".join(genes.contigs[code] for code in lost[:3]) + (", ..." if len(lost) > 3 else ""),
            fasta.name,
            f" ({wrong})" if wrong else "; a table of contig names (chrom_aliases) may know it",
        )
    return found


def _listed(genes: Genes, fasta: Fasta, name: str) -> str | None:
    """Return the contig of the genome that a table of names gives."""
    if genes.contig_names is None:
        return None
    others = dict.fromkeys(fasta.resolve(other) for other in genes.contig_names.others(name))
    held = [contig for contig in others if contig is not None]
    if len(held) > 1:
        raise InputError(
            f"{genes.contig_names.source}: {name} is {' and '.join(held[:2])} of {fasta.name}; one contig is needed"
        )
    return held[0] if held else None


@dataclass(frozen=True)
class GeneBins:
    """The bins of one gene and region.

    Attributes
    ----------
    region : Region
    gene : Gene
    bins : tuple of pairs of int64 ndarray
        Bins of the output in the array of REF and in that of ALT, for each pair of arrays.
    covered_fraction : float
        Share of the region's bases that the output window holds.
    """

    region: Region
    gene: Gene
    bins: tuple[tuple[IndexArray, IndexArray], ...]
    covered_fraction: float

    @property
    def range(self) -> tuple[int, int]:
        """Smallest range that holds all bins."""
        held = np.concatenate([bins for pair in self.bins for bins in pair])
        return int(held.min()), int(held.max()) + 1


_Bins = TypeVar("_Bins", GeneBins, SiteBins)


def genes_of(
    finder: GeneFinder,
    variant: Variant,
    region: Region,
    frames: Sequence[tuple[Frame, Frame]],
    *,
    window_start: int,
    geometry: Geometry,
    rule: str,
    mode: str,
    moved_bp: int,
) -> list[GeneBins]:
    """Return the genes that have bins of a region in the output, in both alleles; for ``nearest`` one at most."""
    start = window_start + geometry.crop_bp
    reach = (region.width_bp or 0) // 2 + moved_bp + geometry.bin_size_bp
    end = start + geometry.bins * geometry.bin_size_bp
    found = []
    for gene in finder.near(variant.chrom, start - reach, end + reach):
        intervals = intervals_of(gene, region, window=(start, end), variant=overlapped(variant))
        if not len(intervals):
            continue
        bins = tuple((ref.bins(intervals, rule, geometry), alt.bins(intervals, rule, geometry)) for ref, alt in frames)
        if all(len(part) for pair in bins for part in pair):
            found.append(GeneBins(region, gene, bins, covered_fraction(intervals, window_start, geometry)))
    return nearest(found, variant) if mode == "nearest" else found


def overlapped(variant: Variant) -> tuple[int, int]:
    """Return the bases of a variant, [start, end), as AlphaGenome has them: those of REF, or as many as ALT has."""
    start = variant.pos - 1
    return start, start + max(len(variant.ref), len(variant.alt))


def nearest(found: Sequence[_Bins], variant: Variant) -> list[_Bins]:
    """Return the item whose gene is nearest to a variant; none of none."""
    return [min(found, key=lambda item: _distance(variant, item.gene))] if found else []


def _distance(variant: Variant, gene: Gene) -> tuple[int, int, str]:
    """Return bp between a variant and the span of a gene, then to its TSS, then what makes the order total."""
    first, last = variant.pos - 1, variant.pos - 2 + len(variant.ref)
    start, end = gene.span
    return max(start - last, first - end + 1, 0), abs(gene.tss - first), gene.id


class GeneScorer:
    """The scores of the genes of one variant, from its prediction.

    Parameters
    ----------
    prediction : AllelePrediction
        The bins of all genes; all bins of the window where profiles are compared.
    merge : MergePlan or None
        How strands make rows.
    strand_order : str
        When the strands are joined for a gene without strand.
    turned : bool
        Whether REF and ALT are exchanged.
    """

    def __init__(
        self, prediction: AllelePrediction, merge: MergePlan | None, strand_order: str, *, turned: bool
    ) -> None:
        self._first_bin = prediction.first_bin
        self._ref, self._alt = prediction.ref, prediction.alt
        if turned:
            self._ref, self._alt = self._alt, self._ref
        self._turned = turned
        self._merge, self._order = merge, strand_order
        self._quartiles: dict[tuple[str, int, str], DoubleArray] = {}

    def score(self, item: GeneBins, statistics: Mapping[str, Statistic]) -> dict[str, FloatArray]:
        """Return float32 (rows,) of each statistic."""
        early, late = self._joining(item.gene.strand)
        found: list[dict[str, DoubleArray]] = []
        for number, (ref_bins, alt_bins) in enumerate(item.bins):
            both = (alt_bins, ref_bins) if self._turned else (ref_bins, alt_bins)

            def pseudo(scale: str, pair: int = number) -> DoubleArray:
                return self._quartile(item.gene.strand, pair, scale, early)

            scores: dict[str, DoubleArray] = {}
            for binwise in (False, True):
                some = {name: held for name, held in statistics.items() if held.binwise == binwise}
                if some:
                    # What compares bin with bin takes the same bins of both alleles.
                    bins = (np.union1d(*both),) * 2 if binwise else both
                    ref, alt = (
                        self._cut(values, number, part)
                        for values, part in zip((self._ref, self._alt), bins, strict=True)
                    )
                    scores |= mean_scores(ref, alt, statistics=some, early=early, pseudo=pseudo)
            found.append(scores)
        means = {name: np.mean([scores[name] for scores in found], axis=0) for name in statistics}
        return finish_scores(means, statistics, late, None)

    def score_sites(
        self, item: SiteBins, statistics: Mapping[str, SiteSplit], *, pseudo: float, min_coverage: float
    ) -> tuple[dict[str, FloatArray], str]:
        """Return float32 (rows,) of each statistic that the gene has bins for, and in words where its sites part."""
        early, late = self._joining(item.gene.strand)
        plan = late or early
        sums = {layout: self._site_sums(pairs, plan, item.range) for layout, pairs in item.layouts.items()}
        scores: dict[str, FloatArray] = {}
        where: dict[str, str] = {}
        for name, statistic in statistics.items():
            if statistic.layout not in sums:
                continue
            values, said = site_score(
                statistic,
                *sums[statistic.layout],
                pseudo=pseudo,
                min_coverage=min_coverage,
                labels=item.labels.get(statistic.layout, ()),
            )
            scores[name] = values.astype(np.float32)
            if said:
                where.setdefault(said, name)
        # One statistic and its signed form part at the same site: it is said once, with a name where there are several.
        texts = list(where) if len(where) == 1 else [f"{name}: {said}" for said, name in where.items()]
        return scores, ", ".join(texts)

    def _site_sums(
        self, pairs: Sequence[Sides], plan: MergePlan | None, span: tuple[int, int]
    ) -> tuple[DoubleArray, DoubleArray]:
        """Return the coverage of REF and ALT over each side, float64 (rows, sides), mean over pairs of arrays."""
        low, high = (edge - self._first_bin for edge in span)
        sums = []
        for side, values in enumerate((self._ref, self._alt)):
            parts = []
            for number, sides in enumerate(pairs):
                rows = joined_rows(values[number : number + 1, :, low:high], slice(None), plan)[0]
                own = [pair[side ^ int(self._turned)] for pair in sides]
                edges = [(start - self._first_bin - low, end - self._first_bin - low) for start, end in own]
                parts.append(np.stack([rows[:, start:end].sum(axis=1) for start, end in edges], axis=1))
            sums.append(np.mean(parts, axis=0))
        return sums[0], sums[1]

    def coverage(self, item: GeneBins) -> tuple[FloatArray, FloatArray]:
        """Return the sums of coverage of REF and ALT over the bins of a gene, float32 (rows,), mean over pairs."""
        early, late = self._joining(item.gene.strand)
        plan = late or early
        sums = []
        for values, side in ((self._ref, int(self._turned)), (self._alt, int(not self._turned))):
            parts = [
                joined_rows(self._cut(values, number, pair[side]), slice(None), plan).sum(axis=-1)[0]
                for number, pair in enumerate(item.bins)
            ]
            sums.append(np.mean(parts, axis=0).astype(np.float32))
        return sums[0], sums[1]

    def _joining(self, strand: str) -> tuple[MergePlan | None, MergePlan | None]:
        """Return what makes rows before the statistic, and what joins them after it."""
        merge = self._merge
        if merge is None:
            return None, None
        if strand == ".":
            return (merge, None) if self._order == "before" else (None, merge)
        tracks = merge.first if strand == "+" else merge.second
        return MergePlan(tracks, tracks), None

    def _cut(self, values: FloatArray, pair: int, bins: IndexArray) -> FloatArray:
        inner = bins - self._first_bin
        whole = int(inner[-1]) - int(inner[0]) + 1 == len(inner)
        return values[pair : pair + 1, :, inner[0] : inner[-1] + 1] if whole else values[pair : pair + 1][:, :, inner]

    def _quartile(self, strand: str, pair: int, scale: str, early: MergePlan | None) -> DoubleArray:
        """Return the 25th percentile of R over all bins of the window, (1, rows, 1)."""
        key = (strand, pair, scale)
        if key not in self._quartiles:
            values = self._ref[pair : pair + 1]
            rows = values.shape[1] if early is None else len(early)
            step = max(1, _BLOCK_BYTES // (8 * values.shape[2]))
            parts = [
                quartile(scaled(joined_rows(values, slice(start, start + step), early), scale))
                for start in range(0, rows, step)
            ]
            self._quartiles[key] = np.concatenate(parts, axis=1)
        return self._quartiles[key]
