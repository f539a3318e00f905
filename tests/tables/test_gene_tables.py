"""One run with scores of genes and of windows as every kind of table: equal numbers, and genes told apart by name."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pysam
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt import open_model
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.results import ScoreResult
from borzoi_rt.runs.score import score_file, score_list
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.remote import check_served
from borzoi_rt.serving.repository import write_repository

TEXT = worlds.random_dna(9000, seed=3)
STATS = ("SUM", "logSED@exons", "D2@span", "D2@exons")
ROWS = ("cage+/-", "rna+/-", "dnase", "chip")


def snv(pos: int) -> str:
    base = TEXT[pos - 1]
    return f"{base} {'ACGT'[('ACGT'.index(base) + 1) % 4]}"


RECORDS = [f"1 4000 two {snv(4000)}", f"1 1500 none {snv(1500)}", f"1 3500 many {snv(3500)},<DEL>", "1 9 bad ACGT A"]
EXONS = {"G1.2": ("+", [(3900, 3950), (4100, 4300)]), "G2": ("-", [(3600, 3700), (4350, 8000)])}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genes")
    worlds.write_fasta(path / "toy.fa", {"chr1": TEXT})
    worlds.write_vcf(path / "in.vcf", RECORDS)
    lines = [
        f'1\tx\texon\t{start + 1}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; gene_name "N|{gene[:2]}";'
        for gene, (strand, exons) in EXONS.items()
        for start, end in exons
    ]
    (path / "toy.gtf").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def score(world: Path, toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def run(name: str, *, layout: str = "long", settings: RunSettings | None = None, **choices: Any) -> Path:
        out = tmp_path_factory.mktemp("out") / name
        options = ScoreOptions.for_family("hound", **{"stats": STATS, **choices})
        how: dict[str, Any] = {"bundle": toy_bundle, "fasta": world / "toy.fa", "genes": world / "toy.gtf"}
        counts = score_file(world / "in.vcf", out, options=options, layout=layout, settings=settings, **how)
        assert counts.total() == 5
        return out

    return run


@pytest.fixture(scope="module")
def found(world: Path, toy_bundle: Bundle) -> ScoreResult:
    """The facade's answer, which the tables must repeat."""
    with open_model(toy_bundle, fasta=world / "toy.fa") as model:
        options = ScoreOptions.for_family("hound", stats=STATS, with_alleles=True)
        return model.score(world / "in.vcf", options=options, genes=world / "toy.gtf")


def test_the_facade_names_scores_by_gene(found: ScoreResult) -> None:
    two, none, many = found[0], found[1], found[2]
    assert two.genes == {"G1.2": "N|G1", "G2": "N|G2"}
    assert_array_equal(two["logSED@exons", "G2"].array, two["logSED@exons|G2"].array)
    assert_array_equal(two["logSED@exons", "N|G2"].array, two["logSED@exons|G2"].array)
    assert two["SUM"].array.shape == (4,)
    with pytest.raises(KeyError, match="more than one score 'D2@span'"):
        two["D2@span"]
    with pytest.raises(KeyError, match="no score 'logSED@exons'"):
        none["logSED@exons"]
    assert list(none.scores) == ["SUM"]
    assert many["D2@exons", "G1.2"]["dnase"] > 0
    assert repr(found).startswith("<ScoreResult: 5 alleles")


def check_rows(rows: list[dict[str, Any]], found: ScoreResult, missing: object) -> None:
    """Every number of the facade is in the long table once, under its key, and nothing else is."""
    keys = {
        (int(row["record"]), int(row["alt_index"]), row["gene"], row["region"], row["track_id"], row["stat"]): row
        for row in rows
        if row["stat"] != missing
    }
    expected = {
        (item.found.record, item.found.alt_index, part.gene, part.region, track, stat): (part, values[number])
        for item in found
        for part in item.found.regions
        for stat, values in part.scores.items()
        for number, track in enumerate(ROWS)
    }
    assert keys.keys() == expected.keys()
    assert len(keys) == sum(row["stat"] != missing for row in rows)
    for key, (part, score) in expected.items():
        row = keys[key]
        assert np.float32(row["score"]) == score
        assert (row["gene_name"] or "", row["gene_strand"] or "") == (part.gene_name, part.gene_strand)
        joined = "/" in key[4]
        assert row["track_strand"] == (part.gene_strand if joined and part.gene != "." else ".")
        if part.gene != ".":
            assert float(row["covered_fraction"]) == pytest.approx(part.covered_fraction)
            assert part.coverage is not None
            number = ROWS.index(key[4])
            values = [float(row[name]) for name in ("ref_value", "alt_value")]
            assert_allclose(values, [part.coverage[0][number], part.coverage[1][number]], rtol=1e-6)
        else:
            assert row["covered_fraction"] == missing


def test_long_tables(score: Callable[..., Path], found: ScoreResult) -> None:
    with score("out.tsv", with_alleles=True).open() as handle:
        text = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    check_rows(text, found, "")
    table = parquet.read_table(score("out.parquet", with_alleles=True))
    check_rows(table.to_pylist(), found, None)
    assert table.drop(["status_detail"]).equals(
        found.to_arrow().drop(["status_detail"]).cast(table.drop(["status_detail"]).schema)
    )
    alone = [row for row in text if row["id"] == "none" and row["region"] != "window"]
    assert [(row["status"], row["region"], row["gene"], row["score"]) for row in alone] == [
        ("no_gene", "exons", ".", ""),
        ("no_gene", "span", ".", ""),
    ]
    assert {row["status"] for row in text if row["region"] == "window"} == {"ok"}


