"""Call the program inside this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from borzoi_rt.cli import run

Cli = Callable[..., tuple[int, str, str]]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function from the words after ``borzoi-rt`` to exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["borzoi-rt", *map(str, arguments)])
        code = 0
        try:
            run()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


def options(**values: object) -> list[str]:
    """Spell keyword arguments as options; None leaves one out."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def check_error(result: tuple[int, str, str], expected: str) -> None:
    """Exit code 1, nothing on stdout, one line on stderr."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err
