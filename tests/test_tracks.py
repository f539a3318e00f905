"""The track table: reading, writing, selecting and pairing."""

from __future__ import annotations

import codecs
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import toys
from numpy.testing import assert_array_equal

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.tracks import TrackTable, pair_label, pair_name

HEADER = ("", "identifier", "clip", "clip_soft", "scale", "sum_stat", "strand_pair", "description")
ROWS = (
    ("3", "a+", "768", "384", "0.01", "sum_sqrt", "9", "RNA:liver, adult"),
    ("9", "a-", "768", "384", "0.01", "sum_sqrt", "3", "RNA:liver, adult"),
    ("4", "dnase.1", "128", "32", "2.0", "mean", "4", 'DNASE:"K562"'),
)


def write(path: Path, header=HEADER, rows=ROWS, end: str = "\n") -> Path:
    path.write_bytes((end.join("\t".join(row) for row in (header, *rows)) + end).encode())
    return path


def changed(line: int, column: str, value: str) -> tuple[tuple[str, ...], ...]:
    """Return ``ROWS`` with one value changed; lines count from 1, the header being the first."""
    rows = [list(row) for row in ROWS]
    rows[line - 2][HEADER.index(column)] = value
    return tuple(tuple(row) for row in rows)


def same(one: TrackTable, other: TrackTable) -> bool:
    pairs = ((getattr(one, item.name), getattr(other, item.name)) for item in fields(TrackTable))
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_columns_mean_what_the_header_says(tmp_path):
    table = TrackTable.read(write(tmp_path / "t.txt"))
    assert len(table) == 3
    assert table.index.tolist() == [3, 9, 4]
    assert table.strand_pair.tolist() == [9, 3, 4]
    assert table.identifier == ("a+", "a-", "dnase.1")
    assert table.description[2] == 'DNASE:"K562"'
    assert table.sum_stat == ("sum_sqrt", "sum_sqrt", "mean")
    assert table.strand == ("+", "-", ".")
    for name, values in (("clip", [768, 768, 128]), ("clip_soft", [384, 384, 32]), ("scale", [0.01, 0.01, 2])):
        assert getattr(table, name).dtype == np.float32
        assert_array_equal(getattr(table, name), np.float32(values))


def test_columns_may_stand_in_any_order_and_more_are_kept(tmp_path):
    order = [0, 7, 3, 2, 5, 4, 6, 1]
    header = [*(HEADER[column] for column in order), "genome"]
    rows = [[*(row[column] for column in order), "hg38"] for row in ROWS]
    table = TrackTable.read(write(tmp_path / "t.txt", header, rows, end="\r\n"))
    assert table.extra == {"genome": ("hg38",) * 3}
    plain = TrackTable.read(write(tmp_path / "plain.txt"))
    assert same(plain, TrackTable(**{item.name: getattr(table, item.name) for item in fields(table)[:-1]}))


def test_a_byte_order_mark_belongs_to_no_name(tmp_path):
    table = TrackTable.read(write(tmp_path / "t.txt"))
    marked = tmp_path / "marked.txt"
    marked.write_bytes(codecs.BOM_UTF8 + (tmp_path / "t.txt").read_bytes())
    assert same(TrackTable.read(marked), table)
    marked.write_bytes(codecs.BOM_UTF8 + b"a-\na+\n")
    assert table.select(f"@{marked}").tolist() == [1, 0]


def test_only_signs_are_strands(tmp_path):
    """Names of pairs that end otherwise say nothing of strands; a sign at the end of an unstranded track neither."""
    table = TrackTable.read(write(tmp_path / "t.txt", HEADER, ROWS))
    named = replace(table, identifier=("a.fwd", "a.rev", "b+"))
    assert (table.strand, named.strand) == (("+", "-", "."), (".", ".", "."))
    with pytest.raises(InputError, match="2 tracks have no mutual strand partner"):
        named.merge_plan()


def test_without_pairs_every_track_is_alone(tmp_path):
    column = HEADER.index("strand_pair")
    rows = [row[:column] + row[column + 1 :] for row in ROWS]
    table = TrackTable.read(write(tmp_path / "t.txt", HEADER[:column] + HEADER[column + 1 :], rows))
    assert table.strand == (".", ".", ".")
    assert_array_equal(table.merge_plan().first, [0, 1, 2])


