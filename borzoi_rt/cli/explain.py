"""``borzoi-rt explain``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..explain.explainer import ExplainOptions
from ..explain.methods import METHODS, read_options
from ..explain.rows import VARIANT_WIDTH_BP, Row, gene_row, one_gene, region_rows, variant_rows
from ..explain.run import ExplainOutputs, explain_rows
from ..explain.stretches import SAMPLINGS
from ..explain.substitutions import CONVENTIONS
from ..explain.target import STRANDS, TargetSpec
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Gene
from ..genome.intervals import Interval, read_bed
from ..genome.pas import Sites, read_sites
from ..genome.variants import Variant
from ..squash import KINDS
from . import _shared

OPTIONS = (
    *("steps", "references", "bin_bp", "samples", "kept", "ridge"),
    *("sampling", "recheck", "sample", "convention", "tile_bp", "seed", "max_delta"),
)
_FILE = click.Path(path_type=Path)


def _what(command: Callable[..., None]) -> Callable[..., None]:
    """Add what is explained: bases and target."""
    for option in (
        click.option("--squashed", is_flag=True, help="Explain coverage in the squashed scale  [default: undo it]."),
        click.option(
            "--squash", type=click.Choice(KINDS), help="Kind of the squashed scale to undo  [default: the bundle's]."
        ),
        click.option(
            "--unclip/--no-unclip", default=None, help="Undo the soft clip of high coverage  [default: the bundle's]."
        ),
        click.option(
            "--unscale/--no-unscale",
            default=None,
            help="Divide by the scale of the track, which gives reads  [default: the bundle's].",
        ),
        click.option(
            "--pseudo",
            type=float,
            default=0.0,
            show_default=True,
            help="Pseudo-count of the logarithm of a target that begins with log.",
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
            help="Number to explain, [log ]STAT[@REGION], as 'logSED@tss:2000'  [default: log SUM, of a gene log "
            "SUM@exons].",
        ),
        click.option(
            "--against",
            help="Tracks whose number is subtracted, to see what is specific to --tracks  [default: none].",
        ),
        _shared.tracks_option,
        click.option("--pas", type=_FILE, help="Table of polyadenylation sites, for RATIO@pas  [default: none]."),
        click.option("--genes", type=_FILE, help="Annotation with the gene: GTF or GFF3  [default: none]."),
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


def _method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of methods; one that the method does not have is refused."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            help="Number that chance follows, of shuffles and draws  [default: 0].",
        ),
        click.option(
            "--max-delta",
            type=click.FloatRange(min=0.0),
            help="Largest completeness error of deeplift that is accepted, a share of the difference from the "
            "references  [default: 0.01].",
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
            "--tile-bp",
            type=click.IntRange(min=1),
            help="Length of the stretches of shuffle, deletion, occlusion, shap and lime  [default: 128].",
        ),
        click.option(
            "--bin-bp", type=click.IntRange(min=1), help="Length of the stretches that are shuffled  [default: 1024]."
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


@click.command()
@click.option(
    "--method",
    type=click.Choice(tuple(METHODS)),
    default="saliency",
    show_default=True,
    help="How to explain: " + "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items()) + ".",
)
@_what
@_shared.bundle_option
@click.option(
    "--fold",
    "folds",
    multiple=True,
    type=_FILE,
    help="Another fold of the model, a bundle; attributions are averaged. May be given again  [default: none].",
)
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="File of attributions to write: .h5.")
@click.option(
    "--bigwig", type=_FILE, help="bigWig to write, of the scores of the bases that are there  [default: none]."
)
@click.option("--plot", type=_FILE, help="Figure to write, of the first rows: .png, .svg or .pdf  [default: none].")
@click.option("--modisco", type=_FILE, help="Directory to make, of inputs of TF-MoDISco  [default: none].")
@_shared.rc_option
@click.option(
    "--n-code",
    type=click.Choice(tuple(N_POLICIES)),
    help="Code of unknown bases: zero, or uniform (0.25 for each base)  [default: the bundle's].",
)
@_method_options
@_shared.device_option
@_shared.threads_option
def explain(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Explain what drives a prediction: attribute a number made of coverage to the bases of a sequence.

    Give --region, --bed, --gene or --variant. With --gene the target is of that gene and its window; the bases are
    those of --region or --bed, or the whole window. With --variant they are those around it, once for each haplotype.
    Gradient methods need a bundle that was exported with --gradient. OUT holds a score for every base and letter, the
    sequence, and what was done.
    """
    method_options = {name: choices.pop(name) for name in OPTIONS}
    options = ExplainOptions(
        method=choices["method"],
        options=read_options(choices["method"], method_options),
        rc=bool(choices["rc"]),
        n_code=choices["n_code"],
    )
    outputs = ExplainOutputs(out=out, bigwig=choices["bigwig"], plot=choices["plot"], modisco=choices["modisco"])
    outputs.check([fasta, bundle, *choices["folds"], *(choices[name] for name in ("bed", "genes", "pas"))])
    spec = _spec(choices)
    models = [open_bundle(path) for path in (bundle, *choices["folds"])]
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        _shared.progress_bar("explaining") as progress,
    ):
        rows = _rows(choices, spec, genome, models[0])
        progress.total(len(rows) * len(models))
        facts = explain_rows(
            rows,
            outputs,
            bundles=models,
            fasta=genome,
            spec=spec,
            options=options,
            device=Device.parse(choices["device"], threads=choices["threads"]),
            progress=progress.done,
        )
    _shared.say_notes(spec.notes(models[0]))
    parts = [part for told in facts for part in told.get("folds", [told])]
    errors = [part["completeness_error"] for part in parts if part.get("completeness_error") is not None]
    if errors:
        click.echo(f"note: attributions miss the difference of the target by at most {max(errors):.2%}", err=True)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'} of {rows[0].width} bases -> {out}", err=True)


