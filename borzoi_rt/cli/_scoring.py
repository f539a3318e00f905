"""Options of the commands that score, and the object they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ..bundle.manifest import N_POLICIES
from ..engine.alleles import EDGE_FILLS, INDEL_POLICIES
from ..engine.gene_bins import BIN_RULES
from ..errors import InputError
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.pas import SITE_KINDS
from ..scoring.options import ENSEMBLES, GENE_MODES, REF_POLICIES, ScoreOptions, texts_of
from ..scoring.presets import PRESETS, preset_options
from ..scoring.spec import ScoreSpec, read_specs
from ..scoring.statistics import FAMILIES
from . import _shared


def scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add statistics, strands, shifts, tracks, bins and the inverse of the squashed scale."""
    for option in (
        click.option(
            "--max-n-fraction",
            type=float,
            help="Largest share of unknown bases in a window, 0 to 1; more gives too_many_n  [default: any].",
        ),
        click.option(
            "--no-merge",
            is_flag=True,
            help="Give each strand of a stranded track a row of its own  [default: one row for both].",
        ),
        _shared.unclip_option,
        _shared.unscale_option,
        click.option(
            "--region",
            help="Bins that a score without @REGION is taken over: window, span:BP, center:BP, or of genes exons, "
            "span, tss:BP  [default: window].",
        ),
        click.option(
            "--span",
            "span_bp",
            type=click.IntRange(min=1),
            metavar="BP",
            help="Short for --region span:BP: only the bins around the variant that cover BP bases.",
        ),
        _shared.squash_option,
        click.option(
            "--n-code",
            type=click.Choice(tuple(N_POLICIES)),
            help="Code of unknown bases: zero, or uniform (0.25 for each base)  [default: the family's, else the "
            "bundle's].",
        ),
        click.option(
            "--edge-fill",
            type=click.Choice(EDGE_FILLS),
            help="What enters a window at its end after a deletion or a shift: bases of the genome, or unknown ones "
            "(pad)  [default: genome; family sad: pad].",
        ),
        _shared.tracks_option,
        _shared.shifts_option,
        _shared.rc_option,
        click.option(
            "--family",
            type=click.Choice(FAMILIES),
            help="Order of the steps: hound takes the statistic of each strand and then adds the strands, sad adds the "
            "strands first  [default: hound].",
        ),
        click.option(
            "--stats",
            "--scores",
            "stats",
            help="Scores, separated by commas: STAT or STAT@REGION; `borzoi-rt scores` lists them  "
            "[default: SUM,logSUM,logSED].",
        ),
    ):
        command = option(command)
    return command


