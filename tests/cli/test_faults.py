"""Whatever is raised becomes one line in plain words; the text of the system or of a library never stands alone."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pyarrow as pa
import pytest

from borzoi_rt.cli._faults import describe
from borzoi_rt.errors import BackendError, FormatError, InputError, missing_package

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

RAW = re.compile(r"Errno|No such file|Permission denied|No space left|Is a directory|Too many open|Traceback")


def caught(call: object, *arguments: object) -> BaseException:
    """Return what a call raises."""
    try:
        call(*arguments)  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_errors_of_real_files(tmp_path: Path) -> None:
    missing = tmp_path / "none.txt"
    assert describe(caught(missing.open)) == f"{missing}: no such file or directory (check the name)"
    assert describe(caught(tmp_path.read_bytes)) == f"{tmp_path}: is a directory (name a file)"
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "x"
    assert describe(caught(below.open)).startswith(f"{below}: is not a directory, or a part of its path is not (")
    assert describe(caught((tmp_path / "file").mkdir)).startswith(f"{tmp_path / 'file'}: exists already (")
    long = tmp_path / ("x" * 300)
    assert describe(caught(long.open)) == f"{long}: the name is too long (choose a shorter one)"
    assert describe(caught(open, os.fsencode(missing))).startswith(f"{missing}: no such file")
    read, write = os.pipe()
    os.close(read)
    assert "the program that read this output has ended" in describe(caught(os.write, write, b"x"))
    os.close(write)
    with Path("/dev/full").open("wb", buffering=0) as full:
        assert describe(caught(full.write, b"x")).startswith("a file could not be written: the disk is full (free ")


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_names_its_file_and_a_next_step(number: int) -> None:
    line = describe(OSError(number, "Raw text", "data/x.vcf"))
    assert "Raw text" not in line
    assert "Errno" not in line
    assert re.fullmatch(r"data/x\.vcf: .+ \(.+\)|not enough memory; .+", line), line


def test_the_number_is_found_where_a_library_only_writes_it(tmp_path: Path) -> None:
    missing = tmp_path / "none.h5"
    error = caught(h5py.File, missing, "r")
    assert describe(error) == f"{missing}: no such file or directory (check the name)"
    full = OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device")
    assert describe(full) == (
        "a file could not be written: the disk is full (free some space, or write to another disk)"
    )
    assert describe(caught(pa.memory_map, str(tmp_path / "none.arrow"))).startswith(f"{tmp_path / 'none.arrow'}: no ")


def test_links_in_a_circle(cli: Cli, desk: Desk) -> None:
    circle = desk.folder / "circle.h5"
    circle.symlink_to(circle)
    line = f"{circle}: its symbolic links lead in a circle (name the file itself)"
    assert describe(RuntimeError(f"Symlink loop from '{circle}'")) == line
    assert describe(caught(circle.read_bytes)) == line
    bases = ("explain", "--method", "ism", "--region", "chr1:3001-3002", *desk.model())
    for words in ((*bases, "--out", circle), (*bases, "--out", desk.folder / "o.h5", "--plot", circle)):
        ended = cli(*words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert "circle" in ended.err
        assert not RAW.search(ended.err)


def test_text_of_a_library_stands_behind_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "no.h5").write_bytes(b"no HDF5")
    line = describe(caught(h5py.File, tmp_path / "no.h5", "r"))
    assert line.startswith("a file or an address could not be used (")
    line = describe(caught(pa.ipc.open_file, pa.py_buffer(b"no Arrow file")))
    assert re.match(r"(a table could not be read or written|unexpected)", line)

    class Fail(Exception):  # noqa: N818
        __module__ = "onnxruntime.capi.onnxruntime_pybind11_state"

    assert describe(Fail("[ONNXRuntimeError] : 1 :\n FAIL")) == (
        "the model could not be run (onnxruntime: [ONNXRuntimeError] : 1 : FAIL); run with -v for details"
    )
    assert describe(Fail("std::bad_alloc")).startswith("not enough memory; ")


def test_memory_says_what_to_do() -> None:
    for error in (MemoryError(), MemoryError("Unable to allocate 3 GiB"), OSError(errno.ENOMEM, "x")):
        assert re.search(r"not enough memory; .*--workers.*--tracks", describe(error))


def test_defects_are_called_so() -> None:
    assert describe(IndexError("tuple index\nout of range")) == (
        "unexpected IndexError: tuple index out of range; run with -v for details and report it"
    )
    assert describe(RecursionError()) == "unexpected RecursionError; run with -v for details and report it"
    assert len(describe(ValueError("x" * 5000))) < 400


def test_names_that_are_no_text() -> None:
    line = describe(caught("o\udcff.tsv".encode))
    assert line.startswith(r"'o\udcff.tsv' cannot be written as utf-8; ")
    assert line.isascii()
    assert describe(caught(b"\xff".decode)) == r"b'\xff' is not text in utf-8; save the file as UTF-8"


def test_an_error_of_the_system_inside_one_of_ours_is_put_into_words() -> None:
    inner = FileNotFoundError(2, "No such file or directory", "d/s.json")
    assert describe(FormatError(f"d/s.json: cannot be read as JSON ({inner})")) == (
        "d/s.json: cannot be read as JSON (no such file or directory)"
    )
    assert describe(InputError("two\n  lines")) == "two lines"


def test_a_package_that_fails_to_load_is_not_called_absent() -> None:
    absent = ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    assert str(missing_package(absent, "onnxruntime", "cpu")) == (
        "onnxruntime is not installed; pip install 'borzoi-rt[cpu]'"
    )
    below = ModuleNotFoundError("No module named 'grpc'", name="grpc")
    assert str(missing_package(below, "tritonclient", "triton")).startswith("grpc is not installed; pip install")
    broken = ImportError("libonnx.so: failed to map segment from shared object: Cannot allocate memory")
    found = missing_package(broken, "onnxruntime", "cpu", "scoring")
    assert isinstance(found, BackendError)
    assert str(found).startswith("scoring needs onnxruntime, which is installed but cannot be loaded (libonnx.so: ")
    assert "pip install" not in str(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ZeroDivisionError("division by zero"), "unexpected ZeroDivisionError: division by zero; run with -v "),
        (EOFError("Compressed file ended"), "unexpected EOFError: Compressed file ended; "),  # click calls it an abort
        (BrokenPipeError(errno.EPIPE, "Broken pipe", "out.fifo"), "out.fifo: the program that read this output "),
        (MemoryError(), "not enough memory; "),
        (PermissionError(errno.EACCES, "Permission denied", "x/y"), "x/y: permission denied ("),
    ],
)
def test_what_reaches_the_program_is_one_line(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("borzoi_rt.cli.score.score_file", fail)
    ended = cli(*desk.score())
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(f"error: {expected}")


def test_a_full_disk_names_the_output(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    ended = cli(*desk.score())
    assert ended.code == 1
    assert re.fullmatch(r"error: \S*out\.tsv\S*: the disk is full \(.*\)\n", ended.err), ended.err
    assert not list(desk.folder.glob("out*"))


def test_a_disk_that_fills_up_while_the_table_is_written(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("borzoi_rt.runs.outputs._sync", full)
    ended = cli(*desk.score())
    assert (ended.code, ended.err) == (
        1,
        f"error: {desk.out}: the disk is full (free some space, or write to another disk)\n",
    )
    monkeypatch.undo()
    assert cli(*desk.score("--resume")).code == 0


def test_an_output_of_text_on_a_full_disk(desk: Desk) -> None:
    entry = [sys.executable, "-c", "from borzoi_rt.cli import run; run()", "bundle", "show", str(desk.bundle)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(entry, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: a file could not be written: the disk is full \(.*\)\n", ended.stderr), ended.stderr


ATTACKS = {
    "half an IPv6 address": (["--device", "triton:grpc://[::1/borzoi"], r"Triton address 'grpc://\[::1/borzoi'"),
    "no IPv6 address": (["--device", "triton:grpc://[x]:1/borzoi"], r"Triton address 'grpc://\[x\]:1/borzoi'"),
    "port beyond the last": (["--device", "triton:grpc://h:99999/m"], r"Triton address 'grpc://h:99999/m': Port out"),
    "port in letters": (["--device", "triton:grpc://h:x/m"], r"Triton address 'grpc://h:x/m': Port could not"),
    "port of 5,000 digits": (["--device", f"triton:grpc://h:{'1' * 5000}/m"], r"Triton address 'grpc://h:1111"),
    "GPU of 5,000 digits": (["--device", f"cuda:{'1' * 5000}"], r"device 'cuda:1111.*is unknown"),
    "output in a file": (["--out", "in.vcf/out.tsv"], r"in\.vcf: no such directory"),
    "output in /proc": (["--out", "/proc/out.tsv"], r"/proc/out\.tsv\S*: no such file|/proc: not writable"),
    "output name too long": (["--out", "x" * 300 + ".tsv"], r"the name is too long"),
    "NUL in a name": (["--fasta", "x\0.fa"], r"\S"),
}


@pytest.mark.parametrize("title", ATTACKS)
def test_attacks_end_in_one_line(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, title: str) -> None:
    monkeypatch.chdir(desk.folder)
    more, message = ATTACKS[title]
    usual = {"--bundle": desk.bundle, "--fasta": desk.fasta, "--out": desk.out}
    files = [word for name, path in usual.items() if name not in more for word in (name, path)]
    ended = cli("score", desk.vcf, *files, *more)
    assert (ended.out, ended.err.count("\n")) == ("", 1)
    assert ended.code in (1, 2)
    assert re.match(rf"error: .*({message})", ended.err), ended.err
    assert not RAW.search(ended.err)


@pytest.mark.parametrize("name", ["o\udcff.tsv", "o\udcff.parquet", "o\udcff.h5", "o\udcff.tsv.gz", "o\udcff.vcf.gz"])
def test_an_output_name_that_is_not_utf8(cli: Cli, desk: Desk, name: str) -> None:
    desk.out = desk.folder / name
    ended = cli(*desk.score())
    assert ended.code == 0 or (ended.code == 1 and re.fullmatch(r"error: .*cannot be written as .*\n", ended.err))
    assert not list(desk.folder.glob("*.partial"))


def test_a_damaged_block_of_a_genome(cli: Cli, desk: Desk) -> None:
    content = bytearray(desk.packed.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    desk.packed.write_bytes(content)
    desk.fasta = desk.packed
    ended = cli(*desk.score())
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert re.match(r"error: \S*toy\.fa\.gz: ", ended.err), ended.err


def test_deep_json(cli: Cli, desk: Desk) -> None:
    (desk.bundle / "bundle.json").write_text("[" * 200_000)
    ended = cli("bundle", "show", desk.bundle)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert re.match(r"error: \S*bundle\.json: not JSON", ended.err)


@pytest.mark.parametrize("name", ["é.tsv", "é.parquet", "é.h5"])
@pytest.mark.parametrize("utf8", ["0", "1"])
def test_a_c_locale_and_a_name_with_an_accent(desk: Desk, name: str, utf8: str) -> None:
    desk.out = desk.folder / name
    plain = {"LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", "from borzoi_rt.cli import run; run()", *map(str, desk.score())],
        env={**os.environ, **plain},
        capture_output=True,
        timeout=120,
    )
    assert ended.stderr.count(b"\n") == 1
    if ended.returncode == 0:
        assert desk.out.is_file()
    else:
        assert (ended.returncode, utf8) == (1, "0")
        assert re.fullmatch(rb"error: .*cannot be written as .*LC_ALL=C\.UTF-8\)\n", ended.stderr), ended.stderr


@pytest.mark.parametrize("content", [b"x", b"", b"PK\x03\x04"])
def test_a_checkpoint_of_one_byte(cli: Cli, desk: Desk, content: bytes) -> None:
    broken = desk.folder / "last.ckpt"
    broken.write_bytes(content)
    tracks = desk.bundle / "tracks.tsv"
    for words in (
        ["export", "checkpoint", "--checkpoint", broken, "--targets", tracks],
        ["export", "torch", "--weights", broken, "--config", broken, "--targets", tracks, "--squash", "old"],
        ["export", "calico", "--weights", broken, "--params", broken, "--targets", tracks, "--squash", "old"],
    ):
        ended = cli(*words, "--out", desk.folder / "made")
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert re.match(r"error: \S*last\.ckpt: ", ended.err), ended.err
