"""Results of jobs on disk: whole or not at all, in the order of their numbers, never another program's folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from jobs import file_limit

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.runs.journal import Journal, read_shard, write_shard

IDENTITY = {"input": "a"}


def table(value: int) -> pa.Table:
    return pa.table({"value": [value]})


def values(journal: Journal) -> list[int]:
    return [shard["value"][0].as_py() for shard in journal.tables()]


def test_numbers_are_numbers_beyond_six_digits(tmp_path: Path) -> None:
    """As names shard-1000000 comes before shard-999999; as numbers it comes after."""
    numbers = [1_000_000, 2, 999_999, 10_000_001, 0]
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=False)
        for number in numbers:
            journal.add(number, table(number))
        assert values(journal) == sorted(numbers)
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=True)
        assert journal.done == set(numbers)
        assert values(journal) == sorted(numbers)


def test_what_is_kept_is_what_was_added(tmp_path: Path) -> None:
    mixed = pa.table({"x": [1.5, None], "text": ["a\tb", None], "list": [[1, 2], []]})
    write_shard(tmp_path, 7, mixed)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000007.arrow"]
    assert read_shard(tmp_path, 7).equals(mixed)


def test_one_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    write_shard(tmp_path, 3, table(5))
    path = tmp_path / "shard-000003.arrow"
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(FormatError, match=r"shard-000003.arrow: damaged .*remove this file and resume"):
            read_shard(tmp_path, 3)
    for kept in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(FormatError, match=r"shard-000003.arrow: damaged"):
            read_shard(tmp_path, 3)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match=r"shard-000003.arrow: damaged"):
        read_shard(tmp_path, 3)
    path.unlink()
    with pytest.raises(FormatError, match=r"shard-000003.arrow"):
        read_shard(tmp_path, 3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "a file of a person": {"notes.txt": b"mine"},
    "the lock of another program": {"lock": b"pid 17\n", "data.bin": b"1"},
    "an empty lock beside something": {"lock": b"", "data.bin": b"1"},
    "what looks like our results": {"shard-000000.arrow": b"x", "journal.json": b"{}"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_that_no_run_left_is_refused_and_untouched(tmp_path: Path, files: dict[str, bytes]) -> None:
    partial = tmp_path / "out.tsv.partial"
    partial.mkdir()
    for name, content in files.items():
        (partial / name).write_bytes(content)
    with pytest.raises(InputError, match=r"out.tsv.partial: was not left by a run and is not touched"):
        Journal(tmp_path / "out.tsv")
    assert contents(partial) == files


@pytest.mark.parametrize("kind", ["file", "link to a folder", "link to nothing", "lock is a link"])
def test_links_and_files_are_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "keep.txt").write_text("keep")
    partial = tmp_path / "out.tsv.partial"
    if kind == "file":
        partial.write_text("keep")
    elif kind == "link to a folder":
        partial.symlink_to(mine)
    elif kind == "link to nothing":
        partial.symlink_to(tmp_path / "nothing")
    else:
        partial.mkdir()
        (partial / "lock").symlink_to(mine / "keep.txt")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"out.tsv.partial: (is a symbolic link|was not left by a run)"):
        Journal(tmp_path / "out.tsv")
    assert contents(tmp_path) == before
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("files", [{}, {"lock": b""}], ids=["empty", "killed before the first byte"])
def test_an_empty_folder_is_taken(tmp_path: Path, files: dict[str, bytes]) -> None:
    partial = tmp_path / "out.tsv.partial"
    partial.mkdir()
    for name, content in files.items():
        (partial / name).write_bytes(content)
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=True)
        assert journal.done == set()


def test_another_identity_is_refused_and_the_work_stays(tmp_path: Path) -> None:
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=False)
        journal.add(0, table(1))
    with Journal(tmp_path / "out.tsv") as journal:
        with pytest.raises(InputError, match=r"another input \(a there, b here\)"):
            journal.begin({"input": "b"}, resume=True)
        raised = InputError("and out of the block")
        journal.__exit__(InputError, raised, None)
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=True)
        assert values(journal) == [1]


def test_drafts_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=False)
        journal.add(0, table(1))
        (journal.directory / "shard-000001.arrow.new").write_bytes(b"half")
        (journal.directory / "final-abc").mkdir()
        (journal.directory / "final-abc" / "out.tsv").write_bytes(b"half a table")
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=True)
        assert sorted(path.name for path in journal.directory.iterdir()) == [
            "journal.json",
            "lock",
            "shard-000000.arrow",
        ]


def test_a_disk_that_cannot_be_synced_keeps_no_half_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "out.tsv") as journal:
        journal.begin(IDENTITY, resume=False)
        journal.add(0, table(1))

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                journal.add(1, table(2))
        assert journal.done == {0}
        assert not list(journal.directory.glob("*.new"))
        assert not list(journal.directory.glob("shard-000001*"))


def test_a_disk_that_is_full_from_the_first_byte_is_named(tmp_path: Path) -> None:
    with file_limit(0), pytest.raises(OSError, match="File too large") as caught:
        Journal(tmp_path / "out.tsv")
    assert caught.value.filename == str(tmp_path / "out.tsv.partial" / "lock")
    assert not list(tmp_path.iterdir())
