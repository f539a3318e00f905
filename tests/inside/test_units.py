"""Filters and dissection: planted motifs and annotations are found, chance is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli
from oracles import units as oracle

from borzoi_rt.demo import grammar
from borzoi_rt.errors import InputError
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.where import Where
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.activations import Activation, Activations, Layer
from borzoi_rt.inside.design import DesignOptions, design
from borzoi_rt.inside.dissect import DissectOptions, dissect
from borzoi_rt.inside.filters import FilterOptions, filters_of, names_of
from borzoi_rt.inside.unit_objective import UnitObjective
from borzoi_rt.inside.unit_rows import Piece
from borzoi_rt.inside.unit_runs import concepts_of
from borzoi_rt.motifs.files import read_motifs, write_meme
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.sequence import encode

LENGTH, WINDOWS = 2000, 3
MOTIFS = [Motif(name, encode(text) * 0.96 + 0.01) for name, text in grammar.MOTIFS.items()]


def windows() -> list[np.ndarray]:
    """Random DNA with some unknown bases and a TATA box every 100 bases."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(WINDOWS):
        letters = rng.choice(list("ACGT"), LENGTH)
        for start in range(30, LENGTH - 40, 100):
            letters[start : start + 8] = list(grammar.MOTIFS["tata"])
        letters[500:520] = "N"
        found.append(encode("".join(letters)))
    return found


def scores(window: np.ndarray) -> np.ndarray:
    """Units 0 to 2: TATA box, initiator, nothing; a filter of 9 bases with its motif in the first 8."""
    planted = [np.pad(np.log2(motif.matrix * 4), ((0, 0), (0, 1))) for motif in MOTIFS[:2]]
    return np.stack([*(oracle.motif_scores(window, odds) for odds in planted), np.zeros(LENGTH)]).astype(np.float32)


def pieces(values: list[np.ndarray], held: list[np.ndarray]) -> list[Piece]:
    layer, found = Layer("stem", 3, LENGTH, 1), []
    for number, (window, part) in enumerate(zip(held, values, strict=True)):
        start = number * LENGTH
        row = Row(name="r", bases=Interval("chr1", start, start + LENGTH), where=Where(window_start=start))
        for low, high in ((0, 700), (700, LENGTH)):
            inside = Activation(layer, np.arange(3), (low, high), part[:, low:high])
            found.append(Piece(row, window, inside))
    return found


def test_a_planted_motif_is_seen_and_named() -> None:
    held = windows()
    made = pieces([scores(window) for window in held], held)
    found = filters_of(made, made[0].found.layer, FilterOptions(sites=40))
    assert [item.sites for item in found] == [40, 40, 0]
    tata = found[0]
    # The filter is centred on base 4 of the motif, column 7 of a width of 15: the motif is in columns 3 to 10.
    assert tata.consensus[3:11] == "TATAAAAG"
    core, flank = tata.matrix[:, 3:11], np.delete(tata.matrix, range(3, 11), axis=1)
    assert core.max(axis=0).min() > 0.95
    assert flank.max() < 0.6
    names = names_of([item.matrix for item in found[:2]], MOTIFS)
    assert [MOTIFS[name.motif].name for name in names] == ["tata", "inr"]
    assert all(name.known and name.correlation > 0.8 for name in names)
    (chance,) = names_of([tata.chance], MOTIFS)
    assert not chance.known
    assert chance.correlation < 0.5


def test_activations_in_random_order_name_nothing() -> None:
    held, rng = windows(), np.random.default_rng(1)
    made = pieces([scores(window)[:, rng.permutation(LENGTH)] for window in held], held)
    found = filters_of(made, made[0].found.layer, FilterOptions(sites=40))
    names = names_of([item.matrix for item in found[:2]], MOTIFS)
    assert not any(name.known for name in names)


def test_a_run_of_one_base_names_nothing() -> None:
    """Its correlation with TATAAAAG is high, and so is that of any order of its positions."""
    matrix = np.full((4, 15), 0.25)
    matrix[:, 4:10] = np.array([0.97, 0.01, 0.01, 0.01])[:, None]
    (name,) = names_of([matrix], MOTIFS)
    assert MOTIFS[name.motif].name == "tata"
    assert not name.known


