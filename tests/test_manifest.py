"""The manifest: it round-trips, and what it does not know or cannot use is refused with the name of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bundle_files
import pytest

from borzoi_rt.bundle import open_bundle
from borzoi_rt.errors import FormatError
from borzoi_rt.manifest import BundleInfo, Geometry


def test_json_and_back() -> None:
    for info in (bundle_files.info(), bundle_files.info(tiling=None, positional_widths=(), provenance={})):
        assert BundleInfo.from_json(json.loads(json.dumps(info.to_json())), "here") == info


def test_optional_keys_have_their_documented_defaults() -> None:
    document = bundle_files.info().to_json()
    for name in ("n_policy", "averaging", "precision", "opset", "positional_widths", "tiling", "parity", "provenance"):
        del document[name]
    got = BundleInfo.from_json(document, "here")
    assert (got.n_policy, got.averaging, got.tiling, got.positional_widths) == ("zero", "squashed", None, ())


@pytest.mark.parametrize(
    ("length", "width", "bins", "crop"),
    [(524_288, 32, 6144, 163_840), (393_216, 32, 6144, 98_304), (256, 32, 8, 0), (10, 3, 2, 2)],
)
def test_the_output_is_centred(length: int, width: int, bins: int, crop: int) -> None:
    geometry = Geometry(sequence_length_bp=length, bin_size_bp=width, bins=bins)
    assert geometry.crop_bp == crop
    assert 2 * crop + bins * width == length


def put(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


def file_entry(name: str) -> Callable[[dict[str, Any]], None]:
    return put("files", name, value={"sha256": "0" * 64, "bytes": 1})


CASES = [
    (put("format", value="borzoi-bundle"), "format 'borzoi-bundle' version 1; this release reads 'borzoi-rt-bundle'"),
    (put("format_version", value=2), "version 2; this release reads .* version 1; export .* or upgrade"),
    (put("format_version", value="1"), "version '1'"),
    (drop("format_version"), "version None"),
    (drop("format"), "format None"),
    (put("colour", value="red"), "unknown key 'colour'"),
    (put("geometry", "stride", value=1), "unknown key 'stride'; allowed: bin_size_bp, bins, sequence_length_bp"),
    (put("squash", "power", value=1), "unknown key 'power'"),
    (put("graphs", "predict", "sha256", value=""), "unknown key 'sha256'"),
    (drop("name"), "incomplete or malformed .*name"),
    (drop("squash"), "section for SquashSpec is None"),
    (drop("squash", "kind"), "incomplete or malformed .*kind"),
    (put("squash", "kind", value="older"), "squash kind 'older' is unknown; allowed: old, new, bp_old, bp_new, none"),
    (put("squash", "kind", value=None), "squash kind None"),
    (put("squash", "kind", value=["old"]), r"squash kind \['old'\]"),
    (put("squash", "unscale", value="false"), "unscale is 'false'; true or false"),
    (put("squash", "unclip", value=1), "unclip is 1; true or false"),
    (put("n_policy", value="random"), "n_policy 'random' is unknown; allowed: zero, uniform"),
    (put("n_policy", value=[]), "malformed"),
    (put("geometry", value=[256, 32, 6]), r"section for Geometry is \[256"),
    (put("geometry", "bins", value=0), "bins is 0; a positive integer"),
    (put("geometry", "bins", value=True), "bins is True"),
    (put("geometry", "bins", value=6.0), "bins is 6.0"),
    (put("geometry", "bins", value=9), "9 bins of 32 bp cannot be centred in 256 bp"),
    (put("geometry", "sequence_length_bp", value=257), "6 bins of 32 bp cannot be centred in 257 bp"),
    (drop("graphs", "predict"), r"no graph named 'predict' among \['body'\]"),
    (put("graphs", value=[]), "malformed"),
    (put("graphs", "predict", value="predict.onnx"), "malformed"),
    (drop("graphs", "predict", "inputs"), "malformed .*inputs"),
    (put("graphs", "predict", "file", value="../predict.onnx"), "'../predict.onnx' is not among the listed"),
    (put("graphs", "predict", "file", value="other.onnx"), "'other.onnx' is not among the listed files"),
    (put("graphs", "predict", "file", value=["predict.onnx"]), r"graph file \['predict.onnx'\]; a file name is needed"),
    (put("positional_widths", value=7), "malformed"),
    (put("tiling", value=7), "malformed"),
    (drop("tiling", "bodies"), "malformed .*bodies"),
    (drop("tiling", "token_bp"), "malformed .*token_bp"),
    (put("tiling", "stride", value=1), "unknown key 'stride'"),
    (put("tiling", "bodies", value={}), "no body named 'body'"),
    (put("tiling", "bodies", "body", "skips", value=[["a", 4]]), "malformed"),
    (put("tiling", "bodies", "body", "skips", value=[[0, 4, 5]]), "malformed"),
    (put("tiling", "bodies", "body", "skips", value=[3]), "malformed"),
    (put("tiling", "bodies", "body", "extra", value=1), "unknown key 'extra'"),
    (put("tiling", "token_bp", value=0), "not a positive integer"),
    (put("tiling", "own_tokens", value=2.5), "not a positive integer"),
    (put("tiling", "channels", value=True), "not a positive integer"),
    (put("tiling", "skips_per_token", value=[1, 0]), "not a positive integer"),
    (put("tiling", "halo_tokens", value=-1), "not a positive integer"),
    (put("tiling", "halo_tokens", value=0.5), "not a positive integer"),
    (drop("files"), "no 'files' section"),
    (put("files", value=[]), "no 'files' section"),
    (put("files", "weights.bin", value={"bytes": 63}), "entry of file 'weights.bin' is malformed"),
    (put("files", "weights.bin", "bytes", value="many"), "entry of file 'weights.bin' is malformed"),
    (put("files", "weights.bin", value=None), "entry of file 'weights.bin' is malformed"),
    *(
        (file_entry(name), "file name .* is not allowed; plain names")
        for name in (
            "../weights.bin",
            "..",
            ".",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "a..b",
            "",
            " a",
            "a\n",
            ".hidden",
            "-a",
            "é",
        )
    ),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_files.write(tmp_path_factory.mktemp("manifest") / "paper").path


@pytest.fixture
def manifest(original: Path) -> Iterator[Path]:
    """The manifest of a whole bundle; it is put back afterwards."""
    path = original / "bundle.json"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


@pytest.mark.parametrize(("change", "message"), CASES)
def test_a_changed_manifest_is_refused(manifest: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    bundle_files.edit_manifest(manifest.parent, change)
    with pytest.raises(FormatError, match=message) as caught:
        open_bundle(manifest.parent)
    assert str(caught.value).startswith(str(manifest))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"format": "borzoi-rt-bundle"', "not JSON"),
        (b"[]", "holds list; a JSON object is needed"),
        (b"null", "holds NoneType"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=["empty", "open", "binary", "cut", "list", "null", "deep"],
)
def test_what_is_no_manifest(manifest: Path, content: bytes, message: str) -> None:
    manifest.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        open_bundle(manifest.parent)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have(manifest: Path, number: str) -> None:
    text = manifest.read_text()
    assert text.count("1e-06") == 1
    manifest.write_text(text.replace("1e-06", number))
    with pytest.raises(FormatError, match=f"not JSON .*{number}"):
        open_bundle(manifest.parent)


def test_a_key_given_twice(manifest: Path) -> None:
    """A reader that takes the last and one that takes the first would see different models."""
    text = manifest.read_text()
    manifest.write_text(text.replace('"kind": "old"', '"kind": "new", "kind": "old"'))
    with pytest.raises(FormatError, match=r"not JSON .*key 'kind' stands twice"):
        open_bundle(manifest.parent)
