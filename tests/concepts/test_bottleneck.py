"""A concept bottleneck: closed forms, its law of intervention, its controls, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli, check_error
from numpy.testing import assert_allclose

pytest.importorskip("sklearn")

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.concepts.bottleneck import TRAININGS, fit_bottleneck, judge, ridge
from borzoi_rt.concepts.bottleneck_run import counted_words
from borzoi_rt.errors import InputError
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.tables import read_table

ROWS, UNITS, EFFECTS = 240, 24, np.array([2.0, -1.0, 0.0])


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Counts that lie along directions of the embedding, and a target that is made of these and of one thing more."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(1.5, (ROWS, 3)).astype(np.float64)
    rest = rng.standard_normal((ROWS, UNITS - 3))
    mix = np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0] * np.arange(1.0, UNITS + 1)
    embeddings = np.concatenate([counts, rest], axis=1) @ mix
    return {
        "embeddings": embeddings,
        "concepts": counts,
        "target": counts @ EFFECTS + 5.0 + rest[:, 0],
        "held": np.arange(ROWS) % 3 == 0,
    }


NAMES = ("one", "two", "three")


@pytest.mark.parametrize("training", TRAININGS)
def test_planted_effects_are_the_coefficients(truth, training):
    found = judge(**truth, names=NAMES, training=training)
    assert_allclose(found.model.target.weights[0], EFFECTS, atol=0.15)
    assert found.concept_r2.min() > 0.999
    target, rest = truth["target"][truth["held"]], (truth["concepts"] @ EFFECTS + 5.0)[truth["held"]]
    want = 1.0 - ((target - rest) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    assert_allclose(found.bottleneck.r2, want, atol=0.03)  # it cannot know the thing that is no concept
    assert found.embedding.r2 > 0.999
    told = found.to_json()
    assert_allclose(told["lost_to_embedding_r2"], found.embedding.r2 - found.bottleneck.r2)
    assert_allclose(told["lost_to_network_r2"], 1.0 - found.bottleneck.r2)
    assert found.believable


def test_an_intervention_is_the_coefficient_times_the_change(truth):
    found = judge(**truth, names=NAMES)
    embeddings = truth["embeddings"][truth["held"]]
    for concept, change in ((0, 1.0), (1, -3.5), (2, 100.0)):
        moved = found.model.intervened(embeddings, concept, change)
        assert_allclose(moved, found.model.target.weights[0, concept] * change, rtol=1e-9, atol=1e-9)
    assert_allclose(found.interventions, found.model.target.weights[0], rtol=1e-9)
    both = found.model.intervened(embeddings, 0, 2.0) + found.model.intervened(embeddings, 0, 3.0)
    assert_allclose(found.model.intervened(embeddings, 0, 5.0), both)


def test_shuffled_labels_fail(truth):
    found = judge(**truth, names=NAMES)
    assert found.chance_r2.max() < 0.2 < found.concept_r2.min()
    assert max(one.r2 for one in found.random_target) < 0.2
    assert max(one.r2 for one in found.random_concepts) < found.bottleneck.r2 - 0.2
    lost = dict(truth, concepts=np.random.default_rng(4).poisson(1.5, (ROWS, 3)).astype(float))
    chance = judge(**lost, names=NAMES)
    assert chance.concept_r2.max() < 0.1
    noise = judge(**dict(truth, target=np.random.default_rng(5).standard_normal(ROWS)), names=NAMES)
    assert not noise.believable or noise.bottleneck.r2 < 0.1


def test_what_leaks_is_closed_by_independent_training(truth):
    """Labels of chance, and a target that the embedding shows whole: only ``sequential`` says something of it."""
    rng = np.random.default_rng(7)
    embeddings = truth["target"][:, None] + 0.3 * rng.standard_normal((ROWS, 4))
    given = dict(truth, embeddings=embeddings, concepts=rng.poisson(1.5, (ROWS, 3)).astype(float))
    independent, sequential = (judge(**given, names=NAMES, training=one) for one in TRAININGS)
    assert independent.bottleneck.r2 < 0.1 < 0.5 < sequential.bottleneck.r2
    assert max(one.r2 for one in sequential.random_concepts) > 0.5  # and its control says so
    with pytest.raises(InputError, match="training 'joint' is unknown"):
        judge(**given, names=NAMES, training="joint")


def test_ridge_is_least_squares_without_a_penalty():
    rng = np.random.default_rng(6)
    values, wanted = rng.standard_normal((30, 4)) * [1.0, 100.0, 0.01, 1.0], rng.standard_normal((30, 2))
    found = ridge(values, wanted, penalties=(1e-12,))
    want = np.linalg.lstsq(np.column_stack([values, np.ones(30)]), wanted, rcond=None)[0]
    assert_allclose(found.weights, want[:4].T, rtol=1e-6)
    assert_allclose(found(values), np.column_stack([values, np.ones(30)]) @ want, rtol=1e-6)
    assert fit_bottleneck(values, wanted, wanted[:, 0]).predict(values).shape == (30,)


def test_what_cannot_be_judged_is_refused(truth):
    same = truth["concepts"].copy()
    same[truth["held"], 1] = 2.0
    with pytest.raises(InputError, match="two is 2 for all held-out rows"):
        judge(**dict(truth, concepts=same), names=NAMES)
    with pytest.raises(InputError, match="0 rows to fit and 240 held out"):
        judge(**dict(truth, held=np.ones(ROWS, dtype=bool)), names=NAMES)
    with pytest.raises(InputError, match="is not finite"):
        judge(**dict(truth, target=np.full(ROWS, np.nan)), names=NAMES)


TEXT = worlds.random_dna(12000, seed=41)


def reverse_complement(text: str) -> str:
    return text.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def overlapping(text: str, word: str) -> int:
    return sum(text[at:].startswith(word) for at in range(len(text)))


def test_concepts_are_counted_on_both_strands(inside_bundle: Bundle, tmp_path: Path) -> None:
    with Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": TEXT})) as genome:
        (row,) = region_rows([Interval("chr1", 5000, 5400)], genome, inside_bundle.geometry)
        window, text = row.window(genome, inside_bundle.geometry), TEXT[5000:5400]
        gat, palindrome, wild = (one.count(window, row) for one in counted_words(["GAT", "x=ACGT", "GNA"]))
    assert gat == overlapping(text, "GAT") + overlapping(text, "ATC") > 0
    assert palindrome == overlapping(text, "ACGT")
    want = sum(text[at] == "G" and text[at + 2] == "A" for at in range(398))
    assert wild == want + sum(text[at] == "T" and text[at + 2] == "C" for at in range(398))


def test_the_command(cli: Cli, inside_bundle: Bundle, tmp_path: Path) -> None:
    fasta = worlds.write_fasta(tmp_path / "g.fa", {"chr1": TEXT[:9000], "chr2": TEXT[3000:]})
    bed, spots = tmp_path / "r.bed", tmp_path / "spots.bed"
    bed.write_text(
        "".join(f"{chrom}\t{at}\t{at + 128}\n" for chrom in ("chr1", "chr2") for at in range(3000, 5600, 200))
    )
    spots.write_text("chr1\t3000\t3500\nchr1\t3450\t3700\nchr2\t3300\t4100\n")
    model = ("--bundle", inside_bundle.path, "--fasta", fasta, "--target", "log SUM@center:256")
    what = ("--bed", bed, "--motif", "g=GC", "--concept", f"s={spots}", "--held-chrom", "chr2")
    code, _, err = cli("bottleneck", *what, *model, "--out", tmp_path / "b.h5")
    assert code == 0, err
    assert "held-out R2" in err
    held = read_table(tmp_path / "b.h5", "bottleneck")
    assert held.columns["concept"].tolist() == ["g", "s"]
    assert held.arrays["held_out"].tolist() == [False] * 13 + [True] * 13
    assert held.arrays["counts"][:5, 1].tolist() == [1.0, 1.0, 2.0, 1.0, 0.0]
    assert_allclose(held.columns["intervention"], held.columns["coefficient"])
    assert held.arrays["weights"].shape == (2, held.arrays["weights"].shape[1])
    assert cli("bottleneck", *what[:-2], *model, "--out", tmp_path / "b.tsv")[0] == 0
    table = pandas.read_csv(tmp_path / "b.tsv", sep="\t")
    assert list(table.columns) == [
        *("concept", "kind", "rows_with", "coefficient", "intervention", "r2", "chance_r2", "read")
    ]
    told = json.loads((tmp_path / "b.tsv.meta.json").read_text())
    assert (told["rows"], told["rows_held_out"], len(told["shuffled_concepts"])) == (26, 8, 5)
    assert_allclose(told["lost_to_embedding_r2"], told["embedding"]["r2"] - told["bottleneck"]["r2"])
    for words, said in (
        (("--held-chrom", "chr9"), "held_chroms 'chr9' has no row"),
        (("--held", "1"), "held is 1.0"),
        (("--motif", "g=AA"), "two concepts are called 'g'"),
        (("--motif", "GATTACAGATTACA"), "GATTACAGATTACA is 0 for all fitted rows"),
    ):
        check_error(cli("bottleneck", *what[:-2], *words, *model, "--out", tmp_path / "o.tsv"), said)