def test_the_wide_table_has_a_row_for_each_gene(score: Callable[..., Path], found: ScoreResult) -> None:
    rows = parquet.read_table(score("out.parquet", layout="wide", with_alleles=True)).to_pylist()
    assert [(row["id"], row["gene"], row["status"]) for row in rows] == [
        ("two", "G2", "ok"),
        ("two", "G1.2", "ok"),
        ("none", ".", "ok"),
        ("many", "G2", "ok"),
        ("many", "G1.2", "ok"),
        ("many", None, "symbolic_alt"),
        ("bad", None, "ref_mismatch"),
    ]
    item = found[0]
    for row, gene in zip(rows[:2], ("G2", "G1.2"), strict=True):
        for number, track in enumerate(ROWS):
            for name in ("logSED@exons", "D2@span", "D2@exons"):
                assert np.float32(row[f"{name}|{track}"]) == item[name, gene].array[number]
            assert np.float32(row[f"SUM|{track}"]) == item["SUM"].array[number]
            assert row[f"alt_value@exons|{track}"] > 0
        assert 0 < row["covered_fraction@exons"] <= 1
    assert rows[2]["SUM|dnase"] is not None
    assert rows[2]["D2@span|dnase"] is None


def test_hdf5_has_the_layout_of_sed(score: Callable[..., Path], found: ScoreResult) -> None:
    with h5py.File(score("out.h5", with_alleles=True)) as file:
        pairs = list(zip(file["si"][:].tolist(), [name.decode() for name in file["gene"][:]], strict=True))
        assert pairs == [(0, "G2"), (0, "G1.2"), (2, "G2"), (2, "G1.2")]
        assert [file["snp"][number].decode() for number, _ in pairs] == ["two", "two", "many", "many"]
        assert file["logSED"] == file["logSED@exons"]  # one region: also under the name of the reference
        assert "D2" not in file
        assert "REF" not in file  # two regions
        for row, (number, gene) in enumerate(pairs):
            for name in ("logSED@exons", "D2@span", "D2@exons"):
                assert_array_equal(file[name][row], found[number][name, gene].array)
        assert_array_equal(file["SUM"][0], found[0]["SUM"].array)
        assert file["SUM"].shape == (5, 4)
        assert file["ref_value@exons"].shape == (4, 4)
    with h5py.File(score("one.h5", stats=("SED@exons",), with_alleles=True)) as file:
        assert_allclose(file["ALT"][:] - file["REF"][:], file["SED"][:], atol=1e-3)


def test_vcf_has_an_entry_for_each_gene(score: Callable[..., Path], found: ScoreResult) -> None:
    path = score("out.vcf.gz")
    with pysam.VariantFile(str(path)) as file:
        assert file.header.info["BRT_logSED_exons"].number == "."
        records = {record.id: record for record in file}
    for gene, entry in zip(("G2", "G1.2"), records["two"].info["BRT_logSED_exons"], strict=True):
        allele, name, called, covered, track, value = entry.split("|")
        assert (allele, name, called) == (records["two"].alts[0], gene, f"N_{gene[:2]}")
        assert 0 < float(covered) <= 1
        best = int(np.abs(found[0]["logSED@exons", gene].array).argmax())
        assert (track, np.float32(value)) == (ROWS[best], found[0]["logSED@exons", gene].array[best])
    assert "BRT_logSED_exons" not in records["none"].info
    assert len(records["many"].info["BRT_D2_span"]) == 2  # the symbolic ALT has none
    with pytest.raises(InputError, match="a VCF holds scores alone"):
        score("no.vcf.gz", with_alleles=True)


def test_processes_and_the_size_of_jobs_change_nothing(
    score: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score("a.tsv").read_bytes()
    monkeypatch.setattr("borzoi_rt.runs.score_plan._BASES_OF_JOB", 1)  # an allele a job
    assert score("b.tsv").read_bytes() == whole
    assert score("c.tsv", settings=RunSettings(workers=2, threads=1)).read_bytes() == whole


def test_a_table_without_scores_of_genes_has_no_columns_of_theirs(
    world: Path, toy_bundle: Bundle, tmp_path: Path
) -> None:
    options = ScoreOptions.for_family("hound", stats=("SUM",))
    score_list(
        ["1:4000:" + snv(4000).replace(" ", ":")],
        tmp_path / "a.tsv",
        bundle=toy_bundle,
        fasta=world / "toy.fa",
        options=options,
    )
    header = (tmp_path / "a.tsv").read_text().splitlines()[0].split("\t")
    assert not {"gene_name", "gene_strand", "covered_fraction", "ref_value", "alt_value"} & set(header)


def test_servers_refuse_what_they_do_not_compute(toy_bundle: Bundle, world: Path, tmp_path: Path) -> None:
    options = ScoreOptions.for_family("hound", stats=("COVR@pas",))
    with pytest.raises(InputError, match="COVR@pas: scores of sites are not served"):
        check_served(options)
    with pytest.raises(InputError, match="the coverage of alleles is not served"):
        check_served(ScoreOptions.for_family("hound", with_alleles=True))
    how: dict[str, Any] = {"bundle": toy_bundle, "out": tmp_path / "models"}
    with pytest.raises(InputError, match="scores of sites are not served"):
        write_repository(**how, fasta=world / "toy.fa", genes=world / "toy.gtf", options=options)
    options = ScoreOptions.for_family("hound", stats=("SUM@exons",))
    with pytest.raises(InputError, match="SUM@exons is a score of genes; give their annotation"):
        write_repository(**how, fasta=world / "toy.fa", options=options)
    with pytest.raises(InputError, match="genes are for a scorer, which needs a genome"):
        write_repository(**how, genes=world / "toy.gtf", options=options)
    assert not list(tmp_path.glob("models/*"))
