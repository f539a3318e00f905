"""The planted driver is the dominant motif of the embedded promoter model."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.cli import main
from borzoi_rt.demo import promoter_grammar as grammar
from borzoi_rt.demo.promoter import embedded_bundle, recovery, run_demo
from borzoi_rt.errors import InputError


def test_the_embedded_bundle_replays_its_example():
    bundle = embedded_bundle()
    assert set(bundle.info.architecture["motif_names"]) >= set(grammar.DRIVERS)
    assert replay_golden(open_session(bundle), bundle).passed


def test_the_score_names_the_planted_driver(tmp_path):
    found = run_demo(tmp_path / "out", seed=99, contigs={"new": 60_000}, threads=1)
    assert found.sites > 60
    assert found.accuracy > 0.9
    assert all(right > 0.75 * count for right, count in found.by_driver.values())
    # Against other labels the same table is no better than chance over four drivers.
    _, planted = grammar.make_genome(99, {"new": 60_000})
    moved = [
        grammar.Planted(p.chrom, p.tss, p.strand, q.driver)
        for p, q in zip(planted, planted[1:] + planted[:1], strict=True)
    ]
    assert recovery(tmp_path / "out" / "scores.tsv", moved).accuracy < 0.5
    with pytest.raises(InputError, match="not an empty directory"):
        run_demo(tmp_path / "out")


def test_demo_command(tmp_path, monkeypatch):
    monkeypatch.setattr("borzoi_rt.demo.promoter.CONTIGS", {"demo1": 3000})
    done = CliRunner().invoke(
        main, ["dft", "demo", "--out", str(tmp_path / "out"), "--threads", "1"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "driver named first" in done.stdout
    assert (tmp_path / "out" / "plots" / "heatmap.png").is_file()
