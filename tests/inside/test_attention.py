"""Attention: rows against the network, and profile, rollout and relevance against dense products in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import toys
import worlds
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_rt.bundle.opening import Bundle  # noqa: E402
from borzoi_rt.errors import InputError  # noqa: E402
from borzoi_rt.explain.target import Target, TargetSpec  # noqa: E402
from borzoi_rt.explain.where import Where, anchored  # noqa: E402
from borzoi_rt.inside import attention as module  # noqa: E402
from borzoi_rt.inside.activations import Activations  # noqa: E402
from borzoi_rt.inside.attention import (  # noqa: E402
    attention_rows,
    classes_of,
    profile,
    relevance,
    rollout,
    tokens_of_target,
)
from borzoi_rt.sequence import encode  # noqa: E402

LENGTH, TOKENS = 4096, 32
ROTARY = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}
EVERY = np.arange(TOKENS)


@pytest.fixture(scope="module", params=["relative", "rotary"])
def inside(
    request: pytest.FixtureRequest, inside_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Activations]:
    bundle = inside_bundle
    if request.param == "rotary":
        sizes = toys.config(sequence_length_bp=LENGTH, **ROTARY)
        bundle = toys.bundle(tmp_path_factory.mktemp("rotary") / "bundle", sizes, activations=True)
    with Activations(bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return encode(worlds.random_dna(LENGTH, seed=4))


@pytest.fixture(scope="module")
def bound(inside_bundle: Bundle) -> Target:
    where = Where(window_start=0, anchor=anchored("chr1", 1900, 2100))
    return TargetSpec.parse("log SUM@center:640", tracks="cage,rna-").bind(inside_bundle, where)


def test_rows_sum_to_one_and_are_those_of_any_other_choice(inside, window):
    whole = attention_rows(inside, window, EVERY)
    heads = 4 if whole.shares.shape[1] == 4 else 2
    assert whole.shares.shape == (2, heads, TOKENS, TOKENS)
    assert_allclose(whole.shares.sum(axis=-1), 1.0, atol=1e-5)
    assert (whole.shares >= 0.0).all()
    some = attention_rows(inside, window, np.array([7, 3, 31]), layers=[2])
    assert_allclose(some.shares[0], whole.shares[1][:, [7, 3, 31]], atol=1e-6)
    assert_allclose(some.mean, some.shares.mean(axis=2), atol=1e-6)


def test_rows_mix_values_as_the_network_does(inside_bundle, window):
    """In float64: what a block adds by attention is its shares times values, the shares being ours."""
    torch.manual_seed(11)
    model, held = toys.model(toys.config(sequence_length_bp=LENGTH)).double(), []
    for block in model.transformer:
        block.attention.register_forward_hook(lambda _module, inputs, output: held.append((inputs[0], output)))
    with torch.no_grad():
        model(torch.from_numpy(window[None]))
        with Activations(inside_bundle) as opened:
            shares = attention_rows(opened, window, EVERY).shares.astype(np.float64)
        for block, (x, want), rows in zip(model.transformer, held, shares, strict=True):
            value = block.attention.split(block.attention.value(x))[0].numpy()
            mixed = torch.from_numpy((rows @ value).transpose(1, 0, 2).reshape(TOKENS, -1))
            assert_allclose(block.attention.out(mixed).numpy(), want[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("asked", [attention_rows, profile])
def test_blocks_are_run_once(inside, window, monkeypatch, asked):
    """Layer by layer from the first would run the first block once for each."""
    runs, plain = [], inside.network.parts.layers
    monkeypatch.setattr(
        inside.network.parts, "layers", lambda tokens, numbers: runs.append(list(numbers)) or plain(tokens, numbers)
    )
    depth = inside.network.depth
    asked(inside, np.roll(window, len(asked.__name__), axis=1), EVERY)  # a window that nothing has read
    assert runs == [list(range(1, depth))]


def test_a_profile_is_what_a_loop_counts(inside, window, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    queries = np.array([0, 5, 17, 31])
    shares = attention_rows(inside, window, queries).shares.astype(np.float64)
    found = profile(inside, window, queries)
    low, high = classes_of(TOKENS)
    assert [*zip(low.tolist(), high.tolist(), strict=True)][6:10] == [(0, 0), (1, 1), (2, 2), (3, 4)]
    assert_array_equal(low, -high[::-1])
    for number, (first, last) in enumerate(zip(low, high, strict=True)):
        inner = [[key for key in range(TOKENS) if first <= key - query <= last] for query in queries]
        want = np.mean([shares[:, :, row, keys].sum(axis=-1) for row, keys in enumerate(inner)], axis=0)
        assert_allclose(found.share[..., number], want, atol=1e-6)
        assert found.keys[number] == np.mean([len(keys) for keys in inner])
    assert_allclose(found.share.sum(axis=-1), 1.0, atol=1e-5)
    entropy = -(shares * np.log(shares)).sum(axis=-1).mean(axis=-1) / np.log(TOKENS)
    assert_allclose(found.entropy, entropy, atol=1e-6)
    distance = np.abs(EVERY[None] - queries[:, None])
    assert_allclose(found.distance, (shares * distance).sum(axis=-1).mean(axis=-1), rtol=1e-5)


def test_rollout_is_a_product_of_matrices(inside, window, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 5)  # several runs a block, the last of them shorter
    want = np.eye(TOKENS)
    for shares in attention_rows(inside, window, EVERY).shares.astype(np.float64):
        want = (shares.mean(axis=0) + np.eye(TOKENS)) / 2 @ want  # the first block acts first
    got = rollout(inside, window, np.array([4, 30]))
    assert_allclose(got, want[[4, 30]], atol=1e-6)
    assert_allclose(got.sum(axis=1), 1.0, atol=1e-5)


def test_relevance_is_chefers_rule(inside, window, bound, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 5)
    reading = inside.reading(window)
    _, cotangent = bound.cotangent(reading.coverage(bound.positions, bound.bins))
    slopes, want = reading.slopes(bound.positions, cotangent, bound.bins), np.eye(TOKENS)
    for layer in (1, 2):
        shares, by_share = reading.attention(layer, EVERY, slopes.by_attended(layer)[0])
        weighted = np.maximum(shares.astype(np.float64) * by_share * slopes.size, 0.0).mean(axis=0)
        want = want + weighted @ want
    queries = tokens_of_target(inside, bound)
    assert_array_equal(queries, np.unique((512 + 32 * bound.columns[0]) // 128))
    got = relevance(inside, window, bound, queries)
    assert_allclose(got, want[queries], rtol=1e-4, atol=1e-7)
    assert (got[:, queries].sum() - len(queries)) > 0.0


def test_the_slope_by_a_share_is_a_finite_difference(inside_bundle, window, bound):
    """Shares of one row moved in the network itself, in float64."""
    torch.manual_seed(11)
    model = toys.model(toys.config(sequence_length_bp=LENGTH)).double()
    layer, query, head = 1, 13, 1
    with Activations(inside_bundle) as opened:
        reading = opened.reading(window)
        _, cotangent = bound.cotangent(reading.coverage(bound.positions, bound.bins))
        slopes = reading.slopes(bound.positions, cotangent, bound.bins)
        _, by_share = reading.attention(layer, np.array([query]), slopes.by_attended(layer)[0][[query]])
    row = by_share[head, 0].astype(np.float64) * slopes.size
    attention, size = model.transformer[layer - 1].attention, model.config.tower_widths[-1] // 2

    def value(step: float) -> float:
        def add(module_: object, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
            held = attention.split(attention.value(inputs[0]))[0, head]
            mixture = torch.zeros(1, 2 * size, dtype=torch.float64)
            mixture[0, head * size : (head + 1) * size] = step * torch.from_numpy(np.sign(row)) @ held
            moved = output.clone()
            moved[0, query] += (mixture @ attention.out.weight.T)[0]
            return moved

        hook = attention.register_forward_hook(add)
        with torch.no_grad():
            coverage = model(torch.from_numpy(window[None]))[0, bound.positions].numpy()
        hook.remove()
        return bound.value(coverage[:, slice(*bound.bins)])

    assert_allclose((value(1e-3) - value(-1e-3)) / 2e-3, np.abs(row).sum(), rtol=0.05)


def test_what_is_not_there_is_refused(inside, window, gradient_bundle, monkeypatch):
    with pytest.raises(InputError, match="token 32 is not there; a window has 0 to 31"):
        attention_rows(inside, window, np.array([32]))
    with pytest.raises(InputError, match="whole numbers from 0 to 31"):
        rollout(inside, window, np.array([], dtype=np.int64))
    with pytest.raises(InputError, match="layer 3 is not there; the transformer has 1 to 2"):
        profile(inside, window, EVERY, layers=[1, 3])
    with Activations(gradient_bundle) as plain, pytest.raises(InputError, match="export the model again"):
        attention_rows(plain, window, EVERY)
    monkeypatch.setattr(module, "MOST_SHARES", 100)
    with pytest.raises(InputError, match="choose fewer queries or layers"):
        attention_rows(inside, window, EVERY)
