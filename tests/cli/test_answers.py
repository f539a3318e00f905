"""What a run found is said at its end, and not only where it was written."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from borzoi_rt.cli.explain_compare import agreement_lines
from borzoi_rt.explain.compare import Comparison, MethodMaps
from borzoi_rt.inside.design import Design, Step
from borzoi_rt.inside.tables import Table

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

BASES = ("--region", "chr1:3,001-3,030")


def test_how_far_methods_agree() -> None:
    """Worked out by hand: 20 bases, so that the strongest 5 % are one."""
    one = np.arange(20.0)
    maps = {"ism": one, "ixg": one[::-1] * 2, "ig": one + 3, "shuffle": np.ones(20)}
    methods = {name: MethodMaps(cast("Any", None), maps=[values]) for name, values in maps.items()}
    lines = agreement_lines(Comparison(cast("Any", [None]), ["A" * 20], methods, "log SUM"))
    assert len(lines) == 6
    assert lines[0].startswith(
        "ism and ixg: correlation -1.00 (1: the same, 0: unrelated), and 0% of the strongest 5% "
    )
    assert lines[1].startswith(
        "ism and ig: correlation 1.00 (1: the same, 0: unrelated), and 100% of the strongest 5% "
    )
    assert lines[2] == "ism and shuffle: no agreement can be told, as a map is the same at every base"


def test_compare_says_it(cli: Cli, desk: Desk) -> None:
    out = desk.folder / "c"
    ended = cli("explain", "compare", "--methods", "ism,shuffle", *BASES, *desk.model(), "--out", out)
    assert (ended.code, ended.err.count("ism and shuffle: ")) == (0, 1)


def test_what_motifs_change(cli: Cli, desk: Desk) -> None:
    out = desk.folder / "m.tsv"
    words = ["--method", "marginalize", "--motif", "TATAAA", "--motif", "GGGGCC", "--backgrounds", 3]
    ended = cli("explain", *words, *BASES, *desk.model(), "--out", out)
    assert ended.code == 0, ended.err
    with out.open() as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    for motif in ("TATAAA", "GGGGCC"):
        change = np.mean([float(line["change"]) for line in lines if line["motif"] == motif])
        assert f"{motif}: log SUM changes by {change:+.4g} (standard error " in ended.err


def test_the_strongest_score_is_named_to_people(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "largest in size" not in cli(*desk.score("--stats", "SUM")).err
    monkeypatch.setattr("borzoi_rt.cli.score.at_terminal", lambda: True)
    ended = cli(*desk.score("--stats", "SUM"))
    with desk.out.open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["score"]]
    best = max(rows, key=lambda row: abs(float(row["score"])))
    name = ":".join(best[key] for key in ("chrom", "pos", "ref", "alt"))
    assert f"largest in size: SUM {float(best['score']):+.4g} of {name} in {best['track_id']}\n" in ended.err


def test_motifs_that_change_are_named(cli: Cli, desk: Desk, tmp_path: Path) -> None:
    motifs = tmp_path / "m.meme"
    motifs.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\n"
        + "".join(
            f"MOTIF {name}\nletter-probability matrix: alength= 4 w= 4\n"
            + "".join(" ".join("0.97" if base == letter else "0.01" for base in "ACGT") + "\n" for letter in letters)
            for name, letters in (("one", "ACGT"), ("two", "GGCA"), ("three", "TTTA"))
        )
    )
    ended = cli(*desk.score("--stats", "SUM", "--explain", "--motifs", motifs, "--motif-pvalue", "0.01"))
    assert ended.code == 0, ended.err
    with desk.out.with_name(desk.out.name + ".motifs.tsv").open() as file:
        found = Counter((row["change"], row["motif"]) for row in csv.DictReader(file, delimiter="\t"))
    assert found
    line = next(line for line in ended.err.splitlines() if line.startswith(("gained: ", "lost: ", "stronger: ")))
    kinds = dict(part.split(": ") for part in line.split("; "))
    for (change, motif), count in found.items():
        assert (f"{motif} ({count} times)" if count > 1 else motif) in kinds[change].split(", ")


def test_what_is_printed_of_results_is_short() -> None:
    table = Table("attention", {}, {"name": ["a", "b"]}, arrays={"by_query": np.zeros((2, 400))})
    assert repr(table) == "<Table of attention: 2 rows, columns name, by_query (2, 400)>"
    window = np.zeros((4, 200), dtype=np.uint8)
    design = Design(window, (50, 150), (Step(60, "A", "C", 1.0, 2.5),), 1.0, 2.5, 300, 1, (0.5, 0.51))
    assert repr(design) == "<Design of 100 bases: 1 substitution, target 1 -> 2.5>"
