"""Seqlets, their names, and hits of motifs with attributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal
from oracles import seqlets as oracle

from borzoi_rt.demo import grammar
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import StoredRow, read_attributions, write_attributions
from borzoi_rt.explain.motif_tables import SEQLET_COLUMNS, hits_of, seqlets_of
from borzoi_rt.explain.rows import ALT, Row
from borzoi_rt.explain.seqlets import SumNull, find_seqlets
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.motifs.files import write_meme
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.sequence import encode

BUNDLE = Path(grammar.__file__).with_name("bundle")

MADE = {"method": "ism", "target": {"target": "SUM"}}  # what every file says


def test_p_is_twice_the_share_of_all_draws():
    pool = [-10.0, -7.0, 0.0, 3.0, 13.0]  # the range is 23, so that each is a whole number of the 2,047 steps
    null = SumNull(np.array(pool), 3)
    row = np.array([13.0, 13.0, 3.0, -10.0, -10.0, -7.0, 0.0, 3.0])
    for length in (1, 2, 3):
        got = null.pvalues(row, length)
        for start, value in enumerate(got):
            total = float(row[start : start + length].sum())
            assert_allclose(value, oracle.sum_pvalue(pool, total, length), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_seqlets_are_those_of_the_loop(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(-1, 2, 14).astype(np.float64)
    scores[3:7] += 2.0
    scores[9:12] -= 3.0
    found = find_seqlets(scores[None], np.ones((1, 14), dtype=bool), pvalue=0.25, shortest=2, longest=4)
    assert [(item.start, item.end) for item in found] == oracle.seqlets(scores.tolist(), 0.25, 2, 4)
    assert found
    for item in found:
        assert item.attribution == scores[item.start : item.end].sum()


def test_p_is_calibrated_where_scores_are_independent():
    random = np.random.default_rng(1)
    scores = random.standard_t(3, 100_000)
    null = SumNull(scores)
    for length in (1, 4, 10, 25):
        chances = null.pvalues(scores, length)[::length]  # stretches that share nothing
        for limit in (0.2, 0.05, 0.01):
            share, deviation = (chances <= limit).mean(), np.sqrt(limit / len(chances))
            assert abs(share - limit) < 4 * deviation + 0.05 * limit


def test_unknown_bases_are_in_no_seqlet_and_are_not_drawn():
    scores = np.zeros((1, 200))
    scores[0, 50:58] = 5.0
    scores += np.random.default_rng(0).normal(0.0, 0.1, scores.shape)
    known = np.ones(scores.shape, dtype=bool)
    (one,) = find_seqlets(scores, known, pvalue=1e-4)
    assert (one.start, one.end) == (50, 58)
    known[0, 53] = False
    scores[0, 53] = 99.0
    (one,) = find_seqlets(scores, known, pvalue=1e-4)
    assert (one.start, one.end) == (54, 58)
    assert find_seqlets(scores, np.zeros(scores.shape, dtype=bool)) == []
    assert find_seqlets(np.zeros((1, 50)), np.ones((1, 50), dtype=bool)) == []
    for arguments in ({"pvalue": 0.0}, {"shortest": 9, "longest": 5}):
        with pytest.raises(InputError):
            find_seqlets(scores, known, **arguments)


WIDTH, BLOCK, FIRST = 1000, 260, 400


def planted_rows() -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Two promoters of the demo's grammar, the second on the '-' strand, and where their motifs lie."""
    random = np.random.default_rng(12)
    rows = []
    for strand in "+-":
        block = {45: "gc", 79: "gc", 130: "silencer", 160: "tata", 160 + 8 + 22: "inr"}
        letters = bytearray("".join(random.choice(list("ACGT"), WIDTH)), "ascii")
        block = {FIRST + offset: name for offset, name in block.items()}
        for offset, name in block.items():
            letters[offset : offset + 8] = grammar.MOTIFS[name].encode()
        text, sites = letters.decode(), [(name, "+", offset) for offset, name in block.items()]
        if strand == "-":
            text = grammar.reverse_complement(text)
            sites = [(name, "-", WIDTH - 8 - offset) for name, _, offset in sites]
        rows.append((text, sorted(sites, key=lambda site: site[2])))
    return rows


