"""GTF and GFF3: spoilt bytes, and files of lines that each may be wrong in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.fuzzing import fuzz, read_or_refuse, spoilt
from borzoi_rt.genome.annotation import read_genes

GTF = (
    b'#!genome\nchr1\tx\tgene\t11\t90\t.\t+\t.\tgene_id "G1"; gene_name "A"; gene_type "protein_coding";\n'
    b'chr1\tx\texon\t11\t40\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "A";\n'
    b'chr1\tx\texon\t61\t90\t.\t+\t.\tgene_id "G1"; transcript_id "T1";\nchr2\tx\texon\t5\t9\t.\t-\t.\tgene_id "G2";\n',
)
GFF3 = (
    b"##gff-version 3\nchr1\tx\tregion\t1\t100\t.\t.\t.\tID=chr1:1..100;chromosome=1\n"
    b"chr1\tx\tgene\t11\t90\t.\t+\t.\tID=gene-A;Name=A;gene_biotype=protein_coding\n"
    b"chr1\tx\tmRNA\t11\t90\t.\t+\t.\tID=t;Parent=gene-A\nchr1\tx\texon\t11\t40\t.\t+\t.\tID=e1;Parent=t\n"
    b"chr1\tx\texon\t61\t90\t.\t+\t.\tParent=t,t\n",
)


@fuzz
@given(data=spoilt(GTF + GFF3))
def test_spoilt_annotations(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "genes.gtf").write_bytes(data)
    read_or_refuse(read_genes, tmp_path / "genes.gtf")


_NAMES = st.sampled_from(["a", "b", "c", "", "a,b", "%2C", "\u00e9", "x" * 300])
_LINES = st.tuples(
    st.sampled_from(["chr1", "chr2", "", "chr1 "]),
    st.sampled_from(["gene", "mRNA", "exon", "CDS", "region", ""]),
    st.sampled_from(["1", "10", "0", "-5", "1e3", "99999999999999", "", "2_0"]),
    st.sampled_from(["20", "10", "1", "9999999999999999999999", "nan"]),
    st.sampled_from(["+", "-", ".", "?", "", "++"]),
    st.sampled_from(["ID={0};Parent={1}", "Parent={0}", 'gene_id "{0}"; gene_name "{1}";', "gene_id {0}", "{0}", ""]),
    _NAMES,
    _NAMES,
)


@fuzz
@given(lines=st.lists(_LINES, min_size=1, max_size=12))
def test_lines_that_are_wrong_each_in_its_way(tmp_path: Path, lines: list[tuple[str, ...]]) -> None:
    """Parents in circles, genes on both strands, ids without an end."""
    text = "".join(
        f"{chrom}\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{form.format(one, other)}\n"
        for chrom, kind, start, end, strand, form, one, other in lines
    )
    (tmp_path / "genes.gff3").write_text(text, encoding="utf-8")
    read_or_refuse(read_genes, tmp_path / "genes.gff3")


@pytest.mark.parametrize("seed", [*GTF, *GFF3], ids=["GTF", "GFF3"])
def test_the_seeds_themselves_are_read(tmp_path: Path, seed: bytes) -> None:
    (tmp_path / "genes").write_bytes(seed)
    assert len(read_genes(tmp_path / "genes")) == (2 if b"gene_id" in seed else 1)
