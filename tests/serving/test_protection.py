"""TLS and headers between client and server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from triton_servers import server_environment, windows

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.triton import HEADERS, Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository


@pytest.fixture(scope="module")
def plain(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    server_environment()
    out = tmp_path_factory.mktemp("plain") / "models"
    write_repository(toy_bundle, out)
    for other in [path for path in out.iterdir() if path.name != "borzoi"]:
        shutil.rmtree(other)
    return out


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server and a client that it has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        openssl(*sign, "-days", "2", "-extfile", "names", "-out", f"{name}.pem")
    return folder


def start(repository: Path, *options: str) -> TritonServer:
    return TritonServer(repository, environment=server_environment(), options=options)


@pytest.fixture(params=[False, True], ids=["one-way", "mutual"])
def secured(request: pytest.FixtureRequest, plain: Path, keys: Path) -> Iterator[tuple[TritonServer, bool]]:
    files = {"server-cert": "server.pem", "server-key": "server.key", "root-cert": "ca.pem"}
    options = [f"--grpc-{name}={keys / file}" for name, file in files.items()]
    switch = "--grpc-use-ssl-mutual=1" if request.param else "--grpc-use-ssl=1"
    with start(plain, switch, *options) as running:
        yield running, request.param


def test_tls(secured: tuple[TritonServer, bool], toy_bundle: Bundle, keys: Path) -> None:
    server, mutual = secured
    address = f"triton:grpcs://{server.grpc}/borzoi?retry=0&deadline=5&ca={keys / 'ca.pem'}"
    with_key = f"{address}&cert={keys / 'client.pem'}&key={keys / 'client.key'}"
    session = open_session(toy_bundle, with_key if mutual else address)
    assert np.array_equal(session.run(windows(1)), open_session(toy_bundle).run(windows(1)))
    session.close()
    strangers = [f"triton:grpc://{server.grpc}/borzoi?retry=0&deadline=5"]  # speaks no TLS
    strangers.append(
        f"triton:grpcs://{server.grpc}/borzoi?retry=0&deadline=5&ca={keys / 'client.pem'}"
    )  # trusts another
    if mutual:
        strangers.append(address)
    for stranger in strangers:
        with pytest.raises(BackendError):
            open_session(toy_bundle, stranger)


def test_headers_open_a_restricted_server(plain: Path, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    # a header KEY of HTTP is triton-grpc-protocol-KEY of gRPC
    apis = "inference,model-config:x-key=secret"
    with start(plain, f"--grpc-restricted-protocol={apis}", f"--http-restricted-api={apis}") as server:
        addresses = {
            "triton-grpc-protocol-x-key": f"triton:grpc://{server.grpc}/borzoi",
            "x-key": f"triton:http://{server.http}/borzoi",
        }
        for header, address in addresses.items():
            monkeypatch.setenv(HEADERS, f"{header}: secret")
            session = open_session(toy_bundle, address)
            assert session.run(windows(1)).shape == (1, 6, 32)
            session.close()
            monkeypatch.setenv(HEADERS, f"{header}: wrong")
            connection = Connection(Address.parse(address.removeprefix("triton:")))
            with pytest.raises(BackendError, match="restricted"):
                connection.parameters("borzoi")
            assert connection.counters.retries == 0  # gRPC says UNAVAILABLE, but a wrong token stays wrong
            connection.close()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_without_shared_memory_tensors_are_sent(
    plain: Path, toy_bundle: Bundle, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    """Newer servers forbid shared memory unless told otherwise; here a header is asked for that the client lacks."""
    api = "shared-memory:x-key=secret"
    with start(plain, f"--grpc-restricted-protocol={api}", f"--http-restricted-api={api}") as server:
        host = server.grpc if scheme == "grpc" else server.http
        session = open_session(toy_bundle, f"triton:{scheme}://{host}/borzoi?shm=1", check=False)
        assert np.array_equal(session.run(windows(2)), open_session(toy_bundle).run(windows(2)))
        session.run(windows(1))
        session.close()
    assert sum("no shared memory" in record.getMessage() for record in caplog.records) == 1  # said once, not every time
