"""``borzoi-rt surrogate`` on the demo: the grammar that was planted is read off the network, and off no chance."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import check_error

from borzoi_rt.demo.grammar import MOTIFS, promoters
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.motifs.files import write_meme
from borzoi_rt.motifs.matrices import Motif

pytest.importorskip("sklearn", reason="scikit-learn is of the extra surrogate, which is too large for the extra test")
pytest.importorskip("lightmotif")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A genome with one promoter of TATA, initiator and a GC box amid random bases, and the motifs of the grammar."""
    folder = tmp_path_factory.mktemp("surrogates")
    text = bytearray(np.random.default_rng(4).choice(list("ACGT"), 12_000).astype("S1").tobytes())
    for start, name in ((6000, "gc"), (6060, "tata"), (6090, "inr")):
        text[start : start + 8] = MOTIFS[name].encode()
    (one,) = [found for found in promoters(text.decode()) if found.strand == "+"]
    assert (one.tss, one.strength) == (6092, 2.5)
    write_fasta(folder / "genome.fa", {"c": text.decode()})
    motifs = [Motif(name, np.array([[float(b == x) for x in word] for b in "ACGT"])) for name, word in MOTIFS.items()]
    write_meme(folder / "motifs.meme", motifs)
    words = ["surrogate", "--region", "c:5,991-6,110", "--bundle", embedded_bundle().path, "--fasta"]
    words += [folder / "genome.fa", "--target", "log SUM@center:256", "--tracks", "CAGE+"]
    return {"folder": folder, "words": words, "motifs": folder / "motifs.meme"}


def test_the_planted_grammar_is_recovered(cli, files) -> None:
    out = files["folder"] / "rules"
    more = ["--motifs", files["motifs"], "--mutants", 240, "--rate", 0.05, "--out", out]
    code, text, err = cli(*files["words"], *more)
    assert (code, text) == (0, ""), err
    assert sorted(path.name for path in out.iterdir()) == ["figure.png", "library.tsv", "rules.txt", "surrogates.json"]
    document = json.loads((out / "surrogates.json").read_text())
    held = {(found["surrogate"], found["features"]): found for found in document["surrogates"]}
    assert len(held) == 8
    rules = held["rules", "motifs"]
    assert rules["better_than_chance"]
    assert rules["held_out"]["spearman"] > 0.7
    assert max(control["r2"] for control in rules["shuffled_labels"]) < 0.15 < rules["held_out"]["r2"]

    # The mutants that score highest have the whole core, those that score lowest have lost a part of it.
    best, worst = (choose(rules["model"]["rules"], key=lambda rule: rule["score"]) for choose in (max, min))
    assert {"tata+", "inr+"} <= set(best["if"])
    assert {"no tata+", "no inr+"} & set(worst["if"])
    assert best["score"] > worst["score"] + 2.0  # of natural logarithms
    # The network reads the core on its own strand: both halves weigh more than the box beside them.
    terms = held["additive", "motifs"]["model"]["terms"]
    assert min(terms["tata+"], terms["inr+"]) > 3 * abs(terms["gc+"])
    check_library(out / "library.tsv", document)


def check_library(path: Path, document: dict[str, Any]) -> None:
    with path.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert len(rows) == 241
    assert float(rows[0]["score"]) == pytest.approx(document["score_of_reference"], rel=1e-8)
    assert sum(row["held_out"] == "1" for row in rows) == 48
    reference = rows[0]["sequence"]
    for row in rows:
        assert int(row["exchanged"]) == sum(a != b for a, b in zip(reference, row["sequence"], strict=True))
    held = [row for row in rows if row["held_out"] == "1"]
    told = next(
        found for found in document["surrogates"] if found["features"] == "kept" and found["surrogate"] == "tree"
    )
    scores, said = (np.array([float(row[name]) for row in held]) for name in ("score", "tree_of_kept_bases"))
    r2 = 1 - ((scores - said) ** 2).sum() / ((scores - scores.mean()) ** 2).sum()
    assert r2 == pytest.approx(told["held_out"]["r2"], abs=1e-4)


def test_what_cannot_be_done_is_refused(cli, files, tmp_path) -> None:
    small = [*files["words"], "--out", tmp_path / "o"]
    check_error(cli(*small, "--mutants", 20), "4 are held out and 16 fitted to")
    check_error(cli(*small, "--gene", "G"), "give --genes")
    code, _, err = cli(*small, "--motif-pvalue", 0.1)
    assert (code, "--motif-pvalue is of the motifs: give --motifs" in err) == (2, True)
    code, _, err = cli(*small, "--surrogate", "additive", "--depth", 3)
    assert (code, "--depth is of tree or rules" in err) == (2, True)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    check_error(cli(*files["words"], "--out", full), "exists and is not an empty directory")
    assert not (tmp_path / "o").exists()


def test_the_same_seed_gives_the_same_files(cli, files, tmp_path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        more = ["--mutants", 50, "--seed", seed, "--surrogate", "tree", "--out", tmp_path / name]
        assert cli(*files["words"], *more)[0] == 0
    tables = [(tmp_path / name / "library.tsv").read_bytes() for name in ("one", "two", "three")]
    assert tables[0] == tables[1] != tables[2]
    one, two = ((tmp_path / name / "surrogates.json").read_text() for name in ("one", "two"))
    assert one == two


def test_random_weights_have_no_rule_of_the_grammar(cli, files, tmp_path, toy_bundle) -> None:
    """The control of the network: one that has learned nothing gives motifs no better than chance, or nearly."""
    words = ["surrogate", "--region", "c:5,991-6,110", "--bundle", toy_bundle.path, "--fasta"]
    words += [files["folder"] / "genome.fa", "--target", "log SUM@center:256", "--motifs", files["motifs"]]
    assert cli(*words, "--mutants", 300, "--surrogate", "rules", "--out", tmp_path / "o")[0] == 0
    document = json.loads((tmp_path / "o" / "surrogates.json").read_text())
    (found,) = [item for item in document["surrogates"] if item["features"] == "motifs"]
    assert found["held_out"]["r2"] < 0.1
