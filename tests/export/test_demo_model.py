"""The recipe of the demo's bundle, in small: its data are the grammar's coverage, its bundle is a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from borzoi_export.demo_model import MODEL, demo_tracks, make_demo_model, write_sources
from borzoi_export.models.config import BorzoiConfig
from oracles import coverage as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.dataset import open_data
from borzoi_rt.dataset.make import MakeOptions, make_data
from borzoi_rt.demo import grammar
from borzoi_rt.genome.fasta import Fasta


def test_data_are_the_coverage_of_the_grammar(tmp_path: Path) -> None:
    config = BorzoiConfig.from_params(MODEL)
    sources = write_sources(tmp_path, {"train": 3, "valid": 1}, config)
    options = MakeOptions(squash="new", geometry=config.geometry, empty_contigs=True)
    data = make_data(sources, tmp_path / "data", options=options)
    tracks, crop = demo_tracks(), config.geometry.crop_bp
    seen = 0
    with Fasta(tmp_path / "genome.fa") as genome:
        for number, window in enumerate(data.split("train").in_order()):
            signal = grammar.coverage(genome.fetch(f"w{number:05d}", 0, 8192))[:, crop:-crop]
            for track, values in enumerate(signal):
                y = oracle.binned(values, 32, tracks.sum_stat[track])
                numbers = (float(getattr(tracks, name)[track]) for name in ("scale", "clip_soft", "clip"))
                want = oracle.squash(y, "new", tracks.sum_stat[track], *numbers)
                # float16 of the target; float32 of the bigWig below it.
                np.testing.assert_allclose(window.target[track].astype("f8"), want, rtol=6e-4, atol=1e-6)
                seen += int((want > 0.1).sum())
    assert seen > 100
    assert data.info.windows == {"train": 3, "valid": 1, "test": 0}


def test_the_recipe_ends_in_a_bundle(tmp_path: Path) -> None:
    bundle = make_demo_model(tmp_path / "work", tmp_path / "bundle", steps=2, windows=16, valid=2, threads=1)
    assert bundle.tracks.identifier == grammar.TRACKS
    assert bundle.info.provenance["step"] == 2
    assert set(bundle.info.provenance["validation_pearson"]) == set(grammar.TRACKS)
    session = open_session(bundle)
    replay_golden(session, bundle)
    session.close()
    assert open_data(tmp_path / "work" / "data").info.squash == "new"
