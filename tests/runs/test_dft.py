"""From BED and VCF to the table, the archive and the figures."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal
from oracles import dft as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.cli import main
from borzoi_rt.errors import InputError, RunInterrupted
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.motifs.files import write_meme
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.promoter.options import DftOptions
from borzoi_rt.promoter.removal import ChannelRemoval
from borzoi_rt.promoter.scorer import SiteScorer
from borzoi_rt.promoter.sites import Site, site_window
from borzoi_rt.runs import dft as dft_run
from borzoi_rt.runs import dft_plan
from borzoi_rt.runs.dft import score_file
from borzoi_rt.runs.journal import Journal
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.sequence import encode
from borzoi_rt.tables import dft_curves


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
    assert [row["dominant"] for row in minus] == ["true" if index == score.argmax() else "false" for index in range(4)]
    with h5py.File(archive) as file:
        assert list(file["window/site"].asstr()) == ["plus", "minus"]
        assert_allclose(file["effect"][1], curves.effect[:, 0], atol=1e-6)
        assert_allclose(file["wt"][1], curves.wt[0], atol=1e-6)
        f = file["effect"][0].astype("f8")
        turned = np.fft.rfft(f) * np.exp(1j * file["omega"][:] * 450)
        assert_allclose(file["spectrum"][0], turned, atol=1e-4)  # complex64 of sums of 600 float32
        assert file["position_bp"][450] == 0
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
    for name in (
        "site",
        "track",
        "motif",
        "score",
        "raw",
        "delta_sum",
        "tss_shift_bp",
        "tss_shift_valid",
        "centroid_bp",
    ):
        assert [row[name] for row in here] == [row[name] for row in there]


def test_tracks_are_of_the_strand_of_the_site(tmp_path, promoter_bundle, toy_bundle, genome, bed):
    """At a site of the - strand the + track is what the genome's - strand has: table, curves and figures say so."""
    write_meme(tmp_path / "m.meme", [Motif("here", np.where(encode(genome[1][1470:1482]) > 0, 0.97, 0.01))])
    out, archive, means = tmp_path / "t.tsv", tmp_path / "c.h5", tmp_path / "p.tsv"
    options = DftOptions(tracks="cage|dnase", shuffles=1)
    more = {"motifs": tmp_path / "m.meme", "options": options, "curves": archive, "profiles": means}
    score_file(out, bundles=[toy_bundle.path], fasta=genome[0], bed=bed, **more)
    called = ["cage+ (sense)", "cage- (antisense)", "dnase"]
    assert list(dict.fromkeys(row["track"] for row in read(out))) == called
    assert list(dict.fromkeys(row["track"] for row in read(means))) == called
    about = json.loads((tmp_path / "t.tsv.meta.json").read_text())
    assert (about["tracks"], about["track_labels"]) == (["cage+", "cage-", "dnase"], called)
    assert about["strands"].startswith("of each site: + tracks are its sense strand")
    length = toy_bundle.geometry.sequence_length_bp
    with Fasta(genome[0]) as fasta:
        there = encode(fasta.fetch("chr1", 1700 + 1 - length // 2, 1700 + 1 + length // 2))
    read_on_the_other = there[::-1, ::-1][None]
    (wanted,) = open_session(toy_bundle).run(np.ascontiguousarray(read_on_the_other))
    names = list(toy_bundle.tracks.identifier)
    with h5py.File(archive) as file:
        labels = list(zip(file["window/site"].asstr(), file["window/track"].asstr(), strict=True))
        held = file["wt"][labels.index(("minus", "cage+ (sense)"))]
    assert np.corrcoef(held, wanted[names.index("cage+")])[0, 1] > 0.99
    score_file(tmp_path / "q.tsv", bundles=[promoter_bundle.path], fasta=genome[0], bed=bed)
    assert {row["track"] for row in read(tmp_path / "q.tsv")} == {"TSS+ (sense)"}


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
            r["motif"] for r in ref.values() if r["site"] == row["site"] and r["dominant"] == "true"
        )
        assert row["dominant_changed"] == str(row["dominant_ref"] != row["dominant_alt"]).lower()
        assert row["id"] == {"chr1:1480": "a", "1:920": "b"}[row["variant"].split(" ")[0]]
    failed = [row for row in rows if row["status"] != "ok"]
    assert {row["id"]: row["status_detail"] != "" for row in failed}["d"]
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
    with pytest.raises(InputError, match="ablation 'sequence'"):
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
    for options, words in (
        (DftOptions(pvalue=1e-3), "pvalue 0.001 is for ablation 'sequence'"),
        (DftOptions(shuffles=2), "shuffles 2"),
        (DftOptions(seed=1), "seed 1"),
    ):
        with pytest.raises(InputError, match=words):
            run(promoter_bundle, options=options)
    with pytest.raises(InputError, match="baseline 'min' is for ablation 'channel'"):
        run(promoter_bundle, motifs=tmp_path / "m.meme", options=DftOptions(baseline="min"))
    for bad in (
        {"shift_window_bp": 0},
        {"ablation": "both"},
        {"window_bp": (0, 0)},
        {"compat": "genoretriever", "baseline": "min"},
    ):
        with pytest.raises(InputError):
            DftOptions(**bad)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("t.tsv")] == []


