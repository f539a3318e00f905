"""A concept bottleneck of rows of bases: embeddings, concepts and target are read, fitted, judged and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..explain.experiments import motif_letters
from ..explain.rows import Row
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..genome.intervals import Interval, read_bed
from ..inside.activation_run import about_of
from ..inside.activations import EMBEDDING, Activations
from ..inside.embed import EmbedOptions, embedded
from ..inside.tables import Table
from ..motifs.files import read_motifs
from ..motifs.scan import PVALUE, MotifScanner, say_unreachable
from ..plain import check_types
from ..sequence import reverse_complement
from ..types import BoolArray, ByteArray, DoubleArray
from .bottleneck import TRAININGS, Judged, judge
from .examples import named_file

KIND = "bottleneck"


@dataclass(frozen=True, kw_only=True)
class BottleneckOptions:
    """How a bottleneck is made.

    Parameters
    ----------
    layer : str
        Layer of the embeddings, as of :class:`borzoi_rt.inside.embed.EmbedOptions`.
    over : str, optional
        Bins to average, as in targets; the bases of the row when None.
    held : float
        Share of rows that nothing is fitted to, drawn by chance; without ``held_chroms``.
    held_chroms : tuple of str
        Hold out the rows of these instead.
    training : str
        One of :data:`borzoi_rt.concepts.bottleneck.TRAININGS`.
    seed : int
        Of chance.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    layer: str = EMBEDDING
    over: str | None = None
    held: float = 0.3
    held_chroms: tuple[str, ...] = ()
    training: str = TRAININGS[0]
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        EmbedOptions(layer=self.layer, region=self.over)
        if not 0.0 < self.held < 1.0:
            raise InputError(f"held is {self.held!r}; a share between 0 and 1 is needed")
        if self.training not in TRAININGS:
            raise InputError(f"training {self.training!r} is unknown; allowed: {', '.join(TRAININGS)}")


@dataclass(frozen=True, eq=False)
class Counted:
    """A named concept as a number of each row: ``count(window, row)``."""

    name: str
    kind: str
    count: Callable[[ByteArray, Row], float]


def counted_words(texts: Sequence[str]) -> list[Counted]:
    """Return counts of ``LETTERS``, ``NAME=LETTERS`` (N: any base) or ``@FILE``, motifs whose matches are counted.

    A match lies within the bases of the row, on either strand; of a word that is its own reverse complement it counts
    once.
    """
    found = []
    for text in texts:
        if text.startswith("@"):
            motifs = read_motifs(text[1:])
            say_unreachable(motifs, PVALUE)
            found += [Counted(motif.label, "motif", _hits(MotifScanner([motif]))) for motif in motifs]
            continue
        name, _, letters = text.rpartition("=")
        found.append(Counted(name or letters.upper(), "word", _matches(motif_letters(letters))))
    return found


def _hits(scanner: MotifScanner) -> Callable[[ByteArray, Row], float]:
    def count(window: ByteArray, row: Row) -> float:
        return float(len(scanner.hits(np.ascontiguousarray(window[:, slice(*row.columns)]))[0]))

    return count


def _matches(word: ByteArray) -> Callable[[ByteArray, Row], float]:
    other = reverse_complement(word)
    strands = [word] if np.array_equal(word, other) else [word, other]

    def count(window: ByteArray, row: Row) -> float:
        bases, width = window[:, slice(*row.columns)], word.shape[1]
        if bases.shape[1] < width:
            return 0.0
        views = np.lib.stride_tricks.sliding_window_view(bases, width, axis=1)
        return float(sum(((views * one[:, None]).sum(axis=(0, 2)) == one.sum()).sum() for one in strands))

    return count


def counted_files(texts: Sequence[str], fasta: Fasta) -> list[Counted]:
    """Return counts of the intervals of ``NAME=FILE.bed`` that share a base with a row."""
    found = []
    for text in texts:
        name, path = named_file(text)
        held: dict[str | None, list[Interval]] = {}
        for interval in read_bed(path):
            held.setdefault(fasta.resolve(interval.chrom), []).append(interval)
        held.pop(None, None)
        if not held:
            raise InputError(f"{path}: has no interval on a contig of {fasta.name}")
        found.append(Counted(name, "intervals", _sharing(held)))
    return found


