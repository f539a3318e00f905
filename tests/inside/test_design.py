"""Design: laws of the search on functions that can be written down, and the planted motif in a designed promoter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import toy_objectives
import worlds
from command_line import caller

from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.errors import InputError
from borzoi_rt.inside.design import DesignOptions, design
from borzoi_rt.sequence import decode, encode

LENGTH, BASES = 40, (5, 35)
RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(4, LENGTH))
WINDOW = encode("".join(RNG.choice(list("ACGT"), LENGTH)))


def linear() -> toy_objectives.ToyObjective:
    return toy_objectives.linear(WEIGHTS)


@pytest.mark.parametrize("guide", ["exact", "gradient"])
@pytest.mark.parametrize("goal", ["raise", "lower"])
def test_greedy_finds_the_optimum_of_a_linear_function(guide: str, goal: str) -> None:
    """The K largest gains over positions, a position once: the best sequence within K substitutions."""
    sign = 1.0 if goal == "raise" else -1.0
    there = (WEIGHTS * WINDOW).sum(axis=0)
    gains = np.sort((sign * (WEIGHTS - there)).max(axis=0)[slice(*BASES)])[::-1]
    objective = linear()
    for edits in (1, 7, 40):
        best = gains[:edits][gains[:edits] > 0].sum()
        options = DesignOptions(edits=edits, guide=guide, goal=goal)
        found = design(objective, WINDOW, BASES, options, guide=objective if guide == "gradient" else None)
        assert found.value == pytest.approx(there.sum() + sign * best, abs=1e-12)
        values = [found.start, *(step.after for step in found.steps)]
        assert (sign * np.diff(values) > 0).all()
        assert [step.before for step in found.steps] == values[:-1]
        changed = np.flatnonzero((found.window != WINDOW).any(axis=0))
        assert len(changed) == len(found.steps) <= edits
        assert BASES[0] <= changed.min() <= changed.max() < BASES[1]


def test_a_beam_finds_what_needs_two_substitutions() -> None:
    """Two halves that are worth something together alone, and one base that is worth less: greedy takes that."""
    window = encode("A" * LENGTH)

    def value(x: np.ndarray) -> float:
        return float(5.0 * x[1, 10] * x[1, 11] + x[2, 20] + 0.01 * x[3, 10])

    objective = toy_objectives.ToyObjective(LENGTH, value, lambda x: np.zeros((4, LENGTH)))
    greedy = design(objective, window, BASES, DesignOptions(edits=2))
    beam = design(objective, window, BASES, DesignOptions(edits=2, search="beam", beam=100))
    assert (greedy.value, beam.value) == (pytest.approx(1.01), pytest.approx(5.0))
    assert {step.column for step in beam.steps} == {10, 11}
    narrow = design(objective, window, BASES, DesignOptions(edits=2, search="beam", beam=1))
    assert narrow.value == greedy.value


def test_constraints_are_kept() -> None:
    fixed = np.zeros(30, dtype=bool)
    fixed[:12] = True
    options = DesignOptions(edits=15, gc=(0.45, 0.55), forbid=("TTT", "CNG"))
    window = encode(decode(WINDOW)[:3] + "ACATACATACATAC" + decode(WINDOW)[17:])
    found = design(linear(), window, BASES, options, fixed=fixed)
    text = decode(found.window)
    assert 0.45 <= sum(text[slice(*BASES)].count(base) for base in "GC") / 30 <= 0.55
    around = text[BASES[0] - 2 : BASES[1] + 2]
    assert not any(around[at : at + 3] in ("TTT", "AAA") for at in range(len(around) - 2))
    assert not any(around[at] == "C" and around[at + 2] == "G" for at in range(len(around) - 2))
    assert np.array_equal(found.window[:, :17], window[:, :17])
    free = design(linear(), window, BASES, DesignOptions(edits=15))
    assert free.value > found.value  # they cost something, so that they were not idle
    assert found.gc[1] == pytest.approx(sum(text[slice(*BASES)].count(base) for base in "GC") / 30)


def test_constraints_that_cannot_be_met_are_told() -> None:
    with pytest.raises(InputError, match="not met within 2 edits"):
        design(linear(), encode("A" * LENGTH), BASES, DesignOptions(edits=2, gc=(0.5, 0.6)))


def test_the_seed_decides_what_chance_proposes() -> None:
    options = DesignOptions(edits=4, candidates=5, seed=1)
    one, again = (design(linear(), WINDOW, BASES, options) for _ in range(2))
    other = design(linear(), WINDOW, BASES, replace(options, seed=2))
    assert np.array_equal(one.window, again.window)
    assert not np.array_equal(one.window, other.window)
    assert one.predicted == 1 + 5 * 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"search": "all"}, "search 'all' is unknown"),
        ({"edits": 0}, "edits is 0"),
        ({"gc": (0.6, 0.4)}, "gc is"),
        ({"forbid": ("AXT",)}, "forbidden word 'AXT'"),
        ({"forbid": ("NNN",)}, "forbidden word 'NNN'"),
    ],
)
def test_options_that_are_wrong_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        DesignOptions(**options)  # type: ignore[arg-type]


def test_nothing_that_may_change_is_refused() -> None:
    with pytest.raises(InputError, match="no base may change"):
        design(linear(), WINDOW, BASES, fixed=np.ones(30, dtype=bool))
    with pytest.raises(InputError, match="belong together"):
        design(linear(), WINDOW, BASES, DesignOptions(guide="gradient"))


def nearest(text: str, motif: str) -> int:
    """Fewest mismatches of a motif, either strand."""
    both = (motif, grammar.reverse_complement(motif))
    return min(
        sum(a != b for a, b in zip(text[at : at + len(motif)], word, strict=True))
        for word in both
        for at in range(len(text) - len(motif) + 1)
    )


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = "".join(np.random.default_rng(7).choice(list("ACGT"), 9000))
    return worlds.write_fasta(tmp_path_factory.mktemp("genome") / "random.fa", {"chr1": text})


def test_the_planted_promoter_is_designed(
    genome: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In random DNA 14 edits make a promoter of the grammar that the network was taught; random weights make none.

    Over eight random regions with these options (seeds 1 to 8): a whole word of TATA box or initiator in six, both in
    two with the gap that the grammar asks; none in eight with weights in random order.
    """
    call = caller(monkeypatch, capsys)
    words = ["design", "--region", "chr1:4,451-4,530", "--target", "log SUM@center:256", "--tracks", "CAGE"]
    words += ["--guide", "gradient", "--candidates", "16", "--edits", "14", "--fasta", genome]
    bundle = packaged_bundle("bundle")
    code, _, err = call(*words, "--bundle", bundle.path, "--out", tmp_path / "made")
    assert code == 0, err
    start, designed = (tmp_path / "made" / "designed.fa").read_text().split("\n")[1:4:2]
    word = [grammar.MOTIFS["tata"], grammar.MOTIFS["inr"]]
    assert min(nearest(start, one) for one in word) > 1
    assert [nearest(designed, one) for one in word] == [0, 0]
    assert len(grammar.promoters("A" * 200 + designed + "A" * 200)) == 1

    steps = pandas.read_csv(tmp_path / "made" / "steps.tsv", sep="\t")
    told = json.loads((tmp_path / "made" / "design.json").read_text())
    assert (steps.value_after > steps.value_before).all()
    assert steps.value_before.tolist()[1:] == steps.value_after.tolist()[:-1]
    assert told["value"] - told["value_of_start"] > 5.0
    assert told["edits"] == len(steps) <= 14
    rebuilt = list(start)
    for position, ref, alt in zip(steps.position, steps.ref, steps.alt, strict=True):
        assert rebuilt[position - 4451] == ref
        rebuilt[position - 4451] = alt
    assert "".join(rebuilt) == designed

    pytest.importorskip("torch")
    from borzoi_export.randomise import randomise_bundle

    chance = randomise_bundle(bundle, tmp_path / "random", part="tower")
    code, _, err = call(*words, "--bundle", chance.path, "--out", tmp_path / "chance")
    assert code == 0, err
    other = (tmp_path / "chance" / "designed.fa").read_text().split("\n")[3]
    assert min(nearest(other, one) for one in word) > 0
    assert not grammar.promoters("A" * 200 + other + "A" * 200)