def variants_of(text: str, path: Path, count: int = 5) -> Path:
    lines = [
        f"chr1\t{pos}\tv{pos}\t{text[pos - 1]}\t{'ACGT'['TACG'.index(text[pos - 1])]}\t.\t.\t.\n"
        for pos in range(1480, 1480 + count)
    ]
    return vcf_of(path, lines)


def test_how_a_run_is_cut_does_not_show(tmp_path, promoter_bundle, genome, bed, monkeypatch):
    vcf = variants_of(genome[1], tmp_path / "v.vcf")
    given = {"bundles": [promoter_bundle.path], "fasta": genome[0], "bed": bed, "vcf": vcf}
    counts = score_file(tmp_path / "a.tsv", profiles=tmp_path / "a.profile", **given)
    assert counts == {"ok": 12}
    monkeypatch.setattr(dft_plan, "TARGET_VARIANTS", 2)
    monkeypatch.setattr(dft_plan, "JOB_TARGETS", 1)
    assert score_file(tmp_path / "b.tsv", profiles=tmp_path / "b.profile", **given) == counts
    score_file(tmp_path / "c.tsv", profiles=tmp_path / "c.profile", settings=RunSettings(workers=2), **given)
    for name in ("tsv", "profile"):
        assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"c.{name}").read_bytes()
        assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"b.{name}").read_bytes()


def test_a_run_that_was_stopped_goes_on(tmp_path, promoter_bundle, genome, bed, monkeypatch):
    monkeypatch.setattr(dft_plan, "JOB_TARGETS", 1)
    given = {"bundles": [promoter_bundle.path], "fasta": genome[0], "bed": bed}
    score_file(tmp_path / "whole.tsv", curves=tmp_path / "whole.h5", **given)

    out, archive = tmp_path / "t.tsv", tmp_path / "t.h5"
    made = []
    monkeypatch.setattr(SiteScorer, "score", count_calls(SiteScorer.score, made))
    with monkeypatch.context() as patch:
        patch.setattr(dft_plan.DftWorker, "run", stop_after(dft_plan.DftWorker.run, 1))
        with pytest.raises(RunInterrupted, match="1 of 2 are kept"):
            score_file(out, curves=archive, **given)
    assert not out.exists()
    assert not archive.exists()
    assert score_file(out, curves=archive, settings=RunSettings(resume=True), **given) == {"ok": 2}
    assert len(made) == 2  # each site once
    assert out.read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    with h5py.File(archive) as here, h5py.File(tmp_path / "whole.h5") as whole:
        assert_array_equal(here["effect"][:], whole["effect"][:])
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("t.")} == {
        "t.tsv",
        "t.tsv.meta.json",
        "t.h5",
    }


