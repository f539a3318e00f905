"""Training data on disk: a directory that describes itself, in our format or Calico's.

- ``statistics.json``: Calico's keys (``num_targets, seq_length, seq_1hot, pool_width, crop_bp, target_length`` and
  ``{split}_seqs``); ours adds ``format``, ``format_version``, ``squash`` and where everything comes from.
- ``targets.txt``: the track table. ``sequences.bed``: the target region of each window and its split, in order.
- ``shards/{split}-{number}.arrow`` (:mod:`borzoi_rt.dataset.arrow`) or ``tfrecords/{split}-{number}.tfr``
  (:mod:`borzoi_rt.dataset.tfrecord`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..bundle.manifest import Geometry
from ..errors import FormatError, InputError
from ..genome.intervals import Interval, read_bed
from ..reading import read_json
from ..squash import KINDS
from ..tracks import TrackTable
from .window import Window

FORMAT, FORMAT_VERSION = "borzoi-rt-data", 1
SPLITS = ("train", "valid", "test")
STATISTICS, TARGETS, SEQUENCES = "statistics.json", "targets.txt", "sequences.bed"


class Split(Protocol):
    """Windows of one split."""

    def __len__(self) -> int:
        """Return the number of windows."""

    def in_order(self) -> Iterator[Window]:
        """Yield the windows in the order of sequences.bed."""

    def shuffled(self, seed: Sequence[int], wanted: Callable[[int], bool] | None = None) -> Iterator[Window]:
        """Yield each window once, in an order that the seed fixes; of these only the ranks that are wanted."""


@runtime_checkable
class IndexedSplit(Split, Protocol):
    """A split any window of which can be read without its neighbours, by several threads at once."""

    def __getitem__(self, number: int) -> Window:
        """Return a window by its number in the order of sequences.bed."""

    def order(self, seed: Sequence[int]) -> list[int]:
        """Return the numbers of the windows in the order of :meth:`shuffled`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo:
    """What statistics.json says.

    ``squash`` is the kind of the targets; None in Calico's data, which does not record it.
    """

    tracks: int
    geometry: Geometry
    windows: Mapping[str, int]
    squash: str | None = None
    indexed: bool = True
    shards: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of statistics.json."""
        grid = self.geometry
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "num_targets": self.tracks,
            "seq_length": grid.sequence_length_bp,
            "seq_1hot": self.indexed,
            "pool_width": grid.bin_size_bp,
            "crop_bp": grid.crop_bp,
            "target_length": grid.bins,
            **{f"{split}_seqs": count for split, count in self.windows.items()},
            "squash": self.squash,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> DataInfo:
        """Read :meth:`to_json`, or what Calico's programs write.

        Raises
        ------
        FormatError
            Naming ``source`` and the key.
        """
        ours = "format" in values
        if ours and (values["format"], values.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise FormatError(
                f"{source}: format {values['format']!r} version {values.get('format_version')!r}; this release reads "
                f"{FORMAT!r} version {FORMAT_VERSION}"
            )
        numbers = {}
        for key in ("num_targets", "seq_length", "pool_width", "target_length", "crop_bp"):
            value = values.get(key)
            if not isinstance(value, int) or isinstance(value, bool) or value < (key != "crop_bp"):
                raise FormatError(f"{source}: {key} is {value!r}; a positive integer is needed")
            numbers[key] = value
        geometry = Geometry(
            sequence_length_bp=numbers["seq_length"], bin_size_bp=numbers["pool_width"], bins=numbers["target_length"]
        )
        if geometry.crop_bp != numbers["crop_bp"]:
            raise FormatError(f"{source}: crop_bp is {numbers['crop_bp']}; the other sizes give {geometry.crop_bp}")
        squash = values.get("squash")
        if squash is not None and squash not in KINDS:
            raise FormatError(f"{source}: squash {squash!r} is unknown; allowed: {', '.join(KINDS)}")
        windows = {key.removesuffix("_seqs"): value for key, value in values.items() if key.endswith("_seqs")}
        return cls(
            tracks=numbers["num_targets"],
            geometry=geometry,
            windows=windows,
            squash=squash,
            indexed=bool(values.get("seq_1hot", False)),
            shards=ours,
            provenance=values.get("provenance", {}),
        )


@dataclass(frozen=True)
class Data:
    """An opened data directory; nothing is read from its shards yet."""

    path: Path
    info: DataInfo

    @cached_property
    def tracks(self) -> TrackTable | None:
        """The track table; None where the directory has none."""
        path = self.path / TARGETS
        if not path.is_file():
            return None
        table = TrackTable.read(path)
        if len(table) != self.info.tracks:
            raise FormatError(f"{path}: {len(table)} rows, {STATISTICS} says {self.info.tracks} tracks")
        return table

    def split(self, name: str) -> Split:
        """Return the windows of a split.

        Raises
        ------
        InputError
            If there is none of that name.
        FormatError
            If its files are missing or damaged.
        """
        info, grid = self.info, self.info.geometry
        windows = info.windows.get(name, 0)
        if not windows:
            held = [split for split, count in info.windows.items() if count]
            raise InputError(f"{self.path} has no split {name!r}; it has {', '.join(held) or 'none'}")
        folder, suffix = ("shards", "arrow") if info.shards else ("tfrecords", "tfr")
        found = [path for path in (self.path / folder).glob(f"{name}-*.{suffix}") if _number(path) is not None]
        paths = sorted(found, key=lambda path: _number(path) or 0)
        if not paths:
            raise FormatError(f"{self.path / folder}: no file {name}-*.{suffix}; copy or make the data again")
        sizes = {"length": grid.sequence_length_bp, "tracks": info.tracks, "bins": grid.bins}
        if info.shards:
            from .arrow import ArrowSplit

            return ArrowSplit(paths, windows, **sizes)
        from .tfrecord import TFRecordSplit

        return TFRecordSplit(paths, windows, **sizes, indexed=info.indexed)

    def regions(self, split: str) -> list[Interval] | None:
        """Return the target regions of a split in order; None where the directory does not list them."""
        path = self.path / SEQUENCES
        if not path.is_file():
            return None
        regions = [region for region in read_bed(path) if region.name == split]
        windows = self.info.windows.get(split, 0)
        if len(regions) != windows:
            raise FormatError(f"{path}: {len(regions)} regions of split {split!r}, {STATISTICS} says {windows}")
        return regions


def open_data(path: str | os.PathLike[str]) -> Data:
    """Open a data directory of ``borzoi-rt data make``, or one of Calico's with TFRecords.

    Raises
    ------
    FormatError
        If it is no such directory.
    """
    path = Path(path)
    statistics = path / STATISTICS
    if not path.is_dir():
        raise FormatError(f"{path}: no such data directory; `borzoi-rt data make` makes one")
    try:
        values = read_json(statistics)
    except (OSError, ValueError) as error:
        raise FormatError(f"{statistics}: cannot be read as JSON ({error})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{statistics}: holds {type(values).__name__}; an object is needed")
    return Data(path, DataInfo.from_json(values, str(statistics)))


def _number(path: Path) -> int | None:
    found = re.search(r"-(\d+)\.\w+$", path.name)
    return int(found.group(1)) if found else None
