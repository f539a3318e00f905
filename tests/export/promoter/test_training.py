"""From files to windows, runs, and the synthetic promoters they are tried on."""

from __future__ import annotations

import csv
import json

import numpy as np
import pybigtools
import pytest
import torch
from borzoi_export.models.promoter import build
from borzoi_export.promoter.data import load_data, read_tss_table
from borzoi_export.promoter.objectives import PUBLISHED
from borzoi_export.promoter.train import TrainOptions, batch_of, evaluate, inputs_of, load_run, train
from numpy.testing import assert_allclose, assert_array_equal
from promoter_toys import small_config

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.promoter import grammar
from borzoi_rt.promoter.sites import Site
from borzoi_rt.sequence import decode

CONTIGS = {"c1": 9000, "c2": 4000, "c3": 4000}
CONFIG = small_config(1, sequence_length_bp=400, crop_bp=80, tss_bp=240, effect_width=121)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    grammar.write_data(folder, seed=3, contigs=CONTIGS)
    return folder


@pytest.fixture(scope="module")
def data(files):
    return load_data(
        CONFIG,
        read_tss_table(files / "tss.bed"),
        fasta=files / "genome.fa",
        plus=files / "plus.bw",
        minus=files / "minus.bw",
    )


def counts_file(path, values: dict[int, float], length: int = 1000):
    rows = (("c", place, place + 1, value) for place, value in sorted(values.items()))
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
    assert decode(data.sequence[0])[240] == {"+": "A", "-": "T"}[strand]  # base 500 of ACGTACGT... is A
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


def test_splits_are_by_chromosome(data):
    rest, valid = data.split(["c2"])
    assert {site.chrom for site in valid.sites} == {"c2"}
    assert {site.chrom for site in rest.sites} == {"c1", "c3"}
    assert len(rest) + len(valid) == len(data)
    with pytest.raises(InputError, match="0 of"):
        data.split(["c9"])


def test_planted_promoters_show_their_driver(files):
    genome, planted = grammar.make_genome(3, CONTIGS)
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


def test_batches_are_turned_whole(data):
    seen = set()
    for seed in range(6):
        x, t = batch_of(data, 4, torch.Generator().manual_seed(seed))
        plain = inputs_of(data.sequence)
        for row, track in zip(x, t, strict=True):
            forward = next((i for i in range(len(data)) if torch.equal(plain[i], row)), None)
            backward = next((i for i in range(len(data)) if torch.equal(plain[i].flip(0, 1), row)), None)
            want = data.target[forward] if forward is not None else data.target[backward][::-1, ::-1]
            assert_array_equal(track.numpy(), want)
            seen.add(forward is not None)
    assert seen == {True, False}


def test_training_learns_and_repeats_itself(data, tmp_path):
    training, _ = data.split(["c2"])
    options = TrainOptions(steps=80, batch=8, rate=1e-2, validate_every=20, seed=5)
    reports = []
    for name in ("a", "b"):
        torch.manual_seed(1)
        model = build(CONFIG)
        reports.append(train(model, training, training, tmp_path / name, options=options))
    assert reports[0] == reports[1]  # one seed, one result
    again, about = load_run(tmp_path / "a")
    got = evaluate(again, training, PUBLISHED[1])
    assert_allclose([got["loss"], got["pearson"]], [about["best"]["loss"], about["best"]["pearson"]], rtol=1e-6)
    with (tmp_path / "a" / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == [20, 40, 60, 80]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert about["best"]["loss"] == min(float(row["loss"]) for row in rows)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["objective"]["smooth_deconv"] == 2e-3
    with pytest.raises(InputError, match="not an empty directory"):
        train(model, training, training, tmp_path / "a", options=options)


def test_a_loss_that_is_not_finite_names_the_step(data, tmp_path):
    model = build(CONFIG)
    with torch.no_grad():
        model.motif.bias[0] = float("nan")
    with pytest.raises(InputError, match="at step 1"):
        train(model, *data.split(["c2"]), tmp_path / "run", options=TrainOptions(steps=3))
    with pytest.raises(FormatError, match="not a promoter run"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("schedule", "steps", "want"), [("constant", 50, 1.0), ("cosine", 200, 0.0), ("cycle", 100, 0.0)]
)
def test_schedules(schedule, steps, want):
    options = TrainOptions(steps=200, schedule=schedule)
    assert options.factor(0) == 1
    assert_allclose(options.factor(steps), want, atol=1e-12)
    if schedule == "cycle":
        assert_allclose(options.factor(200), 1.0)
