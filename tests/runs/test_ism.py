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
from borzoi_rt.runs.ism import score_ism
from borzoi_rt.runs.ism_plan import Substitutions
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
        source = Substitutions((interval,), (genome.fetch("chr1", 3004, 3006),), 1)
    assert (source.blocks, source.items(0), source.items(1)) == (2, 3, 4)
    items = [item for number in range(source.blocks) for item in source.read(number)]
    assert items == Substitutions((interval,), source.sequences, 2).read(0)
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


REGIONS = [REGION, Interval("chr1", 3020, 3032, "two", "-"), Interval("chr1", 2996, 3008)]


@pytest.mark.parametrize("workers", [1, 2])
def test_regions_of_a_bed_are_those_one_by_one(
    result: Path, toy_bundle: Bundle, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Each in the window around its own middle, whoever computes it."""
    monkeypatch.setattr("borzoi_rt.runs.ism.job_size", lambda *_: 15)  # five bases
    given = {"bundle": toy_bundle, "fasta": fasta, "options": OPTIONS}
    counts = score_ism(REGIONS, tmp_path / "bed.h5", settings=RunSettings(workers=workers), **given)
    assert counts == Counter(ok=33 + 36 + 33, invalid_allele=8)
    singles = []
    for number, region in enumerate(REGIONS):
        score_ism(region, tmp_path / f"{number}.h5", **given)
        with h5py.File(tmp_path / f"{number}.h5") as file:
            singles.append({stat: file[stat][:] for stat in OPTIONS.stats} | {"sequence": file["sequence"][()]})
    with h5py.File(tmp_path / "bed.h5") as file:
        assert file["logSED"].shape == (3, 12, 4, 4)
        for stat in OPTIONS.stats:
            np.testing.assert_array_equal(file[stat][:], np.stack([single[stat] for single in singles]))
        assert list(file["sequence"]) == [single["sequence"] for single in singles]
        assert list(file["name"].asstr()) == ["", "two", ""]
        assert file["start"][:].tolist() == [3000, 3020, 2996]
        length = toy_bundle.geometry.sequence_length_bp
        assert file["window_start"][:].tolist() == [region.centred(length).start for region in REGIONS]


def test_tables_of_a_bed_have_the_window_of_each_region(toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    """Of any lengths; a base that lies in two regions comes twice."""
    regions = [REGIONS[0], Interval("chr1", 3010, 3013)]
    score_ism(regions, tmp_path / "bed.parquet", bundle=toy_bundle, fasta=fasta, options=OPTIONS)
    rows = parquet.read_table(tmp_path / "bed.parquet").to_pylist()
    length = toy_bundle.geometry.sequence_length_bp
    for row in rows:
        own = regions[row["record"] >= 12]
        assert row["pos"] == own.start + row["record"] % 12 + 1
        if row["status"] == "ok":
            assert row["window_start"] == own.centred(length).start
    assert {row["record"] for row in rows} == set(range(15))
    with pytest.raises(InputError, match="regions of 3 to 12 bases; an array has one length"):
        score_ism(regions, tmp_path / "bed.h5", bundle=toy_bundle, fasta=fasta, options=OPTIONS)
    with pytest.raises(InputError, match="no region"):
        score_ism([], tmp_path / "bed.h5", bundle=toy_bundle, fasta=fasta, options=OPTIONS)


GTF = "".join(
    f'chr1\ttoy\texon\t{start}\t{end}\t.\t+\t.\tgene_id "{gene}"; transcript_id "T{gene}"; gene_name "N{gene}";\n'
    for gene, start, end in (("G1", 2801, 2900), ("G1", 3101, 3150), ("G2", 2901, 2990))
)


def test_scores_of_one_gene_in_its_window(toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    annotation = tmp_path / "genes.gtf"
    annotation.write_text(GTF)
    stats = ("SUM@exons", "SUM")
    options = ScoreOptions(stats=stats, gene_names=("NG1",))
    given = {"bundle": toy_bundle, "fasta": fasta, "genes": annotation}
    score_ism([REGION], tmp_path / "gene.h5", options=options, **given)
    # Exons of 100 and 50 bp: the mean of their bases is 0-based (100 x 2849.5 + 50 x 3124.5) / 150 = 2941.2.
    start = 2941 - toy_bundle.geometry.sequence_length_bp // 2
    snvs = ScoreOptions.for_family("hound", stats=stats, gene_names=("NG1",), window=f"at:{start}")
    with h5py.File(tmp_path / "gene.h5") as file, Fasta(fasta) as genome:
        assert file["window_start"][0] == start
        base = genome.fetch("chr1", 3003, 3004)
        alt = "ACGT"["CGTA".index(base)]
        (scored,) = score_variants(
            [Variant("chr1", 3004, base, alt)], bundle=toy_bundle, fasta=genome, options=snvs, genes=annotation
        )
        for part in scored.regions:
            name = f"SUM@{part.region}" if part.region != "window" else "SUM"
            np.testing.assert_array_equal(file[name][0, 3, "ACGT".index(alt)], part.scores["SUM"])
        assert {part.gene for part in scored.regions} == {".", "G1"}
    for names, said in (((), "0 genes are named"), (("NG1", "NG2"), "2 genes are named")):
        with pytest.raises(InputError, match=said):
            score_ism(REGION, tmp_path / "x.h5", options=ScoreOptions(stats=stats, gene_names=names), **given)
    with pytest.raises(InputError, match="does not lie in the window chr1"):
        score_ism(Interval("chr1", 6000, 6010), tmp_path / "x.h5", options=options, **given)
