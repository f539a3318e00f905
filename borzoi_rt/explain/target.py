"""Targets: what is explained, one number made of predicted coverage.

    S = G(tracks) - G(against)         G(t) = g( mean over tracks of F( u(y[track, bins]) ) )

y is the squashed output of the model, u the inverse of the squashed scale (or nothing), F a formula of
:mod:`borzoi_rt.explain.formulas` over the bins of a region, and g nothing or ``ln(. + pseudo + 1e-6)``, as in
calico/baskerville ``seqnn.py``. Without ``against`` the second term is absent. A target is written as a score is,
``STAT@REGION``, ``log`` and a blank before it for the logarithm: ``log SUM@exons``, ``logSED@tss:2000``, ``SUM``.

:class:`TargetSpec` is what a user says. :meth:`TargetSpec.bind` makes a :class:`Target` of it for one window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ..bundle.opening import Bundle
from ..engine.gene_bins import BIN_RULES
from ..engine.regions import Region
from ..errors import InputError
from ..genome.pas import SITE_KINDS
from ..plain import check_types
from ..squash import KINDS, Squash
from ..types import DoubleArray, FloatArray, IndexArray
from .formulas import FORMULAS, ODDS, RATIO, canonical_formula
from .site_odds import Odds, check_sites, mean_odds, odds_of
from .where import Where, columns_of

STRANDS = ("gene", "named")
SITE_PSEUDO = 50.0  # as of the scores of the same names
LOG_PSEUDO = 1e-6  # added to every pseudo-count, as in the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """What is explained, as a user says it; it goes to every output as JSON.

    Parameters
    ----------
    stat : str
        A formula of :mod:`borzoi_rt.explain.formulas`.
    region : str
        ``window``, ``span:BP``, ``center:BP`` around the middle of what is explained; of a gene ``exons``, ``span``,
        ``tss:BP``, ``gene_mask``, ``gene_body``, ``pas``, ``splice``.
    log : bool
        Take ``ln(. + pseudo + 1e-6)`` of the mean over tracks.
    pseudo : float
        Pseudo-count of that logarithm.
    tracks : str, optional
        Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
    against : str, optional
        Another selection, whose number is subtracted: with ``log``, what is specific to ``tracks``.
    strand : str
        ``gene``: of regions of genes, leave out the tracks of the other strand, as the reference does. ``named``: keep
        every track that was named.
    bin_rule : str
        Which bins belong to a part of a gene, one of :data:`borzoi_rt.engine.gene_bins.BIN_RULES`.
    site : str, optional
        Of targets of sites, which: see :func:`borzoi_rt.explain.site_odds.odds_of`.
    site_pseudo : float, optional
        Pseudo-count of these but RATIO, in coverage; 50 when None, as of the scores.
    sites : str, optional
        Kind of polyadenylation sites of these but RATIO, one of :data:`borzoi_rt.genome.pas.SITE_KINDS`; ``utr3`` when
        None.
    squashed : bool
        Do not undo the squashed scale.
    kind : str, optional
        Squash kind instead of the bundle's.
    unscale, unclip : bool, optional
        Instead of what the bundle says.

    Raises
    ------
    InputError
        If a field is not what it may be.
    """

    stat: str = "SUM"
    region: str = "window"
    log: bool = False
    pseudo: float = 0.0
    tracks: str | None = None
    against: str | None = None
    strand: str = "gene"
    bin_rule: str = "overlap"
    site: str | None = None
    site_pseudo: float | None = None
    sites: str | None = None
    squashed: bool = False
    kind: str | None = None
    unscale: bool | None = None
    unclip: bool | None = None

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "stat", canonical_formula(self.stat))
        object.__setattr__(self, "region", str(Region.parse(self.region)))
        for name, allowed in (
            ("strand", STRANDS),
            ("bin_rule", BIN_RULES),
            ("kind", (None, *KINDS)),
            ("sites", (None, *SITE_KINDS)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(map(str, filter(None, allowed)))}")
        if not np.isfinite(self.pseudo) or self.pseudo < 0.0:
            raise InputError(f"pseudo is {self.pseudo!r}; 0 or more is needed")
        if self.pseudo and not self.log:
            raise InputError(f"pseudo {self.pseudo!r} belongs to the logarithm: write 'log {self.name}', or leave it")
        check_sites(self)
        if self.squashed and (self.kind, self.unscale, self.unclip) != (None, None, None):
            raise InputError("squashed keeps the squashed scale: leave out kind, unscale and unclip, or squashed")

    @property
    def name(self) -> str:
        """``log SUM@exons``, as :meth:`parse` reads it."""
        where = "" if self.region == "window" else f"@{self.region}"
        return f"{'log ' if self.log else ''}{self.stat}{where}"

    @property
    def of_genes(self) -> bool:
        """Whether it is taken over a region of a gene."""
        return Region.parse(self.region).of_genes

    @classmethod
    def parse(cls, text: str, **more: Any) -> TargetSpec:
        """Read ``[log ]STAT[@REGION]``; ``more`` are other fields.

        Raises
        ------
        InputError
            If it is not written like that.
        """
        words = text.split()
        log = len(words) == 2 and words[0].casefold() in ("log", "ln")
        if len(words) != 1 + log:
            raise InputError(f"target {text!r} cannot be read; write it like 'SUM@exons' or 'log SUM@exons'")
        stat, at, region = words[-1].partition("@")
        return cls(stat=stat, region=region if at else "window", log=log, **more)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the text as ``target``."""
        return {"target": self.name, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TargetSpec:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        InputError
            If a field is unknown or not what it may be.
        """
        values = {name: value for name, value in document.items() if name != "target"}
        unknown = sorted(values.keys() - {item.name for item in fields(cls)})
        if unknown:
            raise InputError(f"target has the unknown field {unknown[0]!r}")
        return cls(**values)

    def bind(self, bundle: Bundle, where: Where) -> Target:
        """Return the target in one window.

        Parameters
        ----------
        bundle : Bundle
            Its tracks, squashed scale and output grid.
        where : Where
            The window, and the gene or the position that the region is of.

        Raises
        ------
        InputError
            If a selection matches no track, or the region holds no bin of the output.
        """
        chosen = [self._selected(bundle, self.tracks, where)]
        if self.against is not None:
            chosen.append(self._selected(bundle, self.against, where))
        positions = np.array(list(dict.fromkeys(np.concatenate(chosen).tolist())), dtype=np.int64)
        row_of = {position: row for row, position in enumerate(positions.tolist())}
        rows = [np.array([row_of[position] for position in part.tolist()], dtype=np.int64) for part in chosen]
        grid = bundle.geometry
        odds: tuple[Odds, ...] = ()
        if self.stat in ODDS or self.region == "splice":
            odds = odds_of(self.stat, self.site, where, grid, sites=self.sites or SITE_KINDS[0])
        sides = tuple(side for candidate in odds for side in candidate.sides)
        columns = sides or columns_of(Region.parse(self.region), self.bin_rule, where, grid)
        own = bundle.squash(positions, kind=self.kind, unscale=self.unscale, unclip=self.unclip)
        squash = Squash.from_tracks(bundle.tracks.take(positions), kind="none") if self.squashed else own
        return Target(self, positions, tuple(rows), columns, squash, odds)

    def _selected(self, bundle: Bundle, expression: str | None, where: Where) -> IndexArray:
        found = bundle.tracks.select(expression)
        if not self.of_genes or where.gene is None or self.strand == "named":
            return found
        other = {"+": "-", "-": "+"}.get(where.gene.strand)
        strands = bundle.tracks.strand
        kept = found[[strands[position] != other for position in found]]
        if not len(kept):
            raise InputError(
                f"tracks {expression!r} are all of strand {other}, gene {where.gene.name} is of strand "
                f"{where.gene.strand}; name tracks of that strand, or keep these with strand='named'"
            )
        return kept

    def notes(self, bundle: Bundle) -> list[str]:
        """Return where the target departs from what the bundle says, for people."""
        stated = bundle.info.squash
        told = [
            f"{name} is {value} here, {getattr(stated, name)} in the bundle"
            for name, value in (("kind", self.kind), ("unscale", self.unscale), ("unclip", self.unclip))
            if value is not None and value != getattr(stated, name)
        ]
        return told if not self.squashed else [*told, "coverage is explained in the squashed scale"]


class Target:
    """A target in one window: squashed coverage to one number, and back; made by :meth:`TargetSpec.bind`.

    Attributes
    ----------
    spec : TargetSpec
    positions : int64 ndarray of shape (tracks,)
        Tracks to predict, positions in the bundle's table.
    rows : tuple of int64 ndarray
        Rows of ``positions`` that ``tracks`` means, then those of ``against``, where that is given.
    columns : tuple of int64 ndarray
        Bins of the output; two sets for a ratio, those of every side of targets of sites.
    bins : (int, int)
        First and last + 1 of the output bins that are needed: what :meth:`value` takes.
    squash : Squash
        Of ``positions``.
    odds : tuple of Odds
        Of targets of sites, what is compared, bins counted from the first of ``bins`` on.
    """

    def __init__(
        self,
        spec: TargetSpec,
        positions: IndexArray,
        rows: tuple[IndexArray, ...],
        columns: tuple[IndexArray, ...],
        squash: Squash,
        odds: tuple[Odds, ...] = (),
    ) -> None:
        self.spec, self.positions, self.rows, self.columns, self.squash = spec, positions, rows, columns, squash
        every = np.concatenate(columns)
        self.bins = (int(every.min()), int(every.max()) + 1)
        self.odds = tuple(candidate.moved(self.bins[0]) for candidate in odds)

    def value(self, squashed: FloatArray) -> float:
        """Return the number.

        Parameters
        ----------
        squashed : float32 ndarray of shape (tracks, bins)
            Output of the model for ``positions`` and ``bins``.

        Returns
        -------
        float
            Everything after the inverse of the squashed scale is float64. NaN where a formula has no value.
        """
        coverage = self.squash.inverse(self._checked(squashed)).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [self._part(coverage[rows])[0] for rows in self.rows]
        return parts[0] - sum(parts[1:])

    def cotangent(self, squashed: FloatArray) -> tuple[float, DoubleArray]:
        """Return the number, and its derivative by every squashed bin, float64 of the shape of ``squashed``.

        At the knee of the soft clip the slope is that of the lower branch, see :meth:`borzoi_rt.squash.Squash.slope`.
        """
        coverage = self.squash.inverse(self._checked(squashed)).astype(np.float64)
        total, found = 0.0, np.zeros_like(coverage)
        with np.errstate(invalid="ignore", divide="ignore"):
            for sign, rows in zip((1.0, -1.0), self.rows, strict=False):
                value, slopes = self._part(coverage[rows])
                total += sign * value
                found[rows] += sign * slopes
            found *= self.squash.slope(self._checked(squashed))
        return total, found

    def _part(self, coverage: DoubleArray) -> tuple[float, DoubleArray]:
        """Return G of some tracks and its derivative by their coverage."""
        slopes = np.zeros_like(coverage)
        columns = [part - self.bins[0] for part in self.columns]
        if self.spec.stat == RATIO:
            above, below = (coverage[:, part].mean(-1) for part in columns)
            # As in the reference: a ratio of means over tracks, and no mean of ratios.
            top, bottom = above.mean() + self.spec.pseudo, below.mean() + self.spec.pseudo
            value = top / bottom
            slopes[:, columns[0]] += 1.0 / (bottom * coverage[:, columns[0]].size)
            slopes[:, columns[1]] -= value / (bottom * coverage[:, columns[1]].size)
            pseudo = LOG_PSEUDO
        elif self.spec.stat in ODDS:
            given = self.spec.site_pseudo
            values, slopes = mean_odds(coverage, self.odds, SITE_PSEUDO if given is None else given)
            return float(values.mean()), slopes / len(coverage)
        else:
            formula = FORMULAS[self.spec.stat]
            inner = coverage[:, columns[0]]
            value = formula.value(inner).mean()
            slopes[:, columns[0]] = formula.slope(inner) / len(coverage)
            pseudo = self.spec.pseudo + LOG_PSEUDO
        if self.spec.log:
            slopes /= value + pseudo
            value = np.log(value + pseudo)
        return float(value), slopes

    def _checked(self, squashed: FloatArray) -> FloatArray:
        """Return a copy that may be overwritten."""
        needed = (len(self.positions), self.bins[1] - self.bins[0])
        if squashed.shape != needed:
            raise InputError(f"coverage has shape {squashed.shape}; (tracks, bins) of {needed} is needed")
        return np.array(squashed, dtype=np.float32, order="C")

    def to_json(self) -> dict[str, Any]:
        """Return spec, squash and number of tracks as JSON values."""
        squash = {"kind": self.squash.kind, "unscale": self.squash.unscale, "unclip": self.squash.unclip}
        sites = {"sites_used": [candidate.name for candidate in self.odds]} if self.odds else {}
        return {**self.spec.to_json(), "squash": squash, "tracks_count": [len(rows) for rows in self.rows], **sites}


def with_text(spec: TargetSpec | str, **more: Any) -> TargetSpec:
    """Return a spec from text or from a spec, with some fields replaced where they are given."""
    given = {name: value for name, value in more.items() if value is not None}
    if isinstance(spec, str):
        return TargetSpec.parse(spec, **given)
    if not isinstance(spec, TargetSpec):
        raise InputError(f"target is {spec!r:.40}; a TargetSpec or text like 'log SUM@exons' is needed")
    return replace(spec, **given)
