"""Every reader of files that others wrote, fed with spoilt ones: it takes them or says in one line why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.fuzzing import fuzz, read_or_refuse, spoilt
from borzoi_rt.backends.address import Address
from borzoi_rt.engine.tile_cache import TileStore
from borzoi_rt.errors import InputError
from borzoi_rt.genome.contig_names import read_contig_names
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.genotypes import GenotypeReader
from borzoi_rt.genome.haplotypes import haplotype_records
from borzoi_rt.genome.intervals import read_bed
from borzoi_rt.genome.variants import read_variants
from borzoi_rt.motifs.files import read_motifs
from borzoi_rt.tracks import TrackTable

VCF = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=1000>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    b"chr1\t10\trs1\tA\tC,G\t.\tPASS\t.\nchr1\t20\t.\tAT\tA\t.\t.\tEND=21\nchr2\t5\t.\tN\t<DEL>\t.\t.\tSVLEN=-3\n",
)
PHASED = (
    b'##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2\n"
    b"chr1\t10\trs1\tA\tC,G\t.\tPASS\t.\tGT:PS\t0|2:7\t1/1:.\nchr1\t20\t.\tAT\tA\t.\t.\t.\tDP:GT\t3:.|1\t4\n"
    b"chr1\t21\t.\tT\t*,G\t.\t.\t.\tGT\t1|2\t0\nchr2\t5\t.\tN\t<DEL>\t.\t.\t.\tGT\t0/1\t1|0|1\n",
)
CONTIG_NAMES = (
    b"# Sequence-Name\tGenBank-Accn\tRefSeq-Accn\tUCSC-style-name\n1\tCM1.1\tNC_000001.11\tchr1\n2\tCM2.1\tna\tchr2\n",
    b"chr1\t1\tNC_000001.11\nchr2\t2\n",
)
BED = (b"chr1\t10\t20\tname\t0\t+\nchr2\t5\t6\n", b'track name="x"\nbrowser\n# c\nchr1\t1\t2\n')
TARGETS = (
    b"\tidentifier\tfile\tclip\tclip_soft\tscale\tsum_stat\tstrand_pair\tdescription\n"
    b"0\ta\t/x\t384\t320\t0.3\tsum_sqrt\t1\tRNA:a\n1\tb\t/x\t384\t320\t0.3\tsum_sqrt\t0\tRNA:b\n",
)
MOTIFS = (
    b"MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
    b"A 0.25 C 0.25 G 0.25 T 0.25\n\n"
    b"MOTIF x y\nletter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n 0.1 0.2 0.3 0.4\n 0.25 0.25 0.25 0.25\n",
    b">MA0001.1 name\nA [ 1 2 3 ]\nC [ 4 5 6 ]\nG [ 1 1 1 ]\nT [ 0 2 9 ]\n",
)
FASTA = (b">chr1 text\nACGTNNACGT\nACGTACGTAC\nAC\n>chr2\nAAAA\n",)


@fuzz
@given(data=spoilt(VCF))
def test_spoilt_vcf(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "v.vcf").write_bytes(data)
    read_or_refuse(lambda path: list(read_variants(path)), tmp_path / "v.vcf")


@fuzz
@given(data=spoilt(PHASED))
def test_spoilt_genotypes(tmp_path: Path, data: bytes) -> None:
    """What is read makes haplotypes too, or is refused."""
    (tmp_path / "v.vcf").write_bytes(data)

    def read(path: Path) -> None:
        records = GenotypeReader(path, ("S1", "S2"))
        for item in haplotype_records(records, ("S1", "S2"), within_bp=100, longest_bp=1000):
            assert item.haplotype is not None
            assert item.problem is None or item.detail

    read_or_refuse(read, tmp_path / "v.vcf")


@fuzz
@given(data=spoilt(CONTIG_NAMES))
def test_spoilt_names_of_contigs(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(data)
    read_or_refuse(read_contig_names, tmp_path / "names.txt")


@fuzz
@given(data=spoilt(BED))
def test_spoilt_bed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "r.bed").write_bytes(data)
    read_or_refuse(read_bed, tmp_path / "r.bed")


@fuzz
@given(data=spoilt(TARGETS))
def test_spoilt_targets(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "targets.txt").write_bytes(data)
    read_or_refuse(TrackTable.read, tmp_path / "targets.txt")


@fuzz
@given(data=spoilt(MOTIFS))
def test_spoilt_motifs(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.meme").write_bytes(data)
    read_or_refuse(read_motifs, tmp_path / "m.meme")


@fuzz
@given(data=spoilt(FASTA))
def test_spoilt_fasta(tmp_path: Path, data: bytes) -> None:
    for left in tmp_path.iterdir():
        left.unlink()
    (tmp_path / "g.fa").write_bytes(data)

    def read(path: Path) -> None:
        with Fasta(path) as fasta:
            fasta.fetch("chr1", 0, 4)

    read_or_refuse(read, tmp_path / "g.fa")


@pytest.mark.parametrize(("seeds", "read"), [(VCF, lambda path: list(read_variants(path))), (BED, read_bed)])
def test_the_seeds_themselves_are_read(tmp_path: Path, seeds: tuple[bytes, ...], read: Any) -> None:
    """Otherwise the changes would be tried on something that is refused at its first line."""
    for seed in seeds:
        (tmp_path / "f.vcf").write_bytes(seed)
        assert len(read(tmp_path / "f.vcf")) > 0


def test_the_other_seeds_are_read(tmp_path: Path) -> None:
    for name, seeds, read in (("t.txt", TARGETS, TrackTable.read), ("m.meme", MOTIFS, read_motifs)):
        for seed in seeds:
            (tmp_path / name).write_bytes(seed)
            assert len(read(tmp_path / name)) > 0


@fuzz
@given(data=st.data())
def test_spoilt_tiles_are_absent_or_true(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("tiles", numbered=True)
    store = TileStore(folder)
    key, tensors = b"k" * 32, [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((3, 1), dtype=np.float32)]
    store.write(key, tensors)
    (path,) = (found for found in folder.rglob("*") if found.is_file())
    path.write_bytes(data.draw(spoilt((path.read_bytes(),))))
    held = TileStore(folder).read(key)
    if held is not None:
        assert all(np.array_equal(*pair) for pair in zip(held, tensors, strict=True))


ADDRESSES = ("grpc://host:8001/model?deadline=3&retry=0&flight=2&shm=1", "https://[::1]:8000/m?ca=/x", "http://h:1/m")


@fuzz
@given(data=spoilt(tuple(text.encode() for text in ADDRESSES)))
def test_spoilt_addresses(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        Address.parse(text)
    except InputError as error:
        if "\n" in str(error):
            pytest.fail(repr(str(error)))
