"""What reaches stderr: warnings of the library, a line each; with -v, anywhere, steps and tracebacks."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.errors import FormatError

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the opening of a bundle say much."""

    def opening(*arguments: Any, **named: Any) -> Any:
        log = logging.getLogger("borzoi_rt.bundle.opening")
        try:
            raise ValueError("inner")
        except ValueError:
            log.warning("two\nlines %d", 7, exc_info=True)
        log.info("a step")
        log.debug("a detail")
        logging.getLogger("borzoi_export.training").error("no GPU")
        logging.getLogger("pyarrow").error("of another library")
        warnings.warn("a warning of NumPy", RuntimeWarning, stacklevel=1)
        return open_bundle(*arguments, **named)

    monkeypatch.setattr("borzoi_rt.cli.bundle.open_bundle", opening)


@pytest.mark.usefixtures("talkative")
@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_the_library_s_warnings_are_lines_and_nothing_else_prints(cli: Cli, desk: Desk) -> None:
    ended = cli("bundle", "show", "--json", desk.bundle)
    assert (ended.code, ended.err) == (0, "warning: two lines 7\nerror: no GPU\n")


@pytest.mark.usefixtures("talkative")
@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize("flag", ["-v", "--verbose"])
@pytest.mark.parametrize("position", range(4))
def test_verbose_anywhere_shows_steps(cli: Cli, desk: Desk, position: int, flag: str) -> None:
    words: list[object] = ["bundle", "show", desk.bundle]
    words.insert(position, flag)
    ended = cli(*words)
    assert ended.code == 0
    lines = ended.err.splitlines()
    assert lines[:4] == ["warning: two lines 7", "info: a step", "error: no GPU", "error: of another library"]
    assert re.fullmatch(r"warning: .*a warning of NumPy.*", lines[4])
    assert "a detail" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("position", [0, 1, 2, -1])
def test_verbose_anywhere_shows_the_traceback(cli: Cli, desk: Desk, position: int) -> None:
    desk.vcf.unlink()
    words = desk.score()
    words.insert(position if position >= 0 else len(words), "-v")
    ended = cli(*words)
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert re.fullmatch(r"error: .*in\.vcf: no such VCF file", ended.err.splitlines()[-1])
    assert "Traceback" not in cli(*desk.score()).err


def test_a_value_is_no_flag(cli: Cli, desk: Desk) -> None:
    desk.vcf.unlink()
    ended = cli(*desk.score("--tracks", "-v"))
    assert "Traceback" not in ended.err


def test_logging_is_as_before_afterwards(cli: Cli) -> None:
    root, ours, shown = logging.getLogger(), logging.getLogger("borzoi_rt"), warnings.showwarning
    before = list(root.handlers), ours.level
    assert cli("scores").code == 0
    assert (list(root.handlers), ours.level) == before
    assert warnings.showwarning is shown


def test_the_cause_of_an_error_is_in_the_traceback_alone(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FormatError("ours") from ValueError("theirs")

    monkeypatch.setattr("borzoi_rt.cli.bundle.open_bundle", fail)
    assert cli("bundle", "show", desk.bundle).err == "error: ours\n"
    assert "theirs" in cli("bundle", "show", desk.bundle, "-v").err