def grammar_effects(text: str) -> np.ndarray:
    """Exact mutagenesis of the grammar itself: change of ln of all coverage, (4, bases)."""

    def value(sequence: str) -> float:
        return float(np.log(grammar.coverage(sequence).sum() + 1.0))

    base = value(text)
    found = np.zeros((4, len(text)))
    for row, letter in enumerate("ACGT"):
        for at in range(FIRST - 60, FIRST + BLOCK):  # the block on either strand
            found[row, at] = value(text[:at] + letter + text[at + 1 :]) - base
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Attributions of the grammar and its motifs; the third row is the first one as an ALT haplotype."""
    folder = tmp_path_factory.mktemp("planted")
    motifs = [Motif(name, np.where(encode(word) > 0, 0.91, 0.03)) for name, word in grammar.MOTIFS.items()]
    write_meme(folder / "m.meme", motifs)
    random, stored = np.random.default_rng(5), []
    for number, (text, _) in enumerate(planted_rows()):
        effects = grammar_effects(text) + random.normal(0.0, 0.02, (4, WIDTH))
        scores = (effects - effects.mean(axis=0)).astype(np.float32)
        bases = Interval("chr2" if number else "chr1", 1000 * number, 1000 * number + WIDTH)
        where = Where(window_start=bases.start, anchor=anchored(bases.chrom, bases.start, bases.end))
        codes = encode(text).argmax(axis=0).astype(np.uint8)
        row = Row(name=f"p{number}", bases=bases, where=where)
        stored.append(StoredRow(row, codes, 1.0, {"hypothetical": scores}, {}))
    write_attributions(folder / "a.h5", iter(stored), 2, WIDTH, {**MADE, "projected_only": False})
    return folder / "a.h5", folder / "m.meme"


def read_bed(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text().splitlines()
    assert header == "#" + "\t".join(SEQLET_COLUMNS)
    return [dict(zip(SEQLET_COLUMNS, line.split("\t"), strict=True)) for line in lines]


def test_planted_motifs_are_found_by_name(planted, tmp_path):
    attributions, motifs = planted
    out = tmp_path / "s.bed"
    count = seqlets_of(attributions, out, {"chr2": 1, "chr1": 1}, motifs=motifs)
    rows = read_bed(out)
    assert len(rows) == count
    assert [row["chrom"] for row in rows] == sorted((row["chrom"] for row in rows), reverse=True)  # the order given
    for number, (_, sites) in enumerate(planted_rows()):
        own = [row for row in rows if row["row"] == str(number)]
        named = [row for row in own if row["name"] != "."]
        first = 1000 * number
        assert [(row["name"], row["strand"], int(row["motif_start"]) - first) for row in named] == sites
        for row in named:
            assert int(row["end"]) > int(row["motif_start"])
            assert int(row["start"]) < int(row["motif_end"]) == int(row["motif_start"]) + 8
            assert (float(row["attribution"]) < 0.0) == (row["name"] == "silencer")
            assert float(row["motif_p"]) < 0.01
            assert float(row["p"]) <= 0.01
            assert abs(float(row["agreement"])) > 0.5
    held = read_attributions(attributions)
    for row in rows:
        low = int(row["start"]) - int(held.arrays["start"][int(row["row"])])
        part = held.projected[int(row["row"]), low : low + int(row["end"]) - int(row["start"])]
        assert_allclose(float(row["attribution"]), part.sum(dtype=np.float64), rtol=1e-4)
    assert max(int(row["score"]) for row in rows) == 1000
    seqlets_of(attributions, out, {"chr2": 1, "chr1": 1})
    bare = read_bed(out)
    assert [row["start"] for row in bare] == [row["start"] for row in rows]
    assert {row["name"] for row in bare} == {"."}


def test_every_hit_has_its_attribution(planted, tmp_path):
    attributions, motifs = planted
    out = tmp_path / "h.parquet"
    hits_of(attributions, out, motifs)
    held, table = read_attributions(attributions), parquet.read_table(out).to_pylist()
    for number, (_, sites) in enumerate(planted_rows()):
        own = [item for item in table if item["row"] == number]
        keys = [(item["motif"], item["strand"], item["start"] - 1000 * number) for item in own]
        assert set(keys) >= set(sites)
        for item, (_, _, start) in zip(own, keys, strict=True):
            part = held.projected[number, start : start + 8].sum(dtype=np.float64)
            assert_allclose(item["attribution"], part, rtol=1e-5, atol=1e-6)
            assert item["log_odds"] >= item["threshold"]
            assert (item["chrom"], item["end"]) == (("chr1", "chr2")[number], item["start"] + 8)
        planted_agreement = [item["agreement"] for item, key in zip(own, keys, strict=True) if key in sites]
        assert min(np.abs(planted_agreement)) > 0.5
    hits_of(attributions, tmp_path / "h.tsv", motifs)
    lines = [line.split("\t") for line in (tmp_path / "h.tsv").read_text().splitlines()]
    assert len(lines) == len(table) + 1
    assert_array_equal([int(line[lines[0].index("start")]) for line in lines[1:]], [item["start"] for item in table])
    assert b"borzoi_rt" in parquet.read_schema(out).metadata


def test_a_method_of_the_bases_that_are_there_has_no_agreement(planted, tmp_path):
    held = read_attributions(planted[0])
    bases = Interval("chr1", 0, WIDTH)
    where = Where(window_start=0, anchor=anchored("chr1", 0, WIDTH))
    row = Row(name="alt", bases=bases, where=where, allele=ALT)
    arrays = {"hypothetical": np.broadcast_to(held.projected[0], (4, WIDTH))}
    stored = StoredRow(row, held.arrays["sequence"][0], 1.0, arrays, {})
    write_attributions(tmp_path / "p.h5", iter([stored]), 1, WIDTH, {**MADE, "projected_only": True})
    seqlets_of(tmp_path / "p.h5", tmp_path / "s.bed", {"chr1": 1}, motifs=planted[1], pvalue=0.05)
    named = [item for item in read_bed(tmp_path / "s.bed") if item["name"] != "."]
    assert {item["name"] for item in named} == {"tata", "inr", "gc", "silencer"}
    assert {(item["agreement"], item["allele"]) for item in named} == {(".", "alt")}


def test_the_demo_bundle_names_its_motifs(planted, tmp_path, monkeypatch, capsys):
    """The packaged model, exact mutagenesis of the core of a promoter, by the command line."""
    text, sites = planted_rows()[0]
    random = np.random.default_rng(3)
    left, right = ("".join(random.choice(list("ACGT"), 6000)) for _ in range(2))
    fasta = tmp_path / "g.fa"
    write_fasta(fasta, {"chr1": left + text + right})
    call, out = caller(monkeypatch, capsys), tmp_path / "s.bed"
    words = ["explain", "--method", "ism", "--region", "chr1:6,545-6,620", "--target", "log SUM@span:400"]
    words += ["--tracks", "CAGE+,RNA+", "--bundle", BUNDLE, "--fasta", fasta, "--out", tmp_path / "a.h5"]
    code, _, err = call(
        *words, "--seqlets", out, "--seqlet-pvalue", 0.05, "--motifs", planted[1], "--hits", tmp_path / "h.tsv"
    )
    assert code == 0, err
    named = {
        (row["name"], row["strand"], int(row["motif_start"]) - 6000) for row in read_bed(out) if row["name"] != "."
    }
    assert named == {site for site in sites if site[0] in ("tata", "inr")}
    assert "\ttata\t" in (tmp_path / "h.tsv").read_text()


def test_choices_that_nothing_heeds_are_refused(planted, tmp_path, monkeypatch, capsys):
    call = caller(monkeypatch, capsys)
    write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 10})
    words = ["explain", "--region", "chr1:1-10", "--bundle", BUNDLE, "--fasta", tmp_path / "g.fa"]
    words += ["--out", tmp_path / "a.h5"]
    bed, table = tmp_path / "s.bed", tmp_path / "h.parquet"
    for more, told in (
        (["--hits", table], "give motifs"),
        (["--motifs", planted[1]], "leave motifs out"),
        (["--seqlet-pvalue", 0.1], "leave it out"),
        (["--hits", tmp_path / "h.csv", "--motifs", planted[1]], "hits are written as .tsv, .parquet"),
        (["--seqlets", bed, "--motifs", tmp_path / "none.meme"], "none.meme"),
        (["--seqlets", tmp_path / "a.h5"], "is another output of the run too"),
        (["--seqlets", planted[1], "--motifs", planted[1]], "is an input"),
    ):
        check_error(call(*words, *more), told)
