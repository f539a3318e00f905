"""The report of a score table: what it says, and what nobody can make it do."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM, opened
from pages import data_of

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.report import page
from borzoi_rt.report.page import write_report
from borzoi_rt.report.ranking import read_effects, read_ranking
from borzoi_rt.scoring.statistics import describe_statistics
from borzoi_rt.tables.reading import open_scores

COLUMNS = (
    *("record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail", "gene", "region"),
    *("track_index", "track_id", "track_label", "stat", "score", "gene_name"),
)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
TRACKS = (("ENC1", "RNA:liver"), ("ENC2", "CAGE:lung"), ("ENC3", "RNA:lung"))


def rows() -> list[dict[str, Any]]:
    """Three alleles with two scores, one of them undefined in a track, and one without scores."""
    found = []
    for record, scale in enumerate((1.0, -3.0, 2.0)):
        for stat, region, gene in (("logSED", "window", "."), ("logSED", "exons", "G1"), ("logSED", "exons", "G2")):
            for number, (track, label) in enumerate(TRACKS):
                score = scale * (number + 1) * (10 if gene == "G2" else 1)
                found.append(
                    dict(zip(COLUMNS, (
                        record, 0, "chr1", 100 + record, f"rs{record}", "A", "G", "ok", "", gene, region,
                        number, track, label, stat, score, "" if gene == "." else f"name {gene}",
                    ), strict=True))
                )  # fmt: skip
    found[0] |= {"status": "undefined", "score": ""}
    base = dict.fromkeys(COLUMNS, "")
    return [*found, base | {"record": 3, "alt_index": 0, "chrom": "chr9", "pos": 5, "id": HOSTILE, "ref": "A"}
            | {"alt": "<DEL>", "status": "symbolic_alt", "status_detail": "ALT '<DEL>' has no sequence", "gene": "."}
            | {"region": "window"}]  # fmt: skip


def write(path: Path, table: list[dict[str, Any]]) -> Path:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writeheader()
        writer.writerows(table)
    meta = {"model": HOSTILE, "notes": [HOSTILE], "options": {"stats": ["logSED@exons"]}, "genome": "g.fa"}
    path.with_name(path.name + ".meta.json").write_text(json.dumps(meta))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "scores.tsv", rows())


@pytest.mark.parametrize("name", ["scores.tsv", "scores.tsv.gz"])
def test_ranking_is_that_of_the_rows(tmp_path: Path, name: str) -> None:
    held = open_scores(write(tmp_path / name, rows()))
    ranking = read_ranking(held)
    assert (ranking.scores, dict(ranking.counts)) == (
        ("logSED", "logSED@exons"),
        {"undefined": 1, "ok": 2, "symbolic_alt": 1},
    )
    for score, gene in (("logSED", "."), ("logSED@exons", "G1 G2")):
        for item in ranking.alleles:
            mine = [
                row for row in rows() if row["record"] == item.key[0] and row["gene"] in gene and row["score"] != ""
            ]
            best = max(mine, key=lambda row: abs(row["score"]), default=None)
            assert (best is None) == (score not in item.best)
            if best is not None:
                found = item.best[score]
                assert (found.score, found.track, found.gene) == (best["score"], best["track_id"], best["gene_name"])
    assert [item.key[0] for item in ranking.ranked("logSED@exons")] == [1, 2, 0, 3]
    effects = read_effects(held, [(1, 0, "")], "logSED@exons")[1, 0, ""]
    assert [(item.track, item.score, item.gene) for item in effects] == [
        ("ENC3", -90.0, "name G2"), ("ENC2", -60.0, "name G2"), ("ENC1", -30.0, "name G2")
    ]  # fmt: skip


def test_pieces_of_a_table_join(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_ranking(open_scores(table))
    from borzoi_rt.tables.reading import ScoreTable

    every = ScoreTable.batches

    def halves(self: ScoreTable, columns: list[str]) -> Any:
        from borzoi_rt.tables.reading import Coded

        for piece in every(self, columns):
            count = len(piece["record"])
            for at in range(0, count, 4):
                yield {
                    name: Coded(held.codes[at : at + 4], held.texts) if isinstance(held, Coded) else held[at : at + 4]
                    for name, held in piece.items()
                }

    monkeypatch.setattr(ScoreTable, "batches", halves)
    assert read_ranking(open_scores(table)) == whole


def test_the_page_says_what_the_table_says(table: Path) -> None:
    write_report(table.with_suffix(".html"), table)
    page = table.with_suffix(".html").read_text(encoding="utf-8")
    data = data_of(page)
    assert (data["scores"], data["by"], data["total"]) == (["logSED", "logSED@exons"], 1, 4)  # as the run names it
    assert [row[2] for row in data["alleles"]] == ["rs1", "rs2", "rs0", HOSTILE]
    first = data["details"][0]
    assert [bar[:3] for bar in first["bars"]] == [
        ["ENC3", "RNA:lung", -90], ["ENC2", "CAGE:lung", -60], ["ENC1", "RNA:liver", -30]
    ]  # fmt: skip
    assert first["assays"] == [["RNA-seq", 2, -60, -90], ["CAGE", 1, -60, -60]]
    assert first["tissues"] == [["lung", 2, -75, -90], ["liver", 1, -30, -30]]
    assert len(data["details"]) == 3  # an allele without a score is not shown one by one
    assert sum(data["histograms"][1]["counts"]) == 3
    assert "ALT &#39;&lt;DEL&gt;&#39; has no sequence" in page


def test_nothing_runs_but_the_page_s_own_script(table: Path) -> None:
    write_report(table.with_suffix(".html"), table)
    page = table.with_suffix(".html").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "<img" not in page
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (len(scripts), len(styles), page.count("<script")) == (1, 1, 2)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    words = policy[1].replace("&#39;", "'")
    for kind, content in (("script", scripts[0]), ("style", styles[0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in words.replace("&#43;", "+")
    assert words.startswith("default-src 'none';")
    assert "unsafe" not in words
    # No address but the name of SVG, which is never fetched.
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|\bsrc=", scripts[0])


def test_motif_changes_beside_the_table_are_shown(table: Path) -> None:
    changes = [{"motif": "MA1", "motif_name": "GATA1", "change": "lost", "difference": -4.0}]
    beside = table.with_name("scores.tsv.motifs.json")
    beside.write_text(json.dumps({"alleles": [{"record": 1, "alt_index": 0, "motifs": changes}]}))
    write_report(table.with_suffix(".html"), table)
    details = data_of(table.with_suffix(".html").read_text())["details"]
    assert [(item["explained"], item["motifs"]) for item in details[:2]] == [(True, changes), (False, [])]
    beside.write_text("[]")
    with pytest.raises(InputError, match=r"motifs\.json: is not what a run"):
        write_report(table.with_suffix(".html"), table)


def test_what_cannot_be_reported_is_refused(tmp_path: Path, table: Path) -> None:
    with pytest.raises(InputError, match=r"no score 'SUM' in the table; it has logSED, logSED@exons"):
        write_report(tmp_path / "o.html", table, rank_by="SUM")
    with pytest.raises(FormatError, match=r"none\.tsv: no such table"):
        write_report(tmp_path / "o.html", tmp_path / "none.tsv")
    (tmp_path / "wide.tsv").write_text("chrom\tpos\n")
    with pytest.raises(FormatError, match=r"wide\.tsv: no column 'record'"):
        write_report(tmp_path / "o.html", tmp_path / "wide.tsv")
    (tmp_path / "bad.tsv").write_text("\t".join(COLUMNS) + "\n" + "\t".join("x" * len(COLUMNS)) + "\n")
    with pytest.raises(FormatError, match=r"bad\.tsv: .*conversion error"):
        write_report(tmp_path / "o.html", tmp_path / "bad.tsv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match=r"bad\.parquet: cannot be read"):
        write_report(tmp_path / "o.html", tmp_path / "bad.parquet")
    with pytest.raises(FormatError, match="a long table is read as"):
        write_report(tmp_path / "o.html", tmp_path / "scores.h5")
    assert not (tmp_path / "o.html").exists()


def test_a_table_without_rows_has_a_page(tmp_path: Path) -> None:
    write_report(tmp_path / "o.html", write(tmp_path / "none.tsv", []))
    assert data_of((tmp_path / "o.html").read_text())["alleles"] == []


def test_scores_are_said_in_words(table: Path) -> None:
    """As `borzoi-rt scores` has them; nothing where the run does not say which family it was of."""
    about = table.with_name(table.name + ".meta.json")
    write_report(table.with_suffix(".html"), table)
    assert data_of(table.with_suffix(".html").read_text())["meanings"] == ["", ""]
    known = json.loads(about.read_text()) if about.exists() else {}
    about.write_text(json.dumps(known | {"options": {**known.get("options", {}), "family": "hound"}}))
    write_report(table.with_suffix(".html"), table)
    data = data_of(table.with_suffix(".html").read_text())
    for name, words in zip(data["scores"], data["meanings"], strict=True):
        (one,) = [one for one in describe_statistics("hound") if one.name == name.partition("@")[0]]
        assert words.endswith(f": {one.formula}")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_a_browser_without_an_error_or_a_request(table: Path) -> None:
    page = table.with_suffix(".html")
    write_report(page, table)
    document, said, asked = opened(page)
    assert "CONSOLE" not in said
    assert "<title>Variant scores: scores.tsv</title>" in document
    body = re.search(r'id="variants">.*?<tbody>(.*?)</tbody>', document, re.DOTALL)
    assert body is not None
    assert body[1].count("<tr>") == 4
    assert body[1].index("rs1") < body[1].index("rs2") < body[1].index("rs0")
    assert document.count("<svg") == 2  # two distributions: no coverage was asked for
    assert '<img src="x"' not in document
    assert asked == []
    # The same look sees what a careless page would do.
    page.write_text('<script>console.log("x")</script><img src="http://127.0.0.1:9/x.png">')
    _, said, asked = opened(page)
    assert "CONSOLE" in said
    assert "http://127.0.0.1:9/x.png" in asked


def test_motifs_belong_to_the_haplotype_that_has_them(tmp_path: Path) -> None:
    """Records and alleles come again in every sample, and a haplotype is compared with two others."""
    facts = [("S1", "1", "reference"), ("S1", "2", "reference"), ("S1", "2", "1"), ("S2", "1", "reference")]
    entries = [
        {"record": 0, "alt_index": 0, "sample": sample, "haplotype": number, "against": against, "motifs": [{"at": at}]}
        for at, (sample, number, against) in enumerate(facts)
    ]
    entries.append({"record": 1, "alt_index": 0, "motifs": []})
    (tmp_path / "t.tsv.motifs.json").write_text(json.dumps({"alleles": entries}))
    found = page._motifs(tmp_path / "t.tsv")
    assert [held[0]["at"] for held in list(found.values())[:4]] == [0, 1, 2, 3]
    assert (0, 0, "S1 2 against 1") in found
    assert found[1, 0, ""] == []


def test_what_a_pair_of_strands_scores_is_said(table: Path) -> None:
    """Beside the formula, which alone would be that of the added coverage; nothing where strands were kept apart."""
    about = table.with_name(table.name + ".meta.json")
    told = {}
    for family, order, merged in (("hound", None, True), ("hound", "before", True), ("hound", None, False)):
        options = {"family": family, "strand_order": order, "merge_strands": merged}
        about.write_text(json.dumps({"options": options}))
        write_report(table.with_suffix(".html"), table)
        told[order, merged] = data_of(table.with_suffix(".html").read_text())["joinings"]
    assert all("the sum of the scores of its two strands" in words for words in told[None, True])
    assert all("the score of the added coverage" in words for words in told["before", True])
    assert told[None, False] == ["", ""]


def test_one_value_has_no_histogram(tmp_path: Path) -> None:
    """Edges half a unit on each side of it would be of nothing."""
    out = tmp_path / "r.html"
    write_report(out, write(tmp_path / "t.tsv", [rows()[1] | {"score": -5.887}]), rank_by="logSED")
    (drawn,) = data_of(out.read_text())["histograms"]
    assert drawn == {"counts": [], "edges": [], "only": -5.887}
