"""``borzoi-rt calibrate`` and ``borzoi-rt score --calibration``."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def test_a_null_and_scores_compared_with_it(cli: Cli, desk: Desk) -> None:
    null = desk.folder / "NULL"
    same = ["--scores", "SUM,logSED@span:256", "--rc"]
    ended = cli("calibrate", "--random", 25, "--seed", 7, "--min-count", 20, *desk.model(), "--out", null, *same)
    assert ended.code == 0, ended.err
    assert "25 null variants: 25 ok -> " in ended.err
    ended = cli(*desk.score("--calibration", null, *same))
    assert ended.code == 0, ended.err
    with desk.out.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row in rows:
        assert float(row["vs_null_max"]) >= 0
        assert (row["quantile"] == "") == (float(row["vs_null_max"]) > 1)
    assert any(row["quantile"] for row in rows)
    meta = json.loads(desk.out.with_name("out.tsv.meta.json").read_text())
    assert meta["calibration"]["source"] == "NULL"
    ended = cli(*desk.score("--calibration", null, "--scores", "SUM"))
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "NULL: was made with other choices: rc True there, False here" in ended.err


def test_normalized_variants_have_a_normalized_null(cli: Cli, desk: Desk) -> None:
    null = desk.folder / "NULL"
    asked = ["--random", 25, "--min-count", 20, "--stats", "SUM", "--normalize"]
    assert cli("calibrate", *desk.model(), "--out", null, *asked).code == 0
    ended = cli(*desk.score("--stats", "SUM", "--normalize", "--calibration", null))
    assert ended.code == 0, ended.err
    ended = cli(*desk.score("--stats", "SUM", "--calibration", null))
    assert "normalize True there, False here" in ended.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give one of variants and random"),
        (["--random", 5, "--min-count", 20], "SUM: 5 null values of 5 variants, at least 20 are needed"),
        (["--random", 5, "--min-count", 3], "3 is not in the range x>=20"),
    ],
)
def test_refusals(cli: Cli, desk: Desk, more: list[object], message: str) -> None:
    ended = cli("calibrate", *desk.model(), "--out", desk.folder / "NULL", *more)
    assert ended.code != 0
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (desk.folder / "NULL").exists()
