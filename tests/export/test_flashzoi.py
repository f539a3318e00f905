"""Flashzoi: its weights are read, and network and graphs give the numbers of borzoi-pytorch.

``tests/data/make_flashzoi_golden.py`` made those; the archive says with which versions.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from command_line import Cli, options
from drawn_weights import digest, drawn_weights
from numpy.testing import assert_allclose
from oracles import borzoi as oracle
from published_keys import BORZOI, FLASHED, LISTING, PRIME, RELATIVE, published

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.graphs import split  # noqa: E402
from borzoi_export.graphs.exact import exact_coverage  # noqa: E402
from borzoi_export.graphs.unproven import write_unproven  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig  # noqa: E402
from borzoi_export.training.adapters import initial_state  # noqa: E402
from borzoi_export.weights import borzoi_pytorch  # noqa: E402
from borzoi_export.weights.borzoi_pytorch import convert_state_dict, read_state_dict  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

PATH = Path(__file__).parents[1] / "data" / "flashzoi_golden.npz"
State = dict[str, Any]


def convert(state: State, values: Any = None, head: int | str = "human") -> tuple[BorzoiConfig, State]:
    return convert_state_dict(state, values, head=head, source="m.safetensors")


@pytest.mark.parametrize("values", [None, {}, {"flashed": True, "heads": 8, "attn_dim_key": 64, "attn_dim_value": 192}])
def test_published_layout(values: Any) -> None:
    state = published(LISTING + FLASHED + BORZOI)
    human_only = {key: tensor for key, tensor in state.items() if not key.startswith("mouse")}
    assert (len(human_only), len(state)) == (183, 185)
    for source, head, tracks in ((human_only, "human", 7611), (state, "human", 7611), (state, "mouse", 2608)):
        config, converted = convert(source, values, head)
        assert (config.tracks, config.head, config.bins, config.tokens) == (tracks, f"head_{head}", 6144, 4096)
        assert (config.heads, config.key_heads, config.key_size, config.rotary_size) == (8, 4, 192, 128)
        moving = sum(tensor.numel() for name, tensor in converted.items() if "running" in name)
        trained = sum(tensor.numel() for tensor in converted.values()) - moving
        assert trained == 192_069_467 - (7611 - tracks) * 1921
        with torch.device("meta"):
            names = Borzoi(config).state_dict()
        assert converted.keys() == {name for name in names if not name.endswith("num_batches_tracked")}


def test_flashed_prime() -> None:
    """borzoi-pytorch builds it too, though none is published."""
    config, _ = convert(published(LISTING + FLASHED + PRIME), {"flashed": True})
    assert (config.bin_size_bp, config.bins, config.unets, config.rotary_size) == (16, 12_288, 3, 128)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    assert PATH.stat().st_size < 200_000
    with np.load(PATH, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    assert str(found["version"]).startswith("borzoi-pytorch 0.5.1")
    assert found["human"].std(axis=1).max() > 0.03
    return found


@pytest.fixture(scope="module")
def theirs(golden: dict[str, np.ndarray]) -> State:
    weights = drawn_weights(json.loads(str(golden["shapes"])), int(golden["seed"]))
    assert digest(weights) == str(golden["digest"])
    return {name: torch.from_numpy(values) for name, values in weights.items()}


@pytest.fixture(scope="module")
def window(golden: dict[str, np.ndarray]) -> np.ndarray:
    onehot: np.ndarray = (golden["letters"] == np.arange(4)[:, None]).astype(np.uint8)[None]
    return onehot


def network(golden: dict[str, np.ndarray], state: State, head: str = "human") -> Borzoi:
    """The network of the archive, at its window."""
    config, converted = convert(state, json.loads(str(golden["config"])), head)
    length = golden["letters"].size
    config = dataclasses.replace(
        config, sequence_length_bp=length, crop_bins=(length // 32 - golden[head].shape[1]) // 2
    )
    with torch.device("meta"):  # nothing is drawn that is replaced at once
        model = Borzoi(config)
    counters = {name: torch.tensor(0) for name in model.state_dict() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**converted, **counters}, assign=True)
    return model.eval()


@pytest.mark.parametrize("head", ["human", "mouse"])
def test_the_network_gives_their_numbers(
    golden: dict[str, np.ndarray], theirs: State, window: np.ndarray, head: str
) -> None:
    model = network(golden, theirs, head)
    with torch.inference_mode():
        single = model(torch.from_numpy(window))[0].numpy()
    double = exact_coverage(model.double(), window, np.arange(len(golden[head])), 0.0)[0]
    assert_allclose(double, golden[head], rtol=1e-6, atol=1e-7)  # their head is in float32
    assert_allclose(single, golden[head], rtol=2e-5, atol=2e-6)


def test_our_oracle_gives_them_too(golden: dict[str, np.ndarray], theirs: State, window: np.ndarray) -> None:
    model = network(golden, theirs)
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    sizes = {name: getattr(model.config, name) for name in ("depth", "unets", "heads", "key_heads", "rotary_size")}
    found = oracle.forward(weights, window[0].astype(np.float64), widths_of=0, crop=model.config.crop_bins, **sizes)
    assert_allclose(found, golden["human"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_graphs_give_them(
    golden: dict[str, np.ndarray],
    theirs: State,
    window: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    """The whole pass, tiles with the body of all bins, and the body that moves."""
    monkeypatch.setattr(split, "MOVING_BINS", (64,))
    bundle = write_unproven(
        network(golden, theirs), toys.tracks(), tmp_path / "b", squash=SquashSpec(kind="old"), target=target
    )
    assert "body_64" in bundle.info.graphs
    for session in (open_session(bundle), open_engine(bundle)):
        assert_allclose(session.run(window)[0], golden["human"], rtol=2e-5, atol=2e-6)
        session.close()
    parts = open_engine(bundle)
    for first, last in ((0, 64), (5, 60), (200, 264), (301, 340), (320, 384)):
        found = parts.run(window, bins=(first, last))[0]
        assert_allclose(found, golden["human"][:, first:last], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model._orig_mod."])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_prefixed_files(tmp_path: Path, prefix: str, suffix: str) -> None:
    small = small_state()
    path = tmp_path / f"m.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)({prefix + key: value for key, value in small.items()}, path)
    values = {"heads": 2, "flashed": True}
    config, found = convert(read_state_dict(path), values)
    want, expected = convert(small, values)
    assert config == want
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def small_state() -> State:
    """A narrow Flashzoi under the names of borzoi-pytorch, two heads of 128 channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    listed = published(LISTING + FLASHED + BORZOI)
    sizes = {512: 4, 608: 4, 736: 4, 896: 4, 1056: 4, 1280: 8, 1536: 256, 3072: 512, 1920: 8, 7611: 6, 2608: 2}
    for key, tensor in listed.items():
        if not re.match(r"transformer\.[1-7]", key) and not key.endswith("num_batches_tracked"):
            shapes[key] = tuple(sizes.get(size, size) for size in tensor.shape)
    return {name: torch.from_numpy(values) for name, values in drawn_weights(shapes, 3).items()}


