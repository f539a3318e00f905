"""Order, augmentation, processes and resumption of batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from borzoi_export.training import loader as loader_module
from borzoi_export.training.loader import TrainBatches, ValidBatches, in_order, joined, shifted, turned
from datasets import GRID, toy_windows
from oracles import training

from borzoi_rt.dataset import Data, open_data
from borzoi_rt.dataset.window import Window, codes_of
from borzoi_rt.errors import InputError

PAIRS = toys.tracks().strand_pair


def batches(*sets: Data, **changes: Any) -> TrainBatches:
    options = {"batch_size": 2, "epochs": 3, "seed": 5, **changes}
    return TrainBatches([item.split("train") for item in sets], [PAIRS] * len(sets), **options)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    plain = all(one[key] == other[key] for key in ("head", "epoch", "number"))
    return plain and all((one[key] == other[key]).all() for key in ("codes", "target"))


def plain(*sets: Data, **changes: Any) -> TrainBatches:
    return batches(*sets, augment_rc=False, augment_shift=0, **changes)


def test_an_epoch_takes_every_window_once(make_data: Callable[..., Data]) -> None:
    loader = plain(make_data(windows=9))  # the ninth fills no batch of two
    assert (loader.per_epoch, len(loader)) == (4, 12)
    made = list(loader)
    assert [item["number"] for item in made] == list(range(12))
    known = {window.codes.tobytes() for window in toy_windows(9, seed=0)}
    for epoch in range(3):
        seen = [codes.numpy().tobytes() for item in made if item["epoch"] == epoch for codes in item["codes"]]
        assert len(seen) == len(set(seen)) == 8
        assert set(seen) <= known
    assert not same(made[0], {**made[4], "number": 0, "epoch": 0})


@pytest.mark.parametrize("start", [0, 1, 5, 8, 11])
def test_a_run_can_be_taken_up_at_any_batch(make_data: Callable[..., Data], start: int) -> None:
    sets = make_data(windows=6), make_data(windows=5, seed=9)
    whole = list(batches(*sets))
    loader = batches(*sets)
    loader.start = start
    rest = list(loader)
    assert len(rest) == len(whole) - start
    assert all(same(one, other) for one, other in zip(rest, whole[start:], strict=True))


def test_seeds_differ(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=8)
    assert not all(same(one, other) for one, other in zip(batches(data), batches(data, seed=6), strict=True))


def test_heads_alternate_in_proportion(make_data: Callable[..., Data]) -> None:
    loader = batches(make_data(windows=12), make_data(windows=4, seed=9), epochs=20)
    plans = np.array([loader.plan(epoch) for epoch in range(20)])
    assert (plans.sum(axis=1) == 2).all()  # 4 windows of the second set, 6 + 2 batches
    assert len({tuple(plan) for plan in plans.tolist()}) > 5
    assert [item["head"] for item in loader] == plans.ravel().tolist()


def test_processes_share_an_epoch(make_data: Callable[..., Data]) -> None:
    """Two processes with one window each see the batch that one process with two windows sees."""
    data = make_data(windows=8)
    whole = list(plain(data))
    parts = [list(plain(data, batch_size=1, rank=rank, world=2)) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        both = [parts[rank][number]["codes"][0] for rank in (0, 1)]
        assert all((got == want).all() for got, want in zip(both, batch["codes"], strict=True))


def test_a_turned_batch_has_turned_targets(make_data: Callable[..., Data]) -> None:
    """Track t of the toy reads the share of base t % 4, so a turned target must follow from the turned sequence.

    Of six tracks 0 and 1, 2 and 3 are strand pairs: the turned track 0 is track 1 backwards, which read base C, and
    C is G in the turned sequence.
    """
    data = make_data(windows=8)
    loader = batches(data, epochs=4, augment_shift=0)
    originals = {window.codes.tobytes(): window.target for window in toy_windows(8, seed=0)}
    turned_batches = 0
    for batch in loader:
        codes, target = batch["codes"].numpy(), batch["target"].numpy()
        if codes[0].tobytes() in originals:
            np.testing.assert_array_equal(target[0], originals[codes[0].tobytes()])
            continue
        turned_batches += 1
        inner = codes[:, GRID.crop_bp : -GRID.crop_bp].reshape(2, GRID.bins, GRID.bin_size_bp)
        for track, pair in enumerate(PAIRS):
            complement = 3 - pair % 4
            np.testing.assert_array_equal(target[:, track], (2.0 * (inner == complement).mean(axis=2)).astype("f2"))
    assert 4 <= turned_batches <= 12  # of 16 by a fair coin; fixed by the seed


def test_shifts_reach_both_ends_and_leave_targets(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2)
    loader = batches(data, epochs=60, augment_rc=False, batch_size=1)
    originals = toy_windows(2, seed=0)
    found = set()
    for batch in loader:
        codes = batch["codes"].numpy()[0]
        candidates = [
            (n, k) for n, item in enumerate(originals) for k in range(-3, 4) if (shifted(item.codes, k) == codes).all()
        ]
        assert len(candidates) == 1
        number, shift = candidates[0]
        found.add(shift)
        np.testing.assert_array_equal(batch["target"].numpy()[0], originals[number].target)
    assert found == set(range(-3, 4))


@pytest.mark.parametrize(("shift", "want"), [(0, "ACGT"), (1, "NACG"), (-1, "CGTN"), (3, "NNNA"), (-3, "TNNN")])
def test_a_shift_is_filled_with_unknown_bases(shift: int, want: str) -> None:
    np.testing.assert_array_equal(shifted(codes_of("ACGT"), shift), codes_of(want))


def test_turning_twice_is_nothing() -> None:
    codes = codes_of("ACGTNNTTAC")
    np.testing.assert_array_equal(turned(codes), codes_of("GTAANNACGT"))
    np.testing.assert_array_equal(turned(turned(codes)), codes)


def test_validation_is_in_order_and_shared(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2, valid=5)
    split = data.split("valid")
    want = [window.codes for window in toy_windows(5, seed=1000)]
    whole = ValidBatches(split, head=0, batch_size=2)
    got = [codes.numpy() for batch in whole for codes in batch["codes"]]
    assert len(whole) == 3
    np.testing.assert_array_equal(got, want)
    for rank in (0, 1):
        part = ValidBatches(split, head=1, batch_size=2, rank=rank, world=2)
        got = [codes.numpy() for batch in part for codes in batch["codes"]]
        assert len(part) == len(list(part))
        np.testing.assert_array_equal(got, want[rank::2])


def test_too_few_windows(make_data: Callable[..., Data]) -> None:
    with pytest.raises(InputError, match="data set 0 has 3 training windows, fewer than the 4"):
        batches(make_data(windows=3), world=2)


def test_an_error_in_a_shard_reaches_the_reader(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=8, shard=8)
    loader = plain(data)
    path = data.path / "shards" / "train-00000.arrow"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 3] + bytes(len(raw) // 3) + raw[2 * len(raw) // 3 :])
    with pytest.raises(ValueError, match=r"train-00000\.arrow"):
        list(islice(loader, 12))


def test_tfrecords_can_be_taken_up_too(tmp_path: Path) -> None:
    """A stream of files behind a shuffle buffer gives the same batches from any start, and to several processes."""
    folder = tmp_path / "calico"
    (folder / "tfrecords").mkdir(parents=True)
    windows = toy_windows(11, seed=3)
    for number in range(3):
        payloads = [
            training.example(sequence=item.codes.tobytes(), target=item.target.T.tobytes())
            for item in windows[number::3]
        ]
        (folder / "tfrecords" / f"train-{number}.tfr").write_bytes(training.tfrecord(payloads))
    sizes = {
        "num_targets": 6,
        "seq_length": 2048,
        "seq_1hot": True,
        "pool_width": 32,
        "crop_bp": 512,
        "target_length": 32,
    }
    (folder / "statistics.json").write_text(json.dumps({**sizes, "train_seqs": 11}))
    data = open_data(folder)
    whole = list(batches(data))
    seen = {codes.tobytes() for item in plain(data, epochs=1) for codes in item["codes"].numpy()}
    assert len(seen) == 10
    assert seen <= {item.codes.tobytes() for item in windows}
    for start in (1, 5, 7):
        loader = batches(data)
        loader.start = start
        assert all(same(one, other) for one, other in zip(loader, whole[start:], strict=True))
    parts = [list(plain(data, batch_size=1, rank=rank, world=2)) for rank in (0, 1)]
    for number, batch in enumerate(plain(data)):
        both = [parts[rank][number]["codes"][0] for rank in (0, 1)]
        assert all((got == want).all() for got, want in zip(both, batch["codes"], strict=True))


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_threads_gives_the_same_batches(make_data: Callable[..., Data], workers: int) -> None:
    sets = make_data(windows=14), make_data(windows=5, seed=9)
    one = list(batches(*sets))
    loader = batches(*sets, workers=workers)
    for start in (0, 7):
        loader.start = start
        many = list(loader)
        assert len(many) == len(one) - start
        assert all(same(a, b) for a, b in zip(many, one[start:], strict=True))
    valid = make_data(windows=2, valid=7).split("valid")
    for rank in (0, 1):
        parts = [
            list(ValidBatches(valid, head=0, batch_size=2, rank=rank, world=2, workers=count)) for count in (1, workers)
        ]
        assert [item["target"].numpy().tobytes() for item in parts[0]] == [
            item["target"].numpy().tobytes() for item in parts[1]
        ]


def test_threads_read_at_the_same_time_and_stay_in_order() -> None:
    """The first job ends only when the third has begun, and is the first to come out all the same."""
    begun = threading.Event()

    def first() -> dict[str, Any]:
        assert begun.wait(60)
        return {"number": 0}

    def third() -> dict[str, Any]:
        begun.set()
        return {"number": 2}

    jobs = [first, lambda: {"number": 1}, third, lambda: {"number": 3}]
    assert [batch["number"] for batch in in_order(iter(jobs), 3)] == [0, 1, 2, 3]


def test_an_error_comes_after_what_was_before_it() -> None:
    def fails() -> dict[str, Any]:
        raise InputError("broken")

    reader = in_order(iter([lambda: {"number": 0}, fails, lambda: {"number": 2}]), 3)
    assert next(reader)["number"] == 0
    with pytest.raises(InputError, match="broken"):
        next(reader)


def test_a_reader_that_leaves_stops_the_threads(make_data: Callable[..., Data]) -> None:
    def running() -> set[str]:
        return {item.name for item in threading.enumerate() if "borzoi-rt" in item.name}

    reader = iter(batches(make_data(windows=8), epochs=1000, workers=3))
    next(reader)
    assert running()
    reader.close()
    assert not running()


@pytest.mark.parametrize("tracks", [1, 6])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_turned_targets_are_the_formula(tracks: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "_TURNED_BYTES", 4 * 33 * np.dtype(kind).itemsize)  # 4 tracks at a time
    generator = np.random.default_rng(1)
    window = Window(codes_of("ACGTN"), generator.random((tracks, 33)).astype(kind))
    pairs = generator.permutation(tracks)
    batch = joined([lambda: window, lambda: window], pairs, 1)
    assert [codes.tolist() for codes in batch["codes"].numpy()] == [codes_of("NNACG").tolist()] * 2
    for target in batch["target"].numpy():
        assert target.dtype == kind
        for track in range(tracks):
            np.testing.assert_array_equal(target[track], window.target[pairs[track]][::-1])
