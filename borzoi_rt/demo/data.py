"""A synthetic genome and a VCF whose causal and neutral variants are known, because the grammar says what they do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..genome.fasta import write_fasta
from ..genome.variants import Variant
from ..motifs.files import write_meme
from ..motifs.matrices import Motif
from ..sequence import encode
from .grammar import MOTIFS, ONE_MISMATCH, plant, promoters, reverse_complement

CONTIGS = {"synthA": 150_000, "synthB": 150_000}
SEED = 7
# Every neutral variant has a causal partner at the same distance from a start of transcription: the distance alone
# tells nothing. Those in motifs lie where the motif does nothing or the change makes no difference: telling them from
# causal ones needs the grammar and not only its words.
CLASSES = {"causal": 300, "neutral in motif": 75, "neutral elsewhere": 225}
NEAR_BP = 150  # all variants; no causal change of a promoter lies farther from its start of transcription
MATCH_BP = 5  # a pair's distances differ by at most this: a change of the first base has no neutral one beside it
_DRAWS = 24_000
# Causal: at least this log2 fold change of the summed strength of the promoters around. Smaller changes are no
# variants of the demo at all. The pseudo-strength is that of the weakest working promoter without a silencer.
CAUSAL_LOG2_FOLD = 0.5
PSEUDO_STRENGTH = ONE_MISMATCH
_REACH_BP = 400  # more than a planted block: no motif farther away can take part
_EXONS = ((0, 300), (500, 900))  # of every gene, in bp from its TSS
_PROBABILITY = 0.97  # of the letter of a word: by chance 1e-4 at a position a scan finds the word and no other
_MARGIN_BP = 5000  # from the ends of a contig, so that windows hold no unknown bases


@dataclass(frozen=True, slots=True)
class PlantedVariant:
    """A variant with its truth.

    Attributes
    ----------
    variant : Variant
        The alleles.
    site : str
        Motif of which the alleles hold different numbers of words, working or not, or ``background``.
    log2_fold : float
        Summed strength of the promoters around, ALT over REF.
    tss : int
        0-based start of transcription, of the reference, that is nearest.
    tss_distance_bp : int
        From the bases that change to ``tss``; 0 where they hold it.
    """

    variant: Variant
    site: str
    log2_fold: float
    tss: int
    tss_distance_bp: int

    @property
    def causal(self) -> bool:
        """Whether the variant changes expression."""
        return self.log2_fold != 0.0

    @property
    def motif_changed(self) -> bool:
        """Whether the variant breaks a motif, or makes one."""
        return self.site != "background"

    @property
    def kind(self) -> str:
        """One of ``CLASSES``."""
        if self.causal:
            return "causal"
        return "neutral in motif" if self.motif_changed else "neutral elsewhere"


def write_genes(path: Path, genome: dict[str, str]) -> int:
    """Write a gene of two exons behind every active promoter of a genome as GTF; return how many there are.

    The gene of the first promoter of ``synthA`` is ``synthA_1``, whatever its strand. Its first exon begins at the
    start of transcription, where CAGE and RNA of its strand are.
    """
    lines = []
    for name, chrom, tss, strand in _starts(genome):
        for part, (near, far) in enumerate(_EXONS, start=1):
            low, high = (tss + near, tss + far) if strand == "+" else (tss - far + 1, tss - near + 1)
            low, high = max(low, 0), min(high, len(genome[chrom]))
            if low < high:
                text = f'gene_id "{name}"; gene_type "protein_coding"; exon_number {part};'
                lines.append(f"{chrom}\tdemo\texon\t{low + 1}\t{high}\t.\t{strand}\t.\t{text}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return len({line.split('"')[1] for line in lines})


def _starts(genome: dict[str, str]) -> Iterator[tuple[str, str, int, str]]:
    """Yield name, contig, 0-based start of transcription and strand of every active promoter."""
    for chrom, sequence in genome.items():
        starts = sorted({(promoter.tss, promoter.strand) for promoter in promoters(sequence)})
        for number, (tss, strand) in enumerate(starts, start=1):
            yield f"{chrom}_{number}", chrom, tss, strand


def write_motifs(path: Path) -> None:
    """Write the words of the grammar as motifs (MEME): ``_PROBABILITY`` for the letter of the word, the rest shared."""
    other = (1.0 - _PROBABILITY) / 3.0
    write_meme(path, [Motif(name, np.where(encode(word) > 0, _PROBABILITY, other)) for name, word in MOTIFS.items()])


def _write_starts(path: Path, genome: dict[str, str]) -> None:
    rows = [f"{chrom}\t{tss}\t{tss + 1}\t{name}\t0\t{strand}\n" for name, chrom, tss, strand in _starts(genome)]
    path.write_text("".join(rows), encoding="utf-8")


def write_demo_data(folder: Path, *, seed: int = SEED) -> tuple[Path, Path, list[PlantedVariant]]:
    """Write ``genome.fa`` with its index, ``variants.vcf`` and ``truth.tsv``; return the first two paths and the truth.

    ``genes.gtf`` beside them has a gene behind every promoter, ``tss.bed`` its start of transcription (named as the
    gene), and ``motifs.meme`` the words of the grammar.

    Half of the variants are causal, see ``CLASSES``; the neutral ones are matched to them by distance to the nearest
    start of transcription.
    """
    generator = np.random.default_rng(seed)
    genome = {name: plant(generator, length) for name, length in CONTIGS.items()}
    fasta = folder / "genome.fa"
    write_fasta(fasta, genome)
    write_genes(folder / "genes.gtf", genome)
    _write_starts(folder / "tss.bed", genome)
    write_motifs(folder / "motifs.meme")
    planted = _choose(generator, genome)
    vcf = folder / "variants.vcf"
    _write_vcf(vcf, genome, planted)
    lines = ["chrom\tpos\tref\talt\tclass\tsite\tlog2_fold\ttss_distance_bp"]
    for item in planted:
        v = item.variant
        known = f"{item.kind}\t{item.site}\t{item.log2_fold:.3f}\t{item.tss_distance_bp}"
        lines.append(f"{v.chrom}\t{v.pos}\t{v.ref}\t{v.alt}\t{known}")
    (folder / "truth.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return fasta, vcf, planted


def _choose(generator: np.random.Generator, genome: dict[str, str]) -> list[PlantedVariant]:
    """Draw candidates and pair them by distance, neutral ones in motifs first, since these are rare."""
    pools = _pools(generator, genome)
    free = pools["causal"]
    chosen: list[PlantedVariant] = []
    for kind in ("neutral in motif", "neutral elsewhere"):
        drivers, partners = (pools[kind], free) if kind == "neutral in motif" else (free, pools[kind])
        pairs = _pairs(drivers, partners, CLASSES[kind])
        chosen += [item for pair in pairs for item in pair]
        taken = {item.variant for item in chosen}
        free = [item for item in free if item.variant not in taken]
    return sorted(chosen, key=lambda item: (item.variant.chrom, item.variant.pos, item.variant.ref, item.variant.alt))


def _pools(generator: np.random.Generator, genome: dict[str, str]) -> dict[str, list[PlantedVariant]]:
    """Draw candidates near starts of transcription by kind; those in between (a weak change) are passed over."""
    pools: dict[str, list[PlantedVariant]] = {kind: [] for kind in CLASSES}
    sites = {chrom: _motif_sites(sequence) for chrom, sequence in genome.items()}
    starts = {
        chrom: np.array(sorted({promoter.tss for promoter in promoters(sequence)}))
        for chrom, sequence in genome.items()
    }
    seen: set[Variant] = set()
    for variant in itertools.islice(_candidates(generator, genome, sites, starts), _DRAWS):
        tss, distance = nearest_tss(starts[variant.chrom], variant)
        if variant in seen or distance > NEAR_BP:
            continue
        seen.add(variant)
        sequence = genome[variant.chrom]
        fold = log2_fold(sequence, variant)
        if fold == 0.0 or abs(fold) >= CAUSAL_LOG2_FOLD:
            item = PlantedVariant(variant, site_of(sequence, variant), fold, tss, distance)
            pools[item.kind].append(item)
    return pools


def _pairs(
    drivers: list[PlantedVariant], partners: list[PlantedVariant], count: int
) -> list[tuple[PlantedVariant, PlantedVariant]]:
    """Give each driver in turn the free partner nearest in distance; without one in ``MATCH_BP`` it is left out."""
    distances = np.array([item.tss_distance_bp for item in partners], dtype=np.float64)
    pairs: list[tuple[PlantedVariant, PlantedVariant]] = []
    for driver in drivers:
        gaps = np.abs(distances - driver.tss_distance_bp)
        best = int(gaps.argmin())
        if gaps[best] <= MATCH_BP:
            pairs.append((driver, partners[best]))
            distances[best] = np.inf
        if len(pairs) == count:
            return pairs
    raise AssertionError(f"{len(pairs)} pairs of {count}; more candidates are needed")


def _candidates(
    generator: np.random.Generator,
    genome: dict[str, str],
    sites: dict[str, dict[str, np.ndarray]],
    starts: dict[str, np.ndarray],
) -> Iterator[Variant]:
    """Yield variants without end: half in a motif, half near a start of transcription; one in five a short deletion."""
    names, motifs = list(genome), list(MOTIFS)
    while True:
        chrom = names[int(generator.integers(len(names)))]
        sequence = genome[chrom]
        if generator.random() < 0.5:
            motif = motifs[int(generator.integers(len(motifs)))]
            found = sites[chrom][motif]
            start = int(found[generator.integers(len(found))] + generator.integers(len(MOTIFS[motif])))
        else:
            start = int(generator.choice(starts[chrom]) + generator.integers(-NEAR_BP, NEAR_BP + 1))
        if not _MARGIN_BP <= start < len(sequence) - _MARGIN_BP:
            continue
        if generator.random() < 0.2:
            width = int(generator.integers(1, 5))
            yield Variant(chrom, start, sequence[start - 1 : start + width], sequence[start - 1])
        else:
            others = [base for base in "ACGT" if base != sequence[start]]
            yield Variant(chrom, start + 1, sequence[start], others[int(generator.integers(3))])


def nearest_tss(starts: np.ndarray, variant: Variant) -> tuple[int, int]:
    """Return the one of ``starts`` (0-based) nearest to the bases that a substitution or deletion changes, and how far.

    The distance is in bp, 0 where one of these bases is the start.
    """
    first = variant.pos - 1 + (1 if len(variant.ref) > 1 else 0)  # a deletion keeps the base it is anchored at
    last = variant.pos - 2 + len(variant.ref)
    distances = np.maximum(np.maximum(first - starts, starts - last), 0)
    best = int(distances.argmin())
    return int(starts[best]), int(distances[best])


def site_of(sequence: str, variant: Variant) -> str:
    """Return the first motif of which ALT holds more or fewer words than REF, on either strand, or ``background``."""
    start, end = variant.pos - 1, variant.pos - 1 + len(variant.ref)
    reach = max(map(len, MOTIFS.values())) - 1
    left, right = sequence[max(0, start - reach) : start], sequence[end : end + reach]
    ref, alt = (_motif_sites(left + allele + right) for allele in (variant.ref, variant.alt))
    return next((name for name in MOTIFS if len(ref[name]) != len(alt[name])), "background")


def _motif_sites(sequence: str) -> dict[str, np.ndarray]:
    """Return the starts of every exact motif, both strands."""
    sites = {}
    for name, motif in MOTIFS.items():
        found: list[int] = []
        for word in (motif, reverse_complement(motif)):
            start = sequence.find(word)
            while start >= 0:
                found.append(start)
                start = sequence.find(word, start + 1)
        sites[name] = np.array(sorted(found))
    return sites


def log2_fold(sequence: str, variant: Variant) -> float:
    """Return log2 of the summed strength of the promoters around a variant, ALT over REF, by the grammar."""
    start, end = variant.pos - 1, variant.pos - 1 + len(variant.ref)
    left, right = sequence[max(0, start - _REACH_BP) : start], sequence[end : end + _REACH_BP]
    ref, alt = (
        sum(promoter.strength for promoter in promoters(left + allele + right)) for allele in (variant.ref, variant.alt)
    )
    return math.log2((alt + PSEUDO_STRENGTH) / (ref + PSEUDO_STRENGTH))


def _write_vcf(path: Path, genome: dict[str, str], planted: list[PlantedVariant]) -> None:
    lines = ["##fileformat=VCFv4.3", *(f"##contig=<ID={name},length={len(text)}>" for name, text in genome.items())]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for number, item in enumerate(planted):
        v = item.variant
        lines.append(f"{v.chrom}\t{v.pos}\tdemo{number:03d}\t{v.ref}\t{v.alt}\t.\t.\t.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
