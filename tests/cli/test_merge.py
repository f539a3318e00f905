"""Shards of a run, made one by one, and the output that is made of them: the bytes of one process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.packaged import packaged_bundle

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of three alleles."""
    monkeypatch.setattr("borzoi_rt.runs.score.job_size", lambda *_: 3)
    monkeypatch.setattr("borzoi_rt.runs.ism.job_size", lambda *_: 6)
    monkeypatch.setattr("borzoi_rt.runs.dft_plan.JOB_TARGETS", 1)


def content(out: Path) -> dict[str, bytes]:
    """Return an output and what stands beside it, or all files of a directory."""
    files = list(out.iterdir()) if out.is_dir() else sorted(out.parent.glob(f"{out.stem}*"))
    return {path.name.removeprefix(out.name.partition(".")[0]): path.read_bytes() for path in files if path.is_file()}


def shard(out: Path, number: int, count: int) -> Path:
    return out.with_name(f"{out.name}.shard-{number}-of-{count}")


def check(cli: Cli, arguments: list[object], out: Path, *, count: int = 3) -> None:
    """Run whole and in shards; compare."""
    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    whole = content(out)
    assert whole
    for path in [out] if out.is_dir() else list(out.parent.glob(f"{out.stem}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for number in range(count, 0, -1):
        ended = cli(*arguments, "--shard", f"{number}/{count}")
        assert ended.code == 0, ended.err
        assert shard(out, number, count).name in ended.err
        assert not out.exists()
        assert not list(out.parent.glob("*.partial"))
    ended = cli("merge", *(shard(out, number, count) for number in range(1, count + 1)))
    assert ended.code == 0, ended.err
    got = {name: held for name, held in content(out).items() if ".shard-" not in name}
    assert got == whole
    assert not list(out.parent.glob("*.partial"))


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".parquet", ".h5", ".vcf.gz"])
def test_a_table_of_scores(cli: Cli, desk: Desk, suffix: str) -> None:
    desk.out = desk.folder / f"out{suffix}"
    check(cli, desk.score("--stats", "SUM,D2", "--tracks", "dnase"), desk.out)


def test_more_shards_than_jobs(cli: Cli, desk: Desk) -> None:
    check(cli, desk.score("--stats", "SUM"), desk.out, count=7)


def test_mutagenesis(cli: Cli, desk: Desk) -> None:
    out = desk.folder / "ism.h5"
    check(cli, ["ism", "chr1:3001-3010", *desk.model(), "--out", out, "--stats", "SUM"], out)


def test_coverage(cli: Cli, desk: Desk) -> None:
    check(cli, desk.predict(), desk.folder / "coverage", count=2)


