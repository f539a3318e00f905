"""How many threads a process gets: those it may run on, and no more than its container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from borzoi_rt.backends import cores
from borzoi_rt.errors import BackendError


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores and a process in the group /pods/one."""
    (tmp_path / "cgroup").write_text("0::/pods/one\n4:cpu,cpuacct:/v1\n")
    (tmp_path / "fs" / "pods" / "one").mkdir(parents=True)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(cores, "_MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    return tmp_path / "fs"


def test_without_a_quota_all_cores_are_used(groups: Path) -> None:
    assert cores.usable_cores() == 16
    (groups / "pods" / "one" / "cpu.max").write_text("max 100000\n")
    assert cores.usable_cores() == 16


@pytest.mark.parametrize(
    ("text", "expected"), [("100000 100000", 1), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 16)]
)
@pytest.mark.parametrize("folder", ["", "pods", "pods/one"])
def test_a_quota_of_version_2_of_the_group_or_one_above(groups: Path, folder: str, text: str, expected: int) -> None:
    (groups / folder / "cpu.max").write_text(f"{text}\n")
    assert cores.usable_cores() == expected


def test_the_smallest_quota_counts(groups: Path) -> None:
    (groups / "pods" / "cpu.max").write_text("400000 100000\n")
    (groups / "pods" / "one" / "cpu.max").write_text("800000 100000\n")
    assert cores.usable_cores() == 4


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct", "cpu,cpuacct/v1"])
def test_a_quota_of_version_1(groups: Path, folder: str) -> None:
    (groups / folder).mkdir(parents=True)
    (groups / folder / "cpu.cfs_period_us").write_text("100000\n")
    (groups / folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores.usable_cores() == 16
    (groups / folder / "cpu.cfs_quota_us").write_text("200000\n")
    assert cores.usable_cores() == 2


@pytest.mark.parametrize("text", ["", "nonsense", "1", "100000 0", "x y", "-5 100000"])
def test_what_cannot_be_read_is_no_quota_and_never_no_core(groups: Path, text: str) -> None:
    (groups / "cpu.max").write_text(text)
    assert cores.usable_cores() >= 1


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(BackendError, match="no home directory; name a folder for caches in XDG_CACHE_HOME"):
        cores.cache_root()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cores.cache_root() == tmp_path
