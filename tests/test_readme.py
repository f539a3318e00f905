"""Every command of the README, run in order in a folder that holds the files it names."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def is_make(text: str) -> bool:
    return all(line.startswith("make ") for line in text.strip().splitlines())


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: weights, a genome, variants, regions."""
    folder = tmp_path_factory.mktemp("readme")
    data = shared / "data"
    for name in ("model.h5", "params.json", "targets.txt"):
        (folder / name).symlink_to(data / "tiny_model" / name)
    genome = next((data / "hg38_1m").glob("*.fa.gz"))
    for suffix in ("", ".fai", ".gzi"):
        (folder / f"GENOME.fa.gz{suffix}").symlink_to(f"{genome}{suffix}")
    (folder / "IN.vcf").symlink_to(data / "variants" / "eqtl.vcf")
    (folder / "REGIONS.bed").write_text("chr1\t600000\t600100\nchr1\t700000\t700100\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("number", [n for n, (_, text) in enumerate(BLOCKS) if not is_make(text)])
def test_block_runs(folder: Path, number: int) -> None:
    language, text = BLOCKS[number]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_has_the_columns_that_are_described(folder: Path) -> None:
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`.*?) \|", README, flags=re.MULTILINE)))
    with (folder / "scores.tsv").open(encoding="utf-8", newline="") as handle:
        assert next(csv.reader(handle, delimiter="\t")) == described


def test_make_blocks_are_run_by_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    targets = {line.split()[1] for _, text in BLOCKS if is_make(text) for line in text.strip().splitlines()}
    assert targets == {"demo", "test"}
    assert re.search(r"^make test$", script, flags=re.MULTILINE)
    assert re.search(r"^make -C .* demo$", script, flags=re.MULTILINE)
