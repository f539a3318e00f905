"""params.json: the published configurations come out with their sizes, anything else is refused by key and value."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import toys

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402

WIDE = (608, 736, 896, 1056, 1280, 1536)
UNET = {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True}


def values_of(config: BorzoiConfig) -> int:
    """Number of stored values, normalisation statistics included and step counters not."""
    with torch.device("meta"):
        state = Borzoi(config).state_dict()
    return sum(tensor.numel() for name, tensor in state.items() if not name.endswith("num_batches_tracked"))


def prime_params(shared: Path) -> dict[str, Any]:
    """Borzoi Prime as its differences from Borzoi: a third decoder block, crop 10240, no conv_nac, other heads."""
    params = read_params(shared / "data" / "tables" / "borzoi_params.json")
    model = params["model"]
    model["trunk"] = [block for block in model["trunk"] if block["name"] not in ("conv_nac", "Cropping1D")]
    model["trunk"] += [dict(UNET), {"name": "Cropping1D", "cropping": 10240}]
    model["head_human"]["units"], model["head_mouse"]["units"] = 5431, 1774
    return params


# file, head, window, bin size, bins, tower widths, stored values: from the table of published configurations
PUBLISHED = {
    "human": ("tables/borzoi_params.json", 0, 524_288, 32, 6_144, WIDE, 185_917_723),
    "mouse": ("tables/borzoi_params.json", 1, 524_288, 32, 6_144, WIDE, 176_306_960),
    "wide output": ("tables/borzoi_params_pred.json", "human", 524_288, 32, 16_352, WIDE, 185_917_723),
    "mini": ("tables/params_mini.json", 0, 393_216, 32, 12_288, (384, 448, 512, 576, 672, 768), 42_524_002),
    "micro": ("tables/params_micro.json", 0, 393_216, 32, 12_288, (160, 184, 208, 240, 280, 320), 4_705_042),
    "tiny": ("tiny_model/params.json", 0, 131_072, 32, 2_048, (80, 88, 96, 104, 120, 128), 642_994),
}


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_published_params(shared: Path, row: tuple[Any, ...]) -> None:
    file, head, length, bin_size, bins, widths, values = row
    config = BorzoiConfig.from_params(read_params(shared / "data" / file), head=head)
    assert config.geometry == Geometry(sequence_length_bp=length, bin_size_bp=bin_size, bins=bins)
    assert config.tower_widths == widths
    assert config.widths_of == config.tokens == length // 128
    assert config.batch_norm_momentum == 0.1  # 1 - Keras' 0.9
    assert values_of(config) == values


@pytest.mark.parametrize(("head", "tracks", "values"), [(0, 5431, 183_047_447), ("mouse", 1774, 177_426_638)])
def test_prime(shared: Path, head: int | str, tracks: int, values: int) -> None:
    config = BorzoiConfig.from_params(prime_params(shared), head=head)
    assert (config.bin_size_bp, config.bins, config.tracks, config.tail_filters) == (16, 12_288, tracks, 0)
    assert values_of(config) == values


# The 5M model of the Borzuki series differs from micro in widths and in the hidden layer, 1.5 times as wide.
def test_dense_expansion(shared: Path) -> None:
    model = read_params(shared / "data" / "tables" / "params_micro.json")["model"]
    model["trunk"][0]["filters"] = 192
    model["trunk"][1].update(filters_init=208, filters_end=384, divisible_by=16)
    model["trunk"][2]["dense_expansion"] = 1.5
    model["head_human"]["units"] = 123
    assert values_of(BorzoiConfig.from_params(model)) == 6_361_355


@pytest.mark.parametrize(("crop", "bins"), [(5120, 6144), (16, 16_352), (1024, 14_336), (8128, 128), (0, 16_384)])
def test_crop_replaces_that_of_the_params(shared: Path, crop: int, bins: int) -> None:
    params = read_params(shared / "data" / "tables" / "borzoi_params.json")
    assert BorzoiConfig.from_params(params, crop=crop).bins == bins  # 524288 / 32 - 2 * crop


# Names before numbers are compared as text, numbers as numbers; a number that is given counts, a name names.
@pytest.mark.parametrize(
    ("head", "name"),
    [(0, "head_2"), (1, "head_10"), ("1", "head_10"), (2, "head_a"), ("a", "head_a"), ("head_2", "head_2")],
)
def test_heads_count_in_natural_order(head: int | str, name: str) -> None:
    model = {key: value for key, value in toys.params().items() if key != "head_toy"}
    model.update(dict.fromkeys(("head_10", "head_a", "head_2"), toys.PARAMS["head_toy"]))
    assert BorzoiConfig.from_params(model, head=head).head == name


def test_training_keys_and_defaults_make_no_difference() -> None:
    params = toys.params(padding="same", l2_scale=2e-8, augment_rc=True, kernel_initializer="lecun_normal")
    for block in params["trunk"][1:3]:
        block.update(l2_scale=1e-8, bn_momentum=0.9, kernel_initializer="he_normal", norm_type="batch-sync")
    assert BorzoiConfig.from_params({"train": {}, "model": params}) == BorzoiConfig.from_params(toys.PARAMS)
    params["trunk"][2]["seqlen_train"] = 4096
    assert BorzoiConfig.from_params(params).widths_of == 4096
    del params["trunk"][3]["upsample_conv"], params["trunk"][4]["upsample_conv"]
    assert not BorzoiConfig.from_params(params).upsample_conv


def edit(index: int | None, **changes: Any) -> dict[str, Any]:
    """Return the toy params with keys of one block, or of the model, replaced; ``...`` removes a key."""
    params = toys.params()
    target = params if index is None else params["trunk"][index]
    target.update(changes)
    for key in [key for key, value in target.items() if value is ...]:
        del target[key]
    return params


STEM, TOWER, ATTENTION, DECODER, _, CROP = range(6)
WRONG: list[tuple[dict[str, Any], str]] = [
    (edit(STEM, norm_type="batch"), "conv_dna: norm_type is 'batch'; only None can be built"),
    (edit(STEM, norm_type=...), "conv_dna: key 'norm_type' is missing; only None"),
    (edit(STEM, activation="gelu"), "conv_dna: activation is 'gelu'; only 'linear'"),
    (edit(STEM, pool_size=...), "conv_dna: key 'pool_size' is missing; only 2"),
    (edit(STEM, pool_size=4), "conv_dna: pool_size is 4; only 2"),
    (edit(STEM, kernel_size=10), "stem_width is 10; convolutions have odd widths"),
    (edit(STEM, filters="16"), "conv_dna: filters is '16'; a positive integer"),
    (edit(TOWER, num_convs=2), "res_tower: num_convs is 2; only 1"),
    (edit(TOWER, num_convs=...), "res_tower: key 'num_convs' is missing; only 1"),
    (edit(TOWER, se_ratio=0.25), "res_tower: key 'se_ratio' cannot be built; known: filters_init"),
    (edit(TOWER, activation="gel"), "res_tower: activation is 'gel'; only 'gelu'"),
    (edit(TOWER, activation=None), "res_tower: activation is None; only 'gelu'"),
    (edit(TOWER, norm_type="layer"), "res_tower: norm_type is 'layer'; only 'batch' or 'batch-sync'"),
    (edit(TOWER, padding="valid"), "res_tower: padding is 'valid'; only 'same'"),
    (edit(TOWER, divisible_by=0), "res_tower: divisible_by is 0; a positive integer"),
    (edit(TOWER, divisible_by=64), "tower_widths is (0, "),
    (edit(TOWER, repeat=True), "res_tower: repeat is True; an integer of 1 to 256"),
    (edit(TOWER, repeat=10**9), "res_tower: repeat is 1000000000; an integer of 1 to 256"),
    (edit(ATTENTION, repeat=10**9), "transformer_tower: repeat is 1000000000; an integer of 1 to 256"),
    (edit(TOWER, filters_end=10**12), "res_tower: filters_end is 1000000000000; a positive integer is needed, up to"),
    (edit(CROP, cropping=10**9), "Cropping1D: cropping is 1000000000; a number of bins is needed, up to"),
    (edit(None, seq_length=2**40), "seq_length is 1099511627776; a positive integer is needed, up to"),
    (edit(ATTENTION, qkv_width=2), "transformer_tower: qkv_width is 2; only 1"),
    (edit(ATTENTION, heads=5), "32 channels cannot be split over 5 heads"),
    (edit(ATTENTION, heads=...), "transformer_tower: key 'heads' is missing; a positive integer"),
    (edit(ATTENTION, num_position_features=7), "position_features is 7; an even number"),
    (edit(ATTENTION, dense_expansion=0), "transformer_tower: dense_expansion is 0; a positive number"),
    (edit(ATTENTION, dropout=1.0), "transformer_tower: dropout is 1.0; a number in [0, 1)"),
    (edit(DECODER, kernel_size=5), "unet_conv blocks differ"),
    (edit(DECODER, upsample_conv="yes"), "unet_conv: upsample_conv is 'yes'; true or false"),
    (edit(CROP, cropping=-1), "Cropping1D: cropping is -1; a number of bins"),
    (edit(CROP, cropping=[16, 16]), "Cropping1D: cropping is [16, 16]; a number of bins"),
    (edit(CROP, cropping=32), "cropping 32 leaves none of 64 output bins"),
    (edit(CROP, name="global_pool"), "trunk block 'global_pool' cannot be built; known: conv_dna"),
    (edit(None, activation="relu"), "activation is 'relu'; only 'gelu'"),
    (edit(None, norm_type=...), "norm_type is None; only 'batch' or 'batch-sync'"),
    (edit(None, padding="valid"), "padding is 'valid'; only 'same'"),
    (edit(None, seq_length=2000), "seq_length 2000 is not a multiple of 128 bp"),
    (edit(None, seq_length="2048"), "seq_length is '2048'; a positive integer"),
    (edit(None, bn_momentum="0.9"), "bn_momentum is '0.9'; a number in [0, 1)"),
    (edit(None, adapter="houlsby"), "params have an 'adapter'"),
    (edit(None, trunk=...), "params have no 'model' object with a 'trunk'"),
    (edit(None, trunk="conv_dna"), "trunk is 'conv_dna'; a list of blocks"),
    (edit(None, trunk=["conv_dna"]), "trunk block 'conv_dna' cannot be built"),
    (
        edit(None, trunk=toys.params()["trunk"][:3]),
        "trunk is conv_dna > res_tower > transformer_tower; what can be built",
    ),
    (edit(None, trunk=toys.params()["trunk"][::-1]), "trunk is Cropping1D > unet_conv"),
    (edit(None, trunk=toys.params()["trunk"][:3] + [UNET] * 7), "7 unet_conv blocks; between 1 and 6"),
    (
        edit(None, head_toy={"name": "final", "units": 6, "activation": "exp"}),
        "head_toy: activation is 'exp'; only 'softplus'",
    ),
    (edit(None, head_toy={"name": "dense", "units": 6}), "head_toy: name is 'dense'; only 'final'"),
    (edit(None, head_toy={"name": "final"}), "head_toy: units is None; a positive integer"),
    (edit(None, head_toy=6), "head_toy is 6; an object with units"),
    (edit(None, head_toy=...), "head 0 is not in the params; they have none"),
]


@pytest.mark.parametrize(("params", "expected"), WRONG, ids=[expected[:40] for _, expected in WRONG])
def test_what_cannot_be_built_is_refused(params: dict[str, Any], expected: str) -> None:
    with pytest.raises(FormatError) as caught:
        BorzoiConfig.from_params(params)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"head": 1}, "head 1 is not .* head_toy"),
        ({"head": "mouse"}, "head 'mouse' is not"),
        ({"crop": -1}, "crop_bins is -1"),
    ],
)
def test_wrong_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(FormatError, match=expected):
        BorzoiConfig.from_params(toys.PARAMS, **options)


def test_dict_round_trip() -> None:
    config = toys.config(tail_filters=8)
    values = json.loads(json.dumps(config.to_dict()))
    assert BorzoiConfig.from_dict(values) == config
    with pytest.raises(FormatError, match="unknown key 'flashed'"):
        BorzoiConfig.from_dict({**values, "flashed": True})
    with pytest.raises(FormatError, match="no key 'heads'"):
        BorzoiConfig.from_dict({key: value for key, value in values.items() if key != "heads"})


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'"model"'])
def test_not_an_object(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"params\.json: (cannot be read as JSON|holds (list|str))"):
        read_params(path)
    with pytest.raises(FormatError, match="absent"):
        read_params(tmp_path / "absent.json")


def test_params_are_not_changed() -> None:
    params = toys.params()
    before = copy.deepcopy(params)
    BorzoiConfig.from_params(params, crop=3)
    assert params == before
