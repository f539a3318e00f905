"""The measurements of a GPU are rehearsed: every step runs, on a small network and the CPU provider."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import gpu, gpu_wheels, inside  # noqa: E402


def test_gpu_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps run here and not in processes of their own; those of the peer need its package."""
    plain = gpu.torch_steps

    def here(step: gpu.Step, options: Any, seconds: float) -> dict[str, Any]:
        return gpu.STEPS[step.function](options, *step.arguments)

    monkeypatch.setattr(gpu, "_in_process", here)
    monkeypatch.setattr(gpu, "torch_steps", lambda: (step for step in plain() if step.function != "peer"))
    arguments = ["gpu", "--out", str(tmp_path), "--toy", "--seconds", "600"]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu.main()
    steps = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert {step["step"].split()[0] for step in steps} >= {
        "rates",
        "forward",
        "parts",
        "variants",
        "batches",
        "bits",
        "all",
        "CUDA",
        "saliency",
    }
    found = {step["step"]: step for step in steps}
    assert all(step["logit_rms"] <= step["gate_rms"] for name, step in found.items() if name.startswith("forward"))
    assert found["variants gpu-fp16."]["null_is_zero"] == 1.0
    for kind in ("whole", "incremental"):
        first, second = (found[f"bits gpu-fp16, {kind}, {turn} process"]["sha256"] for turn in ("first", "second"))
        assert first == second
    gpu.main()  # a second call finds everything done
    assert len((tmp_path / "gpu.jsonl").read_text().splitlines()) == len(steps)
    assert "all tracks gpu-fp16, fused" in capsys.readouterr().out


def fat_binary(*entries: tuple[int, int, bytes]) -> bytes:
    """A fat binary of (kind, architecture, code)."""
    body = b""
    for kind, sm, code in entries:
        head = bytearray(64)
        struct.pack_into("<HHIQ", head, 0, kind, 0x101, len(head), len(code))
        struct.pack_into("<I", head, 28, sm)
        body += bytes(head) + code
    return gpu_wheels._FATBIN + struct.pack("<HHQ", 1, 16, len(body)) + body


def test_wheels_travel_in_parts(tmp_path: Path) -> None:
    code = [bytes([number]) * 4000 for number in (1, 2, 3, 4)]
    alone = fat_binary((2, 80, code[3]))  # of the kept architecture it has nothing, so it stays whole
    library = b"\x7fELF" + fat_binary((2, 80, code[0]), (2, 90, code[1]), (1, 90, code[2])) + b"between" + alone
    with zipfile.ZipFile(tmp_path / "tool-1.whl", "w") as wheel:
        wheel.writestr("tool/", "")
        wheel.writestr("tool/lib.so.1", library)
        wheel.writestr("tool/__init__.py", "x = 1\n")
    parts, site = tmp_path / "parts", tmp_path / "site"
    gpu_wheels.pack([tmp_path / "tool-1.whl"], parts, 100, only_sm=90)
    last = sorted(parts.glob("part-*"))[-1]
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(SystemExit, match="3"):
        gpu_wheels.install(parts, site)
    last.write_bytes(kept[:-1] + b"x")
    with pytest.raises(SystemExit, match="not those that were packed"):
        gpu_wheels.install(parts, site)
    last.write_bytes(kept)
    gpu_wheels.install(parts, site)
    assert (site / "tool" / "__init__.py").read_text() == "x = 1\n"
    found = (site / "tool" / "lib.so.1").read_bytes()
    assert len(found) == len(library)
    assert code[1] in found
    assert alone in found
    assert code[0] not in found
    assert code[2] not in found


def test_inside_rehearsal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step runs on a small network, here and not in processes of their own; what has no time is told."""
    monkeypatch.setattr(inside, "in_own_process", lambda _, name, *words: inside._INNER[name](*words))
    monkeypatch.setattr(sys, "argv", ["inside", "--toy"])
    inside.main()
    out = capsys.readouterr().out
    table = out[out.index("fp32 ") :].splitlines()[1:]
    assert [line.split()[0] for line in table] == list(inside.STEPS)
    for line in table:
        assert all(float(cell) >= 0.0 for cell in line.split()[1:])
    assert float(table[0].split()[-1]) == 1.0
    monkeypatch.setattr(sys, "argv", ["inside", "--toy", "--seconds", "0", "--steps", "cam"])
    inside.main()
    assert capsys.readouterr().out.count("not begun") == 2
    monkeypatch.setattr(sys, "argv", ["inside", "--steps", "luck"])
    with pytest.raises(SystemExit):
        inside.main()
