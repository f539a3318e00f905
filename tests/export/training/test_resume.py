"""A run that was stopped, anywhere and in any way, goes on as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.regularisers import Penalty
from borzoi_export.weights.checkpoint import read_checkpoint

from borzoi_rt.dataset import Data
from borzoi_rt.errors import InputError

from .runs import losses, run, toy_params


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint)[1]


@pytest.mark.parametrize("stop", [1, 4, 5, 8])
def test_going_on_is_as_if_never_stopped(make_data: Callable[..., Data], tmp_path: Path, stop: int) -> None:
    """Batches, dropout, augmentation, Adam, schedule and validation: after 4 and 8 updates there is a validation."""
    data = make_data(windows=8, valid=2)
    whole = run(toy_params(), [data], tmp_path / "whole", max_steps=10, save_every=1)
    run(toy_params(), [data], tmp_path / "parts", max_steps=stop, save_every=1)
    parts = run(toy_params(), [data], tmp_path / "parts", max_steps=10, save_every=1, resume=True)
    assert losses(parts.parent) == losses(whole.parent)
    for name in ("train.csv", "valid.csv"):
        assert (parts.parent / name).read_text() == (whole.parent / name).read_text()
    one, two = weights(whole), weights(parts)
    assert all(torch.equal(one[key], two[key]) for key in one)
    # Once more, with nothing left to do.
    again = run(toy_params(), [data], tmp_path / "parts", max_steps=10, save_every=1, resume=True)
    assert (again.parent / "train.csv").read_text() == (whole.parent / "train.csv").read_text()


def test_a_stop_inside_a_validation(
    make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation that was cut short is made again: no row is missing, none is there twice."""
    data = make_data(windows=8, valid=2)
    whole = run(toy_params(), [data], tmp_path / "whole", max_steps=10, save_every=1)
    begin = BorzoiModule.on_validation_epoch_start

    def stop_at_second(module: BorzoiModule) -> None:
        begin(module)
        if module.global_step == 8:
            raise RuntimeError("stopped")

    monkeypatch.setattr(BorzoiModule, "on_validation_epoch_start", stop_at_second)
    with pytest.raises(RuntimeError, match="stopped"):
        run(toy_params(), [data], tmp_path / "parts", max_steps=10, save_every=1)
    monkeypatch.setattr(BorzoiModule, "on_validation_epoch_start", begin)
    parts = run(toy_params(), [data], tmp_path / "parts", max_steps=10, save_every=1, resume=True)
    for name in ("train.csv", "valid.csv"):
        assert (parts.parent / name).read_text() == (whole.parent / name).read_text()


def start(params: Path, data: Data, out: Path, *more: str) -> subprocess.Popen[bytes]:
    arguments = ["--params", params, "--data", data.path, "--out", out, "--max-steps", "30", "--save-every", "3"]
    command = [
        sys.executable,
        "-m",
        "borzoi_rt",
        "train",
        *map(str, arguments),
        "--accelerator",
        "cpu",
        "--threads",
        "1",
    ]
    return subprocess.Popen([*command, *more], stderr=subprocess.PIPE)


def test_kill_and_resume(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, between two checkpoints; the unbroken run is made in this process."""
    data = make_data(windows=14, valid=2)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(toy_params()))
    process = start(params, data, tmp_path / "killed")
    log = tmp_path / "killed" / "train.csv"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 5) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = len(losses(tmp_path / "killed"))
    assert 5 <= killed_at < 30
    resumed = start(params, data, tmp_path / "killed", "--resume")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said.decode()
    run(toy_params(), [data], tmp_path / "whole", max_steps=30, save_every=3)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert (tmp_path / "killed" / "valid.csv").read_text() == (tmp_path / "whole" / "valid.csv").read_text()


def test_resume_before_the_first_checkpoint_begins_anew(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=4)
    whole = run(toy_params(), [data], tmp_path / "whole", max_steps=2)
    run(toy_params(), [data], tmp_path / "run", max_steps=2)
    os.unlink(tmp_path / "run" / "last.ckpt")
    again = run(toy_params(), [data], tmp_path / "run", max_steps=2, resume=True)
    assert losses(again.parent) == losses(whole.parent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4}, "batch_size is 4 and was 2"),
        ({"seed": 3}, "seed is 3 and was 0"),
        ({"penalties": [Penalty("l2_sum", "head", 0.5)]}, "penalties is another"),
    ],
)
def test_another_run_is_not_taken_up(
    make_data: Callable[..., Data], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    data = make_data(windows=8)
    run(toy_params(), [data], tmp_path / "run", max_steps=1)
    with pytest.raises(InputError, match=message):
        run(toy_params(), [data], tmp_path / "run", resume=True, **changes)
    with pytest.raises(InputError, match="exists and is not empty; pass resume"):
        run(toy_params(), [data], tmp_path / "run")
