"""``borzoi-rt explain``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.experiment_run import EXPERIMENTS, Experiment, check_table, read_experiment, run_experiment
from ..explain.explainer import Explainer, ExplainOptions, allele_notes
from ..explain.methods import METHODS, Method, read_options
from ..explain.rows import OK
from ..explain.run import ExplainOutputs, explain_rows
from ..genome.fasta import Fasta
from . import _explaining, _runs, _shared
from ._commands import WithOthers
from ._extras import check_extras
from ._talk import say

OUTPUTS = ("bigwig", "plot", "modisco", "seqlets", "hits", "motifs", "seqlet_pvalue", "report")
_FILE = click.Path(path_type=Path)
_EVERY: dict[str, Method | Experiment] = {**METHODS, **EXPERIMENTS}


@click.command(cls=WithOthers)
@click.option(
    "--method",
    type=click.Choice(tuple(_EVERY)),
    default="saliency",
    show_default=True,
    help="How to explain: " + "; ".join(f"{name}: {item.summary}" for name, item in _EVERY.items()) + ".",
)
@_explaining.what_options
@click.option(
    "--vcf", type=_FILE, help="Variants of a VCF or BCF file to explain, each on both haplotypes  [default: none]."
)
@_shared.bundle_option
@click.option(
    "--fold",
    "folds",
    multiple=True,
    type=_FILE,
    help="Another fold of the model, a bundle; attributions are averaged. May be given again  [default: none].",
)
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=_FILE,
    help=f"File of attributions to write: .h5; of {', '.join(EXPERIMENTS)} a table: .tsv.",
)
@click.option(
    "--bigwig", type=_FILE, help="bigWig to write, of the scores of the bases that are there  [default: none]."
)
@click.option("--plot", type=_FILE, help="Figure to write, of the first rows: .png, .svg or .pdf  [default: none].")
@click.option("--modisco", type=_FILE, help="Directory to make, of inputs of TF-MoDISco  [default: none].")
@click.option(
    "--seqlets",
    type=_FILE,
    help="BED to write, of stretches of bases whose scores are larger together than by chance; with --motifs they have "
    "names  [default: none].",
)
@click.option(
    "--seqlet-pvalue",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="What every stretch in a seqlet needs  [default: 0.01].",
)
@click.option(
    "--hits",
    type=_FILE,
    help="Table to write, of every hit of --motifs with its attribution: .parquet or .tsv (extra: promoter)  "
    "[default: none].",
)
@click.option(
    "--motifs", type=_FILE, help="Motifs for --seqlets, --hits and --report, a MEME or JASPAR file  [default: none]."
)
@click.option(
    "--report",
    type=_FILE,
    help="Also write a report: one HTML file with letters, effects and the stretches that count (extra: report)  "
    "[default: none].",
)
@_shared.rc_option
@_shared.n_code_option
@_explaining.experiment_options
@_explaining.method_options
@_runs.spread_options
@_shared.device_option
@_shared.threads_option
def explain(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Explain what drives a prediction: attribute a number made of coverage to the bases of a sequence.

    Give --region, --bed, --gene, --variant or --vcf. With --gene the target is of that gene and its window; the bases
    are those of --region or --bed, or the whole window. With --variant or --vcf they are those around each variant,
    once for each haplotype. Gradient methods need a bundle that was exported with --gradient. OUT holds a score for
    every base and letter, the sequence, and what was done; a row of --bed or --vcf that cannot be explained has a
    status there: contig_missing, out_of_bounds, ref_mismatch, invalid_allele, symbolic_alt, out_of_window (of the
    gene), too_many_n, no_target (no bin, or no finite value), no_segment, incomplete (deeplift), error.

    marginalize, ablate and space put motifs into the bases, or shuffle them: OUT is a table of the target before and
    after, OUT.meta.json holds their means and what was done.
    """
    if choices["method"] in EXPERIMENTS:
        _experiment(bundle, fasta, out, choices)
        return
    settings_of = _runs.take_settings(choices)
    files = _explaining.files_of(choices)
    given, source = _explaining.take_options(choices)
    options = ExplainOptions(
        method=choices["method"],
        options=read_options(choices["method"], given),
        rc=bool(choices["rc"]),
        n_code=choices["n_code"],
    )
    outputs = ExplainOutputs(out=out, **{name: choices[name] for name in OUTPUTS})
    if outputs.report is not None:
        check_extras(("report",))
    sources = [fasta, bundle, *choices["folds"], *files]
    noun = "parts" if METHODS[options.method].divisible else "rows"
    with Fasta(fasta) as genome, _shared.progress_bar("explaining", noun=noun) as progress:
        settings = settings_of(progress)
        outputs.check(sources, resume=settings.resume)
        spec = _explaining.read_spec(choices)
        models = [open_bundle(path) for path in (bundle, *choices["folds"])]
        rows = _explaining.read_rows(choices, spec, genome, models[0])
        if source is not None:
            rows = source.of(rows, genome, models[0].geometry)
        how: dict[str, Any] = {"spec": spec, "options": options, "settings": settings}
        told = explain_rows(rows, outputs, bundles=models, fasta=genome, **how)
    if _runs.is_told(settings):
        return
    _shared.say_notes(spec.notes(models[0]))
    explained = [row for row, one in zip(rows, told, strict=False) if one["status"] == OK]  # of a shard nothing is told
    _shared.say_notes(allele_notes(models[0], explained[0], spec) if explained else ())
    what = f"{len(rows)} row{'' if len(rows) == 1 else 's'} of {rows[0].width} bases"
    _say_explained(told, what, outputs.targets if settings.chosen_shard is None else [_runs.left_by(settings, out)])


