"""The numbers that docs/squash.md prints are what the package computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt import Squash
from borzoi_rt.squash import KINDS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "squash.md").read_text(encoding="utf-8")


def squash(kind: str, *, unscale: bool = False, unclip: bool = True) -> Squash:
    scale, clip_soft, clip = (np.array([value], np.float32) for value in (0.01, 384, 768))
    return Squash(kind, scale, clip_soft, clip, ("sum_sqrt",), unscale=unscale, unclip=unclip)


def inverse(kind: str, value: float, *, unscale: bool = False, unclip: bool = True) -> float:
    return float(squash(kind, unscale=unscale, unclip=unclip).inverse(np.array([[value]], np.float32))[0, 0])


def rows(columns: int) -> list[list[str]]:
    """Return the rows of the worked example that begin with a kind and have so many columns."""
    part = PAGE.split("## Worked example")[1]
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]
    return [row for row in found if len(row) == columns]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def close(found: float, printed: str) -> None:
    assert found == pytest.approx(number(printed), rel=5e-4)  # four digits are printed


def test_worked_example() -> None:
    table = rows(6)
    assert [(row[0].strip("`"), row[1]) for row in table] == [
        (kind, reads) for kind in KINDS for reads in ("500", "5,000", "50,000")
    ]
    for kind, reads, squashed, plain, unscaled, clipped in table:
        name = kind.strip("`")
        value = float(squash(name).forward(np.array([[number(reads)]], np.float32))[0, 0])
        close(value, squashed)
        close(inverse(name, value), plain)
        close(inverse(name, value, unclip=False), clipped)
        if name == "none":
            assert unscaled == "refused"
        else:
            close(inverse(name, value, unscale=True), unscaled)


def test_one_output_under_each_kind() -> None:
    table = rows(3)
    assert [row[0].strip("`") for row in table] == [kind for kind in KINDS if kind != "none"]
    for kind, plain, unscaled in table:
        close(inverse(kind.strip("`"), 4.0), plain)
        close(inverse(kind.strip("`"), 4.0, unscale=True), unscaled)


def test_every_kind_has_a_formula_each_way() -> None:
    formulas = PAGE.split("## Formulas")[1].split("## Worked example")[0]
    tables = re.findall(r"^\| kind \| (forward|inverse).*?\n\n", formulas, flags=re.MULTILINE | re.DOTALL)
    assert tables == ["forward", "inverse"]
    for way in re.split(r"^\| kind \|", formulas, flags=re.MULTILINE)[1:]:
        assert set(KINDS) <= set(re.findall(r"`(\w+)`", way.split("\n\n")[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_negative_values_are_as_told(kind: str) -> None:
    small, large = inverse(kind, -0.5, unscale=False), inverse(kind, -3.0, unscale=False)
    if kind in ("old", "bp_old"):
        assert np.isnan([small, large]).all()
    elif kind == "bp_new":
        assert -1 <= small < 0
        assert np.isnan(large)
    elif kind == "new":
        assert small == pytest.approx(-0.75)
        assert large == pytest.approx(3.0)
    else:
        assert (small, large) == (-0.5, -3.0)
