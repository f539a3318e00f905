"""Bundles that earlier releases wrote stay readable, and give what they gave.

``tests/data/bundles`` holds bundles of one small network (2,048 bp, 32 bins, 6 tracks, random weights), each as the
exporter of its time wrote it: (1) whole passes alone, (2) tiles with channels before
positions, and the retired keys ``averaging`` and ``positional_widths``, from before the first release: its tiles are
refused, its whole passes are not; (3) half precision, from before the noise was measured; (4) with the noise and the
graph of sums.
A release that changes the format adds the bundle of the one before it, and changes none of these.
"""

from __future__ import annotations

import json
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from attacks import hostile

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.bundle.manifest import FORMAT_VERSION
from borzoi_rt.bundle.opening import STATISTICS, Bundle, open_bundle
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.errors import FormatError

STORED = sorted((Path(__file__).parents[1] / "data" / "bundles").glob("*.zip"))
IDENTITIES = {
    "1-whole-passes": "58b051031a6ae4609dc9f76def7011fe3dbd29e1e69bd36cf59bb65605fdbcb5",
    "2-tiles": "bb09c929d06d0f0dc2ac427a6cabea764b0e7318532b1d036c3bcdddfee285ea",
    "3-half-precision": "2a157aadc3c1f4a37ce48dd292537f1b50bf3a17a75f3300c7ed5672c9c18cfb",
    "4-noise": "fba3069338bfd2f311677c41d50c795663d321953487fcbe83d9aabab292395a",
}


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path / request.param.stem)
    return open_bundle(tmp_path / request.param.stem)


def test_an_earlier_bundle_gives_what_it_gave(stored: Bundle) -> None:
    """Its golden example, whole and by tiles; and whatever depends on its identity stays valid."""
    assert stored.sha256 == IDENTITIES[stored.path.name]
    with closing(open_session(stored, check=False)) as session:
        assert replay_golden(session, stored).passed
    assert (stored.info.tiling is None) == (stored.path.name == "1-whole-passes")
    if stored.path.name == "2-tiles":
        with closing(open_engine(stored)) as engine, pytest.raises(FormatError, match=r"or run whole passes \(full\)"):
            replay_golden(engine, stored)
    elif stored.info.tiling is not None:
        with closing(open_engine(stored)) as engine:
            assert replay_golden(engine, stored, split=True).passed


def test_all_of_them_are_here() -> None:
    assert [path.stem for path in STORED] == list(IDENTITIES)


def test_they_are_opened_by_whatever_their_graphs_allow(stored: Bundle) -> None:
    fused = EngineOptions(fused=True)
    if STATISTICS in stored.info.graphs:
        with closing(open_engine(stored, options=fused)) as engine:
            assert np.isfinite(engine.run(stored.golden()["sequence"])).all()
    else:
        with pytest.raises(ValueError, match=r"leave out|export the model again"):
            open_engine(stored, options=fused)


def test_what_is_read_is_written_again_in_todays_form(stored: Bundle) -> None:
    """The retired keys go, nothing else does."""
    before = json.loads((stored.path / "bundle.json").read_text())
    after = json.loads(json.dumps(stored.info.to_json()))
    assert set(before) - set(after) <= {"files", "averaging", "positional_widths"}
    assert {key: before[key] for key in set(before) & set(after)} == {
        key: after[key] for key in set(before) & set(after)
    }


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", True, 1.0, None])
def test_another_version_is_refused_by_name(tmp_path: Path, version: object) -> None:
    bundle = hostile.copy_bundle("bundle", tmp_path / "b")
    hostile.write_manifest(bundle, hostile.read_manifest(bundle) | {"format_version": version})
    with pytest.raises(FormatError, match=r"version .*; this release reads 'borzoi-rt-bundle' version 1"):
        open_bundle(bundle)
