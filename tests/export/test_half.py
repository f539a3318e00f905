"""Graphs in half precision: what is narrow, what is not, how near they come, and what the gate then allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toys

torch = pytest.importorskip("torch", reason="export needs torch")

from borzoi_export.convert import convert_calico  # noqa: E402
from borzoi_export.graphs import export_bundle, parity  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from onnx import TensorProto  # noqa: E402

from borzoi_rt.backends.opening import open_session  # noqa: E402
from borzoi_rt.bundle.manifest import SquashSpec  # noqa: E402
from borzoi_rt.bundle.opening import Bundle, open_bundle  # noqa: E402
from borzoi_rt.engine.sessions import EngineOptions, open_engine  # noqa: E402
from borzoi_rt.errors import FormatError, InputError, ParityError  # noqa: E402
from borzoi_rt.genome.fasta import Fasta  # noqa: E402
from borzoi_rt.genome.variants import Variant  # noqa: E402
from borzoi_rt.scoring.options import ScoreOptions  # noqa: E402
from borzoi_rt.scoring.stream import score_variants  # noqa: E402


def toy() -> Borzoi:
    torch.manual_seed(17)
    return toys.model(toys.config())


def write(model: Borzoi, out: Path, **options: Any) -> Bundle:
    return export_bundle(model, toys.tracks(), out, squash=SquashSpec(kind="new"), name="toy", **options)


def window(length: int) -> np.ndarray:
    letters = np.random.default_rng(23).integers(0, 5, (1, length))
    return (letters[:, None, :] == np.arange(4)[:, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Borzoi:
    return toy()


@pytest.fixture(scope="module")
def half(model: Borzoi, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(model, tmp_path_factory.mktemp("half") / "b", precision="fp16")


@pytest.fixture(scope="module")
def trained(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    source = shared / "data" / "tiny_model"
    files = (source / name for name in ("model.h5", "params.json", "targets.txt"))
    out = tmp_path_factory.mktemp("half") / "tiny"
    return convert_calico(*files, out, squash=SquashSpec(kind="new"), precision="fp16")


@pytest.fixture(scope="module")
def genome(shared: Path) -> Iterator[Fasta]:
    with Fasta(next((shared / "data" / "hg38_1m").glob("*.fa.gz"))) as fasta:
        yield fasta


def graph_types(bundle: Bundle, name: str) -> dict[str, set[int]]:
    """Types of the weights of a graph: of the head's and of all others, integers left out."""
    graph = onnx.load(bundle.graph_path(name), load_external_data=False).graph
    types: dict[str, set[int]] = {"head": set(), "norm": set(), "rest": set()}
    for tensor in graph.initializer:
        part = "head" if tensor.name.startswith("head.") else "norm" if ".norm_" in tensor.name else "rest"
        if tensor.data_type != TensorProto.INT64 and tensor.name != "one":
            types[part].add(tensor.data_type)
    return types


def test_all_but_the_head_is_narrow(half: Bundle) -> None:
    types = graph_types(half, "predict")
    assert types["head"] == {TensorProto.FLOAT}
    assert types["rest"] == {TensorProto.FLOAT16}
    assert half.info.precision == "fp16"
    assert open_bundle(half.path).info.parity["convolution"] == "direct"
    for name in half.info.graphs:  # boundaries are float32, so that nothing else has to know
        graph = onnx.load(half.graph_path(name), load_external_data=False).graph
        assert TensorProto.FLOAT16 not in {item.type.tensor_type.elem_type for item in [*graph.input, *graph.output]}


def test_split_and_whole_graphs_agree(half: Bundle) -> None:
    x = window(2048)
    whole, parts = open_session(half), open_engine(half, options=EngineOptions(verify_fraction=1.0))
    np.testing.assert_allclose(parts.run(x), whole.run(x), rtol=0.02, atol=1e-3)  # half precision: 2^-11 an operation


def test_trained_model_keeps_its_scores(shared: Path, trained: Bundle, tiny_bundle: Bundle, genome: Fasta) -> None:
    """Scores of the trained model: r > 0.999 over all, and no error above 1 % of the largest effect."""
    variants = shared / "data" / "variants" / "eqtl.vcf"
    options = ScoreOptions(stats=("logSED", "SUM", "D2"))
    found = [
        [item.scores for item in score_variants(variants, bundle=bundle, fasta=genome, options=options)]
        for bundle in (trained, tiny_bundle)
    ]
    for stat in options.stats:
        got, want = (np.stack([scores[stat] for scores in side if scores is not None]) for side in found)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.999
        assert np.abs(got - want).max() < 0.01 * np.abs(want).max()
    noise = trained.info.parity["noise"]
    assert 1e-5 < noise["rms"] / noise["largest"] < 1e-2  # rounding of half precision is there, and small


def test_null_variant_is_zero(half: Bundle, trained: Bundle, genome: Fasta) -> None:
    chrom = next(iter(genome.contigs))
    base = genome.fetch(chrom, 599_999, 600_000)
    (result,) = score_variants([Variant(chrom, 600_000, base, base)], bundle=trained, fasta=genome)
    assert result.scores is not None
    assert not any(values.any() for values in result.scores.values())


def test_the_gate_has_limits(model: Borzoi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "halved", lambda network: network)  # held to the noise of float32
    with pytest.raises(ParityError, match="onnxruntime and a float64 forward disagree"):
        write(model, tmp_path / "b", precision="fp16")
    assert not (tmp_path / "b").exists()


def test_a_weight_that_does_not_fit(tmp_path: Path) -> None:
    model = toy()
    model.transformer[0].dense_up.weight.data[0, 0] = 7e4  # the largest half is 65,504
    with pytest.raises(FormatError, match=r"dense_up.*7e\+04.*fp16; export in fp32"):
        write(model, tmp_path / "b", precision="fp16")


def test_options_that_contradict(model: Borzoi, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cook-toom convolutions are for fp32"):
        write(model, tmp_path / "b", precision="fp16", convolution="cook-toom")
