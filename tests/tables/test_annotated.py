"""Results as AnnData: what it is made of, with a stand-in where the library is not installed, and with the library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.testing import assert_array_equal

from borzoi_rt import open_model
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError
from borzoi_rt.results import ScoreResult
from borzoi_rt.scoring.options import ScoreOptions

TEXT = worlds.random_dna(5000, seed=14)


@pytest.fixture(scope="module")
def found(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> ScoreResult:
    folder = tmp_path_factory.mktemp("world")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
    (folder / "toy.gtf").write_text('chr1\tx\texon\t2401\t2600\t.\t+\t.\tgene_id "G"; gene_name "NAME";\n')
    variants = [f"chr1:{pos}:{TEXT[pos - 1]}:{'ACGT'[('ACGT'.index(TEXT[pos - 1]) + 1) % 4]}" for pos in (2500, 4500)]
    options = ScoreOptions.for_family("hound", stats=("SUM", "logSED@exons"), with_alleles=True)
    with open_model(toy_bundle, fasta=fasta) as model:
        return model.score([*variants, "chr1:2500:AAAAAAAA:C"], options=options, genes=folder / "toy.gtf")


def check(made: Any, found: ScoreResult) -> None:
    """Rows of the wide table, a layer for each score, what is missing NaN."""
    wide = found.to_pandas("wide")
    assert made.X.shape == (3, 4)
    assert list(made.var.index) == list(found.tracks.labels)
    assert list(made.var["track_id"]) == list(found.tracks.identifier)
    assert list(made.obs["pos"]) == [2500, 4500, 2500]
    assert list(made.obs["gene"]) == ["G", ".", ""]
    assert list(made.obs["status"]) == ["ok", "ok", "ref_mismatch"]
    assert set(made.layers) == {
        "SUM",
        "logSED@exons",
        *(f"{side}_value@{region}" for side in ("ref", "alt") for region in ("window", "exons")),
    }
    for name in made.layers:
        for number, label in enumerate(found.tracks.labels):
            assert_array_equal(made.layers[name][:, number], wide[f"{name}|{label}"].to_numpy(dtype=np.float32))
    assert_array_equal(made.X, made.layers["SUM"])
    assert np.isnan(made.layers["logSED@exons"][1:]).all()
    assert made.uns["scores"] == ["SUM", "logSED@exons"]


def test_what_it_is_made_of(found: ScoreResult, monkeypatch: pytest.MonkeyPatch) -> None:
    class AnnData:
        def __init__(self, **parts: Any) -> None:
            self.__dict__.update(parts)

    stand_in = ModuleType("anndata")
    stand_in.AnnData = AnnData  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "anndata", stand_in)
    check(found.to_anndata(), found)


def test_it_can_be_written_and_read(found: ScoreResult, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    made = found.to_anndata()
    check(made, found)
    made.write_h5ad(tmp_path / "out.h5ad")
    again = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert_array_equal(again.layers["SUM"], made.layers["SUM"])
    assert list(again.obs["gene"]) == ["G", ".", ""]


def test_the_library_is_named_where_it_is_missing(found: ScoreResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(
        BackendError, match=r"anndata is not installed; pip install 'borzoi-rt\[anndata\]', or use to_arrow"
    ):
        found.to_anndata()
