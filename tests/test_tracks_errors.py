"""Tables that are not track tables: the message names file, line and column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from borzoi_rt.errors import FormatError
from borzoi_rt.tracks import TrackTable

HEADER = "\tidentifier\tclip\tclip_soft\tscale\tsum_stat\tstrand_pair"
ROW = ["0", "a+", "768", "384", "1.0", "sum", "0"]


def row(**changes: str) -> str:
    names = ["index", *HEADER.split("\t")[1:]]
    return "\t".join(changes.get(name, value) for name, value in zip(names, ROW, strict=True))


def refuses(path: Path, message: str, **options: int) -> None:
    with pytest.raises(FormatError, match="^" + re.escape(f"{path}{message}")):
        TrackTable.read(path, **options)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], ", line 1: no header of tab-separated columns"),
        (["identifier,clip,clip_soft"], ", line 1: no header of tab-separated columns"),
        ([HEADER], ": no tracks below the header"),
        ([HEADER, "", ""], ": no tracks below the header"),
        (["\tidentifier\tclip\tclip_soft\tsum_stat", "0\ta\t1\t1\tsum"], ", line 1: no column 'scale'; found , ident"),
        ([f"{HEADER}\tscale", f"{row()}\t5"], ", line 1: column 'scale' stands twice"),
        ([HEADER, row(), row(index="1")[:-2]], ", line 3: 6 columns, the header has 7"),
        ([HEADER, row(), row(index="1") + "\t"], ", line 3: 8 columns, the header has 7"),
        ([HEADER, row(), row(index="x")], ", line 3: index is 'x'; an integer is needed"),
        ([HEADER, row(index="1.0")], ", line 2: index is '1.0'; an integer is needed"),
        ([HEADER, row(index="-1")], ", line 2: index is '-1'; 0 or more is needed"),
        ([HEADER, row(index=str(2**63))], f", line 2: index is '{2**63}'; at most"),
        ([HEADER, row(), row(index="1"), row()], ": index 0 stands in more than one row"),
        ([HEADER, row(index=str(2**60)), row(), row(index=str(2**60))], f": index {2**60} stands in more than one row"),
        ([HEADER, row(strand_pair="")], ", line 2: strand_pair is ''; an integer is needed"),
        ([HEADER, row(), row(index="1", clip="-4")], ", line 3: clip is '-4'; a positive number is needed"),
        ([HEADER, row(scale="0")], ", line 2: scale is '0'; a positive number is needed"),
        ([HEADER, row(scale="")], ", line 2: scale is ''; a positive number is needed"),
        ([HEADER, row(clip_soft="nan")], ", line 2: clip_soft is 'nan'; a positive number is needed"),
        ([HEADER, row(clip="inf")], ", line 2: clip is 'inf'; a positive number is needed"),
        ([HEADER, row(clip="1e39")], ", line 2: clip is '1e39'; a positive number is needed"),  # beyond float32
        ([HEADER, row(scale="1e-50")], ", line 2: scale is '1e-50'; a positive number is needed"),  # 0 in float32
        ([HEADER, row(), "", row(index="1", scale="no")], ", line 4: scale is 'no'"),  # blank lines count
        ([HEADER, row(), "", row(index="1"), row(index="2", strand_pair="?")], ", line 5: strand_pair is '?'"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_wrong_tables(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "targets.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    refuses(path, message)


def test_the_wrong_table_for_a_model(tmp_path: Path) -> None:
    path = tmp_path / "targets.txt"
    path.write_text(f"{HEADER}\n{row()}\n", encoding="utf-8")
    assert len(TrackTable.read(path, n_tracks=1)) == 1
    refuses(path, ": 1 rows, but the model has 7611 outputs", n_tracks=7611)


def test_no_table_at_all(tmp_path: Path) -> None:
    refuses(tmp_path / "missing.txt", ": cannot be read (No such file")
    refuses(tmp_path, ": cannot be read (Is a directory")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe\t\x00")
    refuses(tmp_path / "model.h5", ": not a text table")


def test_windows_line_ends_are_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "targets.txt"
    path.write_bytes(f"{HEADER}\r\n{row()}\r\n".encode())
    assert TrackTable.read(path).strand_pair.tolist() == [0]
