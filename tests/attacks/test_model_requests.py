"""Requests of any shape, kind and text to the served models, in process: an answer, or one line, and nothing else.

What a server checks itself before a model sees a request (names, kinds, ranks, the batch axis) holds here too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from triton_servers import OPTIONS, windows

from attacks.fuzzing import fuzz
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import InputError
from borzoi_rt.serving import graph_model, scorer_model
from borzoi_rt.serving.config import Limits
from borzoi_rt.serving.repository import write_repository

onnx = pytest.importorskip("onnx")


class Tensor:
    """A tensor of the python backend."""

    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> np.ndarray:
        return self.values


class Fault:
    INVALID_ARG, INTERNAL = "invalid", "internal"

    def __init__(self, text: str, code: str) -> None:
        self.text, self.code = text, code


@dataclass
class Response:
    tensors: list[Tensor] = field(default_factory=list)
    error: Fault | None = None


@dataclass
class Request:
    tensors: dict[str, np.ndarray]
    wanted: list[str]

    def requested_output_names(self) -> list[str]:
        return self.wanted

    def request_id(self) -> str:
        return "id-1"


@pytest.fixture(scope="module")
def log() -> Iterator[list[str]]:
    """Stand in for the utilities that exist inside a server alone; the lines of its log."""
    lines: list[str] = []
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.TritonError, module.InferenceResponse = Tensor, Fault, Response
    module.Logger = SimpleNamespace(log_warn=lines.append, log_verbose=lines.append)
    module.get_input_tensor_by_name = lambda request, name: (
        Tensor(name, request.tensors[name]) if name in request.tensors else None
    )
    sys.modules[module.__name__] = module
    yield lines
    del sys.modules[module.__name__]


def loaded(kind: Any, repository: Path, name: str) -> Any:
    from borzoi_rt.backends.triton import parse_model_config

    (path,) = (repository / name).glob("configs/*.pbtxt")
    config = parse_model_config(path.read_text())
    parameters = {key: {"string_value": value.string_value} for key, value in config.parameters.items()}
    (version,) = (item.name for item in (repository / name).iterdir() if item.name.isdecimal())
    model = kind.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(
                {
                    "name": name,
                    "parameters": parameters,
                    "input": [{"name": item.name} for item in config.input],
                    "output": [{"name": item.name} for item in config.output],
                }
            ),
            "model_repository": str(repository / name),
            "model_version": version,
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    return model


@pytest.fixture(scope="module")
def repository(toy_bundle: Bundle, triton_genome: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("served") / "models"
    write_repository(toy_bundle, out, fasta=triton_genome, options=OPTIONS, limits=Limits(windows=4))
    return out


@pytest.fixture(scope="module")
def graph(log: list[str], repository: Path) -> Any:
    return loaded(graph_model, repository, "borzoi")


@pytest.fixture(scope="module")
def scorer(log: list[str], repository: Path) -> Any:
    return loaded(scorer_model, repository, "borzoi_scorer")


def asked(model: Any, log: list[str], tensors: dict[str, np.ndarray], wanted: list[str]) -> Response:
    """Ask, and judge what every answer must be."""
    log.clear()
    (response,) = model.execute([Request(tensors, wanted)])
    line = json.loads(log[-1])
    assert line["request"] == "id-1"
    assert (line["status"] == "ok") == (response.error is None)
    if response.error is not None:
        assert line["status"] in ("invalid", "failed"), line  # "defect" is one
        assert re.fullmatch(r"[ -~]{1,2000}", response.error.text), response.error.text
    return response


WINDOW = windows(1)
_INDEX = st.lists(st.sampled_from([0, 1, 5, 6, -1, 2**31, -(2**63), 2**63 - 1]), max_size=8)
_FLOATS = st.sampled_from([0.0, 0.25, float("nan"), float("inf"), -1e38, 1e-45])


@fuzz
@given(
    shape=st.tuples(st.integers(0, 6), st.sampled_from([4, 3, 0]), st.sampled_from([2048, 2047, 0, 4096])),
    value=st.sampled_from([0, 1, 2, 255]),
    index=_INDEX,
    fill=_FLOATS,
    trim=st.lists(st.sampled_from([0, 1, 15, 16, 31, 32, 33, -1, 2**62]), min_size=2, max_size=2),
)
def test_graphs(
    graph: Any,
    log: list[str],
    shape: tuple[int, int, int],
    value: int,
    index: list[int],
    fill: float,
    trim: list[int],
) -> None:
    tensors = {
        "sequence": np.full(shape, value, dtype=np.uint8),
        "track_index": np.array(index, dtype=np.int64),
        "n_fill": np.array([fill], dtype=np.float32),
        "trim_bins": np.array(trim, dtype=np.int64),
    }
    response = asked(graph, log, tensors, ["coverage"])
    if response.error is None:
        (coverage,) = response.tensors
        left = len(range(32)[trim[0] : max(0, 32 - trim[1])])  # none, where more is left out than there is
        assert coverage.values.shape == (shape[0], len(index), left)
        assert np.isfinite(coverage.values).all()


_TEXTS = st.sampled_from(
    [b"chr1", b"1", b"chr9", b"", b"\xff\xfe", b"A", b"a", b"ACGT", b"N", b"<DEL>", b"*", b"\0", b"A\n", b"A" * 3000]
)
_ROWS = st.lists(
    st.tuples(_TEXTS, st.sampled_from([1, 5000, 0, -1, 12_001, 2**31, 2**63 - 1]), _TEXTS, _TEXTS),
    min_size=1,
    max_size=4,
)


@fuzz
@given(rows=_ROWS, extra=st.sampled_from([(), ("ref_sequence",), ("ref_sequence", "alt_sequence")]), data=st.data())
def test_scorers(
    scorer: Any,
    log: list[str],
    rows: list[tuple[bytes, int, bytes, bytes]],
    extra: tuple[str, ...],
    data: st.DataObject,
) -> None:
    columns = dict(zip(("chrom", "pos", "ref", "alt"), zip(*rows, strict=True), strict=True))
    kept = data.draw(st.sampled_from([list(columns), list(columns), ["chrom", "pos"], []]))
    tensors = {
        name: np.array(columns[name], dtype=np.int64 if name == "pos" else np.object_).reshape(-1, 1) for name in kept
    }
    window = data.draw(st.sampled_from([b"A" * 2048, b"n" * 2048, b"A", b"\xff" * 2048, b"-" * 2048]))
    tensors |= {name: np.array([[window]] * len(rows), dtype=np.object_) for name in extra}
    wanted = data.draw(st.sampled_from([["status", "SUM"], ["detail"], ["nothing"], []]))
    response = asked(scorer, log, tensors, wanted)
    for tensor in response.tensors:
        assert tensor.values.shape[0] == len(rows)


_EXPLAINED = {
    "method": "ism",
    "target": "SUM",
    "tracks": [0, 2],
    "chrom": "chr1",
    "start": 5000,
    "end": 5002,
    "gene": {"chrom": "chr1", "strand": "+", "exons": [[4900, 5100]], "isoforms": [[[4900, 5000]]]},
}
_SPOILT = st.sampled_from(
    [
        *(
            0,
            1,
            -1,
            5001,
            2**31,
            2**63,
            10**400,
            0.5,
            1e308,
            True,
            False,
            None,
            "",
            "x",
            "chr1",
            "N" * 3000,
            "\0",
            "\u00e9",
        ),
        *([], [[]], [0, 10**30], ["0"], [True], [[1, 2]], {}, {"stat": "SUM"}, {"stat": "RATIO", "region": "pas"}),
        *({"stat": "SUM", "region": "tss:99999999"}, {"log": "yes"}, {"stat": "logSED", "pseudo": 1e29, "log": True}),
        *("SUM@exons", "SUM@tss:5", "SUM@span:999999999", "log SUM", "saliency", "ism", "ig", "alt", "ref", "uniform"),
        *("chr1:5001:A:C", "chr1:5001:ACGT:A", "chr1:5001:N:<DEL>", "chr1:0:A:C", "chr1:99999999999999:A:C", "::::"),
        *(
            {"convention": "mean3"},
            {"convention": 3},
            {"steps": 10**40},
            {"chrom": "chr1", "strand": "+", "exons": [[0, 1]]},
        ),
    ]
)
_NAMES = st.sampled_from(
    [
        *("method", "options", "target", "tracks", "against", "rc", "n_code", "chrom", "start", "end"),
        *("window_start", "anchor", "gene", "variant", "allele", "other"),
    ]
)


@fuzz
@given(changes=st.dictionaries(_NAMES, _SPOILT, max_size=3), cut=st.sampled_from([None, None, None, 0, 7, 60]))
def test_requests_for_explanations(scorer: Any, log: list[str], changes: dict[str, Any], cut: int | None) -> None:
    document = json.dumps({**_EXPLAINED, **changes})[:cut].encode()
    tensors = {"explain": np.array([[document]], dtype=np.object_)}
    response = asked(scorer, log, tensors, ["status", "detail", "explanation"])
    if response.error is None:
        status, detail, explanation = (tensor.values[0, 0].decode() for tensor in response.tensors)
        held = json.loads(explanation)
        assert held["status"] == status != "error", detail
        assert ("arrays" in held) == (status == "ok")


def test_a_request_for_an_explanation_that_makes_sense_is_answered(scorer: Any, log: list[str]) -> None:
    for change in ({}, {"target": "SUM@exons"}, {"target": "logSED@tss:100", "gene": _EXPLAINED["gene"]}):
        tensors = {"explain": np.array([[json.dumps({**_EXPLAINED, **change}).encode()]], dtype=np.object_)}
        response = asked(scorer, log, tensors, ["status", "explanation"])
        assert response.error is None
        assert response.tensors[0].values[0, 0] == b"ok"


@pytest.mark.parametrize("fill", [-1e38, 3e38, -0.25, 1.5])
def test_a_code_of_unknown_bases_that_no_model_knows(
    graph: Any, log: list[str], toy_bundle: Bundle, fill: float
) -> None:
    """Large ones gave coverage that is no number, and the status ok."""
    tensors = {
        "sequence": np.zeros((1, 4, 2048), dtype=np.uint8),
        "track_index": np.zeros(1, dtype=np.int64),
        "n_fill": np.array([fill], dtype=np.float32),
        "trim_bins": np.zeros(2, dtype=np.int64),
    }
    error = asked(graph, log, tensors, ["coverage"]).error
    assert error is not None
    assert re.search(r"n_fill is \S+; a number from 0 to 1 is needed", error.text)
    for session in (open_session(toy_bundle), open_engine(toy_bundle)):
        with pytest.raises(InputError, match=r"n_fill is .*; a number from 0 to 1"):
            session.run(tensors["sequence"], n_fill=fill)
        session.close()


def test_what_makes_sense_is_answered(graph: Any, scorer: Any, log: list[str]) -> None:
    """Otherwise all of the above could be refused for one and the same reason."""
    whole = {
        "sequence": WINDOW,
        "track_index": np.arange(6),
        "n_fill": np.zeros(1, dtype=np.float32),
        "trim_bins": np.zeros(2, dtype=np.int64),
    }
    assert asked(graph, log, whole, ["coverage"]).tensors[0].values.shape == (1, 6, 32)
    variant = {
        "chrom": np.array([[b"chr1"]], dtype=np.object_),
        "pos": np.array([[-1]]),
        "ref": np.array([[b"A"]], dtype=np.object_),
        "alt": np.array([[b"C"]], dtype=np.object_),
    }
    (status,) = asked(scorer, log, variant, ["status"]).tensors
    assert status.values.tolist() == [[b"out_of_bounds"]]
