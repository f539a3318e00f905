"""Requests that ask for more than the model has, or for what is none of a client's business."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from triton_servers import server_environment, windows

from borzoi_rt.backends.onnx import Graph
from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.triton import Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BorzoiError, InputError
from borzoi_rt.serving.local.launcher import TritonServer

PAGE_KB = 4


@pytest.fixture(scope="module")
def server(triton_repository: Path) -> Iterator[TritonServer]:
    """As `borzoi-rt triton serve` starts it: nothing is opened."""
    with TritonServer(triton_repository, environment=server_environment()) as running:
        yield running


def resident_kb(server: TritonServer) -> int:
    """Return the memory of a server and of its models."""
    assert server.pid is not None
    tasks = Path(f"/proc/{server.pid}/task").glob("*/children")
    pids = [str(server.pid), *(child for task in tasks for child in task.read_text().split())]
    return PAGE_KB * sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)


def small(batch: int = 1, tracks: int = 1) -> dict[str, np.ndarray]:
    return {
        "sequence": windows(batch),
        "track_index": np.zeros(tracks, dtype=np.int64),
        "n_fill": np.zeros(1, dtype=np.float32),
        "trim_bins": np.zeros(2, dtype=np.int64),
    }


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        (small(tracks=1_000_000), r"track_index has shape \(1000000,\); at most \(6,\) is allowed"),
        (small(tracks=7), r"track_index has shape \(7,\); at most \(6,\)"),
        (small(batch=33), r"sequence has shape \(33, 4, 2048\); at most \(32, 4, 2048\)"),
        ({**small(), "n_fill": np.zeros(1000, dtype=np.float32)}, "n_fill"),
        ({**small(), "trim_bins": np.zeros(1000, dtype=np.int64)}, "trim_bins"),
        ({**small(), "track_index": np.array([6])}, "."),
    ],
    ids=["a million tracks", "a track more", "a window more", "n_fill", "trim_bins", "no such track"],
)
def test_what_is_larger_than_the_model_is_refused_unallocated(
    server: TritonServer, scheme: str, inputs: dict[str, np.ndarray], complaint: str
) -> None:
    address = f"{scheme}://{server.grpc if scheme == 'grpc' else server.http}/borzoi?retry=0"
    with closing(Connection(Address.parse(address))) as connection:
        connection.infer("borzoi", small(6, 6), {"coverage": (6, 6, 32)})
        before = resident_kb(server)
        with pytest.raises(BorzoiError, match=complaint):
            connection.infer("borzoi", inputs, {"coverage": None})
        assert resident_kb(server) - before < 200_000
        assert connection.infer("borzoi", small(), {"coverage": (1, 1, 32)})["coverage"].shape == (1, 1, 32)


def test_the_bounds_lie_in_the_served_graph_itself(triton_repository: Path) -> None:
    """Where no model of ours stands before it: in the onnxruntime backend."""
    (path,) = (triton_repository / "borzoi").glob("*/model.onnx")
    graph = Graph(path, threads=1)
    assert graph.run(small(2, 6), ["coverage"])[0].shape == (2, 6, 32)
    for inputs in (small(tracks=7), small(tracks=1_000_000), small(batch=33)):
        with pytest.raises(BorzoiError, match="onnxruntime failed"):
            graph.run(inputs, ["coverage"])


def test_a_client_cuts_its_batches_to_what_the_server_takes(server: TritonServer, toy_bundle: Bundle) -> None:
    there = open_session(toy_bundle, f"triton:grpc://{server.grpc}/borzoi", check=False)
    many = windows(70)
    assert np.array_equal(there.run(many, np.array([2])), open_session(toy_bundle).run(many, np.array([2])))
    there.close()


CLOSED = {
    "log level": ("POST", "v2/logging", {"log_verbose_level": 9, "log_info": False}),
    "trace": ("POST", "v2/trace/setting", {"trace_file": "/tmp/borzoi-rt-trace"}),
    "load": ("POST", "v2/repository/models/borzoi/load", {}),
    "unload": ("POST", "v2/repository/models/borzoi/unload", {}),
    "index": ("POST", "v2/repository/index", {}),
    "shared memory": (
        "POST",
        "v2/systemsharedmemory/region/x/register",
        {"key": "/borzoi_rt", "offset": 0, "byte_size": 64},
    ),
    "list of regions": ("GET", "v2/systemsharedmemory/status", None),
}


@pytest.mark.parametrize(("method", "path", "body"), CLOSED.values(), ids=CLOSED)
def test_interfaces_that_change_the_server_are_closed(
    server: TritonServer, method: str, path: str, body: dict[str, object] | None
) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{server.http}/{path}", data=data, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=10)
    assert caught.value.code == 403


def test_what_a_client_needs_stays_open(server: TritonServer) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in ("v2/health/live", "v2/health/ready", "v2/models/borzoi/config", "v2/models/borzoi/stats"):
        with opener.open(f"http://{server.http}/{path}", timeout=10) as reply:
            assert reply.status == 200


def test_shared_memory_that_is_closed_leads_to_sent_tensors(
    server: TritonServer, toy_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    there = open_session(toy_bundle, f"triton:grpc://{server.grpc}/borzoi?shm=1", check=False)
    assert np.array_equal(there.run(windows(1)), open_session(toy_bundle).run(windows(1)))
    there.close()
    assert "no shared memory" in caplog.text


def test_the_same_failure_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection(Address.parse("grpc://127.0.0.1:1/borzoi?retry=2"))
    with pytest.raises(BorzoiError):
        connection.parameters("borzoi")
    assert connection.counters.retries > 3
    lines = [record.getMessage() for record in caplog.records if "trying again" in record.getMessage()]
    assert 0 < len(set(lines)) == len(lines) <= 2
    connection.close()


def test_an_input_of_another_kind_is_refused(server: TritonServer) -> None:
    address = Address.parse(f"grpc://{server.grpc}/borzoi?retry=0")
    with closing(Connection(address)) as connection, pytest.raises(InputError):
        connection.infer("borzoi", {**small(), "track_index": np.zeros(1)}, {"coverage": None})


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_refused_request_is_found_in_the_log_by_its_number(server: TritonServer, scheme: str) -> None:
    address = f"{scheme}://{server.grpc if scheme == 'grpc' else server.http}/borzoi?retry=0"
    with closing(Connection(Address.parse(address))) as connection, pytest.raises(InputError) as caught:
        connection.infer("borzoi", small(tracks=7), {"coverage": None})
    number = str(caught.value).rpartition("(request ")[2].rstrip(")")
    (line,) = [line for line in server.log_tail(10_000).splitlines() if f'"{number}\\"' in line]
    told = json.loads(json.loads(line[line.index('"') :]))  # Triton quotes what a model says
    assert {"request": number, "model": "borzoi", "status": "invalid"}.items() <= told.items()
    assert "track_index has shape (7,)" in told["message"]
