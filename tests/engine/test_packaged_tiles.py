"""Tiles against whole passes on the trained bundle that comes with the package: no reference data is needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.protocols import Session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo import grammar
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.engine.sessions import EngineOptions, VerifiedSession, open_engine

# Logits below 5, a dozen layers of float32: 3e-6 of a logit, and as much of coverage relative to itself.
RTOL, ATOL = 1e-5, 1e-7


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return embedded_bundle()


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> Iterator[Session]:
    session = open_session(bundle, threads=1)
    yield session
    session.close()


@pytest.fixture
def tiles(bundle: Bundle) -> Iterator[Session]:
    session = open_engine(bundle, threads=1)
    yield session
    session.close()


def letters(seed: int, length: int = 8192) -> np.ndarray:
    """Return codes of DNA with promoters that the model knows, and a stretch of unknown bases."""
    bases = grammar.plant(np.random.default_rng(seed), length)
    drawn = np.array(["ACGT".index(base) for base in bases])
    drawn[3000:3100] = 4
    return drawn


def onehot(codes: np.ndarray) -> np.ndarray:
    return (codes[None, None, :] == np.arange(4)[None, :, None]).astype(np.uint8)


@pytest.mark.parametrize("n_fill", [0.0, 0.25])
def test_a_new_window(whole: Session, tiles: Session, n_fill: float) -> None:
    for seed in range(3):
        x = onehot(letters(seed))
        want = whole.run(x, n_fill=n_fill)
        assert want.max() > 0.1
        assert_allclose(tiles.run(x, n_fill=n_fill), want, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("position", [0, 5, 1023, 1024, 4095, 4096, 4097, 5000, 8191])
def test_a_variant_at_any_position(whole: Session, tiles: Session, position: int) -> None:
    """The second window differs in one base; at and beside the cuts of tiles (4,096 bp) and tokens (128 bp)."""
    codes = letters(4)
    tiles.run(onehot(codes))
    changed = codes.copy()
    changed[position] = (codes[position] + 1) % 4
    assert_allclose(tiles.run(onehot(changed)), whole.run(onehot(changed)), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("size", [1, 4, 40])
def test_a_deletion(whole: Session, tiles: Session, size: int) -> None:
    codes = letters(5, 8192 + size)
    tiles.run(onehot(codes[:8192]))
    shorter = np.concatenate([codes[:4100], codes[4100 + size :]])
    assert_allclose(tiles.run(onehot(shorter)), whole.run(onehot(shorter)), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("bins", [(0, 1), (0, 64), (3, 67), (64, 128), (100, 140), (128, 192), (191, 192), (1, 192)])
def test_part_of_the_bins(whole: Session, tiles: Session, bins: tuple[int, int]) -> None:
    x, tracks = onehot(letters(6)), np.array([4, 0, 2])
    want = whole.run(x)[:, tracks, bins[0] : bins[1]]
    assert_allclose(tiles.run(x, tracks, bins=bins), want, rtol=RTOL, atol=ATOL)


def test_all_windows_verified(bundle: Bundle) -> None:
    session = open_engine(bundle, threads=1, options=EngineOptions(verify_fraction=1.0))
    assert isinstance(session, VerifiedSession)
    for bins in (None, (7, 8), (64, 128)):
        session.run(np.concatenate([onehot(letters(7)), onehot(np.full(8192, 4))]), bins=bins)
        session.run(onehot(letters(8)), np.array([2]), bins=bins)
    assert session.verified == 9
    session.close()