def test_motif_scores_with_curves(cli: Cli, desk: Desk) -> None:
    bundle = packaged_bundle("promoter_bundle")
    desk.bed.write_text("".join(f"chr1\t{start}\t{start + 1}\tp{start}\t0\t+\n" for start in (1000, 2000, 3000, 4000)))
    out = desk.folder / "dft.tsv"
    more = ["--curves", desk.folder / "dft.h5", "--profiles", desk.folder / "dft-profiles.tsv"]
    files = ["--bundle", bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--threads", 1]
    check(cli, ["dft", "score", *files, "--out", out, *more], out)


def test_null_distributions(cli: Cli, desk: Desk) -> None:
    out = desk.folder / "null"
    given = ["--random", 40, "--stats", "SUM", "--min-count", 20, "--out", out]
    check(cli, ["calibrate", *desk.model(), *given], out)


def test_haplotypes(cli: Cli, desk: Desk) -> None:
    """Rows of samples instead of alleles."""
    lines = desk.vcf.read_text().splitlines()
    head = [line if line.startswith("##") else f"{line}\tFORMAT\tone\ttwo" for line in lines if line.startswith("#")]
    body = [f"{line}\tGT\t0|1\t1|1" for line in lines if not line.startswith("#")]
    desk.vcf.write_text("\n".join([*head, *body]) + "\n")
    check(cli, desk.score("--stats", "SUM", "--samples", "one,two"), desk.out)


def make(cli: Cli, desk: Desk, *numbers: int, count: int = 3, more: tuple[object, ...] = ()) -> list[Path]:
    for number in numbers:
        assert cli(*desk.score("--stats", "SUM", *more, "--shard", f"{number}/{count}")).code == 0
    return [shard(desk.out, number, count) for number in numbers]


def test_missing_shards_are_named(cli: Cli, desk: Desk) -> None:
    ended = cli("merge", *make(cli, desk, 2))
    assert (ended.code, ended.err) == (1, "error: shards 1/3, 3/3 missing; make and name all shards of the run\n")
    assert not list(desk.folder.glob("out.tsv.partial"))
    assert cli("merge", desk.out).err.endswith("is needed; beside it is out.tsv.shard-2-of-3\n")
    (desk.folder / "out.tsv.shard-1-of-3.partial").mkdir()
    ended = cli("merge", desk.folder / "out.tsv.shard-1-of-3")
    assert "out.tsv.shard-1-of-3: is not finished; repeat the run of this shard" in ended.err
    assert cli("merge", desk.bundle).err.endswith("is no shard of a run; a folder like OUT.shard-1-of-4 is needed\n")


def test_shards_of_two_divisions_make_a_run(cli: Cli, desk: Desk) -> None:
    """Whichever they are of, if together they have all jobs."""
    assert cli(*desk.score("--stats", "SUM")).code == 0
    want = desk.out.read_bytes()
    parts = [*make(cli, desk, 1, 2, count=4), *make(cli, desk, 2, count=2)]
    assert cli("merge", *parts, "--out", desk.folder / "other.tsv").code == 0
    assert (desk.folder / "other.tsv").read_bytes() == want
    ended = cli("merge", *parts[1:])
    assert ended.err == "error: 1 jobs are in no shard, the first is job 0; make and name all shards of the run\n"


def test_what_differs_is_said(cli: Cli, desk: Desk) -> None:
    one, *_ = make(cli, desk, 1)
    (other,) = make(cli, desk, 2, more=("--ref-policy", "flip"))
    (third,) = make(cli, desk, 3)
    ended = cli("merge", one, other, third)
    assert ended.code == 1
    assert (
        "out.tsv.shard-2-of-3: was made with another choice of options (ref_policy flip there, strict here)"
        in ended.err
    )
    make(cli, desk, 2)
    desk.vcf.write_text(desk.vcf.read_text().replace("v2000", "v1"))
    ended = cli("merge", one, other, third)
    assert "out.tsv.shard-1-of-3: was made with another input (" in ended.err
    assert not desk.out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--layout", "wide"), "another --layout ('wide' there, 'long' in out.tsv.shard-1-of-2)"),
        (("--columns", "alphagenome"), "another --columns ('alphagenome' there, 'native' in out.tsv.shard-1-of-2)"),
        (("--explain", "--motifs", "MOTIFS"), "another --explain (True there, False in out.tsv.shard-1-of-2)"),
    ],
)
def test_shards_of_other_outputs_are_refused(cli: Cli, desk: Desk, more: tuple[str, ...], said: str) -> None:
    """What no result depends on, but the output does."""
    motifs = desk.folder / "motifs.meme"
    motifs.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 2\n 1 0 0 0\n 0 1 0 0\n"
    )
    (one,) = make(cli, desk, 1, count=2)
    (other,) = make(cli, desk, 2, count=2, more=tuple(motifs if word == "MOTIFS" else word for word in more))
    for shards in ((one, other), (other, one)):
        ended = cli("merge", *shards)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert f"was made with {said.split(' (')[0]} (" in ended.err
    assert said in cli("merge", one, other).err
    assert not desk.out.exists()


def test_shards_may_differ_in_how_they_were_made(cli: Cli, desk: Desk) -> None:
    """A default that is written out, or threads, make no other output."""
    (one,) = make(cli, desk, 1, count=2)
    (other,) = make(cli, desk, 2, count=2, more=("--ref-policy", "strict", "--threads", 2, "--region", "window"))
    ended = cli("merge", one, other)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"borzoi_rt": "9.9"}, "was made by borzoi-rt 9.9"),
        ({"arguments": {}}, "was made from Python"),
        ({"arguments": {"command": ["bundle"], "params": {}}}, "names the command"),
        ({"arguments": {"command": ["score"], "params": {"no": 1}}}, "argument 'no'"),
        ({"arguments": {"command": ["score"]}}, "does not say how it was made"),
        ({"jobs": 3}, "damaged"),
        ({"shard": [4, 3]}, "4/3"),
    ],
)
def test_a_shard_that_does_not_say_how_it_was_made(cli: Cli, desk: Desk, change: dict[str, object], said: str) -> None:
    one, *_ = make(cli, desk, 1)
    about = json.loads((one / "shard.json").read_text())
    (one / "shard.json").write_text(json.dumps({**about, **change}))
    ended = cli("merge", one)
    assert ended.code == 1
    assert said in ended.err, ended.err
    assert ended.err.count("\n") == 1


