"""``borzoi-rt score``: what the options become, the streams, resumption."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pysam
import pytest
import worlds

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.errors import BackendError
from borzoi_rt.runs import score as run
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.presets import PRESETS

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

ENTRY = [sys.executable, "-c", "from borzoi_rt.cli import run; run()"]


def stored_options(out: Path) -> dict[str, Any]:
    """Return what the run says of itself in the file beside the table."""
    return json.loads(out.with_name(out.name + ".meta.json").read_text())["options"]


def as_json(options: ScoreOptions, desk: Desk) -> dict[str, Any]:
    """Return what a run says of options: nothing is left open."""
    return json.loads(json.dumps(options.resolved(open_bundle(desk.bundle).info).to_dict()))


def test_a_table_and_a_line_of_counts(cli: Cli, desk: Desk) -> None:
    worlds.write_vcf(
        desk.vcf, ["chr1 2000 a GATTACAGATTACA A,C", *desk.vcf.read_text().splitlines()[3:], "chr5 1 . A C"]
    )
    ended = cli(*desk.score())
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines()[-1] == f"12 alleles: 9 ok, 2 ref_mismatch, 1 contig_missing -> {desk.out}"
    lines = desk.out.read_text().splitlines()
    assert len(lines) == 1 + 9 * 4 * 3 + 3  # four merged rows, three statistics; one line without a score
    assert stored_options(desk.out) == as_json(ScoreOptions(), desk)


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["--stats", "D2, SAX"], {"stats": ("D2", "SAX")}),
        (["--family", "sad", "--stats", "SAD"], {"family": "sad", "stats": ("SAD",)}),
        (["--rc", "--shifts", "0,1,-1"], {"rc": True, "shifts": (0, 1, -1)}),
        (["--tracks", "cage"], {"tracks": "cage"}),
        (["--ref-policy", "flip", "--flip-deletions"], {"ref_policy": "flip", "flip_deletions": True}),
        (["--indel", "average", "--edge-fill", "pad"], {"indel": "average", "edge_fill": "pad"}),
        (["--n-code", "uniform", "--max-n-fraction", "0.5"], {"n_code": "uniform", "max_n_fraction": 0.5}),
        (["--unscale", "--no-unclip"], {"unscale": True, "unclip": False}),
        (["--no-unscale", "--unclip"], {"unscale": False, "unclip": True}),
        (["--no-merge"], {"merge_strands": False}),
        (["--span", "128", "--window", "grid:64"], {"region": "span:128", "window": "grid:64"}),
        (["--region", "center:96", "--stats", "SUM,D2@window"], {"region": "center:96", "stats": ("SUM", "D2@window")}),
        (["--squash", "old"], {"squash": "old"}),
    ],
)
def test_options_reach_the_scores(cli: Cli, desk: Desk, arguments: list[str], choices: dict[str, Any]) -> None:
    ended = cli(*desk.score(*arguments))
    assert ended.code == 0, ended.err
    assert stored_options(desk.out) == as_json(ScoreOptions.for_family(**choices), desk)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(cli: Cli, desk: Desk, name: str) -> None:
    """Those of genes with a gene under the variants, those of polyadenylation with two sites of it."""
    desk.set_squash("old")
    more: list[object] = []
    if any(spec.of_genes for spec in PRESETS[name].specs):
        more += ["--genes", desk.folder / "genes.gtf"]
        (desk.folder / "genes.gtf").write_text('chr1\ttest\texon\t2001\t2400\t.\t+\t.\tgene_id "g1";\n')
    if any(spec.region.kind == "pas" for spec in PRESETS[name].specs):
        more += ["--pas", desk.folder / "pas.tsv"]
        rows = [f"chr1\t{position}\t+\tg1\t{number}\t3' most exon" for number, position in enumerate((2200, 2390), 1)]
        header = "chrom\tposition_hg38\tstrand\tgene\tsite_num\tsite_type"
        (desk.folder / "pas.tsv").write_text("\n".join([header, *rows]) + "\n")
    ended = cli(*desk.score("--preset", name, *more))
    assert ended.code == 0, ended.err
    assert stored_options(desk.out) == as_json(PRESETS[name], desk)


@pytest.mark.parametrize("kind", ["new", "bp_old", "none"])
@pytest.mark.parametrize("name", ["paper-eqtl-sad", "paper-satmut-sad"])
def test_a_published_command_for_old_weights_refuses_others(cli: Cli, desk: Desk, name: str, kind: str) -> None:
    """The published commands pass ``-u``, the inverse ``old``."""
    desk.set_squash(kind)
    ended = cli(*desk.score("--preset", name))
    assert ended.code == 1
    assert re.fullmatch(
        rf"error: preset '{name}' is a command for squash kind 'old', toy is of kind '{kind}'; .*\n", ended.err
    ), ended.err
    assert not desk.out.exists()


def test_a_preset_leaves_tracks_and_statistics_open(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.score("--preset", "hound-stitch", "--stats", "D1", "--tracks", "dnase")).code == 0
    options = stored_options(desk.out)
    assert (options["stats"], options["tracks"], options["prediction"]["edge_fill"]) == (["D1"], "dnase", "pad")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_stdin(desk: Desk, packed: bool) -> None:
    """Variants from a pipe give the table of the file, byte for byte."""
    content = desk.vcf.read_bytes()
    tables = []
    for source, piped in ((str(desk.vcf), None), ("-", gzip.compress(content) if packed else content)):
        arguments = [str(item) for item in desk.score()]
        arguments[1] = source
        ended = subprocess.run([*ENTRY, *arguments], input=piped, capture_output=True, timeout=120)
        assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr
        assert ended.stderr.decode().startswith("10 alleles: 10 ok")
        tables.append(desk.out.read_bytes())
    assert tables[0] == tables[1]


def open_pipe(path: Path, reader: subprocess.Popen[bytes]) -> IO[bytes]:
    """Open a named pipe for writing once its reader has opened it; fail where the reader has ended instead."""
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            assert reader.poll() is None, reader.stderr.read() if reader.stderr else ""
            time.sleep(0.05)
        else:
            os.set_blocking(handle, True)
            return os.fdopen(handle, "wb")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("source", ["/dev/stdin", "pipe"])
def test_a_pipe_by_name(desk: Desk, source: str, packed: bool) -> None:
    """What a shell calls ``<(zcat in.vcf.gz)`` is read once; the table is that of the file, byte for byte."""
    content = gzip.compress(desk.vcf.read_bytes()) if packed else desk.vcf.read_bytes()
    arguments = [str(item) for item in desk.score()]
    subprocess.run([*ENTRY, *arguments], check=True, capture_output=True, timeout=120)
    want = desk.out.read_bytes()
    desk.out.unlink()
    if source == "pipe":
        os.mkfifo(desk.folder / "pipe")
    arguments[1] = str(desk.folder / source)  # an absolute name stays as it is
    with subprocess.Popen([*ENTRY, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        with open_pipe(desk.folder / "pipe", process) if source == "pipe" else process.stdin as stream:
            stream.write(content)
        assert process.stderr
        message = process.stderr.read()
    assert process.returncode == 0, message
    assert desk.out.read_bytes() == want


def test_stdin_can_become_a_vcf(desk: Desk) -> None:
    """A VCF is a copy of the input, which is read twice."""
    desk.out = desk.folder / "out.vcf.gz"
    arguments = [str(item) for item in desk.score()]
    arguments[1] = "-"
    subprocess.run([*ENTRY, *arguments], input=desk.vcf.read_bytes(), check=True, capture_output=True, timeout=120)
    with pysam.VariantFile(str(desk.out)) as file:
        assert {record.info["BRT_STATUS"] for record in file} == {("ok",)}


def test_malformed_stdin_leaves_nothing(desk: Desk) -> None:
    arguments = [str(item) for item in desk.score()]
    arguments[1] = "-"
    content = desk.vcf.read_bytes() + b"chr1\tx\t.\tA\tC\n"
    ended = subprocess.run([*ENTRY, *arguments], input=content, capture_output=True, text=False, timeout=120)
    assert ended.returncode == 1
    assert re.fullmatch(rb"error: \S*stdin\S*, line 13: .*\n", ended.stderr)
    assert not list(desk.folder.glob("out*"))


def test_the_bar_is_drawn_on_a_terminal_and_on_stderr(desk: Desk) -> None:
    ours, theirs = os.openpty()
    arguments = [str(item) for item in desk.score()]
    with subprocess.Popen([*ENTRY, *arguments], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(timeout=120) == 0
    os.close(ours)
    assert b"scoring" in shown
    assert b"10/10" in shown
    assert desk.out.is_file()


def test_resume(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks at the eighth allele goes on after two shards of three, and gives the same table."""
    assert cli(*desk.score()).code == 0
    whole = desk.out.read_bytes()
    desk.out.unlink()
    monkeypatch.setattr(run, "job_size", lambda *_: 3)
    scored: list[int] = []
    real = Scorer.score

    def score(self: Scorer, item: Any) -> Any:
        scored.append(item.record)
        if len(scored) == 8:
            raise BackendError("the device is gone")
        return real(self, item)

    monkeypatch.setattr(Scorer, "score", score)
    ended = cli(*desk.score())
    assert (ended.code, ended.err) == (1, "error: the device is gone\n")
    assert not desk.out.exists()
    ended = cli(*desk.score("--resume", "--rc"))
    assert ended.code == 1
    assert "kept by a run with another choice of options (rc false there, true here)" in ended.err
    ended = cli(*desk.score("--resume"))
    assert ended.code == 0
    assert ended.err.startswith("10 alleles: 10 ok")
    assert scored == [*range(8), *range(6, 10)]
    assert desk.out.read_bytes() == whole