def test_the_matrix_is_that_of_the_most_active_sites() -> None:
    held, rng = windows()[:1], np.random.default_rng(6)
    values = rng.permuted(np.tile(np.arange(LENGTH, dtype=np.float32), (3, 1)), axis=1)
    made = pieces([values], held)
    width, sites = 5, 12
    (first, *_) = filters_of(made, made[0].found.layer, FilterOptions(sites=sites, width=width))
    known = [at for at in range(2, LENGTH - 2) if held[0][:, at - 2 : at + 3].sum() == 5]
    # A position is a site where no position of the same piece within two bases is larger.
    usable = {
        piece: [at for at in known if low <= at < high] for piece, (low, high) in enumerate([(0, 700), (700, 2000)])
    }
    peaks = [
        at
        for part in usable.values()
        for index, at in enumerate(part)
        if values[0, at] == values[0, part[max(0, index - 2) : index + 3]].max()
    ]
    top = sorted(peaks, key=lambda at: -values[0, at])[:sites]
    np.testing.assert_allclose(first.matrix, oracle.site_matrix(held[0], top, width), atol=1e-12)
    assert (first.largest, first.least) == (values[0, top[0]], values[0, top[-1]])


def test_filters_are_of_layers_that_see_the_bases_alone() -> None:
    with pytest.raises(InputError, match="sees more than the bases"):
        filters_of([], Layer("layer_1", 3, 10, 128))


def test_iou_is_that_of_the_oracle() -> None:
    rng = np.random.default_rng(2)
    values, concepts = rng.normal(size=(7, 400)).astype(np.float32), rng.random((3, 400)) < 0.1
    found = dissect(values, concepts, np.array([150, 250]), DissectOptions(quantile=0.03, draws=19))
    np.testing.assert_allclose(found.iou, oracle.iou(values, concepts, 0.03), atol=1e-12)
    scaled = dissect(values * 3 - 1, concepts, np.array([150, 250]), DissectOptions(quantile=0.03, draws=19))
    np.testing.assert_array_equal(scaled.iou, found.iou)
    np.testing.assert_allclose(scaled.rotated, found.rotated, atol=1e-6)


def test_a_unit_of_a_concept_is_found_and_random_labels_are_not() -> None:
    rng = np.random.default_rng(8)
    concepts = np.zeros((2, 4000), dtype=bool)
    concepts[0, rng.choice(4000, 40, replace=False)] = True
    concepts[1, rng.choice(4000, 40, replace=False)] = True
    values = rng.normal(size=(16, 4000)).astype(np.float32)
    values[5] += 4.0 * concepts[0]
    found = dissect(values, concepts, np.array([1000] * 4), DissectOptions(quantile=0.01))
    assert found.best[0] == 5
    assert found.found.tolist() == [True, False]
    assert found.iou[5, 0] > 2 * found.rotated[:, 0].max()
    assert found.p_rotation[0] == found.p_labels[0] == 1 / 40
    assert found.said == (
        "1 of 2 concepts are found by a unit (p at most 0.05 each, not corrected for 2 concepts: up to 0.1 by chance)"
    )
    tied = replace(found, rotated=np.vstack([found.iou.max(axis=0), found.rotated[1:]]))
    assert tied.p_rotation[0] == 0.05
    assert tied.found[0]  # and so it is said
    assert tied.said.endswith("up to 0.1 by chance; in 1 of these a draw of chance does as well)")


def test_a_concept_that_no_single_unit_holds_is_not_found() -> None:
    """Spread over all units it is seen by a rotation as well as by any unit."""
    rng = np.random.default_rng(9)
    concept = np.zeros((1, 4000), dtype=bool)
    concept[0, rng.choice(4000, 40, replace=False)] = True
    direction = np.full(16, 0.25)
    values = (rng.normal(size=(16, 4000)) + 8.0 * direction[:, None] * concept).astype(np.float32)
    found = dissect(values, concept, np.array([4000]), DissectOptions(quantile=0.01))
    assert found.p_labels[0] <= 0.05 < found.p_rotation[0]
    assert not found.found[0]


def test_still_units_are_active_nowhere() -> None:
    values = np.stack([np.zeros(200), np.arange(200) >= 199, np.arange(200)]).astype(np.float32)
    concept = (np.arange(200) >= 190)[None]
    found = dissect(values, concept, np.array([200]), DissectOptions(quantile=0.05, draws=19))
    assert found.iou[:, 0].tolist() == [0.0, 0.1, 1.0]
    assert np.isnan(found.thresholds[0])


