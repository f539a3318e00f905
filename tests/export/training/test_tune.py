"""Fine-tuning from every kind of weights, adapters, and the way to a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from borzoi_export.convert import convert_checkpoint
from borzoi_export.models.borzoi import Borzoi
from borzoi_export.training.adapters import LoraOptions, add_lora, initial_state
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.run import TuneOptions, train
from borzoi_export.weights.checkpoint import merged, network_state, read_checkpoint
from borzoi_export.weights.keras_h5 import read_keras_h5
from safetensors.torch import save_file
from weight_files import torch_state

from borzoi_rt.backends.opening import open_session
from borzoi_rt.dataset import Data
from borzoi_rt.dataset.window import onehot_of
from borzoi_rt.errors import BorzoiError, FormatError, InputError
from borzoi_rt.tracks import TrackTable

from .runs import CPU, losses, run, toy_params

LORA = LoraOptions(rank=2, alpha=4.0, targets=("query", "value", "conv"))


@pytest.fixture
def begun(make_data: Callable[..., Data], tmp_path: Path) -> tuple[Path, Data]:
    """A checkpoint of a few steps, and data with another head for it."""
    data = make_data(windows=8)
    return run(toy_params(warmup_steps=0), [data], tmp_path / "begun", max_steps=3), data


def three_tracks(data: Data, make_data: Callable[..., Data]) -> tuple[Data, dict[str, Any]]:
    assert data.tracks is not None
    params = toy_params(warmup_steps=0)
    params["model"]["head_toy"]["units"] = 3
    table = replace(data.tracks.take([0, 1, 4]), index=np.arange(3), strand_pair=np.array([1, 0, 2]))
    return make_data(windows=8, tracks=table), params


def state_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return network_state(*read_checkpoint(checkpoint))[1]


def test_a_new_head_on_a_frozen_trunk(begun: tuple[Path, Data], make_data: Callable[..., Data], tmp_path: Path) -> None:
    checkpoint, data = begun
    narrow, params = three_tracks(data, make_data)
    tune = TuneOptions(init=str(checkpoint), freeze="trunk")
    tuned = state_of(run(params, [narrow], tmp_path / "tuned", tune=tune))
    before = state_of(checkpoint)
    assert tuned["head.weight"].shape == (3, 32)
    trunk = [key for key in before if not key.startswith("head")]
    assert any("running_var" in key for key in trunk)
    assert all(torch.equal(before[key], tuned[key]) for key in trunk)


def test_kept_head_and_statistics(begun: tuple[Path, Data], tmp_path: Path) -> None:
    checkpoint, data = begun
    tune = TuneOptions(init=str(checkpoint), keep_head=True, freeze="statistics")
    params = toy_params(learning_rate=1e-12, warmup_steps=0)
    tuned, before = state_of(run(params, [data], tmp_path / "tuned", max_steps=1, tune=tune)), state_of(checkpoint)
    assert all(torch.allclose(before[key].float(), tuned[key].float(), rtol=0, atol=1e-8) for key in before)


def test_lora_learns_and_its_merged_form_is_exported(begun: tuple[Path, Data], tmp_path: Path) -> None:
    """The bundle, made by onnxruntime's graph of merged weights, predicts what the network with adapters predicts."""
    checkpoint, data = begun
    tune = TuneOptions(init=str(checkpoint), keep_head=True, lora=LORA)
    last = run(toy_params(learning_rate=0.05, warmup_steps=0), [data], tmp_path / "tuned", tune=tune)
    meta, tensors = read_checkpoint(last)
    before, merged = state_of(checkpoint), state_of(last)
    assert merged.keys() == before.keys()
    changed = {key for key in before if not torch.equal(before[key], merged[key])}
    assert {key for key in changed if "attention" in key} == {
        f"transformer.{block}.attention.{part}.weight" for block in (0, 1) for part in ("query", "value")
    }
    assert {key for key in changed if "tower" in key} == {f"tower.{block}.conv.weight" for block in range(6)}
    assert changed - {key for key in changed if "attention" in key or "tower" in key} == {"head.weight", "head.bias"}

    config, _ = network_state(meta, tensors)
    adapted = MultiHead([config])
    add_lora(adapted.network, LORA)
    own = {key.removeprefix("model."): tensor for key, tensor in tensors.items()}
    adapted.load_state_dict(own)
    bundle = convert_checkpoint(last, data.path / "targets.txt", tmp_path / "bundle")
    assert bundle.info.squash.kind == "new"
    assert bundle.info.provenance["step"] == 6
    x = onehot_of(next(data.split("train").in_order()).codes)[None]
    with torch.inference_mode():
        want = adapted.eval()(torch.from_numpy(x)).numpy()
    session = open_session(bundle)
    np.testing.assert_allclose(session.run(x), want, rtol=1e-4, atol=2e-5)  # the tolerance of the parity gate
    session.close()


