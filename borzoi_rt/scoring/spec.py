"""What a score is called: ``STAT@REGION``; ``STAT`` alone is taken over the default region, ``window``."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.regions import WINDOW, Region
from ..errors import InputError
from .alphagenome import native_name
from .formulas import SiteSplit, Statistic
from .registry import SITE_STATISTICS
from .statistics import STATISTICS, canonical_names


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """One score: a statistic and the region it is taken over."""

    stat: str
    region: Region
    statistic: Statistic | SiteSplit

    @property
    def name(self) -> str:
        """``logSED`` for the whole window, ``logSED@span:2000`` for another region."""
        return self.stat if self.region == WINDOW else f"{self.stat}@{self.region}"

    @property
    def of_genes(self) -> bool:
        """Whether there is one such score for every gene near the variant."""
        return self.region.of_genes


def _spec(stat: str, region: Region, family: str) -> ScoreSpec:
    of_sites = {name.casefold(): name for name in SITE_STATISTICS}.get(stat.casefold())
    if region.of_sites:
        own = [name for name, statistic in SITE_STATISTICS.items() if statistic.region == region.kind]
        if of_sites not in own:
            raise InputError(f"{stat!r} is no statistic of region {region}; allowed: {', '.join(own)}")
        return ScoreSpec(of_sites, region, SITE_STATISTICS[of_sites])
    if of_sites is not None:
        where = SITE_STATISTICS[of_sites].region
        raise InputError(f"{of_sites} compares sites of genes; write {of_sites}@{where}, not @{region}")
    (name,) = canonical_names([stat], family)
    return ScoreSpec(name, region, STATISTICS[family][name])


def read_specs(names: tuple[str, ...], family: str, region: str = "window") -> tuple[ScoreSpec, ...]:
    """Read the names of scores.

    Parameters
    ----------
    names : tuple of str
        ``STAT`` or ``STAT@REGION``, or what AlphaGenome calls a scorer, see :mod:`borzoi_rt.scoring.alphagenome`.
    family : str
        Table of statistics.
    region : str
        Region of the names that have none.

    Raises
    ------
    InputError
        If a statistic or region is unknown, or a score is named twice.
    """
    default = Region.parse(region)
    parts = [native_name(name).partition("@") for name in names]
    regions = [Region.parse(where) if at else default for _, at, where in parts]
    specs = tuple(_spec(stat, region, family) for (stat, _, _), region in zip(parts, regions, strict=True))
    if not specs:
        canonical_names([], family)
    for number, spec in enumerate(specs):
        if any(spec.name == other.name for other in specs[:number]):
            raise InputError(f"score {spec.name!r} is named twice; a table holds each once")
    return specs
