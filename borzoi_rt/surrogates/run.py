"""Make the library of a region, fit surrogates to it, and write what was found as a directory.

==================  ===================================================================================================
``library.tsv``     a row a mutant, the reference first: ``mutant`` (0 is the reference), ``held_out`` (0 or 1),
                    ``exchanged`` (bases that differ), ``score``, ``sequence``, and a column of predictions a surrogate
``surrogates.json``  region, target, model, genome, options and seeds; every surrogate with its fidelity
``rules.txt``       every surrogate in words, its fidelity in the line above
``figure.png``      predictions of held-out mutants, and fidelity beside that of shuffled labels
==================  ===================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..drafts import draft_folder
from ..errors import InputError
from ..explain.explainer import Explainer, ExplainOptions
from ..explain.rows import Row
from ..explain.target import TargetSpec
from ..motifs.matrices import Motif
from ..motifs.scan import PVALUE, MotifScanner, say_unreachable
from ..plain import check_types
from ..report.surrogates import plot_surrogates
from ..types import ByteArray
from .features import Features, kept_of, motifs_of, substitutions_of
from .fidelity import Fitted, fit
from .library import Library, LibraryOptions, make_library
from .models import KINDS, FitOptions

LETTERS = np.array(list("ACGTN"))


@dataclass(frozen=True, kw_only=True)
class SurrogateOptions:
    """What is fitted.

    Parameters
    ----------
    surrogates : tuple of str
        Keys of :data:`borzoi_rt.surrogates.models.KINDS`.
    library : LibraryOptions
        How mutants are drawn.
    fit : FitOptions
        How surrogates are fitted.
    motifs : tuple of Motif
        What surrogates of motifs see; with none there are surrogates of bases alone.
    pvalue : float
        See :class:`borzoi_rt.motifs.scan.MotifScanner`.

    Raises
    ------
    InputError
        If a surrogate is unknown or named twice.
    """

    surrogates: tuple[str, ...] = tuple(KINDS)
    library: LibraryOptions = field(default_factory=LibraryOptions)
    fit: FitOptions = field(default_factory=FitOptions)
    motifs: tuple[Motif, ...] = ()
    pvalue: float = PVALUE

    def __post_init__(self) -> None:
        check_types(self)
        unknown = next((name for name in self.surrogates if name not in KINDS), None)
        if unknown is not None or not self.surrogates:
            raise InputError(f"surrogate {unknown!r} is unknown; allowed: {', '.join(KINDS)}")
        if len(set(self.surrogates)) < len(self.surrogates):
            raise InputError(f"surrogates {', '.join(self.surrogates)}: one is named twice")


def make_surrogates(
    explainer: Explainer,
    row: Row,
    spec: TargetSpec,
    options: SurrogateOptions,
    *,
    rc: bool = False,
    n_code: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Library, list[Fitted]]:
    """Score mutants of a row and fit surrogates to them: those of bases, then those of motifs.

    Parameters
    ----------
    explainer : Explainer
        Model and genome.
    row : Row
        The bases to mutate, in their window.
    spec : TargetSpec
        What is scored.
    options : SurrogateOptions
        What is fitted.
    rc, n_code
        As of :class:`borzoi_rt.explain.explainer.ExplainOptions`.
    progress : callable, optional
        Called with the number of mutants done.
    """
    scanner = MotifScanner(options.motifs, pvalue=options.pvalue) if options.motifs else None
    say_unreachable(options.motifs, options.pvalue)
    objective = explainer.objective(row, spec, ExplainOptions(method="ism", rc=rc, n_code=n_code))
    window = row.window(explainer.fasta, explainer.bundle.geometry)
    library = make_library(objective, window, row.columns, options.library, progress=progress)
    return library, fit_all(library, row, window, options, scanner)


def fit_all(
    library: Library, row: Row, window: ByteArray, options: SurrogateOptions, scanner: MotifScanner | None
) -> list[Fitted]:
    """Fit every surrogate to a library; see :func:`make_surrogates`."""
    first, made = row.bases.start + 1, dict[str, Features]()
    makers = {"substitutions": substitutions_of, "kept": kept_of}
    for kind in dict.fromkeys(KINDS[name].of_bases for name in options.surrogates):
        made[kind] = makers[kind](library, first)
    fitted = [fit(name, made[KINDS[name].of_bases], library, options.fit) for name in options.surrogates]
    if scanner is not None:
        start, end = row.columns
        reach = max(motif.matrix.shape[1] for motif in scanner.motifs) - 1
        left, right = window[:, max(0, start - reach) : start], window[:, end : end + reach]
        features = motifs_of(library, scanner, left=_codes(left), right=_codes(right))
        fitted += [fit(name, features, library, options.fit) for name in options.surrogates]
    return fitted


def _codes(onehot: ByteArray) -> ByteArray:
    return np.where(onehot.any(axis=0), onehot.argmax(axis=0), 4).astype(np.uint8)


def write_surrogates(
    out: Path, library: Library, fitted: Sequence[Fitted], row: Row, options: SurrogateOptions, about: dict[str, Any]
) -> None:
    """Write the directory ``out``, which appears when it is whole.

    Parameters
    ----------
    out : Path
        Directory to make.
    library, fitted
        What :func:`make_surrogates` gave.
    row : Row
        The bases that were mutated.
    options : SurrogateOptions
        What was fitted.
    about : dict
        More JSON values: target, model, genome.
    """
    with draft_folder(out) as folder:
        _write_library(folder / "library.tsv", library, fitted)
        where = {"chrom": row.bases.chrom, "start": row.bases.start, "end": row.bases.end, "allele": row.allele}
        document = {
            "format": "borzoi-rt-surrogates",
            "format_version": 1,
            "borzoi_rt": __version__,
            "region": {**where, "name": row.name, "window_start": row.where.window_start},
            "score_of_reference": library.value,
            "library": asdict(options.library),
            "fit": asdict(options.fit),
            "motifs": [motif.label for motif in options.motifs],
            "pvalue": options.pvalue if options.motifs else None,
            **about,
            "surrogates": [item.to_json() for item in fitted],
        }
        (folder / "surrogates.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        (folder / "rules.txt").write_text(_words(fitted, about["target"]["target"], row), encoding="utf-8")
        held = library.held
        panels = [
            {
                "title": item.title,
                "scores": library.scores[held],
                "predicted": item.predicted[held],
                "r2": item.held.r2,
                "chance": [control.r2 for control in item.controls],
            }
            for item in fitted
        ]
        plot_surrogates(folder / "figure.png", panels, title=f"surrogates of {about['target']['target']}, {row.name}")


def _write_library(path: Path, library: Library, fitted: Sequence[Fitted]) -> None:
    names = [item.title.replace(" ", "_") for item in fitted]
    lines = ["\t".join(["mutant", "held_out", "exchanged", "score", "sequence", *names])]
    reference = "".join(LETTERS[library.reference])
    lines.append("\t".join(["0", "0", "0", f"{library.value:.9g}", reference, *("" for _ in names)]))
    exchanged = (library.codes != library.reference).sum(axis=1)
    for number, codes in enumerate(library.codes):
        cells = [str(number + 1), str(int(library.held[number])), str(int(exchanged[number]))]
        cells += [f"{library.scores[number]:.9g}", "".join(LETTERS[codes])]
        lines.append("\t".join([*cells, *(f"{item.predicted[number]:.6g}" for item in fitted)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


_HEAD = """\
# The score is {target}, of mutants of {name}. Believe what follows where held-out R2 is high: 1 is perfect, 0 nothing.
# A substitution is named by its 1-based position with the base before and behind it. A motif is named with the strand
# that it matches on: tata+ is a match of tata on the + strand of the genome."""


def _words(fitted: Sequence[Fitted], target: str, row: Row) -> str:
    parts = ["\n".join([f"# {item.title}", f"# {item.verdict()}", *item.model.text()]) for item in fitted]
    return "\n\n".join([_HEAD.format(target=target, name=row.name), *parts]) + "\n"
