"""The launcher: ready in time, on the loopback alone, nothing left behind; and reasons where it cannot start."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from triton_servers import server_environment, version_folder

from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.serving.config import FASTA_VARIABLE
from borzoi_rt.serving.local import environment
from borzoi_rt.serving.local.environment import ServerEnvironment, find_environment
from borzoi_rt.serving.local.launcher import IMAGE, TritonServer, container_command


@pytest.fixture(scope="module")
def installed() -> ServerEnvironment:
    return server_environment()


@pytest.fixture
def small(triton_repository: Path, tmp_path: Path) -> Path:
    """A repository of one model, quick to start and free to be spoilt."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(triton_repository / "borzoi", tmp_path / "models" / "borzoi", ignore=ignored)
    return tmp_path / "models"


def processes(group: int) -> list[Path]:
    """Return the folders of the processes of a group, a server's and those of its models."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found.append(folder)
        except OSError:  # it has just ended
            continue
    return found


def regions(group: int) -> set[Path]:
    """Return the shared memory that processes have mapped."""
    lines = [line for folder in processes(group) for line in (folder / "maps").read_text().splitlines()]
    return {Path(line.split()[5]) for line in lines if "/dev/shm/" in line and "(deleted)" not in line}


def listening(group: int) -> set[str]:
    """Return the addresses on which processes accept TCP connections."""
    inodes = set()
    for folder in processes(group):
        for link in (folder / "fd").iterdir():
            with suppress(OSError):
                inodes.add(os.readlink(link))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:  # 0A: LISTEN
                words = bytes.fromhex(fields[1].partition(":")[0])
                swapped = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                address = ip_address(swapped)
                found.add(str(getattr(address, "ipv4_mapped", None) or address))
    return found


def test_ready_on_the_loopback_alone(triton_server: TritonServer) -> None:
    assert triton_server.pid is not None
    assert listening(triton_server.pid) == {"127.0.0.1"}
    assert 0 < triton_server.seconds_to_ready < 60
    for address in (triton_server.http, triton_server.grpc, triton_server.metrics):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5):
            pass


def test_nothing_is_left(small: Path, installed: ServerEnvironment) -> None:
    files = {path: path.stat().st_size for path in small.rglob("*") if path.is_file()}
    server = TritonServer(small, environment=installed)
    with server:
        pid = server.pid
        assert pid is not None
        held = regions(pid)
        assert held
    assert not any(path.exists() for path in held)
    assert {path: path.stat().st_size for path in small.rglob("*") if path.is_file()} == files  # nor a __pycache__
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)  # neither the server nor a stub is left in its group


def test_a_killed_server_leaves_nothing_and_comes_back_on_its_ports(small: Path, installed: ServerEnvironment) -> None:
    with TritonServer(small, environment=installed) as server:
        assert server.pid is not None
        held = regions(server.pid)
        ports = (server.http, server.grpc, server.metrics)
        server.kill()
        assert held
        assert not any(path.exists() for path in held)
        assert server.pid is None
        server.start()
        assert (server.http, server.grpc, server.metrics) == ports


def test_a_model_that_cannot_be_loaded_is_said(small: Path, installed: ServerEnvironment) -> None:
    (version_folder(small / "borzoi") / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendError, match=r"(?s)did not start.*model\.onnx: not a graph that a bundle may hold"):
        TritonServer(small, environment=installed).start()


def test_a_model_that_loads_for_ever_is_given_up(small: Path, installed: ServerEnvironment) -> None:
    (version_folder(small / "borzoi") / "model.py").write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(BackendError, match=r"not ready after 1\.5 s"):
        TritonServer(small, environment=installed, ready_limit_s=1.5).start()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_port_that_is_taken_is_said(small: Path, installed: ServerEnvironment, index: int) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        ports = [0, 0, 0]
        ports[index] = held.getsockname()[1]
        with pytest.raises(BackendError, match="a port is already in use"):
            TritonServer(small, environment=installed, ports=(ports[0], ports[1], ports[2])).start()


def test_an_unknown_option_is_said(small: Path, installed: ServerEnvironment) -> None:
    with pytest.raises(BackendError, match="no-such-option"):
        TritonServer(small, environment=installed, options=["--no-such-option=1"]).start()


def test_a_folder_without_models_is_refused(tmp_path: Path, installed: ServerEnvironment) -> None:
    with pytest.raises(InputError, match="holds no model"):
        TritonServer(tmp_path, environment=installed)


def serve(
    repository: Path, installed: ServerEnvironment, *options: str, errors: Path | None = None
) -> tuple[subprocess.Popen[str], list[str], set[Path]]:
    """Run `borzoi-rt triton serve`; return it when ready, with what it printed and the server's shared memory."""
    program = "from borzoi_rt.cli import run; run()"
    ports = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")
    command = [sys.executable, "-c", program, "triton", "serve", str(repository), *ports]
    with (errors or Path(os.devnull)).open("w") as stream:
        serving = subprocess.Popen(
            [*command, f"--environment={installed.python.parent.parent}", *options],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    assert serving.stdout is not None
    lines = [serving.stdout.readline().strip() for _ in range(3)]
    children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
    held = {path for child in children for path in regions(int(child))}
    assert held
    return serving, lines, held


def test_serve_prints_addresses_and_stops_on_a_signal(small: Path, installed: ServerEnvironment) -> None:
    serving, lines, held = serve(small, installed)
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(60) == 0
    assert serving.stdout is not None
    serving.stdout.close()
    assert [line.partition("127.0.0.1:")[0] for line in lines] == ["grpc://", "http://", "http://"]
    assert not any(path.exists() for path in held)


def closed(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return True
    return False


def test_a_launcher_that_is_killed_leaves_no_server(
    small: Path, installed: ServerEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a listening port, nor shared memory, nor a file."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    before = sorted(small.rglob("*"))
    serving, lines, held = serve(small, installed)
    addresses = [line.split("/")[2] for line in lines]
    assert not any(map(closed, addresses))
    serving.kill()
    serving.communicate()
    ours = "borzoi-rt-*"
    limit = time.monotonic() + 30  # it takes about a second, on a loaded machine more
    while time.monotonic() < limit and list((tmp_path / "temporary").glob(ours)):  # the last to go
        time.sleep(0.1)
    assert list((tmp_path / "temporary").glob(ours)) == []
    assert all(map(closed, addresses))
    assert not any(path.exists() for path in held)
    assert sorted(small.rglob("*")) == before


def test_a_busy_stub_does_not_outlive_launcher_and_server(small: Path, installed: ServerEnvironment) -> None:
    """Both are killed while it answers: a stopped process notices as little as a busy one."""
    serving, _, held = serve(small, installed)
    (server,) = leaders(serving)
    stubs = [folder for folder in processes(server) if int(folder.name) != server]
    assert stubs
    for stub in stubs:
        os.kill(int(stub.name), signal.SIGSTOP)
    serving.kill()
    os.kill(server, signal.SIGKILL)
    serving.communicate()
    limit = time.monotonic() + 30
    while time.monotonic() < limit and (any(map(alive, stubs)) or any(path.exists() for path in held)):
        time.sleep(0.1)
    left = [stub.name for stub in stubs if alive(stub)]
    for number in left:
        os.kill(int(number), signal.SIGKILL)
    assert left == []
    assert not any(path.exists() for path in held)


def alive(process: Path) -> bool:
    try:
        return " Z " not in f" {(process / 'stat').read_text().rpartition(')')[2]} "
    except OSError:
        return False


def test_the_container_line_can_start_the_scorer_and_opens_the_loopback_alone(
    triton_repository: Path, triton_genome: Path
) -> None:
    words = shlex.split(container_command(triton_repository))
    after = {
        flag: [words[number + 1] for number, word in enumerate(words) if word == flag] for flag in ("-p", "-v", "-e")
    }
    assert after["-p"] == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
    # The image has this package, and the genome lies where the variable says.
    assert words[words.index("tritonserver") - 1] == IMAGE
    assert after["-v"] == [f"{triton_repository}:/models:ro", f"{triton_genome.parent}:/genome:ro"]
    assert after["-e"] == [f"{FASTA_VARIABLE}=/genome/{triton_genome.name}"]
    first, second = (container_command(triton_repository) for _ in range(2))
    assert first != second  # the key of the closed interfaces is drawn anew


def test_a_container_line_for_nothing_or_for_two_genomes_is_refused(triton_repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model"):
        container_command(tmp_path)
    for number in (1, 2):
        config = (triton_repository / "borzoi_scorer" / "config.pbtxt").read_text()
        (tmp_path / f"m{number}").mkdir()
        (tmp_path / f"m{number}" / "config.pbtxt").write_text(config.replace("g.fa", f"g{number}.fa"))
    with pytest.raises(InputError, match="several genomes"):
        container_command(tmp_path)


def test_serve_starts_a_dead_server_again_and_says_so(
    small: Path, installed: ServerEnvironment, tmp_path: Path
) -> None:
    serving, lines, _ = serve(small, installed, "--restarts=1", errors=tmp_path / "errors")
    (first,) = leaders(serving)
    os.kill(first, signal.SIGKILL)
    assert said(tmp_path / "errors", "Triton is ready again")
    (second,) = leaders(serving)
    assert second != first
    assert not any(closed(line.split("/")[2]) for line in lines)  # on the same ports
    os.kill(second, signal.SIGKILL)
    assert serving.wait(60) == 1
    text = (tmp_path / "errors").read_text()
    assert "ended by itself (signal 9); start 1 of 1 follows in 1 s" in text
    assert "ended by itself (signal 9), 2 times in a row" in text
    assert "Traceback" not in text
    assert serving.stdout is not None
    serving.stdout.close()


def said(path: Path, text: str) -> bool:
    limit = time.monotonic() + 60
    while time.monotonic() < limit and text not in path.read_text():
        time.sleep(0.1)
    return text in path.read_text()


def leaders(serving: subprocess.Popen[str]) -> list[int]:
    """Return the servers that a launcher has started."""
    children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
    return [int(child) for child in children if b"tritonserver" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_an_environment_that_is_missing_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(BackendError, match="no Triton environment; make one with `borzoi-rt triton venv`"):
        find_environment()


@pytest.mark.parametrize(("numpy", "expected"), [("2.1.0", "NumPy 1 is needed"), (None, "has no pytriton")])
def test_an_environment_that_would_answer_wrong_is_refused(tmp_path: Path, numpy: str | None, expected: str) -> None:
    # A stand-in for the interpreter reports what a spoilt environment would.
    script = tmp_path / "bin" / "python"
    script.parent.mkdir()
    held = ["numpy", "onnxruntime", "pysam"] + ([] if numpy is None else ["pytriton"])
    report = f'{{"site": "/", "libdir": "", "version": [3, 11], "numpy": "{numpy or "1.26.4"}", "held": {held}}}'
    script.write_text("#!/bin/sh\necho '" + report.replace("'", '"') + "'\n")
    script.chmod(0o755)
    with pytest.raises(BackendError, match=expected):
        find_environment(tmp_path)
