"""Random graphs: what onnxruntime makes of them is never larger than what was told."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx_graphs import Line, graph, program

from borzoi_rt.bundle.graph_memory import Limits, follow
from borzoi_rt.bundle.graph_sizes import ONE, Size
from borzoi_rt.errors import FormatError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
LIMITS = Limits(window_bp=2048, bins=32, tracks=4, weights_bytes=0)
EXAMPLES = int(os.environ.get("BORZOI_RT_FUZZ", "120"))

_SIZES = st.lists(st.sampled_from([-1, 0, 1, 1, 2, 3, 4, 12]), min_size=1, max_size=4)
_ALIKE = st.sampled_from(["Relu", "Identity", "Exp", "Neg", "Softmax", "Sigmoid"])
_PAIRS = st.sampled_from(["Add", "Mul", "Max", "Pow", "MatMul"])
_REDUCED = st.sampled_from(["ReduceSum", "ReduceMax"])


def _line(draw: st.DrawFn, kind: int, x: str, y: str, constant: Callable[[Any], str]) -> Line:
    axis = draw(st.integers(-3, 2))
    match kind:
        case 0:
            return draw(_ALIKE), [x], {}
        case 1:
            return draw(_PAIRS), [x, y], {}
        case 2:
            return "Concat", [x, y], {"axis": axis}
        case 3:
            return "Reshape", [x, constant(draw(_SIZES))], {}
        case 4:
            return draw(st.sampled_from(["Reshape", "Expand"])), [x, y], {}
        case 5:
            return "Expand", [x, constant([abs(size) for size in draw(_SIZES)])], {}
        case 6:
            cuts = (constant([draw(st.integers(-5, 5))]) for _ in range(2))
            return "Slice", [x, *cuts, constant([axis]), constant([draw(st.sampled_from([1, 1, 2, -1]))])], {}
        case 7:
            return draw(st.sampled_from(["Unsqueeze", "Squeeze"])), [x, constant([axis])], {}
        case 8:
            return draw(_REDUCED), [x, constant([axis])], {"keepdims": draw(st.integers(0, 1))}
        case 9:
            return "Gather", [x, "track_index"], {"axis": axis}
        case 10:
            return "Pad", [x, constant(draw(st.lists(st.integers(-1, 3), min_size=6, max_size=6)))], {}
        case 11:
            return (
                "Conv",
                [x, constant(np.ones((2, 4, draw(st.integers(1, 3)))))],
                {"pads": [1, draw(st.integers(0, 2))]},
            )
        case 12:
            return "Transpose", [x], {"perm": draw(st.permutations(range(draw(st.integers(1, 3)))))}
        case 13:
            return "Split", [x], {"axis": axis, "num_outputs": 1}
        case _:
            return "Shape", [x], {"start": draw(st.integers(-2, 1))}


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """Return a graph of up to eight operators over the two inputs and small constants."""
    constants: dict[str, Any] = {"c": np.ones(draw(st.lists(st.integers(1, 3), max_size=3)))}

    def constant(values: Any) -> str:
        constants[name := f"k{len(constants)}"] = values
        return name

    lines: list[Line] = []
    for _ in range(draw(st.integers(1, 8))):
        values = st.sampled_from(["tokens", "tokens", "c", *(f"v{number}" for number in range(len(lines)))])
        lines.append(_line(draw, draw(st.integers(0, 14)), draw(values), draw(values), constant))
    return graph(lines, **constants)


def actual(size: Size, counts: dict[str, int]) -> int:
    return size.factor * math.prod(counts[symbol] for symbol in size.symbols)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="BORZOI_RT_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(model=graphs(), windows=st.integers(1, 3), tracks=st.integers(1, 4))
def test_nothing_is_larger_than_was_told(model: Any, windows: int, tracks: int) -> None:
    told: dict[str, Any] = {}
    try:
        for node, _, made in follow(program(model), LIMITS):
            told |= dict(zip(node.outputs, made, strict=True))
    except FormatError:
        assume(len(told) > 0)
    counts = {"windows": windows, "tracks": tracks}
    for name, values in run_first(model, list(told), windows, tracks).items():
        dims = tuple(actual(size, counts) for size in told[name].dims)
        assert len(dims) == values.ndim, name
        assert all(size <= most for size, most in zip(values.shape, dims, strict=True)), (name, values.shape, dims)
        if told[name].exact:
            assert values.shape == dims, name


def run_first(model: Any, names: list[str], windows: int, tracks: int) -> dict[str, np.ndarray]:
    """Return the values of as many of the first operators as onnxruntime can run."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    feeds = {"tokens": np.ones((windows, 4, 3), dtype=np.float32), "track_index": np.zeros(tracks, dtype=np.int64)}
    for count in range(len(names), 0, -1):
        part = onnx.ModelProto.FromString(model.SerializeToString())
        del part.graph.node[count:]
        del part.graph.output[:]
        part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names[:count])
        try:
            session = runtime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
            values = session.run(names[:count], {item.name: feeds[item.name] for item in session.get_inputs()})
        except Exception:  # onnxruntime's exceptions share no base below Exception
            continue
        return dict(zip(names[:count], values, strict=True))
    return {}


def test_most_random_graphs_can_be_followed_and_run() -> None:
    """Otherwise nothing would be compared."""
    lines: list[Line] = [
        ("Shape", ["tokens"], {"start": 0, "end": 1}),
        ("Concat", ["v0", "two"], {"axis": 0}),
        ("Expand", ["c", "v1"], {}),
        ("Add", ["v2", "track_float"], {}),
    ]
    model = graph([("Cast", ["track_index"], {"to": 1}), *lines[:3]], two=[2, 1], c=1.0)
    for node, name in ((model.graph.node[2], "v1"), (model.graph.node[3], "v2")):
        node.input[0 if name == "v1" else 1] = name
    told = [made[0] for _, _, made in follow(program(model), LIMITS)]
    assert [str(size) for size in told[3].dims] == ["1 x windows", "2", "1"]
    assert run_first(model, ["v0", "v1", "v2", "v3"], 3, 2)["v3"].shape == (3, 2, 1)


@pytest.mark.parametrize(
    ("made", "dims"),
    [
        (Size(2, ("a",)) * Size(3, ("b",)), "6 x a x b"),
        (Size(2, ("a",)) + Size(3, ("a",)), "5 x a"),
        (Size(2, ("a",)) + Size(3), "5 x a"),
        (Size(2, ("a",)).join(Size(5, ("b",))), "5 x a x b"),
        (ONE.join(Size(5, ("b",))), "5 x b"),
        (Size(7, ("a", "b")).over(Size(2, ("b",))), "4 x a"),
    ],
)
def test_sizes(made: Size, dims: str) -> None:
    assert str(made) == dims
