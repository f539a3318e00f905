"""Windows around TSSs and their start counts, from FASTA, one bigWig per strand, and a table of TSSs."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools

from borzoi_rt.dataset.window import UNKNOWN, Window
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.promoter.sites import Site, read_sites, site_window

from ..models.promoter_config import PromoterConfig

log = logging.getLogger(__name__)

PROMOTER_TYPES = ("promoter", "fiveUTR")
TOP = 40_000
SMOOTHING_BP = 5


@dataclass(frozen=True)
class PromoterData:
    """Windows in memory, in the form that :mod:`borzoi_export.training.loader` takes batches of.

    Attributes
    ----------
    sites : tuple of Site
    codes : uint8 ndarray of shape (sites, length)
        DNA on the strand of the site; see :class:`borzoi_rt.dataset.window.Window`.
    target : float32 ndarray of shape (sites, 2, bins)
        ln(1 + count), sense strand first.
    skipped : int
        Sites whose window leaves its chromosome or has no counts in the files.
    """

    sites: tuple[Site, ...]
    codes: np.ndarray
    target: np.ndarray
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.sites)

    def in_order(self) -> Iterator[Window]:
        """Yield the windows in the order of the sites."""
        return map(self._window, range(len(self)))

    def shuffled(self, seed: Sequence[int], wanted: Callable[[int], bool] | None = None) -> Iterator[Window]:
        """Yield each window once, in an order that the seed fixes; of these only the ranks that are wanted."""
        order = np.random.default_rng(list(seed)).permutation(len(self)).tolist()
        return (self._window(number) for rank, number in enumerate(order) if wanted is None or wanted(rank))

    def about(self) -> dict[str, Any]:
        """Return the number of sites, and a digest by which other data are noticed."""
        digest = hashlib.sha256(np.ascontiguousarray(self.codes).data)
        digest.update(np.ascontiguousarray(self.target).data)
        return {"sites": len(self), "sha256": digest.hexdigest()}

    def _window(self, number: int) -> Window:
        return Window(self.codes[number], self.target[number])

    def split(self, chroms: Sequence[str]) -> tuple[PromoterData, PromoterData]:
        """Return the sites of other chromosomes and of these.

        Raises
        ------
        InputError
            If either part is empty.
        """
        chosen = np.array([site.chrom in chroms for site in self.sites])
        if chosen.all() or not chosen.any():
            raise InputError(f"{chosen.sum()} of {len(chosen)} sites lie on {', '.join(chroms)}; both parts need some")
        return self._take(~chosen), self._take(chosen)

    def _take(self, keep: np.ndarray) -> PromoterData:
        sites = tuple(site for site, flag in zip(self.sites, keep, strict=True) if flag)
        return PromoterData(sites, self.codes[keep], self.target[keep])


def read_tss_table(
    path: str | os.PathLike[str], *, top: int | None = TOP, min_tpm: float = 1.0, tissue: str | None = None
) -> list[Site]:
    """Read TSSs from BED, or from a CAGEfightR table of unidirectional clusters.

    Parameters
    ----------
    path : path
        ``.bed``: all its intervals. Else a tab-separated table with ``seqnames``, ``thick.start``, ``strand`` and
        ``score``; ``thick.start`` is a position of R and so 1-based. Where the columns are there, rows need
        ``txType == peakTxType``, one of ``PROMOTER_TYPES``, and a TPM (``tpm``) of at least ``min_tpm``.
    top : int, optional
        How many rows to keep, by falling score.
    tissue : str, optional
        Rows need more than ``min_tpm`` in the column ``TISSUE.1``, as R names the TPM of a tissue beside its counts.

    Raises
    ------
    FormatError
        Naming file, line and column.
    """
    path = Path(path)
    if path.suffix == ".bed":
        return read_sites(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            needed = ("seqnames", "thick.start", "strand", "score", *([] if tissue is None else [f"{tissue}.1"]))
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise FormatError(f"{path}, line 1: no column {missing[0]!r}; {', '.join(needed)} are needed")
            kept, rows = [], 0
            for line, row in enumerate(reader, start=2):
                rows += 1
                try:
                    site = Site(row["seqnames"], int(row["thick.start"]) - 1, row["strand"])
                    if _is_promoter(row) and _is_active(row, tissue, min_tpm):
                        kept.append((float(row["score"]), site))
                except (ValueError, TypeError) as error:
                    raise FormatError(f"{path}, line {line}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    kept.sort(key=lambda item: -item[0])
    if not kept:
        raise FormatError(f"{path}: none of {rows} rows is a promoter with enough counts")
    return [site for _, site in kept[:top]]


def _is_promoter(row: dict[str, str]) -> bool:
    if "txType" not in row or "peakTxType" not in row:
        return True
    return row["txType"] == row["peakTxType"] and row["txType"] in PROMOTER_TYPES


def _is_active(row: dict[str, str], tissue: str | None, min_tpm: float) -> bool:
    if tissue is not None:
        return float(row[f"{tissue}.1"]) > min_tpm
    return float(row.get("tpm") or min_tpm) >= min_tpm


def load_data(
    config: PromoterConfig,
    sites: Sequence[Site],
    *,
    fasta: str | os.PathLike[str],
    plus: str | os.PathLike[str],
    minus: str | os.PathLike[str],
    smoothing_bp: int = 1,
) -> PromoterData:
    """Read windows and targets.

    Parameters
    ----------
    config : PromoterConfig
        Window.
    sites : sequence of Site
    fasta, plus, minus : path
        Genome; counts of 5' ends of either strand. A base without a value counts 0; ``minus`` may hold negatives.
    smoothing_bp : int
        Width of the moving average of the logarithms; ``SMOOTHING_BP`` in stage 3.

    Returns
    -------
    PromoterData

    Raises
    ------
    FormatError
        If a file cannot be read.
    InputError
        If no site is left.
    """
    length, crop = config.sequence_length_bp, config.crop_bp
    coverage = [_open(path) for path in (plus, minus)]
    kept, sequences, targets = [], [], []
    with Fasta(fasta) as genome:
        for site in sites:
            start, end = site.window(length, config.tss_bp)
            inside = start >= 0 and end <= genome.contigs.get(site.chrom, -1)
            if not inside or any(end > handle.chroms().get(site.chrom, -1) for handle in coverage):
                continue
            strands = np.stack([handle.values(site.chrom, start, end, fillna=0.0) for handle in coverage])
            target = np.log1p(np.abs(np.nan_to_num(strands, nan=0.0)))
            if site.strand == "-":
                target = target[::-1, ::-1]
            if smoothing_bp > 1:
                kernel = np.full(smoothing_bp, 1.0 / smoothing_bp)
                target = np.stack([np.convolve(row, kernel, "same") for row in target])
            kept.append(site)
            onehot = site_window(genome, site, length_bp=length, tss_bp=config.tss_bp)
            sequences.append(np.where(onehot.any(axis=0), onehot.argmax(axis=0), UNKNOWN).astype(np.uint8))
            targets.append(target[:, crop : length - crop].astype(np.float32))
    skipped = len(sites) - len(kept)
    if not kept:
        raise InputError(f"none of {len(sites)} sites lies whole in {Path(fasta).name} and both bigWig files")
    if skipped:
        log.warning(
            "%d of %d sites skipped: their window leaves its chromosome, or a file lacks it", skipped, len(sites)
        )
    return PromoterData(tuple(kept), np.stack(sequences), np.stack(targets), skipped)


def _open(path: str | os.PathLike[str]) -> pybigtools.BBIRead:
    try:
        return pybigtools.open(str(path))
    except Exception as error:  # pybigtools' exceptions share no base below Exception
        raise FormatError(f"{path}: cannot be read as bigWig ({error})") from error
