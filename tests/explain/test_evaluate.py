"""How good explanations are: closed forms of linear targets, maps by chance that must fail, and methods run again."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import toy_objectives as toys
import worlds
from command_line import check_error
from numpy.testing import assert_allclose, assert_array_equal
from oracles import judging

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.evaluate.faithful import EvaluateOptions, Scene, curves, infidelity, ism_agreement
from borzoi_rt.explain.evaluate.faithful import sensitivity_n as subsets
from borzoi_rt.explain.evaluate.maps import Reading, ScoreMap, judged
from borzoi_rt.explain.evaluate.metrics import CHEAP, METRICS, chosen_metrics
from borzoi_rt.explain.evaluate.run import COLUMNS, Judgement
from borzoi_rt.explain.evaluate.stable import Rerun, concordance, found_again, largest_change, shifted
from borzoi_rt.explain.evaluate.subject import read_subject
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.methods import METHODS, read_options
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.sequence import encode

LENGTH, BASES = 120, (20, 100)
OPTIONS = EvaluateOptions(samples=20, orders=10)


def window_of(seed: int) -> np.ndarray:
    return encode(worlds.random_dna(LENGTH, seed=seed))


def scene(objective: Any, method: str, seed: int = 3, **given: Any) -> Scene:
    window = window_of(seed)
    found = METHODS[method].run(objective, window, BASES, read_options(method, given))
    codes = window[:, slice(*BASES)].argmax(axis=0).astype(np.uint8)
    return Scene(objective, window, BASES, ScoreMap(codes, found.hypothetical), METHODS[method].projected)


def by_luck(held: Scene, seed: int = 5) -> Scene:
    """The same with a map that knows nothing."""
    scores = np.random.default_rng(seed).normal(size=held.held.hypothetical.shape)
    return Scene(held.objective, held.window, held.bases, ScoreMap(held.held.codes, scores))


def passes(found: dict[str, Reading], better: str = "high") -> dict[str, bool | None]:
    return {name: judged([reading], better=better).passed for name, reading in found.items()}


WEIGHTS = np.random.default_rng(1).normal(size=(4, LENGTH))


@pytest.mark.parametrize("method", ["saliency", "ixg", "ism"])
def test_of_a_linear_target_these_methods_are_perfect(method):
    held = scene(toys.linear(WEIGHTS), method)
    assert infidelity(held, OPTIONS)["infidelity"].value == pytest.approx(0.0, abs=1e-12)
    assert subsets(held, OPTIONS)["correlation"].value == pytest.approx(1.0)
    found = ism_agreement(held, OPTIONS)
    assert found["pearson"].value == pytest.approx(1.0)
    assert found["spearman"].value == pytest.approx(1.0)
    if method == "ixg":
        assert found["letters_pearson"].value is None
    else:
        assert found["letters_pearson"].value == pytest.approx(1.0)


@pytest.mark.parametrize("objective", [toys.linear(WEIGHTS), toys.smooth(0.1 * WEIGHTS)], ids=["linear", "smooth"])
def test_a_map_by_chance_fails_where_a_method_passes(objective):
    for held, expected in ((scene(objective, "ism"), True), (by_luck(scene(objective, "ism")), False)):
        assert passes(infidelity(held, OPTIONS), "low") == {"infidelity": expected}
        assert passes(subsets(held, OPTIONS)) == {"correlation": expected}
        assert set(passes(ism_agreement(held, OPTIONS)).values()) == {expected}
        drawn = curves(held, OPTIONS)
        assert drawn is not None
        assert judged([drawn.readings()["abpc"]], better="high").passed is expected


def test_a_map_of_the_wrong_sign_is_worse_than_chance():
    held = scene(toys.linear(WEIGHTS), "ism")
    turned = Scene(held.objective, held.window, BASES, ScoreMap(held.held.codes, -held.held.hypothetical))
    assert infidelity(turned, OPTIONS)["infidelity"].value == pytest.approx(1.0)
    assert subsets(turned, OPTIONS)["correlation"].value == pytest.approx(-1.0)
    for one in (held, turned):
        drawn = curves(one, OPTIONS)
        assert drawn is not None
        value = drawn.readings()["abpc"].value
        assert value is not None
        assert (value > 0) == (one is held)


def test_the_area_has_a_sign_that_does_not_depend_on_what_shuffling_does():
    """Of a target that shuffling raises, a right map has a positive area too."""
    window = window_of(3)
    weights = WEIGHTS - 2.0 * window  # what is there holds the target down
    drawn = curves(scene(toys.linear(weights), "ism"), OPTIONS)
    assert drawn is not None
    assert not drawn.falling
    assert passes(drawn.readings())["abpc"] is True


class Recording(toys.ToyObjective):
    """Keeps every window that it is asked for."""

    seen: list[np.ndarray]

    def values(self, sequences: np.ndarray) -> np.ndarray:
        self.seen = [*getattr(self, "seen", []), *sequences.copy()]
        return super().values(sequences)


def test_curves_are_those_of_the_definition():
    plain = toys.linear(WEIGHTS)
    objective = Recording(LENGTH, plain.function, plain.derivative)
    held = scene(objective, "ism")
    options = EvaluateOptions(tile_bp=10, points=4, shuffles=2, orders=1)
    objective.seen = []
    drawn = curves(held, options)
    assert drawn is not None
    start, *references = objective.seen[:3]
    assert_array_equal(start, held.window)
    for reference in references:  # letters move within the bases, and nowhere else
        assert_array_equal(reference[:, slice(*BASES)].sum(axis=1), held.window[:, slice(*BASES)].sum(axis=1))
        assert_array_equal(np.delete(reference, np.arange(*BASES), axis=1), np.delete(start, np.arange(*BASES), axis=1))
    tiles = [(low, low + 10) for low in range(20, 100, 10)]
    sums = [held.held.projected[low - 20 : high - 20].sum() for low, high in tiles]
    order = sorted(range(8), key=lambda tile: -sums[tile])
    value = lambda x: float((WEIGHTS * x).sum())  # noqa: E731

    def expected(order: list[int]) -> np.ndarray:
        between = []
        for count in (2, 4, 6):
            mixed = [held.window.copy() for _ in references]
            for one, reference in zip(mixed, references, strict=True):
                for tile in order[:count]:
                    one[:, slice(*tiles[tile])] = reference[:, slice(*tiles[tile])]
            between.append(np.mean([value(one) for one in mixed]))
        return judging.curve(value(start), float(np.mean([value(one) for one in references])), between)

    assert_allclose(drawn.share, [0, 0.25, 0.5, 0.75, 1])
    assert_allclose(drawn.first_large, expected(order), rtol=1e-9)
    assert_allclose(drawn.first_small, expected(order[::-1]), rtol=1e-9)
    area = [judging.trapezoids(drawn.share, expected(one)) for one in (order[::-1], order)]
    sign = 1 if drawn.falling else -1
    assert drawn.readings()["abpc"].value == pytest.approx(sign * (area[0] - area[1]))
    assert_allclose(drawn.readings()["abpc"].chance.sum(), 0.0, atol=1e-12)  # an order and its reverse


def test_infidelity_is_that_of_the_definition():
    plain = toys.smooth(0.2 * WEIGHTS)
    objective = Recording(LENGTH, plain.function, plain.derivative)
    held = scene(objective, "saliency")
    objective.seen = []
    value = infidelity(held, OPTIONS)["infidelity"].value
    start, *mutants = objective.seen
    codes = [one[:, slice(*BASES)].argmax(axis=0) for one in mutants]
    assert {int((one != held.held.codes).sum()) for one in codes} == {8}  # a tenth of 80 bases, all of them exchanged
    said = np.array([judging.fall(held.held.hypothetical, held.held.codes, one) for one in codes])
    falls = np.array([plain.function(start) - plain.function(one) for one in mutants])
    assert value == pytest.approx(judging.infidelity(said, falls), rel=1e-6)


def test_unknown_bases_are_left_as_they_are():
    objective = Recording(LENGTH, toys.linear(WEIGHTS).function, toys.linear(WEIGHTS).derivative)
    held = scene(objective, "ism")
    window, codes = held.window.copy(), held.held.codes.copy()
    window[:, 30:35], codes[10:15] = 0, 4
    part = Scene(objective, window, BASES, ScoreMap(codes, held.held.hypothetical))
    objective.seen = []
    for found in (infidelity(part, OPTIONS), subsets(part, OPTIONS), ism_agreement(part, OPTIONS)):
        assert all(reading.value is not None for reading in found.values())
    assert curves(part, OPTIONS) is not None
    assert not any(one[:, 30:35].any() for one in objective.seen)
    assert (part.held.permuted(np.random.default_rng(0)).projected[10:15] == 0).all()


def test_permuted_maps_keep_what_is_said_of_the_base_that_is_there():
    held = scene(toys.linear(WEIGHTS), "ixg").held
    other = held.permuted(np.random.default_rng(2))
    assert_allclose(np.sort(other.projected), np.sort(held.projected))
    assert not np.allclose(other.projected, held.projected)


def test_a_target_that_nothing_changes_has_no_number():
    held = scene(toys.linear(np.ones((4, LENGTH))), "ism")
    assert infidelity(held, OPTIONS)["infidelity"].value is None
    assert subsets(held, OPTIONS)["correlation"].value is None
    assert ism_agreement(held, OPTIONS)["pearson"].value is None
    assert curves(held, OPTIONS) is None
    assert judged([Reading(None, detail="why")], better="high").detail == "why"


def test_concordance_against_chance():
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 4, 80).astype(np.uint8)
    held = ScoreMap(codes, rng.normal(size=(4, 80)))
    near = [held.projected + 0.1 * rng.normal(size=80) for _ in range(2)]
    far = [rng.normal(size=80) for _ in range(2)]
    assert set(passes(concordance(held, near, OPTIONS)).values()) == {True}
    assert set(passes(concordance(held, far, OPTIONS)).values()) == {False}
    change = largest_change(held, near, OPTIONS)["change"].value
    size = np.linalg.norm(held.projected)
    assert change == pytest.approx(max(np.linalg.norm(one - held.projected) for one in near) / size)
    assert passes(largest_change(held, near, OPTIONS), "low") == {"change": True}
    fallen = [judged([Reading(value, np.zeros(3))], better="fallen").passed for value in (0.49, 0.51)]
    assert fallen == [True, False]


def test_seqlets_that_most_folds_find():
    rng, codes = np.random.default_rng(11), np.zeros(400, dtype=np.uint8)

    def scores(stretches: dict[int, float]) -> np.ndarray:
        found = 0.05 * rng.normal(size=400)
        for start, value in stretches.items():
            found[start : start + 8] += value
        return found

    held = ScoreMap(codes, np.stack([scores({50: 3.0, 150: 3.0, 250: -3.0, 350: 3.0}), *np.zeros((3, 400))]))
    # All find 50; two others find 150 (3 bases further: 5 of 8); one finds 250, two say the opposite; none has 350,
    # and one a stretch that holds 3 of its bases.
    others = [
        scores({50: 3.0, 153: 3.0, 250: -3.0, 355: 3.0}),
        scores({50: 3.0, 147: 3.0, 250: 3.0}),
        scores({50: 2.0, 250: 3.0}),
    ]
    found = found_again(held, others, OPTIONS)
    assert found["seqlets"].value == 0.5
    assert passes(found) == {"seqlets": True}
    assert found_again(held, others[:2], OPTIONS)["seqlets"].value == 0.5  # all three models are needed
    assert found_again(held, others[2:], OPTIONS)["seqlets"].value == 0.25  # and of two both
    far = [scores(dict.fromkeys(rng.choice(390, 4, replace=False), 3.0)) for _ in range(3)]
    assert passes(found_again(held, far, OPTIONS)) == {"seqlets": False}
    flat = ScoreMap(codes, np.zeros((4, 400)))
    assert found_again(flat, others, OPTIONS)["seqlets"].detail == "the map has no seqlet"


def test_metrics_are_chosen_or_refused():
    assert chosen_metrics(None) == CHEAP
    assert chosen_metrics(None, randomised=1) == (*CHEAP, "randomised")
    assert chosen_metrics(None, truth=3) == tuple(name for name in METRICS if name in (*CHEAP, "truth"))
    assert chosen_metrics(["all"]) == tuple(name for name in METRICS if name not in ("folds", "randomised", "truth"))
    assert chosen_metrics(["shifts", "ism"]) == ("ism", "shifts")
    for names, given, message in (
        (["luck"], {}, "metric 'luck' is unknown"),
        (["folds"], {}, "needs other models; give folds"),
        (["ism"], {"folds": 2}, "folds is given, and 'folds' is not among"),
    ):
        with pytest.raises(InputError, match=message):
            chosen_metrics(names, **given)


TEXT = worlds.random_dna(9000, seed=31)
SPEC = TargetSpec.parse("SUM@span:400", tracks="cage,dnase")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("judge")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT, "chr2": worlds.reverse_complement(TEXT)})
    bed = folder / "in.bed"
    bed.write_text("chr1\t4400\t4440\tone\nchr1\t4600\t4640\ttwo\n")
    return SimpleNamespace(folder=folder, fasta=fasta, bed=bed)


def test_the_other_strand_is_the_reverse_complement_with_paired_tracks(desk, gradient_bundle):
    """Of a genome that is reversed, tracks exchanged for their pairs, and read from the other end."""
    tracks = gradient_bundle.tracks
    single = next(row for row in range(len(tracks)) if tracks.strand_pair[row] != tracks.index[row])
    pair = int(tracks.strand_pair[single])
    spec = TargetSpec.parse("SUM@span:320", tracks=str(int(tracks.index[single])))
    paired = TargetSpec.parse("SUM@span:320", tracks=str(pair))
    low, high = 4400, 4440
    with Fasta(desk.fasta) as genome, Explainer(gradient_bundle, genome) as explainer:
        (row,) = region_rows([Interval("chr1", low, high)], genome, gradient_bundle.geometry)
        (turned,) = region_rows([Interval("chr2", 9000 - high, 9000 - low)], genome, gradient_bundle.geometry)
        for method, given in (("saliency", {}), ("occlusion", {"tile_bp": 8})):
            options = ExplainOptions(method=method, options=given)
            ours = explainer.attributed(row, spec, options, opposite=True)[1]
            plain = explainer.attributed(row, spec, options)[1]
            other = explainer.attributed(turned, paired, options)[1]
            assert ours.value == pytest.approx(other.value, rel=1e-5)
            size = np.abs(other.hypothetical).max()
            assert_allclose(ours.hypothetical, other.hypothetical[::-1, ::-1], atol=2e-4 * size)
            assert np.abs(plain.hypothetical - ours.hypothetical).max() > 1e-2 * size


def test_shifted_rows_are_of_the_same_bases(desk, gradient_bundle):
    grid = gradient_bundle.geometry
    with Fasta(desk.fasta) as genome, Explainer(gradient_bundle, genome) as explainer:
        (row,) = region_rows([Interval("chr1", 4400, 4440)], genome, grid)
        moved = shifted(row, 3, grid.sequence_length_bp)
        assert moved.columns == (row.columns[0] - 3, row.columns[1] - 3)
        one, other = (held.window(genome, grid)[:, slice(*held.columns)] for held in (row, moved))
        assert_array_equal(one, other)
        codes, _, _ = explainer.attributed(moved, SPEC, ExplainOptions(method="saliency"))
        assert_array_equal(codes, one.argmax(axis=0))
        (edge,) = region_rows([Interval("chr1", 2000, 2000 + grid.sequence_length_bp)], genome, grid)
        with pytest.raises(InputError, match="reaches the end of its window"):
            shifted(edge, 1, grid.sequence_length_bp)


def make(call: Any, desk: SimpleNamespace, bundle: Bundle, name: str, *more: object) -> Path:
    out: Path = desk.folder / name
    if not out.exists():
        words = ["--bundle", bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--target", SPEC.name]
        code, _, err = call("explain", *words, "--tracks", "cage,dnase", "--out", out, *more)
        assert code == 0, err
    return out


def noise(source: Path, name: str) -> Path:
    out = source.with_name(name)
    shutil.copy(source, out)
    with h5py.File(out, "r+") as file:
        rng = np.random.default_rng(0)
        file["hypothetical"][:] = rng.normal(size=file["hypothetical"].shape).astype(np.float32)
    return out


def test_from_the_command_line(call, desk, gradient_bundle, second_fold):
    smooth = make(call, desk, gradient_bundle, "smooth.h5", "--method", "smoothgrad", "--samples", 20, "--seed", 4)
    luck = noise(smooth, "luck.h5")
    out, model = desk.folder / "judged", ["--bundle", gradient_bundle.path, "--fasta", desk.fasta]
    metrics = "seeds,shifts,strands,max-sensitivity,folds,completeness,deletion"
    words = ["--metrics", metrics, "--fold", second_fold.path, "--tile-bp", 8]
    code, stdout, err = call("explain", "evaluate", smooth, luck, *model, *words, "--out", out)
    assert code == 0, err
    assert "smooth.h5: about" in err
    assert "seeds 122" in err  # 2 * (1 + 3 * 20)
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.png", "metrics.json", "metrics.tsv"]
    assert (out / "metrics.tsv").read_text() == stdout
    lines = list(csv.DictReader(stdout.splitlines(), delimiter="\t"))
    assert list(lines[0]) == list(COLUMNS)
    found = {(line["file"], line["metric"], line["quantity"]): line for line in lines}
    for metric, quantity in (("seeds", "spearman"), ("shifts", "pearson"), ("max-sensitivity", "change")):
        assert found["smooth.h5", metric, quantity]["passed"] == "yes"
        assert found["luck.h5", metric, quantity]["passed"] == "no"
    assert found["smooth.h5", "completeness", "error"]["detail"].startswith(
        "smoothgrad does not claim that its attributions add up"
    )
    for name in ("smooth.h5", "luck.h5"):
        asked = [line["passed"] for line in lines if line["file"] == name and line["passed"]]
        assert f"{name} (smoothgrad): {asked.count('yes')} of {len(asked)} checks against random passed; " in err
    assert found["luck.h5", "seeds", "noise"]["passed"] == "no"
    assert found["smooth.h5", "seeds", "noise"]["passed"] == "yes"
    # By hand: the other seeds are the next ones.
    document = json.loads((out / "metrics.json").read_text())
    one = read_attributions(smooth).projected[0]
    others = [
        read_attributions(
            make(call, desk, gradient_bundle, f"s{seed}.h5", "--method", "smoothgrad", "--samples", 20, "--seed", seed)
        ).projected[0]
        for seed in (5, 6)
    ]
    mean = np.mean([np.corrcoef(one, other)[0, 1] for other in others])
    assert document["files"][0]["rows"][0]["metrics"]["seeds"]["pearson"]["value"] == pytest.approx(mean, rel=1e-4)
    assert len(document["files"][0]["rows"][0]["curves"]["share"]) == 6  # of five stretches
    fold = read_attributions(
        make(call, desk, second_fold, "fold.h5", "--method", "smoothgrad", "--samples", 20, "--seed", 4)
    ).projected[0]
    value = document["files"][0]["rows"][0]["metrics"]["folds"]["pearson"]["value"]
    assert value == pytest.approx(np.corrcoef(one, fold)[0, 1], rel=1e-4)


def test_effects_of_a_file_are_those_of_its_rows(call, desk, gradient_bundle):
    exact = make(call, desk, gradient_bundle, "ism.h5", "--method", "ism")
    model = ["--bundle", gradient_bundle.path, "--fasta", desk.fasta, "--metrics", "ism"]
    code, stdout, err = call(
        "explain", "evaluate", exact, *model, "--against", exact, "--out", desk.folder / "against", "--rows", 1
    )
    assert code == 0, err
    assert "about 0 passes" in err
    lines = {line["quantity"]: line for line in csv.DictReader(stdout.splitlines(), delimiter="\t")}
    assert {name: float(line["value"]) for name, line in lines.items()} == pytest.approx(
        dict.fromkeys(("pearson", "spearman", "letters_pearson"), 1.0)
    )
    assert {line["rows"] for line in lines.values()} == {"1"}
    # It is no check: mutagenesis was compared with itself.
    assert {line["passed"] for line in lines.values()} == {""}
    told = "nothing was measured that is compared with random; ism is left out, 1 by construction: the map itself is"
    assert f"ism.h5 (ism): {told} exact mutagenesis" in err
    luck = noise(exact, "ism_of_luck.h5")  # but it is seen where a file does not hold what it says
    code, stdout, err = call(
        "explain", "evaluate", luck, *model, "--against", exact, "--out", desk.folder / "unlike", "--rows", 1
    )
    assert code == 0, err
    assert {line["passed"] for line in csv.DictReader(stdout.splitlines(), delimiter="\t")} == {"no"}
    assert "left out" not in err


def test_what_does_not_fit_is_refused(call, desk, gradient_bundle, second_fold):
    held = make(call, desk, gradient_bundle, "saliency.h5", "--method", "saliency")
    other = worlds.write_fasta(desk.folder / "other.fa", {"chr1": TEXT[::-1]})
    both = make(call, desk, gradient_bundle, "both.h5", "--method", "saliency", "--fold", second_fold.path)
    changed = held.with_name("changed.h5")
    shutil.copy(held, changed)
    with h5py.File(changed, "r+") as file:
        file["score"][:] *= 1.5
    out = desk.folder / "refused"
    plain = {"--bundle": gradient_bundle.path, "--fasta": desk.fasta, "--out": out}
    for file, words, message in (
        (held, {"--bundle": second_fold.path}, "saliency.h5: is of model toy"),
        (held, {"--fasta": other}, "saliency.h5: is of another genome than other.fa"),
        (both, {}, "both.h5: holds the mean of 2 models"),
        (changed, {}, "changed.h5: the target of row one is"),
        (held, {"--against": held}, "saliency.h5: is no ism of this model"),
        (held, {"--against": held, "--metrics": "shifts"}, "--against is for the metric ism"),
        (held, {"--randomised": gradient_bundle.path}, "same"),
        (held, {"--metrics": "completeness", "--positions": 5}, "--positions is of ism, and the metrics are completen"),
        (held, {"--metrics": "ism", "--samples": 30}, "--samples is of infidelity, sensitivity-n, and the metrics are"),
        (held, {"--metrics": "ism", "--tile-bp": 3}, "--tile-bp is of deletion, and the metrics are ism; leave it out"),
        (held, {"--metrics": "completeness", "--seed": 0}, "--seed is of all but completeness, and the metrics are"),
        (held, {"--against": held, "--positions": 5}, "--positions is of a sample of exact mutagenesis, and with --ag"),
        (held, {"--segments": f"bed:{desk.bed}"}, "--segments is given, and no file was made with such stretches"),
        (desk.bed, {}, "in.bed: cannot be read as attributions"),
    ):
        given = [part for pair in (plain | words).items() for part in pair]
        code, _, err = call("explain", "evaluate", file, *given)
        assert code == 1
        assert message in err, err
        assert err.rstrip().splitlines()[-1].startswith("error: ")
    assert not out.exists()
    check_error(call("explain", "evaluate", held, held, *[part for pair in plain.items() for part in pair]), "one name")


def test_a_model_in_random_order_gives_another_map(call, desk, gradient_bundle):
    from borzoi_export.randomise import randomise_bundle

    held = make(call, desk, gradient_bundle, "saliency.h5", "--method", "saliency")
    other = randomise_bundle(gradient_bundle, desk.folder / "deep", part="tower")
    model = ["--bundle", gradient_bundle.path, "--fasta", desk.fasta]
    words = ["--metrics", "randomised", "--randomised", other.path, "--out", desk.folder / "fallen"]
    code, stdout, err = call("explain", "evaluate", held, *model, *words)
    assert code == 0, err
    (line,) = csv.DictReader(stdout.splitlines(), delimiter="\t")
    assert (line["quantity"], line["passed"]) == ("spearman_deep", "yes")
    with Fasta(desk.fasta) as genome, Explainer(gradient_bundle, genome) as explainer:
        subject = read_subject(held, gradient_bundle, genome)
        again = Rerun(explainer, subject).map(subject.rows[0])  # the same model gives the same map: it would not pass
        assert_allclose(again, subject.maps[0].projected, rtol=1e-5, atol=1e-9)


def test_variants_and_genes_are_opened_again(call, desk, gradient_bundle):
    """Rows of both alleles, and a target of a gene, which the file does not hold."""
    model = ["--bundle", gradient_bundle.path, "--fasta", desk.fasta]
    base = TEXT[4499]
    variant = f"chr1:4500:{base}:{base}ACG"
    alleles = desk.folder / "alleles.h5"
    words = ["--variant", variant, "--width", 30, "--target", "SUM@span:400", "--method", "saliency"]
    assert call("explain", *words, *model, "--out", alleles)[0] == 0
    genes = desk.folder / "genes.gtf"
    name = 'gene_id "G1"; gene_name "one"; gene_type "protein_coding"; transcript_id "T1";'
    genes.write_text(
        "".join(f"chr1\tx\t{kind}\t4301\t4700\t.\t+\t.\t{name}\n" for kind in ("gene", "transcript", "exon"))
    )
    named, of_gene = ["--gene", "one", "--genes", genes], desk.folder / "gene.h5"
    words = ["--region", "chr1:4,481-4,510", "--target", "SUM@exons", "--method", "saliency", *named]
    code, _, err = call("explain", *words, *model, "--out", of_gene)
    assert code == 0, err
    with Fasta(desk.fasta) as genome, Explainer(gradient_bundle, genome) as explainer:
        subject = read_subject(alleles, gradient_bundle, genome)
        assert [row.allele for row in subject.rows] == ["ref", "alt"]
        for number in range(2):  # the target is computed anew, and the map, too
            subject.scene(number, explainer)
            again = Rerun(explainer, subject).map(subject.rows[number])
            size = np.abs(subject.maps[number].projected).max()
            assert_allclose(again, subject.maps[number].projected, atol=1e-5 * size)
        moved = shifted(subject.rows[1], -2, gradient_bundle.geometry.sequence_length_bp)
        parts = [
            row.window(genome, gradient_bundle.geometry)[:, slice(*row.columns)] for row in (subject.rows[1], moved)
        ]
        assert_array_equal(*parts)
    words = ["explain", "evaluate", of_gene, *model, "--metrics", "strands", "--out", desk.folder / "of_gene"]
    check_error(call(*words), "gene.h5: target SUM@exons is of a gene, which no file holds; give it (gene, genes)")
    code, stdout, err = call(*words, *named)
    assert code == 0, err
    assert "strands\tpearson\t" in stdout
    words[2], words[-1] = alleles, desk.folder / "of_no_gene"
    check_error(call(*words, *named), "--gene is given, and no file has a target of a gene; leave it out")


def test_stretches_of_a_file_are_given_again(call, desk, gradient_bundle):
    bed = desk.folder / "parts.bed"
    bed.write_text("chr1\t4405\t4412\ta\nchr1\t4420\t4430\tb\nchr1\t4605\t4612\tc\nchr1\t4620\t4630\td\n")
    held = make(call, desk, gradient_bundle, "parts.h5", "--method", "occlusion", "--segments", f"bed:{bed}")
    model = ["--bundle", gradient_bundle.path, "--fasta", desk.fasta, "--metrics", "shifts", "--rows", 1]
    words = ["explain", "evaluate", held, *model, "--out", desk.folder / "parts"]
    check_error(call(*words), "its stretches are those of bed:parts.bed; give that file (segments)")
    code, _, err = call(*words, "--segments", f"bed:{bed}")
    assert code == 0, err
    assert "shifts 18" in err  # six windows, each as it is and without two stretches


def test_the_page_has_every_method_and_measure():
    root = Path(__file__).resolve().parents[2]
    text = (root / "docs" / "methods.md").read_text(encoding="utf-8")
    cells = {line.split("|")[1] for line in text.splitlines() if line.startswith("| ")}
    for name in (*METHODS, *METRICS):
        assert any(f"`{name}`" in cell for cell in cells), name


def test_rows_that_say_nothing_do_not_move_the_others():
    said = Judgement(SimpleNamespace(name="a.h5", rows=[1, 2], options=ExplainOptions()))  # type: ignore[arg-type]
    said.add("shifts", 0, {"pearson": Reading(None, detail="a map is the same everywhere")})
    said.add("shifts", 1, {"pearson": Reading(0.5, np.zeros(4)), "spearman": Reading(0.25, np.zeros(4))})
    lines = {line["quantity"]: line for line in said.table()}
    assert [lines[name]["rows"] for name in ("pearson", "spearman")] == [1, 1]
    assert lines["pearson"]["value"] == 0.5
    said.subject.rows[:] = [SimpleNamespace(name=name, allele="genome") for name in "ab"]  # type: ignore[list-item]
    rows = said.to_json()["rows"]
    assert "spearman" not in rows[0]["metrics"]["shifts"]
    assert rows[1]["metrics"]["shifts"]["spearman"]["value"] == 0.25