def test_a_unit_is_raised_and_a_target_says_of_what_it_is(
    genome: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The activation of the designed sequence is what `activations` shows, at its largest position."""
    call, bundle = caller(monkeypatch, capsys), packaged_bundle("bundle")
    model = ("--bundle", bundle.path, "--fasta", genome)
    where = ("--region", "chr1:4,481-4,484", "--edits", "2")
    code, _, err = call("design", *where, "--layer", "stem", "--unit", "5", *model, "--out", tmp_path / "u")
    assert code == 0, err
    told = json.loads((tmp_path / "u" / "design.json").read_text())
    assert f"unit 5 of stem: {told['value_of_start']:.6g} -> {told['value']:.6g} by {told['edits']} edit" in err
    assert "whole window" not in err
    assert told["unit"] == {"layer": "stem", "unit": 5, "resolution_bp": 1, "of": "its maximum there"}
    assert told["value"] > told["value_of_start"]
    steps = pandas.read_csv(tmp_path / "u" / "steps.tsv", sep="\t")
    start, designed = (tmp_path / "u" / "designed.fa").read_text().split("\n")[1:4:2]
    assert sum(a != b for a, b in zip(start, designed, strict=True)) == len(steps) == told["edits"] > 0
    text = "".join(line for line in genome.read_text().splitlines() if not line.startswith(">"))
    for name, part, value in (("before", start, told["value_of_start"]), ("after", designed, told["value"])):
        fasta = worlds.write_fasta(tmp_path / f"{name}.fa", {"chr1": text[:4480] + part + text[4484:]})
        out = tmp_path / f"{name}.tsv"
        words = ("--region", "chr1:4,481-4,484", "--layer", "stem", "--units", "5", "--out", out)
        assert call("activations", *words, "--bundle", bundle.path, "--fasta", fasta)[0] == 0
        assert pandas.read_csv(out, sep="\t").u5.max() == pytest.approx(value, rel=1e-5)
    target = (*where[:2], "--edits", "1", "--candidates", "2", "--tracks", "CAGE")
    code, _, err = call("design", *target, *model, "--out", tmp_path / "t")
    assert code == 0, err
    assert "note: log SUM is of the whole window, not of the region; log SUM@center:512 is of bins there" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--beam", "3"), "--beam is of --search beam"),
        (("--fixed", "chr1:1-9"), "fixed bases chr1:1-9 have none of chr1:4,451-4,460"),
        (("--gc-min", "0.9", "--gc-max", "0.2"), "gc is"),
        (("--forbid", "AXA"), "forbidden word 'AXA'"),
        (("--edits", "1", "--gc-min", "1"), "not met within 1 edits"),
        (("--unit", "3"), "--unit is a channel of a layer: give --layer"),
        (("--layer", "stem"), "--layer is of the unit that is raised: give --unit"),
        (("--layer", "stem", "--unit", "3", "--tracks", "CAGE"), "--tracks is of a target, and a unit is raised"),
        (("--layer", "stem", "--unit", "3", "--rc"), "--rc is of a target, and a unit is raised"),
        (("--layer", "stem", "--unit", "99"), "unit 99 is not there"),
        (("--layer", "stem", "--unit", "3", "--guide", "gradient"), "guide 'gradient' is of targets"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(
    genome: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    call = caller(monkeypatch, capsys)
    model = ("--bundle", packaged_bundle("bundle").path, "--fasta", genome, "--out", tmp_path / "o")
    code, _, err = call("design", "--region", "chr1:4,451-4,460", *words, *model)
    assert code != 0
    assert said in err, err
    assert not (tmp_path / "o").exists()
