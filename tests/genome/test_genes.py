"""Annotations in every spelling give the same genes; an index gives what the file gives, as long as it is that file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pysam
import pytest
from numpy.testing import assert_array_equal

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome import gene_index
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Gene, Genes, Texts

# A gene on each strand; the first has two transcripts whose exons overlap.
EXONS = {"ALPHA": ("+", [(101, 200), (151, 260), (301, 310)]), "BETA": ("-", [(401, 450), (801, 900)])}
STYLES = {
    "ensembl": 'gene_id "{g}"; gene_version "3"; transcript_id "{g}.t"; gene_name "N{g}"; gene_biotype "lncRNA";',
    "gencode": 'gene_id "{g}"; transcript_id "{g}.t"; gene_type "lncRNA"; gene_name "N{g}"; level 2; tag "a; b";',
    "refseq": 'gene_id "{g}"; transcript_id "{g}.t"; gene "N{g}"; gene_biotype "lncRNA"; ',
    "equals": "gene_id={g};transcript_id={g}.t;gene_name=N{g};gene_type=lncRNA",
    "bare": "gene_id {g}; gene_name N{g}; gene_type lncRNA",
    "gene_id last": 'gene_name "N{g}"; gene_type "lncRNA"; gene_id "{g}"',
}


def row(contig: str, kind: str, start: int, end: int, strand: str, text: str) -> str:
    return f"{contig}\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{text}"


def exon_rows(style: str) -> list[str]:
    return [
        row("1", "exon", start, end, strand, STYLES[style].format(g=gene))
        for gene, (strand, exons) in EXONS.items()
        for start, end in exons
    ]


def gff3_rows(*, children_first: bool = False) -> list[str]:
    """Ensembl's way: exons know their transcript, which knows its gene."""
    rows = []
    for gene, (strand, exons) in EXONS.items():
        span = exons[0][0], exons[-1][1]
        rows += [
            row("1", "gene", *span, strand, f"ID=gene:{gene};Name=N{gene};biotype=lncRNA;gene_id={gene}"),
            row("1", "lnc_RNA", *span, strand, f"ID=transcript:{gene}.t;Parent=gene:{gene};biotype=other"),
            *(row("1", "exon", *ends, strand, f"Parent=transcript:{gene}.t;rank=1") for ends in exons),
        ]
    return rows[::-1] if children_first else rows


def write(path: Path, rows: Sequence[str], *, end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in rows).encode())
    return path


def described(genes: Genes) -> list[tuple[object, ...]]:
    items = (genes[number] for number in range(len(genes)))
    return [(item.id, item.name, item.type, item.chrom, item.strand, item.exons.tolist()) for item in items]


WANTED = [
    ("ALPHA", "NALPHA", "lncRNA", "1", "+", [[100, 260], [300, 310]]),  # 101-200 and 151-260 united
    ("BETA", "NBETA", "lncRNA", "1", "-", [[400, 450], [800, 900]]),
]


@pytest.mark.parametrize("style", STYLES)
def test_styles_of_gtf(tmp_path: Path, style: str) -> None:
    assert described(read_genes(write(tmp_path / "a.gtf", exon_rows(style)))) == WANTED


@pytest.mark.parametrize("children_first", [False, True])
def test_gff3_by_parents(tmp_path: Path, children_first: bool) -> None:
    rows = ["##gff-version 3", *gff3_rows(children_first=children_first), "###", "##FASTA", ">1", "ACGT"]
    assert described(read_genes(write(tmp_path / "a.gff3", rows))) == WANTED


def test_gff3_of_refseq(tmp_path: Path) -> None:
    """Names of genes are percent-coded, contigs have accession numbers, a region says which chromosome one is."""
    region = "ID=NC_000001.11:1..900;Name=1;chromosome=1;genome=chromosome;gbkey=Src"
    rows = [
        "##gff-version 3",
        row("NC_000001.11", "region", 1, 900, "+", region),
        row("NC_000001.11", "gene", 101, 310, "+", "ID=gene-A%3B1;Name=A%3B1;gene=A%3B1;gene_biotype=lncRNA"),
        row("NC_000001.11", "mRNA", 101, 310, "+", "ID=rna-1;Parent=gene-A%3B1;gene=A%3B1"),
        row("NC_000001.11", "exon", 101, 200, "+", "ID=exon-1;Parent=rna-1,rna-2;gene=A%3B1"),
        row("NC_000001.11", "mRNA", 101, 310, "+", "ID=rna-2;Parent=gene-A%3B1;gene=A%3B1"),
    ]
    genes = read_genes(write(tmp_path / "a.gff", rows))
    assert described(genes) == [("A;1", "A;1", "lncRNA", "NC_000001.11", "+", [[100, 200]])]
    assert genes.aliases == {"NC_000001.11": "1"}


