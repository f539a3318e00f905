"""Eight clients, killed servers and clients, a full cache, a slow and a full disk: no wrong answer and nothing left.

Over a minute by default; `make soak MINUTES=60` takes an hour.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from triton_servers import OPTIONS, server_environment

from borzoi_rt.bundle.opening import Bundle
from soak.client import KINDS
from soak.driver import soak

MINUTES = float(os.environ.get("BORZOI_RT_SOAK_MINUTES", "1.3"))


@pytest.mark.full
@pytest.mark.timeout(0)
def test_mixed_load_while_servers_and_clients_are_killed(
    triton_repository: Path, toy_bundle: Bundle, triton_genome: Path
) -> None:
    report = soak(
        triton_repository,
        toy_bundle,
        triton_genome,
        OPTIONS,
        environment=server_environment(),
        minutes=MINUTES,
        say=lambda text: sys.stderr.write(f"{text}\n"),
    )
    sys.stderr.write(f"{report}\n")
    assert report.servers_killed > 0
    assert report.clients_killed > 0
    assert min(report.answers[kind] for kind in KINDS) > 0
    assert (report.wrong, report.errors) == (0, 0)
    assert report.clients_ended == []
    assert report.processes == []
    assert report.shared_memory == []
    for name, (before, after) in report.memory.items():
        assert 0 < after < 1.05 * before + 20, name
