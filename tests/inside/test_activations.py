"""Activations and embeddings: against hooks of the network in float64, by layers, units, positions and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pytest
import toys
import worlds
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_rt.bundle.opening import Bundle  # noqa: E402
from borzoi_rt.errors import FormatError, InputError  # noqa: E402
from borzoi_rt.explain.rows import gene_row, region_rows  # noqa: E402
from borzoi_rt.genome.fasta import Fasta  # noqa: E402
from borzoi_rt.genome.genes import Gene  # noqa: E402
from borzoi_rt.genome.intervals import Interval  # noqa: E402
from borzoi_rt.genome.variants import read_variants  # noqa: E402
from borzoi_rt.inside.activations import Activations  # noqa: E402
from borzoi_rt.inside.embed import EmbedOptions, embed_rows, embedded, read_embeddings, variant_pairs  # noqa: E402
from borzoi_rt.sequence import encode  # noqa: E402

LENGTH = 4096
TEXT = worlds.random_dna(9000, seed=21)
TEXT = TEXT[:4000] + "N" * 12 + TEXT[4012:]


@pytest.fixture(scope="module")
def inside(inside_bundle: Bundle) -> Iterator[Activations]:
    with Activations(inside_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fasta]:
    path = worlds.write_fasta(tmp_path_factory.mktemp("inside") / "toy.fa", {"chr1": TEXT})
    with Fasta(path) as fasta:
        yield fasta


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return encode(TEXT[2000 : 2000 + LENGTH])  # unknown bases in it


@pytest.fixture(scope="module")
def hooked(window: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer of the same network in float64 by forward hooks, (units, positions)."""
    torch.manual_seed(11)
    model = toys.model(toys.config(sequence_length_bp=LENGTH)).double()
    found: dict[str, np.ndarray] = {}

    def keep(name: str, turned: bool) -> object:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            found[name] = (output.transpose(1, 2) if turned else output)[0].detach().numpy()

        return hook

    model.stem.register_forward_hook(keep("stem", False))
    for number, block in enumerate(model.tower, start=1):
        block.register_forward_hook(keep(f"tower_{number}", False))
    for number, block in enumerate(model.transformer, start=1):
        block.register_forward_hook(keep(f"layer_{number}", True))
    with torch.no_grad():
        tokens, skips = model.trunk(torch.from_numpy(window[None]).double())
        found["layer_0"] = tokens[0].numpy()
        found["embedding"] = model.embed(tokens, skips)[0].numpy()
    return found


def test_every_layer_is_that_of_the_network(inside, hooked, window):
    assert set(inside.layers) == set(hooked)
    for name, want in hooked.items():
        about, found = inside.layers[name], inside.of(window, name)
        assert (about.units, about.positions) == want.shape == found.values.shape
        assert_allclose(found.values, want, atol=2e-6 * np.abs(want).max(), rtol=1e-4)
    assert_array_equal(inside.of(window).values, inside.of(window, "layer_2").values)  # tokens


def test_resolutions_and_coordinates(inside, window):
    grid = inside.network.bundle.geometry
    steps = {name: layer.resolution_bp for name, layer in inside.layers.items()}
    assert steps == {
        "stem": 1,
        **{f"tower_{number}": 2**number for number in range(1, 7)},
        **{f"layer_{number}": 128 for number in range(3)},
        "embedding": 32,
    }
    found = inside.of(window, "embedding", positions=(3, 5))
    assert found.starts_bp.tolist() == [grid.crop_bp + 96, grid.crop_bp + 128]
    assert inside.of(window, "tokens", bases=(127, 129)).positions == (0, 2)
    assert inside.of(window, "stem", bases=(127, 129)).positions == (127, 129)


