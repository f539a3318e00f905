"""A small promoter bundle and a genome for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from promoter_toys import small_model

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.fasta import write_fasta


@pytest.fixture(scope="session")
def promoter_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A stage 1 network of 900 bp, 600 bins, TSS at bin 450, four motifs of which three are scored; random weights."""
    from borzoi_export.promoter.bundle import export_promoter

    return export_promoter(small_model(1), tmp_path_factory.mktemp("promoter") / "net1", name="net1")


@pytest.fixture(scope="session")
def second_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another net of the same shape."""
    import torch
    from borzoi_export.promoter.bundle import export_promoter

    model = small_model(1)
    with torch.no_grad():
        model.effect.weight.copy_(model.effect.weight.roll(3, dims=1))
    return export_promoter(model, tmp_path_factory.mktemp("promoter") / "net2", name="net2")


@pytest.fixture(scope="session")
def genome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One contig ``chr1`` of 4,000 random bases, and its text."""
    bases = "".join(np.random.default_rng(8).choice(list("ACGT"), 4000))
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    write_fasta(path, {"chr1": bases})
    return path, bases
