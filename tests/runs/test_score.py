"""A file into a file: whole or not at all, and what was done is not done again."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pysam
import pytest
import worlds
from jobs import ALLELES, OPTIONS, TEXT, Job, vcf_rows

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError, FormatError, InputError, ReferenceMismatchError, RunInterrupted
from borzoi_rt.genome.variants import Variant
from borzoi_rt.runs import score as run
from borzoi_rt.scoring.options import ScoreOptions


def test_a_run_leaves_its_table_alone(job: Job) -> None:
    seen: list[int] = []
    assert job.run(progress=seen.append) == {"ok": ALLELES}
    assert seen == list(range(ALLELES + 1))
    assert job.names() == {"out.tsv", "out.tsv.meta.json"}
    assert job.session.runs == 2 * ALLELES


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".h5", ".vcf.gz"])
@pytest.mark.parametrize("fault", [BackendError("the device is gone"), KeyboardInterrupt()], ids=repr)
def test_a_broken_run_is_resumed_to_the_same_bytes(job: Job, suffix: str, fault: BaseException) -> None:
    job.run(f"whole{suffix}")
    before = job.names()
    job.session.fault = fault
    job.fail(f"out{suffix}")
    assert job.names() == {*before, f"out{suffix}.partial"}, "nothing may stand under the final name"
    seen: list[int] = []
    assert job.run(f"out{suffix}", resume=True, progress=seen.append) == {"ok": ALLELES}
    assert job.session.runs == 2 * (ALLELES - 12), "three shards of four were done"
    assert seen == list(range(12, ALLELES + 1)), "what was kept counts as done"
    assert (job.folder / f"out{suffix}").read_bytes() == (job.folder / f"whole{suffix}").read_bytes()
    assert f"out{suffix}.partial" not in job.names()


def test_without_resume_a_run_starts_anew(job: Job) -> None:
    job.fail()
    job.run()
    assert job.session.runs == 2 * ALLELES
    job.run(resume=True)  # nothing is left to go on with
    assert job.session.runs == 2 * ALLELES


def test_a_killed_process_is_resumed(job: Job, toy_bundle: Bundle) -> None:
    """SIGKILL in the middle of a shard, with the real session; half a shard on disk is not a shard."""
    code = (
        "import os, signal, sys\n"
        "from borzoi_rt.backends.onnx import OnnxSession\n"
        "from borzoi_rt.engine.sessions import EngineOptions\n"
        "from borzoi_rt.runs import score as run\n"
        "from borzoi_rt.runs.settings import RunSettings\n"
        "predict, calls = OnnxSession.run, []\n"
        "def once(self, *given, **named):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return predict(self, *given, **named)\n"
        "settings = RunSettings(threads=1, engine=EngineOptions(full=True))\n"
        "OnnxSession.run, run.job_size = once, lambda *_: 4\n"
        "run.score_file(sys.argv[1], sys.argv[2], bundle=sys.argv[3], fasta=sys.argv[4], settings=settings)\n"
    )
    out = job.folder / "out.tsv"
    given = [str(job.vcf), str(out), str(toy_bundle.path), str(job.fasta)]
    assert subprocess.run([sys.executable, "-c", code, *given], timeout=120).returncode == -signal.SIGKILL
    partial = job.folder / "out.tsv.partial"
    assert job.names() == {"out.tsv.partial"}
    assert [path.name for path in sorted(partial.glob("shard*"))] == ["shard-000000.arrow", "shard-000001.arrow"]
    (partial / "shard-000002.arrow.new").write_bytes(b"half")
    job.run(resume=True, options=ScoreOptions())
    assert job.session.runs == 2 * (ALLELES - 8)
    assert len(out.read_text().splitlines()) == 1 + ALLELES * 4 * 3  # rows of four merged tracks, three statistics


@pytest.mark.parametrize(
    "change",
    [
        lambda job: {"options": replace(OPTIONS, stats=("SUM",))},
        lambda job: {"options": replace(OPTIONS, tracks="rna")},
        lambda job: {"options": replace(OPTIONS, ref_policy="flip")},
        lambda job: {"options": replace(OPTIONS, max_n_fraction=0.1)},
        lambda job: {"vcf": worlds.write_vcf(job.folder / "in.vcf", vcf_rows(first=2001))},
        lambda job: {"fasta": worlds.write_fasta(job.folder / "toy.fa", {"chr1": TEXT, "chr2": "ACGT"})},
        lambda job: {"bundle": replace(job.bundle, sha256="f" * 64)},
    ],
    ids=["stats", "tracks", "policy", "max_n_fraction", "input", "genome", "model"],
)
def test_work_of_another_run_is_not_mixed_in(job: Job, change: Callable[[Job], dict[str, Any]]) -> None:
    job.fail()
    with pytest.raises(InputError, match=r"out.tsv.partial: kept by a run with another .*without resuming"):
        job.run(resume=True, **change(job))
    assert len(list((job.folder / "out.tsv.partial").glob("shard*"))) == 3


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_the_table_is_written_costs_no_prediction(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, *_: object) -> None:
        path.write_text("half a table")
        full_disk()

    (job.folder / "out.tsv").write_text("yesterday\n")
    with monkeypatch.context() as patch:
        patch.setitem(run.WRITERS, ".tsv", half)
        with pytest.raises(OSError, match="No space left"):
            job.run()
    assert (job.folder / "out.tsv").read_text() == "yesterday\n"
    job.run(resume=True)
    assert job.session.runs == 0
    assert job.names() == {"out.tsv", "out.tsv.meta.json"}
    assert (job.folder / "out.tsv").read_text().startswith("record\t")


def test_a_full_disk_while_a_shard_is_written_leaves_no_half_shard(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def third_fails(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 3:  # the header, shard 0, shard 1
            full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", third_fails)
        with pytest.raises(OSError, match="No space left"):
            job.run()
    assert job.run(resume=True) == {"ok": ALLELES}
    assert job.session.runs == 2 * (ALLELES - 4)


def test_a_damaged_shard_is_named(job: Job) -> None:
    job.fail()
    shard = job.folder / "out.tsv.partial" / "shard-000001.arrow"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(FormatError, match=r"shard-000001.arrow: damaged .*remove this file and resume"):
        job.run(resume=True)


def test_a_run_that_did_nothing_leaves_nothing(job: Job) -> None:
    job.fail(at=1)
    assert job.names() == set()


def test_a_malformed_line_far_down_leaves_nothing(job: Job) -> None:
    """The input has to change before it can be read, so there is nothing to resume."""
    with job.vcf.open("a") as handle:
        handle.write("chr1\tx\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(FormatError, match=r"in.vcf, line 23: POS is 'x'"):  # two header lines and 20 records
        job.run()
    assert job.names() == set()


def wrong_ref(pos: int) -> str:
    """Return a record whose REF and ALT are two bases that the genome does not hold there."""
    one, other, _ = (base for base in "ACGT" if base != TEXT[pos - 1])
    return f"chr1 {pos} . {one} {other}"


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (
            [wrong_ref(pos) for pos in (2000, 2001)],
            ReferenceMismatchError,
            "none of 2 variants agrees with toy.fa",
        ),
        (["chr7 5 . A C", "chr7 6 . A <DEL>"], ReferenceMismatchError, "none of 1 variants.*no contig 'chr7'"),
    ],
    ids=["mismatch", "contigs"],
)
def test_a_table_in_which_nothing_can_be_right_is_refused(
    job: Job, rows: list[str], kind: type[Exception], message: str
) -> None:
    worlds.write_vcf(job.vcf, rows)
    with pytest.raises(kind, match=message):
        job.run()
    assert job.names() == set()


def test_one_agreeing_variant_is_enough(job: Job) -> None:
    worlds.write_vcf(
        job.vcf, [wrong_ref(2000), *vcf_rows(count=1), "chr1 9000 . A C", "chr1 2000 . A *", "chr1 2000 . N A"]
    )
    assert job.run() == {"ref_mismatch": 1, "ok": 1, "out_of_bounds": 1, "symbolic_alt": 1, "invalid_allele": 1}


@pytest.mark.parametrize(
    ("out", "message"),
    [("no/out.tsv", "no: no such directory"), ("out.csv", "allowed: .tsv"), ("folder.tsv", "is a directory")],
)
def test_outputs_that_cannot_be_are_refused_before_work(job: Job, out: str, message: str) -> None:
    (job.folder / "folder.tsv").mkdir()
    with pytest.raises(InputError, match=message):
        job.run(out)
    assert (job.session.runs, job.names()) == (0, {"folder.tsv"})


def test_the_input_is_not_written_over(job: Job) -> None:
    packed = job.folder / "in.vcf.gz"
    job.run("in.vcf.gz")
    before = packed.read_bytes()
    with pytest.raises(InputError, match=r"in.vcf.gz: is an input"):
        job.run("in.vcf.gz", vcf=packed)
    assert packed.read_bytes() == before


def test_a_directory_that_cannot_be_written_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))
    with pytest.raises(InputError, match=r"not writable; choose another folder for out.tsv"):
        job.run()
    assert (job.session.runs, job.names()) == (0, set())


@pytest.mark.parametrize("spoil", ["missing", "malformed"])
@pytest.mark.parametrize("resume", [False, True])
def test_an_input_that_cannot_be_read_costs_no_earlier_work(job: Job, spoil: str, resume: bool) -> None:
    job.fail()
    before, kept = job.shards(), job.vcf.read_text()
    if spoil == "missing":
        job.vcf.unlink()
    else:
        job.vcf.write_text(kept + "chr1\tx\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(FormatError):
        job.run(resume=resume)
    assert job.shards() == before
    job.vcf.write_text(kept)
    job.run(resume=True)
    assert job.session.runs == 2 * (ALLELES - 12)


def test_discarded_work_is_said(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    job.fail()
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        job.run()
    assert "out.tsv: 3 finished jobs of an earlier run are discarded; resuming would use them" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        job.run()
    assert not caplog.text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (2 * 14 + 1, r"interrupted: 12 of 20 are kept in \S+out.tsv.partial"),
        (3, r"interrupted before any of 20 was kept; run the command again"),
    ],
    ids=["some", "none"],
)
def test_an_interruption_says_what_is_kept(job: Job, at: int, text: str) -> None:
    job.session.fault = KeyboardInterrupt()
    stopped = job.fail(at=at)
    assert isinstance(stopped, RunInterrupted)
    assert re.fullmatch(text, str(stopped))
    assert stopped.resumable == (at > 8)
    assert job.names() == ({"out.tsv.partial"} if at > 8 else set())


@pytest.mark.parametrize("content", [None, b""], ids=["header only", "no bytes"])
@pytest.mark.parametrize(
    ("suffix", "layout"),
    [
        *((suffix, "long") for suffix in (".tsv", ".tsv.gz", ".parquet", ".h5", ".vcf.gz")),
        *((suffix, "wide") for suffix in (".tsv", ".parquet")),
    ],
)
def test_a_file_without_variants_gives_a_table_without_rows(
    job: Job, content: bytes | None, suffix: str, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    job.run(f"whole{suffix}", layout=layout)
    worlds.write_vcf(job.vcf, [])
    if content is not None:
        job.vcf.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        assert job.run(f"out{suffix}", layout=layout) == {}
    assert "in.vcf: no variants; the table has no rows" in caplog.text
    out, whole = job.folder / f"out{suffix}", job.folder / f"whole{suffix}"
    if suffix == ".parquet":
        assert parquet.read_table(out).num_rows == 0
        assert parquet.read_schema(out).equals(parquet.read_schema(whole))
    elif suffix == ".h5":
        with h5py.File(out) as file, h5py.File(whole) as other:
            assert {name: file[name].dtype for name in file} == {name: other[name].dtype for name in other}
            assert file["SUM"].shape == (0, 4)
            assert len(file["status"]) == 0
            assert np.isnan(file["SUM_pct"][:]).all()
    elif suffix == ".vcf.gz":
        with pysam.VariantFile(str(out)) as file:
            assert "BRT_STATUS" in file.header.info
            assert list(file) == []
    else:
        opened = gzip.open if suffix.endswith(".gz") else open
        with opened(out, "rt") as handle, opened(whole, "rt") as other_handle:
            assert handle.read() == other_handle.readline()


def test_the_size_of_a_job_is_less_than_a_minute_of_work(toy_bundle: Bundle) -> None:
    """4 alleles of 524,288 bp; strands and shifts are passes of their own; small models take 64 at once."""
    geometry = Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6144)
    published = replace(toy_bundle, info=replace(toy_bundle.info, geometry=geometry, tiling=None))
    sizes = [
        run.job_size(published, ScoreOptions.for_family(**choices))
        for choices in ({}, {"rc": True}, {"rc": True, "shifts": (0, 1)}, {"rc": True, "shifts": (0, 1, -1, 2)})
    ]
    assert sizes == [4, 2, 1, 1]
    assert run.job_size(toy_bundle, ScoreOptions()) == 64


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_variants_of_a_list_give_the_table_of_the_file(job: Job, suffix: str) -> None:
    job.run(f"file{suffix}")
    with job.vcf.open() as handle:
        lines = [line.split("\t") for line in handle if not line.startswith("#")]
    variants = [Variant(row[0], int(row[1]), row[3], row[4], row[2]) for row in lines]
    given = {"bundle": job.bundle, "fasta": job.fasta, "options": OPTIONS}
    assert run.score_list(variants, job.folder / f"list{suffix}", **given) == {"ok": ALLELES}
    tables = [job.folder / f"{name}{suffix}" for name in ("file", "list")]
    if suffix == ".parquet":
        assert parquet.read_table(tables[0]).equals(parquet.read_table(tables[1]))
    else:
        assert tables[0].read_bytes() == tables[1].read_bytes()
    with pytest.raises(InputError, match=r"a VCF is a copy of the input, and there is none"):
        run.score_list(variants, job.folder / "list.vcf.gz", **given)
    assert run.score_list(["chr1:2000:N:A"], job.folder / "text.tsv", **given) == {"invalid_allele": 1}


def test_the_alleles_are_not_written_through_a_link(job: Job) -> None:
    job.fail()
    precious = job.folder / "precious"
    precious.write_text("mine")
    alleles = job.partial() / "alleles.arrow"
    alleles.unlink()
    alleles.symlink_to(precious)
    job.run(resume=True)
    assert precious.read_text() == "mine"


def test_tracks_that_share_a_name_are_told_apart_when_a_run_goes_on(job: Job) -> None:
    """The list in the file names another unit now, and both units have one identifier."""
    listed = job.folder / "list.txt"
    bundle = replace(job.bundle)
    vars(bundle)["tracks"] = replace(bundle.tracks, identifier=("x",) * 6, strand_pair=bundle.tracks.index)
    options = replace(OPTIONS, tracks=f"@{listed}")
    listed.write_text("4\n")
    job.fail(bundle=bundle, options=options)
    listed.write_text("5\n")
    with pytest.raises(InputError, match="kept by a run with another choice of tracks"):
        job.run(resume=True, bundle=bundle, options=options)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("\n".join([*path.read_text().splitlines(), "chr1\t5\tx\tA\tC"]) + "\n"),
        lambda path: path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n"),
        lambda path: path.write_text(
            "\n".join([*path.read_text().splitlines()[:2], *vcf_rows(2001)]).replace(" ", "\t")
        ),
        lambda path: path.unlink(),
    ],
    ids=["a line more", "lines less", "other variants", "gone"],
)
def test_a_file_that_changes_meanwhile_is_not_annotated(job: Job, change: Callable[[Path], object]) -> None:
    """The copy would carry the scores of other records; they are kept until the file is as it was."""
    text = job.vcf.read_text()
    with pytest.raises(FormatError, match=r"in\.vcf: was changed after its variants were read; the scores are kept"):
        job.run("out.vcf.gz", progress=lambda done: done == ALLELES and change(job.vcf))
    assert not (job.folder / "out.vcf.gz").exists()
    job.vcf.write_text(text)
    job.run("out.vcf.gz", resume=True)
    assert job.session.runs == 0
    with gzip.open(job.folder / "out.vcf.gz", "rt") as handle:
        assert sum("BRT_STATUS=ok" in line for line in handle) == ALLELES