@pytest.mark.parametrize("layer", ["stem", "tower_3", "layer_1", "embedding"])
def test_a_choice_is_cut_from_the_whole(inside, window, layer):
    whole = inside.of(window, layer)
    low, high = whole.values.shape[1] // 3, whole.values.shape[1] // 3 + 7
    units = [5, 0, 5]
    part = inside.of(window, layer, units=units, positions=slice(low, high))
    assert_allclose(part.values, whole.values[units, low:high], rtol=1e-5, atol=1e-6)
    pieces = list(inside.pieces(window, layer, units=units))
    assert [piece.positions[0] for piece in pieces[1:]] == [piece.positions[1] for piece in pieces[:-1]]
    assert_allclose(
        np.concatenate([piece.values for piece in pieces], axis=1), whole.values[units], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"layer": "tower_9"}, "layer 'tower_9' is unknown; this bundle has stem, tower_1"),
        ({"units": [32]}, "unit 32 is not there; layer_2 has 0 to 31"),
        ({"units": [-1]}, "unit -1 is not there"),
        ({"units": []}, "whole numbers from 0 to 31"),
        ({"positions": (0, 33)}, "positions 0:33 do not lie in layer_2, which has 32"),
        ({"positions": slice(0, 4, 2)}, "step 2; 1 is needed"),
        ({"positions": (0, 1), "bases": (0, 1)}, "give one of them"),
        ({"layer": "embedding", "bases": (0, 32)}, "do not lie in embedding"),
    ],
)
def test_what_is_not_there_is_refused(inside, window, choice, said):
    with pytest.raises(InputError, match=said):
        inside.of(window, **{"layer": "tokens", **choice})


def test_a_bundle_without_the_graphs_gives_embeddings_and_says_what_is_missing(gradient_bundle, inside, window):
    with Activations(gradient_bundle) as plain:
        assert set(plain.layers) == {"layer_0", "embedding"}
        assert_array_equal(plain.of(window, "embedding").values, inside.of(window, "embedding").values)
        with pytest.raises(InputError, match="exported with activations"):
            plain.of(window, "tokens")


def test_an_answer_that_does_not_fit_is_refused(inside, window, monkeypatch):
    monkeypatch.setattr("borzoi_rt.inside.activations.MOST_BYTES", 1000)
    with pytest.raises(InputError, match="choose units or positions, or take pieces"):
        inside.of(window, "stem")
    assert len(list(inside.pieces(window, "stem", units=[0]))) == 1


