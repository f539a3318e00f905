"""Scores of genes as text, for answers of a server: of each variant there are as many as it has genes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from ..types import FloatArray
from .results import RegionScores

GENES = "genes"  # name of the output
_TEXTS = ("region", "gene", "gene_name", "gene_strand", "detail")


def genes_to_text(parts: Iterable[RegionScores], regions: Iterable[str]) -> str:
    """Write the scores over regions of genes as JSON; vectors are base64 of little-endian float32."""
    wanted = set(regions)
    rows = [
        {
            **{name: getattr(part, name) for name in _TEXTS},
            "covered_fraction": part.covered_fraction,
            "status": part.status,
            "scores": {stat: _packed(values) for stat, values in part.scores.items()},
        }
        for part in parts
        if part.region in wanted
    ]
    return json.dumps(rows)


def genes_from_text(text: str, rows: int, stats: Sequence[tuple[str, str]]) -> list[RegionScores]:
    """Read what :func:`genes_to_text` wrote.

    Parameters
    ----------
    text : str
    rows : int
        Length of every vector.
    stats : sequence of (str, str)
        Region and statistic of the scores that are wanted; others are left out.

    Raises
    ------
    FormatError
        If it is something else.
    """
    wanted = set(stats)
    regions = {region for region, _ in wanted}
    try:
        held = json.loads(text)
        if not isinstance(held, list):
            raise ValueError(f"{type(held).__name__} where a list is needed")
        found = [_part(row, rows, wanted) for row in held]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"scores of genes in an answer cannot be read ({error})") from error
    return [part for part in found if part.region in regions]


def _part(row: dict[str, Any], rows: int, wanted: set[tuple[str, str]]) -> RegionScores:
    region = str(row["region"])
    texts = [str(row[name]) for name in _TEXTS]
    return RegionScores(
        region=region,
        gene=texts[1],
        gene_name=texts[2],
        gene_strand=texts[3],
        detail=texts[4],
        covered_fraction=None if row["covered_fraction"] is None else float(row["covered_fraction"]),
        status=None if row["status"] is None else str(row["status"]),
        scores={stat: _vector(packed, rows) for stat, packed in row["scores"].items() if (region, str(stat)) in wanted},
    )


def _packed(values: FloatArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def _vector(text: str, rows: int) -> FloatArray:
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    if len(values) != rows:
        raise ValueError(f"{len(values)} values where there are {rows} tracks")
    return values.astype(np.float32)