def test_inputs_that_moved_are_found_by_name(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = make(cli, desk, 1, 2, 3)
    new = desk.folder / "new"
    new.mkdir()
    for path in (desk.vcf, desk.fasta, desk.fasta.with_name("toy.fa.fai"), desk.bundle, *parts):
        path.rename(new / path.name)
    monkeypatch.chdir(new)
    ended = cli("merge", *(part.name for part in parts))
    assert ended.code == 0, ended.err
    assert (new / "out.tsv").is_file()


def test_a_shard_is_resumed_and_made_again(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("borzoi_rt.runs.run.finish_shard", interrupt)
        ended = cli(*desk.score("--stats", "SUM", "--shard", "1/2"))
    assert ended.code == 130
    assert "out.tsv.shard-1-of-2.partial; repeat the command with --resume" in ended.err
    ended = cli(*desk.score("--stats", "SUM", "--shard", "1/2", "--resume"))
    assert ended.code == 0, ended.err
    before = content(shard(desk.out, 1, 2))
    assert len(before) == 2 + 2  # header and description; two of four jobs
    make(cli, desk, 1, count=2)
    assert content(shard(desk.out, 1, 2)) == before


def test_a_finished_shard_is_not_made_twice(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cli, desk, 1, count=2)
    before = content(shard(desk.out, 1, 2))

    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("is computed again")

    monkeypatch.setattr("borzoi_rt.runs.score_plan.ScorePlan.open", nothing)
    ended = cli(*desk.score("--stats", "SUM", "--shard", "1/2", "--resume"))
    assert ended.code == 0, ended.err
    assert content(shard(desk.out, 1, 2)) == before
    assert cli(*desk.score("--stats", "D2", "--shard", "1/2", "--resume")).code == 1  # another run: it must compute


def test_relative_paths_hold_in_another_folder(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    listed = desk.folder / "tracks.txt"
    listed.write_text("0\n")
    files = ["--bundle", desk.bundle.name, "--fasta", desk.fasta.name, "--tracks", f"@{listed.name}", "--threads", 1]
    arguments: list[object] = ["score", desk.vcf.name, *files, "--out", "out.tsv", "--stats", "SUM"]
    check(cli, arguments, desk.out, count=2)
    (desk.folder / "elsewhere").mkdir()
    monkeypatch.chdir(desk.folder / "elsewhere")
    ended = cli("merge", *(f"../out.tsv.shard-{number}-of-2" for number in (1, 2)))
    assert (ended.code, "tracks.txt" in ended.err) == (1, True)  # the text of options is part of the output
    monkeypatch.chdir(desk.folder)
    at = arguments.index("--tracks")
    del arguments[at : at + 2]
    check(cli, arguments, desk.out, count=2)
    want = desk.out.read_bytes()
    monkeypatch.chdir(desk.folder / "elsewhere")
    ended = cli("merge", *(f"../out.tsv.shard-{number}-of-2" for number in (1, 2)))
    assert ended.code == 0, ended.err
    assert desk.out.read_bytes() == want


def test_a_folder_of_somebody_else_is_not_written_over(cli: Cli, desk: Desk) -> None:
    taken = shard(desk.out, 1, 3)
    taken.mkdir()
    (taken / "mine").write_text("x")
    ended = cli(*desk.score("--stats", "SUM", "--shard", "1/3"))
    assert (ended.code, "is no shard of a run and is not written over" in ended.err) == (1, True)
    assert (taken / "mine").read_text() == "x"


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/9999999999"])
def test_shares_that_are_none(cli: Cli, desk: Desk, text: str) -> None:
    ended = cli(*desk.score("--shard", text))
    assert ended.code == 2
    assert "shard" in ended.err


def test_a_pipe_cannot_be_shared(cli: Cli, desk: Desk) -> None:
    arguments = desk.score("--shard", "1/2")
    arguments[1] = "-"
    ended = cli(*arguments)
    assert (ended.code, ended.err.startswith("error: stdin: can be read only once")) == (1, True)


def test_the_model_of_a_merge_is_the_model_of_its_shards(cli: Cli, desk: Desk, toy_bundle: Bundle) -> None:
    parts = make(cli, desk, 1, 2, 3)
    desk.set_squash("old")
    ended = cli("merge", *parts)
    assert ended.code == 1
    assert "was made with another model (" in ended.err
