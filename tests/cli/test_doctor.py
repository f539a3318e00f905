"""What `borzoi-rt doctor` says is so: versions, cores, folders, extras."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from borzoi_rt import __version__
from borzoi_rt.backends.cores import usable_cores
from borzoi_rt.cli import _extras, doctor

if TYPE_CHECKING:
    from conftest import Cli  # type: ignore[attr-defined]


def facts(cli: Cli) -> dict[str, Any]:
    ended = cli("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    return dict(json.loads(ended.out))


def test_facts(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "borzoi_rt" / "genes").mkdir(parents=True)
    (tmp_path / "borzoi_rt" / "genes" / "a.npz").write_bytes(bytes(1234))
    (tmp_path / "borzoi_rt" / "b").write_bytes(bytes(66))
    found = facts(cli)
    assert (found["borzoi_rt"], found["python"]) == (__version__, platform.python_version())
    assert found["packages"]["numpy"] == version("numpy")
    assert found["packages"]["onnxruntime"] == version("onnxruntime")
    assert found["cores"]["usable"] == usable_cores()
    assert found["memory_bytes"]["machine"] > 10**8
    assert found["devices"]["cpu"] is True
    assert found["telemetry"] is False
    ours, hub = found["caches"]["borzoi-rt"], found["caches"]["hugging face"]
    assert (ours["path"], ours["bytes"]) == (str(tmp_path / "borzoi_rt"), 1300)
    assert (hub["path"], hub["bytes"]) == (str(tmp_path / "hf" / "hub"), 0)
    assert ours["free_bytes"] > 0


def test_what_is_missing_is_named_with_its_command(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("peft", "onnxruntime") else object())
    extras = facts(cli)["extras"]
    assert {name: extra["missing"] for name, extra in extras.items() if extra["missing"]} == {
        "cpu": ["onnxruntime"],
        "train": ["peft"],
    }
    assert extras.keys() >= _extras.PACKAGES.keys()
    out = cli("doctor").out
    assert "lacks peft: pip install 'borzoi-rt[train]'" in out
    assert "export      get and export: published weights as bundles - there" in out


def test_a_quota_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("200000000\n")
    monkeypatch.setattr(doctor, "_CGROUP_MEMORY", (tmp_path / "none", limit))
    monkeypatch.setattr(doctor, "usable_cores", lambda: 1)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert facts(cli)["memory_bytes"]["limit"] == 200_000_000
    out = cli("doctor").out
    assert "1 usable of 64; a quota" in out
    assert "limited to 0.2 GB" in out
    limit.write_text("max\n")
    assert facts(cli)["memory_bytes"]["limit"] is None


def test_without_onnxruntime_it_still_answers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert facts(cli)["devices"] == {"cpu": False, "cuda": False, "tensorrt": False}
    assert "none: pip install 'borzoi-rt[cpu]'" in cli("doctor").out
