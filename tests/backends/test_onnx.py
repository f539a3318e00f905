"""onnxruntime sessions: numbers, arguments, providers that are missing, the golden example."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.device import Device
from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.backends.protocols import ResidentParts, Session
from borzoi_rt.backends.resident import open_resident
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine import sessions
from borzoi_rt.errors import BackendError, FormatError, InputError, ParityError

LENGTH, TRACKS, BINS = 2048, 6, 32  # the toy bundle


@pytest.fixture
def session(toy_bundle: Bundle) -> Iterator[Session]:
    opened = open_session(toy_bundle, "onnx:cpu", threads=1)
    yield opened
    opened.close()


def windows(count: int, seed: int = 0) -> np.ndarray:
    bases = np.random.default_rng(seed).integers(0, 5, (count, LENGTH))  # 4 is N
    return (bases[:, None] == np.arange(4)[:, None]).astype(np.uint8)


def copy_of(bundle: Bundle, folder: Path, change: Callable[[Path], None]) -> Bundle:
    """Return a changed bundle whose manifest agrees with the change, as an exporter at fault would write it."""
    path = Path(shutil.copytree(bundle.path, folder / "bundle"))
    change(path)
    manifest = json.loads((path / "bundle.json").read_text())
    for name, entry in manifest["files"].items():
        content = (path / name).read_bytes()
        entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    (path / "bundle.json").write_text(json.dumps(manifest))
    return open_bundle(path)


def test_a_session_says_what_it_is(session: Session) -> None:
    assert (session.geometry.bins, session.tracks_count, session.provider) == (BINS, TRACKS, "cpu")


def test_coverage_does_not_depend_on_the_batch(session: Session) -> None:
    batch = windows(3)
    together = session.run(batch)
    assert (together.shape, together.dtype) == ((3, TRACKS, BINS), np.float32)
    assert together.min() >= 0
    assert np.abs(together[0] - together[1]).max() > 0
    for index in range(3):
        # Other block sizes inside the matrix products: rounding of sums of about 100 float32 products.
        assert_allclose(session.run(batch[index : index + 1])[0], together[index], rtol=1e-5, atol=1e-6)


def test_a_rerun_gives_the_same_bits(session: Session, toy_bundle: Bundle) -> None:
    again = open_session(toy_bundle, threads=1)
    assert_array_equal(again.run(windows(1)), session.run(windows(1)))
    again.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_rounding_alone(session: Session, toy_bundle: Bundle, threads: int) -> None:
    other = open_session(toy_bundle, threads=threads)
    assert_allclose(other.run(windows(1)), session.run(windows(1)), rtol=1e-5, atol=1e-6)
    other.close()


@pytest.mark.parametrize("index", [[4], [5, 0, 0, 2]])
def test_tracks_come_in_the_order_asked_for(session: Session, index: list[int]) -> None:
    whole = session.run(windows(1))
    assert_allclose(session.run(windows(1), np.array(index)), whole[:, index], rtol=1e-5, atol=1e-6)


def test_no_tracks_are_no_work(session: Session) -> None:
    assert session.run(windows(2), np.array([], dtype=np.int64)).shape == (2, 0, BINS)


def test_the_fill_reaches_the_network(session: Session) -> None:
    plain, filled = session.run(windows(1)), session.run(windows(1), n_fill=0.25)
    assert np.abs(filled - plain).max() > 1e-3
    known = windows(1)
    known[:, 0] |= known.sum(axis=1) == 0  # N becomes A, so there is nothing to fill
    assert_array_equal(session.run(known, n_fill=0.25), session.run(known))


def test_strided_windows_are_read_in_order(session: Session) -> None:
    spread = np.repeat(windows(1), 2, axis=2)
    assert not spread[:, :, ::2].flags.c_contiguous
    assert_array_equal(session.run(spread[:, :, ::2]), session.run(windows(1)))


@pytest.mark.parametrize(
    ("sequence", "index", "message"),
    [
        (windows(1).astype(np.float32), None, "sequence is float32; a uint8 array"),
        (windows(1)[:, :, 1:], None, r"shape \(1, 4, 2047\); \(batch, 4, 2048\) is needed"),
        (windows(1), np.array([TRACKS]), "the model has outputs 0 to 5"),
        (windows(1), np.array([0.5]), "a vector of integers"),
    ],
)
def test_arguments_are_judged(session: Session, sequence: np.ndarray, index: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        session.run(sequence, index)


def test_a_closed_session_says_so(toy_bundle: Bundle) -> None:
    session = open_session(toy_bundle, threads=1)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed; open another"):
        session.run(windows(1))


@pytest.mark.parametrize("device", ["onnx", "torch:cpu", "rocm", "cuda:x", ""])
def test_unknown_devices_are_refused(toy_bundle: Bundle, device: str) -> None:
    with pytest.raises(InputError, match=r"device '.*' is unknown; allowed: cpu, cpu:THREADS, cuda\[:N\]"):
        open_session(toy_bundle, device)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_positive(toy_bundle: Bundle, threads: int) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}"):
        open_session(toy_bundle, threads=threads)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt", "onnx:cuda:0"])
def test_a_missing_provider_names_the_fix(toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    name = str(Device.parse(device))
    with pytest.raises(BackendError, match=rf"device '{name}' was asked for.*pip install 'borzoi-rt\[gpu\]'"):
        open_session(toy_bundle, device)


def test_the_cpu_is_never_a_silent_fallback(
    toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The GPU build without a driver offers CUDA, warns, and runs on the CPU."""
    real = onnxruntime.InferenceSession

    def without_driver(path: str, options: Any, providers: list[Any]) -> Any:
        assert providers[0][0] == "CUDAExecutionProvider"
        assert providers[0][1]["use_tf32"] == 0
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_driver)
    with pytest.raises(
        BackendError, match=r"did not start .*fell back to CPUExecutionProvider.*or choose the device cpu"
    ):
        open_session(toy_bundle, "cuda")


