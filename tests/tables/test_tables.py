"""The same run as TSV, Parquet, HDF5 and VCF: equal numbers, nothing where there is no score, readable by others."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pysam
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.runs import score as run
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import SCORED
from borzoi_rt.tables import WRITERS, suffix_of

TEXT = "T" * 2980 + "ACGTTGCAACCCGGGTATAT" + worlds.random_dna(3000, seed=5)
HEADER = ['##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">', '##FILTER=<ID=q10,Description="low">']
ROWS = [
    "chr1 200 far T A",
    "chr1 2982 rs1 C G,T,A 30 q10 AF=0.1,0.2,0.3",
    "chr1 2982 sym C <DEL>,A",
    "chr1 2982 bad G A",
    "chr1 2982 flip G C",
    "chr1 2984 . T N",
    "chr1 2990 ins C CTT . PASS .",
    "chr1 7001 end A C",
    'chr9" 5 lost A C',
]
STATUSES = [
    *("too_many_n", "ok", "ok", "ok", "symbolic_alt", "ok", "ref_mismatch", "flipped"),
    *("invalid_allele", "error", "out_of_bounds", "contig_missing"),
]
ALTS = [(row, alt) for row, line in enumerate(ROWS) for alt in range(len(line.split()[4].split(",")))]
TRACKS = ("cage+/-", "rna+/-", "dnase", "chip")
PLUS = ("cage+", "rna+", "dnase", "chip")
COLUMNS = [
    *("record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail", "k", "flipped"),
    *("window_start", "n_fraction", "gene", "region", "track_index", "track_id", "track_label", "track_strand"),
    *("stronger_strand", "stat", "score"),
]
OPTIONS = ScoreOptions.for_family("hound", stats=("SUM", "D2"), ref_policy="flip", indel="none", max_n_fraction=0.4)
ONE = RunSettings(threads=1)
SUFFIXES = (".tsv", ".tsv.gz", ".parquet", ".h5", ".vcf.gz")


@pytest.fixture(scope="module")
def folder(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All outputs of one run, whose shards of two alleles cut through the records with several ALTs."""
    path = tmp_path_factory.mktemp("tables")
    fasta = worlds.write_fasta(path / "toy.fa", {"chr1": TEXT})
    vcf = worlds.write_vcf(path / "in.vcf", ROWS, header=HEADER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "job_size", lambda *_: 2)
        for suffix in SUFFIXES:
            run.score_file(vcf, path / f"out{suffix}", bundle=toy_bundle, fasta=fasta, options=OPTIONS, settings=ONE)
    return path


@pytest.fixture(scope="module")
def matrix(folder: Path) -> dict[str, np.ndarray]:
    with h5py.File(folder / "out.h5") as file:
        return {stat: file[stat][:] for stat in OPTIONS.stats}


def tsv_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


def check_long_rows(rows: list[dict[str, Any]], matrix: dict[str, np.ndarray], missing: object) -> None:
    """One row per allele, track and statistic, in this order; an allele without scores has one, and nothing in it."""
    expected = []
    for number, (record, alt) in enumerate(ALTS):
        if STATUSES[number] in SCORED:
            for row, track in enumerate(TRACKS):
                key = (record, alt, STATUSES[number], track)
                expected += [(*key, stat, matrix[stat][number, row]) for stat in OPTIONS.stats]
        else:
            expected.append((record, alt, STATUSES[number], missing, missing, missing))
    got = [
        (
            int(row["record"]),
            int(row["alt_index"]),
            row["status"],
            row["track_id"],
            row["stat"],
            row["score"] if row["score"] == missing else np.float32(row["score"]),
        )
        for row in rows
    ]
    assert got == expected


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_tsv(folder: Path, matrix: dict[str, np.ndarray], suffix: str) -> None:
    rows = tsv_rows(folder / f"out{suffix}")
    check_long_rows(rows, matrix, "")
    assert list(rows[0]) == COLUMNS
    by_id = {row["id"]: row for row in rows}
    assert by_id["ins"]["k"] == "2"
    assert [by_id["flip"]["flipped"], by_id["bad"]["flipped"]] == ["true", "false"]
    assert by_id["flip"]["window_start"] == str(2982 - 1024)
    assert by_id["bad"]["window_start"] == by_id["bad"]["n_fraction"] == ""
    assert "the genome has 'C'" in by_id["bad"]["status_detail"]
    assert by_id["lost"]["chrom"].strip() == "chr9"  # a quote would break readers that know quoting


