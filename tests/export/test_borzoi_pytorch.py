"""State dicts of borzoi-pytorch: every published key is known, and files that hold anything else are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from published_keys import BORZOI, LISTING, PRIME, RELATIVE, published
from weight_files import torch_state

from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402
from borzoi_export.weights.borzoi_pytorch import convert_state_dict  # noqa: E402


def small(prime: bool = False, mouse: int = 3) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A small random network under our names and under theirs."""
    torch.manual_seed(13)
    sizes = {"unets": 3} if prime else {"tail_filters": 24}
    ours = {name: tensor.numpy() for name, tensor in toys.model(toys.config(**sizes)).state_dict().items()}
    return ours, {
        name: torch.from_numpy(values.copy()) for name, values in torch_state(ours, mouse=mouse, prime=prime).items()
    }


def convert(
    state: dict[str, Any], values: Any = None, head: int | str = "human"
) -> tuple[BorzoiConfig, dict[str, Any]]:
    return convert_state_dict(state, values, head=head, source="m.safetensors")


@pytest.mark.parametrize(("listing", "prime", "keys"), [(BORZOI, False, 217), (PRIME, True, 227)])
def test_published_layout(shared: Path, listing: str, prime: bool, keys: int) -> None:
    state = published(LISTING + RELATIVE + listing)
    assert len(state) == keys  # both heads, step counters included
    human_only = {key: tensor for key, tensor in state.items() if not key.startswith("mouse")}
    counts = (183_047_447, 177_426_638) if prime else (185_917_723, 176_306_960)
    for source, head, values in ((human_only, "human", counts[0]), (state, "mouse", counts[1])):
        config, converted = convert(source, head=head)
        assert sum(tensor.numel() for tensor in converted.values()) == values
        assert (config.bins, config.bin_size_bp, config.head) == (
            *((12_288, 16) if prime else (6_144, 32)),
            f"head_{head}",
        )
        if not prime:
            params = read_params(shared / "data" / "tables" / "borzoi_params.json")
            want = BorzoiConfig.from_params(params, head=head)
            assert {**config.to_dict(), "tail_dropout": 0.1} == want.to_dict()


@pytest.mark.parametrize("prime", [False, True])
def test_every_tensor_finds_its_name(prime: bool) -> None:
    ours, theirs = small(prime)
    listed = published(LISTING + RELATIVE + (PRIME if prime else BORZOI))
    assert theirs.keys() == {key for key in listed if not re.match(r"transformer\.[2-7]", key)}  # it has two blocks
    config, converted = convert(theirs)
    want = {name: values for name, values in ours.items() if not name.endswith("num_batches_tracked")}
    assert converted.keys() == want.keys()
    for name, tensor in converted.items():
        assert np.array_equal(tensor.numpy(), want[name]), name
    with torch.device("meta"):
        Borzoi(config).load_state_dict(converted, assign=True)
    assert (config.sequence_length_bp, config.widths_of, config.upsample_conv) == (524_288, 4096, True)


@pytest.mark.parametrize("head", ["mouse", "head_mouse", 1, "1"])
def test_mouse_head(head: int | str) -> None:
    _, theirs = small()
    config, converted = convert(theirs, head=head)
    assert (config.tracks, config.head) == (3, "head_mouse")
    assert torch.equal(converted["head.weight"], theirs["mouse_head.weight"][..., 0])
    without = {key: tensor for key, tensor in theirs.items() if not key.startswith("mouse")}
    with pytest.raises(FormatError, match=f"no head {head!r}; the checkpoint has human"):
        convert(without, head=head)


@pytest.mark.parametrize(
    ("values", "crop"),
    [
        (None, 5120),
        ({}, 5120),
        ({"bins_to_return": 6144, "return_center_bins_only": True}, 5120),
        ({"return_center_bins_only": False}, 16),  # 16384 - 32 bins
        ({"bins_to_return": 128}, 8128),  # (16384 - 128) / 2
        ({"bins_to_return": 16_384}, 0),
    ],
)
def test_config_json(values: Any, crop: int) -> None:
    assert convert(small()[1], values)[0].crop_bins == crop


@pytest.mark.parametrize("bins", [6143, -2, 16_386, "all", [6144], 6144.0])
def test_wrong_number_of_bins(bins: Any) -> None:
    with pytest.raises(FormatError, match=re.escape(f"bins_to_return is {bins!r}; an even number up to 16384")):
        convert(small()[1], {"bins_to_return": bins})


def test_half_precision_is_widened() -> None:
    _, theirs = small()
    halves = {key: tensor.bfloat16() if tensor.is_floating_point() else tensor for key, tensor in theirs.items()}
    assert {tensor.dtype for tensor in convert(halves)[1].values()} == {torch.float32}


REFUSALS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda s: s.pop("unet1.1.norm.bias"), "1 tensors are missing, first 'unet1.1.norm.bias'"),
    (lambda s: s.pop("transformer.0.0.fn.1.rel_pos_bias"), "first 'transformer.0.0.fn.1.rel_pos_bias'"),
    (
        lambda s: [s.pop(key) for key in list(s) if key.startswith("transformer.")],
        "tensors are missing, first 'transformer.0",
    ),
    (lambda s: s.update({"human_head.lora": torch.zeros(2)}), "do not belong to the network, first 'human_head.lora'"),
    (lambda s: s.update({"transformer.7.0.fn.0.bias": torch.zeros(2)}), "tensors are missing, first 'transformer.2."),
    (
        lambda s: s.update({"human_head.bias": torch.zeros(9)}),
        "'human_head.bias' has shape (9,); next to the others (6,)",
    ),
    (lambda s: s.update({"conv_dna.conv_layer.bias": torch.zeros(9)}), "'conv_dna.conv_layer.bias' has shape (9,)"),
    (lambda s: s.update({"conv_dna.conv_layer.weight": torch.zeros(9)}), "no network has these shapes"),
    (
        lambda s: s.update({"transformer.0.0.fn.1.rel_content_bias": torch.zeros(1, 3, 1, 8)}),
        "cannot be split over 3 heads",
    ),
    (lambda s: s.update({"transformer.0.0.fn.1.rel_content_bias": torch.zeros(8)}), "no network has these shapes"),
    (lambda s: s.update({"human_head.bias": torch.zeros(6, dtype=torch.int32)}), "is torch.int32; floating point"),
    (
        lambda s: s["unet1.1.norm.bias"].__setitem__(2, torch.nan),
        "tensor 'unet1.1.norm.bias': 1 values are NaN or infinite",
    ),
    (
        lambda s: s["human_head.weight"].fill_(torch.inf),
        "tensor 'human_head.weight': 144 values",
    ),  # 6 tracks x 24 channels
    (
        lambda s: s.update({"transformer.0.0.fn.1.mha.Wqkv.weight": torch.zeros(2)}),
        "holds blocks of Borzoi (to_rel_k.weight) and of Flashzoi (mha.Wqkv.weight)",
    ),
    (lambda s: s.pop("human_head.weight"), "no head 'human'; the checkpoint has mouse"),
    (lambda s: s.clear(), "none of its 0 tensors is 'conv_dna.conv_layer.weight'"),
]


@pytest.mark.parametrize(("change", "expected"), REFUSALS, ids=[expected[-40:] for _, expected in REFUSALS])
def test_misfits(change: Callable[[dict[str, Any]], Any], expected: str) -> None:
    _, theirs = small()
    change(theirs)
    with pytest.raises(FormatError) as caught:
        convert(theirs)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("m.safetensors: ")
    assert "\n" not in str(caught.value)
