"""``borzoi-rt explain compare``."""

from __future__ import annotations

from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import open_bundle
from ..explain.agreement import TOP_SHARE
from ..explain.compare import Comparison, chosen_methods, compare_rows
from ..explain.explainer import allele_notes
from ..explain.methods import METHODS
from ..explain.remote import open_explainer
from ..genome.fasta import Fasta
from ..runs.outputs import check_directory
from . import _explaining, _shared
from ._talk import say


@click.command()
@click.option(
    "--methods",
    required=True,
    help=f"Methods to compare, two or more, separated by commas: {', '.join(METHODS)}.",
)
@_explaining.what_options
@_shared.bundle_option
@_shared.fasta_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory to make: METHOD.h5 of each, compare.tsv, compare.json and compare.png.",
)
@_shared.rc_option
@_shared.n_code_option
@_explaining.method_options
@_shared.device_option
@_shared.threads_option
def compare(bundle: Path, fasta: Path, out: Path, methods: str, **choices: Any) -> None:
    """Explain one target by several methods, side by side: what each says, what it costs, and how far they agree.

    The bases and the target are said as to `borzoi-rt explain`. An option of a method goes to every method that has it.
    compare.tsv has a row for each method: passes of the model and processor seconds, and of every other method the
    correlation and the overlap of the strongest twentieth of the bases.
    """
    given, source = _explaining.take_options(choices)
    names = [name.strip() for name in methods.split(",")]
    chosen = chosen_methods(names, given, rc=bool(choices["rc"]), n_code=choices["n_code"])
    spec, model = _explaining.read_spec(choices), open_bundle(bundle)
    check_directory(out, [fasta, bundle, *(choices[name] for name in ("bed", "genes", "pas") if choices[name])])
    device = Device.parse(choices["device"], threads=choices["threads"])
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        Fasta(fasta) as genome,
        closing(open_explainer(model, genome, device, methods=[one.method for one in chosen])) as explainer,
        _shared.progress_bar("explaining") as progress,
    ):
        rows = _explaining.read_rows(choices, spec, genome, model, keep=False)
        if source is not None:
            rows = source.of(rows, genome, model.geometry, keep=False)
        progress.total(len(rows) * len(chosen))
        how: dict[str, Any] = {"spec": spec, "chosen": chosen, "device": device, "progress": progress.done}
        made = compare_rows(rows, out, explainer=explainer, **how)
    _shared.say_notes([*spec.notes(model), *allele_notes(model, rows[0], spec)])
    click.echo(made.to_tsv(), nl=False)
    counted = f"{len(rows)} row{'' if len(rows) == 1 else 's'} of {rows[0].width} bases"
    for words in agreement_lines(made):
        say(words)
    say(f"{counted} by {len(chosen)} methods -> {out}")


def agreement_lines(made: Comparison) -> list[str]:
    """Return in words how far every two methods agree, means over the rows."""
    lines = []
    for one, other in combinations(made.methods, 2):
        found = made.agreement(one, other)
        if found["pearson"] is None or found["top_overlap"] is None:
            lines.append(f"{one} and {other}: no agreement can be told, as a map is the same at every base")
            continue
        lines.append(
            f"{one} and {other}: correlation {found['pearson']:.2f} (1: the same, 0: unrelated), and "
            f"{found['top_overlap']:.0%} of the strongest {TOP_SHARE:.0%} of the bases are the same (by chance about "
            f"{TOP_SHARE:.0%})"
        )
    return lines
