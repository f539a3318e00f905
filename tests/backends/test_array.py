"""The countable session: its answers, and the arguments every session judges alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.backends.checks import check_run_input
from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.errors import InputError
from borzoi_rt.sequence import encode

GRID = Geometry(sequence_length_bp=8, bin_size_bp=2, bins=2)  # bases 2..5, in twos
WEIGHTS = np.array([[1, 2, 3, 4], [10, 0, 0, -1]])


def windows(*texts: str) -> np.ndarray:
    return np.stack([encode(text) for text in texts])


def test_answers_can_be_counted() -> None:
    """TT|AC|GN|TT: bins 1 + 2 and 3 + 0 in the first track, 10 + 0 and 0 + 0 in the second."""
    session = ArraySession(GRID, WEIGHTS)
    got = session.run(windows("TTACGNTT", "AAAATTAA"))
    assert got.dtype == np.float32
    assert_array_equal(got, [[[3, 3], [10, 0]], [[2, 8], [20, -2]]])
    assert session.runs == 2


def test_unknown_bases_take_the_fill_in_all_four_rows() -> None:
    """N with 0.25 adds (1 + 2 + 3 + 4) / 4 = 2.5 and (10 - 1) / 4 = 2.25."""
    got = ArraySession(GRID, WEIGHTS).run(windows("TTACGNTT"), n_fill=0.25)
    assert_array_equal(got, [[[3, 5.5], [10, 2.25]]])


@pytest.mark.parametrize("index", [[1], [1, 0, 1], []])
def test_tracks_come_in_the_order_asked_for(index: list[int]) -> None:
    session = ArraySession(GRID, WEIGHTS)
    whole = session.run(windows("TTACGNTT"))
    assert_array_equal(session.run(windows("TTACGNTT"), np.array(index, dtype=np.int64)), whole[:, index])


SEQUENCE = windows("TTACGNTT")


@pytest.mark.parametrize(
    ("sequence", "index", "message"),
    [
        ([[0]], None, r"sequence is list; a uint8 array of shape \(batch, 4, 8\)"),
        (SEQUENCE.astype(np.float32), None, "sequence is float32"),
        (SEQUENCE[0], None, r"sequence has shape \(4, 8\); \(batch, 4, 8\) is needed"),
        (SEQUENCE[:, :, :-1], None, r"shape \(1, 4, 7\)"),
        (SEQUENCE.transpose(0, 2, 1), None, r"shape \(1, 8, 4\)"),
        (SEQUENCE[:0], None, r"shape \(0, 4, 8\)"),
        (SEQUENCE, np.array([[0]]), r"shape \(1, 1\) and dtype int64"),
        (SEQUENCE, np.array([0.0]), "dtype float64; a vector of integers"),
        (SEQUENCE, np.array([True, False]), "dtype bool; a vector of integers"),
        (SEQUENCE, np.array([0, 2]), "runs from 0 to 2; the model has outputs 0 to 1"),
        (SEQUENCE, np.array([-1]), "runs from -1 to -1"),
    ],
)
def test_arguments_are_judged(sequence: np.ndarray, index: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ArraySession(GRID, WEIGHTS).run(sequence, index)


def test_the_track_index_becomes_contiguous_int64() -> None:
    index = check_run_input(SEQUENCE, np.arange(4, dtype=np.int32)[::2], GRID, 3)
    assert index.dtype == np.int64
    assert index.flags.c_contiguous
    assert_array_equal(index, [0, 2])
    assert_array_equal(check_run_input(SEQUENCE, None, GRID, 3), [0, 1, 2])
