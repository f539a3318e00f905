"""Files of tensors: nothing in them is executed, and nothing half-read is accepted."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest

from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.weights.borzoi_pytorch import read_config_json, read_state_dict  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


class Hostile:
    """What a hostile pickle does: run something when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write(path: Path) -> dict[str, Any]:
    state = {"head.weight": torch.arange(60.0).reshape(6, 10), "norm.num_batches_tracked": torch.tensor(3)}
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(state, path)
    return state


def refused(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["m.safetensors", "m.bin", "m.pt"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    state = write(tmp_path / name)
    found = read_state_dict(tmp_path / name)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    assert "no such weight file" in refused(tmp_path / f"absent-{name}")


def test_a_hostile_pickle_is_not_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save({"conv_dna.conv_layer.weight": Hostile(touched)}, tmp_path / "m.bin")
    assert "cannot be read as a state dict of tensors" in refused(tmp_path / "m.bin")
    assert not touched.exists()
    torch.load(tmp_path / "m.bin", weights_only=False)  # it would have worked
    assert touched.exists()


def test_objects_beside_the_tensors_are_named(tmp_path: Path) -> None:
    """As arguments of a training program: torch refuses them with advice to load the file without care."""
    torch.save({"state_dict": {"a": torch.zeros(2)}, "args": argparse.Namespace(rate=1)}, tmp_path / "m.bin")
    message = refused(tmp_path / "m.bin")
    assert "it holds argparse.Namespace, and objects are not loaded; save the tensors alone" in message


@pytest.mark.parametrize(
    "content",
    [
        {"step": 3},
        [torch.zeros(2)],
        {"state_dict": {"a": torch.zeros(2), "step": 3}},
        {"state_dict": {}},
        {"a": torch.zeros(2), "step": 3},
        torch.zeros(2),
        {1: torch.zeros(2)},
        {"a": torch.zeros(2).to_sparse()},
        {"a": torch.zeros(2, device="meta")},
    ],
)
def test_other_contents(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "m.bin")
    assert re.search("tensors by name are needed|is not a plain tensor", refused(tmp_path / "m.bin"))


@pytest.mark.parametrize("name", ["m.safetensors", "m.bin"])
@pytest.mark.parametrize("share", [0, 1, 7, 64, 300, -1])
def test_truncated(tmp_path: Path, name: str, share: int) -> None:
    path = tmp_path / name
    write(path)
    path.write_bytes(path.read_bytes()[:share])
    assert "cannot be read as a state dict of tensors" in refused(path)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"version https://git-lfs", b"\x80\x02K", b"PK\x03\x04"])
@pytest.mark.parametrize("name", ["m.safetensors", "m.bin"])
def test_something_else(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content * 20)
    refused(tmp_path / name)


def test_config_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"bins_to_return": 128}))
    assert read_config_json(path) == {"bins_to_return": 128}
    for content in ("{", "[]"):
        path.write_text(content)
        with pytest.raises(FormatError, match=r"config\.json: (cannot be read|holds list)"):
            read_config_json(path)
