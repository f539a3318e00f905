"""``--config``: every option can stand in it, the command line wins, and a run's own file repeats the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from borzoi_export.cli_train import train
from command_line import Cli, check_error, options

from borzoi_rt.dataset import Data

from .runs import losses, rows, toy_params


@pytest.fixture
def recipe(make_data: Callable[..., Data], tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "params.json").write_text(json.dumps(toy_params()))
    paths = {"params": str(tmp_path / "params.json"), "data": [str(make_data(windows=8, valid=2).path)]}
    return {**paths, "out": str(tmp_path / "run"), "accelerator": "cpu", "threads": 1, "max-steps": 3}


def write(path: Path, values: dict[str, Any] | str) -> Path:
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def test_one_file_repeats_a_run(cli: Cli, recipe: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = {"learning_rate": 3e-4, "precision": 32, "rc": False, "penalty": ["l2_sum:head:1e-3"], "seed": 4}
    file = write(tmp_path / "mine.yaml", {**recipe, **chosen, "params": "params.json"})
    code, out, err = cli("train", "--config", file, "--max-steps", 4)
    assert (code, out) == (0, ""), err
    saved = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert saved["max-steps"] == 4  # the command line wins
    assert (saved["learning-rate"], saved["rc"], saved["penalty"]) == (3e-4, False, ["l2_sum:head:1e-3"])
    assert saved["batch-size"] == 2  # of the params
    assert saved["params"] == str(tmp_path / "params.json")
    logged = rows(tmp_path / "run" / "train.csv")
    assert float(logged[-1]["learning_rate"]) == pytest.approx(3e-4)
    assert float(logged[-1]["penalty"]) > 0
    monkeypatch.chdir("/")
    code, _, err = cli("train", "--config", tmp_path / "run" / "run.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    assert losses(tmp_path / "again") == losses(tmp_path / "run")
    again = yaml.safe_load((tmp_path / "again" / "run.yaml").read_text())
    assert {**again, "out": saved["out"]} == saved
    code, _, err = cli("train", "--config", tmp_path / "run" / "run.yaml", "--max-steps", 6, "--resume")
    assert code == 0, err
    assert len(losses(tmp_path / "run")) == 6


def test_every_option_can_stand_in_a_file(cli: Cli, recipe: dict[str, Any], tmp_path: Path) -> None:
    """A file with each option of the command, by its own name, is read: what is refused is the absent data."""
    values: dict[str, Any] = {}
    for parameter in train.params:
        name = max(parameter.opts, key=len).removeprefix("--")
        if name in ("config", "help", "verbose"):
            continue
        choices = getattr(parameter.type, "choices", None)
        values[name] = (
            True if getattr(parameter, "is_flag", False)
            else choices[0] if choices
            else [] if parameter.multiple
            else 0.5 if "float" in parameter.type.name
            else 1 if "integer" in parameter.type.name
            else "word"
        )  # fmt: skip
    values |= {"params": recipe["params"], "data": [str(tmp_path / "absent")], "freeze": "statistics"}
    del values["init-params"], values["lora-rank"]
    file = tmp_path / "all.json"
    file.write_text(json.dumps({**values, "resume": False}))
    check_error(cli("train", "--config", file), "absent: no such data directory")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 2", "unknown key 'batchsize'; did you mean 'batch-size'?"),
        ("warmup: 2", "unknown key 'warmup'; did you mean 'warmup-steps'?"),
        ("qqq: 2", "unknown key 'qqq'; known: accelerator, accumulate, "),
        ("config: other.yaml", "unknown key 'config'"),
        ("seed: 1\nseed: 2", "key 'seed' is given twice"),
        ("batch-size: 1\nbatch_size: 2", "given twice, under two spellings"),
        ("seed: [1, 2]", "seed is [1, 2]; one word or number is needed"),
        ("seed: true", "seed is True; one word or number is needed"),
        ("keep-head: 1", "keep-head is 1; true or false is needed"),
        ("- seed", "holds list; `option: value` lines are needed"),
        ("a: b: c", "cannot be read"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_what_a_file_may_not_say(cli: Cli, tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "bad.yaml", text)
    result = cli("train", "--config", file, "--params", "p", "--data", "d", "--out", tmp_path / "run")
    check_error(result, message)
    assert "bad.yaml: " in result[2]
    check_error(cli("train", *options(config=tmp_path / "absent.yaml")), "absent.yaml: cannot be read")


def test_values_are_checked_as_on_the_command_line(cli: Cli, recipe: dict[str, Any], tmp_path: Path) -> None:
    for key, value in (("precision", "8"), ("batch-size", 0), ("learning-rate", "fast")):
        code, _, err = cli("train", "--config", write(tmp_path / "bad.yaml", {**recipe, key: value}))
        assert code == 2
        assert f"'--{key}'" in err
        assert err.count("\n") == 1
