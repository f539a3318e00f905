"""``borzoi-rt tcav``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..concepts.examples import check_names, files_from, named_file, words_from
from ..concepts.implants import Implant, count_of, implanted
from ..concepts.tcav import Tcav
from ..concepts.tcav_run import TcavOptions, run_tcav, write_tcav
from ..concepts.vectors import VECTORS
from ..inside.map_run import check_outputs
from . import _explaining, _inside, _shared
from ._talk import say

_FILE = click.Path(path_type=Path)
_DEFAULTS = TcavOptions()
_SAYS = {
    "raises": "the target rises along its vector",
    "lowers": "the target falls along its vector",
    "nothing": "not told from chance",
}
_CAVEAT = (
    "a vector tells that the layer holds a concept, and the score is the slope along it: not an effect, whose sign may "
    "be the other; see docs/concepts.md"
)


@click.command()
@click.option(
    "--motif",
    multiple=True,
    help="Concept to put in: LETTERS or NAME=LETTERS, N for any base, or @FILE, a MEME or JASPAR file of which each "
    "motif is one. May be given again  [default: none].",
)
@click.option(
    "--concept",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Concept of a file: sequences of an indexed FASTA file, which are put in, or regions of a BED file, which are "
    "taken from the genome. May be given again  [default: none].",
)
@click.option(
    "--layer",
    default=_DEFAULTS.layer,
    show_default=True,
    help="Layer of the vectors: tokens (behind the transformer), layer_N, or embedding (what the head reads).",
)
@click.option(
    "--vector",
    type=click.Choice(VECTORS),
    default=_DEFAULTS.vector,
    show_default=True,
    help="Direction of a concept: weights of a logistic or ridge regression, or the difference of the means.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=5),
    default=_DEFAULTS.repeats,
    show_default=True,
    help="Vectors of each concept, and of chance, each of examples of its own.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=2),
    default=_DEFAULTS.examples,
    show_default=True,
    help="Examples of each vector; each takes three passes.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that chance follows.")
@_explaining.what_options
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@click.option("--plot", type=_FILE, help="Figure to write: .png, .svg or .pdf  [default: none].")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def tcav(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Test in which direction concepts move a predicted number (TCAV): motifs, sets of sequences or of regions.

    Give --region, --bed, --gene or --variant, which are the inputs; motifs and sequences are put into their shuffled
    bases. A vector of the layer tells a concept from its absence, and the score is the share of inputs whose target
    rises along it. Scores are tested against those of chance, p by Bonferroni. That is a slope and no effect: beside it
    stands what motifs and sequences change where they are put into the inputs. The bundle needs to be exported with
    --activations.
    """
    options = TcavOptions(**{name: choices[name] for name in ("layer", "vector", "repeats", "examples", "seed")})
    sources = [choices[name] for name in ("bed", "genes", "pas")]
    files = [named_file(text)[1] for text in choices["concept"]] + [
        Path(text[1:]) for text in choices["motif"] if text.startswith("@")
    ]
    check_outputs(out, choices["plot"], [fasta, bundle, *sources, *files])
    spec = _explaining.read_spec(choices)
    words = words_from(choices["motif"])
    check_names([word.name for word in words] + [named_file(text)[0] for text in choices["concept"]])
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "testing concepts") as (genome, activations, progress):
        rows = _explaining.read_rows(choices, spec, genome, model, keep=False)
        concepts = [*words, *files_from(choices["concept"], genome, model.geometry)]
        counts = [options.repeats * options.examples + count_of(concept, rows) for concept in concepts]
        progress.total(sum(counts))
        done = iter(range(1, 1 + sum(counts)))
        what: dict[str, Any] = {"activations": activations, "fasta": genome, "spec": spec, "options": options}
        found = run_tcav(rows, concepts, progress=lambda: progress.done(next(done)), **what)
        put_in: dict[str, Any] = {"activations": activations, "fasta": genome, "spec": spec, "seed": options.seed}
        implants = [
            implanted(concept, rows, progress=lambda: progress.done(next(done)), **put_in) for concept in concepts
        ]
        write_tcav(out, found, concepts, rows, implants=implants, plot=choices["plot"], **what)
    _shared.say_notes(spec.notes(model))
    for concept in concepts:
        if concept.kind == "sequences" and concept.count < options.repeats * options.examples:
            say(f"note: {concept.name} has {concept.count} sequences: repeats share some, and p is too small")
    for concept, one, implant in zip(concepts, found, implants, strict=True):
        click.echo(concept_line(concept.name, one, implant), err=True)
    say(f"note: {_CAVEAT}")
    click.echo(f"{len(found)} concept{'' if len(found) == 1 else 's'}, {len(rows)} inputs -> {out}", err=True)


def concept_line(name: str, one: Tcav, implant: Implant | None) -> str:
    """Return the line of one concept."""
    told = one.to_json()
    scores = f"score {told['score']:.2f}, chance {told['random_mean']:.2f}, p {told['p_bonferroni']:.3g} (Bonferroni)"
    known = f"told apart {told['accuracy']:.0%}" if one.told_apart else "NOT told apart better than chance"
    line = f"{name}: {scores}, {known}: {_SAYS[told['says']]}"
    if implant is None:
        return line
    line += f"; put in, it changes the target by {implant.mean:+.3g} (se {implant.error:.2g})"
    against = {told["says"], implant.says} == {"raises", "lowers"}
    return f"{line}: the sign of its slope is NOT that of its effect" if against else line
