"""Statistics of sites against loops, their bins, and the laws that they keep from variant to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from oracles import sites as oracle

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Gene, Genes
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.registry import SITE_STATISTICS
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.site_scores import LAYOUTS, _sides
from borzoi_rt.scoring.splice_sites import splice_sites
from borzoi_rt.scoring.splits import apart, paired, shares, usage
from borzoi_rt.scoring.stream import score_variants

# The toy model reads 2,048 bp and gives 32 bins of 32 bp: the output of a variant at POS is [POS - 512, POS + 512).
POS, START = 4000, 4000 - 512
TEXT = worlds.random_dna(8000, seed=31)
SNV = Variant("chr1", POS, TEXT[POS - 1], "ACGT"["CGTA".index(TEXT[POS - 1])])
INSERTION = Variant("chr1", POS, TEXT[POS - 1], TEXT[POS - 1] + "GATTACAGATTACAGG" * 4)
# PLUS has two transcripts of one gene that share a donor; MINUS lies behind it; each has polyadenylation sites.
EXONS = {
    ("PLUS", "p1", "+"): [(3530, 3700), (3800, 3990), (4100, 4200)],
    ("PLUS", "p2", "+"): [(3600, 3700), (4110, 4200)],
    ("MINUS", "m1", "-"): [(4230, 4330), (4400, 4460)],
}
SITES = {"PLUS": (4100, 4150, 4199), "MINUS": (4300, 4260)}
OF_PAS = tuple(f"{name}@pas" for name, statistic in SITE_STATISTICS.items() if statistic.region == "pas")
OF_SPLICE = tuple(f"{name}@splice" for name, statistic in SITE_STATISTICS.items() if statistic.region == "splice")
HOW = {"site_pseudo": 5.0, "site_min_coverage": 1.0}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Genes:
    folder: Path = tmp_path_factory.mktemp("genes")
    lines = [
        f'chr1\tx\texon\t{start + 1}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; transcript_id "{name}";\n'
        for (gene, name, strand), exons in EXONS.items()
        for start, end in exons
    ]
    (folder / "toy.gtf").write_text("".join(lines))
    rows = ["chrom\tposition_hg38\tstrand\tgene\tsite_num\tsite_type"]
    for gene, positions in SITES.items():
        strand = "+" if gene == "PLUS" else "-"
        rows += [f"chr1\t{at}\t{strand}\t{gene}\t{number}\t3' most exon" for number, at in enumerate(positions, 1)]
    (folder / "pas.tsv").write_text("\n".join(rows) + "\n")
    return open_genes(folder / "toy.gtf", pas=folder / "pas.tsv", cache=folder / "index")


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def result(bundle: Bundle, genome: Fasta, genes: Genes, variant: Variant = SNV, **choices: Any) -> ScoredVariant:
    options = ScoreOptions.for_family(**{**HOW, **choices})
    session = ArraySession(bundle.geometry, worlds.WEIGHTS)
    if not any(spec.region.kind == "pas" for spec in options.specs):
        genes = without_sites(genes)
    (found,) = score_variants([variant], bundle=bundle, fasta=genome, options=options, session=session, genes=genes)
    return found


def without_sites(genes: Genes) -> Genes:
    from dataclasses import replace

    return replace(genes, sites=None)


def arrays(sides: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    ref = random.gamma(1.0, 50.0, (3, sides))
    ref[0, sides // 2] = 0.0
    return ref, ref * random.uniform(0.3, 3.0, ref.shape)


@pytest.mark.parametrize("sides", [2, 3, 6])
@pytest.mark.parametrize("seed", range(6))
def test_formulas_are_those_of_loops(sides: int, seed: int) -> None:
    ref, alt = arrays(sides, seed)
    rows, others = ref.tolist(), alt.tolist()
    found, split = shares(ref, alt, pseudo=5.0)
    position, want = oracle.best_share_split(rows, others, 5.0)
    assert_allclose(found, want, rtol=1e-9)
    assert split is not None
    assert (split.position, str(split)) == (position, f"split {position} of {sides - 1}")
    pairs = list(zip(rows, others, strict=True))
    assert_allclose(apart(ref, alt), [oracle.polyadenylation(r, a) for r, a in pairs], rtol=1e-9)
    largest = [oracle.largest(values) for values in usage(ref, alt, 5.0).tolist()]
    assert_allclose(largest, [oracle.exon_usage(r, a, 5.0) for r, a in pairs], rtol=1e-9)
    if sides % 2 == 0:
        largest = [oracle.largest(values) for values in paired(ref, alt, 5.0).tolist()]
        assert_allclose(largest, [oracle.junctions(r, a, 5.0) for r, a in pairs], rtol=1e-9)


def test_a_single_site_has_no_score_and_equal_alleles_have_none_either() -> None:
    ref, alt = arrays(1, 0)
    found, split = shares(ref, alt, pseudo=5.0)
    assert split is None
    assert np.isnan([found, apart(ref, alt), usage(ref, alt, 5.0)[:, 0]]).all()
    ref, _ = arrays(4, 1)
    for values in (shares(ref, ref, pseudo=5.0)[0], usage(ref, ref, 5.0), paired(ref, ref, 5.0)):
        assert_array_equal(values, 0.0)
    assert_array_equal(apart(ref[1:], ref[1:]), 0.0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("strand", ["+", "-"])
def test_bins_of_layouts(layout: str, strand: str) -> None:
    for at in (0, 15, 16, 31, 32, 47, 48, 49, 640, 655, 656, 657, 1000):
        assert _sides(at, strand == "+", 32, layout) == oracle.bins_of(layout, at, strand, 32), at
        assert _sides(at, strand == "+", 128, layout) == oracle.bins_of(layout, at, strand, 128), at


def coverage(weights: np.ndarray, text: str, sides: list[tuple[int, int]]) -> list[float]:
    """Coverage of the counting model over bins of the output."""
    return [
        float(sum(weights["ACGT".index(base)] for base in text[START + 32 * low : START + 32 * high]))
        for low, high in sides
    ]


def test_scores_from_the_bases(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """Of both genes, counted from the genome by the bins that the tables of the reference name."""
    found = result(bundle, genome, genes, stats=OF_PAS, merge_strands=False)
    changed = TEXT[: POS - 1] + SNV.alt + TEXT[POS:]
    for gene in ("PLUS", "MINUS"):
        strand = "+" if gene == "PLUS" else "-"
        scores = {part.gene: part.scores for part in found.regions}[gene]
        assert ("POLYADENYLATION" in scores) is (gene == "PLUS"), "MINUS does not overlap the variant"
        for name, layout in (
            ("COVR3", "up"),
            ("COVR3WIDE", "up_wide"),
            ("PROP3", "around"),
            ("POLYADENYLATION", "read"),
        ):
            if name not in scores:
                continue
            sides = [side for at in SITES[gene] for side in oracle.bins_of(layout, at - START, strand, 32)]
            sides = [(max(low, 0), min(high, 32)) for low, high in sides]
            sides = sides if layout == "read" else list(dict.fromkeys(sides))
            sums = [[coverage(row, text, sides) for row in worlds.WEIGHTS] for text in (TEXT, changed)]
            if name == "POLYADENYLATION":
                want = [oracle.polyadenylation(*pair) for pair in zip(*sums, strict=True)]
            else:
                want = oracle.best_share_split(*sums, 5.0)[1] if len(sides) > 1 else [np.nan] * 6
                assert_allclose(scores[f"S{name}"], want, rtol=1e-4, atol=1e-6, err_msg=f"{gene} S{name}")
            assert_allclose(scores[name], np.abs(want), rtol=1e-4, atol=1e-6, err_msg=f"{gene} {name}")


def test_splice_sites_of_transcripts() -> None:
    """A donor that two transcripts share has the shortest exon and the shortest intron."""
    isoforms = tuple(np.array(exons) for (gene, _, _), exons in EXONS.items() if gene == "PLUS")
    gene = Gene("PLUS", "PLUS", "", "1", "+", np.array([(3530, 3700), (3800, 3990), (4100, 4200)]), isoforms)
    assert splice_sites(gene) == [
        (3700, True, 3600, 3800),
        (3800, False, 3990, 3700),
        (3990, True, 3800, 4100),
        (4100, False, 4200, 3990),
        (4110, False, 4200, 3700),
    ]


def test_splice_scores_from_the_bases(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    found = result(bundle, genome, genes, stats=OF_SPLICE, merge_strands=False)
    changed = TEXT[: POS - 1] + SNV.alt + TEXT[POS:]
    scores = {part.gene: part for part in found.regions}
    sites = [(3700, 3600, 3800, 1), (3800, 3990, 3700, 0), (3990, 3800, 4100, 1), (4100, 4200, 3990, 0)]
    sites.append((4110, 4200, 3700, 0))
    sides = []
    for base, exon, intron, left in sites:
        border, far, farther = (round((at - START) / 32) for at in (base, exon, intron))
        if left:
            sides += [(max(border - 4, far), border), (border, min(border + 4, farther))]
        else:
            sides += [(border, min(border + 4, far)), (max(border - 4, farther), border)]
    sums = [[coverage(row, text, sides) for row in worlds.WEIGHTS] for text in (TEXT, changed)]
    want = [oracle.junctions(*pair, 5.0) for pair in zip(*sums, strict=True)]
    assert np.abs(want).max() > 0
    assert_allclose(scores["PLUS"].scores["JUNC_signed"], want, rtol=1e-4, atol=1e-6)
    assert_allclose(scores["PLUS"].scores["JUNC"], np.abs(want), rtol=1e-4, atol=1e-6)
    exons = [(start, end) for start, end in [(3530, 3700), (3800, 3990), (4100, 4200)]]
    bins = [((start - START) // 32, -(-(end - START) // 32)) for start, end in exons]
    sums = [[coverage(row, text, bins) for row in worlds.WEIGHTS] for text in (TEXT, changed)]
    want = [oracle.exon_usage(*pair, 5.0) for pair in zip(*sums, strict=True)]
    assert_allclose(scores["PLUS"].scores["EXON_USAGE_signed"], want, rtol=1e-4, atol=1e-6)
    assert scores["PLUS"].detail == "JUNC: largest at acceptor chr1:4111, EXON_USAGE: largest at exon chr1:3801-3990"
    assert scores["PLUS"].covered_fraction == 1.0


@pytest.mark.parametrize("variant", [SNV, INSERTION], ids=["SNV", "insertion"])
def test_laws(bundle: Bundle, genome: Fasta, genes: Genes, variant: Variant) -> None:
    """Null is 0; genes and tracks commute; turned alleles turn the sign where both stand alike in the formula."""
    stats = (*OF_PAS, *OF_SPLICE)
    whole = result(bundle, genome, genes, variant, stats=stats).scores or {}
    null = result(bundle, genome, genes, Variant("chr1", POS, SNV.ref, SNV.ref), stats=stats).scores or {}
    assert whole.keys() == null.keys()
    for name, values in null.items():
        assert_array_equal(values, 0.0, err_msg=name)
    one = result(bundle, genome, genes, variant, stats=stats, gene_names=("MINUS",)).scores or {}
    for name, values in one.items():
        assert_array_equal(values, whole[name])
    assert {name for name in whole if name.endswith("|MINUS")} == set(one)
    free = ("POLYADENYLATION@pas", *OF_SPLICE)  # scores that do not depend on which tracks there are
    part = result(bundle, genome, genes, variant, stats=free, tracks="chip,dnase").scores or {}
    for name, values in part.items():
        assert_array_equal(values, whole[name][[3, 2]], err_msg=name)
    turned = Variant("chr1", POS, variant.alt, variant.ref)
    flipped = result(bundle, genome, genes, turned, stats=OF_SPLICE, ref_policy="flip", flip_deletions=True)
    assert flipped.status == "flipped"
    for name, values in (flipped.scores or {}).items():
        sign = -1 if "_signed" in name else 1
        assert_allclose(values, sign * whole[name], rtol=1e-6, err_msg=name)
