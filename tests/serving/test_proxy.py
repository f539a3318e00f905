"""The proxy of ``deploy/`` as nginx runs it: what it reads, what it passes on, and what it keeps from the server."""

from __future__ import annotations

import http.client
import http.server
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
pytestmark = pytest.mark.skipif(not (NGINX and OPENSSL), reason="needs nginx and openssl (apt-get install nginx-light)")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def call(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True, capture_output=True, timeout=60)


def make_certificates(folder: Path) -> None:
    """Make an authority, and one key and certificate signed by it, for server and client."""
    assert OPENSSL
    call(
        *(OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2),
        *("-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=authority"),
    )
    call(
        *(
            OPENSSL,
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ),
        *("-keyout", folder / "tls.key", "-out", folder / "tls.csr"),
    )
    call(
        *(OPENSSL, "x509", "-req", "-in", folder / "tls.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key"),
        *("-CAcreateserial", "-days", 2, "-out", folder / "tls.crt"),
    )


@dataclass
class Server:
    """Stands for Triton: keeps the heads of what reaches it."""

    port: int
    seen: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)

    def start(self) -> http.server.ThreadingHTTPServer:
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                heads = {name.lower(): value for name, value in self.headers.items()}
                seen.append((self.command, self.path, heads, len(body)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        made = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        return made


@dataclass
class Proxy:
    """A running nginx, and the server behind it."""

    tls: int
    plain: int
    certificates: Path
    server: Server

    def ask(
        self, method: str, path: str, body: object = None, *, certificate: bool = True, chunked: bool = False
    ) -> int:
        """Return the status of an answer."""
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.crt"))
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(self.certificates / "tls.crt", self.certificates / "tls.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.tls, context=context, timeout=30)
        try:
            connection.request(method, path, body=body, encode_chunked=chunked)  # type: ignore[arg-type]
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def version() -> tuple[int, ...]:
    assert NGINX
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(map(int, re.findall(r"\d+", said)[:3]))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The configuration with other ports and folders; of nginx before 1.25.1 with its older word for HTTP/2."""
    folder = tmp_path_factory.mktemp("proxy")
    make_certificates(folder)
    tls, plain, backend, grpc = (free_port() for _ in range(4))
    text = CONFIG.read_text()
    for old, new in (
        ("listen 8443", f"listen 127.0.0.1:{tls}"),
        ("listen 8080", f"listen 127.0.0.1:{plain}"),
        ("127.0.0.1:8000", f"127.0.0.1:{backend}"),
        ("127.0.0.1:8001", f"127.0.0.1:{grpc}"),
        ("/dev/stdout", "/tmp/access.log"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = re.sub("/(tls|tmp)/", f"{folder}/", text)
    if version() < (1, 25, 1):
        text = re.sub(r"(listen \S+ ssl);\s*http2 on;", r"\1 http2;", text)
    config = folder / "nginx.conf"
    config.write_text(text)
    assert NGINX
    read = subprocess.run([NGINX, "-t", "-c", config, "-p", folder], capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    assert "[warn]" not in read.stderr.replace('the "user" directive', ""), read.stderr
    server = Server(backend)
    behind = server.start()
    process = subprocess.Popen([NGINX, "-c", config, "-p", folder, "-g", "daemon off;"], stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", tls)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.05)
        yield Proxy(tls, plain, folder, server)
    finally:
        process.terminate()
        process.wait(timeout=30)
        behind.shutdown()


@pytest.mark.parametrize("path", ["/v2/models/borzoi/infer", "/v2/models/borzoi_body-64/versions/1/infer"])
def test_a_request_is_passed_on_with_an_id(proxy: Proxy, path: str) -> None:
    proxy.server.seen.clear()
    assert proxy.ask("POST", path, b"x" * 5000) == 200
    ((method, seen, heads, length),) = proxy.server.seen
    assert (method, seen, length) == ("POST", path, 5000)
    assert re.fullmatch("[0-9a-f]{32}", heads["x-request-id"])


def test_a_body_in_many_chunks_reaches_the_server_whole(proxy: Proxy) -> None:
    """A server dies of a request of a byte a chunk."""
    proxy.server.seen.clear()
    assert proxy.ask("POST", "/v2/models/borzoi/infer", (b"x" for _ in range(3000)), chunked=True) == 200
    ((_, _, heads, length),) = proxy.server.seen
    assert (heads["content-length"], length) == ("3000", 3000)
    assert "transfer-encoding" not in heads


CLOSED = {
    "models are not loaded": ("POST", "/v2/repository/models/borzoi/load", 404),
    "nor listed": ("POST", "/v2/repository/index", 404),
    "no shared memory": ("POST", "/v2/systemsharedmemory/region/x/register", 404),
    "none of GPUs": ("POST", "/v2/cudasharedmemory/region/x/register", 404),
    "no level of the log": ("POST", "/v2/logging", 404),
    "no trace": ("POST", "/v2/trace/setting", 404),
    "no statistics": ("GET", "/v2/models/stats", 404),
    "no metrics": ("GET", "/metrics", 404),
    "no other start": ("POST", "/x/v2/models/borzoi/infer", 404),
    "no path upwards": ("POST", "/v2/models/borzoi/../../repository/index/infer", 404),
    "nor one in code": ("POST", "/v2/models/borzoi%2f..%2f..%2frepository/infer", 404),
    "no name with a dot": ("POST", "/v2/models/../infer", 404),
    "no further word": ("POST", "/v2/models/borzoi/infer/x", 404),
    "inference is posted": ("GET", "/v2/models/borzoi/infer", 403),
    "readiness is got": ("POST", "/v2/health/ready", 403),
    "no call of gRPC's management": ("POST", "/inference.GRPCInferenceService/RepositoryModelLoad", 404),
    "nor of its log": ("POST", "/inference.GRPCInferenceService/LogSettings", 404),
    "nor an open stream": ("POST", "/inference.GRPCInferenceService/ModelStreamInfer", 404),
}


@pytest.mark.parametrize("title", CLOSED)
def test_what_is_closed(proxy: Proxy, title: str) -> None:
    method, path, status = CLOSED[title]
    proxy.server.seen.clear()
    assert proxy.ask(method, path, b"{}" if method == "POST" else None) == status
    assert proxy.server.seen == []


def test_what_is_open(proxy: Proxy) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/borzoi", "/v2/models/borzoi/ready"):
        assert proxy.ask("GET", path) == 200
    # Nobody listens where gRPC is passed to: the call is one of those that are passed on.
    assert proxy.ask("POST", "/inference.GRPCInferenceService/ModelInfer", b"") == 502


def test_a_client_without_a_certificate(proxy: Proxy) -> None:
    proxy.server.seen.clear()
    assert proxy.ask("POST", "/v2/models/borzoi/infer", b"x", certificate=False) == 400
    assert proxy.server.seen == []


def test_a_body_without_end(proxy: Proxy) -> None:
    """It is refused by its length, before it is read."""
    proxy.server.seen.clear()
    context = ssl.create_default_context(cafile=str(proxy.certificates / "ca.crt"))
    context.check_hostname = False
    context.load_cert_chain(proxy.certificates / "tls.crt", proxy.certificates / "tls.key")
    with (
        socket.create_connection(("127.0.0.1", proxy.tls), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as held,
    ):
        held.sendall(b"POST /v2/models/borzoi/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 80000000\r\n\r\n")
        assert held.recv(100).startswith(b"HTTP/1.1 413")
    assert proxy.server.seen == []


def test_the_port_of_probes_has_only_these(proxy: Proxy) -> None:
    for path, status in (("/alive", 200), ("/v2/health/ready", 200), ("/v2/models/borzoi", 404), ("/metrics", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", proxy.plain, timeout=30)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()


def test_a_line_a_request_is_logged_as_json(proxy: Proxy) -> None:
    import json

    proxy.ask("POST", '/v2/models/"x\\y/infer', b"{}")
    lines = (proxy.certificates / "access.log").read_text().splitlines()
    assert all({"id", "status", "uri", "client"} <= json.loads(line).keys() for line in lines)
