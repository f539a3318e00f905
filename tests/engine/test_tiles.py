"""How tiles cover a window, by counting positions instead of trusting the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from borzoi_rt.bundle.manifest import BodyInfo, Geometry, Tiling
from borzoi_rt.engine.tiles import TilePlan, choose_body
from borzoi_rt.errors import FormatError

# The published network: 4,096 tokens of 128 bp, crop of 5,120 bins of 32 bp.
PUBLISHED = Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6_144)


def tiling(own: int = 32, halo: int = 3, channels: int = 2) -> Tiling:
    bodies = {
        # cost_model 3.1: 64-bp positions [2558, 5634), 32-bp positions [5119, 11265)
        "body": BodyInfo(bins=6144, skips=((2558, 5634), (5119, 11265)), moving=False),
        # 64 bins from token 0 on: two convolutions of width 3 reach one bin, then one coarse position more
        "body_64": BodyInfo(bins=64, skips=((-2, 34), (-1, 65)), moving=True),
    }
    return Tiling(
        token_bp=128, own_tokens=own, halo_tokens=halo, channels=channels, skips_per_token=(2, 4), bodies=bodies
    )


@pytest.mark.parametrize(("own", "halo"), [(32, 3), (26, 3), (32, 0), (4096, 3), (5000, 3), (33, 2), (1, 1)])
def test_every_token_is_owned_once_and_far_from_a_cut(own: int, halo: int) -> None:
    plan = TilePlan.of(PUBLISHED, tiling(own, halo))
    owners = np.zeros(plan.tokens, dtype=int)
    for tile in plan.tiles:
        owners[tile.start : tile.end] += 1
        read_end = tile.read + plan.width
        assert tile.read >= 0
        assert read_end <= plan.tokens
        assert tile.read == 0 or tile.start - tile.read >= halo
        assert read_end == plan.tokens or read_end - tile.end >= halo
    assert (owners == 1).all()


def test_assembled_tiles_are_the_window() -> None:
    """Give every position its own number, cut as a tile graph would, and put together."""
    plan = TilePlan.of(PUBLISHED, tiling())
    scales = (1, 2, 4)
    grids = [np.arange(2 * plan.tokens * scale, dtype=np.float32).reshape(-1, 2) for scale in scales]
    parts = []
    for tile in plan.tiles:
        outputs = [
            grid[tile.read * scale : (tile.read + plan.width) * scale]
            for grid, scale in zip(grids, scales, strict=True)
        ]
        parts.append(plan.owned(tile, outputs))
    spans = ((2558, 5634), (5119, 11265))
    tokens, skips = plan.assemble(parts, spans)
    np.testing.assert_array_equal(tokens[0], grids[0])
    for skip, grid, (start, end) in zip(skips, grids[1:], spans, strict=True):
        np.testing.assert_array_equal(skip[0], grid[start:end])


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 38), (2, 76), (2, 152)],  # channels first
        [(40, 2), (80, 2), (160, 2)],  # a wider halo
        [(38, 2), (76, 2)],
        [(38, 3), (76, 3), (152, 3)],
    ],
)
def test_tiles_of_another_layout_are_refused(shapes: list[tuple[int, int]]) -> None:
    plan = TilePlan.of(PUBLISHED, tiling())
    wanted = r"\(38, 2\), \(76, 2\), \(152, 2\)"  # 32 + 2 * 3 tokens, with 2 and 4 positions each in the skips
    with pytest.raises(FormatError, match=rf"'trunk_tile' gives .*tiling says \[{wanted}\].*export the model again"):
        plan.owned(plan.tiles[1], [np.zeros(shape, dtype=np.float32) for shape in shapes])


@pytest.mark.parametrize("bins", [(0, 1), (0, 64), (1, 61), (3000, 3064), (3001, 3062), (6080, 6144), (6143, 6144)])
def test_a_small_body_covers_the_bins_asked_for(bins: tuple[int, int]) -> None:
    choice = choose_body(PUBLISHED, tiling(), bins)
    assert choice.name == "body_64"
    assert choice.token_start is not None
    first = choice.token_start * 4 - 5120  # first bin of the body's output, in bins of the model
    assert first + choice.offset == bins[0]
    assert first + 64 >= bins[1]
    # The skips it reads are where its tokens are.
    coarse, fine = 2 * choice.token_start, 4 * choice.token_start
    assert choice.spans == ((coarse - 2, coarse + 34), (fine - 1, fine + 65))


@pytest.mark.parametrize("bins", [(0, 65), (10, 75), (1, 65), (0, 6144)])
def test_more_bins_than_a_small_body_has_take_the_whole(bins: tuple[int, int]) -> None:
    choice = choose_body(PUBLISHED, tiling(), bins)
    assert (choice.name, choice.token_start, choice.offset) == ("body", None, bins[0])


def test_a_small_body_is_not_put_over_the_end_of_the_grid() -> None:
    """Without a crop the first and last bins need the network's own padding."""
    uncropped = Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=16_384)
    assert choose_body(uncropped, tiling(), (0, 10)).name == "body"
    assert choose_body(uncropped, tiling(), (16_380, 16_384)).name == "body"
    assert choose_body(uncropped, tiling(), (8_000, 8_010)).name == "body_64"
