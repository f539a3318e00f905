"""Options of the commands that explain: which bases, which target, and how; and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..bundle.opening import Bundle
from ..engine.regions import Region
from ..errors import InputError
from ..explain.coalitions import SAMPLINGS
from ..explain.dependency import ATTRIBUTIONS
from ..explain.experiment_run import motifs_from
from ..explain.rows import VARIANT_WIDTH_BP, Row, allele_rows, gene_row, region_rows, variant_rows
from ..explain.segments import SegmentSource, read_segments
from ..explain.substitutions import CONVENTIONS
from ..explain.target import STRANDS, TargetSpec
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Gene
from ..genome.intervals import Interval, read_bed
from ..genome.pas import SITE_KINDS, Sites, read_sites
from ..genome.variants import Variant, read_variants
from ..scoring.named_gene import one_gene
from . import _shared

OPTIONS = (
    *("steps", "references", "bin_bp", "samples", "kept", "ridge"),
    *("sampling", "recheck", "sample", "convention", "tile_bp", "seed", "attribution", "max_passes", "max_delta"),
    *("motif", "backgrounds", "spacing", "segments"),
)
# Parameters of :func:`target_options` but for those of genes.
OF_TARGET = (
    *("tracks", "against", "target", "squash", "unscale", "unclip", "pas", "squashed", "pseudo"),
    *("site", "site_pseudo", "sites"),
)
_FILE = click.Path(path_type=Path)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what the target is, and where its gene is looked up."""
    for option in (
        click.option("--squashed", is_flag=True, help="Take coverage in the squashed scale  [default: undo it]."),
        _shared.squash_option,
        _shared.unclip_option,
        _shared.unscale_option,
        click.option(
            "--pseudo",
            type=float,
            default=0.0,
            show_default=True,
            help="Pseudo-count of the logarithm of a target that begins with log.",
        ),
        click.option(
            "--site",
            help="Site of a target that is of one, as JUNC@splice, by its position or number; mean takes all  "
            "[default: the one there is].",
        ),
        click.option("--site-pseudo", type=float, help="Pseudo-count of targets of sites, in coverage  [default: 50]."),
        click.option(
            "--sites",
            type=click.Choice(SITE_KINDS),
            help="Polyadenylation sites that are compared: utr3 takes those of the last exon, intron also those of "
            "introns  [default: utr3].",
        ),
        click.option(
            "--strand",
            type=click.Choice(STRANDS),
            default="gene",
            show_default=True,
            help="Tracks of a target of a gene: gene leaves out those of the other strand, named keeps all.",
        ),
        click.option(
            "--target",
            help="Target, a number made of coverage, [log ]STAT[@REGION], as 'logSED@tss:2000'  [default: log SUM, "
            "of a gene log SUM@exons].",
        ),
        click.option(
            "--against",
            help="Tracks whose number is subtracted, to see what is specific to --tracks  [default: none].",
        ),
        _shared.tracks_option,
        click.option(
            "--pas", type=_FILE, help="Table of polyadenylation sites, for targets of region pas  [default: none]."
        ),
        click.option("--genes", type=_FILE, help="Annotation with the gene: GTF or GFF3  [default: none]."),
    ):
        command = option(command)
    return command


