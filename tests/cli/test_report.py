"""``borzoi-rt report`` and ``score --report``: the coverage that is shown is that of the run."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pages import data_of

import borzoi_rt
from borzoi_rt.genome.variants import Variant
from borzoi_rt.report.coverage import Pictures
from borzoi_rt.scoring.options import ScoreOptions

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def test_a_run_leaves_its_report(cli: Cli, desk: Desk) -> None:
    page, again = desk.folder / "run.html", desk.folder / "again.html"
    ended = cli(*desk.score("--report", page, "--stats", "SUM"))
    assert ended.code == 0, ended.err
    assert ended.err.endswith(f"report of 10 alleles -> {page}\n")
    data = data_of(page.read_text())
    assert len(data["details"]) == 10
    sums, bins = [], set()
    for detail in data["details"]:
        curves = detail["picture"]["whole"]
        ref, alt = np.array(curves["ref"]), np.array(curves["alt"])
        names = [bar[0] for bar in detail["bars"]]
        # The sum of ALT - REF over the output is the score of the track, up to the four digits that are kept.
        pairs = [name.split()[0] for name in detail["picture"]["tracks"]]
        pairs = [f"{name}/-" if name[-1] == "+" else f"{name[:-1]}+/-" if name[-1] == "-" else name for name in pairs]
        assert list(dict.fromkeys(pairs)) == names[: len(set(pairs))]  # both strands of a pair, one below the other
        for pair in dict.fromkeys(pairs):
            own = [at for at, name in enumerate(pairs) if name == pair]
            assert len(own) == (2 if pair.endswith("/-") else 1)
            sums.append((float((alt - ref)[own].sum()), detail["bars"][names.index(pair)][2], ref[own].max()))
        bins.add(ref.shape[1] * curves["step"] // detail["picture"]["bin"])
    found, scores, size = np.array(sums).T
    (count,) = bins
    assert (np.abs(found - scores) < count * 1e-3 * size + 1e-3 * np.abs(scores)).all()
    assert np.corrcoef(found, scores)[0, 1] > 0.9
    ended = cli("report", desk.out, "--out", again, *desk.model(), "--top", 3, "--rank-by", "SUM")
    assert ended.code == 0, ended.err
    assert data_of(again.read_text())["details"] == data["details"][:3]


def test_coverage_is_that_of_predict(cli: Cli, desk: Desk) -> None:
    page = desk.folder / "run.html"
    assert cli(*desk.score("--report", page, "--stats", "SUM", "--no-merge")).code == 0
    detail = data_of(page.read_text())["details"][0]
    curves = detail["picture"]["near"]
    start, count = curves["start"], len(curves["ref"][0])
    text = "".join(desk.fasta.read_text().split("\n")[1:])
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta) as model:
        grid = model.bundle.geometry
        window = detail["picture"]["whole"]["start"] - grid.crop_bp
        result = model.predict(text[window : window + grid.sequence_length_bp])
    assert abs(window + grid.sequence_length_bp // 2 - detail["pos"]) <= 1
    shown = (start - window - grid.crop_bp) // grid.bin_size_bp
    for name, values in zip(detail["picture"]["tracks"], curves["ref"], strict=True):
        whole = result[name.split()[0]][shown : shown + count]
        np.testing.assert_allclose(values, whole, rtol=1e-3, atol=1e-6)


def test_an_allele_that_the_genome_holds_is_drawn_and_explained_as_written(cli: Cli, desk: Desk) -> None:
    """REF and ALT exchanged in the input: scores, curves and motifs turn with them."""
    chrom, pos, _, ref, alt = desk.vcf.read_text().splitlines()[-1].split("\t")[:5]
    motifs = desk.folder / "m.jaspar"
    rows = (f"{base} [{' '.join(['6' if base == ref else '1'] * 4)}]" for base in "ACGT")
    motifs.write_text("\n".join([">M", *rows, ""]))
    found = []
    for number, (one, other) in enumerate(((ref, alt), (alt, ref))):
        page, out = desk.folder / f"{number}.html", desk.folder / f"{number}.tsv"
        more = ["--stats", "SUM", "--ref-policy", "flip", "--explain", "--motifs", motifs, "--motif-pvalue", 0.5]
        words = ["score", "--variant", f"{chrom}:{pos}:{one}:{other}", *desk.model(), "--out", out, "--report", page]
        assert cli(*words, *more).code == 0
        detail = data_of(page.read_text())["details"][0]
        found.append((detail, json.loads(out.with_name(f"{number}.tsv.motifs.json").read_text())["alleles"][0]))
    (plain, motif), (turned, back) = found
    for name in ("near", "whole"):
        assert turned["picture"][name]["ref"] == plain["picture"][name]["alt"]
        assert turned["picture"][name]["alt"] == plain["picture"][name]["ref"]
    assert motif["motifs"]
    opposite = {"gained": "lost", "lost": "gained", "stronger": "weaker", "weaker": "stronger"}
    assert [opposite[item["change"]] for item in motif["motifs"]] == [item["change"] for item in back["motifs"]]
    assert [item["difference"] for item in motif["motifs"]] == [-item["difference"] for item in back["motifs"]]


def test_genes_are_drawn_where_no_score_is_of_genes(cli: Cli, desk: Desk) -> None:
    gtf, page = desk.folder / "toy.gtf", desk.folder / "r.html"
    gtf.write_text('chr1\tx\texon\t1901\t2300\t.\t+\t.\tgene_id "G";\n')
    ended = cli(*desk.score("--stats", "SUM", "--genes", gtf, "--report", page))
    assert ended.code == 0, ended.err
    assert any(gene[0] == "G" for item in data_of(page.read_text())["details"] for gene in item["picture"]["genes"])
    assert "genes are given, but no score" in cli(*desk.score("--stats", "SUM", "--genes", gtf)).err


def test_bins_behind_a_deletion_lie_where_their_bases_are(cli: Cli, desk: Desk) -> None:
    """As in the files of `predict --variant`: what is deleted has no bin, in the report and in the figure."""
    text = "".join(desk.fasta.read_text().splitlines()[1:])
    variant, page = f"chr1:3000:{text[2999:3100]}:{text[2999]}", desk.folder / "r.html"
    given = ["--variant", variant, *desk.model(), "--stats", "SUM", "--tracks", "dnase", "--no-merge"]
    assert cli("score", *given, "--out", desk.out, "--report", page).code == 0
    (detail,) = data_of(page.read_text())["details"]
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        found = model.predict_variant(variant, tracks="dnase")
    for name in ("near", "whole"):
        curves = detail["picture"][name]
        seam, gone = curves["gap"]
        assert gone == 100
        starts = curves["start"] + curves["step"] * np.arange(len(curves["ref"][0]))
        starts[seam:] += gone
        at = np.searchsorted(found.start, starts)
        assert (found.start[at] == starts).all()
        assert np.allclose(curves["ref"][0], found.ref[0][at], rtol=1e-3, atol=1e-6)
    ended = cli("plot", variant, *desk.model(), "--out", desk.folder / "v.svg")
    assert ended.err.startswith(f"chr1:3000 {text[2999:3009]}… (101 bp)>{text[2999]}: 6 tracks")


def test_without_a_model_no_coverage_is_shown(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.score()).code == 0
    page = desk.folder / "r.html"
    assert cli("report", desk.out, "--out", page).code == 0
    assert all("picture" not in item for item in data_of(page.read_text())["details"])


REFUSED = [
    (["--report", "r.pdf"], "a report is an HTML file"),
    (["--report", "r.html", "--layout", "wide"], "a report is made of a long table"),
    (["--report", "r.html", "--shard", "1/2"], "a report is not made with shard"),
    (["--report", "none/r.html"], "no such directory"),
    (["--report", "r.html", "--stats", "SUM", "--genes", "none.gtf"], "none.gtf: no such annotation file"),
]


@pytest.mark.parametrize(("more", "message"), REFUSED)
def test_what_has_no_report_is_refused_before_the_run(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(desk.folder)
    ended = cli(*desk.score(*more))
    assert (ended.code, desk.out.exists()) == (1, False)
    assert message in ended.err


def test_another_genome_or_model_is_refused(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.score()).code == 0
    words = ["report", desk.out, "--out", desk.folder / "r.html"]
    document = json.loads((desk.folder / "out.tsv.meta.json").read_text())
    for name, message in (("identity_genome", "the genome is not the one"), ("identity_bundle", "the model is not")):
        (desk.folder / "out.tsv.meta.json").write_text(json.dumps(document | {name: "other"}))
        ended = cli(*words, *desk.model())
        assert ended.code == 1
        assert message in ended.err
    (desk.folder / "out.tsv.meta.json").unlink()
    ended = cli(*words, *desk.model())
    assert (ended.code, "without the description of its run" in ended.err) == (1, True)
    assert cli(*words).code == 0
    assert cli(*words, "--genes", desk.bed).code == 2
    assert cli(*words, "--fasta", desk.fasta).code == 2


def test_a_figure_of_a_variant(cli: Cli, desk: Desk) -> None:
    row = next(line for line in desk.vcf.read_text().splitlines() if not line.startswith("#")).split()
    variant, out = f"{row[0]}:{row[1]}:{row[3]}:{row[4]}", desk.folder / "v.svg"
    ended = cli("plot", variant, *desk.model(), "--out", out, "--top", 2, "--width", 200)
    assert (ended.code, out.read_text()[:5]) == (0, "<?xml")
    assert re.search(": [2-4] tracks -> ", ended.err)  # a pair of strands is two
    wrong = {"A": "C", "C": "A", "G": "A", "T": "A"}[row[3]]
    for words, message in (
        ([f"{row[0]}:{row[1]}:{wrong}:{row[3]}", "--out", out], "ref_mismatch: REF"),
        ([variant, "--out", desk.folder / "v.txt"], r"the suffix names no figure; allowed: .pdf, .svg, .png"),
    ):
        ended = cli("plot", *words, *desk.model())
        assert ended.code == 1
        assert message in ended.err


def test_the_tracks_that_change_most_are_drawn(desk: Desk) -> None:
    row = next(line for line in desk.vcf.read_text().splitlines() if not line.startswith("#")).split()
    variant = Variant.parse(f"{row[0]}:{row[1]}:{row[3]}:{row[4]}")
    with Pictures(desk.bundle, desk.fasta, ScoreOptions()) as pictures:
        every = pictures.variant(variant, count=99, width_bp=200)
        two = pictures.variant(variant, count=2, width_bp=200)
    sizes = dict.fromkeys(every.rows, 0.0)  # of a pair of strands the larger of both
    for row, ref, alt in zip(every.rows, every.near.ref.astype(float), every.near.alt.astype(float), strict=True):
        sizes[row] = max(sizes[row], abs(math.log2((alt.sum() + 1) / (ref.sum() + 1))))
    change = list(sizes.values())
    assert change == sorted(change, reverse=True)
    assert change[0] > change[-1]
    count = len(two.tracks)
    assert two.rows == every.rows[:count]
    assert list(dict.fromkeys(two.rows)) == list(sizes)[:2]
    assert two.tracks == every.tracks[:count]
    np.testing.assert_array_equal(two.near.alt, every.near.alt[:count])
    width = every.near.step_bp * every.near.ref.shape[1]
    assert every.near.start <= variant.pos - 1 < every.near.start + width
    assert 200 - 2 * every.bin_size_bp < width < 200 + 2 * every.bin_size_bp


def test_tracks_that_a_file_named_are_those_of_the_run(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may lie elsewhere by the time of the report, or say something else."""
    work = desk.folder / "work"
    work.mkdir()
    (work / "mine.txt").write_text("rna+/-\nchip\n")
    monkeypatch.chdir(work)
    page, again = desk.folder / "run.html", desk.folder / "again.html"
    ended = cli(*desk.score("--report", page, "--stats", "SUM", "--tracks", "@mine.txt"))
    assert ended.code == 0, ended.err
    (work / "mine.txt").write_text("dnase\n")
    monkeypatch.chdir(desk.folder)
    ended = cli("report", desk.out, "--out", again, *desk.model())
    assert ended.code == 0, ended.err
    assert data_of(again.read_text())["details"] == data_of(page.read_text())["details"]
