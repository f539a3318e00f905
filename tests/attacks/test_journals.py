"""Shards of a journal: nothing of one is interpreted before its hash is right."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.fuzzing import fuzz, spoilt
from borzoi_rt.errors import FormatError
from borzoi_rt.runs.journal import read_shard, write_shard

TABLE = pa.table({"status": ["ok", "ref_mismatch"], "scores": pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))})


@fuzz
@given(data=st.data())
def test_a_spoilt_shard_is_refused_or_the_same(tmp_path: Path, data: st.DataObject) -> None:
    write_shard(tmp_path, 3, TABLE)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    after = data.draw(spoilt((before,)))
    path.write_bytes(after)
    if after == before:
        assert read_shard(tmp_path, 3).equals(TABLE)
        return
    with pytest.raises(FormatError, match=r"damaged .* remove this file and resume") as caught:
        read_shard(tmp_path, 3)
    assert "\n" not in str(caught.value)


def test_every_single_bit_counts(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, TABLE)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for offset in range(0, len(content), max(1, len(content) // 200)):
        spoilt_content = bytearray(content)
        spoilt_content[offset] ^= 1 << (offset % 8)
        path.write_bytes(spoilt_content)
        with pytest.raises(FormatError, match="damaged"):
            read_shard(tmp_path, 0)
