"""Neutral indels near a variant, the floor that they make, and scores of normalised alleles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.phase_floor import APART_BP, PHASE_FLOOR, neutral_indels
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.scoring.stream import score_variants

REPEATS = "T" + "CAG" * 30
TEXT = worlds.random_dna(4000, 8) + "N" * 40 + worlds.random_dna(600, 9) + REPEATS + worlds.random_dna(3000, 7)
POS = 4300
DELETION = Variant("chr1", POS, TEXT[POS - 1 : POS + 4], TEXT[POS - 1])
INSERTION = Variant("chr1", POS, TEXT[POS - 1], TEXT[POS - 1] + "ACGTA")
SNV = Variant("chr1", POS, TEXT[POS - 1], "ACGT"[("ACGT".index(TEXT[POS - 1]) + 1) % 4])


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def score(
    bundle: Bundle, genome: Fasta, *variants: Variant | VariantRecord, genes: Path | None = None, **choices: Any
) -> list[ScoredVariant]:
    options = ScoreOptions.for_family("hound", **choices)
    how: dict[str, Any] = {"bundle": bundle, "fasta": genome, "genes": genes}
    return list(score_variants(variants, options=options, session=worlds.counting_session(bundle), **how))


def parts(found: ScoredVariant) -> dict[tuple[str, str], RegionScores]:
    assert found.regions, (found.status, found.detail)
    return {(part.region, part.gene): part for part in found.regions}


@pytest.mark.parametrize("variant", [DELETION, INSERTION], ids=["deletion", "insertion"])
def test_neutral_indels_have_the_length_and_lie_near(genome: Fasta, variant: Variant) -> None:
    found = neutral_indels(genome, variant, count=200, seed=1, reach_bp=400)
    assert len({item.pos for item in found}) == len(found) == 200
    for item in found:
        assert item.k == variant.k
        assert TEXT[item.pos - 1 : item.pos - 1 + len(item.ref)] == item.ref
        assert item.problem is None
        assert APART_BP < abs(item.pos - POS) <= 400
        if item.k == 5:  # the next five bases again
            assert item.alt[1:] == TEXT[item.pos : item.pos + 5]
    assert {item.pos < POS for item in found} == {True, False}
    # The stretch of N and its neighbourhood hold none.
    assert not any(item.pos + 5 > 4000 and item.pos <= 4040 for item in found)


def test_positions_are_a_function_of_seed_and_variant(genome: Fasta) -> None:
    first = neutral_indels(genome, DELETION, count=8, seed=0, reach_bp=400)
    assert neutral_indels(genome, DELETION, count=8, seed=0, reach_bp=400) == first
    assert neutral_indels(genome, DELETION, count=5, seed=0, reach_bp=400) == first[:5]
    assert neutral_indels(genome, DELETION, count=8, seed=1, reach_bp=400) != first
    renamed = Variant("1", DELETION.pos, DELETION.ref, DELETION.alt)
    assert [item.pos for item in neutral_indels(genome, renamed, count=8, seed=0, reach_bp=400)] == [
        item.pos for item in first
    ]
    assert neutral_indels(genome, SNV, count=8, seed=0, reach_bp=400) == []
    assert neutral_indels(genome, DELETION, count=8, seed=0, reach_bp=60) == []


def test_the_floor_is_the_median_size_of_the_same_score(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    gtf = tmp_path / "toy.gtf"
    gtf.write_text('chr1\tx\texon\t4150\t4500\t.\t+\t.\tgene_id "G";\n')
    how: dict[str, Any] = {"stats": ("SUM", "D2", "logSED@span:200", "logSED@exons"), "genes": gtf}
    (found,) = score(bundle, genome, DELETION, phase_floor=5, phase_floor_seed=3, **how)
    (plain,) = score(bundle, genome, DELETION, **how)
    neutral = neutral_indels(genome, DELETION, count=5, seed=3, reach_bp=256)  # an eighth of the window
    assert found.floor_pos == tuple(item.pos for item in neutral)
    items = [VariantRecord(0, 0, item, window_start=plain.window_start) for item in neutral]
    others = [parts(item) for item in score(bundle, genome, *items, **how)]
    for key, part in parts(found).items():
        for stat, values in part.scores.items():
            assert_array_equal(values, parts(plain)[key].scores[stat])  # the floor changes no score
            sizes = np.abs([other[key].scores[stat] for other in others])
            assert_array_equal(part.extras[PHASE_FLOOR][stat], np.median(sizes, axis=0).astype(np.float32))
    assert found.floor_pos != score(bundle, genome, DELETION, phase_floor=5, **how)[0].floor_pos


def test_what_is_no_indel_has_no_floor(bundle: Bundle, genome: Fasta) -> None:
    wrong = Variant("chr1", POS, "ACGTACGT", "A")
    snv, failed = score(bundle, genome, SNV, wrong, phase_floor=4)
    assert (snv.status, snv.floor_pos, failed.status) == ("ok", (), "ref_mismatch")
    assert all(PHASE_FLOOR not in part.extras for part in snv.regions)


def test_scores_do_not_know_of_their_floor() -> None:
    plain, floor = (ScoreOptions.for_family("hound", phase_floor=count) for count in (0, 4))
    assert plain.score_ids({}) == floor.score_ids({})
    assert plain.score_ids({}) != ScoreOptions.for_family("hound", normalize=True).score_ids({})
    for wrong in (-1, True, "3"):
        with pytest.raises(InputError, match="phase_floor is"):
            ScoreOptions(phase_floor=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("indel", ["stitch", "average", "centre_trim"])
def test_all_spellings_of_an_allele_give_one_score(bundle: Bundle, genome: Fasta, indel: str) -> None:
    """A deletion of one of thirty repeats: as given its window moves with it, normalised it has one."""
    start = TEXT.index("CAG" * 30)
    spelled = [
        Variant("chr1", start + 3 * n, TEXT[start + 3 * n - 1 : start + 3 * n + 3], TEXT[start + 3 * n - 1])
        for n in (0, 7, 20)
    ]
    how: dict[str, Any] = {"stats": ("SUM", "D2", "SAX"), "indel": indel}
    found = score(bundle, genome, *spelled, normalize=True, **how)
    (want,) = score(bundle, genome, spelled[0], **how)
    for item in found:
        assert item.normalized == spelled[0]
        assert (item.window_start, item.stitch_bin, item.status) == (want.window_start, want.stitch_bin, "ok")
        for name, values in (want.scores or {}).items():
            assert_array_equal((item.scores or {})[name], values)
    assert found[2].variant == spelled[2]  # both are kept
    given = score(bundle, genome, *spelled, **how)
    assert given[2].window_start != given[0].window_start


def test_a_flipped_allele_is_normalised_in_its_own_orientation(bundle: Bundle, genome: Fasta) -> None:
    """The genome has two repeats less than REF, as ALT: an insertion is scored and turned round."""
    start = TEXT.index("CAG" * 30)
    own: dict[str, Any] = {"stats": ("SUM",), "indel": "none"}
    how: dict[str, Any] = {"ref_policy": "flip", "flip_deletions": True, "normalize": True, **own}
    (found,) = score(bundle, genome, Variant("chr1", start + 90, "GCAGCAG", "G"), **how)
    assert found.status == "flipped"
    assert found.normalized == Variant("chr1", start, "TCAGCAG", "T")
    (turned,) = score(bundle, genome, Variant("chr1", start, "T", "TCAGCAG"), **own)
    assert_array_equal((found.scores or {})["SUM"], -(turned.scores or {})["SUM"])
    assert (turned.scores or {})["SUM"].any()