def test_parquet(folder: Path, matrix: dict[str, np.ndarray]) -> None:
    table = parquet.read_table(folder / "out.parquet")
    check_long_rows(table.to_pylist(), matrix, None)
    assert str(table.schema.field("score").type) == "float"
    assert table.column("score").null_count == sum(status not in SCORED for status in STATUSES)


def test_descriptions_of_the_run_are_the_same_everywhere(folder: Path, toy_bundle: Bundle) -> None:
    sidecar = json.loads((folder / "out.tsv.meta.json").read_text())
    embedded = json.loads(parquet.read_schema(folder / "out.parquet").metadata[b"borzoi_rt"])
    with h5py.File(folder / "out.h5") as file:
        assert json.loads(file.attrs["borzoi_rt"]) == embedded == sidecar
    assert sidecar["identity_bundle"] == toy_bundle.sha256
    assert sidecar["score_ids"].keys() == {"SUM", "D2"}
    assert sidecar["options"] == json.loads(json.dumps(OPTIONS.resolved(toy_bundle.info).to_dict()))
    assert (sidecar["genome"], sidecar["input"], sidecar["device"]) == ("toy.fa", "in.vcf", "cpu")


def test_hdf5_has_the_layout_of_the_reference(folder: Path, matrix: dict[str, np.ndarray]) -> None:
    scored = np.array([status in SCORED for status in STATUSES])
    with h5py.File(folder / "out.h5") as file:
        assert set(file) == {
            *("snp", "chr", "pos", "ref_allele", "alt_allele", "target_ids", "target_labels", "row_ids"),
            *("percentiles", "SUM", "SUM_pct", "D2", "D2_pct", "status", "status_detail"),
        }
        assert [name.decode() for name in file["status"]] == STATUSES
        assert [name.decode() for name in file["target_ids"]] == list(PLUS)
        assert [name.decode() for name in file["row_ids"]] == list(TRACKS)
        assert [name.decode() for name in file["snp"][:4]] == ["far", "rs1", "rs1", "rs1"]
        assert file["snp"][8] == b"chr1:2984"  # an unnamed variant is called by its position
        assert file["ref_allele"][7], file["alt_allele"][7] == (b"G", b"C")  # as in the VCF, though it was flipped
        assert (file["pos"].dtype, file["SUM"].dtype, file["SUM"].shape) == (np.uint32, np.float32, (12, 4))
        assert all(h5py.check_string_dtype(file[name].dtype) for name in ("snp", "chr", "ref_allele", "target_labels"))
        assert file["percentiles"].shape == (279,)  # 99 + 80 + 100 points
        expected = np.percentile(matrix["SUM"][scored].astype("f8"), 100 * file["percentiles"][:], axis=0).T
        assert_allclose(file["SUM_pct"], expected, rtol=1e-6, atol=1e-9)
    for values in matrix.values():
        assert_array_equal(np.isfinite(values), np.repeat(scored[:, None], 4, axis=1))


def test_vcf_is_the_input_with_fields_added(folder: Path, matrix: dict[str, np.ndarray]) -> None:
    with pysam.VariantFile(str(folder / "out.vcf.gz")) as file:
        assert {"AF", "BRT_STATUS", "BRT_SUM", "BRT_SUM_TRACK", "BRT_D2", "BRT_D2_TRACK"} == set(file.header.info)
        assert "q10" in file.header.filters
        records = list(file)
    assert [record.id for record in records] == [None if line.split()[2] == "." else line.split()[2] for line in ROWS]
    assert [record.alts for record in records] == [tuple(line.split()[4].split(",")) for line in ROWS]
    assert_allclose(records[1].info["AF"], [0.1, 0.2, 0.3], rtol=1e-6)
    assert (records[1].qual, list(records[1].filter), list(records[6].filter)) == (30, ["q10"], ["PASS"])
    for number, (record, alt) in enumerate(ALTS):
        info = records[record].info
        assert info["BRT_STATUS"][alt] == STATUSES[number]
        for stat in OPTIONS.stats:
            values = matrix[stat][number]
            if STATUSES[number] in SCORED:
                best = np.abs(values).argmax()
                assert info[f"BRT_{stat}_TRACK"][alt] == TRACKS[best]
                assert np.float32(info[f"BRT_{stat}"][alt]) == values[best]
            else:
                assert info.get(f"BRT_{stat}", (None,) * 9)[alt] is None


