"""The manifest: what goes through JSON comes back, and nothing else gets in."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from borzoi_rt.bundle.manifest import (
    BodyInfo,
    BundleInfo,
    FileEntry,
    Geometry,
    GraphInfo,
    SquashSpec,
    Tiling,
    all_finite,
    check_file_name,
    read_file_list,
)
from borzoi_rt.errors import FormatError

# 16 tokens, hence skips of 32 and 64 positions.
TILING = Tiling(
    token_bp=128,
    own_tokens=32,
    halo_tokens=4,
    channels=48,
    skips_per_token=(2, 4),
    bodies={
        "body": BodyInfo(bins=32, skips=((6, 26), (15, 49)), moving=False),
        "body_8": BodyInfo(bins=8, skips=((-2, 8), (-1, 9)), moving=True),
    },
)


def info(**changes: Any) -> BundleInfo:
    values: dict[str, Any] = {
        "name": "toy",
        "head": "human",
        "geometry": Geometry(sequence_length_bp=2048, bin_size_bp=32, bins=32),
        "squash": SquashSpec(kind="old", unscale=True),
        "graphs": {"predict": GraphInfo(file="predict.onnx", inputs=("sequence", "n_fill"), outputs=("coverage",))},
        "architecture": {"trunk": [{"filters": 16}], "norm": None},
        "tiling": TILING,
        "provenance": {"weights": "model.h5"},
    }
    return BundleInfo(**{**values, **changes})


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(info().to_json())), **changes}


def edited(path: str, value: Any) -> dict[str, Any]:
    """Return the document with the value at ``a.b.c`` replaced."""
    changed = copy.deepcopy(document())
    *parents, last = path.split(".")
    section = changed
    for key in parents:
        section = section[key]
    section[last] = value
    return changed


@pytest.mark.parametrize("tiling", [None, TILING])
def test_json_and_back(tiling):
    before = info(tiling=tiling, n_policy="uniform", precision="fp16")
    text = json.dumps(before.to_json(), allow_nan=False)
    assert BundleInfo.from_json(json.loads(text), "b") == before


def test_what_has_a_default_may_be_missing():
    full = document()
    for key in ("n_policy", "precision", "opset", "tiling", "parity", "provenance"):
        del full[key]
    back = BundleInfo.from_json({**full, "files": {}}, "b")
    assert (back.n_policy, back.tiling, back.parity) == ("zero", None, {})


def test_keys_of_earlier_releases_are_ignored():
    older = document(averaging="squashed", positional_widths=[0, 1, 3])
    assert BundleInfo.from_json(older, "b") == info()


NOISE = {"rms": 1e-7, "peak": 1e-6, "largest": 3.0}


@pytest.mark.parametrize("name", ["noise", "golden_noise"])
@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        1e-7,
        {},
        {"rms": 1e-7, "peak": 1e-6},
        {**NOISE, "more": 1},
        {**NOISE, "rms": "1e-7"},
        {**NOISE, "rms": True},
        {**NOISE, "rms": -1e-7},
        {**NOISE, "rms": 2e-6},  # above the peak
        {**NOISE, "peak": 4.0},  # above the largest logit: it would allow anything
    ],
)
def test_a_noise_that_cannot_be_is_refused(name, entry):
    assert BundleInfo.from_json(document(parity={name: NOISE}), "b").parity == {name: NOISE}
    with pytest.raises(FormatError, match=r"^m\.json: parity: "):
        BundleInfo.from_json(document(parity={name: entry}), "m.json")


@pytest.mark.parametrize("change", [{"format_version": 2}, {"format_version": None}, {"format": "onnx"}])
def test_another_format_or_version_is_refused(change):
    with pytest.raises(FormatError, match=r"m\.json: format .*; this release reads 'borzoi-rt-bundle' version 1"):
        BundleInfo.from_json(document(**change), "m.json")


@pytest.mark.parametrize("section", ["", "geometry.", "squash.", "graphs.predict.", "tiling.", "tiling.bodies.body."])
def test_an_unknown_key_is_refused_everywhere(section):
    with pytest.raises(FormatError, match=r"m\.json: unknown key 'gamma'; allowed: "):
        BundleInfo.from_json(edited(f"{section}gamma", 1), "m.json")


@pytest.mark.parametrize(
    "path",
    [
        *("name", "head", "geometry", "squash", "graphs", "architecture", "geometry.bins", "squash.kind"),
        *("graphs.predict", "graphs.predict.file", "graphs.predict.inputs", "tiling.bodies", "tiling.halo_tokens"),
        *("tiling.bodies.body", "tiling.bodies.body.skips"),
    ],
)
def test_a_missing_key_is_refused(path):
    broken = document()
    *parents, last = path.split(".")
    section = broken
    for key in parents:
        section = section[key]
    del section[last]
    with pytest.raises(FormatError, match=r"^m\.json: "):
        BundleInfo.from_json(broken, "m.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("geometry", [2048, 32, 32]),
        ("geometry.bins", 32.0),
        ("geometry.bins", True),
        ("geometry.bin_size_bp", 0),
        ("squash.kind", "older"),
        ("squash.kind", ["old"]),
        ("squash.unscale", "false"),
        ("squash.unclip", 1),
        ("graphs", ["predict"]),
        ("graphs", {}),
        ("graphs.predict", "predict.onnx"),
        ("graphs.predict.file", ["predict.onnx"]),
        ("graphs.predict.inputs", [1, 2]),
        ("n_policy", "random"),
        ("n_policy", {}),
        ("parity", 5),
        ("tiling", []),
        ("tiling.own_tokens", 0),
        ("tiling.own_tokens", True),
        ("tiling.halo_tokens", -1),
        ("tiling.halo_tokens", 0.5),
        ("tiling.halo_tokens", "0"),
        ("tiling.skips_per_token", [2, "4"]),
        ("tiling.bodies.body.skips", [[1, 2, 3]]),
        ("tiling.bodies.body.skips", [["a", "b"]]),
        ("tiling.bodies.body.skips", [[0, float("inf")]]),
    ],
)
def test_a_wrong_value_is_a_format_error_that_names_the_file(path, value):
    with pytest.raises(FormatError, match=r"^m\.json: "):
        BundleInfo.from_json(edited(path, value), "m.json")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("tiling.skips_per_token", [2], r"body 'body' reads 2 skips, the tiles have 1"),
        ("tiling.bodies.body_8.skips", [[0, 8]], r"body 'body_8' reads 1 skips, the tiles have 2"),
        ("tiling.token_bp", 96, r"tokens of 96 bp do not divide a window of 2048 bp"),
        ("tiling.token_bp", 16, r"tokens of 16 bp .* whole bins of 32 bp"),
        ("tiling.bodies.body.skips", [[6, 26], [15, 65]], r"body 'body' reads \[15, 65\) of a skip of 64 positions"),
        ("tiling.bodies.body.skips", [[-1, 26], [15, 49]], r"body 'body' reads \[-1, 26\) of a skip of 32 positions"),
        ("tiling.bodies.body_8.skips", [[8, 8], [-1, 9]], r"body 'body_8' reads \[8, 8\)"),
    ],
)
def test_tiles_that_cannot_make_the_window_are_refused(path, value, complaint):
    """As a bundle of another release may have them."""
    with pytest.raises(FormatError, match=rf"^m\.json: tiling: {complaint}.*; export the model again$"):
        BundleInfo.from_json(edited(path, value), "m.json")


def test_crop_is_what_the_bins_leave_on_each_side():
    assert (
        Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6144).crop_bp == (524_288 - 6144 * 32) // 2 == 163_840
    )
    assert Geometry(sequence_length_bp=64, bin_size_bp=32, bins=2).crop_bp == 0


@pytest.mark.parametrize(("length", "size", "bins"), [(64, 32, 3), (65, 32, 2), (64, -32, 2), (0, 32, 1)])
def test_bins_that_cannot_be_centred_are_refused(length, size, bins):
    with pytest.raises(FormatError, match="geometry: "):
        Geometry(sequence_length_bp=length, bin_size_bp=size, bins=bins)


@pytest.mark.parametrize("name", ["weights.bin", "tracks.tsv", "golden.npz", "predict.onnx", "body_64.onnx"])
def test_the_names_of_the_format_page_pass(name):
    check_file_name(name, "b")
    entry = {"sha256": "0a" * 32, "bytes": 3}
    assert read_file_list({"files": {name: entry}}, "b") == {name: FileEntry("0a" * 32, 3)}


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc/passwd", "a..b", ".hidden", "a\\b", "a\n", "a b", "-rf", "\u00e4", "C:x"),
        # What would be run or read as something else where a graph is served, or is no graph that we know.
        *("model.py", "config.pbtxt", "model.onnx", "sitecustomize.py", "body_0.onnx", "body_.onnx", "predict.onnx\n"),
        *("Predict.onnx", "predict.ONNX", "bundle.json", "weights.bin.1", "body_\u0661.onnx"),
    ],
)
def test_any_other_name_is_refused(name):
    with pytest.raises(FormatError, match=r"is not allowed; a bundle has tracks\.tsv, golden\.npz, weights\.bin"):
        read_file_list({"files": {name: {"sha256": "00", "bytes": 3}}}, "b")


@pytest.mark.parametrize(
    "files",
    [None, [], {"a": {}}, {"a": []}, {"a": {"sha256": "0", "bytes": "x"}}, {"a": {"sha256": "0", "bytes": 1e999}}],
)
def test_a_malformed_file_list_is_refused(files):
    with pytest.raises(FormatError, match=r"^m\.json: "):
        read_file_list({"files": files}, "m.json")


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        ({"a": [1, 2.5, None, "nan", {"b": (3.0, True)}]}, True),
        ({"a": [1, {"b": (3.0, float("nan"))}]}, False),
        ([[float("-inf")]], False),
        (float("inf"), False),
    ],
)
def test_all_finite_looks_everywhere(value, finite):
    assert all_finite(value) is finite
