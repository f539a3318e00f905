"""What DFT score runs wrote, read again: curves of windows (HDF5), and mean curves of motifs (TSV)."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..errors import FormatError, InputError
from ..promoter.profiles import Profile
from ..types import DoubleArray
from .hdf5_files import read_hdf5

_LONGEST_HEAD = 4096
_WRITER = "`borzoi-rt dft score`"
PROFILE_COLUMNS = ("net", "track", "motif", "position_bp", "sites", "mean", "low", "high", "sd", "share_negative")


@dataclass(frozen=True)
class CurveWindow:
    """The curves of one window.

    Attributes
    ----------
    title : str
        Locus and name of the site, variant, net and track.
    motifs : tuple of str
    position_bp : float64 ndarray of shape (bins,)
        Relative to the TSS, on the strand of the gene.
    effect : float64 ndarray of shape (motifs, bins)
        KO - WT.
    spectrum : complex128 ndarray of shape (motifs, frequencies)
    omega : float64 ndarray of shape (frequencies,)
        rad/bp.
    """

    title: str
    motifs: tuple[str, ...]
    position_bp: DoubleArray
    effect: DoubleArray
    spectrum: np.ndarray
    omega: DoubleArray

    def strongest(self, count: int) -> list[int]:
        """Return the motifs whose removal changes most, by the root of the summed squares of the curve."""
        size = np.sqrt((self.effect**2).sum(axis=1))
        return [int(row) for row in np.argsort(-size, kind="stable")[:count]]


def is_curves(path: str | os.PathLike[str]) -> bool:
    """Whether a file is HDF5 with effect curves."""
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return False
    with read_hdf5(path, "effect curves", written_by=_WRITER) as file:
        return "effect" in file and "window/site" in file and "position_bp" in file


def read_curves(path: str | os.PathLike[str], row: str | None = None) -> CurveWindow:
    """Read the curves of one window.

    Parameters
    ----------
    path : path
        As :func:`borzoi_rt.tables.dft_curves.write_curves` writes it.
    row : str, optional
        Name of a site or its locus (``chr1:1001``, 1-based), or the number of a window from 0 on; the window whose
        largest effect is largest when None.

    Raises
    ------
    FormatError, InputError
        If it is no such file, or there is no such window.
    """
    if not is_curves(path):
        raise FormatError(f"{path}: no effect curves; {_WRITER} writes them, its option is called curves")
    with read_hdf5(path, "effect curves", written_by=_WRITER) as file:
        texts = {
            name: file[f"window/{name}"].asstr()[()] for name in ("site", "chrom", "strand", "variant", "net", "track")
        }
        pos0 = file["window/pos0"][()]
        loci = [f"{chrom}:{int(pos) + 1}" for chrom, pos in zip(texts["chrom"], pos0, strict=True)]
        number = _strongest(file["effect"]) if row is None else _number(row, texts["site"], loci)
        locus = f"{loci[number]}{texts['strand'][number]}"
        site, variant = str(texts["site"][number]), str(texts["variant"][number])
        parts = [locus if site in (locus, loci[number]) else f"{locus} {site}", variant]
        parts += [str(texts[name][number]) for name in ("net", "track") if len(set(texts[name])) > 1]
        return CurveWindow(
            " ".join(part for part in parts if part),
            tuple(file["motif"].asstr()[()]),
            np.asarray(file["position_bp"][()], dtype=np.float64),
            np.asarray(file["effect"][number], dtype=np.float64),
            np.asarray(file["spectrum"][number], dtype=np.complex128),
            np.asarray(file["omega"][()], dtype=np.float64),
        )


def _strongest(effect: h5py.Dataset) -> int:
    """Return the window with the largest effect of a motif, read one by one."""
    if not len(effect):
        raise InputError("no window has curves")
    return int(
        np.argmax([float((effect[row].astype(np.float64) ** 2).sum(axis=1).max()) for row in range(len(effect))])
    )


def _number(row: str, sites: Sequence[str], loci: Sequence[str]) -> int:
    found = [number for number, names in enumerate(zip(sites, loci, strict=True)) if row in names]
    if not found and row.isdecimal() and len(row) < 10 and int(row) < len(sites):
        found = [int(row)]
    if not found:
        shown = ", ".join(map(str, sites[:5]))
        raise InputError(f"no window {row!r}; there are sites {shown}, numbers 0 to {len(sites) - 1}")
    return found[0]


def is_profiles(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a table of mean effect curves."""
    if not Path(path).is_file():  # a pipe would wait for its writer
        return False
    try:
        with Path(path).open(encoding="utf-8") as handle:
            return tuple(handle.readline(_LONGEST_HEAD).rstrip("\r\n").split("\t")) == PROFILE_COLUMNS
    except (OSError, UnicodeDecodeError):
        return False


def read_profiles(path: str | os.PathLike[str]) -> list[Profile]:
    """Read mean effect curves, in the order of the file.

    Raises
    ------
    FormatError
        If it is no such table.
    """
    if not is_profiles(path):
        raise FormatError(
            f"{path}: no mean effect curves; `borzoi-rt dft score` writes them, its option is called profiles"
        )
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    with Path(path).open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            rows.setdefault((row["net"], row["track"], row["motif"]), []).append(row)
    found = []
    try:
        for (net, track, motif), own in rows.items():
            numbers = {name: np.array([float(row[name] or "nan") for row in own]) for name in PROFILE_COLUMNS[3:]}
            sites = int(numbers.pop("sites")[0])
            found.append(Profile(net=net, track=track, motif=motif, sites=sites, **numbers))
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as mean effect curves ({error})") from error
    if not found:
        raise FormatError(f"{path}: no curves")
    return found