@pytest.mark.parametrize("container", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_containers_line_ends_and_comments(tmp_path: Path, container: str, end: str) -> None:
    rows = exon_rows("gencode")
    odd = ["#!genome-build x", "track name=x", rows[4], "# a comment", "", *rows[:3], "#", rows[3], "   "]
    path = write(tmp_path / "a.gtf", odd, end=end)
    if container == "gzip":
        content = path.read_bytes()
        path = path.with_suffix(".gtf.gz")
        path.write_bytes(gzip.compress(content))
    elif container == "bgzip":
        pysam.tabix_compress(str(path), str(path) + ".gz")
        path = path.with_suffix(".gtf.gz")
    assert described(read_genes(path)) == WANTED


def test_a_gene_without_name_or_type_has_its_id(tmp_path: Path) -> None:
    genes = read_genes(write(tmp_path / "a.gtf", [row("1", "exon", 5, 9, "?", 'gene_id "G";')]))
    assert described(genes) == [("G", "G", "", "1", ".", [[4, 9]])]


def test_a_name_that_only_the_line_of_the_gene_has_is_found_behind_its_exons(tmp_path: Path) -> None:
    rows = [
        row("1", "exon", 5, 9, "+", 'gene_id "G"; transcript_id "T";'),
        row("1", "gene", 5, 9, "+", 'gene_id "G"; gene_name "GOLD"; gene_type "protein_coding";'),
    ]
    assert described(read_genes(write(tmp_path / "a.gtf", rows)))[0][:3] == ("G", "GOLD", "protein_coding")


def test_an_id_on_two_contigs_or_two_strands_is_two_genes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = 'gene_id "P"; gene_name "PAR";'
    starts = [("X", 5, "+"), ("Y", 7, "+"), ("X", 21, "-")]
    genes = read_genes(
        write(tmp_path / "a.gtf", [row(contig, "exon", at, at + 4, strand, text) for contig, at, strand in starts])
    )
    assert [(item[0], item[3], item[5]) for item in described(genes)] == [
        ("P", "X", [[4, 9]]),
        ("P(-)", "X", [[20, 25]]),
        ("P", "Y", [[6, 11]]),
    ]
    assert "1 gene ids have exons on both strands" in caplog.text


def test_cds_stand_in_for_exons_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row("1", "gene", 5, 9, "+", "ID=gene-G"), row("1", "CDS", 5, 9, "+", "ID=cds-G;Parent=gene-G")]
    assert described(read_genes(write(tmp_path / "a.gff", rows)))[0][0] == "G"
    assert "the CDS of its genes are taken instead" in caplog.text


def test_exons_with_an_empty_id_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row("1", "exon", 5, 9, "+", 'gene_id ""; transcript_id "u";'), *exon_rows("refseq")]
    assert described(read_genes(write(tmp_path / "a.gtf", rows))) == WANTED
    assert "1 exons have an empty gene_id" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 x exon 5 9 . + . gene_id", r"line 1: 1 columns, columns are split by spaces; tabs are needed"),
        ("1\tx\texon\t5\t9", "line 1: 5 columns, nine columns needed"),
        (row("1", "exon", 9, 5, "+", 'gene_id "G";'), "line 1: an exon from '9' to '5'; 1-based numbers"),
        (row("1", "exon", 0, 5, "+", 'gene_id "G";'), "line 1: an exon from '0' to '5'"),
        (row("1", "exon", 1, 5, "+", 'name "G";'), "line 1: exon without gene_id or Parent"),
        (row("1", "gene", 1, 5, "+", 'gene_id "G";'), "no exon with a gene_id or a Parent; found gene"),
        ("", "no exon with a gene_id or a Parent; found no features"),
    ],
)
def test_what_is_no_annotation_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_genes(write(tmp_path / "a.gtf", [line]))


def test_parents_in_a_circle_are_refused(tmp_path: Path) -> None:
    rows = [row("1", "exon", 1, 5, "+", "Parent=a"), *(
        row("1", "mRNA", 1, 5, "+", f"ID={name};Parent={parent}") for name, parent in (("a", "b"), ("b", "a"))
    )]  # fmt: skip
    with pytest.raises(FormatError, match="is its own parent"):
        read_genes(write(tmp_path / "a.gff", rows))


