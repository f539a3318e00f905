"""``borzoi-rt surrogate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import open_bundle
from ..explain.explainer import Explainer
from ..genome.fasta import Fasta
from ..motifs.files import read_motifs
from ..motifs.scan import PVALUE
from ..runs.outputs import check_directory
from ..surrogates.library import LibraryOptions
from ..surrogates.models import KINDS, FitOptions
from ..surrogates.run import SurrogateOptions, make_surrogates, write_surrogates
from . import _shared
from ._explaining import read_rows, read_spec, target_options

_FILE = click.Path(path_type=Path)
_LIBRARY, _FIT = LibraryOptions(), FitOptions()  # their defaults
_HEEDED = {  # options that some surrogates alone heed
    "penalty": ("additive", "pairwise"),
    "pair_features": ("pairwise",),
    "depth": ("tree", "rules"),
    "leaf": ("tree", "rules"),
    "rules": ("rules",),
}


@click.command()
@click.option("--region", required=True, help="Region to mutate, 1-based, like chr1:1,001-1,200.")
@click.option("--gene", help="Gene of the target, id or name, of --genes; its window is predicted  [default: none].")
@target_options
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Directory to make: library, surrogates, rules, figure.")
@click.option(
    "--motifs", type=_FILE, help="MEME or JASPAR file: fit to matches of its motifs, too  [default: bases alone]."
)
@click.option(
    "--motif-pvalue",
    type=float,
    help=f"Chance of a match of a motif at one position of random DNA  [default: {PVALUE:g}].",
)
@click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help="What to fit: " + "; ".join(f"{name}: {kind.summary}" for name, kind in KINDS.items()) + ". May be given "
    "again  [default: all].",
)
@click.option("--mutants", type=int, default=_LIBRARY.mutants, show_default=True, help="Mutants to score, a pass each.")
@click.option(
    "--rate", type=float, default=_LIBRARY.rate, show_default=True, help="Chance of each base to be exchanged."
)
@click.option(
    "--held",
    type=float,
    default=_LIBRARY.held,
    show_default=True,
    help="Share of mutants that nothing is fitted to, which the fidelity is of.",
)
@click.option(
    "--penalty",
    type=float,
    help="Penalty of the coefficients of linear surrogates, 0 for none  [default: chosen by leave-one-out].",
)
@click.option(
    "--pair-features",
    type=int,
    default=_FIT.pair_features,
    show_default=True,
    help="Strongest features whose products pairwise takes.",
)
@click.option(
    "--depth", type=int, default=_FIT.depth, show_default=True, help="Depth of trees, and conditions of a rule."
)
@click.option("--leaf", type=int, default=_FIT.leaf, show_default=True, help="Least mutants of a leaf or rule.")
@click.option("--rules", type=int, default=_FIT.rules, show_default=True, help="Most rules of a list.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that chance follows.")
@_shared.rc_option
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def surrogate(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Fit simple models to what a network makes of the mutants of a region, and say how far to believe them.

    Mutants of the region are drawn and scored. Linear models, trees and rules are fitted to a part of them, and judged
    by the others; the same fits to shuffled scores show what chance does. OUT holds the mutants (library.tsv), the
    surrogates with their fidelity (surrogates.json), the same in words (rules.txt) and a figure.
    """
    options = _options(choices)
    check_directory(out, [bundle])
    spec = read_spec(choices)
    model = open_bundle(bundle)
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        _shared.progress_bar("scoring mutants") as progress,
        Explainer(model, genome, Device.parse(choices["device"], threads=choices["threads"])) as explainer,
    ):
        (row,) = read_rows({**choices, "bed": None, "variant": None, "width": None}, spec, genome, model)
        progress.total(options.library.mutants)
        library, fitted = make_surrogates(
            explainer,
            row,
            spec,
            options,
            rc=bool(choices["rc"]),
            n_code=choices["n_code"],
            progress=progress.done,
        )
        about = {
            "target": spec.bind(model, row.where).to_json(),
            "model": {"name": model.info.name, "sha256": model.sha256},
            "genome": {"name": genome.name, "fingerprint": genome.fingerprint()},
            "rc": bool(choices["rc"]),
            "n_code": choices["n_code"] or model.info.n_policy,
            "device": choices["device"],
        }
        write_surrogates(out, library, fitted, row, options, about)
    _shared.say_notes(spec.notes(model))
    for item in fitted:
        click.echo(f"{item.title}: {item.verdict()}", err=True)
    click.echo(f"{len(library.scores)} mutants of {row.name} -> {out}", err=True)


def _options(choices: dict[str, Any]) -> SurrogateOptions:
    if choices["motifs"] is None and choices["motif_pvalue"] is not None:
        raise click.UsageError("--motif-pvalue is of the motifs: give --motifs")
    kinds = tuple(choices["surrogates"]) or tuple(KINDS)
    for name, heeding in _HEEDED.items():
        if _shared.typed([name]) and not set(heeding) & set(kinds):
            option, known = name.replace("_", "-"), " or ".join(heeding)
            raise click.UsageError(f"--{option} is of {known}: take such a surrogate, or leave it out")
    names = ("penalty", "pair_features", "depth", "leaf", "rules", "seed")
    return SurrogateOptions(
        surrogates=kinds,
        library=LibraryOptions(**{name: choices[name] for name in ("mutants", "rate", "held", "seed")}),
        fit=FitOptions(**{name: choices[name] for name in names}),
        motifs=() if choices["motifs"] is None else tuple(read_motifs(choices["motifs"])),
        pvalue=PVALUE if choices["motif_pvalue"] is None else choices["motif_pvalue"],
    )
