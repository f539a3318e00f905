"""Tables as text, in directories of results."""

from __future__ import annotations

from collections.abc import Sequence


def tsv(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """Return a table as text: numbers to six digits, nothing as ``.``."""
    lines = ["\t".join(header), *("\t".join(map(_cell, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "."
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
