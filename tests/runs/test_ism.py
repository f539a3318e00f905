"""Saturation mutagenesis: the same numbers as SNVs scored one by one, in a layout that can be indexed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.errors import InputError, RunInterrupted
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.runs.ism import Substitutions, score_ism
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants

REGION = Interval("chr1", 3000, 3012)
OPTIONS = ScoreOptions(stats=("logSED", "D2"))


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bases = np.random.default_rng(8).choice(list("ACGT"), 8000)
    bases[3005] = "N"
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    write_fasta(path, {"chr1": "".join(bases)})
    return path


@pytest.fixture(scope="module")
def result(toy_bundle: Bundle, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ism") / "ism.h5"
    counts = score_ism(REGION, out, bundle=toy_bundle, fasta=fasta, options=OPTIONS)
    assert counts == Counter(ok=33, invalid_allele=4)
    return out


def test_layout(result: Path, fasta: Path, toy_bundle: Bundle) -> None:
    with h5py.File(result) as file, Fasta(fasta) as genome:
        assert file["sequence"][()].decode() == genome.fetch("chr1", 3000, 3012)
        assert (file["chrom"][()], file["start"][()], file["end"][()]) == (b"chr1", 3000, 3012)
        # four of six tracks are two stranded pairs
        assert file["logSED"].shape == (12, 4, 4)
        assert file["logSED"].dtype == np.float32
        assert list(file["target_ids"][:]) == [b"cage+", b"rna+", b"dnase", b"chip"]


def test_the_base_of_the_genome_is_zero_and_an_unknown_one_is_missing(result: Path) -> None:
    with h5py.File(result) as file:
        scores, sequence = file["D2"][:], file["sequence"][()].decode()
    for offset, base in enumerate(sequence):
        if base == "N":
            assert np.isnan(scores[offset]).all()
            continue
        held = "ACGT".index(base)
        assert (scores[offset, held] == 0).all()
        assert (np.delete(scores[offset], held, axis=0) > 0).all()


def test_each_substitution_equals_the_snv(result: Path, toy_bundle: Bundle, fasta: Path) -> None:
    start = REGION.centred(toy_bundle.geometry.sequence_length_bp).start
    options = ScoreOptions.for_family("hound", stats=OPTIONS.stats, window=f"at:{start}")
    with h5py.File(result) as file, Fasta(fasta) as genome:
        variants = [
            (offset, index, Variant("chr1", REGION.start + offset + 1, base, alt))
            for offset, base in enumerate(genome.fetch("chr1", REGION.start, REGION.end))
            for index, alt in enumerate("ACGT")
            if base != "N" and alt != base
        ]
        snvs = score_variants([item[2] for item in variants], bundle=toy_bundle, fasta=genome, options=options)
        for (offset, index, _), scored in zip(variants, snvs, strict=True):
            assert scored.scores is not None
            for stat in OPTIONS.stats:
                np.testing.assert_array_equal(file[stat][offset, index], scored.scores[stat])


def test_tables_hold_the_same(result: Path, toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    out = tmp_path / "ism.parquet"
    score_ism(REGION, out, bundle=toy_bundle, fasta=fasta, options=OPTIONS)
    rows = parquet.read_table(out).to_pylist()
    assert Counter(row["status"] for row in rows) == {"ok": 33 * 4 * 2, "invalid_allele": 4}
    with h5py.File(result) as file:
        tracks = [name.decode() for name in file["row_ids"]]
        for row in rows:
            if row["status"] == "ok":
                found = file[row["stat"]][row["record"], row["alt_index"], tracks.index(row["track_id"])]
                assert row["score"] == found
                assert row["pos"] == REGION.start + row["record"] + 1


def test_an_interrupted_run_goes_on(
    result: Path, toy_bundle: Bundle, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("borzoi_rt.runs.ism.job_size", lambda *_: 8)  # two bases
    out, calls, whole = tmp_path / "ism.h5", [], Predictor.variant

    def counted(self: Predictor, *arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return whole(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "variant", counted)
    with pytest.raises(RunInterrupted, match=r"interrupted: \d+ of 37 are kept"):
        score_ism(REGION, out, bundle=toy_bundle, fasta=fasta, options=OPTIONS)
    assert not out.exists()
    calls.clear()
    calls.extend([1] * 100)
    score_ism(REGION, out, bundle=toy_bundle, fasta=fasta, options=OPTIONS, settings=RunSettings(resume=True))
    assert len(calls) - 100 < 33 - 8  # shards of the first run were not computed again
    with h5py.File(out) as got, h5py.File(result) as want:
        for stat in OPTIONS.stats:
            np.testing.assert_array_equal(got[stat][:], want[stat][:])
    assert not out.with_name("ism.h5.partial").exists()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Interval("chr2", 0, 10), "no contig 'chr2'"),
        (Interval("chr1", 7990, 8001), "does not lie in chr1"),
        (Interval("chr1", 1000, 3000), "longer than the 1024 bp"),
        (Interval("chr1", 1000, 1000), "does not lie"),
    ],
)
def test_regions_that_cannot_be_done(
    region: Interval, message: str, toy_bundle: Bundle, fasta: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        score_ism(region, tmp_path / "x.h5", bundle=toy_bundle, fasta=fasta)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_without_a_layout(toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"allowed: .tsv, .tsv.gz, .parquet, .h5"):
        score_ism(REGION, tmp_path / "x.vcf.gz", bundle=toy_bundle, fasta=fasta)


def test_order(fasta: Path) -> None:
    interval = Interval("chr1", 3004, 3006)
    with Fasta(fasta) as genome:
        source = Substitutions(interval, genome.fetch("chr1", 3004, 3006), 1)
    assert (source.blocks, source.items(0), source.items(1)) == (2, 3, 4)
    items = [item for number in range(source.blocks) for item in source.read(number)]
    assert items == Substitutions(interval, source.sequence, 2).read(0)
    first = items[0].variant.ref
    assert [item.variant.alt for item in items[:3]] == [base for base in "ACGT" if base != first]
    assert [(item.record, item.problem) for item in items[3:]] == [(1, "invalid_allele")] * 4


@pytest.mark.parametrize("text", ["chr1", "chr1:10", "chr1:0-5", "chr1:9-5", "chr1:-5-9", ":1-2"])
def test_regions_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError):
        Interval.parse(text)


def test_regions_are_one_based_as_in_browsers() -> None:
    assert Interval.parse("chr1:1,001-2,000") == Interval("chr1", 1000, 2000)


def test_coverage_of_alleles_is_written_or_refused(toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    options = ScoreOptions(stats=("SUM",), with_alleles=True, tracks="chip")
    given = {"bundle": toy_bundle, "fasta": fasta, "options": options}
    with pytest.raises(InputError, match="with_alleles"):
        score_ism(REGION, tmp_path / "ism.h5", **given)
    score_ism(REGION, tmp_path / "ism.parquet", **given)
    table = parquet.read_table(tmp_path / "ism.parquet").to_pydict()
    for score, ref, alt in zip(table["score"], table["ref_value"], table["alt_value"], strict=True):
        assert (score is None) == (ref is None) == (alt is None)
        if score is not None:  # sums of 32 bins, each rounded to float32
            assert score == pytest.approx(alt - ref, abs=1e-5 * alt)
