"""What the tests of runs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs import Job

from borzoi_rt.bundle.opening import Bundle


@pytest.fixture
def job(tmp_path: Path, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, toy_bundle, monkeypatch)
