"""What goes wrong ends with one ``error:`` line that names the file, and leaves nothing behind."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pysam
import pytest
import worlds

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

Spoil = Callable[["Desk"], list[object]]


def cut(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_vcf(desk: Desk) -> list[object]:
    packed = desk.folder / "in.vcf.gz"
    pysam.tabix_compress(str(desk.vcf), str(packed))
    cut(packed, 0.9)
    desk.vcf = packed
    return desk.score()


def cut_gzip_vcf(desk: Desk) -> list[object]:
    packed = desk.folder / "in.vcf.gz"
    packed.write_bytes(gzip.compress(desk.vcf.read_bytes())[:-20])
    desk.vcf = packed
    return desk.score()


def cut_last_line(desk: Desk) -> list[object]:
    desk.vcf.write_text(desk.vcf.read_text()[:-12])
    return desk.score()


def rows(*lines: str) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        worlds.write_vcf(desk.vcf, lines)
        return desk.score()

    return spoil


def text(content: bytes) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        desk.vcf.write_bytes(content)
        return desk.score()

    return spoil


def without(name: str, *, packed: bool = False) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        (desk.folder / name).unlink()
        desk.fasta = desk.packed if packed else desk.fasta
        return desk.score()

    return spoil


def cut_packed_fasta(desk: Desk) -> list[object]:
    cut(desk.packed)
    desk.fasta = desk.packed
    return desk.score()


def unblocked_fasta(desk: Desk) -> list[object]:
    desk.packed.write_bytes(gzip.compress(desk.fasta.read_bytes()))
    desk.fasta = desk.packed
    return desk.score()


def cut_plain_fasta(desk: Desk) -> list[object]:
    cut(desk.fasta, 0.9)
    return desk.score()


def bundle_file(name: str, change: Callable[[Path], object]) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        change(desk.bundle / name)
        return desk.score()

    return spoil


def option(*more: object) -> Spoil:
    return lambda desk: desk.score(*more)


def output(name: str) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        desk.out = desk.folder / name
        return desk.score()

    return spoil


def regions(content: str) -> Spoil:
    def spoil(desk: Desk) -> list[object]:
        desk.bed.write_text(content)
        return desk.predict()

    return spoil


DATA: dict[str, tuple[Spoil, str]] = {
    "VCF cut, bgzip": (cut_vcf, r"in\.vcf\.gz: truncated"),
    "VCF cut, gzip": (cut_gzip_vcf, r"in\.vcf\.gz: truncated or damaged"),
    "VCF cut in a line": (cut_last_line, r"in\.vcf, line 12: \d columns"),
    "VCF missing": (without("in.vcf"), r"in\.vcf: no such VCF file"),
    "VCF binary": (text(b"\x89PNG\r\n\x1a\n\xff\xfe"), r"in\.vcf, line 1: not text"),
    "VCF with spaces": (text(b"chr1 2000 . A C . .\n"), r"in\.vcf, line 1: columns are split by spaces"),
    "VCF with odd POS": (rows("chr1 12x . A C"), r"in\.vcf, line 3: POS is '12x'"),
    "VCF with huge POS": (rows("chr1 5000000000 . A C"), r"in\.vcf, line 3: POS is '5000000000'"),
    "VCF of another assembly": (
        rows("chr1 2000 . GATTACAGATTACA A", "chr1 2001 . GATTACAGATTACA C"),
        r"in\.vcf: none of 2 variants agrees.*toy\.fa",
    ),
    "VCF of other contigs": (rows("chr7 2000 . A C"), r"in\.vcf: none of 1 variants .*no contig 'chr7'"),
    "FASTA missing": (without("toy.fa"), r"toy\.fa: no such FASTA file"),
    "FASTA index missing": (without("toy.fa.fai"), r"toy\.fa: its index toy\.fa\.fai is missing; run `samtools faidx"),
    "FASTA block index missing": (without("toy.fa.gz.gzi", packed=True), r"toy\.fa\.gz\.gzi is missing"),
    "FASTA cut, bgzip": (cut_packed_fasta, r"toy\.fa\.gz: truncated"),
    "FASTA cut, plain": (cut_plain_fasta, r"toy\.fa: \d+ bytes, but its index"),
    "FASTA gzip": (unblocked_fasta, r"toy\.fa\.gz: gzip without blocks"),
    "graph cut": (bundle_file("predict.onnx", cut), r"bundle/predict\.onnx: \d+ bytes, bundle\.json says"),
    "weights cut": (bundle_file("weights.bin", cut), r"bundle/weights\.bin: \d+ bytes"),
    "weights changed": (bundle_file("weights.bin", change_byte), r"bundle/weights\.bin: SHA-256 differs"),
    "tracks changed": (bundle_file("tracks.tsv", change_byte), r"bundle/tracks\.tsv: SHA-256 differs"),
    "graph missing": (
        bundle_file("predict.onnx", Path.unlink),
        r"bundle/predict\.onnx: listed in bundle\.json but missing",
    ),
    "file not listed": (bundle_file("note.txt", Path.touch), r"bundle/note\.txt: not listed"),
    "manifest cut": (bundle_file("bundle.json", cut), r"bundle/bundle\.json: not JSON"),
    "manifest missing": (bundle_file("bundle.json", Path.unlink), r"bundle: not a bundle"),
    "statistic unknown": (option("--stats", "SUM,logSUMM"), r"'logSUMM'.*did you mean logSUM\?"),
    "statistic twice": (option("--stats", "SUM,SUM"), r"'SUM' is named twice"),
    "tracks match nothing": (option("--tracks", "liver"), r"no track matches 'liver', and none is spelled like it; "),
    "tracks no expression": (option("--tracks", "(cage"), r"'\(cage' is not a regular expression"),
    "tracks list missing": (option("--tracks", "@none.txt"), r"none\.txt: cannot read the list"),
    "shift too far": (option("--shifts", "0,1024"), r"shift 1024 moves the variant out"),
    "share above one": (option("--max-n-fraction", "2"), r"between 0 and 1"),
    "preset and option": (option("--preset", "hound-default", "--rc"), r"--preset hound-default fixes 'rc'"),
    "suffix unknown": (output("out.csv"), r"out\.csv: .* allowed: \.tsv"),
    "folder missing": (output("no/out.tsv"), r"no: no such directory"),
    "output is a folder": (output("bundle"), r"bundle: is an input, which is never written over"),
    "BED missing": (lambda desk: ["predict", "no.bed", *desk.predict()[2:]], r"no\.bed: no such BED file"),
    "BED malformed": (regions("chr1\t5\t9\nchr1\t9\t5\n"), r"in\.bed, line 2:"),
    "BED empty": (regions("# nothing\n"), r"in\.bed: no regions"),
    "BED of other contigs": (regions("chr7\t5\t9\n"), r"region chr7:6-9: toy\.fa has no contig 'chr7'"),
    "bundle missing": (lambda desk: ["bundle", "verify", desk.folder / "none"], r"none: no such bundle directory"),
}


@pytest.mark.parametrize("title", DATA)
def test_bad_data(cli: Cli, desk: Desk, title: str) -> None:
    spoil, message = DATA[title]
    arguments = spoil(desk)
    before = sorted(desk.folder.rglob("*"))
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(rf"error: .*({message}).*\n", ended.err), ended.err
    assert sorted(desk.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--preset", "paper"], "'paper' is not one of 'hound-default'"),
        (["--family", "gene"], "'gene' is not one of 'hound', 'sad'"),
        (["--shifts", "0,x"], "'0,x' is not a comma list of integers"),
        (["--threads", "0"], "--threads"),
        (["--colour"], "No such option"),
    ],
)
def test_bad_usage(cli: Cli, desk: Desk, more: list[str], message: str) -> None:
    ended = cli(*desk.score(*more))
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"error: .* \(see `borzoi-rt score --help`\)\n", ended.err), ended.err
    assert message in ended.err
    assert not desk.out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"), [(["nosuch"], "nosuch"), (["score"], "--bundle"), (["predict", "x.bed"], "--bundle")]
)
def test_incomplete_commands(cli: Cli, arguments: list[str], message: str) -> None:
    ended = cli(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("error: ")
    assert message in ended.err


def test_a_missing_provider_is_an_error(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    ended = cli(*desk.score("--device", "cuda:1"))
    assert ended.code == 1
    assert re.fullmatch(r"error: device 'cuda:1' was asked for.*pip install 'borzoi-rt\[gpu\]'\n", ended.err), ended.err
    assert not list(desk.folder.glob("out*"))


@pytest.mark.parametrize("content", ["", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"])
def test_no_variants_is_a_warning_and_an_empty_table(cli: Cli, desk: Desk, content: str) -> None:
    desk.vcf.write_text(content)
    ended = cli(*desk.score())
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"warning: in.vcf: no variants; the table has no rows\n0 alleles -> {desk.out}\n"
    assert len(desk.out.read_text().splitlines()) == 1


@pytest.mark.parametrize("command", ["score", "predict"])
def test_a_refused_output_is_left_as_it_was(cli: Cli, desk: Desk, command: str) -> None:
    desk.out = desk.vcf if command == "score" else desk.out
    (desk.folder / "coverage").mkdir()
    (desk.folder / "coverage" / "mine").write_text("keep")
    before = {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()}
    ended = cli(*(desk.score() if command == "score" else desk.predict()))
    messages = {"score": r"in\.vcf: is an input, .*", "predict": r"coverage: exists and is not an empty .*"}
    assert ended.code == 1
    assert re.fullmatch(rf"error: \S*{messages[command]}\n", ended.err), ended.err
    assert {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()} == before


def test_export_without_its_packages_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None; from borzoi_rt.cli import run; run()"
    ended = subprocess.run([sys.executable, "-c", code, "export", "--help"], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: `export` needs torch; pip install 'borzoi-rt[export]'\n"
