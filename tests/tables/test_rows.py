"""Rows of the tables: long and wide, made in bounded slices, whatever the alleles and whichever scores there are."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import toys
from numpy.testing import assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.scoring.selection import select_rows
from borzoi_rt.tables import ISM_WRITERS, WRITERS, TableContext, suffix_of
from borzoi_rt.tables import rows as rows_module
from borzoi_rt.tables.rows import Rows, empty_table, long_tables, score_table, tables_of, wide_table

OPTIONS = ScoreOptions(stats=("SUM", "D2@span:64", "SUM@span:64", "JS"))
TRACKS = select_rows(toys.tracks(), OPTIONS).rows
ROWS = Rows(TRACKS, OPTIONS.specs)
COLUMNS = [f"{spec.name}|{track}" for spec in OPTIONS.specs for track in TRACKS.identifier]
META = {"borzoi_rt": "0", "model": "toy", "score_ids": {spec.name: "f" * 64 for spec in OPTIONS.specs}}


def scored(number: int, *, alt: str = "C", status: str = "ok", undefined: int | None = None) -> ScoredVariant:
    """Return an allele with scores that say where they belong: number, score, row; one of JS may be undefined."""
    reference = status
    vectors = {
        name: np.arange(len(TRACKS), dtype=np.float32) + 10 * index + 100 * number
        for index, name in enumerate(("SUM", "JS", "D2@span:64", "SUM@span:64"))
    }
    if undefined is not None:
        vectors["JS"][undefined] = np.nan
        status = "undefined"
    regions = (
        RegionScores("window", ".", {"SUM": vectors["SUM"], "JS": vectors["JS"]}),
        RegionScores("span:64", ".", {"D2": vectors["D2@span:64"], "SUM": vectors["SUM@span:64"]}),
    )
    variant = Variant("chr1", 1000 + number, "A", alt, f"v{number}")
    return ScoredVariant(number, 0, variant, status, "", 5, None, 0.0, regions, reference)


def failed(number: int) -> ScoredVariant:
    return ScoredVariant(number, 0, Variant("chr1", 1000 + number, "A", "<DEL>"), "symbolic_alt", "no bases")


RESULTS = [scored(0), failed(1), scored(2, undefined=3), scored(3, status="flipped"), failed(4)]


def long_rows(results: Sequence[ScoredVariant]) -> list[dict[str, Any]]:
    kept = score_table(results, ROWS.specs, len(TRACKS))
    return [row for table in long_tables(kept, ROWS) for row in table.to_pylist()]


def test_long_rows_are_every_score_of_every_track_once() -> None:
    rows = long_rows(RESULTS)
    assert len(rows) == 3 * 4 * len(TRACKS) + 2
    keys = [(row["record"], row["region"], row["track_id"], row["stat"]) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        if row["stat"] is None:
            assert (row["status"], row["score"], row["region"], row["gene"]) == ("symbolic_alt", None, None, None)
            continue
        name = row["stat"] if row["region"] == "window" else f"{row['stat']}@{row['region']}"
        scores = RESULTS[row["record"]].scores
        assert scores is not None
        want = scores[name][TRACKS.identifier.index(row["track_id"])]
        assert row["score"] == (want if np.isfinite(want) else None)


def test_an_undefined_score_is_empty_and_its_row_alone_says_so() -> None:
    rows = [row for row in long_rows(RESULTS) if row["record"] == 2]
    wrong = [row for row in rows if row["status"] != "ok"]
    assert [(row["stat"], row["track_id"], row["status"], row["score"]) for row in wrong] == [
        ("JS", TRACKS.identifier[3], "undefined", None)
    ]
    assert all(row["score"] is not None for row in rows if row["status"] == "ok")


@pytest.mark.parametrize("reference", ["flipped", "ref_edited"])
def test_the_defined_scores_of_a_flipped_allele_say_flipped(reference: str) -> None:
    rows = long_rows([scored(0, status=reference, undefined=2)])
    undefined = [row for row in rows if row["score"] is None]
    assert [(row["status"], row["stat"]) for row in undefined] == [("undefined", "JS")]
    assert {row["status"] for row in rows} - {"undefined"} == {reference}
    assert {row["flipped"] for row in rows} == {reference == "flipped"}


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
@pytest.mark.parametrize("layout", ["long", "wide"])
def test_no_row_that_is_ok_lacks_a_number(tmp_path: Path, suffix: str, layout: str) -> None:
    rows = read(written(tmp_path / f"out{suffix}", RESULTS, layout=layout))
    if layout == "wide":
        assert [row["status"] for row in rows] == ["ok", "symbolic_alt", "undefined", "flipped", "symbolic_alt"]
        assert [sum(row[name] in ("", None) for name in COLUMNS) for row in rows] == [0, 16, 1, 0, 16]
    else:
        assert all((row["score"] in ("", None)) is (row["status"] in ("undefined", "symbolic_alt")) for row in rows)
        assert sum(row["status"] == "undefined" for row in rows) == 1


def test_hdf5_and_vcf_have_the_status_of_the_allele(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "out.h5", RESULTS)) as file:
        assert [status.decode() for status in file["status"]] == [item.status for item in RESULTS]
        assert np.isnan(file["JS"][2]).tolist() == [False, False, False, True]
        assert np.isfinite(file["SUM"][2]).all()
        assert np.isnan(file["D2@span:64"][1]).all()


def written(path: Path, results: Sequence[ScoredVariant], *, layout: str = "long", parts: int = 2) -> Path:
    """Write results, kept in parts of a few alleles, as a table."""

    def shards() -> Iterator[pa.Table]:
        for start in range(0, len(results), parts):
            yield score_table(results[start : start + parts], ROWS.specs, len(TRACKS))

    suffix = suffix_of(path, WRITERS, layout)
    WRITERS[suffix](path, shards, TableContext(ROWS, META, None, layout))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    with path.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("size", [1, 300, 5000, 10**9])
def test_slices_give_the_rows_of_one_table(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [*RESULTS, scored(5, alt="C" * 2000)]
    want = long_rows(results)
    monkeypatch.setattr(rows_module, "_SLICE_BYTES", size)
    kept = score_table(results, ROWS.specs, len(TRACKS))
    tables = list(long_tables(kept, ROWS))
    assert len(tables) == (1 if size == 10**9 else len(want) if size < 2000 else len(tables))
    assert [row for table in tables for row in table.to_pylist()] == want


def test_a_slice_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_SLICE_BYTES", 100_000)
    kept = score_table([scored(0, alt="C" * 20_000), *(scored(n) for n in range(1, 40))], ROWS.specs, len(TRACKS))
    assert max(table.nbytes for table in long_tables(kept, ROWS)) < 2 * 100_000
    assert sum(len(table) for table in long_tables(kept, ROWS)) == 40 * 4 * len(TRACKS)


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_a_long_allele_does_not_make_parquet_large(tmp_path: Path, layout: str) -> None:
    """200 kb of ALT stand beside 16 scores: 3.2 MB if each row of the file held its own."""
    generator = np.random.default_rng(0)
    alt = "".join(generator.choice(list("ACGT"), 200_000))
    path = written(tmp_path / "out.parquet", [scored(0), scored(1, alt=alt), scored(2)], layout=layout)
    rows = read(path)
    assert {row["alt"] for row in rows if row["record"] == 1} == {alt}
    assert path.stat().st_size < 400_000


def test_a_long_allele_does_not_make_hdf5_large(tmp_path: Path) -> None:
    """2,000 alleles of one base and one of 20,000: 40 MB if text had one width, as fixed strings of HDF5 have."""
    results = [scored(n % 1000, alt="C" * (20_000 if n == 700 else 1)) for n in range(2000)]
    path = written(tmp_path / "out.h5", results, parts=500)
    assert path.stat().st_size < 2_000_000
    with h5py.File(path) as file:
        assert len(file["alt_allele"][700]) == 20_000
        assert file["alt_allele"][699] == b"C"
        assert_array_equal(file["SUM"][701], scored(701).scores["SUM"])  # type: ignore[index]


def test_wide_columns_are_named_by_score_and_track() -> None:
    kept = score_table(RESULTS, ROWS.specs, len(TRACKS))
    table = wide_table(kept, ROWS)
    assert len(table) == len(RESULTS)
    assert table.column_names[-len(COLUMNS) :] == COLUMNS
    by_key = {
        (row["record"], row["region"], row["stat"], row["track_id"]): row["score"]
        for row in long_rows(RESULTS)
        if row["stat"] is not None
    }
    for number, row in enumerate(table.to_pylist()):
        for spec in OPTIONS.specs:
            for track in TRACKS.identifier:
                value = row[f"{spec.name}|{track}"]
                assert value == by_key.get((number, str(spec.region), spec.stat, track))


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_a_table_without_rows_has_the_columns_of_one_with_rows(layout: str) -> None:
    kept = score_table([scored(0)], ROWS.specs, len(TRACKS))
    (table,) = tables_of(kept, ROWS, layout)
    assert empty_table(ROWS, layout).schema.equals(table.schema)
    assert len(empty_table(ROWS, layout)) == 0
    none = score_table([], ROWS.specs, len(TRACKS))
    assert sum(len(table) for table in tables_of(none, ROWS, layout)) == 0


def test_other_layouts_are_refused() -> None:
    with pytest.raises(InputError, match="layout 'broad' is unknown; allowed: long, wide"):
        suffix_of(Path("out.tsv"), WRITERS, "broad")
    for name in ("out.h5", "out.vcf.gz"):
        with pytest.raises(InputError, match=r"has one layout; 'wide' is for .tsv, .tsv.gz, .parquet"):
            suffix_of(Path(name), WRITERS, "wide")
    for name in ("out.tsv", "out.tsv.gz", "out.parquet"):
        assert name.endswith(suffix_of(Path(name), WRITERS, "wide"))
    with pytest.raises(InputError, match=r"allowed: .tsv, .tsv.gz, .parquet, .h5"):
        suffix_of(Path("out.vcf.gz"), ISM_WRITERS)


def test_bytes_that_are_no_text_are_written_out() -> None:
    variant = Variant("chr\udce9", 5, "A", "C")
    item = ScoredVariant(0, 0, variant, "contig_missing", "no contig 'chr\udce9'")
    (row,) = long_rows([item])
    assert (row["chrom"], row["status_detail"]) == ("chr\\xe9", "no contig 'chr\\xe9'")


def test_what_stands_beside_a_score_may_be_infinite_in_wide_tables() -> None:
    """No null value on the side of a score: it is infinitely far beyond them. The score is finite or undefined."""
    options = ScoreOptions(stats=("SUM",))
    tracks = select_rows(toys.tracks(), options).rows
    scores = np.array([1.0, np.inf, 3.0, 4.0], dtype="f4")
    beside = np.array([np.inf, np.nan, 2.0, -np.inf], dtype="f4")
    region = RegionScores("window", ".", {"SUM": scores}, extras={"vs_null_max": {"SUM": beside}})
    found = [ScoredVariant(0, 0, Variant("chr1", 5, "A", "C"), "ok", regions=(region,))]
    how = {"extras": ("vs_null_max",)}
    table = wide_table(score_table(found, options.specs, 4, **how), Rows(tracks, options.specs, **how))
    columns = {name: table[name].to_pylist()[0] for name in table.column_names if name.startswith("SUM")}
    assert list(columns.values()) == [1.0, None, 3.0, 4.0, np.inf, None, 2.0, -np.inf]
