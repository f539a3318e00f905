"""A real Triton server for tests, or a reason why there is none."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import worlds

from borzoi_rt.errors import BackendError
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.serving.local.environment import VARIABLE, ServerEnvironment, find_environment


@cache
def _found() -> ServerEnvironment | str:
    try:
        return find_environment()
    except BackendError as error:
        return str(error)


def server_environment() -> ServerEnvironment:
    """Return where the server is installed; the test is skipped where it is not, unless it is required.

    ``BORZOI_RT_TRITON`` names the environment; ``BORZOI_RT_TRITON_REQUIRED=1`` turns the skip into a failure.
    """
    need_packages()
    found = _found()
    if isinstance(found, str):
        _give_up(found)
    return found


def need_packages() -> None:
    """Skip or fail, as above, where the client's packages are missing."""
    for package in ("tritonclient.grpc", "tritonclient.http", "onnx"):
        try:
            import_module(package)
        except ImportError:
            _give_up(f"{package} is not installed: pip install 'borzoi-rt[triton]'")


def _give_up(reason: str) -> NoReturn:
    (pytest.fail if os.environ.get(f"{VARIABLE}_REQUIRED") else pytest.skip)(reason)


OPTIONS = ScoreOptions(stats=("SUM", "logSED", "D2"))


def write_genome(folder: Path) -> Path:
    """Write a genome of two contigs."""
    contigs = {"chr1": worlds.random_dna(12_000, seed=5), "chr2": worlds.random_dna(3_000, seed=6)}
    return worlds.write_fasta(folder / "g.fa", contigs)


def windows(count: int, *, length: int = 2048, seed: int = 0) -> np.ndarray:
    """Return random one-hot windows, a few bases of each unknown."""
    random = np.random.default_rng(seed)
    values = np.eye(4, dtype=np.uint8)[random.integers(0, 4, (count, length))].transpose(0, 2, 1)
    values[:, :, random.integers(0, length, 5)] = 0
    return np.ascontiguousarray(values)


def version_folder(model: Path) -> Path:
    """Return the folder of the one version of a model."""
    (found,) = (path for path in model.iterdir() if path.name.isdecimal())
    return found
