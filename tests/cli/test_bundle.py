"""``borzoi-rt bundle``: verify replays the model, show reads the manifest."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import borzoi_rt.demo
from borzoi_rt.backends.onnx import OnnxSession
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.demo import packaged

PACKAGED = Path(borzoi_rt.demo.__file__).parent / "bundle"

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def test_verify(cli: Cli, desk: Desk) -> None:
    files = len(list(desk.bundle.iterdir())) - 1  # the manifest lists the others
    ended = cli("bundle", "verify", desk.bundle, "--threads", 1)
    assert (ended.code, ended.err) == (0, "")
    found = re.fullmatch(
        rf"{re.escape(str(desk.bundle))}: {files} files match their hashes; golden example on cpu, "
        r"difference of logits: rms (\S+) \(allowed (\S+)\), largest (\S+) \(allowed (\S+)\); by tiles, .*\n",
        ended.out,
    )
    assert found, ended.out
    rms, allowed_rms, peak, allowed_peak = map(float, found.groups())
    noise = open_bundle(desk.bundle).info.parity["golden_noise"]
    assert 0 < rms <= 2 * noise["rms"]
    assert 0 < peak <= 1e-5 * noise["largest"]
    assert 4 * noise["rms"] * 0.99 < allowed_rms < 10 * noise["rms"]  # four times the noise, and a float32 sum near 1
    assert 1e-5 * noise["largest"] * 0.99 < allowed_peak < 1e-4


def test_verify_replays_the_golden_example(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = OnnxSession.run

    def drifted(self: OnnxSession, *given: object, **named: object) -> np.ndarray:
        return real(self, *given, **named) * np.float32(1.01)  # type: ignore[arg-type]

    monkeypatch.setattr(OnnxSession, "run", drifted)
    ended = cli("bundle", "verify", desk.bundle)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(r"error: .*bundle: cpu does not reproduce the golden example.*worst track .*\n", ended.err)


def test_show(cli: Cli, desk: Desk) -> None:
    ended = cli("bundle", "show", desk.bundle)
    assert (ended.code, ended.err) == (0, "")
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in ended.out.splitlines())
    assert lines["window"] == "2,048 bp -> 32 bins of 32 bp"
    assert lines["tracks"] == "6, 4 of them stranded"
    assert lines["squash"] == "new, unscale False, unclip True"
    assert lines["identity"] == open_bundle(desk.bundle).sha256
    size = (desk.bundle / "weights.bin").stat().st_size
    assert lines["weights.bin"].startswith(f"{size:,} bytes")


def test_show_tells_parity_in_words(cli: Cli) -> None:
    ended = cli("bundle", "show", Path(packaged.__file__).parent / "bundle")
    (line,) = (line for line in ended.out.splitlines() if line.startswith("parity at export"))
    assert re.search(r"  difference from float64 in logits, root mean square: whole pass, .* \S+ of \S+ allowed", line)
    assert "{" not in line


def test_show_as_json(cli: Cli, desk: Desk) -> None:
    ended = cli("bundle", "show", "--json", desk.bundle)
    manifest = json.loads((desk.bundle / "bundle.json").read_text())
    del manifest["files"]
    assert json.loads(ended.out) == manifest


def test_show_tracks(cli: Cli, desk: Desk) -> None:
    table = [line.split("\t") for line in cli("bundle", "show", "--tracks", desk.bundle).out.splitlines()[-6:]]
    assert [row[:3] for row in table] == [
        ["0", "cage+", "+"],
        ["1", "cage-", "-"],
        ["2", "rna-", "-"],
        ["3", "rna+", "+"],
        ["4", "dnase", "."],
        ["5", "chip", "."],
    ]
    assert table[4][3] == "toy dnase"


def test_a_reader_that_goes_away_is_no_error(desk: Desk) -> None:
    """As with ``| head -1``: no traceback, no message."""
    read, write = os.pipe()
    os.close(read)
    entry = [sys.executable, "-c", "from borzoi_rt.cli import run; run()"]
    command = [*entry, "bundle", "show", "--tracks", str(desk.bundle)]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert ended.stderr == b""


def test_help_comes_without_heavy_packages() -> None:
    code = (
        "import sys\n"
        "from borzoi_rt.cli import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'onnxruntime', 'pyarrow', 'h5py', 'pysam', 'matplotlib'} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=60)
    *shown, loaded = ended.stdout.splitlines()
    assert loaded == "[]"
    commands = {line.split()[0] for line in shown if re.match(r"  [a-z]", line)}
    assert {"bundle", "export", "predict", "score"} <= commands


@pytest.mark.parametrize("graph", ["predict", "trunk_tile", "body", "body_64"])
def test_verify_finds_a_fault_in_any_graph(cli: Cli, desk: Desk, graph: str) -> None:
    """Scores are made by the split graphs: one that computes something else is found, though every hash is right."""
    onnx = pytest.importorskip("onnx")
    if graph == "body_64":  # which computes a part of the window; the toy is too short for one
        shutil.rmtree(desk.bundle)
        shutil.copytree(PACKAGED, desk.bundle)
    path = desk.bundle / f"{graph}.onnx"
    model = onnx.load(str(path), load_external_data=False)
    changed = [node for node in model.graph.node if node.op_type == "Gelu"]
    for node in changed:
        node.attribute[0].s = b"none"
    assert changed
    path.write_bytes(model.SerializeToString())
    desk.rehash()
    ended = cli("bundle", "verify", desk.bundle, "--threads", 1)
    assert (ended.code, ended.out) == (1, "")
    assert "does not reproduce the golden example" in ended.err
