"""Making a bundle: what the manifest says, what the parity gate refuses, and what is left behind (nothing)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from oracles import borzoi as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.errors import FormatError, InputError, ParityError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.graphs import emitter, export_bundle, layers  # noqa: E402
from borzoi_export.graphs.builder import GraphBuilder, WeightsFile  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig  # noqa: E402


def write(model: Borzoi, out: Path, **options: Any) -> Bundle:
    options = {"tracks": toys.tracks(), "squash": SquashSpec(kind="old", unscale=True), "name": "toy", **options}
    return export_bundle(model, out=out, **options)


@pytest.fixture
def model() -> Borzoi:
    torch.manual_seed(29)
    return toys.model()


def test_manifest(tmp_path: Path, model: Borzoi) -> None:
    model.train()
    bundle = write(model, tmp_path / "deep" / "b", n_policy="uniform", provenance={"source": "test"})
    info = open_bundle(tmp_path / "deep" / "b").info
    assert info.geometry == model.config.geometry
    assert info.squash == SquashSpec(kind="old", unscale=True)
    assert (info.name, info.head, info.n_policy, info.precision, info.opset) == (
        "toy",
        "head_toy",
        "uniform",
        "fp32",
        20,
    )
    architecture = dict(info.architecture)
    assert architecture.pop("family") == "borzoi"
    assert BorzoiConfig.from_dict(architecture) == model.config
    assert info.provenance == {"torch": torch.__version__, "source": "test"}
    assert set(info.parity) == {"noise", "golden_noise", "magnifies_rounding", "checks", "convolution"}
    assert set(info.parity["checks"]) == {"whole pass, N as 0", "whole pass, N as 0.25", "split graphs"}
    assert bundle.tracks.identifier == toys.tracks().identifier


def test_golden_example(tmp_path: Path, model: Borzoi) -> None:
    bundle = write(model, tmp_path / "b")
    golden = bundle.golden()
    known = golden["sequence"].sum(axis=1)
    assert set(np.unique(known)) == {0, 1}  # there are unknown bases in it, 2 % of the window
    assert int((known == 0).sum()) == 2048 // 50
    assert golden["sequence"].dtype == np.uint8
    session = open_session(bundle, "onnx:cpu", threads=1)
    try:
        found = replay_golden(session, bundle)
    finally:
        session.close()
    assert found.rms <= 2 * bundle.info.parity["golden_noise"]["rms"]
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    sizes = {name: getattr(model.config, name) for name in ("heads", "widths_of", "depth", "unets")}
    embedding = oracle.embedding(
        weights, golden["sequence"][0].astype(np.float64), **sizes, crop=model.config.crop_bins
    )
    want = oracle.softplus(weights["head.weight"] @ embedding + weights["head.bias"][:, None])
    np.testing.assert_allclose(
        golden["coverage"][0], want[golden["track_index"]], rtol=6e-8
    )  # float64, stored as float32


def wrong_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pytest.MonkeyPatch], None]:
    """Sabotage: one tensor is written to the weights file with other values."""
    add = WeightsFile.add

    def sabotage(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            WeightsFile, "add", lambda self, key, values: add(self, key, change(values) if key == name else values)
        )

    return sabotage


def wrong_nodes(kind: str, **changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Sabotage: nodes of a kind get another attribute."""
    node = GraphBuilder.node

    def replaced(self: GraphBuilder, given: str, *inputs: str, **attributes: Any) -> str:
        return node(self, given, *inputs, **({**attributes, **changes} if given == kind else attributes))

    return lambda monkeypatch: monkeypatch.setattr(GraphBuilder, "node", replaced)


# Each is a mistake that exporters and ports have made; the gate has to see them at the tolerance of rounding.
SABOTAGES = {
    "erf GELU": wrong_nodes("Gelu", approximate="none"),
    "epsilon of batch normalisation": lambda patch: patch.setattr(layers, "BATCH_NORM_EPS", 1e-5),
    "epsilon of layer normalisation": lambda patch: patch.setattr(emitter, "LAYER_NORM_EPS", 1e-5),
    "distances of the other sign": wrong_weight("position_classes", lambda values: values[::-1]),
    "one weight off by 1 %": wrong_weight("tower.2.conv", lambda values: values * np.float32(1.01)),
    "a bias left out": wrong_weight("unet.1.pointwise.bias", np.zeros_like),
    "tracks shifted by one": wrong_weight("head.weight", lambda values: np.roll(values, 1, axis=0)),
    "query scaled twice": wrong_weight("transformer.1.attention.query.weight", lambda values: values * np.float32(0.5)),
    "a NaN": wrong_weight("head.bias", lambda values: values * np.float32(np.nan)),
}


@pytest.mark.parametrize("sabotage", SABOTAGES.values(), ids=SABOTAGES)
def test_a_wrong_graph_is_refused(
    tmp_path: Path, model: Borzoi, monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None]
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(ParityError, match="no bundle was written") as caught:
        write(model, tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path: Path, model: Borzoi, value: float) -> None:
    with torch.no_grad():
        model.tower[3].norm.running_var[2] = value
    with pytest.raises(FormatError, match=r"parameter 'tower.3.norm.running_var': 1 values are NaN or infinite"):
        write(model, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_outputs_that_are_not_finite(tmp_path: Path, model: Borzoi) -> None:
    with torch.no_grad():
        model.stem.weight.fill_(3e38)  # each finite, their sums not
    with pytest.raises(ParityError, match="PyTorch gives NaN or infinite values"):
        write(model, tmp_path / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 1, 2, 3, 4], "the track table has 5 rows, the head 6 outputs"),
        ([0, 1, 2, 3, 4, 5, 5], "the track table has 7 rows"),
        ([0, 1, 3, 2, 4, 5], "row 2 of the track table is output 3 by its index; .* sort the table"),
    ],
)
def test_tables_of_another_model(tmp_path: Path, model: Borzoi, rows: list[int], expected: str) -> None:
    with pytest.raises(FormatError, match=expected):
        write(model, tmp_path / "b", tracks=toys.tracks().take(rows))
    assert not list(tmp_path.iterdir())


def test_what_exists_is_replaced_only_on_demand(tmp_path: Path, model: Borzoi, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "b"
    first = write(model, out)
    torch.manual_seed(31)
    other = toys.model()
    with pytest.raises(InputError, match=re.escape(f"{out}: exists; choose another name, or pass overwrite")):
        write(other, out)
    with monkeypatch.context() as patch:
        SABOTAGES["a bias left out"](patch)
        with pytest.raises(ParityError):
            write(other, out, overwrite=True)
    assert open_bundle(out).sha256 == first.sha256  # every file still verifies
    assert write(other, out, overwrite=True).sha256 != first.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_directory_of_something_else_is_never_replaced(tmp_path: Path, model: Borzoi) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not a bundle"):
        write(model, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
