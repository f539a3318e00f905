"""The sums of a bundle are proven like its coverage: a graph that makes others is found."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from attacks import hostile
from click.testing import CliRunner

from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.cli import main
from borzoi_rt.engine.replay import replay_sums
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.engine.summing import SummingSession
from borzoi_rt.errors import ParityError

onnx = pytest.importorskip("onnx")


def replayed(bundle: Bundle) -> float:
    golden = bundle.golden()
    with closing(cast("SummingSession", open_engine(bundle, options=EngineOptions(fused=True)))) as session:
        return replay_sums(session, bundle, golden["sequence"], golden["track_index"])


def test_the_packaged_bundle_has_the_sums_of_its_coverage() -> None:
    assert 0.0 <= replayed(open_bundle(hostile.PACKAGED / "bundle")) < 1e-6


def spoil(graph: Any, kind: str) -> None:
    """Change one operator of the graph, as a faulty exporter would."""
    if kind == "no root":
        node = next(node for node in graph.node if node.op_type == "Sqrt")
        node.op_type = "Abs"
    elif kind == "another extreme":
        node = next(node for node in graph.node if node.op_type == "ArgMax")
        (size,) = (item for item in graph.node if node.input[0] in item.output)
        assert size.op_type == "Abs"
        node.input[0] = size.input[0]  # the largest, not the one of the largest size
    else:  # the squares are those of one allele with itself
        node = [item for item in graph.node if item.op_type == "Mul" and item.input[0] == item.input[1]][-1]
        node.op_type = "Sub"


@pytest.mark.parametrize("kind", ["no root", "another extreme", "no squares"])
def test_a_graph_that_makes_other_sums_is_found(tmp_path: Path, kind: str) -> None:
    folder = hostile.copy_bundle("bundle", tmp_path / "b")
    model = onnx.load(str(folder / "statistics.onnx"), load_external_data=False)
    spoil(model.graph, kind)
    (folder / "statistics.onnx").write_bytes(model.SerializeToString())
    hostile.write_manifest(folder, hostile.read_manifest(folder))
    with pytest.raises(ParityError, match=r"gives sums \(\w+\) that are not those of its coverage, off by"):
        replayed(open_bundle(folder))
    done = CliRunner().invoke(main, ["bundle", "verify", str(folder)])
    assert done.exit_code != 0


def test_nan_is_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = SummingSession.sums

    def spoilt(*values: Any) -> Any:
        found = sums(*values)
        found.square[1, 0] = np.nan
        return found

    monkeypatch.setattr(SummingSession, "sums", spoilt)
    with pytest.raises(ParityError, match=r"gives sums \(square\)"):
        replayed(open_bundle(hostile.PACKAGED / "bundle"))
