"""The command line in this process, and what it works on."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pysam
import pytest
import worlds

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli import run

TEXT = worlds.random_dna(6000, seed=6)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run the entry point of ``borzoi-rt`` with some arguments."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["borzoi-rt", *map(str, arguments)])
        capfd.readouterr()
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


class Desk:
    """A folder with a genome, plain and bgzip, variants, regions, and a bundle to spoil."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.folder = folder
        self.out = folder / "out.tsv"
        self.fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
        self.packed = folder / "toy.fa.gz"
        pysam.tabix_compress(str(self.fasta), str(self.packed))
        pysam.faidx(str(self.packed))
        alt = {"A": "C", "C": "G", "G": "T", "T": "A"}
        rows = [f"chr1 {pos} v{pos} {TEXT[pos - 1]} {alt[TEXT[pos - 1]]}" for pos in range(2000, 2300, 30)]
        self.vcf = worlds.write_vcf(folder / "in.vcf", rows)
        self.bed = folder / "in.bed"
        self.bed.write_text("chr1\t3000\t3100\tone\nchr1\t200\t300\n")
        self.bundle = Path(shutil.copytree(bundle.path, folder / "bundle"))

    def set_squash(self, kind: str) -> None:
        """Let the manifest name another kind of squash."""
        manifest = self.bundle / "bundle.json"
        document = json.loads(manifest.read_text())
        document["squash"]["kind"] = kind
        manifest.write_text(json.dumps(document))

    def rehash(self) -> None:
        """Let the manifest agree with the files as they are."""
        manifest = self.bundle / "bundle.json"
        document = json.loads(manifest.read_text())
        for name, entry in document["files"].items():
            content = (self.bundle / name).read_bytes()
            entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        manifest.write_text(json.dumps(document))

    def model(self) -> list[object]:
        return ["--bundle", self.bundle, "--fasta", self.fasta, "--threads", 1]

    def score(self, *more: object) -> list[object]:
        model = self.model()[:-2] if "--threads" in more else self.model()
        return ["score", self.vcf, *model, "--out", self.out, *more]

    def predict(self, *more: object) -> list[object]:
        return ["predict", self.bed, *self.model(), "--out", self.folder / "coverage", *more]


@pytest.fixture
def desk(tmp_path: Path, toy_bundle: Bundle) -> Desk:
    return Desk(tmp_path, toy_bundle)
