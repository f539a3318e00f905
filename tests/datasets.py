"""Small training data in our format, for the toy network of ``toys``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import toys

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.dataset import SEQUENCES, STATISTICS, TARGETS, Data, DataInfo, open_data
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window
from borzoi_rt.tracks import TrackTable

GRID = Geometry(sequence_length_bp=2048, bin_size_bp=32, bins=32)


def toy_windows(count: int, seed: int, tracks: int = toys.TRACKS) -> list[Window]:
    """Return windows whose coverage follows the sequence: track t reads the share of base t % 4 in the bin."""
    generator = np.random.default_rng(seed)
    windows = []
    for _ in range(count):
        codes = generator.integers(0, 4, GRID.sequence_length_bp, dtype=np.uint8)
        inner = codes[GRID.crop_bp : GRID.crop_bp + GRID.bins * GRID.bin_size_bp].reshape(GRID.bins, GRID.bin_size_bp)
        target = np.stack([2.0 * (inner == track % 4).mean(axis=1) for track in range(tracks)])
        windows.append(Window(codes, target.astype(np.float16)))
    return windows


def write_toy_data(
    folder: Path,
    *,
    windows: int = 8,
    valid: int = 0,
    shard: int = 3,
    seed: int = 0,
    poison: int | None = None,
    poisoned: str = "train",
    tracks: TrackTable | None = None,
    squash: str = "new",
) -> Data:
    """Write shards of ``shard`` windows each; window ``poison`` of a split gets a NaN in track 2."""
    tracks = tracks or toys.tracks()
    (folder / "shards").mkdir(parents=True)
    schema = schema_of(GRID.sequence_length_bp, len(tracks), GRID.bins)
    counts = {"train": windows, "valid": valid, "test": 0}
    regions = []
    for number, (split, count) in enumerate(counts.items()):
        made = toy_windows(count, seed + 1000 * number, len(tracks))
        if poison is not None and split == poisoned:
            target = made[poison].target.copy()
            target[2, 7] = np.nan
            made[poison] = Window(made[poison].codes, target)
        for start in range(0, count, shard):
            write_shard(folder / "shards" / f"{split}-{start // shard:05d}.arrow", made[start : start + shard], schema)
        regions += [f"chr1\t{2048 * index}\t{2048 * index + 1024}\t{split}" for index in range(count)]
    info = DataInfo(tracks=len(tracks), geometry=GRID, windows=counts, squash=squash)
    (folder / STATISTICS).write_text(json.dumps(info.to_json()))
    (folder / SEQUENCES).write_text("\n".join(regions) + "\n")
    tracks.write(folder / TARGETS)
    return open_data(folder)
