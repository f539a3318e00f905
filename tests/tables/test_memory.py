"""The final write holds what a part of the run holds, however many rows there are, and however long one allele is."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.tables import TableContext, hdf5
from borzoi_rt.tables.hdf5_columns import Columns, Matrix
from borzoi_rt.tables.kept import Rows, score_table
from borzoi_rt.tracks import RowTable

ROWS, LONG_BP = 20_000, 200_000
BOUND_MB = 150  # by which a writer may grow; one array that is as wide for all rows as for the longest has 4,000
PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.tables import WRITERS, TableContext
from borzoi_rt.tables.kept import Rows, score_table
from borzoi_rt.tracks import RowTable

source, count, long_bp = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chosen = ScoreOptions.for_family("hound", stats=("SUM",))
index = np.zeros(1, dtype=np.int64)
rows = Rows(RowTable(index, index, ("t",), ("a track",), (".",), ("t",), ("a track",)), chosen.specs)
context = TableContext(rows, {"borzoi_rt": "0", "model": "m", "score_ids": {"SUM": "0" * 64}}, source)


def alt(number):
    return "C" * (long_bp if number == 10 else 1)


def result(number):
    variant = Variant("chr1", 100 + number, "A", alt(number))
    if number % 4:
        return ScoredVariant(number, 0, variant, "symbolic_alt", "")
    scores = {"SUM": np.full(1, number, dtype=np.float32)}
    return ScoredVariant(number, 0, variant, "ok", "", regions=(RegionScores("window", "", scores),))


def shards():
    for start in range(0, count, 64):
        yield score_table([result(number) for number in range(start, min(start + 64, count))], chosen.specs, 1)


with source.open("w") as handle:
    handle.write("##fileformat=VCFv4.2\\n#CHROM\\tPOS\\tID\\tREF\\tALT\\tQUAL\\tFILTER\\tINFO\\n")
    for number in range(count):
        handle.write(f"chr1\\t{100 + number}\\t.\\tA\\t{alt(number)}\\t.\\t.\\t.\\n")
for suffix in sys.argv[4:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WRITERS[suffix](source.with_name("out" + suffix), shards, context)
    print(suffix, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_long_allele_costs_its_own_length(tmp_path: Path) -> None:
    """Of 20,000 alleles one has 200,000 bases; what the writers hold is far from the product."""
    suffixes = [".tsv", ".vcf.gz", ".h5", ".parquet"]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "in.vcf"), str(ROWS), str(LONG_BP), *suffixes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert list(grown) == suffixes
    assert sum(grown.values()) < BOUND_MB, grown


def test_what_hdf5_holds_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A job of 64 alleles comes 100 and 600 times: the lists of all 38,400 took 9 MB more than those of 6,400."""
    chosen = ScoreOptions.for_family("hound", stats=("SUM",))
    index = np.zeros(1, dtype=np.int64)
    rows = Rows(RowTable(index, index, ("t",), ("a track",), (".",), ("t",), ("a track",)), chosen.specs)
    scores = {"SUM": np.ones(1, dtype=np.float32)}
    results = [
        ScoredVariant(
            number, 0, Variant("chr1", number + 1, "A", "C"), "ok", "", regions=(RegionScores("window", "", scores),)
        )
        for number in range(64)
    ]
    job = score_table(results, chosen.specs, 1)
    context = TableContext(rows, {})

    def peak(times: int) -> int:
        tracemalloc.start()
        hdf5.write(tmp_path / f"{times}.h5", lambda: iter([job] * times), context)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(600) - peak(100) < 4e6
    with h5py.File(tmp_path / "600.h5") as file:
        assert (file["snp"].shape, file["SUM"].shape) == ((38_400,), (38_400, 1))
        assert file["pos"][-64:].tolist() == list(range(1, 65))


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (7, 5), (3000, 20)])
@pytest.mark.parametrize("chunked", [False, True])
def test_percentiles_are_those_of_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, chunked: bool
) -> None:
    """Bit by bit those of ``numpy.quantile`` over the finite numbers of each column, whatever the blocks."""
    monkeypatch.setattr("borzoi_rt.tables.hdf5_columns._WHOLE_BYTES", -1 if chunked and rows else 2**40)
    monkeypatch.setattr("borzoi_rt.tables.hdf5_columns._BLOCK_BYTES", 4 * 3000 * 3)
    generator = np.random.default_rng(rows + columns)
    values = generator.standard_normal((rows, columns)).astype(np.float32).round(2)
    values[generator.random((rows, columns)) < 0.1] = np.nan
    if columns > 2:
        values[:, 1] = np.nan
        values[rows // 2 :, 2] = np.inf
    points = np.array([0.0, 0.001, 0.1, 0.25, 0.5, 0.77, 0.999, 1.0])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        matrix = Matrix(file, "SUM", rows, columns)
        for start in range(0, rows, 64):
            matrix.add(values[start : start + 64])
        matrix.flush()
        found = matrix.percentiles(points)
        np.testing.assert_array_equal(file["SUM"][:], values)
        assert (file["SUM"].chunks is not None) == (chunked and rows > 0)
    wanted = np.full((columns, len(points)), np.nan, dtype=np.float32)
    for number in range(columns):
        finite = values[np.isfinite(values[:, number]), number].astype(np.float64)
        if len(finite):
            wanted[number] = np.quantile(finite, points)
    np.testing.assert_array_equal(found, wanted)


def test_columns_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("borzoi_rt.tables.hdf5_columns._HELD_BYTES", 300)
    words = ["", "A", "CG" * 400, "é", *[str(number) for number in range(50)]]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        columns = Columns(file, ["alt", "ref"], {"pos": np.uint32}, len(words))
        for start in range(0, len(words), 3):
            part = words[start : start + 3]
            columns.add({"alt": part, "ref": part[::-1]}, {"pos": range(start, start + len(part))}, start)
        columns.flush()
        assert file["alt"].asstr()[:].tolist() == words
        assert sorted(file["ref"].asstr()[:].tolist()) == sorted(words)
        assert file["pos"][:].tolist() == list(range(len(words)))
