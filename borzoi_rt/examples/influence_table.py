"""Tables of influence: TSV, a row a training window, the strongest first, and ``OUT.meta.json`` beside it.

``rank`` (by size of the influence), ``window`` (number in its split), ``chrom, start, end`` (its target region,
0-based; empty where the data do not list it), ``influence``, ``cosine``, ``chance``, ``loss``: see
:class:`borzoi_rt.examples.influence.Influences`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset import Data
from .influence import Influences

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
    regions = data.regions(split)
    lines = ["\t".join(COLUMNS)]
    for rank, window in enumerate(np.argsort(-np.abs(found.influence), kind="stable").tolist(), start=1):
        where = ("", "", "")
        if regions is not None:
            region = regions[window]
            where = (region.chrom, str(region.start), str(region.end))
        numbers = (found.influence[window], found.cosine[window], found.chance[window], found.loss[window])
        cells = ("" if np.isnan(number) else f"{number:.8g}" for number in numbers)
        lines.append("\t".join([str(rank), str(window), *where, *cells]))
    draft, meta = out.with_name(f".{out.name}.draft"), out.with_name(out.name + ".meta.json")
    meta_draft = meta.with_name(f".{meta.name}.draft")
    try:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        document = {"format": "borzoi-rt-influence", "format_version": 1, "split": split, **about}
        meta_draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        meta.unlink(missing_ok=True)  # of an earlier table it says nothing true any more
        draft.replace(out)
        meta_draft.replace(meta)
    finally:
        draft.unlink(missing_ok=True)
        meta_draft.unlink(missing_ok=True)