def test_ends_introns_and_midpoint() -> None:
    exons = np.array([[10, 12], [20, 30]])
    plus, minus = (Gene("g", "g", "", "1", strand, exons) for strand in "+-")
    assert (plus.span, plus.tss, plus.tes) == ((10, 30), 10, 29)
    assert (minus.tss, minus.tes) == (29, 10)
    assert plus.introns.tolist() == [[12, 20]]
    assert plus.midpoint == (10 + 11 + sum(range(20, 30))) // 12


def test_intervals_find_what_a_loop_finds() -> None:
    """Genes of all lengths, among them one that covers the others, which a search by start alone would lose."""
    generator = np.random.default_rng(3)
    spans = [(0, 1000)] + [
        (s, s + int(w)) for s, w in zip(range(5, 900, 7), generator.integers(1, 60, 200), strict=False)
    ]
    contig = np.repeat([0, 1], len(spans))
    names = Texts.of([f"g{number}" for number in range(2 * len(spans))])
    genes = Genes(
        "x", ("1", "2"), ("",), names, names, contig, contig * 0, contig * 0,
        np.arange(1, 2 * len(spans) + 1), np.array(spans + spans), {},
    )  # fmt: skip
    for code in (0, 1):
        for start, end in np.sort(generator.integers(0, 1100, (200, 2)), axis=1):
            want = [n + code * len(spans) for n, (low, high) in enumerate(spans) if low < end and high > start]
            assert_array_equal(genes.overlapping(code, int(start), int(end)), want)


