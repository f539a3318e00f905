"""Scores over regions: slices of whole coverage, several in one run, on shared windows, and where there is no bin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from oracles import regions as region_oracle
from oracles import statistics as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.protocols import Session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.spec import read_specs

TEXT = worlds.random_dna(6000, seed=3)
STRANDS = [(0, 1), (3, 2), (4, 4), (5, 5)]
STATS = ("SUM", "logSED", "SAX", "D2", "JS")
VARIANTS = {
    "snv": Variant("chr1", 3000, TEXT[2999], "ACGT"["CGTA".index(TEXT[2999])]),
    "insertion": Variant("chr1", 3000, TEXT[2999], TEXT[2999] + "ACGTA"),
    "deletion": Variant("chr1", 3000, TEXT[2999:3012], TEXT[2999]),
}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def session(toy_bundle: Bundle) -> Iterator[Session]:
    opened = open_session(toy_bundle, threads=1)
    yield opened
    opened.close()


def scored(bundle: Bundle, session: Session, genome: Fasta, variant: Variant, **choices: Any) -> ScoredVariant:
    scorer = Scorer(bundle, session, genome, ScoreOptions.for_family(**choices))
    return scorer.score(VariantRecord(0, 0, variant))


@pytest.mark.parametrize("window", ["centered", "grid:512", "at:1600"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("family", ["hound", "sad"])
def test_a_score_is_that_of_the_bins_of_its_region(
    toy_bundle: Bundle, session: Session, genome: Fasta, variant: Variant, window: str, family: str
) -> None:
    """Whole coverage first, then the oracle's bins, then the oracle's statistic: slicing commutes with scoring.

    On the window from 1600 POS 3000 lies at base 1399 of 2,048, so that the widest regions reach the end of the output.
    """
    choices: dict[str, Any] = {"family": family, "window": window, "shifts": (0, 2)}
    options = ScoreOptions.for_family(**choices).resolved(toy_bundle.info)
    predictor = Predictor(session, toy_bundle.tracks, toy_bundle.squash(), options=options.prediction)
    whole = predictor.variant(genome, variant)
    grid = toy_bundle.geometry
    where = {
        "window_start": whole.window_start,
        "crop_bp": grid.crop_bp,
        "bin_size_bp": grid.bin_size_bp,
        "bins": grid.bins,
    }
    for width in (1, 100, 501, 2000):
        for kind, bins in (
            ("center", region_oracle.center(variant.pos, width_bp=width, **where)),
            ("span", region_oracle.span(variant.pos, len(variant.ref), width_bp=width, **where)),
        ):
            found = scored(
                toy_bundle, session, genome, variant, stats=STATS, region=f"{kind}:{width}", **choices
            ).scores
            assert found is not None
            for stat in STATS:
                want = oracle.score(stat, family, whole.ref[..., bins], whole.alt[..., bins], STRANDS)
                # Where half of a bin's coverage cancels: float32 of the coverage, 2^-24 of a value of about 10.
                assert_allclose(found[f"{stat}@{kind}:{width}"], want, rtol=2e-5, atol=2e-6, err_msg=f"{stat} {width}")


@pytest.mark.parametrize("fused", [False, True], ids=["coverage", "sums"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_several_regions_in_one_run_are_the_runs_of_each(
    toy_bundle: Bundle, genome: Fasta, variant: Variant, fused: bool
) -> None:
    names = ("SUM", "logSED", "SUM@span:100", "D2@span:100", "SUM@center:300", "SAX@center:32")
    specs = read_specs(names, "hound")
    session = open_engine(toy_bundle, threads=1, options=EngineOptions(fused=fused, memory_bytes=0))
    together = scored(toy_bundle, session, genome, variant, stats=names, rc=True)
    assert together.scores is not None
    assert tuple(together.scores) == ("SUM", "logSED", "SUM@span:100", "D2@span:100", "SUM@center:300", "SAX@center:32")
    assert [part.region for part in together.regions] == ["window", "span:100", "center:300", "center:32"]
    for region in dict.fromkeys(str(spec.region) for spec in specs):
        mine = [name for name, spec in zip(names, specs, strict=True) if str(spec.region) == region]
        # `SUM` is in the company of the whole window in both runs: the same bins leave the model, hence the same bits.
        alone = scored(toy_bundle, session, genome, variant, stats=("SUM", *(n for n in mine if n != "SUM")), rc=True)
        assert alone.scores is not None
        for name in mine:
            assert_array_equal(together.scores[name], alone.scores[name])
    session.close()


def test_a_region_alone_is_that_region_in_company(bundle_that_counts: Bundle, genome: Fasta) -> None:
    """Fewer bins leave the model then; where bins do not depend on their company, neither does a bit of a score."""
    session = worlds.counting_session(bundle_that_counts)
    names = ("SUM", "JS@span:100", "D2@center:300", "JS")
    for variant in VARIANTS.values():
        together = scored(bundle_that_counts, session, genome, variant, stats=names).scores
        assert together is not None
        for name in names:
            alone = scored(bundle_that_counts, session, genome, variant, stats=(name,)).scores
            assert alone is not None
            assert_array_equal(together[name], alone[name])


@pytest.fixture
def bundle_that_counts(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def test_a_flipped_record_keeps_its_regions(bundle_that_counts: Bundle, genome: Fasta) -> None:
    session, held = worlds.counting_session(bundle_that_counts), TEXT[2999]
    other = "ACGT"["CGTA".index(held)]
    names = ("SUM", "SUM@center:32", "D1@span:64")
    flipped = scored(
        bundle_that_counts, session, genome, Variant("chr1", 3000, other, held), stats=names, ref_policy="flip"
    )
    straight = scored(bundle_that_counts, session, genome, Variant("chr1", 3000, held, other), stats=names)
    assert (flipped.status, straight.status) == ("flipped", "ok")
    assert flipped.scores is not None
    assert straight.scores is not None
    for name in names:
        sign = -1 if name.startswith("SUM") else 1
        assert_array_equal(flipped.scores[name], sign * straight.scores[name])
        assert np.abs(flipped.scores[name]).max() > 0


@pytest.mark.parametrize("fused", [False, True], ids=["coverage", "sums"])
def test_a_region_without_a_bin_is_undefined(toy_bundle: Bundle, genome: Fasta, fused: bool) -> None:
    """POS 3000 is base 0 of the window, 512 bp before the output: the whole window can be scored, its centre cannot."""
    with_window = ("SUM", "SUM@center:64")
    session = open_engine(toy_bundle, threads=1, options=EngineOptions(fused=fused))
    found = scored(toy_bundle, session, genome, VARIANTS["snv"], stats=with_window, window="at:2999")
    assert found.scores is not None
    assert found.status == "undefined"
    assert "SUM@center:64 is not defined for 4 of 4 tracks" in found.detail
    assert np.isfinite(found.scores["SUM"]).all()
    assert np.isnan(found.scores["SUM@center:64"]).all()
    alone = scored(toy_bundle, session, genome, VARIANTS["snv"], stats=("SUM@center:64",), window="at:2999")
    assert (alone.status, alone.scores) == ("error", None)
    assert "too far from the middle of its window" in alone.detail
    session.close()


def test_windows_given_as_bases_have_no_regions(toy_bundle: Bundle, session: Session, genome: Fasta) -> None:
    scorer = Scorer(toy_bundle, session, genome, ScoreOptions(stats=("SUM", "SUM@span:64")))
    with pytest.raises(ValueError, match="region span:64 lies around a variant; windows given as bases have none"):
        scorer.score_windows("A" * 2048, "C" * 2048)
