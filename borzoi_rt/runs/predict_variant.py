"""Predict the coverage around a variant: REF, ALT and their difference as bigWig or bedGraph, and one NumPy archive.

Alleles of different length are stitched, as for scores: left and right of the variant both have the same phase, so that
they can be compared bin with bin. Bins are written where their bases lie in the genome: behind a deletion they are
moved by what is deleted, which itself has no bin, and neither has what is inserted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..backends.device import Device
from ..backends.opening import open_session
from ..backends.protocols import Session
from ..bundle.manifest import Geometry
from ..bundle.opening import Bundle, open_bundle
from ..engine.options import PredictionOptions
from ..engine.prediction import AllelePrediction
from ..errors import FormatError, InputError, ReferenceMismatchError
from ..genome.bigwig import write_bigwig
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..plain import path_of
from ..scoring.reference import check_reference
from ..tracks import TrackTable
from ..types import FloatArray, IndexArray
from .journal import Journal
from .outputs import check_directory, finish_directory
from .predict import ARCHIVE, DESCRIPTION, CoverageOptions, coverage_predictor, file_name

FORMATS = ("bigwig", "bedgraph")
SIDES = ("ref", "alt", "diff")
_SUFFIXES = {"bigwig": "bw", "bedgraph": "bedgraph"}


def predict_variant(
    variant: Variant | str,
    out: str | os.PathLike[str],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    options: CoverageOptions | None = None,
    form: str = "bigwig",
    device: str | Device = "cpu",
    threads: int | None = None,
) -> list[Path]:
    """Predict both alleles of a variant and write three files for each track, and one archive.

    Parameters
    ----------
    variant : Variant or str
        Text as :meth:`Variant.parse` reads it; REF must be what the genome holds.
    out : path
        Directory to make. ``NUMBER_TRACK.ref.bw``, ``.alt.bw`` and ``.diff.bw`` (ALT - REF), or ``.bedgraph``;
        ``predictions.npz`` holds ``ref`` and ``alt`` float32 (tracks, bins), ``start`` and ``end`` of every bin in the
        genome and ``track_id``; ``predictions.json`` says how they were made.
    bundle, fasta
        Model and genome.
    options : CoverageOptions, optional
        Tracks, strands and scale; shifts are averaged in squashed scale.
    form : str
        ``bigwig`` or ``bedgraph``.
    device, threads
        See :func:`borzoi_rt.open_session`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ReferenceMismatchError
        If REF is not what the genome holds.
    InputError
        If the variant cannot be predicted otherwise, or options have no meaning here.
    """
    target, chosen = path_of("out", out), options or CoverageOptions()
    if form not in FORMATS:
        raise InputError(f"form {form!r} is unknown; allowed: {', '.join(FORMATS)}")
    check_prediction(chosen.prediction)
    given = Variant.of(variant)
    check_directory(target, [bundle.path if isinstance(bundle, Bundle) else bundle])
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    positions = model.tracks.select(chosen.tracks)
    with Fasta(fasta) as genome:
        session = open_session(model, Device.parse(device, threads=threads))
        try:
            held, prediction = predict_alleles(given, model, genome, session, positions, chosen)
        finally:
            session.close()
        starts, ends = bin_positions(prediction, len(held.ref) - len(held.alt), model.geometry)
        about: dict[str, Any] = {
            "borzoi_rt": __version__,
            "bundle": model.sha256,
            "genome": genome.fingerprint(),
            "variant": str(given),
            "contig": held.chrom,
            "window_start": prediction.window_start,
            "stitch_bin": prediction.stitch_bin,
            "options": asdict(chosen),
            "tracks": [int(position) for position in positions],
        }
        tracks = model.tracks.take(positions)
        inner = _Written(held.chrom, genome.contigs[held.chrom], starts, ends)

        def write(folder: Path) -> None:
            _write(folder, prediction, tracks, inner, form)
            (folder / DESCRIPTION).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

        with Journal(target) as journal:
            finish_directory(target, journal, write)
    return sorted(target.iterdir())


def predict_alleles(
    variant: Variant,
    model: Bundle,
    genome: Fasta,
    session: Session,
    positions: IndexArray,
    options: CoverageOptions,
) -> tuple[Variant, AllelePrediction]:
    """Predict both alleles of a variant; :func:`bin_positions` says where their bins lie.

    Returns
    -------
    held : Variant
        The variant under the genome's name of the contig.
    prediction : AllelePrediction

    Raises
    ------
    ReferenceMismatchError
        If REF is not what the genome holds.
    InputError
        If the variant cannot be predicted otherwise.
    """
    found = check_reference(genome, variant, longest_bp=model.geometry.sequence_length_bp // 4)
    if found.variant is None:
        error = ReferenceMismatchError if found.status == "ref_mismatch" else InputError
        raise error(f"{variant}: {found.status}, {found.detail}")
    prediction = replace(options.prediction, shift_space="squashed", indel="stitch")
    chosen = replace(options, prediction=prediction)
    if options.squashed:  # the predictor undoes what the options say, and here that is nothing
        chosen = replace(chosen, squashed=False, squash="none", unscale=False, unclip=False)
    predictor = coverage_predictor(model, session, positions, chosen)
    return found.variant, predictor.variant(genome, found.variant, genome_allele=found.genome_allele)


def bin_positions(prediction: AllelePrediction, deleted_bp: int, geometry: Geometry) -> tuple[IndexArray, IndexArray]:
    """Return where the bins of a prediction lie in the genome, int64 (bins,) each, 0-based and half-open.

    Parameters
    ----------
    prediction : AllelePrediction
        Of all bins; joined where ``stitch_bin`` says.
    deleted_bp : int
        How many bases ALT is shorter than REF; an insertion, below 0, moves nothing.
    geometry : Geometry
        Output grid.
    """
    number = np.arange(geometry.bins, dtype=np.int64)
    starts = prediction.window_start + geometry.crop_bp + number * geometry.bin_size_bp
    if prediction.stitch_bin is not None:
        starts += np.where(number >= prediction.stitch_bin, max(deleted_bp, 0), 0)
    return starts, starts + geometry.bin_size_bp


class _Written:
    """Bins of a contig, cut at its ends."""

    def __init__(self, chrom: str, length: int, starts: IndexArray, ends: IndexArray) -> None:
        self.chrom, self.length, self.starts, self.ends = chrom, length, starts, ends
        self._low, self._high = np.maximum(starts, 0), np.minimum(ends, length)

    def entries(self, values: FloatArray) -> Iterator[tuple[str, int, int, float]]:
        """Yield the bins of one track that lie in the contig."""
        for start, end, value in zip(self._low.tolist(), self._high.tolist(), values.tolist(), strict=True):
            if start < end:
                yield self.chrom, start, end, value


def _write(folder: Path, prediction: AllelePrediction, tracks: TrackTable, bins: _Written, form: str) -> None:
    ref, alt = prediction.ref[0], prediction.alt[0]
    sides: Mapping[str, FloatArray] = {"ref": ref, "alt": alt, "diff": alt - ref}
    for number in range(len(tracks)):
        for side in SIDES:
            name = f"{tracks.index[number]}_{file_name(tracks.identifier[number])}.{side}.{_SUFFIXES[form]}"
            _write_track(folder / name, bins, sides[side][number], form)
    arrays = {"ref": ref, "alt": alt, "start": bins.starts, "end": bins.ends, "track_id": np.array(tracks.identifier)}
    np.savez(folder / ARCHIVE, chrom=np.array(bins.chrom), **arrays)


def _write_track(path: Path, bins: _Written, values: FloatArray, form: str) -> None:
    if not np.isfinite(values).all():
        raise FormatError(f"{path.name}: the model gave NaN or infinite coverage")
    if form == "bigwig":
        write_bigwig(path, {bins.chrom: bins.length}, bins.entries(values))
        return
    with path.open("w", encoding="utf-8") as handle:
        for chrom, start, end, value in bins.entries(values):
            handle.write(f"{chrom}\t{start}\t{end}\t{np.float32(value)}\n")


def check_prediction(options: PredictionOptions) -> None:
    """Refuse choices that the files could not honour."""
    for name, only in (("indel", "stitch"), ("shift_space", "squashed"), ("window", "centered")):
        value = getattr(options, name)
        if value not in (None, only):
            raise InputError(f"{name} is {value!r}; coverage around a variant is made with {only!r} alone")
