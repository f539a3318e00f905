"""Coverage of regions as bigWig and NumPy files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.prediction import Predictor
from ..errors import FormatError, InputError
from ..genome.bigwig import write_bigwig
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..tracks import TrackTable

ARCHIVE = "predictions.npz"


def predict_regions(
    regions: Sequence[Interval],
    *,
    predictor: Predictor,
    fasta: Fasta,
    tracks: TrackTable,
    out: str | os.PathLike[str],
    squashed: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Predict the window around the middle of each region and write one bigWig per track and one archive.

    Parameters
    ----------
    regions : sequence of Interval
        Regions; each is re-centred to the window of the model.
    predictor : Predictor
        Model with its tracks and options.
    fasta : Fasta
        The genome.
    tracks : TrackTable
        The selected tracks, in the predictor's order.
    out : path
        Directory to make. ``predictions.npz`` holds ``coverage`` float32 (regions, tracks, bins), ``chrom``, ``start``
        and ``end`` of the output windows, ``bin_size_bp`` and ``track_id``. Where output windows overlap, a base of the
        bigWig comes from the window whose centre is nearest; bins are cut at the ends of the chromosome.
    squashed : bool
        Keep the squashed scale; otherwise coverage as the bundle's inverse gives it.
    progress : callable, optional
        Called with the number of regions done.

    Returns
    -------
    list of Path
        The files written.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: exists and is not an empty directory; choose another name")
    geometry = predictor.session.geometry
    windows = [_output_window(region, fasta, geometry) for region in regions]
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        spool = staging / "coverage.npy"
        shape = (len(windows), len(tracks), geometry.bins)
        coverage = np.lib.format.open_memmap(spool, mode="w+", dtype=np.float32, shape=shape)
        for number, window in enumerate(windows):
            values = predictor.window(fasta, window.chrom, window.start - geometry.crop_bp)
            coverage[number] = values if squashed else predictor.squash.inverse(values)
            if progress:
                progress(number + 1)
        for position in range(len(tracks)):
            path = staging / f"{tracks.index[position]}_{_file_name(tracks.identifier[position])}.bw"
            _write_bigwig(path, windows, coverage[:, position], fasta, geometry.bin_size_bp)
        np.savez(
            staging / ARCHIVE,
            coverage=coverage,
            chrom=np.array([window.chrom for window in windows]),
            start=np.array([window.start for window in windows]),
            end=np.array([window.end for window in windows]),
            bin_size_bp=geometry.bin_size_bp,
            track_id=np.array(tracks.identifier),
        )
        del coverage
        spool.unlink()
        staging.chmod(0o755)
        if target.exists():
            target.rmdir()
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return sorted(target.iterdir())


def _output_window(region: Interval, fasta: Fasta, geometry: Geometry) -> Interval:
    contig = fasta.resolve(region.chrom)
    if contig is None:
        raise FormatError(f"region {region.chrom}:{region.start}-{region.end}: {fasta.name} has no such contig")
    if (region.start + region.end) // 2 >= fasta.contigs[contig]:
        raise FormatError(
            f"region {region.chrom}:{region.start}-{region.end}: its middle lies beyond the end of {contig} "
            f"({fasta.contigs[contig]} bp)"
        )
    window = region.centred(geometry.sequence_length_bp)
    start = window.start + geometry.crop_bp
    return Interval(contig, start, start + geometry.bins * geometry.bin_size_bp, region.name)


def _write_bigwig(path: Path, windows: Sequence[Interval], values: np.ndarray, fasta: Fasta, bin_size_bp: int) -> None:
    order = sorted({window.chrom for window in windows})
    lengths = {chrom: fasta.contigs[chrom] for chrom in order}

    def entries() -> Iterator[tuple[str, int, int, float]]:
        for chrom in order:
            numbers = sorted((n for n, w in enumerate(windows) if w.chrom == chrom), key=lambda n: windows[n].start)
            for number, (low, high) in zip(
                numbers, _shares([windows[n] for n in numbers], lengths[chrom]), strict=True
            ):
                start = windows[number].start
                for place, value in enumerate(values[number].tolist()):
                    left = max(start + place * bin_size_bp, low)
                    right = min(start + (place + 1) * bin_size_bp, high)
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
    for place, window in enumerate(windows):
        low = max(window.start, cuts[place])
        shares.append((low, max(low, min(window.end, cuts[place + 1]))))
    return shares


def _file_name(identifier: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", identifier)[:100]
