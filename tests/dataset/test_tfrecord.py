"""Calico's TFRecord files: written by the oracle, or the real ones."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from oracles import training as oracle

from borzoi_rt.dataset import Data, open_data
from borzoi_rt.dataset.window import codes_of, onehot_of
from borzoi_rt.errors import FormatError, InputError

LENGTH, TRACKS, BINS = 64, 3, 5


def records(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [
        (generator.integers(0, 5, LENGTH, dtype=np.uint8), generator.random((BINS, TRACKS)).astype(np.float16))
        for _ in range(count)
    ]


def write(folder: Path, files: list[list[tuple[np.ndarray, np.ndarray]]], **changes: object) -> Path:
    (folder / "tfrecords").mkdir()
    for number, content in enumerate(files):
        payloads = [oracle.example(target=target.tobytes(), sequence=codes.tobytes()) for codes, target in content]
        (folder / "tfrecords" / f"train-{number}.tfr").write_bytes(oracle.tfrecord(payloads))
    statistics = {
        "num_targets": TRACKS,
        "seq_length": LENGTH,
        "seq_1hot": True,
        "pool_width": 8,
        "crop_bp": 12,  # (64 - 5 x 8) / 2
        "target_length": BINS,
        "train_seqs": sum(map(len, files)),
        **changes,
    }
    (folder / "statistics.json").write_text(json.dumps(statistics))
    return folder


def test_round_trip_over_files_in_natural_order(tmp_path: Path) -> None:
    written = records(12)
    split = open_data(write(tmp_path, [[item] for item in written])).split("train")  # train-10 comes after train-9
    read = list(split.in_order())
    assert len(split) == len(read) == 12
    for (codes, target), window in zip(written, read, strict=True):
        np.testing.assert_array_equal(window.codes, codes)
        np.testing.assert_array_equal(window.target, target.T)


def test_an_empty_stream_is_a_file_without_records(tmp_path: Path) -> None:
    written = records(2)
    folder = write(tmp_path, [[written[0]], [], [written[1]]])
    assert (folder / "tfrecords" / "train-1.tfr").stat().st_size == 8
    read = list(open_data(folder).split("train").in_order())
    np.testing.assert_array_equal([window.codes for window in read], [codes for codes, _ in written])


def test_onehot_sequences_give_the_same_codes(tmp_path: Path) -> None:
    codes = records(1)[0][0]
    rows = np.eye(5, dtype=np.uint8)[codes][:, :4]  # an unknown base is a row of zeros
    folder = write(tmp_path, [[(rows, records(1)[0][1])]], seq_1hot=False)
    np.testing.assert_array_equal(next(open_data(folder).split("train").in_order()).codes, codes)


@pytest.mark.parametrize("seed", [(1, 0), (1, 1), (2, 0)])
def test_a_shuffle_is_a_permutation_that_the_seed_fixes(tmp_path: Path, seed: tuple[int, int]) -> None:
    written = records(30)
    split = open_data(write(tmp_path, [written[:10], written[10:15], [], written[15:]])).split("train")
    first, second = ([window.codes.tobytes() for window in split.shuffled(seed)] for _ in range(2))
    in_order = [codes.tobytes() for codes, _ in written]
    assert first == second
    assert first != in_order
    assert sorted(first) == sorted(in_order)
    assert first != [window.codes.tobytes() for window in split.shuffled((9, 9))]


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flip(raw: bytes) -> bytes:
    return raw[:40] + bytes([raw[40] ^ 255]) + raw[41:]


def inside_a_frame(raw: bytes) -> bytes:
    return zlib.compress(zlib.decompress(raw)[:-9])


def no_example(raw: bytes) -> bytes:
    return oracle.tfrecord([b"\xff" * 40])


def other_feature(raw: bytes) -> bytes:
    return oracle.tfrecord([oracle.example(sequence=bytes(LENGTH))])


def short_target(raw: bytes) -> bytes:
    return oracle.tfrecord([oracle.example(sequence=bytes(LENGTH), target=bytes(2 * BINS * TRACKS - 2))])


def wrong_code(raw: bytes) -> bytes:
    return oracle.tfrecord([oracle.example(sequence=b"\x05" * LENGTH, target=bytes(2 * BINS * TRACKS))])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cut short"),
        (flip, "zlib"),
        (lambda raw: b"", "cut short"),
        (inside_a_frame, "ends inside a record"),
        (no_example, "train-0.tfr, record 0"),
        (other_feature, "no feature 'target'"),
        (short_target, "14 values; 5 bins x 3 tracks of statistics.json are 15"),
        (wrong_code, "base code 5"),
        (lambda raw: oracle.tfrecord([]), "0 windows in 1 files .*statistics.json says 2"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, message: str) -> None:
    folder = write(tmp_path, [records(2)])
    path = folder / "tfrecords" / "train-0.tfr"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    for read in ("in_order", "shuffled"):
        split = open_data(folder).split("train")
        with pytest.raises(FormatError, match=message):
            list(split.in_order() if read == "in_order" else split.shuffled((0,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_bp": 8}, "crop_bp is 8; the other sizes give 12"),
        ({"num_targets": 0}, "num_targets is 0"),
        ({"target_length": "5"}, "target_length is '5'"),
        ({"format": "borzoi-rt-data", "format_version": 99}, "version 99"),
        ({"squash": "sqrt"}, "squash 'sqrt' is unknown"),
    ],
)
def test_statistics_are_checked(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        open_data(write(tmp_path, [records(1)], **changes))


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; it has train"):
        open_data(write(tmp_path, [records(1)])).split("test")


@pytest.mark.parametrize(
    ("split", "count", "largest"), [("train", 45, 37.12), ("valid", 10, 26.1), ("test", 10, 58.94)]
)
def test_real_files(shared: Path, split: str, count: int, largest: float) -> None:
    """Counts and largest targets as the reference's own reader gave them; N share of train 1.7e-4."""
    data: Data = open_data(shared / "data" / "tiny_hg38")
    unknown = total = 0
    peak = 0.0
    for window in data.split(split).in_order():
        total += 1
        unknown += int((window.codes == 4).sum())
        peak = max(peak, float(window.target.max()))
        assert window.target.shape == (74, 2048)
    assert total == count
    assert peak == pytest.approx(largest, abs=0.06)  # given to three or four digits
    assert unknown / total / 131072 == pytest.approx(1.7e-4 if split == "train" else 0, abs=1e-5)


def test_real_records_equal_the_golden_arrays(shared: Path) -> None:
    golden = np.load(shared / "data" / "golden" / "fwd.npz")
    windows = open_data(shared / "data" / "tiny_hg38").split("test").in_order()
    for x, y in zip(golden["x"], golden["y"], strict=True):
        window = next(windows)
        np.testing.assert_array_equal(onehot_of(window.codes), x.T)
        np.testing.assert_array_equal(window.target, y.T)


def test_codes_of_letters() -> None:
    np.testing.assert_array_equal(codes_of("ACGTNacgtnR-"), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4])
    np.testing.assert_array_equal(onehot_of(codes_of("AN")), [[1, 0], [0, 0], [0, 0], [0, 0]])
