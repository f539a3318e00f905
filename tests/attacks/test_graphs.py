"""ONNX files that read other files, call what they should not, or cannot be read: refused before they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import hostile
from attacks.fuzzing import fuzz
from borzoi_rt.backends.onnx import Graph
from borzoi_rt.backends.opening import open_parts, open_session
from borzoi_rt.bundle.graph_check import OPERATORS, check_graph, check_graph_file
from borzoi_rt.bundle.graph_memory import Limits
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.errors import FormatError

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
WEIGHTS = 4096
GRAPHS = sorted(hostile.PACKAGED.glob("*bundle/*.onnx"))


def model(nodes: list[Any] | None = None, weights: tuple[Any, ...] = (), **options: Any) -> Any:
    """Return ``y = x + w`` or what is asked for."""
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    value = helper.make_tensor_value_info
    shape = options.pop("shape", [4])
    graph = helper.make_graph(
        nodes, "g", [value("x", kinds.FLOAT, shape)], [value("y", kinds.FLOAT, [4])], list(weights) or [inside()]
    )
    opsets = options.pop("opsets", [("", 20)])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*item) for item in opsets], **{"ir_version": 10, **options}
    )


def inside(kind: int = kinds.FLOAT, values: Any = (1, 2, 3, 4)) -> Any:
    return helper.make_tensor("w", kind, [len(values)], values)


def beside(dims: tuple[int, ...] = (4,), **entries: Any) -> Any:
    """Return a weight whose values lie in another file."""
    tensor = kinds(name="w", data_type=kinds.FLOAT, dims=dims, data_location=kinds.EXTERNAL)
    for key, text in {"location": "weights.bin", "offset": "0", "length": "16", **entries}.items():
        if text is not None:
            tensor.external_data.add(key=key, value=str(text))
    return tensor


def untold() -> Any:
    """A file is named, but the values are said to lie in the graph."""
    tensor = beside()
    tensor.data_location = kinds.DEFAULT
    tensor.raw_data = bytes(16)
    return tensor


def both() -> Any:
    tensor = beside()
    tensor.raw_data = bytes(16)
    return tensor


def twice() -> Any:
    tensor = beside()
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def loop() -> Any:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [value("i", kinds.INT64, []), value("c", kinds.BOOL, []), value("a", kinds.FLOAT, [4])],
        [value("d", kinds.BOOL, []), value("b", kinds.FLOAT, [4])],
    )
    return helper.make_node("Loop", ["", "", "x"], ["y"], body=body)


def hidden_subgraph() -> Any:
    """An allowed operator with a graph among its attributes."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    node.attribute.append(helper.make_attribute("body", loop().attribute[0].g))
    return node


def constant_with_file() -> Any:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    node.attribute.append(helper.make_attribute("value", beside(location="/etc/passwd")))
    return node


def with_function() -> Any:
    made = model()
    made.functions.append(
        helper.make_function("custom", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [])
    )
    return made


def two_graphs() -> bytes:
    """Parsers merge the second graph into the first."""
    whole = model().SerializeToString()
    extra = onnx.ModelProto(graph=onnx.GraphProto(node=[loop()])).SerializeToString()
    return bytes(whole + extra)


def sparse() -> Any:
    made = model()
    values = helper.make_tensor("s", kinds.FLOAT, [1], [1.0])
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("i", kinds.INT64, [1], [0]), [2**40])
    )
    return made


