"""``borzoi-rt score --bundle A --bundle B``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import twins

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


@pytest.fixture
def twin(desk: Desk) -> Path:
    """The same network under another name."""
    return twins.write_twin(desk.bundle, desk.folder / "twin")


def test_several_bundles_are_an_ensemble(cli: Cli, desk: Desk, twin: Path) -> None:
    """Members that are equal agree: the mean is the member's score, without spread."""
    assert cli(*desk.score()).code == 0
    with desk.out.open() as handle:
        alone = [row["score"] for row in csv.DictReader(handle, delimiter="\t")]
    for more in ([], ["--ensemble", "mean_predictions"]):
        ended = cli(*desk.score("--bundle", twin, *more))
        assert ended.code == 0, ended.err
        with desk.out.open() as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        assert [row["score"] for row in rows] == alone
        assert {(row["score_sd"], row["sign_agreement"]) for row in rows} == {("0", "1")}
        about = json.loads(desk.out.with_name("out.tsv.meta.json").read_text())
        assert about["ensemble"]["average"] == (more[1] if more else "mean_scores")
        assert about["options"]["ensemble"] == about["ensemble"]["average"]


def test_what_is_no_ensemble_is_refused_in_one_line(cli: Cli, desk: Desk, twin: Path) -> None:
    ended = cli(*desk.score("--bundle", desk.bundle))
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "hold the same model" in ended.err
    manifest = twin / "bundle.json"
    document = json.loads(manifest.read_text())
    document["squash"]["kind"] = "old"
    manifest.write_text(json.dumps(document))
    ended = cli(*desk.score("--bundle", twin))
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "are no ensemble: squash " in ended.err
    assert not desk.out.exists()
