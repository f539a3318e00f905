"""Every command of the README, run in order in a folder that holds the files it names, and what it must have made."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pysam
import pytest

import borzoi_rt
from borzoi_rt.demo.data import write_demo_data

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def is_make(text: str) -> bool:
    return all(line.startswith("make ") for line in text.strip().splitlines())


def run_block(folder: Path, language: str, text: str) -> str:
    """Run a block and return what it printed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-P", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder after the README: weights, a genome, variants, regions, what the demo leaves, and all outputs."""
    folder = tmp_path_factory.mktemp("readme")
    data = shared / "data"
    for name in ("model.h5", "params.json", "targets.txt"):
        (folder / name).symlink_to(data / "tiny_model" / name)
    genome = next((data / "hg38_1m").glob("*.fa.gz"))
    for suffix in ("", ".fai", ".gzi"):
        (folder / f"GENOME.fa.gz{suffix}").symlink_to(f"{genome}{suffix}")
    (folder / "IN.vcf").symlink_to(data / "variants" / "eqtl.vcf")
    (folder / "REGIONS.bed").write_text("chr1\t600000\t600100\nchr1\t700000\t700100\n", encoding="utf-8")
    (folder / "demo-out").mkdir()
    write_demo_data(folder / "demo-out")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "borzoi_rt").mkdir()  # the package's data, not the package: Python would import it from here
    (folder / "borzoi_rt" / "demo").symlink_to(Path(borzoi_rt.__file__).parent / "demo")
    for language, text in BLOCKS:
        if language == "bash" and not is_make(text):
            run_block(folder, language, text)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_the_line_after_the_demo_scores_a_planted_variant(folder: Path) -> None:
    rows = rows_of(folder / "demo-out" / "one.tsv")
    assert {(row["chrom"], row["pos"], row["ref"], row["alt"], row["status"]) for row in rows} == {
        ("synthA", "22211", "AAGAC", "A", "ok")
    }
    assert max(abs(float(row["score"])) for row in rows if row["stat"] == "logSED") > 1e-3


def test_the_table_has_the_columns_that_are_described(folder: Path) -> None:
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`.*?) \|", README, flags=re.MULTILINE)))
    with (folder / "scores.tsv").open(encoding="utf-8", newline="") as handle:
        assert next(csv.reader(handle, delimiter="\t")) == described


def test_the_scores_are_those_of_tensorflow(folder: Path, shared: Path) -> None:
    """SUM and logSED of the table against the reference's file, which holds float16 (2^-11 of each value)."""
    rows = rows_of(folder / "scores.tsv")
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["stat"], row["region"]) for row in rows} == {
        ("SUM", "window"),
        ("logSED", "window"),
        ("logD2", "span:2000"),
    }
    with h5py.File(shared / "data" / "golden" / "snp_all_scores.h5") as golden:
        for stat in ("SUM", "logSED"):
            want = golden[stat][:].astype(np.float64)
            got = np.array([float(row["score"]) for row in rows if row["stat"] == stat]).reshape(want.shape)
            assert np.abs(got - want).max() <= 6e-4 * np.abs(want).max()


def test_other_forms_hold_the_same_numbers(folder: Path) -> None:
    wide = parquet.read_table(folder / "wide.parquet")
    scores = [name for name in wide.column_names if "|" in name]
    assert len(wide) == 8
    assert all(name.startswith("logSED|GTEX") for name in scores)
    long = {
        (row["record"], row["track_id"]): float(row["score"])
        for row in rows_of(folder / "scores.tsv")
        if row["stat"] == "logSED"
    }
    for name in scores:
        for record, value in zip(wide["record"].to_pylist(), wide[name].to_pylist(), strict=True):
            assert value == pytest.approx(long[str(record), name.partition("|")[2]], rel=1e-6)
    with pysam.VariantFile(str(folder / "annotated.vcf.gz")) as file:
        assert [record.info["BRT_STATUS"] for record in file] == [("ok",)] * 8
    with h5py.File(folder / "ism.h5") as file:
        assert file["logSED@span:2000"].shape[:2] == (4, 4)
        assert np.isfinite(file["logSED@span:2000"][:]).all()
    with np.load(folder / "coverage" / "predictions.npz") as archive:
        assert archive["coverage"].shape == (2, len(scores), 2048)
        assert (archive["coverage"] >= 0).all()


def test_the_demo_of_promoters_wrote_its_table(folder: Path) -> None:
    assert (folder / "dft-demo-out").is_dir()
    assert any((folder / "dft-demo-out").glob("*.tsv"))


def test_the_python_example(folder: Path) -> None:
    (text,) = [text for language, text in BLOCKS if language == "python"]
    printed = run_block(folder, "python", text).splitlines()
    want = {
        row["track_id"]: float(row["score"])
        for row in rows_of(folder / "scores.tsv")
        if (row["record"], row["stat"]) == ("0", "logSED") and row["track_id"].startswith("GTEX")
    }
    track, value = max(want.items(), key=lambda item: abs(item[1]))
    assert printed[0].startswith(f"ok [('{track}', ")
    assert float(printed[0].split(", ")[1].rstrip(")")) == pytest.approx(value, rel=1e-5)
    assert printed[1].startswith("<CoverageResult: chr1:")
    assert printed[-1] == f"(2, 4, {len(want)})"


def test_make_blocks_are_run_by_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    targets = {line.split()[1] for _, text in BLOCKS if is_make(text) for line in text.strip().splitlines()}
    assert targets == {"demo", "test"}
    assert re.search(r"^make test$", script, flags=re.MULTILINE)
    assert re.search(r"^make -C .* demo$", script, flags=re.MULTILINE)


def test_pages_that_are_named_exist() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
