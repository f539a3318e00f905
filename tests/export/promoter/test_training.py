"""Runs: what they learn, keep and write, and how they fail."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from borzoi_export.models.promoter import build
from borzoi_export.promoter.inputs import inputs_of
from borzoi_export.promoter.options import TrainOptions
from borzoi_export.promoter.runs import load_run
from borzoi_export.promoter.train import train
from borzoi_export.training.loader import TrainBatches
from borzoi_export.training.session import RunOptions
from borzoi_export.training.steps import DivergedError
from borzoi_export.weights.checkpoint import read_checkpoint
from numpy.testing import assert_allclose, assert_array_equal
from oracles import promoter as oracle
from promoter_toys import small_config

from borzoi_rt.errors import FormatError, InputError

CPU = RunOptions(accelerator="cpu", threads=1)
SHORT = {"steps": 3, "batch": 8, "validate_every": 3}
CONFIG = small_config(1, sequence_length_bp=400, crop_bp=80, tss_bp=240, effect_width=121)


def test_batches_are_turned_whole(data):
    batches = TrainBatches([data], [np.array([1, 0])], batch_size=4, epochs=3, seed=0, augment_shift=0)
    plain, seen = inputs_of(torch.from_numpy(data.codes)), set()
    for batch in batches:
        for row, track in zip(inputs_of(batch["codes"]), batch["target"], strict=True):
            forward = next((i for i in range(len(data)) if torch.equal(plain[i], row)), None)
            backward = next((i for i in range(len(data)) if torch.equal(plain[i].flip(0, 1), row)), None)
            want = data.target[forward] if forward is not None else data.target[backward][::-1, ::-1]
            assert_array_equal(track.numpy(), want)
            seen.add(forward is not None)
    assert seen == {True, False}


def test_unknown_bases_are_a_quarter_of_each():
    x = inputs_of(torch.tensor([[0, 3, 4]], dtype=torch.uint8))
    assert_array_equal(x[0].T.numpy(), [[1, 0, 0, 0], [0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25]])


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_training_learns_and_repeats_itself(data, tmp_path):
    training, _ = data.split(["c2"])
    options = TrainOptions(steps=80, batch=8, rate=1e-2, validate_every=20, seed=5)
    reports = []
    for name in ("a", "b"):
        torch.manual_seed(1)
        reports.append(train(build(CONFIG), training, training, tmp_path / name, options=options, run=CPU))
    assert reports[0] == reports[1]  # one seed, one result
    for name in ("train.csv", "valid.csv"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    rows = rows_of(tmp_path / "a" / "valid.csv")
    assert [int(row["step"]) for row in rows] == [20, 40, 60, 80]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert_allclose(reports[0]["loss"], min(float(row["loss"]) for row in rows), rtol=1e-6)
    assert len(rows_of(tmp_path / "a" / "train.csv")) == 80
    assert json.loads((tmp_path / "a" / "run.json").read_text())["objective"]["smooth_deconv"] == 2e-3
    assert list((tmp_path / "a" / "tensorboard").glob("events.*"))


def test_the_kept_network_is_that_of_the_figures(data, tmp_path):
    """Loss and mean correlation of best.ckpt, computed once more in float64 and one site at a time."""
    training, _ = data.split(["c2"])
    options = TrainOptions(steps=6, batch=8, validate_every=2)
    report = train(build(CONFIG), training, training, tmp_path / "run", options=options, run=CPU)
    model, about = load_run(tmp_path / "run")
    with torch.inference_mode():
        p = model.double()(inputs_of(torch.from_numpy(training.codes)).double()).numpy()
    t = training.target.astype(np.float64)
    varied = [site for site in range(len(t)) if t[site].any()]
    r = [np.corrcoef(p[site].ravel(), t[site].ravel())[0, 1] for site in varied]
    loss = oracle.profile_kl(p, t) + 1e-3 * oracle.poisson_kl(p, t)
    # Convolutions in float32.
    assert_allclose([report["loss"], report["pearson"]], [loss, np.mean(r)], rtol=1e-4)
    assert about["validation"] == {"loss": report["loss"], "pearson": report["pearson"]}
    assert about["step"] == report["step"]


def test_stage_3_keeps_the_highest_correlation(data, tmp_path):
    config = small_config(3, sequence_length_bp=400, crop_bp=80, tss_bp=240, strides=(5, 2))
    options = TrainOptions(steps=8, batch=8, rate=3e-3, validate_every=1)
    report = train(build(config), *data.split(["c2"]), tmp_path / "run", options=options, run=CPU)
    figures = [float(row["pearson"]) for row in rows_of(tmp_path / "run" / "valid.csv")]
    assert_allclose(report["pearson"], max(figures), rtol=1e-6)
    assert report["step"] == 1 + int(np.argmax(figures))


def test_a_loss_that_is_not_finite_names_step_and_terms(data, tmp_path):
    training, valid = data.split(["c2"])
    model = build(CONFIG)
    with torch.no_grad():
        model.effect.bias[1] = float("nan")
    with pytest.raises(DivergedError, match=r"step 0: .*\(profile_kl of the antisense strand, poisson_kl of the anti"):
        train(model, training, valid, tmp_path / "run", options=TrainOptions(**SHORT), run=CPU)
    with pytest.raises(FormatError, match="not a promoter run"):
        load_run(tmp_path / "run")
    with torch.no_grad():
        model.effect.bias[1] = 0.0
        model.effect.weight[0, 0, 0] = float("inf")
    with pytest.raises(DivergedError, match="smooth_deconv, l1_deconv"):
        train(model, training, valid, tmp_path / "other", options=TrainOptions(**SHORT), run=CPU)


def test_damaged_targets_leave_the_last_good_checkpoint(data, tmp_path):
    training, valid = data.split(["c2"])
    plain = {"batch_size": 2, "epochs": 1, "seed": 0, "augment_rc": False, "augment_shift": 0}
    late = list(TrainBatches([training], [np.arange(2)], **plain))[-1]["codes"][0].numpy()
    target = training.target.copy()
    target[(training.codes == late).all(axis=1), 0, 5] = np.inf
    spoiled = replace(training, target=target)
    options = TrainOptions(steps=len(training), batch=2, validate_every=len(training), save_every=1)
    with pytest.raises(DivergedError, match=r"step \d+: .*: the targets hold NaN or infinity; the last good"):
        train(build(CONFIG), spoiled, valid, tmp_path / "run", options=options, run=CPU)
    about, state = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert about["step"] == len(rows_of(tmp_path / "run" / "train.csv")) == len(training) // 2 - 1
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_too_few_sites_for_a_batch(data, tmp_path):
    training, valid = data.split(["c2"])
    options = TrainOptions(steps=2, batch=1000, validate_every=2)
    with pytest.raises(InputError, match=f"{len(training)} training sites, fewer than the 1000"):
        train(build(CONFIG), training, valid, tmp_path / "run", options=options, run=CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("schedule", "steps", "want"), [("constant", 50, 1.0), ("cosine", 200, 0.0), ("cycle", 100, 0.0)]
)
def test_schedules(schedule, steps, want):
    options = TrainOptions(steps=200, schedule=schedule, validate_every=200)
    assert options.factor(0) == 1
    assert_allclose(options.factor(steps), want, atol=1e-12)
    if schedule == "cycle":
        assert_allclose(options.factor(200), 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "step"}, "constant, cosine, cycle"),
        ({"batch": 1}, "batch is 1; a whole number of 2 or more"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"steps": 10}, "validate_every is 1000, more than the 10 steps"),
    ],
)
def test_options_that_make_no_run(changes, words):
    with pytest.raises(InputError, match=words):
        TrainOptions(**changes)
