"""Start a Triton server for development and tests, wait until it is ready, and leave nothing behind.

However this process ends: where it is killed, :mod:`borzoi_rt.serving.local.watchdog` ends the server.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from ...closing import Closing
from ...errors import BackendError, InputError
from ..config import FASTA_VARIABLE
from .environment import ServerEnvironment, find_environment
from .watchdog import remove_shared_memory, start_watchdog, stop_watchdog

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CPU_CONFIG = "python-cpu"
READY_LIMIT_S = 60.0
DRAIN_S = 60
_EXIT_MARGIN_S = 5
IMAGE = "borzoi-rt-triton:latest"  # deploy/Dockerfile makes it
GENOME_MOUNT = "/genome"
# Interfaces by which a client could change the server, or read and write memory of this machine.
CLOSED = ("model-repository", "shared-memory", "logging", "trace")
# What deploy/ and the docker line start a server with.
SERVER_OPTIONS = (
    "--model-repository=/models",
    "--model-control-mode=none",
    "--disable-auto-complete-config",
    "--exit-on-error=true",
    "--strict-readiness=true",
    "--cache-config=local,size=67108864",
    f"--exit-timeout-secs={DRAIN_S}",
)
_PACKAGE = Path(__file__).resolve().parents[2]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy must not catch the loopback


class TritonServer(Closing):
    """A Triton server over a model repository, as a context manager.

    Parameters
    ----------
    repository : path
        What :func:`borzoi_rt.serving.repository.write_repository` wrote.
    environment : ServerEnvironment, optional
        Where the server is installed; see :func:`borzoi_rt.serving.local.environment.find_environment`.
    host : str
        Address to listen on: the loopback unless said otherwise.
    ports : (int, int, int)
        HTTP, gRPC and metrics; 0 takes a free one.
    config : str
        Which of the configurations of every model is used; a model without it has its ``config.pbtxt`` used.
    options : sequence of str
        More options of ``tritonserver``.
    client_shm : bool
        Let clients of this machine pass tensors in shared memory. Any of them can then name memory that is not theirs,
        the server's own too: only where all clients are trusted.
    drain_s : int
        How long requests under way may take to end when the server is stopped.
    ready_limit_s : float
        How long the server may take to load its models: some of its failures hang.
    log_path : path, optional
        Where its log goes; a temporary file when None.

    Attributes
    ----------
    seconds_to_ready : float
        How long the last start took.
    """

    def __init__(
        self,
        repository: str | os.PathLike[str],
        *,
        environment: ServerEnvironment | None = None,
        host: str = LOOPBACK,
        ports: tuple[int, int, int] = (0, 0, 0),
        config: str = CPU_CONFIG,
        options: Sequence[str] = (),
        client_shm: bool = False,
        drain_s: int = DRAIN_S,
        ready_limit_s: float = READY_LIMIT_S,
        log_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self.repository = Path(repository).resolve()
        if not any(self.repository.glob("*/config.pbtxt")):
            raise InputError(f"{repository}: holds no model; `borzoi-rt triton repo` makes a model repository")
        if drain_s < 1:
            raise InputError(f"drain_s is {drain_s}; 1 or more seconds are needed")
        self.host, self.seconds_to_ready, self.drain_s = host, 0.0, drain_s
        self._closed = tuple(name for name in CLOSED if not (client_shm and name == "shared-memory"))
        self._environment = environment or find_environment()
        self._wanted, self._ports = ports, ports
        self._config, self._options, self._limit_s = config, tuple(options), ready_limit_s
        self._folder = Path(tempfile.mkdtemp(prefix="borzoi-rt-triton-"))
        self._log = Path(log_path) if log_path is not None else self._folder / "server.log"
        self._prefix = f"borzoi_rt_{uuid.uuid4().hex[:12]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        # The stub heeds no PYTHONDONTWRITEBYTECODE either; what it writes into the repository goes again.
        caches = (version / "__pycache__" for version in self.repository.glob("*/[0-9]*"))
        self._caches = [path for path in caches if not path.exists()]

    @property
    def http(self) -> str:
        """``host:port`` of HTTP."""
        return f"{self._reach}:{self._ports[0]}"

    @property
    def grpc(self) -> str:
        """``host:port`` of gRPC."""
        return f"{self._reach}:{self._ports[1]}"

    @property
    def metrics(self) -> str:
        """``host:port`` of the metrics."""
        return f"{self._reach}:{self._ports[2]}"

    @property
    def _reach(self) -> str:
        return LOOPBACK if self.host == "0.0.0.0" else self.host

    @property
    def pid(self) -> int | None:
        """Number of the server's process; None where none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the server and wait until every model is ready; a second start uses the same ports.

        Raises
        ------
        BackendError
            If it ends, cannot have its ports or is not ready in time; the message holds the end of its log.
        """
        free = self._ports == self._wanted and 0 in self._wanted
        try:
            for attempt in range(3):
                if free:
                    self._ports = _choose_ports(self._wanted, self.host)
                # A port that was free can be taken before the server has it.
                if self._launch(last=not free or attempt == 2):
                    return
        except BaseException:
            self.close()
            raise

    def kill(self) -> None:
        """End the server at once, as a crash would, and clean up after it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server; its models finish what they have begun."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Stop, and forget the log if no file was named for it."""
        self.stop()
        if self._watchdog is not None:
            stop_watchdog(self._watchdog)
            self._watchdog = None
        for path in (*self._caches, self._folder):
            shutil.rmtree(path, ignore_errors=True)

    def wait(self) -> int:
        """Wait until the server ends by itself and return its exit status."""
        return self._process.wait() if self._process is not None else 0

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log that say something."""
        if not self._log.exists():
            return ""
        text = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        if any(
            line.startswith("Usage:") for line in text[:5]
        ):  # a refused option: its name stands around the help text
            return "\n".join([*text[:2], *text[-3:]])
        telling = [line for line in text if (line[:1] in "EW" and "| " not in line) or "UNAVAILABLE" in line]
        return "\n".join((telling or text)[-lines:])

    def _launch(self, *, last: bool) -> bool:
        """Start once; False where a port was taken and another attempt makes sense."""
        started = time.monotonic()
        if self._watchdog is None:
            self._watchdog = start_watchdog(self._shm_argument, self._prefix, (*self._caches, self._folder))
        with self._log.open("ab") as handle:
            begin = handle.tell()
            self._process = subprocess.Popen(
                self._command(),
                stdout=handle,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment.variables(),
                cwd=self._folder,
                start_new_session=True,
            )
        wanted = [f"http://{self.http}/v2/health/ready"]
        if not any(option.startswith("--allow-metrics=f") for option in self._options):
            wanted.append(f"http://{self.metrics}/metrics")
        while True:
            ended = self._process.poll()
            # A taken HTTP or gRPC port ends the server; a taken metrics port leaves it ready, without metrics.
            taken = b"already in use" in self._log.read_bytes()[begin:]
            if taken and not last:
                self._end(signal.SIGKILL)
                return False
            if ended is not None or taken:
                reason = "a port is already in use" if taken else f"the server ended with status {ended}"
                raise BackendError(f"Triton did not start, {reason}; its log ends with:\n{self.log_tail()}")
            if all(map(_answers, wanted)):
                self.seconds_to_ready = time.monotonic() - started
                return True
            if time.monotonic() - started > self._limit_s:
                raise BackendError(
                    f"Triton is not ready after {self._limit_s:g} s; its log ends with:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    @property
    def _shm_argument(self) -> str:
        """Says how the server names its shared memory; of all processes this server alone has it."""
        return f"--backend-config=python,shm-region-prefix-name={self._prefix}"

    def _command(self) -> list[str]:
        distribution = self._environment.distribution
        http, grpc, metrics = self._ports
        return [
            str(distribution / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends()}",
            f"--cache-directory={distribution / 'caches'}",
            f"--model-config-name={self._config}",
            "--disable-auto-complete-config",
            "--exit-on-error=true",
            "--strict-readiness=true",
            "--model-control-mode=none",
            f"--exit-timeout-secs={self.drain_s}",
            *self._restrictions(),
            self._shm_argument,
            *(f"--{name}-address={self.host}" for name in ("http", "grpc", "metrics")),
            f"--http-port={http}",
            f"--grpc-port={grpc}",
            f"--metrics-port={metrics}",
            *self._options,
        ]

    def _restrictions(self) -> list[str]:
        given = any(option.startswith(("--http-restricted-api", "--grpc-restricted")) for option in self._options)
        return [] if given else closing_options(secrets.token_hex(16), self._closed)

    def _backends(self) -> Path:
        """Lay the python backend, the stub of this Python and this very package side by side.

        Links, not copies: a copied stub no longer finds its libraries. The stub heeds no PYTHONPATH, but looks for
        modules in this folder.
        """
        folder = self._folder / "backends" / "python"
        folder.mkdir(parents=True, exist_ok=True)
        held = self._environment.distribution / "backends" / "python"
        utilities = held / "triton_python_backend_utils.py"
        for path in (held / "libtriton_python.so", utilities, self._environment.stub, _PACKAGE):
            link = folder / path.name
            if not link.is_symlink():
                link.symlink_to(path)
        return folder.parent

    def _end(self, first: signal.Signals) -> None:
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.send_signal(first)
                try:
                    process.wait(self.drain_s + _EXIT_MARGIN_S)
                except subprocess.TimeoutExpired:
                    log.warning("Triton did not end in %d s and is killed", self.drain_s + _EXIT_MARGIN_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever stub is left in the server's own session
            process.wait()
            self._process = None
        remove_shared_memory(self._prefix)


def closing_options(key: str, names: Sequence[str] = CLOSED) -> list[str]:
    """Return the options that close interfaces to whoever does not know a key, which is to say to everyone.

    A server before 2.68 has no other way; later ones allow no shared memory of clients unless told to.
    """
    rule = f"{','.join(names)}:borzoi-rt-closed={key}"
    return [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]


def container_command(repository: Path) -> str:
    """Return the docker line that serves the production configuration of a repository on an NVIDIA GPU.

    The image is that of ``deploy/Dockerfile``: a scorer needs this package in it. The genomes of the scorers are
    mounted from where the repository says that they lie.

    Raises
    ------
    InputError
        If there is no model, or the scorers of the repository have genomes of several names.
    """
    genomes = {_genome_of(path) for path in repository.glob("*/config.pbtxt")}
    if not genomes:
        raise InputError(f"{repository}: holds no model; `borzoi-rt triton repo` makes a model repository")
    words = ["docker run --rm --gpus=all --shm-size=2g --read-only --tmpfs=/tmp --cap-drop=ALL"]
    words += ["--security-opt=no-new-privileges", f"--stop-timeout={DRAIN_S + _EXIT_MARGIN_S}"]
    words += [f"-p {LOOPBACK}:{port}:{port}" for port in (8000, 8001, 8002)]
    words.append(f"-v {shlex.quote(str(repository.resolve()))}:/models:ro")
    fastas = sorted(genome for genome in genomes if genome)
    if len(fastas) > 1:
        raise InputError(f"{repository}: its scorers have several genomes ({', '.join(fastas)}); one line serves one")
    for fasta in fastas:
        folder, name = os.path.split(fasta)
        words.append(f"-v {shlex.quote(folder)}:{GENOME_MOUNT}:ro")
        words.append(f"-e {FASTA_VARIABLE}={shlex.quote(f'{GENOME_MOUNT}/{name}')}")
    words += [IMAGE, "tritonserver", *SERVER_OPTIONS, *closing_options(secrets.token_hex(16))]
    return " ".join(words)


def _genome_of(config: Path) -> str:
    """Return the genome that a configuration names; nothing for a graph."""
    found = re.search(r'key: "fasta" value \{ string_value: ("(?:[^"\\]|\\.)*") \}', config.read_text(encoding="utf-8"))
    return str(json.loads(found.group(1))) if found else ""


def _choose_ports(wanted: tuple[int, int, int], host: str) -> tuple[int, int, int]:
    held: list[socket.socket] = []
    try:
        chosen = []
        for port in wanted:
            if not port:
                held.append(socket.socket())
                held[-1].bind((host, 0))
                port = held[-1].getsockname()[1]
            chosen.append(port)
        return chosen[0], chosen[1], chosen[2]
    finally:
        for item in held:
            item.close()


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:  # refused, reset, too slow, or a status that says not ready
        return False
