"""TFRecord files: spoilt as they lie on disk, inside the zlib stream, and inside a record."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import training as oracle

from attacks.fuzzing import fuzz, read_or_refuse, spoilt
from borzoi_rt.dataset import open_data
from borzoi_rt.dataset.arrow import ArrowSplit, schema_of, write_shard
from borzoi_rt.dataset.tfrecord import read_example
from borzoi_rt.dataset.window import Window
from borzoi_rt.errors import FormatError

LENGTH, TRACKS, BINS = 64, 3, 5
EXAMPLE = oracle.example(
    target=np.linspace(0, 1, TRACKS * BINS).astype("<f2").tobytes(), sequence=bytes(n % 5 for n in range(LENGTH))
)
STREAM = zlib.decompress(oracle.tfrecord([EXAMPLE, EXAMPLE]))


def folder_of(folder: Path, content: bytes) -> Path:
    (folder / "tfrecords").mkdir(exist_ok=True)
    (folder / "tfrecords" / "train-0.tfr").write_bytes(content)
    statistics = {
        "num_targets": TRACKS,
        "seq_length": LENGTH,
        "seq_1hot": True,
        "pool_width": 8,
        "crop_bp": 12,
        "target_length": BINS,
        "train_seqs": 2,
    }
    (folder / "statistics.json").write_text(json.dumps(statistics))
    return folder


def read(folder: Path) -> int:
    return len(list(open_data(folder).split("train").in_order()))


@fuzz
@given(data=spoilt((oracle.tfrecord([EXAMPLE, EXAMPLE]),)))
def test_spoilt_files(tmp_path: Path, data: bytes) -> None:
    read_or_refuse(read, folder_of(tmp_path, data))


@fuzz
@given(data=spoilt((STREAM,)))
def test_spoilt_streams(tmp_path: Path, data: bytes) -> None:
    read_or_refuse(read, folder_of(tmp_path, zlib.compress(data, 1)))


@fuzz
@given(data=spoilt((EXAMPLE,)))
def test_spoilt_records(tmp_path: Path, data: bytes) -> None:
    read_or_refuse(read, folder_of(tmp_path, oracle.tfrecord([data, EXAMPLE])))


def shard_of(folder: Path) -> bytes:
    codes = np.arange(LENGTH, dtype=np.uint8) % 5
    target = np.linspace(0, 1, TRACKS * BINS, dtype=np.float16).reshape(TRACKS, BINS)
    write_shard(folder / "seed.arrow", [Window(codes, target)] * 2, schema_of(LENGTH, TRACKS, BINS))
    return (folder / "seed.arrow").read_bytes()


def read_shard(path: Path) -> int:
    return len(list(ArrowSplit([path], 2, length=LENGTH, tracks=TRACKS, bins=BINS).in_order()))


@fuzz
@given(data=st.data())
def test_spoilt_arrow_shards(tmp_path: Path, data: st.DataObject) -> None:
    """Single bytes too, which leave most of the structure as it is."""
    content = bytearray(shard_of(tmp_path))
    if data.draw(st.booleans()):
        content[:] = data.draw(spoilt((bytes(content),)))
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 128, 255]))
    (tmp_path / "x.arrow").write_bytes(content)
    read_or_refuse(read_shard, tmp_path / "x.arrow")


def test_a_window_without_values_is_refused(tmp_path: Path) -> None:
    """Readers of Arrow take it for none, whatever the schema says."""
    schema = schema_of(LENGTH, TRACKS, BINS)
    empty = pa.array([None], type=schema.field("sequence").type)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, TRACKS, BINS), dtype=np.float16))
    with pa.ipc.new_file(tmp_path / "x.arrow", schema) as writer:
        for _ in range(2):
            writer.write_batch(pa.RecordBatch.from_arrays([empty, tensor], schema=schema))
    with pytest.raises(FormatError, match=r"x\.arrow: window 0 cannot be read"):
        read_shard(tmp_path / "x.arrow")


def test_the_seed_itself_is_read(tmp_path: Path) -> None:
    assert read(folder_of(tmp_path, zlib.compress(STREAM))) == 2
    shard_of(tmp_path)
    assert read_shard(tmp_path / "seed.arrow") == 2


@pytest.mark.timeout(60)
def test_a_number_without_end_is_refused_at_once(tmp_path: Path) -> None:
    """Adding up a number of millions of digits would take days."""
    with pytest.raises(ValueError, match="a number of more than 64 bits"):
        read_example(b"\x80" * 4_000_000 + b"\x01")


def test_a_record_larger_than_any_of_these_data_is_refused_before_it_is_held(tmp_path: Path) -> None:
    """Zeros shrink a thousandfold: a small file could fill the memory."""
    bomb = zlib.compress((2**31 - 1).to_bytes(8, "little") + bytes(2**26))
    assert len(bomb) < 100_000
    with pytest.raises(FormatError, match=r"train-0\.tfr: a record of 2147483647 bytes; at most \d{7} are expected"):
        read(folder_of(tmp_path, bomb))
