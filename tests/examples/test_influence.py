"""Influence of training windows: derivatives against autograd, a ridge in closed form, retraining without a window."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
import torch
from command_line import check_error
from datasets import GRID
from numpy.testing import assert_allclose
from oracles import influence as oracle
from worlds import unsquashed

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.dataset import Data
from borzoi_rt.dataset.window import onehot_of
from borzoi_rt.errors import InputError
from borzoi_rt.evaluation.losses import poisson_multinomial, poisson_multinomial_slope, position_weights
from borzoi_rt.examples.influence import InfluenceOptions, Influences, LossQuery, TargetQuery, influences, solved
from borzoi_rt.examples.last_layer import LastLayer, by_weights, curvature, with_one
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.explain.where import Where, anchored

ALL = np.arange(6)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    from datasets import write_toy_data

    return write_toy_data(tmp_path_factory.mktemp("influence") / "data", windows=8, valid=2)


@pytest.mark.parametrize("weight_range", [1.0, 3.0])
def test_the_slope_of_the_loss_is_its_derivative(weight_range: float) -> None:
    rng = np.random.default_rng(0)
    p, y, weights = rng.gamma(2.0, size=(3, 8)), rng.gamma(2.0, size=(3, 8)), position_weights(8, weight_range)
    y[1, 4] = 0.0
    slope = poisson_multinomial_slope(p, y, weights=weights)
    for track in range(3):
        for at in range(8):
            step = np.zeros_like(p)
            step[track, at] = 1e-6
            above, below = (poisson_multinomial(q, y, weights=weights)[track] for q in (p + step, p - step))
            assert slope[track, at] == pytest.approx((above - below) / 2e-6, abs=1e-8)
    # Where prediction is target nothing pulls, but for the tiny number that is added.
    assert_allclose(poisson_multinomial_slope(p, p, weights=weights), 0.0, atol=1e-6)


def test_derivatives_are_those_of_autograd(toy_bundle: Bundle, data: Data) -> None:
    """Of the loss by weights and biases of the head: torch, from the network that the bundle is made of."""
    import toys
    from borzoi_export.training.losses import poisson_multinomial as torch_loss

    torch.manual_seed(11)
    model = toys.model().double().eval()
    window = next(iter(data.split("train").in_order()))
    x = torch.from_numpy(onehot_of(window.codes).astype(np.float64))[None]
    target = torch.from_numpy(window.target.astype(np.float64))[None]
    losses = torch_loss(model(x), target, total_weight=0.2)
    losses.mean().backward()
    weight, bias = (part.grad.numpy() for part in (model.head.weight, model.head.bias))
    with LastLayer(toy_bundle) as layer:
        embedding, coverage = layer.read(onehot_of(window.codes), ALL, (0, GRID.bins))
    slope = by_weights(poisson_multinomial_slope(coverage, window.target) / 6, coverage, embedding)
    assert_allclose(slope, np.column_stack([weight.reshape(6, -1), bias]), atol=1e-5 * np.abs(weight).max())


def test_tracin_is_a_sum_over_pairs_of_bins(toy_bundle: Bundle, data: Data) -> None:
    """sum over bins of (r_i . r_j) (<e_i, e_j> + 1), of every window with a query."""
    tracks = np.array([1, 4])
    window = next(iter(data.split("valid").in_order()))
    query = LossQuery(window, tracks, InfluenceOptions())
    found = influences([toy_bundle], data, "train", lambda _: query)
    parts = []
    with LastLayer(toy_bundle) as layer:
        for one in [window, *data.split("train").in_order()]:
            embedding, coverage = layer.read(onehot_of(one.codes), tracks, (0, GRID.bins))
            slope = poisson_multinomial_slope(coverage, one.target[tracks])
            parts.append((slope * (1.0 - np.exp(-coverage.astype("f8"))), embedding))
    expected = [-oracle.inner_product(*parts[0], *part) / (2 * 6) for part in parts[1:]]
    assert_allclose(found.influence, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_a_window_lowers_its_own_loss(toy_bundle: Bundle, data: Data) -> None:
    windows = list(data.split("train").in_order())
    query = LossQuery(windows[3], ALL, InfluenceOptions())
    found = influences([toy_bundle], data, "train", lambda _: query)
    assert found.cosine[3] == pytest.approx(-1.0, abs=1e-6)
    assert np.argmin(found.cosine) == 3
    assert found.influence[3] < 0.0
    assert found.value == pytest.approx(found.loss[3], rel=1e-6)
    # A step on it does to first order what is said, here by the derivative of the loss along it.
    twice = influences([toy_bundle, toy_bundle], data, "train", lambda _: query, options=InfluenceOptions(rates=(2, 3)))
    assert_allclose(twice.influence, 5 * found.influence, rtol=1e-9)
    assert_allclose(twice.cosine, found.cosine, rtol=1e-9)
    assert twice.chance[3] == found.chance[3] == 0.01


def test_a_step_on_a_window_moves_the_target_as_is_said(toy_bundle: Bundle, data: Data) -> None:
    spec = TargetSpec.parse("log SUM", tracks="0,2")
    window = onehot_of(next(iter(data.split("valid").in_order())).codes)
    target = spec.bind(toy_bundle, Where(window_start=0))
    query = TargetQuery(target, window)
    found = influences([toy_bundle], data, "train", lambda _: query)
    rate, tracks = 0.1, target.positions
    with LastLayer(toy_bundle) as layer:
        value, _ = query.derivative(layer)
        embedding, coverage = layer.read(window, tracks, target.bins)
        logits = np.log(np.expm1(coverage.astype("f8")))
        for number, one in enumerate(data.split("train").in_order()):
            own, said = layer.read(onehot_of(one.codes), tracks, (0, GRID.bins))
            step = by_weights(poisson_multinomial_slope(said, one.target[tracks]) / 6, said, own)
            moves = [np.logaddexp(0.0, logits - sign * rate * step @ with_one(embedding).T) for sign in (1, -1)]
            up, down = (target.value(move.astype(np.float32)) for move in moves)
            assert found.influence[number] == pytest.approx((up - down) / (2 * rate), rel=1e-3, abs=1e-5)
    assert found.value == pytest.approx(value)


def test_ridge_without_a_row_is_known_in_closed_form() -> None:
    """Squared loss and no softplus: leaving row i out changes a prediction by influence / (1 - leverage), exactly."""
    rng = np.random.default_rng(3)
    rows, query, penalty = rng.normal(size=(30, 5)), rng.normal(size=5), 0.2
    targets = rows @ rng.normal(size=5) + rng.normal(size=30)
    weights = oracle.ridge(rows, targets, penalty)
    matrix = rows.T @ rows / 30
    toward = solved(matrix[None], query[None], penalty / (np.trace(matrix) / 5))[0]
    for number in range(30):
        slope = (rows[number] @ weights - targets[number]) * rows[number]
        influence = -float(toward @ slope) / 30
        leverage = rows[number] @ np.linalg.solve(matrix + penalty * np.eye(5), rows[number]) / 30
        without = query @ oracle.ridge(rows, targets, penalty, without=number) - query @ weights
        assert without == pytest.approx(-influence / (1.0 - leverage), rel=1e-9)


class ToyLayer:
    """A last layer on embeddings that are made of the bases: shares of A, C, G in a bin and in its neighbours."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def __enter__(self) -> ToyLayer:
        return self

    def __exit__(self, *_: object) -> None: ...

    @staticmethod
    def embedding(window: np.ndarray) -> np.ndarray:
        inner = window[:3, GRID.crop_bp : GRID.crop_bp + GRID.bins * GRID.bin_size_bp].astype("f8")
        share = inner.reshape(3, GRID.bins, GRID.bin_size_bp).mean(axis=2).T * 4
        return np.column_stack([share, np.roll(share, 1, axis=0)])

    def read(self, window: np.ndarray, tracks: np.ndarray, bins: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        embedding = self.embedding(window)[bins[0] : bins[1]]
        return embedding, np.logaddexp(0.0, self.weights[tracks] @ with_one(embedding).T)


def trained(embeddings: torch.Tensor, targets: torch.Tensor, penalty: float, without: int | None = None) -> np.ndarray:
    """Fit the last layer of one track to convergence, in torch, the loss written down again."""
    kept = torch.tensor([number != without for number in range(len(targets))], dtype=torch.float64)
    weights = torch.zeros(embeddings.shape[-1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-11, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        p = torch.nn.functional.softplus(embeddings @ weights)
        total, wanted = p.sum(1), targets.sum(1)
        shape = -(targets * torch.log(p / total[:, None])).sum(1)
        losses = (shape + 0.2 * (total - wanted * torch.log(total))) / targets.shape[1]
        value = (kept * losses).sum() / len(targets) + 0.5 * penalty * weights.square().sum()
        value.backward()
        return value

    optimiser.step(closure)
    return weights.detach().numpy()


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Changes of a target where the last layer is trained without each of 16 windows, and what was said of them."""
    from datasets import write_toy_data

    data = write_toy_data(tmp_path_factory.mktemp("retrained") / "data", windows=16, seed=5)
    windows, penalty, track = list(data.split("train").in_order()), 0.01, 3
    embeddings = torch.from_numpy(np.stack([with_one(ToyLayer.embedding(onehot_of(w.codes))) for w in windows]))
    targets = torch.from_numpy(np.stack([w.target[track].astype("f8") for w in windows]))
    rng = np.random.default_rng(6)
    query = onehot_of(rng.integers(0, 4, GRID.sequence_length_bp, dtype=np.uint8))
    full = trained(embeddings, targets, penalty)
    asked = torch.from_numpy(with_one(ToyLayer.embedding(query))[8:20])

    def value(weights: np.ndarray) -> float:
        return float(torch.nn.functional.softplus(asked @ torch.from_numpy(weights)).sum().log())

    changes = [value(trained(embeddings, targets, penalty, number)) - value(full) for number in range(16)]
    weights = np.zeros((6, len(full)))
    weights[track] = full
    matrix = np.mean(
        [
            curvature(t.numpy(), np.logaddexp(0.0, e.numpy() @ full), e.numpy()[:, :-1], np.ones(GRID.bins), 0.2)
            for t, e in zip(targets, embeddings, strict=True)
        ],
        axis=0,
    )
    return {
        "data": data,
        "weights": weights,
        "query": query,
        "changes": np.array(changes),
        "damping": penalty / (np.trace(matrix) / len(matrix)),
        "track": track,
    }


def said(retrained: dict[str, Any], bundle: Bundle, method: str, layer: ToyLayer) -> Influences:
    plain, grid = unsquashed(bundle), GRID
    spec = TargetSpec.parse("log SUM@center:384", tracks=str(retrained["track"]))
    start = grid.crop_bp + 8 * grid.bin_size_bp
    where = Where(window_start=0, anchor=anchored("chr1", start, start + 12 * grid.bin_size_bp))
    target = spec.bind(plain, where)
    assert target.bins == (8, 20)
    options = InfluenceOptions(method=method, damping=retrained["damping"])
    return influences(
        [plain],
        retrained["data"],
        "train",
        lambda _: TargetQuery(target, retrained["query"]),
        options=options,
        opened=lambda _: layer,  # type: ignore[arg-type, return-value]
    )


def test_influence_is_what_retraining_without_a_window_does(retrained: dict[str, Any], toy_bundle: Bundle) -> None:
    found = said(retrained, toy_bundle, "influence", ToyLayer(retrained["weights"]))
    assert np.corrcoef(-found.influence, retrained["changes"])[0, 1] > 0.95
    slope = float(-found.influence @ retrained["changes"] / (found.influence @ found.influence))
    assert 0.7 < slope < 1.4


class NoiseLayer(ToyLayer):
    """The control: embeddings that have nothing to do with the bases."""

    def __init__(self, weights: np.ndarray, seed: int) -> None:
        super().__init__(weights)
        self.seed = seed

    def embedding(self, window: np.ndarray) -> np.ndarray:  # type: ignore[override]
        rng = np.random.default_rng([self.seed, *window.argmax(axis=0)[:64].tolist()])
        return rng.gamma(2.0, size=(GRID.bins, 6))


def test_tracin_tells_less_and_noise_nothing(retrained: dict[str, Any], toy_bundle: Bundle) -> None:
    tracin = said(retrained, toy_bundle, "tracin", ToyLayer(retrained["weights"]))
    assert np.corrcoef(-tracin.influence, retrained["changes"])[0, 1] > 0.5
    found = []
    for seed in range(8):
        other = said(retrained, toy_bundle, "influence", NoiseLayer(retrained["weights"], seed))
        found.append(np.corrcoef(-other.influence, retrained["changes"])[0, 1])
    assert abs(np.mean(found)) < 0.3  # 16 windows: one is within 0.5 of 0, the mean of 8 within 0.2
    assert max(np.abs(found)) < 0.9


def test_the_command_writes_what_python_gives(cli, toy_bundle: Bundle, data: Data, tmp_path) -> None:
    out = tmp_path / "influence.tsv"
    words = ["influence", "--data", data.path, "--bundle", toy_bundle.path]
    code, text, err = cli(*words, "--window", "valid:1", "--tracks", "1,4", "--out", out)
    assert (code, text) == (0, "")
    assert "8 windows of train" in err
    window = list(data.split("valid").in_order())[1]
    query = LossQuery(window, toy_bundle.tracks.select("1,4"), InfluenceOptions())
    found = influences([toy_bundle], data, "train", lambda _: query)
    with out.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    order = np.argsort(-np.abs(found.influence))
    assert [int(row["window"]) for row in rows] == order.tolist()
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 9)]
    for name in ("influence", "cosine", "chance", "loss"):
        assert_allclose([float(row[name]) for row in rows], getattr(found, name)[order], rtol=1e-6)
    regions = data.regions("train")
    assert [(row["chrom"], int(row["start"])) for row in rows] == [(regions[w].chrom, regions[w].start) for w in order]
    meta = json.loads((tmp_path / "influence.tsv.meta.json").read_text())
    assert meta["query"] == {"loss_of_window": "valid:1", "tracks": "1,4", "value": pytest.approx(found.value)}
    assert meta["options"]["method"] == "tracin"


def test_the_command_asks_for_targets(cli, toy_bundle: Bundle, data: Data, tmp_path) -> None:
    from worlds import random_dna, write_fasta

    fasta = write_fasta(tmp_path / "g.fa", {"chr1": random_dna(6000)})
    words = ["influence", "--data", data.path, "--bundle", toy_bundle.path, "--fasta", fasta]
    words += ["--region", "chr1:3,001-3,200", "--target", "logSED@center:256", "--tracks", "0"]
    for method, more in (("tracin", []), ("influence", ["--damping", 0.1])):
        out = tmp_path / f"{method}.tsv"
        code, _, err = cli(*words, "--method", method, *more, "--out", out)
        assert code == 0, err
        with out.open() as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        assert len(rows) == 8
        assert all(np.isfinite(float(row["influence"])) for row in rows)
        meta = json.loads(out.with_name(f"{method}.tsv.meta.json").read_text())
        assert meta["query"]["target"]["target"] == "logSED@center:256"
        assert meta["query"]["bases"] == {"chrom": "chr1", "start": 3000, "end": 3200, "window_start": 2076}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give --window, or --region"),
        (["--window", "valid:1", "--region", "chr1:1-2"], "give --window, or --region"),
        (["--window", "valid:9"], "2 windows of valid, numbered from 0"),
        (["--window", "valid"], "write it like valid:3"),
        (["--window", "valid:0", "--target", "SUM"], "--target is of a target; the query is the loss of a window"),
        (["--window", "valid:0", "--no-unclip"], "--unclip is of a target"),
        (["--window", "valid:0", "--strand", "named"], "--strand is of a target"),
        (["--window", "valid:0", "--site-pseudo", "3"], "--site-pseudo is of a target"),
        (["--window", "valid:0", "--damping", "0.1"], "--damping is of --method influence"),
        (["--window", "valid:0", "--method", "influence", "--rates", "1"], "rates are of tracin"),
        (["--window", "valid:0", "--rates", "1,2"], "2 rates for 1 checkpoints"),
        (["--window", "valid:0", "--rates", "0"], "numbers above 0 are needed"),
        (["--region", "chr1:1-20"], "give --fasta"),
    ],
)
def test_what_cannot_be_asked_is_refused(cli, toy_bundle: Bundle, data: Data, tmp_path, more, message) -> None:
    out = tmp_path / "o.tsv"
    check_error(cli("influence", "--data", data.path, "--bundle", toy_bundle.path, *more, "--out", out), message)
    assert not out.exists()


def test_targets_that_are_not_numbers_are_named(toy_bundle: Bundle, make_data) -> None:
    poisoned = make_data(windows=3, poison=1)
    window = next(iter(poisoned.split("train").in_order()))
    with pytest.raises(InputError, match="window 1 of split 'train' holds NaN or infinite targets"):
        influences([toy_bundle], poisoned, "train", lambda _: LossQuery(window, ALL, InfluenceOptions()))


@pytest.fixture(scope="module")
def grammar_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """16 windows for the demo's model, a promoter in each, every other one on the - strand; and a query on the +."""
    from borzoi_rt.dataset import SEQUENCES, STATISTICS, TARGETS, DataInfo, open_data
    from borzoi_rt.dataset.arrow import schema_of, write_shard
    from borzoi_rt.dataset.window import Window, codes_of
    from borzoi_rt.demo.grammar import MOTIFS, coverage, reverse_complement
    from borzoi_rt.demo.run import embedded_bundle

    bundle, rng = embedded_bundle(), np.random.default_rng(11)
    grid, folder = bundle.geometry, tmp_path_factory.mktemp("grammar")

    def text(start: int) -> str:
        letters = bytearray(rng.choice(list("ACGT"), grid.sequence_length_bp).astype("S1").tobytes())
        for offset, name in ((0, "gc"), (60, "tata"), (90, "inr")):
            letters[start + offset : start + offset + 8] = MOTIFS[name].encode()
        return letters.decode()

    texts = [text(int(rng.integers(2000, 6000))) for _ in range(16)]
    texts = [reverse_complement(one) if number % 2 else one for number, one in enumerate(texts)]
    windows = []
    for one in texts:
        inner = coverage(one)[:, grid.crop_bp : grid.sequence_length_bp - grid.crop_bp]
        binned = inner.reshape(len(inner), grid.bins, grid.bin_size_bp).sum(axis=2)
        squashed = bundle.squash().forward(binned.astype(np.float32))
        windows.append(Window(codes_of(one), squashed.astype(np.float16)))
    (folder / "shards").mkdir()
    schema = schema_of(grid.sequence_length_bp, len(bundle.tracks), grid.bins)
    write_shard(folder / "shards" / "train-00000.arrow", windows, schema)
    info = DataInfo(tracks=len(bundle.tracks), geometry=grid, windows={"train": 16, "valid": 0, "test": 0})
    (folder / STATISTICS).write_text(json.dumps(info.to_json()))
    (folder / SEQUENCES).write_text("".join(f"c\t{n}\t{n + 1}\ttrain\n" for n in range(16)))
    bundle.tracks.write(folder / TARGETS)
    return {"bundle": bundle, "data": open_data(folder), "query": onehot_of(codes_of(text(4000)))}


def test_windows_with_the_same_grammar_are_found(grammar_data: dict[str, Any]) -> None:
    """Of the + strand's CAGE at a promoter: windows with one of that strand count, those of the other do not."""
    bundle = grammar_data["bundle"]

    target = TargetSpec.parse("log SUM", tracks=r"CAGE\+").bind(bundle, Where(window_start=0))
    query = TargetQuery(target, grammar_data["query"])
    found = influences([bundle], grammar_data["data"], "train", lambda _: query)
    size = np.abs(found.influence)
    assert np.mean([a > b for a in size[::2] for b in size[1::2]]) > 0.9
    # The control: with channels exchanged at random the same windows are seldom as strong.
    assert np.median(found.chance[::2]) < 0.1
