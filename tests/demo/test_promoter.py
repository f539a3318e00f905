"""The planted driver is the dominant motif of the embedded promoter model."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.cli import main
from borzoi_rt.demo import promoter_grammar as grammar
from borzoi_rt.demo.promoter import Recovery, embedded_bundle, recovery, run_demo
from borzoi_rt.errors import InputError
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.sequence import encode


def test_the_embedded_bundle_replays_its_example():
    bundle = embedded_bundle()
    assert set(bundle.info.architecture["motif_names"]) >= set(grammar.DRIVERS)
    assert replay_golden(open_session(bundle), bundle).passed


def test_the_score_names_the_planted_driver(tmp_path):
    result = run_demo(tmp_path / "out", seed=99, contigs={"new": 60_000}, settings=RunSettings(threads=1))
    found = result.found
    assert found.sites > 60
    assert found.accuracy > 0.9
    assert all(right > 0.75 * count for right, count in found.by_driver.values())
    low, high = found.interval
    assert result.commonest < 0.5 < low < found.accuracy <= high <= 1
    assert result.words.accuracy > 0.9  # the driver is planted whole, others with a mismatch
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
    assert "planted words themselves" in done.stdout
    assert (tmp_path / "out" / "plots" / "heatmap.png").is_file()


@pytest.mark.parametrize(
    ("correct", "sites", "low", "high"),
    # Published worked examples of Wilson's interval: 0 of 20, 1 of 29 and 81 of 263 (Newcombe 1998).
    [(0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718), (81, 263, 0.2553, 0.3662), (20, 20, 0.8389, 1.0)],
)
def test_interval_of_the_accuracy(correct, sites, low, high):
    assert Recovery(sites, correct, {}).interval == pytest.approx((low, high), abs=1e-4)


def test_search_for_words():
    text = "A" * 80 + grammar.WORDS["tata"].letters + "C" * 4 + "GCGCATGA" + "C" * 20
    assert grammar.nearest_copies(encode(text), 100) == {"tata": 20}  # the other has a mismatch
