"""Make training data: bigWig files, a genome and windows -> shards.

Every shard is a function of the plan and its number, so the result is the same for any number of workers, and a run
that was stopped goes on with the shards that are missing. The work is done in ``OUT.partial``, which becomes ``OUT`` at
the end.

For each window and track: coverage per base (:mod:`borzoi_rt.dataset.coverage`), sum or mean of each bin, squash
(:class:`borzoi_rt.squash.Squash`, float32), limit to half precision, clip of unmappable bins, float16. The reference
also rounds to two decimals, which costs a track of scale 0.01 nearly everything (``decimals=2`` does it), and clips a
file at its 0.9999999 quantile, which is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bundle.manifest import Geometry
from ..errors import FormatError, InputError
from ..genome.bigwig import BigWig
from ..genome.fasta import Fasta
from ..genome.intervals import Interval, read_bed
from ..plain import check_types
from ..reading import sha256_of
from ..squash import KINDS, SUM_STATS, Squash
from ..tracks import TrackTable
from . import SEQUENCES, SPLITS, STATISTICS, TARGETS, Data, DataInfo, open_data
from .arrow import ArrowSplit, schema_of, write_shard
from .coverage import HALF_MAX, Mask, bin_coverage, check_contigs, clean
from .window import Window, codes_of

log = logging.getLogger(__name__)

BLACKLIST_BUFFER_BP = 20
SHARD_BYTES = 256 * 2**20
PLAN = "plan.json"
_WINDOWS_PER_SHARD = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOptions:
    """How data are made; part of statistics.json.

    Parameters
    ----------
    squash : str
        Kind of the squashed scale.
    geometry : Geometry
        Window and grid; the published model's by default.
    blacklist_percentile : float
        Of the baseline that blacklisted bases are clipped to.
    umap_percentile : float
        Of a window's bins, to which bins are clipped of which more than half is unmappable.
    interpolate : bool
        Fill bases without coverage by lines, not by 0.
    empty_contigs : bool
        Take a contig that a bigWig does not list as one without reads.
    decimals : int, optional
        Round squashed values.
    """

    squash: str
    geometry: Geometry = field(default_factory=lambda: Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6_144))
    blacklist_percentile: float = 50.0
    umap_percentile: float = 50.0
    interpolate: bool = False
    empty_contigs: bool = False
    decimals: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.squash not in KINDS:
            raise InputError(f"squash kind {self.squash!r} is unknown; allowed: {', '.join(KINDS)}")
        for name in ("blacklist_percentile", "umap_percentile"):
            if not 0 <= getattr(self, name) <= 100:
                raise InputError(f"{name} is {getattr(self, name)!r}; a number in [0, 100] is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Files that data are made of; ``regions`` maps a split to its regions, each re-centred to the window."""

    targets: Path
    fasta: Path
    regions: dict[str, list[Interval]]
    blacklist: Path | None = None
    unmappable: Path | None = None


