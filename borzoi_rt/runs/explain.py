"""The strongest alleles of a run and the motifs that they change, written beside its table."""

from __future__ import annotations

import csv
import heapq
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import VariantRecord
from ..motifs.files import read_motifs
from ..motifs.scan import PVALUE, MotifScanner, say_unreachable
from ..plain import check_types
from ..scoring.compare import compare
from ..scoring.motif_changes import motif_changes, read_rows
from ..scoring.options import ScoreOptions
from ..scoring.spec import ScoreSpec
from ..tables.kept import HAPLOTYPE_FACTS, Rows, scores_of
from .alleles import AlleleFile

TOP = 20
COLUMNS = (
    *("rank", "record", "alt_index", "chrom", "pos", "id", "ref", "alt", *HAPLOTYPE_FACTS),
    *("score_name", "score", "track_id", "gene", "gene_name"),
    *("motif", "motif_name", "change", "difference", "threshold"),
    *("ref_score", "ref_start", "ref_strand", "ref_bases", "alt_score", "alt_start", "alt_strand", "alt_bases"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """Which alleles of a run are explained, and by which motifs.

    Parameters
    ----------
    motifs : path
        MEME or JASPAR file.
    top : int
        How many alleles: those whose score is largest in size, over tracks and genes.
    by : str, optional
        The score that decides, one of those of the run; its first when None.
    pvalue : float
        See :class:`borzoi_rt.motifs.scan.MotifScanner`.
    """

    motifs: str | os.PathLike[str]
    top: int = TOP
    by: str | None = None
    pvalue: float = PVALUE

    def __post_init__(self) -> None:
        check_types(self)
        if self.top < 1:
            raise InputError(f"top is {self.top!r}; a whole number from 1 on is needed")


class Explainer:
    """Motifs that were read before a run, for what it will find.

    Parameters
    ----------
    options : ExplainOptions
    scores : ScoreOptions
        Of the run, with nothing left open.
    longest_bp : int
        Longest allele that the run scores.

    Raises
    ------
    InputError, FormatError
        If the run has no such score, or the motifs cannot be read.
    """

    def __init__(self, options: ExplainOptions, scores: ScoreOptions, *, longest_bp: int) -> None:
        names = {spec.name: spec for spec in scores.specs}
        if options.by is not None and options.by not in names:
            raise InputError(f"by is {options.by!r}; the scores of this run are {', '.join(names)}")
        self._spec = scores.specs[0] if options.by is None else names[options.by]
        self._options, self._scores, self._longest_bp = options, scores, longest_bp
        self._scanner = MotifScanner(read_motifs(options.motifs), pvalue=options.pvalue)
        say_unreachable(self._scanner.motifs, options.pvalue)

    def write(
        self, table: Path, shards: Callable[[], Iterator[pa.Table]], alleles: AlleleFile, rows: Rows, fasta: Fasta
    ) -> None:
        """Write ``TABLE.motifs.tsv``, a row per allele and motif, and ``TABLE.motifs.json``, an entry per allele."""
        found = []
        for rank, row in enumerate(strongest(shards(), rows, self._spec, self._options.top), start=1):
            item = _record(alleles, row.pop("number"))
            compared = compare(fasta, item, self._scores, longest_bp=self._longest_bp).as_written
            changes = [] if compared is None else read_rows(motif_changes(fasta, compared, self._scanner))
            found.append({"rank": rank, **row, "motifs": changes})
        document = {
            "motif_file": Path(self._options.motifs).name,
            "motifs": len(self._scanner.motifs),
            "pvalue": self._options.pvalue,
            "ranked_by": self._spec.name,
            "alleles": found,
        }
        text = json.dumps(document, indent=2) + "\n"
        table.with_name(table.name + ".motifs.json").write_text(text, encoding="utf-8")
        with table.with_name(table.name + ".motifs.tsv").open("w", encoding="utf-8", newline="") as handle:
            columns = [name for name in COLUMNS if name not in HAPLOTYPE_FACTS or name in _named(rows)]
            writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            for entry in found:
                for change in entry["motifs"]:
                    cells = {**entry, **change}
                    writer.writerow({name: _cell(cells.get(name)) for name in columns})


def strongest(shards: Iterator[pa.Table], rows: Rows, spec: ScoreSpec, count: int) -> list[dict[str, Any]]:
    """Return the alleles whose score is largest in size, with the track and gene where it is, the largest first.

    Of equal ones the first in the input comes first; an allele without a finite score is left out.
    """
    best: list[tuple[float, int, dict[str, Any]]] = []
    number = 0
    for table in shards:
        values = np.abs(scores_of(table, spec.stat, len(rows.tracks)).astype(np.float64))
        held = np.array(table["region"].to_pylist(), dtype=object) == str(spec.region)
        sizes = np.where(np.isfinite(values) & held[:, None], values, -1.0)
        allele = np.cumsum(table["first"].to_numpy(zero_copy_only=False)) - 1
        for own in range(int(allele[-1]) + 1 if len(allele) else 0):
            inner = np.flatnonzero(allele == own)
            part, track = np.unravel_index(int(sizes[inner].argmax()), (len(inner), sizes.shape[1]))
            size = float(sizes[inner[part], track])
            if size >= 0 and (len(best) < count or size > best[0][0]):
                kept = _facts(table, int(inner[part]), int(track), rows, spec)
                entry = (size, -number, {"number": number, **kept})
                heapq.heappush(best, entry)
                if len(best) > count:
                    heapq.heappop(best)
            number += 1
    return [kept for _, _, kept in sorted(best, key=lambda entry: (-entry[0], -entry[1]))]


def _facts(table: pa.Table, row: int, track: int, rows: Rows, spec: ScoreSpec) -> dict[str, Any]:
    """Return what is said of the strongest score of an allele."""
    names = ("record", "alt_index", "chrom", "pos", "id", "ref", "alt", *_named(rows), "gene")
    found = {name: table[name][row].as_py() for name in names}
    if found["gene"] == ".":
        found["gene"] = None
    score = float(scores_of(table.slice(row, 1), spec.stat, len(rows.tracks))[0, track])
    return {
        **found,
        "gene_name": table["gene_name"][row].as_py(),
        "score_name": spec.name,
        "score": score,
        "track_id": rows.tracks.identifier[track],
    }


def _named(rows: Rows) -> tuple[str, ...]:
    """Return the columns that say whose haplotype it is; none where alleles were scored."""
    return tuple(name for name in HAPLOTYPE_FACTS if name in rows.facts)


def _record(alleles: AlleleFile, number: int) -> VariantRecord:
    """Return what was scored, by its number in the run."""
    return alleles.read(number // alleles.block)[number % alleles.block]


def _cell(value: object) -> str:
    """Return a cell without what separates cells."""
    return "" if value is None else " ".join(str(value).split())
