"""Every parameter of motif scores, of the scorer on a server and of reports changes what comes out, or is refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import worlds
from test_heeded import PREDICTION, SCORE

from borzoi_rt.cli import run
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import InputError
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.promoter.options import DftOptions
from borzoi_rt.promoter.removal import BASELINES
from borzoi_rt.report.curves import plot_curves, plot_mean_curves
from borzoi_rt.report.figures import plot_alleles, plot_logos
from borzoi_rt.report.page import write_report
from borzoi_rt.report.regions import plot_region
from borzoi_rt.runs import dft
from borzoi_rt.runs.score import score_file
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.remote import RemoteScorer
from borzoi_rt.tracks import TrackTable

TEXT = worlds.random_dna(12_000, seed=31)
MEME = (
    "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 4\n"
    "0.9 0.04 0.03 0.03\n0.03 0.9 0.04 0.03\n0.04 0.03 0.9 0.03\n0.03 0.04 0.03 0.9\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("elsewhere")
    worlds.write_fasta(made / "toy.fa", {"chr1": TEXT})
    (made / "tss.bed").write_text("chr1\t6000\t6001\tone\t0\t+\n")
    (made / "m.meme").write_text(MEME)
    alts = ["ACGT"["CGTA".index(TEXT[pos - 1])] for pos in (6000, 6100)]
    worlds.write_vcf(
        made / "in.vcf",
        [f"chr1 {pos} v{pos} {TEXT[pos - 1]} {alt}" for pos, alt in zip((6000, 6100), alts, strict=True)],
    )
    return made


# Motif scores


def motif_scores(folder: Path, bundle: str, options: DftOptions, **more: Any) -> str:
    """Return the table and what stands beside it."""
    out = folder / "dft.tsv"
    for path in folder.glob("dft.tsv*"):
        path.unlink()
    given: dict[str, Any] = {"bundles": [packaged_bundle(bundle).path], "fasta": folder / "toy.fa"}
    given |= {"bed": folder / "tss.bed", "settings": RunSettings(threads=1)}
    dft.score_file(out, **{**given, **more}, options=options)
    return out.read_text() + (folder / "dft.tsv.meta.json").read_text()


SEQUENCE = {"ablation": "sequence", "pvalue": 1e-3, "shuffles": 2}
# Field -> what else is chosen, and another value.
DFT: dict[str, tuple[dict[str, Any], Any]] = {
    "ablation": ({}, "sequence"),
    "baseline": ({}, next(name for name in BASELINES if name != "zero")),
    "pvalue": (SEQUENCE, 1e-2),
    "shuffles": (SEQUENCE, 3),
    "seed": (SEQUENCE, 5),
    "scale": ({}, "linear"),
    "window_bp": ({}, (200, 100)),
    "tracks": ({}, "-"),
    "compat": ({}, "genoretriever"),
    "shift_window_bp": ({}, 40.0),
}


def test_every_choice_of_motif_scores_is_looked_at() -> None:
    assert {item.name for item in fields(DftOptions)} == DFT.keys()
    known = {*("out", "bundles", "fasta", "bed", "vcf", "motifs", "options", "curves", "profiles", "settings", "keep")}
    assert set(inspect.signature(dft.score_file).parameters) == known


@pytest.mark.parametrize("name", DFT)
def test_choices_of_motif_scores(folder: Path, name: str) -> None:
    given, value = DFT[name]
    before = DftOptions(**given)
    motifs = {"motifs": folder / "m.meme"} if given or value == "sequence" else {}
    usual = motif_scores(folder, "promoter_bundle", before, **(motifs if given else {}))
    assert motif_scores(folder, "promoter_bundle", replace(before, **{name: value}), **motifs) != usual


@pytest.mark.parametrize(
    ("options", "more", "complaint"),
    [
        ({"pvalue": 1e-3}, {}, "pvalue 0.001 is for ablation 'sequence'"),
        ({"shuffles": 3}, {}, "shuffles 3 is for ablation 'sequence'"),
        ({"seed": 0}, {}, "seed 0 is for ablation 'sequence'"),
        ({**SEQUENCE, "baseline": "zero"}, {"motifs": "m.meme"}, "baseline 'zero' is for ablation 'channel'"),
        ({"compat": "genoretriever", "scale": "linear"}, {}, "compat 'genoretriever' fixes channel removal"),
        ({"compat": "genoretriever", "window_bp": (5, 5)}, {}, "compat 'genoretriever' fixes channel removal"),
        (SEQUENCE, {}, "motifs"),
        ({"window_bp": 5}, {}, r"window_bp is 5; two whole numbers of bases"),
        ({"window_bp": (5.5, 5)}, {}, r"window_bp is \(5\.5, 5\); two whole numbers of bases"),
    ],
)
def test_what_motif_scores_do_not_heed(
    folder: Path, options: dict[str, Any], more: dict[str, Any], complaint: str
) -> None:
    given = {name: folder / value for name, value in more.items()}
    with pytest.raises(InputError, match=complaint):
        motif_scores(folder, "promoter_bundle", DftOptions(**options), **given)


# The scorer on a server: it computes what it was made for, and everything else is refused


@pytest.mark.parametrize("name", [*SCORE, *PREDICTION])
def test_a_server_that_scores_otherwise_is_refused(name: str) -> None:
    """Whether a choice stands in the options or in their prediction, asking for another value is an error."""
    info = packaged_bundle("bundle").info
    given, value = SCORE.get(name) or PREDICTION[name]
    genes = {"stats": ("SUM@exons",)} if name in ("gene_names", "gene_types", "gene_mode", "bin_rule") else {}
    base = {"stats": ("SUM", "logSED"), **genes}
    if name in PREDICTION:
        served = ScoreOptions(**base, prediction=PredictionOptions(**given))
        asked = replace(served, prediction=replace(served.prediction, **{name: value}))
    else:
        served = ScoreOptions(**{**base, **given})
        asked = replace(served, **{name: value})
    served, asked = served.resolved(info), asked.resolved(info)
    rows = ("one",)
    remote: Any = SimpleNamespace(
        options=served,
        rows=rows,
        _specs={spec.name: spec for spec in served.specs},
        _connection=SimpleNamespace(address="grpc://h:1/scorer"),
    )
    if name == "tracks":
        with pytest.raises(InputError, match="scores 1 tracks, first 'one'; the tracks asked for are 2"):
            RemoteScorer.check(remote, asked, ("two", "one"))
        return
    with pytest.raises(InputError):
        RemoteScorer.check(remote, asked, rows)


# Reports and figures


def drawn(draw: Callable[..., Any], path: Path, *args: Any, **given: Any) -> bytes:
    draw(path, *args, **given)
    return path.read_bytes()


def looked_at(function: Callable[..., Any], *names: str) -> None:
    assert set(inspect.signature(function).parameters) == set(names)


def test_a_report_of_scores(folder: Path) -> None:
    table = folder / "scores.tsv"
    options = ScoreOptions(stats=("SUM", "logSED"))
    bundle = packaged_bundle("bundle").path
    score_file(folder / "in.vcf", table, bundle=bundle, fasta=folder / "toy.fa", options=options)
    looked_at(write_report, "out", "table", "top", "rank_by", "pictures")
    usual = drawn(write_report, folder / "r.html", table)
    assert drawn(write_report, folder / "r.html", table, top=1) != usual
    assert drawn(write_report, folder / "r.html", table, rank_by="logSED") != usual
    assert drawn(write_report, folder / "r.html", table, rank_by="SUM") == usual
    with pytest.raises(InputError, match="JS"):
        write_report(folder / "r.html", table, rank_by="JS")


def test_figures_of_curves(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    curves, profiles = folder / "curves.h5", folder / "profiles.tsv"
    (folder / "two.bed").write_text("chr1\t6000\t6001\tone\t0\t+\nchr1\t7000\t7001\ttwo\t0\t-\n")
    motif_scores(folder, "promoter_bundle", DftOptions(), bed=folder / "two.bed", curves=curves, profiles=profiles)
    looked_at(plot_curves, "out", "curves", "row", "top", "spectrum")
    rows = [drawn(plot_curves, folder / "c.svg", curves, row=row) for row in ("one", "two")]
    assert rows[0] != rows[1]
    assert drawn(plot_curves, folder / "c.svg", curves) in rows
    assert drawn(plot_curves, folder / "c.svg", curves, row="one", top=1) != rows[0]
    assert drawn(plot_curves, folder / "c.svg", curves, row="one", spectrum=True) != rows[0]
    looked_at(plot_mean_curves, "out", "profiles", "top")
    assert drawn(plot_mean_curves, folder / "m.svg", profiles) != drawn(
        plot_mean_curves, folder / "m.svg", profiles, top=1
    )


def test_a_figure_of_a_region(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    tracks: TrackTable = packaged_bundle("bundle").tracks
    values = np.random.default_rng(0).random((1, len(tracks), 64)).astype(np.float32)
    windows = [Interval("chr1", 4000, 4000 + 64 * 32)]
    gtf = folder / "genes.gtf"
    gtf.write_text('chr1\tx\texon\t4500\t4900\t.\t+\t.\tgene_id "G1";\n')
    looked_at(plot_region, "path", "windows", "tracks", "values", "bin_size_bp", "region", "genes", "top")
    usual = drawn(plot_region, folder / "p.svg", windows, tracks, values, 32)
    for other in ({"region": Interval("chr1", 4320, 4640)}, {"genes": gtf}, {"top": 1}):
        assert drawn(plot_region, folder / "p.svg", windows, tracks, values, 32, **other) != usual
    for wrong in (0, -1):
        with pytest.raises(InputError, match="top is"):
            plot_region(folder / "p.svg", windows, tracks, values, 32, top=wrong)


def test_figures_of_arrays(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    ref, alt = np.random.default_rng(1).random((2, 2, 30))
    given: dict[str, Any] = {"names": ("a", "b"), "chrom": "chr1", "start": 320, "bin_size_bp": 32}
    given |= {"position": 700, "title": "t"}
    looked_at(plot_alleles, "path", "ref", "alt", "genes", "gap", *given)
    usual = drawn(plot_alleles, folder / "a.svg", ref, alt, **given)
    changes: dict[str, Any] = {"names": ("a", "c"), "chrom": "chr2", "start": 640, "bin_size_bp": 64}
    changes |= {"gap": (12, 64), "position": 800, "title": "u", "genes": [("G", "+", [(400, 500)])]}
    for name, value in changes.items():
        assert drawn(plot_alleles, folder / "a.svg", ref, alt, **{**given, name: value}) != usual, name
    assert drawn(plot_alleles, folder / "a.svg", alt, ref, **given) != usual
    looked_at(plot_logos, "path", "matrices", "names")
    matrix = np.full((4, 5), 0.25)
    matrix[0] = (0.9, 0.1, 0.25, 0.4, 0.7)
    matrix /= matrix.sum(axis=0)
    assert drawn(plot_logos, folder / "l.svg", [matrix], names=("a",)) != drawn(
        plot_logos, folder / "l.svg", [matrix], names=("b",)
    )


# Targets on the command line


@pytest.mark.parametrize(
    ("command", "out"), [("explain", "e.h5"), ("cam", "c.tsv"), ("surrogate", "s"), ("design", "d"), ("tcav", "t.tsv")]
)
def test_sites_that_no_target_heeds_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str, out: str
) -> None:
    """The scores of variants have always refused them; targets took them and heeded nothing."""
    if command in ("surrogate", "tcav"):
        pytest.importorskip("sklearn")
    (folder / "genes.gtf").write_text('chr1\tx\texon\t6001\t6400\t.\t+\t.\tgene_id "G1";\n')
    (folder / "pas.tsv").write_text("")  # is not even read
    words = [command, "--gene", "G1", "--genes", folder / "genes.gtf", "--pas", folder / "pas.tsv"]
    words += ["--region", "chr1:6001-6004"] if command in ("surrogate", "design") else []
    words += ["--motif", "a=TATAAA"] if command == "tcav" else []
    words += ["--bundle", packaged_bundle("bundle").path, "--fasta", folder / "toy.fa", "--out", folder / out]
    monkeypatch.setattr("sys.argv", ["borzoi-rt", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 1
    assert re.fullmatch(r"error: --pas is for targets of region pas, as RATIO@pas, and .*\n", capfd.readouterr().err)
