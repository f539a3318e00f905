"""What the gate lets through, what it refuses, and that the golden example judges other devices alike."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import toys
from promoter_toys import small_model

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.bundle.manifest import BundleInfo, Geometry, SquashSpec
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.bundle.parity import Comparison, Noise, ParityRule, differences
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.errors import ParityError
from borzoi_rt.tracks import TrackTable

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

import borzoi_export.models.borzoi as network  # noqa: E402
from borzoi_export.graphs import export_bundle, finish  # noqa: E402
from borzoi_export.graphs.exact import doubled, exact_coverage, filled, reach_tokens, tiled_trunk  # noqa: E402
from borzoi_export.graphs.finish import NO_GRAPHS, Check, Reference, table  # noqa: E402
from borzoi_export.graphs.form import CONVOLUTIONS  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402
from borzoi_export.promoter.bundle import export_promoter  # noqa: E402
from borzoi_export.weights.keras_h5 import read_keras_h5  # noqa: E402

# The published networks in their form, with narrower layers and shorter windows.
NARROW = {"stem_filters": 32, "tower_widths": (40, 48, 56, 64, 72, 80), "key_size": 16, "heads": 4, "depth": 4}
FORMS: dict[str, dict[str, Any]] = {
    "borzoi": {**NARROW, "tail_filters": 96, "sequence_length_bp": 16384, "widths_of": 4096, "tracks": 20},
    "prime": {**NARROW, "unets": 3, "crop_bins": 9, "sequence_length_bp": 16384, "widths_of": 4096, "tracks": 20},
    "micro": {"upsample_conv": False, "crop_bins": 0, "sequence_length_bp": 12288, "widths_of": 3072, "tracks": 2},
}


def plain_table(count: int) -> TrackTable:
    """Return a table of unstranded tracks."""
    same = np.ones(count, dtype=np.float32)
    return TrackTable(
        index=np.arange(count),
        identifier=tuple(f"t{number}" for number in range(count)),
        description=("",) * count,
        sum_stat=("sum",) * count,
        clip=384 * same,
        clip_soft=128 * same,
        scale=same,
        strand_pair=np.arange(count),
    )


def random_network(seed: int = 7, queries: float = 1.0, **changes: Any) -> Borzoi:
    torch.manual_seed(seed)
    model = toys.model(toys.config(**changes))
    with torch.no_grad():
        for block in model.transformer:
            block.attention.query.weight.mul_(queries)
    return model


def write(model: Borzoi, folder: Path, **options: Any) -> Bundle:
    table = plain_table(model.config.tracks)
    return export_bundle(model, table, folder / "bundle", squash=SquashSpec(kind="new"), name="x", **options)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_random_weights_pass_in_both_forms(tmp_path: Path, form: str, convolution: str) -> None:
    bundle = write(random_network(**FORMS[form]), tmp_path, convolution=convolution)
    noise = bundle.info.parity["noise"]
    for row in bundle.info.parity["checks"].values():
        assert 0 < row["rms"] <= row["allowed_rms"] == 2 * noise["rms"]
        assert row["peak"] <= row["allowed_peak"] == pytest.approx(1e-5 * noise["largest"], rel=0.1)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_the_published_parameters_pass(shared: Path, tmp_path: Path, convolution: str) -> None:
    params = read_params(shared / "data" / "tables" / "params_micro.json")
    config = dataclasses.replace(BorzoiConfig.from_params(params), sequence_length_bp=24576)
    torch.manual_seed(3)
    write(toys.model(config), tmp_path, convolution=convolution)


@pytest.fixture(scope="module")
def trained(shared: Path) -> Borzoi:
    source = shared / "data" / "tiny_model"
    config = BorzoiConfig.from_params(read_params(source / "params.json"))
    model = Borzoi(config).eval()
    model.load_state_dict(read_keras_h5(source / "model.h5", config), strict=False)
    return model


@pytest.mark.parametrize("times", [1, 3, 10])
def test_the_scale_of_a_head_changes_nothing(trained: Borzoi, tmp_path: Path, times: int) -> None:
    """10: logits from -81 to 271, coverage that float32 can barely hold."""
    with torch.no_grad():
        trained.head.weight.mul_(times)
        trained.head.bias.mul_(times)
    try:
        bundle = write(trained, tmp_path)
    finally:
        with torch.no_grad():
            trained.head.weight.div_(times)
            trained.head.bias.div_(times)
    assert bundle.info.parity["convolution"] == "cook-toom"
    session = open_session(bundle, threads=2, check=True)
    session.close()


@pytest.mark.parametrize("fault", faults.BORZOI)
@pytest.mark.parametrize("form", ["borzoi", "prime"])
def test_planted_faults_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, fault: str) -> None:
    model = random_network(**FORMS[form])
    faults.BORZOI[fault](monkeypatch)
    with pytest.raises(ParityError, match="onnxruntime and a float64 forward disagree"):
        write(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", faults.BORZOI)
def test_planted_faults_are_refused_of_a_trained_model(
    trained: Borzoi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    faults.BORZOI[fault](monkeypatch)
    with pytest.raises(ParityError, match="no bundle was written"):
        write(trained, tmp_path, convolution="direct")


@pytest.mark.parametrize("weight", ["tower.2.norm.shift", "unet.1.pointwise.bias"])
def test_half_precision_has_a_gate_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    model = random_network()
    noise = write(model, tmp_path, precision="fp16").info.parity["noise"]
    assert 2e-5 < noise["rms"] / noise["largest"] < 5e-3  # rounding to 2^-11, some dozen times
    faults.weights(np.zeros_like, weight)(monkeypatch)
    with pytest.raises(ParityError, match="disagree"):
        write(model, tmp_path / "b", precision="fp16")


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("fault", faults.ROUNDED)
def test_planted_faults_of_promoter_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: int, fault: str
) -> None:
    model = small_model(stage)
    assert set(export_promoter(model, tmp_path / "good", name="x").info.parity["checks"]) == {
        "tracks",
        "effects of removal",
    }
    faults.ROUNDED[fault](monkeypatch)
    with pytest.raises(ParityError, match="disagree"):
        export_promoter(model, tmp_path / "b", name="x")
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize("seed", [1, 7, 19])
@pytest.mark.parametrize("convolution", [None, "cook-toom", "direct"])
def test_a_network_that_magnifies_rounding_is_exported(tmp_path: Path, seed: int, convolution: str | None) -> None:
    """Queries x 30. On the machine of this test's writing Cook-Toom products reached 2.6 times the noise at seed 7."""
    bundle = write(random_network(seed, queries=30.0), tmp_path, convolution=convolution)
    parity = bundle.info.parity
    over = any(row["rms"] > 2 * parity["noise"]["rms"] for row in parity["checks"].values())
    assert parity["magnifies_rounding"] or not over


