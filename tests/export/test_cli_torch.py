"""``borzoi-rt export torch``, with a narrow network at the only window the format has, 524,288 bp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toys
from command_line import Cli, check_error, options
from weight_files import torch_state

from borzoi_rt.bundle.opening import open_bundle

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.config import BorzoiConfig  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # 8 filters and one block keep a window of 4,096 tokens to a second
    torch.manual_seed(43)
    small = toys.config(
        stem_filters=4, tower_widths=(4, 4, 4, 8, 8, 8), key_size=4, depth=1, tail_filters=8, widths_of=4096
    )
    state = {name: tensor.numpy() for name, tensor in toys.model(small).state_dict().items()}
    tensors = {name: torch.from_numpy(values.copy()) for name, values in torch_state(state, mouse=2).items()}
    folder = tmp_path / "replicate-0"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"bins_to_return": 128}))
    toys.tracks().write(tmp_path / "human.txt")
    toys.tracks().take([0, 1]).write(tmp_path / "mouse.txt")
    return folder


def test_directory(cli: Cli, folder: Path, tmp_path: Path) -> None:
    values = options(weights=folder, targets=tmp_path / "human.txt", squash="old", out=tmp_path / "b")
    code, out, err = cli("export", "torch", *values)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"{tmp_path / 'b'}: 6 tracks; "), "the table of the gate comes first"
    info = open_bundle(tmp_path / "b").info
    assert (info.head, info.geometry.sequence_length_bp, info.geometry.bins) == ("head_human", 524_288, 128)
    assert (info.provenance["source"], info.provenance["weights"]) == ("borzoi-pytorch", "model.safetensors")
    assert BorzoiConfig.from_dict({k: v for k, v in info.architecture.items() if k != "family"}).widths_of == 4096


def test_mouse_head_and_config_elsewhere(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").rename(tmp_path / "other.json")
    values = {"weights": folder / "model.safetensors", "config": tmp_path / "other.json", "head": "mouse"}
    shared = {"squash": "old", "out": tmp_path / "b", "targets": tmp_path / "mouse.txt"}
    assert cli("export", "torch", *options(**values, **shared))[0] == 0
    bundle = open_bundle(tmp_path / "b")
    assert (len(bundle.tracks), bundle.info.head, bundle.geometry.bins) == (2, "head_mouse", 128)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"targets": "mouse.txt"}, "mouse.txt: 2 rows, but the model has 6 outputs"),
        ({"head": "yeast"}, "no head 'yeast'; the checkpoint has human, mouse"),
        ({"config": "absent.json"}, "absent.json: cannot be read as JSON"),
        ({"weights": "absent.safetensors"}, "absent.safetensors: no such file, and not a repository id"),
        ({"revision": "v1"}, "revision 'v1' was given, but this is a local path"),
    ],
)
def test_errors(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, folder: Path, changes: dict[str, str], expected: str
) -> None:
    monkeypatch.chdir(folder.parent)
    values = {"weights": folder.name, "targets": "human.txt", "squash": "old", "out": "b", **changes}
    check_error(cli("export", "torch", *options(**values)), expected)
    assert not Path("b").exists()


def test_offline(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    values = options(weights="owner/name", targets="human.txt", squash="old", out=tmp_path / "b")
    check_error(
        cli("export", "torch", *values),
        "owner/name: not a local file, and the Hugging Face repository cannot be read",
    )
