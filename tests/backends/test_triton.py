"""Sessions on a real server: the same bits as in process on every way there, and errors that say what is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from triton_servers import need_packages, windows

from borzoi_rt.backends.opening import open_parts, open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.backends.protocols import Session
from borzoi_rt.backends.shared_memory import FOLDER, PREFIX, Region, remove_orphans
from borzoi_rt.backends.triton import Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.serving.local.launcher import TritonServer

WAYS = ("grpc", "http", "grpc?shm=1", "http?shm=1")
Call = Callable[[Connection], object]


def address(server: TritonServer, way: str = "grpc", model: str = "borzoi") -> str:
    scheme, _, options = way.partition("?")
    host = server.grpc if scheme == "grpc" else server.http
    return f"triton:{scheme}://{host}/{model}" + (f"?{options}" if options else "")


@pytest.fixture(scope="module")
def here(toy_bundle: Bundle) -> Session:
    return open_session(toy_bundle)


@pytest.fixture(params=WAYS)
def there(request: pytest.FixtureRequest, triton_server: TritonServer, toy_bundle: Bundle) -> Iterator[Session]:
    session = open_session(toy_bundle, address(triton_server, request.param))
    yield session
    session.close()


def test_mixed_batches_tracks_and_bins_give_the_bits_of_this_process(there: Session, here: Session) -> None:
    for seed, count in enumerate((1, 3, 2, 5, 1)):  # growing and shrinking: shared memory is made anew, then used again
        sequence = windows(count, seed=seed)
        for index, bins in ((None, None), (np.array([5, 0, 5]), (0, 7)), (np.array([2]), (31, 32))):
            got = there.run(sequence, index, n_fill=0.25, bins=bins)
            want = here.run(sequence, index, n_fill=0.25, bins=bins)
            assert got.dtype == np.float32
            assert np.array_equal(got, want)


def test_only_what_is_asked_for_comes_back(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, address(triton_server), check=False)
    session.run(windows(1), np.array([3]), bins=(4, 6))
    assert session.counters.bytes_received == 1 * 2 * 4  # a track, two bins, float32
    session.close()


def test_the_golden_example_is_replayed(there: Session, here: Session, toy_bundle: Bundle) -> None:
    assert replay_golden(there, toy_bundle) == replay_golden(here, toy_bundle)  # one onnxruntime on one machine


def test_split_graphs_on_the_server_give_the_bits_of_this_process(
    triton_server: TritonServer, toy_bundle: Bundle
) -> None:
    served, local = open_engine(toy_bundle, address(triton_server)), open_engine(toy_bundle)
    index = np.array([4, 1])
    for bins in (None, (3, 9)):
        for sequence in (windows(1, seed=1), windows(1, seed=2)):
            assert np.array_equal(served.run(sequence, index, bins=bins), local.run(sequence, index, bins=bins))
    served.close()


def mapped(server: TritonServer, client: int) -> set[str]:
    """Return the regions of a client that the server has mapped."""
    text = Path(f"/proc/{server.pid}/maps").read_text()
    return set(re.findall(rf"{PREFIX}[0-9]+_{client}_[0-9a-f]+", text))


def test_shared_memory_has_no_name_and_is_given_back(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, address(triton_server, "grpc?shm=1"), check=False)
    session.run(windows(1))
    assert not list(FOLDER.glob(f"{PREFIX}*_{os.getpid()}_*"))
    assert len(mapped(triton_server, os.getpid())) == 2  # one for each direction
    session.close()
    assert not mapped(triton_server, os.getpid())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_client_that_is_killed_leaves_no_shared_memory(
    triton_server: TritonServer, toy_bundle: Bundle, how: signal.Signals
) -> None:
    code = (
        "import sys\n"
        "from triton_servers import windows\n"
        "from borzoi_rt.backends.opening import open_session\n"
        "session = open_session(sys.argv[1], sys.argv[2], check=False)\n"
        "while True:\n"
        "    session.run(windows(2))\n"
        "    print('ran', flush=True)\n"
    )
    arguments = [str(toy_bundle.path), address(triton_server, "grpc?shm=1")]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as client:
        assert client.stdout
        for _ in range(3):
            assert client.stdout.readline() == b"ran\n"
        assert len(mapped(triton_server, client.pid)) == 2
        client.send_signal(how)
        assert client.wait(30) == -how
    assert not list(FOLDER.glob(f"{PREFIX}*_{client.pid}_*"))
    # The server knows nothing of its end; whoever comes next tells it.
    for way in ("grpc?shm=1", "http?shm=1"):
        session = open_session(toy_bundle, address(triton_server, way), check=False)
        session.run(windows(1))
        assert not mapped(triton_server, client.pid)
        assert len(mapped(triton_server, os.getpid())) == 2
        session.close()


def test_names_of_processes_that_have_gone_are_removed_and_no_others() -> None:
    """As one is left that is killed between making a region and the server's answer."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    with closing(Region(8)) as ours:
        left = FOLDER / ours.name.replace(f"_{os.getpid()}_", f"_{gone.pid}_")
        elsewhere = FOLDER / f"{PREFIX}1_{gone.pid}_0"  # the number may be that of a living process of a container
        for path in (left, elsewhere):
            path.touch()
        remove_orphans()
        assert not left.exists()
        assert (FOLDER / ours.name).exists()
        assert elsewhere.exists()
        elsewhere.unlink()


