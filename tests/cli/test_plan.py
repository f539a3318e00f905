"""--plan: what a run will cost, told before it costs anything; times are measured and not tested here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.runs import measure
from borzoi_rt.runs.flops import BorzoiFlops

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def planned(cli: Cli, desk: Desk, arguments: list[object]) -> dict[str, Any]:
    """Plan a run, twice the same, and check that nothing was written."""
    before = files(desk.folder)
    ended = cli(*arguments, "--plan", "--json")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert files(desk.folder) == before
    found: dict[str, Any] = json.loads(ended.out)
    assert found["seconds"] > 0
    assert found["memory_bytes"] > 10e6
    return found


@pytest.mark.parametrize(
    ("more", "forwards"),
    [
        ((), 20),  # ten SNVs, two alleles
        (("--rc",), 40),
        (("--shifts", "0,1,-1"), 60),
        (("--full",), 20),
    ],
)
def test_every_pass_is_counted(cli: Cli, desk: Desk, toy_bundle: Any, more: tuple[str, ...], forwards: int) -> None:
    """All of ten variants are in the sample: nothing is extrapolated."""
    found = planned(cli, desk, desk.score("--stats", "SUM", *more))
    assert (found["items"], found["jobs"], found["sampled"]) == (10, 1, 10)
    assert found["forwards"] == forwards
    network = BorzoiFlops.of(toy_bundle.info)
    assert network is not None
    whole = network.whole(toy_bundle.geometry.bins, 6)
    if "--full" in more:
        assert found["flops"] == pytest.approx(forwards * whole)
        assert found["tiles"] == 0
    else:
        assert found["tiles"] >= forwards
        assert 0 < found["flops"] < 3 * forwards * whole
    desk.out.unlink(missing_ok=True)
    assert cli(*desk.score("--stats", "SUM", *more)).code == 0
    assert found["output_bytes"] == desk.out.stat().st_size


def test_a_sample_stands_for_the_rest(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SAMPLE_S", 0.0)
    monkeypatch.setattr("borzoi_rt.runs.score.job_size", lambda *_: 2)
    found = planned(cli, desk, desk.score("--stats", "SUM"))
    assert (found["items"], found["jobs"]) == (10, 5)
    assert found["sampled"] < 10
    assert found["forwards"] == 20
    assert found["seconds"] > found["sampled_seconds"]
    shared = planned(cli, desk, desk.score("--stats", "SUM", "--shard", "1/5"))
    assert (shared["items"], shared["jobs"], shared["forwards"]) == (2, 1, 4)


def test_tiles_that_are_used_again(cli: Cli, desk: Desk) -> None:
    """Two tiles a window of 8,192 bp; one window for all, and every variant in its first tile."""
    given = ["--bundle", packaged_bundle("bundle").path, "--fasta", desk.fasta, "--out", desk.out, "--threads", 1]
    found = planned(cli, desk, ["score", desk.vcf, *given, "--window", "at:0", "--stats", "SUM"])
    assert (found["forwards"], found["tiles"], found["tiles_reused"]) == (11, 22, 10)
    kept = ["--tile-cache", desk.folder / "tiles"]
    again = planned(cli, desk, ["score", desk.vcf, *given, "--window", "at:0", "--stats", "SUM", *kept])
    assert again["tiles_reused"] == 10


def test_other_runs(cli: Cli, desk: Desk) -> None:
    found = planned(
        cli, desk, ["ism", "chr1:3001-3004", *desk.model(), "--out", desk.folder / "i.h5", "--stats", "SUM"]
    )
    assert (found["items"], found["forwards"]) == (12, 13)  # the reference once
    assert found["output_bytes"] == 4 * 4 * 4 * 4  # positions, bases, merged rows, bytes
    found = planned(cli, desk, desk.predict())
    assert (found["items"], found["forwards"]) == (2, 2)
    bundle = packaged_bundle("promoter_bundle")
    given = ["--bundle", bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--out", desk.folder / "d.tsv"]
    found = planned(cli, desk, ["dft", "score", *given, "--threads", 1])
    assert found["items"] == 2
    assert found["forwards"] > 2
    assert found["flops"] is None


def test_outputs_that_cannot_be_made_of_a_part(
    cli: Cli, desk: Desk, toy_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an annotated VCF, coverage and a null take to write is measured on less: the records are renumbered."""
    monkeypatch.setattr(measure, "SAMPLE_S", 0.0)
    monkeypatch.setattr("borzoi_rt.runs.score.job_size", lambda *_: 2)
    given = ["score", desk.vcf, *desk.model(), "--out", desk.folder / "out.vcf.gz", "--stats", "SUM"]
    found = planned(cli, desk, given)
    assert found["sampled"] < 10
    assert found["output_bytes"] == desk.vcf.stat().st_size
    found = planned(cli, desk, desk.predict())
    assert cli(*desk.predict()).code == 0
    written = sum(path.stat().st_size for path in (desk.folder / "coverage").iterdir())
    assert found["output_bytes"] == pytest.approx(written, rel=0.01)
    null = ["calibrate", "--random", 12, *desk.model(), "--out", desk.folder / "null", "--stats", "SUM"]
    assert planned(cli, desk, null)["items"] == 12


def test_workers_are_measured_at_the_same_time(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("borzoi_rt.runs.score.job_size", lambda *_: 5)
    found = planned(cli, desk, desk.score("--stats", "SUM", "--workers", 2))
    assert (found["workers"], found["measured_workers"], found["sampled"], found["forwards"]) == (2, 2, 10, 20)


def test_an_empty_input_costs_next_to_nothing(cli: Cli, desk: Desk) -> None:
    desk.vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    found = planned(cli, desk, desk.score())
    assert (found["items"], found["forwards"], found["sampled"]) == (0, 0, 0)


def test_in_words(cli: Cli, desk: Desk) -> None:
    ended = cli(*desk.score("--stats", "SUM", "--plan", "--workers", 2))
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert lines["items"] == "10 in 1 jobs"
    assert re.fullmatch(r"20 \(\d+% of tiles used again\)", lines["forwards"])
    assert re.fullmatch(r"\S+ TFLOP", lines["arithmetic"])
    assert re.fullmatch(r".* on cpu, 2 workers", lines["time"])
    assert lines["processors"]
    assert re.fullmatch(r"\S+ [MG]B", lines["memory"])
    assert re.fullmatch(r"\S+ [kM]?B", lines["output"])
    ended = cli(*desk.score("--json"))
    assert (ended.code, "--json is for --plan" in ended.err) == (2, True)


def test_a_plan_leaves_an_interrupted_run_as_it_is(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("borzoi_rt.runs.outputs._sync", interrupt)
        assert cli(*desk.score()).code == 130
    assert list(desk.folder.glob("out.tsv.partial/shard-*"))
    planned(cli, desk, desk.score())
    assert cli(*desk.score("--resume")).code == 0
