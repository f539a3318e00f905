"""From files to windows, and the synthetic promoters they are tried on."""

from __future__ import annotations

import numpy as np
import pybigtools
import pytest
from borzoi_export.promoter.data import load_data, read_tss_table
from numpy.testing import assert_allclose, assert_array_equal
from promoter_toys import small_config

from borzoi_rt.demo import promoter_grammar as grammar
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.promoter.sites import Site

CONFIG = small_config(1, sequence_length_bp=400, crop_bp=80, tss_bp=240)


def counts_file(path, values: dict[int, float], length: int = 1000):
    rows = (("c", rank, rank + 1, value) for rank, value in sorted(values.items()))
    pybigtools.open(str(path), "w").write({"c": length}, rows)
    return path


@pytest.mark.parametrize("strand", ["+", "-"])
def test_the_count_of_the_tss_lands_on_its_bin(tmp_path, strand):
    write_fasta(tmp_path / "g.fa", {"c": "ACGT" * 250})
    plus = counts_file(tmp_path / "p.bw", {500: 7.0, 503: 1.0})
    minus = counts_file(tmp_path / "m.bw", {500: -3.0, 490: 2.0})  # some programs write the - strand below zero
    files = {"fasta": tmp_path / "g.fa", "plus": plus, "minus": minus}
    data = load_data(CONFIG, [Site("c", 500, strand), Site("c", 50, strand), Site("x", 500, strand)], **files)
    assert (len(data), data.skipped) == (1, 2)
    tss = 240 - 80
    sense, antisense = data.target[0]
    own, other = (7.0, 3.0) if strand == "+" else (3.0, 7.0)
    assert_allclose([sense[tss], antisense[tss]], np.log1p([own, other]), rtol=1e-6)
    step = 3 if strand == "+" else -3
    assert_allclose((sense if strand == "+" else antisense)[tss + step], np.log1p(1.0), rtol=1e-6)
    assert np.count_nonzero(data.target) == 4
    assert "ACGT"[data.codes[0, 240]] == {"+": "A", "-": "T"}[strand]  # base 500 of ACGTACGT... is A
    smooth = load_data(CONFIG, [Site("c", 500, strand)], **files, smoothing_bp=5)
    assert_allclose(smooth.target[0, 0, tss], np.log1p(own) / 5, rtol=1e-6)
    assert_allclose(smooth.target.sum(), data.target.sum(), rtol=1e-6)


def test_tables_of_r_are_one_based_and_filtered(tmp_path):
    head = "seqnames\tthick.start\tstrand\tscore\ttxType\tpeakTxType\ttpm\n"
    rows = ["c1\t101\t+\t5\tpromoter\tpromoter\t3\n", "c1\t201\t-\t9\tfiveUTR\tfiveUTR\t1\n"]
    rows += [
        "c1\t301\t+\t7\tpromoter\tintron\t3\n",
        "c1\t401\t+\t7\tintron\tintron\t3\n",
        "c1\t501\t+\t8\tpromoter\tpromoter\t0.5\n",
    ]
    (tmp_path / "t.tsv").write_text(head + "".join(rows))
    assert read_tss_table(tmp_path / "t.tsv") == [Site("c1", 200, "-"), Site("c1", 100, "+")]
    assert read_tss_table(tmp_path / "t.tsv", top=1) == [Site("c1", 200, "-")]
    for text, words in (
        ("a\tb\n", "seqnames"),
        (head + "c1\tx\t+\t1\tp\tp\t1\n", "line 2"),
        (head + rows[3], "none of 1 rows"),
    ):
        (tmp_path / "bad.tsv").write_text(text)
        with pytest.raises(FormatError, match=words):
            read_tss_table(tmp_path / "bad.tsv")


def test_tables_name_the_counts_of_a_tissue(tmp_path):
    """R calls the second of two columns of one name, here the TPM, NAME.1; more than 1 is needed, in tuning."""
    head = "seqnames\tthick.start\tstrand\tscore\tleaf\tleaf.1\n"
    rows = ["c1\t101\t+\t5\t90\t1\n", "c1\t201\t-\t9\t0\t1.5\n"]
    (tmp_path / "t.tsv").write_text(head + "".join(rows))
    assert read_tss_table(tmp_path / "t.tsv", tissue="leaf") == [Site("c1", 200, "-")]
    with pytest.raises(FormatError, match=r"no column 'root\.1'"):
        read_tss_table(tmp_path / "t.tsv", tissue="root")


def test_windows_come_in_an_order_that_the_seed_fixes(data):
    plain = [window.codes for window in data.in_order()]
    assert_array_equal(plain, data.codes)
    orders = []
    for seed in ((1, 2), (1, 2), (1, 3)):
        windows = list(data.shuffled(seed))
        ranks = [int(np.flatnonzero((data.codes == window.codes).all(axis=1))[0]) for window in windows]
        for rank, window in zip(ranks, windows, strict=True):
            assert_array_equal(window.target, data.target[rank])
        assert sorted(ranks) == list(range(len(data)))
        orders.append(ranks)
    assert orders[0] == orders[1] != orders[2]
    wanted = [window.codes for window in data.shuffled((1, 2), lambda rank: rank >= 3)]
    assert_array_equal(wanted, data.codes[orders[0][3:]])


def test_splits_are_by_chromosome(data):
    rest, valid = data.split(["c2"])
    assert {site.chrom for site in valid.sites} == {"c2"}
    assert {site.chrom for site in rest.sites} == {"c1", "c3"}
    assert len(rest) + len(valid) == len(data)
    with pytest.raises(InputError, match="0 of"):
        data.split(["c9"])


def test_planted_promoters_show_their_driver():
    genome, planted = grammar.make_genome(3, {"c1": 9000, "c2": 4000})
    for promoter in planted[:6]:
        track = grammar.expected(genome[promoter.chrom])
        strand = 0 if promoter.strand == "+" else 1
        word = grammar.WORDS[promoter.driver]
        assert track[strand, promoter.tss] > 0.5 * (word.height + grammar.WORDS["silencer"].height)
    text = "C" * 200 + "TATAAAAG" + "C" * 200
    track = grammar.expected(text)
    assert track[0].argmax() == 200 + grammar.WORDS["tata"].peak_bp
    assert track[1].max() == 0
    turned = grammar.expected(text.translate(str.maketrans("ACGT", "TGCA"))[::-1])
    assert_allclose(turned[::-1, ::-1], track, atol=1e-12)
    both = grammar.expected("C" * 200 + "CCGGAAGT" + "T" * 200)
    assert_allclose(both[0].max(), both[1].max(), rtol=1e-9)
