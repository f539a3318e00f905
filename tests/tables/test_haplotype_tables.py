"""Runs over haplotypes, normalised alleles and phase floors as every kind of table, and in processes."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pysam
import pytest
import worlds
from numpy.testing import assert_array_equal

from borzoi_rt import HaplotypeOptions, open_model
from borzoi_rt.backends.device import Device
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.results import ScoreResult
from borzoi_rt.runs import score as module
from borzoi_rt.runs.score import score_file
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.remote import check_not_served, check_served

TEXT = worlds.random_dna(4000, seed=3) + "CAG" * 20 + worlds.random_dna(3000, seed=4)
HAPLOTYPES = HaplotypeOptions(samples=("S2", "S1"), within_bp=200)


def snv(pos: int) -> str:
    base = TEXT[pos - 1]
    return f"{base} {'ACGT'[('ACGT'.index(base) + 1) % 4]}"


RECORDS = [
    f"1 2000 a {snv(2000)} . . . GT 0|1 1|1",
    f"1 2050 b {TEXT[2049:2054]} {TEXT[2049]} . . . GT 1|0 0|0",
    f"1 2600 c {snv(2600)} . . . GT 0/1 0|0",
    f"1 3500 d {snv(3500)} . . . GT 0|0 0|1",
    "1 4051 e GCAG G . . . GT 0|0 0|0",  # the last but two of the repeats
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("haplotypes")
    worlds.write_fasta(path / "toy.fa", {"chr1": TEXT})
    lines = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    lines.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "S1", "S2"]))
    (path / "in.vcf").write_text("\n".join([*lines, *("\t".join(row.split()) for row in RECORDS)]) + "\n")
    (path / "toy.gtf").write_text('1\tx\texon\t2040\t2700\t.\t-\t.\tgene_id "G|1"; gene_name "N";\n')
    return path


@pytest.fixture(scope="module")
def score(world: Path, toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def run(name: str, *, haplotypes: HaplotypeOptions | None = HAPLOTYPES, **choices: Any) -> Path:
        out = tmp_path_factory.mktemp("out") / name
        how = {key: choices.pop(key) for key in ("layout", "settings") if key in choices}
        options = ScoreOptions.for_family("hound", **{"stats": ("SUM", "D2@exons"), **choices})
        genes = world / "toy.gtf" if options.of_genes else None
        where: dict[str, Any] = {"bundle": toy_bundle, "fasta": world / "toy.fa", "genes": genes}
        score_file(world / "in.vcf", out, options=options, haplotypes=haplotypes, **how, **where)
        return out

    return run


@pytest.fixture(scope="module")
def found(world: Path, toy_bundle: Bundle) -> ScoreResult:
    with open_model(toy_bundle, fasta=world / "toy.fa") as model:
        return model.score(world / "in.vcf", stats=("SUM", "D2@exons"), genes=world / "toy.gtf", haplotypes=HAPLOTYPES)


def test_the_facade_names_haplotypes(found: ScoreResult) -> None:
    assert [(item.haplotype.sample, item.haplotype.name) for item in found if item.haplotype][:3] == [
        ("S2", "1"),
        ("S2", "2"),
        ("S2", "2"),
    ]
    assert "\n  S2 haplotype 2 against 1 ok: SUM " in repr(found)


KEYS = [  # record, sample, haplotype, against, variants, status
    (0, "S2", "1", "reference", "a", "ok"),
    (0, "S2", "2", "reference", "a", "ok"),
    (0, "S2", "2", "1", "a", "ok"),
    (0, "S1", "1", "reference", "b", "ok"),
    (0, "S1", "2", "reference", "a", "ok"),
    (0, "S1", "2", "1", "a", "ok"),
    *((2, "S1", *who, "unphased") for who in (("1", "reference", ""), ("2", "reference", "c"), ("2", "1", "c"))),
    *((3, "S2", *who, "ok") for who in (("1", "reference", ""), ("2", "reference", "d"), ("2", "1", "d"))),
]


def named(text: str | None) -> str:
    """Ids of the variants of a cell."""
    ids = {int(row.split()[1]): row.split()[2] for row in RECORDS}
    return "".join(ids[int(part.split(":")[1].split()[0])] for part in (text or "").split(";") if part)


def test_the_long_table_names_rows_by_sample_and_haplotype(score: Callable[..., Path], found: ScoreResult) -> None:
    out = score("out.tsv")
    with out.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    read = parquet.read_table(score("out.parquet")).to_pylist()
    assert len(rows) == len(read) == found.to_arrow().num_rows
    for one, two, three in zip(rows, read, found.to_arrow().to_pylist(), strict=True):
        names = ("sample", "haplotype", "against", "variants")
        assert (
            [one[name] for name in names]
            == [two[name] or "" for name in names]
            == [three[name] or "" for name in names]
        )
        assert (np.float32(one["score"] or "nan") == two["score"]) or (one["score"] == "" and two["score"] is None)
        assert two["score"] == three["score"]
    seen = dict.fromkeys(
        (int(row["record"]), row["sample"], row["haplotype"], row["against"], named(row["variants"]), row["status"])
        for row in rows
        if row["status"] != "no_gene"
    )
    assert list(seen) == KEYS
    keys = [
        tuple(row[name] for name in ("record", "alt_index", "sample", "region", "gene", "track_index", "stat"))
        for row in rows
    ]
    assert len(set(keys)) == len(keys)
    about = json.loads(out.with_name("out.tsv.meta.json").read_text())
    assert about["haplotypes"] == {"samples": ["S2", "S1"], "within_bp": 200}
    ids = [about["score_ids"]["SUM"]]
    for chosen in (None, HaplotypeOptions(samples=("S1",), within_bp=200), HaplotypeOptions(samples=("S1",))):
        again = score("out.tsv", haplotypes=chosen).with_name("out.tsv.meta.json")
        ids.append(json.loads(again.read_text())["score_ids"]["SUM"])
    assert ids[0] == ids[2]  # whose it is changes no score, what belongs to it does
    assert len(set(ids)) == 3


def test_the_wide_table_has_a_row_for_each_comparison(score: Callable[..., Path], found: ScoreResult) -> None:
    table = parquet.read_table(score("out.parquet", layout="wide")).to_pylist()
    assert [
        (row["record"], row["sample"], row["haplotype"], row["against"], named(row["variants"]), row["status"])
        for row in table
    ] == KEYS
    for row, item in zip(table, found, strict=True):
        if item.scores:
            assert row["SUM|dnase"] == np.float32(item["SUM"]["dnase"])


def test_hdf5_says_whose_rows_they_are(score: Callable[..., Path], found: ScoreResult) -> None:
    with h5py.File(score("out.h5")) as file:
        names = [[value.decode() for value in file[name][:]] for name in ("sample", "haplotype", "against", "variants")]
        assert [(*row[:3], named(row[3])) for row in zip(*names, strict=True)] == [key[1:5] for key in KEYS]
        values = [np.full(4, np.nan) if not item.scores else item["SUM"].array for item in found]
        assert_array_equal(file["SUM"][:], np.stack(values).astype(np.float32))


def test_vcf_has_the_comparisons_at_the_first_record(score: Callable[..., Path], found: ScoreResult) -> None:
    out = score("out.vcf.gz")
    with pysam.VariantFile(str(out)) as file:
        records = list(file)
        assert "Format: SAMPLE|HAPLOTYPE|AGAINST|TRACK|SCORE" in file.header.info["BRT_SUM"].description
    assert [bool(record.info.get("BRT_HAP_STATUS")) for record in records] == [True, False, True, True, False]
    entries = [tuple(text.split("|")) for record in records for text in record.info.get("BRT_HAP_STATUS", ())]
    assert [(*entry[:3], entry[4]) for entry in entries] == [(*key[1:4], key[5]) for key in KEYS]
    assert entries[3][3] == f"1:2050:{TEXT[2049:2054]}>{TEXT[2049]}"
    sums = [text.split("|") for record in records for text in record.info.get("BRT_SUM", ())]
    for cells, item in zip(sums, found, strict=True):
        if item.scores:
            ((track, value),) = item["SUM"].top(1)
            assert (cells[3], float(cells[4])) == (track, pytest.approx(value))
        else:
            assert cells[3:] == [".", "."]
    of_genes = [text.split("|") for text in records[0].info["BRT_D2_exons"]]
    assert [cells[:5] for cells in of_genes] == [[*key[1:4], "G_1", "N"] for key in KEYS[:6]]


def test_processes_change_nothing(score: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Haplotypes pass through the file of alleles, in jobs of another size, to other processes."""
    first = score("out.tsv").read_bytes()
    monkeypatch.setattr(module, "job_size", lambda *_: 5)
    assert score("out.tsv", settings=RunSettings(workers=2)).read_bytes() == first


