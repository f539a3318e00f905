"""Tables of this room: TSV, and ``OUT.meta.json`` beside it, which says how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..drafts import draft_of


def write_table(out: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], about: dict[str, Any]) -> None:
    """Write a table and what it is of; both appear when they are whole, the table last.

    Parameters
    ----------
    out : Path
        TSV to write.
    columns : sequence of str
    rows : iterable of sequence
        Cells: text, whole numbers, or real numbers, of which NaN is empty.
    about : dict
        JSON values.
    """
    with draft_of(out) as draft:
        with draft.open("w", encoding="utf-8") as handle:
            handle.write("\t".join(columns) + "\n")
            for row in rows:
                handle.write("\t".join(map(_cell, row)) + "\n")
        draft.with_name(f"{out.name}.meta.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.8g}"
    return " ".join(str(value).split())
