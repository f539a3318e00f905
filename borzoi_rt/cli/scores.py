"""``borzoi-rt scores``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..scoring.registry import SITE_STATISTICS, SITE_SUMMARIES
from ..scoring.statistics import FAMILIES, describe_statistics

_ORDER = {
    "hound": "The score of a pair of strands, which is one row, is the sum of the scores of its two strands, not the "
    "score of their added coverage (D2 and its like: the root of the sum of squares).",
    "sad": "The score of a pair of strands, which is one row, is that of their added coverage.",
}

REGIONS = {
    "window": "every bin of the output; what a score without @REGION is taken over",
    "span:BP": "the bins around the middle of REF that cover BP bases, moved to stay in the output",
    "center:BP": "the bins around POS that cover BP bases, cut at the ends of the output",
    "exons": "the exons of each gene near the variant, all transcripts united (--genes)",
    "span": "each gene from its first to its last exon (--genes)",
    "tss:BP": "BP bases around the TSS of each gene (--genes)",
    "gene_mask": "the exons of the transcripts that begin in the output: AlphaGenome's gene mask (--genes)",
    "gene_body": "the span of genes that the variant overlaps: AlphaGenome's splicing mask (--genes)",
    "pas": "polyadenylation sites of each gene, for statistics of sites alone (--genes, --pas)",
    "splice": "splice sites and exons of each gene, for statistics of sites alone (--genes)",
}
PRESETS = {
    "hound-default": "hound_snp.py as it stands: logSUM, indels averaged over two phases",
    "hound-stitch": "hound_snp.py --indel_stitch: logSUM, indels stitched at the variant",
    "hound-cluster": "hound_snp.py -c 0.25: neighbours share windows, so a score depends on what else the file holds",
    "paper-eqtl-sad": "borzoi_sad.py --rc -u, eQTL scores of the paper: SAD, logSAD, D2, logD2",
    "paper-satmut-sad": "borzoi_sad.py --rc -u, saturation mutagenesis of the paper, for a crop of 8,128 bins",
    "eqtl-sad": "the same as paper-eqtl-sad, under a short name",
    "eqtl-sed": "borzoi_sed.py --rc -u, eQTL scores of genes: SED, logSED over exons",
    "paper-satmut-sed": "borzoi_sed.py --rc -u, saturation mutagenesis of genes, for a crop of 1,024 bins",
    "sqtl": "borzoi_sed.py --rc --span --no_untransform, splice scores: nDi over spans of genes, squashed scale kept",
    "alphagenome": "AlphaGenome's recommended scorers for outputs of these models: centre masks, gene masks (--genes)",
    "paqtl": "borzoi_sed_paqtl_cov.py --utr3 -u, polyadenylation in last exons: COVR (--pas)",
    "ipaqtl": "borzoi_sed_ipaqtl_cov.py -u, polyadenylation in introns too: COVR (--pas)",
}


@click.command()
@click.option(
    "--family",
    type=click.Choice(FAMILIES),
    default="hound",
    show_default=True,
    help="Whose statistics to list; the same name in two families is two statistics.",
)
def scores(family: str) -> None:
    """List what `borzoi-rt score` can compute: statistics with their formulas, regions, and presets.

    A score is a statistic over a region, STAT@REGION, like logSED@span:2000; STAT alone is taken over the window.
    """
    click.echo(f"Statistics of family {family} (--stats). {_ORDER[family]}")
    click.echo(
        "Over a gene, the score of a pair is that of the strand that the gene lies on; --no-merge keeps strands apart."
    )
    click.echo(
        "R, A: un-squashed coverage of REF and ALT; sums run over the bins of the region; P, Q: shares of the sum."
    )
    _list([(item.name, item.formula, item.summary) for item in describe_statistics(family)])
    click.echo("\nStatistics of sites of a gene")
    _list([(f"{name}@{SITE_STATISTICS[name].region}", text) for name, text in SITE_SUMMARIES.items()])
    click.echo("\nRegions (STAT@REGION, or --region for all)")
    _list(list(REGIONS.items()))
    click.echo("\nPresets (--preset): all options of a published command")
    _list(list(PRESETS.items()))


def _list(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of texts in columns."""
    *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for *cells, last in rows:
        click.echo("  " + "".join(f"{cell:<{width}}  " for cell, width in zip(cells, widths, strict=True)) + last)