def count_calls(function, calls):
    def counted(*args, **more):
        calls.append(args)
        return function(*args, **more)

    return counted


def stop_after(function, jobs):
    done = []

    def stopping(*args, **more):
        if len(done) == jobs:
            raise KeyboardInterrupt
        done.append(args)
        return function(*args, **more)

    return stopping


@pytest.mark.parametrize("which", ["fasta", "bed", "vcf", "motifs"])
@pytest.mark.parametrize("output", ["out", "curves", "profiles"])
def test_an_input_is_never_written_over(tmp_path, promoter_bundle, genome, bed, which, output):
    inputs = {"fasta": tmp_path / "g.fa", "bed": bed, "vcf": tmp_path / "v.vcf", "motifs": tmp_path / "m.meme"}
    write_fasta(inputs["fasta"], {"chr1": genome[1]})
    variants_of(genome[1], inputs["vcf"])
    write_meme(inputs["motifs"], [Motif("m", np.full((4, 3), 0.25))])
    before = inputs[which].read_bytes()
    (tmp_path / "link").symlink_to(inputs[which])
    for target in (inputs[which], tmp_path / "link"):
        outputs = {"out": tmp_path / "t.tsv", output: target}
        with pytest.raises(InputError, match="is an input"):
            score_file(outputs.pop("out"), bundles=[promoter_bundle.path], **inputs, **outputs)
    assert inputs[which].read_bytes() == before


def test_outputs_that_collide_or_cannot_be_made_are_refused(tmp_path, promoter_bundle, genome, bed):
    given = {"bundles": [promoter_bundle.path], "fasta": genome[0], "bed": bed}
    with pytest.raises(InputError, match="two outputs"):
        score_file(tmp_path / "t.tsv", profiles=tmp_path / "." / "t.tsv", **given)
    with pytest.raises(InputError, match="is a directory"):
        score_file(tmp_path, **given)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a device or a pipe"):
        score_file(tmp_path / "pipe", **given)
    with pytest.raises(InputError, match="make it first"):
        score_file(tmp_path / "t.tsv", curves=tmp_path / "no" / "c.h5", **given)
    with Journal(tmp_path / "t.tsv"), pytest.raises(InputError, match="another run"):
        score_file(tmp_path / "t.tsv", **given)
    with Journal(tmp_path / "c.h5"), pytest.raises(InputError, match="another run"):
        score_file(tmp_path / "t.tsv", curves=tmp_path / "c.h5", **given)


