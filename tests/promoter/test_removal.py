"""Motif removal by channel and by sequence; insertion scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import BundleInfo, Geometry, GraphInfo, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.promoter.mutations import insertion_scan
from borzoi_rt.promoter.removal import ChannelRemoval, SequenceRemoval
from borzoi_rt.sequence import decode, encode
from borzoi_rt.tracks import TrackTable

# A window predicted alone and in a batch: kernels of another shape, float32.
BATCH = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(scope="module")
def session(promoter_bundle):
    opened = open_session(promoter_bundle)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return encode("".join(np.random.default_rng(4).choice(list("ACGT"), 900)))


def masked(session, window, channels, positions=slice(None)):
    mask = np.ones((1, 8, 900), dtype=np.float32)
    mask[:, channels, positions] = 0
    return session.run(window[None], np.array([0]), mask=mask, n_fill=0.25)[0]


def test_removal_is_the_mask_of_both_strands(session, promoter_bundle, window):
    got = ChannelRemoval(session, promoter_bundle).curves(window)
    assert got.motifs == ("tata", "inr", "gc", "ebox")
    assert (got.center, got.dt) == (450, 1.0)
    assert_allclose(got.wt, masked(session, window, []), **BATCH)
    for motif in range(4):
        assert_allclose(got.ko[motif], masked(session, window, [motif, motif + 4]), **BATCH)
    assert_array_equal(got.effect, got.ko.astype(np.float64) - got.wt)
    assert_array_equal(got.contribution, -got.effect)
    assert np.abs(got.effect).max() > 0.05
    assert_allclose(got.replica, got.wt, **BATCH)


def test_groups_and_positions(session, promoter_bundle, window):
    removal = ChannelRemoval(session, promoter_bundle)
    groups = removal.groups(window, {"both": [0, 2], "all": [0, 1, 2, 3]})
    assert_allclose(groups.ko[0], masked(session, window, [0, 2, 4, 6]), **BATCH)
    assert_allclose(groups.ko[1], masked(session, window, range(8)), **BATCH)
    stretches = removal.positions(window, [(595, 605), (0, 900)])
    assert_allclose(stretches.ko[0], masked(session, window, range(8), slice(595, 605)), **BATCH)
    assert_allclose(stretches.ko[1], groups.ko[1], **BATCH)
    assert stretches.metadata["removed"] == "position"
    for bad in ({"x": [4]}, {"x": []}):
        with pytest.raises(InputError, match="0 to 3"):
            removal.groups(window, bad)
    with pytest.raises(InputError, match="do not lie"):
        removal.positions(window, [(890, 901)])


@pytest.mark.parametrize("baseline", ["min", "median"])
def test_baselines_keep_the_background(session, promoter_bundle, window, baseline):
    got = ChannelRemoval(session, promoter_bundle, baseline=baseline).curves(window)
    a = session.activations(window[None], n_fill=0.25)
    level = getattr(np, baseline)(a, axis=-1, keepdims=True)
    fill, mask = np.zeros((1, 8, 1), dtype=np.float32), np.ones((1, 8, 1), dtype=np.float32)
    mask[0, [1, 5]], fill[0, [1, 5]] = 0, level[0, [1, 5]]
    want = session.run(window[None], np.array([0]), mask=mask, fill=fill, n_fill=0.25)[0]
    assert_allclose(got.ko[1], want, **BATCH)
    zero = ChannelRemoval(session, promoter_bundle).curves(window)
    assert np.abs(got.ko[1] - zero.ko[1]).max() > 1e-3
    assert got.metadata["baseline"] == baseline


def test_linear_scale_and_batches(session, promoter_bundle, window):
    log = ChannelRemoval(session, promoter_bundle).curves(window)
    linear = ChannelRemoval(session, promoter_bundle, scale="linear", batch_size=2).curves(window)
    assert_allclose(linear.ko, np.expm1(log.ko), rtol=1e-4, atol=1e-5)
    assert_allclose(linear.wt, np.expm1(log.wt), rtol=1e-4, atol=1e-5)


def test_curves_around_the_tss(session, promoter_bundle, window):
    whole = ChannelRemoval(session, promoter_bundle).curves(window)
    near = whole.around(100, 50)
    assert_array_equal(near.ko, whole.ko[..., 350:500])
    assert near.position_bp[near.center] == 0
    assert (near.position_bp[0], near.position_bp[-1]) == (-100, 49)


def test_channel_mode_needs_channels(toy_bundle, promoter_bundle):
    with pytest.raises(InputError, match="ablation 'sequence'"):
        ChannelRemoval(open_session(toy_bundle), toy_bundle)
    with pytest.raises(InputError, match="no motif mask"):
        ChannelRemoval(Recorder(), promoter_bundle)
    with pytest.raises(InputError, match="zero, min, median"):
        ChannelRemoval(open_session(promoter_bundle), promoter_bundle, baseline="mean")


class Recorder(ArraySession):
    """Counts A in bins of 10 bp, and keeps the windows it was given."""

    def __init__(self) -> None:
        super().__init__(
            Geometry(sequence_length_bp=400, bin_size_bp=10, bins=20), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])
        )
        self.seen: list[str] = []

    def run(self, sequence, track_index=None, *, n_fill=0.0, bins=None):
        self.seen += [decode(row) for row in sequence]
        return super().run(sequence, track_index, n_fill=n_fill, bins=bins)


def counting_bundle() -> Bundle:
    graphs = {"predict": GraphInfo(file="predict.onnx", inputs=(), outputs=())}
    info = BundleInfo(
        name="toy",
        head="toy",
        geometry=Recorder().geometry,
        squash=SquashSpec(kind="none"),
        graphs=graphs,
        architecture={"family": "borzoi"},
    )
    bundle = Bundle(path=Path("toy"), info=info, files={}, sha256="")
    ones = np.ones(2, dtype=np.float32)
    names = ("a", "c")
    bundle.__dict__["tracks"] = TrackTable(np.arange(2), names, names, ("sum", "sum"), ones, ones, ones, np.arange(2))
    return bundle


def test_sequence_mode_averages_over_replacements():
    session, seed = Recorder(), 3
    text = "CG" * 90 + "TATAAAAG" + "CA" * 106
    motifs = [Motif(name, np.where(encode(name) > 0, 0.97, 0.01)) for name in ("TATAAAAG", "GATTACAG")]
    positions = np.array([0])
    removal = SequenceRemoval(session, counting_bundle(), motifs, positions=positions, shuffles=4, seed=seed)
    got = removal.curves(encode(text))
    assert got.hits.tolist() == [1, 0]
    assert (got.center, got.dt) == (10, 10.0)  # the middle of a window without tss_bp
    assert_array_equal(got.effect[1], 0)
    assert session.seen[0] == session.seen[-1] == text
    replaced = session.seen[1:-1]
    assert len(replaced) == 4
    assert all(row[:180] + row[188:] == text[:180] + text[188:] for row in replaced)
    # The middle 200 bp are predicted; count A by hand in each replacement and average.
    counts = np.mean([[row[100 + 10 * b : 110 + 10 * b].count("A") for b in range(20)] for row in replaced], axis=0)
    assert_allclose(got.ko[0, 0], counts)
    assert got.metadata["ablation"] == "sequence"
    again = SequenceRemoval(Recorder(), counting_bundle(), motifs, positions=positions, shuffles=4, seed=seed)
    assert_array_equal(again.curves(encode(text)).ko, got.ko)


def test_sequence_mode_needs_motifs():
    with pytest.raises(InputError, match="give a motif file"):
        SequenceRemoval(Recorder(), counting_bundle(), [], positions=np.array([0]))


def count_a(windows: np.ndarray) -> np.ndarray:
    """Predict the number of A per base, over the middle 200 bp, plus one."""
    return 1.0 + windows[:, 0, 100:300].astype(np.float64)


def test_insertion_keeps_the_tss_and_counts_what_is_near_it():
    text = "".join(np.random.default_rng(5).choice(list("CGT"), 400))
    seen = []

    def predict(windows: np.ndarray) -> np.ndarray:
        seen.extend(decode(row) for row in windows)
        return count_a(windows)

    got = insertion_scan(predict, encode(text), "AAA", [50, 195, 200, 220], tss_bp=200, center=100, reach_bins=10)
    upstream, downstream = text[3:195] + "AAA" + text[195:], text[:220] + "AAA" + text[220:397]
    assert seen[2] == upstream
    assert seen[4] == downstream
    assert all(row[200] == text[200] for row in seen)
    # 20 bins of 1 around the TSS; three A among them at 195 and at 200 (which is before the TSS), none at 50 and 220
    assert_allclose(got, [0, 3 / 20, 3 / 20, 0])
    with pytest.raises(InputError, match="no signal"):
        insertion_scan(lambda windows: np.zeros((len(windows), 10)), encode(text), "A", [50], tss_bp=200, center=5)
    with pytest.raises(InputError, match="nearer than 3"):
        insertion_scan(predict, encode(text), "AAA", [1], tss_bp=200, center=100)
