"""Which tracks are predicted, and which rows of a table they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..tracks import MergePlan, RowTable, TrackTable
from ..types import IndexArray
from .options import ScoreOptions

UNITS = "track_units"  # in the description of a run whose tracks a file named


@dataclass(frozen=True)
class Selection:
    """The tracks of a run.

    Attributes
    ----------
    positions : int64 ndarray of shape (tracks,)
        Positions in the bundle's table.
    merge : MergePlan or None
        How strands join; None keeps them apart.
    rows : RowTable
        Meaning of the rows of every score.
    added : tuple of str
        Tracks that were not named but taken along as the other strand of one that was.
    """

    positions: IndexArray
    merge: MergePlan | None
    rows: RowTable
    added: tuple[str, ...] = ()


def select_rows(tracks: TrackTable, options: ScoreOptions, units: Sequence[int] | None = None) -> Selection:
    """Return the tracks that options choose from a bundle's table; where strands are joined, both of each.

    ``units`` are the tracks that a run has read from a file: that may lie elsewhere by now, or say something else.

    Raises
    ------
    InputError
        If nothing matches, or strands are to be joined of which one has no partner.
    """
    positions = tracks.select(options.tracks) if units is None else tracks.positions_of(units)
    if not options.merge_strands:
        return Selection(positions, None, tracks.take(positions).rows())
    positions, added = tracks.with_partners(positions)
    selected = tracks.take(positions)
    merge = selected.merge_plan()
    return Selection(positions, merge, selected.rows(merge), tuple(tracks.take(added).identifier))
