"""Tiles and windows in the memory of a device; the device here is the CPU, where the same code runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends import resident as backend
from borzoi_rt.backends.device import Device
from borzoi_rt.backends.gather import gather_graph
from borzoi_rt.backends.opening import open_parts
from borzoi_rt.backends.protocols import BankLayout
from borzoi_rt.backends.runtime import open_on
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.engine import sessions
from borzoi_rt.engine.bank import SCRATCH, Bank, BankRows
from borzoi_rt.engine.resident import ResidentSession, ResidentSummingSession
from borzoi_rt.engine.tiles import TilePlan
from borzoi_rt.errors import BackendError


@pytest.fixture(scope="module")
def demo_bundle() -> Bundle:
    """A window of several tiles, unlike that of the toy."""
    return embedded_bundle()


@pytest.fixture
def session(demo_bundle: Bundle) -> Iterator[ResidentSession]:
    parts = backend.open_resident(demo_bundle, "cpu:1", bank_bytes=0)
    opened = ResidentSession(parts, model=demo_bundle.sha256)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def host(demo_bundle: Bundle) -> Any:
    return sessions.open_engine(demo_bundle, "cpu:1")


def sequences(bundle: Bundle, count: int) -> np.ndarray:
    letters = np.random.default_rng(7).integers(0, 5, (count, bundle.geometry.sequence_length_bp))
    return (letters[:, None] == np.arange(4)[:, None]).astype(np.uint8)  # one base in five unknown


@pytest.mark.parametrize("bins", [None, (0, 3), (70, 100), (180, 192)])
@pytest.mark.parametrize("n_fill", [0.0, 0.25])
def test_coverage_is_that_of_the_host(
    session: ResidentSession, host: Any, demo_bundle: Bundle, bins: tuple[int, int] | None, n_fill: float
) -> None:
    x, index = sequences(demo_bundle, 2), np.array([3, 0])
    got, want = (one.run(x, index, n_fill=n_fill, bins=bins) for one in (session, host))
    assert want.max() > 100 * np.abs(got - want).max()
    assert_allclose(got, want, rtol=1e-4, atol=1e-7)


def test_a_null_variant_has_equal_bits_whatever_was_computed_between(
    session: ResidentSession, demo_bundle: Bundle
) -> None:
    """The bank has two windows' pages: it must give up pages and compute tiles again, in other company."""
    (window, *others) = sequences(demo_bundle, 8)
    want = session.run(window[None])
    for number, other in enumerate(others):
        session.run(other[None])
        changed = window.copy()
        column = changed[:, 900 * number + 5]
        column[:] = np.roll(column, 1) if column.any() else (1, 0, 0, 0)
        assert not np.array_equal(session.run(changed[None]), want)
        assert_array_equal(session.run(window[None]), want)


def test_a_variant_computes_the_tiles_that_hold_it(session: ResidentSession, demo_bundle: Bundle) -> None:
    window = sequences(demo_bundle, 1)[0]
    session.run(window[None])
    tiles = session.bank.computed
    for pos, changed_tiles in ((1000, 1), (4096, 2), (1000, 0)):
        changed = window.copy()
        column = changed[:, pos]
        column[:] = np.roll(column, 1) if column.any() else (1, 0, 0, 0)
        session.run(changed[None])
        assert session.bank.computed - tiles == changed_tiles
        tiles = session.bank.computed


