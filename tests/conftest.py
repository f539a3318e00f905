"""Fixtures that more than one test file needs; the real data is read where it lies and never copied."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toys
import triton_servers
from command_line import Cli, caller

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository

if TYPE_CHECKING:
    from borzoi_rt.dataset import Data

SHARED = Path(os.environ.get("BORZOI_RT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The program: words after ``borzoi-rt`` to exit code, stdout and stderr."""
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data, golden outputs and runnable references; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data: {SHARED.name}/ is not beside the checkout (set BORZOI_RT_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def tiny_bundle(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The trained test model of the reference (131,072 bp, 2,048 bins, 74 tracks) as a bundle."""
    from borzoi_export.convert import convert_calico

    source = shared / "data" / "tiny_model"
    return convert_calico(
        source / "model.h5",
        source / "params.json",
        source / "targets.txt",
        tmp_path_factory.mktemp("tiny") / "bundle",
        squash=SquashSpec(kind="new"),
    )


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A Borzoi with random weights that runs in milliseconds (2,048 bp, 32 bins, 6 tracks); needs no reference data."""
    return toys.bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="session")
def gradient_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of ``toy_bundle`` with gradient graphs, in 4,096 bp: two tiles."""
    sizes = toys.config(sequence_length_bp=4096)
    return toys.bundle(tmp_path_factory.mktemp("gradient") / "bundle", sizes, unscale=True, gradient=True)


@pytest.fixture(scope="session")
def inside_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of ``gradient_bundle`` with graphs of activations."""
    sizes = toys.config(sequence_length_bp=4096)
    return toys.bundle(tmp_path_factory.mktemp("inside") / "bundle", sizes, unscale=True, activations=True)


@pytest.fixture(scope="session")
def triton_genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genome of the served scorer."""
    return triton_servers.write_genome(tmp_path_factory.mktemp("genome"))


@pytest.fixture(scope="session")
def triton_repository(toy_bundle: Bundle, triton_genome: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model of the toy bundle as a Triton repository."""
    triton_servers.need_packages()
    out = tmp_path_factory.mktemp("triton") / "models"
    write_repository(toy_bundle, out, fasta=triton_genome, options=triton_servers.OPTIONS)
    return out


@pytest.fixture(scope="session")
def triton_server(triton_repository: Path) -> Iterator[TritonServer]:
    """A running server of it, shared by all tests that do not disturb it."""
    environment = triton_servers.server_environment()
    with TritonServer(triton_repository, environment=environment, client_shm=True) as running:
        yield running


@pytest.fixture
def make_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Data]:
    """Write a small training data directory; see :func:`datasets.write_toy_data`."""
    from datasets import write_toy_data

    def make(**options: Any) -> Data:
        return write_toy_data(tmp_path_factory.mktemp("data") / "made", **options)

    return make


@pytest.fixture(scope="session")
def promoter_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A stage 1 network of 900 bp, 600 bins, TSS at bin 450, four motifs of which three are scored; random weights."""
    from borzoi_export.promoter.bundle import export_promoter
    from promoter_toys import small_model

    return export_promoter(small_model(1), tmp_path_factory.mktemp("promoter") / "net1", name="net1")


@pytest.fixture(scope="session")
def second_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another net of the same shape."""
    import torch
    from borzoi_export.promoter.bundle import export_promoter
    from promoter_toys import small_model

    model = small_model(1)
    with torch.no_grad():
        model.effect.weight.copy_(model.effect.weight.roll(3, dims=1))
    return export_promoter(model, tmp_path_factory.mktemp("promoter") / "net2", name="net2")


@pytest.fixture(scope="session")
def promoter_genome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One contig ``chr1`` of 4,000 random bases, and its text."""
    bases = "".join(np.random.default_rng(8).choice(list("ACGT"), 4000))
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    write_fasta(path, {"chr1": bases})
    return path, bases
