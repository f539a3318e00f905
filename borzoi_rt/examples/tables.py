"""Tables of this room: TSV, and ``OUT.meta.json`` beside it, which says how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


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
    meta = out.with_name(f"{out.name}.meta.json")
    draft, meta_draft = (path.with_name(f".{path.name}.draft") for path in (out, meta))
    try:
        with draft.open("w", encoding="utf-8") as handle:
            handle.write("\t".join(columns) + "\n")
            for row in rows:
                handle.write("\t".join(map(_cell, row)) + "\n")
        meta_draft.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        out.unlink(missing_ok=True)  # never an older table beside what is said of a newer one
        meta_draft.replace(meta)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
        meta_draft.unlink(missing_ok=True)


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.8g}"
    return " ".join(str(value).split())
