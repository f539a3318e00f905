"""What a promoter run shares with `train`: names, devices, precision, averages, accumulation, a file of options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from borzoi_export.cli_train import train as borzoi_train
from borzoi_export.models.promoter import build
from borzoi_export.promoter.cli_train import train as promoter_train
from borzoi_export.promoter.data import PromoterData
from borzoi_export.promoter.options import TrainOptions
from borzoi_export.promoter.runs import load_run
from borzoi_export.promoter.train import train
from borzoi_export.training.session import RunOptions
from borzoi_export.weights.checkpoint import read_checkpoint
from command_line import Cli
from promoter_toys import small_config

from borzoi_rt.errors import InputError

CPU = RunOptions(accelerator="cpu", threads=1)
SIZES = {"sequence_length_bp": 400, "crop_bp": 80, "tss_bp": 240}


def go(data: Any, out: Path, stage: int = 3, **changes: Any) -> Path:
    torch.manual_seed(0)
    model = build(small_config(stage, **SIZES, effect_width=81, strides=(5, 2), channels=4))
    options = TrainOptions(**{"steps": 6, "batch": 4, "rate": 3e-3, "validate_every": 3, "save_every": 2, **changes})
    train(model, *data.split(["c2"]), out, options=options, run=CPU)
    return out


def losses(run: Path) -> np.ndarray:
    return np.loadtxt(run / "train.csv", delimiter=",", skiprows=1, usecols=4)


def test_both_trainers_share_their_names() -> None:
    def names(command: Any) -> dict[str, Any]:
        return {name: item for item in command.params for name in item.opts}

    ours, theirs = names(borzoi_train), names(promoter_train)
    shared = "config resume out max-steps batch-size learning-rate schedule valid-every save-every seed freeze "
    shared += "devices accelerator threads workers precision accumulate ema tf32 deterministic"
    for name in (f"--{word}" for word in shared.split()):
        assert name in ours, name
        assert name in theirs, name


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize(("precision", "rounding"), [("bf16", 2**-8), ("16", 2**-11)])
def test_half_precision(data: PromoterData, tmp_path: Path, stage: int, precision: str, rounding: float) -> None:
    """Close to float32, not the same; weights stay in float32; what was kept computes in float32."""
    plain = losses(go(data, tmp_path / "plain", stage, steps=3))
    run = go(data, tmp_path / "half", stage, steps=3, precision=precision)
    assert (losses(run) != plain).any()
    np.testing.assert_allclose(losses(run), plain, rtol=40 * rounding)
    assert {tensor.dtype for tensor in read_checkpoint(run / "last.ckpt")[1].values()} == {torch.float32, torch.int64}


def test_accumulated_batches_make_one_update(data: PromoterData, tmp_path: Path) -> None:
    run = go(data, tmp_path / "run", steps=4, accumulate=2, validate_every=2)
    assert len(losses(run)) == 8
    assert [line.split(",")[0] for line in (run / "valid.csv").read_text().splitlines()[1:]] == ["2", "4"]
    assert read_checkpoint(run / "last.ckpt")[0]["step"] == 4


def test_an_average_is_what_a_run_gives(data: PromoterData, tmp_path: Path) -> None:
    plain, run = go(data, tmp_path / "plain"), go(data, tmp_path / "run", ema=0.5)
    assert (losses(plain) == losses(run)).all()
    saved = torch.load(run / "last.ckpt", weights_only=True)
    model, _ = load_run(run, "last")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and f"model.{name}" in saved["average"]:
            assert torch.equal(tensor, saved["average"][f"model.{name}"])
    assert not torch.equal(model.head.weight, saved["state_dict"]["model.head.weight"])


@pytest.mark.parametrize(("name", "value"), [("precision", "8"), ("ema", 1.0), ("accumulate", 0)])
def test_nonsense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} .*{value}"):
        TrainOptions(**{name: value})


def recipe(files: Path, out: Path, **more: Any) -> dict[str, Any]:
    named = {"fasta": "genome.fa", "plus": "plus.bw", "minus": "minus.bw", "tss": "tss.bed"}
    paths = {name: str(files / file) for name, file in named.items()}
    sizes = {"motif_width": 11, "effect_width": 81, **SIZES}
    plan = {"max-steps": 6, "batch-size": 4, "valid-every": 3, "learning-rate": 3e-3, "seed": 2, "motifs": 6}
    device = {"accelerator": "cpu", "threads": 1}
    return {**paths, **sizes, **plan, **device, "stage": 1, "valid": "c2", "out": str(out), **more}


def test_one_file_repeats_a_run(files: Path, tmp_path: Path, cli: Cli) -> None:
    """Options and network sizes in one file; the run's own file gives the same run."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe(files, tmp_path / "run")))
    code, _, said = cli("promoter", "train", "--config", tmp_path / "mine.yaml", "--l1-motif", "1e-3")
    assert code == 0, said
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (about["config"]["motif_width"], about["objective"]["l1_motif"]) == (11, 1e-3)
    own = tmp_path / "run" / "run.yaml"
    code, _, said = cli("promoter", "train", "--config", own, "--out", tmp_path / "again")
    assert code == 0, said
    assert (tmp_path / "again" / "train.csv").read_text() == (tmp_path / "run" / "train.csv").read_text()
    (tmp_path / "bad.yaml").write_text("motif-witdh: 9\n")
    code, _, said = cli("promoter", "train", "--config", tmp_path / "bad.yaml")
    assert (code, "did you mean 'motif_width'?" in said) == (1, True)


def test_two_processes_make_one_run(files: Path, tmp_path: Path) -> None:
    """Two processes with 3 windows each make one run, validate all sites together, and say so once."""
    done = {}
    for name, more in (("one", {"batch-size": 6}), ("two", {"batch-size": 3, "devices": 2})):
        values = recipe(files, tmp_path / name, **{**more, "max-steps": 3})
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
        command = [sys.executable, "-m", "borzoi_rt", "promoter", "train", "--config", str(tmp_path / f"{name}.yaml")]
        done[name] = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done[name].returncode == 0, done[name].stderr
    one, two = (read_checkpoint(tmp_path / name / "last.ckpt")[0] for name in ("one", "two"))
    assert (one["world"], two["world"]) == (1, 2)
    assert two["step"] == 3
    assert done["two"].stderr.count("sites trained on") == 1
    valid = [np.loadtxt(tmp_path / name / "valid.csv", delimiter=",", skiprows=1, usecols=2) for name in ("one", "two")]
    np.testing.assert_allclose(valid[1], valid[0], rtol=0.2)