def ensemble_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the model, which may be several, and what is averaged over these."""
    for option in (
        click.option(
            "--ensemble",
            type=click.Choice(ENSEMBLES),
            help="What is averaged over several bundles: mean_scores, as in the reference, or mean_predictions, the "
            "coverage of each allele, which is then scored once  [default: mean_scores].",
        ),
        click.option(
            "--bundle",
            "bundles",
            required=True,
            multiple=True,
            type=click.Path(path_type=Path),
            help="The model: a bundle directory, as `borzoi-rt export` makes it. Given several times, the members of "
            "an ensemble (folds or replicates): scores are their means, beside them score_sd (n - 1) and "
            "sign_agreement.",
        ),
    ):
        command = option(command)
    return command


def gene_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add genes and polyadenylation sites: which there are, and which bins are theirs; see :func:`open_annotation`."""
    for option in (
        click.option(
            "--bin-rule",
            type=click.Choice(BIN_RULES),
            help="Which bins belong to an exon: overlap takes every bin that it meets, half those between its rounded "
            "ends (about half covered)  [default: overlap; family sad: half].",
        ),
        click.option(
            "--gene-mode",
            type=click.Choice(GENE_MODES),
            help="all: every gene that has bins of the region in the output window. nearest: of these the one whose "
            "span is nearest to the variant  [default: all].",
        ),
        click.option(
            "--gene-type",
            "gene_types",
            multiple=True,
            metavar="TYPE",
            help="Score genes of this type alone, like protein_coding; may be given several times  [default: all "
            "types].",
        ),
        click.option(
            "--gene",
            "gene_names",
            multiple=True,
            metavar="NAME|ID",
            help="Score this gene alone; may be given several times  [default: all genes].",
        ),
        click.option(
            "--site-min-coverage",
            type=float,
            help="Coverage above which sites are compared where one has it, mean over tracks  [default: 100].",
        ),
        click.option(
            "--site-pseudo", type=float, help="Pseudo-count of scores of region pas, in coverage  [default: 50]."
        ),
        click.option(
            "--sites",
            type=click.Choice(SITE_KINDS),
            help="Sites that are compared: utr3 takes those of the last exon, as long as no number is missing, intron "
            "also those of introns  [default: utr3].",
        ),
        click.option(
            "--pas",
            type=click.Path(path_type=Path),
            help="Table of polyadenylation sites (PolyA_DB 3) for scores of region pas, like COVR@pas  [default: "
            "none].",
        ),
        click.option(
            "--chrom-aliases",
            type=click.Path(path_type=Path),
            help="Names of contigs, where --genes calls them otherwise than the genome: an assembly report of NCBI, a "
            "chromAlias.txt of UCSC, or names of one contig a line, separated by tabs. Accessions of the chromosomes "
            "of GRCh38, GRCh37 and GRCm39 are known without  [default: none].",
        ),
        click.option(
            "--genes",
            "annotation",
            type=click.Path(path_type=Path),
            help="Annotation for scores of genes (STAT@exons, STAT@span, STAT@tss:BP): GTF or GFF3, plain or "
            "compressed. It is indexed once, in the user's cache  [default: none].",
        ),
    ):
        command = option(command)
    return command


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what happens to alleles before they are predicted, and presets."""
    for option in (
        click.option(
            "--preset",
            type=click.Choice(tuple(PRESETS)),
            help="All options of a published command; `borzoi-rt scores` says which  [default: none].",
        ),
        click.option(
            "--window",
            metavar="WINDOW",
            help="centered: each variant in the middle of a window of its own. grid:BP: windows start at multiples of "
            "BP, so that variants share them; this changes scores (8 SNVs, grid:4096: correlation with centered 0.92 "
            "for SUM, 0.44 for logSED; docs/scoring.md has more). at:START: one window for all variants, from the "
            "0-based START on  [default: centered].",
        ),
        click.option(
            "--indel",
            type=click.Choice(INDEL_POLICIES),
            help="How alleles of different length are aligned: stitch joins two phases at the variant, average "
            "averages their scores, centre_trim cuts both ends of the longer, none leaves each as it is  [default: "
            "stitch; family sad: centre_trim].",
        ),
        click.option(
            "--flip-deletions",
            is_flag=True,
            default=None,
            help="Let --ref-policy flip apply to deletions too, nearly all of which look flipped  [default: not to "
            "them].",
        ),
        click.option(
            "--ref-policy",
            type=click.Choice(REF_POLICIES),
            help="What to do where REF is not in the genome: strict gives the status ref_mismatch; where the genome "
            "holds ALT, flip scores the opposite change and turns it round, edit writes REF into the genome  "
            "[default: strict].",
        ),
    ):
        command = option(command)
    return command


def open_annotation(annotation: Path | None, pas: Path | None, chrom_aliases: Path | None) -> Path | Genes | None:
    """Return the genes that ``--genes``, ``--pas`` and ``--chrom-aliases`` name."""
    if annotation is None:
        if pas is not None:
            raise InputError("--pas needs --genes: sites are compared along genes")
        if chrom_aliases is not None:
            raise InputError("--chrom-aliases needs --genes: it says how these call contigs")
    if annotation is None or (pas is None and chrom_aliases is None):
        return annotation
    return open_genes(annotation, pas=pas, chrom_aliases=chrom_aliases)


_OF_GENES = {"gene_names": "--gene", "gene_types": "--gene-type", "gene_mode": "--gene-mode"}


def _specs(names: tuple[str, ...] | None, family: str, given: Mapping[str, Any]) -> tuple[ScoreSpec, ...]:
    stats = ScoreOptions.for_family(family).stats if names is None else names
    return read_specs(stats, family, given.get("region", "window"))


def _check_genes_named(names: tuple[str, ...] | None, family: str, given: Mapping[str, Any]) -> None:
    """Refuse options of genes where no score is of genes, by their names here; Python's are those of the library."""
    asked = next((option for name, option in _OF_GENES.items() if name in given), None)
    specs = _specs(names, family, given) if asked else ()
    if asked and not any(spec.of_genes for spec in specs):
        stat = specs[0].stat
        raise InputError(
            f"{asked} is for scores of genes, and {specs[0].name} is none; write --stats {stat}@exons "
            "(regions of genes: `borzoi-rt scores`)"
        )


def read_options(*, preset: str | None = None, stats: str | None, no_merge: bool, **choices: Any) -> ScoreOptions:
    """Turn a command's arguments into options; a preset fixes all but tracks, statistics and the limit of N."""
    span_bp = choices.pop("span_bp", None)
    if span_bp is not None:
        if choices.get("region") is not None:
            raise InputError("--span is short for --region span:BP; leave one of the two out")
        choices["region"] = f"span:{span_bp}"
    names = texts_of("stats", stats) if stats is not None else None
    given = {name: value for name, value in choices.items() if value not in (None, ())}
    if preset is None:
        if str(given.get("window")).startswith("cluster:"):
            raise InputError("--window cluster makes a score depend on its neighbours; --preset hound-cluster has it")
        family = given.pop("family", "hound")
        _check_genes_named(names, family, given)
        return ScoreOptions.for_family(family, stats=names, merge_strands=not no_merge, **given)
    free = {"tracks", "max_n_fraction", "squash", "region", "with_alleles"}
    free |= {"gene_names", "gene_types", "gene_mode", "ensemble", "phase_floor", "phase_floor_seed"}
    fixed = sorted(set(given) - free)
    if fixed:
        raise InputError(f"--preset {preset} fixes {fixed[0]!r}; leave one of the two out")
    return preset_options(preset, names, merge_strands=not no_merge, **given)
