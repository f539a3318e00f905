"""Small tables for notebooks: everything escaped, no script, no style but alignment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_NUMBER = ' style="text-align:right;font-variant-numeric:tabular-nums"'
_TEXT = ' style="text-align:left"'


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    caption : str
        What is shown.
    header : sequence of str
        Names of the columns; may be empty.
    rows : iterable of sequences
        Cells; numbers with a fraction are shown with four digits, what is not a finite number as it is called.
    total : int
        How many rows there are in all; the others are said to be there.
    """
    body = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    rest = total - len(body)
    if rest > 0:
        body.append(f'<tr><td colspan="{max(1, len(header))}"{_TEXT}>... and {rest:,} more</td></tr>')
    names = "".join(f'<th scope="col"{_TEXT}>{escape(name)}</th>' for name in header)
    head = f"<thead><tr>{names}</tr></thead>" if header else ""
    title = f'<caption style="text-align:left;white-space:pre-line">{escape(caption)}</caption>'
    return f"<table>{title}{head}<tbody>{''.join(body)}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td{_NUMBER}>{value:.4g}</td>"
    if isinstance(value, int):
        return f"<td{_NUMBER}>{value}</td>"
    return f"<td{_TEXT}>{escape(str(value))}</td>"