def test_too_few_positions_are_told_with_how_many_are_needed() -> None:
    rng = np.random.default_rng(1)
    values, concept = rng.normal(size=(3, 400)).astype(np.float32), (np.arange(400) < 20)[None]
    found = dissect(values, concept, np.array([200, 200]), DissectOptions(quantile=0.01))
    # 10 active positions are 1,000 of the quantile: 5 regions of 200.
    assert found.note is not None
    assert "at 4 of 400 positions" in found.note
    assert "about 5 regions or windows like these (1,000 positions)" in found.note
    assert dissect(values, concept, np.array([400]), DissectOptions(quantile=0.025)).note is None
    for draws in (1, 18):
        with pytest.raises(InputError, match=f"draws is {draws}; 19 or more are needed"):
            DissectOptions(draws=draws)


@pytest.mark.parametrize(
    ("quantile", "share", "said"),
    [(0.001, 0.5, "less than one"), (0.1, 0.0, "at 0 of 100"), (0.1, 1.1, "at 100 of 100")],
)
def test_what_cannot_be_compared_is_refused(quantile: float, share: float, said: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    concept = (np.linspace(0, 1, 100, endpoint=False) < share)[None]
    with pytest.raises(InputError, match=said):
        dissect(values, concept, np.array([100]), DissectOptions(quantile=quantile))


def test_positions_hold_the_bases_of_intervals() -> None:
    parts = [("chr1", np.array([100, 108, 116]), 8), ("chr2", np.array([0, 8]), 8), ("chr1", np.array([92, 100]), 8)]
    given = [
        Interval("chr1", 107, 109, "a"),
        Interval("chr2", 8, 9, "a"),
        Interval("chr1", 99, 100),
        Interval("x", 0, 9),
    ]
    found = concepts_of(parts, given)
    assert found["a"].tolist() == [True, True, False, False, True, False, True]
    assert found["region"].tolist() == [False, False, False, False, False, True, False]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("units")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": worlds.random_dna(9000, seed=21), "chr2": "N" * 5000})
    write_meme(folder / "m.meme", MOTIFS)
    (folder / "r.bed").write_text("chr1\t3000\t4000\nchr1\t5000\t5500\n")
    (folder / "a.bed").write_text("chr1\t3100\t3130\tone\nchr1\t5200\t5230\tone\nchr1\t3500\t3520\ttwo\n")
    return SimpleNamespace(folder=folder, fasta=fasta)


def test_filters_command(cli: Cli, inside_bundle: object, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)  # type: ignore[attr-defined]
    words = ("filters", "--windows", "2", "--sites", "20", "--units", "0-3", "--motifs", desk.folder / "m.meme")
    for name in ("one", "two"):
        code, _, err = cli(*words, *model, "--out", tmp_path / name)
        assert code == 0, err
    table = pandas.read_csv(tmp_path / "one" / "filters.tsv", sep="\t", na_values=".")
    assert table.unit.tolist() == [0, 1, 2, 3]
    assert (table.sites == 20).all()
    assert (table.largest >= table.least).all()
    written = read_motifs(tmp_path / "one" / "filters.meme")
    assert [motif.name for motif in written] == [f"unit_{unit}" for unit in range(4)]
    assert written[0].matrix.shape == (4, 15)
    assert (tmp_path / "one" / "filters.png").stat().st_size > 1000
    for name in ("filters.tsv", "filters.meme", "filters.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_dissect_command(cli: Cli, inside_bundle: object, desk: SimpleNamespace, tmp_path: Path) -> None:
    """Random labels in a random network: nothing is found."""
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)  # type: ignore[attr-defined]
    words = ("dissect", "--bed", desk.folder / "r.bed", "--annotations", desk.folder / "a.bed", "--layer", "tower_1")
    code, _, err = cli(*words, "--quantile", "0.02", "--draws", "19", *model, "--out", tmp_path / "o")
    assert code == 0, err
    table = pandas.read_csv(tmp_path / "o" / "dissect.tsv", sep="\t")
    assert table.concept.tolist() == ["one", "two"]
    assert table.positions.tolist() == [30, 10]
    each = pandas.read_csv(tmp_path / "o" / "iou.tsv", sep="\t", na_values=".")
    for _, line in table.iterrows():
        assert each[line.concept].max() == line.iou == each[line.concept][each.unit == line.unit].item()
    told = json.loads((tmp_path / "o" / "dissect.json").read_text())
    assert told["positions"] == 750
    assert (tmp_path / "o" / "dissect.png").stat().st_size > 1000
    assert (table.found == "no").all()
    assert told["said"].startswith("0 of 2 concepts are found by a unit (p at most 0.05 each, not corrected for 2")
    assert f"tower_1: {told['said']} -> {tmp_path / 'o'}" in err
    assert told["note"] is None  # 15 of 750 positions


def test_regions_that_are_not_there_are_left_out_and_told(
    cli: Cli, inside_bundle: object, desk: SimpleNamespace, tmp_path: Path
) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)  # type: ignore[attr-defined]
    bed, whole = tmp_path / "some.bed", desk.folder / "r.bed"
    bed.write_text("chr1\t8990\t9100\tend\n" + whole.read_text() + "chr9\t1\t9\tother\n")
    dissection = ("--annotations", desk.folder / "a.bed", "--layer", "tower_1", "--quantile", "0.01", "--draws", "19")
    for name, words in (("dissect", dissection), ("filters", ("--sites", "20", "--units", "0-2"))):
        for regions in (bed, whole):
            code, _, err = cli(name, "--bed", regions, *words, *model, "--out", tmp_path / f"{name}{regions.stem}")
            assert code == 0, err
            assert ("note: 2 of 4 regions are left out (regions.tsv); the first: " in err) == (regions == bed)
            assert ("positions, so that chance often has the same IoU" in err) == (name == "dissect")  # 7 of 750
        some, every = (tmp_path / f"{name}{regions.stem}" for regions in (bed, whole))
        assert (some / f"{name}.tsv").read_bytes() == (every / f"{name}.tsv").read_bytes()
        table = pandas.read_csv(some / "regions.tsv", sep="\t", na_values=".")
        assert table.status.tolist() == ["out_of_bounds", "ok", "ok", "contig_missing"]
        assert table.start.tolist() == [8990, 3000, 5000, 1]
    bed.write_text("chr9\t1\t9\tother\n")
    ended = cli("filters", "--bed", bed, *model, "--out", tmp_path / "none")
    assert ended[0] == 1
    assert "no region can be looked at; the first: region chr9:2-9" in ended[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("filters", "--windows", "1", "--bed", "r.bed"), "give one of --bed and --windows"),
        (("filters", "--windows", "1", "--sites", "99999"), "99999 are needed"),
        (("filters", "--windows", "1", "--layer", "tower_9"), "layer 'tower_9' is unknown"),
        (("dissect", "--windows", "1", "--annotations", "none.bed"), "no such BED file"),
        (("dissect", "--bed", "r.bed", "--annotations", "far.bed"), "no annotation or motif is at some"),
        (("dissect", "--annotations", "a.bed", "--motif-pvalue", "0.1"), "--motif-pvalue is of the motifs"),
        (("dissect", "--annotations", "a.bed", "--quantile", "2"), "quantile is 2.0"),
        (("dissect", "--annotations", "a.bed", "--draws", "18"), "draws is 18; 19 or more are needed"),
    ],
)
def test_what_cannot_be_done_is_refused(
    cli: Cli,
    inside_bundle: object,
    desk: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(desk.folder)
    Path("far.bed").write_text("chr1\t1\t9\n")
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)  # type: ignore[attr-defined]
    code, _, err = cli(*words, *model, "--out", tmp_path / "o")
    assert code != 0
    assert said in err, err
    assert not (tmp_path / "o").exists()


def test_a_sequence_raises_a_filter_to_its_bound(inside_bundle: object) -> None:
    """The stem is linear: its bias and the largest weight of each position are the most there is; greedy finds it."""
    import torch
    import toys

    torch.manual_seed(11)  # as of the fixture
    stem = toys.model(toys.config(sequence_length_bp=4096)).stem
    weights, bias = (part.detach().numpy().astype(np.float64) for part in (stem.weight[3], stem.bias[3]))
    window = encode(worlds.random_dna(4096, seed=2))
    width = weights.shape[1]
    bases = (2000, 2000 + width)
    with Activations(inside_bundle) as inside:  # type: ignore[arg-type]
        middle = 2000 + width // 2
        objective = UnitObjective(inside, "stem", 3, (middle, middle + 1))
        found = design(objective, window, bases, DesignOptions(edits=width))
    assert found.value == pytest.approx(float(bias + weights.max(axis=0).sum()), rel=1e-5)
    there = (weights * window[:, slice(*bases)]).sum() + bias
    assert found.start == pytest.approx(float(there), rel=1e-5)
    np.testing.assert_array_equal(found.window[:, slice(*bases)].argmax(axis=0), weights.argmax(axis=0))