def test_merging_is_exact_and_complete() -> None:
    from borzoi_export.models.config import BorzoiConfig

    torch.manual_seed(4)
    config = BorzoiConfig.from_params(toy_params())
    network = Borzoi(config).eval()
    add_lora(network, LORA)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.05)
    x = torch.nn.functional.one_hot(torch.randint(0, 4, (1, 2048)), 4).transpose(1, 2)
    with torch.inference_mode():
        want = network(x)
        plain = Borzoi(config).eval()
        plain.load_state_dict(merged(network.state_dict(), LORA.alpha / LORA.rank))  # every key, and no other
        torch.testing.assert_close(plain(x), want, rtol=1e-4, atol=1e-5)


def test_from_calico_weights(shared: Path) -> None:
    import json

    source = shared / "data" / "tiny_model"
    params = json.loads((source / "params.json").read_text())
    from borzoi_export.models.config import BorzoiConfig

    state = initial_state(source / "model.h5", params)
    want = read_keras_h5(source / "model.h5", BorzoiConfig.from_params(params))
    assert all(torch.equal(state[key], want[key]) for key in want)


def test_weights_of_another_network(begun: tuple[Path, Data], tmp_path: Path) -> None:
    checkpoint, data = begun
    params = toy_params()
    params["model"]["trunk"][0]["filters"] = 24
    with pytest.raises(FormatError, match=r"stem.weight is \(16, 4, 11\), the params give \(24, 4, 11\)"):
        run(params, [data], tmp_path / "tuned", tune=TuneOptions(init=str(checkpoint)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "trunk"}, "need weights to begin with"),
        ({"lora": LORA}, "need weights to begin with"),
        ({"init": "x.ckpt", "freeze": "half"}, "freeze 'half' is unknown"),
        ({"init": "x.ckpt", "freeze": "trunk", "lora": LORA}, "leave out either"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TuneOptions(**options)


def test_unknown_layers(begun: tuple[Path, Data], tmp_path: Path) -> None:
    tune = TuneOptions(init=str(begun[0]), lora=LoraOptions(targets=("to_q",)))
    with pytest.raises(InputError, match=r"no layer is called 'to_q'; layers: .*query"):
        run(toy_params(), [begun[1]], tmp_path / "tuned", tune=tune)


def test_export_of_the_second_head(make_data: Callable[..., Data], tmp_path: Path) -> None:
    params = toy_params()
    params["model"]["head_zoo"] = {"name": "final", "units": 6, "activation": "softplus"}
    sets = [make_data(windows=4), make_data(windows=4, seed=9, squash="old")]
    last = run(params, sets, tmp_path / "run", max_steps=2)
    first, second = (
        convert_checkpoint(last, sets[0].path / "targets.txt", tmp_path / name, head=name) for name in ("toy", "zoo")
    )
    assert (first.info.head, first.info.squash.kind) == ("head_toy", "new")
    assert (second.info.head, second.info.squash.kind) == ("head_zoo", "old")
    with pytest.raises(FormatError, match="head 'fly' is not in the checkpoint; it has head_toy, head_zoo"):
        convert_checkpoint(last, sets[0].path / "targets.txt", tmp_path / "fly", head="fly")


def test_export_needs_a_squash_kind(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=4)
    text = (data.path / "statistics.json").read_text()
    (data.path / "statistics.json").write_text(text.replace('"squash": "new"', '"squash": null'))
    last = run(toy_params(), [data], tmp_path / "run", max_steps=1)
    with pytest.raises(InputError, match="do not say how they were squashed; pass squash"):
        convert_checkpoint(last, data.path / "targets.txt", tmp_path / "bundle")
    bundle = convert_checkpoint(last, data.path / "targets.txt", tmp_path / "bundle", squash="old", unscale=True)
    assert (bundle.info.squash.kind, bundle.info.squash.unscale) == ("old", True)


def test_export_refuses_other_kinds_and_tables(begun: tuple[Path, Data], tmp_path: Path) -> None:
    checkpoint, data = begun
    with pytest.raises(InputError, match="trained on targets squashed by 'new', not 'old'"):
        convert_checkpoint(checkpoint, data.path / "targets.txt", tmp_path / "bundle", squash="old")
    short = tmp_path / "short.txt"
    assert data.tracks is not None
    data.tracks.take([0, 1]).write(short)
    with pytest.raises(FormatError, match="2 rows, but the model has 6 outputs"):
        convert_checkpoint(checkpoint, short, tmp_path / "bundle")
    assert TrackTable.read(data.path / "targets.txt").identifier == data.tracks.identifier


class Harmful:
    """What a free pickle could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


@pytest.mark.parametrize("content", ["pickle", "text", "cut", "tensors"])
def test_files_that_are_no_checkpoints(
    begun: tuple[Path, Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.ckpt"
    if content == "pickle":
        torch.save({"borzoi_rt": "{}", "state_dict": Harmful()}, path)
    elif content == "text":
        path.write_text("not a checkpoint")
    elif content == "cut":
        path.write_bytes(begun[0].read_bytes()[:2000])
    else:
        torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(BorzoiError, match="checkpoint"):
        read_checkpoint(path)
    assert not Path("harmed").exists()


def test_two_processes_are_one_run_with_larger_batches(begun: tuple[Path, Data], tmp_path: Path) -> None:
    """DDP by gloo on the CPU, started by torchrun. Windows do not see each other under a frozen trunk, so the gradient
    of two processes with one window each is that of one process with two."""
    import json
    import subprocess
    import sys

    checkpoint, data = begun
    params = toy_params(dropout=0.0, warmup_steps=0)
    params["model"].update(augment_rc=False, augment_shift=0)
    tune = TuneOptions(init=str(checkpoint), keep_head=True, freeze="trunk")
    alone = run(params, [data], tmp_path / "alone", max_steps=5, batch_size=2, tune=tune)
    (tmp_path / "params.json").write_text(json.dumps(params))
    arguments = ["--params", tmp_path / "params.json", "--data", data.path, "--out", tmp_path / "both"]
    arguments += ["--max-steps", 5, "--batch-size", 1, "--init", checkpoint, "--keep-head", "--freeze", "trunk"]
    arguments += ["--accelerator", "cpu", "--threads", 1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "borzoi_rt", "train", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one, two = (np.array(losses(path), dtype=float) for path in (alone.parent, tmp_path / "both"))
    np.testing.assert_allclose(two, one, rtol=1e-5)
    for key, tensor in state_of(alone).items():
        torch.testing.assert_close(state_of(tmp_path / "both" / "last.ckpt")[key], tensor, rtol=1e-4, atol=1e-5)
    assert read_checkpoint(tmp_path / "both" / "last.ckpt")[0]["world"] == 2
    options = TrainOptions.from_params(params, max_steps=6, batch_size=1)
    with pytest.raises(InputError, match="world is another"):
        train(params, [data.path], tmp_path / "both", options=options, tune=tune, run=CPU, resume=True)


def test_two_nodes_are_one_run(begun: tuple[Path, Data], tmp_path: Path) -> None:
    """Two torchrun agents, as on two machines, with one process each: the same run as two processes on one."""
    import json
    import socket
    import subprocess
    import sys

    checkpoint, data = begun
    (tmp_path / "params.json").write_text(json.dumps(toy_params(warmup_steps=0)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--params", tmp_path / "params.json", "--data", data.path, "--max-steps", 4, "--batch-size", 1]
    words += ["--init", checkpoint, "--accelerator", "cpu", "--threads", 1, "--ema", 0.5, "--accumulate", 2]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    started = [
        subprocess.Popen(
            [
                *launch,
                "--node-rank",
                str(node),
                "-m",
                "borzoi_rt",
                "train",
                *map(str, words),
                "--out",
                tmp_path / "two",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert ["trained -> " in text for text in said] == [True, False]
    one = [sys.executable, "-m", "borzoi_rt", "train", *map(str, words), "--devices", "2", "--out", tmp_path / "one"]
    subprocess.run(one, check=True, capture_output=True, timeout=300)
    # Between agents gloo adds gradients in another order, which rounds otherwise, and Adam magnifies that where a
    # gradient is small: up to 1.3e-5 in a weight was seen. Another gradient moves weights by the learning rate, 2e-3.
    two, together = ([float(value) for value in losses(tmp_path / name)] for name in ("two", "one"))
    assert two == pytest.approx(together, rel=1e-6)
    first, second = (read_checkpoint(tmp_path / name / "last.ckpt") for name in ("two", "one"))
    assert first[0]["world"] == 2
    for key, tensor in second[1].items():
        torch.testing.assert_close(first[1][key], tensor, rtol=1e-5, atol=1e-4)


def test_from_borzoi_pytorch_weights(tmp_path: Path) -> None:
    """Their names for our numbers, in safetensors; the mouse head lies beside and is left."""
    torch.manual_seed(13)
    ours = toys.model(toys.config(tail_filters=24)).state_dict()
    theirs = torch_state({name: tensor.numpy() for name, tensor in ours.items()}, mouse=3)
    save_file(
        {name: torch.from_numpy(values.copy()) for name, values in theirs.items()}, tmp_path / "model.safetensors"
    )
    state = initial_state(tmp_path / "model.safetensors", {})
    assert {name for name in ours if not name.endswith("num_batches_tracked")} == set(state)
    assert all(torch.equal(state[name], ours[name]) for name in state)
    assert initial_state(tmp_path, {}, head="mouse")["head.weight"].shape[0] == 3
