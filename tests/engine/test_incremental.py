"""Incremental passes against whole passes, on the trained test model whose effects stand far above rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.backends.opening import open_parts, open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.parity import ParityRule
from borzoi_rt.engine.incremental import IncrementalSession
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.engine.regions import Region
from borzoi_rt.engine.sessions import EngineOptions, VerifiedSession, open_engine
from borzoi_rt.engine.tile_cache import TileCache
from borzoi_rt.errors import InputError, ParityError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant

# Coverage of this model is below 3; its own rounding between two orders of summation is 1.5e-6.
ATOL = 5e-6


@pytest.fixture(scope="module")
def genome(shared: Path) -> Fasta:
    return Fasta(next((shared / "data" / "hg38_1m").glob("*.fa.gz")))


@pytest.fixture(scope="module")
def sessions(tiny_bundle: Bundle) -> tuple[IncrementalSession, object]:
    incremental = open_engine(tiny_bundle)
    assert isinstance(incremental, IncrementalSession)
    return incremental, open_session(tiny_bundle)


def edited(genome: Fasta, chrom: str, pos: int, ref_length: int, alt: str | None) -> Variant:
    """Return a variant whose REF is what the genome holds; ALT None is another base."""
    ref = genome.fetch(chrom, pos - 1, pos - 1 + ref_length)
    return Variant(chrom, pos, ref, alt if alt is not None else "ACGT"[("ACGT".find(ref) + 1) % 4])


CASES = {
    "snv": (620_150, 1, None),
    "snv on a tile edge": (65_536 + 500_000, 1, None),
    "mnv": (700_000, 4, "TTGA"),
    "insertion": (750_123, 1, "ACGTACGTA"),
    "insertion of a token": (750_123, 1, "A" + "CAGT" * 32),
    "deletion": (800_321, 11, "T"),
    "long deletion": (800_321, 1500, "G"),
    "window beyond the start of the contig": (30_000, 1, None),
    "window beyond the end of the contig": (985_000, 1, None),
}


OPTIONS = {
    "plain": PredictionOptions(),
    "rc and shifts": PredictionOptions(rc=True, shifts=(0, -3)),
    "pad, uniform, trimmed": PredictionOptions(edge_fill="pad", n_code="uniform", indel="centre_trim"),
    "grid": PredictionOptions(window="grid:4096"),
    "regions": PredictionOptions(rc=True),
}


@pytest.mark.parametrize(
    ("case", "options"),
    [(case, "plain") for case in CASES]
    + [
        (case, options)
        for options in list(OPTIONS)[1:]
        for case in ("snv", "deletion", "window beyond the start of the contig")
    ],
)
def test_incremental_is_full(
    sessions: tuple[IncrementalSession, object], tiny_bundle: Bundle, genome: Fasta, case: str, options: str
) -> None:
    variant = edited(genome, next(iter(genome.contigs)), *CASES[case])
    positions = np.arange(0, 74, 5)
    squash = tiny_bundle.squash(positions)
    regions = [Region.parse(text) for text in (("span:3000", "center:501") if options == "regions" else ("window",))]
    got, want = (
        Predictor(session, tiny_bundle.tracks, squash, positions=positions, options=OPTIONS[options]).variant(
            genome, variant, regions=regions
        )
        for session in sessions
    )
    assert got.window_start == want.window_start
    assert (got.first_bin, got.regions) == (want.first_bin, want.regions)
    assert options != "regions" or got.ref.shape[-1] < tiny_bundle.geometry.bins
    rounding = ATOL + 2e-5 * np.abs(want.ref)  # the inverse of the squashed scale multiplies errors as it does values
    assert (np.abs(want.alt - want.ref) > 20 * rounding).any()
    for found, wanted in ((got.ref, want.ref), (got.alt, want.alt), (got.alt - got.ref, want.alt - want.ref)):
        assert (np.abs(found - wanted) <= 2 * rounding).all()


def test_a_variant_redoes_one_or_two_tiles(tiny_bundle: Bundle, genome: Fasta) -> None:
    cache = TileCache()
    session = IncrementalSession(open_parts(tiny_bundle), model=tiny_bundle.sha256, cache=cache)
    options = PredictionOptions(window="at:480000")
    predictor = Predictor(session, tiny_bundle.tracks, tiny_bundle.squash(), options=options)
    chrom = next(iter(genome.contigs))

    def redone(pos: int) -> int:
        before = cache.computed
        predictor.variant(genome, edited(genome, chrom, pos, 1, None))
        return cache.computed - before

    assert redone(480_000 + 2_000 + 1) > 20  # the reference, a stretch of N once, and one tile of the variant
    own_bp = 32 * 128
    assert redone(480_000 + 8 * own_bp + own_bp // 2) == 1
    assert redone(480_000 + 8 * own_bp + 1) == 2  # the first base of a tile is in the halo of the one before
    session.close()


def test_keys_are_those_of_the_bases_whatever_was_seen_before(tiny_bundle: Bundle) -> None:
    """What is looked up in windows seen lately is what a session that has seen nothing hashes."""
    draws = np.random.default_rng(3)
    length = tiny_bundle.geometry.sequence_length_bp
    seen = IncrementalSession(open_parts(tiny_bundle), model="m")
    letters = draws.integers(0, 5, length)
    for change in (0, 1, 1, 0, 3, length // 2, 1):
        letters[draws.integers(0, length, change)] = draws.integers(0, 5, change)
        window = (letters == np.arange(4)[:, None]).astype(np.uint8)
        for fill in (0.0, 0.25):
            want = IncrementalSession(open_parts(tiny_bundle), model="m")._keys(window, fill)
            assert seen._keys(window, fill) == want
        assert len(set(want)) == len(want)


def test_neighbours_on_a_grid_share_tiles(tiny_bundle: Bundle, genome: Fasta) -> None:
    cache = TileCache()
    session = IncrementalSession(open_parts(tiny_bundle), model=tiny_bundle.sha256, cache=cache)
    predictor = Predictor(
        session, tiny_bundle.tracks, tiny_bundle.squash(), options=PredictionOptions(window="grid:4096")
    )
    chrom = next(iter(genome.contigs))
    predictor.variant(genome, edited(genome, chrom, 620_150, 1, None))
    before = cache.computed
    predictor.variant(genome, edited(genome, chrom, 620_150 + 4_096, 1, None))
    # The next window: a new tile at each end, whose halo or flush end is another, and those that hold the variant.
    assert cache.computed - before <= 6
    session.close()


def test_a_null_variant_is_exactly_nothing(
    sessions: tuple[IncrementalSession, object], tiny_bundle: Bundle, genome: Fasta
) -> None:
    chrom = next(iter(genome.contigs))
    base = genome.fetch(chrom, 620_149, 620_150)
    options = PredictionOptions(rc=True, shifts=(0, 1))
    predictor = Predictor(sessions[0], tiny_bundle.tracks, tiny_bundle.squash(), options=options)
    null = predictor.variant(genome, Variant(chrom, 620_150, base, base))
    np.testing.assert_array_equal(null.ref, null.alt)


def test_the_company_of_a_window_does_not_matter(
    sessions: tuple[IncrementalSession, object], genome: Fasta, tiny_bundle: Bundle
) -> None:
    from borzoi_rt.sequence import encode

    length = tiny_bundle.geometry.sequence_length_bp
    windows = np.stack(
        [encode(genome.fetch(next(iter(genome.contigs)), start, start + length)) for start in (500_000, 600_001)]
    )
    together = sessions[0].run(windows)
    np.testing.assert_array_equal(together[1], sessions[0].run(windows[1:])[0])


def test_spans_are_slices_of_the_whole(
    sessions: tuple[IncrementalSession, object], genome: Fasta, tiny_bundle: Bundle
) -> None:
    from borzoi_rt.sequence import encode

    length = tiny_bundle.geometry.sequence_length_bp
    window = encode(genome.fetch(next(iter(genome.contigs)), 500_000, 500_000 + length))[None]
    whole = sessions[0].run(window)
    for start, end in ((0, 1), (0, 64), (3, 67), (700, 900), (1000, 2000), (2047, 2048), (1, 2048)):
        part = sessions[0].run(window, bins=(start, end))
        np.testing.assert_allclose(part, whole[..., start:end], atol=ATOL, rtol=1e-5)


class Sabotaged:
    """A session whose answer is off in one bin."""

    def __init__(self, session: IncrementalSession) -> None:
        self._session = session
        self.geometry, self.tracks_count, self.provider = session.geometry, session.tracks_count, session.provider

    def run(self, *arguments: object, **options: object) -> np.ndarray:
        coverage = self._session.run(*arguments, **options)  # type: ignore[arg-type]
        coverage[0, 2, 7] += 1e-3
        return coverage

    def close(self) -> None:
        self._session.close()


def test_a_verified_share_finds_a_wrong_bin(sessions: tuple[IncrementalSession, object], tiny_bundle: Bundle) -> None:
    window = np.zeros((1, 4, tiny_bundle.geometry.sequence_length_bp), dtype=np.uint8)
    rule = ParityRule.pair(tiny_bundle.info.parity, "fp32")
    honest = VerifiedSession(sessions[0], sessions[1], 1.0, rule)  # type: ignore[arg-type]
    honest.run(window)
    assert honest.verified == 1
    with pytest.raises(ParityError, match=r"track 2, bin 7.*full=True"):
        VerifiedSession(Sabotaged(sessions[0]), sessions[1], 1.0, rule).run(window)  # type: ignore[arg-type]
    unchecked = VerifiedSession(Sabotaged(sessions[0]), sessions[1], 0.0, rule)  # type: ignore[arg-type]
    unchecked.run(window)
    assert unchecked.verified == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"verify_fraction": 1.5},
        {"memory_bytes": -1},
        {"full": True, "verify_fraction": 0.1},
        {"full": True, "tile_cache": Path("x")},
    ],
)
def test_options_that_contradict(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        EngineOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_two_thousand_random_variants(tiny_bundle: Bundle, genome: Fasta) -> None:
    """The score of every variant, incremental and whole, within 1e-5 of the largest effect of its statistic."""
    from borzoi_rt.scoring.options import ScoreOptions
    from borzoi_rt.scoring.stream import score_variants

    generator = np.random.default_rng(20)
    chrom = next(iter(genome.contigs))
    variants = []
    while len(variants) < 2000:
        pos = int(generator.integers(10_000, genome.contigs[chrom] - 10))
        length = int(generator.choice([1, 1, 1, 1, 2, 5]))
        ref = genome.fetch(chrom, pos - 1, pos - 1 + length)
        alt = "".join(generator.choice(list("ACGT"), int(generator.choice([1, 1, 1, 1, 2, 7]))))
        if "N" not in ref and alt != ref:
            variants.append(Variant(chrom, pos, ref, alt))
    options = ScoreOptions.for_family("hound", stats=("SUM", "logSED", "D2"), window="grid:4096")
    results = [
        list(
            score_variants(variants, bundle=tiny_bundle, fasta=genome, options=options, engine=EngineOptions(full=full))
        )
        for full in (False, True)
    ]
    for stat in options.stats:
        got, want = (np.stack([item.scores[stat] for item in found if item.scores is not None]) for found in results)
        assert len(got) == 2000
        scale = np.abs(want).max(axis=0)
        assert (np.abs(got - want) <= 1e-5 * scale + 1e-5 * np.abs(want)).mean() > 0.999
        np.testing.assert_allclose(got, want, atol=1e-4 * scale.max(), rtol=1e-4)
