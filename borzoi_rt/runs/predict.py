"""Predict the coverage of regions: bigWig files and one NumPy archive."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .. import __version__
from ..backends.device import Device
from ..backends.opening import open_session
from ..bundle.manifest import Geometry
from ..bundle.opening import Bundle, open_bundle
from ..engine.options import PredictionOptions
from ..engine.prediction import Predictor
from ..errors import BackendError, InputError
from ..genome.bigwig import write_bigwig
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..plain import check_types, path_of
from ..tracks import TrackTable
from .estimate import Output, Shards
from .outputs import check_directory, finish_directory
from .plan import Tick
from .run import do_jobs, is_over, open_journal
from .score_plan import open_genome
from .settings import RunSettings
from .tally import Tally, counted, tally_of

ARCHIVE = "predictions.npz"
DESCRIPTION = "predictions.json"
_BLOCK_BYTES = 512 * 2**20
_TIMED_TRACKS = 64  # whose files an estimate writes; there may be thousands


@dataclass(frozen=True, kw_only=True)
class CoverageOptions:
    """What coverage is predicted.

    Parameters
    ----------
    tracks : str, optional
        Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
    prediction : PredictionOptions
        Strands, shifts, unknown bases; strands and shifts are averaged in squashed scale.
    squashed : bool
        Keep the squashed scale; otherwise coverage as the inverse of the squash gives it.
    squash : str, optional
        Kind to undo instead of the bundle's.
    unscale, unclip : bool, optional
        Inverse of the squashed scale; None keeps the bundle's own.
    """

    tracks: str | None = None
    prediction: PredictionOptions = field(default_factory=PredictionOptions)
    squashed: bool = False
    squash: str | None = None
    unscale: bool | None = None
    unclip: bool | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not isinstance(self.prediction, PredictionOptions):
            raise InputError(f"prediction is {self.prediction!r:.40}; a PredictionOptions is needed")
        if self.squashed and (self.squash or self.unscale is not None or self.unclip is not None):
            raise InputError("squashed keeps the scale of the model: leave out squash, unscale and unclip")


@dataclass(frozen=True)
class CoveragePlan:
    """Windows to predict, one a job."""

    windows: tuple[Interval, ...]
    positions: tuple[int, ...]
    bundle: Bundle
    fasta: Path
    options: CoverageOptions
    device: Device
    identity: Mapping[str, Any]

    @property
    def jobs(self) -> int:
        """One for each window."""
        return len(self.windows)

    def items(self, number: int) -> int:
        """Return 1: a job is a window."""
        return 1

    def units(self, number: int) -> int:
        """Return 1: a window is not cut."""
        return 1

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Refuse: coverage has no status.

        Raises
        ------
        BackendError
            Naming the window.
        """
        window = self.windows[number]
        where = f"{window.chrom}:{window.start + 1}-{window.end}"
        raise BackendError(f"window {where} cannot be predicted: {detail}; leave its region out, or take fewer workers")

    def open(self) -> CoverageWorker:
        """Load the model and open the genome."""
        return CoverageWorker(self)


class CoverageWorker:
    """A predictor that answers a job."""

    def __init__(self, plan: CoveragePlan) -> None:
        self._plan = plan
        self._fasta = open_genome(plan.fasta, plan.identity["genome"])
        self._session = counted(open_session(plan.bundle, plan.device))
        self._predictor = coverage_predictor(plan.bundle, self._session, np.array(plan.positions), plan.options)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Predict a window: a row for each track, its bins in ``coverage``."""
        plan, window = self._plan, self._plan.windows[number]
        values = self._predictor.window(self._fasta, window.chrom, window.start - plan.bundle.geometry.crop_bp)
        if not plan.options.squashed:
            values = self._predictor.squash.inverse(values)
        tick()
        flat = pa.array(np.ascontiguousarray(values).ravel())
        return pa.table({"coverage": pa.FixedSizeListArray.from_arrays(flat, values.shape[1])})

    @property
    def tally(self) -> Tally:
        """What was computed."""
        return tally_of(self._session.counts, self._plan.bundle, len(self._plan.positions))

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of the cache, and their bound."""
        return self._predictor.memory.size

    def forget(self) -> None:
        """Empty cache and tally."""
        self._session.counts.clear()
        self._predictor.memory.clear()

    def close(self) -> None:
        """Free the model and close the genome."""
        self._session.close()
        self._fasta.close()


