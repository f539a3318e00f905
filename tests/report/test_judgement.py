"""What the figure of a judgement shows: every number with its chance, on an axis that the widest does not squeeze."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.report.judgement import plot_evaluation


def line(metric: str, quantity: str, value: float | None, low: float | None = None, high: float | None = None) -> Any:
    chance = {"random": low, "random_low": low, "random_high": high}
    passed = None if low is None or value is None or high is None else value > high
    return {"file": "a.h5", "metric": metric, "quantity": quantity, "value": value, "passed": passed, **chance}


NEAR = [line("ism", "pearson", 0.8, -0.3, 0.3), line("completeness", "error", None)]
FAR = [*NEAR, line("consistency", "kld", 4.6, 4.2, 5.3), line("seeds", "samples_for_5_percent", 1820.0)]


@pytest.mark.parametrize(("table", "scale"), [(NEAR, "linear"), (FAR, "symlog")])
def test_wide_numbers_leave_correlations_apart(tmp_path: Path, drawn: list[Any], table: list[Any], scale: str) -> None:
    plot_evaluation(tmp_path / "e.png", [("a.h5", [])], table, title="log SUM")
    (panel,) = drawn[0].axes
    assert panel.get_xscale() == scale
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels == ["ism: pearson", "consistency: kld"][: len(labels)]
    assert len(labels) == (1 if scale == "linear" else 2)
    assert panel.get_xlim()[1] < 10.0
    if scale == "symlog":
        assert {"0", "1", "5"} <= {label.get_text() for label in panel.get_xticklabels()}
    marks = {(mark.get_xdata()[0], mark.get_marker()) for mark in panel.lines if len(mark.get_xdata()) == 1}
    assert (0.8, "o") in marks
    assert ((4.6, "x") in marks) == (scale == "symlog")


def test_rows_that_rise_and_rows_that_fall_do_not_cancel(tmp_path: Path, drawn: list[Any]) -> None:
    """Where shuffling raises the target, a right map makes the difference by its smallest scores first."""
    share, quick, slow = np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.1, 0.0]), np.array([1.0, 0.9, 0.0])
    random = np.array([[1.0, 0.5, 0.0]])
    falls = SimpleNamespace(share=share, first_large=quick, first_small=slow, random=random, falling=True)
    rises = SimpleNamespace(share=share, first_large=slow, first_small=quick, random=random, falling=False)
    plot_evaluation(tmp_path / "e.png", [("a.h5", [falls, rises])], NEAR, title="log SUM")
    lines = {one.get_label(): one.get_ydata() for one in drawn[0].axes[0].lines}
    assert_allclose(lines["in the map's order"], quick)
    assert_allclose(lines["in the reverse order"], slow)
