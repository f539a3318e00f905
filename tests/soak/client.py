"""One client of the soak, a process of its own: asks without end, compares every answer, and counts.

Standard input is held by the driver: its end is the end of this process, however the driver ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine import tile_cache
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.errors import BorzoiError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.scoring.remote import RemoteScorer
from borzoi_rt.serving.bench import random_substitutions

WINDOWS, VARIANTS = 24, 40
ULP = 2.5e-7  # statistics with a logarithm may differ in the last bit of float32: the server has another NumPy
PATIENCE = "retry=120"
KINDS = (
    "windows over gRPC",
    "windows over HTTP",
    "windows in shared memory",
    "variants over gRPC",
    "variants over HTTP",
    "tiles, the folder full",
    "tiles, the disk slow",
    "tiles in process, the disk full",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a client asks, and where."""

    kind: str
    bundle: str
    fasta: str
    answers: str
    tiles: str
    grpc: str
    http: str
    counts: str
    seed: int

    @classmethod
    def read(cls, text: str) -> Job:
        """Return the job of a command line."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """Return what :meth:`read` reads."""
        return json.dumps(asdict(self))


Answer = Callable[[int], bool]


def _same(session: Any, known: dict[str, np.ndarray], name: str) -> Answer:
    def ask(number: int) -> bool:
        at = number % WINDOWS
        return bool(np.array_equal(session.run(known["sequence"][at : at + 1]), known[name][at : at + 1]))

    return ask


def _scores(scorer: RemoteScorer, fasta: Path, known: dict[str, np.ndarray]) -> Answer:
    with Fasta(fasta) as genome:
        variants = random_substitutions(genome, VARIANTS, seed=1)

    def ask(number: int) -> bool:
        at = [(number + step) % VARIANTS for step in range(3)]
        results = scorer.score([variants[item] for item in at])
        return all(
            result.status == "ok" and np.allclose(values, known[stat][item], rtol=ULP, atol=0)
            for item, result in zip(at, results, strict=True)
            for stat, values in (result.scores or {"": np.nan}).items()
        )

    return ask


def _slow(call: Callable[..., Any]) -> Callable[..., Any]:
    def slowed(*values: Any) -> Any:
        time.sleep(0.03)
        return call(*values)

    return slowed


def answers_of(job: Job, bundle: Bundle, known: dict[str, np.ndarray]) -> Answer:
    """Open what a kind of client needs and return its question."""
    if job.kind.startswith("variants"):
        address = f"grpc://{job.grpc}" if "gRPC" in job.kind else f"http://{job.http}"
        return _scores(RemoteScorer(f"{address}/borzoi_scorer?{PATIENCE}"), Path(job.fasta), known)
    if job.kind.startswith("windows"):
        address = f"http://{job.http}" if "HTTP" in job.kind else f"grpc://{job.grpc}"
        shared = "&shm=1" if "shared" in job.kind else ""
        return _same(open_session(bundle, f"triton:{address}/borzoi?{PATIENCE}{shared}"), known, "whole")
    device, threads = f"triton:grpc://{job.grpc}/borzoi?{PATIENCE}", None
    if job.kind == KINDS[5]:
        tile_cache.TileStore.__init__.__defaults__ = (64_000,)  # what is written evicts what others read
    elif job.kind == KINDS[6]:
        tile_cache.TileStore.read = _slow(tile_cache.TileStore.read)  # type: ignore[method-assign]
        tile_cache.TileStore.write = _slow(tile_cache.TileStore.write)  # type: ignore[method-assign]
    else:
        device, threads = "cpu", 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # a tile is larger
    # No room in memory: every tile comes from the folder or is computed.
    options = EngineOptions(tile_cache=Path(job.tiles), memory_bytes=0)
    return _same(open_engine(bundle, device, threads=threads, options=options), known, "tiled")


def _numbers(seed: int) -> Iterator[int]:
    random = np.random.default_rng(seed)
    while True:
        yield int(random.integers(0, 2**31))


def main(job: Job) -> None:
    """Ask until the driver goes."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    known = dict(np.load(job.answers))
    counts = {"answers": 0, "wrong": 0, "errors": 0}
    path, told = Path(job.counts), 0.0
    ask = answers_of(job, open_bundle(job.bundle), known)
    for number in _numbers(job.seed):
        try:
            counts["answers"] += 1
            counts["wrong"] += not ask(number)
        except BorzoiError as error:
            counts["errors"] += 1
            sys.stderr.write(f"{job.kind}: {error}\n")
        if ended.is_set() or time.monotonic() - told > 0.5 or counts["wrong"] or counts["errors"]:
            told = time.monotonic()
            path.with_suffix(".draft").write_text(json.dumps(counts))
            path.with_suffix(".draft").replace(path)
        if ended.is_set():
            os._exit(0)  # threads of a client that waits for an answer are not waited for


if __name__ == "__main__":
    main(Job.read(sys.argv[1]))
