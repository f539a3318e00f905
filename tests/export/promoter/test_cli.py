"""The whole chain on the command line: stages 1 to 3, consensus, bundle, DFT score."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
import torch
from borzoi_export.models.puffin import Puffin
from click.testing import CliRunner

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.cli import main
from borzoi_rt.demo import promoter_grammar as grammar
from borzoi_rt.errors import BackendError, FormatError, InputError

SIZES = {"sequence_length_bp": 360, "crop_bp": 60, "tss_bp": 240, "motif_width": 11, "effect_width": 81}
SMALL = {"channels": 4, "decoder_width": 3, "strides": [3, 2], "decoders": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("chain")
    grammar.write_data(path, seed=4, contigs={"c1": 30_000, "c2": 5000})
    (path / "first.json").write_text(json.dumps(SIZES))
    (path / "second.json").write_text(
        json.dumps({key: SIZES[key] for key in ("sequence_length_bp", "crop_bp", "tss_bp")})
    )
    window = {key: SIZES[key] for key in ("sequence_length_bp", "crop_bp", "tss_bp")}
    (path / "third.json").write_text(json.dumps({**window, **SMALL, "effect_width": 81}))
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stderr


def train(folder, stage: int, out: str, config: str, *more: object) -> str:
    files = ("--fasta", folder / "genome.fa", "--plus", folder / "plus.bw", "--minus", folder / "minus.bw")
    sites = ("--tss", folder / "tss.bed", "--valid", "c2", "--config", folder / config, "--out", folder / out)
    plan = ("--steps", 60, "--batch", 8, "--rate", "0.01", "--validate-every", 30, "--threads", 1)
    return run("promoter", "train", "--stage", stage, *files, *sites, *plan, *more)


def test_three_stages_to_a_table_of_scores(folder):
    for net in range(2):
        text = train(folder, 1, f"net{net}", "first.json", "--motifs", 6, "--seed", 0)
        assert "mean Pearson" in text
    run("promoter", "consensus", folder / "net0", folder / "net1", "--out", folder / "motifs")
    train(folder, 2, "residual", "second.json", "--kernels", folder / "motifs", "--others", 3, "--poisson-kl", "0")
    assert json.loads((folder / "residual" / "run.json").read_text())["objective"]["poisson_kl"] == 0
    run("promoter", "consensus", folder / "residual", "--layers", "other", "--out", folder / "short")
    kernels = ("--kernels", folder / "motifs", "--other-kernels", folder / "short")
    train(folder, 3, "predictor", "third.json", *kernels)
    text = run("promoter", "export", folder / "predictor", "--out", folder / "bundle")
    assert text == ""
    window = ("--fasta", folder / "genome.fa", "--bed", folder / "tss.bed", "--out", folder / "scores.tsv")
    run("dft", "score", "--bundle", folder / "bundle", *window)
    with (folder / "scores.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    with (folder / "motifs" / "motifs.tsv").open() as handle:
        names = [row["name"] for row in csv.DictReader(handle, delimiter="\t")]
    assert {row["motif"] for row in rows if row["motif"]} == set(names)
    for site in {row["site"] for row in rows}:
        scores = [float(row["score"]) for row in rows if row["site"] == site and row["score"]]
        assert sum(scores) % 1 == pytest.approx(0, abs=1e-5) or sum(scores) % 1 == pytest.approx(1, abs=1e-5)


def test_a_puffin_file_of_ones_own(tmp_path):
    torch.manual_seed(0)
    torch.save(Puffin().state_dict(), tmp_path / "own.pth")
    run("promoter", "puffin", tmp_path / "own.pth", "--out", tmp_path / "bundle", "--length", 800, "--tss", 400)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.geometry.bins == 150
    assert bundle.tracks.identifier[0] == "FANTOM_CAGE+"
    assert bundle.tracks.identifier[int(bundle.tracks.strand_pair[0])] == "FANTOM_CAGE-"


def test_stages_ask_for_what_they_need(folder):
    with pytest.raises(InputError, match="--kernels"):
        train(folder, 2, "x", "second.json")
    with pytest.raises(FormatError, match="not a directory of consensus motifs"):
        train(folder, 2, "x", "second.json", "--kernels", folder)
    (folder / "bad.json").write_text('{"depth": 3}')
    with pytest.raises(FormatError, match="unknown key 'depth'"):
        train(folder, 1, "x", "bad.json")
    with pytest.raises(FormatError, match="not a promoter run"):
        run("promoter", "consensus", folder, "--out", folder / "y")
    assert not (folder / "x").exists()


def test_training_needs_its_extra_and_the_rest_does_not(folder, monkeypatch):
    for name in ("borzoi_export.promoter.train", "borzoi_export.training.session"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(BackendError, match=r"`promoter train` needs lightning; pip install 'borzoi-rt\[train\]'"):
        train(folder, 1, "x", "first.json")
    code = "import sys; sys.modules['lightning'] = None; import borzoi_export.promoter.cli"
    subprocess.run([sys.executable, "-c", code], check=True)
