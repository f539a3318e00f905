"""Scores of genes: which there are, their bins and strands, their formulas, and the laws they keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from oracles import genes as gene_oracle
from oracles import statistics as oracle

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.genes import Genes
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.scoring.stream import score_variants

# The toy model reads 2,048 bp and gives 32 bins of 32 bp: the output of a variant at POS is [POS - 512, POS + 512).
POS = 6000
TEXT = worlds.random_dna(12000, seed=9)
STRANDS = [(0, 1), (3, 2), (4, 4), (5, 5)]  # rows: cage+/-, rna+/-, dnase, chip
GENES = {
    "PLUS": ("1", "+", [(5700, 5750), (5900, 6100)]),
    "MINUS": ("1", "-", [(5850, 5860), (6300, 6600)]),
    "NOWHERE": ("1", ".", [(5600, 5700)]),
    "FAR": ("1", "+", [(9000, 9100)]),
    "OTHER": ("2", "+", [(5900, 6100)]),
}
SNV = Variant("1", POS, TEXT[POS - 1], "ACGT"[("ACGT".index(TEXT[POS - 1]) + 1) % 4])


def annotation(path: Path, genes: dict[str, tuple[str, str, list[tuple[int, int]]]]) -> Genes:
    """Write intervals [start, end) as a GTF and read it."""
    rows = [
        f'{chrom}\tx\texon\t{start + 1}\t{end}\t.\t{strand}\t.\tgene_id "{name}"; gene_name "N{name}"; '
        f'gene_type "t{chrom}";'
        for name, (chrom, strand, exons) in genes.items()
        for start, end in exons
    ]
    path.write_text("\n".join(rows) + "\n")
    return read_genes(path)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT, "chr2": TEXT}))


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Genes:
    return annotation(tmp_path_factory.mktemp("genes") / "toy.gtf", GENES)


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def result(
    bundle: Bundle,
    genome: Fasta,
    genes: Genes | None,
    variant: Variant,
    weights: np.ndarray | None = None,
    **choices: Any,
) -> ScoredVariant:
    options = ScoreOptions.for_family(**choices)
    session = ArraySession(bundle.geometry, worlds.WEIGHTS if weights is None else weights)
    (found,) = score_variants([variant], bundle=bundle, fasta=genome, options=options, session=session, genes=genes)
    return found


def parts(found: ScoredVariant) -> dict[tuple[str, str], RegionScores]:
    assert found.status in ("ok", "flipped", "ref_edited"), (found.status, found.detail)
    return {(part.gene, part.region): part for part in found.regions}


def coverage(variant: Variant | None) -> np.ndarray:
    """Coverage of the toy window around POS, (tracks, bins), counted from the text."""
    text = (
        TEXT if variant is None else TEXT[: variant.pos - 1] + variant.alt + TEXT[variant.pos - 1 + len(variant.ref) :]
    )
    start = POS - 512
    bins = [text[start + 32 * number : start + 32 * (number + 1)] for number in range(32)]
    counts = np.array([[piece.count(base) for base in "ACGT"] for piece in bins], dtype=np.float64)
    return worlds.WEIGHTS @ counts.T


@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("rule", ["overlap", "half"])
@pytest.mark.parametrize("region", ["exons", "span", "tss:100"])
def test_every_statistic_is_that_of_the_bins_of_the_gene(
    bundle: Bundle, genome: Fasta, genes: Genes, family: str, rule: str, region: str
) -> None:
    """Rows of a pair are scored by the strand of the gene; profiles have the percentile of the whole window."""
    stats = tuple(oracle.FAMILIES[family])
    found = parts(
        result(
            bundle, genome, genes, SNV, family=family, bin_rule=rule, stats=tuple(f"{name}@{region}" for name in stats)
        )
    )
    names = ["NOWHERE", "PLUS", "MINUS"]  # the TSS of MINUS, 6599, lies beyond the output
    assert [gene for gene, _ in found] == (names[:2] if region == "tss:100" else names)
    ref, alt = coverage(None), coverage(SNV)
    for name, (_, strand, exons) in GENES.items():
        if (name, region) not in found:
            continue
        tss = exons[-1][1] - 1 if strand == "-" else exons[0][0]
        intervals = {"exons": exons, "span": [(exons[0][0], exons[-1][1])]}.get(region, [(tss - 50, tss + 50)])
        start = POS - 512
        content = [list(range(start + 32 * number, start + 32 * (number + 1))) for number in range(32)]
        bins = (
            gene_oracle.overlap(content, intervals) if rule == "overlap" else gene_oracle.half(start, 32, 32, intervals)
        )
        for stat in stats:
            got = found[name, region].scores[stat]
            for row, (first, second) in enumerate(STRANDS):
                both = {"+": [first], "-": [second], ".": list(dict.fromkeys((first, second)))}[strand]
                if family == "sad":
                    values = [one(stat, family, ref[both].sum(0), alt[both].sum(0), bins)]
                else:
                    values = [one(stat, family, ref[track], alt[track], bins) for track in both]
                want = np.hypot(*values) if stat in oracle.ROOT_OF_SQUARES and len(values) == 2 else sum(values)
                assert_allclose(got[row], want, rtol=1e-6, atol=1e-7, err_msg=f"{name} {stat} row {row}")


def one(stat: str, family: str, ref: np.ndarray, alt: np.ndarray, bins: list[int]) -> float:
    """One track by the oracle."""
    inner = list(ref[bins]), list(alt[bins])
    log = [np.log2(values + 1) for values in (ref, alt)]
    pseudo, log_pseudo = oracle.percentile_25(list(ref)), oracle.percentile_25(list(log[0]))
    if stat in ("JS", "logJS"):
        both = inner if stat == "JS" else (list(log[0][bins]), list(log[1][bins]))
        p, q = oracle.profiles(*both, pseudo if stat == "JS" else log_pseudo)
        return sum((a - b) * np.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    if stat == "nDi_signed":
        return oracle.profile_extreme(*inner, pseudo)
    if stat in ("nD1", "nD2", "nDi"):
        return oracle.profile_distance(*inner, {"nD1": 1, "nD2": 2, "nDi": 0}[stat], pseudo)
    return oracle.FAMILIES[family][stat](*inner)


def test_strands_kept_apart_are_all_scored(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    apart = parts(result(bundle, genome, genes, SNV, stats=("SUM@exons",), merge_strands=False))
    merged = parts(result(bundle, genome, genes, SNV, stats=("SUM@exons",)))
    for gene, strand in (("PLUS", 0), ("MINUS", 1)):
        values = apart[gene, "exons"].scores["SUM"]
        assert_array_equal(merged[gene, "exons"].scores["SUM"], values[[pair[strand] for pair in STRANDS]])
    values = apart["NOWHERE", "exons"].scores["SUM"]
    assert_array_equal(merged["NOWHERE", "exons"].scores["SUM"][:2], values[[0, 3]] + values[[1, 2]])


@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("merge", [True, False])
def test_a_gene_that_covers_the_window_scores_as_the_window(
    bundle: Bundle, genome: Fasta, tmp_path: Path, family: str, merge: bool
) -> None:
    """A gene without strand takes both; where strands are kept apart, any gene does."""
    genes = annotation(tmp_path / "a.gtf", {"ALL": ("1", "+" if not merge else ".", [(0, 12000)])})
    stats = tuple(oracle.FAMILIES[family])
    names = (*stats, *(f"{name}@{region}" for name in stats for region in ("exons", "span")))
    for variant in (
        SNV,
        Variant("1", POS, TEXT[POS - 1 : POS + 4], TEXT[POS - 1]),
        Variant("1", POS, TEXT[POS - 1], TEXT[POS - 1] + "ACG"),
    ):
        found = parts(result(bundle, genome, genes, variant, family=family, stats=names, merge_strands=merge))
        for name in stats:
            for region in ("exons", "span"):
                assert_array_equal(found["ALL", region].scores[name], found[".", "window"].scores[name], err_msg=name)
        assert found["ALL", "exons"].covered_fraction == pytest.approx(1024 / 12000)


POLICIES = ["stitch", "average", "centre_trim", "none"]
BLANK = "T" * 12000
EDITS = {
    "deletion": ("T" * 6, "T"),
    "long deletion": ("T" * 75, "T"),
    "insertion": ("T", "TAAAA"),
    "long insertion": ("T", "T" + "A" * 90),
    "complex": ("TTTT", "CA"),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("edge_fill", ["genome", "pad"])
@pytest.mark.parametrize("shifts", [(0,), (0, 1, -1)])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_indels_beside_exons_leave_their_coverage_whole(
    bundle: Bundle, tmp_path: Path, policy: str, edge_fill: str, shifts: tuple[int, ...], edit: tuple[str, str]
) -> None:
    """G stands in exons alone, and only G is counted: an indel outside them changes nothing.

    Every exon fills bins of REF to their edges, so that bins of another frame would lose some. `borzoi_sed` takes the
    same bins for both alleles, those of deletions |k| bp too far right: that is not followed.
    """
    start = POS - 512
    exons = [
        (start + 32 * 4, start + 32 * 6),
        (start + 32 * 9, start + 32 * 9 + 33),
        (start + 32 * 24 - 1, start + 32 * 27),
    ]
    letters = list(BLANK)
    for low, high in exons:
        letters[low:high] = "G" * (high - low)
    genome = Fasta(worlds.write_fasta(tmp_path / "toy.fa", {"chr1": "".join(letters)}))
    genes = annotation(tmp_path / "a.gtf", {"G": ("chr1", "+", exons)})
    weights = np.zeros((6, 4))
    weights[:, 2] = 1.0
    variant = Variant("chr1", POS, *edit)
    options = {"indel": policy, "edge_fill": edge_fill, "shifts": shifts, "stats": ("SUM@exons",), "with_alleles": True}
    found = parts(result(bundle, genome, genes, variant, weights, merge_strands=False, **options))["G", "exons"]
    total = sum(high - low for low, high in exons)
    slack = 2 if len(shifts) > 1 else 0  # a base each way may leave the bins, which a shift does not move
    assert found.coverage is not None
    for values in found.coverage:
        assert_allclose(values, total, atol=slack)
    assert_allclose(found.scores["SUM"], 0.0, atol=slack)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_records_whose_alt_the_genome_holds(bundle: Bundle, tmp_path: Path, policy: str, edit: tuple[str, str]) -> None:
    """Annotations are of the genome: where it holds ALT, exons right of the variant are moved in REF, not in ALT."""
    ref, alt = edit
    start = POS - 512
    exons = [(start + 32 * 4, start + 32 * 6), (start + 32 * 24, start + 32 * 27)]
    letters = list(BLANK)
    letters[POS - 1 : POS - 1 + len(ref)] = list(alt.ljust(len(ref), "T"))
    if len(alt) > len(ref):
        letters[POS - 1 : POS - 1 + len(alt)] = list(alt)
    letters[POS - 1 + len(alt)] = "C"  # so that a deletion's REF is not there
    for low, high in exons:
        letters[low:high] = "G" * (high - low)
    genome = Fasta(worlds.write_fasta(tmp_path / "toy.fa", {"chr1": "".join(letters)}))
    genes = annotation(tmp_path / "a.gtf", {"G": ("chr1", "+", exons)})
    weights = np.zeros((6, 4))
    weights[:, 2] = 1.0
    how: dict[str, Any] = {"indel": policy, "stats": ("SUM@exons",), "with_alleles": True}
    variant = Variant("chr1", POS, ref, alt)
    for ref_policy, status in (("edit", "ref_edited"), ("flip", "flipped")):
        ways = {"ref_policy": ref_policy, "flip_deletions": ref_policy == "flip"}
        scored = result(bundle, genome, genes, variant, weights, **ways, **how)
        if scored.status == "ok":  # the genome holds REF too
            continue
        assert scored.status == status
        found = parts(scored)["G", "exons"]
        assert found.coverage is not None
        assert_allclose(np.stack(found.coverage)[:, 2:], 5 * 32)


def test_a_flipped_record_scores_the_opposite_change(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    stats = tuple(f"{name}@{region}" for name in (*oracle.SIGNED, *oracle.SYMMETRIC) for region in ("exons", "span"))
    for variant in (SNV, Variant("1", POS, TEXT[POS - 1], TEXT[POS - 1] + "ACG")):
        straight = parts(result(bundle, genome, genes, variant, stats=stats, with_alleles=True))
        turned = Variant("1", POS, variant.alt, variant.ref)
        found = parts(
            result(
                bundle, genome, genes, turned, stats=stats, ref_policy="flip", flip_deletions=True, with_alleles=True
            )
        )
        for key, part in straight.items():
            for name in part.scores:
                sign = -1 if name in oracle.SIGNED else 1
                assert_array_equal(found[key].scores[name], sign * part.scores[name], err_msg=f"{key} {name}")
            assert part.coverage is not None
            assert found[key].coverage is not None
            assert_array_equal(found[key].coverage[::-1], part.coverage)


def test_a_null_variant_scores_zero_and_slices_commute(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    stats = tuple(f"{name}@exons" for name in oracle.COMMON)
    null = parts(result(bundle, genome, genes, Variant("1", POS, TEXT[POS - 1], TEXT[POS - 1]), stats=stats))
    assert all(
        not values.any()
        for part in null.values()
        for name, values in part.scores.items()
        if name not in oracle.ACTIVITY
    )
    every = parts(result(bundle, genome, genes, SNV, stats=stats))
    for choice, kept in (
        ({"gene_names": ("MINUS",)}, ["MINUS"]),
        ({"gene_names": ("NPLUS", "NOWHERE")}, ["NOWHERE", "PLUS"]),
        ({"gene_types": ("t1",)}, ["NOWHERE", "PLUS", "MINUS"]),
    ):
        some = parts(result(bundle, genome, genes, SNV, stats=stats, **choice))
        assert [gene for gene, _ in some] == kept
        for key, part in some.items():
            for name, values in part.scores.items():
                assert_array_equal(values, every[key].scores[name])
    sliced = parts(result(bundle, genome, genes, SNV, stats=stats, tracks="rna+,rna-"))
    for key, part in sliced.items():
        for name, values in part.scores.items():
            assert_array_equal(values, every[key].scores[name][[1]])


def test_the_nearest_gene(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """PLUS holds the variant, and so does the span of MINUS, whose TSS is farther; further left NOWHERE is nearer."""

    def nearest(variant: Variant, region: str) -> list[str]:
        found = result(bundle, genome, genes, variant, stats=(f"SUM@{region}",), gene_mode="nearest")
        return [part.gene for part in found.regions]

    assert nearest(SNV, "exons") == ["PLUS"]
    assert nearest(SNV, "span") == ["PLUS"]
    left = Variant("1", 5650, TEXT[5649], "ACGT"[("ACGT".index(TEXT[5649]) + 1) % 4])
    assert nearest(left, "exons") == ["NOWHERE"]
    right = Variant("1", 6700, TEXT[6699], "ACGT"[("ACGT".index(TEXT[6699]) + 1) % 4])
    assert nearest(right, "exons") == ["MINUS"]


def test_a_variant_without_a_gene(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """Gene scores have a status of their own; window scores are there all the same, and they come first."""
    lonely = Variant("1", 2000, TEXT[1999], "ACGT"[("ACGT".index(TEXT[1999]) + 1) % 4])
    alone = result(bundle, genome, genes, lonely, stats=("SUM@exons", "D2@span"))
    assert (alone.status, alone.regions) == ("no_gene", ())
    assert alone.detail == "no gene has exons or span in the output window; scored as chr1"
    named = result(bundle, genome, genes, lonely, stats=("SUM@exons",), gene_names=("PLUS",))
    assert named.detail == "none of the genes asked for (PLUS) has exons in the output window; scored as chr1"
    both = result(bundle, genome, genes, lonely, stats=("SUM@exons", "SUM"))
    assert both.status == "ok"
    assert [(part.region, part.status, bool(part.scores)) for part in both.regions] == [
        ("window", None, True),
        ("exons", "no_gene", False),
    ]
    assert_array_equal(both.scores["SUM"], result(bundle, genome, None, lonely, stats=("SUM",)).scores["SUM"])  # type: ignore[index]


def test_an_intron_has_a_span_but_no_exons(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    genes = annotation(tmp_path / "a.gtf", {"LONG": ("1", "+", [(3000, 3100), (9000, 9100)])})
    found = result(bundle, genome, genes, SNV, stats=("SUM@exons", "SUM@span"))
    assert [(part.gene, part.region, part.status) for part in found.regions] == [
        ("LONG", "span", None),
        (".", "exons", "no_gene"),
    ]
    assert found.regions[0].covered_fraction == pytest.approx(1024 / 6100)


def test_only_the_bins_of_the_genes_are_predicted(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    asked: list[tuple[int, int] | None] = []

    class Watching(ArraySession):
        def run(self, *given: Any, bins: tuple[int, int] | None = None, **more: Any) -> np.ndarray:
            asked.append(bins)
            return super().run(*given, bins=bins, **more)

    def bins_of(*stats: str) -> set[tuple[int, int] | None]:
        asked.clear()
        options = ScoreOptions.for_family("hound", stats=stats, gene_names=("PLUS",))
        session = Watching(bundle.geometry, worlds.WEIGHTS)
        list(score_variants([SNV], bundle=bundle, fasta=genome, options=options, session=session, genes=genes))
        return set(asked)

    # PLUS: 5700-6100 of an output from 5488 on: (212 // 32, ceil(612 / 32))
    assert bins_of("SUM@exons") == {(6, 20)}
    assert bins_of("SUM@exons", "SUM@tss:32") == {(6, 20)}
    assert bins_of("nDi@exons") == {(0, 32)}


@pytest.mark.parametrize(
    ("given", "stats", "message"),
    [
        (True, ("SUM",), "genes are given, but no score is over a region of genes; name one, like SUM@exons"),
        (False, ("SUM@span",), "SUM@span is a score of genes; give their annotation"),
    ],
)
def test_an_annotation_and_scores_of_genes_need_each_other(
    bundle: Bundle, genome: Fasta, genes: Genes, given: bool, stats: Sequence[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        result(bundle, genome, genes if given else None, SNV, stats=tuple(stats))


def test_an_annotation_of_another_assembly_is_refused(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    other = annotation(tmp_path / "a.gtf", {"A": ("scaffold_7", "+", [(5, 9)])})
    with pytest.raises(InputError, match=r"none of its contigs \(scaffold_7, ...\) is in toy.fa \(chr1, chr2, ...\)"):
        result(bundle, genome, other, SNV, stats=("SUM@exons",))


def test_identities_hold_what_a_value_depends_on(bundle: Bundle) -> None:
    def ids(genes: str | None, **choices: Any) -> dict[str, str]:
        return ScoreOptions.for_family("hound", **choices).resolved(bundle.info).score_ids({}, genes)

    plain = ids("a", stats=("SUM", "SUM@exons"))
    assert plain["SUM"] == ids(None, stats=("SUM",))["SUM"]
    assert plain["SUM@exons"] == ids("a", stats=("SUM@exons",), gene_names=("X",), gene_mode="nearest")["SUM@exons"]
    others = [
        ids("b", stats=("SUM@exons",)),
        ids("a", stats=("SUM@exons",), bin_rule="half"),
        ids("a", stats=("SUM@span",)),
    ]
    assert len({plain["SUM@exons"], *(next(iter(item.values())) for item in others)}) == 4
