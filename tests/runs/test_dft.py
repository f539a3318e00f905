"""From BED and VCF to the table, the archive and the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose
from oracles import dft as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.cli import main
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.motifs.files import write_meme
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.promoter.options import DftOptions
from borzoi_rt.promoter.removal import ChannelRemoval
from borzoi_rt.promoter.sites import Site, site_window
from borzoi_rt.runs.dft import score_file
from borzoi_rt.sequence import encode


@pytest.fixture
def genome(promoter_genome: tuple[Path, str]) -> tuple[Path, str]:
    return promoter_genome


SCORED = ["tata", "inr", "gc"]
# The table holds float32.
TABLE = {"rtol": 2e-6, "atol": 1e-7}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) if row[name] else np.nan for row in rows])


@pytest.fixture
def bed(tmp_path) -> Path:
    path = tmp_path / "tss.bed"
    path.write_text("chr1\t1500\t1501\tplus\t0\t+\nchr1\t1700\t1701\tminus\t0\t-\n")
    return path


def test_table_holds_the_scores_of_the_curves(tmp_path, promoter_bundle, genome, bed):
    out, archive = tmp_path / "t.tsv", tmp_path / "c.h5"
    counts = score_file(out, bundles=[promoter_bundle.path], fasta=genome[0], bed=bed, curves=archive)
    assert counts == {"ok": 2}
    rows = read(out)
    assert [row["motif"] for row in rows] == [*SCORED, "ebox"] * 2
    assert [row["group"] for row in rows[:4]] == ["scored"] * 3 + ["unscored"]
    removal = ChannelRemoval(open_session(promoter_bundle), promoter_bundle)
    with Fasta(genome[0]) as fasta:
        window = site_window(fasta, Site("chr1", 1700, "-"), length_bp=900, tss_bp=600)
    curves = removal.curves(window)
    raw, score = oracle.published_scores(curves.wt[0].astype("f8"), curves.ko[:3, 0].astype("f8"))
    minus = rows[4:]
    assert_allclose(column(minus[:3], "raw"), raw, rtol=1e-5)
    assert_allclose(column(minus[:3], "score"), score, rtol=1e-5)
    assert np.isnan(column(minus[3:], "score")).all()
    assert_allclose(column(minus, "delta_sum"), curves.effect[:, 0].sum(-1), rtol=1e-5, atol=1e-5)
    assert [row["dominant"] for row in minus] == ["1" if place == score.argmax() else "0" for place in range(4)]
    with h5py.File(archive) as file:
        assert list(file["window/site"].asstr()) == ["plus", "minus"]
        assert_allclose(file["effect"][1], curves.effect[:, 0], atol=1e-6)
        assert_allclose(file["wt"][1], curves.wt[0], atol=1e-6)
        f = file["effect"][0].astype("f8")
        turned = np.fft.rfft(f) * np.exp(1j * file["omega"][:] * 450)
        assert_allclose(file["spectrum"][0], turned, atol=1e-4)  # complex64 of sums of 600 float32
        assert file["place_bp"][450] == 0
        assert json.loads(file.attrs["borzoi_rt"])["ablation"] == "channel"
    about = json.loads((tmp_path / "t.tsv.meta.json").read_text())
    assert about["scored_motifs"] == SCORED
    assert about["models"] == {"net1": promoter_bundle.sha256}
    assert (about["baseline"], about["scale"], about["effect"]) == ("zero", "log1p", "KO - WT")


def test_the_other_strand_of_a_turned_genome_scores_the_same(tmp_path, promoter_bundle, genome, bed):
    turned = genome[1].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    write_fasta(tmp_path / "turned.fa", {"chr1": turned})
    (tmp_path / "turned.bed").write_text("chr1\t2499\t2500\tplus\t0\t-\nchr1\t2299\t2300\tminus\t0\t+\n")
    score_file(tmp_path / "a.tsv", bundles=[promoter_bundle.path], fasta=genome[0], bed=bed)
    score_file(
        tmp_path / "b.tsv", bundles=[promoter_bundle.path], fasta=tmp_path / "turned.fa", bed=tmp_path / "turned.bed"
    )
    here, there = read(tmp_path / "a.tsv"), read(tmp_path / "b.tsv")
    for name in ("site", "motif", "score", "raw", "delta_sum", "tss_shift_bp"):
        assert [row[name] for row in here] == [row[name] for row in there]


def vcf_of(path: Path, lines: list[str]) -> Path:
    path.write_text("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(lines))
    return path


def test_variants_around_tsss(tmp_path, promoter_bundle, genome, bed):
    text = genome[1]
    other = next(base for base in "ACGT" if base != text[1479])
    lines = [
        f"chr1\t1480\ta\t{text[1479]}\t{other}\t.\t.\t.\n",  # in the windows of both TSSs
        f"1\t920\tb\t{text[919:923]}\t{text[919]}\t.\t.\t.\n",  # in that of the first alone, and under another name
        f"chr1\t3500\tc\t{text[3499]}\tG\t.\t.\t.\n",  # in none
        f"chr1\t1481\td\t{'A' if text[1480] != 'A' else 'C'}\tT\t.\t.\t.\n",  # not what the genome holds
        "chr1\t1482\te\tA\t<DEL>\t.\t.\t.\n",
    ]
    vcf = vcf_of(tmp_path / "v.vcf", lines)
    counts = score_file(tmp_path / "t.tsv", bundles=[promoter_bundle.path], fasta=genome[0], bed=bed, vcf=vcf)
    assert counts == {"ok": 2 + 3, "ref_mismatch": 2, "symbolic_alt": 2, "no_site": 1}
    rows = read(tmp_path / "t.tsv")
    alt = [row for row in rows if row["allele"] == "alt" and row["status"] == "ok"]
    assert {(row["site"], row["variant"].split(" ")[0]) for row in alt} == {
        ("plus", "chr1:1480"),
        ("minus", "chr1:1480"),
        ("plus", "1:920"),
    }
    ref = {(row["site"], row["motif"]): row for row in rows if row["allele"] == "ref" and row["status"] == "ok"}
    for row in alt:
        base = ref[row["site"], row["motif"]]
        if row["group"] == "scored":
            assert_allclose(float(row["delta_score"]), float(row["score"]) - float(base["score"]), atol=1e-6)
        assert row["dominant_ref"] == next(
            r["motif"] for r in ref.values() if r["site"] == row["site"] and r["dominant"] == "1"
        )
        assert row["dominant_changed"] == str(int(row["dominant_ref"] != row["dominant_alt"]))
    failed = [row for row in rows if row["status"] != "ok"]
    assert all(row["score"] == "" and row["motif"] == "" for row in failed)
    assert len(failed) == 5


def test_a_variant_alone_is_its_own_site(tmp_path, promoter_bundle, genome):
    base = genome[1][999]
    vcf = vcf_of(tmp_path / "v.vcf", [f"chr1\t1000\t.\t{base}\t{base}\t.\t.\t.\n", "chr9\t1\t.\tA\tC\t.\t.\t.\n"])
    counts = score_file(tmp_path / "t.tsv", bundles=[promoter_bundle.path], fasta=genome[0], vcf=vcf)
    assert counts == {"ok": 2, "contig_missing": 1}
    rows = [row for row in read(tmp_path / "t.tsv") if row["allele"] == "alt" and row["status"] == "ok"]
    assert {row["pos0"] for row in rows} == {"999"}
    assert_allclose(column(rows[:3], "delta_score"), 0)  # a null variant changes nothing


def test_a_run_without_any_score_has_a_table_and_no_archive(tmp_path, promoter_bundle, genome):
    (tmp_path / "t.bed").write_text("chr9\t5\t6\n")
    with pytest.raises(InputError, match="none of 1 windows"):
        score_file(
            tmp_path / "t.tsv",
            bundles=[promoter_bundle.path],
            fasta=genome[0],
            bed=tmp_path / "t.bed",
            curves=tmp_path / "c.h5",
        )
    assert [row["status"] for row in read(tmp_path / "t.tsv")] == ["contig_missing"]
    assert not list(tmp_path.glob("c.h5*"))


def test_ensemble_rows_are_the_mean_of_the_nets(tmp_path, promoter_bundle, second_bundle, genome, bed):
    paths = [promoter_bundle.path, second_bundle.path]
    score_file(tmp_path / "t.tsv", bundles=paths, fasta=genome[0], bed=bed)
    rows = [row for row in read(tmp_path / "t.tsv") if row["site"] == "plus" and row["group"] == "scored"]
    scores = {net: column([row for row in rows if row["net"] == net], "score") for net in ("net1", "net2", "ensemble")}
    assert np.abs(scores["net1"] - scores["net2"]).max() > 1e-3
    assert_allclose(scores["ensemble"], (scores["net1"] + scores["net2"]) / 2, **TABLE)
    spread = column(rows, "score_sd").reshape(3, 3)
    assert_allclose(spread, [np.abs(scores["net1"] - scores["net2"]) / 2] * 3, **TABLE)


def test_sequence_mode_on_a_promoter_and_on_a_borzoi_bundle(tmp_path, promoter_bundle, toy_bundle, genome, bed):
    word = genome[1][1470:1482]
    write_meme(
        tmp_path / "m.meme",
        [Motif("here", np.where(encode(word) > 0, 0.97, 0.01)), Motif("no", np.full((4, 12), 0.25))],
    )
    for net, tracks in ((promoter_bundle, None), (toy_bundle, "cage+")):
        options = DftOptions(tracks=tracks, shuffles=2)
        out = tmp_path / f"{net.info.name}.tsv"
        score_file(out, bundles=[net.path], fasta=genome[0], bed=bed, motifs=tmp_path / "m.meme", options=options)
        rows = read(out)
        plus = {row["motif"]: row for row in rows if row["site"] == "plus"}
        assert float(plus["here"]["score"]) == 1
        assert (int(plus["here"]["hits"]), int(plus["no"]["hits"])) == (1, 0)
        about = json.loads(out.with_name(out.name + ".meta.json").read_text())
        assert (about["ablation"], about["baseline"]) == ("sequence", "dinuc_shuffle")
        assert about["scale"] == ("log1p" if tracks is None else "linear")


def test_what_does_not_go_together_is_refused(tmp_path, promoter_bundle, second_bundle, toy_bundle, genome, bed):
    def run(*nets, **more):
        score_file(tmp_path / "t.tsv", bundles=[net.path for net in nets], fasta=genome[0], **{"bed": bed, **more})

    with pytest.raises(InputError, match="nothing to score"):
        run(promoter_bundle, bed=None)
    with pytest.raises(InputError, match="name those to score"):
        run(toy_bundle)
    with pytest.raises(InputError, match="--ablation sequence"):
        run(toy_bundle, options=DftOptions(ablation="channel", tracks="cage+"))
    with pytest.raises(InputError, match="no motif channels"):
        run(toy_bundle, options=DftOptions(compat="genoretriever", tracks="cage+"))
    with pytest.raises(InputError, match="sequence mode needs motifs"):
        run(toy_bundle, options=DftOptions(tracks="cage+"))
    write_meme(tmp_path / "m.meme", [Motif("m", np.full((4, 3), 0.25))])
    with pytest.raises(InputError, match="another window"):
        run(promoter_bundle, toy_bundle, motifs=tmp_path / "m.meme", options=DftOptions(tracks="TSS|cage"))
    with pytest.raises(InputError, match="is for sequence mode"):
        run(promoter_bundle, motifs=tmp_path / "m.meme", options=DftOptions(ablation="channel"))
    for bad in ({"ablation": "both"}, {"window_bp": (0, 0)}, {"compat": "genoretriever", "baseline": "min"}):
        with pytest.raises(InputError):
            DftOptions(**bad)
    assert not (tmp_path / "t.tsv").exists()


def test_command_line(tmp_path, promoter_bundle, genome, bed):
    base = genome[1][1479]
    vcf = vcf_of(tmp_path / "v.vcf", [f"chr1\t1480\t.\t{base}\t{'C' if base != 'C' else 'T'}\t.\t.\t.\n"])
    arguments = ["dft", "score", "--bundle", str(promoter_bundle.path), "--fasta", str(genome[0]), "--bed", str(bed)]
    arguments += ["--vcf", str(vcf), "--out", str(tmp_path / "t.tsv"), "--plots", str(tmp_path / "plots")]
    arguments += ["--compat", "genoretriever", "--wisdom", str(tmp_path / "wisdom.json")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "4 windows: 4 ok" in done.stderr
    assert len(read(tmp_path / "t.tsv")) == 16
    figures = {path.name for path in (tmp_path / "plots").iterdir()}
    wanted = {"heatmap.png", "parts.png", "changes.png"} | {
        f"{kind}_{n}.png" for kind in ("effects", "spectrum") for n in (1, 2)
    }
    assert figures == wanted
    assert (tmp_path / "wisdom.json").is_file()
    refused = CliRunner().invoke(main, [*arguments[:6], "--out", str(tmp_path / "u.tsv")])
    assert refused.exit_code == 2