def test_another_bundle_is_refused(triton_server: TritonServer) -> None:
    other = embedded_bundle()
    with pytest.raises(BackendError, match=rf"bundle .*, here it is {other.sha256[:16]}"):
        open_session(other, address(triton_server))


def test_a_model_that_is_not_served_is_named(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    for way in ("grpc", "http"):
        with pytest.raises(InputError, match="unknown model: 'nothing'"):
            open_session(toy_bundle, address(triton_server, way, "nothing"))
    with pytest.raises(InputError, match="nothing_trunk_tile"):
        open_parts(toy_bundle, address(triton_server, "grpc", "nothing"))


def request(**changes: np.ndarray) -> dict[str, np.ndarray]:
    inputs = {
        "sequence": windows(1),
        "track_index": np.array([0]),
        "n_fill": np.zeros(1, dtype=np.float32),
        "trim_bins": np.zeros(2, dtype=np.int64),
    }
    return {**inputs, **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sequence": windows(1).astype(np.float32)}, "expected to have type UINT8|data-type|expects|TYPE_UINT8"),
        ({"sequence": windows(1, length=2047)}, "shape"),
        ({"sequence": 3 * windows(1)}, "one-hot DNA is needed"),
        ({"n_fill": np.array([np.nan], dtype=np.float32)}, "n_fill holds NaN"),
        ({"track_index": np.array([6])}, "out of data bounds|out of bounds"),
        ({"track_index": np.array([-1])}, "track_index holds -1"),
        ({"trim_bins": np.array([-1, 0])}, "trim_bins holds -1"),
    ],
)
@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_wrong_request_is_refused_once_and_the_next_is_served(
    triton_server: TritonServer, way: str, changes: dict[str, np.ndarray], expected: str
) -> None:
    connection = Connection(Address.parse(address(triton_server, way).removeprefix("triton:")))
    with pytest.raises(InputError, match=expected):
        connection.infer("borzoi", request(**changes), {"coverage": None})
    assert connection.counters.retries == 0
    assert connection.infer("borzoi", request(), {"coverage": (1, 1, 32)})["coverage"].shape == (1, 1, 32)
    connection.close()


def test_a_closed_session_says_so(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, address(triton_server), check=False)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(windows(1))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nothing_listening_is_tried_again_and_then_said(scheme: str, unused_port: int) -> None:
    need_packages()
    connection = Connection(Address.parse(f"{scheme}://127.0.0.1:{unused_port}/borzoi?retry=0.5"))
    with pytest.raises(BackendError, match=rf"{scheme}://127.0.0.1:{unused_port}"):
        connection.parameters("borzoi")
    assert connection.counters.retries >= 2  # pauses of 0.1 and 0.2 s at most fit into half a second
    connection.close()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_deadline_is_kept_and_not_tried_again(triton_server: TritonServer, way: str) -> None:
    connection = Connection(Address.parse(address(triton_server, f"{way}?deadline=0.001").removeprefix("triton:")))
    with pytest.raises(BackendError, match=r"no answer in 0\.001 s"):
        connection.infer("borzoi", request(sequence=windows(512)), {"coverage": None})
    assert connection.counters.retries == 0
    connection.close()


def test_threads_belong_to_the_server(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="computes on a server; leave threads out"):
        open_session(toy_bundle, address(triton_server), threads=1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://host:1/borzoi", "SCHEME://HOST:PORT/MODEL"),
        ("grpc://host/borzoi", "SCHEME://HOST:PORT/MODEL"),
        ("grpc://host:1/a/b", "SCHEME://HOST:PORT/MODEL"),
        ("grpc://user:secret@host:1/borzoi", "no user or password"),
        ("grpc://host:1/borzoi?retries=3", "option 'retries' is unknown; allowed: deadline, retry"),
        ("grpc://host:1/borzoi?deadline=soon", "a number is needed"),
        ("grpc://host:1/borzoi?deadline=0", "a positive deadline"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Address.parse(url)


def test_headers_come_from_the_environment_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORZOI_RT_TRITON_HEADERS", "authorization: Bearer abc:d\n\nx-team: genomics\n")
    parsed = Address.parse("grpcs://[::1]:8001/borzoi?ca=/etc/ca.pem&flight=3")
    assert parsed.headers == (("authorization", "Bearer abc:d"), ("x-team", "genomics"))
    assert "abc" not in f"{parsed} {parsed!r}"
    assert (parsed.host, parsed.ca, parsed.flight) == ("[::1]:8001", "/etc/ca.pem", 3)
    monkeypatch.setenv("BORZOI_RT_TRITON_HEADERS", "s3cret")
    with pytest.raises(InputError) as caught:
        Address.parse("grpc://host:1/borzoi")
    assert "s3cret" not in str(caught.value)
