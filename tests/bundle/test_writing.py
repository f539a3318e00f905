"""A bundle appears whole or not at all, and its graphs read nothing outside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toys
from bundles import GOLDEN, GRAPH, INFO, toy_graph, write_bundle
from numpy.testing import assert_array_equal

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import GraphInfo
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import FormatError, InputError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=[False, True], ids=["new", "over another"])
def out(request, tmp_path):
    """A directory for a bundle, empty or taken by one."""
    if request.param:
        write_bundle(tmp_path / "b", {"predict.onnx": toy_graph(b"before"), "weights.bin": b"old"})
    return tmp_path / "b"


def test_it_appears_at_the_end_and_replaces_all(out):
    before = contents(out)
    with staged_bundle(out, overwrite=True) as (staging, finish):
        (staging / "predict.onnx").write_bytes(toy_graph(b"after"))
        # On the same file system as the target, so that one rename shows it.
        assert staging.parent == out.parent
        assert contents(out) == before
        bundle = finish(INFO, toys.tracks(), GOLDEN)
    assert bundle.path == out
    assert open_bundle(out).sha256 == bundle.sha256
    assert sorted(contents(out)) == ["bundle.json", "golden.npz", "predict.onnx", "tracks.tsv"]
    assert contents(out)["predict.onnx"] == toy_graph(b"after")
    with np.load(out / "golden.npz") as archive:
        assert sorted(archive.files) == sorted(GOLDEN)
    assert [path.name for path in out.parent.iterdir()] == ["b"]
    assert out.stat().st_mode & 0o777 == 0o755


def fail_in_block(staging, finish):
    raise KeyboardInterrupt


def forget_finish(staging, finish):
    (staging / "predict.onnx").write_bytes(GRAPH)


def forget_graph(staging, finish):
    finish(INFO, toys.tracks(), GOLDEN)


def write_nan(staging, finish):
    (staging / "predict.onnx").write_bytes(GRAPH)
    finish(replace(INFO, parity={"max_abs": float("nan")}), toys.tracks(), GOLDEN)


def write_pickle(staging, finish):
    (staging / "predict.onnx").write_bytes(GRAPH)
    finish(INFO, toys.tracks(), {**GOLDEN, "coverage": np.array([{}])})


def forget_coverage(staging, finish):
    (staging / "predict.onnx").write_bytes(GRAPH)
    finish(INFO, toys.tracks(), {name: array for name, array in GOLDEN.items() if name != "coverage"})


def write_bad_name(staging, finish):
    (staging / "predict onnx").write_bytes(GRAPH)
    finish(INFO, toys.tracks(), GOLDEN)


@pytest.mark.parametrize(
    ("block", "error", "complaint"),
    [
        (fail_in_block, KeyboardInterrupt, "^$"),
        (forget_finish, None, None),
        (forget_graph, FormatError, r"predict\.onnx.*not among the listed"),
        (write_pickle, FormatError, "not a golden archive"),
        (forget_coverage, FormatError, "not a golden archive .*coverage"),
        (write_nan, FormatError, "NaN or infinite"),
        (write_bad_name, FormatError, "'predict onnx' is not allowed"),
    ],
)
def test_a_failure_leaves_everything_as_it_was(out, block, error, complaint):
    before = contents(out.parent)

    def write() -> None:
        with staged_bundle(out, overwrite=True) as (staging, finish):
            block(staging, finish)

    if error is None:
        write()
    else:
        with pytest.raises(error, match=complaint):
            write()
    assert contents(out.parent) == before
    assert len(list(out.parent.iterdir())) == bool(before)


def test_the_old_bundle_is_put_back_when_the_new_one_cannot_be_moved(tmp_path, monkeypatch):
    out = tmp_path / "b"
    write_bundle(out, {"predict.onnx": toy_graph(b"before")})
    before = contents(tmp_path)
    rename = Path.rename

    def fail_once_staged(self: Path, target: Path) -> Path:
        if "partial" in self.name:
            raise OSError("disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once_staged)
    with pytest.raises(OSError, match="disk is gone"):
        write_bundle(out, overwrite=True)
    assert contents(tmp_path) == before


def test_a_bundle_is_not_replaced_unasked(tmp_path):
    write_bundle(tmp_path / "b", {"predict.onnx": toy_graph(b"before")})
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"b: exists; choose another name, or pass overwrite"):
        write_bundle(tmp_path / "b")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_bundle_is_never_replaced(tmp_path, make, overwrite):
    make(tmp_path / "b")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "b", overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


WEIGHTS = np.arange(24, dtype=np.float32).reshape(6, 4)


def graph_with_weights_at(location: str) -> bytes:
    """Return ``coverage[0, t] = w[track_index[t]]`` as ONNX, with w in a file."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = kinds(name="w", data_type=kinds.FLOAT, dims=WEIGHTS.shape, data_location=kinds.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(WEIGHTS.nbytes))):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["w", "track_index"], ["rows"]),
            helper.make_node("Unsqueeze", ["rows", "first"], ["coverage"]),
        ],
        "predict",
        [
            helper.make_tensor_value_info("sequence", kinds.UINT8, ["batch", 4, 8]),
            helper.make_tensor_value_info("track_index", kinds.INT64, ["tracks"]),
            helper.make_tensor_value_info("n_fill", kinds.FLOAT, []),
        ],
        [helper.make_tensor_value_info("coverage", kinds.FLOAT, [1, "tracks", 4])],
        [weights, helper.make_tensor("first", kinds.INT64, [1], [0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_graph_reads_its_weights_from_the_bundle(tmp_path):
    pytest.importorskip("onnxruntime")
    files = {"predict.onnx": graph_with_weights_at("weights.bin"), "weights.bin": WEIGHTS.tobytes()}
    session = open_session(write_bundle(tmp_path / "b", files), "onnx:cpu", threads=1)
    assert_array_equal(session.run(GOLDEN["sequence"], np.array([5, 0]))[0], WEIGHTS[[5, 0]])


@pytest.mark.parametrize("location", ["../outside.bin", "sub/../../outside.bin", "{absolute}"])
def test_a_graph_that_points_outside_the_bundle_is_not_written(tmp_path, location):
    """The same weights, whose hash no manifest knows; the file is there, so that only the refusal can stop it."""
    outside = tmp_path / "outside.bin"
    outside.write_bytes(WEIGHTS.tobytes())
    graph = graph_with_weights_at(location.format(absolute=outside))
    with pytest.raises(
        FormatError, match=r"predict\.onnx: .* lies in '.*outside\.bin'; 'weights\.bin' alone is allowed"
    ):
        write_bundle(tmp_path / "b", {"predict.onnx": graph})


def test_several_graphs_may_be_named(tmp_path):
    graphs = {
        name: GraphInfo(file=f"{name}.onnx", inputs=INFO.graphs["predict"].inputs, outputs=("coverage",))
        for name in ("predict", "body")
    }
    files = {"predict.onnx": toy_graph(b"1"), "body.onnx": toy_graph(b"2")}
    bundle = write_bundle(tmp_path / "b", files, graphs=graphs)
    assert bundle.graph_path("body").read_bytes() == toy_graph(b"2")
    assert bundle.graph_path().read_bytes() == toy_graph(b"1")