def _sharing(held: dict[str | None, list[Interval]]) -> Callable[[ByteArray, Row], float]:
    ends = {
        chrom: (np.array([one.start for one in part]), np.array([one.end for one in part]))
        for chrom, part in held.items()
    }

    def count(window: ByteArray, row: Row) -> float:
        del window
        if row.bases.chrom not in ends:
            return 0.0
        starts, stops = ends[row.bases.chrom]
        return float(((starts < row.bases.end) & (stops > row.bases.start)).sum())

    return count


def held_out(rows: Sequence[Row], options: BottleneckOptions) -> BoolArray:
    """Return which rows nothing is fitted to, bool (rows,).

    Raises
    ------
    InputError
        If a held-out chrom has no row.
    """
    chroms = [row.bases.chrom for row in rows]
    missing = next((chrom for chrom in options.held_chroms if chrom not in chroms), None)
    if missing is not None:
        raise InputError(f"held_chroms {missing!r} has no row; rows are on {', '.join(dict.fromkeys(chroms))}")
    if options.held_chroms:
        return np.array([chrom in options.held_chroms for chrom in chroms], dtype=bool)
    found = np.zeros(len(rows), dtype=bool)
    order = np.random.default_rng([options.seed, len(rows)]).permutation(len(rows))
    found[order[: round(options.held * len(rows))]] = True
    return found


def make_bottleneck(
    rows: Sequence[Row],
    concepts: Sequence[Counted],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: BottleneckOptions,
    progress: Callable[[int], None] | None = None,
) -> tuple[Judged, DoubleArray]:
    """Read embedding, concepts and target of every row, fit and judge a bottleneck.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows`.
    concepts : sequence of Counted
        See :func:`counted_words` and :func:`counted_files`.
    activations, fasta, spec, options
        Model, genome, target, method.
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    (Judged, float64 ndarray of shape (rows, concepts))
        And the concepts of each row.
    """
    bundle, how = activations.network.bundle, EmbedOptions(layer=options.layer, region=options.over)
    held = held_out(rows, options)
    embeddings, counts, values = [], np.zeros((len(rows), len(concepts))), np.zeros(len(rows))
    for number, row in enumerate(rows):
        window = row.window(fasta, bundle.geometry)
        target = spec.bind(bundle, row.where)
        embeddings.append(embedded(activations, row, fasta, how)[0])
        values[number] = target.value(activations.reading(window).coverage(target.positions, target.bins))
        counts[number] = [concept.count(window, row) for concept in concepts]
        if progress is not None:
            progress(number + 1)
    names = tuple(concept.name for concept in concepts)
    read = np.stack(embeddings).astype(np.float64)
    found = judge(read, counts, values, held, names, training=options.training, seed=options.seed)
    return found, counts


def bottleneck_table(
    found: Judged,
    counts: DoubleArray,
    concepts: Sequence[Counted],
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: BottleneckOptions,
) -> Table:
    """Return a table with a row for each concept; accuracies are in its metadata.

    Its arrays are ``weights`` (concepts, units) and ``constants`` of the concepts, ``counts`` (rows, concepts) and
    ``held_out`` (rows,).
    """
    told = found.to_json()
    per_concept = told.pop("concepts")
    about: dict[str, Any] = {
        **about_of(activations.network, fasta),
        "target": spec.name,
        "target_options": spec.to_json(),
        "options": asdict(options),
        "rows": len(rows),
        "rows_held_out": int(held_out(rows, options).sum()),
        **told,
    }
    columns: dict[str, Any] = {
        "concept": list(found.names),
        "kind": [concept.kind for concept in concepts],
        "rows_with": (counts > 0.0).sum(axis=0).tolist(),
    }
    columns |= {name: [one[name] for one in per_concept] for name in per_concept[0] if name != "concept"}
    arrays = {
        "weights": found.model.concepts.weights,
        "constants": found.model.concepts.constants,
        "counts": counts,
        "held_out": held_out(rows, options),
    }
    return Table(KIND, about, columns, arrays=arrays)
