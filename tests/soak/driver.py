"""Clients of every kind against one server; both are killed over and over, then the server lives on and is measured."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from triton_servers import windows

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import VariantRecord
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.serving.bench import random_substitutions
from borzoi_rt.serving.local.environment import ServerEnvironment
from borzoi_rt.serving.local.launcher import TritonServer
from soak.client import KINDS, VARIANTS, WINDOWS, Job

SHARED_MEMORY = Path("/dev/shm")
MARK = "BORZOI_RT_SOAK_MARK"
CHAOS = 0.6  # share of the time in which the server is killed
PAGE_BYTES = 4096


@dataclass(slots=True)
class Report:
    """What a soak has seen."""

    answers: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    errors: int = 0
    servers_killed: int = 0
    clients_killed: int = 0
    clients_ended: list[str] = field(default_factory=list)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    shared_memory: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)


def known_answers(bundle: Bundle, fasta: Path, options: ScoreOptions) -> dict[str, np.ndarray]:
    """Return what every client must be told, computed in this process."""
    sequence = windows(WINDOWS, length=bundle.geometry.sequence_length_bp, seed=9)
    known = {"sequence": sequence}
    for name, session in (
        ("whole", open_session(bundle)),
        ("tiled", open_engine(bundle, threads=1, options=EngineOptions())),
    ):
        known[name] = np.concatenate([session.run(sequence[at : at + 1]) for at in range(WINDOWS)])
        session.close()
    with Fasta(fasta) as genome:
        session = open_engine(bundle)
        scorer = Scorer(bundle, session, genome, options)
        variants = random_substitutions(genome, VARIANTS, seed=1)
        results = [scorer.score(VariantRecord(number, 0, item)) for number, item in enumerate(variants)]
        session.close()
    for stat in results[0].scores or {}:
        known[stat] = np.stack([(result.scores or {})[stat] for result in results])
    return known


class Client:
    """A client process that is started again whenever it was killed."""

    def __init__(self, job: Job, folder: Path, environment: dict[str, str]) -> None:
        self.job, self._folder, self._environment = job, folder, environment
        self.pids: list[int] = []
        self.start()

    def start(self) -> None:
        job = json.loads(self.job.text()) | {
            "counts": str(self._folder / f"{self.job.seed}-{len(self.pids)}.json"),
            "seed": self.job.seed + 1000 * len(self.pids),
        }
        with (self._folder / "errors.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "soak.client", Job(**job).text()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=self._environment,
            )
        self.pids.append(self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.start()

    def stop(self) -> bool:
        """End it; False where it had ended by itself, or does not end."""
        alive = self.process.poll() is None
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=30)
            return alive
        self.process.kill()
        self.process.communicate()
        return False

    def counts(self) -> list[dict[str, int]]:
        """Return the counts of every life of it."""
        return [json.loads(path.read_text()) for path in self._folder.glob(f"{self.job.seed}-*.json")]


def soak(
    repository: Path,
    bundle: Bundle,
    fasta: Path,
    options: ScoreOptions,
    *,
    environment: ServerEnvironment,
    minutes: float,
    say: Callable[[str], object] = lambda text: None,
) -> Report:
    """Put a server under load for some minutes and report."""
    report, chance, mark = Report(), random.Random(5), uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        np.savez(folder / "answers.npz", **known_answers(bundle, fasta, options))
        (folder / "tiles").mkdir()
        os.environ[MARK] = mark  # whatever is started from here on has it
        try:
            with TritonServer(repository, environment=environment, client_shm=True) as server:
                clients = _start(server, bundle, fasta, folder)
                try:
                    _chaos(server, clients, report, chance, 60 * minutes * CHAOS, say)
                    _calm(server, clients, report, 60 * minutes * (1 - CHAOS), say)
                finally:
                    report.clients_ended = [client.job.kind for client in clients if not client.stop()]
                prefix = server._prefix
        finally:
            del os.environ[MARK]
        for client in clients:
            counts = client.counts()
            report.answers[client.job.kind] = sum(item["answers"] for item in counts)
            report.wrong += sum(item["wrong"] for item in counts)
            report.errors += sum(item["errors"] for item in counts)
        say((folder / "errors.txt").read_text()[-2000:])
    report.processes = marked(mark)
    names = [path.name for path in SHARED_MEMORY.iterdir()]
    ours = tuple(f"_{pid}_" for client in clients for pid in client.pids)
    report.shared_memory = [
        name
        for name in names
        if name.startswith(prefix) or (name.startswith("borzoi_rt_client") and any(pid in name for pid in ours))
    ]
    return report


def _start(server: TritonServer, bundle: Bundle, fasta: Path, folder: Path) -> list[Client]:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
    }
    jobs = [
        Job(
            kind=kind,
            bundle=str(bundle.path),
            fasta=str(fasta),
            answers=str(folder / "answers.npz"),
            tiles=str(folder / "tiles"),
            grpc=server.grpc,
            http=server.http,
            counts="",
            seed=number,
        )
        for number, kind in enumerate(KINDS)
    ]
    return [Client(job, folder, environment) for job in jobs]


def _chaos(
    server: TritonServer,
    clients: list[Client],
    report: Report,
    chance: random.Random,
    seconds: float,
    say: Callable[[str], object],
) -> None:
    """Kill something every few seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(1, 4))
        if chance.random() < 0.3:
            server.kill()
            report.servers_killed += 1
            time.sleep(chance.uniform(0, 2))
            server.start()
        else:
            chance.choice(clients).kill()
            report.clients_killed += 1
        say(f"killed: {report.servers_killed} servers, {report.clients_killed} clients")


def _calm(
    server: TritonServer, clients: list[Client], report: Report, seconds: float, say: Callable[[str], object]
) -> None:
    """Let the server live, and all clients but the one whose shared memory a server may keep."""
    victim = next(client for client in clients if "shared" in client.job.kind)
    lasting = [client for client in clients if client is not victim]
    seen: dict[str, list[float]] = {}
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        time.sleep(max(1.0, seconds / 100))
        seen.setdefault("server", []).append(_resident_mb(server.pid or 0))
        for client in lasting:
            seen.setdefault(client.job.kind, []).append(_resident_mb(client.process.pid))
        if len(seen["server"]) % 5 == 0:
            victim.kill()
            report.clients_killed += 1
    for name, values in seen.items():
        third = len(values) // 3
        report.memory[name] = (statistics.median(values[third : 2 * third]), statistics.median(values[2 * third :]))
        say(f"{name}: {report.memory[name][0]:.0f} MB, then {report.memory[name][1]:.0f} MB")


def _resident_mb(pid: int) -> float:
    """Return the memory of a process and of its children; 0 where there is none."""
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        pids = [str(pid), *(child for task in tasks for child in task.read_text().split())]
        return sum(int(Path(f"/proc/{item}/statm").read_text().split()[1]) for item in pids) * PAGE_BYTES / 1e6
    except OSError:
        return 0.0


def marked(mark: str) -> list[str]:
    """Return the command lines of the processes that have the mark in their environment; they get 5 s to end."""
    limit = time.monotonic() + 5
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        if not found or time.monotonic() > limit:
            return found
        time.sleep(0.2)
