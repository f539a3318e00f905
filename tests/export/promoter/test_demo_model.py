"""The recipe of the embedded promoter bundle, much shortened: all stages, and the same result every time."""

from __future__ import annotations

import pytest
from borzoi_export.promoter import demo_model

from borzoi_rt.demo import promoter_grammar as grammar


def test_the_recipe_gives_the_same_bundle_every_time(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """On one thread, byte by byte: weights, graph, example and what the bundle says of itself."""
    monkeypatch.setattr(grammar, "CONTIGS", {"synth1": 60_000, "synth3": 10_000, "synth4": 10_000})
    monkeypatch.setattr(demo_model, "NETS", 1)
    bundles = []
    for name in ("one", "two"):
        work = tmp_path / name
        words = ["--out", work / "bundle", "--work", work, "--steps", 16, "--threads", 1]
        bundles.append(demo_model.main([str(word) for word in words]))
        work.joinpath("bundle").rename(tmp_path / f"bundle_{name}")
    for stage in ("stage1_0", "stage2", "stage3"):
        logs = [(tmp_path / name / stage / "train.csv").read_text() for name in ("one", "two")]
        assert logs[0] == logs[1]
    files = [sorted(path.name for path in (tmp_path / f"bundle_{name}").iterdir()) for name in ("one", "two")]
    assert files[0] == files[1]
    for file in files[0]:
        assert (tmp_path / "bundle_one" / file).read_bytes() == (tmp_path / "bundle_two" / file).read_bytes()
    assert bundles[0].info.provenance["steps"] == 16
