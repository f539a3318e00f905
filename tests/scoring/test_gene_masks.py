"""AlphaGenome's masks of genes: transcripts that begin in the output, and genes that the variant overlaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.genes import Genes
from borzoi_rt.genome.variants import Variant
from borzoi_rt.runs.score_record import run_context
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.scoring.selection import select_rows
from borzoi_rt.scoring.stream import score_variants

# The output of a variant at POS is [POS - 512, POS + 512) in 32 bins.
POS, START = 4000, 4000 - 512
TEXT = worlds.random_dna(8000, seed=41)
SNV = Variant("chr1", POS, TEXT[POS - 1], "ACGT"["CGTA".index(TEXT[POS - 1])])
STATS = ("LFC@gene_mask", "ACTIVE_MEAN@gene_mask", "MAX_DIFF@gene_body")
EXONS = [
    # BOTH begins before the output in its first transcript, in it in the second.
    *(("BOTH", "b1", "+", 3000, 3100), ("BOTH", "b1", "+", 3900, 4100), ("BOTH", "b2", "+", 3600, 3700)),
    *(("BOTH", "b2", "+", 4064, 4100), ("EARLY", "e1", "+", 3000, 3600), ("MINUS", "m1", "-", 3990, 4400)),
    ("LATE", "l1", "-", 4300, 4600),
]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


def annotation(path: Path, exons: list[tuple[str, str, str, int, int]]) -> Genes:
    lines = [
        f'chr1\tx\texon\t{start + 1}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; transcript_id "{name}";\n'
        for gene, name, strand, start, end in exons
    ]
    path.write_text("".join(lines))
    return read_genes(path)


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Genes:
    return annotation(tmp_path_factory.mktemp("genes") / "toy.gtf", EXONS)


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def result(bundle: Bundle, genome: Fasta, genes: Genes, variant: Variant = SNV, **choices: Any) -> ScoredVariant:
    options = ScoreOptions.for_family(**{"stats": STATS, "merge_strands": False, **choices})
    session = ArraySession(bundle.geometry, worlds.WEIGHTS)
    (found,) = score_variants([variant], bundle=bundle, fasta=genome, options=options, session=session, genes=genes)
    return found


def parts(found: ScoredVariant) -> dict[tuple[str, str], RegionScores]:
    return {(part.region, part.gene): part for part in found.regions}


def bins(text: str, held: list[int]) -> np.ndarray:
    """Coverage of the counting model in bins of the output, (tracks, bins)."""
    columns = [
        worlds.WEIGHTS[:, ["ACGT".index(base) for base in text[START + 32 * n : START + 32 * n + 32]]] for n in held
    ]
    return np.stack([column.sum(axis=1) for column in columns], axis=1)


def test_masks_from_the_bases(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """Of BOTH only what its second transcript has; a gene whose transcripts all begin elsewhere has no mask."""
    found = parts(result(bundle, genome, genes))
    assert set(found) == {
        *(("gene_mask", name) for name in ("BOTH", "MINUS")),
        *(("gene_body", name) for name in ("BOTH", "MINUS")),
    }
    changed = TEXT[: POS - 1] + SNV.alt + TEXT[POS:]
    masks = {"BOTH": [(3600, 3700), (4064, 4100)], "MINUS": [(3990, 4400)]}
    for name, exons in masks.items():
        held = sorted({n for a, b in exons for n in range((a - START) // 32, -(-(b - START) // 32))})
        ref, alt = bins(TEXT, held).mean(axis=1), bins(changed, held).mean(axis=1)
        part = found["gene_mask", name]
        assert_allclose(part.scores["LFC"], np.log(alt + 1e-3) - np.log(ref + 1e-3), rtol=1e-3, atol=1e-7)
        assert_allclose(part.scores["ACTIVE_MEAN"], np.maximum(ref, alt), rtol=1e-6)
        assert part.covered_fraction == 1.0
    body = list(range((3990 - START) // 32, -(-(4400 - START) // 32)))
    want = np.abs(bins(changed, body) - bins(TEXT, body)).max(axis=1)
    assert_allclose(found["gene_body", "MINUS"].scores["MAX_DIFF"], want, rtol=1e-5)
    assert found["gene_body", "BOTH"].covered_fraction < 1.0


def test_which_genes_a_variant_overlaps(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """[start, start + the longer of REF and ALT): an insertion in front of a gene reaches into it."""
    ref = TEXT[3984]
    for alt, wanted in ((ref + "A" * 5, ["BOTH"]), (ref + "A" * 6, ["BOTH", "MINUS"])):
        found = result(bundle, genome, genes, Variant("chr1", 3985, ref, alt), stats=("MAX_DIFF@gene_body",))
        assert [part.gene for part in found.regions] == wanted
    outside = result(
        bundle,
        genome,
        genes,
        Variant("chr1", 5000, TEXT[4999], "ACGT"["CGTA".index(TEXT[4999])]),
        stats=("MAX_DIFF@gene_body",),
    )
    assert (outside.status, outside.detail) == ("no_gene", "no gene has gene_body in the output window")


def test_laws(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    straight = parts(result(bundle, genome, genes, ref_policy="flip"))
    turned = parts(result(bundle, genome, genes, Variant("chr1", POS, SNV.alt, SNV.ref), ref_policy="flip"))
    null = parts(result(bundle, genome, genes, Variant("chr1", POS, SNV.ref, SNV.ref)))
    one = parts(result(bundle, genome, genes, gene_names=("MINUS",), tracks="chip"))
    for key, part in straight.items():
        for stat, values in part.scores.items():
            sign = -1 if stat == "LFC" else 1
            assert_allclose(turned[key].scores[stat], sign * values, rtol=1e-6)
            if stat != "ACTIVE_MEAN":
                assert_array_equal(null[key].scores[stat], 0.0)
            if key[1] == "MINUS":
                assert_array_equal(one[key].scores[stat], values[[5]])


def test_transcripts_are_part_of_the_identity_of_what_depends_on_them(
    bundle: Bundle, genome: Fasta, genes: Genes, tmp_path: Path
) -> None:
    other = annotation(tmp_path / "toy.gtf", [(gene, gene, *rest) for gene, _, *rest in EXONS])  # type: ignore[misc]
    options = ScoreOptions(stats=("LFC@gene_mask", "LFC@exons", "JUNC@splice", "MAX_DIFF@gene_body"))
    from borzoi_rt.backends.device import Device

    ids = [
        run_context(bundle, genome, options, select_rows(bundle.tracks, options), Device("cpu"), item)["score_ids"]
        for item in (genes, other)
    ]
    same = {name: ids[0][name] == ids[1][name] for name in ids[0]}
    assert same == {"LFC@gene_mask": False, "LFC@exons": True, "JUNC@splice": False, "MAX_DIFF@gene_body": True}