def test_an_archive_that_cannot_be_written_is_one_line_and_leaves_the_work(
    tmp_path, promoter_bundle, genome, bed, monkeypatch
):
    given = {"bundles": [promoter_bundle.path], "fasta": genome[0], "bed": bed, "curves": tmp_path / "c.h5"}
    (tmp_path / "c.h5").write_text("an earlier one")

    def full(*args):
        raise RuntimeError("Can't write data (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(dft_curves, "_begin_dataset", full)
        with pytest.raises(InputError, match=r"c\.h5: cannot be written .*No space left"):
            score_file(tmp_path / "t.tsv", **given)
    assert (tmp_path / "c.h5").read_text() == "an earlier one"
    assert {path.name for path in tmp_path.iterdir()} == {"tss.bed", "c.h5", "t.tsv.partial"}
    monkeypatch.setattr(SiteScorer, "score", None)  # nothing is computed again
    assert score_file(tmp_path / "t.tsv", settings=RunSettings(resume=True), **given) == {"ok": 2}


def test_mean_effects_are_those_of_the_curves(tmp_path, promoter_bundle, second_bundle, genome, bed, monkeypatch):
    monkeypatch.setattr(dft_run, "NEAR_BP", 100.0)
    nets = [promoter_bundle.path, second_bundle.path]
    vcf = variants_of(genome[1], tmp_path / "v.vcf", 2)
    given = {"bundles": nets, "fasta": genome[0], "bed": bed, "vcf": vcf, "options": DftOptions(window_bp=(320, 60))}
    score_file(tmp_path / "t.tsv", curves=tmp_path / "c.h5", profiles=tmp_path / "p.tsv", **given)
    score_file(tmp_path / "u.tsv", profiles=tmp_path / "q.tsv", **given)
    assert (tmp_path / "p.tsv").read_bytes() == (tmp_path / "q.tsv").read_bytes()
    rows = read(tmp_path / "p.tsv")
    with h5py.File(tmp_path / "c.h5") as file:
        positions, motifs = file["position_bp"][:], list(file["motif"].asstr())
        chosen = [
            number
            for number, (net, variant) in enumerate(
                zip(file["window/net"].asstr(), file["window/variant"].asstr(), strict=True)
            )
            if net == "net2" and not variant
        ]
        effect = file["effect"][chosen][:, motifs.index("gc")].astype("f8")
    near = np.flatnonzero(np.abs(positions) <= 100)
    assert len(near) < len(positions)
    mine = [row for row in rows if (row["net"], row["motif"]) == ("net2", "gc")]
    assert_allclose(column(mine, "position_bp"), positions[near])
    assert {row["sites"] for row in mine} == {"2"}
    mean, sd = effect.mean(0)[near], effect.std(0, ddof=1)[near]
    half = 1.96 * sd / np.sqrt(2)
    for name, want in (("mean", mean), ("sd", sd), ("low", mean - half), ("high", mean + half)):
        assert_allclose(column(mine, name), want, rtol=1e-4, atol=1e-6)
    assert_allclose(column(mine, "share_negative"), (effect < 0).mean(0)[near])


def test_a_letter_of_the_genome_that_stands_for_several_bases(tmp_path, promoter_bundle, genome, bed):
    text = genome[1]
    letter = "R" if text[1479] in "AG" else "Y"
    write_fasta(tmp_path / "plain.fa", {"chr1": text})
    write_fasta(tmp_path / "iupac.fa", {"chr1": text[:1479] + letter + text[1480:]})
    base = text[1479].lower()  # and REF in lower case
    vcf = vcf_of(tmp_path / "v.vcf", [f"chr1\t1480\t.\t{base}\t{'T' if base != 't' else 'A'}\t.\t.\t.\n"])
    for name in ("plain", "iupac"):
        given = {"bundles": [promoter_bundle.path], "fasta": tmp_path / f"{name}.fa", "bed": bed, "vcf": vcf}
        assert score_file(tmp_path / f"{name}.tsv", **given) == {"ok": 4}
    plain, iupac = (
        [row for row in read(tmp_path / f"{name}.tsv") if row["allele"] == "alt"] for name in ("plain", "iupac")
    )
    assert letter in iupac[0]["status_detail"]
    for name in ("score", "raw", "delta_score", "variant"):
        assert [row[name] for row in plain] == [row[name] for row in iupac]
    assert np.abs(column(plain[:3], "delta_score")).max() > 1e-5


def test_two_sites_of_one_locus_are_two(tmp_path, promoter_bundle, genome):
    (tmp_path / "t.bed").write_text("chr1\t1500\t1501\ta\t0\t+\nchr1\t1500\t1501\ta\t0\t+\n")
    seen = []
    counts = score_file(
        tmp_path / "t.tsv",
        bundles=[promoter_bundle.path],
        fasta=genome[0],
        bed=tmp_path / "t.bed",
        keep=lambda window, position_bp: seen.append((window.site.label, window.effect.shape, len(position_bp))),
    )
    assert counts == {"ok": 2}
    assert [site for site, _, _ in seen] == ["a", "a"]
    assert all(shape == (4, bins) for _, shape, bins in seen)


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
    wanted = {"heatmap.png", "parts.png", "profiles.png", "changes.png"} | {
        f"{kind}_{n}.png" for kind in ("effects", "spectrum") for n in (1, 2)
    }
    assert figures == wanted
    assert (tmp_path / "wisdom.json").is_file()
    refused = CliRunner().invoke(main, [*arguments[:6], "--out", str(tmp_path / "u.tsv")])
    assert refused.exit_code == 2
