"""Scores of the trained test model against the reference programs (calico/baskerville, calico/borzoi; TensorFlow 2.15).

The reference stores float16, so every number of it carries up to 2^-11 = 4.9e-4 of itself, and 3e-8 below 6e-5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.protocols import Session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.runs.score import score_file
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants

NAMES = ("SUM", "logSUM", "logSED", "sqrtSUM", "SAX", "D1", "D2", "logD1", "logD2", "sqrtD1", "sqrtD2", "JS")
HALF_STEP = 2.0**-11
SMALLEST_HALF_STEP = 3e-8
Run = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def genome(shared: Path) -> Iterator[Fasta]:
    with Fasta(shared / "data" / "hg38_1m" / "hg38_1m.fa.gz") as fasta:
        yield fasta


class Remembering:
    """A session that predicts a window once, since the configurations below share most of theirs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.geometry, self.tracks_count, self.provider = session.geometry, session.tracks_count, session.provider
        self._known: dict[tuple[object, ...], np.ndarray] = {}

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        key = (
            hashlib.sha256(sequence.tobytes()).digest(),
            None if track_index is None else track_index.tobytes(),
            n_fill,
            bins,
        )
        if key not in self._known:
            self._known[key] = self._session.run(sequence, track_index, n_fill=n_fill, bins=bins)
        return self._known[key].copy()

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def session(tiny_bundle: Bundle) -> Iterator[Session]:
    opened = Remembering(open_session(tiny_bundle))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def run(tiny_bundle: Bundle, genome: Fasta, session: Session) -> Run:
    """Score a VCF; ``squash`` replaces the kind of the bundle, as ``-u`` of the reference does."""

    def score(vcf: Path, family: str, *, squash: str = "new", **choices: object) -> dict[str, np.ndarray]:
        bundle = replace(tiny_bundle, info=replace(tiny_bundle.info, squash=SquashSpec(kind=squash)))
        options = ScoreOptions.for_family(family, **{"stats": NAMES, **choices})
        found = list(score_variants(vcf, bundle=bundle, fasta=genome, options=options, session=session))
        assert {item.status for item in found} == {"ok"}
        return {name: np.stack([item.scores[name] for item in found if item.scores]) for name in options.stats}

    return score


def test_the_file_of_the_reference(tiny_bundle: Bundle, shared: Path, tmp_path: Path) -> None:
    """hound_snp on eqtl.vcf, 12 statistics: the same layout and the same numbers."""
    options = ScoreOptions.for_family("hound", stats=NAMES)
    data = shared / "data"
    fasta = data / "hg38_1m" / "hg38_1m.fa.gz"
    out = tmp_path / "scores.h5"
    counts = score_file(data / "variants" / "eqtl.vcf", out, bundle=tiny_bundle, fasta=fasta, options=options)
    assert counts == {"ok": 8}
    with h5py.File(out) as ours, h5py.File(data / "golden" / "snp_all_scores.h5") as golden:
        for name in ("snp", "chr", "pos", "ref_allele", "alt_allele", "target_ids", "target_labels"):
            assert list(ours[name][:]) == list(golden[name][:]), name
        assert_allclose(ours["percentiles"], golden["percentiles"], rtol=1e-12)
        for name in NAMES:
            got, want = ours[name][:], golden[name][:].astype(np.float64)
            assert got.dtype == np.float32
            limit = np.abs(want).max()
            # 6e-4 of the largest: half a float16 step (4.9e-4) and the 1e-4 asked of every engine.
            assert np.abs(got - want).max() <= 6e-4 * limit, name
            assert np.corrcoef(got.ravel(), want.ravel())[0, 1] >= 0.9999998, name
            assert np.abs(ours[f"{name}_pct"][:] - golden[f"{name}_pct"][:]).max() <= 1e-3 * limit, name


# Sum of |score| over 8 variants x 47 rows, reference runs, in the order of NAMES, then logJS of the sad family.
# JS of several shifts raises in the reference.
CONFIGURATIONS: dict[str, tuple[str, dict[str, object], str]] = {
    "hound -u": (
        "hound",
        {"squash": "old"},
        "51.6471 54.2953 2.50930 108.940 2.50616 61.9062 6.41185 67.9623 6.39108 153.198 9.94098 .0908579",
    ),
    "hound --rc": (
        "hound",
        {"rc": True},
        "38.2538 45.6792 1.09599 89.1654 3.05942 77.8682 7.41171 87.1314 7.15443 169.684 10.9109 .0250289",
    ),
    "hound --shifts 0,1": (
        "hound",
        {"shifts": (0, 1), "edge_fill": "pad"},
        "82.1755 91.9746 2.32969 166.403 3.96051 109.900 9.83813 128.413 10.1932 250.448 14.8059 -",
    ),
    "sad": (
        "sad",
        {},
        "118.657 107.031 1.49923 161.677 5.61001 146.675 13.8502 142.075 11.3829 224.219 14.7629 .0294550 .0270843",
    ),
    "sad --rc -u": (
        "sad",
        {"rc": True, "squash": "old"},
        "11064.4 41.9288 1.01248 145.085 603.718 11128.4 1871.32 59.5827 5.94615 182.349 20.7213 .0314485 .0307399",
    ),
}