def test_an_embedding_is_the_mean_over_the_bins_of_a_row(inside, genome):
    grid = inside.network.bundle.geometry
    (row,) = region_rows([Interval("chr1", 4390, 4465)], genome, grid)
    whole = inside.of(row.window(genome, grid), "embedding").values.astype(np.float64)
    first = (row.columns[0] - grid.crop_bp) // 32
    last = -(-(row.columns[1] - grid.crop_bp) // 32)
    found, count = embedded(inside, row, genome, EmbedOptions())
    assert count == last - first
    assert_allclose(found, whole[:, first:last].mean(axis=1), rtol=1e-5)
    tokens = inside.of(row.window(genome, grid), "tokens").values.astype(np.float64)
    found, count = embedded(inside, row, genome, EmbedOptions(layer="tokens"))
    low, high = row.columns[0] // 128, -(-row.columns[1] // 128)
    assert_allclose(found, tokens[:, low:high].mean(axis=1), rtol=1e-5)


def test_of_a_gene_the_bins_of_its_exons_count(inside, genome):
    grid = inside.network.bundle.geometry
    gene = Gene("G1", "ACTB", "", "chr1", "+", np.array([[4300, 4364], [4600, 4632]]))
    row = gene_row(gene, genome, grid)
    start = row.where.window_start + grid.crop_bp
    bins = sorted({(base - start) // 32 for low, high in gene.exons.tolist() for base in range(low, high)})
    values = inside.of(row.window(genome, grid), "embedding").values.astype(np.float64)
    found, count = embedded(inside, row, genome, EmbedOptions(region="exons"))
    assert count == len(bins)
    assert_allclose(found, values[:, bins].mean(axis=1), rtol=1e-5)
    tokens = inside.of(row.window(genome, grid), "layer_1").values.astype(np.float64)
    held = [(grid.crop_bp + number * 32) // 128 for number in bins]
    found, _ = embedded(inside, row, genome, EmbedOptions(region="exons", layer="layer_1"))
    assert_allclose(found, tokens[:, held].mean(axis=1), rtol=1e-5)


def test_alleles_are_rows_and_what_cannot_be_read_says_why(inside, genome, tmp_path):
    base = TEXT[4499]
    other = "A" if base != "A" else "C"
    rows = [f"chr1 4500 . {base} {other}", f"chr1 4500 . {other} {base}", f"chr1 4500 . {base} {base}GAT"]
    vcf = worlds.write_vcf(tmp_path / "in.vcf", rows)
    pairs = variant_pairs([record.variant for record in read_variants(vcf)], genome, inside)
    out = tmp_path / "alleles.h5"
    said = embed_rows(pairs, out, activations=inside, fasta=genome)
    assert said[:2] == ["ok", "ok"] == said[4:]
    assert "ref_mismatch" in said[2]
    held = read_embeddings(out)
    assert held.values.shape == (6, 32)
    assert_array_equal(held.known, [True, True, False, False, True, True])
    assert np.isnan(held.values[2:4]).all()
    assert_array_equal(held.values[0], held.values[4])  # REF of both
    assert np.abs(held.values[0] - held.values[1]).max() > 1e-4
    assert list(held.columns["allele"]) == ["ref", "alt"] * 3
    assert held.about["layer"] == "embedding"
    assert held.about["resolution_bp"] == 32


def test_tables_hold_the_same_in_every_format(inside, genome, tmp_path):
    rows = region_rows(
        [Interval("chr1", 4390, 4465, "one"), Interval("chr1", 4000, 4100)], genome, inside.network.bundle.geometry
    )
    for suffix in (".h5", ".npz", ".parquet", ".tsv"):
        embed_rows(rows, tmp_path / f"e{suffix}", activations=inside, fasta=genome)
    want = read_embeddings(tmp_path / "e.h5").values
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table.column("name").to_pylist()[0] == "one"
    assert_array_equal(np.column_stack([table.column(f"u{unit}").to_numpy() for unit in range(32)]), want)
    assert json.loads(table.schema.metadata[b"borzoi_rt"])["layer"] == "embedding"
    with np.load(tmp_path / "e.npz") as held:
        assert_array_equal(held["embedding"], want)
    lines = (tmp_path / "e.tsv").read_text().splitlines()
    assert lines[0].split("\t")[-1] == "u31"
    assert_allclose(np.array([line.split("\t")[10:] for line in lines[1:]], dtype=np.float32), want, rtol=1e-6)
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(FormatError, match="no embeddings of version 1"):
        read_embeddings(tmp_path / "e.h5")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_gate_refuses_another_network(inside_bundle):
    from borzoi_export.graphs.activations_parity import ActivationsGate

    from borzoi_rt.errors import ParityError

    torch.manual_seed(11)
    model = toys.model(toys.config(sequence_length_bp=LENGTH))
    ActivationsGate(model)(inside_bundle)
    with torch.no_grad():
        model.transformer[1].attention.query.weight.mul_(1.01)
    with pytest.raises(ParityError, match=r"activations: onnxruntime is .* from the network in"):
        ActivationsGate(model)(inside_bundle)


@pytest.mark.parametrize("sizes", [{"tower_width": 3}, {"tail_filters": 24}, {"upsample_conv": False}])
def test_every_form_of_a_network_passes_the_gate(tmp_path: Path, sizes: dict[str, int]) -> None:
    made = exported(tmp_path / "bundle", **sizes)
    figures = made.info.parity["activations"]
    assert {"stem", "tower_6", "layer_2", "shares_1", "by_share_2", "attended_1", "slopes_0"} <= figures.keys()
    assert max(figures.values()) < 2e-5


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_rotary_positions_pass_too(tmp_path: Path, target: str) -> None:
    rotary = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}
    assert max(exported(tmp_path / "bundle", target=target, **rotary).info.parity["activations"].values()) < 2e-5


def test_half_precision_has_no_activations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="graphs of activations are for fp32, not fp16"):
        exported(tmp_path / "bundle", precision="fp16")


def exported(out: Path, *, target: str = "cpu", precision: str = "fp32", **sizes: int) -> Bundle:
    from borzoi_export.graphs import export_bundle

    from borzoi_rt.bundle.manifest import SquashSpec

    torch.manual_seed(5)
    model, squash = toys.model(toys.config(**sizes)), SquashSpec(kind="new")
    how = {"target": target, "precision": precision, "activations": True}
    return export_bundle(model, toys.tracks(), out, squash=squash, name="toy", **how)