def test_golden_example_through_the_engine(demo_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """What opens on a card is the resident session, checked by the golden example."""
    here = "borzoi_rt.engine.sessions.open_resident"
    monkeypatch.setattr(here, lambda bundle, where, **kept: backend.open_resident(bundle, "cpu:1", **kept))
    assert isinstance(sessions.open_engine(demo_bundle, "cuda:0"), ResidentSummingSession)
    opened = sessions.open_engine(demo_bundle, "cuda:0", options=sessions.EngineOptions(fused=False))
    assert isinstance(opened, ResidentSession)
    assert not opened.bank._slots  # the golden example is no window of the user's


@pytest.mark.parametrize("seed", range(3))
def test_bank_against_a_plain_model(seed: int) -> None:
    """Random use: a key found lies where it was put last, and no two keys share a slot."""
    draw, bank = random.Random(seed), Bank(BankLayout(pages=5, tiles=4, width=3, scales=(1, 2)))
    written: dict[int, bytes] = {}
    for number in range(400):
        keys = [f"{draw.randrange(40)}".encode() for _ in range(draw.randrange(1, 5))]
        missing = list(dict.fromkeys(key for key in keys if bank.slot(key) is None))
        if number % 2 and missing:
            page = bank.page(missing)
            assert page != SCRATCH
            written |= {page * 4 + position: key for position, key in enumerate(missing)}
        else:
            for key in missing:
                written[bank.single(key)] = key
        for key in keys[-1:]:
            slot = bank.slot(key)
            assert slot is not None
            assert written[slot] == key
        held = [bank.slot(f"{key}".encode()) for key in range(40)]
        slots = [slot for slot in held if slot is not None]
        assert len(slots) == len(set(slots)) <= 16


def test_rows_are_those_of_the_tiles(demo_bundle: Bundle) -> None:
    """Fill a bank on paper with the number of every position; a window gathered from it counts up."""
    tiling = demo_bundle.info.tiling
    assert tiling is not None
    plan = TilePlan.of(demo_bundle.geometry, tiling)
    layout = BankLayout(3, 2, plan.width, (1, *tiling.skips_per_token))
    paper = np.full(layout.pages * layout.page_rows, -1)
    slots = np.array([5, 2])[: len(plan.tiles)]
    for slot, tile in zip(slots, plan.tiles, strict=True):
        for output, scale in enumerate(layout.scales):
            first = layout.row(int(slot), output)
            paper[first : first + plan.width * scale] = tile.read * scale + np.arange(plan.width * scale)
    spans = [(7, 40), (3, 90)]
    tokens, *skips = BankRows(plan, layout).of(slots, spans)
    assert_array_equal(paper[tokens], np.arange(plan.tokens))
    for rows, (start, end) in zip(skips, spans, strict=True):
        assert_array_equal(paper[rows], np.arange(start, end))


def test_gather_graph() -> None:
    """The bytes are an ONNX model to whoever else reads them."""
    onnx.checker.check_model(onnx.load_from_string(gather_graph()), full_check=True)
    bank, rows = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([[3, 0, 3]])
    (got,) = open_on(gather_graph(), Device("cpu", threads=1)).run(None, {"bank": bank, "row_index": rows})
    assert_array_equal(got, bank[rows])


def test_only_what_comes_to_the_host_is_waited_for(
    demo_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, session: ResidentSession
) -> None:
    """All graphs of a card share its queue, so that the one which hands over numbers is behind all others."""
    real, runs = onnxruntime.InferenceSession, []

    def without_card(graph: Any, options: Any, providers: list[Any]) -> Any:
        runs.append(providers[0][1].get("user_compute_stream"))
        return real(graph, options, providers=["CPUExecutionProvider"])

    with monkeypatch.context() as patched:
        here = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        patched.setattr(onnxruntime, "get_available_providers", lambda: here)
        patched.setattr(onnxruntime, "InferenceSession", without_card)
        patched.setattr(real, "get_providers", lambda _: here)
        parts = backend.open_resident(demo_bundle, "cuda:0", bank_bytes=0)
        parts._graph("head")
        open_parts(demo_bundle, "cuda:0")._graph("head")
    assert runs == ["1", "1", None]  # gather and head of the card in the default stream, a head of the host in its own

    waits: dict[str, set[bool]] = {}
    plain = backend.DeviceParts._graph

    class Watched:
        def __init__(self, name: str, graph: Any) -> None:
            self.name, self.graph = name, graph

        def __getattr__(self, name: str) -> Any:
            return getattr(self.graph, name)

        def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
            waits.setdefault(self.name, set()).add(options is None)
            self.graph.run_with_iobinding(binding, options)

    monkeypatch.setattr(backend.DeviceParts, "_graph", lambda parts, name: Watched(name, plain(parts, name)))
    session.run(sequences(demo_bundle, 1))
    bodies = {name for name in waits if name.startswith("body")}
    assert not session._resident._unread  # type: ignore[attr-defined]
    assert waits == {"trunk_tile": {False}, "gather": {False}, "head": {True}} | {name: {False} for name in bodies}


def test_failures(session: ResidentSession, demo_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile that was not computed is not in the bank: the run after a failure computes it."""
    x = sequences(demo_bundle, 2)
    want = session.run(x[:1])
    with monkeypatch.context() as broken:
        broken.setattr(session._resident, "_memory", ("nowhere", 0))
        with pytest.raises(BackendError, match=r"onnxruntime \(cpu\) failed in graph 'trunk_tile'"):
            session.run(x[1:])
    other = session.run(x[1:])
    session.clear()
    assert_array_equal(session.run(x), np.concatenate([want, other]))
    session.close()
    with pytest.raises(BackendError, match="closed; open another"):
        session.run(x)
