"""Rows of a DFT score run, and the files they go to."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import h5py
import numpy as np

from ..genome.variants import Variant
from ..promoter.dft import DFTScores
from ..promoter.removal import RemovalCurves
from ..promoter.sites import Site

# What each column holds is in docs/promoter.md.
PLACE = ("site", "chrom", "pos0", "strand", "variant", "allele", "net", "track")
MOTIF = ("motif", "group", "score", "score_sd", "raw", "delta_sum", "ratio", "log2fc", "abundance", "positional")
MORE = ("tss_shift_bp", "centroid_bp", "magnitude", "above_noise", "hits", "dominant", "degenerate")
CHANGE = ("delta_score", "dominant_ref", "dominant_alt", "dominant_changed", "status")


@dataclass(frozen=True)
class ScoredWindow:
    """One window of one net and track, scored.

    Attributes
    ----------
    site : Site
    variant : Variant or None
        The variant whose ALT is in the window; None for the window of the genome.
    net, track : str
        Names of bundle and track.
    curves : RemovalCurves
        Predictions; one track of them was scored.
    row : int
        That track.
    scores : DFTScores
        Of the scored motifs.
    others : DFTScores or None
        Of the motifs that stay out of the normalised score.
    """

    site: Site
    variant: Variant | None
    net: str
    track: str
    curves: RemovalCurves
    row: int
    scores: DFTScores
    others: DFTScores | None

    @property
    def dominant(self) -> str:
        """Name of the motif with the largest score, empty where no motif has an effect."""
        place = int(self.scores.dominant)
        return self.curves.motifs[place] if place >= 0 else ""


class TableWriter:
    """Write rows to ``OUT.partial``; :meth:`finish` renames it and writes ``OUT.meta.json`` beside it."""

    def __init__(self, path: Path, bands: Sequence[str]) -> None:
        self.path = path
        self.columns = (*PLACE, *MOTIF, *MORE, *(f"power_{name}" for name in bands), *CHANGE)
        self._partial = path.with_name(path.name + ".partial")
        self._handle: TextIO = self._partial.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(
            self._handle, self.columns, delimiter="\t", lineterminator="\n", restval="", quoting=csv.QUOTE_NONE,
            escapechar=None, quotechar=None,
        )  # fmt: skip
        self._writer.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; None and NaN are empty, numbers the shortest that read back as float32."""
        self._writer.writerow({name: _text(value) for name, value in row.items()})

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Close the table and give it its name."""
        self._handle.close()
        described = self.path.with_name(self.path.name + ".meta.json")
        described.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        os.replace(self._partial, self.path)

    def abandon(self) -> None:
        """Close the file and leave the partial table for inspection."""
        self._handle.close()


class CurveWriter:
    """Write curves and spectra of every window to HDF5.

    ``/wt`` float32 (windows, bins), ``/effect`` float32 (windows, motifs, bins), ``/spectrum`` complex64 (windows,
    motifs, frequencies), ``/omega`` rad/bp, ``/place_bp``, ``/motif`` and ``/window``, whose fields are those of the
    table. The attribute ``borzoi_rt`` is the description of the run.
    """

    _FIELDS = ("site", "variant", "net", "track")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._file = h5py.File(self._partial, "w")
        self._count = 0

    def write(self, window: ScoredWindow) -> None:
        """Append a window."""
        curves, row, file = window.curves, window.row, self._file
        parts = [part.spectrum for part in (window.scores, window.others) if part is not None]
        values: dict[str, np.ndarray] = {
            "wt": curves.wt[row],
            "effect": curves.effect[:, row].astype(np.float32),
            "spectrum": np.concatenate([part for part in parts if part is not None]).astype(np.complex64),
        }
        if not self._count:
            text = h5py.string_dtype()
            for name, array in values.items():
                chunk = (1, *array.shape)
                file.create_dataset(
                    name,
                    (0, *array.shape),
                    array.dtype,
                    maxshape=(None, *array.shape),
                    chunks=chunk,
                    compression="gzip",
                )
            for name in self._FIELDS:
                file.create_dataset(f"window/{name}", (0,), text, maxshape=(None,))
            file["omega"] = window.scores.omega
            file["place_bp"] = curves.place_bp
            file.create_dataset("motif", data=list(curves.motifs), dtype=text)
        labels = (window.site.label, str(window.variant or ""), window.net, window.track)
        self._count += 1
        entries: dict[str, Any] = {
            **values,
            **{f"window/{name}": text for name, text in zip(self._FIELDS, labels, strict=True)},
        }
        for name, entry in entries.items():
            file[name].resize(self._count, axis=0)
            file[name][-1] = entry

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Close the file and give it its name."""
        self._file.attrs["borzoi_rt"] = json.dumps(metadata)
        self._file.close()
        os.replace(self._partial, self.path)

    def abandon(self) -> None:
        """Close the file and remove it."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def rows_of(window: ScoredWindow, reference: ScoredWindow | None, deviation: np.ndarray | None) -> list[dict[str, Any]]:
    """Return one row per motif.

    Parameters
    ----------
    window : ScoredWindow
    reference : ScoredWindow or None
        The same site, net and track without the variant, for an ALT window.
    deviation : ndarray of shape (scored motifs,), optional
        Standard deviation of the score over nets.
    """
    rows = []
    scored = window.scores.raw.shape[-1]
    for place, motif in enumerate(window.curves.motifs):
        first = place < scored
        part, at = (window.scores, place) if first else (window.others, place - scored)
        assert part is not None
        row = {
            **place_of(window.site, window.variant, window.net, window.track),
            "motif": motif,
            "group": "scored" if first else "unscored",
            "dominant": first and int(window.scores.dominant) == place,
            "degenerate": bool(window.scores.degenerate),
            "hits": None if window.curves.hits is None else int(window.curves.hits[place]),
            "status": "ok",
        }
        for name in ("raw", "delta_sum", "ratio", "log2fc", "abundance", "positional", "tss_shift_bp"):
            row[name] = float(part[name][at])
        for name in ("centroid_bp", "magnitude"):
            row[name] = None if part[name] is None else float(part[name][at])
        row["above_noise"] = None if part.above_noise is None else bool(part.above_noise[at])
        row.update({f"power_{name}": float(share[at]) for name, share in part.band_power.items()})
        if first:
            row["score"] = float(part.score[at])
            row["score_sd"] = None if deviation is None else float(deviation[place])
        if reference is not None:
            if first:
                row["delta_score"] = float(part.score[at] - reference.scores.score[at])
            row.update(dominant_ref=reference.dominant, dominant_alt=window.dominant)
            row["dominant_changed"] = reference.dominant != window.dominant
        rows.append(row)
    return rows


def place_of(site: Site, variant: Variant | None, net: str = "", track: str = "") -> dict[str, Any]:
    """Return the columns that say where."""
    where = {"site": site.label, "chrom": site.chrom, "pos0": site.pos0, "strand": site.strand}
    allele = "ref" if variant is None else "alt"
    return {**where, "variant": str(variant or ""), "allele": allele, "net": net, "track": track}


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float):
        return str(np.float32(value))
    if isinstance(value, bool):
        return str(int(value))
    return str(value).replace("\t", " ").replace("\n", " ")
