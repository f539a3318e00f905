"""What is drawn of attributions: of rows in memory, and of rows and parts of rows of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..genome.intervals import Interval
from ..types import ByteArray
from .attr_file import read_attributions
from .rows import OK, changed_bases

MOST_PANELS = 12
DRAWN = ("dependency", "effects")  # arrays that are drawn below the scores
_LETTERS = np.array(list("ACGTN"))


def panel_of(
    name: str,
    where: Interval,
    codes: ByteArray,
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
    *,
    allele: str,
) -> dict[str, Any]:
    """Return what :func:`borzoi_rt.report.dependency.plot_maps` draws of a row.

    Parameters
    ----------
    name : str
    where : Interval
        The bases.
    codes : uint8 ndarray of shape (bases,)
        0 to 3 for A, C, G, T, 4 for an unknown base.
    arrays : mapping of str to ndarray
        ``hypothetical`` (4, bases) and what else there is.
    about : mapping
        What was done.
    allele : str
        ``genome``, or which haplotype of a variant, whose place is marked then.
    """
    onehot = codes == np.arange(4)[:, None]
    return {
        "name": name,
        "chrom": where.chrom,
        "start": where.start,
        "letters": "".join(_LETTERS[codes]),
        "scores": (arrays["hypothetical"] * onehot).sum(axis=0, dtype=np.float64),
        "target": about["target"]["target"],
        "convention": (about.get("options") or {}).get("convention"),
        "marked": changed_bases(name, allele),
        **{key: arrays[key] for key in DRAWN if key in arrays},
    }


def title_of(about: Mapping[str, Any]) -> str:
    """Return the line above a figure: method, target and tracks."""
    target = about["target"]
    tracks = "".join(
        f", {word} {target[name]}" for name, word in (("tracks", "tracks"), ("against", "against")) if target.get(name)
    )
    return f"{about['method']} of {target['target']}{tracks}"


def read_panels(
    path: str | os.PathLike[str], *, rows: Sequence[str] = (), region: Interval | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Read what is drawn of a file of attributions.

    Parameters
    ----------
    path : path
        As :mod:`borzoi_rt.explain.attr_file` has it.
    rows : sequence of str
        Names of rows, or their numbers from 0 on; when empty the first 12, of those that hold the region.
    region : Interval, optional
        The part that is drawn.

    Returns
    -------
    panels : list of dict
        As :func:`panel_of` makes them.
    title : str

    Raises
    ------
    InputError
        If there is no such row, or the region does not lie in it.
    """
    light = read_attributions(path, names=("name", "chrom", "start", "end", "status", "detail", "allele"))
    names = [str(name) for name in light.arrays["name"]]
    spans = [
        Interval(str(chrom), int(start), int(end))
        for chrom, start, end in zip(*(light.arrays[key] for key in ("chrom", "start", "end")), strict=True)
    ]
    if rows:
        chosen = [number for row in rows for number in _numbers(row, names)]
        for number in chosen:
            if light.arrays["status"][number] != OK:
                raise InputError(f"row {names[number]!r} was not explained: {light.arrays['detail'][number]}")
    else:
        fitting = [number for number in light.explained if region is None or _holds(spans[number], region)]
        chosen = [int(number) for number in fitting[:MOST_PANELS]]
    shown = "" if region is None else f"region {region.chrom}:{region.start + 1}-{region.end}"
    if not chosen:
        raise InputError(f"{path}: no row holds {shown or 'an explanation'}; it has {_listed(names)}")
    held = read_attributions(path, rows=chosen)
    panels = []
    for at, number in enumerate(chosen):
        span = spans[number]
        part = slice(0, span.end - span.start)
        if region is not None:
            if not _holds(span, region):
                raise InputError(
                    f"{shown} does not lie in row {names[number]!r}, {span.chrom}:{span.start + 1}-{span.end}"
                )
            part = slice(region.start - span.start, region.end - span.start)
        arrays = {key: held.arrays[key][at] for key in ("hypothetical", *DRAWN) if key in held.arrays}
        cut = {key: values[..., part] for key, values in arrays.items()}
        if "dependency" in cut:
            cut["dependency"] = cut["dependency"][part]
        where = Interval(span.chrom, span.start + part.start, span.start + part.stop)
        codes, allele = held.arrays["sequence"][at][part], str(light.arrays["allele"][number])
        panels.append(panel_of(names[number], where, codes, cut, held.about, allele=allele))
    return panels, title_of(held.about)


def _numbers(row: str, names: Sequence[str]) -> list[int]:
    """Return the rows that a name or a number means."""
    found = [number for number, name in enumerate(names) if name == row]
    if not found and row.isdecimal() and len(row) < 10 and int(row) < len(names):
        found = [int(row)]
    if not found:
        raise InputError(f"no row {row!r}; there are {_listed(names)}")
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}, numbers 0 to {len(names) - 1}"


def _holds(span: Interval, region: Interval) -> bool:
    return span.chrom == region.chrom and span.start <= region.start and region.end <= span.end
