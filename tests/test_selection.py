"""What an expression selects, on a table with names that look like patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toys

from borzoi_rt.errors import InputError
from borzoi_rt.selection import TrackNames
from borzoi_rt.tracks import TrackTable

NAMES = ("RNA+", "RNA-", "DNASE", "CNhs1+", "CNhs1-", "a,b", "a.c", "abc", "ENCFF1", "chip(x", "12")
LABELS = (
    *("RNA:Spleen, adult (41 years)", "RNA:Spleen, adult (41 years)", "DNASE:spleen", "CAGE:CD4+ T Cells,"),
    *("CAGE:CD4+ T Cells,", "commas", "dots", "letters", "CHIP:H3K27ac:liver", "brackets", "RNA+ antibody"),
)
PAIRS = (1, 0, 2, 4, 3, 5, 6, 7, 8, 9, 10)
UNITS = np.arange(100, 100 + len(NAMES))


@pytest.fixture
def table() -> TrackTable:
    """Units 100 to 110 at positions 0 to 10."""
    one = np.ones(len(NAMES), dtype=np.float32)
    return TrackTable(
        index=UNITS,
        identifier=NAMES,
        description=LABELS,
        sum_stat=("sum",) * len(NAMES),
        clip=one,
        clip_soft=one,
        scale=one,
        strand_pair=100 + np.array(PAIRS),
    )


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        # identifiers and units, letter by letter
        ("RNA+", [0]),
        ("CNhs1+", [3]),
        ("CNhs1-", [4]),
        ("a.c", [6]),  # not abc
        ("a,b", [5]),
        ("chip(x", [9]),
        ("103", [3]),
        ("12", [10]),  # an identifier that is a number
        # pairs, as the tables print them
        ("CNhs1+/-", [3, 4]),
        ("cnhs1+/-", [3, 4]),
        ("rna+/-", [0, 1]),
        # lists, in the order asked, each track once
        ("DNASE,RNA-,RNA+", [2, 1, 0]),
        (" 104 ,  RNA+,104 ", [4, 0]),
        ("RNA+/-,103,CNhs1+/-", [0, 1, 3, 4]),
        ("abc,a,b,RNA-", [7, 5, 1]),  # a,b is an identifier
        ("DNASE,CAGE", [2, 3, 4]),
        ("liver,rna", [8, 0, 1, 10]),
        ("CAGE:CD4+ T Cells,,abc", [3, 4, 7]),  # a label that ends with a comma
        # patterns, without case, in names and labels
        ("spleen", [0, 1, 2]),
        ("SPLEEN", [0, 1, 2]),
        ("^dnase|h3k27AC", [2, 8]),
        ("a{1,2}bc", [7]),
        ("[x,y]bc|a[b,c]c", [7]),
        ("(ENCFF1|a{1,2}bc),RNA\\-", [7, 8, 1]),
        ("spleen\\, adult", [0, 1]),
        ("RNA:.+", [0, 1]),
        (".", list(range(11))),
        # plain text that is no pattern, or another one
        ("RNA:Spleen, adult (41 years)", [0, 1]),
        ("(41 YEARS)", [0, 1]),
        ("cd4+ t", [3, 4]),
        ("cnhs1+", [3]),  # never CNhs1, CNhs11
        ("hs1+", [3]),
        ("(x", [9]),
        ("(", [0, 1, 9]),
    ],
)
def test_select(table: TrackTable, expression: str, want: list[int]) -> None:
    got = table.select(expression)
    assert got.dtype == np.int64
    assert got.tolist() == want
    assert table.positions_of(table.index[got]).tolist() == want


def test_nothing_asked_is_everything(table: TrackTable) -> None:
    assert table.select(None).tolist() == list(range(len(table)))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty part"),
        ("  ", "empty part"),
        ("RNA+,", "'RNA\\+,' has an empty part"),
        (",RNA+", "empty part"),
        ("RNA+,,DNASE", "empty part"),
        ("*zz", r"'\*zz' is not a regular expression \(nothing to repeat"),
        ("RNA+,(?zz", r"'\(\?zz' is not a regular expression"),
        ("RNA+,kidney", "no track matches 'kidney'"),
        ("3", "no track matches '3'"),  # no unit, and no pattern either: it stands in (41 years), H3K27ac ...
        ("999", "no track matches '999'"),
        ("CNhs2+", "no track matches 'CNhs2\\+'; nearest: CNhs1"),
        ("DNA+", "no track matches"),  # not DNASE by DNA, DNAA
        ("CNhs2+/-", "no track matches"),
    ],
)
def test_what_selects_nothing_is_refused(table: TrackTable, expression: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table.select(expression)


@pytest.mark.parametrize(
    ("expression", "near"),
    [
        ("splen", "RNA+ (RNA:Spleen, adult (41 years))"),  # a letter short, as a word of a label
        ("LIVRE", "ENCFF1 (CHIP:H3K27ac:liver)"),
        ("H3K27ac:kidney", "ENCFF1 (CHIP:H3K27ac:liver)"),
        ("DNSAE", "DNASE (DNASE:spleen)"),
        ("ENCFF2", "ENCFF1 (CHIP:H3K27ac:liver)"),
        ("^spleen$", "RNA+ (RNA:Spleen, adult (41 years))"),
    ],
)
def test_suggestions_are_near_in_spelling_or_label(table: TrackTable, expression: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        table.select(expression)
    suggestions = str(caught.value).split("nearest: ")[1].split("; ")
    assert near in suggestions
    assert len(suggestions) <= 3


def test_where_nothing_is_near_tracks_are_named() -> None:
    few = TrackNames(("a", "b"), ("RNA:lung", "b"), (0, 1), ("", ""))
    with pytest.raises(
        InputError, match=r"no track matches 'qqq', and none is spelled like it; there are a \(RNA:lung\); b$"
    ):
        few.select("qqq")
    many = [f"t{number}" for number in range(1200)]
    with pytest.raises(InputError, match=r"the first of 1,200 are t0; t1; t2; t3; t4$"):
        TrackNames(many, many, range(1200), [""] * 1200).select("qqq")


def test_a_number_that_names_two_tracks_is_refused() -> None:
    """Identifier 1 at unit 0, identifier 0 at unit 1: whichever is taken, half of the users mean the other."""
    table = toys.tracks()
    object.__setattr__(table, "identifier", ("1", "0", *table.identifier[2:]))
    with pytest.raises(InputError, match="'1' is the identifier of one track and the unit of another"):
        table.select("1")
    assert table.select("5").tolist() == [5]


def test_a_file_holds_names_units_and_pairs(table: TrackTable, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("# mine\n104\n\n a,b \nrna+/-\nRNA+\n")
    assert table.select(f"@{names}").tolist() == [4, 5, 0, 1]
    names.write_text("RNA+\nspleen\n")  # a list of names is no list of patterns
    with pytest.raises(InputError, match="no track matches 'spleen'"):
        table.select(f"@{names}")
    names.write_text("# nothing\n")
    with pytest.raises(InputError, match="list of tracks is empty"):
        table.select(f"@{names}")
    with pytest.raises(InputError, match="cannot read the list"):
        table.select("@absent")


def test_every_name_and_label_of_a_published_table_selects_its_own(shared: Path) -> None:
    """As our tables print them: identifiers, pairs, units; a label finds at least the tracks that carry it."""
    table = TrackTable.read(shared / "data" / "tiny_model" / "targets.txt")
    rows = table.rows(table.merge_plan())
    for position, (name, unit, label) in enumerate(zip(table.identifier, table.index, table.description, strict=True)):
        assert table.select(name).tolist() == [position]
        assert table.select(str(unit)).tolist() == [position]
        assert position in table.select(label)
    for name, unit, pair in zip(rows.identifier, rows.index, rows.index_pair, strict=True):
        assert table.index[table.select(name)].tolist() == list(dict.fromkeys([unit, pair]))
    assert table.select(",".join(rows.identifier)).tolist() == list(range(len(table)))
