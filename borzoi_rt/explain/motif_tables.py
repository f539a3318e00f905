"""Tables of what attributions point at: seqlets with the names of motifs (BED), and hits of motifs with attributions.

Rows of ALT haplotypes are among them (``allele``): behind an insertion or deletion their positions count along the
haplotype, as in the file of attributions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from ..motifs.files import read_motifs
from ..motifs.match import Match, MotifMatcher
from ..motifs.matrices import Motif
from ..motifs.scan import PVALUE as HIT_PVALUE
from ..motifs.scan import MotifScanner, log_odds, say_unreachable
from ..types import DoubleArray
from .attr_file import Attributions, read_attributions
from .seqlets import PVALUE, Seqlet, find_seqlets, null_of

AGREEMENT = 0.5  # of a match and the model, where a method says what other bases would do
TABLES = (".tsv", ".parquet")
SEQLET_COLUMNS = (
    *("chrom", "start", "end", "name", "score", "strand", "attribution", "p"),
    *("motif_start", "motif_end", "motif_p", "motif_e", "agreement", "row", "row_name", "allele"),
)
HIT_SCHEMA = pa.schema(
    [
        ("chrom", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("strand", pa.string()),
        ("motif", pa.string()),
        ("motif_name", pa.string()),
        ("log_odds", pa.float64()),
        ("threshold", pa.float64()),
        ("attribution", pa.float64()),
        ("p", pa.float64()),
        ("agreement", pa.float64()),
        ("row", pa.int64()),
        ("row_name", pa.string()),
        ("allele", pa.string()),
    ]
)


def seqlets_of(
    attributions: Path, out: Path, order: Mapping[str, int], *, motifs: Path | None = None, pvalue: float = PVALUE
) -> int:
    """Write the seqlets of a file of attributions as BED, by position.

    The first six columns are those of BED: ``name`` is the motif whose match is least likely by chance, of those with a
    :attr:`~borzoi_rt.motifs.match.Match.p` of 0.01 at most whose agreement has the sign of the attribution and is at
    least 0.5 in size; ``.`` where there is none. ``score`` is the size of
    the attribution, 1000 for the largest, ``strand`` that of the motif. ``attribution`` and ``p`` are those of
    :class:`borzoi_rt.explain.seqlets.Seqlet`; ``motif_p`` and ``motif_e`` those of
    :class:`borzoi_rt.motifs.match.Match`; ``agreement`` is that of :func:`agreement`.

    Parameters
    ----------
    attributions : Path
    out : Path
        BED to write; the line of names begins with ``#``.
    order : mapping of str to int
        The contigs, in the order in which they are written.
    motifs : Path, optional
        MEME or JASPAR file that names are taken from.
    pvalue : float
        See :func:`borzoi_rt.explain.seqlets.find_seqlets`.

    Returns
    -------
    int
        How many there are.
    """
    rank = {chrom: number for number, chrom in enumerate(order)}
    found = named_seqlets(read_attributions(attributions), motifs=motifs, pvalue=pvalue)
    found.sort(key=lambda item: (rank[item["chrom"]], item["start"], item["end"], item["row"]))
    with out.open("w", encoding="utf-8") as handle:
        handle.write("#" + "\t".join(SEQLET_COLUMNS) + "\n")
        handle.writelines("\t".join(_cell(_short(item[name])) for name in SEQLET_COLUMNS) + "\n" for item in found)
    return len(found)


def named_seqlets(held: Attributions, *, motifs: Path | None = None, pvalue: float = PVALUE) -> list[dict[str, Any]]:
    """Return the seqlets of attributions, by row and start, with the columns of :func:`seqlets_of`; None for none."""
    codes, scores = held.arrays["sequence"], held.scores
    matcher = None if motifs is None else MotifMatcher(read_motifs(motifs))
    found = find_seqlets(scores, codes < 4, pvalue=pvalue)
    largest = max((abs(item.attribution) for item in found), default=1.0) or 1.0
    rows = []
    for item in found:
        first = int(held.arrays["start"][item.row])
        named = None if matcher is None else _name(held, item, matcher)
        at = 0 if named is None else first + named[1].start
        rows.append(
            {
                "chrom": str(held.arrays["chrom"][item.row]),
                "start": first + item.start,
                "end": first + item.end,
                "name": None if named is None else named[0].label,
                "score": round(1000 * abs(item.attribution) / largest),
                "strand": None if named is None else named[1].strand,
                "attribution": item.attribution,
                "p": item.p,
                "motif_start": None if named is None else at,
                "motif_end": None if named is None else at + named[1].width,
                "motif_p": None if named is None else named[1].p,
                "motif_e": None if named is None else named[1].e,
                "agreement": None if named is None else named[2],
                "row": item.row,
                "row_name": str(held.arrays["name"][item.row]),
                "allele": str(held.arrays["allele"][item.row]),
            }
        )
    return rows


def _name(held: Attributions, seqlet: Seqlet, matcher: MotifMatcher) -> tuple[Motif, Match, float | None] | None:
    """Return the motif that a seqlet is: the least likely match with which the model agrees, on the seqlet's side."""
    for match in matcher.matches(held.arrays["sequence"][seqlet.row], seqlet.start, seqlet.end):
        motif = matcher.motifs[match.motif]
        likeness = agreement(held, seqlet.row, motif, match.start, match.strand)
        if likeness is None or likeness * np.sign(seqlet.attribution) >= AGREEMENT:
            return motif, match, likeness
    return None


