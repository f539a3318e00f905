"""A promoter bundle on a real server: motifs removed there give the bits of this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import worlds
from triton_servers import server_environment, windows

import borzoi_rt
from borzoi_rt.backends.onnx import OnnxSession
from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.backends.protocols import Session
from borzoi_rt.backends.served import ServedSession
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.cli import run
from borzoi_rt.errors import InputError
from borzoi_rt.promoter.removal import ChannelRemoval
from borzoi_rt.serving.lint import lint_repository
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository

PATH = Path(borzoi_rt.__file__).parent / "demo" / "promoter_bundle"
LENGTH, CHANNELS = 600, 8  # four motifs on two strands


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(PATH)


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    environment = server_environment()
    out = tmp_path_factory.mktemp("triton") / "models"
    assert write_repository(bundle, out, name="promoter") == ["promoter"]
    assert lint_repository(out) == []
    with TritonServer(out, environment=environment, client_shm=True) as running:
        yield running


@pytest.fixture(scope="module")
def here(bundle: Bundle) -> Session:
    return open_session(bundle)


@pytest.fixture(params=["grpc", "http", "grpc?shm=1"])
def there(request: pytest.FixtureRequest, server: TritonServer, bundle: Bundle) -> Iterator[Session]:
    scheme, _, options = request.param.partition("?")
    host = server.grpc if scheme == "grpc" else server.http
    session = open_session(bundle, f"triton:{scheme}://{host}/promoter?{options}")
    yield session
    session.close()


def masks(batch: int, length: int) -> dict[str, np.ndarray]:
    """Return a mask that removes about half of all, and a fill."""
    random = np.random.default_rng(batch + length)
    mask = random.integers(0, 2, (batch, CHANNELS, length)).astype(np.float32)
    return {"mask": mask, "fill": (1 - mask) * random.random((batch, CHANNELS, 1), dtype=np.float32)}


def test_without_a_mask_it_is_served_as_any_bundle(there: Session, here: Session, bundle: Bundle) -> None:
    sequence = windows(3, length=LENGTH)
    for index, bins in ((None, None), (np.array([1, 0, 1]), (5, 17))):
        assert np.array_equal(there.run(sequence, index, bins=bins), here.run(sequence, index, bins=bins))
    assert replay_golden(there, bundle) == replay_golden(here, bundle)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 1), (1, LENGTH), (3, LENGTH)])
def test_a_mask_gives_the_bits_of_this_process(
    there: ServedSession, here: OnnxSession, batch: int, length: int
) -> None:
    sequence, given = windows(3, length=LENGTH), masks(batch, length)
    want = here.run(sequence, n_fill=0.25, **given)
    assert np.array_equal(there.run(sequence, n_fill=0.25, **given), want)
    assert not np.array_equal(want, here.run(sequence, n_fill=0.25))  # the mask does something
    only = {"mask": given["mask"]}
    assert np.array_equal(there.run(sequence, **only, bins=(3, 9)), here.run(sequence, **only, bins=(3, 9)))


def test_activations_are_those_of_this_process(there: ServedSession, here: OnnxSession) -> None:
    sequence = windows(2, length=LENGTH)
    got = there.activations(sequence, n_fill=0.25)
    assert got.shape == (2, CHANNELS, LENGTH)
    assert np.array_equal(got, here.activations(sequence, n_fill=0.25))


def test_a_request_that_is_too_large_is_cut(
    there: ServedSession, here: OnnxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask of one window goes with its window."""
    sequence, given = windows(5, length=LENGTH), masks(5, LENGTH)
    window_bytes = LENGTH * (4 + 2 * CHANNELS * 4)  # bases, mask and fill
    monkeypatch.setattr("borzoi_rt.backends.served._SENT_BYTES", 2 * window_bytes)
    before = there.counters.requests
    got = there.run(sequence, **given)
    assert there.counters.requests - before == 3  # of 2, 2 and 1 windows
    want = [here.run(sequence[i : i + 2], **{key: value[i : i + 2] for key, value in given.items()}) for i in (0, 2, 4)]
    assert np.array_equal(got, np.concatenate(want))


@pytest.mark.parametrize("baseline", ["zero", "median"])
def test_motifs_are_removed_on_the_server(
    there: ServedSession, here: OnnxSession, bundle: Bundle, baseline: str
) -> None:
    window = windows(1, length=LENGTH)[0]
    got, want = (ChannelRemoval(session, bundle, baseline=baseline).curves(window) for session in (there, here))
    assert got.motifs == want.motifs
    assert np.array_equal(got.ko, want.ko)
    assert np.array_equal(got.wt, want.wt)


def test_a_mask_of_another_shape_is_refused_before_it_is_sent(there: ServedSession) -> None:
    with pytest.raises(InputError, match=r"mask has shape \(2, 8, 1\); \(1 or 3, 8, 1 or 600\) is needed"):
        there.run(windows(3, length=LENGTH), mask=np.ones((2, CHANNELS, 1), dtype=np.float32))


def test_other_bundles_take_no_mask(triton_server: TritonServer, toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, f"triton:grpc://{triton_server.grpc}/borzoi", check=False)
    with pytest.raises(InputError, match="takes no 'mask'"):
        session.run(windows(1), mask=np.ones((1, CHANNELS, 1), dtype=np.float32))  # type: ignore[call-arg]
    with pytest.raises(InputError, match="no motif activations"):
        session.activations(windows(1))  # type: ignore[attr-defined]
    session.close()


def test_the_command_line_scores_on_the_server(
    server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = worlds.write_fasta(tmp_path / "g.fa", {"chr1": worlds.random_dna(3000, seed=4)})
    (tmp_path / "tss.bed").write_text("chr1\t1500\t1501\ta\t0\t+\nchr1\t1700\t1701\tb\t0\t-\n")
    tables = []
    for out, more in (("here.tsv", []), ("there.tsv", ["--device", f"triton:grpc://{server.grpc}/promoter"])):
        arguments = ["--bundle", PATH, "--fasta", fasta, "--bed", tmp_path / "tss.bed", "--out", tmp_path / out, *more]
        monkeypatch.setattr("sys.argv", ["borzoi-rt", "dft", "score", *map(str, arguments)])
        run()
        tables.append((tmp_path / out).read_bytes())
    assert tables[0] == tables[1]
