"""The commands of docs/vcf.md, run by bcftools on a VCF that this program wrote."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pysam
import pysam.bcftools
import pytest
import worlds

from borzoi_rt import open_model
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.runs.score import score_file
from borzoi_rt.scoring.options import ScoreOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "vcf.md"
TEXT = worlds.random_dna(6000, seed=31)
GTF = 'chr1\tx\texon\t{}\t{}\t.\t+\t.\tgene_id "{}"; gene_name "NAME {}";\n'


def alts(pos: int, count: int) -> str:
    return ",".join([base for base in "ACGT" if base != TEXT[pos - 1]][:count])


ROWS = {"two": 2000, "one": 2500, "far": 4800}
SCORES = ("logSED", "logSED@exons")


@pytest.fixture(scope="module")
def folder(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bcftools")
    fasta = worlds.write_fasta(path / "toy.fa", {"chr1": TEXT})
    rows = [f"chr1 {pos} {name} {TEXT[pos - 1]} {alts(pos, 2 if name == 'two' else 1)}" for name, pos in ROWS.items()]
    header = ["##contig=<ID=chr1,length=6000>"]
    vcf = worlds.write_vcf(path / "in.vcf", [*rows, "chr1 4900 bad A N"], header=header)
    (path / "toy.gtf").write_text(GTF.format(1901, 2100, "GENE1", 1) + GTF.format(2301, 2600, "GENE2", 2))
    options = ScoreOptions.for_family("hound", stats=SCORES)
    score_file(vcf, path / "OUT.vcf.gz", bundle=toy_bundle, fasta=fasta, options=options, genes=path / "toy.gtf")
    cohort = [*header, '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    lines = ["##fileformat=VCFv4.2", *cohort, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1"]
    for pos, alt in ((2000, alts(2000, 2)[2]), (2500, alts(2500, 1)), (3000, alts(3000, 1))):
        lines.append(f"chr1\t{pos}\t.\t{TEXT[pos - 1]}\t{alt}\t.\t.\t.\tGT\t0|1")
    (path / "cohort.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_compress(str(path / "cohort.vcf"), str(path / "COHORT.vcf.gz"))
    pysam.tabix_index(str(path / "COHORT.vcf.gz"), preset="vcf")
    return path


@pytest.fixture(scope="module")
def said(folder: Path) -> list[str]:
    """What the commands of the page print, in order; they are run where their files are."""
    blocks = re.findall(r"^```\n(bcftools .*?)```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert [line.split()[1] for line in commands] == ["query", "query", "norm", "index", "view", "query", "annotate"]
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in commands:
            _, name, *words = shlex.split(line)
            printed.append(getattr(pysam.bcftools, name)(*words, catch_stdout="-o" not in words))
    return printed


@pytest.fixture(scope="module")
def scores(folder: Path, toy_bundle: Bundle) -> dict[tuple[int, str], tuple[float, dict[str, float]]]:
    """By position and ALT the largest score, and that of each gene, as the facade gives them."""
    with open_model(toy_bundle, fasta=folder / "toy.fa") as model:
        result = model.score(folder / "in.vcf", stats=SCORES, genes=folder / "toy.gtf")
    found = {}
    for item in result:
        if item.scores:
            of_genes = {gene: item["logSED@exons", gene].top(1)[0][1] for gene in item.genes}
            found[item.variant.pos, item.variant.alt] = item["logSED"].top(1)[0][1], of_genes
    return found


def test_queries(said: list[str], scores: dict[tuple[int, str], tuple[float, dict[str, float]]]) -> None:
    rows = [line.split("\t") for line in said[0].splitlines()]
    assert [row[1] for row in rows] == ["2000", "2500", "4800", "4900"]
    assert rows[3][4:] == ["invalid_allele", ".", "."]
    for row in rows[:3]:
        for alt, value in zip(row[3].split(","), row[5].split(","), strict=True):
            assert float(value) == pytest.approx(scores[int(row[1]), alt][0], rel=1e-5)
    first = [line.split("\t") for line in said[1].splitlines()]
    assert [row[1] for row in first] == ["2000", "2500", "4800"]
    assert float(first[0][2]) == pytest.approx(scores[2000, alts(2000, 1)][0], rel=1e-5)


def test_split_records_keep_the_values_of_their_allele(
    said: list[str], folder: Path, scores: dict[tuple[int, str], tuple[float, dict[str, float]]]
) -> None:
    with pysam.VariantFile(str(folder / "SPLIT.vcf.gz")) as file:
        records = [record for record in file if record.info["BRT_STATUS"] == ("ok",)]
    assert {(record.pos, record.alts[0]) for record in records if record.alts} == set(scores)
    for record in records:
        assert record.alts is not None
        assert record.info["BRT_logSED"][0] == pytest.approx(scores[record.pos, record.alts[0]][0], rel=1e-5)


def test_filters(said: list[str], folder: Path, scores: dict[tuple[int, str], tuple[float, dict[str, float]]]) -> None:
    strong = {pos for (pos, _), (value, _) in scores.items() if abs(value) > 0.0001 and pos <= 3000}
    with pysam.VariantFile(str(folder / "STRONG.vcf.gz")) as file:
        assert {record.pos for record in file} == strong
    rows = dict(line.split("\t") for line in said[5].splitlines())
    with_gene = {pos for (pos, _), (_, genes) in scores.items() if "GENE1" in genes}
    assert {ROWS[name] for name in rows} == with_gene
    for name, text in rows.items():
        for entry in text.split(","):
            allele, gene, called, covered, _, value = entry.split("|")
            assert called == f"NAME_{gene[-1]}"
            assert 0 < float(covered) <= 1
            assert float(value) == pytest.approx(scores[ROWS[name], allele][1][gene], rel=1e-5)


def test_scores_are_carried_over_to_a_cohort(
    said: list[str], folder: Path, scores: dict[tuple[int, str], tuple[float, dict[str, float]]]
) -> None:
    with pysam.VariantFile(str(folder / "ANNOTATED.vcf.gz")) as file:
        records = list(file)
    assert [record.info.get("BRT_STATUS") for record in records] == [("ok",), ("ok",), None]
    for record in records[:2]:
        assert record.alts is not None
        value, genes = scores[record.pos, record.alts[0]]
        assert record.info["BRT_logSED"][0] == pytest.approx(value, rel=1e-5)
        own = [entry.split("|") for entry in record.info["BRT_logSED_exons"] if entry.split("|")[0] == record.alts[0]]
        assert {cells[1]: float(cells[5]) for cells in own} == pytest.approx(genes, rel=1e-5)
        assert record.samples["S1"]["GT"] == (0, 1)
