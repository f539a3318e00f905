"""An index that no longer fits its FASTA: refused, or the bases are right; never other bases."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.errors import FormatError
from borzoi_rt.genome.fasta import Fasta

RNG = np.random.default_rng(11)
ONE, TWO, THREE = ("".join(RNG.choice(list("ACGT"), length)) for length in (130, 130, 45))
CONTIGS = {"chr1": ONE, "chr2": TWO, "chrM": THREE}


def lay_out(contigs: dict[str, str], *, width: int = 60, end: str = "\n", about: str = "") -> bytes:
    lines = []
    for name, bases in contigs.items():
        lines += [f">{name}{about}", *(bases[start : start + width] for start in range(0, len(bases), width))]
    return (end.join(lines) + end).encode()


def parse(content: bytes) -> dict[str, str]:
    """Read FASTA as text, which needs no index."""
    contigs: dict[str, str] = {}
    for part in content.decode("latin-1").split("\n>"):
        header, _, body = part.removeprefix(">").partition("\n")
        contigs.setdefault((header.split() or [""])[0], "".join(body.split()).upper())
    return contigs


def pack(path: Path, content: bytes) -> None:
    """Write a FASTA, compressed where its name says so, and index it."""
    if path.suffix == ".gz":
        with pysam.BGZFile(str(path), "wb") as handle:
            handle.write(content)
    else:
        path.write_bytes(content)
    pysam.faidx(str(path))


WHOLE = lay_out(CONTIGS)
EDITS: dict[str, bytes] = {
    "longer header": lay_out(CONTIGS, about=" GRCh38"),
    "other name of equal length": WHOLE.replace(b">chr2", b">chr3"),
    "name goes on": WHOLE.replace(b">chr1\n", b">chr1_alt\n"),
    "base added to the first": lay_out({**CONTIGS, "chr1": ONE + "A"}),
    "base added in the first": lay_out({**CONTIGS, "chr1": "A" + ONE}),
    "base removed from the first": lay_out({**CONTIGS, "chr1": ONE[1:]}),
    "base added to the last": lay_out({**CONTIGS, "chrM": THREE + "A"}),
    "base removed from the last": lay_out({**CONTIGS, "chrM": THREE[:-1]}),
    "base added before the last line's end": lay_out({**CONTIGS, "chrM": THREE + "A"}).rstrip(),
    "line added to the last": lay_out({**CONTIGS, "chrM": THREE + "A" * 60}),
    "names exchanged": lay_out({"chr2": ONE, "chr1": TWO, "chrM": THREE}),
    "contig removed": lay_out({"chr1": ONE, "chrM": THREE}),
    "contig put before": lay_out({"chr0": THREE, **CONTIGS}),
    "order changed": lay_out(dict(reversed(CONTIGS.items()))),
    "wrapped narrower, equal size": lay_out(CONTIGS, width=50),
    "wrapped wider": lay_out(CONTIGS, width=100),
    "one line": lay_out(CONTIGS, width=1000),
    "DOS line ends": lay_out(CONTIGS, end="\r\n"),
    "cut": WHOLE[:-20],
    "cut after a contig": WHOLE[: WHOLE.index(b">chrM")],
    "spaces before the name": WHOLE.replace(b">chr1", b"> chr1"),
    "first line lost": WHOLE.partition(b"\n")[2],
    "other file": lay_out({"a": TWO, "b": ONE}),
}


@pytest.fixture(params=["g.fa", "g.fa.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    pack(path, WHOLE)
    return path


def rewrite(path: Path, content: bytes) -> None:
    """Put another content under the old ``.fai``; a ``.gzi`` is made anew, so that only the ``.fai`` is stale."""
    index = Path(f"{path}.fai")
    old = index.read_bytes()
    with suppress(pysam.SamtoolsError):  # which it is where the content is no FASTA any more
        pack(path, content)
    index.write_bytes(old)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_refused_when_it_is_opened(path: Path, edit: str) -> None:
    rewrite(path, EDITS[edit])
    with pytest.raises(FormatError, match=r"g\.fa(\.gz)?\.fai is stale .*run `samtools faidx [^`]*` again") as found:
        Fasta(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "content",
    [
        WHOLE.rstrip(),
        WHOLE + b"\n\n\n",
        WHOLE.replace(b"\n>chr2", b"\n\n\n>chr2"),
        WHOLE.lower().replace(b">chrm", b">chrM"),
        lay_out({**CONTIGS, "chr2": TWO[::-1]}),
        lay_out(CONTIGS, end="\r\n"),
        lay_out(CONTIGS, width=1000),
        lay_out(CONTIGS, about="  a description, with >signs and\ttabs" * 40),
        lay_out({**CONTIGS, "empty": "", "chr3": "A"}),
        lay_out({"chr1": ONE}, width=130),
        WHOLE.replace(b"\n>chr2", b" \n>chr2"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_what_samtools_indexes_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    pack(tmp_path / name, content)
    with Fasta(tmp_path / name) as fasta:
        contigs = {contig: bases for contig, bases in parse(content).items() if bases}  # samtools skips an empty one
        assert list(fasta.contigs) == list(contigs)
        for contig, bases in contigs.items():
            assert fasta.fetch(contig, 0, len(bases)) == bases
            assert fasta.contigs[contig] == len(bases)


def test_an_index_of_some_contigs_is_an_index(path: Path) -> None:
    index = Path(f"{path}.fai")
    index.write_text("".join(line for line in index.read_text().splitlines(True) if not line.startswith("chr2")))
    with Fasta(path) as fasta:
        assert list(fasta.contigs) == ["chr1", "chrM"]
        assert fasta.fetch("chrM", 0, 45) == THREE


@pytest.mark.parametrize("change", [("chr1\t130", "chr1\t131"), ("chr1\t130", "chr1\t129"), ("chrM\t45", "chrM\t50")])
def test_an_index_of_another_length_is_stale(path: Path, change: tuple[str, str]) -> None:
    index = Path(f"{path}.fai")
    index.write_text(index.read_text().replace(*change))
    with pytest.raises(FormatError, match="is stale"):
        Fasta(path)


def test_lines_of_unequal_length_are_found_when_they_are_read(tmp_path: Path) -> None:
    """A base moved over a line end in the middle of a contig: both ends are where they were."""
    path = tmp_path / "g.fa"
    bases = "".join(RNG.choice(list("ACGT"), 600))
    pack(path, lay_out({"a": bases}))
    content = path.read_bytes()
    first = content.index(b"\n", 200)
    path.write_bytes(content[:first] + content[first + 1 : first + 2] + b"\n" + content[first + 2 :])
    with Fasta(path) as fasta:
        assert fasta.fetch("a", 0, 60) == bases[:60]
        assert fasta.fetch("a", 400, 600) == bases[400:]
        with pytest.raises(FormatError, match=r"a:101-300 .*its index is stale, run `samtools faidx"):
            fasta.fetch("a", 100, 300)


EDIT = st.tuples(
    st.sampled_from(["insert", "delete", "replace"]), st.integers(0, len(WHOLE)), st.sampled_from("ACGT\n>N ac")
)


@settings(max_examples=400, deadline=None)
@given(edits=st.lists(EDIT, min_size=1, max_size=3), width=st.sampled_from([60, 50, 7, 1000]))
def test_no_edit_gives_other_bases(tmp_path_factory: pytest.TempPathFactory, edits: list, width: int) -> None:
    """Whatever was done to a file under its index: what is read is what the file holds there, or there is an error."""
    path = tmp_path_factory.mktemp("edit") / "g.fa"
    content = lay_out(CONTIGS, width=width)
    pack(path, content)
    for kind, at, letter in edits:
        kept = at if kind == "insert" else at + 1
        content = content[:at] + (b"" if kind == "delete" else letter.encode()) + content[kept:]
    path.write_bytes(content)
    truth = parse(content)
    try:
        with Fasta(path) as fasta:
            got = {name: fasta.fetch(name, 0, length) for name, length in fasta.contigs.items()}
            part = {name: fasta.fetch(name, length // 3, length // 2) for name, length in fasta.contigs.items()}
    except FormatError:
        return
    for name, bases in got.items():
        assert bases == truth[name]
        assert part[name] == bases[len(bases) // 3 : len(bases) // 2]


def cut(index: bytes) -> bytes:
    return index[:-3]


def empty(index: bytes) -> bytes:
    return b""


def of_no_blocks(index: bytes) -> bytes:
    return bytes(8)


def moved(index: bytes) -> bytes:
    """Say that the second block begins 7 bytes later."""
    return index[:8] + (int.from_bytes(index[8:16], "little") + 7).to_bytes(8, "little") + index[16:]


def fuller(index: bytes) -> bytes:
    """Say that the first block holds 7 bases more."""
    return index[:16] + (int.from_bytes(index[16:24], "little") + 7).to_bytes(8, "little") + index[24:]


def backwards(index: bytes) -> bytes:
    return index[:8] + index[24:40] + index[8:24] + index[40:]


@pytest.mark.parametrize("damage", [cut, empty, of_no_blocks, moved, fuller, backwards])
def test_a_block_index_that_does_not_fit_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "g.fa.gz"
    bases = "".join(RNG.choice(list("ACGT"), 200_000))
    pack(path, lay_out({"a": bases}))
    index = Path(f"{path}.gzi")
    index.write_bytes(damage(index.read_bytes()))
    with pytest.raises(FormatError, match=r"g\.fa\.gz.*run `samtools faidx [^`]*` again"), Fasta(path) as fasta:
        fasta.fetch("a", 0, 200_000)


def test_a_block_index_of_the_file_before_it_was_packed_again(tmp_path: Path) -> None:
    """The bases are the same, so that only the ``.gzi`` is stale."""
    path, again = tmp_path / "g.fa.gz", tmp_path / "again.gz"
    content = lay_out({name: "".join(RNG.choice(list("ACGT"), 150_000)) for name in "abc"})
    pack(path, content)
    with pysam.BGZFile(str(again), "wb") as handle:
        handle.write(content[:1000])
        handle.flush()
        handle.write(content[1000:])
    again.replace(path)
    with pytest.raises(FormatError, match=r"g\.fa\.gz"):
        Fasta(path)


@pytest.mark.parametrize("length", [65_270, 65_280, 65_300, 130_560, 200_000])
def test_blocks_are_joined(tmp_path: Path, length: int) -> None:
    """Of 65,280 bytes each, as bgzip makes them."""
    path = tmp_path / "g.fa.gz"
    bases = "".join(RNG.choice(list("ACGT"), length))
    pack(path, lay_out({"a": bases, "b": bases[:50]}, width=100))
    with Fasta(path) as fasta:
        for start, end in ((0, length), (64_000, length), (length - 5, length), (64_600, 64_700)):
            assert fasta.fetch("a", start, end) == bases[start:end]
        assert fasta.fetch("b", 0, 50) == bases[:50]
