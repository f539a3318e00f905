"""Answers in tables of the journal, and what is made of them in the end."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa

from ..types import FloatArray
from .answer import Answer
from .attr_file import StoredRow
from .rows import OK, Row

SCHEMA = pa.schema(
    [
        ("status", pa.string()),
        ("detail", pa.string()),
        ("value", pa.float64()),
        ("facts", pa.string()),
        ("codes", pa.large_binary()),
        ("arrays", pa.map_(pa.string(), pa.large_binary())),
    ]
)
ERRORS = {"hypothetical": "se", "effect": "effect_se"}  # arrays and those of their standard errors


def to_table(answer: Answer) -> pa.Table:
    """Return a table of one row."""
    values = {
        "status": answer.status,
        "detail": answer.detail,
        "value": answer.value,
        "facts": json.dumps(answer.facts, sort_keys=True),
        "codes": answer.codes.tobytes(),
        "arrays": [(name, _to_bytes(values)) for name, values in answer.arrays.items()],
    }
    return pa.Table.from_pylist([values], schema=SCHEMA)


def from_table(table: pa.Table) -> Answer:
    """Read what :func:`to_table` gave."""
    (row,) = table.to_pylist()
    return Answer(
        status=row["status"],
        detail=row["detail"],
        value=row["value"],
        codes=np.frombuffer(row["codes"], dtype=np.uint8),
        arrays={name: np.load(io.BytesIO(content), allow_pickle=False) for name, content in row["arrays"]},
        facts=json.loads(row["facts"]),
    )


def stored_row(row: Row, folds: Sequence[Answer]) -> StoredRow:
    """Return a row to be written: of one fold as it is, of several the mean of every array, errors, and how far they
    agree.

    Standard errors are then over folds, and no more over what a method drew within each. A row that one fold could not
    explain has no answer.
    """
    lost = next((fold for fold in folds if fold.status != OK), None)
    if lost is not None:
        return lost_row(row.failed(lost.status, lost.detail))
    first = folds[0]
    if len(folds) == 1:
        return StoredRow(row, first.codes, first.value, first.arrays, first.facts)
    arrays: dict[str, FloatArray] = {}
    for name in first.arrays:
        if name in ERRORS.values():
            continue
        values = np.stack([fold.arrays[name] for fold in folds]).astype(np.float64)
        arrays[name] = values.mean(axis=0).astype(np.float32)
        if name in ERRORS:
            arrays[ERRORS[name]] = (values.std(axis=0, ddof=1) / np.sqrt(len(values))).astype(np.float32)
    onehot = first.codes == np.arange(4)[:, None]
    parts = [(fold.arrays["hypothetical"].astype(np.float64) * onehot).sum(axis=0) for fold in folds]
    facts = {
        "folds": [{"value": fold.value, **fold.facts} for fold in folds],
        "fold_concordance": _concordance(parts),
    }
    return StoredRow(row, first.codes, float(np.mean([fold.value for fold in folds])), arrays, facts)


def lost_row(row: Row) -> StoredRow:
    """Return what is written of a row that has no answer: its status, and numbers that are none."""
    return StoredRow(row, np.full(row.width, 4, dtype=np.uint8), float("nan"), {}, {})


def _concordance(parts: Sequence[FloatArray]) -> float | None:
    """Return the mean Pearson correlation of every two folds; None where one says nothing."""
    found = [
        float(np.corrcoef(one, other)[0, 1]) if one.std() > 0.0 and other.std() > 0.0 else None
        for one, other in combinations(parts, 2)
    ]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def _to_bytes(values: FloatArray) -> bytes:
    held = io.BytesIO()
    np.save(held, values, allow_pickle=False)
    return held.getvalue()
