"""Known bases, words that maps share, noise of seeds, the verdict in one line; and networks that know nothing fail."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy_objectives as toys
import worlds
from command_line import caller, check_error
from numpy.testing import assert_allclose
from oracles import judging

from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.explain.evaluate.consistency import consistency, divergence, vectors_of
from borzoi_rt.explain.evaluate.faithful import EvaluateOptions, Scene, curves
from borzoi_rt.explain.evaluate.maps import Reading, ScoreMap, judged
from borzoi_rt.explain.evaluate.planted import auprc, auroc, bases_in, recovery
from borzoi_rt.explain.evaluate.stable import concordance, noise
from borzoi_rt.explain.evaluate.words import verdict_of
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.where import Where
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.sequence import encode

OPTIONS = EvaluateOptions()


def map_of(codes: np.ndarray, hypothetical: np.ndarray) -> ScoreMap:
    return ScoreMap(codes.astype(np.uint8), hypothetical)


def test_stretches_stay_together_in_random_order() -> None:
    """Of a map of stretches single bases in random order agree with anything by less: chance would be too narrow."""
    rng = np.random.default_rng(6)
    codes, scores = rng.integers(0, 4, 80), np.zeros((4, 80))
    scores[codes, np.arange(80)] = np.repeat(rng.normal(size=10), 8)
    moved = map_of(codes, scores).permuted(rng).projected.reshape(10, 8)
    assert (moved == moved[:, :1]).all()
    assert_allclose(np.sort(moved[:, 0]), np.sort(scores.sum(axis=0)[::8]))
    known = np.repeat(np.arange(10) == 3, 8)
    areas = {auroc(np.abs(map_of(codes, scores).permuted(rng).projected), known) for _ in range(200)}
    assert_allclose(sorted(areas), np.arange(10) / 9, atol=1e-12)  # the rank of the stretch of the feature


@pytest.mark.parametrize("seed", range(4))
def test_areas_are_those_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, known = rng.integers(0, 6, 40).astype(np.float64), rng.random(40) < 0.3
    assert auroc(sizes, known) == pytest.approx(judging.auroc(sizes, known))
    assert auprc(sizes, known) == pytest.approx(judging.auprc(sizes, known))


def test_known_bases_are_found_or_not() -> None:
    rng = np.random.default_rng(1)
    codes, known = rng.integers(0, 4, 200), np.zeros(200, dtype=bool)
    known[60:68] = True
    scores = rng.normal(size=(4, 200))
    luck, right = map_of(codes, scores), map_of(codes, scores * np.where(known, 8.0, 1.0))
    for held, expected in ((luck, False), (right, True)):
        found = recovery(held, known, OPTIONS)
        assert {judged([one], better="high").passed for one in found.values()} == {expected}
    assert recovery(right, np.zeros(200, dtype=bool), OPTIONS)["auroc"].value is None


def test_bases_of_the_genome_are_found_in_a_row() -> None:
    row = Row(name="r", bases=Interval("chr1", 100, 110), where=Where(window_start=0))
    intervals = [Interval("chr1", 95, 102), Interval("chr1", 108, 120), Interval("chr2", 103, 105)]
    assert np.flatnonzero(bases_in(row, intervals)).tolist() == [0, 1, 8, 9]
    other = Row(name="r", bases=row.bases, where=row.where, allele="alt")
    assert bases_in(other, intervals) is None


def words_in(rng: np.random.Generator, count: int) -> ScoreMap:
    """A map that is strong where one word stands, and noise elsewhere."""
    codes = rng.integers(0, 4, 300)
    scores = 0.1 * rng.normal(size=(4, 300))
    for start in rng.permutation(np.arange(0, 290, 10))[:count]:
        codes[start : start + 6] = (3, 0, 3, 0, 0, 2)
        scores[codes[start : start + 6], np.arange(start, start + 6)] += 3.0
    return map_of(codes, scores)


def test_maps_that_share_a_word_are_told_from_the_same_in_random_order() -> None:
    rng = np.random.default_rng(2)
    alike = [words_in(rng, 8) for _ in range(3)]
    luck = [map_of(rng.integers(0, 4, 300), rng.normal(size=(4, 300))) for _ in range(3)]
    for maps, expected in ((alike, True), (luck, False)):
        found = consistency(maps, OPTIONS)["kld"]
        assert found.value == pytest.approx(judging.kld([one.hypothetical for one in maps]))
        assert judged([found], better="more").passed is expected
    few = consistency([map_of(np.zeros(20), rng.normal(size=(4, 20)))], OPTIONS)["kld"]
    assert few.value is None
    assert "300 bases or more" in few.detail


def test_directions_of_all_kinds_have_nearly_no_divergence_and_unknown_bases_do_not_count() -> None:
    rng = np.random.default_rng(3)
    assert divergence(rng.normal(size=(2_000_000, 3))) < 0.02
    one = rng.normal(size=(1, 3))
    found = divergence(np.repeat(one, 50, axis=0))
    assert found > 5.0  # one box, of about a thousandth of the sphere
    codes = rng.integers(0, 4, 30)
    codes[10] = 4
    scores = rng.normal(size=(4, 30))
    scores[:, 10] = 0.0
    assert len(vectors_of(map_of(codes, scores))) == 28 - 3


def test_noise_is_the_standard_error_of_one_map() -> None:
    rng = np.random.default_rng(4)
    codes, truth = rng.integers(0, 4, 400), rng.normal(size=(4, 400))
    maps = [map_of(codes, truth + 0.2 * rng.normal(size=(4, 400))) for _ in range(30)]
    others = [one.projected for one in maps[1:]]
    found = noise(maps[0], others, 10, OPTIONS)
    stacked = np.stack([one.projected for one in maps])
    top = np.argsort(-np.abs(stacked.mean(axis=0)))[:40]
    want = stacked.std(axis=0, ddof=1)[top].mean() / np.abs(stacked.mean(axis=0))[top].mean()
    assert found["noise"].value == pytest.approx(want)
    assert 0.2 / 2.5 < want < 0.2 / 1.5  # the strongest tenth of normal scores is about 1.8
    assert found["samples_for_5_percent"].value == np.ceil(10 * (want / 0.05) ** 2)
    assert judged([found["noise"]], better="low").passed is True
    luck = noise(maps[0], [one.permuted(rng).projected for one in maps[1:]], None, OPTIONS)
    assert judged([luck["noise"]], better="low").passed is False
    assert set(luck) == {"noise"}


def test_of_few_stretches_there_is_no_verdict() -> None:
    """Of one stretch the only random order is the map itself; of ten, one in ten has the right one first."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, 200)

    def of(count: int, first: int = 0) -> ScoreMap:
        scores = np.zeros((4, 200))
        scores[codes, np.arange(200)] = np.repeat(np.roll(np.linspace(3.0, -1.0, count), first), 200 // count)
        return map_of(codes, scores)

    assert [of(count).stretches for count in (1, 2, 4, 10)] == [1, 2, 4, 10]
    for count in (2, 4):
        found = concordance(of(count), [of(count).projected], OPTIONS)["pearson"]
        verdict = judged([found], better="high")
        assert verdict.value == pytest.approx(1.0)
        assert (verdict.passed, verdict.detail) == (None, f"{count} stretches: too few orders to tell")
    ten = concordance(of(10), [of(10).projected, of(10, first=1).projected], OPTIONS)
    assert ten["top_overlap"].value == 0.5
    assert judged([ten["top_overlap"]], better="high").passed is None
    assert judged([ten["pearson"]], better="high").passed is True
    still = noise(of(10), [of(10, first=1).projected], None, OPTIONS)["noise"]
    low = judged([still], better="low")
    assert (low.passed, low.random_low) == (None, 0.0)
    assert low.detail.endswith("too few orders to tell")
    # Many rows of few stretches have orders enough together.
    one = concordance(of(4), [of(4).projected], OPTIONS)["pearson"]
    assert judged([one], better="high").passed is None
    assert judged([replace(one, chance=rng.permutation(one.chance)) for _ in range(6)], better="high").passed is True


def test_worse_than_chance_fails_where_chance_ties_elsewhere() -> None:
    draws = np.repeat([0.0, 0.5], [190, 10])
    assert [judged([Reading(value, draws)], better="high").passed for value in (0.0, 0.5, 1.0)] == [False, None, True]
    assert judged([Reading(0.0, np.zeros(9))], better="high").passed is False  # a seqlet that no other model finds
    assert judged([Reading(0.2, np.full(9, 1.5))], better="more").passed is False
    assert judged([Reading(0.2, np.full(9, 1.0))], better="high").passed is None


def test_curves_of_one_stretch_compare_nothing() -> None:
    window = encode(worlds.random_dna(120, seed=3))
    weights = np.random.default_rng(1).normal(size=(4, 120))
    held = Scene(toys.linear(weights), window, (20, 100), map_of(window[:, 20:100].argmax(axis=0), weights[:, 20:100]))
    assert curves(held, EvaluateOptions(tile_bp=100000)) is None
    few = curves(held, EvaluateOptions(tile_bp=27))
    assert few is not None
    assert judged([few.readings()["abpc"]], better="more").detail == "3 stretches: too few orders to tell"
    line = {"file": "a.h5", "method": "ism", "metric": "deletion", "quantity": "abpc", "value": None, "passed": None}
    assert verdict_of([{**line, "detail": "1 stretch: too few orders to tell"}]) == (
        "a.h5 (ism): nothing was measured that is compared with random; no verdict on deletion abpc: too few orders to "
        "tell"
    )


def test_a_verdict_says_by_how_much() -> None:
    line = {"file": "a.h5", "method": "ism", "metric": "ism", "quantity": "pearson", "value": 0.5}
    table = [
        {**line, "random_low": -0.2, "random_high": 0.2, "passed": True},
        {
            **line,
            "metric": "infidelity",
            "quantity": "infidelity",
            "random_low": 0.4,
            "random_high": 1,
            "passed": False,
        },
        {**line, "metric": "randomised", "quantity": "spearman_deep", "value": 0.1, "passed": True},
        {**line, "metric": "deletion", "quantity": "deletion_auc", "passed": None},
    ]
    assert verdict_of(table) == (
        "a.h5 (ism): 2 of 3 checks against random passed; passed ism pearson 0.5 (random up to 0.2), randomised "
        "spearman_deep 0.1 (asked is below 0.5); FAILED infidelity 0.5 (random from 0.4)"
    )
    assert "nothing was measured" in verdict_of(table[3:])


# What counts in a promoter of the demo's grammar: TATA box, gap and initiator, and GC boxes of either strand.
BEFORE, BEHIND = 180, 20
METHODS: dict[str, tuple[Any, ...]] = {
    "saliency": (),
    "ixg": (),
    "deeplift": ("--references", 3),
    "occlusion": ("--tile-bp", 8),
    # With seeds 0, 1 and 2 an AUROC of 0.71, 0.40 and 0.49 of random weights: the first passes by luck.
    "shap": ("--tile-bp", 8, "--samples", 6, "--seed", 1),
    "lime": ("--tile-bp", 8, "--samples", 100),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A genome with planted promoters, three of them to explain, the bases that count, and random weights."""
    pytest.importorskip("torch")
    from borzoi_export.randomise import randomise_bundle

    folder = tmp_path_factory.mktemp("planted")
    text = grammar.plant(np.random.default_rng(5), 30000)
    promoters = [one for one in grammar.promoters(text) if one.strand == "+" and 6000 < one.tss < 24000][:3]
    fasta, bed, truth = worlds.write_fasta(folder / "g.fa", {"c": text}), folder / "r.bed", folder / "truth.bed"
    bed.write_text("".join(f"c\t{one.tss - BEFORE}\t{one.tss + BEHIND}\n" for one in promoters))
    lines = []
    for word in grammar.MOTIFS.values():
        for motif in {word, grammar.reverse_complement(word)}:
            at = text.find(motif)
            while at >= 0:
                lines.append(f"c\t{at}\t{at + len(motif)}\n")
                at = text.find(motif, at + 1)
    truth.write_text("".join(lines))
    bundle = packaged_bundle("bundle")
    other = randomise_bundle(bundle, folder / "random", part="tower")
    return SimpleNamespace(folder=folder, fasta=fasta, bed=bed, truth=truth, trained=bundle.path, random=other.path)


@pytest.mark.parametrize("method", METHODS)
def test_planted_bases_are_found_and_random_weights_find_none(
    desk: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
) -> None:
    """By the command line, of the demo's bundle: what was planted passes, the network in random order fails."""
    call = caller(monkeypatch, capsys)
    what = ["--bed", desk.bed, "--target", "log SUM@span:400", "--tracks", "CAGE+"]
    values = {}
    for name in ("trained", "random"):
        model = ["--bundle", getattr(desk, name), "--fasta", desk.fasta]
        out = tmp_path / f"{name}.h5"
        accepted = ("--max-delta", 1) if method == "deeplift" and name == "random" else ()
        code, _, err = call("explain", "--method", method, *METHODS[method], *accepted, *what, *model, "--out", out)
        assert code == 0, err
        words = ["--metrics", "truth", "--truth", desk.truth, "--out", tmp_path / name]
        code, stdout, err = call("explain", "evaluate", out, *model, *words)
        assert code == 0, err
        lines = {line["quantity"]: line for line in csv.DictReader(stdout.splitlines(), delimiter="\t")}
        values[name] = {key: float(line["value"]) for key, line in lines.items()}
        assert {line["passed"] for line in lines.values()} == {"yes" if name == "trained" else "no"}, lines
        count = 2 if name == "trained" else 0
        assert f"{name}.h5 ({method}): {count} of 2 checks against random passed" in err
        held = json.loads((tmp_path / name / "metrics.json").read_text())
        assert held["verdicts"][0].startswith(f"{name}.h5 ({method}): {count} of 2")
    assert values["trained"]["auroc"] > 0.75, values
    assert values["random"]["auroc"] < 0.65, values


def test_known_bases_and_their_metric_belong_together(
    desk: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = caller(monkeypatch, capsys)
    model = ["--bundle", desk.trained, "--fasta", desk.fasta, "--out", tmp_path / "o"]
    words = ["explain", "evaluate", desk.bed, *model]
    check_error(call(*words, "--metrics", "truth"), "metric 'truth' needs known features; give truth")
    check_error(call(*words, "--metrics", "ism", "--truth", desk.truth), "truth is given, and 'truth' is not among")


def test_words_are_judged_over_all_rows(
    desk: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = caller(monkeypatch, capsys)
    model = ["--bundle", desk.trained, "--fasta", desk.fasta]
    out = tmp_path / "s.h5"
    what = ["--bed", desk.bed, "--target", "log SUM@span:400", "--tracks", "CAGE+", "--method", "shap"]
    assert call("explain", *what, "--tile-bp", 8, "--samples", 4, *model, "--out", out)[0] == 0
    words = ["--metrics", "consistency,seeds,completeness", "--out", tmp_path / "judged"]
    code, stdout, err = call("explain", "evaluate", out, *model, *words)
    assert code == 0, err
    lines = {(line["metric"], line["quantity"]): line for line in csv.DictReader(stdout.splitlines(), delimiter="\t")}
    assert lines["consistency", "kld"]["rows"] == "3"
    assert float(lines["completeness", "error"]["value"]) < 1e-6  # shap says so of itself
    assert_allclose(
        float(lines["seeds", "samples_for_5_percent"]["value"]),
        4 * (float(lines["seeds", "noise"]["value"]) / 0.05) ** 2,
        rtol=0.8,  # means over rows of a number and of its square
    )
    held = json.loads((tmp_path / "judged" / "metrics.json").read_text())["files"][0]
    assert held["all_rows"]["consistency"]["kld"]["value"] == pytest.approx(
        float(lines["consistency", "kld"]["value"]), rel=1e-5
    )
