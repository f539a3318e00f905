"""Reading a data set takes the memory of a few windows, whatever its size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.dataset import DataInfo
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window

GRID = Geometry(sequence_length_bp=32_768, bin_size_bp=32, bins=1024)
TRACKS, WINDOWS, SHARD = 512, 240, 40  # 240 x 512 x 1024 x 2 bytes = 252 MB of noise, which zstd cannot make smaller

READ = """
import resource, sys
from borzoi_rt.dataset import open_data
from borzoi_rt.dataset.arrow import ArrowSplit
split = open_data(sys.argv[1]).split("train")
order = split.in_order() if sys.argv[2] == "in_order" else split.shuffled((1, 2))
for _ in range(8):
    next(order)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = 8 + sum(1 for _ in order)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    (folder / "shards").mkdir()
    generator = np.random.default_rng(0)
    schema = schema_of(GRID.sequence_length_bp, TRACKS, GRID.bins)
    codes = generator.integers(0, 4, GRID.sequence_length_bp, dtype=np.uint8)
    for number in range(WINDOWS // SHARD):
        targets = (generator.integers(0, 0x7C00, (TRACKS, GRID.bins), dtype="u2").view("f2") for _ in range(SHARD))
        write_shard(
            folder / "shards" / f"train-{number:05d}.arrow", (Window(codes, target) for target in targets), schema
        )
    info = DataInfo(tracks=TRACKS, geometry=GRID, windows={"train": WINDOWS})
    (folder / "statistics.json").write_text(json.dumps(info.to_json()))
    return folder


@pytest.mark.parametrize("order", ["in_order", "shuffled"])
def test_memory_does_not_grow_with_the_data(data: Path, order: str) -> None:
    size_kb = sum(path.stat().st_size for path in (data / "shards").iterdir()) / 1024
    done = subprocess.run([sys.executable, "-c", READ, data, order], capture_output=True, text=True, check=True)
    count, grown_kb = map(int, done.stdout.split())
    assert count == WINDOWS
    assert size_kb > 200_000
    assert grown_kb < 40_000  # a sixth of the data; a window is 1 MB
