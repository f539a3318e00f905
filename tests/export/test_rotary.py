"""Rotary positions: sizes, the table of angles, and graphs that compute what the network does."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from oracles import borzoi as oracle
from oracles import dna, squash
from toys import exact, windows

from borzoi_rt.backends.gradient import open_gradient
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine.gradient import GradientSession
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import FormatError, InputError, ParityError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")
onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")

from borzoi_export.graphs import export_bundle, gradient_rotary, rotary, split  # noqa: E402
from borzoi_export.graphs.unproven import write_unproven  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig  # noqa: E402
from borzoi_export.models.rotary import RotaryAttention, rotary_table  # noqa: E402
from borzoi_export.training.attention import set_attention  # noqa: E402

ROTARY = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rotary_size": 10}, "turn 10 channels of a head, which has 8"),
        ({"rotary_size": 3}, "turn 3 channels of a head, which has 8; an even number"),
        ({"rotary_size": -2}, "rotary_size is -2"),
        ({"key_heads": 0}, "4 heads cannot share 0 heads"),
        ({"key_heads": 3}, "4 heads cannot share 3 heads"),
        ({"widths_of": 16}, "position_features and widths_of must be 0"),
        ({"key_size": 4}, "4 heads of 4 channels; rotary attention of 32 channels shares all of them out"),
        ({"rotary_size": 0, "position_features": 8, "widths_of": 16}, "key_heads is 2; only rotary positions"),
    ],
)
def test_sizes_that_contradict(changes: dict[str, int], expected: str) -> None:
    with pytest.raises(FormatError, match=re.escape(expected)):
        toys.config(**{**ROTARY, **changes})


def test_config_as_json() -> None:
    """Of rotary positions networks without any say nothing, so that their bundles are as they were."""
    turned, relative = toys.config(**ROTARY), toys.config()
    assert BorzoiConfig.from_dict(turned.to_dict()) == turned
    assert BorzoiConfig.from_dict(relative.to_dict()) == relative
    assert not {"rotary_size", "key_heads"} & set(relative.to_dict())
    assert turned.to_dict()["key_heads"] == 2


def test_table_of_angles() -> None:
    cosine, sine = rotary_table(4096, 128)
    assert cosine.shape == sine.shape == (4096, 64)
    assert cosine.dtype == sine.dtype == np.float32
    assert_allclose(cosine.astype("f8") ** 2 + sine.astype("f8") ** 2, 1.0, rtol=2e-7)
    angles = np.arange(4096)[:, None] * 20000.0 ** (-np.arange(64) / 64)
    assert_allclose(cosine, np.cos(angles), atol=4096 * 2.0**-24)  # half a unit of float32 in a frequency


@pytest.mark.parametrize(("tokens", "size", "head"), [(7, 4, 8), (40, 8, 8), (129, 128, 192)])
def test_turning_matches_the_oracle(tokens: int, size: int, head: int) -> None:
    x = np.random.default_rng(1).normal(size=(head, tokens))
    sizes = {"sequence_length_bp": 128 * tokens, "crop_bins": 0, "tower_widths": (4, 4, 4, 4, 4, 2 * head)}
    config = toys.config(**{**ROTARY, **sizes, "heads": 2, "key_heads": 1, "key_size": head, "rotary_size": size})
    module = RotaryAttention(config, 2 * head).double()
    found = module.turned(torch.from_numpy(x.T[None, None]))[0, 0].numpy().T
    assert_allclose(found, oracle.turned(x, size), rtol=1e-6, atol=1e-6)  # the table is float32
    assert_allclose(np.linalg.norm(found, axis=0), np.linalg.norm(x, axis=0), rtol=1e-6)
    assert np.array_equal(found[size:], x[size:])
    assert np.array_equal(found[:, 0], x[:, 0])


def test_only_the_distance_counts() -> None:
    """The same query and key, moved together, have the same product."""
    query, key = np.random.default_rng(2).normal(size=(2, 8, 1))
    queries, keys = (oracle.turned(np.repeat(x, 50, axis=1), 8) for x in (query, key))
    products = queries.T @ keys
    for distance in (-20, -1, 0, 3, 40):
        assert np.ptp(np.diagonal(products, distance)) < 1e-5
    assert abs(products[0, 5] - products[5, 0]) > 1e-3  # to the left is not to the right


def test_gradients_reach_every_weight() -> None:
    """Python users may train it: nothing is cut off."""
    torch.manual_seed(3)
    model = toys.model(toys.config(**ROTARY))
    model(torch.rand(1, 4, 2048)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_other_forms_of_training() -> None:
    model = toys.model(toys.config(**ROTARY))
    set_attention(model, "plain")
    with pytest.raises(InputError, match="attention 'sdpa' is for relative positions"):
        set_attention(model, "sdpa")


VARIANTS: dict[str, dict[str, Any]] = {
    "flashzoi": {"tail_filters": 24, "crop_bins": 15},
    "prime": {"unets": 3, "crop_bins": 41},
    "one key head, all channels turned": {"key_heads": 1, "rotary_size": 8},
    "no shared heads": {"heads": 2, "key_heads": 2, "key_size": 16, "rotary_size": 2, "crop_bins": 31},
}
SQUASH = SquashSpec(kind="new")


def toy(**changes: Any) -> Borzoi:
    torch.manual_seed(17)
    return toys.model(toys.config(**{**ROTARY, **changes}))


@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_graphs_equal_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], target: str
) -> None:
    """The whole pass, tiles, and bodies wherever they are moved; queries in several chunks."""
    monkeypatch.setattr(split, "OWN_TOKENS", 3)
    monkeypatch.setattr(split, "MOVING_BINS", (8, 16))
    monkeypatch.setattr(rotary, "QUERY_CHUNK", 3)
    model, x = toy(**changes), windows()
    bundle = write_unproven(model, toys.tracks(), tmp_path / "b", squash=SQUASH, target=target)
    for name in bundle.info.graphs:
        onnx.checker.check_model(str(bundle.graph_path(name)))
    whole, parts = open_session(bundle), open_engine(bundle)
    for batch, n_fill in ((2, 0.0), (1, 0.25)):
        want = exact(model, x[:batch], n_fill)
        for session in (whole, parts):
            assert_allclose(session.run(x[:batch], n_fill=n_fill), want, rtol=3e-5, atol=3e-6)
        bins = want.shape[-1]
        for first in range(0, bins, max(1, bins // 8)):
            last = min(first + 6, bins)
            found = parts.run(x[:batch], n_fill=n_fill, bins=(first, last))
            assert_allclose(found, want[..., first:last], rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_export(tmp_path: Path, target: str, precision: str) -> None:
    bundle = export_bundle(
        toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", target=target, precision=precision
    )
    again = open_bundle(bundle.path).info
    assert (again.target, again.precision, again.architecture["rotary_size"]) == (target, precision, 4)
    assert len(again.parity["checks"]) == 3
    kinds = Counter(node.op_type for node in onnx.load(bundle.graph_path(), load_external_data=False).graph.node)
    assert kinds["GatherElements"] == 0
    assert kinds["Softmax"] == (2 if target == "gpu" else 2 * 4)  # of a block, or of each head


def test_queries_that_nobody_reads_are_left_out(tmp_path: Path) -> None:
    """The last block turns and attends from the tokens of the crop alone, from all tokens to all keys."""
    model = toy(sequence_length_bp=256 * 128, crop_bins=480)
    bundle = write_unproven(model, toys.tracks(), tmp_path / "b", squash=SQUASH, target="cpu")
    inferred = onnx.shape_inference.infer_shapes(
        onnx.load(bundle.graph_path(), load_external_data=True), data_prop=True
    )
    shapes = {item.name: [d.dim_value for d in item.type.tensor_type.shape.dim] for item in inferred.graph.value_info}
    softmax = [shapes[node.output[0]] for node in inferred.graph.node if node.op_type == "Softmax"]
    assert {tuple(shape[2:]) for shape in softmax} == {(256, 256), (18, 256)}
    assert len(softmax) == 2 * model.config.heads


SABOTAGES = {
    "turned the other way": ("sine", lambda values: -values),
    "one token late": ("cosine", lambda values: np.roll(values, 1, axis=0)),
    "pairs side by side": ("sine", lambda values: np.repeat(values[:, ::2], 2, axis=1)),
}


@pytest.mark.parametrize(("table", "change"), SABOTAGES.values(), ids=SABOTAGES)
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_gate_sees_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, table: str, change: Any
) -> None:
    write = rotary.Turning.factors

    def wrong(self: Any, attention: Any, span: Any) -> Any:
        other = copy.copy(attention)
        other._buffers = {**attention._buffers, table: torch.from_numpy(change(getattr(attention, table).numpy()))}
        return write(self, other, span)

    monkeypatch.setattr(rotary.Turning, "factors", wrong)
    with pytest.raises(ParityError):
        export_bundle(toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", target=target)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_gate_sees_which_keys_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Query heads 0 and 1 share the first keys, not 0 and 2."""
    model = toy()
    right = rotary.projections

    def wrong(attention: Any) -> Any:
        for name, matrix, bias in right(attention):
            order = np.arange(32).reshape(4, 8)[[0, 2, 1, 3]].ravel() if name == "query" else slice(None)
            yield name, matrix[:, order], bias[order]

    monkeypatch.setattr(rotary, "projections", wrong)
    with pytest.raises(ParityError):
        export_bundle(model, toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", target=target)


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("rotary") / "b"
    return export_bundle(toy(), toys.tracks(), out, squash=SQUASH, name="toy", target=request.param)


def test_scores(bundle: Bundle, tmp_path: Path) -> None:
    """A variant scores by tiles what the network in float64 says; a null variant exactly 0."""
    bases = "".join("ACGT"[letter] for letter in np.random.default_rng(8).integers(0, 4, 6000))
    (tmp_path / "g.fa").write_text(f">c\n{bases}\n")
    (tmp_path / "g.fa.fai").write_text("c\t6000\t3\t6000\t6001\n")
    ref = bases[2999]
    alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
    variants = [Variant("c", 3000, ref, alt), Variant("c", 3000, ref, ref)]
    options = ScoreOptions(stats=("SUM",), merge_strands=False)
    with Fasta(tmp_path / "g.fa") as genome:
        scored, null = score_variants(variants, bundle=bundle, fasta=genome, options=options)
    assert scored.scores is not None
    assert null.scores is not None
    assert not null.scores["SUM"].any()
    first = 3000 - 1024  # the window of a variant has its base at L / 2 - 1
    texts = [dna.replaced(bases, 2999, ref, allele)[first : first + 2048] for allele in (ref, alt)]
    tracks = toys.tracks()
    sums = np.array(
        [
            [
                squash.inverse(
                    "new", row, scale=tracks.scale[track], clip_soft=tracks.clip_soft[track], sum_stat=stat
                ).sum()
                for track, (row, stat) in enumerate(zip(coverage, tracks.sum_stat, strict=True))
            ]
            for coverage in exact(toy(), np.stack([dna.onehot(text) for text in texts]), 0.0)
        ]
    )
    want = sums[1] - sums[0]
    assert np.abs(want).min() > 1e-4
    assert_allclose(scored.scores["SUM"], want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


@pytest.mark.parametrize("changes", [{}, {"key_heads": 1, "rotary_size": 8}, {"key_heads": 4, "unets": 3}])
def test_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    """The gate passes, and the graphs give the derivatives of the whole network at once in float64."""
    monkeypatch.setattr(gradient_rotary, "QUERY_CHUNK", 20)
    model = toy(sequence_length_bp=8192, crop_bins=72, **changes)
    written = export_bundle(model, toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", gradient=True)
    figures = written.info.parity
    assert 0 < figures["gradient"]["error"] <= figures["gradient_allowed"]["error"]
    generator = np.random.default_rng(1)
    bases = np.eye(4, dtype=np.float32)[generator.integers(0, 4, 8192)].T
    tracks, bins = np.array([4, 0, 3]), model.config.bins
    cotangent = generator.normal(size=(3, bins))
    session = GradientSession(open_gradient(written))
    found = session.pullback(bases, tracks, cotangent, bins=(0, bins), bases=(0, 8192))
    session.close()
    leaf = torch.from_numpy(bases[None].astype(np.float64)).requires_grad_()
    exact_model = copy.deepcopy(model).double()
    coverage = exact_model(leaf)[0, tracks]
    (coverage * torch.from_numpy(cotangent)).sum().backward()
    want = leaf.grad[0].numpy()
    assert np.quantile(np.abs(found - want), 0.9) < 2e-5 * np.abs(want).max()
    assert np.corrcoef(found.ravel(), want.ravel())[0, 1] > 0.9999


def test_the_gate_sees_a_wrong_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn has another way back than itself."""

    def forth(self: Any, g: str, attention: Any, span: Any) -> str:
        return self._turning.write(self.graph.node("Transpose", g, perm=[0, 2, 1, 3]), attention, span)

    monkeypatch.setattr(gradient_rotary.RotaryGradient, "_unturned", forth)
    with pytest.raises(ParityError, match="gradient graphs"):
        export_bundle(toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", gradient=True)
