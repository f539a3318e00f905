"""The source archive: the same bytes from the same files, whoever builds it and when."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("Cython")
ROOT = Path(__file__).resolve().parents[1]
WHEN = 1_700_000_000
BUILD = "import sys, setuptools.build_meta as build; print(build.build_sdist(sys.argv[1]))"


def built(folder: Path, *, age_s: int) -> Path:
    """Build from a copy of the tree whose files are as old as said."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree / name)
    skipped = shutil.ignore_patterns("*.so", "__pycache__", "*.c")
    for name in ("borzoi_rt", "export", "csrc"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for path in tree.rglob("*"):
        os.utime(path, (WHEN + age_s, WHEN + age_s))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(WHEN)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=tree, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / done.stdout.split()[-1]


def test_two_builds_are_equal_and_hold_what_a_wheel_is_made_of(tmp_path: Path) -> None:
    first, second = built(tmp_path / "a", age_s=5), built(tmp_path / "b", age_s=500)
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    with tarfile.open(first) as archive:
        items = archive.getmembers()
    names = {item.name.partition("/")[2] for item in items}
    assert {"csrc/onehot.pyx", "csrc/squash.pyx", "setup.py", "borzoi_rt/demo/bundle/bundle.json", "LICENSE"} <= names
    assert {f"borzoi_rt/report/template/report.{kind}" for kind in ("html", "css", "js")} <= names
    assert {(item.mtime, item.uid, item.uname, item.gname) for item in items} == {(WHEN, 0, "", "")}
    assert not any(name.endswith((".so", ".pyc")) for name in names)
