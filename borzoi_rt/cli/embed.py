"""``borzoi-rt embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..engine.gene_bins import BIN_RULES
from ..engine.regions import Region
from ..errors import InputError
from ..explain.rows import OK, VARIANT_WIDTH_BP, Row, gene_row, region_rows
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.intervals import Interval, read_bed
from ..genome.variants import Variant, read_variants
from ..inside.activations import Activations
from ..inside.embed import EmbedOptions, Unread, covered, embed_rows, variant_pairs
from ..inside.tables import check_output
from ..scoring.named_gene import one_gene
from . import _inside, _shared
from ._talk import say

_FILE = click.Path(path_type=Path)
_MOST_TOLD = 5  # genes
_WHAT = ("region", "bed", "variant", "vcf", "gene")


@click.command()
@click.option("--region", help="Region to embed, 1-based, like chr1:1,001-1,200  [default: none].")
@click.option("--bed", type=_FILE, help="Regions of a BED file to embed  [default: none].")
@click.option("--variant", help="Variant, like chr1:14677:G:A: a row for REF, one for ALT  [default: none].")
@click.option("--vcf", type=_FILE, help="Variants of a VCF, two rows each  [default: none].")
@click.option("--gene", multiple=True, help="Gene to embed, id or name; may be given again  [default: none].")
@click.option("--genes", type=_FILE, help="Annotation with the genes: GTF or GFF3  [default: none].")
@click.option(
    "--width",
    type=click.IntRange(min=1),
    help="Bases around the middle of each region or variant  [default: the region itself; of a variant "
    f"{VARIANT_WIDTH_BP}].",
)
@click.option(
    "--over",
    metavar="REGION",
    help="Bins to average instead of the bases: exons, span or tss:BP of the gene, center:BP or span:BP around the "
    "middle, window  [default: the bases; of a gene exons].",
)
@click.option(
    "--bin-rule",
    type=click.Choice(BIN_RULES),
    default="overlap",
    show_default=True,
    help="Which bins belong to a part of a gene.",
)
@click.option(
    "--layer",
    default="embedding",
    show_default=True,
    help="What is averaged: embedding (what the head reads), tokens (behind the transformer) or layer_N.",
)
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def embed(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Embed regions, alleles or genes: one vector each, the mean of a layer of the network over its positions.

    Give one of --region, --bed, --variant, --vcf and --gene. What cannot be read, as a variant whose REF is not what
    the genome holds, keeps its row, with the reason as its status. Layers other than embedding and layer_0 need a
    bundle that was exported with --activations.
    """
    given = [name for name in _WHAT if choices[name]]
    if len(given) != 1:
        raise InputError("give one of --region, --bed, --variant, --vcf and --gene")
    (what,) = given
    check_output(out, [fasta, bundle, choices["bed"], choices["vcf"], choices["genes"]])
    if (what == "gene") != (choices["genes"] is not None):
        raise InputError("--gene is looked up in --genes: give both, or neither")
    if what == "gene" and choices["width"] is not None:
        raise InputError("--width is of regions and variants; choose bins of a gene by --over")
    over = choices["over"] or ("exons" if what == "gene" else None)
    options = EmbedOptions(layer=choices["layer"], region=over, bin_rule=choices["bin_rule"])
    of_genes = options.region is not None and Region.parse(options.region).of_genes
    if of_genes and what != "gene":
        raise InputError(f"--over {options.region} is of a gene: give --gene, or average window, span:BP or center:BP")
    if not of_genes and _shared.typed(["bin_rule"]):
        raise InputError("--bin-rule is of parts of genes: leave it out, or average exons, span or tss:BP of a gene")
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "embedding") as (genome, activations, progress):
        rows = _rows(what, choices, genome, activations)
        progress.total(len(rows))
        genes = [row for row in rows if isinstance(row, Row) and row.where.gene is not None]
        shares = [(row.name, covered(activations, row, options)) for row in genes]
        said = embed_rows(rows, out, activations=activations, fasta=genome, options=options, progress=progress.done)
    for name, share in shares[:_MOST_TOLD]:
        say(f"{name}: {share:.0%} of its exon bases lie where the embedding has positions")
    if len(shares) > _MOST_TOLD:
        least = min(shares, key=lambda item: item[1])
        say(f"of {len(shares)} genes {least[0]} has the smallest share, {least[1]:.0%}; column covered has all")
    missing = [text for text in said if text != OK]
    if missing:
        click.echo(f"note: {len(missing)} of {len(said)} rows have no embedding; the first: {missing[0]}", err=True)
    click.echo(f"{len(said)} row{'' if len(said) == 1 else 's'} -> {out}", err=True)


def _rows(what: str, choices: dict[str, Any], genome: Fasta, activations: Activations) -> list[Row | Unread]:
    grid, width = activations.network.bundle.geometry, choices["width"]
    if what == "gene":
        genes = open_genes(choices["genes"])
        return [gene_row(one_gene(genes, name, genome), genome, grid) for name in choices["gene"]]
    if what in ("region", "bed"):
        regions = [Interval.parse(choices["region"])] if what == "region" else read_bed(choices["bed"])
        return [*region_rows(regions, genome, grid, width_bp=width, keep=what == "bed")]
    variants = (
        [record.variant for record in read_variants(choices["vcf"])]
        if what == "vcf"
        else [Variant.parse(choices["variant"])]
    )
    return variant_pairs(variants, genome, activations, width or VARIANT_WIDTH_BP)
