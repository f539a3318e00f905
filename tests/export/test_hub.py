"""Where weights are looked for: a file, a directory, then the hub, and never anywhere else in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from borzoi_rt.errors import BackendError, FormatError, InputError

pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.weights.hub import locate
from huggingface_hub.errors import EntryNotFoundError

REPOSITORY = "johahi/borzoi-replicate-0"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the hub: ``files`` it has, ``calls`` it got, the ``error`` it raises for everything."""
    state: dict[str, Any] = {"files": set(), "calls": [], "error": None}

    def download(repository: str, name: str, *, revision: str | None) -> str:
        state["calls"].append((repository, name, revision))
        if state["error"] is not None:
            raise state["error"]
        if name not in state["files"]:
            raise EntryNotFoundError(f"404 Client Error: {name}")
        (tmp_path / name).touch()
        return str(tmp_path / name)

    monkeypatch.setattr("borzoi_export.weights.hub.hf_hub_download", download)
    return state


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_file(tmp_path: Path, hub: dict[str, Any]) -> None:
    weights = touch(tmp_path / "replicate.bin")
    assert locate(weights) == (weights, None)
    config = touch(tmp_path / "config.json")
    assert locate(str(weights)) == (weights, config)
    assert not hub["calls"]


def test_directory(tmp_path: Path, hub: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        locate(tmp_path)
    pickled = touch(tmp_path / "pytorch_model.bin")
    assert locate(tmp_path) == (pickled, None)
    tensors, config = touch(tmp_path / "model.safetensors"), touch(tmp_path / "config.json")
    assert locate(tmp_path) == (tensors, config)  # a pickle only where there is nothing better
    assert not hub["calls"]


def test_what_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / REPOSITORY / "model.safetensors")
    assert locate(REPOSITORY)[0] == Path(REPOSITORY) / "model.safetensors"
    with pytest.raises(InputError, match="revision 'v1' was given, but this is a local path"):
        locate(REPOSITORY, revision="v1")
    assert not hub["calls"]


@pytest.mark.parametrize(
    "where",
    [
        "model.safetensors",
        "weights/model.safetensors",
        "weights/old.bin",
        "/no/such/folder",
        "a/b/c",
        "x/..",
        "a b/c",
        "owner/",
    ],
)
def test_neither_path_nor_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: dict[str, Any], where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="no such file, and not a repository id like owner/name"):
        locate(where)
    assert not hub["calls"]


@pytest.mark.parametrize(
    ("files", "weights", "config"),
    [
        ({"model.safetensors", "pytorch_model.bin", "config.json"}, "model.safetensors", True),
        ({"pytorch_model.bin", "config.json"}, "pytorch_model.bin", True),
        ({"model.safetensors"}, "model.safetensors", False),
    ],
)
def test_repository(tmp_path: Path, hub: dict[str, Any], files: set[str], weights: str, config: bool) -> None:
    hub["files"] = files
    assert locate(REPOSITORY, revision="v1") == (tmp_path / weights, tmp_path / "config.json" if config else None)
    assert {(repository, revision) for repository, _, revision in hub["calls"]} == {(REPOSITORY, "v1")}


def test_repository_without_weights(hub: dict[str, Any]) -> None:
    hub["files"] = {"config.json"}
    with pytest.raises(FormatError, match="the repository holds neither"):
        locate(REPOSITORY)


def check_unreachable(call: Callable[[], object]) -> None:
    with pytest.raises(BackendError, match="name their directory instead") as caught:
        call()
    assert str(caught.value).startswith(
        f"{REPOSITORY}: not a local file, and the Hugging Face repository cannot be read"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("404 Client Error.\n\nRepository Not Found"),
        TimeoutError(),
        ValueError("bad id"),
        Exception("h2"),
    ],
)
def test_no_network(hub: dict[str, Any], error: Exception) -> None:
    hub["error"] = error
    check_unreachable(lambda: locate(REPOSITORY))


def test_offline_by_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, told not to connect, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    check_unreachable(lambda: locate(REPOSITORY))