def test_variants_on_the_command_line(cli: Cli, desk: Desk) -> None:
    """The table is that of a file of the same variants; ids and the name of the input are all that a file adds."""
    lines = [line.split("\t") for line in desk.vcf.read_text().splitlines() if not line.startswith("#")][:3]
    worlds.write_vcf(desk.vcf, [f"{row[0]} {row[1]} . {row[3]} {row[4]}" for row in lines])
    assert cli(*desk.score()).code == 0
    whole = desk.out.read_bytes()
    named = [word for row in lines for word in ("--variant", f"{row[0]}:{row[1]}:{row[3]}:{row[4]}")]
    ended = cli("score", *named, *desk.model(), "--out", desk.out)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines()[-1] == f"3 alleles: 3 ok -> {desk.out}"
    assert desk.out.read_bytes() == whole
    ended = cli("score", "--variant", "chr1:2000", *desk.model(), "--out", desk.out)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "write it like 'chr1:14677:G:A'" in ended.err
    assert desk.out.read_bytes() == whole


@pytest.mark.parametrize("both", [False, True])
def test_a_file_or_variants(cli: Cli, desk: Desk, both: bool) -> None:
    words = ["score", desk.vcf, "--variant", "chr1:2000:A:C"] if both else ["score"]
    ended = cli(*words, *desk.model(), "--out", desk.out)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: give a VCF, or variants with --variant, and not both")
    assert not desk.out.exists()