class Told:
    """A gate with results made up: how much of the noise is inherited, and how far onnxruntime is from float64."""

    def __init__(self, inherited: float, ratio: float) -> None:
        want = np.full((1, 2, 500), 3.0)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], want.shape)
        noise = Noise(rms=1e-6, peak=4e-6, largest=3.0)
        check = Check(name="it", run=lambda _: want + ratio * 1e-6 * signs, want=want, noise=noise, errors=np.subtract)
        self.reference = Reference(
            checks=[check], golden={}, noise=noise, golden_noise=noise, inherited=lambda: inherited * 1e-6
        )
        info = BundleInfo(
            name="x",
            head="x",
            geometry=Geometry(sequence_length_bp=8, bin_size_bp=2, bins=4),
            squash=SquashSpec(kind="new"),
            graphs=NO_GRAPHS,
            architecture={},
        )
        self.draft = Bundle(path=Path("x"), info=info, files={}, sha256="")


@pytest.mark.parametrize(
    ("inherited", "ratio", "passes", "magnifies"),
    [
        (0.9, 1.9, True, False),  # within the rule: nothing to excuse
        (0.1, 2.1, False, False),
        (0.4, 3.0, False, False),
        (0.6, 2.96, True, True),
        (0.9, 4.1, False, False),  # no excuse goes further
    ],
)
def test_the_excuse_is_measured(inherited: float, ratio: float, passes: bool, magnifies: bool) -> None:
    told = Told(inherited, ratio)
    if not passes:
        with pytest.raises(ParityError, match=r"^it: onnxruntime and a float64 forward disagree, .*PyTorch's noise is"):
            finish.gate(told.reference, told.draft)
        return
    parity = finish.gate(told.reference, told.draft)
    assert parity["magnifies_rounding"] is magnifies
    assert parity["checks"]["it"]["rms"] == pytest.approx(ratio * 1e-6, rel=1e-6)


