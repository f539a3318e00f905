"""pyfftw behind the score: agreement with numpy.fft, plans that do not leak, threads, wisdom, and nets combined."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import borzoi_rt.promoter
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.promoter import combine_replicates, dft_scores, keep_wisdom
from borzoi_rt.promoter.fftw import CHUNK_ROWS
from borzoi_rt.promoter.spectra import hermitian_weights, rfft, spectral_norms


@pytest.mark.parametrize("bins", [1, 2, 999, 1350, 4000])
@pytest.mark.parametrize("rows", [1, CHUNK_ROWS, CHUNK_ROWS + 3])
def test_transform_is_numpys(bins, rows):
    x = np.random.default_rng(bins).normal(size=(rows, bins))
    before = x.copy()
    want = np.fft.rfft(x)
    assert_allclose(rfft(x), want, atol=1e-12 * np.abs(want).max())
    assert_array_equal(x, before)  # planning overwrites its own buffers only


def test_results_do_not_share_the_buffers_of_a_plan():
    first, second = np.random.default_rng(0).normal(size=(2, 5, 100))
    kept = rfft(first)
    copy = kept.copy()
    rfft(second)
    assert_array_equal(kept, copy)


def test_a_short_batch_is_not_filled_up_with_an_older_one():
    rfft(np.full((CHUNK_ROWS, 64), 7.0))
    assert_allclose(rfft(np.ones((1, 64)))[0, 0], 64.0)
    assert_allclose(dft_scores(np.zeros(64), np.ones((1, 64))).raw, 64.0)  # sqrt(64) * sqrt(64)


@pytest.mark.parametrize("bins", [1, 2, 3, 8, 999])
def test_hermitian_weights_count_every_bin_of_the_full_transform(bins):
    assert hermitian_weights(bins).sum() == bins


def test_rows_score_the_same_in_any_chunk():
    random = np.random.default_rng(3)
    wt = random.random((30, 120))
    ko = random.random((30, 5, 120))  # 150 rows: two whole chunks and a rest
    together = dft_scores(wt, ko)
    assert_array_equal(spectral_norms(wt, ko), together.raw)
    for site in (0, 12, 29):
        alone = dft_scores(wt[site], ko[site])
        assert_array_equal(alone.raw, together.raw[site])
        assert_array_equal(alone.spectrum, together.spectrum[site])


def test_eight_threads_agree_with_one():
    random = np.random.default_rng(5)
    jobs = [random.normal(size=(3 + number % 5, (999, 1350, 1024, 77)[number % 4])) for number in range(160)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(rfft, jobs))
    for x, result in zip(jobs, got, strict=True):
        want = np.fft.rfft(x)
        assert_allclose(result, want, atol=1e-12 * np.abs(want).max())


def test_wisdom_is_kept_across_processes(tmp_path):
    path = tmp_path / "cache" / "wisdom.json"
    code = (
        "import sys, numpy as np\n"
        "from borzoi_rt.promoter import keep_wisdom\n"
        "from borzoi_rt.promoter.spectra import rfft\n"
        "print(keep_wisdom(sys.argv[1]), float(rfft(np.ones(360)).real[0]))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs == ["False 360.0\n", "True 360.0\n"]
    assert [entry.name for entry in path.parent.iterdir()] == ["wisdom.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"wisdom": ["a"]}', '{"wisdom": 3}'])
def test_a_damaged_wisdom_file_is_named(tmp_path, text):
    path = tmp_path / "wisdom.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"wisdom\.json"):
        keep_wisdom(path)


def test_combining_nets():
    scores = np.array([[[0.2, 0.8]], [[0.6, 0.4]]])  # two nets, one site, two motifs
    mean, deviation = combine_replicates(scores)
    assert_allclose(mean, [[0.4, 0.6]])
    assert_allclose(deviation, [[0.2, 0.2]])
    alone, nothing = combine_replicates(scores[:1])
    assert_allclose(alone, scores[0])
    assert_allclose(nothing, 0)
    for bad in (np.empty((0, 1, 2)), np.ones(3)):
        with pytest.raises(InputError, match=r"\(replicates, ..., motifs\)"):
            combine_replicates(bad)


def test_every_name_of_the_package_resolves():
    for name in borzoi_rt.promoter.__all__:
        assert getattr(borzoi_rt.promoter, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'motif'"):
        borzoi_rt.promoter.motif  # noqa: B018


def test_pyfftw_is_loaded_by_the_score_only():
    code = "import sys, borzoi_rt.promoter; print('pyfftw' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
