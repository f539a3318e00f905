"""Bins of genes against arrays whose bases carry their positions, for every indel policy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import genes as oracle

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import allele_pairs, stitch_bin, window_start
from borzoi_rt.engine.gene_bins import covered_fraction, frames_of, intervals_of
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.engine.regions import Region
from borzoi_rt.errors import InputError
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.variants import Variant

GRID = Geometry(sequence_length_bp=2048, bin_size_bp=32, bins=48)
POS = 5000
ALLELES = {
    "snv": ("A", "C"),
    "mnv": ("ACG", "TGT"),
    "deletion": ("ACGTA", "A"),
    "long deletion": ("A" * 80, "A"),
    "insertion": ("A", "ACG"),
    "long insertion": ("A", "A" * 70),
    "shorter": ("ACGT", "TG"),
    "longer": ("AC", "TTTTT"),
}


def resolved(**choices: object) -> PredictionOptions:
    return PredictionOptions(**choices).resolved({}, "zero")  # type: ignore[arg-type]


def random_intervals(seed: int) -> np.ndarray:
    """Intervals of all lengths around the variant, apart from one another; some leave the window."""
    generator = np.random.default_rng(seed)
    edges = np.sort(generator.choice(np.arange(POS - 900, POS + 900), 12, replace=False))
    return edges.reshape(6, 2).astype(np.int64)


@pytest.mark.parametrize("held", [None, "ALT"])
@pytest.mark.parametrize("policy", ["stitch", "average", "centre_trim", "none"])
@pytest.mark.parametrize("alleles", ALLELES.values(), ids=ALLELES)
@pytest.mark.parametrize("window", ["centered", "grid:128"])
def test_bins_hold_the_bases_of_the_gene(alleles: tuple[str, str], policy: str, held: str | None, window: str) -> None:
    """``held``: what the genome has where REF is written into it. Joined predictions are looked at too."""
    ref, alt = alleles
    variant, options = Variant("1", POS, ref, alt), resolved(indel=policy, window=window)
    genome_allele = alt if held else None
    held_bp, k = len(alt if held else ref), len(alt) - len(ref)
    start = window_start(POS, GRID.sequence_length_bp, window)
    seam = stitch_bin(GRID, POS, start)
    first, last = start - 400, start + GRID.sequence_length_bp + 400
    labels = {
        name: oracle.haplotype(first, last, POS - 1, held_bp, len(bases))
        for name, bases in (("ref", ref), ("alt", alt))
    }
    frames = frames_of(variant, start, GRID, options, genome_allele)
    pairs = allele_pairs(k, (0,), policy)
    assert len(frames) == len(pairs)
    seen = 0
    for seed in range(5):
        intervals = random_intervals(seed)
        for pair, both in zip(pairs, frames, strict=True):
            for views, frame in zip((pair.ref, pair.alt), both, strict=True):
                arrays = [
                    oracle.output(labels[view.allele], 400 + view.trim_bp - view.shift_bp, GRID.crop_bp, 32, GRID.bins)
                    for view in views
                ]
                joined = arrays[0] if len(arrays) == 1 else arrays[0][:seam] + arrays[1][seam:]
                want = set(oracle.overlap(joined, intervals.tolist()))
                got = set(frame.bins(intervals, "overlap", GRID).tolist())
                # At the seam of two predictions bases of both sides are missing or twice: there the alleles are not
                # the same bases, and the frame of the one that was not joined counts.
                blurred = {seam + number for number in range(-1 - abs(k) // 32, 2 + abs(k) // 32)}
                assert got - want <= (blurred if len(views) == 2 else set())
                assert want - got <= (blurred if len(views) == 2 else set())
                seen += len(got)
    assert seen > 100


@pytest.mark.parametrize("alleles", ALLELES.values(), ids=ALLELES)
def test_joined_alleles_have_the_same_bins(alleles: tuple[str, str]) -> None:
    frames = frames_of(Variant("1", POS, *alleles), POS - 1024, GRID, resolved(indel="stitch", shifts=(0, 3)))
    assert len(frames) == 2
    assert frames[0] == frames[1]  # a shift that was asked for asks for the same bins
    assert frames[0][0] == frames[0][1] or len(alleles[0]) == len(alleles[1])
    for seed in range(5):
        ref, alt = (frame.bins(random_intervals(seed), "overlap", GRID) for frame in frames[0])
        assert_array_equal(ref, alt)


def test_rounded_ends() -> None:
    """Ends at 16 of 32 bases are rounded to the even bin; exons that cover less than half of a bin have none."""
    (ref, _), *_ = frames_of(Variant("1", POS, "A", "C"), 0, GRID, resolved(window="at:0"))
    for intervals in ([(256 + 16, 256 + 48)], [(256 + 48, 256 + 80)], [(306, 315)], [(0, 290), (500, 4000)]):
        found = ref.bins(np.array(intervals, dtype=np.int64), "half", GRID)
        assert found.tolist() == oracle.half(256, 32, GRID.bins, intervals)
    assert ref.bins(np.array([(306, 315)]), "half", GRID).tolist() == []  # 50 / 32 and 59 / 32 both round to 2
    for seed in range(20):
        intervals = random_intervals(seed) - 4000
        found = ref.bins(intervals, "half", GRID)
        assert found.tolist() == oracle.half(256, 32, GRID.bins, intervals.tolist())


def test_a_deleted_exon_has_no_bin_in_alt() -> None:
    (ref, alt), *_ = frames_of(Variant("1", POS, "A" * 41, "A"), POS - 1024, GRID, resolved(indel="none"))
    inside = np.array([(POS + 3, POS + 20)])
    assert len(ref.bins(inside, "overlap", GRID)) > 0
    assert len(alt.bins(inside, "overlap", GRID)) == 0


def test_averages_of_different_frames_are_refused() -> None:
    options = resolved(indel="average", shift_space="squashed")
    assert len(frames_of(Variant("1", POS, "A", "C"), 0, GRID, options)) == 1
    with pytest.raises(InputError, match="adds arrays in which genes lie elsewhere"):
        frames_of(Variant("1", POS, "A", "CA"), 0, GRID, options)


def test_regions_of_a_gene_and_what_the_window_holds() -> None:
    exons = np.array([(300, 400), (1000, 1100)])
    plus, minus = (Gene("g", "g", "", "1", strand, exons) for strand in "+-")
    assert intervals_of(plus, Region.parse("exons")).tolist() == exons.tolist()
    assert intervals_of(plus, Region.parse("span")).tolist() == [[300, 1100]]
    assert intervals_of(plus, Region.parse("tss:100")).tolist() == [[250, 350]]
    assert intervals_of(minus, Region.parse("tss:101")).tolist() == [[1049, 1150]]
    # The output is [256, 1792): the window starts at 0, 256 are cut off, 48 bins follow.
    assert covered_fraction(exons, 0, GRID) == 1.0
    assert covered_fraction(exons, 100, GRID) == pytest.approx(144 / 200)
    assert covered_fraction(exons, 5000, GRID) == 0.0