def what_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what is explained: bases and target."""
    for option in (
        target_options,
        click.option(
            "--width",
            type=click.IntRange(min=1),
            help="Bases to explain around the middle of each region  [default: the region itself; of a variant "
            f"{VARIANT_WIDTH_BP}].",
        ),
        click.option("--variant", help="Variant, like chr1:14677:G:A, on both haplotypes  [default: none]."),
        click.option("--gene", help="Gene of the target, id or name, of --genes  [default: none]."),
        click.option("--bed", type=_FILE, help="Regions of a BED file to explain  [default: none]."),
        click.option("--region", help="Region to explain, 1-based, like chr1:1,001-1,200  [default: none]."),
    ):
        command = option(command)
    return command


def method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of methods; one that the method does not have is refused."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            help="Number that chance follows, of shuffles and draws  [default: 0].",
        ),
        click.option("--kept", type=float, help="Share of bases that copies of smoothgrad keep  [default: 0.9]."),
        click.option(
            "--samples",
            type=click.IntRange(min=1),
            help="Copies of smoothgrad, points of expected-gradients, shuffles of shuffle, orders or coalitions of "
            "shap, masks of lime  [default: 5, 50, 10, 20 and 200].",
        ),
        click.option(
            "--ridge", type=click.FloatRange(min=0.0), help="Penalty of the regression of lime  [default: 1]."
        ),
        click.option(
            "--sampling", type=click.Choice(SAMPLINGS), help="How shap draws coalitions  [default: permutation]."
        ),
        click.option(
            "--recheck",
            type=click.IntRange(min=1),
            help="Strongest substitutions that ism-hybrid scores exactly  [default: 200].",
        ),
        click.option(
            "--sample",
            type=click.IntRange(min=1),
            help="Random substitutions by which ism-hybrid is judged  [default: 30].",
        ),
        click.option(
            "--convention",
            type=click.Choice(CONVENTIONS),
            help="Mean that ism and its hybrid leave out: over four bases, or the three not there  [default: mean4].",
        ),
        click.option(
            "--segments",
            help="Stretches that these methods take instead: bed:FILE, intervals, or motifs:FILE, hits of the motifs "
            "of a MEME or JASPAR file (extra: promoter)  [default: stretches of --tile-bp].",
        ),
        click.option(
            "--tile-bp",
            type=click.IntRange(min=1),
            help="Length of the stretches of shuffle, deletion, occlusion, shap and lime  [default: 128].",
        ),
        click.option(
            "--max-passes",
            type=click.IntRange(min=1),
            help="Gradients, or predictions, that dependency may take for each row; more is refused  [default: 2000].",
        ),
        click.option(
            "--attribution",
            type=click.Choice(ATTRIBUTIONS),
            help="Scores whose dependence on the other bases dependency shows  [default: saliency].",
        ),
        click.option(
            "--bin-bp", type=click.IntRange(min=1), help="Length of the stretches that are shuffled  [default: 1024]."
        ),
        click.option(
            "--max-delta",
            type=click.FloatRange(min=0.0),
            help="Largest completeness error of deeplift that is accepted, a share of the difference from the "
            "references  [default: 0.01].",
        ),
        click.option(
            "--references",
            type=click.IntRange(min=1),
            help="Shuffles that ig and deeplift compare with  [default: 5 and 20].",
        ),
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            help="Points between a shuffle and the sequence of ig  [default: 32].",
        ),
    ):
        command = option(command)
    return command


def experiment_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of experiments, which put motifs into bases and attribute nothing."""
    for option in (
        click.option(
            "--spacing",
            type=_shared.IntegerList(),
            help="Bases between motifs of space, numbers separated by commas  [default: none].",
        ),
        click.option(
            "--backgrounds",
            type=click.IntRange(min=0),
            help="Shuffles of the bases that marginalize and space put motifs into; 0 takes them as they are  "
            "[default: 10].",
        ),
        click.option(
            "--motif",
            multiple=True,
            help="Motif that marginalize and space put in: letters, N for any, or @FILE, a MEME or JASPAR file of "
            "which each is put in. May be given again  [default: none].",
        ),
    ):
        command = option(command)
    return command


def read_spec(choices: dict[str, Any]) -> TargetSpec:
    """Return the target that the options mean."""
    text = choices["target"] or ("log SUM@exons" if choices["gene"] is not None else "log SUM")
    names = ("pseudo", "tracks", "against", "strand", "site", "site_pseudo", "sites", "squashed", "unscale", "unclip")
    spec = TargetSpec.parse(text, kind=choices["squash"], **{name: choices[name] for name in names})
    if spec.of_genes and choices["gene"] is None:
        raise InputError(f"target {spec.name} is of a gene: give --gene and --genes")
    if not spec.of_genes and choices["strand"] != "gene":
        raise InputError(f"target {spec.name} is of no gene: leave --strand out, or name tracks by --tracks")
    return spec


