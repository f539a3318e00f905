"""What the measures of one file come to, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .maps import FALLEN, TOO_FEW
from .metrics import BY_CONSTRUCTION, FELL, HIGH, METRICS, MORE


def verdict_of(table: Sequence[Mapping[str, Any]]) -> str:
    """Return how many measures one file passed, which, and by how much against random; and what was left out.

    Parameters
    ----------
    table : sequence of mapping
        The file's rows of ``metrics.tsv``.
    """
    asked = [line for line in table if line["passed"] is not None]
    head = f"{table[0]['file']} ({table[0]['method']}): " if table else ""
    left = dict.fromkeys(line["metric"] for line in table if line.get("detail") == BY_CONSTRUCTION)
    out = [f"{', '.join(left)} is left out, {BY_CONSTRUCTION}"] if left else []
    untold = [line for line in table if str(line.get("detail")).endswith(TOO_FEW)]
    out += [f"no verdict on {', '.join(map(_named, untold))}: {TOO_FEW}"] if untold else []
    if not asked:
        return head + "; ".join(["nothing was measured that is compared with random", *out])
    passed = [_said(line) for line in asked if line["passed"]]
    failed = [_said(line) for line in asked if not line["passed"]]
    parts = [
        f"{len(passed)} of {len(asked)} checks against random passed",
        *([f"passed {', '.join(passed)}"] if passed else []),
        *([f"FAILED {', '.join(failed)}"] if failed else []),
        *out,
    ]
    return head + "; ".join(parts)


def _said(line: Mapping[str, Any]) -> str:
    """Say a value beside what it had to be."""
    better = METRICS[line["metric"]].better_of(line["quantity"])
    needed = f"random from {line['random_low']:.2g}" if better != FELL else f"asked is below {FALLEN:g}"
    if better in (HIGH, MORE):
        needed = f"random up to {line['random_high']:.2g}"
    return f"{_named(line)} {line['value']:.2g} ({needed})"


def _named(line: Mapping[str, Any]) -> str:
    """Name a number by its measure too."""
    return str(line["metric"] if line["metric"] == line["quantity"] else f"{line['metric']} {line['quantity']}")
