"""``borzoi-rt score`` on haplotypes, spellings, phase floors and motifs: what options become, and what is refused."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


@pytest.fixture
def phased(desk: Desk) -> Path:
    """The variants of the desk, 30 bp apart, of two samples."""
    lines = desk.vcf.read_text().splitlines()
    rows = [f"{line}\tGT\t{('0|1', '1|0')[number % 2]}\t1|1" for number, line in enumerate(lines[2:])]
    text = [*lines[:1], f"{lines[1]}\tFORMAT\tS1\tS2", *rows]
    desk.vcf.write_text("\n".join(text) + "\n")
    return desk.vcf


def table(desk: Desk) -> list[dict[str, str]]:
    with desk.out.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


@pytest.mark.parametrize(("within_bp", "groups"), [(None, 1), (29, 1), (28, 10)])
def test_haplotypes_of_samples(cli: Cli, desk: Desk, phased: Path, within_bp: int | None, groups: int) -> None:
    more = [] if within_bp is None else ["--haplotype-bp", within_bp]
    ended = cli(*desk.score("--stats", "SUM", "--samples", "S2, S1", *more))
    assert ended.code == 0, ended.err
    assert f"{6 * groups} haplotypes" in ended.err
    rows = table(desk)
    assert {row["sample"] for row in rows} == {"S1", "S2"}
    assert len({(row["record"], row["alt_index"], row["sample"]) for row in rows}) == 6 * groups
    about = json.loads(desk.out.with_name("out.tsv.meta.json").read_text())
    assert about["haplotypes"] == {"samples": ["S2", "S1"], "within_bp": 1000 if within_bp is None else within_bp}


def test_spellings_and_floors(cli: Cli, desk: Desk) -> None:
    text = "".join(desk.fasta.read_text().splitlines()[1:])
    with desk.vcf.open("a") as handle:
        handle.write(f"chr1\t2500\tindel\t{text[2499:2503]}\t{text[2499]}\t.\t.\t.\n")
    more = ["--normalize", "--phase-floor", 2, "--phase-floor-seed", 5]
    ended = cli(*desk.score("--stats", "SUM", *more))
    assert ended.code == 0, ended.err
    rows = {row["id"]: row for row in table(desk)}
    assert rows["v2000"]["norm_pos"] == "2000"
    assert rows["v2000"]["phase_floor"] == ""
    assert float(rows["indel"]["phase_floor"]) > 0
    assert len(rows["indel"]["phase_floor_pos"].split(";")) == 2
    about = json.loads(desk.out.with_name("out.tsv.meta.json").read_text())["options"]
    assert (about["normalize"], about["phase_floor"], about["phase_floor_seed"]) == (True, 2, 5)


def test_motifs_are_written_beside_the_table(cli: Cli, desk: Desk) -> None:
    motifs = desk.folder / "m.jaspar"
    motifs.write_text(">M\nA [9 0 0 9]\nC [0 9 0 0]\nG [0 0 9 0]\nT [0 0 0 0]\n")
    more = ["--explain", "--motifs", motifs, "--top", 3, "--top-by", "D2", "--motif-pvalue", 0.01]
    ended = cli(*desk.score("--stats", "SUM,D2", *more))
    assert ended.code == 0, ended.err
    about = json.loads(desk.out.with_name("out.tsv.motifs.json").read_text())
    assert [item["rank"] for item in about["alleles"]] == [1, 2, 3]
    assert (about["ranked_by"], about["pvalue"]) == ("D2", 0.01)
    assert desk.out.with_name("out.tsv.motifs.tsv").read_text().startswith("rank\trecord\t")


def test_what_becomes_of_motifs_is_said(cli: Cli, desk: Desk) -> None:
    """How many change; that none does; and that one is too short for its p-value, which nothing could be found of."""
    motifs = desk.folder / "m.jaspar"
    motifs.write_text(">M\nA [9 0 0 9]\nC [0 9 0 0]\nG [0 0 9 0]\nT [0 0 0 0]\n")
    more = ["--stats", "SUM", "--explain", "--motifs", motifs]
    ended = cli(*desk.score(*more))
    assert ended.code == 0, ended.err
    assert "warning: 1 of 1 motifs can have no match" in ended.err
    assert "pvalue 0.0001: M (4 bp, 0.0039)\n" in ended.err
    assert "no motif of m.jaspar changes in any of the strongest 10 alleles; a larger --motif-pvalue" in ended.err
    ended = cli(*desk.score(*more, "--motif-pvalue", 0.3))
    assert "can have no match" not in ended.err
    rows = desk.out.with_name("out.tsv.motifs.tsv").read_text().splitlines()[1:]
    held = len({row.split("\t")[0] for row in rows})
    assert f"{len(rows)} changes of motifs in {held} of the strongest 10 alleles -> out.tsv.motifs.tsv\n" in ended.err


def test_the_difference_is_that_of_the_matches_shown(cli: Cli, desk: Desk) -> None:
    """Also where ALT is below the threshold: the word ACGA, which loses two of its bases."""
    motifs, text = desk.folder / "m.jaspar", "".join(desk.fasta.read_text().splitlines()[1:])
    motifs.write_text(">M\nA [9 0 0 9]\nC [0 9 0 0]\nG [0 0 9 0]\nT [0 0 0 0]\n")
    variant = f"chr1:{text.index('ACGA', 2500) + 3}:GA:TT"
    more = ["--stats", "SUM", "--explain", "--motifs", motifs, "--motif-pvalue", 0.004]
    assert cli("score", "--variant", variant, *desk.model(), "--out", desk.out, *more).code == 0
    with desk.out.with_name("out.tsv.motifs.tsv").open() as handle:
        (row,) = csv.DictReader(handle, delimiter="\t")
    assert (row["change"], row["ref_bases"]) == ("lost", "ACGA")
    assert float(row["difference"]) == pytest.approx(float(row["alt_score"]) - float(row["ref_score"]), abs=2e-4)
    assert float(row["difference"]) < float(row["threshold"]) - float(row["ref_score"]) - 1


def test_the_end_of_a_run_says_how_to_rank(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """To people: logs stay as they are."""
    assert "ranked" not in cli(*desk.score("--stats", "SUM")).err
    monkeypatch.setattr("borzoi_rt.cli.score.at_terminal", lambda: True)
    ended = cli(*desk.score("--stats", "SUM"))
    line = ended.err.splitlines()[-1]
    assert line.startswith("rows are in the order of the input; ranked by size of a score, as a page: ")
    words = shlex.split(line)[-5:]
    assert words[1:] == ["report", str(desk.out), "--out", str(desk.folder / "out.html")]
    assert cli(*words[1:]).code == 0
    for more in (["--layout", "wide"], ["--report", desk.folder / "out.html"]):
        assert "ranked" not in cli(*desk.score("--stats", "SUM", *more)).err
    one = ["score", "--variant", "chr1:2000:A:C", *desk.model(), "--out", desk.out]
    assert "ranked" not in cli(*one).err


def test_shards_of_haplotypes_are_merged(cli: Cli, desk: Desk, phased: Path) -> None:
    """The motifs of the strongest are looked for once, when all are there."""
    motifs = desk.folder / "m.jaspar"
    motifs.write_text(">M\nA [9 0 0 9]\nC [0 9 0 0]\nG [0 0 9 0]\nT [0 0 0 0]\n")
    more = ["--stats", "SUM", "--samples", "S1,S2", "--haplotype-bp", 0, "--explain", "--motifs", motifs]
    names = ("out.tsv", "out.tsv.motifs.tsv", "out.tsv.motifs.json")
    assert cli(*desk.score(*more)).code == 0
    whole = [(desk.folder / name).read_bytes() for name in names]
    for name in names:
        (desk.folder / name).unlink()
    for number in (1, 2):
        assert cli(*desk.score(*more, "--shard", f"{number}/2")).code == 0
        assert not desk.out.exists()
    ended = cli("merge", *(desk.folder / f"out.tsv.shard-{number}-of-2" for number in (1, 2)))
    assert ended.code == 0, ended.err
    assert [(desk.folder / name).read_bytes() for name in names] == whole


def test_contigs_of_the_annotation_by_a_table(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(desk.folder / "cache"))
    gtf, names = desk.folder / "toy.gtf", desk.folder / "names.txt"
    gtf.write_text('CM1.1\tx\texon\t1901\t2000\t.\t+\t.\tgene_id "G";\n')
    names.write_text("chr1\tCM1.1\n")
    genes = ["--stats", "logSED@exons", "--genes", gtf]
    assert "none of its contigs (CM1.1, ...) is in toy.fa" in cli(*desk.score(*genes)).err
    ended = cli(*desk.score(*genes, "--chrom-aliases", names))
    assert ended.code == 0, ended.err
    assert {row["gene"] for row in table(desk)} == {"G"}


REFUSED: list[tuple[list[Any], str]] = [
    (["--haplotype-bp", 5], "--haplotype-bp is for haplotypes; name samples with --samples"),
    (["--samples", "S9"], "no sample 'S9'; it has 2: S1, S2"),
    (["--samples", "S1,S1"], "sample 'S1' is named twice"),
    (["--samples", "S1", "--normalize"], "normalize spells single variants anew"),
    (["--samples", "S1", "--ref-policy", "flip"], "haplotypes need 'strict'"),
    (["--samples", "S1", "--calibration", "NULL"], "calibration is a background of single variants"),
    (["--chrom-aliases", "m"], "--chrom-aliases needs --genes"),
    (["--motifs", "m"], "--motifs is for an explanation; add --explain"),
    (["--top", 4], "--top is for an explanation; add --explain"),
    (["--explain"], "--explain needs motifs to look for"),
    (["--explain", "--motifs", "none.meme"], "none.meme: cannot be read as motifs"),
    (["--normalize", "--preset", "hound-default"], "--preset hound-default fixes 'normalize'"),
]


@pytest.mark.parametrize(("more", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_go_together_is_said(cli: Cli, desk: Desk, phased: Path, more: list[Any], message: str) -> None:
    ended = cli(*desk.score(*more))
    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not desk.out.exists()


def test_samples_need_a_file(cli: Cli, desk: Desk) -> None:
    arguments = ["score", "--variant", "chr1:2000:A:C", *desk.model(), "--out", desk.out, "--samples", "S1"]
    assert "--samples needs a VCF with genotypes, and not --variant" in cli(*arguments).err