def test_the_table_says_which_line_fails() -> None:
    good = dataclasses.asdict(finish.Row.of(Comparison(1e-6, 2e-6, 3e-6, 4e-6, (0, 0))))
    bad = dataclasses.asdict(finish.Row.of(Comparison(1e-6, 5e-6, 3e-6, 4e-6, (0, 0))))
    heading, *lines = table({"this": good, "that one": bad})
    assert heading.split() == ["output", "result", "rms", "allowed", "largest", "allowed"]
    assert lines[0].split() == ["this", "pass", "1.00e-06", "3.00e-06", "2.00e-06", "4.00e-06"]
    assert lines[1].split() == ["that", "one", "FAIL", "1.00e-06", "3.00e-06", "5.00e-06", "4.00e-06"]


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    model, found, weights = random_network(**FORMS["borzoi"]), [], set()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            bundle = write(model, tmp_path / str(threads))
            found.append(bundle.info.parity)
            weights.add(bundle.files["weights.bin"].sha256)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(weights) == 1
    # Only float64 sums are shared among threads: 1e-15 of a logit, beside noise of 1e-7.
    for other in found[1:]:
        assert other["noise"]["rms"] == pytest.approx(found[0]["noise"]["rms"], rel=1e-6)
        assert other["noise"]["peak"] == pytest.approx(found[0]["noise"]["peak"], rel=1e-6)
        for name, row in other["checks"].items():
            assert row["allowed_rms"] == pytest.approx(found[0]["checks"][name]["allowed_rms"], rel=1e-6)
            assert row["rms"] == pytest.approx(found[0]["checks"][name]["rms"], rel=1e-6)


def replayed(bundle: Bundle, coverage: np.ndarray) -> Comparison:
    golden = bundle.golden()
    rule = ParityRule.replay(bundle.info.parity, "fp32")
    return rule.compare(coverage[:, golden["track_index"]], golden["coverage"])


@pytest.fixture(scope="module", params=FORMS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Borzoi, Bundle]:
    model = random_network(**FORMS[request.param])
    return model, write(model, tmp_path_factory.mktemp("replay"))


def test_other_sound_computations_replay_the_golden_example(exported: tuple[Borzoi, Bundle]) -> None:
    model, bundle = exported
    sequence = bundle.golden()["sequence"]
    window = torch.from_numpy(sequence)
    found = {"float64": exact_coverage(doubled(model), sequence, np.arange(model.config.tracks), 0.0)}
    threads = torch.get_num_threads()
    with torch.inference_mode():
        for count in (1, 2):
            torch.set_num_threads(count)
            found[f"{count} threads"] = model(window).numpy()
        torch.set_num_threads(threads)
        with torch.backends.mkldnn.flags(enabled=False):
            found["without oneDNN"] = model(window).numpy()
        for block in model.transformer:
            block.attention.plain_positions = True
        found["dense positions"] = model(window).numpy()
        for block in model.transformer:
            block.attention.plain_positions = False
    for name, coverage in found.items():
        assert replayed(bundle, coverage).passed, name
    for count in (1, 2):
        session = open_session(bundle, threads=count)
        replay_golden(session, bundle)
        session.close()


