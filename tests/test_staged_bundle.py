"""Writing a bundle: whole or not at all, and never over something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundle_files
import numpy as np
import pytest
import toys

from borzoi_rt.bundle import open_bundle, staged_bundle
from borzoi_rt.errors import FormatError, InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(staging: Path) -> None:
    for name in ("predict.onnx", "body.onnx", "weights.bin"):
        (staging / name).write_bytes(b"x")


def test_parents_are_made_and_nothing_is_left_beside(tmp_path: Path) -> None:
    bundle = bundle_files.write(tmp_path / "deep" / "er" / "paper")
    assert bundle.path == tmp_path / "deep" / "er" / "paper"
    assert names(tmp_path / "deep" / "er") == ["paper"]
    assert os.stat(bundle.path).st_mode & 0o777 == 0o755  # readable by others, as a folder made by hand would be


def test_it_appears_only_when_finished(tmp_path: Path) -> None:
    out = tmp_path / "paper"
    with staged_bundle(out) as (staging, finish):
        assert staging.parent == tmp_path  # same file system, so that the last step is a rename
        fill(staging)
        assert not out.exists()
        finish(bundle_files.info(), toys.tracks(), bundle_files.golden())
        assert open_bundle(out).info.name == "paper"
        assert not staging.exists()


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with staged_bundle(tmp_path / "paper") as (staging, _):
            fill(staging)
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fails()
    assert names(tmp_path) == []


def test_a_block_without_finish_leaves_nothing(tmp_path: Path) -> None:
    with staged_bundle(tmp_path / "paper") as (staging, _):
        fill(staging)
    assert names(tmp_path) == []


def nothing(staging: Path) -> None:
    """Spoil nothing."""


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        (lambda staging: (staging / "body.onnx").unlink(), {}, "'body.onnx' is not among the listed files"),
        (lambda staging: (staging / "a b").write_text(""), {}, "'a b' is not allowed"),
        (lambda staging: (staging / "link").symlink_to("weights.bin"), {}, "symbolic link"),
        (nothing, {"info": bundle_files.info(parity={"max_abs": float("nan")})}, "NaN or infinite"),
        (nothing, {"info": bundle_files.info(architecture={"rates": [1.0, float("-inf")]})}, "NaN or infinite"),
        (nothing, {"golden": {"sequence": np.zeros((1, 4, 8), dtype=np.uint8)}}, "not a golden archive"),
        (nothing, {"golden": {**bundle_files.golden(), "coverage": np.array([{}])}}, "not a golden archive"),
    ],
    ids=["missing_graph", "file_name", "symlink", "nan", "infinite", "golden_keys", "pickle"],
)
def test_what_could_not_be_opened_is_not_written(
    tmp_path: Path, spoil: Callable[[Path], object], changes: dict[str, Any], message: str
) -> None:
    parts = {"info": bundle_files.info(), "tracks": toys.tracks(), "golden": bundle_files.golden(), **changes}

    def write() -> None:
        with staged_bundle(tmp_path / "paper") as (staging, finish):
            fill(staging)
            spoil(staging)
            finish(**parts)

    with pytest.raises(FormatError, match=message):
        write()
    assert names(tmp_path) == []


def test_an_old_bundle_is_kept_unless_overwrite_is_said(tmp_path: Path) -> None:
    old = bundle_files.write(tmp_path / "paper", weights=b"old")
    with pytest.raises(InputError, match=r"paper: exists; .*--overwrite"):
        bundle_files.write(tmp_path / "paper", weights=b"new")
    assert open_bundle(old.path).sha256 == old.sha256
    new = bundle_files.write(tmp_path / "paper", weights=b"new", overwrite=True)
    assert (open_bundle(old.path).path / "weights.bin").read_bytes() == b"new"
    assert new.sha256 != old.sha256
    assert names(tmp_path) == ["paper"]


def test_a_failed_overwrite_keeps_the_old_bundle(tmp_path: Path) -> None:
    old = bundle_files.write(tmp_path / "paper")
    with pytest.raises(FormatError):
        bundle_files.write(tmp_path / "paper", overwrite=True, parity={"max_abs": float("inf")})
    assert open_bundle(old.path).sha256 == old.sha256
    assert names(tmp_path) == ["paper"]


def test_a_rename_that_fails_puts_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = bundle_files.write(tmp_path / "paper")
    rename = Path.rename

    def fails_for_staging(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_staging)
    with pytest.raises(OSError, match="disk full"):
        bundle_files.write(tmp_path / "paper", overwrite=True, weights=b"new")
    assert open_bundle(old.path).sha256 == old.sha256
    assert names(tmp_path) == ["paper"]


@pytest.mark.parametrize("kind", ["folder", "empty", "file"])
def test_what_is_no_bundle_is_never_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "results"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        if kind == "folder":
            (target / "thesis.tex").write_text("mine")
    before = names(target) if target.is_dir() else target.read_text()
    with pytest.raises(InputError, match="results: exists and is not a bundle"):
        bundle_files.write(target, overwrite=True)
    assert (names(target) if target.is_dir() else target.read_text()) == before
    assert names(tmp_path) == ["results"]
