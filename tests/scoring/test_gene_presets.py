"""Published commands for genes: what they fix, and for which models they were made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.scoring.options import read_options
from borzoi_rt.scoring.presets import PRESETS, check_preset


@pytest.mark.parametrize(
    ("name", "scores", "fixed"),
    [
        ("eqtl-sed", ["SED@exons", "logSED@exons"], {"bin_rule": "half", "unscale": False, "unclip": True}),
        ("sqtl", ["nDi@span"], {"bin_rule": "half", "squash": "none"}),
        ("paqtl", ["COVR@pas"], {"sites": "utr3", "unscale": True, "unclip": False, "site_pseudo": 50.0}),
        ("ipaqtl", ["COVR@pas"], {"sites": "intron", "site_min_coverage": 100.0}),
        ("eqtl-sad", ["SAD", "logSAD", "D2", "logD2"], {"bin_rule": None}),
    ],
)
def test_what_a_preset_is(toy_bundle: Bundle, name: str, scores: list[str], fixed: dict[str, object]) -> None:
    found = PRESETS[name].resolved(toy_bundle.info)
    assert [spec.name for spec in found.specs] == scores
    assert {key: getattr(found, key) for key in fixed} == fixed
    prediction = found.prediction
    assert (prediction.rc, prediction.n_code, prediction.indel) == (True, "uniform", "centre_trim")
    assert (prediction.shift_space, found.ref_policy) == ("squashed", "edit")
    assert read_options(json.dumps(found.to_dict())) == found


def test_models_of_another_squash_or_output_are_told(toy_bundle: Bundle) -> None:
    """The toy is of kind new and gives 32 bins."""
    old = replace(toy_bundle.info, squash=SquashSpec(kind="old"))
    for name in ("eqtl-sad", "eqtl-sed", "paqtl", "ipaqtl"):
        with pytest.raises(
            InputError, match=f"preset '{name}' is a command for squash kind 'old', toy is of kind 'new'"
        ):
            check_preset(name, toy_bundle.info)
        assert check_preset(name, old) == check_preset(name, toy_bundle.info, "old")
    assert check_preset("sqtl", old) == ["preset 'sqtl' is a command for an output of 16352 bins, toy gives 32"]
    with pytest.raises(InputError, match="preset 'sqtl' keeps the squashed scale; leave squash 'old' out"):
        check_preset("sqtl", old, "old")
    assert check_preset("hound-default", old) == []
