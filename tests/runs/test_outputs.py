"""Outputs appear whole, beside nothing that describes another: on a full disk, and wherever a run is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pysam
import pytest
import worlds
from jobs import ALLELES, Job, file_limit, vcf_rows

from borzoi_rt.errors import InputError
from borzoi_rt.runs.journal import Journal
from borzoi_rt.runs.outputs import check_directory, check_target, finish_directory
from borzoi_rt.scoring.options import ScoreOptions

SUFFIXES = (".tsv", ".tsv.gz", ".parquet", ".h5", ".vcf.gz")
OTHER = ScoreOptions(stats=("SAX",))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_a_full_disk_leaves_the_earlier_output_and_frees_its_space(job: Job, suffix: str, share: float) -> None:
    """No file may grow beyond a share of the table: what C libraries write fails too. Results of jobs are kept."""
    out = job.folder / f"out{suffix}"
    job.run(f"whole{suffix}")
    want = (job.folder / f"whole{suffix}").read_bytes()
    job.run(out.name, options=OTHER)
    earlier = {path.name: path.read_bytes() for path in job.folder.glob(f"out{suffix}*")}
    job.fail(out.name, at=2 * ALLELES - 1)  # all but the last job
    kept = {path: path.read_bytes() for path in job.partial(out.name).glob("shard-*")}
    limit = int(share * len(want))
    with file_limit(limit), pytest.raises((OSError, RuntimeError)) as caught:
        job.run(out.name, resume=True)
    assert isinstance(caught.value, OSError), "the command line knows an OSError for bad data"
    assert {path.name: path.read_bytes() for path in job.folder.glob(f"out{suffix}*") if path.is_file()} == earlier
    assert not list(job.partial(out.name).glob("final-*"))
    assert {path: path.read_bytes() for path in kept} == kept
    assert job.run(out.name, resume=True) == {"ok": ALLELES}
    assert job.session.runs <= 2 * 4
    assert out.read_bytes() == want


class Killed(BaseException):
    """The process is gone: nothing that follows is run."""


def killed_at(number: int, patch: pytest.MonkeyPatch, target: Path) -> list[str]:
    """Let the process die just before the change numbered so of what stands beside the journal; return the changes."""
    changes: list[str] = []

    def watch(name: str) -> None:
        real = getattr(Path, name)

        def change(self: Path, *given: Any, **named: Any) -> Any:
            reached = given[0] if name == "replace" else self
            if Path(reached).parent == target.parent and Path(reached).exists() | (name == "replace"):
                if len(changes) == number:
                    raise Killed
                changes.append(f"{name} {Path(reached).name}")
            return real(self, *given, **named)

        patch.setattr(Path, name, change)

    watch("replace")
    watch("unlink")
    return changes


def described(out: Path) -> str | None:
    """Return what the companion beside a table says of its scores, or None where there is no companion."""
    companion = out.with_name(out.name + ".meta.json")
    return ",".join(json.loads(companion.read_text())["score_ids"]) if companion.exists() else None


def held(out: Path) -> str:
    stats = [line.split("\t")[-2] for line in out.read_text().splitlines()[1:3]]
    return ",".join(dict.fromkeys(stats))


@pytest.mark.parametrize("number", range(4))
def test_no_companion_stands_beside_a_table_it_does_not_describe(
    job: Job, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A run is killed before each change of the folder in turn: companion gone, table new, companion new."""
    out = job.folder / "out.tsv"
    job.run("whole.tsv")
    job.run(options=OTHER)
    assert described(out) == held(out) == "SAX"
    with monkeypatch.context() as patch:
        changes = killed_at(number, patch, out)
        if number < 3:
            with pytest.raises(Killed):
                job.run()
        else:
            job.run()
    assert changes == ["unlink out.tsv.meta.json", "replace out.tsv", "replace out.tsv.meta.json"][:number]
    assert held(out) == ("SAX" if number < 2 else "SUM,D2")
    assert described(out) in (None, held(out))
    job.run(resume=True)
    assert job.session.runs == (2 * ALLELES if number == 3 else 0)
    assert out.read_bytes() == (job.folder / "whole.tsv").read_bytes()
    assert described(out) == held(out)


