"""What the tests of runs share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import KILLED, Job

from borzoi_rt.bundle.opening import Bundle


@pytest.fixture
def job(tmp_path: Path, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, toy_bundle, monkeypatch)


@pytest.fixture(scope="session")
def ray_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray cluster of two cores on this machine, which tests share: the folder of its notes, see jobs.KillingPlan."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
    notes = tmp_path_factory.mktemp("notes")
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path, "KILL_NOTES": str(notes), "KILL_ONCE": KILLED}},
    )
    yield notes
    ray.shutdown()


@pytest.fixture(params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How two workers are started: arguments of ``run_jobs`` and fields of ``RunSettings``."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return {"workers": 2, "executor": request.param}