ATTACKS: list[tuple[str, Callable[[], Any], str]] = [
    ("another file", lambda: model(weights=(beside(location="/etc/passwd"),)), "lies in '/etc/passwd'"),
    ("up", lambda: model(weights=(beside(location="../weights.bin"),)), r"lies in '\.\./weights\.bin'"),
    ("dot", lambda: model(weights=(beside(location="./weights.bin"),)), r"lies in '\./weights\.bin'"),
    ("model.py", lambda: model(weights=(beside(location="model.py"),)), "lies in 'model.py'"),
    ("no location", lambda: model(weights=(beside(location=None),)), "location, offset and length are needed"),
    ("no length", lambda: model(weights=(beside(length=None),)), "location, offset and length are needed"),
    ("checksum", lambda: model(weights=(beside(checksum="x"),)), "location, offset and length are needed"),
    ("twice", lambda: model(weights=(twice(),)), "each once"),
    ("past the end", lambda: model(weights=(beside(offset=WEIGHTS - 8),)), "ends at byte 4104"),
    ("negative", lambda: model(weights=(beside(offset=-4096),)), "has offset '-4096'"),
    ("overflow", lambda: model(weights=(beside(offset=2**64 - 8),)), "has offset"),
    ("not ascii", lambda: model(weights=(beside(offset="\u0661"),)), "not printable ASCII"),
    ("short", lambda: model(weights=(beside(length=8),)), "has 8 bytes in weights.bin, its shape needs 16"),
    ("huge", lambda: model(weights=(beside(dims=(2**31, 2**31), length=2**64),)), "at most 2147483648 elements"),
    ("negative size", lambda: model(weights=(beside(dims=(-4,)),)), "has the shape"),
    ("untold", lambda: model(weights=(untold(),)), "names a file without saying"),
    ("both", lambda: model(weights=(both(),)), "both in the graph and beside it"),
    ("text", lambda: model(weights=(helper.make_tensor("w", kinds.STRING, [1], [b"x"]),)), "field 6"),
    ("missing values", lambda: model(weights=(kinds(name="w", data_type=1, dims=[2**20]),)), "does not hold"),
    ("large integer", lambda: model(weights=(inside(kinds.INT64, (2**40,)),)), "holds 1099511627776; at most"),
    ("large pad", lambda: model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[2**40, 0])]), "attribute 'pads'"),
    ("large declared", lambda: model(shape=[2**40]), "at most 2147483648 elements"),
    ("loop", lambda: model([loop()]), "operator 'Loop' is not allowed"),
    ("if", lambda: model([helper.make_node("If", ["x"], ["y"])]), "operator 'If' is not allowed"),
    ("scan", lambda: model([helper.make_node("Scan", ["x"], ["y"])]), "operator 'Scan' is not allowed"),
    ("hidden", lambda: model([hidden_subgraph()]), "an attribute of Add has field 6"),
    ("tensor", lambda: model([constant_with_file()]), "an attribute of Add has field 5"),
    ("constant", lambda: model([helper.make_node("ConstantOfShape", ["x"], ["y"])]), "'ConstantOfShape' is not"),
    ("contrib", lambda: model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]), "com.microsoft.Gelu"),
    ("python", lambda: model([helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")]), "contrib.PyOp"),
    ("domain", lambda: model(opsets=[("", 20), ("com.microsoft", 1)]), "com.microsoft 1; ai.onnx"),
    ("old opset", lambda: model(opsets=[("", 7)]), "ai.onnx 7"),
    ("new opset", lambda: model(opsets=[("", 99)]), "ai.onnx 99"),
    ("IR", lambda: model(ir_version=99), "IR version 99"),
    ("function", with_function, "field 25"),
    ("two graphs", two_graphs, "has graph twice"),
    ("sparse", sparse, "field 15"),
    ("empty", lambda: b"", "IR version 0"),
    ("no protobuf", lambda: b"\x80" * 40, "cut off or holds a number"),
    ("cut", lambda: model().SerializeToString()[:-3], "cut off"),
    ("name", lambda: model([helper.make_node("Add", ["x", "w\n"], ["y"])]), "not printable ASCII"),
]


@pytest.mark.parametrize(("make", "complaint"), [item[1:] for item in ATTACKS], ids=[item[0] for item in ATTACKS])
def test_what_each_attack_is_told(tmp_path: Path, make: Callable[[], Any], complaint: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(WEIGHTS))
    made = make()
    (tmp_path / "predict.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(FormatError, match=complaint) as caught:
        Graph(tmp_path / "predict.onnx")
    assert str(caught.value).isprintable()


def test_the_graph_that_the_attacks_are_made_of_passes_and_runs(tmp_path: Path) -> None:
    """Otherwise each of them could be refused for another reason."""
    for number, weight in enumerate((inside(), beside())):
        (tmp_path / "weights.bin").write_bytes(np.arange(1, 5, dtype=np.float32).tobytes())
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(model(weights=(weight,)).SerializeToString())
        graph = Graph(path, threads=1)
        assert graph.facts.inputs == {"x": (4,)}
        (found,) = graph.run({"x": np.ones(4, dtype=np.float32)}, ["y"])
        assert found.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "absent", "large"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "predict.onnx"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as handle:
            handle.truncate(2**40)
    with pytest.raises(FormatError, match=r"not a regular file|cannot be read|at most \d+ are allowed"):
        check_graph_file(path)


def poison(bundle: Path, graph: str, location: Path) -> None:
    """Let every weight of a graph lie in another file, and make all hashes true again."""
    made = onnx.load(str(bundle / f"{graph}.onnx"), load_external_data=False)
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = str(location)
    (bundle / f"{graph}.onnx").write_bytes(made.SerializeToString())
    hostile.write_manifest(bundle, hostile.read_manifest(bundle))


def load(bundle: Bundle, graph: str) -> None:
    if graph == "predict":
        open_session(bundle, "cpu", check=False)
    else:
        open_parts(bundle)._run(graph, {})  # type: ignore[attr-defined]


@pytest.mark.parametrize("graph", ["predict", "trunk_tile", "body", "head", "statistics"])
def test_no_road_leads_a_poisoned_graph_to_the_runtime(tmp_path: Path, graph: str) -> None:
    """Opening verifies; where that is left out, loading does."""
    secret = tmp_path / "secret.bin"
    bundle = hostile.copy_bundle("bundle", tmp_path / "b")
    secret.write_bytes((bundle / "weights.bin").read_bytes())
    poison(bundle, graph, secret)
    with pytest.raises(FormatError, match=rf"{graph}\.onnx: .*lies in '.*secret\.bin'"):
        open_bundle(bundle)
    unverified = open_bundle(bundle, verify=False)
    with pytest.raises(FormatError, match=rf"{graph}\.onnx: .*lies in '.*secret\.bin'"):
        load(unverified, graph)


def test_every_operator_that_is_written_is_allowed_and_few_others() -> None:
    written = {node.op_type for path in GRAPHS for node in onnx.load(str(path), load_external_data=False).graph.node}
    assert len(written) > 25
    assert written <= OPERATORS
    assert len(OPERATORS) < 60
    assert not OPERATORS & {"Loop", "If", "Scan", "SequenceMap", "ConstantOfShape", "Tile", "Range", "StringConcat"}


GRAPH = (hostile.PACKAGED / "bundle" / "head.onnx").read_bytes()
SIZE = (hostile.PACKAGED / "bundle" / "weights.bin").stat().st_size
LIMITS = Limits(window_bp=8192, bins=192, tracks=8, weights_bytes=SIZE)


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(GRAPH) - 1), st.binary(max_size=6), st.integers(0, 6)), min_size=1))
def test_spliced_bytes_never_break_the_reader(changes: list[tuple[int, bytes, int]]) -> None:
    data = bytearray(GRAPH)
    for offset, inserted, removed in changes:
        data[offset : offset + removed] = inserted
    agree(bytes(data))


@fuzz
@given(st.binary(max_size=300))
def test_random_bytes_never_break_the_reader(data: bytes) -> None:
    agree(data)


def agree(data: bytes) -> None:
    """What our reader accepts, protobuf's must read as the same graph."""
    try:
        facts = check_graph(data, SIZE, LIMITS)
    except FormatError as error:
        if not str(error).isprintable():
            pytest.fail(repr(str(error)))
        return
    read = onnx.ModelProto.FromString(data)
    assert {node.op_type for node in read.graph.node} <= OPERATORS
    assert list(facts.inputs) == list(dict.fromkeys(value.name for value in read.graph.input))
    named = {entry.value for tensor in read.graph.initializer for entry in tensor.external_data}
    assert not any(text.startswith(("/", ".")) for text in named)
