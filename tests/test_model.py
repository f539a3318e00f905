"""The facade: one object that scores, mutates and predicts, with the names of variants, tracks and positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

import borzoi_rt
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import Model, open_model
from borzoi_rt.results import CoverageResult, ScoreResult
from borzoi_rt.runs.ism import score_ism
from borzoi_rt.runs.predict import CoverageOptions, predict_regions
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants
from borzoi_rt.sequence import encode
from borzoi_rt.tables import frames

TEXT = worlds.random_dna(6000, seed=6)
ROWS = ("cage+/-", "rna+/-", "dnase", "chip")


def other(pos: int) -> str:
    return "ACGT"["CGTA".index(TEXT[pos - 1])]


SNV = Variant("chr1", 3000, TEXT[2999], other(3000))
DELETION = Variant("chr1", 3100, TEXT[3099:3104], TEXT[3099])
BAD = Variant("chr9", 5, "A", "C")
NAME = f"chr1:3000{SNV.ref}>{SNV.alt}"


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT})


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle, fasta: Path) -> Iterator[Model]:
    with open_model(toy_bundle.path, fasta=fasta, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def result(model: Model) -> ScoreResult:
    return model.score([SNV, BAD, DELETION], stats="SUM, D2@span:64")


@pytest.mark.parametrize(
    "variants",
    [
        f"chr1:3000:{SNV.ref}:{SNV.alt}",
        NAME,
        ("chr1", 3000, SNV.ref, SNV.alt),
        SNV,
        [SNV],
        iter([NAME]),
        (SNV,),
        [("chr1", np.int64(3000), SNV.ref, SNV.alt)],
    ],
    ids=["text", "HGVS-like", "tuple", "Variant", "list", "iterator", "tuple of one", "list of a tuple"],
)
def test_one_variant_in_any_form(model: Model, result: ScoreResult, variants: Any) -> None:
    found = model.score(variants, stats=("SUM", "D2@span:64"))
    assert len(found) == 1
    assert found[0].status == "ok"
    for name in ("SUM", "D2@span:64"):
        assert_array_equal(found[0][name], result[0][name])


@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_by_its_name(model: Model, result: ScoreResult, tmp_path: Path, as_text: bool) -> None:
    rows = [f"{v.chrom} {v.pos} . {v.ref} {v.alt}" for v in (SNV, BAD, DELETION)]
    path = worlds.write_vcf(tmp_path / "in.vcf", rows)
    found = model.score(str(path) if as_text else path, stats=["SUM", "D2@span:64"])
    assert found.counts == result.counts == {"ok": 2, "contig_missing": 1}
    assert found.to_arrow().equals(result.to_arrow())


def test_nothing_to_score(model: Model) -> None:
    found = model.score([])
    assert len(found) == 0
    assert found.to_arrow().column_names == model.score(SNV).to_arrow().column_names
    assert repr(found)


def test_scores_are_those_of_the_stream_bit_for_bit(model: Model, toy_bundle: Bundle, fasta: Path) -> None:
    options = ScoreOptions.for_family("sad", stats=("SAD", "D2@center:100"), rc=True, shifts=(0, 1), tracks="rna")
    variants = [SNV, DELETION, BAD]
    streamed = score_variants(variants, bundle=toy_bundle, fasta=fasta, options=options, threads=1)
    for got, want in zip(model.score(variants, options=options), streamed, strict=True):
        assert (got.variant, got.status, got.detail) == (want.variant, want.status, want.detail)
        assert got.scores.keys() == (want.scores or {}).keys()
        for name, values in (want.scores or {}).items():
            assert_array_equal(got[name], values)


def test_values_have_names(result: ScoreResult) -> None:
    assert result.tracks.identifier == ROWS
    values = result[NAME]["SUM"]
    assert (len(values), tuple(values), values.name) == (4, ROWS, "SUM")
    for number, track in enumerate(ROWS):
        assert values[track] == values.array[number]
    assert np.asarray(values).dtype == np.float32
    assert np.abs(np.asarray(values)).max() > 0
    largest, value = values.top(1)[0]
    assert abs(value) == np.abs(values.array).max() == abs(values[largest])
    assert result[("chr1", 3000, SNV.ref, SNV.alt)].variant == result[SNV].variant == result[0].variant == SNV
    assert [item.variant for item in result[1:]] == [BAD, DELETION]
    assert result[-1].variant == DELETION


def test_what_is_not_there_is_named(result: ScoreResult) -> None:
    with pytest.raises(KeyError, match="chr1:7 A>C is not among the 3 alleles scored"):
        result["chr1:7:A:C"]
    with pytest.raises(KeyError, match="has no score 'JS'; it has SUM, D2@span:64"):
        result[0]["JS"]
    with pytest.raises(KeyError, match="status 'contig_missing'"):
        result[1]["SUM"]
    with pytest.raises(KeyError, match=r"no track 'rna\+' among 4, first cage"):
        result[0]["SUM"]["rna+"]
    with pytest.raises(IndexError):
        result[3]


def test_results_say_what_they_are(model: Model, result: ScoreResult) -> None:
    assert repr(result).startswith("<ScoreResult: 3 alleles (2 ok, 1 contig_missing), SUM, D2@span:64, 4 tracks>")
    assert str(SNV) in repr(result)
    assert "contig_missing" in repr(result[1])
    assert repr(result[0]["SUM"]).startswith("<SUM of 4 tracks, largest: ")
    assert repr(model) == ("<Model toy: 2,048 bp -> 32 bins of 32 bp x 6 tracks, toy.fa, on cpu>")
    assert (model.device, len(model.tracks)) == ("cpu", 6)
    assert repr(model.bundle).endswith(": toy, 2,048 bp -> 32 bins of 32 bp, squash new>")
    assert repr(model.tracks).startswith("<TrackTable: 6 tracks, ")
    assert repr(result.tracks).startswith("<RowTable: 4 rows, ")
    assert repr(model.fasta).startswith("<Fasta ")
    assert repr(model.score(SNV, stats="SUM")).startswith("<ScoreResult: 1 allele (1 ok), SUM, ")


def test_options_of_another_kind_are_refused(model: Model) -> None:
    with pytest.raises(InputError, match="options is dict; a ScoreOptions is needed"):
        model.score(SNV, options={"rc": True})  # type: ignore[arg-type]


def test_frames(result: ScoreResult) -> None:
    table = result.to_arrow()
    assert len(table) == 2 * 2 * 4 + 1
    wide = result.to_arrow("wide")
    assert len(wide) == 3
    assert wide.column("SUM|dnase").to_pylist() == [
        result[0]["SUM"]["dnase"],
        None,
        result[2]["SUM"]["dnase"],
    ]


def test_pandas(result: ScoreResult) -> None:
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == result.to_arrow().column_names
    assert frame.shape == (17, len(frame.columns))
    assert result.to_pandas("wide").shape[0] == 3


def test_polars(result: ScoreResult) -> None:
    polars = pytest.importorskip("polars")
    frame = result.to_polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame.columns == result.to_arrow().column_names


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_named(result: ScoreResult, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(frames, "import_module", missing)
    with pytest.raises(BackendError, match=f"{name} is not installed; pip install {name}"):
        getattr(result, f"to_{name}")()


def test_options_are_said_once(model: Model) -> None:
    with pytest.raises(InputError, match="preset and options both say how to score"):
        model.score(SNV, preset="hound-default", options=ScoreOptions())
    with pytest.raises(InputError, match="preset 'paper' is unknown; allowed: hound-default"):
        model.score(SNV, preset="paper")
    with pytest.raises(InputError, match="tracks stand in the options too"):
        model.score(SNV, tracks="rna", options=ScoreOptions(tracks="cage"))
    with pytest.raises(InputError, match="is a command for squash kind 'old'"):
        model.score(SNV, preset="paper-eqtl-sad")
    found = model.score(SNV, preset="hound-stitch", tracks="dnase", stats=["D1"])
    assert (found.tracks.identifier, [spec.name for spec in found.specs]) == (("dnase",), ["D1"])


def test_departures_from_the_bundle_are_told(model: Model) -> None:
    assert model.score(SNV).notes == ()
    notes = model.score(SNV, options=ScoreOptions(family="sad", squash="old")).notes
    assert len(notes) == 2


def test_every_substitution(model: Model, toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    """The same as the file of :func:`score_ism`, and as SNVs one by one in the same window."""
    found = model.ism("chr1:3,001-3,006", stats=["SUM", "D2"])
    assert (found.interval, found.sequence) == (Interval("chr1", 3000, 3006), TEXT[3000:3006])
    assert len(found) == 18
    settings = RunSettings(threads=1)
    options = ScoreOptions(stats=("SUM", "D2"))
    score_ism(found.interval, tmp_path / "x.h5", bundle=toy_bundle, fasta=fasta, options=options, settings=settings)
    with h5py.File(tmp_path / "x.h5") as file:
        for name in ("SUM", "D2"):
            assert_array_equal(found.matrix(name), file[name][:])
    start = found.interval.centred(2048).start
    window = ScoreOptions.for_family(stats=("SUM", "D2"), window=f"at:{start}")
    single = model.score(found[7].variant, options=window)
    assert_array_equal(found[7]["D2"], single[0]["D2"])
    held = "ACGT".index(found.sequence[2])
    assert not found.matrix("SUM")[2, held].any()
    assert np.abs(found.matrix("D2")).sum() > 0
    with pytest.raises(KeyError, match="no score 'JS'; there are SUM, D2"):
        found.matrix("JS")
    with pytest.raises(InputError, match="longer than the 1024 bp"):
        model.ism("chr1:1001-3000")
    assert repr(found).startswith("<IsmResult: chr1:3001-3006, mode exact>")


def test_coverage_of_a_region(model: Model, toy_bundle: Bundle, fasta: Path) -> None:
    found = model.predict("chr1:3,001-3,100", tracks="dnase,rna+")
    assert isinstance(found, CoverageResult)
    assert (found.values.shape, found.values.dtype, found.bin_size_bp) == ((1, 2, 32), np.float32, 32)
    assert found.windows == (Interval("chr1", 3050 - 512, 3050 + 512),)
    where = np.array([4, 3])
    session = open_session(toy_bundle, threads=1)
    predictor = Predictor(session, toy_bundle.tracks, toy_bundle.squash(where), positions=where)
    with Fasta(fasta) as genome:
        want = toy_bundle.squash(where).inverse(predictor.window(genome, "chr1", 3050 - 1024))
    session.close()
    assert_array_equal(found.values[0], want)
    assert_array_equal(found["rna+"], want[1])
    assert found.start.tolist() == list(range(3050 - 512, 3050 + 512, 32))
    with pytest.raises(KeyError, match="no track 'chip' among 2"):
        found["chip"]


def test_a_long_region_is_adjacent_windows(model: Model, toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    """Three windows of 1,024 bp, each that of a region which it alone covers; and the same as the files of a run."""
    long = model.predict(Interval("chr1", 2000, 4500), tracks="dnase")
    assert [window.start for window in long.windows] == [1714, 2738, 3762]
    for number, window in enumerate(long.windows):
        single = model.predict(window, tracks="dnase")
        assert single.windows == (window,)
        assert_array_equal(long.values[number], single.values[0])
    assert_array_equal(long["dnase"], long.values[:, 0].reshape(-1))
    assert np.diff(long.start).tolist() == [32] * 95
    predict_regions(
        [Interval("chr1", 2000, 4500)],
        tmp_path / "out",
        bundle=toy_bundle,
        fasta=fasta,
        options=CoverageOptions(tracks="dnase"),
        settings=RunSettings(threads=1),
    )
    with np.load(tmp_path / "out" / "predictions.npz") as archive:
        assert_array_equal(archive["coverage"], long.values)


def test_coverage_tables(model: Model) -> None:
    found = model.predict("chr1:2,001-4,000", tracks="dnase,chip")
    wide, long = found.to_arrow(), found.to_arrow("long")
    assert wide.column_names == ["chrom", "start", "end", "dnase", "chip"]
    assert (len(wide), len(long)) == (64, 128)
    assert wide.column("chip").to_pylist() == found["chip"].tolist()
    assert [row["coverage"] for row in long.to_pylist() if row["track_id"] == "chip"] == found["chip"].tolist()
    assert all(row["end"] - row["start"] == 32 for row in wide.to_pylist())
    with pytest.raises(InputError, match="layout 'broad' is unknown"):
        found.to_arrow("broad")
    assert repr(found) == f"<CoverageResult: {shown(found)}, 2 tracks, 32 bins of 32 bp a window>"


def shown(found: CoverageResult) -> str:
    return ", ".join(f"chr1:{window.start + 1}-{window.end}" for window in found.windows)


@pytest.mark.parametrize("squashed", [False, True])
def test_coverage_of_a_sequence_needs_no_genome(toy_bundle: Bundle, squashed: bool) -> None:
    with open_model(toy_bundle, threads=1) as model:
        found = model.predict(TEXT[:2048].lower(), options=CoverageOptions(squashed=squashed))
        session = open_session(toy_bundle, threads=1)
        want = session.run(encode(TEXT[:2048])[None])[0]
        session.close()
        assert_array_equal(found.values[0], want if squashed else toy_bundle.squash().inverse(want))
        with pytest.raises(InputError, match="the sequence has 2047 bases; the window has 2048"):
            model.predict(TEXT[:2047])
        for ask in (lambda: model.score(SNV), lambda: model.ism("chr1:5-9"), lambda: model.predict("chr1:5-9")):
            with pytest.raises(InputError, match=r"this needs a genome: open_model\(bundle, fasta="):
                ask()
        shifted = CoverageOptions(prediction=borzoi_rt.PredictionOptions(shifts=(1,)))
        with pytest.raises(InputError, match="windows given as bases cannot be shifted"):
            model.predict(TEXT[:2048], options=shifted)


@pytest.mark.parametrize("policy", ["zero", "uniform"])
def test_unknown_bases_are_coded_as_the_bundle_says(toy_bundle: Bundle, fasta: Path, policy: str) -> None:
    """By score, ism and predict alike; half of the window around base 1 lies before the contig."""
    bundle = replace(toy_bundle, info=replace(toy_bundle.info, n_policy=policy))
    code = borzoi_rt.PredictionOptions(n_code=policy)
    opposite = borzoi_rt.PredictionOptions(n_code="uniform" if policy == "zero" else "zero")
    start = Variant("chr1", 5, TEXT[4], other(5))
    with open_model(bundle, fasta=fasta, threads=1) as model:
        for ask in (
            lambda options: np.asarray(model.score(start, stats="SUM", options=options)[0]["SUM"]),
            lambda options: model.ism("chr1:5-6", stats="D2", options=options).matrix("D2"),
        ):
            plain, said, turned = (ask(item and ScoreOptions(prediction=item)) for item in (None, code, opposite))
            assert_array_equal(plain, said)
            assert not np.array_equal(plain, turned)
        coverage = [
            model.predict("chr1:1-9", options=item and CoverageOptions(prediction=item)).values
            for item in (None, code, opposite)
        ]
        assert_array_equal(coverage[0], coverage[1])
        assert not np.array_equal(coverage[0], coverage[2])


def test_a_closed_model_says_so(toy_bundle: Bundle, fasta: Path) -> None:
    model = open_model(toy_bundle, fasta=fasta, threads=1)
    model.score(SNV)
    model.close()
    model.close()
    for ask in (lambda: model.score(SNV), lambda: model.predict("chr1:5-9"), lambda: model.ism("chr1:5-9")):
        with pytest.raises(InputError, match="this model is closed; open another"):
            ask()


def test_a_genome_that_was_given_open_stays_open(toy_bundle: Bundle, fasta: Path) -> None:
    with Fasta(fasta) as genome:
        with open_model(toy_bundle, fasta=genome, device="cpu:1") as model:
            assert model.fasta is genome
            assert model.score(SNV)[0].status == "ok"
        assert genome.fetch("chr1", 0, 5) == TEXT[:5]


def test_engine_options_reach_the_engine(toy_bundle: Bundle, fasta: Path, tmp_path: Path, model: Model) -> None:
    engine = EngineOptions(tile_cache=tmp_path / "tiles")
    with open_model(toy_bundle, fasta=fasta, threads=1, engine=engine) as other_model:
        found = other_model.score(SNV, stats="D2")
    assert list((tmp_path / "tiles").glob("*.tile"))
    assert_allclose(found[0]["D2"], model.score(SNV, stats="D2")[0]["D2"], rtol=1e-6)


def test_devices_are_judged_when_the_model_is_opened(toy_bundle: Bundle, fasta: Path) -> None:
    with pytest.raises(InputError, match="device 'gpu' is unknown; allowed: cpu, cpu:THREADS"):
        open_model(toy_bundle, fasta=fasta, device="gpu")
    with pytest.raises(InputError, match="name two numbers of threads"):
        open_model(toy_bundle, fasta=fasta, device="cpu:4", threads=2)


def test_tracks_that_share_a_name_keep_their_own_values(toy_bundle: Bundle, fasta: Path) -> None:
    """A table may repeat an identifier; no value is lost, and none stands under the name of another."""
    bundle = replace(toy_bundle)
    identifier = ("rna+", "rna-", "rna+", "rna-", "x", "x")
    vars(bundle)["tracks"] = replace(bundle.tracks, identifier=identifier, description=identifier)
    labels = [f"{name}#{unit}" for name, unit in zip(identifier, bundle.tracks.index, strict=True)]
    with open_model(bundle, fasta=fasta, threads=1) as opened, open_model(toy_bundle, fasta=fasta, threads=1) as plain:
        found, want = opened.score(SNV, stats="SUM")[0]["SUM"], plain.score(SNV, stats="SUM")[0]["SUM"]
        assert list(dict(found).values()) == list(dict(want).values())
        assert {name.split("#")[0] for name in found} == {"rna+/-", "x"}
        assert [value for _, value in found.top(4)] == [value for _, value in want.top(4)]
        assert len({name for name, _ in found.top(4)}) == 4
        with pytest.raises(KeyError, match="2 tracks are called 'x'; name one of x#"):
            found["x"]
        coverage, other = opened.predict("chr1:3000-3010"), plain.predict("chr1:3000-3010")
        for layout in ("wide", "long"):
            table, wanted = coverage.to_arrow(layout), other.to_arrow(layout)
            assert table.num_rows == wanted.num_rows
            assert table.num_columns == wanted.num_columns
        assert coverage.to_arrow("wide").column_names[3:] == labels
        for number, label in enumerate(labels):
            assert_array_equal(coverage[label], other.values[:, number].reshape(-1))
        with pytest.raises(KeyError, match="2 tracks are called 'rna-'"):
            coverage["rna-"]


@pytest.mark.parametrize(
    "variants",
    [
        ("chr1", 3000, SNV.ref, SNV.alt, "rs1"),
        ["chr1", np.int64(3000), SNV.ref, SNV.alt],
        tuple([["chr1", 3000, SNV.ref, SNV.alt]] * 4),
    ],
    ids=["with an id", "a list of fields", "as many variants as fields"],
)
def test_fields_are_told_from_variants(model: Model, variants: Any) -> None:
    assert {str(item.variant) for item in model.score(variants, stats="SUM", tracks="chip")} == {str(SNV)}


@pytest.mark.parametrize("wrong", [None, 5, b"chr1:3000:A:C", {"chrom": "chr1"}])
def test_what_is_neither_variants_nor_a_region(model: Model, wrong: Any) -> None:
    with pytest.raises(InputError, match="is no variant"):
        model.score(wrong)
    for ask in (model.predict, model.ism):
        with pytest.raises(InputError, match="an Interval or text like"):
            ask(wrong)


def test_a_list_of_tracks_is_read_each_time(model: Model, tmp_path: Path) -> None:
    listed = tmp_path / "tracks.txt"
    for name in ("chip", "dnase"):
        listed.write_text(f"{name}\n")
        assert model.score(SNV, stats="SUM", tracks=f"@{listed}").tracks.identifier == (name,)


def test_ism_keeps_the_coverage_of_alleles(model: Model) -> None:
    options = ScoreOptions(stats=("SUM",), tracks="chip", with_alleles=True)
    table = model.ism("chr1:3000-3000", options=options).to_arrow().to_pydict()
    want = model.ism("chr1:3000-3000", stats="SUM", tracks="chip").to_arrow()["score"].to_pylist()
    assert table["score"] == want
    for score, ref, alt in zip(table["score"], table["ref_value"], table["alt_value"], strict=True):
        assert score == pytest.approx(alt - ref, abs=1e-5 * alt)  # sums of 32 bins, each rounded to float32
