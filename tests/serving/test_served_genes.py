"""Scores of genes from a served scorer: those of this process, for every gene and region."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import triton_servers
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import BackendError, FormatError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.runs.score import score_file
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.gene_text import genes_from_text, genes_to_text
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.remote import RemoteScorer
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository

OPTIONS = ScoreOptions(stats=("SUM", "SUM@exons", "D2@exons", "nDi@span", "SUM@tss:500"))
GTF = 'chr1\tx\texon\t{}\t{}\t.\t{}\t.\tgene_id "{}"; gene_name "N{}";\n'
GENES = ((4901, 5100, "+", "A"), (5301, 5350, "-", "B"), (9001, 9100, "+", "C"))


@pytest.fixture(scope="module")
def gtf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genes") / "toy.gtf"
    path.write_text("".join(GTF.format(*gene, gene[-1]) for gene in GENES))
    return path


@pytest.fixture(scope="module")
def server(
    toy_bundle: Bundle, triton_genome: Path, gtf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    environment = triton_servers.server_environment()
    out = tmp_path_factory.mktemp("triton") / "models"
    write_repository(toy_bundle, out, fasta=triton_genome, genes=gtf, options=OPTIONS)
    with TritonServer(out, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def variants(triton_genome: Path) -> list[Variant]:
    found = []
    with Fasta(triton_genome) as fasta:
        for start, length, alt in ((5000, 1, ""), (5200, 1, "ACGT"), (5340, 9, "A"), (7000, 1, ""), (9000, 1, "")):
            ref = fasta.fetch("chr1", start, start + length)
            found.append(Variant("chr1", start + 1, ref, alt or "ACGT"[("ACGT".index(ref) + 1) % 4]))
    return [*found, Variant("chr1", 5001, "N", "A")]


def parts(found: ScoredVariant) -> list[tuple[object, ...]]:
    return [
        (
            part.region,
            part.gene,
            part.gene_name,
            part.gene_strand,
            part.covered_fraction,
            part.status,
            tuple(part.scores),
        )
        for part in found.regions
    ]


def test_scores_of_genes_are_those_of_this_process(
    server: TritonServer, toy_bundle: Bundle, triton_genome: Path, gtf: Path, variants: list[Variant]
) -> None:
    genes = open_genes(gtf)
    with (
        Fasta(triton_genome) as fasta,
        RemoteScorer(f"grpc://{server.grpc}/borzoi_scorer", bundle=toy_bundle, fasta=fasta, genes=genes) as remote,
    ):
        local = Scorer(toy_bundle, open_engine(toy_bundle), fasta, OPTIONS, genes)
        want = [local.score(VariantRecord(0, 0, variant)) for variant in variants]
        got = remote.score(variants)
        some = remote.score(variants, stats=["D2@exons"])
    assert {part.gene for item in want for part in item.regions} == {".", "A", "B", "C"}
    for one, two in zip(got, want, strict=True):
        assert (one.status, one.detail, parts(one)) == (two.status, two.detail, parts(two))
        for mine, theirs in zip(one.regions, two.regions, strict=True):
            for stat, values in theirs.scores.items():
                assert_array_equal(mine.scores[stat], values, err_msg=f"{mine.region} {mine.gene} {stat}")
    assert {(part.region, *part.scores) for item in some for part in item.regions if part.scores} == {("exons", "D2")}


def test_tables_are_those_of_this_process(
    server: TritonServer, toy_bundle: Bundle, triton_genome: Path, gtf: Path, variants: list[Variant], tmp_path: Path
) -> None:
    vcf = worlds.write_vcf(tmp_path / "in.vcf", [f"chr1 {item.pos} . {item.ref} {item.alt}" for item in variants])
    tables = []
    for name, device in (("local", "cpu"), ("served", f"triton:grpc://{server.grpc}/borzoi_scorer")):
        out = tmp_path / f"{name}.parquet"
        settings = RunSettings(device=device)
        score_file(vcf, out, bundle=toy_bundle, fasta=triton_genome, genes=gtf, options=OPTIONS, settings=settings)
        tables.append(parquet.read_table(out).to_pandas())
    local, served = tables
    columns = ["pos", "status", "gene", "gene_name", "region", "covered_fraction", "track_id", "track_strand", "stat"]
    assert local[columns].equals(served[columns])
    assert_allclose(local["score"].to_numpy(), served["score"].to_numpy(), rtol=1e-6)
    assert len(local) > 60


def test_another_annotation_is_refused(server: TritonServer, gtf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gtf"
    other.write_text(gtf.read_text().replace("4901", "4902"))
    url = f"grpc://{server.grpc}/borzoi_scorer"
    with pytest.raises(BackendError, match=r"has another annotation than other.gtf; serve this one"):
        RemoteScorer(url, genes=open_genes(other))
    with RemoteScorer(url, genes=open_genes(gtf)) as remote:
        asked = replace(remote.options, stats=("SUM@exons",), gene_mode="nearest")
        with pytest.raises(InputError, match="scores with gene_mode 'all', asked for is 'nearest'"):
            remote.check(asked, remote.rows)


def test_text_of_genes() -> None:
    values = np.array([1.5, np.nan, -0.0, np.inf], dtype=np.float32)
    given = RegionScores(
        "exons", "G", {"SUM": values, "D2": values[::-1].copy()}, gene_name='N"', gene_strand="-", covered_fraction=0.25
    )
    none = RegionScores("span", ".", {}, status="no_gene", detail="x")
    window = RegionScores("window", ".", {"SUM": values})
    text = genes_to_text([window, given, none], {"exons", "span"})
    one, two = genes_from_text(text, 4, [("exons", "SUM"), ("span", "SUM")])
    assert (one.region, one.gene, one.gene_name, one.gene_strand, one.covered_fraction) == (
        "exons",
        "G",
        'N"',
        "-",
        0.25,
    )
    assert_array_equal(one.scores["SUM"].view(np.uint32), values.view(np.uint32))
    assert list(one.scores) == ["SUM"]
    assert (two.status, two.detail, dict(two.scores)) == ("no_gene", "x", {})
    for wrong in ("", "{}", "[1]", "[{}]", text.replace("AAA", "A"), json.dumps(json.loads(text)[:1])[:-3]):
        with pytest.raises(FormatError, match="scores of genes in an answer cannot be read"):
            genes_from_text(wrong, 4, [("exons", "SUM")])
    with pytest.raises(FormatError, match="4 values where there are 3 tracks"):
        genes_from_text(text, 3, [("exons", "SUM")])
