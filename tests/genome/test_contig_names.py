"""Names of contigs: accessions of RefSeq, tables of names, and what an annotation's contigs are in a genome."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import worlds

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.contig_names import ACCESSIONS, chromosome_of, other_assembly, read_contig_names
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Genes
from borzoi_rt.scoring.gene_scores import contigs_of

COLUMNS = "Sequence-Name Sequence-Role Assigned-Molecule Assigned-Molecule-Location/Type GenBank-Accn Relationship"
COLUMNS += " RefSeq-Accn Assembly-Unit Sequence-Length UCSC-style-name"
SEQUENCES = (
    "1 assembled-molecule 1 Chromosome CM000663.2 = NC_000001.11 Primary 248956422 chr1",
    "HSCHR1_CTG1 unlocalized-scaffold 1 Chromosome KI270706.1 = NT_187361.1 Primary 175055 chr1_KI270706v1_random",
    "HG1 fix-patch 1 Chromosome KN196472.1 na na PATCHES 186494 na",
)
REPORT = f"# Assembly name:  GRCh38.p14\n# {COLUMNS}\n{chr(10).join(SEQUENCES)}\n".replace(" ", "\t").replace(
    "#\t", "# "
)
CHROM_ALIAS = "# ucsc\tassembly\tgenbank\tncbi\trefseq\nchr1\t1\tCM000663.2\t1\tNC_000001.11\n"
CHROM_ALIAS += "chr1_KI270706v1_random\tHSCHR1_CTG1\tKI270706.1\t\tNT_187361.1\n"


class Contigs(Fasta):
    """A genome of which only the names and lengths of contigs are known."""

    def __init__(self, **lengths: int) -> None:
        self.path, self.contigs = Path("toy.fa"), lengths


def gtf(path: Path, *contigs: str) -> Path:
    rows = [f'{name}\tx\texon\t101\t200\t.\t+\t.\tgene_id "G{name}";\n' for name in contigs]
    path.write_text("".join(rows))
    return path


def found(genes: Genes, fasta: Fasta) -> dict[str, list[str]]:
    return {contig: [genes.contigs[code] for code in codes] for contig, codes in contigs_of(genes, fasta).items()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_accessions_are_those_of_the_assembly_reports() -> None:
    """Some of each that are known well: clinical HGVS names of both human assemblies, X, Y and the odd one of mouse."""
    known = {
        "NC_000001.11": ("GRCh38", "1"),
        "NC_000007.14": ("GRCh38", "7"),
        "NC_000017.11": ("GRCh38", "17"),
        "NC_000023.11": ("GRCh38", "X"),
        "NC_000024.10": ("GRCh38", "Y"),
        "NC_000001.10": ("GRCh37", "1"),
        "NC_000005.9": ("GRCh37", "5"),
        "NC_000014.8": ("GRCh37", "14"),
        "NC_000022.10": ("GRCh37", "22"),
        "NC_000067.7": ("GRCm39", "1"),
        "NC_000068.8": ("GRCm39", "2"),
        "NC_000085.7": ("GRCm39", "19"),
        "NC_000087.8": ("GRCm39", "Y"),
        "NC_005089.1": ("GRCm39", "M"),
    }
    assert {name: ACCESSIONS[name] for name in known} == known
    assert chromosome_of("NC_012920.1") == "M"
    assert len(ACCESSIONS) == 24 + 24 + 21 + 2
    # GRCh38 raised the version of every human chromosome by one.
    for number in range(1, 25):
        versions = sorted(int(name.split(".")[1]) for name in ACCESSIONS if name.startswith(f"NC_{number:06}."))
        assert versions[1] == versions[0] + 1
    assert chromosome_of("NC_000001.9") is None
    assert chromosome_of("NC_000001") is None


def test_a_genome_knows_accessions_of_its_own_assembly() -> None:
    cut = Contigs(chr1=5000, chrX=5000, chrM=5000)
    assert [cut.resolve(name) for name in ("NC_000001.11", "NC_000023.10", "NC_012920.1", "NC_000002.12")] == [
        "chr1",
        "chrX",
        "chrM",
        None,
    ]
    grch38 = Contigs(**{"1": 248956422})
    assert (grch38.resolve("NC_000001.11"), grch38.resolve("NC_000001.10"), grch38.resolve("NC_000067.7")) == (
        "1",
        None,
        None,
    )
    assert other_assembly("NC_000001.10", 248956422) == "NC_000001.10 is of GRCh37, the genome has GRCh38's length"
    assert other_assembly("NC_000001.10", 249250621) is None
    assert other_assembly("chr1", 248956422) is None
    own = Contigs(**{"NC_000001.11": 500, "chr1": 5000})
    assert own.resolve("NC_000001.11") == "NC_000001.11"


def test_annotations_of_refseq_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    genes = open_genes(gtf(tmp_path / "a.gtf", "NC_000001.11", "NC_000002.12", "NT_187361.1", "NC_000003.9"))
    with caplog.at_level(logging.WARNING):
        assert found(genes, Contigs(chr1=5000, chr2=5000, chr3=5000)) == {
            "chr1": ["NC_000001.11"],
            "chr2": ["NC_000002.12"],
        }
    (message,) = caplog.messages
    assert message.startswith(
        "a.gtf: 1 gene on NC_000003.9 left out, toy.fa has no such contig; a table of contig names"
    )


def test_another_assembly_is_refused(tmp_path: Path) -> None:
    genes = open_genes(gtf(tmp_path / "a.gtf", "NC_000001.10"))
    with pytest.raises(
        InputError, match=r"NC_000001.10 is of GRCh37, the genome has GRCh38's length; use the annotation"
    ):
        contigs_of(genes, Contigs(chr1=248956422))
    # RefSeq's GFF3 says which chromosome it is, but not of which assembly.
    rows = [
        "NC_000001.10\tx\tregion\t1\t900\t.\t+\t.\tID=r;chromosome=1;genome=chromosome",
        "NC_000001.10\tx\texon\t101\t200\t.\t+\t.\tID=e;gene_id=G",
    ]
    (tmp_path / "b.gff3").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="is of GRCh37"):
        contigs_of(open_genes(tmp_path / "b.gff3"), Contigs(chr1=248956422))
    assert found(open_genes(tmp_path / "b.gff3"), Contigs(chr1=5000)) == {"chr1": ["NC_000001.10"]}


@pytest.mark.parametrize(
    "table",
    [
        REPORT,
        CHROM_ALIAS,
        "NC_000001.11\tchr1\trefseq\nCM000663.2\tchr1\tgenbank\nNT_187361.1\tchr1_KI270706v1_random\trefseq\n",
        "NT_187361.1\tchr1_KI270706v1_random\r\n",
    ],
    ids=["report", "chromAlias", "old chromAlias", "two columns"],
)
def test_tables_of_names(tmp_path: Path, table: str) -> None:
    (tmp_path / "names.txt").write_text(table, newline="")
    annotation = gtf(tmp_path / "a.gtf", "NT_187361.1", "NC_000001.11")
    genome = Contigs(chr1=5000, chr1_KI270706v1_random=500)
    plain = open_genes(annotation)
    genes = open_genes(annotation, chrom_aliases=tmp_path / "names.txt")
    assert found(plain, genome) == {"chr1": ["NC_000001.11"]}
    assert found(genes, genome) == {"chr1_KI270706v1_random": ["NT_187361.1"], "chr1": ["NC_000001.11"]}
    assert genes.digest != plain.digest  # other names may be other scores


def test_a_table_goes_before_every_other_rule(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("1\tscaffold_7\n")
    genes = open_genes(gtf(tmp_path / "a.gtf", "1"), chrom_aliases=tmp_path / "names.txt")
    assert found(genes, Contigs(chr1=5000, scaffold_7=5000)) == {"scaffold_7": ["1"]}
    assert found(genes, Contigs(chr1=5000)) == {"chr1": ["1"]}
    (tmp_path / "names.txt").write_text("1\tscaffold_7\n1\tscaffold_8\n")
    genes = open_genes(gtf(tmp_path / "a.gtf", "1"), chrom_aliases=tmp_path / "names.txt")
    with pytest.raises(InputError, match=r"names.txt: 1 is scaffold_7 and scaffold_8 of toy.fa; one contig is needed"):
        contigs_of(genes, Contigs(scaffold_7=5000, scaffold_8=5000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no names of contigs"),
        ("# a comment\n", "no names of contigs"),
        ("chr1 1\n", "line 1: one name alone, 'chr1 1'"),
        (REPORT.replace("\tchr1\n", "\n"), "line 3: 9 columns, 10 are needed"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_contig_names(tmp_path / "names.txt")
    with pytest.raises(FormatError, match="no such table of contig names"):
        read_contig_names(tmp_path / "none.txt")


def test_variants_may_be_called_by_accession(tmp_path: Path) -> None:
    """dbSNP's VCF names contigs so."""
    from borzoi_rt.genome.variants import Variant
    from borzoi_rt.scoring.reference import check_reference

    with Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": "ACGTACGT"})) as fasta:
        seen = check_reference(fasta, Variant("NC_000001.11", 2, "C", "T"))
    assert (seen.status, seen.detail) == ("ok", "scored as chr1")
