"""A run submitted to a Ray cluster that was started by hand, as ``ray job submit`` does it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from borzoi_rt.demo.data import write_demo_data
from borzoi_rt.demo.packaged import packaged_bundle

pytestmark = pytest.mark.full
ACTOR = "ray::_Hand"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A head of two cores with its job server: the server's address, and the folder of the session."""
    program = Path(sys.executable).with_name("ray")
    pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
    pytest.importorskip("aiohttp_cors", reason="Ray is there without its job server (pip install 'ray[default]')")
    folder = Path("/tmp") / f"brt-ray-{os.getpid()}"  # names of sockets may not be long
    port, dashboard = free_port(), free_port()
    started = subprocess.run(
        [
            *(program, "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=2"),
            *("--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            *(f"--object-store-memory={80 * 2**20}", "--disable-usage-stats", "--include-dashboard=true"),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield f"http://127.0.0.1:{dashboard}", folder
    finally:
        for number, _ in processes(str(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """Return what the cluster and its clients are started with; newer releases of Ray ask for a word between them."""
    word = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-test"}
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", **word}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def processes(word: str) -> list[tuple[int, str]]:
    """Return the processes with a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in text and int(path.parent.name) != os.getpid():
                found.append((int(path.parent.name), text))
    return found


def actors(folder: Path) -> list[int]:
    """Return the workers of the run: Ray writes over their command line and environment, but not over their parent."""
    ours = {number for number, _ in processes(str(folder))}
    found = []
    for number, _ in processes(ACTOR):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{number}/status").read_text()
            if int(status.split("PPid:")[1].split()[0]) in ours:
                found.append(number)
    return found


def test_a_submitted_job_gives_the_bytes_of_one_process(cluster: tuple[str, Path], tmp_path: Path) -> None:
    """One of its two workers is killed after the first result; the job says so, goes on, and its table is the same."""
    address, folder = cluster
    fasta, vcf, _ = write_demo_data(tmp_path)
    given = [str(vcf), "--bundle", str(packaged_bundle("bundle").path), "--fasta", str(fasta), "--threads", "1"]
    entry = [sys.executable, "-m", "borzoi_rt", "score", *given]
    subprocess.run([*entry, "--out", str(tmp_path / "whole.parquet")], check=True, capture_output=True)
    out = tmp_path / "out.parquet"
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit", f"--address={address}", "--"]
    job = subprocess.Popen(
        [*submit, *entry, "--out", str(out), "--engine", "ray", "--workers", "2", "--log-json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    partial = out.with_name(f"{out.name}.partial")
    while job.poll() is None and not list(partial.glob("shard-*.arrow")):
        time.sleep(0.02)
    running = actors(folder)
    assert len(running) == 2, "" if job.poll() is None else job.communicate()[0]
    os.kill(running[0], signal.SIGKILL)
    said, _ = job.communicate(timeout=900)
    assert job.returncode == 0, said
    assert "a worker process ended (Ray lost it); job" in said
    assert "600 alleles: 600 ok" in said
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not partial.exists()
