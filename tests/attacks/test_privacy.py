"""Nothing is reported to anyone: no identifier is written, no name looked up, no connection opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import worlds

from attacks import hostile
from borzoi_rt.serving.local.environment import ServerEnvironment

PROGRAM = "from borzoi_rt.cli import run; run()"


def environment(home: Path) -> dict[str, str]:
    """Return the variables of this process without any that already switches reports off."""
    dropped = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"HOME": str(home)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_writes_nothing_under_home_and_asks_nobody(tmp_path: Path, workers: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    genome = worlds.write_fasta(tmp_path / "g.fa", {"chr1": worlds.random_dna(20_000, seed=3)})
    bases = genome.read_text().split("\n", 1)[1].replace("\n", "")
    rows = [f"chr1\t{pos}\t.\t{bases[pos - 1]}\t{'A' if bases[pos - 1] != 'A' else 'C'}" for pos in (9000, 9900)]
    (tmp_path / "v.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "\n".join(rows) + "\n")
    command = [sys.executable, "-c", PROGRAM, "score", str(tmp_path / "v.vcf"), "--fasta", str(genome)]
    command += ["--bundle", str(hostile.PACKAGED / "bundle"), "--out", str(tmp_path / "s.tsv"), "--stats", "SUM"]
    command += [f"--workers={workers}"]
    trace = tmp_path / "trace"
    if shutil.which("strace"):
        command = ["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(trace), *command]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 ok" in done.stderr
    assert list(home.rglob("*")) == []
    if trace.exists():
        assert "AF_INET" not in trace.read_text()


def test_the_variable_is_what_stops_it(tmp_path: Path) -> None:
    """Negative control: where this release of onnxruntime reports, it does so without us, and not with us."""
    code = "import onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), check=True, timeout=120)
    if not list(tmp_path.rglob("deviceid")):
        pytest.skip("this onnxruntime writes no identifier")
    shutil.rmtree(tmp_path / ".cache")
    ours = "from borzoi_rt.backends.runtime import onnxruntime; onnxruntime()"
    subprocess.run([sys.executable, "-c", ours], env=environment(tmp_path), check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []


def test_a_server_and_its_models_are_told_too(tmp_path: Path) -> None:
    held = ServerEnvironment(tmp_path / "bin" / "python", tmp_path, "", (3, 11)).variables()
    assert held["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_torch_world_tells_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    code = "import borzoi_export; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    shown = subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True)
    assert shown.stdout.strip() == "True", shown.stderr[-500:]
