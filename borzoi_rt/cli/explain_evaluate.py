"""``borzoi-rt explain evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.evaluate.faithful import EvaluateOptions
from ..explain.evaluate.metrics import CHEAP, METRICS, Asked, chosen_metrics, unheeded
from ..explain.evaluate.run import costs, evaluate_files, to_tsv
from ..explain.evaluate.subject import Subject, read_subject
from ..explain.evaluate.words import verdict_of
from ..explain.explainer import Explainer
from ..explain.segments import read_segments
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.intervals import read_bed
from ..genome.pas import read_sites
from ..runs.outputs import check_directory
from ..scoring.named_gene import one_gene
from . import _shared
from ._talk import say

_FILE, _USUAL = click.Path(path_type=Path), EvaluateOptions()
_OPTIONS = ("positions", "samples", "tile_bp", "seed")


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="ATTR.h5...")
@_shared.bundle_option
@_shared.fasta_option
@click.option(
    "--out", required=True, type=_FILE, help="Directory to make: metrics.tsv, metrics.json and evaluation.png."
)
@click.option(
    "--metrics",
    help="What to measure, separated by commas, or all: "
    + "; ".join(f"{name}: {metric.summary}" for name, metric in METRICS.items())
    + f"  [default: {', '.join(CHEAP)}, and what models are given for].",
)
@click.option(
    "--against", type=_FILE, help="Exact mutagenesis of the same regions, by the method ism  [default: a sample]."
)
@click.option(
    "--fold",
    "folds",
    multiple=True,
    type=_FILE,
    help="Another fold of the model, a bundle, for the metric folds. May be given again  [default: none].",
)
@click.option(
    "--randomised",
    multiple=True,
    type=_FILE,
    help="Bundle with weights in random order, for the metric of that name. May be given again  [default: none].",
)
@click.option(
    "--truth",
    type=_FILE,
    help="Bases that are known to count, a BED file, for the metric of that name  [default: none].",
)
@click.option("--gene", help="Gene of the target, id or name, of --genes  [default: none].")
@click.option("--genes", type=_FILE, help="Annotation with the gene: GTF or GFF3  [default: none].")
@click.option("--pas", type=_FILE, help="Table of polyadenylation sites, for targets of region pas  [default: none].")
@click.option(
    "--segments", help="Stretches of files that were made with them: bed:FILE or motifs:FILE  [default: none]."
)
@click.option("--rows", type=click.IntRange(min=1), help="First rows of each file, which are judged  [default: all].")
@click.option(
    "--positions",
    type=click.IntRange(min=3),
    default=_USUAL.positions,
    show_default=True,
    help="Bases drawn for exact mutagenesis without --against.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=3),
    default=_USUAL.samples,
    show_default=True,
    help="Mutants of infidelity, and subsets for every n of sensitivity-n.",
)
@click.option(
    "--tile-bp",
    type=click.IntRange(min=1),
    help="Length of the stretches that curves shuffle  [default: a twentieth of the bases].",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that all chance here follows."
)
@_shared.device_option
@_shared.threads_option
def evaluate(files: tuple[Path, ...], bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Judge attributions: do they say what the model does, and would they be said again?

    A file says its target, method and options, so that both can be run again with the BUNDLE and the genome it was
    made with. Every number stands beside that of maps in random order, and passes where it is better than 99 % of
    them. A line for each file says what it passed and failed, and by how much. What it costs is said before.
    """
    names = None if choices["metrics"] is None else [name.strip() for name in choices["metrics"].split(",")]
    given = {"folds": len(choices["folds"]), "randomised": len(choices["randomised"])}
    truth = () if choices["truth"] is None else read_bed(choices["truth"])
    metrics = chosen_metrics(names, **given, truth=len(truth))
    if choices["against"] is not None and "ism" not in metrics:
        raise InputError("--against is for the metric ism, which is not among --metrics; add it, or leave it out")
    _check_heeded(metrics, against=choices["against"] is not None)
    if len({path.name for path in files}) < len(files):
        raise InputError("two files have one name, by which the table names them; rename one")
    options = EvaluateOptions(**{name: choices[name] for name in _OPTIONS})
    device = Device.parse(choices["device"], threads=choices["threads"])
    if device.kind == "triton":
        raise InputError(f"{device}: attributions are judged on this machine; give cpu, cuda or tensorrt")
    model = open_bundle(bundle)
    check_directory(out, [fasta, bundle, *files])
    others = {name: [open_bundle(path) for path in choices[name]] for name in given}
    asked = Asked(options, choices["against"] is not None, **given)
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        Explainer(model, genome, device) as explainer,
    ):
        more = _more(choices, genome)
        subjects = [read_subject(path, model, genome, most=choices["rows"], **more) for path in files]
        _check_more(choices, subjects)
        for subject in subjects:
            _say_costs(subject, costs(subject, metrics, asked))
        with _shared.progress_bar("judging", noun="measures") as progress:
            progress.total(sum(len(subject.rows) for subject in subjects) * len(metrics))
            how: dict[str, Any] = {"options": options, "against": choices["against"], "device": device, **others}
            how["truth"] = truth
            found = evaluate_files(subjects, out, metrics=metrics, explainer=explainer, progress=progress.done, **how)
    click.echo(to_tsv(found), nl=False)
    for one in found:
        say(verdict_of(one.table()))
    say(f"{_shared.counted(len(subjects), 'file')} by {_shared.counted(len(metrics), 'metric')} -> {out}")


def _say_costs(subject: Subject, held: dict[str, int | None]) -> None:
    """Say what a file will cost, before anything is computed."""
    known = sum(count or 0 for count in held.values())
    parts = ", ".join(f"{name} {'?' if count is None else f'{count:,}'}" for name, count in held.items())
    rows = f"{len(subject.rows)} row{'' if len(subject.rows) == 1 else 's'}"
    say(f"{subject.name}: about {known * len(subject.rows):,} passes of the network, {rows} of {parts}")


def _check_heeded(metrics: Sequence[str], *, against: bool) -> None:
    """Refuse options that none of the metrics heeds."""
    found = unheeded([name for name in _OPTIONS if _shared.typed([name])], metrics, against=against)
    if found is not None:
        name, why = found
        raise InputError(f"--{name.replace('_', '-')} is {why.replace('with against', 'with --against')}; leave it out")


def _check_more(choices: dict[str, Any], subjects: Sequence[Subject]) -> None:
    """Refuse a gene, sites or stretches that no file is of."""
    for option, heeded, what in (
        ("gene", [one.spec.of_genes for one in subjects], "no file has a target of a gene"),
        ("pas", [one.spec.region == "pas" for one in subjects], "no file has a target of region pas"),
        ("segments", [one.segments for one in subjects], "no file was made with such stretches"),
    ):
        if choices[option] is not None and not any(heeded):
            raise InputError(f"--{option} is given, and {what}; leave it out")


def _more(choices: dict[str, Any], genome: Fasta) -> dict[str, Any]:
    """Return what a file does not hold: gene, sites and stretches."""
    if (choices["gene"] is None) != (choices["genes"] is None):
        raise InputError("--gene and --genes belong together; give both or neither")
    gene = None if choices["gene"] is None else one_gene(open_genes(choices["genes"]), choices["gene"], genome)
    sites = None if choices["pas"] is None else read_sites(choices["pas"])
    if sites is not None and gene is None:
        raise InputError("--pas is read for the gene of the target: name it by --gene")
    segments = None if choices["segments"] is None else read_segments(choices["segments"])
    return {"gene": gene, "sites": sites, "segments": segments}
