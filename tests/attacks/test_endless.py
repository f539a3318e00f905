"""Files that have no end, or none that a memory could hold: refused at once, in one line that names them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from borzoi_rt import reading, selection
from borzoi_rt.errors import BorzoiError, FormatError, InputError
from borzoi_rt.genome import bgzf, fasta_index, lines
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.contig_names import read_contig_names
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import read_bed
from borzoi_rt.genome.pas import read_sites
from borzoi_rt.genome.variants import read_variants
from borzoi_rt.motifs import files as motif_files
from borzoi_rt.motifs.files import read_motifs
from borzoi_rt.tracks import TrackTable

pytestmark = pytest.mark.timeout(60)

READERS: dict[str, Callable[[Path], Any]] = {
    "motifs": read_motifs,
    "BED": read_bed,
    "VCF": lambda path: list(read_variants(path)),
    "genes": read_genes,
    "sites": read_sites,
    "targets": TrackTable.read,
    "names of contigs": read_contig_names,
    "list of tracks": selection._read_names,
    "FASTA": Fasta,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_devices_and_folders(reader: str, path: str) -> None:
    with pytest.raises(BorzoiError) as caught:
        READERS[reader](Path(path))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a.fa.fai", "a.fa.gz.gzi"])
def test_indices_that_are_devices(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    read: dict[str, Callable[[], Any]] = {
        "a.fa.fai": lambda: fasta_index.read_index(tmp_path / name),
        "a.fa.gz.gzi": lambda: bgzf._read_gzi(tmp_path / "a.fa.gz"),
    }
    with pytest.raises(FormatError, match=rf"{name}: not a regular file"):
        read[name]()


@pytest.mark.parametrize(
    ("reader", "head"),
    [("motifs", b"MEME version 4\n"), ("list of tracks", b"a\n"), ("BED", b""), ("VCF", b""), ("genes", b"")],
)
def test_what_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, head: bytes) -> None:
    """With smaller bounds than the real ones, which are those of memory and not of this test."""
    for module, name in ((motif_files, "_LARGEST"), (selection, "_LARGEST_LIST"), (lines, "_LONGEST_LINE")):
        assert 2**20 < getattr(module, name) <= 2**28
        monkeypatch.setattr(module, name, 2**20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(head + bytes(2**22)))
    assert path.stat().st_size < 2**16
    with pytest.raises(BorzoiError, match=r"bomb\.gz.* more than 1048576 bytes"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", ["BED", "VCF", "genes", "names of contigs"])
@pytest.mark.parametrize(
    ("content", "container"),
    [
        (bz2.compress(b"chr1\t1\t2\n"), "bzip2"),
        (lzma.compress(b"chr1\t1\t2\n"), "xz"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "zstd"),
        (b"PK\3\4\x14\0", "zip"),
    ],
)
def test_other_containers_are_called_by_their_name(tmp_path: Path, reader: str, content: bytes, container: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(FormatError, match=rf"f: is compressed by {container}; decompress it"):
        READERS[reader](tmp_path / "f")


def test_small_files_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As ``<(zcat motifs.gz)`` makes them."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(b">m\n1 2\n3 4\n5 6\n7 8\n"),))
    writer.start()
    (motif,) = read_motifs(path)
    writer.join()
    assert motif.matrix.shape == (4, 2)
    with pytest.raises(FormatError, match="not a regular file; name a file"):
        reading.read_regular(path, 10)


def test_a_list_is_as_long_as_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"x" * 11)
    assert len(reading.read_small(tmp_path / "list", 11)) == 11
    with pytest.raises(FormatError, match="11 bytes; at most 10 are allowed"):
        reading.read_small(tmp_path / "list", 10)
    with pytest.raises(InputError, match="cannot read the list of tracks"):
        selection._read_names(tmp_path / "absent")
