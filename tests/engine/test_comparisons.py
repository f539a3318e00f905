"""Several edits in one window: where every base of the genome stands in what is compared, whatever the policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import Comparison, Edit, Pair, View, allele_pairs, haplotypes
from borzoi_rt.engine.gene_bins import frames_of
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.sequence import decode

GRID = Geometry(sequence_length_bp=512, bin_size_bp=8, bins=48)
MIDDLE = 1000
TEXT = worlds.random_dna(2000, seed=21)
POLICIES = ("stitch", "average", "centre_trim", "none")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    folder: Path = tmp_path_factory.mktemp("genome")
    return Fasta(worlds.write_fasta(folder / "g.fa", {"chr1": TEXT}))


def compared(*edits: tuple[int, int, str, str]) -> Comparison:
    """Edits as (start, held_bp, ref, alt); each begins to count behind its first base, as behind an anchor."""
    made = tuple(Edit(start, held, ref, alt, start + 1) for start, held, ref, alt in edits)
    return Comparison(made, Variant("chr1", MIDDLE, "N", "N"))


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    edits, at = [], MIDDLE - 80
    for _ in range(draw(st.integers(1, 4))):
        start = at + draw(st.integers(0, 30))
        held = draw(st.integers(1, 12))
        ref, alt = (draw(st.text(alphabet="ACGT", min_size=1, max_size=20)) for _ in range(2))
        own = draw(st.sampled_from(["ref", "alt", "neither"]))  # who carries what the genome has
        here = TEXT[start : start + held]
        edits.append((start, held, here if own == "ref" else ref, here if own == "alt" else alt))
        at = start + held
    return compared(*edits)


def spliced(item: Comparison, name: str) -> str:
    """The sequence of one side, by plain text."""
    text = TEXT
    for edit in reversed(item.edits):
        text = text[: edit.start] + getattr(edit, name) + text[edit.start + edit.held_bp :]
    return text


@settings(max_examples=60, deadline=None)
@given(item=comparisons(), indel=st.sampled_from(POLICIES), shift=st.integers(-3, 3))
def test_windows_are_those_of_the_spliced_sequences(fasta: Fasta, item: Comparison, indel: str, shift: int) -> None:
    made = haplotypes(fasta, item, GRID, flank_bp=3, indel=indel)
    for pair in allele_pairs(item.offsets, [shift], indel):
        for view in (*pair.ref, *pair.alt):
            start = MIDDLE - 256 + view.trim_bp - view.shift_bp
            assert decode(made.window(view)) == spliced(item, view.allele)[start : start + 512]


@settings(max_examples=150, deadline=None)
@given(item=comparisons(), indel=st.sampled_from(POLICIES))
def test_bases_stand_where_their_frame_says(fasta: Fasta, item: Comparison, indel: str) -> None:
    """A base that no edit touches is looked up in the joined array of either side.

    Bins at a seam hold bases of both sides of it, and are left out.
    """
    options = PredictionOptions(indel=indel).resolved({}, "zero")
    start = MIDDLE - 256
    made = haplotypes(fasta, item, GRID, flank_bp=0, indel=indel)
    pairs, frames = allele_pairs(item.offsets, (0,), indel), frames_of(item, start, GRID, options)
    assert len(pairs) == len(frames)
    seams = [0, *item.seams(GRID, start), GRID.bins]
    blurred = {bin_ + near for bin_ in seams[1:-1] for near in range(-6, 7)}
    untouched = np.ones(len(TEXT), dtype=bool)
    for edit in item.edits:
        untouched[edit.start : edit.start + edit.held_bp] = False
    seen = 0
    for pair, both in zip(pairs, frames, strict=True):
        for views, frame in zip((pair.ref, pair.alt), both, strict=True):
            windows = [decode(made.window(view)) for view in views]
            owner = np.zeros(GRID.bins, dtype=int)
            if len(views) > 1:
                for number in range(len(views)):
                    owner[seams[number] : seams[number + 1]] = number
            for base in range(start + GRID.crop_bp, start + GRID.crop_bp + GRID.bins * 8, 3):
                (at,) = frame.lift(np.array([base]))
                if not untouched[base] or not 0 <= at < GRID.bins * 8 or (len(views) > 1 and at // 8 in blurred):
                    continue
                assert windows[owner[at // 8]][GRID.crop_bp + at] == TEXT[base], (base, at, views)
                seen += 1
    assert seen > 20


def test_parts_between_edits_have_their_own_phase() -> None:
    """+3, then -5, then an SNV, then +2: offsets 3, -2, -2, 0; the longer side moves in each part."""
    item = compared((900, 1, "A", "ACCC"), (950, 6, "AAAAAA", "A"), (960, 1, "A", "C"), (980, 1, "A", "ACC"))
    assert item.offsets == (0, 3, -2, -2, 0)
    assert allele_pairs(item.offsets, [7], "stitch") == (
        Pair(
            tuple(View("ref", shift) for shift in (7, 7, 5, 5, 7)),
            tuple(View("alt", shift) for shift in (7, 4, 7, 7, 7)),
        ),
    )
    assert [(pair.ref[0].shift_bp, pair.alt[0].shift_bp) for pair in allele_pairs(item.offsets, [0], "average")] == [
        (0, 0),
        (0, -3),
        (-2, 0),
    ]
    (trimmed,) = allele_pairs((0, 3, -4), [0], "centre_trim")
    assert trimmed == Pair((View("ref", 0, 2),), (View("alt", 0),))


def test_seams_lie_in_the_frame_of_the_shorter_side() -> None:
    """Behind 40 deleted bases a seam stands 40 further left, behind inserted ones it stays; output from base 808 on."""
    deleted = compared((900, 41, "A" * 41, "A"), (1000, 1, "A", "C"))
    inserted = compared((900, 1, "A", "A" * 41), (1000, 1, "A", "C"))
    assert deleted.seams(GRID, MIDDLE - 256) == ((901 - 808) // 8, (1001 - 40 - 808) // 8)
    assert inserted.seams(GRID, MIDDLE - 256) == ((901 - 808) // 8, (1001 - 808) // 8)


def test_edits_of_equal_length_are_one_pair() -> None:
    for indel in POLICIES:
        assert allele_pairs((0, 0, 0), [0], indel) == (Pair((View("ref", 0),), (View("alt", 0),)),)


def test_an_edit_outside_of_the_window_is_refused(fasta: Fasta) -> None:
    with pytest.raises(InputError, match="does not lie in the window chr1:745-1256"):
        haplotypes(fasta, compared((700, 1, "A", "C"), (1000, 1, "A", "C")), GRID, flank_bp=0)