def hits_of(attributions: Path, out: Path, motifs: Path, *, pvalue: float = HIT_PVALUE) -> int:
    """Write every hit of every motif in the rows of a file of attributions, with what the bases of the hit add.

    ``log_odds`` (log2) and ``threshold`` are those of :class:`borzoi_rt.motifs.scan.MotifScanner`; ``attribution`` is
    the sum of the scores of the bases that are there, ``p`` that of as many bases under the null model of
    :mod:`borzoi_rt.explain.seqlets`; ``agreement`` is that of :func:`agreement`. Rows are in the order of the file,
    hits of a row by position.

    Parameters
    ----------
    attributions : Path
    out : Path
        ``.parquet``, or ``.tsv``.
    motifs : Path
        MEME or JASPAR file.
    pvalue : float
        Chance of a hit at one position of random DNA.

    Returns
    -------
    int
        How many there are.
    """
    held, scanner = read_attributions(attributions), MotifScanner(read_motifs(motifs), pvalue=pvalue)
    say_unreachable(scanner.motifs, pvalue)
    about = {"motifs": motifs.name, "pvalue": pvalue, **held.about}
    count = 0
    if out.suffix == ".parquet":
        schema = HIT_SCHEMA.with_metadata({"borzoi_rt": json.dumps(about, sort_keys=True)})
        with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
            for rows in _hits(held, scanner):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        return count
    with out.open("w", encoding="utf-8") as handle:
        handle.write("\t".join(HIT_SCHEMA.names) + "\n")
        for rows in _hits(held, scanner):
            handle.writelines("\t".join(_cell(_short(value)) for value in row.values()) + "\n" for row in rows)
            count += len(rows)
    return count


def _hits(held: Attributions, scanner: MotifScanner) -> Iterator[list[dict[str, Any]]]:
    """Yield the hits of each row."""
    codes, scores = held.arrays["sequence"], held.scores
    longest = max(motif.matrix.shape[1] for motif in scanner.motifs)
    onehot = held.onehot
    for row in range(len(codes)):
        found, null = [], null_of(scores, codes < 4, row, longest)
        first, chances = int(held.arrays["start"][row]), dict[int, DoubleArray]()
        sums = np.concatenate([[0.0], np.cumsum(scores[row])])
        for motif, hits, threshold in zip(scanner.motifs, scanner.hits(onehot[row]), scanner.thresholds, strict=True):
            width = motif.matrix.shape[1]
            if hits and width not in chances and null is not None:
                chances[width] = null.pvalues(scores[row], width)
            found += [
                {
                    "chrom": str(held.arrays["chrom"][row]),
                    "start": first + hit.start,
                    "end": first + hit.start + width,
                    "strand": hit.strand,
                    "motif": motif.name,
                    "motif_name": motif.alternative or motif.name,
                    "log_odds": hit.score,
                    "threshold": threshold,
                    "attribution": float(sums[hit.start + width] - sums[hit.start]),
                    "p": float(chances[width][hit.start]),
                    "agreement": agreement(held, row, motif, hit.start, hit.strand),
                    "row": row,
                    "row_name": str(held.arrays["name"][row]),
                    "allele": str(held.arrays["allele"][row]),
                }
                for hit in hits
            ]
        yield sorted(found, key=lambda item: (item["start"], item["end"], item["motif"], item["strand"]))


def agreement(held: Attributions, row: int, motif: Motif, start: int, strand: str) -> float | None:
    """Return how far the model wants this motif here: r of what each base would add and of the motif's log odds.

    Pearson's r over bases and positions of the match, both less their mean at each position. None where a method says
    nothing of bases that are not there, or nothing differs.
    """
    if held.about.get("projected_only"):
        return None
    odds = log_odds(motif)
    odds = odds if strand == "+" else odds[::-1, ::-1]
    wanted = held.arrays["hypothetical"][row][:, start : start + odds.shape[1]].astype(np.float64)
    one, other = ((part - part.mean(axis=0)).ravel() for part in (wanted, odds))
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size > 0.0 else None


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _cell(value: object) -> str:
    """Return a cell without what separates cells."""
    return "." if value is None else " ".join(str(value).split()) or "."
