"""FASTA files: windows against string slices, and every way a file or its index can be wrong."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import borzoi_rt.genome.fasta
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.fasta import Fasta, write_fasta

RNG = np.random.default_rng(3)
# Soft-masked and unknown bases, a length that is a multiple of the line, one base, and lines to spare.
CONTIGS = {
    "chr1": "".join(RNG.choice(list("ACGTacgtNR"), 173)),
    "2": "".join(RNG.choice(list("ACGT"), 120)),
    "chrM": "a",
}


@pytest.fixture(scope="module", params=["plain", "bgzip"])
def path(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fasta") / "genome.fa"
    write_fasta(path, CONTIGS)
    return path if request.param == "plain" else compress(path)


def compress(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    pysam.tabix_compress(str(path), str(packed), force=True)
    pysam.faidx(str(packed))
    return packed


def bases(chrom: str, start: int, end: int) -> str:
    """Return a slice of an endless chromosome."""
    text = CONTIGS[chrom].upper()
    return "".join(text[at] if 0 <= at < len(text) else "N" for at in range(start, end))


@settings(max_examples=60, deadline=None)
@given(chrom=st.sampled_from(sorted(CONTIGS)), start=st.integers(-200, 400), length=st.integers(0, 300))
def test_fetch_is_a_slice_of_an_endless_chromosome(path, chrom, start, length):
    with Fasta(path) as fasta:
        assert fasta.fetch(chrom, start, start + length) == bases(chrom, start, start + length)


def test_contigs_come_from_the_index(path):
    with Fasta(path) as fasta:
        assert fasta.contigs == {name: len(text) for name, text in CONTIGS.items()}
        assert fasta.name == path.name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("chr1", "chr1"),
        ("1", "chr1"),
        ("2", "2"),
        ("chr2", "2"),
        *((name, "chrM") for name in ("chrM", "M", "MT", "chrMT")),
        ("3", None),
        ("Chr1", None),
        ("chr", None),
        ("", None),
    ],
)
def test_contig_names_with_and_without_chr(path, asked, found):
    with Fasta(path) as fasta:
        assert fasta.resolve(asked) == found


def test_an_exact_name_comes_before_an_alias(tmp_path):
    write_fasta(tmp_path / "both.fa", {"chr1": "A", "1": "C", "MT": "G"})
    with Fasta(tmp_path / "both.fa") as fasta:
        assert [fasta.resolve(name) for name in ("1", "chr1", "chrM", "M")] == ["1", "chr1", "MT", "MT"]


def test_an_unknown_contig_is_named_beside_known_ones(path):
    with Fasta(path) as fasta, pytest.raises(InputError, match="no contig 'chr2'; it has chr1, 2, chrM"):
        fasta.fetch("chr2", 0, 5)


def test_a_closed_file_cannot_be_read(path):
    with Fasta(path) as fasta:
        pass
    with pytest.raises(FormatError, match=r"chr1:1-5 cannot be read"):
        fasta.fetch("chr1", 0, 5)


def test_the_fingerprint_is_that_of_the_bases(tmp_path):
    """Not of the file: name, line width, compression, lower case and order change nothing; one base does."""
    write_fasta(tmp_path / "a", CONTIGS)
    write_fasta(tmp_path / "b", {name: CONTIGS[name].upper() for name in reversed(CONTIGS)}, width=17)
    write_fasta(tmp_path / "c", CONTIGS, width=1000)
    same = [tmp_path / "a", tmp_path / "b", compress(tmp_path / "c")]
    (mark,) = {Fasta(path).fingerprint() for path in same}
    assert re.fullmatch("sha256:[0-9a-f]{64}", mark)
    changed = [{**CONTIGS, "chrM": "c"}, {**CONTIGS, "chrM": "aa"}, {**CONTIGS, "3": CONTIGS["2"]}]
    changed += [{"chr1": CONTIGS["chr1"], "chrM": CONTIGS["chrM"], "3": CONTIGS["2"]}]
    changed += [{**CONTIGS, "2": CONTIGS["2"][:at] + "N" + CONTIGS["2"][at + 1 :]} for at in (0, 60, 119)]
    for contigs in changed:
        write_fasta(tmp_path / "other", contigs)
        assert Fasta(tmp_path / "other").fingerprint() != mark


@pytest.mark.parametrize("at", [0, 400, 1_400, 2_499, 2_500, 3_000])
def test_the_fingerprint_of_a_long_genome_is_a_sample_that_is_said(tmp_path, monkeypatch, at):
    """Of 5,000 bases in stretches of at most 1,000: the middle 100 of each, so [450, 550), [1450, 1550), and so on."""
    monkeypatch.setattr(borzoi_rt.genome.fasta, "WHOLE_BASES", 4_999)
    monkeypatch.setattr(borzoi_rt.genome.fasta, "STRETCH_BP", 1_000)
    monkeypatch.setattr(borzoi_rt.genome.fasta, "BLOCK_BP", 100)
    text = "".join(RNG.choice(list("ACGT"), 5_000))
    write_fasta(tmp_path / "a", {"c": text})
    write_fasta(tmp_path / "b", {"c": text[:at] + "N" + text[at + 1 :]})
    one, other = Fasta(tmp_path / "a").fingerprint(), Fasta(tmp_path / "b").fingerprint()
    assert re.fullmatch("sampled-sha256:[0-9a-f]{64}", one)
    assert (one != other) == (at % 1_000 in range(450, 550))


@pytest.mark.parametrize("width", [1, 7, 1000])
def test_lines_of_any_width(tmp_path, width):
    write_fasta(tmp_path / "g.fa", CONTIGS, width=width)
    assert max(map(len, (tmp_path / "g.fa").read_text().splitlines())) == min(max(width, len(">chr1")), 173)
    with Fasta(tmp_path / "g.fa") as fasta:
        assert fasta.fetch("chr1", -3, 180) == bases("chr1", -3, 180)


def test_windows_line_ends(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\r\nACGT\r\nAC\r\n")
    pysam.faidx(str(path))
    with Fasta(path) as fasta:
        assert fasta.fetch("a", 1, 7) == "CGTACN"


@pytest.mark.parametrize("suffix", [".fai", ".gzi"])
def test_a_missing_index_is_named_and_not_built(tmp_path, suffix):
    write_fasta(tmp_path / "g.fa", CONTIGS)
    path = compress(tmp_path / "g.fa")
    Path(f"{path}{suffix}").unlink()
    with pytest.raises(FormatError, match=rf"g\.fa\.gz{suffix} is missing; run `samtools faidx .*g\.fa\.gz`"):
        Fasta(path)
    assert not Path(f"{path}{suffix}").exists()


@pytest.mark.parametrize("cut", [1, 28, 60])
def test_a_truncated_bgzip_file_is_refused(tmp_path, cut):
    write_fasta(tmp_path / "g.fa", CONTIGS)
    path = compress(tmp_path / "g.fa")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(FormatError, match=r"g\.fa\.gz: truncated"):
        Fasta(path)


def without_second_block(content: bytes) -> bytes:
    """Leave a bgzip block out; the two bytes at 16 of a block are its size less one."""
    first = int.from_bytes(content[16:18], "little") + 1
    second = int.from_bytes(content[first + 16 : first + 18], "little") + 1
    return content[:first] + content[first + second :]


def with_a_changed_byte(content: bytes) -> bytes:
    return content[:50_000] + bytes([content[50_000] ^ 0xFF]) + content[50_001:]


@pytest.mark.parametrize("damage", [without_second_block, with_a_changed_byte])
def test_damage_inside_a_bgzip_file_is_named_when_read(tmp_path, damage):
    """The end block is there and the ends of the contig fit: only reading tells."""
    path = tmp_path / "g.fa"
    write_fasta(path, {"a": "".join(RNG.choice(list("ACGT"), 400_000))})  # seven blocks of 64 KiB
    packed = compress(path)
    content = packed.read_bytes()
    packed.write_bytes(damage(content))
    with pytest.raises(FormatError, match=r"g\.fa\.gz: .*(damaged|stale)"), Fasta(packed) as fasta:
        fasta.fetch("a", 0, 400_000)


def test_a_truncated_plain_file_is_refused(tmp_path):
    path = tmp_path / "g.fa"
    write_fasta(path, CONTIGS)
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip())  # the last newline is no base
    Fasta(path).close()
    path.write_bytes(whole.rstrip()[:-1])
    with pytest.raises(FormatError, match=r"stale,? or .*the file is truncated"):
        Fasta(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such FASTA file"), (b"", "empty file"), (gzip.compress(b">a\nACGT\n", mtime=0), "gzip without blocks")],
)
def test_what_is_no_fasta_is_refused(tmp_path, content, complaint):
    path = tmp_path / "g.fa"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint):
        Fasta(path)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ("", "no contigs"),
        ("chr1\t173\t6\n", "line 1: .* is no index row"),
        ("chr1\t173\t6\t60\t61\nchr2\tx\t6\t60\t61\n", "line 2: "),
        ("chr1\t173\t6\t0\t0\n", "line 1: "),
        ("chr1\t173\t6\t60\t60\n", "line 1: "),
        ("chr1\t173\t6\t60\t61\nchr1\t173\t6\t60\t61\n", "line 2: contig 'chr1' comes twice"),
        ("chr1\t173\n", "line 1: .* is no index row"),
        ("\t173\t6\t60\t61\n", "line 1: .* is no index row"),
        ("chr1\t173\t6\t60\t61\n\n", "line 2: .* is no index row"),
        ("chr1\t-5\t6\t60\t61\n", "line 1: "),
        ("chr1\t99999\t6\t60\t61\n", "stale,? or .*the file is truncated"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path, index, complaint):
    write_fasta(tmp_path / "g.fa", CONTIGS)
    (tmp_path / "g.fa.fai").write_text(index)
    with pytest.raises(FormatError, match=complaint):
        Fasta(tmp_path / "g.fa")


def test_the_reference_genome_holds_the_ref_alleles(shared):
    """Eight published variants on the first megabase of GRCh38, which begins with 10,000 N."""
    lines = (shared / "data/variants/eqtl.vcf").read_text().splitlines()
    variants = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(variants) == 8
    with Fasta(shared / "data/hg38_1m/hg38_1m.fa.gz") as fasta:
        assert fasta.fetch("chr1", -5, 10_001) == "N" * 10_005 + "T"
        for chrom, pos, _, ref, *_ in variants:
            assert fasta.fetch(chrom, int(pos) - 1, int(pos)) == ref
