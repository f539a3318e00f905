"""What became of one ALT allele: a status, and where there are scores, a vector over tracks for every score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..genome.haplotypes import Haplotype
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
    "no_gene",
    "unphased",
    "missing_genotype",
    "overlapping_edits",
    "error",
)
SCORED = ("ok", "flipped", "ref_edited", "undefined")


@dataclass(frozen=True, slots=True)
class RegionScores:
    """The scores of one ALT allele over one region.

    Attributes
    ----------
    region : str
        ``window``, ``span:BP``, ``center:BP``; of genes ``exons``, ``span``, ``tss:BP``.
    gene : str
        Id of the gene that the region belongs to; ``.`` for none.
    scores : dict of str to float32 ndarray of shape (rows,)
        One vector per statistic, A = ALT of the input; NaN where a score is not defined.
    stronger : dict of str to int8 ndarray of shape (rows,)
        Of a row that joins two strands: 1 where the score of the '+' strand is larger in size, -1 where that of the '-'
        strand is, else 0; empty where strands are not joined after the statistic.
    gene_name, gene_strand, gene_type : str
        Of the gene; empty for none.
    covered_fraction : float, optional
        Share of the bases of the gene's region that the output window holds.
    coverage : tuple of two float32 ndarrays of shape (rows,), optional
        Sum of coverage over the region for REF and for ALT, where it was asked for.
    status : str, optional
        Instead of the status of the allele: ``no_gene`` where no gene has a bin in the region, and there are no scores.
    detail : str
        What there is to say of these scores alone.
    extras : dict of str to dict of str to float32 ndarray of shape (rows,)
        What is said of each score beside its value, by its name and by statistic: ``score_sd``, ``sign_agreement`` of
        an ensemble, see :mod:`borzoi_rt.scoring.ensemble`; ``quantile``, ``phred``, ``vs_null_max``, see
        :mod:`borzoi_rt.scoring.calibration`.
    """

    region: str
    gene: str
    scores: Mapping[str, FloatArray]
    stronger: Mapping[str, SignArray] = field(default_factory=dict)
    gene_name: str = ""
    gene_strand: str = ""
    gene_type: str = ""
    covered_fraction: float | None = None
    coverage: tuple[FloatArray, FloatArray] | None = None
    status: str | None = None
    detail: str = ""
    extras: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)

    def name_of(self, stat: str) -> str:
        """Return what a score of this region is called: ``logSED``, ``logSED@span:2000``, ``logSED@exons|GENE``."""
        name = stat if self.region == "window" else f"{stat}@{self.region}"
        return name if self.gene == "." else f"{name}|{self.gene}"


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
    reference : str
        How REF compared with the genome where there are scores, ``ok``, ``flipped`` or ``ref_edited``: the status of
        the scores that are defined.
    haplotype : Haplotype or None
        What is scored, where it is a haplotype; ``variant`` then only names it.
    normalized : Variant or None
        The left-normalised spelling that was scored, where it was asked for.
    floor_pos : tuple of int
        1-based positions of the neutral indels that were scored too.
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
    reference: str = "ok"
    haplotype: Haplotype | None = None
    normalized: Variant | None = None
    floor_pos: tuple[int, ...] = ()

    @property
    def k(self) -> int | None:
        """Length of ALT minus length of REF in bases; None where an allele has no bases."""
        return self.variant.k if self.haplotype is None else self.haplotype.k

    def __repr__(self) -> str:
        found = self.scores or {}
        shown = ", ".join(f"{name} {values.shape}" for name, values in found.items())
        return f"<ScoredVariant {self.variant} {self.status}: {shown or self.detail}>"

    @property
    def scores(self) -> dict[str, FloatArray] | None:
        """Vectors of shape (rows,) by the name of the score, see :meth:`RegionScores.name_of`; None without scores."""
        if not self.regions:
            return None
        return {part.name_of(stat): values for part in self.regions for stat, values in part.scores.items()}
