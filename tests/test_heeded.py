"""No choice is ignored: each changes the result or the identity of a score, or is refused in one line that names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import twins
import worlds

import borzoi_rt
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import InputError
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import Model, open_model
from borzoi_rt.runs.predict import CoverageOptions, predict_regions
from borzoi_rt.scoring.haplotypes import HaplotypeOptions
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.presets import PRESETS, preset_options

_BASES = worlds.random_dna(6000, seed=6)
TEXT = _BASES[:3300] + "ACACACAC" + _BASES[3308:4000] + "N" * 600 + _BASES[4600:]
GTF = "".join(
    f'chr1\tx\texon\t{start}\t{start + 99}\t.\t+\t.\tgene_id "{name}"; gene_type "{kind}";\n'
    for name, start, kind in (("G1", 2941, "protein_coding"), ("G2", 3201, "lncRNA"))
)
SITES = "".join(
    f"PAS{pos},chr1,{pos},+,G1,{kind}\n" for pos, kind in ((2950, "3' UTR"), (3030, "3' UTR"), (2980, "Intron"))
)


def other(pos: int) -> str:
    return "ACGT"["CGTA".index(TEXT[pos - 1])]


VARIANTS = [
    Variant("chr1", 3000, TEXT[2999], other(3000)),
    Variant("chr1", 3100, TEXT[3099:3104], TEXT[3099]),
    Variant("chr1", 3200, other(3200), TEXT[3199]),  # the genome holds ALT
    Variant("chr1", 3150, TEXT[3149] + "ACG", TEXT[3149]),  # the same, of a deletion
    Variant("chr1", 3305, "ACA", "A"),  # could be written further to the left
    Variant("chr1", 3700, TEXT[3699], other(3700)),  # unknown bases in its window
    Variant("chr1", 900, TEXT[899:904], TEXT[899]),  # near the end of the contig
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("heeded")
    worlds.write_fasta(made / "toy.fa", {"chr1": TEXT})
    (made / "g.gtf").write_text(GTF)
    return made


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle, folder: Path) -> Iterator[Model]:
    with open_model(toy_bundle, fasta=folder / "toy.fa", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def ensemble(toy_bundle: Bundle, folder: Path) -> Iterator[Model]:
    """Two members that differ where an average of coverage and one of scores do."""
    twin = open_bundle(twins.write_twin(toy_bundle.path, folder / "twin"))
    with open_model([toy_bundle, twin], fasta=folder / "toy.fa", threads=1) as opened:
        yield opened


def told(model: Model, options: ScoreOptions, **more: Any) -> str:
    """Return everything that a score comes with, and its identity."""
    ids = options.resolved(model.bundle.info).score_ids({"ensemble": options.ensemble})
    return repr((ids, model.score(VARIANTS, options=options, **more).to_arrow().to_pydict()))


# Field -> what else must be chosen, and another value than the default.
OF_GENES = {"stats": ("SUM@exons",)}
SCORE: dict[str, tuple[dict[str, Any], Any]] = {
    "stats": ({}, ("D2",)),
    "region": ({}, "span:200"),
    "family": ({"stats": ("D2",)}, "sad"),
    "prediction": ({}, PredictionOptions(rc=True)),
    "tracks": ({}, "rna"),
    "ref_policy": ({}, "flip"),
    "flip_deletions": ({"ref_policy": "flip"}, True),
    "squash": ({}, "old"),
    "unscale": ({}, True),
    "unclip": ({}, False),
    "merge_strands": ({}, False),
    "strand_order": ({"stats": ("logSUM",)}, "before"),
    "max_n_fraction": ({}, 0.0),
    "with_alleles": ({}, True),
    "gene_names": (OF_GENES, ("G1",)),
    "gene_types": (OF_GENES, ("lncRNA",)),
    "gene_mode": (OF_GENES, "nearest"),
    "bin_rule": (OF_GENES, "half"),
    "normalize": ({}, True),
    "phase_floor": ({}, 2),
    "phase_floor_seed": ({"phase_floor": 2}, 3),
}
PREDICTION: dict[str, tuple[dict[str, Any], Any]] = {
    "rc": ({}, True),
    "shifts": ({}, (0, 3)),
    "shift_space": ({"shifts": (0, 3)}, "squashed"),
    "indel": ({}, "average"),
    "edge_fill": ({"shifts": (-900,)}, "pad"),
    "n_code": ({}, "uniform"),
    "window": ({}, "grid:128"),
}
# Changed where what they are of is tested: tests/scoring/test_site_scores.py, and below.
ELSEWHERE = {"sites", "site_pseudo", "site_min_coverage", "ensemble"}


def test_every_choice_is_looked_at() -> None:
    assert {item.name for item in fields(ScoreOptions)} == SCORE.keys() | ELSEWHERE
    assert {item.name for item in fields(PredictionOptions)} == PREDICTION.keys()


@pytest.mark.parametrize("name", SCORE)
def test_choices_of_scores(model: Model, folder: Path, name: str) -> None:
    given, value = SCORE[name]
    more = {"genes": folder / "g.gtf"} if given is OF_GENES else {}
    before = ScoreOptions(**{"stats": ("SUM", "logSED"), **given})
    assert told(model, before, **more) != told(model, replace(before, **{name: value}), **more)


@pytest.mark.parametrize("name", PREDICTION)
def test_choices_of_predictions(model: Model, name: str) -> None:
    """Also of coverage, where they mean something there, or else they are refused."""
    given, value = PREDICTION[name]
    before = PredictionOptions(**given)
    after = replace(before, **{name: value})
    stats = ("SUM", "logSED")
    assert told(model, ScoreOptions(stats=stats, prediction=before)) != told(
        model, ScoreOptions(stats=stats, prediction=after)
    )
    region = "chr1:900-1100" if name == "edge_fill" else "chr1:3601-3700"
    try:
        found = model.predict(region, options=CoverageOptions(prediction=after)).values
    except InputError as error:
        assert name in str(error), error  # noqa: PT017
        return
    usual = model.predict(region, options=CoverageOptions(prediction=before)).values
    assert name == "shift_space" or not np.array_equal(found, usual), name  # coverage has no other average of shifts


IDLE: list[tuple[dict[str, Any], str]] = [
    ({"gene_names": ("G1",)}, "gene_names is for scores of genes"),
    ({"gene_mode": "nearest"}, "gene_mode is for scores of genes"),
    ({"bin_rule": "half"}, "bin_rule is for scores of genes"),
    ({"sites": "intron"}, "sites is for scores of sites"),
    ({"site_pseudo": 1.0}, "site_pseudo is for scores of sites"),
    ({"site_min_coverage": 1.0, "stats": ("SUM@exons",)}, "site_min_coverage is for scores of sites"),
    ({"phase_floor_seed": 3}, "phase_floor_seed is for a phase floor"),
    ({"flip_deletions": True}, "flip_deletions is for ref_policy 'flip'"),
    ({"flip_deletions": True, "ref_policy": "edit"}, "flip_deletions is for ref_policy 'flip'"),
    ({"region": "span:200", "stats": ("SUM@window", "D2@span:64")}, "region 'span:200' is for scores that name none"),
    (
        {"region": "span:200", "stats": ("CenterMaskScorer(width=501, aggregation_type=DIFF_SUM)",)},
        "region 'span:200' is for scores that name none",
    ),
]


@pytest.mark.parametrize(("choices", "complaint"), IDLE)
def test_what_nothing_heeds_is_refused(choices: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ScoreOptions(**choices)


def test_an_average_over_one_model_is_refused(model: Model, ensemble: Model, folder: Path) -> None:
    options = ScoreOptions(stats=("SUM",), ensemble="mean_predictions")
    assert len(ensemble.score(VARIANTS[:1], options=options)) == 1
    asked: list[Callable[[], Any]] = [
        lambda: model.score(VARIANTS[:1], options=options),
        lambda: model.ism("chr1:3001-3002", options=options),
        lambda: list(borzoi_rt.score_variants(VARIANTS, bundle=model.bundle, fasta=model.fasta, options=options)),
        lambda: borzoi_rt.calibrate(
            folder / "null", bundle=model.bundle, fasta=folder / "toy.fa", random=30, options=options
        ),
    ]
    for ask in asked:
        with pytest.raises(InputError, match="ensemble 'mean_predictions' is for several bundles, and there is one"):
            ask()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"genes": "g.gtf"}, "genes are given, but no score is over a region of genes"),
        ({"options": ScoreOptions(stats=("SUM@exons",))}, "SUM@exons is a score of genes; give their annotation"),
        ({"pas": "g.gtf"}, "polyadenylation sites"),
        ({"preset": "hound-default", "options": ScoreOptions()}, "preset and options both say how to score"),
        ({"tracks": "rna", "options": ScoreOptions(tracks="cage")}, "tracks stand in the options too"),
        ({"calibration": "x", "haplotypes": HaplotypeOptions(samples=("S",))}, "calibration is a background of single"),
    ],
)
def test_arguments_that_exclude_each_other(model: Model, folder: Path, more: dict[str, Any], complaint: str) -> None:
    given = {name: folder / value if name in ("genes", "pas") else value for name, value in more.items()}
    with pytest.raises(InputError, match=complaint):
        model.score(VARIANTS[:1], **given)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (ScoreOptions(prediction=PredictionOptions(window="grid:128")), "window is 'grid:128'; it is the one around"),
        (ScoreOptions(phase_floor=2), "phase_floor is for indels"),
        (ScoreOptions(stats=("SUM@exons",)), "SUM@exons is a score of genes"),
        (ScoreOptions(stats=("COVR@pas",)), "COVR@pas is a score of genes"),
    ],
)
def test_what_substitutions_of_an_interval_do_not_heed(
    model: Model, folder: Path, options: ScoreOptions, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        model.ism("chr1:3001-3002", options=options)
    with pytest.raises(InputError, match=complaint):
        borzoi_rt.score_ism(
            Interval("chr1", 3000, 3002),
            folder / "ism.h5",
            bundle=model.bundle,
            fasta=folder / "toy.fa",
            options=options,
        )
    assert not (folder / "ism.h5").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("indel", "average"), ("shift_space", "unsquashed"), ("window", "grid:128")]
)
def test_choices_of_variants_are_refused_for_regions(model: Model, folder: Path, name: str, value: str) -> None:
    options = CoverageOptions(prediction=PredictionOptions(**{name: value}))
    with pytest.raises(InputError, match=f"{name} is '{value}', which is for variants"):
        model.predict("chr1:3001-3100", options=options)
    with pytest.raises(InputError, match=f"{name} is '{value}', which is for variants"):
        predict_regions(
            [Interval("chr1", 3000, 3100)], folder / "p", bundle=model.bundle, fasta=folder / "toy.fa", options=options
        )


def test_a_preset_with_other_scores_keeps_what_these_heed() -> None:
    for name, held in PRESETS.items():
        assert preset_options(name) == held
        assert preset_options(name, tracks="rna") == replace(held, tracks="rna")
        changed = preset_options(name, ("D2",))
        assert changed.stats == ("D2",)
        assert changed.prediction == held.prediction
        assert changed.ref_policy == held.ref_policy
    assert preset_options("ipaqtl", ("COVR@pas", "SED@exons")).sites == "intron"
    assert preset_options("ipaqtl", ("SED@exons",)).sites == "utr3"


def test_the_arguments_of_the_facade_are_the_ones_looked_at() -> None:
    """A new one needs its test: here, or where what it does is tested."""
    known = {
        "score": {
            *("variants", "stats", "tracks", "preset", "options", "genes", "pas", "calibration", "haplotypes"),
        },
        "ism": {"interval", "stats", "tracks", "options"},
        "predict": {"region", "tracks", "options"},
    }
    for name, arguments in known.items():
        assert set(inspect.signature(getattr(Model, name)).parameters) - {"self"} == arguments
