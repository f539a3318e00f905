"""Graphs written for GPUs compute what the network does, in every graph of a bundle, and hold what GPUs are good at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from toys import exact, run, windows

from borzoi_rt.backends.onnx import open_parts
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.errors import FormatError, InputError, ParityError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")
onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")

from borzoi_export.convert import convert_calico  # noqa: E402
from borzoi_export.graphs import attention_gpu, export_bundle, split  # noqa: E402
from borzoi_export.graphs.form import GPU_CONVOLUTION  # noqa: E402
from borzoi_export.graphs.unproven import write_unproven  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402

VARIANTS: dict[str, dict[str, Any]] = {
    "toy": {},
    "borzoi": {"tail_filters": 24, "crop_bins": 15},
    "prime": {"unets": 3, "crop_bins": 41},
    "mini": {"upsample_conv": False, "crop_bins": 0, "heads": 4},
    "one bin pair": {"crop_bins": 31, "unet_width": 5},
    "wide kernels": {"unets": 1, "crop_bins": 1, "unet_width": 7, "tower_width": 7, "stem_width": 15},
    "narrow kernels": {"tower_width": 1, "stem_width": 1, "unet_width": 1},
    "width 3": {"tower_width": 3},
}
SQUASH = SquashSpec(kind="new")


def toy(**changes: Any) -> Borzoi:
    torch.manual_seed(17)
    return toys.model(toys.config(**changes)).eval()


def written(model: Borzoi, out: Path, precision: str = "fp32") -> Bundle:
    return write_unproven(model, toys.tracks(), out, squash=SQUASH, target="gpu", precision=precision)


def nodes(bundle: Bundle, name: str) -> list[Any]:
    return list(onnx.load(bundle.graph_path(name), load_external_data=False).graph.node)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_graph_equals_network(tmp_path: Path, changes: dict[str, Any]) -> None:
    model, x = toy(**changes), windows()
    bundle = written(model, tmp_path / "b")
    onnx.checker.check_model(str(bundle.graph_path()))
    for batch, n_fill in ((2, 0.0), (1, 0.25)):
        assert_allclose(run(bundle, x[:batch], n_fill=n_fill), exact(model, x[:batch], n_fill), rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("own", [3, 16])
def test_parts_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int) -> None:
    """Tiles, the body of all bins and those that move."""
    monkeypatch.setattr(split, "OWN_TOKENS", own)
    monkeypatch.setattr(split, "MOVING_BINS", (4, 8, 16))
    model, x = toy(), windows()
    bundle = written(model, tmp_path / "b")
    assert {"body", "body_4", "body_8", "body_16"} <= set(bundle.info.graphs)
    parts, want = open_engine(bundle), exact(model, x, 0.25)
    assert_allclose(parts.run(x, n_fill=0.25), want, rtol=3e-5, atol=3e-6)
    for first, last in ((0, 4), (1, 4), (13, 21), (28, 32), (5, 6), (0, 16), (3, 32)):
        found = parts.run(x, np.array([4, 0]), n_fill=0.25, bins=(first, last))
        assert_allclose(found, want[:, [4, 0], first:last], rtol=3e-5, atol=3e-6)


def test_tiles_in_one_run(tmp_path: Path) -> None:
    bundle = written(toy(), tmp_path / "b")
    parts = open_parts(bundle, "cpu:1")
    x = windows(3)
    together = parts.tile(x, 0.25)
    for number in range(3):
        for found, want in zip(together, parts.tile(x[number : number + 1], 0.25), strict=True):
            assert_allclose(found[number : number + 1], want, rtol=1e-5, atol=1e-5)


def test_what_the_graphs_hold(tmp_path: Path) -> None:
    """One convolution and one attention a block, however long the window; no operator that CUDA may lack."""
    model = toy(sequence_length_bp=600 * 128, crop_bins=720)
    bundle = written(model, tmp_path / "b", "fp16")
    for name in bundle.info.graphs:
        assert not {"Pad", "ReduceMax", "MaxPool"} & {node.op_type for node in nodes(bundle, name)}
        if name != "statistics":  # nothing there runs on the CPU, so that a pass can be captured as a CUDA graph
            assert "Shape" not in {node.op_type for node in nodes(bundle, name)}
    kinds = Counter(node.op_type for node in nodes(bundle, "predict"))
    assert kinds["GatherElements"] == model.config.depth
    assert (kinds["Conv"], kinds["Split"], kinds["Max"]) == (6, 6, 1 + 6)  # the stem is two products
    assert (kinds["Softmax"], kinds["Expand"]) == (model.config.depth, 0)
    # Half precision from the encoded bases to the last skip: uint8 to float32, to half, and back at each output.
    casts = [node for node in nodes(bundle, "trunk_tile") if node.op_type == "Cast"]
    assert len(casts) == 2 + 1 + model.config.unets
    # Of each block: twice to half, twice back; and the index of each of two spans of queries.
    assert kinds["Cast"] == 2 + 1 + model.config.depth * 4 + 1 + 1 + 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_export(tmp_path: Path, precision: str) -> None:
    """The gate passes, and the manifest says what the graphs are for."""
    bundle = export_bundle(
        toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", precision=precision, target="gpu"
    )
    again = open_bundle(bundle.path)
    assert (again.info.target, again.info.precision) == ("gpu", precision)
    assert again.info.parity["convolution"] == GPU_CONVOLUTION
    assert len(again.info.parity["checks"]) == 3


def test_bundles_for_cpus_are_as_they_were(toy_bundle: Bundle) -> None:
    assert toy_bundle.info.target == "cpu"
    assert "target" not in toy_bundle.info.to_json()
    assert all(node.domain == "" for node in nodes(toy_bundle, "predict"))


def test_the_gate_sees_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = attention_gpu.array

    def wrong(tensor: Any) -> np.ndarray:
        values = right(tensor)
        return values[::-1].copy() if values.dtype == np.int64 else values

    monkeypatch.setattr(attention_gpu, "array", wrong)
    with pytest.raises(ParityError):
        export_bundle(toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", target="gpu")


@pytest.mark.parametrize(("target", "convolution"), [("gpu", "cook-toom"), ("gpu", "direct"), ("cpu", "conv")])
def test_forms_of_the_other_target(tmp_path: Path, target: str, convolution: str) -> None:
    with pytest.raises(InputError, match=rf"{convolution}.* convolutions are for the target"):
        export_bundle(
            toy(), toys.tracks(), tmp_path / "b", squash=SQUASH, name="toy", target=target, convolution=convolution
        )


def test_an_unproven_bundle_fails_its_check(tmp_path: Path) -> None:
    bundle = written(toy(), tmp_path / "b")
    assert not bundle.info.parity
    assert np.isnan(bundle.golden()["coverage"]).all()


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def trained(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    source = shared / "data" / "tiny_model"
    files = (source / name for name in ("model.h5", "params.json", "targets.txt"))
    out = tmp_path_factory.mktemp("gpu") / "tiny"
    return convert_calico(*files, out, squash=SQUASH, precision=request.param, target="gpu")


@pytest.fixture(scope="module")
def genome(shared: Path) -> Iterator[Fasta]:
    with Fasta(next((shared / "data" / "hg38_1m").glob("*.fa.gz"))) as fasta:
        yield fasta


def test_trained_model_against_tensorflow(shared: Path, trained: Bundle, tiny_bundle: Bundle) -> None:
    with np.load(shared / "data" / "golden" / "fwd.npz") as golden:
        x, want = golden["x"][:1].transpose(0, 2, 1), golden["p"][:1].transpose(0, 2, 1)
    whole = run(trained, np.ascontiguousarray(x))
    limit, relative = (2e-5, 1e-4) if trained.info.precision == "fp32" else (0.05, 0.15)
    parts = open_engine(trained)
    for found, bins in ((whole, (0, 2048)), *((None, bins) for bins in ((0, 2048), (1000, 1064), (7, 900)))):
        got = parts.run(x, bins=bins) if found is None else found
        difference = np.abs(got - want[..., bins[0] : bins[1]])
        assert difference.max() <= limit
        assert (difference / (want[..., bins[0] : bins[1]] + 1e-4)).max() <= relative


def test_trained_model_keeps_its_scores(shared: Path, trained: Bundle, tiny_bundle: Bundle, genome: Fasta) -> None:
    """Scores by tiles equal those of the graphs for CPUs; a null variant is exactly 0."""
    variants = shared / "data" / "variants" / "eqtl.vcf"
    options = ScoreOptions(stats=("logSED", "SUM", "D2"))
    found = [
        [item.scores for item in score_variants(variants, bundle=bundle, fasta=genome, options=options)]
        for bundle in (trained, tiny_bundle)
    ]
    correlation, share = (0.999999, 1e-3) if trained.info.precision == "fp32" else (0.999, 0.01)
    for stat in options.stats:
        got, want = (np.stack([scores[stat] for scores in side if scores is not None]) for side in found)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > correlation
        assert np.abs(got - want).max() < share * np.abs(want).max()
    chrom = next(iter(genome.contigs))
    base = genome.fetch(chrom, 599_999, 600_000)
    (null,) = score_variants([Variant(chrom, 600_000, base, base)], bundle=trained, fasta=genome)
    assert null.scores is not None
    assert not any(values.any() for values in null.scores.values())


def test_verified_engine(trained: Bundle, shared: Path) -> None:
    """Sequences by tiles, each compared with a whole pass."""
    with np.load(shared / "data" / "golden" / "fwd.npz") as golden:
        x = np.ascontiguousarray(golden["x"][:1].transpose(0, 2, 1))
    engine = open_engine(trained, options=EngineOptions(verify_fraction=1.0))
    assert engine.run(x, np.arange(4)).shape == (1, 4, 2048)


def test_an_unknown_target(toy_bundle: Bundle) -> None:
    document = {**toy_bundle.info.to_json(), "target": "tpu"}
    with pytest.raises(FormatError, match="target 'tpu' is unknown; allowed: cpu, gpu"):
        type(toy_bundle.info).from_json(document, "b")
