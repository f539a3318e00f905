"""Score options: what they refuse, who decides what is left open, what identifies a score, the published presets."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import bundles
import numpy as np
import pytest

from borzoi_rt.bundle.manifest import BundleInfo, SquashSpec
from borzoi_rt.engine.options import DEFAULTS, PredictionOptions
from borzoi_rt.errors import InputError
from borzoi_rt.scoring.options import FAMILY_DEFAULTS, ScoreOptions, read_options
from borzoi_rt.scoring.presets import PRESETS, check_preset

INFO = bundles.INFO  # squash old, unscaled; unknown bases are zeros
UNIFORM = replace(INFO, n_policy="uniform", squash=SquashSpec(kind="new"))
CONTEXT = {"bundle": "b" * 64, "genome": "a" * 64, "bins": 32}


def identity(options: ScoreOptions, score: str = "SUM", *, info: BundleInfo = INFO, **context: object) -> str:
    return options.resolved(info).score_ids({**CONTEXT, **context})[score]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"stats": ("SUM", "SUMM")}, "'SUMM' is not in family 'hound'"),
        ({"stats": ("SAD",)}, "'SAD' is not in family 'hound'"),
        ({"stats": ()}, "no statistics"),
        ({"stats": ("SUM", "D2", "SUM")}, "'SUM' is named twice"),
        ({"stats": ("SUM", "SUM@window")}, "'SUM' is named twice"),
        ({"stats": ("D2@span:64", "D2"), "region": "span:64"}, "'D2@span:64' is named twice"),
        ({"stats": ("SUM@exon",)}, "region 'exon' is unknown; allowed: window, span:BP, center:BP; of genes exons"),
        ({"gene_names": ("A",)}, "gene_names is for scores of genes, and there are none; name one, like SUM@exons"),
        ({"gene_mode": "nearest"}, "gene_mode is for scores of genes"),
        ({"bin_rule": "half"}, "bin_rule is for scores of genes"),
        ({"bin_rule": "round", "stats": ("SUM@exons",)}, "bin_rule 'round' is unknown; allowed: overlap, half"),
        ({"stats": ("SUM@",)}, "region '' is unknown"),
        ({"region": "span:0"}, "region 'span:0' is unknown"),
        ({"ref_policy": "ignore"}, "allowed: strict, flip, edit"),
        ({"strand_order": "first"}, "allowed: after, before"),
        ({"squash": "older"}, "squash 'older' is unknown; allowed: .*old"),
        ({"max_n_fraction": 1.5}, "between 0 and 1"),
        ({"max_n_fraction": float("nan")}, "between 0 and 1"),
        ({"indel": "centre"}, "allowed: stitch"),
        ({"shifts": ()}, "shifts is empty"),
        ({"shifts": 3}, "shifts is 3; a tuple of integers"),
        ({"shifts": (0.5,)}, r"shifts is \(0.5,\); a tuple of integers"),
        ({"shifts": ("1",)}, "a tuple of integers"),
        ({"rc": "no"}, "rc is 'no'; True or False is needed"),
        ({"unscale": "yes"}, "unscale is 'yes'; True or False"),
        ({"unclip": 0}, "unclip is 0; True or False"),
        ({"merge_strands": "no"}, "merge_strands is 'no'"),
        ({"with_alleles": 1}, "with_alleles is 1"),
        ({"flip_deletions": "false"}, "flip_deletions is 'false'"),
        ({"tracks": ["RNA"]}, r"tracks is \['RNA'\]; text is needed"),
        ({"stats": ("SUM", 5)}, "stats is .*a tuple of texts is needed"),
        ({"stats": 5}, "stats is 5; a tuple of texts is needed"),
        ({"max_n_fraction": "0.5"}, "max_n_fraction is '0.5'; a number is needed"),
        ({"window": 5}, "window is 5; text is needed"),
    ],
)
def test_what_is_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreOptions.for_family("hound", **choices)


@pytest.mark.parametrize("make", [ScoreOptions.for_family, lambda name: ScoreOptions(family=name)])
def test_an_unknown_family_is_refused(make: Any) -> None:
    with pytest.raises(InputError, match="family 'gene' is unknown; allowed: hound, sad"):
        make("gene")


def test_scores_are_statistics_and_regions() -> None:
    options = ScoreOptions(stats=("SUM", "D2@span:64", "SUM@center:501", "JS@window"), region="span:128")
    assert [spec.name for spec in options.specs] == ["SUM@span:128", "D2@span:64", "SUM@center:501", "JS"]
    assert options.resolved(INFO).stats == ("SUM@span:128", "D2@span:64", "SUM@center:501", "JS")
    assert options.resolved(INFO).resolved(INFO) == options.resolved(INFO)


def test_a_family_brings_its_policies_and_choices_lie_on_top() -> None:
    """Section 1 and 3 of the reference rules: sad trims indels in the middle, pads, and codes N as 0.25."""
    sad = ScoreOptions.for_family("sad", stats=("SAD",), rc=True, shifts=None, ref_policy=None).resolved(INFO)
    assert sad.prediction == PredictionOptions(
        rc=True, shift_space="squashed", indel="centre_trim", edge_fill="pad", n_code="uniform"
    )
    assert (sad.family, sad.ref_policy, sad.merge_strands, sad.strand_order) == ("sad", "strict", True, "before")
    hound = ScoreOptions.for_family("hound").resolved(INFO)
    assert hound.prediction == PredictionOptions(
        shift_space="unsquashed", indel="stitch", edge_fill="genome", n_code="zero"
    )
    assert hound.strand_order == "after"
    assert "rc" not in FAMILY_DEFAULTS["sad"], "choices must not leak into the defaults"


@pytest.mark.parametrize("family", ["hound", "sad"])
def test_a_family_is_whole_however_it_is_named(family: str) -> None:
    """``ScoreOptions(family="sad")`` means the indels, ends and unknown bases of sad too, not its sums alone."""
    named, asked = ScoreOptions(family=family), ScoreOptions.for_family(family)
    assert named == asked
    assert named.resolved(INFO) == asked.resolved(INFO)
    assert identity(named) == identity(asked)


@pytest.mark.parametrize("info", [INFO, UNIFORM], ids=["zero", "uniform"])
def test_what_is_left_open_is_the_familys_then_the_bundles(info: BundleInfo) -> None:
    hound, sad = (ScoreOptions(family=family).resolved(info) for family in ("hound", "sad"))
    assert hound.prediction.n_code == info.n_policy
    assert sad.prediction.n_code == "uniform"
    for found in (hound, sad):
        assert (found.squash, found.unscale, found.unclip) == (
            info.squash.kind,
            info.squash.unscale,
            info.squash.unclip,
        )
    assert all(getattr(hound, item.name) is not None for item in fields(hound) if item.name not in OPTIONAL)
    assert all(getattr(hound.prediction, item.name) is not None for item in fields(hound.prediction))


OPTIONAL = ("tracks", "max_n_fraction", "bin_rule")
EXPLICIT: dict[str, Any] = {
    "n_code": "zero",
    "shift_space": "unsquashed",
    "indel": "none",
    "edge_fill": "genome",
    "squash": "bp_new",
    "unscale": False,
    "unclip": False,
    "strand_order": "after",
}


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("info", [INFO, UNIFORM], ids=["zero", "uniform"])
def test_an_explicit_choice_wins_over_family_and_bundle(name: str, family: str, info: BundleInfo) -> None:
    found = ScoreOptions.for_family(family, **{name: EXPLICIT[name]}).resolved(info)
    assert getattr(found.prediction if hasattr(found.prediction, name) else found, name) == EXPLICIT[name]


def test_defaults_are_named_once() -> None:
    """What no family says is in one table, so that a direct use of predictions means the same."""
    left_open = PredictionOptions().resolved({}, "uniform")
    assert (left_open.shift_space, left_open.indel, left_open.edge_fill) == tuple(
        DEFAULTS[name] for name in ("shift_space", "indel", "edge_fill")
    )
    assert left_open.n_code == "uniform"


@pytest.mark.parametrize(
    ("choices", "info", "notes"),
    [
        ({}, INFO, []),
        ({}, UNIFORM, []),
        ({"family": "sad"}, UNIFORM, []),
        (
            {"family": "sad"},
            INFO,
            ["unknown bases are coded 'uniform' (family sad); the bundle says 'zero'"],
        ),
        (
            {"n_code": "zero"},
            UNIFORM,
            ["unknown bases are coded 'zero' (the options); the bundle says 'uniform'"],
        ),
        (
            {"family": "sad", "n_code": "zero"},
            INFO,
            [],
        ),
        ({"squash": "old"}, INFO, []),
        ({"squash": "new"}, INFO, ["squash kind 'new' is undone instead of the bundle's 'old'"]),
    ],
)
def test_departures_from_the_bundle_are_said(choices: dict[str, Any], info: BundleInfo, notes: list[str]) -> None:
    assert ScoreOptions.for_family(**choices).notes(info) == notes


@pytest.mark.parametrize("resolve", [False, True])
def test_options_are_plain_json(resolve: bool) -> None:
    options = ScoreOptions.for_family(
        "sad", stats=("SAD", "D2@span:64"), shifts=(0, 3), tracks="cage", max_n_fraction=0.25
    )
    options = options.resolved(INFO) if resolve else options
    assert read_options(json.dumps(options.to_dict())) == options


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"prediction": {}}', '{"prediction": {"shifts": [0]}, "new": 1}'])
def test_options_of_another_release_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"options cannot be read .* another release"):
        read_options(text)


HOUND = ScoreOptions.for_family("hound", stats=("SUM", "D2"))


@pytest.mark.parametrize(
    "changed",
    [
        ScoreOptions.for_family("sad", stats=("SUM",)),
        ScoreOptions.for_family("hound", stats=("SUM", "D2"), ref_policy="flip", flip_deletions=True),
        *(
            ScoreOptions.for_family("hound", stats=("SUM", "D2"), **{name: value})
            for name, value in {
                "rc": True,
                "shifts": (0, 1),
                "shift_space": "squashed",
                "indel": "average",
                "edge_fill": "pad",
                "n_code": "uniform",
                "window": "grid:128",
                "ref_policy": "flip",
                "squash": "new",
                "unscale": False,
                "unclip": False,
                "merge_strands": False,
                "strand_order": "before",
            }.items()
        ),
    ],
    ids=repr,
)
def test_whatever_changes_a_score_changes_its_identity(changed: ScoreOptions) -> None:
    assert identity(changed) != identity(HOUND)


def test_a_choice_that_says_what_applies_anyway_changes_no_identity() -> None:
    said = ScoreOptions.for_family("hound", stats=("SUM",), squash="old", unscale=True, unclip=True, n_code="zero")
    assert identity(said) == identity(HOUND)
    assert identity(HOUND, info=UNIFORM) != identity(HOUND)


def test_the_region_is_part_of_the_identity() -> None:
    regions = ("SUM", "SUM@span:64", "SUM@span:65", "SUM@center:64")
    found = replace(HOUND, stats=regions).resolved(INFO).score_ids(CONTEXT)
    assert len(set(found.values())) == 4
    assert found["SUM"] == identity(HOUND)
    by_default = replace(HOUND, stats=("SUM",), region="span:64")
    assert identity(by_default, "SUM@span:64") == found["SUM@span:64"]


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
@pytest.mark.parametrize("info", [INFO, UNIFORM], ids=["zero", "uniform"])
def test_presets_are_the_published_commands(
    name: str, family: str, stats: tuple[str, ...], policies: tuple[object, ...], info: BundleInfo
) -> None:
    """Whatever the bundle says of unknown bases: the published commands do not ask it."""
    preset = PRESETS[name].resolved(info)
    inner = preset.prediction
    assert (preset.family, preset.stats) == (family, stats)
    assert (inner.indel, inner.edge_fill, inner.n_code, inner.rc, preset.ref_policy, preset.flip_deletions) == policies


def test_a_preset_is_for_one_squash() -> None:
    check_preset("paper-eqtl-sad", INFO)
    check_preset("paper-eqtl-sad", UNIFORM, "old")
    check_preset("hound-default", UNIFORM)
    with pytest.raises(InputError, match="is a command for squash kind 'old', toy is of kind 'new'"):
        check_preset("paper-eqtl-sad", UNIFORM)
    with pytest.raises(InputError, match="is a command for squash kind 'old'"):
        check_preset("paper-eqtl-sad", INFO, "bp_old")


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    """Options are keys of dicts and stand in JSON: whatever kind of sequence they were given as."""
    wanted = ScoreOptions.for_family("hound", stats=("SUM", "D2"), shifts=(0, 1))
    for stats, shifts in ((["SUM", "D2"], [0, 1]), ("SUM, D2", np.array([0, 1])), (np.array(["SUM", "D2"]), (0, 1))):
        options = ScoreOptions.for_family("hound", stats=stats, shifts=shifts)
        assert options == wanted
        assert hash(options) == hash(wanted)
        assert identity(options) == identity(wanted)
    with pytest.raises(InputError, match="prediction is 5"):
        ScoreOptions(prediction=5)  # type: ignore[arg-type]