QKV = "transformer.0.0.fn.1.mha.Wqkv"
REFUSALS: list[tuple[Callable[[State], Any], Any, str]] = [
    (lambda s: None, None, "no tensor shows the number of heads that share 256 channels; a config.json with heads"),
    (lambda s: None, {"heads": 3}, "heads is 3; a number that divides 256 channels"),
    (lambda s: None, {"heads": "2"}, "heads is '2'; a number that divides 256 channels"),
    (lambda s: None, {"heads": True}, "heads is True; a number that divides 256 channels"),
    (lambda s: None, {"heads": 1}, "512 rows of queries, keys and values do not make 1 heads of 256 channels"),
    (lambda s: None, {"heads": 4}, "rotary positions turn 128 channels of a head, which has 64"),
    (
        lambda s: None,
        {"heads": 2, "flashed": False},
        "config.json says flashed False, but these are weights of Flashzoi",
    ),
    (lambda s: s.pop(f"{QKV}.bias"), {"heads": 2}, f"1 tensors are missing, first '{QKV}.bias'"),
    (
        lambda s: s.update({f"{QKV}.bias": torch.zeros(9)}),
        {"heads": 2},
        f"'{QKV}.bias' has shape (9,); next to the others (512,)",
    ),
    (
        lambda s: s.update({"transformer.0.0.fn.1.mha.dwconv_q.weight": torch.zeros(9)}),
        {"heads": 2},
        "1 tensors do not belong to the network, first 'transformer.0.0.fn.1.mha.dwconv_q.weight'",
    ),
]


@pytest.mark.parametrize(("change", "values", "expected"), REFUSALS, ids=[row[2][-30:] for row in REFUSALS])
def test_misfits(change: Callable[[State], Any], values: Any, expected: str) -> None:
    state = small_state()
    change(state)
    with pytest.raises(FormatError) as caught:
        convert(state, values)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("m.safetensors: ")
    assert "\n" not in str(caught.value)


def test_borzoi_that_is_said_to_be_flashed() -> None:
    with pytest.raises(FormatError, match="flashed True, but these are weights of Borzoi"):
        convert(published(LISTING + RELATIVE + BORZOI), {"flashed": True})
    assert convert(published(LISTING + RELATIVE + BORZOI), {"flashed": False})[0].rotary_size == 0


def test_training_refuses(tmp_path: Path) -> None:
    save_file(small_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"heads": 2, "flashed": true}')
    with pytest.raises(FormatError, match=r"weights of Flashzoi, whose positions are rotary; .*cannot begin"):
        initial_state(tmp_path, toys.PARAMS)


def test_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as a repository of the hub has it; a window of 256 tokens instead of 4,096 for the sake of time."""
    monkeypatch.setattr(borzoi_pytorch, "_TOKENS", 256)
    folder = tmp_path / "flashzoi-replicate-0"
    folder.mkdir()
    save_file(small_state(), folder / "model.safetensors")
    settings = {"model_type": "borzoi", "flashed": True, "heads": 2, "enable_mouse_head": True, "bins_to_return": 128}
    (folder / "config.json").write_text(json.dumps(settings))
    toys.tracks().take([0, 1]).write(tmp_path / "mouse.txt")
    values = {"weights": folder, "targets": tmp_path / "mouse.txt", "head": "mouse", "squash": "old"}
    code, out, err = cli("export", "torch", *options(**values, out=tmp_path / "b", target="gpu"))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("2 tracks; conv convolutions, fp32, for GPUs")
    info = open_bundle(tmp_path / "b").info
    assert (info.head, info.geometry.sequence_length_bp, info.geometry.bins) == ("head_mouse", 32_768, 128)
    sizes = {"heads": 2, "key_heads": 1, "key_size": 128, "rotary_size": 128}
    assert sizes.items() <= info.architecture.items()
