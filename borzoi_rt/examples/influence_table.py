"""Tables of influence: TSV, a row a training window, the strongest first, and ``OUT.meta.json`` beside it.

``rank`` (by size of the influence), ``window`` (number in its split), ``chrom, start, end`` (its target region,
0-based; empty where the data do not list it), ``influence``, ``cosine``, ``chance``, ``loss``: see
:class:`borzoi_rt.examples.influence.Influences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset import Data
from .influence import Influences
from .tables import write_table

FORMAT = "borzoi-rt-influence"

COLUMNS = ("rank", "window", "chrom", "start", "end", "influence", "cosine", "chance", "loss")


def write_influences(out: Path, data: Data, split: str, found: Influences, about: dict[str, Any]) -> None:
    """Write the table, and beside it what it is of.

    Parameters
    ----------
    out : Path
        TSV to write.
    data : Data
        Where the windows are from.
    split : str
        Of these windows.
    found : Influences
    about : dict
        JSON values: query, models, options.
    """
    write_table(
        out, COLUMNS, _rows(data, split, found), {"format": FORMAT, "format_version": 1, "split": split, **about}
    )


def _rows(data: Data, split: str, found: Influences) -> Iterator[Sequence[object]]:
    regions = data.regions(split)
    for rank, window in enumerate(np.argsort(-np.abs(found.influence), kind="stable").tolist(), start=1):
        region = None if regions is None else regions[window]
        where = ("", "", "") if region is None else (region.chrom, region.start, region.end)
        numbers = (found.influence[window], found.cosine[window], found.chance[window], found.loss[window])
        yield (rank, window, *where, *numbers)
