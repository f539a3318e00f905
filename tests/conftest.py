"""Fixtures that more than one test file needs; the real data is read where it lies and never copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("BORZOI_RT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data, golden outputs and runnable references; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data: {SHARED.name}/ is not beside the checkout (set BORZOI_RT_SHARED)")
    return SHARED
