"""State dicts out of training programs: prefixes, wrappers and gradients change nothing, and doubts are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toys
from weight_files import torch_state

from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.weights.borzoi_pytorch import convert_state_dict, read_state_dict  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

State = dict[str, Any]


@pytest.fixture(scope="module")
def theirs() -> State:
    torch.manual_seed(13)
    ours = {name: tensor.numpy() for name, tensor in toys.model(toys.config(tail_filters=24)).state_dict().items()}
    return {name: torch.from_numpy(values.copy()) for name, values in torch_state(ours, mouse=3).items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def check(path: Path, want: State) -> None:
    config, found = convert_state_dict(read_state_dict(path), None, head="human", source=str(path))
    _, expected = convert_state_dict(want, None, head="human", source="plain")
    assert config.tracks == 6
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not any(tensor.requires_grad for tensor in found.values())


PREFIXES = ["", "module.", "model.", "_orig_mod.", "module.model._orig_mod.", "_orig_mod.module.", "net.borzoi."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", ["bin", "ckpt", "safetensors"])
def test_prefixes(tmp_path: Path, theirs: State, prefix: str, suffix: str) -> None:
    save = save_file if suffix == "safetensors" else torch.save
    save(prefixed(theirs, prefix), tmp_path / f"m.{suffix}")
    check(tmp_path / f"m.{suffix}", theirs)


@pytest.mark.parametrize("step", ["_orig_mod", "module", "_checkpoint_wrapped_module"])
def test_wrapped_parts(tmp_path: Path, theirs: State, step: str) -> None:
    state = {name.replace("transformer.0.", f"transformer.0.{step}."): tensor for name, tensor in theirs.items()}
    torch.save(prefixed(state, "model."), tmp_path / "m.bin")
    check(tmp_path / "m.bin", theirs)


@pytest.mark.parametrize("keys", [("state_dict",), ("model_state_dict",), ("model",), ("checkpoint", "state_dict")])
def test_wrappers(tmp_path: Path, theirs: State, keys: tuple[str, ...]) -> None:
    content: Any = prefixed(theirs, "model.")
    for key in reversed(keys):
        optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-3}]}
        content = {key: content, "epoch": 3, "optimizer": optimizer, "scaler": {"scale": torch.ones(1)}}
    torch.save(content, tmp_path / "m.ckpt")
    check(tmp_path / "m.ckpt", theirs)


def test_averaged_model(tmp_path: Path, theirs: State) -> None:
    torch.save({"n_averaged": torch.tensor(5), **prefixed(theirs, "module.")}, tmp_path / "m.bin")
    check(tmp_path / "m.bin", theirs)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_parameters_with_gradients(tmp_path: Path, theirs: State, prefix: str) -> None:
    trained = {n: torch.nn.Parameter(t) if t.is_floating_point() else t for n, t in prefixed(theirs, prefix).items()}
    torch.save(trained, tmp_path / "m.bin")
    check(tmp_path / "m.bin", theirs)
    _, found = convert_state_dict(trained, None, head="human", source="m")  # not from a file
    assert not any(tensor.requires_grad for tensor in found.values())


def message_of(path: Path, content: State) -> str:
    torch.save(content, path)
    with pytest.raises(FormatError) as caught:
        convert_state_dict(read_state_dict(path), None, head="human", source=str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_doubts(tmp_path: Path, theirs: State) -> None:
    path = tmp_path / "m.bin"
    two = {**prefixed(theirs, "model."), **prefixed(theirs, "ema.")}
    assert "holds 2 networks, with the prefixes 'ema.', 'model.'" in message_of(path, two)
    assert "holds 2 networks, with the prefixes '', 'model.'" in message_of(
        path, {**theirs, **prefixed(theirs, "model.")}
    )
    assert "two tensors are 'conv_dna.conv_layer" in message_of(path, {**theirs, **prefixed(theirs, "module.")})
    both = {"model": theirs, "ema": {"state_dict": theirs}}
    assert "holds 2 state dicts ('model', 'ema.state_dict')" in message_of(path, both)
    assert "1 tensors do not belong to the network, first 'loss.weight'" in message_of(
        path, {**prefixed(theirs, "model."), "loss.weight": torch.ones(2)}
    )


def test_something_else(tmp_path: Path, theirs: State) -> None:
    path = tmp_path / "m.bin"
    message = message_of(path, {"encoder.weight": torch.ones(2)})
    assert "not a network of borzoi-pytorch" in message
    assert "the first is 'encoder.weight'" in message
    assert "under a key such as 'state_dict'" in message_of(path, {"epoch": 3})
    lora = {"base_model.model.transformer.0.fn.to_q.lora_A.default.weight": torch.ones(2), **theirs}
    assert "merge adapters into the weights first" in message_of(path, lora)
    ours = {"borzoi_rt": "{}", "state_dict": {"model.network.head.weight": torch.ones(2)}}
    assert "`borzoi-rt export checkpoint` converts it" in message_of(path, ours)
    headless = {name: tensor for name, tensor in theirs.items() if "head" not in name}
    assert "no head 'human'; the checkpoint has neither human nor mouse" in message_of(path, headless)


def test_a_content_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"epoch": 3}
    content["again"] = content
    assert "under a key such as 'state_dict'" in message_of(tmp_path / "m.bin", content)
