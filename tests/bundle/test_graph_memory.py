"""How much a graph takes, told from its file alone, and what is refused before a runtime sees it."""

from __future__ import annotations

import argparse
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from attacks import hostile
from onnx_graphs import Line, graph, program

from borzoi_rt.bundle.graph_check import check_graph
from borzoi_rt.bundle.graph_memory import OPEN_AXES, Limits, check_memory, follow
from borzoi_rt.bundle.graph_shapes import OPERATORS
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.errors import FormatError

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
HISTORIC = sorted((Path(__file__).parents[1] / "data" / "bundles").glob("*.zip"))
SMALL = Limits(window_bp=2048, bins=32, tracks=6, weights_bytes=0)


def limits_of(bundle: Bundle) -> Limits:
    grid, weights = bundle.geometry, bundle.files["weights.bin"].bytes
    return Limits(grid.sequence_length_bp, grid.bins, len(bundle.tracks), weights)


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A network in every form that is written, with graphs of gradients and activations where there are such."""
    torch = pytest.importorskip("torch")
    from dataclasses import replace

    from borzoi_export.graphs import bundle_info, write_graphs
    from borzoi_export.graphs import forms as forms_of

    from borzoi_rt.bundle.manifest import SquashSpec
    from borzoi_rt.bundle.writing import staged_bundle

    torch.manual_seed(3)
    model, tracks, squash = toys.model(toys.config(sequence_length_bp=4096)), toys.tracks(), SquashSpec(kind="new")
    made, out = {}, tmp_path_factory.mktemp("forms")
    for target in ("cpu", "gpu"):
        for precision in ("fp32", "fp16"):
            for form in forms_of(target, precision):
                name = f"{target}-{precision}-{form.convolution}"
                info = bundle_info(model, tracks, squash=squash, name=name, precision=precision, target=target)
                example = {
                    "sequence": np.zeros((1, 4, 4096), dtype=np.uint8),
                    "track_index": np.zeros(1, dtype=np.int64),
                    "coverage": np.zeros((1, 1, info.geometry.bins), dtype=np.float32),
                }
                with staged_bundle(out / name) as (directory, finish):
                    more = dict.fromkeys(("gradient", "activations"), precision == "fp32")
                    graphs, tiling = write_graphs(model, directory, form, precision, "new", **more)
                    made[name] = finish(replace(info, graphs=graphs, tiling=tiling), tracks, example)
    return made


def test_every_form_that_is_written_passes(forms: dict[str, Bundle]) -> None:
    assert len(forms) == 5
    assert sum(len(bundle.info.graphs) for bundle in forms.values()) >= 55
    for bundle in forms.values():
        open_bundle(bundle.path)


@pytest.mark.parametrize("name", ["bundle", "promoter_bundle"])
def test_bundles_of_the_package_pass(name: str) -> None:
    assert open_bundle(hostile.PACKAGED / name).info.graphs


@pytest.mark.parametrize("archive", HISTORIC, ids=lambda path: path.stem)
def test_older_bundles_pass(tmp_path: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as held:
        held.extractall(tmp_path)
    assert open_bundle(tmp_path).info.graphs


@pytest.mark.full
def test_the_published_shape_passes_with_room(tmp_path: Path, shared: Path) -> None:
    """The limits are at least twice, and where a graph takes most, at most four times what it takes."""
    from borzoi_export.graphs import forms as forms_of
    from borzoi_export.graphs import write_graphs

    from benchmarks.gpu_models import build

    network = build(argparse.Namespace(toy=False, tables=shared / "data" / "tables"))
    shares = []
    for target, precision in (("cpu", "fp32"), ("gpu", "fp32"), ("gpu", "fp16")):
        form, folder = forms_of(target, precision)[0], tmp_path / f"{target}-{precision}"
        folder.mkdir()
        more = dict.fromkeys(("gradient", "activations"), precision == "fp32")
        write_graphs(network, folder, form, precision, "old", **more)
        size = (folder / "weights.bin").stat().st_size
        limits = Limits(window_bp=524_288, bins=6144, tracks=7611, weights_bytes=size)
        for path in sorted(folder.glob("*.onnx")):
            check_graph(path.read_bytes(), size, limits)
            cost = check_memory(program(onnx.load(str(path), load_external_data=False)), limits)
            shares.append(
                [
                    cost.tensor_bytes / limits.tensor_bytes,
                    cost.live_bytes / limits.live_bytes,
                    cost.operations / limits.operations,
                ]
            )
    largest = np.max(shares, axis=0)
    assert (largest < 0.5).all(), largest
    assert (largest > 0.1).all(), largest


INPUTS: dict[str, Any] = {
    "sequence": lambda n, t: np.zeros((n, 4, 4096), dtype=np.uint8),
    "n_fill": lambda n, t: np.zeros((), dtype=np.float32),
    "track_index": lambda n, t: np.arange(t),
}


@pytest.mark.parametrize("windows", [1, 3])
def test_sizes_are_those_of_a_run(forms: dict[str, Bundle], tmp_path: Path, windows: int) -> None:
    """Every tensor of a graph made an output: its shape is what was told, for other numbers of windows too."""
    bundle, tracks = forms["cpu-fp32-cook-toom"], 4
    model = onnx.load(str(bundle.path / "predict.onnx"))
    told = {
        name: tensor
        for node, _, made in follow(program(model), limits_of(bundle))
        for name, tensor in zip(node.outputs, made, strict=True)
    }
    counts = {"windows": windows, "tracks": tracks}
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in told)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {name: make(windows, tracks) for name, make in INPUTS.items()}
    for name, values in zip(told, session.run(list(told), feeds), strict=True):
        dims = tuple(size.factor * math.prod(counts[symbol] for symbol in size.symbols) for size in told[name].dims)
        assert dims == values.shape, name


def doubled(times: int) -> list[Line]:
    """Concat a tensor with itself over and over."""
    return [("Concat", [name := f"v{n - 1}" if n else "tokens", name], {"axis": 2}) for n in range(times)]


BIG = 2**24
ATTACKS: dict[str, tuple[Any, str]] = {
    "expand": (graph([("Expand", ["tokens", "s"], {})], s=[1, BIG, 1, 3]), "in one tensor, of Expand"),
    "of a constant": (graph([("Expand", ["c", "s"], {})], c=1.0, s=[64, 1024, 1024]), "in one tensor, of Expand"),
    "concat": (graph(doubled(60)), "in one tensor, of Concat"),
    "pad": (graph([("Pad", ["tokens", "p"], {})], p=[0, 0, 0, 0, BIG - 1, BIG]), "in one tensor, of Pad"),
    "resize": (graph([("Resize", ["tokens", "", "s"], {})], s=[1.0, 1000.0, 10_000.0]), "in one tensor, of Resize"),
    "resize to": (graph([("Resize", ["tokens", "", "", "s"], {})], s=[1, 10_000, 10_000]), "in one tensor, of Resize"),
    "sum of all pairs": (
        graph(
            [
                ("Expand", ["c", "s"], {}),
                ("Unsqueeze", ["v0", "one"], {}),
                ("Add", ["v0", "v1"], {}),
            ],
            c=1.0,
            s=[9000],
            one=[1],
        ),
        "in one tensor, of Add",
    ),
    "product": (
        graph(
            [("Expand", ["c", "s"], {}), ("Reshape", ["v0", "t"], {}), ("MatMul", ["v0", "v1"], {})],
            c=1.0,
            s=[9000, 1],
            t=[1, 9000],
        ),
        "in one tensor, of MatMul",
    ),
    "gather": (
        graph([("Expand", ["c", "s"], {}), ("Gather", ["tokens", "v0"], {"axis": 1})], c=0, s=[9_000_000]),
        "in one tensor, of (Gather|Expand)",
    ),
    "convolution": (graph([("Conv", ["tokens", "w"], {"pads": [BIG, BIG]})], w=np.ones((2, 4, 1))), "of Conv"),
    "pool": (graph([("MaxPool", ["tokens"], {"kernel_shape": [1], "pads": [BIG, BIG]})]), "in one tensor, of MaxPool"),
    "square of windows": (
        graph([("Unsqueeze", ["tokens", "one"], {}), ("Add", ["v0", "tokens"], {})], one=[1]),
        "1 x windows x windows|grows with a square",
    ),
    "square of tracks": (
        graph([("Unsqueeze", ["track_index", "one"], {}), ("Add", ["v0", "track_index"], {})], one=[1]),
        "grows with a square",
    ),
    "all at once": (
        graph(
            [*(("Expand", ["tokens", f"s{n}"], {}) for n in range(20)), ("Max", [f"v{n}" for n in range(20)], {})],
            **{f"s{n}": [1, 4 * (n + 1), 1_000_000 // (n + 1), 3] for n in range(20)},
        ),
        "in all tensors at once",
    ),
    "kept constants": (
        graph([(("Expand"), ["c", f"s{n}"], {}) for n in range(40)], c=1.0, **{f"s{n}": [BIG - n] for n in range(40)}),
        "in all tensors at once",
    ),
    "work": (
        graph(
            [("Expand", ["c", "s"], {})] + [("MatMul", ["v0" if not n else f"v{n}", "v0"], {}) for n in range(50)],
            c=1.0,
            s=[4096, 4096],
        ),
        "operations for one window",
    ),
    "values as sizes": (graph([("Expand", ["tokens", "track_index"], {})]), "the sizes of Expand are computed"),
    "computed sizes": (
        graph([("Shape", ["tokens"], {}), ("Mul", ["v0", "v0"], {}), ("Expand", ["tokens", "v1"], {})]),
        "the sizes of Expand are computed",
    ),
    "computed shape": (
        graph([("Sub", ["track_index", "one"], {}), ("Reshape", ["tokens", "v0"], {})], one=[1]),
        "the sizes of Reshape are computed",
    ),
    "computed pads": (graph([("Pad", ["tokens", "track_index"], {})]), "the pads of Pad are computed"),
    "computed scales": (
        graph([("Cast", ["track_index"], {"to": 1}), ("Resize", ["tokens", "", "v0"], {})]),
        "the scales of Resize are computed",
    ),
    "divided by tracks": (
        graph(
            [
                ("Expand", ["c", "s"], {}),
                ("Shape", ["track_index"], {}),
                ("Concat", ["v1", "rest"], {"axis": 0}),
                ("Reshape", ["v0", "v2"], {}),
            ],
            c=1.0,
            s=[1024],
            rest=[-1],
        ),
        "divided by",
    ),
    "twice": (graph([("Relu", ["tokens"], {})]), "stands twice"),
    "backwards": (graph([("Relu", ["v1"], {}), ("Relu", ["tokens"], {})]), "which nothing before it makes"),
    "does not fit": (graph([("Transpose", ["tokens"], {"perm": [0, 0, 1]})]), "do not fit each other"),
    "no input": (graph([("Conv", ["tokens"], {})]), "Conv lacks input 1"),
    "auto_pad": (graph([("Conv", ["tokens", "w"], {"auto_pad": "SAME_UPPER"})], w=np.ones((2, 4, 1))), "auto_pad"),
    "type": (graph([("Cast", ["tokens"], {"to": 8})]), "Cast to ONNX type 8"),
}
ATTACKS["twice"][0].graph.node[0].attribute.extend([helper.make_attribute("a", 1), helper.make_attribute("a", 2)])


@pytest.mark.parametrize(("model", "complaint"), ATTACKS.values(), ids=ATTACKS)
def test_what_grows_from_harmless_parts_is_refused(model: Any, complaint: str) -> None:
    check_graph(model.SerializeToString(), 0) if complaint != "stands twice" else None
    with pytest.raises(FormatError, match=complaint) as caught:
        check_graph(model.SerializeToString(), 0, SMALL)
    assert str(caught.value).isprintable()


def test_what_it_is_made_of_passes() -> None:
    """Otherwise each of them could be refused for another reason."""
    model = graph([("Expand", ["tokens", "s"], {}), *doubled(0), ("Relu", ["v0"], {})], s=[1, 4, 3])
    check_graph(model.SerializeToString(), 0, SMALL)


def test_weights_that_many_share_are_counted() -> None:
    """A runtime copies each of them."""
    shared = kinds(name="w0", data_type=kinds.FLOAT, dims=[1024], data_location=kinds.EXTERNAL)
    for key, text in {"location": "weights.bin", "offset": "0", "length": "4096"}.items():
        shared.external_data.add(key=key, value=text)
    model = graph([("Relu", ["tokens"], {})])
    for number in range(3):
        model.graph.initializer.add().CopyFrom(shared)
        model.graph.initializer[-1].name = f"w{number}"
        if number < 2:
            assert check_graph(model.SerializeToString(), 4096, SMALL).external
    with pytest.raises(FormatError, match=r"weights of 12288 bytes in weights\.bin, which has 4096"):
        check_graph(model.SerializeToString(), 4096, SMALL)


def test_an_input_that_is_not_known_leaves_no_axis_open() -> None:
    model = graph([("Relu", ["tokens"], {})])
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    with pytest.raises(FormatError, match="input 'pixels' leaves axis 0 open"):
        check_graph(model.SerializeToString(), 0, SMALL)


@pytest.mark.parametrize("name", ["predict", "trunk_tile", "head"])
def test_no_road_leads_such_a_graph_to_the_runtime(tmp_path: Path, name: str) -> None:
    """With all hashes made true again, opening refuses it; where that is left out, loading does."""
    bundle = hostile.copy_bundle("bundle", tmp_path / "b")
    path = bundle / f"{name}.onnx"
    model = onnx.load(str(path), load_external_data=False)
    first = model.graph.node[-1].input[0]
    model.graph.initializer.append(helper.make_tensor("far", kinds.INT64, [3], [64, 1024, 4096]))
    model.graph.node[-1].input[0] = "grown_back"
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Unsqueeze", [first, "front"], ["raised"]))
    model.graph.initializer.append(helper.make_tensor("front", kinds.INT64, [3], [0, 1, 2]))
    model.graph.initializer.append(helper.make_tensor("wide", kinds.INT64, [6], [64, 1024, 4096, 1, 1, 1]))
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Expand", ["raised", "wide"], ["grown"]))
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("ReduceMax", ["grown", "front"], ["grown_back"], keepdims=0)
    )
    path.write_bytes(model.SerializeToString())
    hostile.write_manifest(bundle, hostile.read_manifest(bundle))
    with pytest.raises(FormatError, match=rf"{name}\.onnx: .*in one tensor, of Expand"):
        open_bundle(bundle)
    with pytest.raises(FormatError, match=rf"{name}\.onnx: .*in one tensor, of Expand"):
        open_bundle(bundle, verify=False).check_graph(name)


def test_every_operator_has_a_rule_and_every_input_axes() -> None:
    assert {"Conv", "MatMul", "Reshape"} < OPERATORS
    assert not OPERATORS & {"Loop", "If", "Scan", "ConstantOfShape", "Tile", "Range", "OneHot", "NonZero"}
    assert {"sequence", "tokens", "skip_", "embedding", "track_index"} <= OPEN_AXES.keys()
