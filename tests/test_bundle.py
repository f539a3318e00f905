"""Bundles on disk: what was written is what is opened, and everything else is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import bundle_files
import numpy as np
import pytest
import toys
from numpy.testing import assert_array_equal

from borzoi_rt.bundle import Bundle, open_bundle
from borzoi_rt.errors import FormatError, InputError

FILES = ["body.onnx", "golden.npz", "predict.onnx", "tracks.tsv", "weights.bin"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_files.write(tmp_path_factory.mktemp("bundles") / "paper")


@pytest.fixture
def copy(original: Bundle, tmp_path: Path) -> Path:
    """A bundle that the test may damage."""
    return shutil.copytree(original.path, tmp_path / "paper")


def test_what_was_written_is_opened(original: Bundle) -> None:
    for verify in (True, False):
        got = open_bundle(str(original.path), verify=verify)
        assert got.info == bundle_files.info()
        assert got.geometry == got.info.geometry
        assert sorted(got.files) == FILES
        assert got.tracks.identifier == toys.tracks().identifier
        assert got.graph_path("body").read_bytes() == b"graph body.onnx"
        assert got.graph_path() == original.path / "predict.onnx"
        for name, array in bundle_files.golden().items():
            assert_array_equal(got.golden()[name], array)
            assert got.golden()[name].dtype == array.dtype


def test_hashes_are_those_of_the_files(original: Bundle) -> None:
    for name in FILES:
        content = (original.path / name).read_bytes()
        assert original.files[name].sha256 == hashlib.sha256(content).hexdigest()
        assert original.files[name].bytes == len(content)
    assert original.sha256 == hashlib.sha256((original.path / "bundle.json").read_bytes()).hexdigest()


def test_a_moved_bundle_is_the_same_model(original: Bundle, copy: Path) -> None:
    assert open_bundle(copy).sha256 == original.sha256


def test_the_squash_follows_the_manifest_unless_told(original: Bundle) -> None:
    squash = original.squash()
    assert (squash.kind, squash.unscale, squash.unclip, len(squash)) == ("old", True, False, toys.TRACKS)
    squash = original.squash(np.array([3, 1]), unscale=False, unclip=True)
    assert (squash.unscale, squash.unclip) == (False, True)
    assert_array_equal(squash.scale, toys.tracks().scale[[3, 1]])
    assert squash.sum_stat == ("sum_sqrt", "sum")


def test_a_graph_that_is_not_there(original: Bundle) -> None:
    with pytest.raises(InputError, match="has no graph 'head'; it has body, predict"):
        original.graph_path("head")


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_found_by_its_hash(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(FormatError, match=rf"paper/{name}: SHA-256 differs"):
        open_bundle(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verify", [True, False])
def test_a_size_is_checked_even_without_hashes(copy: Path, name: str, verify: bool) -> None:
    size = (copy / name).stat().st_size
    os.truncate(copy / name, size - 1)
    with pytest.raises(FormatError, match=rf"paper/{name}: {size - 1} bytes, bundle.json says {size}"):
        open_bundle(copy, verify=verify)


def outside(copy: Path, name: str) -> Path:
    target = copy.parent / f"outside-{name}"
    shutil.copy(copy / name, target)
    (copy / name).unlink()
    return target


def folder_listed_as_file(copy: Path) -> None:
    (copy / "weights.bin").unlink()
    (copy / "weights.bin").mkdir()


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda copy: (copy / "notes.txt").write_text("x"), "notes.txt: not listed"),
        (lambda copy: (copy / ".hidden").write_text(""), ".hidden: not listed"),
        (lambda copy: (copy / "more").mkdir(), "more: not listed"),
        (lambda copy: os.mkfifo(copy / "pipe"), "pipe: not listed"),
        (folder_listed_as_file, "weights.bin: listed in bundle.json but missing"),
        (lambda copy: (copy / "golden.npz").unlink(), "golden.npz: listed in bundle.json but missing"),
        (lambda copy: (copy / "weights.bin").symlink_to(outside(copy, "weights.bin")), "weights.bin: a symbolic link"),
        (lambda copy: (copy / "bundle.json").symlink_to(outside(copy, "bundle.json")), "bundle.json: a symbolic link"),
        (lambda copy: (copy / "loop").symlink_to("."), "loop: a symbolic link"),
        (lambda copy: (copy / "gone").symlink_to("nowhere"), "gone: a symbolic link"),
        (lambda copy: (copy / "bundle.json").unlink(), "not a bundle, bundle.json cannot be read"),
        (shutil.rmtree, "no such bundle directory"),
    ],
    ids=lambda value: value.split(":")[0].replace(" ", "_") if isinstance(value, str) else "",
)
def test_the_set_of_files_is_closed(copy: Path, damage: Callable[[Path], object], message: str, verify: bool) -> None:
    damage(copy)
    with pytest.raises(FormatError, match=message):
        open_bundle(copy, verify=verify)


def test_a_file_is_no_bundle(copy: Path) -> None:
    with pytest.raises(FormatError, match=r"bundle\.json: no such bundle directory"):
        open_bundle(copy / "bundle.json")


@pytest.mark.parametrize("name", ["tracks.tsv", "golden.npz", "predict.onnx", "body.onnx"])
def test_files_the_format_asks_for(copy: Path, name: str) -> None:
    bundle_files.edit_manifest(copy, lambda document: document["files"].pop(name))
    (copy / name).unlink()
    with pytest.raises(FormatError, match=f"{name}.* is not among the listed files"):
        open_bundle(copy)


def test_a_wrong_track_table_is_named(copy: Path) -> None:
    (copy / "tracks.tsv").write_text("no table\n")
    bundle_files.relist(copy, "tracks.tsv")
    with pytest.raises(FormatError, match=r"paper/tracks\.tsv, line 1"):
        _ = open_bundle(copy).tracks
