"""How the predictions of a variant are made: one frozen object, part of the identity of every score."""

from __future__ import annotations

from dataclasses import dataclass

from ..bundle.manifest import N_POLICIES
from ..errors import InputError
from .alleles import EDGE_FILLS, INDEL_POLICIES, check_window

SHIFT_SPACES = ("unsquashed", "squashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """How the predictions of one variant are made; part of the identity of every score.

    Parameters
    ----------
    rc : bool
        Average each window with its reverse complement, in squashed space, stranded tracks swapped.
    shifts : tuple of int
        Shifts in bp, positive to the right; shifted predictions are not moved back.
    shift_space : str
        ``unsquashed``: every shift is one pair and the statistic is averaged over pairs (``hound``).
        ``squashed``: predictions are averaged before the inverse transform, one pair remains (``sad``).
    indel : str
        See :func:`borzoi_rt.engine.alleles.allele_pairs`.
    edge_fill : str
        What enters at a window end after a shift or a deletion: ``genome`` or ``pad`` (unknown bases).
    n_code : str
        ``zero`` or ``uniform`` (0.25 in each row) for unknown bases.
    window : str
        ``centered``: every variant has a window of its own, as in the reference programs. ``grid:BP``: windows start at
        multiples of BP; variants then share windows, stand up to BP/2 from the centre, and score a little differently.
        ``at:START``: one window for all.
    span_bp : int, optional
        Keep only the bins around the variant that cover this many bases; the whole output when None.
    """

    rc: bool = False
    shifts: tuple[int, ...] = (0,)
    shift_space: str = "unsquashed"
    indel: str = "stitch"
    edge_fill: str = "genome"
    n_code: str = "zero"
    window: str = "centered"
    span_bp: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("shift_space", SHIFT_SPACES),
            ("indel", INDEL_POLICIES),
            ("edge_fill", EDGE_FILLS),
            ("n_code", tuple(N_POLICIES)),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")
        if not self.shifts:
            raise InputError("shifts is empty; give at least one, 0 for none")
        check_window(self.window)
        if self.span_bp is not None and self.span_bp < 1:
            raise InputError(f"span_bp is {self.span_bp}; a positive number of bases is needed")
