"""Synthetic promoters for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from borzoi_export.promoter.data import PromoterData, load_data, read_tss_table
from promoter_toys import small_config

from borzoi_rt.demo import promoter_grammar as grammar


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of genome.fa, plus.bw, minus.bw and tss.bed with chromosomes c1, c2 and c3."""
    folder = tmp_path_factory.mktemp("synthetic")
    grammar.write_data(folder, seed=3, contigs={"c1": 9000, "c2": 4000, "c3": 4000})
    return folder


@pytest.fixture(scope="package")
def data(files: Path) -> PromoterData:
    """Windows of 400 bp, 240 bins."""
    names = {"fasta": "genome.fa", "plus": "plus.bw", "minus": "minus.bw"}
    config = small_config(1, sequence_length_bp=400, crop_bp=80, tss_bp=240)
    sites = read_tss_table(files / "tss.bed")
    return load_data(config, sites, **{key: files / name for key, name in names.items()})
