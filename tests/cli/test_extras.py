"""A missing package is named with the one line that installs all that the command needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from borzoi_rt.cli import _extras
from borzoi_rt.errors import BackendError

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


IMPORTED_AS = {"pyyaml": "yaml", "scikit-learn": "sklearn", "faiss-cpu": "faiss"}


def test_packages_are_those_of_the_extras() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for extra, packages in _extras.PACKAGES.items():
        names = {re.split(r"[\[>=<]", text)[0] for text in declared[extra] if not text.startswith("borzoi-rt")}
        names = {IMPORTED_AS.get(name, name) for name in names}
        assert names <= set(packages), extra
        inherited = {name for text in declared[extra] for name in re.findall(r"borzoi-rt\[([\w,]+)\]", text)}
        below = {name for extras in inherited for other in extras.split(",") for name in _extras.PACKAGES[other]}
        assert set(packages) <= names | below | {"onnxruntime"}, extra
    assert {extra for extras in _extras.NEEDS.values() for extra in extras} <= set(declared)


@pytest.mark.parametrize(
    ("words", "absent", "line"),
    [
        ("promoter train", ("torch",), "`promoter train` needs torch; pip install 'borzoi-rt[train]'"),
        ("promoter train", ("lightning",), "`promoter train` needs lightning; pip install 'borzoi-rt[train]'"),
        ("promoter consensus", ("torch",), "`promoter consensus` needs torch; pip install 'borzoi-rt[export]'"),
        (
            "export torch",
            ("torch", "onnx", "onnxruntime"),
            "`export torch` needs onnxruntime, torch, onnx; pip install 'borzoi-rt[cpu,export]'",
        ),
        ("train", ("peft", "torch"), "`train` needs torch, peft; pip install 'borzoi-rt[train]'"),
        ("dft score", ("pyfftw",), "`dft score` needs pyfftw; pip install 'borzoi-rt[promoter]'"),
        ("triton lint", ("onnx",), "`triton lint` needs onnx; pip install 'borzoi-rt[triton]'"),
    ],
)
def test_the_line_is_complete(monkeypatch: pytest.MonkeyPatch, words: str, absent: tuple[str, ...], line: str) -> None:
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(BackendError) as caught:
        _extras.check_extras(words.split())
    assert str(caught.value) == line
    assert _extras.check_extras(["score"]) is None


@pytest.mark.parametrize(
    ("words", "absent", "line"),
    [
        ("promoter train --help", "lightning", "`promoter train` needs lightning; pip install 'borzoi-rt[train]'"),
        ("promoter --help", "torch", "`promoter` needs torch; pip install 'borzoi-rt[export]'"),
        ("dft demo", "pyfftw", "`dft demo` needs pyfftw; pip install 'borzoi-rt[promoter]'"),
        ("demo", "onnxruntime", "`demo` needs onnxruntime; pip install 'borzoi-rt[cpu]'"),
    ],
)
def test_the_program_says_it(words: str, absent: str, line: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{absent!r}] = None; from borzoi_rt.cli import run; run()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"error: {line}\n")
    assert not list(tmp_path.iterdir())


def test_help_needs_no_extra() -> None:
    code = "import sys; sys.modules['pyfftw'] = None; from borzoi_rt.cli import run; run()"
    ended = subprocess.run([sys.executable, "-c", code, "dft", "score", "--help"], capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, b"")
