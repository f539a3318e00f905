"""The genome of the promoter tests under a short name."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def genome(promoter_genome: tuple[Path, str]) -> tuple[Path, str]:
    return promoter_genome
