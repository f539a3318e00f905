"""``borzoi-rt export``: from files of weights to a bundle, or one line of what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from command_line import Cli, check_error, options
from weight_files import keras_layers, write_keras

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import open_bundle

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")


def state_of(**changes: Any) -> dict[str, np.ndarray]:
    torch.manual_seed(41)
    return {name: tensor.numpy() for name, tensor in toys.model(toys.config(**changes)).state_dict().items()}


@pytest.fixture
def calico(tmp_path: Path) -> dict[str, Path]:
    """Arguments of ``export calico`` for files of the toy model."""
    files = {
        "weights": tmp_path / "model0_best.h5",
        "params": tmp_path / "params.json",
        "targets": tmp_path / "targets.txt",
    }
    write_keras(files["weights"], keras_layers(state_of()))
    files["params"].write_text(json.dumps({"train": {}, "model": toys.PARAMS}))
    toys.tracks().write(files["targets"])
    return {**files, "out": tmp_path / "bundle"}


def test_calico(cli: Cli, calico: dict[str, Path]) -> None:
    code, out, err = cli("export", "calico", *options(**calico, squash="new"))
    assert (code, err) == (0, "")
    bundle = open_bundle(calico["out"])
    heading, *table, last = out.splitlines()
    assert heading.split() == ["output", "result", "rms", "allowed", "largest", "allowed"]
    assert last == f"{calico['out']}: 6 tracks; cook-toom convolutions, fp32"
    for line, (name, row) in zip(table, bundle.info.parity["checks"].items(), strict=True):
        *words, result, rms, allowed_rms, peak, allowed_peak = line.split()
        assert (" ".join(words), result) == (name, "pass")
        for text, key in zip(
            (rms, allowed_rms, peak, allowed_peak), ("rms", "allowed_rms", "peak", "allowed_peak"), strict=True
        ):
            assert float(text) == pytest.approx(row[key], rel=0.01)  # three digits
    assert bundle.info.name == "model0_best"
    assert bundle.info.squash == SquashSpec(kind="new", unscale=False, unclip=True)
    provenance = dict(bundle.info.provenance)
    assert provenance.pop("torch") == torch.__version__
    digest = hashlib.sha256(calico["weights"].read_bytes()).hexdigest()
    assert provenance == {"source": "calico", "weights": "model0_best.h5", "weights_sha256": digest}
    assert bundle.tracks.identifier == toys.tracks().identifier
    sequence = bundle.golden()["sequence"]
    torch.manual_seed(41)
    with torch.inference_mode():
        want = toys.model()(torch.from_numpy(sequence)).numpy()
    session = open_session(bundle, "onnx:cpu", threads=1)
    try:
        np.testing.assert_allclose(session.run(sequence), want, rtol=1e-5, atol=1e-6)
    finally:
        session.close()


def test_calico_for_gpus(cli: Cli, calico: dict[str, Path]) -> None:
    code, out, err = cli("export", "calico", *options(**calico, squash="new", target="gpu"))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{calico['out']}: 6 tracks; conv convolutions, fp32, for GPUs"
    assert open_bundle(calico["out"]).info.target == "gpu"
    code, out, err = cli("bundle", "show", str(calico["out"]))
    assert code == 0
    assert re.search(r"^written for +GPU; runs on a CPU too, more slowly$", out, re.MULTILINE)


def test_a_convolution_of_the_other_target(cli: Cli, calico: dict[str, Path]) -> None:
    check_error(
        cli("export", "calico", *options(**calico, squash="new", target="gpu", convolution="direct")),
        "direct convolutions are for the target cpu, not gpu; leave convolution out",
    )
    assert not calico["out"].exists()


def test_options_arrive(cli: Cli, calico: dict[str, Path]) -> None:
    values = options(**calico, squash="old", head="toy", crop=3, n_policy="uniform", name="my model")
    assert cli("export", "calico", *values, "--unscale", "--no-unclip")[0] == 0
    info = open_bundle(calico["out"]).info
    assert info.squash == SquashSpec(kind="old", unscale=True, unclip=False)
    assert (info.name, info.head, info.n_policy, info.geometry.bins) == ("my model", "head_toy", "uniform", 64 - 2 * 3)


def test_overwrite(cli: Cli, calico: dict[str, Path]) -> None:
    arguments = ["export", "calico", *options(**calico, squash="new")]
    assert cli(*arguments)[0] == 0
    before = open_bundle(calico["out"]).sha256
    check_error(cli(*arguments), f"{calico['out']}: exists; choose another name, or pass overwrite")
    assert open_bundle(calico["out"]).sha256 == before
    assert cli("export", "calico", *options(**calico, squash="old"), "--overwrite")[0] == 0
    assert open_bundle(calico["out"]).info.squash.kind == "old"


@pytest.mark.parametrize("name", ["weights", "params", "targets"])
def test_files_that_are_missing(cli: Cli, calico: dict[str, Path], name: str) -> None:
    calico[name].unlink()
    check_error(cli("export", "calico", *options(**calico, squash="new")), str(calico[name]))
    assert not calico["out"].exists()


def shorten(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def swap_rows(path: Path) -> None:
    header, first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, second, first, *rest]) + "\n")


def other_params(path: Path) -> None:
    path.write_text(json.dumps(toys.params(head_toy={"name": "final", "units": 5})))


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("targets", shorten, "targets.txt: 5 rows, but the model has 6 outputs"),
        ("targets", swap_rows, "row 0 of the track table is output 1 by its index"),
        ("params", shorten, "params.json: cannot be read as JSON"),
        ("params", other_params, "targets.txt: 6 rows, but the model has 5 outputs"),
        (
            "params",
            lambda path: path.write_text(json.dumps(toys.params(activation="relu"))),
            "params.json: activation is 'relu'",
        ),
        (
            "params",
            lambda path: path.write_text(json.dumps(toys.params(seq_length=4000))),
            "params.json: seq_length 4000 is not",
        ),
        (
            "weights",
            lambda path: path.write_bytes(path.read_bytes()[:9000]),
            "model0_best.h5: not a complete Keras HDF5",
        ),
        ("weights", lambda path: write_keras(path, keras_layers(state_of(depth=1))), "model0_best.h5: "),
    ],
)
def test_files_that_do_not_belong_together(
    cli: Cli, calico: dict[str, Path], name: str, change: Callable[[Path], Any], expected: str
) -> None:
    change(calico[name])
    before = sorted(path.name for path in calico["out"].parent.iterdir())
    check_error(cli("export", "calico", *options(**calico, squash="new")), expected)
    assert sorted(path.name for path in calico["out"].parent.iterdir()) == before


def test_unknown_head(cli: Cli, calico: dict[str, Path]) -> None:
    result = cli("export", "calico", *options(**calico, squash="new", head=1))
    check_error(result, "params.json: head '1' is not in the params; they have head_toy")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"squash": None}, "Missing option '--squash'"),
        ({"squash": "log"}, "'log' is not one of"),
        ({"crop": -1}, "Invalid value for '--crop'"),
        ({"n_policy": "half"}, "Invalid value for '--n-policy'"),
        ({"out": None}, "Missing option '--out'"),
        ({"colour": "red"}, "No such option"),
    ],
)
def test_usage(cli: Cli, calico: dict[str, Path], changes: dict[str, object], expected: str) -> None:
    code, out, err = cli("export", "calico", *options(**{**calico, "squash": "new", **changes}))
    assert (code, out) == (2, "")
    assert expected in err
    assert not calico["out"].exists()


def test_verbose_shows_the_traceback(cli: Cli, calico: dict[str, Path]) -> None:
    calico["params"].unlink()
    code, _, err = cli("-v", "export", "calico", *options(**calico, squash="new"))
    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")


def test_help_says_what_has_no_default(cli: Cli) -> None:
    for command in ("calico", "torch"):
        code, out, _ = cli("export", command, "--help")
        assert code == 0
        assert re.search(r"--squash \[old\|new\|bp_old\|bp_new\|none\].*\[required\]", out, re.DOTALL)


def test_without_torch_the_extra_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None; sys.argv[1:] = ['export']; from borzoi_rt.cli import run; run()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: `export` needs torch; pip install 'borzoi-rt[export]'\n"