def _spec(choices: dict[str, Any]) -> TargetSpec:
    text = choices["target"] or ("log SUM@exons" if choices["gene"] is not None else "log SUM")
    names = ("pseudo", "tracks", "against", "strand", "squashed", "unscale", "unclip")
    spec = TargetSpec.parse(text, kind=choices["squash"], **{name: choices[name] for name in names})
    if spec.of_genes and choices["gene"] is None:
        raise InputError(f"target {spec.name} is of a gene: give --gene and --genes")
    if not spec.of_genes and choices["strand"] != "gene":
        raise InputError(f"target {spec.name} is of no gene: leave --strand out, or name tracks by --tracks")
    return spec


def _rows(choices: dict[str, Any], spec: TargetSpec, genome: Fasta, model: Bundle) -> list[Row]:
    """Return the rows that the options mean."""
    given = [name for name in ("region", "bed", "variant") if choices[name] is not None]
    if len(given) > 1 or (not given and choices["gene"] is None):
        raise InputError("give one of --region, --bed and --variant, or --gene alone")
    gene = _gene(choices, genome)
    if gene is not None and not spec.of_genes and not given:
        raise InputError(f"target {spec.name} is of no gene: give --region or --bed beside --gene, or another --target")
    sites: Sites | None = None if choices["pas"] is None else read_sites(choices["pas"])
    width, grid = choices["width"], model.geometry
    if choices["variant"] is not None:
        variant = Variant.parse(choices["variant"])
        return variant_rows(variant, genome, grid, width_bp=width or VARIANT_WIDTH_BP, gene=gene, sites=sites)
    if not given:
        assert gene is not None
        if width is not None:
            raise InputError("--width is of regions and variants; give --region or --bed beside --gene")
        return [gene_row(gene, genome, grid, sites=sites)]
    regions = [Interval.parse(choices["region"])] if choices["region"] is not None else read_bed(choices["bed"])
    return region_rows(regions, genome, grid, width_bp=width, gene=gene, sites=sites)


def _gene(choices: dict[str, Any], genome: Fasta) -> Gene | None:
    """Return the one gene that --gene names."""
    if choices["gene"] is None:
        if choices["genes"] is not None or choices["pas"] is not None:
            raise InputError("--genes and --pas are read for the gene of the target: name it by --gene")
        return None
    if choices["genes"] is None:
        raise InputError("--gene is looked up in an annotation: give --genes")
    return one_gene(open_genes(choices["genes"]), choices["gene"], genome)
