"""Reports of tables of DFT scores, of metrics and of latencies: what they say, and that hostile text stays text."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import CHROMIUM, opened
from click.testing import CliRunner

from borzoi_rt.cli import main
from borzoi_rt.errors import BorzoiError, FormatError
from borzoi_rt.report.dft_sheet import write_dft_report
from borzoi_rt.report.latency_sheet import write_latency_report
from borzoi_rt.report.metrics_sheet import write_metrics_report
from borzoi_rt.report.sheet import histogram, plain
from borzoi_rt.tables.dft import COLUMNS

HOSTILE = "</script><img src=x onerror=alert(1)>"


def data_of(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def column(data: Any, name: str) -> list[Any]:
    at = [held["name"] for held in data["columns"]].index(name)
    return [row[at] for row in data["rows"]]


def dft_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    whole = [{**dict.fromkeys(COLUMNS, ""), **row} for row in rows]
    lines = ["\t".join(COLUMNS)] + ["\t".join(str(row[name]) for name in COLUMNS) for row in whole]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def window(site: str, scores: dict[str, float], **more: Any) -> list[dict[str, Any]]:
    about = {"site": site, "chrom": "chr1", "pos0": 9, "strand": "+", "allele": "ref", "net": "n", "track": "t"}
    top = max(scores, key=lambda name: scores[name])
    return [
        {**about, "motif": name, "score": value, "dominant": str(name == top).lower(), "status": "ok", **more}
        for name, value in scores.items()
    ]


def test_a_dft_table_becomes_a_page(tmp_path: Path) -> None:
    lost = {"site": HOSTILE, "chrom": "chr9", "pos0": 1, "strand": "+", "allele": "ref", "status": "contig_missing"}
    rows = [*window("a", {"inr": 1.0, "tata": 3.0}), *window("a", {"inr": 0.5, "tata": 0.25})]
    table = dft_table(tmp_path / "t.tsv", [*rows, {**lost, "status_detail": HOSTILE}])
    page = tmp_path / "t.html"
    assert write_dft_report(page, table) == 5
    data = data_of(page)
    assert column(data, "score") == [3, 1, 0.5, 0.25, None]
    assert column(data, "motif") == ["tata", "inr", "inr", "tata", ""]
    means, dominant, spread = data["charts"]
    assert means["bars"] == [["tata", 1.625], ["inr", 0.75]]
    assert sorted(dominant["bars"]) == [["inr", 1], ["tata", 1]]
    assert sum(spread["counts"]) == 4
    assert re.findall(r'<th scope="row">(\w+)</th><td class="number">(\d+)</td>', page.read_text()) == [
        ("ok", "2"), ("contig_missing", "1")
    ]  # fmt: skip
    hidden = {held["name"] for held in data["columns"] if not held["shown"]}
    assert {"variant", "id", "delta_score"} <= hidden  # nothing to say without a variant
    assert "The description of the run was not beside the table." in page.read_text()


def test_changes_by_variants_rank_by_their_size(tmp_path: Path) -> None:
    alt = {"allele": "alt", "variant": "chr1:5 A>C"}
    rows = [*window("a", {"m": 5.0}), *window("a", {"m": 1.0}, **alt, delta_score=-4), *window("b", {"m": 2.0}, **alt)]
    rows[-1]["delta_score"] = 0.5
    table = dft_table(tmp_path / "t.tsv", rows)
    write_dft_report(tmp_path / "t.html", table)
    data = data_of(tmp_path / "t.html")
    assert column(data, "delta_score") == [-4, 0.5, None]
    assert data["charts"][0]["bars"] == [["m", 5]]  # means are of the genome


def test_long_tables_are_cut_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("borzoi_rt.report.dft_sheet.LISTED", 3)
    rows = [row for at in range(9) for row in window(f"s{at}", {"m": float(at)})]
    assert write_dft_report(tmp_path / "t.html", dft_table(tmp_path / "t.tsv", rows)) == 9
    assert column(data_of(tmp_path / "t.html"), "site") == ["s8", "s7", "s6"]
    assert "3 of 9 rows are listed" in (tmp_path / "t.html").read_text()


def test_a_dft_run_leaves_its_report(tmp_path: Path, promoter_bundle: Any, promoter_genome: tuple[Path, str]) -> None:
    bed = tmp_path / "tss.bed"
    bed.write_text("chr1\t1500\t1501\tplus\t0\t+\nchr1\t1700\t1701\tminus\t0\t-\n")
    run = ["dft", "score", "--bundle", str(promoter_bundle.path), "--fasta", str(promoter_genome[0]), "--bed", str(bed)]
    out, page = tmp_path / "t.tsv", tmp_path / "t.html"
    done = CliRunner().invoke(main, [*run, "--out", str(out), "--report", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"rows -> {page}" in done.stderr
    data = data_of(page)
    with out.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert column(data, "score")[0] == plain(max(float(row["score"]) for row in rows if row["score"]))
    mean, first, second = data["charts"][3:]
    # Every curve is that of the site: its sum is delta_sum where all bins are within 500 bp.
    for chart in (first, second):
        name = "plus" if "plus" in chart["title"] else "minus"
        for series in chart["series"]:
            (row,) = [row for row in rows if (row["site"], row["motif"]) == (name, series["name"])]
            assert len(series["values"]) == len(mean["series"][0]["values"])
            size = np.abs(series["values"]).sum()
            if len(series["values"]) == promoter_bundle.geometry.bins:
                assert sum(series["values"]) == pytest.approx(float(row["delta_sum"]), abs=1e-3 * size + 1e-6)
    both = {
        (one["title"], series["name"]): np.array(series["values"])
        for one in (first, second)
        for series in one["series"]
    }
    for series in mean["series"]:
        own = [values for (_, name), values in both.items() if name == series["name"]]
        np.testing.assert_allclose(series["values"], np.mean(own, axis=0), rtol=1e-3, atol=1e-5)
    again = CliRunner().invoke(
        main, ["report", str(out), "--out", str(tmp_path / "again.html")], catch_exceptions=False
    )
    assert again.exit_code == 0
    assert data_of(tmp_path / "again.html")["rows"] == data["rows"]
    with pytest.raises(BorzoiError, match="a report is not made with shard"):
        main.main([*run, "--out", str(out), "--report", str(page), "--shard", "1/2"], standalone_mode=False)
    with pytest.raises(BorzoiError, match="is another output of the run too"):
        main.main(
            [*run, "--out", str(tmp_path / "x.html"), "--report", str(tmp_path / "x.html")], standalone_mode=False
        )


def metrics(path: Path) -> Path:
    rows = [
        (0, "E0", 0.5, 0.25, -0.5, "RNA:liver"),
        (1, HOSTILE, 0.25, 0.75, 0.5, HOSTILE),
        (2, "E2", 0.1, "", "", "CAGE:x"),
    ]
    lines = ["index\tidentifier\tloss\tpearson\tr2\tdescription", *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_metrics_become_a_page(tmp_path: Path) -> None:
    table = metrics(tmp_path / "m.tsv")
    (tmp_path / "m.tsv.meta.json").write_text(json.dumps({"model": HOSTILE, "options": {"rc": True}}))
    assert write_metrics_report(tmp_path / "m.html", table) == 3
    data = data_of(tmp_path / "m.html")
    assert column(data, "identifier") == [HOSTILE, "E0", "E2"]
    assert data["charts"][0]["bars"] == [["other (1)", 0.75], ["RNA-seq (1)", 0.25]]
    text = (tmp_path / "m.html").read_text()
    assert "<dt>Mean Pearson</dt><dd>0.500000</dd>" in text
    assert "<dt>Strands</dt><dd>both, averaged</dd>" in text
    assert "1 of 3 tracks have constant targets" in text


def test_latencies_become_a_page(tmp_path: Path) -> None:
    seconds = [[0.004, 0.001, 0.002, 0.003], []]
    nothing = float("nan")
    rows = [
        ["in process", "1 at once", 4, 0, 2.5, 3.7, 3.97, 400.0],
        [HOSTILE, "1 at once", 0, 4, nothing, nothing, nothing, 0.0],
    ]
    assert write_latency_report(tmp_path / "l.html", rows, seconds=seconds, about={"model": "m"}) == 2
    data = data_of(tmp_path / "l.html")
    (series,) = data["charts"][0]["series"]
    assert (series["at"], series["values"]) == ([1, 2, 3, 4], [0.25, 0.5, 0.75, 1])
    assert column(data, "p50_ms") == [2.5, None]
    assert "4 calls failed" in (tmp_path / "l.html").read_text()


def test_what_is_printed_can_be_reported_later(tmp_path: Path) -> None:
    head = "where\tload\tcalls\tfailed\tp50_ms\tp90_ms\tp99_ms\tper_second"
    (tmp_path / "l.tsv").write_text(f"{head}\nin process\t1 at once\t9\t0\t1.50\t2.00\t3.00\t600.00\n")
    page = tmp_path / "l.html"
    done = CliRunner().invoke(main, ["report", str(tmp_path / "l.tsv"), "--out", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stderr == f"report of 1 measurement -> {page}\n"
    assert column(data_of(page), "p99_ms") == [3]
    refused = CliRunner().invoke(main, ["report", str(tmp_path / "l.tsv"), "--out", str(page), "--top", "3"])
    assert refused.exit_code == 2
    assert "--top is of reports of other files; leave it out" in refused.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0\tE\tx\t\t\tRNA:liver", "could not convert string to float: 'x'"),
        ("0\tE", "line 2 has 2 columns, the head 6"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "m.tsv").write_text(f"index\tidentifier\tloss\tpearson\tr2\tdescription\n{line}\n")
    with pytest.raises(FormatError, match=message):
        write_metrics_report(tmp_path / "m.html", tmp_path / "m.tsv")
    assert not (tmp_path / "m.html").exists()


def test_other_tables_are_no_metrics(tmp_path: Path) -> None:
    for write in (write_metrics_report, write_dft_report):
        with pytest.raises(FormatError, match="is no table of"):
            write(tmp_path / "o.html", tmp_path / "none.tsv")
    assert histogram("t", "", [float("nan")], x="x")["counts"] == [0] * 30
    assert histogram("t", "", [2.0, 2.0], x="x")["counts"][15] == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_a_browser_without_an_error_or_a_request(tmp_path: Path) -> None:
    write_metrics_report(tmp_path / "m.html", metrics(tmp_path / "m.tsv"))
    document, said, asked = opened(tmp_path / "m.html")
    assert "CONSOLE" not in said
    assert asked == []
    body = re.search(r'id="table">.*?<tbody>(.*?)</tbody>', document, re.DOTALL)
    assert body is not None
    assert body[1].count("<tr>") == 3
    assert '<img src="x"' not in document
    assert document.count("<svg") == 4
    assert "3 of 3 listed tracks" in document


def test_positions_of_dft_scores_are_those_of_their_titles(tmp_path: Path) -> None:
    """1-based, as everywhere on a page; the table itself counts from 0."""
    about = {"site": "s", "chrom": "chr1", "pos0": 9, "strand": "+", "allele": "ref", "net": "n", "track": "t"}
    table = dft_table(tmp_path / "d.tsv", [{**about, "motif": "m", "score": 0.5, "status": "ok"}])
    write_dft_report(tmp_path / "d.html", table)
    assert column(data_of(tmp_path / "d.html"), "pos (1-based)") == [10]
