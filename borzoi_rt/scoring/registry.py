"""The statistics by name: formula, summary, and in which family.

Besides those of ``snps.py`` and ``borzoi_sad.py`` there are the statistics of ``borzoi_sed.py`` (calico/borzoi), made
for genes, and those of AlphaGenome's variant scorers under their documented names, made for ``center:BP`` and genes.
"""

from __future__ import annotations

from typing import NamedTuple

from .formulas import (
    Difference,
    Distance,
    Divergence,
    Extreme,
    LogMean,
    LogTotal,
    MeanDifference,
    Profile,
    SiteSplit,
    Statistic,
    Stronger,
    Widest,
)

# When the strands of a track are joined: after the statistic, or before it.
STRAND_ORDERS = {"hound": "after", "sad": "before"}
FAMILIES = tuple(STRAND_ORDERS)


class StatisticDescription(NamedTuple):
    """One line of a list of statistics.

    Attributes
    ----------
    name : str
        As in options and tables.
    formula : str
        Of coverage R of the reference and A of the alternate allele; sums run over bins.
    summary : str
        What it tells, in one line.
    signed : bool
        Whether a gain and a loss differ in sign; otherwise the value is a size and never negative.
    """

    name: str
    formula: str
    summary: str
    signed: bool


class _Entry(NamedTuple):
    statistic: Statistic
    formula: str
    summary: str


_SUM = _Entry(Difference(), "sum A - sum R", "change of the total coverage of the window")
_LOG_SUM = _Entry(
    Difference("log2p"), "sum log2(A + 1) - sum log2(R + 1)", "change of log coverage, every bin of the window alike"
)
_SQRT_SUM = _Entry(Difference("sqrt"), "sum sqrt(A) - sum sqrt(R)", "change of root coverage, between SUM and logSUM")
_LOG_SED = _Entry(LogTotal(), "log2(sum A + 1) - log2(sum R + 1)", "log2 fold change of the total coverage")
_COMMON: dict[str, _Entry] = {
    "SUM": _SUM,
    "logSUM": _LOG_SUM,
    "logSED": _LOG_SED,
    "sqrtSUM": _SQRT_SUM,
    "SED": _SUM._replace(summary="the same as SUM, under its published name at genes"),
    "SAX": _Entry(Extreme(), "A - R where |A - R| is largest", "the largest change of one bin, with its sign"),
    "D1": _Entry(Distance(1), "sum |A - R|", "size of all changes, gains and losses added up"),
    "D2": _Entry(Distance(2), "sqrt(sum (A - R)^2)", "size of all changes, the largest bins foremost"),
    "logD1": _Entry(Distance(1, "log2p"), "sum |log2(A + 1) - log2(R + 1)|", "D1 of log coverage"),
    "logD2": _Entry(Distance(2, "log2p"), "sqrt(sum (log2(A + 1) - log2(R + 1))^2)", "D2 of log coverage"),
    "sqrtD1": _Entry(Distance(1, "sqrt"), "sum |sqrt(A) - sqrt(R)|", "D1 of root coverage"),
    "sqrtD2": _Entry(Distance(2, "sqrt"), "sqrt(sum (sqrt(A) - sqrt(R))^2)", "D2 of root coverage"),
    "JS": _Entry(
        Divergence(),
        "1/2 sum (P - Q) ln(P / Q), P and Q the profiles of R and A",
        "change of the shape, whatever the height: symmetrised Kullback-Leibler divergence",
    ),
    "nD1": _Entry(Profile(1), "sum |P - Q|, P and Q the profiles of R and A", "size of all changes of the shape"),
    "nD2": _Entry(Profile(2), "sqrt(sum (P - Q)^2)", "size of all changes of the shape, the largest bins foremost"),
    "nDi": _Entry(Profile(0), "largest |P - Q|", "largest change of the shape: the splice score of spans of genes"),
    "nDi_signed": _Entry(
        Profile(0, direction=True), "Q - P where |P - Q| is largest", "nDi with its sign: more (+) or less (-) in ALT"
    ),
    "DIFF_MEAN": _Entry(MeanDifference(), "mean A - mean R", "AlphaGenome's scorer of that name"),
    "DIFF_SUM": _SUM._replace(summary="the same as SUM, under AlphaGenome's name"),
    "DIFF_SUM_LOG2": _LOG_SUM._replace(summary="the same as logSUM, under AlphaGenome's name"),
    "DIFF_LOG2_SUM": _LOG_SED._replace(summary="the same as logSED, under AlphaGenome's name"),
    "L2_DIFF": _Entry(Distance(2), "sqrt(sum (A - R)^2)", "the same as D2, under AlphaGenome's name"),
    "L2_DIFF_LOG1P": _Entry(
        Distance(2, "log1p"), "sqrt(sum (ln(A + 1) - ln(R + 1))^2)", "AlphaGenome's scorer of that name"
    ),
    "ACTIVE_MEAN": _Entry(Stronger(mean=True), "larger of mean A and mean R", "activity, whatever the variant does"),
    "ACTIVE_SUM": _Entry(Stronger(), "larger of sum A and sum R", "activity, whatever the variant does"),
    "MAX_DIFF": _Entry(
        Widest(), "largest |A - R| of a bin", "AlphaGenome's splicing scorer: the largest change of one bin"
    ),
    "LFC": _Entry(
        LogMean(), "ln(mean A + 0.001) - ln(mean R + 0.001)", "log fold change: AlphaGenome's scorer of genes"
    ),
}
REGISTRY: dict[str, dict[str, _Entry]] = {
    "hound": _COMMON,
    "sad": {
        **_COMMON,
        "SAD": _SUM._replace(summary="the same as SUM, under its published name"),
        "logSAD": _LOG_SUM._replace(summary="the same as logSUM, under its published name"),
        "SADlog": _LOG_SED._replace(summary="the same as logSED, under its published name"),
        "sqrtSAD": _SQRT_SUM._replace(summary="the same as sqrtSUM, under its published name"),
        "logJS": _Entry(
            Divergence("log2p"),
            "JS of log2(R + 1) and log2(A + 1)",
            "change of the shape of log coverage",
        ),
    },
}
STATISTICS: dict[str, dict[str, Statistic]] = {
    family: {name: entry.statistic for name, entry in entries.items()} for family, entries in REGISTRY.items()
}