@pytest.mark.parametrize("number", range(4))
def test_no_index_stands_beside_a_vcf_it_does_not_describe(
    job: Job, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The earlier file has fewer records, so that its index leads astray."""
    out = job.folder / "out.vcf.gz"
    rows = job.vcf.read_text()
    worlds.write_vcf(job.vcf, vcf_rows(first=1200, count=2))
    job.run(out.name)
    job.vcf.write_text(rows)
    with monkeypatch.context() as patch:
        changes = killed_at(number, patch, out)
        if number < 3:
            with pytest.raises(Killed):
                job.run(out.name)
        else:
            job.run(out.name)
    assert changes == ["unlink out.vcf.gz.tbi", "replace out.vcf.gz", "replace out.vcf.gz.tbi"][:number]
    if out.with_name("out.vcf.gz.tbi").exists():
        with pysam.TabixFile(str(out)) as index, pysam.VariantFile(str(out)) as file:
            assert len(list(index.fetch("chr1"))) == sum(1 for _ in file)
    job.run(out.name, resume=True)
    with pysam.TabixFile(str(out)) as index:
        assert len(list(index.fetch("chr1"))) == ALLELES


def test_a_table_without_companions_takes_those_of_the_earlier_one_away(job: Job) -> None:
    """Text is followed by Parquet under one name only by hand, but an unsorted VCF follows a sorted one easily."""
    out = job.folder / "out.vcf.gz"
    job.run(out.name)
    assert out.with_name("out.vcf.gz.tbi").exists()
    worlds.write_vcf(job.vcf, list(reversed(vcf_rows())))
    job.run(out.name)
    assert not out.with_name("out.vcf.gz.tbi").exists()


def test_a_directory_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "one").write_text("1")
        raise OSError(28, "No space left on device")

    def whole(folder: Path) -> None:
        (folder / "one").write_text("1")

    target = tmp_path / "made"
    with Journal(target) as journal:
        journal.begin({}, resume=False)
        with pytest.raises(OSError, match="No space left"):
            finish_directory(target, journal, half)
        assert not target.exists()
        assert not list(journal.directory.glob("final-*"))
        finish_directory(target, journal, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert target.stat().st_mode & 0o777 == 0o755
    with pytest.raises(InputError, match="exists and is not an empty directory"):
        check_directory(target)


def test_inputs_are_never_outputs(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_text("x")
    link = tmp_path / "link.tsv"
    link.symlink_to(source)
    hard = tmp_path / "hard.tsv"
    os.link(source, hard)
    for target in (source, link, hard):
        with pytest.raises(InputError, match="is an input, which is never written over"):
            check_target(target, [None, tmp_path / "none", source])
    check_target(tmp_path / "other.tsv", [source])


@pytest.mark.parametrize("suffix", [".meta.json", ".tbi", ".csi"])
def test_an_input_is_no_companion_of_the_output(tmp_path: Path, suffix: str) -> None:
    """What a writer puts beside its table would replace the input, or remove it."""
    source = tmp_path / f"out.tsv{suffix}"
    source.write_text("x")
    with pytest.raises(InputError, match=f"out.tsv{suffix}: is an input, which is never written over"):
        check_target(tmp_path / "out.tsv", [source])


def test_nothing_is_written_into_a_bundle(job: Job) -> None:
    """A bundle with a file more is no bundle: neither the output nor what is kept until then may lie in it."""
    before = sorted(job.bundle.path.iterdir())
    for name in ("scores.tsv", "tracks.tsv"):
        with pytest.raises(InputError, match="an input, which nothing is written into"):
            job.run(str(job.bundle.path / name))
    with pytest.raises(InputError, match="an input, which nothing is written into"):
        check_directory(job.bundle.path / "coverage", [job.bundle.path])
    assert sorted(job.bundle.path.iterdir()) == before


def test_a_list_of_tracks_is_an_input(job: Job) -> None:
    listed = job.folder / "tracks.tsv"
    listed.write_text("chip\n")
    with pytest.raises(InputError, match="is an input"):
        job.run("tracks.tsv", options=ScoreOptions(tracks=f"@{listed}"))
    assert listed.read_text() == "chip\n"


@pytest.mark.parametrize("leads_to", ["file", "nothing"])
def test_an_output_is_no_symbolic_link(tmp_path: Path, leads_to: str) -> None:
    """A rename would replace the link and leave what it leads to as it was."""
    link = tmp_path / "out.tsv"
    link.symlink_to(tmp_path / "elsewhere.tsv")
    if leads_to == "file":
        (tmp_path / "elsewhere.tsv").write_text("kept")
    with pytest.raises(InputError, match=r"out.tsv: is a symbolic link, .* name the file that it leads to"):
        check_target(link)
    assert link.is_symlink()
