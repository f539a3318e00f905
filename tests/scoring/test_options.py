"""Score options: what they refuse, what identifies a score, the published presets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import InputError
from borzoi_rt.scoring.options import FAMILY_DEFAULTS, PRESETS, ScoreOptions

CONTEXT = {"bundle": "b" * 64, "genome": "a" * 64, "bins": 32, "window": "centered"}


def identity(options: ScoreOptions, stat: str = "SUM", **context: object) -> str:
    return options.score_ids({**CONTEXT, **context})[stat]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"stats": ("SUM", "SUMM")}, "'SUMM' is not in family 'hound'"),
        ({"stats": ("SAD",)}, "'SAD' is not in family 'hound'"),
        ({"stats": ()}, "no statistics"),
        ({"stats": ("SUM", "D2", "SUM")}, "'SUM' is named twice"),
        ({"ref_policy": "ignore"}, "allowed: strict, flip, edit"),
        ({"max_n_fraction": 1.5}, "between 0 and 1"),
        ({"max_n_fraction": float("nan")}, "between 0 and 1"),
        ({"indel": "centre"}, "allowed: stitch"),
        ({"shifts": ()}, "shifts is empty"),
    ],
)
def test_what_is_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreOptions.for_family("hound", **choices)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(InputError, match="family 'gene' is unknown; allowed: hound, sad"):
        ScoreOptions.for_family("gene")


def test_a_family_brings_its_policies_and_choices_lie_on_top() -> None:
    """Section 1 and 3 of the reference rules: sad trims indels in the middle, pads, and codes N as 0.25."""
    sad = ScoreOptions.for_family("sad", stats=("SAD",), rc=True, shifts=None, ref_policy=None)
    assert sad.prediction == PredictionOptions(
        rc=True, shift_space="squashed", indel="centre_trim", edge_fill="pad", n_code="uniform"
    )
    assert (sad.family, sad.ref_policy, sad.merge_strands) == ("sad", "strict", True)
    assert ScoreOptions.for_family("hound").prediction == PredictionOptions()
    assert FAMILY_DEFAULTS["sad"].rc is False, "choices must not leak into the defaults"


def test_options_are_plain_json() -> None:
    options = ScoreOptions.for_family("sad", stats=("SAD", "D2"), shifts=(0, 3), tracks="cage", max_n_fraction=0.25)
    values = json.loads(json.dumps(options.to_dict()))
    prediction = PredictionOptions(**{**values.pop("prediction"), "shifts": (0, 3)})
    assert ScoreOptions(**{**values, "stats": ("SAD", "D2")}, prediction=prediction) == options


HOUND = ScoreOptions.for_family("hound", stats=("SUM", "D2"))


@pytest.mark.parametrize(
    "changed",
    [
        ScoreOptions.for_family("sad", stats=("SUM",)),
        *(
            replace(HOUND, prediction=replace(HOUND.prediction, **{name: value}))
            for name, value in {
                "rc": True,
                "shifts": (0, 1),
                "shift_space": "squashed",
                "indel": "average",
                "edge_fill": "pad",
                "n_code": "uniform",
            }.items()
        ),
        *(
            replace(HOUND, **{name: value})
            for name, value in {
                "ref_policy": "flip",
                "flip_deletions": True,
                "unscale": True,
                "unclip": False,
                "merge_strands": False,
            }.items()
        ),
    ],
    ids=repr,
)
def test_whatever_changes_a_score_changes_its_identity(changed: ScoreOptions) -> None:
    assert identity(changed) != identity(HOUND)


@pytest.mark.parametrize("key", CONTEXT)
def test_model_genome_and_bins_are_part_of_the_identity(key: str) -> None:
    assert identity(HOUND, **{key: "other"}) != identity(HOUND)


def test_what_changes_no_score_keeps_its_identity() -> None:
    """Other statistics, other tracks and a limit on N decide which scores there are, not what they are."""
    other = replace(HOUND, stats=("D2", "SUM", "JS"), tracks="cage", max_n_fraction=0.1)
    assert identity(other) == identity(HOUND)
    assert identity(HOUND, "D2") != identity(HOUND, "SUM")
    assert len(identity(HOUND)) == 64


@pytest.mark.parametrize(
    ("name", "family", "stats", "policies"),
    [
        ("hound-default", "hound", ("logSUM",), ("average", "pad", "zero", False, "flip", True)),
        ("hound-stitch", "hound", ("logSUM",), ("stitch", "pad", "zero", False, "flip", True)),
        (
            "paper-eqtl-sad",
            "sad",
            ("SAD", "logSAD", "D2", "logD2"),
            ("centre_trim", "pad", "uniform", True, "edit", False),
        ),
        (
            "paper-satmut-sad",
            "sad",
            ("SAD", "logSAD", "SADlog"),
            ("centre_trim", "pad", "uniform", True, "edit", False),
        ),
    ],
)
def test_presets_are_the_published_commands(
    name: str, family: str, stats: tuple[str, ...], policies: tuple[object, ...]
) -> None:
    preset = PRESETS[name]
    inner = preset.prediction
    assert (preset.family, preset.stats) == (family, stats)
    assert (inner.indel, inner.edge_fill, inner.n_code, inner.rc, preset.ref_policy, preset.flip_deletions) == policies
