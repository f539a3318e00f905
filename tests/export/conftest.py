"""Fixtures of the export tests."""

from __future__ import annotations

import pytest
from command_line import Cli, caller


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The program: words after ``borzoi-rt`` to exit code, stdout and stderr."""
    return caller(monkeypatch, capsys)
