"""``borzoi-rt tcav``: examples of every kind, files, refusals, and the planted grammar of the demo."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli, check_error
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli.tcav import concept_line
from borzoi_rt.concepts.examples import Backgrounds, Intervals, files_from, words_from
from borzoi_rt.concepts.implants import Implant
from borzoi_rt.concepts.tcav_run import TcavOptions, pooled, slopes_of
from borzoi_rt.concepts.vectors import fit_vector
from borzoi_rt.errors import InputError
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.activations import Activations
from borzoi_rt.inside.slopes import slope_of_layer
from borzoi_rt.inside.tables import read_table
from borzoi_rt.sequence import decode

TEXT = worlds.random_dna(9000, seed=31)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("concepts")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
    bed = folder / "inputs.bed"
    bed.write_text("chr1\t4000\t4400\tone\nchr1\t4500\t4900\ttwo\n")
    parts = worlds.write_fasta(folder / "parts.fa", {"a": "GATTACAGATTACA", "b": "CCCGGGTTTAAACC"})
    return SimpleNamespace(folder=folder, fasta=fasta, bed=bed, parts=parts)


def pairs(window: np.ndarray, start: int, end: int) -> list[str]:
    text = decode(window[:, start:end])
    return sorted(text[at : at + 2] for at in range(len(text) - 1))


def test_examples_differ_where_they_say(inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    meme = tmp_path / "m.jaspar"
    meme.write_text(">M1 half\nA [ 1 0 5 ]\nC [ 0 1 5 ]\nG [ 0 0 0 ]\nT [ 0 0 0 ]\n")
    spots = tmp_path / "spots.bed"
    spots.write_text("chr1\t3000\t3100\nchr1\t5000\t5100\n")
    grid = inside_bundle.geometry
    with Fasta(desk.fasta) as genome:
        rows = region_rows([Interval("chr1", 4000, 4400)], genome, grid)
        held = Backgrounds(rows, genome, grid)
        files = files_from([f"set={desk.parts}", str(spots)], genome, grid)
        concepts = [*words_from(["w=GANNCA", f"@{meme}"]), *files]
        assert [(one.name, one.kind) for one in concepts] == [
            ("w", "word"),
            ("M1_half", "motif"),
            ("set", "sequences"),
            ("spots", "intervals"),
        ]
        drawn = set()
        for concept in concepts:
            window = held.window(0)[0] if not isinstance(concept, Intervals) else concept.rows[1].window(genome, grid)
            one = concept.example(1, held, np.random.default_rng(5))
            start, end = one.bases
            changed = np.flatnonzero((one.present != one.absent).any(axis=0))
            assert start <= changed.min() <= changed.max() < end
            text = decode(one.present[:, start:end])
            if concept.kind == "word":
                assert (text[:2], text[4:]) == ("GA", "CA")
                assert text[2:4] == decode(one.absent[:, start:end])[2:4]  # an N keeps the base
            if concept.kind == "motif":
                drawn = {
                    decode(example.present[:, slice(*example.bases)])
                    for example in (concept.example(0, held, np.random.default_rng(seed)) for seed in range(20))
                }
            if concept.kind == "sequences":
                assert text == "CCCGGGTTTAAACC"
            if concept.kind == "intervals":
                assert_array_equal(one.present, window)
                assert end - start == 100
            low, high = (start, end) if concept.kind in ("sequences", "intervals") else held.window(0)[1]
            same = one.present if concept.kind in ("sequences", "intervals") else window
            for other in (one.absent, one.other):
                assert pairs(other, low, high) == pairs(same, low, high)
            assert (one.absent != one.other).any()
        assert drawn == {"ACA", "ACC"}
        with pytest.raises(InputError, match="spots has 2 intervals; repeats x examples are more"):
            concepts[3].example(2, held, np.random.default_rng(0))


def test_scores_are_their_formula(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    """Vectors, slopes and scores of the command, once more by hand."""
    words = ("--motif", "w=GATTACAGATTACA", "--concept", f"set={desk.parts}")
    how = ("--repeats", "5", "--examples", "3", "--layer", "layer_1", "--vector", "difference", "--seed", "4")
    what = ("--bed", desk.bed, "--tracks", "cage", "--bundle", inside_bundle.path, "--fasta", desk.fasta)
    code, _, err = cli("tcav", *words, *how, *what, "--out", tmp_path / "t.h5", "--plot", tmp_path / "t.png")
    assert code == 0, err
    assert "2 concepts, 2 inputs" in err
    assert "note: set has 2 sequences: repeats share some, and p is too small" in err
    assert (tmp_path / "t.png").stat().st_size > 5000
    held = read_table(tmp_path / "t.h5", "tcav")
    assert held.columns["concept"].tolist() == ["w", "set"]
    options = TcavOptions(repeats=5, examples=3, layer="layer_1", vector="difference", seed=4)
    with Fasta(desk.fasta) as genome, Activations(inside_bundle) as inside:
        grid = inside_bundle.geometry
        rows = region_rows([Interval("chr1", 4000, 4400), Interval("chr1", 4500, 4900)], genome, grid)
        spec = TargetSpec.parse("log SUM", tracks="cage")
        backgrounds = Backgrounds(rows, genome, grid)
        (word,) = words_from(["w=GATTACAGATTACA"])
        layers = pooled(inside, word, backgrounds, options)
        _, slopes = slopes_of(inside, rows, genome, spec, "layer_1")
        example = word.example(4, backgrounds, np.random.default_rng([4, 4]))
        low, high = example.bases[0] // 128, -(-example.bases[1] // 128)
        want = inside.of(example.present, "layer_1", positions=(low, high)).values.mean(axis=1)
        assert_allclose(layers.present[1, 1], want, rtol=1e-6)
        window = rows[1].window(genome, grid)
        slope = slope_of_layer(inside, window, spec.bind(inside_bundle, rows[1].where), "layer_1")
        vector = fit_vector(layers.present[2], layers.absent[2], "difference").direction
        positions = slice(*slope.layer.overlapping(rows[1].columns))
        assert_allclose(slope.along(vector, positions), slopes[1] @ vector, rtol=1e-6)
    assert_allclose(held.arrays["vectors"][0, 2], vector, rtol=1e-6)
    along = slopes @ held.arrays["vectors"][0].T
    assert_allclose(held.arrays["scores"][0], (along > 0).mean(axis=0))
    assert_allclose(held.columns["score"][0], (along > 0).mean())
    assert held.columns["p_bonferroni"][1] == min(1.0, 2 * held.columns["p_value"][1])
    assert held.about["repeats"][0]["scores"] == held.arrays["scores"][0].tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is no concept"),
        (("--motif", "GAX"), "motif 'GAX' is not made of"),
        (("--motif", "GAT", "--motif", "GAT"), "two concepts are called 'GAT'"),
        (("--concept", "a=none.txt"), "none.txt: a concept is a file of"),
        (("--motif", "GAT", "--layer", "stem"), "layer 'stem' has no slopes"),
        (("--motif", "A" * 401), "has 401 bases; a row has 400"),
    ],
)
def test_what_is_refused(
    cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    model = ("--bed", desk.bed, "--bundle", inside_bundle.path, "--fasta", desk.fasta)
    check_error(cli("tcav", *words, *model, "--out", tmp_path / "o.tsv"), said)
    assert not (tmp_path / "o.tsv").exists()


def test_a_table_that_pandas_reads(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    """Of random weights: neither intervals nor the core of the demo's promoters are told from their absence."""
    spots = tmp_path / "spots.bed"
    spots.write_text("".join(f"chr1\t{start}\t{start + 20}\n" for start in range(3000, 5000, 100)))
    what = ("--bed", desk.bed, "--bundle", inside_bundle.path, "--fasta", desk.fasta)
    how = ("--repeats", "5", "--examples", "4", "--vector", "ridge", "--motif", "core=TATAAAAGNNNNNNNNTCAGTCTT")
    code, _, err = cli("tcav", "--concept", spots, *how, *what, "--out", tmp_path / "t.tsv")
    assert code == 0
    lines = err.splitlines()
    core, places = (next(line for line in lines if line.startswith(f"{name}: score")) for name in ("core", "spots"))
    assert "(Bonferroni)" in core
    assert ": not told from chance; put in, it changes the target by " in core
    assert places.endswith(": not told from chance")
    assert any(line.startswith("note: a vector tells that the layer holds a concept") for line in lines)
    table = pandas.read_csv(tmp_path / "t.tsv", sep="\t")
    assert table.concept.tolist() == ["core", "spots"]
    assert table.kind.tolist() == ["word", "intervals"]
    assert table.says.tolist() == ["nothing", "nothing"]
    told = json.loads((tmp_path / "t.tsv.meta.json").read_text())
    assert (told["layer"], told["resolution_bp"], told["target"]) == ("layer_2", 128, "log SUM")
    assert len(told["repeats"][0]["accuracies"]) == 5
    assert np.isfinite(table.implant[0])
    assert table.implant_se[0] > 0
    assert table.implant.isna().tolist() == [False, True]  # intervals are not put in


def test_a_slope_against_the_effect_is_said() -> None:
    told = {"score": 0.9, "random_mean": 0.5, "p_bonferroni": 0.001, "accuracy": 0.95, "says": "raises"}
    slope: Any = SimpleNamespace(told_apart=True, to_json=lambda: told)
    for effects, against in ((-1.0, True), (1.0, False), (0.0, False)):
        line = concept_line("w", slope, Implant(effects + np.tile([-0.5, 0.5], 10)))
        assert "p 0.001 (Bonferroni), told apart 95%: the target rises along its vector; put in, it changes" in line
        assert line.endswith("the sign of its slope is NOT that of its effect") is against
