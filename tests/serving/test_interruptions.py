"""A server that goes away, comes back as another, or is too busy: clients wait, and are never told a wrong number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from triton_servers import server_environment, windows

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.triton import Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.errors import BackendError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.runs.score import score_file
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.remote import RemoteScorer
from borzoi_rt.serving.bench import random_substitutions
from borzoi_rt.serving.config import Limits
from borzoi_rt.serving.local.environment import ServerEnvironment
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository


@pytest.fixture(scope="module", autouse=True)
def installed() -> ServerEnvironment:
    return server_environment()


@pytest.fixture
def server(triton_repository: Path) -> Iterator[TritonServer]:
    """A server of its own for each test: it is killed."""
    with TritonServer(triton_repository, environment=server_environment(), client_shm=True) as running:
        yield running


def killed_at(server: TritonServer, number: int) -> tuple[Callable[[int], None], threading.Event]:
    """Return a progress function that kills the server after so many results, and lets it come back a second later."""
    back = threading.Event()

    def restart() -> None:
        server.start()
        back.set()

    def progress(done: int) -> None:
        if done == number:
            server.kill()
            threading.Timer(1.0, restart).start()

    return progress, back


@pytest.mark.parametrize(("scheme", "full"), [("grpc", True), ("http", True), ("grpc", False)])
def test_a_run_goes_on_when_the_server_is_killed_and_comes_back(
    server: TritonServer, toy_bundle: Bundle, triton_genome: Path, tmp_path: Path, scheme: str, full: bool
) -> None:
    with Fasta(triton_genome) as fasta:
        rows = [f"{v.chrom}\t{v.pos}\t.\t{v.ref}\t{v.alt}" for v in random_substitutions(fasta, 60, seed=3)]
    (tmp_path / "in.vcf").write_text("##fileformat=VCFv4.2\n" + "\n".join(rows) + "\n")
    host = server.grpc if scheme == "grpc" else server.http
    progress, back = killed_at(server, 25)
    engine = EngineOptions(full=full)
    for out, device, watch in (
        ("there.tsv", f"triton:{scheme}://{host}/borzoi", progress),
        ("here.tsv", "cpu", None),
    ):
        counts = score_file(
            tmp_path / "in.vcf",
            tmp_path / out,
            bundle=toy_bundle,
            fasta=triton_genome,
            settings=RunSettings(device=device, engine=engine, progress=watch),
        )
        assert counts == {"ok": 60}
    assert back.is_set()
    assert (tmp_path / "there.tsv").read_bytes() == (tmp_path / "here.tsv").read_bytes()


def test_shared_memory_is_registered_anew(server: TritonServer, toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, f"triton:grpc://{server.grpc}/borzoi?shm=1")
    before = session.run(windows(2))
    server.kill()
    server.start()
    assert np.array_equal(session.run(windows(2)), before)
    session.close()


def test_scores_under_way_survive_a_restart(server: TritonServer, toy_bundle: Bundle, triton_genome: Path) -> None:
    with Fasta(triton_genome) as fasta, RemoteScorer(f"grpc://{server.grpc}/borzoi_scorer?flight=4") as scorer:
        many = random_substitutions(fasta, 80, seed=2)
        want = list(scorer.score_all(many, batch=4))
        progress, back = killed_at(server, 20)
        got = []
        for result in scorer.score_all(many, batch=4):
            got.append(result)
            progress(len(got))
        assert back.is_set()
        assert scorer.counters.retries > 0
    assert [item.variant for item in got] == many
    for one, other in zip(got, want, strict=True):
        assert all(np.array_equal((one.scores or {})[name], values) for name, values in (other.scores or {}).items())


def test_a_server_that_comes_back_with_another_model_is_not_believed(
    toy_bundle: Bundle, triton_repository: Path, tmp_path: Path
) -> None:
    write_repository(toy_bundle, tmp_path / "models")
    with TritonServer(tmp_path / "models", environment=server_environment()) as server:
        session = open_session(toy_bundle, f"triton:grpc://{server.grpc}/borzoi")
        server.kill()
        write_repository(embedded_bundle(), tmp_path / "models", overwrite=True)
        server.start()
        # no request failed in between: the client cannot know that it was away
        with pytest.raises(BackendError, match="was made of the bundle"):
            session.run(windows(1))
        session.close()


def test_a_scorer_that_comes_back_with_other_options_is_not_believed(
    toy_bundle: Bundle, triton_genome: Path, tmp_path: Path
) -> None:
    def write(rc: bool) -> None:
        options = ScoreOptions.for_family("hound", rc=rc)
        write_repository(toy_bundle, tmp_path / "models", fasta=triton_genome, options=options, overwrite=True)

    write(rc=False)
    with TritonServer(tmp_path / "models", environment=server_environment()) as server, Fasta(triton_genome) as fasta:
        scorer = RemoteScorer(f"grpc://{server.grpc}/borzoi_scorer")
        variants = random_substitutions(fasta, 1)
        assert scorer.score(variants)[0].status == "ok"
        server.kill()
        write(rc=True)
        server.start()
        with pytest.raises(BackendError, match="has changed its genome or its options"):
            scorer.score(variants)
        scorer.close()


def test_a_server_that_stays_away_is_given_up(server: TritonServer, toy_bundle: Bundle) -> None:
    for address in (f"grpc://{server.grpc}", f"http://{server.http}"):
        session = open_session(toy_bundle, f"triton:{address}/borzoi?retry=0.4")
        server.kill()
        with pytest.raises(BackendError, match=address):
            session.run(windows(1))
        session.close()
        server.start()


@pytest.fixture
def busy(toy_bundle: Bundle, tmp_path: Path) -> Iterator[TritonServer]:
    """A server whose queue holds one request."""
    write_repository(toy_bundle, tmp_path / "models", limits=Limits(cpu_queue=True, queue_size=1))
    with TritonServer(tmp_path / "models", environment=server_environment()) as running:
        yield running


def burst(address: str) -> tuple[int, int]:
    """Send eight requests at once, each of many windows; return how many were answered and how often one came again."""
    connection = Connection(Address.parse(address))
    inputs = {
        "sequence": windows(24),
        "track_index": np.arange(6),
        "n_fill": np.zeros(1, dtype=np.float32),
        "trim_bins": np.zeros(2, dtype=np.int64),
    }

    def ask(_: int) -> bool:
        try:
            return bool(np.isfinite(connection.infer("borzoi", inputs, {"coverage": (24, 6, 32)})["coverage"]).all())
        except BackendError as error:
            refusals.append(str(error))
            return False

    refusals: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        answered = sum(pool.map(ask, range(8)))
    connection.close()
    assert all("maximum queue size" in text for text in refusals)
    return answered, connection.counters.retries


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_full_queue_is_tried_again(busy: TritonServer, scheme: str) -> None:
    address = f"{scheme}://{busy.grpc if scheme == 'grpc' else busy.http}/borzoi"
    answered, retries = burst(f"{address}?retry=0")
    assert answered < 8  # the queue is really full
    assert retries == 0
    answered, retries = burst(f"{address}?retry=60")
    assert answered == 8
    assert retries > 0