def test_departures_from_the_bundle_are_notes(cli: Cli, desk: Desk) -> None:
    ended = cli(*desk.score("--family", "sad", "--squash", "old", "--stats", "SAD"))
    assert ended.code == 0, ended.err
    notes = [line for line in ended.err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: unknown bases are coded 'uniform' (family sad); the bundle says 'zero'",
        "note: squash kind 'old' is undone instead of the bundle's 'new'",
    ]
    assert [f"note: {note}" for note in json.loads((desk.folder / "out.tsv.meta.json").read_text())["notes"]] == notes
    assert not [line for line in cli(*desk.score()).err.splitlines() if line.startswith("note: ")]


def test_a_preset_for_old_weights_may_be_meant(cli: Cli, desk: Desk) -> None:
    """``--squash old`` undoes that kind on purpose, and the output says so."""
    ended = cli(*desk.score("--preset", "paper-eqtl-sad", "--squash", "old"))
    assert ended.code == 0, ended.err
    assert "squash kind 'old' is undone instead of the bundle's 'new'" in ended.err


def test_span_is_short_for_a_region(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.score("--span", "200", "--stats", "SUM")).code == 0
    by_span = desk.out.read_bytes()
    assert cli(*desk.score("--stats", "SUM@span:200")).code == 0
    assert desk.out.read_bytes() == by_span
    ended = cli(*desk.score("--span", "200", "--region", "window"))
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "leave one of the two out" in ended.err


def test_the_region_of_mutagenesis_is_honoured(cli: Cli, desk: Desk) -> None:
    """REGION are the bases that change, --region the bins that scores are taken over."""
    out = [desk.folder / f"{name}.tsv" for name in ("named", "option", "short", "whole")]
    words = [["--stats", "SUM@span:200"], ["--stats", "SUM", "--region", "span:200"], ["--stats", "SUM", "--span", 200]]
    for path, more in zip(out, [*words, ["--stats", "SUM"]], strict=True):
        ended = cli("ism", "chr1:3,001-3,003", *desk.model(), "--out", path, *more)
        assert (ended.code, ended.err) == (0, f"9 substitutions: 9 ok -> {path}\n")
    named, option, short, whole = (path.read_bytes() for path in out)
    assert named == option == short != whole


@pytest.mark.parametrize("content", [b"", None], ids=["no bytes", "header only"])
def test_a_file_without_variants_is_no_error(cli: Cli, desk: Desk, content: bytes | None) -> None:
    worlds.write_vcf(desk.vcf, [])
    if content is not None:
        desk.vcf.write_bytes(content)
    ended = cli(*desk.score())
    assert (ended.code, ended.out) == (0, "")
    assert "in.vcf: no variants; the table has no rows" in ended.err
    assert ended.err.splitlines()[-1].startswith("0 alleles")
    assert desk.out.read_text().splitlines() == [desk.out.read_text().strip()]


def test_a_wide_table(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.score("--stats", "SUM,D2@span:64")).code == 0
    long = [line.split("\t") for line in desk.out.read_text().splitlines()]
    assert cli(*desk.score("--stats", "SUM,D2@span:64", "--layout", "wide")).code == 0
    heads, *rows = [line.split("\t") for line in desk.out.read_text().splitlines()]
    assert len(rows) == 10
    where = {name: number for number, name in enumerate(long[0])}
    for row in long[1:]:
        stat, region = row[where["stat"]], row[where["region"]]
        name = stat if region == "window" else f"{stat}@{region}"
        column = heads.index(f"{name}|{row[where['track_id']]}")
        assert rows[int(row[0])][column] == row[where["score"]]
    assert len(long) == 1 + 10 * 4 * 2
    for suffix in (".h5", ".vcf.gz"):
        desk.out = desk.folder / f"wide{suffix}"
        ended = cli(*desk.score("--layout", "wide"))
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert f"{suffix} has one layout" in ended.err
