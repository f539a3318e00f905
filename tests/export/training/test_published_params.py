"""Fine-tuning with the published params file, cut to a small size: train, stop, go on, export, evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from borzoi_export.weights.checkpoint import network_state, read_checkpoint
from command_line import Cli, check_error, options

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.dataset import Data

from .runs import losses, rows


def small(shared: Path) -> dict[str, Any]:
    """Return the published params with smaller numbers; every key of theirs is still there."""
    params = json.loads((shared / "data" / "tables" / "borzoi_params.json").read_text())
    model = params["model"]
    model["seq_length"] = 2048
    stem, tower, attention, *_, crop, tail = model["trunk"]
    stem["filters"] = 16
    tower.update(filters_init=16, filters_end=32, divisible_by=8)
    attention.update(key_size=8, heads=2, num_position_features=8, repeat=2)
    crop["cropping"], tail["filters"] = 16, 24
    model["head_human"]["units"], model["head_mouse"]["units"] = 6, 3
    params["train"]["warmup_steps"] = 2
    return params


@pytest.mark.parametrize("how", [{"freeze": "trunk"}, {"lora_rank": 8}, {"freeze": "statistics"}, {}])
def test_train_stop_resume_export_evaluate(
    cli: Cli, shared: Path, make_data: Callable[..., Data], tmp_path: Path, how: dict[str, Any]
) -> None:
    params = tmp_path / "params.json"
    params.write_text(json.dumps(small(shared)))
    data = make_data(windows=8, valid=3)
    common = {"params": params, "data": data.path, "accelerator": "cpu", "threads": 1}
    assert cli("train", *options(**common, out=tmp_path / "begun", max_steps=3))[0] == 0
    tuned = {**common, **how, "init": tmp_path / "begun" / "last.ckpt", "save_every": 1}
    code, _, err = cli("train", *options(**tuned, out=tmp_path / "run", max_steps=2))
    assert code == 0, err
    code, _, err = cli("train", *options(**tuned, out=tmp_path / "run", max_steps=5), "--resume")
    assert code == 0, err
    assert cli("train", *options(**tuned, out=tmp_path / "whole", max_steps=5))[0] == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "run")) == 5
    assert float(rows(tmp_path / "run" / "train.csv")[-1]["penalty"]) > 0

    words = options(checkpoint=tmp_path / "run" / "last.ckpt", targets=data.path / "targets.txt", out=tmp_path / "b")
    code, _, err = cli("export", "checkpoint", *words)
    assert code == 0, err
    table = tmp_path / "metrics.tsv"
    code, _, err = cli("evaluate", *options(bundle=tmp_path / "b", data=data.path, split="valid", out=table))
    assert code == 0, err
    assert len(table.read_text().splitlines()) == 1 + 6


def test_both_published_heads(cli: Cli, shared: Path, make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Two frozen-trunk heads in turn; the best checkpoint of each exports as that head."""
    params = tmp_path / "params.json"
    params.write_text(json.dumps(small(shared)))
    human = make_data(windows=8, valid=2)
    assert human.tracks is not None
    table = replace(human.tracks.take([0, 1, 4]), index=np.arange(3), strand_pair=np.array([1, 0, 2]))
    mouse = make_data(windows=8, valid=2, seed=7, tracks=table)
    common = {"params": params, "accelerator": "cpu", "threads": 1, "max_steps": 8}
    sets = ["--data", str(human.path), "--data", str(mouse.path)]
    assert cli("train", *options(**common, out=tmp_path / "begun"), *sets)[0] == 0
    frozen = {**common, "init": tmp_path / "begun" / "last.ckpt", "freeze": "trunk"}
    code, _, err = cli("train", *options(**frozen, out=tmp_path / "run"), *sets)
    assert code == 0, err
    best = tmp_path / "run" / "best-head_mouse.ckpt"
    renamed = best.rename(tmp_path / "kept.ckpt")
    assert read_checkpoint(renamed)[0]["best_of"] == "head_mouse"
    words = options(checkpoint=renamed, targets=mouse.path / "targets.txt", out=tmp_path / "bundle")
    code, _, err = cli("export", "checkpoint", *words)
    assert (code, err) == (0, "kept.ckpt: step 8, head_mouse\n")
    assert open_bundle(tmp_path / "bundle").info.head == "head_mouse"
    want = network_state(*read_checkpoint(tmp_path / "run" / "last.ckpt"), head="mouse")[1]  # the same step
    got = network_state(*read_checkpoint(renamed))[1]
    assert all(torch.equal(got[key], want[key]) for key in want)
    words = options(checkpoint=renamed, targets=human.path / "targets.txt", out=tmp_path / "other", head="human")
    check_error(cli("export", "checkpoint", *words), "the checkpoint is the best of head_mouse, not of head_human")
    words = options(checkpoint=renamed, targets=mouse.path / "targets.txt", out=tmp_path / "same", head=1)
    assert cli("export", "checkpoint", *words)[0] == 0

    # Such a checkpoint to begin with: its own head is kept, and no other.
    begun = {**common, "max_steps": 1, "init": renamed, "head": "mouse", "data": mouse.path, "learning_rate": 1e-12}
    code, _, err = cli("train", *options(**begun, out=tmp_path / "next"), "--keep-head")
    assert code == 0, err
    kept = network_state(*read_checkpoint(tmp_path / "next" / "last.ckpt"))[1]
    torch.testing.assert_close(kept["head.weight"], want["head.weight"], rtol=0, atol=1e-9)
    check_error(cli("train", *options(**begun, out=tmp_path / "no", init_head=0)), "is the best of head_mouse")
    assert not (tmp_path / "no").exists()


def test_an_older_best_checkpoint_says_its_head_by_its_name(tmp_path: Path) -> None:
    meta = {"model": {}, "heads": [{"name": "head_human"}, {"name": "head_mouse"}]}
    for name, want in (("best-head_mouse.ckpt", "head_mouse"), ("last.ckpt", None)):
        torch.save({"borzoi_rt": json.dumps(meta), "state_dict": {}}, tmp_path / name)
        assert read_checkpoint(tmp_path / name)[0]["best_of"] == want