def test_sorted_vcf_is_indexed(folder: Path) -> None:
    with pysam.TabixFile(str(folder / "out.vcf.gz")) as file:
        assert [line.split("\t")[2] for line in file.fetch("chr1", 2983, 2990)] == [".", "ins"]


def score_again(toy_bundle: Bundle, folder: Path, vcf: Path, out: Path) -> list[str]:
    options = ScoreOptions.for_family("hound", stats=("SUM",))
    run.score_file(vcf, out, bundle=toy_bundle, fasta=folder / "toy.fa", options=options, settings=ONE)
    with gzip.open(out, "rt") as handle:
        return handle.read().splitlines()


def test_an_index_of_an_earlier_output_does_not_stay(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.vcf.gz"
    ordered = worlds.write_vcf(tmp_path / "ordered.vcf", ["chr1 2982 . C G", "chr1 2990 . C G"])
    score_again(toy_bundle, folder, ordered, out)
    assert out.with_name("out.vcf.gz.tbi").is_file()
    shuffled = worlds.write_vcf(tmp_path / "shuffled.vcf", ["chr1 2990 . C G", "chr1 2982 . C G"])
    score_again(toy_bundle, folder, shuffled, out)
    assert not out.with_name("out.vcf.gz.tbi").exists()
    with pysam.VariantFile(str(out)) as file:
        assert [record.pos for record in file] == [2990, 2982]


def test_an_annotated_vcf_can_be_scored_again(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """Fields of the earlier run are replaced, since readers take the first of two."""
    first = worlds.write_vcf(tmp_path / "in.vcf", ["chr1 2982 . C G . . AF=0.5"], header=HEADER)
    once = score_again(toy_bundle, folder, first, tmp_path / "once.vcf.gz")
    stale = tmp_path / "stale.vcf"
    stale.write_text("\n".join(line.replace("BRT_SUM=", "BRT_SUM=9") for line in once) + "\n")
    assert score_again(toy_bundle, folder, stale, tmp_path / "twice.vcf.gz") == once


def test_files_without_a_column_line_become_valid(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    vcf = tmp_path / "seven.vcf"
    vcf.write_text("##fileformat=VCFv4.2\nchr1\t2982\trs1\tC\tG\t.\t.\n")
    lines = score_again(toy_bundle, folder, vcf, tmp_path / "out.vcf.gz")
    assert lines[0] == "##fileformat=VCFv4.2"
    assert lines[-2].startswith("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [record.info["BRT_STATUS"] for record in file] == [("ok",)]


def test_short_column_lines_become_valid(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    vcf = tmp_path / "five.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nchr1\t2982\trs1\tC\tG\n")
    score_again(toy_bundle, folder, vcf, tmp_path / "out.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [(record.id, record.info["BRT_STATUS"]) for record in file] == [("rs1", ("ok",))]


def test_bcf_becomes_vcf(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    contig = "##contig=<ID=chr1,length=6000>"
    vcf = worlds.write_vcf(tmp_path / "in.vcf", ["chr1 2982 rs1 C G,T . PASS AF=0.1,0.2"], header=[*HEADER, contig])
    with (
        pysam.VariantFile(str(vcf)) as source,
        pysam.VariantFile(str(tmp_path / "in.bcf"), "wb", header=source.header) as out,
    ):
        for record in source:
            out.write(record)
    lines = score_again(toy_bundle, folder, tmp_path / "in.bcf", tmp_path / "out.vcf.gz")
    plain = score_again(toy_bundle, folder, vcf, tmp_path / "plain.vcf.gz")
    assert lines[-1] == plain[-1]


def test_genotypes_are_kept(toy_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    vcf = tmp_path / "samples.vcf"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2"
    gt = '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">'
    vcf.write_text(f"##fileformat=VCFv4.2\n{gt}\n{columns}\nchr1\t2982\trs1\tC\tG\t.\t.\t.\tGT\t0|1\t1|1\n")
    score_again(toy_bundle, folder, vcf, tmp_path / "out.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [record.samples["S1"]["GT"] for record in file] == [(0, 1)]


@pytest.mark.parametrize(("name", "suffix"), [(f"scores.v2{suffix}", suffix) for suffix in SUFFIXES])
def test_the_suffix_names_the_form(name: str, suffix: str) -> None:
    assert suffix_of(Path(name), WRITERS) == suffix


@pytest.mark.parametrize("name", ["scores.csv", "scores", ".tsv", "scores.vcf", "scores.parquet.gz"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"allowed: .tsv, .tsv.gz, .parquet, .h5, .vcf.gz"):
        suffix_of(Path(name), WRITERS)
