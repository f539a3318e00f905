"""A null made by a run, and scores compared with it: files, resumption, columns, refusals."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet
import pytest
import worlds
from jobs import TEXT, Job, vcf_rows
from numpy.testing import assert_allclose, assert_array_equal
from oracles import calibration as oracle

from borzoi_rt.backends.device import Device
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError, FormatError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.model import open_model
from borzoi_rt.runs import calibrate as calibrations
from borzoi_rt.runs.calibrate import calibrate
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants
from borzoi_rt.tables.calibration import read_calibration

OPTIONS = ScoreOptions.for_family("hound", stats=("SUM", "D2", "ACTIVE_SUM@center:101"))
NULLS = 60
TRACKS = ["cage+/-", "rna+/-", "dnase", "chip"]


class Calibrations:
    """A job that scores, and nulls of it."""

    def __init__(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job = job
        self.null_vcf = worlds.write_vcf(job.folder / "null.vcf", vcf_rows(first=1800, count=NULLS))
        monkeypatch.setattr(calibrations, "job_size", lambda *_: 4)

    def make(self, name: str = "NULL", **choices: Any) -> Path:
        out = self.job.folder / name
        given: dict[str, Any] = {
            "bundle": self.job.bundle,
            "fasta": self.job.fasta,
            "options": OPTIONS,
            "min_count": 20,
        }
        source = {} if "random" in choices else {"variants": self.null_vcf}
        calibrate(out, **{**given, **source, **choices})
        return out

    def rows(self, name: str = "out.tsv") -> list[dict[str, str]]:
        with (self.job.folder / name).open() as handle:
            return list(csv.DictReader(handle, delimiter="\t"))


@pytest.fixture
def desk(job: Job, monkeypatch: pytest.MonkeyPatch) -> Calibrations:
    return Calibrations(job, monkeypatch)


def own_null(desk: Calibrations, stat: str) -> np.ndarray:
    """Score the null variants one by one: float32 (variants, rows)."""
    how: dict[str, Any] = {"bundle": desk.job.bundle, "fasta": desk.job.fasta, "session": desk.job.session}
    found = score_variants(desk.null_vcf, options=OPTIONS, **how)
    return np.stack([item.scores[stat] for item in found if item.scores])


def test_a_null_is_the_scores_of_its_variants(desk: Calibrations) -> None:
    folder = desk.make()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("activity.arrow", "calibration.json", "effect.arrow", "variants.arrow")
    ]
    calibration, document = read_calibration(folder)
    assert {name: (null.kind, null.signed, null.count) for name, null in calibration.nulls.items()} == {
        "SUM": ("effect", True, NULLS),
        "D2": ("effect", False, NULLS),
        "ACTIVE_SUM@center:101": ("activity", False, NULLS),
    }
    for name, null in calibration.nulls.items():
        assert_array_equal(null.values, np.sort(own_null(desk, name), axis=0).T)
    assert document["variants"] == {"kind": "given", "of": "null.vcf", "statuses": {"ok": NULLS}}
    assert document["run"]["score_ids"].keys() == calibration.nulls.keys()
    assert document["key"]["provider"] == "cpu"
    variants = ipc.open_file(str(folder / "variants.arrow")).read_all()
    assert variants["pos"].to_pylist() == list(range(1800, 1800 + 7 * NULLS, 7))
    assert not (desk.job.folder / "NULL.partial").exists()


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".h5", ".vcf.gz"])
def test_tables_have_where_scores_stand(desk: Calibrations, suffix: str) -> None:
    folder = desk.make()
    desk.job.run(f"plain{suffix}", options=OPTIONS)
    desk.job.run(f"out{suffix}", options=OPTIONS, calibration=folder)
    null = own_null(desk, "SUM")
    if suffix == ".tsv":
        rows, plain = desk.rows(), desk.rows("plain.tsv")
        assert [{name: row[name] for name in plain[0]} for row in rows] == plain, "the other columns are as before"
        for row in (row for row in rows if row["stat"] == "SUM"):
            track = TRACKS.index(row["track_id"])
            want = oracle.standing(float(row["score"]), null[:, track].tolist(), signed=True)
            got = [float(row[name] or "nan") for name in ("quantile", "phred", "vs_null_max")]
            assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        about = json.loads((desk.job.folder / "out.tsv.meta.json").read_text())
        assert about["calibration"]["n"]["SUM"] == NULLS
        assert len(about["calibration"]["positions_sha256"]) == 64
    elif suffix == ".parquet":
        table, plain = (parquet.read_table(desk.job.folder / name) for name in ("out.parquet", "plain.parquet"))
        assert table.select(plain.column_names).equals(plain)
        assert table["vs_null_max"].null_count == 0
    elif suffix == ".h5":
        with h5py.File(desk.job.folder / "out.h5") as file:
            scores, quantile = file["SUM"][:], file["SUM.quantile"][:]
            assert {"ACTIVE_SUM@center:101.phred", "D2.vs_null_max"} <= set(file)
        for row in range(scores.shape[1]):
            want = [oracle.standing(float(x), null[:, row].tolist(), signed=True)[0] for x in scores[:, row]]
            assert_allclose(quantile[:, row], want, rtol=1e-5, atol=1e-6)
    elif suffix == ".vcf.gz":
        with gzip.open(desk.job.folder / "out.vcf.gz", "rt") as handle:
            text = handle.read()
        assert "##INFO=<ID=BRT_SUM_QUANTILE,Number=A,Type=Float" in text
        first = next(line for line in text.splitlines() if line.startswith("chr1"))
        fields = dict(item.split("=") for item in first.split("\t")[7].split(";") if "=" in item)
        track = TRACKS.index(fields["BRT_SUM_TRACK"])
        want = oracle.standing(float(fields["BRT_SUM"]), null[:, track].tolist(), signed=True)
        texts = [fields[f"BRT_SUM_{name}"] for name in ("QUANTILE", "PHRED", "VS_NULL_MAX")]
        got = [float("nan" if text == "." else text) for text in texts]
        assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_python_gives_the_same(desk: Calibrations, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = desk.make()
    desk.job.run(options=OPTIONS, calibration=folder)
    monkeypatch.setattr("borzoi_rt.model.opened.open_engine", lambda *_, **__: desk.job.session)
    with open_model(desk.job.bundle, fasta=desk.job.fasta) as model:
        table = model.score(desk.job.vcf, options=OPTIONS, calibration=folder).to_arrow()
    rows = desk.rows()
    for name in ("quantile", "phred", "vs_null_max"):
        want = [float(row[name]) if row[name] else None for row in rows]
        got = [None if value is None else float(np.float32(value)) for value in table[name].to_pylist()]
        assert [value is None for value in got] == [value is None for value in want]
        assert_allclose([x for x in got if x is not None], [x for x in want if x is not None], rtol=1e-6)


def test_what_lies_beyond_the_null_has_an_exceedance(desk: Calibrations) -> None:
    """SNVs change little, 100 bases at once much."""
    folder = desk.make()
    worlds.write_vcf(desk.job.vcf, [f"chr1 2400 far {TEXT[2399:2499]} {'T' * 100}"])
    desk.job.run(options=OPTIONS, calibration=folder)
    rows = [row for row in desk.rows() if row["stat"] == "D2"]
    assert rows
    for row in rows:
        assert (row["quantile"], row["phred"]) == ("", "")
        assert float(row["vs_null_max"]) > 1


def test_random_and_matched_nulls(desk: Calibrations) -> None:
    first, again = desk.make("A", random=40, seed=3), desk.make("B", random=40, seed=3)
    other, more = desk.make("C", random=40, seed=4), desk.make("D", matched=1, seed=2)
    found = {folder.name: read_calibration(folder)[1] for folder in (first, again, other, more)}
    hashes = {name: document["positions_sha256"] for name, document in found.items()}
    assert hashes["A"] == hashes["B"]
    assert len(set(hashes.values())) == 3
    assert (first / "effect.arrow").read_bytes() == (again / "effect.arrow").read_bytes()
    assert found["A"]["variants"] == {"kind": "random SNVs", "count": 40, "seed": 3, "statuses": {"ok": 40}}
    assert found["D"]["variants"]["copies"] == 1
    assert found["D"]["variants"]["statuses"] == {"ok": NULLS}
    variants = ipc.open_file(str(more / "variants.arrow")).read_all().to_pylist()
    with Fasta(desk.job.fasta) as genome:
        assert all(genome.fetch("chr1", row["pos"] - 1, row["pos"]) == row["ref"] for row in variants)


def test_a_broken_run_is_resumed_to_the_same_files(desk: Calibrations) -> None:
    whole = desk.make("WHOLE")
    desk.job.session.runs = 0
    desk.job.session.fails_at = 2 * 30
    with pytest.raises(BackendError, match="the device is gone"):
        desk.make("NULL")
    desk.job.session.fails_at, desk.job.session.runs = None, 0
    with pytest.raises(InputError, match="kept by a run with another calibration"):
        desk.make("NULL", random=30, settings=RunSettings(resume=True))
    folder = desk.make("NULL", settings=RunSettings(resume=True))
    assert desk.job.session.runs == 2 * (NULLS - 28)
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_shards_make_the_same_files(desk: Calibrations) -> None:
    whole = desk.make("WHOLE")
    for number in (1, 2):
        desk.make("NULL", settings=RunSettings(shard=f"{number}/2"))
    assert not (desk.job.folder / "NULL").exists()
    shards = [desk.job.folder / f"NULL.shard-{number}-of-2" for number in (1, 2)]
    folder = desk.make("NULL", settings=RunSettings(adopt=shards))
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_genes_are_pooled(desk: Calibrations, tmp_path: Path) -> None:
    """Every pair of a variant and a gene is a null value."""
    gtf = tmp_path / "g.gtf"
    exons = [("A", 1700, 1800, "+"), ("B", 1750, 1900, "-"), ("FAR", 4900, 4950, "+")]
    gtf.write_text("".join(f'chr1\tx\texon\t{a}\t{b}\t.\t{s}\t.\tgene_id "{g}";\n' for g, a, b, s in exons))
    options = ScoreOptions(stats=("logSED@exons", "SUM"))
    folder = desk.make(options=options, genes=gtf)
    calibration, _ = read_calibration(folder)
    near = sum(abs(pos - 1750) < 600 for pos in range(1800, 1800 + 7 * NULLS, 7))
    assert calibration.nulls["SUM"].count == NULLS
    assert NULLS < calibration.nulls["logSED@exons"].count <= 2 * near
    desk.job.run(options=options, genes=gtf, calibration=folder)
    rows = desk.rows()
    assert any(row["gene"] == "B" and row["quantile"] for row in rows)
    gtf.write_text(gtf.read_text().replace("4950", "4960"))
    desk.job.run(options=options, genes=gtf, calibration=folder)
    about = json.loads((desk.job.folder / "out.tsv.meta.json").read_text())
    assert "NULL: the null of genes was made with another annotation" in about["notes"]
    other = "NULL: the null of genes was made with another choice of gene_names or gene_types"
    assert other not in about["notes"]
    desk.job.run(options=replace(options, gene_names=("B",)), genes=gtf, calibration=folder)
    assert other in json.loads((desk.job.folder / "out.tsv.meta.json").read_text())["notes"]
    with pytest.raises(InputError, match="gene_mode 'all' there, 'nearest' here"):
        desk.job.run(options=replace(options, gene_mode="nearest"), genes=gtf, calibration=folder)
    desk.job.run(options=ScoreOptions(stats=("SUM",)), calibration=folder)  # heeds no choice of genes


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"variants": None}, "give one of variants and random"),
        ({"random": 5, "variants": "null.vcf"}, "give one of variants and random"),
        ({"random": 5, "matched": 1}, "matched copies are of variants"),
        ({"seed": 9}, "seed 9 is for variants that are drawn; give random or matched too"),
        ({"min_count": 5}, "min_count 5; 0 or more are needed, and at least 20"),
        ({"options": ScoreOptions(with_alleles=True)}, "with_alleles: no part of a null"),
        ({"options": ScoreOptions(stats=("SUM@exons",))}, "SUM@exons is a score of genes"),
    ],
)
def test_what_makes_no_null(desk: Calibrations, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk.make(**choices)
    assert not list(desk.job.folder.glob("NULL*"))


def test_too_few_values_are_kept_for_a_lower_limit(desk: Calibrations) -> None:
    with pytest.raises(InputError, match=r"SUM: 60 null values of 60 variants, at least 61 are needed; .* resume with"):
        desk.make(min_count=61)
    assert not (desk.job.folder / "NULL").exists()
    desk.job.session.runs = 0
    desk.make(min_count=60, settings=RunSettings(resume=True))
    assert desk.job.session.runs == 0


def test_another_way_of_scoring_is_refused_before_anything_runs(desk: Calibrations) -> None:
    folder = desk.make()
    desk.job.session.runs = 0
    for choices, message in (
        ({"options": ScoreOptions(stats=("SUM",), family="sad")}, "family 'hound' there, 'sad' here"),
        ({"options": ScoreOptions(stats=("SUM", "JS"))}, "has no null of JS"),
        ({"calibration": desk.job.folder / "none"}, "none: no calibration"),
    ):
        with pytest.raises((InputError, FormatError), match=message):
            desk.job.run(**{"options": OPTIONS, "calibration": folder, **choices})
    assert desk.job.session.runs == 0
    assert Device.parse("cpu:1").kind == Device.parse("cpu").kind, "threads are no part of the key"


def test_files_that_were_changed_are_refused(desk: Calibrations, toy_bundle: Bundle) -> None:
    folder = desk.make()

    def spoiled(name: str, change: Any) -> Path:
        copy = desk.job.folder / f"spoiled-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        content = (copy / name).read_bytes()
        (copy / name).unlink() if change is None else (copy / name).write_bytes(change(content))
        return copy

    def document(**changes: Any) -> Any:
        return lambda content: json.dumps({**json.loads(content), **changes}).encode()

    scores = json.loads((folder / "calibration.json").read_text())["scores"]
    cases = [
        ("effect.arrow", lambda content: content[:-40] + bytes(40), "effect.arrow: is not what calibration.json says"),
        ("effect.arrow", None, "effect.arrow: No such file"),
        ("calibration.json", None, "no calibration"),
        ("calibration.json", lambda content: content[:50], "cannot be read"),
        ("calibration.json", lambda content: b"[]", "format None; 1 is known"),
        ("calibration.json", document(format=9), "format 9; 1 is known"),
        ("calibration.json", document(files={"../x": "0"}), "is not what calibration.json says"),
        ("calibration.json", document(rows=[["a", 0, 0]] * 3), "no whole calibration"),
        ("calibration.json", document(scores={"JS": scores["SUM"]}), "no whole calibration"),
    ]
    for name, change, message in cases:
        with pytest.raises(FormatError, match=message):
            read_calibration(spoiled(name, change))


def test_ties_are_said(desk: Calibrations, caplog: pytest.LogCaptureFixture) -> None:
    """Half of the variants twice: their values equal each other."""
    worlds.write_vcf(desk.null_vcf, vcf_rows(count=30) + vcf_rows(count=30))
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        folder = desk.make()
    assert "NULL: up to 100% of the null values of SUM in one track equal another" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        desk.job.run(options=OPTIONS, calibration=folder)
    assert "equal another" in caplog.text
