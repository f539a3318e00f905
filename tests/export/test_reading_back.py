"""A bundle read back as a network: the same numbers in every form; gradient graphs added later; weights in disorder."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import toys
from command_line import Cli, check_error
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_export.graphs import cook_toom, export_bundle  # noqa: E402
from borzoi_export.graphs.adding import add_activations, add_gradient  # noqa: E402
from borzoi_export.graphs.exact import coverage_of  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.randomise import PARTS, randomised  # noqa: E402
from borzoi_export.weights.bundle import from_points, read_network  # noqa: E402

from borzoi_rt.backends.gradient import open_gradient  # noqa: E402
from borzoi_rt.backends.opening import open_session  # noqa: E402
from borzoi_rt.bundle.manifest import SquashSpec  # noqa: E402
from borzoi_rt.bundle.opening import Bundle, open_bundle  # noqa: E402
from borzoi_rt.engine.gradient import GradientSession  # noqa: E402
from borzoi_rt.errors import InputError  # noqa: E402
from borzoi_rt.inside.activations import Activations  # noqa: E402

SQUASH = SquashSpec(kind="new")
TRACKS = np.arange(3)
ROTARY = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}


def network(**sizes: object) -> Borzoi:
    """A network whose normalisations have learned something."""
    torch.manual_seed(11)
    model = toys.model(toys.config(**sizes))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.weight.data[::3] *= -1.0  # which max pooling does not let through
            torch.nn.init.normal_(module.bias)
    return model.eval()


def exported(model: Borzoi, out: Path, **options: object) -> Bundle:
    return export_bundle(model, toys.tracks(), out, squash=SQUASH, name="toy", **options)


def bases(length: int) -> np.ndarray:
    letters = np.random.default_rng(3).integers(0, 5, length)  # 4: unknown
    return (letters == np.arange(4)[:, None]).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(network(), tmp_path_factory.mktemp("plain") / "bundle")


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({}, {"convolution": "cook-toom"}),
        ({"tail_filters": 24}, {"convolution": "direct"}),
        ({"tower_width": 3, "upsample_conv": False}, {}),
        ({}, {"target": "gpu"}),
        (ROTARY, {}),
    ],
    ids=["cook-toom", "direct, tail", "width 3", "gpu", "rotary"],
)
def test_the_network_of_a_bundle_is_that_which_was_exported(tmp_path, sizes, options):
    model = network(**sizes)
    made = exported(model, tmp_path / "bundle", **options)
    found = read_network(made)
    x = bases(model.config.sequence_length_bp)
    for fill in (0.0, 0.25):
        want, got = (coverage_of(copy.deepcopy(one).double(), x, TRACKS, fill) for one in (model, found))
        assert want.std() > 1e-3
        assert_allclose(got, want, rtol=2e-6, atol=1e-7)


def test_weights_with_a_second_name_are_read(bundle, tmp_path):
    """A backup by hard links is a bundle like any other."""
    twin = tmp_path / "twin"
    twin.mkdir()
    for file in bundle.path.iterdir():
        (twin / file.name).hardlink_to(file)
    found, want = (read_network(open_bundle(path)).state_dict() for path in (twin, bundle.path))
    assert all(torch.equal(found[name], want[name]) for name in want)


def test_kernels_come_back_from_their_values_at_points():
    """Of every size at once, as a trained tower has them: to two of the last digits of the largest tap."""
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(40, 30, 5)) * 10.0 ** rng.uniform(-4, 0, size=(40, 30, 1))).astype(np.float32)
    found = from_points(cook_toom.kernels(weight))
    largest = np.abs(weight).max(axis=2, keepdims=True)
    assert np.abs(found - weight).max() > 0.0  # what the points lost
    assert (np.abs(found - weight) <= 2.0 * np.spacing(largest)).all()
    assert_array_equal(found[..., [0, 4]], weight[..., [0, 4]])


def test_what_cannot_be_read_back_is_refused(bundle, tmp_path):
    half = exported(network(), tmp_path / "half", precision="fp16", target="gpu")
    with pytest.raises(InputError, match="fp16, rounded ones"):
        read_network(half)


def test_gradient_graphs_are_added_and_nothing_else_changes(bundle, tmp_path):
    made = add_gradient(bundle, tmp_path / "with")
    for name, entry in bundle.files.items():
        if name != "weights.bin":
            assert made.files[name] == entry, name
    held, grown = (one.path.joinpath("weights.bin").read_bytes() for one in (bundle, made))
    assert grown[: len(held)] == held
    assert set(made.info.graphs) - set(bundle.info.graphs) == {"gradient_trunk", "gradient_body", "gradient_tile"}
    at_once = exported(network(), tmp_path / "once", gradient=True)
    assert abs(len(grown) - at_once.files["weights.bin"].bytes) <= 8 * 4096  # what the bundle had is not stored twice
    window = bases(bundle.geometry.sequence_length_bp)[0].astype(np.float32)
    cotangent = np.random.default_rng(1).normal(size=(len(TRACKS), bundle.geometry.bins))
    found = []
    for one in (made, at_once):
        session = GradientSession(open_gradient(one))
        found.append(
            session.pullback(
                window,
                TRACKS,
                cotangent,
                bins=(0, one.geometry.bins),
                bases=(0, one.geometry.sequence_length_bp),
            )
        )
        session.close()
    assert_allclose(found[0], found[1], atol=2e-5 * np.abs(found[1]).max())
    with pytest.raises(InputError, match="has gradient graphs"):
        add_gradient(made, tmp_path / "again")


def test_graphs_of_activations_are_added_to_either(bundle, tmp_path):
    """What the gradient graphs have stored is not stored again; what is shown is that of an export at once."""
    with_gradient = add_gradient(bundle, tmp_path / "gradient")
    at_once = exported(network(), tmp_path / "once", gradient=True, activations=True)
    window = bases(bundle.geometry.sequence_length_bp)[0].astype(np.uint8)
    for source, out in ((bundle, tmp_path / "one"), (with_gradient, tmp_path / "both")):
        made = add_activations(source, out)
        for name, entry in source.files.items():
            if name != "weights.bin":
                assert made.files[name] == entry, name
        held, grown = (one.path.joinpath("weights.bin").read_bytes() for one in (source, made))
        assert grown[: len(held)] == held
        with Activations(made) as inside, Activations(at_once) as other:
            assert set(inside.layers) == set(other.layers)
            for layer in inside.layers:
                want, got = other.of(window, layer).values, inside.of(window, layer).values
                if layer.startswith(("stem", "tower_")):  # biases went into what follows: a constant a unit
                    want, got = (values - values.mean(axis=1, keepdims=True) for values in (want, got))
                assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    assert len(grown) - len(held) <= 8 * 4096
    with pytest.raises(InputError, match="has graphs of activations; nothing is to be added"):
        add_activations(made, tmp_path / "again")


def test_a_weight_of_another_network_is_not_mixed_in(bundle, tmp_path, monkeypatch):
    """The names of two networks are the same; their numbers are not."""
    other = network()
    with torch.no_grad():
        other.tower[0].conv.weight *= 1.001
    monkeypatch.setattr("borzoi_export.graphs.adding.read_network", lambda _: other)
    with pytest.raises(ValueError, match="is another one than that of its network"):
        add_gradient(bundle, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_disorder_goes_from_the_top_down():
    model = network(tail_filters=24)
    own = dict(model.named_parameters())
    for part in PARTS:
        twin = dict(randomised(model, part).named_parameters())
        moved = {name.split(".")[0] for name in own if not torch.equal(own[name], twin[name])}
        deeper = {attribute for name in list(PARTS)[list(PARTS).index(part) + 1 :] for attribute in PARTS[name]}
        assert moved == {name.split(".")[0] for name in own} - deeper
        for name in own:  # the values are the same ones
            assert torch.equal(own[name].flatten().sort().values, twin[name].flatten().sort().values)
    first, again, other = (randomised(model, "tower", seed=seed).stem.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    norm, moved = model.unet[0].norm, randomised(model, "decoder").unet[0].norm
    assert set(zip(norm.weight.tolist(), norm.running_var.tolist(), strict=True)) == set(
        zip(moved.weight.tolist(), moved.running_var.tolist(), strict=True)
    )


def test_the_command_line_adds_and_disorders(cli: Cli, bundle, tmp_path):
    code, out, err = cli("export", "gradient", "--bundle", str(bundle.path), "--out", str(tmp_path / "with"))
    assert code == 0, err
    assert "allowed" in out
    assert "8 graphs" in out
    code, out, err = cli("export", "activations", "--bundle", str(tmp_path / "with"), "--out", str(tmp_path / "more"))
    assert code == 0, err
    assert "16 graphs" in out
    words = ("--bundle", str(tmp_path / "more"), "--down-to", "decoder", "--out", str(tmp_path / "disorder"))
    code, _, err = cli("export", "randomise", *words)
    assert code == 0, err
    made = open_bundle(tmp_path / "disorder")
    assert made.info.provenance["randomised"] == ["head", "decoder"]
    assert {"gradient_body", "slopes_head"} <= made.info.graphs.keys()
    x = bases(bundle.geometry.sequence_length_bp)
    coverage = []
    for one in (bundle, made):
        session = open_session(one)
        coverage.append(session.run(x, TRACKS))
        session.close()
    assert np.abs(np.subtract(*coverage)).max() > 0.01
    again = cli("export", "gradient", "--bundle", str(tmp_path / "with"), "--out", str(tmp_path / "again"))
    check_error(again, "has gradient graphs")
