"""Nearest neighbours: against sorting, with rows left out, by faiss, and of what the demo's grammar planted."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal
from oracles import neighbours as oracle

from borzoi_rt.demo.grammar import MOTIFS, coverage
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.examples import neighbours as module
from borzoi_rt.examples.neighbours import NeighbourOptions, find_neighbours
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.inside.embed import Embeddings

ABOUT = {"layer": "embedding", "region": "bases"}


def embeddings(values: np.ndarray, **more: Any) -> Embeddings:
    """Rows of 100 bp, 80 bp apart: each overlaps the one before and the one behind it."""
    count = len(values)
    columns = {
        "name": [f"r{row}" for row in range(count)],
        "chrom": ["chr1"] * count,
        "start": [80 * row for row in range(count)],
        "end": [80 * row + 100 for row in range(count)],
        "strand": ["+"] * count,
        "allele": ["genome"] * count,
        "status": ["ok"] * count,
    } | more
    return Embeddings(
        values.astype(np.float32), {name: np.asarray(part) for name, part in columns.items()}, dict(ABOUT)
    )


RNG = np.random.default_rng(7)
ROWS = embeddings(RNG.normal(size=(300, 12)) + 0.5)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("overlapping", [False, True])
def test_flat_is_what_sorting_finds(metric: str, overlapping: bool) -> None:
    found = find_neighbours(ROWS, options=NeighbourOptions(count=7, metric=metric, overlapping=overlapping))
    assert found.recall == 1.0
    for query in range(0, 300, 11):
        near = 0 if overlapping else 1  # 80 bp apart and 100 bp long: the next row shares 20 bp
        allowed = [row for row in range(300) if abs(row - query) > near]
        expected = oracle.nearest(ROWS.values[query], ROWS.values, allowed, 7, metric)
        assert found.rows[query].tolist() == expected
        distances = [oracle.distance(ROWS.values[query], ROWS.values[row], metric) for row in expected]
        assert_allclose(found.distance[query], distances, rtol=1e-4, atol=1e-6)


def test_queries_may_be_others_and_rows_may_be_few() -> None:
    queries = embeddings(RNG.normal(size=(3, 12)), chrom=["chr2"] * 3, status=["ok", "no such contig", "ok"])
    few = embeddings(ROWS.values[:4])
    found = find_neighbours(queries, few, NeighbourOptions(count=6, metric="l2"))
    assert found.queries.tolist() == [0, 2]
    for row, query in enumerate((0, 2)):
        expected = oracle.nearest(queries.values[query], few.values, [0, 1, 2, 3], 6, "l2")
        assert found.rows[row].tolist() == [*expected, -1, -1]
        assert np.isnan(found.distance[row, 4:]).all()
    # The same row of another file is a neighbour like any other, where it shares no bases.
    twin = embeddings(ROWS.values[:4], chrom=["chr3"] * 4)
    assert find_neighbours(few, twin, NeighbourOptions(count=1)).rows[:, 0].tolist() == [0, 1, 2, 3]


def test_alleles_of_a_variant_are_no_neighbours_unless_asked() -> None:
    values = RNG.normal(size=(8, 5))
    values[1::2] = values[::2] + 1e-3
    rows = embeddings(
        values, start=[1000 * (row // 2) for row in range(8)], end=[1000 * (row // 2) + 9 for row in range(8)]
    )
    apart = find_neighbours(rows, options=NeighbourOptions(count=1))
    assert (apart.rows[:, 0] // 2 != np.arange(8) // 2).all()
    together = find_neighbours(rows, options=NeighbourOptions(count=1, overlapping=True))
    assert_array_equal(together.rows[:, 0], np.arange(8) ^ 1)


def test_hnsw_finds_nearly_all_and_says_how_many() -> None:
    pytest.importorskip("faiss", reason="faiss is of the extra neighbours, which is too large for the extra test")
    rng = np.random.default_rng(1)
    rows = embeddings(rng.normal(size=(3000, 24)))
    options = {"count": 5, "metric": "cosine", "recall_queries": 150}
    exact = find_neighbours(rows, options=NeighbourOptions(**options))
    found = find_neighbours(rows, options=NeighbourOptions(**options, index="hnsw"))
    share = np.mean([len({*a.tolist()} & {*b.tolist()}) / 5 for a, b in zip(exact.rows, found.rows, strict=True)])
    assert share > 0.9
    assert found.recall == pytest.approx(share, abs=0.03)
    same = exact.rows == found.rows
    assert_allclose(found.distance[same], exact.distance[same], rtol=1e-12)


def test_a_bad_index_has_a_low_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the figure: an index that returns random rows is told as one."""

    class Random:
        def __init__(self, units: int, links: int) -> None:
            self.hnsw, self.rows = type("Settings", (), {})(), 0

        def add(self, values: np.ndarray) -> None:
            self.rows = len(values)

        def search(self, part: np.ndarray, count: int) -> tuple[None, np.ndarray]:
            rng = np.random.default_rng(0)
            return None, np.stack([rng.permutation(self.rows)[:count] for _ in part])

    monkeypatch.setattr(module, "_faiss", lambda: type("faiss", (), {"IndexHNSWFlat": Random}))
    rng = np.random.default_rng(2)
    found = find_neighbours(embeddings(rng.normal(size=(1000, 8))), options=NeighbourOptions(count=5, index="hnsw"))
    assert found.recall < 0.15  # 36 of 1,000 rows are looked at