@pytest.mark.parametrize("make", [toys.tracks, lambda: toys.tracks().take([4, 1, 0])], ids=["all", "some"])
def test_what_is_written_is_read(tmp_path, make):
    table = make()
    object.__setattr__(table, "scale", (table.scale / 3).astype(np.float32))
    table.extra["group"] = tuple("abcdef"[: len(table)])
    table.write(tmp_path / "t.tsv")
    assert same(TrackTable.read(tmp_path / "t.tsv"), table)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (changed(3, "clip", "-1"), "line 3: clip is '-1'; a positive number"),
        (changed(2, "scale", "0"), "line 2: scale is '0'"),
        (changed(2, "scale", "1e-60"), "line 2: scale is '1e-60'"),
        (changed(4, "clip_soft", "1e60"), "line 4: clip_soft is '1e60'"),
        (changed(4, "clip_soft", "nan"), "line 4: clip_soft is 'nan'"),
        (changed(4, "clip", ""), "line 4: clip is ''"),
        (changed(3, "", "x"), "line 3: index is 'x'; an integer"),
        (changed(3, "strand_pair", "-3"), "line 3: strand_pair is '-3'"),
        (changed(3, "strand_pair", "9" * 30), "line 3: strand_pair is '999"),
        (changed(4, "", "3"), "index 3 stands in more than one row"),
        ((*ROWS[:2], ("4", "short")), "line 4: 2 columns, the header has 8"),
        ((ROWS[0], (), *changed(3, "scale", "?")[1:]), "line 4: scale is '\\?'"),
        ((), "no tracks below the header"),
    ],
)
def test_malformed_rows_are_named_by_file_and_line(tmp_path, rows, complaint):
    with pytest.raises(FormatError, match=rf"targets\.txt.*{complaint}"):
        TrackTable.read(write(tmp_path / "targets.txt", rows=rows))


@pytest.mark.parametrize("column", ["identifier", "clip", "clip_soft", "scale", "sum_stat"])
def test_a_missing_or_repeated_column_is_named(tmp_path, column):
    renamed = tuple("other" if name == column else name for name in HEADER)
    with pytest.raises(FormatError, match=f"line 1: no column '{column}'; found .*other"):
        TrackTable.read(write(tmp_path / "t.txt", renamed))
    repeated = tuple(column if name == "description" else name for name in HEADER)
    with pytest.raises(FormatError, match=f"line 1: column '{column}' stands there more than once"):
        TrackTable.read(write(tmp_path / "t.txt", repeated))


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "no header"), (b"\xff\xfe\x00", "not a text"), (b"a\n", "header")]
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, complaint):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint):
        TrackTable.read(path)
    with pytest.raises(FormatError, match="cannot be read"):
        TrackTable.read(tmp_path / "absent.txt")


def test_a_table_of_another_size_than_the_model_is_refused(tmp_path):
    path = write(tmp_path / "t.txt")
    assert len(TrackTable.read(path, n_tracks=3)) == 3
    with pytest.raises(FormatError, match="3 rows, but the model has 4 outputs"):
        TrackTable.read(path, n_tracks=4)


def test_units_that_are_not_in_the_table_are_named():
    with pytest.raises(InputError, match=r"tracks \[7, 99\] are not in the table of 6 rows"):
        toys.tracks().positions_of([0, 7, 99])


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 0, 2], [2, 3]])
def test_merge_plan_pairs_the_strands_in_any_order(order):
    """Every row is used, its own strand first; the merged rows are the '+' and unstranded ones in table order."""
    table = toys.tracks().take(order)
    plan = table.merge_plan()
    assert [table.identifier[position] for position in plan.first] == [
        name for name in table.identifier if name[-1] != "-"
    ]
    for first, second in zip(plan.first, plan.second, strict=True):
        assert table.index[second] == table.strand_pair[first]
    assert sorted({*plan.first, *plan.second}) == list(range(len(table)))


def test_merge_plan_names_both_of_an_incomplete_pair():
    with pytest.raises(InputError, match=r"1 tracks have no mutual.*cage- \(track 1, pair 0\).*merge_strands=False"):
        toys.tracks().take([1, 4]).merge_plan()


@pytest.mark.parametrize(
    ("first", "second", "name", "label"),
    [
        ("CNhs10752+", "CNhs10752-", "CNhs10752+/-", "CNhs10752+/-"),
        ("RNA+", "RNA-", "RNA+/-", "RNA+/-"),
        ("+", "-", "+/-", "+/-"),
        ("plus+", "minus-", "plus+/minus-", "plus+ / minus-"),
        ("liver sense", "liver antisense", "liver sense/liver antisense", "liver sense / liver antisense"),
        ("DNASE", "DNASE", "DNASE", "DNASE"),
        ("x-", "x+", "x-/x+", "x- / x+"),
    ],
)
def test_a_pair_is_named_for_both(first, second, name, label):
    assert pair_name(first, second) == name
    assert pair_label(first, second) == label