def check_windows(options: PredictionOptions) -> None:
    """Refuse choices that are of variants, where windows are predicted.

    Raises
    ------
    InputError
        Naming the first.
    """
    for name, only in (("indel", None), ("shift_space", "squashed"), ("window", "centered")):
        value = getattr(options, name)
        if value not in (None, only):
            raise InputError(f"{name} is {value!r}, which is for variants; leave it out")


def coverage_predictor(bundle: Bundle, session: Any, positions: np.ndarray, options: CoverageOptions) -> Predictor:
    """Return the predictor that coverage options ask for."""
    squash = bundle.squash(positions, kind=options.squash, unscale=options.unscale, unclip=options.unclip)
    return Predictor(
        session,
        bundle.tracks,
        squash,
        positions=positions,
        options=options.prediction,
        n_policy=bundle.info.n_policy,
    )


def predict_regions(
    regions: Sequence[Interval],
    out: str | os.PathLike[str],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    options: CoverageOptions | None = None,
    settings: RunSettings | None = None,
) -> list[Path]:
    """Predict regions and write one bigWig per track and one archive.

    Parameters
    ----------
    regions : sequence of Interval
        A region that is no longer than the output of the model gives the window around its middle, which shows more
        than the region; a longer one is cut into as many adjacent windows as cover it.
    out : path
        Directory to make. ``predictions.npz`` holds ``coverage`` float32 (windows, tracks, bins), ``chrom``, ``start``
        and ``end`` of the output windows, ``region`` (which region a window is of), ``bin_size_bp`` and ``track_id``;
        ``predictions.json`` says how they were made. Where output windows overlap, a base of the bigWig comes from the
        window whose centre is nearest; bins are cut at the ends of the chromosome.
    bundle, fasta
        Model and genome.
    options : CoverageOptions, optional
        Tracks, strands and scale.
    settings : RunSettings, optional
        Device, processes, resumption; windows are predicted in whole passes.

    Returns
    -------
    list of Path
        The files written; none where the settings name a shard.
    """
    target, chosen, settings = path_of("out", out), options or CoverageOptions(), settings or RunSettings()
    regions = Interval.several(regions)
    check_windows(chosen.prediction)
    if settings.engine is not None:
        raise InputError("coverage is predicted in whole passes: leave out engine")
    if settings.estimate is None:
        check_directory(target, [bundle.path if isinstance(bundle, Bundle) else bundle], resume=settings.resume)
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    positions = model.tracks.select(chosen.tracks)
    tracks = model.tracks.take(positions)
    with Fasta(fasta) as genome:
        numbers, windows = windows_of(regions, genome, model.geometry)
        resolved = chosen.prediction.resolved({}, model.info.n_policy)
        units = tuple(int(position) for position in positions)
        identity: dict[str, Any] = {
            "borzoi_rt": __version__,
            "bundle": model.sha256,
            "genome": genome.fingerprint(),
            "windows": hashlib.sha256(repr(windows).encode()).hexdigest(),
            "options": {**asdict(chosen), "prediction": asdict(resolved)},
            "tracks": list(units),
        }
        plan = CoveragePlan(windows, units, model, genome.path, chosen, settings.worker_device, identity)
        with open_journal(target, settings) as journal:
            do_jobs(plan, journal, settings)

            def write_some(folder: Path, shards: Shards) -> None:
                count = sum(1 for _ in shards())
                some = _Coverage(shards, windows[:count], numbers[:count], model.geometry)
                _write(folder, some, tracks.take(np.arange(min(len(tracks), _TIMED_TRACKS))), genome, identity)

            times = max(1.0, len(tracks) / _TIMED_TRACKS)
            output = Output(target.name, write_some, least=1, times=times, finish=finish_directory)
            if is_over(plan, journal, settings, output):
                return []
            coverage = _Coverage(journal.tables, windows, numbers, model.geometry)
            finish_directory(target, journal, lambda folder: _write(folder, coverage, tracks, genome, identity))
    return sorted(target.iterdir())