@pytest.mark.parametrize("title", CONFIGURATIONS)
def test_other_configurations_of_the_reference(run: Run, shared: Path, title: str) -> None:
    family, choices, expected = CONFIGURATIONS[title]
    names = (*NAMES, "logJS") if family == "sad" else NAMES
    scores = run(shared / "data" / "variants" / "eqtl.vcf", family, stats=names, **choices)
    for name, want in zip(names, expected.split(), strict=True):
        if want != "-":
            slack = scores[name].size * SMALLEST_HALF_STEP
            assert_allclose(np.abs(scores[name]).sum(), float(want), rtol=HALF_STEP, atol=slack, err_msg=name)


# Sum of |score| over 47 rows at chr1:620150 (the window holds 31,374 N): snv, mnv, del3, ins4, del33, cplx, unanch.
# None where the reference builds another allele than the record says. The last two have no reference program: they are
# from an independent port with the general splice.
SHORT_AND_LONG = ("T G", "TC GA", "TCCC T", "T TGATC", None, "TCC TA", "TC A")
INDELS = {
    "hound (average)": (
        "hound",
        {"indel": "average", "edge_fill": "pad"},
        {
            "SUM": (1.3655, None, 265.939, 116.739, 108.609, None, None),
            "logSUM": (1.8012, None, 256.873, 100.377, 113.586, None, None),
            "logSED": (0.0518, None, 7.4937, 2.1749, 3.9549, None, None),
            "D1": (2.0069, None, 478.381, 316.533, 657.928, None, None),
            "D2": (0.1709, None, 38.1035, 24.1040, 49.9227, None, None),
        },
    ),
    "hound --indel_stitch": (
        "hound",
        {"indel": "stitch", "edge_fill": "pad"},
        {
            "SUM": (1.3655, None, 113.525, 38.6051, 40.9127, None, None),
            "logSUM": (1.8012, 3.2358, 147.128, 41.6124, 49.3195, 40.6157, 38.2677),
            "D1": (2.0069, None, 144.128, 51.391, 94.1022, None, None),
            "D2": (0.1709, 0.2278, 8.9465, 2.5633, 4.4850, 4.0696, 3.9635),
        },
    ),
    "genome edges": (
        "hound",
        {},
        {
            "logSUM": (1.8014, 3.2358, 147.886, 41.6774, 48.1762, 40.7225, 38.3740),
            "D2": (0.1709, 0.2278, 8.9775, 2.5641, 4.4575, 4.0707, 3.9643),
        },
    ),
    "sad (centre_trim)": (
        "sad",
        {},
        {
            "SAD": (2.0452, 3.6134, 464.691, 413.555, 334.392, 159.796, 161.936),
            "logSAD": (2.6588, 4.6026, 520.546, 349.769, 396.020, 196.036, 199.430),
            "SADlog": (0.0370, 0.0571, 7.0633, 4.7126, 6.0866, 2.0231, 2.0650),
        },
    ),
}


@pytest.mark.parametrize("title", INDELS)
def test_indels_of_the_reference(run: Run, genome: Fasta, tmp_path: Path, title: str) -> None:
    held = genome.fetch("chr1", 620149, 620183)
    alleles = [pair or f"{held} {held[0]}" for pair in SHORT_AND_LONG]  # the long deletion takes 33 bases
    vcf = worlds.write_vcf(tmp_path / "indels.vcf", [f"chr1 620150 . {pair}" for pair in alleles])
    family, choices, expected = INDELS[title]
    scores = run(vcf, family, stats=tuple(expected), **choices)
    for name, wanted in expected.items():
        got = np.abs(scores[name]).sum(axis=1)
        for index, want in enumerate(wanted):
            if want is not None:  # the table has four decimals, hence the absolute part
                assert_allclose(got[index], want, rtol=HALF_STEP, atol=1e-4, err_msg=f"{name} {alleles[index]}")


def test_a_window_before_the_chromosome_sees_what_unknown_bases_are(run: Run, tmp_path: Path) -> None:
    """50,859 bases of the first window are unknown: Sum |SAD| is 11,036 with 0.25 and 46 with zeros (sad --rc -u)."""
    vcf = worlds.write_vcf(tmp_path / "two.vcf", ["chr1 14677 . G A", "chr1 135203 . G A"])
    uniform, zero = (
        np.abs(run(vcf, "sad", squash="old", rc=True, stats=("SAD",), n_code=code)["SAD"]).sum(axis=1)
        for code in ("uniform", "zero")
    )
    assert_allclose([uniform[0], zero[0]], [11036, 46], rtol=0.011)  # 46 is printed to two digits
    assert_allclose(uniform[1], zero[1], rtol=1e-6)  # this window lies inside the chromosome