def files_of(choices: dict[str, Any]) -> list[Path]:
    """Return the files that say what is explained, and how: no output may be one of them.

    To be asked before :func:`take_options`.
    """
    listed = [*(choices["motif"] or ()), *(choices[name] for name in ("tracks", "against"))]
    return [
        *(choices[name] for name in ("bed", "vcf", "genes", "pas") if choices.get(name) is not None),
        *(Path(text[1:]) for text in listed if text is not None and text.startswith("@")),
        *([] if choices["segments"] is None else [Path(choices["segments"].partition(":")[2])]),
    ]


def take_options(choices: dict[str, Any]) -> tuple[dict[str, Any], SegmentSource | None]:
    """Take the options of methods out of the arguments of a command, and read where stretches and motifs come from."""
    given = {name: choices.pop(name, None) for name in OPTIONS}  # a command has those of its methods
    source = None if given["segments"] is None else read_segments(given["segments"])
    motifs = motifs_from(given["motif"]) if given["motif"] else None  # none given is None, as of other options
    return given | {"motif": motifs, "segments": None if source is None else source.label}, source


def read_rows(
    choices: dict[str, Any], spec: TargetSpec, genome: Fasta, model: Bundle, *, keep: bool = True
) -> list[Row]:
    """Return the rows that the options mean.

    With ``keep`` regions of a BED file and alleles of a VCF that are wrong have a status.
    """
    names = ("region", "bed", "vcf", "variant") if "vcf" in choices else ("region", "bed", "variant")
    given = [name for name in names if choices[name] is not None]
    if len(given) > 1 or (not given and choices["gene"] is None):
        known = ", ".join(f"--{name}" for name in names[:-1])
        raise InputError(f"give one of {known} and --{names[-1]}, or --gene alone")
    gene = _gene(choices, genome)
    if choices["pas"] is not None and Region.parse(spec.region).kind != "pas":
        raise InputError(
            f"--pas is for targets of region pas, as RATIO@pas, and {spec.name} is none; leave it out, or choose "
            "another --target"
        )
    if gene is not None and not spec.of_genes and not given:
        raise InputError(f"target {spec.name} is of no gene: give --region or --bed beside --gene, or another --target")
    sites: Sites | None = None if choices["pas"] is None else read_sites(choices["pas"])
    width, grid = choices["width"], model.geometry
    if choices["variant"] is not None:
        variant = Variant.parse(choices["variant"])
        return variant_rows(variant, genome, grid, width_bp=width or VARIANT_WIDTH_BP, gene=gene, sites=sites)
    if choices.get("vcf") is not None:
        variants = [record.variant for record in read_variants(choices["vcf"])]
        around: dict[str, Any] = {"width_bp": width or VARIANT_WIDTH_BP, "gene": gene, "sites": sites}
        if keep:
            return allele_rows(variants, genome, grid, **around)
        return [row for variant in variants for row in variant_rows(variant, genome, grid, **around)]
    if not given:
        assert gene is not None
        if width is not None:
            raise InputError("--width is of regions and variants; give --region or --bed beside --gene")
        return [gene_row(gene, genome, grid, sites=sites)]
    regions = [Interval.parse(choices["region"])] if choices["region"] is not None else read_bed(choices["bed"])
    many = keep and choices["bed"] is not None
    return region_rows(regions, genome, grid, width_bp=width, gene=gene, sites=sites, keep=many)


def _gene(choices: dict[str, Any], genome: Fasta) -> Gene | None:
    """Return the one gene that --gene names."""
    if choices["gene"] is None:
        if choices["genes"] is not None or choices["pas"] is not None:
            raise InputError("--genes and --pas are read for the gene of the target: name it by --gene")
        return None
    if choices["genes"] is None:
        raise InputError("--gene is looked up in an annotation: give --genes")
    return one_gene(open_genes(choices["genes"]), choices["gene"], genome)