def test_bytes_that_are_no_text_survive(world: Path, toy_bundle: Bundle, tmp_path: Path) -> None:
    vcf = tmp_path / "in.vcf"
    vcf.write_bytes((world / "in.vcf").read_bytes().replace(b"\tS1\t", b"\tS\xe9\t").replace(b"\ta\t", b"\t\xff\t"))
    chosen = HaplotypeOptions(samples=(b"S\xe9".decode("utf-8", "surrogateescape"),))
    score_file(vcf, tmp_path / "out.tsv", bundle=toy_bundle, fasta=world / "toy.fa", haplotypes=chosen)
    rows = list(csv.DictReader((tmp_path / "out.tsv").open(), delimiter="\t"))
    assert rows[0]["sample"] == "S\\xe9"
    assert "\\xff" in {row["id"] for row in rows}


@pytest.mark.parametrize("suffix", ["tsv", "h5", "vcf.gz"])
def test_normalised_spellings_stand_beside_the_given_ones(score: Callable[..., Path], suffix: str) -> None:
    """A deletion among repeats goes as far left as the sequence without it stays the same; the others stay."""
    without = TEXT[:4051] + TEXT[4054:]
    leftmost = next(first for first in range(4051) if TEXT[:first] + TEXT[first + 3 :] == without)
    want = [(int(row.split()[1]), *row.split()[1:2], *row.split()[3:5]) for row in RECORDS[:4]]
    want.append((4051, str(leftmost), TEXT[leftmost - 1 : leftmost + 3], TEXT[leftmost - 1]))
    assert leftmost < 4002
    out = score(f"out.{suffix}", haplotypes=None, stats=("SUM",), normalize=True)
    if suffix == "tsv":
        rows = list({row["id"]: row for row in csv.DictReader(out.open(), delimiter="\t")}.values())
        got = [(int(row["pos"]), row["norm_pos"], row["norm_ref"], row["norm_alt"]) for row in rows]
    elif suffix == "h5":
        with h5py.File(out) as file:
            names = [[value.decode() for value in file[name][:]] for name in ("norm_ref", "norm_alt")]
            got = list(zip(file["pos"][:].tolist(), map(str, file["norm_pos"][:]), *names, strict=True))
    else:
        with pysam.VariantFile(str(out)) as file:
            got = [(record.pos, *record.info["BRT_NORMALIZED"][0].split(":")) for record in file]
    assert got == want