def test_a_merged_row_is_named_for_the_pair_and_knows_both_units():
    table = toys.tracks()
    rows = table.rows(table.merge_plan())
    assert rows.identifier == ("cage+/-", "rna+/-", "dnase", "chip")
    assert rows.description == ("toy cage+/-", "toy rna+/-", "toy dnase", "toy chip")
    assert rows.strand == (".", ".", ".", ".")
    assert rows.index.tolist() == [0, 3, 4, 5]
    assert rows.index_pair.tolist() == [1, 2, 4, 5]
    # What the reference programs call the rows: the '+' track.
    assert rows.track_identifier == ("cage+", "rna+", "dnase", "chip")
    assert rows.track_description == ("toy cage+", "toy rna+", "toy dnase", "toy chip")
    assert len(rows) == 4


def test_rows_of_strands_kept_apart_are_the_tracks():
    table = toys.tracks().take([3, 0, 4])
    rows = table.rows()
    assert rows.identifier == rows.track_identifier == ("rna+", "cage+", "dnase")
    assert rows.description == rows.track_description == table.description
    assert rows.strand == ("+", "+", ".")
    assert rows.index.tolist() == rows.index_pair.tolist() == [3, 0, 4]


def test_a_label_that_both_strands_share_is_kept(tmp_path):
    table = TrackTable.read(write(tmp_path / "t.txt"))
    assert table.rows(table.merge_plan()).description == ("RNA:liver, adult", 'DNASE:"K562"')


@pytest.mark.parametrize(
    ("asked", "together", "added"),
    [
        ([0], [0, 1], [1]),
        ([1], [1, 0], [0]),
        ([4, 3, 0], [4, 3, 2, 0, 1], [2, 1]),
        ([0, 4, 1], [0, 4, 1], []),  # both were asked for: the order asked
        ([5, 4], [5, 4], []),
        ([], [], []),
    ],
)
def test_a_partner_is_taken_along_behind_its_track(asked, together, added):
    table = toys.tracks()
    positions, new = table.with_partners(np.array(asked, dtype=np.int64))
    assert positions.tolist() == together
    assert new.tolist() == added
    assert len(table.take(positions).merge_plan()) == len(
        {min(p, q) for p, q in zip(*pairs(table, asked), strict=True)}
    )


def pairs(table: TrackTable, positions: list[int]) -> tuple[list[int], list[int]]:
    """Return tracks and their partners."""
    return positions, [int(table.strand_pair[position]) for position in positions]


def test_a_partner_that_the_table_lacks_is_not_taken_along():
    """What is left is for :meth:`merge_plan` to refuse."""
    positions, added = toys.tracks().take([0, 4]).with_partners([0, 1])
    assert positions.tolist() == [0, 1]
    assert not len(added)


@pytest.mark.parametrize("names", [("x-", "y-"), ("x+", "y+"), ("x", "y")])
def test_a_pair_that_is_not_one_of_each_strand_is_not_merged(tmp_path, names):
    """By the last characters alone such a pair would vanish or be counted twice."""
    rows = (*changed(2, "identifier", names[0])[:1], *changed(3, "identifier", names[1])[1:])
    table = TrackTable.read(write(tmp_path / "t.txt", rows=rows))
    with pytest.raises(InputError, match="2 tracks have no mutual strand partner"):
        table.merge_plan()


@pytest.mark.parametrize(
    ("file", "tracks", "rows"),
    [
        # 638 CAGE, 580 + 8 RNA pairs of 7,611; 27 pairs of 74; the GTEx tracks are unstranded.
        ("tables/targets_human.txt", 7611, 7611 - 638 - 580 - 8),
        ("tables/targets_gtex.txt", 89, 89),
        ("tiny_model/targets.txt", 74, 74 - 27),
    ],
)
def test_published_tables(shared, tmp_path, file, tracks, rows):
    table = TrackTable.read(shared / "data" / file, n_tracks=tracks)
    plan = table.merge_plan()
    assert len(plan) == rows
    # The reference drops the '-' rows and keeps the names of the others.
    kept = tuple(name for name, strand in zip(table.identifier, table.strand, strict=True) if strand != "-")
    assert table.rows(plan).track_identifier == kept
    assert sum(name.endswith("+/-") for name in table.rows(plan).identifier) == tracks - rows
    table.write(tmp_path / "t.tsv")
    assert same(TrackTable.read(tmp_path / "t.tsv"), table)


def test_a_selection_is_remembered_and_belongs_to_its_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list in a file is read again: it may have changed."""
    import toys

    table, searches = toys.tracks(), []
    real = TrackTable._named
    monkeypatch.setattr(TrackTable, "_named", lambda self, text: searches.append(text) or real(self, text))
    first = table.select("cage,dnase")
    want = first.tolist()
    first[:] = 0
    assert table.select("cage,dnase").tolist() == want
    assert searches == ["cage,dnase"]
    listed = tmp_path / "list.txt"
    for name in ("dnase", "chip"):
        listed.write_text(name + "\n")
        assert table.select(f"@{listed}").tolist() == table.select(name).tolist()
