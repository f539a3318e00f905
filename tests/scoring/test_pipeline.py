"""One result per ALT allele: every status, every policy, and what a score may not depend on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from oracles import statistics as oracle

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.results import SCORED, STATUSES, ScoredVariant
from borzoi_rt.scoring.selection import select_rows
from borzoi_rt.scoring.stream import score_variants
from borzoi_rt.sequence import encode
from borzoi_rt.squash import KINDS

TEXT = "T" * 2980 + "ACGTTGCAACCCGGGTATAT" + worlds.random_dna(3000, seed=5)  # 2981 ACGTTGCAAC, 2991 CCGGGTATAT
LENGTH, MIDDLE = 2048, 15  # window of the toy bundle; the bin that holds POS
STRANDS = [(0, 1), (3, 2), (4, 4), (5, 5)]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    contigs = {"chr1": TEXT, "chrM": TEXT[:200]}
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", contigs))


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def results(
    bundle: Bundle, genome: Fasta, variants: Sequence[Variant | VariantRecord], **choices: object
) -> list[ScoredVariant]:
    options = ScoreOptions.for_family(**{"stats": ("SUM", "SAX"), **choices})  # type: ignore[arg-type]
    session = worlds.counting_session(bundle)
    return list(score_variants(variants, bundle=bundle, fasta=genome, options=options, session=session))


def result(bundle: Bundle, genome: Fasta, variant: Variant, **choices: object) -> ScoredVariant:
    return results(bundle, genome, [variant], **choices)[0]


def scores(found: ScoredVariant, stat: str = "SUM") -> np.ndarray:
    assert found.scores is not None, (found.status, found.detail)
    return found.scores[stat]


def test_scores_can_be_counted(bundle: Bundle, genome: Fasta) -> None:
    """C>G at 2982 swaps one base of one bin: SUM and SAX of each row are the weight of G less that of C."""
    found = result(bundle, genome, Variant("chr1", 2982, "C", "G", "rs1"))
    assert (found.status, found.detail, found.record, found.alt_index) == ("ok", "", 0, 0)
    assert (found.window_start, found.n_fraction, found.variant.id) == (2982 - LENGTH // 2, 0.0, "rs1")
    # weights of C, G: tracks (2, 3), (3, 2), (3, 5), (5, 3), (4, 8), (1, 2); rows (0 + 1), (3 + 2), 4, 5
    assert_array_equal(scores(found), [1 - 1, -2 + 2, 4, 1])
    apart = result(bundle, genome, Variant("chr1", 2982, "C", "G"), merge_strands=False)
    assert_array_equal(scores(apart, "SAX"), [1, -1, 2, -2, 4, 1])


@pytest.mark.parametrize(
    ("variant", "choices", "status", "detail"),
    [
        (Variant("chr1", 2982, "G", "A"), {}, "ref_mismatch", "REF 'G', the genome has 'C' at chr1:2982"),
        (Variant("chr1", 2982, "G", "T"), {"ref_policy": "flip"}, "ref_mismatch", "not ALT 'T' either"),
        (Variant("chr1", 2982, "G", "T"), {"ref_policy": "edit"}, "ref_mismatch", "not ALT 'T' either"),
        (Variant("chr1", 2982, "CTT", "C"), {"ref_policy": "flip"}, "ref_mismatch", "a deletion is not flipped"),
        (Variant("chr9", 5, "G", "A"), {}, "contig_missing", "toy.fa has no contig 'chr9'"),
        (Variant("chr1", 6001, "G", "A"), {}, "out_of_bounds", r"chr1 \(1-6000\)"),
        (Variant("chr1", 6000, "GG", "A"), {}, "out_of_bounds", "6000-6001"),
        (Variant("chr1", 0, "G", "A"), {}, "out_of_bounds", "0-0"),
        (Variant("chr1", 2982, "C", "C" * 513), {}, "invalid_allele", "513 bp; the window allows 512"),
        (Variant("chr1", 200, TEXT[199], "A"), {"max_n_fraction": 0.4}, "too_many_n", "0.402 .* 0.4 allowed"),
        (Variant("chr1", 2982, "C", "CT"), {"indel": "none", "stats": ("SUM", "D2")}, "error", "D2 compares bins"),
    ],
)
def test_what_cannot_be_scored_says_why(
    bundle: Bundle, genome: Fasta, variant: Variant, choices: dict[str, object], status: str, detail: str
) -> None:
    """The one with too many N begins 824 bp before the chromosome: (1024 - 200) / 2048 = 0.402 of the window."""
    found = result(bundle, genome, variant, **choices)
    assert (found.status, found.scores) == (status, None)
    assert found.window_start is None
    assert re.search(detail, found.detail), found.detail


def test_the_limit_of_unknown_bases_is_a_limit(bundle: Bundle, genome: Fasta) -> None:
    found = result(bundle, genome, Variant("chr1", 200, "T", "A"), max_n_fraction=0.403)
    assert found.status == "ok"
    assert found.n_fraction == pytest.approx(824 / LENGTH)


def test_a_bad_variant_changes_no_other_row(bundle: Bundle, genome: Fasta) -> None:
    """Same bits alone, among bad neighbours, and in another order; results come in the order of the input."""
    good = [Variant("chr1", 2982, "C", "G"), Variant("chr1", 3500, TEXT[3499], "ACGT"["CGTA".index(TEXT[3499])])]
    bad = [Variant("chr1", 2982, "G", "A"), Variant("chrZ", 1, "A", "C")]
    symbolic = VariantRecord(2, 0, Variant("chr1", 2982, "C", "<DEL>"), "symbolic_alt", "ALT '<DEL>' has no sequence")
    alone = [scores(result(bundle, genome, variant)) for variant in good]
    mixed = results(bundle, genome, [bad[0], good[1], symbolic, good[0], bad[1]])
    assert [found.status for found in mixed] == ["ref_mismatch", "ok", "symbolic_alt", "ok", "contig_missing"]
    assert [found.record for found in mixed] == [0, 1, 2, 3, 4]
    assert_array_equal(scores(mixed[1]), alone[1])
    assert_array_equal(scores(mixed[3]), alone[0])


@pytest.mark.parametrize("stat", [*oracle.SIGNED, *oracle.SYMMETRIC])
@pytest.mark.parametrize(("ref", "alt"), [("G", "C"), ("A", "CGTT")], ids=["snv", "insertion"])
def test_a_flipped_record_scores_the_opposite_change(
    bundle: Bundle, genome: Fasta, stat: str, ref: str, alt: str
) -> None:
    """The genome holds ALT: the score is minus that of the record written the right way round, bit for bit."""
    flipped = result(bundle, genome, Variant("chr1", 2982, ref, alt), ref_policy="flip", stats=(stat,))
    straight = result(bundle, genome, Variant("chr1", 2982, alt, ref), stats=(stat,))
    assert (flipped.status, straight.status) == ("flipped", "ok")
    sign = -1 if stat in oracle.SIGNED else 1
    assert_array_equal(scores(flipped, stat), sign * scores(straight, stat))
    assert np.abs(scores(flipped, stat)).max() > 0


def test_a_deletion_is_flipped_only_when_that_is_asked_for(bundle: Bundle, genome: Fasta) -> None:
    """Genome C at 2982, record CTT > C: flipped, it is the insertion of TT, in the orientation of the record."""
    record = Variant("chr1", 2982, "CTT", "C")
    found = result(bundle, genome, record, ref_policy="flip", flip_deletions=True)
    assert found.status == "flipped"
    inserted = result(bundle, genome, Variant("chr1", 2982, "C", "CTT"))
    assert_array_equal(scores(found), -scores(inserted))


def test_an_edited_genome_carries_ref(bundle: Bundle, genome: Fasta) -> None:
    found = result(bundle, genome, Variant("chr1", 2982, "G", "C"), ref_policy="edit", merge_strands=False)
    assert found.status == "ref_edited"
    assert_array_equal(scores(found), worlds.WEIGHTS[:, 1] - worlds.WEIGHTS[:, 2])  # C less G


@pytest.mark.parametrize("indel", ["stitch", "average", "centre_trim", "none"])
@pytest.mark.parametrize("allele", ["C", "CGTT"])
def test_a_null_variant_scores_exactly_zero(toy_bundle: Bundle, genome: Fasta, indel: str, allele: str) -> None:
    with closing(open_session(toy_bundle, threads=1)) as session:
        options = ScoreOptions.for_family(stats=("SUM", "SAX", "D2", "JS"), indel=indel, rc=True, shifts=(0, 5))
        variant = Variant("chr1", 2982, allele, allele)
        found = next(score_variants([variant], bundle=toy_bundle, fasta=genome, options=options, session=session))
    assert found.scores is not None
    for values in found.scores.values():
        assert_array_equal(values, 0)


def test_a_score_is_that_of_a_window_built_by_hand(toy_bundle: Bundle, genome: Fasta) -> None:
    """REF and ALT windows from text, the network, the inverse of the scale and the float64 oracle, nothing shared."""
    pos, stats = 2995, ("logSUM", "D2", "SAX", "JS")
    variant = Variant("chr1", pos, TEXT[pos - 1], "A")
    window = TEXT[pos - LENGTH // 2 : pos + LENGTH // 2]
    changed = window[: LENGTH // 2 - 1] + "A" + window[LENGTH // 2 :]
    with closing(open_session(toy_bundle, threads=1)) as session:
        ref, alt = (toy_bundle.squash().inverse(session.run(encode(text)[None])) for text in (window, changed))
        options = ScoreOptions.for_family(stats=stats)
        found = next(score_variants([variant], bundle=toy_bundle, fasta=genome, options=options, session=session))
    for stat in stats:
        assert_allclose(scores(found, stat), oracle.score(stat, "hound", ref, alt, STRANDS), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Variant("chr1", 2990, "C", "T"), Variant("chr1", 2990, "CC", "TC")),
        (Variant("chr1", 2990, "CC", "C"), Variant("chr1", 2990, "CCC", "CC")),
    ],
    ids=str,
)
def test_equal_trailing_bases_change_nothing(bundle: Bundle, genome: Fasta, first: Variant, second: Variant) -> None:
    one, two = (result(bundle, genome, variant, stats=("SUM", "D1")) for variant in (first, second))
    assert one.status == two.status == "ok"
    for stat in ("SUM", "D1"):
        assert_array_equal(scores(one, stat), scores(two, stat))


def test_slicing_tracks_commutes_with_scoring(toy_bundle: Bundle, genome: Fasta) -> None:
    variant = Variant("chr1", 2985, TEXT[2984], "A")
    with closing(open_session(toy_bundle, threads=1)) as session:
        found = {}
        for tracks in (None, "chip,rna-,rna+"):
            options = ScoreOptions.for_family(stats=("logSUM", "D2"), tracks=tracks)
            scorer = Scorer(toy_bundle, session, genome, options)
            found[tracks] = scorer.score(VariantRecord(0, 0, variant)), scorer.rows.identifier
    (whole, names), (part, kept) = found.values()
    assert (names, kept) == (("cage+/-", "rna+/-", "dnase", "chip"), ("chip", "rna+/-"))
    for stat in ("logSUM", "D2"):
        # The head multiplies fewer columns, and may sum in another order.
        assert_allclose(scores(part, stat), scores(whole, stat)[[3, 1]], rtol=1e-3, atol=1e-6)


def test_half_a_strand_pair_takes_its_other_half_along(bundle: Bundle, genome: Fasta) -> None:
    """A row of two strands needs both: those of C>G are 1 and -1 in the CAGE pair. Kept apart, one is enough."""
    variant = Variant("chr1", 2982, "C", "G")
    whole = result(bundle, genome, variant, tracks="cage", stats=("D1",))
    half = result(bundle, genome, variant, tracks="cage\\+", stats=("D1",))
    assert_array_equal(scores(half, "D1"), scores(whole, "D1"))
    assert_array_equal(scores(half, "D1"), [2])
    options = ScoreOptions(tracks="cage\\+")
    assert select_rows(bundle.tracks, options).added == ("cage-",)
    apart = result(bundle, genome, variant, tracks="cage\\+", merge_strands=False)
    assert_array_equal(scores(apart), [1])


@pytest.mark.parametrize(("written", "stands_for"), [("1", "chr1"), ("chrMT", "chrM"), ("MT", "chrM")])
def test_contigs_are_found_under_their_other_names(
    bundle: Bundle, genome: Fasta, written: str, stands_for: str
) -> None:
    ref = genome.fetch(stands_for, 99, 100)
    found = result(bundle, genome, Variant(written, 100, ref, "A"))
    assert (found.status, found.variant.chrom) == ("ok", written)
    assert_array_equal(scores(found), scores(result(bundle, genome, Variant(stands_for, 100, ref, "A"))))


class Faulty(ArraySession):
    """Fails, or gives a value that is no coverage, on the ALT window of the first variant."""

    fault: Exception | float

    def run(self, *given: Any, **named: Any) -> np.ndarray:
        coverage = super().run(*given, **named)
        if self.runs == 2:
            if isinstance(self.fault, Exception):
                raise self.fault
            coverage[0, 0, 0] = self.fault
        return coverage


def run_faulty(bundle: Bundle, genome: Fasta, fault: Exception | float) -> list[ScoredVariant]:
    session = Faulty(bundle.geometry, worlds.WEIGHTS)
    session.fault = fault
    variants = [Variant("chr1", 2982, "C", "G"), Variant("chr1", 2982, "C", "T")]
    return list(score_variants(variants, bundle=bundle, fasta=genome, session=session))


@pytest.mark.parametrize(
    ("fault", "detail"),
    [(ValueError("odd"), "ValueError: odd"), (np.nan, "NaN or infinite"), (np.inf, "NaN or infinite")],
)
def test_the_fault_of_one_window_is_one_row(
    bundle: Bundle, genome: Fasta, fault: Exception | float, detail: str
) -> None:
    first, second = run_faulty(bundle, genome, fault)
    assert (first.status, first.scores, second.status) == ("error", None, "ok")
    assert detail in first.detail


def test_a_model_that_is_gone_ends_the_run(bundle: Bundle, genome: Fasta) -> None:
    with pytest.raises(BackendError, match="gone"):
        run_faulty(bundle, genome, BackendError("gone"))


def test_files_and_objects_give_the_same_results(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    path = worlds.write_vcf(tmp_path / "in.vcf", ["chr1 2982 rs1 C G,T", "chr1 2984 . T <DEL>,g"])
    session = worlds.counting_session(bundle)
    found = list(score_variants(path, bundle=bundle, fasta=str(genome.path), session=session))
    assert [(item.record, item.alt_index, str(item.variant), item.status) for item in found] == [
        (0, 0, "chr1:2982 C>G", "ok"),
        (0, 1, "chr1:2982 C>T", "ok"),
        (1, 0, "chr1:2984 T><DEL>", "symbolic_alt"),
        (1, 1, "chr1:2984 T>g", "ok"),
    ]
    for item in found:
        if item.scores is not None:
            assert_array_equal(item.scores["SUM"], scores(result(bundle, genome, item.variant)))
    assert session.runs == 5  # both ALTs of a line share their REF


@pytest.mark.parametrize("written", ["chr1:2982:C:G", "chr1:2,982 C>G", ("chr1", 2982, "C", "G"), "chr1:2982:c:g"])
def test_variants_are_read_from_text_and_tuples(bundle: Bundle, genome: Fasta, written: object) -> None:
    (found,) = results(bundle, genome, [written])  # type: ignore[list-item]
    assert found.status == "ok"
    assert_array_equal(scores(found), scores(result(bundle, genome, Variant("chr1", 2982, "C", "G"))))


@pytest.mark.parametrize("wrong", [7, None, "chr1:2982", b"chr1:2982:C:G", ("chr1", 2982)])
def test_only_variants_are_scored(bundle: Bundle, genome: Fasta, wrong: object) -> None:
    with pytest.raises(InputError, match=r"a Variant, text like|write it like"):
        results(bundle, genome, [wrong])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "choice", [{"device": "cpu"}, {"backend": "onnx:cpu"}, {"threads": 1}, {"engine": EngineOptions()}], ids=str
)
def test_a_session_is_not_overruled(bundle: Bundle, genome: Fasta, choice: dict[str, Any]) -> None:
    """What would be ignored is refused, when the call is made and not when its first result is asked for."""
    session = worlds.counting_session(bundle)
    (name,) = choice
    with pytest.raises(InputError, match=f"{name} is given with a session.*leave one of the two out"):
        score_variants([], bundle=bundle, fasta=genome, session=session, **choice)


def test_a_device_is_named_once(bundle: Bundle, genome: Fasta) -> None:
    with pytest.raises(InputError, match="backend is an older name of device"):
        score_variants([], bundle=bundle, fasta=genome, device="cpu", backend="onnx:cpu")


@pytest.mark.parametrize(
    "named", [{"backend": "onnx:cpu"}, {"device": "cpu:1"}, {"device": "cpu", "threads": 1}], ids=str
)
def test_where_it_runs_changes_no_score(toy_bundle: Bundle, genome: Fasta, named: dict[str, Any]) -> None:
    variant = Variant("chr1", 2982, "C", "G")
    (found,), (plain,) = (
        list(score_variants([variant], bundle=toy_bundle, fasta=genome, **how)) for how in (named, {"threads": 1})
    )
    assert_allclose(scores(found), scores(plain), rtol=1e-5, atol=1e-6)  # threads may split sums otherwise


# Of zeros JS is 0 / 0, and the logarithm of a coverage below -1 is none.
WITHOUT = {
    "JS of zeros": (("SUM", "JS"), 5, np.zeros(4), "JS@window is not defined for 1 of 4 tracks, first 'chip'"),
    "log of less than nothing": (
        ("SUM", "logSUM"),
        4,
        np.full(4, -9.0),
        "logSUM@window is not defined for 1 of 4 tracks, first 'dnase'",
    ),
}


@pytest.mark.parametrize("title", WITHOUT)
def test_a_score_that_is_no_number_is_undefined_and_not_ok(bundle: Bundle, genome: Fasta, title: str) -> None:
    stats, track, weights, detail = WITHOUT[title]
    chosen = worlds.WEIGHTS.copy()
    chosen[track] = weights
    session = ArraySession(bundle.geometry, chosen)
    options = ScoreOptions.for_family(stats=stats)
    variants = [Variant("chr1", 2982, "C", "G")]
    (found,) = score_variants(variants, bundle=bundle, fasta=genome, options=options, session=session)
    assert (found.status, found.detail) == ("undefined", detail)
    assert found.status in SCORED
    assert np.isfinite(scores(found, "SUM")).all()
    wrong = np.flatnonzero(~np.isfinite(scores(found, stats[1])))
    assert [STRANDS[row][0] for row in wrong] == [track]


def test_an_undefined_score_says_what_became_of_the_record_too(bundle: Bundle, genome: Fasta) -> None:
    weights = worlds.WEIGHTS.copy()
    weights[5] = 0
    session = ArraySession(bundle.geometry, weights)
    options = ScoreOptions.for_family(stats=("JS",), ref_policy="flip")
    variants = [Variant("chr1", 2982, "G", "C")]
    (found,) = score_variants(variants, bundle=bundle, fasta=genome, options=options, session=session)
    assert found.status == "undefined"
    assert "JS@window is not defined" in found.detail
    assert "REF 'G', the genome has 'C'" in found.detail


@pytest.mark.parametrize("policy", ["zero", "uniform"])
@pytest.mark.parametrize("family", ["hound", "sad"])
def test_unknown_bases_are_coded_as_the_bundle_says(bundle: Bundle, genome: Fasta, policy: str, family: str) -> None:
    """At POS 200 824 of 2,048 bases lie before the contig; logSED sees them in the total, unless a family decides."""
    changed = replace(bundle, info=replace(bundle.info, n_policy=policy))
    variant = Variant("chr1", 200, "T", "A")
    (found,) = results(changed, genome, [variant], family=family, stats=("logSED",))
    explicit = {
        code: results(bundle, genome, [variant], family=family, stats=("logSED",), n_code=code) for code in CODES
    }
    assert not np.array_equal(*(scores(items[0], "logSED") for items in explicit.values()))
    expected = "uniform" if family == "sad" else policy
    assert_array_equal(scores(found, "logSED"), scores(explicit[expected][0], "logSED"))
    scorer = Scorer(changed, worlds.counting_session(changed), genome, ScoreOptions(family=family))
    assert scorer.options.prediction.n_code == expected
    assert bool(scorer.notes) is (expected != policy)


CODES = ("zero", "uniform")


def test_another_squash_scores_as_a_bundle_of_that_kind_would(toy_bundle: Bundle, genome: Fasta) -> None:
    variant = Variant("chr1", 2985, TEXT[2984], "A")
    found = {}
    with closing(open_session(toy_bundle, threads=1)) as session:
        for kind in KINDS:
            spec = replace(toy_bundle.info.squash, kind=kind)
            of_that_kind = replace(toy_bundle, info=replace(toy_bundle.info, squash=spec))
            runs = []
            for bundle, options in (
                (toy_bundle, ScoreOptions(stats=("SUM", "D2"), squash=kind)),
                (of_that_kind, ScoreOptions(stats=("SUM", "D2"))),
            ):
                runs += score_variants([variant], bundle=bundle, fasta=genome, options=options, session=session)
            for stat in ("SUM", "D2"):
                assert_array_equal(scores(runs[0], stat), scores(runs[1], stat))
            found[kind] = scores(runs[0], "D2").tobytes()
    assert len(set(found.values())) == len(KINDS), "kinds that cannot be told apart prove nothing"


def test_scored_statuses_are_statuses() -> None:
    assert set(SCORED) < set(STATUSES)
