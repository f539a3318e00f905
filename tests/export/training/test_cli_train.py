"""``borzoi-rt train`` and ``export checkpoint`` as typed: the contract's words, and one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli, check_error, options

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.dataset import Data

from .runs import losses, toy_params


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.json"
    path.write_text(json.dumps(toy_params()))
    return path


def words(params: Path, data: Path, out: Path, **more: object) -> list[str]:
    return ["train", *options(params=params, data=data, out=out, accelerator="cpu", threads=1, **more)]


def test_from_data_to_bundle_to_figures(cli: Cli, make_data: Callable[..., Data], params: Path, tmp_path: Path) -> None:
    data = make_data(windows=8, valid=2)
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    code, out, err = cli(*words(params, data.path, run, max_steps=4, precision="32", devices=1))
    assert (code, out) == (0, "")
    assert "best validation Pearson: head_toy" in err
    code, _, err = cli(*words(params, data.path, run, max_steps=6), "--resume")
    assert code == 0
    assert len(losses(run)) == 6
    targets = data.path / "targets.txt"
    code, out, err = cli("export", "checkpoint", *options(checkpoint=run / "last.ckpt", targets=targets, out=bundle))
    assert code == 0, err
    assert open_bundle(bundle).info.provenance["step"] == 6
    table = tmp_path / "metrics.tsv"
    code, out, err = cli("evaluate", *options(bundle=bundle, data=data.path, split="valid", out=table))
    assert (code, out) == (0, "")
    logged = (run / "valid.csv").read_text().splitlines()[-1].split(",")  # at step 4
    assert logged[0] == "4"
    assert "2 windows, 6 tracks" in err


def test_evaluate_agrees_with_validation(
    cli: Cli, make_data: Callable[..., Data], params: Path, tmp_path: Path
) -> None:
    """The trainer's validation and the runtime's evaluation of the same weights: float32 torch against onnxruntime."""
    data = make_data(windows=8, valid=3)
    assert cli(*words(params, data.path, tmp_path / "run", max_steps=4))[0] == 0
    where = options(checkpoint=tmp_path / "run" / "last.ckpt", targets=data.path / "targets.txt", out=tmp_path / "b")
    assert cli("export", "checkpoint", *where)[0] == 0
    _, _, err = cli("evaluate", *options(bundle=tmp_path / "b", data=data.path, split="valid", out=tmp_path / "m.tsv"))
    step, _, loss, pearson, r2 = (tmp_path / "run" / "valid.csv").read_text().splitlines()[-1].split(",")
    assert step == "4"
    said = [float(word.split()[1]) for word in err.split(": ", 1)[1].split(" -> ")[0].split(", ")]
    assert said == pytest.approx([float(loss), float(pearson), float(r2)], abs=2e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": "absent"}, "absent: no such data directory"),
        ({"params": "absent.json"}, "absent.json: cannot be read as JSON"),
        ({"penalty": "l2:head"}, "NAME:GROUP:WEIGHT is needed"),
        ({"freeze": "trunk"}, "need weights to begin with (init)"),
        ({"head": "fly"}, "head 'fly' is not in the params"),
        ({"init": "absent.ckpt"}, "absent.ckpt: no such checkpoint"),
    ],
)
def test_one_line_for_what_is_wrong(
    cli: Cli, make_data: Callable[..., Data], params: Path, tmp_path: Path, change: dict[str, str], expected: str
) -> None:
    given = {"params": params, "data": make_data(windows=4).path, "out": tmp_path / "run", **change}
    check_error(cli("train", *options(**given, accelerator="cpu", max_steps=1)), expected)
    assert not (tmp_path / "run").exists()


def test_nan_is_one_line_and_exit_1(cli: Cli, make_data: Callable[..., Data], params: Path, tmp_path: Path) -> None:
    data = make_data(windows=8, poison=3)
    result = cli(*words(params, data.path, tmp_path / "run", max_steps=20))
    check_error(result, "the loss of 1 tracks of head_toy is not finite ('rna")


@pytest.mark.parametrize("missing", ["lightning", "torch"])
def test_a_missing_extra_is_named(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from borzoi_rt.cli import run; run()"
    done = subprocess.run([sys.executable, "-c", code, "train", "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'borzoi-rt[train]'" in done.stderr
