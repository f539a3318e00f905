"""What became of one ALT allele: a status, and where there are scores, a vector over tracks for every score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..genome.variants import Variant
from ..types import FloatArray, SignArray

STATUSES = (
    "ok",
    "flipped",
    "ref_edited",
    "undefined",
    "ref_mismatch",
    "invalid_allele",
    "symbolic_alt",
    "contig_missing",
    "out_of_bounds",
    "too_many_n",
    "error",
)
SCORED = ("ok", "flipped", "ref_edited", "undefined")


@dataclass(frozen=True, slots=True)
class RegionScores:
    """The scores of one ALT allele over one region.

    Attributes
    ----------
    region : str
        ``window``, ``span:BP`` or ``center:BP``.
    gene : str
        Gene that the region belongs to; ``.`` for none.
    scores : dict of str to float32 ndarray of shape (rows,)
        One vector per statistic, A = ALT of the input; NaN where a score is not defined.
    stronger : dict of str to int8 ndarray of shape (rows,)
        Of a row that joins two strands: 1 where the score of the '+' strand is larger in size, -1 where that of the '-'
        strand is, else 0; empty where strands are not joined after the statistic.
    """

    region: str
    gene: str
    scores: Mapping[str, FloatArray]
    stronger: Mapping[str, SignArray] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredVariant:
    """What became of one ALT allele.

    Attributes
    ----------
    record, alt_index : int
        0-based number of the record in the input and of the ALT in the record.
    variant : Variant
        As in the input.
    status : str
        One of ``STATUSES``; there are scores where it is one of ``SCORED``. ``undefined``: at least one score is not a
        finite number.
    detail : str
        What was found, where there is something to say.
    window_start, stitch_bin, n_fraction
        See :class:`borzoi_rt.engine.prediction.AllelePrediction`; None without scores.
    regions : tuple of RegionScores
        In the order in which the regions were asked for; empty without scores.
    """

    record: int
    alt_index: int
    variant: Variant
    status: str
    detail: str = ""
    window_start: int | None = None
    stitch_bin: int | None = None
    n_fraction: float | None = None
    regions: tuple[RegionScores, ...] = ()

    @property
    def scores(self) -> dict[str, FloatArray] | None:
        """Vectors of shape (rows,) by the name of the score, as ``logSED@span:2000``; None without scores."""
        if not self.regions:
            return None
        return {
            stat if part.region == "window" else f"{stat}@{part.region}": values
            for part in self.regions
            for stat, values in part.scores.items()
        }
