"""Our shards: round trip, any window by number, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import GRID, toy_windows

from borzoi_rt.dataset import STATISTICS, Data, open_data
from borzoi_rt.errors import FormatError


def test_round_trip_over_shards(make_data: Callable[..., Data]) -> None:
    split = make_data(windows=8, shard=3, seed=4).split("train")  # 3 + 3 + 2
    written = toy_windows(8, seed=4)
    read = list(split.in_order())
    assert len(split) == 8
    for want, got in zip(written, read, strict=True):
        np.testing.assert_array_equal(got.codes, want.codes)
        np.testing.assert_array_equal(got.target, want.target)
        assert got.target.dtype == np.float16


def test_a_shuffle_is_a_permutation_that_the_seed_fixes(make_data: Callable[..., Data]) -> None:
    split = make_data(windows=20).split("train")
    orders = [[window.codes.tobytes() for window in split.shuffled(seed)] for seed in ((1, 0), (1, 0), (1, 1))]
    in_order = [window.codes.tobytes() for window in split.in_order()]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(in_order)


def test_more_shards_than_open_files(make_data: Callable[..., Data]) -> None:
    split = make_data(windows=40, shard=1).split("train")
    written = toy_windows(40, seed=0)
    for _ in range(2):
        for number, window in enumerate(split.in_order()):
            np.testing.assert_array_equal(window.codes, written[number].codes)


def test_a_missing_shard(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=8, shard=3)
    (data.path / "shards" / "train-00002.arrow").unlink()
    with pytest.raises(FormatError, match=r"6 windows in 2 shards, statistics.json says 8"):
        data.split("train")


def test_no_shard(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2)
    (data.path / "shards" / "train-00000.arrow").unlink()
    with pytest.raises(FormatError, match=r"no file train-\*.arrow"):
        data.split("train")


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def scramble(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[: middle - 500] + bytes(1000) + raw[middle + 500 :]


@pytest.mark.parametrize(("damage", "message"), [(cut, "cut short"), (scramble, "train-00000.arrow")])
def test_a_damaged_shard(make_data: Callable[..., Data], damage: Callable[[bytes], bytes], message: str) -> None:
    path: Path = make_data(windows=3).path / "shards" / "train-00000.arrow"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match=message):
        list(open_data(path.parents[1]).split("train").in_order())


def test_other_sizes(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2)
    values = json.loads((data.path / STATISTICS).read_text())
    values.update(target_length=30, crop_bp=(2048 - 30 * GRID.bin_size_bp) // 2)
    (data.path / STATISTICS).write_text(json.dumps(values))
    with pytest.raises(FormatError, match=r"other sizes than statistics.json"):
        open_data(data.path).split("train")


def test_regions_and_table_are_counted(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2, valid=1)
    regions = data.regions("valid")
    assert regions is not None
    assert [(region.chrom, region.start, region.end) for region in regions] == [("chr1", 0, 1024)]
    lines = (data.path / "sequences.bed").read_text().splitlines()
    (data.path / "sequences.bed").write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(FormatError, match=r"1 regions of split 'train', statistics.json says 2"):
        data.regions("train")
    table = (data.path / "targets.txt").read_text().splitlines()
    (data.path / "targets.txt").write_text("\n".join(table[:-1]) + "\n")
    with pytest.raises(FormatError, match=r"5 rows, statistics.json says 6 tracks"):
        _ = open_data(data.path).tracks
