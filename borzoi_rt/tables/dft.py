"""Rows of a DFT score run: how windows become rows, and the files that rows become.

A row is one site, motif, net, track and allele; a window that could not be scored is one row with its status. What each
column holds is in docs/promoter.md. Curves travel with the rows: the effect of a motif on its row, the prediction
without any removal on the first row of the window.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as csv

from ..genome.variants import Variant
from ..promoter.ensemble import combine_replicates
from ..promoter.options import BANDS
from ..promoter.profiles import EffectProfiles
from ..promoter.scorer import ScoredWindow
from ..promoter.sites import Site
from ..types import DoubleArray, FloatArray

Shards = Callable[[], Iterator[pa.Table]]
Row = dict[str, Any]

ENSEMBLE = "ensemble"
_TEXT, _FLAG, _COUNT, _VALUE = pa.string(), pa.bool_(), pa.int64(), pa.float32()
_MEASURES = (
    "raw", "delta_sum", "ratio", "log2fc", "abundance", "positional", "tss_shift_bp", "tss_shift_se_bp", "centroid_bp",
    "magnitude",
)  # fmt: skip
# The columns of the table, in order.
COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("site", "chrom"), _TEXT),
    "pos0": _COUNT,
    **dict.fromkeys(("strand", "variant", "id", "allele", "net", "track", "motif", "group"), _TEXT),
    **dict.fromkeys(("score", "score_sd", *_MEASURES[:7]), _VALUE),
    "tss_shift_se_bp": _VALUE,
    "tss_shift_valid": _FLAG,
    **dict.fromkeys(("centroid_bp", "magnitude"), _VALUE),
    "above_noise": _FLAG,
    "hits": _COUNT,
    **dict.fromkeys(("dominant", "degenerate"), _FLAG),
    **{f"power_{name}": _VALUE for name in BANDS},
    "delta_score": _VALUE,
    **dict.fromkeys(("dominant_ref", "dominant_alt"), _TEXT),
    "dominant_changed": _FLAG,
    **dict.fromkeys(("status", "status_detail"), _TEXT),
}
NUMBERS = tuple(name for name, kind in COLUMNS.items() if kind not in (_TEXT, _FLAG))
_CURVES = {"effect": pa.list_(pa.float32()), "wt": pa.list_(pa.float32())}
# `first` marks the first row of a window.
SCHEMA = pa.schema(list({**COLUMNS, **_CURVES, "first": pa.bool_()}.items()))


def rows_of(
    windows: Sequence[ScoredWindow],
    reference: Sequence[ScoredWindow] | None,
    near: slice | None,
    detail: str = "",
) -> list[Row]:
    """Return the rows of one window: those of every net and track, and the mean over nets where there are several.

    Parameters
    ----------
    windows : sequence of ScoredWindow
        All nets and tracks.
    reference : sequence of ScoredWindow or None
        The same without the variant, for an ALT window.
    near : slice or None
        The bins whose curves travel with the rows; None for no curves.
    detail : str
        What is to be said of the window.
    """
    deviation: dict[str, DoubleArray] = {}
    combined: list[Row] = []
    if len({window.net for window in windows}) > 1:
        for track in dict.fromkeys(window.track for window in windows):
            nets = [window for window in windows if window.track == track]
            mean, deviation[track] = combine_replicates(np.stack([window.scores.score for window in nets]))
            combined += _mean_rows(nets[0], mean, deviation[track])
    rows: list[Row] = []
    for number, window in enumerate(windows):
        base = None if reference is None else reference[number]
        rows += _window_rows(window, base, deviation.get(window.track), near)
    rows += combined
    return [{**row, "status_detail": detail, "first": number == 0} for number, row in enumerate(rows)]


def failed_row(site: Site, variant: Variant | None, status: str, detail: str = "") -> Row:
    """Return the row of a window without scores."""
    return {**_where(site, variant), "status": status, "status_detail": detail, "first": True}


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table of ``SCHEMA``; what a row lacks, and NaN, is null."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    for index, field in enumerate(SCHEMA):
        if field.type == _VALUE:
            column = table.column(index)
            table = table.set_column(
                index, field, compute.if_else(compute.is_nan(column), pa.scalar(None, _VALUE), column)
            )
    return table


def write_tsv(path: Path, shards: Shards, metadata: Mapping[str, Any]) -> None:
    """Write the table, and its description to ``OUT.meta.json``.

    Missing values are empty, yes and no are true and false, numbers the shortest that read back as float32.
    """
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as sink:
        sink.write(("\t".join(COLUMNS) + "\n").encode())
        for shard in shards():
            csv.write_csv(_plain(shard.select(list(COLUMNS))), sink, options)
    described = path.with_name(path.name + ".meta.json")
    described.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def _plain(table: pa.Table) -> pa.Table:
    """Keep separators out of text, which quoting would otherwise have to protect."""
    for index, (name, kind) in enumerate(COLUMNS.items()):
        column = table.column(index)
        if kind == _TEXT:
            column = compute.replace_substring_regex(column, pattern=r'[\t\r\n"]+', replacement=" ")
        table = table.set_column(index, name, column)
    return table


@dataclass(frozen=True)
class StoredWindow:
    """One scored window of one net and track, read back.

    Attributes
    ----------
    site : Site
    variant, net, track : str
        As in the table; ``variant`` is empty for the genome.
    motifs : tuple of str
        All motifs; the first ``scored`` of them have a score.
    scored : int
    columns : mapping of str to ndarray of shape (motifs,)
        Numbers of the table, float64, and flags, bool.
    dominant, dominant_ref : str
        Dominant motif here, and of the same window without the variant; empty for none.
    wt : float32 ndarray of shape (bins,) or None
    effect : float32 ndarray of shape (motifs, bins) or None
        Curves, where the run kept them.
    """

    site: Site
    variant: str
    net: str
    track: str
    motifs: tuple[str, ...]
    scored: int
    columns: Mapping[str, npt.NDArray[Any]]
    dominant: str
    dominant_ref: str
    wt: FloatArray | None
    effect: FloatArray | None


def stored_windows(shards: Shards) -> Iterator[StoredWindow]:
    """Yield the scored windows of all nets in the order of the table, without the rows of the ensemble."""
    for shard in shards():
        rows = shard.filter(
            compute.and_(compute.equal(shard["status"], "ok"), compute.not_equal(shard["net"], ENSEMBLE))
        )
        if not len(rows):
            continue
        motifs = rows.column("motif").to_pylist()  # names are unique: the first one begins a window
        starts = [number for number, motif in enumerate(motifs) if motif == motifs[0]]
        for start, end in zip(starts, [*starts[1:], len(motifs)], strict=True):
            yield _stored(rows.slice(start, end - start))


def _stored(rows: pa.Table) -> StoredWindow:
    first = {name: rows.column(name)[0].as_py() for name in rows.column_names if name not in _CURVES}
    columns = {}
    for name, kind in COLUMNS.items():
        if kind in (_VALUE, _FLAG):
            values = rows.column(name).to_pylist()
            missing: Any = False if kind == _FLAG else np.nan
            columns[name] = np.array([missing if value is None else value for value in values])
    motifs = rows.column("motif").to_pylist()
    top = np.flatnonzero(columns["dominant"])
    effect, wt = rows.column("effect").to_pylist(), rows.column("wt")[0].as_py()
    return StoredWindow(
        site=Site(first["chrom"], first["pos0"], first["strand"], first["site"]),
        variant=first["variant"],
        net=first["net"],
        track=first["track"],
        motifs=tuple(motifs),
        scored=rows.column("group").to_pylist().count("scored"),
        columns=columns,
        dominant=motifs[top[0]] if len(top) else "",
        dominant_ref=first["dominant_ref"] or "",
        wt=None if wt is None else np.array(wt, dtype=np.float32),
        effect=None if effect[0] is None else np.array(effect, dtype=np.float32),
    )


def write_profiles(path: Path, profiles: EffectProfiles) -> None:
    """Write mean effect curves: one row per net, track, motif and position; see docs/promoter.md."""
    names = ("net", "track", "motif", "position_bp", "sites", "mean", "low", "high", "sd", "share_negative")
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write("\t".join(names) + "\n")
        for profile in profiles:
            values = (profile.mean, profile.low, profile.high, profile.sd, profile.share_negative)
            for index, position in enumerate(profile.position_bp):
                numbers = [str(np.float32(array[index])) if np.isfinite(array[index]) else "" for array in values]
                head = (profile.net, profile.track, profile.motif, f"{position:g}", str(profile.sites))
                handle.write("\t".join((*head, *numbers)) + "\n")


def _window_rows(
    window: ScoredWindow,
    reference: ScoredWindow | None,
    deviation: DoubleArray | None,
    near: slice | None,
) -> list[Row]:
    rows = []
    scored = window.scores.raw.shape[-1]
    effect = None if near is None else window.curves.effect[:, window.row, near].astype(np.float32)
    for index, motif in enumerate(window.curves.motifs):
        first = index < scored
        part, at = (window.scores, index) if first else (window.others, index - scored)
        assert part is not None
        row: Row = {
            **_where(window.site, window.variant, window.net, window.track),
            "motif": motif,
            "group": "scored" if first else "unscored",
            "tss_shift_valid": bool(part.tss_shift_valid[at]),
            "above_noise": None if part.above_noise is None else bool(part.above_noise[at]),
            "hits": None if window.curves.hits is None else int(window.curves.hits[index]),
            "dominant": first and int(window.scores.dominant) == index,
            "degenerate": bool(window.scores.degenerate),
            "status": "ok",
            "effect": None if effect is None else effect[index],
        }
        row.update({name: float(part[name][at]) for name in _MEASURES})
        row.update({f"power_{name}": float(share[at]) for name, share in part.band_power.items()})
        if first:
            row["score"] = float(part.score[at])
            row["score_sd"] = None if deviation is None else float(deviation[index])
        if reference is not None:
            if first:
                row["delta_score"] = float(part.score[at] - reference.scores.score[at])
            row.update(dominant_ref=reference.dominant, dominant_alt=window.dominant)
            row["dominant_changed"] = reference.dominant != window.dominant
        rows.append(row)
    if near is not None and rows:
        rows[0]["wt"] = window.curves.wt[window.row, near]
    return rows


def _mean_rows(window: ScoredWindow, mean: DoubleArray, deviation: DoubleArray) -> list[Row]:
    top = int(np.nanargmax(mean)) if np.nansum(mean) > 0 else -1
    where = _where(window.site, window.variant, ENSEMBLE, window.track)
    return [
        {
            **where,
            "motif": motif,
            "group": "scored",
            "score": float(mean[index]),
            "score_sd": float(deviation[index]),
            "dominant": index == top,
            "degenerate": top < 0,
            "status": "ok",
        }
        for index, motif in enumerate(window.curves.motifs[: len(mean)])
    ]


def _where(site: Site, variant: Variant | None, net: str = "", track: str = "") -> Row:
    """Return the columns that say where."""
    return {
        "site": site.label,
        "chrom": site.chrom,
        "pos0": site.pos0,
        "strand": site.strand,
        "variant": str(variant or ""),
        "id": "" if variant is None or variant.id == "." else variant.id,
        "allele": "ref" if variant is None else "alt",
        "net": net,
        "track": track,
    }
