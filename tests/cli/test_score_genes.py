"""``borzoi-rt score --genes``: what the options become, and what is refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import worlds

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


@pytest.fixture
def gtf(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(desk.folder / "cache"))
    path = desk.folder / "toy.gtf"
    lines = [
        f'chr1\tx\texon\t{start}\t{start + 99}\t.\t+\t.\tgene_id "{name}"; gene_type "{kind}";\n'
        for name, start, kind in (("NEAR", 1901, "protein_coding"), ("NEXT", 2101, "lncRNA"))
    ]
    path.write_text("".join(lines))
    worlds.write_vcf(desk.vcf, [f"chr1 2000 a {base(desk, 2000)}"])
    return path


def base(desk: Desk, pos: int) -> str:
    text = "".join(desk.fasta.read_text().splitlines()[1:])
    held = text[pos - 1]
    return f"{held} {'ACGT'[('ACGT'.index(held) + 1) % 4]}"


def score(cli: Cli, desk: Desk, *more: object) -> Any:
    return cli("score", desk.vcf, "--bundle", desk.bundle, "--fasta", desk.fasta, "--out", desk.out, *more)


def genes_of(desk: Desk) -> list[str]:
    with desk.out.open() as handle:
        return list(dict.fromkeys(row["gene"] for row in csv.DictReader(handle, delimiter="\t")))


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ([], ["NEAR", "NEXT"]),
        (["--gene", "NEXT"], ["NEXT"]),
        (["--gene", "NEXT", "--gene", "NEAR"], ["NEAR", "NEXT"]),
        (["--gene-type", "lncRNA"], ["NEXT"]),
        (["--gene-mode", "nearest"], ["NEAR"]),
        (["--bin-rule", "half", "--with-alleles"], ["NEAR", "NEXT"]),
    ],
)
def test_which_genes_are_scored(cli: Cli, desk: Desk, gtf: Path, more: list[str], wanted: list[str]) -> None:
    ended = score(cli, desk, "--genes", gtf, "--stats", "logSED@exons", *more)
    assert ended.code == 0, ended.err
    assert genes_of(desk) == wanted
    about = json.loads(desk.out.with_name("out.tsv.meta.json").read_text())
    assert about["genes"] == "toy.gtf"
    assert about["options"]["bin_rule"] == ("half" if "half" in more else "overlap")
    assert ("ref_value" in desk.out.read_text().splitlines()[0]) is ("--with-alleles" in more)


def test_columns_and_names_of_alphagenome(cli: Cli, desk: Desk, gtf: Path) -> None:
    names = "GeneMaskLFCScorer(), CenterMaskScorer(width=501, aggregation_type=DIFF_SUM)"
    ended = score(cli, desk, "--genes", gtf, "--scores", names, "--columns", "alphagenome")
    assert ended.code == 0, ended.err
    with desk.out.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert {row["variant_scorer"].partition("(")[0] for row in rows} == {"GeneMaskLFCScorer", "CenterMaskScorer"}
    assert {row["gene_id"] for row in rows} == {"", "NEAR", "NEXT"}
    assert {row["variant_id"][:9] for row in rows} == {"chr1:2000"}
    ended = score(cli, desk, "--columns", "alphagenome", "--layout", "wide")
    assert (ended.code, ended.err) == (1, "error: --columns alphagenome is a long table; leave --layout wide out\n")
    ended = score(cli, desk, "--scores", "ContactMapScorer()")
    assert ended.code == 1
    assert "ContactMapScorer: the model has no such output; supported: CenterMaskScorer(" in ended.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stats", "SUM", "--genes", "GTF"], "genes are given, but no score is over a region of genes"),
        (["--stats", "SUM@exons"], "SUM@exons is a score of genes; give their annotation"),
        (
            ["--stats", "SUM@exons", "--genes", "GTF", "--gene", "NEER"],
            "no gene has the name or id 'NEER'; nearest: NEAR",
        ),
        (["--stats", "SUM@exons", "--genes", "GTF", "--gene-type", "x"], "types: protein_coding, lncRNA"),
        (["--stats", "SUM@exons", "--genes", "none.gtf"], "none.gtf: no such annotation file"),
        (
            ["--stats", "SUM", "--gene", "NEAR"],
            "--gene is for scores of genes, and SUM is none; write --stats SUM@exons",
        ),
        (["--gene-type", "x"], "--gene-type is for scores of genes, and SUM is none"),
        (["--stats", "SUM@exons", "--genes", "GTF", "--sites", "intron"], "sites is for scores of sites"),
        (["--site-pseudo", "5"], "site_pseudo is for scores of sites, and there are none; name one, like COVR@pas"),
        (["--site-min-coverage", "5"], "site_min_coverage is for scores of sites"),
        (["--phase-floor-seed", "7"], "phase_floor_seed is for a phase floor; give phase_floor too"),
        (["--flip-deletions"], "flip_deletions is for ref_policy 'flip'"),
        (["--ensemble", "mean_predictions"], "ensemble 'mean_predictions' is for several bundles, and there is one"),
    ],
)
def test_refusals(cli: Cli, desk: Desk, gtf: Path, more: list[str], message: str) -> None:
    ended = score(cli, desk, *[gtf if word == "GTF" else word for word in more])
    assert ended.code != 0
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_another_annotation_is_another_run(cli: Cli, desk: Desk, gtf: Path) -> None:
    """The identity of a score holds the annotation and the bin rule, not the choice of genes."""

    def identity(*more: object) -> str:
        assert score(cli, desk, "--genes", gtf, "--stats", "SUM@exons", *more).code == 0
        return str(json.loads(desk.out.with_name("out.tsv.meta.json").read_text())["score_ids"]["SUM@exons"])

    first = identity()
    assert identity("--gene", "NEAR") == first
    assert identity("--bin-rule", "half") != first
    gtf.write_text(gtf.read_text().replace("1901", "1902"))
    assert identity() != first


def test_types_that_changed_are_another_run(cli: Cli, desk: Desk, gtf: Path) -> None:
    """Choices of genes go by names and types: shards of two annotations, and a resumed run, would mix them."""
    asked = ["--genes", gtf, "--stats", "SUM@exons", "--gene-type", "lncRNA", "--shard"]
    assert score(cli, desk, *asked, "1/2").code == 0
    text = gtf.read_text()
    for old, new in (("lncRNA", "x"), ("protein_coding", "lncRNA"), ('"x"', '"protein_coding"')):
        text = text.replace(old, new)
    gtf.write_text(text)
    assert score(cli, desk, *asked, "2/2").code == 0
    ended = cli("merge", *(desk.folder / f"out.tsv.shard-{number}-of-2" for number in (1, 2)))
    assert ended.code == 1
    assert "was made with another choice of names or types in the annotation" in ended.err
    assert not desk.out.exists()