def test_names_ids_and_versions(tmp_path: Path) -> None:
    rows = [
        row(contig, "exon", at, at + 9, "+", f'gene_id "{name}"; gene_name "{text}"; gene_type "{kind}";')
        for contig, at, name, text, kind in (
            ("X", 10, "ENSG1.5", "CD99", "protein_coding"),
            ("Y", 10, "ENSG1.5_PAR_Y", "CD99", "protein_coding"),
            ("X", 50, "ENSG2", "XIST", "lncRNA"),
        )
    ]
    genes = read_genes(write(tmp_path / "a.gtf", rows))

    def found(*names: str, types: Sequence[str] = ()) -> list[str]:
        return [genes.ids[int(number)] for number in np.flatnonzero(genes.mask(names, types))]

    assert found("CD99") == found("ENSG1") == ["ENSG1.5", "ENSG1.5_PAR_Y"]
    assert found("ENSG1.5") == ["ENSG1.5"]
    assert found("ENSG2.7", "XIST") == ["ENSG2"]
    assert found(types=["lncRNA"]) == ["ENSG2"]
    assert found("CD99", types=["lncRNA"]) == []
    with pytest.raises(InputError, match=r"no gene has the name or id 'ENSG1.4'; nearest: ENSG1.5"):
        found("ENSG1.4")
    with pytest.raises(InputError, match="no gene has the name or id 'cd98'"):
        found("cd98")
    with pytest.raises(InputError, match="no gene has type 'miRNA'; types: protein_coding, lncRNA"):
        found(types=["miRNA"])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note every time an annotation is parsed."""
    parsed: list[Path] = []

    def reading(path: Path) -> Genes:
        parsed.append(path)
        return read_genes(path)

    monkeypatch.setattr(gene_index, "read_genes", reading)
    return parsed


def test_an_annotation_is_parsed_once_and_again_when_its_content_changes(tmp_path: Path, counted: list[Path]) -> None:
    path, cache = write(tmp_path / "a.gtf", exon_rows("gencode")), tmp_path / "cache"
    first, again = open_genes(path, cache=cache), open_genes(path, cache=cache)
    assert described(first) == described(again) == WANTED
    assert first.digest == again.digest
    assert len(counted) == 1
    content = path.read_bytes()
    path.write_bytes(content.replace(b"401", b"402"))  # as many bytes
    changed = open_genes(path, cache=cache)
    assert changed[1].span == (401, 900)
    assert changed.digest != first.digest
    other = tmp_path / "copy.gtf"
    other.write_bytes(content)
    assert open_genes(other, cache=cache).digest == first.digest
    assert len(counted) == 2  # a copy is the same content


def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.gtf", exon_rows("gencode")), tmp_path / "cache"
    old = 10**9
    os.utime(path, ns=(old, old))
    open_genes(path, cache=cache)
    path.write_bytes(path.read_bytes().replace(b"401", b"402"))
    os.utime(path, ns=(old, old))
    assert open_genes(path, cache=cache)[1].span == (401, 900)


def test_a_damaged_index_is_made_again(tmp_path: Path, counted: list[Path]) -> None:
    path, cache = write(tmp_path / "a.gtf", exon_rows("gencode")), tmp_path / "cache"
    open_genes(path, cache=cache)
    (index,) = cache.glob("*.npz")
    index.write_bytes(index.read_bytes()[:-200])
    assert described(open_genes(path, cache=cache)) == WANTED
    assert len(counted) == 2


def test_without_a_home_or_a_folder_to_write_to_it_still_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.gtf", exon_rows("gencode"))
    (tmp_path / "file").write_text("")
    assert described(open_genes(path, cache=tmp_path / "file" / "cache")) == WANTED
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert described(open_genes(path)) == WANTED


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such annotation file"):
        open_genes(tmp_path / "none.gtf")


# Two transcripts of one gene, of which the second begins later, and one of a gene on '-'.
TRANSCRIPT_ROWS = [
    ("A", "a1", "+", 101, 200),
    ("A", "a1", "+", 301, 400),
    ("B", "b1", "-", 801, 900),
    ("A", "a2", "+", 251, 280),
    ("A", "a2", "+", 301, 350),
    ("B", "b1", "-", 401, 500),
]
TRANSCRIPTS_WANTED = {"A": [[[100, 200], [300, 400]], [[250, 280], [300, 350]]], "B": [[[400, 500], [800, 900]]]}


def told(genes: Genes) -> dict[str, list[list[list[int]]]]:
    found = (genes[number] for number in range(len(genes)))
    return {gene.id: [exons.tolist() for exons in gene.transcripts] for gene in found}


def gtf(path: Path) -> Path:
    text = 'gene_id "{}"; transcript_id "{}";'
    return write(
        path, [row("1", "exon", start, end, strand, text.format(g, t)) for g, t, strand, start, end in TRANSCRIPT_ROWS]
    )


def test_transcripts_of_gtf(tmp_path: Path) -> None:
    assert told(read_genes(gtf(tmp_path / "a.gtf"))) == TRANSCRIPTS_WANTED


def test_transcripts_of_gff3(tmp_path: Path) -> None:
    names = dict.fromkeys((t, g, strand) for g, t, strand, _, _ in TRANSCRIPT_ROWS)
    rows = [row("1", "gene", 1, 900, "+", f"ID=gene:{g}") for g in "AB"]
    rows += [row("1", "mRNA", 1, 900, strand, f"ID={t};Parent=gene:{g}") for t, g, strand in names]
    rows += [row("1", "exon", start, end, strand, f"Parent={t}") for _, t, strand, start, end in TRANSCRIPT_ROWS]
    assert told(read_genes(write(tmp_path / "a.gff3", rows))) == TRANSCRIPTS_WANTED


@pytest.mark.parametrize("style", STYLES)
def test_every_style_names_them(tmp_path: Path, style: str) -> None:
    """What all transcripts have together are the exons of the gene."""
    genes = read_genes(write(tmp_path / "a.gtf", exon_rows(style)))
    for number in range(len(genes)):
        gene = genes[number]
        whole = sorted({base for exons in gene.transcripts for start, end in exons for base in range(start, end)})
        assert whole == [base for start, end in gene.exons for base in range(start, end)]


def test_without_names_a_gene_is_one_transcript(tmp_path: Path) -> None:
    rows = [row("1", "exon", start, start + 9, "+", 'gene_id "G";') for start in (1, 101)]
    assert told(read_genes(write(tmp_path / "a.gtf", rows))) == {"G": [[[0, 10], [100, 110]]]}


def test_the_index_keeps_them(tmp_path: Path) -> None:
    path = gtf(tmp_path / "a.gtf")
    first, again = (open_genes(path, cache=tmp_path / "index") for _ in range(2))
    assert told(first) == told(again) == TRANSCRIPTS_WANTED
    assert first.transcript_digest == again.transcript_digest
    other = read_genes(write(tmp_path / "b.gtf", path.read_text().replace('"a2"', '"a1"').splitlines()))
    assert other.digest == first.digest, "the exons of the genes are the same"
    assert other.transcript_digest != first.transcript_digest


@pytest.mark.parametrize(
    ("gene", "window", "exons"),
    [
        ("A", (0, 1000), [[100, 200], [250, 280], [300, 400]]),
        ("A", (100, 101), [[100, 200], [300, 400]]),
        ("A", (101, 1000), [[250, 280], [300, 350]]),
        ("A", (251, 1000), []),
        ("B", (0, 899), []),
        ("B", (899, 900), [[400, 500], [800, 900]]),
    ],
)
def test_which_begin_in_a_window(tmp_path: Path, gene: str, window: tuple[int, int], exons: list[list[int]]) -> None:
    genes = read_genes(gtf(tmp_path / "a.gtf"))
    held: list[Gene] = [genes[number] for number in range(len(genes)) if genes[number].id == gene]
    assert held[0].started_in(*window).tolist() == exons