SITE_SUMMARIES: dict[str, str] = {
    "COVR": "coverage beside polyadenylation sites, ALT against REF, where the sites part most (4 bins a side)",
    "SCOVR": "COVR with its sign: more (+) or less (-) of what ends at the later sites",
    "COVR_internal": "COVR without the two splits that are a change of all sites together",
    "COVRWIDE": "COVR with 9 bins a side",
    "SCOVRWIDE": "COVRWIDE with its sign: more (+) or less (-) of the later sites",
    "COVR3": "share of coverage before the later sites, where it changes most (5 bins before each site)",
    "SCOVR3": "COVR3 with its sign: more (+) or less (-) of the later sites",
    "COVR3WIDE": "COVR3 with 10 bins before each site",
    "SCOVR3WIDE": "COVR3WIDE with its sign: more (+) or less (-) of the later sites",
    "PROP3": "share of coverage around the later sites, where it changes most (5 bins around each site)",
    "SPROP3": "PROP3 with its sign: more (+) or less (-) of the later sites",
    "POLYADENYLATION": "AlphaGenome's scorer of that name: proximal against distal sites, 400 bp before each",
    "JUNC": "exon against intron coverage at a splice site, where it changes most (4 bins a side)",
    "JUNC_signed": "JUNC with its sign: more (+) or less (-) of the exon",
    "EXON_USAGE": "share of an exon in the coverage of all exons of its gene, where it changes most",
    "EXON_USAGE_signed": "EXON_USAGE with its sign: more (+) or less (-) of the exon",
}

# Statistics over polyadenylation sites (region pas) or over splice sites and exons (splice), and over nothing else.
SITE_STATISTICS: dict[str, SiteSplit] = {
    "COVR": SiteSplit(),
    "SCOVR": SiteSplit(direction=True),
    "COVR_internal": SiteSplit(internal=True),
    "COVRWIDE": SiteSplit(layout="wide"),
    "SCOVRWIDE": SiteSplit(direction=True, layout="wide"),
    "COVR3": SiteSplit(layout="up", rule="share"),
    "SCOVR3": SiteSplit(direction=True, layout="up", rule="share"),
    "COVR3WIDE": SiteSplit(layout="up_wide", rule="share"),
    "SCOVR3WIDE": SiteSplit(direction=True, layout="up_wide", rule="share"),
    "PROP3": SiteSplit(layout="around", rule="share"),
    "SPROP3": SiteSplit(direction=True, layout="around", rule="share"),
    "POLYADENYLATION": SiteSplit(layout="read", rule="apart"),
    "JUNC": SiteSplit(layout="junctions", rule="pairs", region="splice"),
    "JUNC_signed": SiteSplit(direction=True, layout="junctions", rule="pairs", region="splice"),
    "EXON_USAGE": SiteSplit(layout="exons", rule="usage", region="splice"),
    "EXON_USAGE_signed": SiteSplit(direction=True, layout="exons", rule="usage", region="splice"),
}