@pytest.mark.parametrize("fault", faults.BORZOI)
def test_faulty_computations_do_not(
    exported: tuple[Borzoi, Bundle], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    model, bundle = exported
    wrong = Borzoi(model.config).eval()
    wrong.load_state_dict(model.state_dict())
    if fault == "erf GELU":
        monkeypatch.setattr(network, "gelu", torch.nn.functional.gelu)
    elif fault == "a bias left out":
        torch.nn.init.zeros_(wrong.unet[1].pointwise.bias)
    elif fault.startswith("epsilon"):
        kind = torch.nn.LayerNorm if "layer" in fault else torch.nn.BatchNorm1d
        for module in wrong.modules():
            if isinstance(module, kind):
                module.eps = 1e-5
    else:
        change = faults.half if "half" in fault else faults.tf32
        for parameter in wrong.parameters():
            parameter.data = torch.from_numpy(change(parameter.detach().numpy()))
    with torch.inference_mode():
        report = replayed(bundle, wrong(torch.from_numpy(bundle.golden()["sequence"])).numpy())
    assert not report.passed
    assert report.rms > 10 * report.allowed_rms


def test_a_bundle_of_an_earlier_release_replays(tmp_path: Path) -> None:
    """No noise in its manifest, two keys that are gone, and a golden example that onnxruntime made."""
    shutil.copytree(embedded_bundle().path, tmp_path / "b")
    manifest = tmp_path / "b" / "bundle.json"
    document = json.loads(manifest.read_text())
    document["parity"] = {"max_abs": 2.6e-8, "max_rel": 5.7e-6, "median_rel": 5.1e-7, "convolution": "cook-toom"}
    document |= {"averaging": "squashed", "positional_widths": [0, 1, 3]}
    manifest.write_text(json.dumps(document))
    bundle = open_bundle(tmp_path / "b")
    session = open_session(bundle, threads=1)
    golden = bundle.golden()
    made = session.run(golden["sequence"], golden["track_index"])
    assert ParityRule.replay({}, "fp32").compare(made, golden["coverage"]).passed
    assert replay_golden(session, bundle).passed
    session.close()


@pytest.mark.parametrize("own", [1, 3, 8, 16])
@pytest.mark.parametrize("changes", [{}, {"unets": 3, "crop_bins": 9}, {"stem_width": 7, "tower_width": 3}])
def test_a_tower_in_tiles_is_the_tower(own: int, changes: dict[str, Any]) -> None:
    model = doubled(random_network(**changes))
    letters = np.random.default_rng(3).integers(0, 5, (2, model.config.sequence_length_bp))
    x = filled((letters[:, None, :] == np.arange(4)[:, None]).astype(np.uint8), 0.25, torch.float64)
    with torch.inference_mode():
        tokens, skips = model.trunk(x)
        found, pieces = tiled_trunk(model, x, own)
        for got, want in zip((found, *pieces), (tokens, *skips), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-13)
    assert reach_tokens(model.config) >= 3


def test_differences_of_removal_cancel_what_both_passes_share() -> None:
    from borzoi_export.promoter import bundle as promoter

    want = np.random.default_rng(1).uniform(1.0, 2.0, (3, 2, 20))
    shared = np.log(np.expm1(want)) + 1e-5  # the same shift of every logit
    got = np.log1p(np.exp(shared))
    assert np.abs(differences(got, want)).min() > 0.9e-5
    assert np.abs(promoter._of_removal(got, want)).max() < 1e-9


def test_a_body_that_moves_is_part_of_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in what it computes refuses the bundle, as it would refuse `bundle verify`."""
    from borzoi_rt.engine.incremental import IncrementalSession

    monkeypatch.setattr("borzoi_export.graphs.parity.moving_parts", lambda _: [(8, 16)])
    asked: list[tuple[int, int]] = []
    run = IncrementalSession.run

    def spoilt(self: Any, *values: Any, **options: Any) -> np.ndarray:
        coverage = run(self, *values, **options)
        if options.get("bins"):
            asked.append(options["bins"])
            coverage = coverage + np.float32(0.01)
        return coverage

    monkeypatch.setattr(IncrementalSession, "run", spoilt)
    torch.manual_seed(11)
    with pytest.raises(ParityError, match="split graphs"):
        export_bundle(toys.model(), toys.tracks(), tmp_path / "b", squash=SquashSpec(kind="new"), name="toy")
    assert (8, 16) in asked
    assert not (tmp_path / "b").exists()
