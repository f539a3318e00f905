"""Regions of the output: the bins of each kind against an oracle, and coverage against slices of the whole window."""

from __future__ import annotations

import numpy as np
import pytest
import worlds
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import regions as oracle

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.engine.regions import WINDOW, Region, hull
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant

GRID = Geometry(sequence_length_bp=2048, bin_size_bp=32, bins=32)
BORZOI = Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6144)
TEXT = worlds.random_dna(6000, seed=3)


def bins_of(text: str, variant: Variant, start: int, grid: Geometry = GRID) -> list[int]:
    first, end = Region.parse(text).bins(variant, start, grid)
    return list(range(first, end))


def shape(grid: Geometry) -> dict[str, int]:
    return {"crop_bp": grid.crop_bp, "bin_size_bp": grid.bin_size_bp, "bins": grid.bins}


@pytest.mark.parametrize("text", ["window", "span:2000", "center:501", "center:1", "span:999999999"])
def test_a_region_is_read_and_written(text: str) -> None:
    assert str(Region.parse(text)) == text
    assert (Region.parse(text) == WINDOW) is (text == "window")


@pytest.mark.parametrize(
    "text",
    ["", "Window", "spans", "span:", "span:0", "span:-5", "span:1.5", "center:1e3", "centre:5", "window:5", "span: 5"],
)
def test_other_regions_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is unknown; allowed: window, span:BP, center:BP"):
        Region.parse(text)


# Section 8.1 of the variant scores: on Borzoi's grid n = 16, 63, 313, 3126, 6251 bins, and an SNV's bin is B/2 - 1.
@pytest.mark.parametrize(
    ("width", "count"),
    [(501, 16), (2001, 63), (10_001, 313), (100_001, 3126), (200_001, 6144), (1, 1), (32, 1), (33, 2)],
)
def test_centre_masks_of_the_published_widths(width: int, count: int) -> None:
    pos = 1_000_000
    found = bins_of(f"center:{width}", Variant("chr1", pos, "A", "C"), pos - BORZOI.sequence_length_bp // 2, BORZOI)
    assert len(found) == count
    wanted = -(-width // 32)
    assert found[0] == max(BORZOI.bins // 2 - 1 - wanted // 2, 0)


@settings(max_examples=300, deadline=None)
@given(
    pos=st.integers(1, 4000),
    start=st.integers(-1500, 3000),
    ref_bp=st.integers(1, 90),
    width=st.integers(1, 1400),
    kind=st.sampled_from(["span", "center"]),
)
@example(pos=1024, start=0, ref_bp=1, width=64, kind="center")  # the middle of the window
@example(pos=513, start=0, ref_bp=1, width=96, kind="center")  # the first base of the output
@example(pos=512, start=0, ref_bp=1, width=96, kind="center")  # the base before it
@example(pos=1536, start=0, ref_bp=1, width=96, kind="span")  # the last base of the output
@example(pos=1537, start=0, ref_bp=1, width=1, kind="center")  # the base after it
@example(pos=1530, start=0, ref_bp=80, width=64, kind="span")  # a deletion over the end of the output
def test_bins_are_those_of_the_oracle(pos: int, start: int, ref_bp: int, width: int, kind: str) -> None:
    """On windows that variants share they stand anywhere, the ends of the output and beyond included."""
    variant = Variant("chr1", pos, "A" * ref_bp, "C")
    found = bins_of(f"{kind}:{width}", variant, start)
    if kind == "center":
        assert found == oracle.center(pos, width_bp=width, window_start=start, **shape(GRID))
    else:
        assert found == oracle.span(pos, ref_bp, width_bp=width, window_start=start, **shape(GRID))


def test_the_alternate_allele_moves_no_region() -> None:
    for text in ("span:300", "center:300"):
        found = [bins_of(text, Variant("chr1", 1100, "A", alt), 0) for alt in ("C", "A" * 40, "AC")]
        assert found[0] == found[1] == found[2]


def test_the_window_is_every_bin() -> None:
    assert bins_of("window", Variant("chr1", 1, "A", "C"), 5000) == list(range(32))


def test_the_hull_holds_every_region_that_is_not_empty() -> None:
    assert hull([(3, 5), (0, 0), (9, 12), (4, 6)]) == (3, 12)
    with pytest.raises(InputError, match="holds no bin of the output"):
        hull([(0, 0), (32, 32)])


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


VARIANTS = {
    "snv": Variant("chr1", 3000, TEXT[2999], "ACGT"["CGTA".index(TEXT[2999])]),
    "insertion": Variant("chr1", 3000, TEXT[2999], TEXT[2999] + "ACGTA"),
    "deletion": Variant("chr1", 3000, TEXT[2999:3012], TEXT[2999]),
}


@pytest.mark.parametrize("window", ["centered", "grid:512", "at:2400", "at:1500"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("indel", ["stitch", "average"])
@pytest.mark.parametrize("rc", [False, True])
def test_coverage_of_a_region_is_a_slice_of_the_window(
    toy_bundle: Bundle, genome: Fasta, variant: Variant, window: str, indel: str, rc: bool
) -> None:
    """Several at once are cut out of the smallest range that holds them all."""
    bundle = worlds.unsquashed(toy_bundle)
    options = PredictionOptions(window=window, indel=indel, rc=rc, shifts=(0, 3))
    predictor = Predictor(worlds.counting_session(bundle), bundle.tracks, bundle.squash(), options=options)
    whole = predictor.variant(genome, variant)
    assert whole.ref.shape[-1] == bundle.geometry.bins
    assert (whole.first_bin, whole.regions) == (0, ((0, 32),))
    assert np.ptp(whole.ref, axis=-1).min() > 0, "neighbouring bins must be told apart"
    regions = [Region.parse(text) for text in ("center:100", "span:300", "center:33")]
    part = predictor.variant(genome, variant, regions=regions)
    assert part.window_start == whole.window_start
    assert part.stitch_bin == whole.stitch_bin
    assert part.regions == tuple(region.bins(variant, whole.window_start, bundle.geometry) for region in regions)
    first, end = hull(part.regions)
    assert part.first_bin == first
    assert part.ref.shape[-1] == end - first < 32
    assert_array_equal(part.ref, whole.ref[..., first:end])
    assert_array_equal(part.alt, whole.alt[..., first:end])


def test_a_variant_beyond_the_output_has_no_centre(toy_bundle: Bundle, genome: Fasta) -> None:
    """On a window that starts at its POS the variant lies in the crop, 512 bp before the first bin."""
    options = PredictionOptions(window="at:2999")
    predictor = Predictor(worlds.counting_session(toy_bundle), toy_bundle.tracks, toy_bundle.squash(), options=options)
    variant = VARIANTS["snv"]
    with pytest.raises(InputError, match="the variant lies too far from the middle of its window"):
        predictor.variant(genome, variant, regions=[Region.parse("center:64")])
    both = predictor.variant(genome, variant, regions=[Region.parse("center:64"), WINDOW])
    assert both.regions == ((0, 0), (0, 32))
