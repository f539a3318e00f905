"""How the predictions of a variant are made: one frozen object, part of the identity of every score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..bundle.manifest import N_POLICIES
from ..errors import InputError
from ..plain import check_types, whole
from .alleles import EDGE_FILLS, INDEL_POLICIES, check_window

SHIFT_SPACES = ("unsquashed", "squashed")

# What applies where neither the caller nor a family says otherwise; n_code is the bundle's.
DEFAULTS: Mapping[str, str] = {"shift_space": "unsquashed", "indel": "stitch", "edge_fill": "genome"}


def whole_numbers(name: str, values: object) -> tuple[int, ...]:
    """Return integers of any kind, NumPy's too, as a tuple that can be hashed and written as JSON.

    Raises
    ------
    InputError
        If it is no sequence of integers.
    """
    try:
        found = [None] if isinstance(values, bytes) else [whole(value) for value in values]  # type: ignore[attr-defined]
    except TypeError:
        found = [None]
    if None in found:
        raise InputError(f"{name} is {values!r:.40}; a tuple of integers is needed, like (0, 1, -1)")
    return tuple(found)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """How the predictions of one variant are made; None leaves a choice to the family of the score and to the bundle.

    Parameters
    ----------
    rc : bool
        Average each window with its reverse complement, in squashed space, stranded tracks swapped.
    shifts : tuple of int
        Shifts in bp, positive to the right; shifted predictions are not moved back.
    shift_space : str, optional
        ``unsquashed``: every shift is one pair and the statistic is averaged over pairs (``hound``).
        ``squashed``: predictions are averaged before the inverse transform, one pair remains (``sad``).
    indel : str, optional
        See :func:`borzoi_rt.engine.alleles.allele_pairs`.
    edge_fill : str, optional
        What enters at a window end after a shift or a deletion: ``genome`` or ``pad`` (unknown bases).
    n_code : str, optional
        ``zero`` or ``uniform`` (0.25 in each row) for unknown bases; None takes what the bundle's weights were trained
        with, unless a family says otherwise.
    window : str
        ``centered``: every variant has a window of its own, as in the reference programs. ``grid:BP``: windows start at
        multiples of BP; variants then share windows, stand up to BP/2 from the centre, and score differently.
        ``at:START``: one window for all, from the 0-based START on. ``cluster:SHARE``: see
        :mod:`borzoi_rt.scoring.clusters`; its scores depend on neighbours, it is there for a preset.
    """

    rc: bool = False
    shifts: tuple[int, ...] = (0,)
    shift_space: str | None = None
    indel: str | None = None
    edge_fill: str | None = None
    n_code: str | None = None
    window: str = "centered"

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "shifts", whole_numbers("shifts", self.shifts))
        for name, allowed in (
            ("shift_space", SHIFT_SPACES),
            ("indel", INDEL_POLICIES),
            ("edge_fill", EDGE_FILLS),
            ("n_code", tuple(N_POLICIES)),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")
        if not self.shifts:
            raise InputError("shifts is empty; give at least one, 0 for none")
        check_window(self.window)

    @property
    def cluster_share(self) -> float | None:
        """Share of the window that a cluster spans; None where windows are not shared that way."""
        return float(self.window.removeprefix("cluster:")) if self.window.startswith("cluster:") else None

    def resolved(self, defaults: Mapping[str, Any], n_policy: str) -> PredictionOptions:
        """Return the options with nothing left open.

        Parameters
        ----------
        defaults : mapping
            What a family says, by name of the field; :data:`DEFAULTS` says the rest.
        n_policy : str
            The bundle's code of unknown bases.
        """
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        known = {**DEFAULTS, "n_code": n_policy, **defaults}
        return replace(self, **{name: known[name] for name, value in given.items() if value is None})