@pytest.mark.parametrize("name", ["predict.onnx", "weights.bin"])
def test_a_graph_that_cannot_be_loaded_is_named(toy_bundle: Bundle, tmp_path: Path, name: str) -> None:
    def cut(path: Path) -> None:
        (path / name).write_bytes((path / name).read_bytes()[:1000])

    with pytest.raises(FormatError, match=r"\.onnx: not a graph that a bundle may hold: .*(cut off|weights\.bin)"):
        copy_of(toy_bundle, tmp_path, cut)


def test_a_failure_inside_the_runtime_is_ours_to_report(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of\n memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", fail)
    with pytest.raises(BackendError, match=r"onnxruntime \(cpu\) failed on \(1, 4, 2048\): out of memory"):
        session.run(windows(1))


def test_the_golden_example_is_replayed(session: Session, toy_bundle: Bundle) -> None:
    report = replay_golden(session, toy_bundle)
    assert 0 < report.rms <= 2 * toy_bundle.info.parity["golden_noise"]["rms"]  # as the exporter found it
    open_session(toy_bundle, threads=1, check=True).close()


@pytest.mark.parametrize("value", [1.0001, np.nan, np.inf])
def test_a_parity_failure_names_track_and_bin(toy_bundle: Bundle, tmp_path: Path, value: float) -> None:
    golden = toy_bundle.golden()
    golden["coverage"][0, 3, 17] *= value
    track = toy_bundle.tracks.identifier[int(golden["track_index"][3])]

    def rewrite(path: Path) -> None:
        np.savez(path / "golden.npz", **golden)  # type: ignore[arg-type]

    broken = copy_of(toy_bundle, tmp_path, rewrite)
    open_session(broken, threads=1).close()  # the CPU is checked at export, so only on demand here
    with pytest.raises(ParityError, match=rf"worst track '{track[:-1]}.', bin 17; copy or export the bundle again"):
        open_session(broken, threads=1, check=True)


def test_a_golden_example_of_another_shape_is_refused(session: Session, toy_bundle: Bundle, tmp_path: Path) -> None:
    golden = toy_bundle.golden()
    golden["coverage"] = golden["coverage"][:, :, :-1]

    def rewrite(path: Path) -> None:
        np.savez(path / "golden.npz", **golden)  # type: ignore[arg-type]

    with pytest.raises(FormatError, match=r"golden\.npz: not a golden archive \(coverage has shape \(1, 6, 31\)"):
        replay_golden(session, copy_of(toy_bundle, tmp_path, rewrite))


def test_split_graphs_are_checked_where_the_exporter_was_not(
    toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that gives other numbers by tiles than the golden example is refused before anything is scored."""
    asked: list[str] = []

    def on_a_gpu(bundle: Bundle, device: Device, *, bank_bytes: int) -> ResidentParts:
        asked.append(str(device))
        return open_resident(bundle, "cpu:1", bank_bytes=bank_bytes)

    monkeypatch.setattr(sessions, "open_resident", on_a_gpu)
    sound = sessions.open_engine(toy_bundle, "cuda:0", options=sessions.EngineOptions(fused=False))
    assert sound.run(windows(1)).shape == (1, TRACKS, BINS)
    golden = toy_bundle.golden()
    golden["coverage"][0, 3, 17] *= 1.001

    def rewrite(path: Path) -> None:
        np.savez(path / "golden.npz", **golden)  # type: ignore[arg-type]

    broken = copy_of(toy_bundle, tmp_path, rewrite)
    for fused in (False, True):
        with pytest.raises(ParityError, match="does not reproduce the golden example"):
            sessions.open_engine(broken, "cuda:0", options=sessions.EngineOptions(fused=fused))
    sessions.open_engine(broken, "cpu:1").close()  # checked at export
    assert asked == ["cuda:0", "cuda:0", "cuda:0"]
