"""The track table: read, write, select, pair strands; every refusal says where and what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toys
from numpy.testing import assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.tracks import TrackTable

HEADER = "\tidentifier\tclip\tclip_soft\tscale\tsum_stat\tstrand_pair\tdescription"
ROWS = [
    "10\tENC1+\t768\t384\t1.0\tsum\t11\tCAGE:liver",
    "11\tENC1-\t768\t384\t1.0\tsum\t10\tCAGE:liver",
    "12\tGTEx.1\t768\t384\t0.01\tsum_sqrt\t12\tRNA:brain cortex",
    "14\tENC9-\t128\t32\t2.0\tmean\t13\tCAGE:brain",
    "13\tENC9+\t128\t32\t2.0\tmean\t14\tCAGE:brain",
]


def table(tmp_path: Path, *, header: str = HEADER, rows: list[str] = ROWS) -> Path:
    path = tmp_path / "targets.txt"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tracks(tmp_path: Path) -> TrackTable:
    return TrackTable.read(table(tmp_path))


def assert_same(got: TrackTable, want: TrackTable) -> None:
    for name in ("index", "clip", "clip_soft", "scale", "strand_pair"):
        assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
        assert getattr(got, name).dtype == getattr(want, name).dtype
    for name in ("identifier", "description", "sum_stat", "extra"):
        assert getattr(got, name) == getattr(want, name)


def test_read_gives_the_columns(tracks: TrackTable) -> None:
    assert len(tracks) == 5
    assert tracks.index.tolist() == [10, 11, 12, 14, 13]
    assert tracks.identifier == ("ENC1+", "ENC1-", "GTEx.1", "ENC9-", "ENC9+")
    assert tracks.strand == ("+", "-", ".", "-", "+")
    assert tracks.sum_stat == ("sum", "sum", "sum_sqrt", "mean", "mean")
    assert tracks.scale.tolist() == [1, 1, np.float32(0.01), 2, 2]
    assert tracks.clip.tolist() == [768, 768, 768, 128, 128]
    assert tracks.clip_soft.tolist() == [384, 384, 384, 32, 32]
    assert tracks.scale.dtype == np.float32
    assert tracks.extra == {}


def test_optional_columns(tmp_path: Path) -> None:
    path = table(
        tmp_path, header="unit\tidentifier\tclip\tclip_soft\tscale\tsum_stat", rows=["3\ta+\t9\t0\t1\tsum", ""]
    )
    got = TrackTable.read(path)
    assert got.description == got.identifier == ("a+",)
    assert got.strand_pair.tolist() == [3]
    assert got.strand == (".",)
    assert got.clip_soft.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "rows", "merged"),
    # 7,611 = 638 CAGE + 580 + 8 RNA pairs, and 5,159 unstranded; 74 = 27 pairs and 20 unstranded.
    [
        ("tables/targets_human.txt", 7611, 638 + 580 + 8 + 5159),
        ("tables/targets_gtex.txt", 89, 89),
        ("tiny_model/targets.txt", 74, 27 + 20),
    ],
)
def test_published_tables(shared: Path, tmp_path: Path, name: str, rows: int, merged: int) -> None:
    tracks = TrackTable.read(shared / "data" / name, n_tracks=rows)
    assert len(tracks) == rows
    plan = tracks.merge_plan()
    assert len(plan) == merged
    seen = np.concatenate([plan.first, plan.second[plan.first != plan.second]])
    assert sorted(seen) == list(range(rows))  # every track takes part once
    assert (np.diff(plan.first) > 0).all()
    strand = tracks.strand
    assert all(strand[place] in "+." for place in plan.first)
    assert all(
        tracks.identifier[b][:-1] == tracks.identifier[a][:-1] for a, b in zip(plan.first, plan.second, strict=True)
    )
    tracks.write(tmp_path / "again.txt")
    assert_same(TrackTable.read(tmp_path / "again.txt"), tracks)


def test_published_groups(shared: Path) -> None:
    tracks = TrackTable.read(shared / "data" / "tables" / "targets_human.txt")
    gtex = TrackTable.read(shared / "data" / "tables" / "targets_gtex.txt")
    assert gtex.index.tolist() == list(range(7522, 7611))
    assert_same(tracks.take(tracks.positions_of(gtex.index)), gtex)
    assert len(tracks.select("^CAGE:")) == 2 * 638
    assert len(tracks.select("^CHIP:")) == 3727 + 159


def test_write_keeps_other_columns_and_every_float(tmp_path: Path) -> None:
    rows = [f'{row}\tq"{place}"\t' for place, row in enumerate(ROWS)]
    tracks = TrackTable.read(table(tmp_path, header=f"{HEADER}\tfile\tgroup", rows=rows))
    assert tracks.extra == {"file": tuple(f'q"{place}"' for place in range(5)), "group": ("",) * 5}
    values = np.array([1 / 3, 1e-30, 3.4e38, 0.1, 16777217], dtype=np.float32)
    tracks.scale[:] = values
    tracks.write(tmp_path / "again.txt")
    again = TrackTable.read(tmp_path / "again.txt")
    assert_same(again, tracks)
    assert_array_equal(again.scale, values)


def test_take_keeps_the_order_given(tracks: TrackTable) -> None:
    got = tracks.take([4, 2])
    assert got.identifier == ("ENC9+", "GTEx.1")
    assert got.index.tolist() == [13, 12]
    assert got.scale.tolist() == [2, np.float32(0.01)]
    assert_same(tracks.take(range(5)), tracks)


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("GTEx.1", [2]),
        ("ENC9+,ENC1+", [4, 0]),  # a regular expression would read + as a repeat
        (" 12 , ENC1-, 12", [2, 1]),
        ("13,10", [4, 0]),
        ("^RNA:", [2]),
        (r"\+$", [0, 4]),
        ("brain", [2, 3, 4]),
        ("liver|cortex", [0, 1, 2]),
        ("GTEx.", [2]),
    ],
)
def test_select(tracks: TrackTable, expression: str | None, want: list[int]) -> None:
    got = tracks.select(expression)
    assert got.dtype == np.int64
    assert got.tolist() == want


def test_select_from_a_file(tracks: TrackTable, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("# brain first\nENC9-\n\n  12\r\nENC9-\n", encoding="utf-8")
    assert tracks.select(f"@{names}").tolist() == [3, 2]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("ENC7+", "no track matches 'ENC7\\+'; nearest: ENC"),
        ("GTEx1", "nearest: GTEx.1"),
        ("GTEx.1,ENC2-", "nearest: "),
        ("(", r"'\(' is not a regular expression"),
        ("@missing.txt", "missing.txt: cannot read the list of tracks"),
    ],
)
def test_select_nothing_is_an_error(tracks: TrackTable, expression: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tracks.select(expression)


@pytest.mark.parametrize(
    ("text", "message"), [("ENC1+\nENC2x\n", "called 'ENC2x'; nearest: ENC"), ("# none yet\n\n", "names no track")]
)
def test_a_file_of_wrong_names(tracks: TrackTable, tmp_path: Path, text: str, message: str) -> None:
    names = tmp_path / "names.txt"
    names.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        tracks.select(f"@{names}")


def test_positions_of(tracks: TrackTable) -> None:
    assert tracks.positions_of([13, 10, 13]).tolist() == [4, 0, 4]
    with pytest.raises(InputError, match=r"tracks \[9, 0\] are not in the table of 5 rows"):
        tracks.positions_of([10, 9, 0])


def test_merge_plan_pairs_by_unit_and_not_by_row(tracks: TrackTable) -> None:
    plan = tracks.merge_plan()
    assert plan.first.tolist() == [0, 2, 4]
    assert plan.second.tolist() == [1, 2, 3]
    plan = tracks.take([3, 2, 4]).merge_plan()  # positions in the selection
    assert (plan.first.tolist(), plan.second.tolist()) == ([1, 2], [1, 0])
    assert len(toys.tracks().merge_plan()) == 4  # two pairs, two alone


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:1], r"1 tracks have no mutual strand partner in the selection, first ENC1\+ \(track 10, pair 11\)"),
        (ROWS[1:], r"first ENC1- \(track 11, pair 10\); select both strands, or keep strands apart \(--no-merge\)"),
        ([ROWS[0], ROWS[1].replace("\t10\t", "\t11\t")], r"ENC1\+ \(track 10"),  # 10 -> 11, but 11 -> 11
        ([row.replace("ENC1-", "ENC1+") for row in ROWS], r"ENC1\+ and ENC1\+ .*not one '\+' and one '-'"),
        ([row.replace("ENC1+", "ENC1-") for row in ROWS], r"ENC1- and ENC1- .*not one '\+' and one '-'"),
        ([row.replace("ENC9+", "fwd").replace("ENC9-", "rev") for row in ROWS], "not one '\\+' and one '-'"),
    ],
    ids=["plus_alone", "minus_alone", "not_mutual", "two_plus", "two_minus", "no_signs"],
)
def test_strands_that_cannot_be_paired(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrackTable.read(table(tmp_path, rows=rows)).merge_plan()
