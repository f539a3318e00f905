"""A predictor of all tissues tuned to one: where it begins, what moves, with which options."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from borzoi_export.models.promoter import build
from borzoi_export.promoter.options import TrainOptions, tuning_options
from borzoi_export.promoter.runs import load_run, tuned
from borzoi_export.promoter.train import train
from borzoi_export.training.session import RunOptions
from borzoi_export.weights.checkpoint import read_checkpoint
from promoter_toys import small_config

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.errors import InputError

CPU = RunOptions(accelerator="cpu", threads=1)
SIZES = {"sequence_length_bp": 400, "crop_bp": 80, "tss_bp": 240}
KERNELS = {"motif.weight", "other.weight"}


@pytest.fixture(scope="module")
def predictor(data, tmp_path_factory):
    """A run of stage 3, a few steps long."""
    torch.manual_seed(0)
    model = build(small_config(3, **SIZES, strides=(5, 2), channels=4))
    options = TrainOptions(steps=4, batch=8, rate=3e-3, validate_every=4)
    out = tmp_path_factory.mktemp("runs") / "predictor"
    train(model, *data.split(["c2"]), out, options=options, run=CPU)
    return out


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def tune(model, data, out):
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = TrainOptions(steps=3, batch=8, rate=1e-2, validate_every=3, tissue="leaf")
    train(model, *data.split(["c2"]), out, options=options, run=CPU)
    return moved(start, load_run(out, "last")[0].state_dict())


@pytest.mark.parametrize("freeze", ["kernels", "nothing", "body"])
def test_what_is_frozen_stays_with_its_statistics(predictor, data, tmp_path, freeze):
    model = tuned(predictor, freeze=freeze)
    every, changed = set(model.state_dict()), tune(model, data, tmp_path / "leaf")
    if freeze == "body":
        assert changed == {"head.weight"}
    else:
        assert changed == every - (KERNELS if freeze == "kernels" else set())


def test_tuning_begins_with_the_weights_of_the_run(predictor):
    state = {
        name.removeprefix("model."): tensor for name, tensor in read_checkpoint(predictor / "best.ckpt")[1].items()
    }
    assert moved(state, tuned(predictor).state_dict()) == set()
    assert moved(state, tuned(predictor, new_head=True).state_dict()) == {"head.weight"}


def test_only_predictors_are_tuned(data, tmp_path):
    options = TrainOptions(steps=1, batch=8, validate_every=1)
    train(build(small_config(1, **SIZES, effect_width=81)), *data.split(["c2"]), tmp_path / "first", options=options)
    with pytest.raises(InputError, match="a run of stage 1; only stage 3"):
        tuned(tmp_path / "first")
    with pytest.raises(InputError, match="kernels, nothing, body"):
        tuned(tmp_path / "first", freeze="head")


def test_published_options_of_tuning():
    """Batches of 32, ten epochs, a constant rate of 1e-4."""
    options = tuning_options(sites=330, tissue="leaf")
    assert (options.batch, options.steps, options.rate, options.tissue) == (32, 10 * (330 // 32), 1e-4, "leaf")
    assert options.factor(90) == 1
    assert options.validate_every == 330 // 32


def table(files, leaf: dict[str, float]):
    """A table of the TSSs with a column of TPM in leaf, by chromosome."""
    lines = ["seqnames\tthick.start\tstrand\tscore\tleaf\tleaf.1"]
    for line in (files / "tss.bed").read_text().splitlines():
        chrom, start, _, _, _, strand = line.split("\t")[:6]
        lines.append(f"{chrom}\t{int(start) + 1}\t{strand}\t1\t1\t{leaf[chrom]}")
    (files / "tss.tsv").write_text("\n".join(lines) + "\n")
    return files / "tss.tsv"


def words(files, run, out, *more):
    named = {"fasta": "genome.fa", "plus": "plus.bw", "minus": "minus.bw"}
    paths = [part for name, file in named.items() for part in (f"--{name}", files / file)]
    device = ("--accelerator", "cpu", "--threads", 1)
    sites = ("--tss", table(files, {"c1": 3, "c2": 3, "c3": 0.5}), "--valid", "c2")
    return ["promoter", "train", "--from", run, *paths, *sites, "--out", out, *device, *more]


def test_command_from_run_to_bundle(files, data, predictor, tmp_path, cli):
    plan = ("--tissue", "leaf", "--batch", 4, "--steps", 4)
    code, _, said = cli(*words(files, predictor, tmp_path / "leaf", *plan))
    assert code == 0, said
    about = json.loads((tmp_path / "leaf" / "run.json").read_text())
    assert about["origin"] == {"run": "predictor", "freeze": "kernels", "new_head": False, "tissue": "leaf"}
    assert (about["options"]["rate"], about["options"]["schedule"]) == (1e-4, "constant")
    assert about["objective"]["adamw_wd"] == 1e-2
    assert about["training"]["sites"] == sum(site.chrom == "c1" for site in data.sites)  # c3 is not active in leaf
    with (tmp_path / "leaf" / "valid.csv").open(newline="") as handle:
        assert {row["head"] for row in csv.DictReader(handle)} == {"leaf"}
    assert cli(*words(files, predictor, tmp_path / "leaf", *plan, "--resume"))[0] == 0
    code, _, said = cli(*words(files, predictor, tmp_path / "leaf", *plan, "--resume", "--freeze", "nothing"))
    assert (code, "origin is another" in said) == (1, True)
    assert cli("promoter", "export", tmp_path / "leaf", "--out", tmp_path / "bundle")[0] == 0
    assert open_bundle(tmp_path / "bundle").info.provenance["tissue"] == "leaf"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--tissue NAME"),
        (("--tissue", "leaf", "--stage", 1), "only stage 3 is tuned"),
        (("--tissue", "leaf", "--motifs", 3), "--motifs is what"),
        (("--tissue", "leaf", "--freeze", "head"), "'kernels', 'nothing', 'body'"),
    ],
)
def test_usage(files, predictor, tmp_path, cli, more, message):
    code, _, said = cli(*words(files, predictor, tmp_path / "x", *more))
    assert code == 2
    assert message in said
    assert not (tmp_path / "x").exists()
