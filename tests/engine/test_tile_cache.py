"""Tiles in memory and on disk: bounded, never stale, never trusted when damaged."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.engine.cache import Cache
from borzoi_rt.engine.tile_cache import TileCache, TileStore
from borzoi_rt.errors import InputError

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def tensors(value: float = 1.0, rows: int = 3) -> list[np.ndarray]:
    return [np.full((rows, 4), value, dtype=np.float32), np.arange(rows * 8, dtype=np.float32).reshape(rows, 8)]


def never() -> list[np.ndarray]:
    raise AssertionError("computed although it was held")


def same(got: object, want: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(got, want, strict=True))  # type: ignore[call-overload]


def test_memory_holds_the_tiles_used_last() -> None:
    size = sum(tensor.nbytes for tensor in tensors())
    cache = TileCache(Cache(2 * size))
    for value in (1, 2):
        cache.get(bytes([value]), lambda value=value: tensors(value))
    cache.get(bytes([1]), never)  # 2 is now the oldest
    cache.get(bytes([3]), lambda: tensors(3))
    cache.get(bytes([1]), never)
    assert same(cache.get(bytes([2]), lambda: tensors(20)), tensors(20))
    assert cache.computed == 4


def test_what_is_held_cannot_be_changed() -> None:
    held = TileCache().get(KEY, tensors)
    with pytest.raises(ValueError, match="read-only"):
        held[0][0, 0] = 5.0


def test_a_store_outlives_the_cache(tmp_path: Path) -> None:
    TileCache(store=TileStore(tmp_path)).get(KEY, tensors)
    assert same(TileCache(store=TileStore(tmp_path)).get(KEY, never), tensors())


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other_key", "garbage"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = TileStore(tmp_path)
    store.write(KEY, tensors())
    store.write(OTHER, tensors(9.0))
    path = next(tmp_path.glob(f"{KEY.hex()}*"))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "truncate":
        del content[-10:]
    elif damage == "empty":
        content.clear()
    elif damage == "other_key":
        content = bytearray(next(tmp_path.glob(f"{OTHER.hex()}*")).read_bytes())
    else:
        content = bytearray(os.urandom(500))
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        assert store.read(KEY) is None
    assert "damaged" in caplog.text
    assert same(TileCache(store=store).get(KEY, tensors), tensors())
    assert same(store.read(KEY), tensors())  # written anew


def test_files_deleted_under_a_running_process_are_computed_again(tmp_path: Path) -> None:
    cache = TileCache(Cache(0), TileStore(tmp_path))
    cache.get(KEY, tensors)
    cache.get(OTHER, tensors)  # pushes KEY out of memory
    for path in tmp_path.iterdir():
        path.unlink()
    assert same(cache.get(KEY, lambda: tensors(3.0)), tensors(3.0))


def test_a_full_disk_ends_writing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = TileStore(tmp_path)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as handle:
            handle.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    cache = TileCache(Cache(0), store)
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        assert same(cache.get(KEY, tensors), tensors())
        assert same(cache.get(OTHER, tensors), tensors())
    assert caplog.text.count("No space left") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_bound_removes_the_files_used_longest_ago(tmp_path: Path) -> None:
    store = TileStore(tmp_path)
    store.write(bytes(32), tensors())
    size = next(tmp_path.glob("*.tile")).stat().st_size
    bounded = TileStore(tmp_path, limit_bytes=4 * size)
    for number in range(1, 4):
        key = bytes([number]) * 32
        bounded.write(key, tensors())
        os.utime(tmp_path / f"{key.hex()}.tile", (number, number))
    bounded.write(bytes([9]) * 32, tensors())
    left = sorted(path.name[:2] for path in tmp_path.glob("*.tile"))
    assert len(left) <= 4
    assert "09" in left
    assert "01" not in left  # older than 2 and 3; the first file was made just now
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * size


def _fill(folder: str, value: int) -> None:
    store = TileStore(folder)
    for number in range(50):
        store.write(bytes([number]) * 32, tensors(float(number)))
        found = store.read(bytes([(number * 7 + value) % 50]) * 32)
        assert found is None or found[0][0, 0] == (number * 7 + value) % 50


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(tmp_path), value)) for value in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = TileStore(tmp_path)
    assert all(same(store.read(bytes([n]) * 32), tensors(float(n))) for n in range(50))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".tile"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be a cache folder"):
        TileStore(tmp_path / "file" / "cache")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "endless device", "huge", "folder"])
def test_what_is_no_file_of_a_tile_counts_as_absent(tmp_path: Path, kind: str) -> None:
    """Reading a pipe would wait for ever, and so would a device."""
    path = tmp_path / f"{KEY.hex()}.tile"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as handle:
            handle.truncate(2**40)
    else:
        path.mkdir()
    assert TileStore(tmp_path).read(KEY) is None
    assert same(TileCache(store=TileStore(tmp_path)).get(KEY, tensors), tensors())
