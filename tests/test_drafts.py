"""Outputs that appear when they are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from borzoi_rt.closing import Closing
from borzoi_rt.drafts import draft_folder, draft_of


def write_both(target: Path) -> None:
    with draft_of(target) as draft:
        draft.write_text("newer")
        draft.with_name("out.tsv.meta.json").write_text("{}")
        assert target.read_text() == "older"


def fail(target: Path, make: object) -> None:
    with make(target) as draft:  # type: ignore[operator]
        (draft if draft.is_dir() else draft.parent).joinpath("part").write_text("x")
        raise ValueError("halfway")


def test_a_file_and_what_lies_beside_it_appear_together(tmp_path: Path) -> None:
    target = tmp_path / "out.tsv"
    target.write_text("older")
    write_both(target)
    held = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert held == {"out.tsv": "newer", "out.tsv.meta.json": "{}"}


def test_an_older_file_never_stands_beside_newer_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the metadata have their name."""
    target, plain = tmp_path / "out.tsv", Path.replace
    target.write_text("older")

    def killed(path: Path, other: Path) -> Path:
        if path.name == target.name:
            raise KeyboardInterrupt
        return plain(path, other)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_both(target)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tsv.meta.json"]


@pytest.mark.parametrize("make", [draft_of, draft_folder])
def test_what_fails_leaves_what_was_there(tmp_path: Path, make: object) -> None:
    target = tmp_path / "out"
    with pytest.raises(ValueError, match="halfway"):
        fail(target, make)
    assert not list(tmp_path.iterdir())


def test_a_folder_appears_whole_and_can_be_read_by_others(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "out") as folder:
        (folder / "a.tsv").write_text("x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a.tsv").read_text() == "x"
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_closed_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="close"):
        Closing()  # type: ignore[abstract]
