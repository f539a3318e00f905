"""A promoter run that was stopped, anywhere and in any way, goes on as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from borzoi_export.models.promoter import build
from borzoi_export.promoter.objectives import Objective
from borzoi_export.promoter.options import TrainOptions
from borzoi_export.promoter.train import train
from borzoi_export.training.session import RunOptions
from borzoi_export.weights.checkpoint import network_state, read_checkpoint
from promoter_toys import small_config

from borzoi_rt.errors import FormatError, InputError

CPU = RunOptions(accelerator="cpu", threads=1)
SIZES = {"sequence_length_bp": 400, "crop_bp": 80, "tss_bp": 240}
PLAN = {"steps": 14, "batch": 4, "rate": 3e-3, "validate_every": 7, "save_every": 2, "seed": 5}


@pytest.fixture(scope="module")
def split(data):
    return data.split(["c2"])


def config(stage: int):
    return small_config(stage, **SIZES, effect_width=81, strides=(5, 2), channels=4, dropout=0.3)


def go(data, out: Path, *, stage: int = 3, initial: int = 0, resume: bool = False, objective=None, **changes) -> Path:
    torch.manual_seed(initial)
    options = TrainOptions(**{**PLAN, **changes})
    train(build(config(stage)), *data, out, options=options, objective=objective, run=CPU, resume=resume)
    return out


def assert_same(one: Path, two: Path) -> None:
    """Every row that was written, every weight and statistic, every number of the optimiser."""
    for name in ("train.csv", "valid.csv"):
        assert (one / name).read_text() == (two / name).read_text()
    for name in ("last.ckpt", "best.ckpt"):
        (about, state), (other, twin) = read_checkpoint(one / name), read_checkpoint(two / name)
        assert about == other
        assert state.keys() == twin.keys()
        assert all(torch.equal(state[key], twin[key]) for key in state)
    moments, twins = (
        torch.load(run / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"] for run in (one, two)
    )
    assert all(torch.equal(moments[number]["exp_avg_sq"], twins[number]["exp_avg_sq"]) for number in moments)


@pytest.mark.parametrize(("stage", "stop"), [(1, 6), (2, 8), (3, 3), (3, 7)])
def test_going_on_is_as_if_never_stopped(split, tmp_path, monkeypatch, stage, stop):
    """Order, strands, dropout, AdamW, a falling rate, normalisation, validation, the best so far; six steps an epoch.

    The run ends by an error after a step, between checkpoints or just after a validation.
    """
    from borzoi_export.promoter.module import PromoterModule

    step = PromoterModule.training_step

    def stopping(module, batch, batch_idx):
        if module.global_step == stop:
            raise RuntimeError("stopped")
        return step(module, batch, batch_idx)

    whole = go(split, tmp_path / "whole", stage=stage, schedule="cosine")
    monkeypatch.setattr(PromoterModule, "training_step", stopping)
    with pytest.raises(RuntimeError, match="stopped"):
        go(split, tmp_path / "parts", stage=stage, schedule="cosine")
    monkeypatch.setattr(PromoterModule, "training_step", step)
    parts = go(split, tmp_path / "parts", stage=stage, schedule="cosine", resume=True)
    assert_same(parts, whole)
    assert_same(go(split, parts, stage=stage, schedule="cosine", resume=True), whole)  # nothing left to do


def words(files: Path, out: Path, *more: str) -> list[str]:
    named = {"fasta": "genome.fa", "plus": "plus.bw", "minus": "minus.bw", "tss": "tss.bed", "config": "sizes.json"}
    (files / "sizes.json").write_text(json.dumps({"motif_width": 11, "effect_width": 81, **SIZES}))
    paths = [part for name, file in named.items() for part in (f"--{name}", str(files / file))]
    plan = [
        "--stage",
        "1",
        "--motifs",
        "6",
        "--steps",
        "60",
        "--batch",
        "4",
        "--validate-every",
        "10",
        "--save-every",
        "7",
        "--seed",
        "2",
    ]
    device = ("--accelerator", "cpu", "--threads", "1")
    return ["promoter", "train", *plan, "--valid", "c2", *paths, "--out", str(out), *device, *more]


def test_kill_and_resume(files, tmp_path, cli):
    """SIGKILL in the middle of an epoch; the unbroken run is made in this process."""
    program = [sys.executable, "-m", "borzoi_rt"]
    killed = subprocess.Popen([*program, *words(files, tmp_path / "killed")], stderr=subprocess.PIPE)
    log, deadline = tmp_path / "killed" / "train.csv", time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 16) and time.monotonic() < deadline:
        assert killed.poll() is None, killed.stderr and killed.stderr.read().decode()
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 16 <= log.read_text().count("\n") < 60
    resumed = [*program, *words(files, tmp_path / "killed", "--resume")]
    done = subprocess.run(resumed, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert cli(*words(files, tmp_path / "whole"))[0] == 0
    assert_same(tmp_path / "killed", tmp_path / "whole")
    code, _, said = cli(*words(files, tmp_path / "whole"))
    assert code == 1
    assert said.startswith("error: ")
    assert "exists and is not empty; pass resume to go on, or choose another name" in said


def test_more_steps_of_a_constant_rate_are_one_longer_run(split, tmp_path):
    go(split, tmp_path / "run", steps=7)
    assert_same(go(split, tmp_path / "run", resume=True), go(split, tmp_path / "whole"))


def test_resume_before_the_first_checkpoint_begins_anew(split, tmp_path):
    whole, run = go(split, tmp_path / "whole"), go(split, tmp_path / "run")
    os.unlink(run / "last.ckpt")
    assert_same(go(split, run, resume=True), whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 5}, "batch is 5 and was 4"),
        ({"rate": 1e-3}, r"rate is 0.001 and was 0.003"),
        ({"schedule": "cosine", "steps": 7}, "schedule is 'cosine' and was 'constant'"),
        ({"objective": Objective(adamw_wd=0.5)}, "objective is another"),
        ({"initial": 1}, "initial is another"),
        ({"stage": 2}, "config is another"),
    ],
)
def test_another_run_is_not_taken_up(split, tmp_path_factory, changes, words):
    out = tmp_path_factory.getbasetemp() / "short"
    if not out.exists():
        go(split, out, steps=7)
    with pytest.raises(InputError, match=words + ".*choose another directory"):
        go(split, out, resume=True, **changes)


def test_other_data_are_not_taken_up(split, tmp_path):
    go(split, tmp_path / "run", steps=7)
    training, valid = split
    target = training.target.copy()
    target[0, 0, 0] += 1
    with pytest.raises(InputError, match=r"training is another than in last\.ckpt"):
        go((replace(training, target=target), valid), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="validated is another"):
        go((training, training), tmp_path / "run", resume=True)


def test_a_promoter_checkpoint_is_no_borzoi(split, tmp_path):
    run = go(split, tmp_path / "run", steps=7)
    with pytest.raises(FormatError, match="promoter train"):
        network_state(*read_checkpoint(run / "last.ckpt"))
