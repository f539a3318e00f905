"""What a hostile bundle could try: pickles in the golden example, weights read from elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import bundle_files
import numpy as np
import pytest

import borzoi_rt
from borzoi_rt.backends import open_session
from borzoi_rt.bundle import Bundle, open_bundle
from borzoi_rt.errors import FormatError

DEMO = Path(borzoi_rt.__file__).parent / "demo" / "bundle"


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    return bundle_files.write(tmp_path / "paper").path


def with_golden(bundle: Path, content: bytes) -> Bundle:
    (bundle / "golden.npz").write_bytes(content)
    bundle_files.relist(bundle, "golden.npz")
    return open_bundle(bundle)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def archive(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**bundle_files.golden(), **arrays})  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("name", ["sequence", "track_index", "coverage"])
def test_a_pickle_in_the_golden_example_is_refused_and_not_run(paper: Path, tmp_path: Path, name: str) -> None:
    content = archive(**{name: np.array([Bomb(tmp_path / "ran")], dtype=object)})
    bundle = with_golden(paper, content)
    with pytest.raises(FormatError, match="not a golden archive"):
        bundle.golden()
    assert not (tmp_path / "ran").exists()
    with np.load(io.BytesIO(content), allow_pickle=True) as loaded:  # the bomb is a bomb
        _ = loaded[name]
    assert (tmp_path / "ran").is_dir()


def test_a_bare_pickle_is_refused_and_not_run(paper: Path, tmp_path: Path) -> None:
    content = np.array([Bomb(tmp_path / "ran")], dtype=object).dumps()
    with pytest.raises(FormatError, match="not a golden archive"):
        with_golden(paper, content).golden()
    assert not (tmp_path / "ran").exists()


def broken_zip() -> bytes:
    """Return an archive whose directory is right and whose compressed bytes are not."""
    content = bytearray(archive())
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        offset = opened.getinfo("coverage.npy").header_offset
    content[offset + 60 : offset + 90] = bytes(30)
    return bytes(content)


def single_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def without(name: str) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{key: value for key, value in bundle_files.golden().items() if key != name})
    return stream.getvalue()


def text_members() -> bytes:
    """Return an archive whose members are text instead of arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name in ("sequence", "track_index", "coverage"):
            opened.writestr(f"{name}.npy", "not an array")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", archive()[:-30], archive()[: len(archive()) // 2], broken_zip(), single_array(), text_members()]
    + [without(name) for name in ("sequence", "track_index", "coverage")],
    ids=["empty", "two_bytes", "no_end", "half", "inside", "npy", "text", "no_seq", "no_index", "no_coverage"],
)
def test_a_damaged_golden_example_is_a_format_error(paper: Path, content: bytes) -> None:
    with pytest.raises(FormatError, match=r"golden\.npz: not a golden archive"):
        with_golden(paper, content).golden()


@pytest.mark.parametrize("where", ["inside", "parent", "detour", "absolute"])
def test_weights_are_read_from_the_bundle_only(tmp_path: Path, where: str) -> None:
    """The graph names the file of its weights: it may not name one beyond the folder whose hashes were checked."""
    onnx = pytest.importorskip("onnx", reason="rewriting a graph needs the extra `export`")
    pytest.importorskip("onnxruntime", reason="loading a graph needs the extra `cpu`")
    bundle = shutil.copytree(DEMO, tmp_path / "demo")
    shutil.copy(bundle / "weights.bin", tmp_path / "outside.bin")
    location = {
        "inside": "weights.bin",
        "parent": "../outside.bin",
        "detour": "./x/../../outside.bin",
        "absolute": str(tmp_path / "outside.bin"),
    }[where]
    graph = onnx.load(bundle / "predict.onnx", load_external_data=False)
    moved = [entry for tensor in graph.graph.initializer for entry in tensor.external_data if entry.key == "location"]
    assert moved
    for entry in moved:
        entry.value = location
    (bundle / "predict.onnx").write_bytes(graph.SerializeToString())
    bundle_files.relist(bundle, "predict.onnx")
    opened = open_bundle(bundle)
    if where == "inside":
        session = open_session(opened, threads=1)
        golden = opened.golden()
        got = session.run(golden["sequence"], golden["track_index"])
        np.testing.assert_allclose(got, golden["coverage"], rtol=1e-4, atol=2e-5)  # the tolerance of a replay
        return
    with pytest.raises(FormatError, match=r"predict\.onnx: onnxruntime cannot load the graph"):
        open_session(opened, threads=1)
