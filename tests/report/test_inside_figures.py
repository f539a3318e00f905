"""Figures of maps and attention: resolution, target and what they are not stand in them; arcs are the strongest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from borzoi_rt.report import inside


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    save = Figure.savefig

    def kept(figure: Any, path: Path, **options: Any) -> None:
        save(figure, path, **options)
        found.append(figure)

    monkeypatch.setattr(Figure, "savefig", kept)
    return found


GENES = [("ACTB", "-", [(1100, 1400), (2200, 2500)])]


def test_maps_have_one_scale_and_say_their_resolution(tmp_path: Path, drawn: list[Any]) -> None:
    panel = {"chrom": "chr7", "start": 1000, "step_bp": 128, "target": [1500, 1800], "genes": []}
    small, large = np.linspace(-1.0, 0.5, 16), np.linspace(0.0, 4.0, 16)
    panels = [{**panel, "name": "one", "scores": small}, {**panel, "name": "two", "scores": large, "genes": GENES}]
    inside.plot_maps(tmp_path / "m.png", panels, title="gradcam of log SUM, tokens: one score for each 128 bp")
    (figure,) = drawn
    assert "one score for each 128 bp" in figure.get_suptitle()
    maps = [axis for axis in figure.axes if axis.get_ylabel() == "per 128 bp"]
    assert [axis.get_title(loc="left").split(",")[0] for axis in maps] == ["one", "two"]
    assert [axis.get_ylim() for axis in maps] == [(-4.2, 4.2)] * 2
    assert [axis.get_xlim() for axis in figure.axes] == [(1000, 1000 + 16 * 128)] * 3
    steps = maps[0].patches[1].get_data()
    np.testing.assert_array_equal(steps.edges, 1000 + 128 * np.arange(17))
    np.testing.assert_allclose(steps.values, small.clip(0.0))


def test_arcs_are_the_strongest_and_the_note_is_there(tmp_path: Path, drawn: list[Any]) -> None:
    from matplotlib.patches import Arc

    shares = np.full((2, 64), 1e-3)
    shares[0, 5], shares[1, 60], shares[0, 20] = 0.5, 0.25, 0.9  # token 20 is the query itself
    panel = {
        "name": "TSS",
        "chrom": "chr7",
        "start": 1000,
        "step_bp": 128,
        "queries": [20, 21],
        "arcs": shares,
        "strips": np.stack([shares.mean(axis=0)] * 3),
        "labels": ["layer 1", "layer 2", "layer 3"],
        "what": "share",
        "genes": GENES,
    }
    inside.plot_attention(tmp_path / "a.png", panel, title="NOT ATTRIBUTION", note="attention is not attribution")
    (figure,) = drawn
    assert figure.get_suptitle() == "NOT ATTRIBUTION"
    assert figure.get_supxlabel() == "attention is not attribution"
    arcs = [patch for patch in figure.axes[0].patches if isinstance(patch, Arc)]
    assert len(arcs) == inside.ARCS
    widest = max(arcs, key=lambda arc: arc.get_linewidth())
    assert (widest.width, widest.center[0]) == (15 * 128, 1000 + 128 * 13.0)  # between the middles of tokens 5 and 20
    texts = [label.get_text() for axis in figure.axes for label in axis.get_yticklabels()]
    assert texts[:3] == ["layer 1", "layer 2", "layer 3"]
    assert any("one value for each token of 128 bp" in axis.get_xlabel() for axis in figure.axes)


def test_attention_of_a_single_token_to_itself_is_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    panel = {
        "name": "x",
        "chrom": "chr7",
        "start": 0,
        "step_bp": 128,
        "queries": [0],
        "labels": ["rollout"],
        "arcs": np.ones((1, 1)),
        "strips": np.ones((1, 1)),
        "what": "share",
        "genes": [],
    }
    inside.plot_attention(tmp_path / "a.png", panel, title="T", note="N")
    assert len(drawn) == 1
