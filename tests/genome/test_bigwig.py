"""bigWig files: what is written is read, and a damaged file is one error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from borzoi_rt.errors import FormatError
from borzoi_rt.genome.bigwig import BigWig, write_bigwig
from borzoi_rt.genome.intervals import Interval

LENGTHS = {"chr1": 10_000, "chr2": 300}
ENTRIES = [("chr1", start, start + 7, float(start % 13)) for start in range(0, 9_990, 10)] + [("chr2", 290, 300, -1.5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_bigwig(tmp_path / "a.bw", LENGTHS, ENTRIES)
    return tmp_path / "a.bw"


def test_what_is_written_is_read(path: Path) -> None:
    want = {name: np.full(length, np.nan) for name, length in LENGTHS.items()}
    for chrom, start, end, value in ENTRIES:
        want[chrom][start:end] = value
    with BigWig(path) as bigwig:
        assert bigwig.contigs == LENGTHS
        assert bigwig.covered_bp == sum(end - start for _, start, end, _ in ENTRIES)
        for chrom, length in LENGTHS.items():
            assert_array_equal(bigwig.values(Interval(chrom, 0, length)), want[chrom])
        assert_array_equal(bigwig.values(Interval("chr1", 5, 12)), want["chr1"][5:12])
        assert_array_equal(bigwig.values(Interval("chr9", 5, 9)), [np.nan] * 4)


@pytest.mark.parametrize(
    "entries",
    [
        [("chr2", 295, 301, 1.0)],
        [("chr3", 5, 6, 1.0)],
        [("chr1", 5, 5, 1.0)],
        [("chr1", -1, 5, 1.0)],
        [("chr1", 50, 60, 1.0), ("chr1", 5, 6, 1.0)],
        [("chr1", 5, 60, 1.0), ("chr1", 59, 61, 1.0)],
        [("chr1", 5, 6, 1.0), ("chr2", 5, 6, 1.0), ("chr1", 7, 8, 1.0)],
    ],
)
def test_entries_that_cannot_stand_are_refused(tmp_path: Path, entries: list[tuple[str, int, int, float]]) -> None:
    with pytest.raises(FormatError, match=rf"bigWig: {entries[-1][0]}:{entries[-1][1]}-{entries[-1][2]} overlaps"):
        write_bigwig(tmp_path / "a.bw", LENGTHS, entries)


def test_no_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no entries to write"):
        write_bigwig(tmp_path / "a.bw", LENGTHS, [])


def test_an_error_of_the_entries_is_not_lost(tmp_path: Path) -> None:
    def entries():
        yield ("chr1", 5, 6, 1.0)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        write_bigwig(tmp_path / "a.bw", LENGTHS, entries())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"absent/a\.bw: cannot be written as bigWig"):
        write_bigwig(tmp_path / "absent" / "a.bw", LENGTHS, ENTRIES)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such bigWig file"),
        (b"", "cannot be read as bigWig"),
        (b"chr1\t1\t2\t3\n", "cannot be read as bigWig"),
        (bytes.fromhex("ebf28987") + bytes(60), "is bigBed"),
        (bytes.fromhex("26fc8f88") + bytes(60), "truncated or damaged bigWig"),
        (bytes.fromhex("888ffc26") + b"\xff" * 60, "truncated or damaged bigWig"),
    ],
)
def test_what_is_no_bigwig_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "a.bw").write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.bw: {complaint}"):
        BigWig(tmp_path / "a.bw")


def test_a_cut_file_is_refused_unless_all_values_are_left(path: Path) -> None:
    """They lie before the summaries for browsers, which are not read."""
    content = path.read_bytes()
    with BigWig(path) as bigwig:
        want = bigwig.values(Interval("chr1", 0, 10_000))
    whole = 0
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        try:
            with BigWig(path) as bigwig:
                got = bigwig.values(Interval("chr1", 0, 10_000))
        except FormatError:
            continue
        assert_array_equal(got, want)
        whole += 1
    assert whole < len(content) / 97 / 2


# Runs by itself, because the library ends the process where a count asks for more memory than there is.
FLIPS = """
import sys
from pathlib import Path
from borzoi_rt.errors import FormatError
from borzoi_rt.genome.bigwig import BigWig
from borzoi_rt.genome.intervals import Interval
path, refused = Path(sys.argv[1]), 0
content = path.read_bytes()
for at in range(0, 600):
    for bits in (1, 128, 255):
        path.write_bytes(content[:at] + bytes([content[at] ^ bits]) + content[at + 1:])
        try:
            with BigWig(path) as bigwig:
                bigwig.values(Interval("chr1", 0, 10_000))
        except FormatError:
            refused += 1
print("refused", refused)
"""


def test_a_damaged_file_is_an_error_and_not_the_end_of_the_process(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FLIPS, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout.split()[1]) > 300