def test_the_phase_floor_stands_beside_scores_of_indels(score: Callable[..., Path]) -> None:
    out = score("out.tsv", haplotypes=None, phase_floor=3)
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    counts = Counter((row["id"], row["phase_floor"] != "") for row in rows if row["score"])
    assert {key for key, count in counts.items() if count} == {
        ("a", False),
        ("b", True),
        ("c", False),
        ("d", False),
        ("e", True),
    }
    floors = {row["phase_floor_pos"] for row in rows if row["id"] == "b"}
    assert len(floors) == 1
    assert len(floors.pop().split(";")) == 3
    wide = parquet.read_table(score("out.parquet", haplotypes=None, phase_floor=3, layout="wide"))
    assert "SUM.phase_floor|dnase" in wide.column_names
    with pysam.VariantFile(str(score("out.vcf.gz", haplotypes=None, phase_floor=3))) as file:
        records = list(file)
    assert records[1].info["BRT_PHASE_FLOOR_POS"][0].count("+") == 2
    assert records[1].info["BRT_SUM_PHASE_FLOOR"][0] > 0


def test_servers_refuse_what_they_do_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice in ({"normalize": True}, {"phase_floor": 2}):
        with pytest.raises(InputError, match="is not served"):
            check_served(ScoreOptions.for_family("hound", **choice))
    served = Device.parse("triton:grpc://127.0.0.1:1/borzoi_scorer")
    monkeypatch.setattr("borzoi_rt.scoring.remote.is_scorer", lambda url: url.endswith("scorer"))
    with pytest.raises(InputError, match="haplotypes are not served"):
        check_not_served(served, HAPLOTYPES)
    check_not_served(served, None)
    check_not_served(Device.parse("triton:grpc://127.0.0.1:1/borzoi"), HAPLOTYPES)
