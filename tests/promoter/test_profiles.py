"""Mean effect curves against NumPy's statistics."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.errors import InputError
from borzoi_rt.promoter.profiles import EffectProfiles


def test_mean_band_and_share():
    random = np.random.default_rng(0)
    effect = 1e6 + random.normal(size=(50, 2, 30))  # far from 0: sums of squares would cancel
    effect[:, 1] -= 1e6
    profiles = EffectProfiles(np.arange(-15.0, 15.0))
    for site in effect:
        profiles.add("net", "track", ("a", "b"), site)
    found = list(profiles)
    assert [(item.motif, item.sites) for item in found] == [("a", 50), ("b", 50)]
    for index, item in enumerate(found):
        values = effect[:, index]
        half = 1.96 * values.std(0, ddof=1) / np.sqrt(50)
        assert_allclose(item.mean, values.mean(0), rtol=1e-12, atol=1e-12)
        assert_allclose(item.sd, values.std(0, ddof=1), rtol=1e-6)
        assert_allclose([item.low, item.high], [values.mean(0) - half, values.mean(0) + half], rtol=1e-9, atol=1e-12)
        assert_allclose(item.share_negative, (values < 0).mean(0))


def test_one_site_has_no_band_and_nets_are_kept_apart():
    profiles = EffectProfiles(np.zeros(4))
    profiles.add("one", "t", ("a",), np.ones((1, 4)))
    profiles.add("two", "t", ("a",), -np.ones((1, 4)))
    found = {item.net: item for item in profiles}
    assert_allclose(found["one"].mean, 1)
    assert_allclose(found["two"].share_negative, 1)
    assert np.isnan([found["one"].sd, found["one"].low, found["one"].high]).all()


def test_curves_of_another_length_are_refused():
    with pytest.raises(InputError, match=r"\(1, 4\)"):
        EffectProfiles(np.zeros(4)).add("n", "t", ("a",), np.zeros((1, 5)))