def windows_of(
    regions: Sequence[Interval], fasta: Fasta, geometry: Geometry
) -> tuple[tuple[int, ...], tuple[Interval, ...]]:
    """Return the output windows that cover regions, and for each the number of its region.

    Raises
    ------
    InputError
        If a region lies on no contig of the genome, or its middle beyond the end of one.
    """
    numbers: list[int] = []
    windows: list[Interval] = []
    width_bp = geometry.bins * geometry.bin_size_bp
    for number, region in enumerate(regions):
        name = f"region {region.chrom}:{region.start + 1}-{region.end}"
        contig = fasta.resolve(region.chrom)
        if contig is None:
            raise InputError(f"{name}: {fasta.name} has no contig {region.chrom!r}")
        middle, length = (region.start + region.end) // 2, fasta.contigs[contig]
        if not 0 <= middle < length:
            end = "end" if middle >= length else "start"
            raise InputError(f"{name}: its middle lies beyond the {end} of {contig} ({length} bp)")
        count = max(1, -(-(region.end - region.start) // width_bp))
        first = region.centred(count * width_bp).start
        for start in range(first, first + count * width_bp, width_bp):
            numbers.append(number)
            windows.append(Interval(contig, start, start + width_bp, region.name))
    return tuple(numbers), tuple(windows)


@dataclass(frozen=True)
class _Coverage:
    """Predicted windows, read from the journal as they are needed."""

    shards: Shards
    windows: tuple[Interval, ...]
    regions: tuple[int, ...]
    geometry: Geometry

    def arrays(self) -> Iterator[np.ndarray]:
        """Yield float32 (tracks, bins) of every window."""
        for table in self.shards():
            column = table["coverage"].combine_chunks()
            yield column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), self.geometry.bins)

    def tracks(self, positions: slice) -> np.ndarray:
        """Return float32 (windows, tracks, bins) of some tracks."""
        return np.stack([values[positions] for values in self.arrays()])


def _write(folder: Path, coverage: _Coverage, tracks: TrackTable, genome: Fasta, identity: Mapping[str, Any]) -> None:
    windows, grid = coverage.windows, coverage.geometry
    block = max(1, _BLOCK_BYTES // (4 * grid.bins * len(windows)))
    for start in range(0, len(tracks), block):
        values = coverage.tracks(slice(start, min(start + block, len(tracks))))
        for offset in range(values.shape[1]):
            number = start + offset
            path = folder / f"{tracks.index[number]}_{file_name(tracks.identifier[number])}.bw"
            _write_track(path, windows, values[:, offset], genome, grid.bin_size_bp)
    arrays = {
        "chrom": np.array([window.chrom for window in windows]),
        "start": np.array([window.start for window in windows]),
        "end": np.array([window.end for window in windows]),
        "region": np.array(coverage.regions),
        "bin_size_bp": np.array(grid.bin_size_bp),
        "track_id": np.array(tracks.identifier),
    }
    _write_archive(folder / ARCHIVE, coverage, (len(windows), len(tracks), grid.bins), arrays)
    (folder / DESCRIPTION).write_text(json.dumps(dict(identity), indent=2) + "\n", encoding="utf-8")


def _write_archive(
    path: Path, coverage: _Coverage, shape: tuple[int, int, int], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write what ``numpy.load`` reads, the coverage a window at a time: it may be larger than the memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("coverage.npy", "w", force_zip64=True) as handle:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(handle, header)
            for values in coverage.arrays():
                handle.write(np.ascontiguousarray(values[: shape[1]], dtype="<f4").tobytes())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=False)


def _write_track(path: Path, windows: Sequence[Interval], values: np.ndarray, fasta: Fasta, bin_size_bp: int) -> None:
    order = sorted({window.chrom for window in windows})
    lengths = {chrom: fasta.contigs[chrom] for chrom in order}

    def entries() -> Iterator[tuple[str, int, int, float]]:
        for chrom in order:
            numbers = sorted((n for n, w in enumerate(windows) if w.chrom == chrom), key=lambda n: windows[n].start)
            for number, (low, high) in zip(
                numbers, _shares([windows[n] for n in numbers], lengths[chrom]), strict=True
            ):
                start = windows[number].start
                for index, value in enumerate(values[number].tolist()):
                    left = max(start + index * bin_size_bp, low)
                    right = min(start + (index + 1) * bin_size_bp, high)
                    if left < right:
                        yield chrom, left, right, value

    write_bigwig(path, lengths, entries())


def _shares(windows: Sequence[Interval], length: int) -> list[tuple[int, int]]:
    """Return the part of each window, sorted by start, that no neighbour's centre is nearer to."""
    cuts = [0]
    for left, right in pairwise(windows):
        cuts.append((left.end + right.start) // 2 if right.start < left.end else right.start)
    cuts.append(length)
    shares = []
    for number, window in enumerate(windows):
        low = max(window.start, cuts[number])
        shares.append((low, max(low, min(window.end, cuts[number + 1]))))
    return shares


def file_name(identifier: str) -> str:
    """Return the name of a track as it may stand in the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", identifier)[:100]
