"""Tables of polyadenylation sites (PolyA_DB 3): where they lie, and in which order along their gene.

Tab-separated with a header, plain or compressed. Needed columns: ``chrom`` (or ``chromosome``), ``position_hg38`` (or
``position``), ``strand``, ``gene``, ``site_num``, ``site_type``; ``pas_id`` is optional. Site N covers base [p, p + 1)
where p is the number in the table, as in the reference programs.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError, InputError
from ..plain import path_of
from ..types import IndexArray
from .lines import text_lines

SITE_KINDS = ("utr3", "intron")
_LAST_EXON, _INTRON = "3' most exon", "Intron"
_NAMES = {"chromosome": "chrom", "position": "position_hg38"}
_NEEDED = ("chrom", "position_hg38", "strand", "gene", "site_num", "site_type")


@dataclass(frozen=True, eq=False)
class Sites:
    """Polyadenylation sites in the order of their genes and of their numbers.

    Attributes
    ----------
    source : str
        Name of the file.
    chrom, strand, gene, kind : tuple of str
        One for each site; ``kind`` is the ``site_type``.
    position, number : int64 ndarray of shape (sites,)
        0-based base, and the number along the gene, which grows towards its 3' end.
    """

    source: str
    chrom: tuple[str, ...]
    strand: tuple[str, ...]
    gene: tuple[str, ...]
    kind: tuple[str, ...]
    position: IndexArray
    number: IndexArray

    def __len__(self) -> int:
        return len(self.chrom)

    @property
    def digest(self) -> str:
        """SHA-256 of what scores depend on."""
        rows = zip(
            self.chrom, self.strand, self.gene, self.kind, self.position.tolist(), self.number.tolist(), strict=True
        )
        text = "\n".join("\t".join(map(str, row)) for row in rows)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def of_kind(self, kind: str) -> IndexArray:
        """Return the numbers of the sites that a score compares.

        Parameters
        ----------
        kind : str
            ``utr3``: those of the last exon, from the last one on towards the 5' end as long as no number of the gene
            is missing. ``intron``: those of the last exon and of introns.

        Raises
        ------
        InputError
            If the kind is unknown.
        """
        if kind not in SITE_KINDS:
            raise InputError(f"kind of sites {kind!r} is unknown; allowed: {', '.join(SITE_KINDS)}")
        if kind == "intron":
            return np.flatnonzero([name in (_LAST_EXON, _INTRON) for name in self.kind])
        kept: list[int] = []
        wanted: dict[str, int] = {}  # number that the next site of a gene must have, going down
        for site in range(len(self) - 1, -1, -1):
            gene, number = self.gene[site], int(self.number[site])
            if self.kind[site] == _LAST_EXON and wanted.get(gene, number) == number:
                kept.append(site)
                wanted[gene] = number - 1
        return np.array(kept[::-1], dtype=np.int64)


def read_sites(path: str | os.PathLike[str]) -> Sites:
    """Read a table of sites.

    Raises
    ------
    FormatError
        Naming file, line and column.
    """
    path = path_of("pas", path)
    lines = (line.decode("utf-8", "surrogateescape").rstrip("\r\n") for line in text_lines(path, "table of sites"))
    header = [_NAMES.get(name, name) for name in next(lines, "").lstrip("#").split("\t")]
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise FormatError(f"{path}, line 1: no column {missing[0]!r}; found {', '.join(header)[:200]}")
    where = [header.index(name) for name in _NEEDED]
    rows: list[tuple[str, int, str, str, int, str]] = []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < len(header):
            raise FormatError(f"{path}, line {number}: {len(fields)} columns, the header has {len(header)}")
        chrom, position, strand, gene, site, kind = (fields[column] for column in where)
        try:
            rows.append((chrom, int(position), strand, gene, int(site), kind))
        except ValueError:
            raise FormatError(
                f"{path}, line {number}: position {position!r} and site_num {site!r}; whole numbers are needed"
            ) from None
        if strand not in ("+", "-"):
            raise FormatError(f"{path}, line {number}: strand is {strand!r}; + or - is needed")
    rows.sort(key=lambda row: (row[3], row[4]))
    if not rows:
        raise FormatError(f"{path}: no sites below the header")
    chroms, positions, strands, genes, numbers, kinds = zip(*rows, strict=True)
    return Sites(
        path.name, chroms, strands, genes, kinds, np.array(positions, np.int64), np.array(numbers, np.int64)
    )  # fmt: skip