def _say_explained(told: list[dict[str, Any]], what: str, written: Sequence[Path]) -> None:
    """Say what the methods say of themselves, and how many rows have which status, where not all are explained."""
    parts = [part for row in told for part in row.get("folds", [row])]
    errors = [part["completeness_error"] for part in parts if part.get("completeness_error") is not None]
    if errors:
        say(f"note: attributions miss the difference of the target by at most {max(errors):.2%}")
    counts = Counter(row["status"] for row in told)
    lost = "" if set(counts) <= {OK} else f": {', '.join(f'{count} {name}' for name, count in counts.most_common())}"
    first = next((row for row in told if row["status"] != OK), None)
    if first is not None and first.get("detail"):
        say(f"note: the first that is not explained: {first['status']}: {first['detail']}")
    say(f"{what}{lost} -> {', '.join(map(str, written))}")


def _experiment(bundle: Path, fasta: Path, out: Path, choices: dict[str, Any]) -> None:
    """Do an experiment instead of attributing anything to bases."""
    method, files = choices["method"], _explaining.files_of(choices)
    options = read_experiment(method, _explaining.take_options(choices)[0])
    for name in ("folds", *OUTPUTS):
        if choices[name]:
            shown = "fold" if name == "folds" else name.replace("_", "-")
            raise InputError(f"{method} writes a table alone; leave --{shown} out")
    for option in _runs.chosen_of_run(click.get_current_context()):
        raise InputError(f"{method} is done at once, in this process; leave {option} out")
    check_table(out, [fasta, bundle, *files])
    spec, model = _explaining.read_spec(choices), open_bundle(bundle)
    device = Device.parse(choices["device"], threads=choices["threads"])
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        Explainer(model, genome, device) as explainer,
        _shared.progress_bar("explaining") as progress,
    ):
        rows = _explaining.read_rows(choices, spec, genome, model, keep=False)
        progress.total(len(rows))
        given = {"rc": bool(choices["rc"]), "n_code": choices["n_code"], "progress": progress.done}
        means = run_experiment(rows, out, explainer=explainer, spec=spec, method=method, options=options, **given)
    _shared.say_notes([*spec.notes(model), *allele_notes(model, rows[0], spec)])
    for words in _changes(means, spec.name):
        say(words)
    say(f"{len(rows)} row{'' if len(rows) == 1 else 's'} by {method} -> {out}")


_MOST_LINES = 12


def _changes(means: Sequence[Mapping[str, Any]], target: str) -> list[str]:
    """Return in words what an experiment changes: the mean over rows and samples of each motif and spacing."""
    held: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for part in means:
        held.setdefault((part["motif"], part["spacing"]), []).append(part)
    lines = []
    for (motif, spacing), parts in held.items():
        before, after, change = (
            sum(part[name] for part in parts) / len(parts) for name in ("before", "after", "change")
        )
        alone = parts[0]["change_se"] if len(parts) == 1 else None
        spread = "" if alone is None else f" (standard error {alone:.2g})"
        apart = "" if spacing is None else f", {spacing} bp apart"
        what = "the bases shuffled" if motif is None else f"{motif}{apart}"
        lines.append(f"{what}: {target} changes by {change:+.4g}{spread}, from {before:.4g} to {after:.4g} on average")
    more = len(lines) - _MOST_LINES
    return lines[:_MOST_LINES] + ([f"{more} more are in the table"] if more > 0 else [])
