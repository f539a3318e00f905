"""The bundle directory is opened only when it holds what is listed, byte by byte, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from bundles import GOLDEN, GRAPH, INFO, write_bundle
from numpy.testing import assert_array_equal

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.errors import FormatError, InputError


def relist(bundle: Path, **changes: Any) -> None:
    """Write sizes and hashes of the files as they are now, so that only what they say can be found wrong."""
    manifest = bundle / "bundle.json"
    document = json.loads(manifest.read_text())
    document["files"] = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in bundle.iterdir()
        if path != manifest
    }
    manifest.write_text(json.dumps({**document, **changes}))


@pytest.fixture
def path(tmp_path):
    return write_bundle(tmp_path / "b").path


def test_what_is_written_is_opened(path):
    bundle = open_bundle(path)
    assert bundle.info == INFO
    assert bundle.geometry == INFO.geometry
    assert sorted(bundle.files) == ["golden.npz", "predict.onnx", "tracks.tsv"]
    assert bundle.files["predict.onnx"].bytes == len(GRAPH)
    assert bundle.files["predict.onnx"].sha256 == hashlib.sha256(GRAPH).hexdigest()
    assert bundle.sha256 == hashlib.sha256((path / "bundle.json").read_bytes()).hexdigest()
    assert bundle.graph_path() == path / "predict.onnx"
    assert bundle.tracks.identifier == toys.tracks().identifier
    for name, values in GOLDEN.items():
        assert_array_equal(bundle.golden()[name], values)


def test_an_unknown_graph_is_named(path):
    with pytest.raises(InputError, match="no graph 'body'; it has predict"):
        open_bundle(path).graph_path("body")


def test_squash_is_that_of_the_tracks_and_of_the_manifest(path):
    bundle = open_bundle(path)
    whole = bundle.squash()
    assert (whole.kind, whole.unscale, whole.unclip) == ("old", True, True)
    assert_array_equal(whole.scale, toys.tracks().scale)
    some = bundle.squash(np.array([4, 2]), unscale=False, unclip=False)
    assert (some.unscale, some.unclip) == (False, False)
    assert some.sum_stat == ("mean", "sum_sqrt")
    assert_array_equal(some.scale, toys.tracks().scale[[4, 2]])


@pytest.mark.parametrize("name", ["bundle.json", "tracks.tsv", "predict.onnx", "golden.npz"])
def test_a_missing_file_is_named(path, name):
    (path / name).unlink()
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        open_bundle(path, verify=False)


@pytest.mark.parametrize("name", ["tracks.tsv", "predict.onnx", "golden.npz"])
def test_one_changed_byte_is_found_and_named(path, name):
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name}: SHA-256 differs"):
        open_bundle(path)
    assert open_bundle(path, verify=False).path == path
    (path / name).write_bytes(content[:-1])
    with pytest.raises(FormatError, match=f"{name}: {len(content) - 1} bytes, bundle.json says {len(content)}"):
        open_bundle(path, verify=False)


def add_file(path: Path) -> None:
    (path / "run.py").write_text("raise SystemExit")


def add_hidden_file(path: Path) -> None:
    (path / ".hidden").touch()


def add_directory(path: Path) -> None:
    (path / "sub").mkdir()


def add_link(path: Path) -> None:
    (path / "link").symlink_to(path / "tracks.tsv")


def replace_by_link(path: Path) -> None:
    outside = (path / "tracks.tsv").rename(path.parent / "outside.tsv")
    (path / "tracks.tsv").symlink_to(outside)


def link_manifest(path: Path) -> None:
    outside = (path / "bundle.json").rename(path.parent / "outside.json")
    (path / "bundle.json").symlink_to(outside)


def replace_by_directory(path: Path) -> None:
    (path / "tracks.tsv").unlink()
    (path / "tracks.tsv").mkdir()


def replace_by_pipe(path: Path) -> None:
    (path / "tracks.tsv").unlink()
    os.mkfifo(path / "tracks.tsv")


@pytest.mark.parametrize(
    ("attack", "complaint"),
    [
        (add_file, r"run\.py: not listed"),
        (add_hidden_file, r"\.hidden: not listed"),
        (add_directory, "sub: not listed"),
        (add_link, "link: not listed"),
        (replace_by_link, r"tracks\.tsv: a symbolic link"),
        (link_manifest, r"bundle\.json: a symbolic link"),
        (replace_by_directory, r"tracks\.tsv: not a regular file"),
        (replace_by_pipe, r"tracks\.tsv: not a regular file"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_the_set_of_files_is_closed(path, attack, complaint, verify):
    attack(path)
    with pytest.raises(FormatError, match=complaint):
        open_bundle(path, verify=verify)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/file", ".."])
@pytest.mark.parametrize("section", ["files", "graphs"])
def test_names_that_leave_the_directory_are_refused(path, section, name):
    (path.parent / "outside").write_bytes(b"secret")
    document = json.loads((path / "bundle.json").read_text())
    if section == "files":
        document["files"][name] = {"sha256": hashlib.sha256(b"secret").hexdigest(), "bytes": 6}
    else:
        document["graphs"]["predict"]["file"] = name
    (path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=r"is not allowed|not among the listed files"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["tracks.tsv", "golden.npz", "predict.onnx"])
def test_what_every_bundle_needs_must_be_listed(path, name):
    (path / name).unlink()
    relist(path)
    with pytest.raises(FormatError, match=f"{name}.* not among the listed files"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "holds list"),
        (b'{"parity": {"max_abs": NaN}}', "not JSON .*NaN is no JSON number"),
        (b'{"parity": [-Infinity]}', "not JSON .*-Infinity is no"),
        # A reader that takes the first and one that takes the last would see different models.
        (b'{"squash": {"kind": "old", "unscale": true, "kind": "new"}}', "not JSON .*key 'kind' stands twice"),
        (b"{}", "format None version None"),
    ],
)
def test_a_manifest_that_is_none_is_refused(path, content, complaint):
    (path / "bundle.json").write_bytes(content)
    with pytest.raises(FormatError, match=rf"bundle\.json: .*{complaint}|bundle\.json: {complaint}"):
        open_bundle(path)


@pytest.mark.parametrize("make", [lambda path: None, Path.touch, Path.mkdir], ids=["absent", "file", "empty"])
def test_what_is_no_bundle_directory_is_refused(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(FormatError, match=r"no such bundle directory|not a bundle"):
        open_bundle(tmp_path / "x")


@pytest.mark.parametrize("stated", [5, 7, "6"])
def test_a_table_of_another_length_than_the_head_is_refused(path, stated):
    relist(path, architecture={"tracks": 6})
    assert len(open_bundle(path).tracks) == 6
    relist(path, architecture={"tracks": stated})
    with pytest.raises(FormatError, match=rf"tracks\.tsv: 6 rows, bundle\.json says .* {stated!r} outputs; export"):
        open_bundle(path)


class Trap:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def pickled_array(trap: Trap, golden: Path) -> None:
    with golden.open("wb") as handle:
        np.savez(handle, **{**GOLDEN, "coverage": np.array([trap], dtype=object)})


def bare_pickle(trap: Trap, golden: Path) -> None:
    golden.write_bytes(pickle.dumps(trap))


@pytest.mark.parametrize("write_golden", [pickled_array, bare_pickle])
def test_a_pickled_golden_example_is_refused_and_not_run(path, tmp_path, write_golden):
    trap = Trap(tmp_path / "mark")
    write_golden(trap, path / "golden.npz")
    relist(path)
    with pytest.raises(FormatError, match=r"golden\.npz: not a golden archive"):
        open_bundle(path).golden()
    assert not trap.mark.exists()


def lone_array(golden: Path) -> None:
    with golden.open("wb") as handle:
        np.save(handle, GOLDEN["coverage"])


def missing_array(golden: Path) -> None:
    np.savez(golden, sequence=GOLDEN["sequence"], track_index=GOLDEN["track_index"])


def text_members(golden: Path) -> None:
    with zipfile.ZipFile(golden, "w") as archive:
        for name in GOLDEN:
            archive.writestr(f"{name}.npy", "not an array")


def cut(golden: Path) -> None:
    golden.write_bytes(golden.read_bytes()[:-100])


def damage(golden: Path) -> None:
    content = bytearray(golden.read_bytes())
    content[60:90] = bytes(30)
    golden.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [lone_array, missing_array, text_members, cut, damage, lambda golden: golden.write_bytes(b"")]
)
def test_a_spoilt_golden_example_is_a_format_error(path, spoil):
    spoil(path / "golden.npz")
    relist(path)
    with pytest.raises(FormatError, match=r"golden\.npz: not a golden archive.*export the model again"):
        open_bundle(path).golden()