def test_what_cannot_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = embeddings(ROWS.values)
    other.about["layer"] = "tokens"
    with pytest.raises(InputError, match="another layer"):
        find_neighbours(ROWS, other)
    with pytest.raises(InputError, match="embeddings of 12 and 11 units"):
        find_neighbours(ROWS, embeddings(ROWS.values[:, :11]))
    with pytest.raises(InputError, match="none of the queries has an embedding"):
        find_neighbours(embeddings(ROWS.values[:2], status=["a", "b"]), ROWS)
    with pytest.raises(InputError, match="0 in all units"):
        find_neighbours(embeddings(np.zeros((3, 4))))
    for more, message in (
        ({"count": 0}, "count is 0"),
        ({"metric": "l1"}, "metric 'l1'"),
        ({"index": "ivf"}, "allowed: flat"),
    ):
        with pytest.raises(InputError, match=message):
            NeighbourOptions(**more)
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendError, match=r"pip install 'borzoi-rt\[neighbours\]'"):
        find_neighbours(ROWS, options=NeighbourOptions(index="hnsw"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A genome in which every other region of 16 is a promoter of the demo's grammar, embedded by the demo's model."""
    folder = tmp_path_factory.mktemp("neighbours")
    rng = np.random.default_rng(3)
    text = bytearray(rng.choice(list("ACGT"), 16 * 2000 + 8000).astype("S1").tobytes())
    lines = []
    for number in range(16):
        start = 4000 + 2000 * number
        if number % 2:
            for offset, name in ((60, "tata"), (90, "inr"), (20, "gc")):
                text[start + offset : start + offset + 8] = MOTIFS[name].encode()
        lines.append(f"c\t{start}\t{start + 160}\t{'promoter' if number % 2 else 'other'}{number}")
    assert coverage(text[5900:6300].decode())[0].max() > 2.0
    write_fasta(folder / "g.fa", {"c": text.decode()})
    (folder / "r.bed").write_text("\n".join(lines) + "\n")
    return {"folder": folder}


def test_promoters_have_promoters_as_neighbours(planted, monkeypatch, capsys) -> None:
    """From embed to neighbours on the command line; with the names exchanged at random nothing of it is left."""
    cli, folder = caller(monkeypatch, capsys), planted["folder"]
    words = ["embed", "--bed", folder / "r.bed", "--bundle", embedded_bundle().path, "--fasta", folder / "g.fa"]
    assert cli(*words, "--out", folder / "e.h5")[0] == 0
    code, text, err = cli("neighbours", folder / "e.h5", "--count", 3, "--out", folder / "n.tsv")
    assert (code, text) == (0, ""), err
    assert "16 queries, recall 1.0000" in err
    with (folder / "n.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert len(rows) == 48
    kinds = [(row["query_name"].rstrip("0123456789"), row["name"].rstrip("0123456789")) for row in rows]
    promoters = [neighbour for query, neighbour in kinds if query == "promoter"]
    assert np.mean([neighbour == "promoter" for neighbour in promoters]) > 0.9
    rng = np.random.default_rng(0)
    names = dict(zip(range(16), rng.permutation([number % 2 for number in range(16)]), strict=True))
    number = [int("".join(c for c in row["name"] if c.isdigit())) for row in rows]
    asked = [int("".join(c for c in row["query_name"] if c.isdigit())) for row in rows]
    alike = [names[a] == names[b] for a, b in zip(asked, number, strict=True)]
    assert np.mean(alike) < 0.75
    assert all(float(a["distance"]) <= float(b["distance"]) for a, b in pairwise(rows) if b["rank"] != "1")
    meta = json.loads((folder / "n.tsv.meta.json").read_text())
    assert (meta["recall"], meta["exact"], meta["rows_searched"]) == (1.0, True, 16)
    assert meta["embeddings"]["layer"] == "embedding"
    check_error(cli("neighbours", folder / "r.bed", "--out", folder / "o.tsv"), "r.bed")
    check_error(cli("neighbours", folder / "e.h5", "--out", folder / "o.parquet"), "is written as .tsv")
    code, _, err = cli("neighbours", folder / "e.h5", "--seed", 1, "--out", folder / "o.tsv")
    assert (code, "of --index hnsw" in err) == (2, True)
