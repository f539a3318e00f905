"""``borzoi-rt bench latency`` in this process, and its report."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def test_a_report_has_what_is_printed(cli: Cli, desk: Desk) -> None:
    page = desk.folder / "bench.html"
    run = ("bench", "latency", *desk.model(), "--calls", 5, "--concurrency", "1,2")
    ended = cli(*run, "--report", page)
    assert ended.code == 0, ended.err
    printed = [line.split("\t") for line in ended.out.splitlines()]
    found = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert [column["name"] for column in data["columns"]] == printed[0]
    for row, line in zip(data["rows"], printed[1:], strict=True):
        assert row[:4] == [*line[:2], 5, 0]
        assert row[4:] == pytest.approx([float(text) for text in line[4:]], rel=1e-3, abs=0.006)
    for series in data["charts"][0]["series"]:
        assert series["values"] == [0.2, 0.4, 0.6, 0.8, 1]
        assert series["at"] == sorted(series["at"])
    assert "<dt>Calls</dt><dd>5</dd>" in page.read_text()
    refused = cli(*run, "--report", desk.folder / "bench.txt")
    assert (refused.code, refused.out) == (1, "")
    assert "a report is an HTML file" in refused.err