def make_data(
    sources: Sources,
    out: str | os.PathLike[str],
    *,
    options: MakeOptions,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Data:
    """Write a data directory.

    Parameters
    ----------
    sources : Sources
        The track table (column ``file``: bigWig, relative to the table), genome, regions, masks.
    out : path
        Directory to make. ``OUT.partial`` of an earlier call with the same sources and options is gone on with.
    options : MakeOptions
        See there.
    workers : int
        Processes.
    progress : callable, optional
        Called with the number of windows done.

    Raises
    ------
    FormatError, InputError
        Naming the file and what does not fit; before anything is written where that can be known.
    """
    target = Path(out)
    if target.exists():
        raise InputError(f"{target}: exists; choose another name or remove it")
    plan = _plan(sources, options)
    staging = target.with_name(f"{target.name}.partial")
    if staging.is_symlink():
        raise InputError(f"{staging}: is a symbolic link, which is not followed; remove it, or choose another name")
    _settle(staging, plan)
    jobs = [(split, number) for split in SPLITS for number in range(plan.shards(split))]
    missing = [job for job in jobs if not _is_whole(plan, staging, *job)]
    done = sum(plan.count(*job) for job in jobs if job not in set(missing))
    for job in _run(plan, staging, missing, workers):
        done += plan.count(*job)
        if progress:
            progress(done)
    _finish(plan, staging)
    staging.rename(target)
    (target / PLAN).unlink(missing_ok=True)  # only now: until it has its name, another call must know whose it is
    return open_data(target)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything a worker needs."""

    sources: Sources
    options: MakeOptions
    tracks: TrackTable
    files: tuple[Path, ...]
    regions: dict[str, list[Interval]]
    provenance: dict[str, Any]
    per_shard: int

    def shards(self, split: str) -> int:
        return -(-len(self.regions[split]) // self.per_shard)

    def count(self, split: str, number: int) -> int:
        return len(self.windows(split, number))

    def windows(self, split: str, number: int) -> list[Interval]:
        return self.regions[split][number * self.per_shard : (number + 1) * self.per_shard]

    @staticmethod
    def path(folder: Path, split: str, number: int) -> Path:
        return folder / "shards" / f"{split}-{number:05d}.arrow"


def _plan(sources: Sources, options: MakeOptions) -> _Plan:
    tracks = TrackTable.read(sources.targets)
    for name, stat in zip(tracks.identifier, tracks.sum_stat, strict=True):
        if stat not in SUM_STATS:
            raise InputError(f"track {name!r}: sum_stat {stat!r} cannot be made; allowed: {', '.join(SUM_STATS)}")
    if "file" not in tracks.extra:
        raise FormatError(f"{sources.targets}: no column 'file' with the bigWig of each track")
    files = tuple(sources.targets.parent / name for name in tracks.extra["file"])
    grid = options.geometry
    with Fasta(sources.fasta) as genome:
        regions = {split: [_target(genome, item, grid) for item in sources.regions.get(split, [])] for split in SPLITS}
        used = [region for split in SPLITS for region in regions[split]]
        if not used:
            raise InputError("no regions; give at least one")
        for path in files:
            with BigWig(path) as bigwig:
                check_contigs(bigwig, used, genome.contigs, genome.name, empty_contigs=options.empty_contigs)
        fingerprint = genome.fingerprint()
    for mask in (sources.blacklist, sources.unmappable):
        if mask is not None:
            read_bed(mask)
    provenance = {
        "version": __version__,
        "options": {**asdict(options), "geometry": asdict(grid)},
        "fasta": fingerprint,
        "targets_sha256": sha256_of(sources.targets),
        "blacklist_sha256": sources.blacklist and sha256_of(sources.blacklist),
        "unmappable_sha256": sources.unmappable and sha256_of(sources.unmappable),
        "overlaps": _overlaps(regions),
    }
    window_bytes = 2 * len(tracks) * grid.bins + grid.sequence_length_bp
    per_shard = max(1, min(_WINDOWS_PER_SHARD, SHARD_BYTES // window_bytes))
    return _Plan(sources, options, tracks, files, regions, provenance, per_shard)


def _target(genome: Fasta, region: Interval, grid: Geometry) -> Interval:
    """Return the target region around the middle of a region; it must lie in the contig, the input need not."""
    if region.chrom not in genome.contigs:
        other = genome.resolve(region.chrom)
        hint = f"did you mean {other!r}?" if other else f"it has {', '.join(list(genome.contigs)[:4])}, ..."
        raise InputError(f"region {_shown(region)}: {genome.name} has no contig {region.chrom!r}; {hint}")
    window = region.centred(grid.sequence_length_bp)
    start = window.start + grid.crop_bp
    found = Interval(region.chrom, start, start + grid.bins * grid.bin_size_bp)
    if found.start < 0 or found.end > genome.contigs[region.chrom]:
        raise InputError(
            f"region {_shown(region)}: its target region {_shown(found)} leaves the contig of "
            f"{genome.contigs[region.chrom]} bp"
        )
    return found


def _overlaps(regions: dict[str, list[Interval]]) -> dict[str, int]:
    """Count regions that share bases with a region of another split: what is measured there is not held out."""
    counts = {}
    for left, right in (("train", "valid"), ("train", "test"), ("valid", "test")):
        other = Mask(regions[right])
        shared = sum(bool(other.of(region).any()) for region in regions[left]) if regions[right] else 0
        if shared:
            counts[f"{left}-{right}"] = shared
    return counts


def _settle(staging: Path, plan: _Plan) -> None:
    """Make the working directory, or check that it belongs to this plan."""
    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in plan.files]
    windows = [[split, item.chrom, item.start, item.end] for split in SPLITS for item in plan.regions[split]]
    text = json.dumps({"provenance": plan.provenance, "files": stamps, "regions": windows})
    identity = hashlib.sha256(text.encode()).hexdigest()
    path = staging / PLAN
    text = json.dumps({"identity": identity})
    if staging.exists() and not _is_begun(staging):
        found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        if found != text:
            raise InputError(
                f"{staging}: left by a call with other files or options; remove it, or choose another name"
            )
        return
    (staging / "shards").mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{PLAN}.partial")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not say of which file
        draft.unlink(missing_ok=True)
        raise


def _is_begun(staging: Path) -> bool:
    """Tell whether a call made the directory and was killed before it could say what for."""
    names = {path.name for path in staging.iterdir()} if staging.is_dir() and not staging.is_symlink() else {"?"}
    return names <= {"shards", f"{PLAN}.partial"} and not any((staging / "shards").glob("*"))


def _is_whole(plan: _Plan, staging: Path, split: str, number: int) -> bool:
    """Tell whether a shard of an earlier call has all its windows; one that has not is made again."""
    path, grid = plan.path(staging, split, number), plan.options.geometry
    if not path.exists():
        return False
    sizes = {"length": grid.sequence_length_bp, "tracks": len(plan.tracks), "bins": grid.bins}
    try:
        ArrowSplit([path], plan.count(split, number), **sizes)
    except FormatError as error:
        log.warning("%s; this shard is made again", error)
        return False
    return True


def _run(plan: _Plan, staging: Path, jobs: Sequence[tuple[str, int]], workers: int) -> Iterator[tuple[str, int]]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            _make_shard(plan, staging, *job)
            yield job
        return
    # Not forked: a fork copies locks that threads of this process may hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        waiting = {pool.submit(_make_shard, plan, staging, *job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        finally:
            pool.shutdown(cancel_futures=True)


def _make_shard(plan: _Plan, staging: Path, split: str, number: int) -> None:
    """Make one shard; track by track, so that each bigWig is opened once."""
    options, grid, regions = plan.options, plan.options.geometry, plan.windows(split, number)
    blacklist = _mask(plan.sources.blacklist, BLACKLIST_BUFFER_BP)
    black = [blacklist.of(region) if blacklist else None for region in regions]
    coverage = np.empty((len(regions), len(plan.tracks), grid.bins), dtype=np.float32)
    for track, path in enumerate(plan.files):
        with BigWig(path) as bigwig:
            for index, region in enumerate(regions):
                values = clean(
                    bigwig.values(region),
                    black[index],
                    percentile=options.blacklist_percentile,
                    interpolate=options.interpolate,
                )
                coverage[index, track] = bin_coverage(values, grid.bin_size_bp, plan.tracks.sum_stat[track])
    squash = Squash.from_tracks(plan.tracks, kind=options.squash)
    with np.errstate(invalid="ignore"):
        squash.forward(coverage)
    _check_finite(plan, coverage, regions)
    np.clip(coverage, -HALF_MAX, HALF_MAX, out=coverage)
    unmappable = _mask(plan.sources.unmappable, 0)
    if unmappable:
        for index, region in enumerate(regions):
            _clip_unmappable(coverage[index], unmappable.of(region), options.umap_percentile)
    if options.decimals is not None:
        np.round(coverage, options.decimals, out=coverage)
    with Fasta(plan.sources.fasta) as genome:
        windows = [
            Window(codes_of(genome.fetch(item.chrom, item.start - grid.crop_bp, item.end + grid.crop_bp)), values)
            for item, values in zip(regions, coverage.astype(np.float16), strict=True)
        ]
    schema = schema_of(grid.sequence_length_bp, len(plan.tracks), grid.bins)
    write_shard(plan.path(staging, split, number), windows, schema)


def _check_finite(plan: _Plan, coverage: np.ndarray, regions: Sequence[Interval]) -> None:
    wrong = ~np.isfinite(coverage)
    if wrong.any():
        index, track, _ = (int(axis[0]) for axis in np.nonzero(wrong))
        raise FormatError(
            f"{plan.files[track]}: track {plan.tracks.identifier[track]!r} is not finite in {_shown(regions[index])} "
            f"after the squash {plan.options.squash!r}; negative or infinite coverage?"
        )


def _clip_unmappable(values: np.ndarray, unmappable: np.ndarray, percentile: float) -> None:
    """Limit bins of which more than half is unmappable to a percentile of the window, per track; in place."""
    bins = unmappable.reshape(values.shape[1], -1).mean(axis=1) > 0.5
    if bins.any():
        limit = np.percentile(values, percentile, axis=1, keepdims=True)
        values[:, bins] = np.minimum(values[:, bins], limit)


def _mask(path: Path | None, buffer_bp: int) -> Mask | None:
    return None if path is None else Mask(read_bed(path), buffer_bp=buffer_bp)


def _finish(plan: _Plan, staging: Path) -> None:
    info = DataInfo(
        tracks=len(plan.tracks),
        geometry=plan.options.geometry,
        windows={split: len(plan.regions[split]) for split in SPLITS},
        squash=plan.options.squash,
        provenance=plan.provenance,
    )
    lines = [f"{item.chrom}\t{item.start}\t{item.end}\t{split}\n" for split in SPLITS for item in plan.regions[split]]
    (staging / SEQUENCES).write_text("".join(lines), encoding="utf-8")
    (staging / TARGETS).write_bytes(plan.sources.targets.read_bytes())
    (staging / STATISTICS).write_text(json.dumps(info.to_json(), indent=2) + "\n", encoding="utf-8")


def _shown(region: Interval) -> str:
    return f"{region.chrom}:{region.start}-{region.end}"
