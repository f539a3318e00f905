"""``borzoi-rt demo``: the line it prints at the end works as printed, and its table says what its figures show."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.backends.opening import open_session
from borzoi_rt.cli import _shared
from borzoi_rt.demo.run import PLOTTED, DemoReport, embedded_bundle, run_demo
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.genome.fasta import Fasta


def rows_of(path: Path, stat: str) -> dict[tuple[str, ...], float]:
    with path.open(newline="") as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        return {
            (row["id"], row["track_id"]): float(row["score"])
            for row in rows
            if row["stat"] == stat and row["region"] == "window"
        }


def test_the_next_lines_work_as_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "borzoi_rt", "demo", "--out", "demo out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    _, _, lines = ended.stderr.partition("next, with the same files:\n")
    aims, (line, *others) = lines.splitlines()[::2], lines.splitlines()[1::2]
    assert all(aim.startswith("# ") for aim in aims)
    for name in ("genome.fa", "tss.bed", "motifs.meme", "variants.vcf", "truth.tsv", "scores.tsv", "hit*.png"):
        assert f"  {name} " in ended.stderr
        assert list((tmp_path / "demo out").glob(name))
    assert len(re.findall(r"\d\.\d{3} \[0\.\d\d, [01]\.\d\d\]", ended.stdout)) == 3 * 3 + 2  # whole at 80 columns
    again = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "600 alleles: 600 ok -> demo out/mine.tsv" in again.stderr
    got, want = (rows_of(tmp_path / "demo out" / name, "logSED") for name in ("mine.tsv", "scores.tsv"))
    assert got.keys() == want.keys()
    assert len(got) > 600
    assert all(got[key] == pytest.approx(value, rel=1e-4, abs=1e-6) for key, value in want.items())
    for other in others:
        done = subprocess.run(other, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (other, done.stderr)
    for name in ("report.html", "strongest.pdf", "strongest.tsv.motifs.tsv", "why.h5", "why.png"):
        assert (tmp_path / "demo out" / name).stat().st_size
    with (tmp_path / "demo out" / "strongest.tsv.motifs.tsv").open(newline="") as handle:
        assert ("inr", "lost") in {(row["motif"], row["change"]) for row in csv.DictReader(handle, delimiter="\t")}


@pytest.mark.parametrize("on_path", [True, False])
def test_the_program_is_named_as_it_can_be_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool
) -> None:
    script = tmp_path / "my venv" / "bin" / "borzoi-rt"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho called\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{script.parent if on_path else tmp_path}:/usr/bin:/bin")
    for called in (str(script), "my venv/bin/borzoi-rt"):
        monkeypatch.setattr(sys, "argv", [called])
        name = _shared.program()
        assert name == ("borzoi-rt" if on_path else shlex.quote(called))
        assert subprocess.run(name, shell=True, capture_output=True, text=True).stdout == "called\n"
    monkeypatch.setattr(sys, "argv", [str(Path(_shared.__file__).parents[1] / "__main__.py")])
    assert _shared.program() == f"{shlex.quote(sys.executable)} -m borzoi_rt"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoReport]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, run_demo(folder)


def test_the_table_names_what_the_figures_show(report: tuple[Path, DemoReport]) -> None:
    """The track of a strong hit is the one, or the pair that holds the one, whose coverage changes most."""
    folder, found = report
    bundle = embedded_bundle()
    session = open_session(bundle, "cpu", threads=1)
    predictor = Predictor(session, bundle.tracks, bundle.squash())
    with Fasta(folder / "genome.fa") as genome:
        for hit in found.hits[:PLOTTED]:
            made = predictor.variant(genome, hit.planted.variant)
            change = np.sqrt(np.square(np.log2(made.alt[0] + 1.0) - np.log2(made.ref[0] + 1.0)).sum(-1))
            changed = bundle.tracks.identifier[int(change.argmax())]
            assert hit.track.rstrip("+-/") == changed.rstrip("+-")
            assert hit.score == pytest.approx(
                np.hypot(*(change[i] for i, name in enumerate(bundle.tracks.identifier) if name[:-1] == changed[:-1])),
                rel=1e-3,
            )
    session.close()


def test_a_joined_row_claims_no_strand(report: tuple[Path, DemoReport]) -> None:
    strands = {name for name in embedded_bundle().tracks.identifier if name.endswith(("+", "-"))}
    names = {hit.track for hit in report[1].hits}
    assert not names & strands
    assert {name for name in names if name.endswith("+/-")}
