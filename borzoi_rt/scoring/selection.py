"""Which tracks are predicted, and which rows of a table they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tracks import MergePlan, TrackTable
from .options import ScoreOptions


@dataclass(frozen=True)
class Selection:
    """The tracks of a run.

    Attributes
    ----------
    positions : int64 ndarray of shape (tracks,)
        Positions in the bundle's table.
    merge : MergePlan or None
        How strands join; None keeps them apart.
    rows : TrackTable
        Meaning of the rows of every score.
    added : tuple of str
        Tracks that were not named but taken along as the other strand of one that was.
    """

    positions: np.ndarray
    merge: MergePlan | None
    rows: TrackTable
    added: tuple[str, ...] = ()


def select_rows(tracks: TrackTable, options: ScoreOptions) -> Selection:
    """Return the tracks that options choose from a bundle's table.

    Raises
    ------
    InputError
        If nothing matches, or strands are to be joined of which one has no partner.
    """
    positions = tracks.select(options.tracks)
    selected = tracks.take(positions)
    if not options.merge_strands:
        return Selection(positions, None, selected)
    merge = selected.merge_plan()
    return Selection(positions, merge, selected.take(merge.first))
