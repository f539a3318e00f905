"""Ctrl-C and SIGTERM: the update ends, is kept, and the run goes on as if it had not been stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from borzoi_export.training import progress
from borzoi_export.training.checkpoints import WholeFiles
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.processes import StoppedError
from borzoi_export.weights.checkpoint import read_checkpoint
from command_line import Cli, check_error, options

from borzoi_rt.dataset import Data
from borzoi_rt.errors import BackendError

from .runs import losses, run, toy_params


def begin(params: Path, data: Data, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["--params", params, "--data", data.path, "--out", out, "--max-steps", 40, "--save-every", 1000]
    words += ["--accelerator", "cpu", "--threads", 1, *more]
    command = [sys.executable, "-m", "borzoi_rt", "train", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_rows(process: subprocess.Popen[str], log: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > count) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "code", "more"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ()), (signal.SIGINT, 130, ("--devices", "2"))],
)
def test_a_signal_keeps_every_step(
    make_data: Callable[..., Data], tmp_path: Path, number: int, code: int, more: tuple[str, ...]
) -> None:
    """To the whole group of processes, as a terminal sends it; no checkpoint would have been due yet."""
    data = make_data(windows=100)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(toy_params(batch_size=1)))
    process = begin(params, data, tmp_path / "run", *more)
    wait_for_rows(process, tmp_path / "run" / "train.csv", 5)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    done = len(losses(tmp_path / "run"))
    assert process.returncode == code, said
    assert 5 <= done < 40
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")[0]["step"] == done
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"stopped at step {done} of 40; {tmp_path / 'run' / 'last.ckpt'} holds step {done}; ")
    assert "--resume goes on" in last
    resumed = begin(params, data, tmp_path / "run", *more, "--resume")
    _, said = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, said
    whole = begin(params, data, tmp_path / "whole", *more)
    assert whole.wait(120) == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def signalled_at(monkeypatch: pytest.MonkeyPatch, where: str, step: int, times: int = 1) -> None:
    """Let a hook of the module send this process SIGINT."""
    before, sent = getattr(BorzoiModule, where), []

    def hook(module: BorzoiModule, *arguments: Any) -> Any:
        if module.global_step == step and not sent:
            sent.append(step)
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return before(module, *arguments)

    monkeypatch.setattr(BorzoiModule, where, hook)


@pytest.mark.parametrize(
    ("where", "step", "kept"),
    [
        ("training_step", 2, 3),
        ("training_step", 3, 4),  # a validation follows this update: it is made, and kept, before the run stops
        ("on_validation_epoch_start", 8, 8),
    ],
)
def test_stops_anywhere_go_on_as_never_stopped(
    make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, step: int, kept: int
) -> None:
    data = make_data(windows=8, valid=2)
    whole = run(toy_params(), [data], tmp_path / "whole", max_steps=10)
    with monkeypatch.context() as patch:
        signalled_at(patch, where, step)
        with pytest.raises(StoppedError) as stop:
            run(toy_params(), [data], tmp_path / "parts", max_steps=10)
    assert (stop.value.step, stop.value.kept, stop.value.total, stop.value.exit_code) == (kept, kept, 10, 130)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run(toy_params(), [data], tmp_path / "parts", max_steps=10, resume=True)
    for name in ("train.csv", "valid.csv"):
        assert (tmp_path / "parts" / name).read_text() == (whole.parent / name).read_text()


def test_accumulated_batches_end_before_the_stop(
    make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(windows=12)
    signalled_at(monkeypatch, "training_step", 1)
    with pytest.raises(StoppedError):
        run(toy_params(), [data], tmp_path / "run", max_steps=4, accumulate=3)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")[0]["batches"] == 6


def test_twice_stops_at_once_and_says_what_is_lost(
    make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(windows=20)
    for every, said in (
        (3, "holds step 3; the 2 steps after it are lost"),
        (9, "before the first checkpoint: nothing"),
    ):
        with monkeypatch.context() as patch:
            signalled_at(patch, "training_step", 5, times=2)
            with pytest.raises(StoppedError, match=said):
                run(toy_params(), [data], tmp_path / f"every{every}", max_steps=8, save_every=every)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning switches it off for its shutdown


def test_lines_where_the_output_is_no_terminal(
    cli: Cli, make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line per validation, at the end, and at each interval: steps, loss, validation, time left."""
    data = make_data(windows=8, valid=2)
    (tmp_path / "params.json").write_text(json.dumps(toy_params()))
    common = {"params": tmp_path / "params.json", "data": data.path, "accelerator": "cpu", "threads": 1, "max_steps": 6}
    code, out, err = cli("train", *options(**common, out=tmp_path / "calm"))
    lines = [line for line in err.splitlines() if line.startswith("step ")]
    assert (code, out) == (0, "")
    assert [line.split(",")[0] for line in lines] == ["step 1/6", "step 4/6", "step 6/6"]
    assert ", valid head_toy loss " in lines[1]
    assert lines[2].endswith(", 0:00:00 left")
    loss = losses(tmp_path / "calm")[3]
    assert f"loss {float(loss):.4f}" in lines[1]
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    _, _, err = cli("train", *options(**common, out=tmp_path / "chatty"))
    assert sum(line.startswith("step ") for line in err.splitlines()) == 6 + 1  # and one for the validation


def test_the_time_left_is_that_of_the_steps_so_far() -> None:
    assert progress.time_left(10, 30, 50.0) == "0:02:30"  # 5 s a step
    assert progress.time_left(0, 30, 50.0) == "?"


def test_a_checkpoint_is_never_written_in_its_own_file(
    make_data: Callable[..., Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name is the old file until the new one is whole; the folder for temporary files plays no part."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)
    before = path.read_bytes()
    seen: list[bytes] = []

    class Slow:
        def __reduce__(self) -> Any:
            seen.append(path.read_bytes())
            raise OSError(28, "No space left on device")

    with pytest.raises(BackendError, match=r"last.ckpt: cannot be written \(.*No space left.*\); the one before is"):
        WholeFiles().save_checkpoint({"step": Slow()}, path)
    assert seen == [before]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]
    run(toy_params(), [make_data(windows=4)], tmp_path / "run", max_steps=2)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")[0]["step"] == 2


@pytest.mark.parametrize("content", [b"", b"P", b"PK\x03\x04", b"\x80", b"\x00" * 50, b"x" * 5000])
def test_a_damaged_checkpoint_is_one_line(
    cli: Cli, make_data: Callable[..., Data], tmp_path: Path, content: bytes
) -> None:
    data = make_data(windows=4)
    (tmp_path / "params.json").write_text(json.dumps(toy_params()))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes(content)
    words = options(params=tmp_path / "params.json", data=data.path, out=tmp_path / "run", accelerator="cpu")
    check_error(cli("train", *words, "--resume"), "last.ckpt: cannot be read as a checkpoint")
    bundle = options(checkpoint=tmp_path / "run" / "last.ckpt", targets=data.path / "targets.txt", out=tmp_path / "b")
    check_error(cli("export", "checkpoint", *bundle), "last.ckpt: cannot be read as a checkpoint")
    init = options(params=tmp_path / "params.json", data=data.path, out=tmp_path / "new", accelerator="cpu")
    check_error(cli("train", *init, f"--init={tmp_path / 'run' / 'last.ckpt'}"), "cannot be read as a checkpoint")
