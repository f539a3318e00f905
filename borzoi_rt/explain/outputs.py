"""What is made of attributions besides their file: bigWig, and inputs of TF-MoDISco."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..genome.bigwig import write_bigwig
from .attr_file import read_attributions, read_projected
from .rows import ALT, OK

MODISCO_FILES = ("ohe.npz", "attr.npz", "rows.bed")


def bigwig_of(attributions: Path, out: Path, lengths: Mapping[str, int]) -> None:
    """Write the scores of the bases that are there, one value a base; where rows overlap, their mean.

    Parameters
    ----------
    attributions : Path
        File of attributions. Rows of ALT haplotypes are left out: their bases are not those of the genome.
    out : Path
        bigWig to write.
    lengths : mapping of str to int
        Length in bp of every contig of the genome.

    Raises
    ------
    InputError
        If no row is of the genome.
    """
    held = read_attributions(attributions, names=("start", "end", "chrom", "allele", "status"))
    known = zip(held.arrays["allele"], held.arrays["status"], strict=True)
    rows = [row for row, (allele, status) in enumerate(known) if allele != ALT and status == OK]
    if not rows:
        raise InputError("every row is of an ALT haplotype, whose bases are not those of the genome: no bigWig of that")
    starts, ends = (held.arrays[name].tolist() for name in ("start", "end"))
    chroms = [str(name) for name in held.arrays["chrom"]]
    order = {chrom: number for number, chrom in enumerate(lengths)}
    rows.sort(key=lambda row: (order[chroms[row]], starts[row]))
    projected = read_projected(attributions)

    def groups() -> Iterator[list[int]]:
        group: list[int] = []
        for row in rows:
            if group and (chroms[row] != chroms[group[0]] or starts[row] >= max(ends[other] for other in group)):
                yield group
                group = []
            group.append(row)
        yield group

    def entries() -> Iterator[tuple[str, int, int, float]]:
        for group in groups():
            chrom, first = chroms[group[0]], starts[group[0]]
            length = max(ends[row] for row in group) - first
            total, count = np.zeros(length), np.zeros(length)
            for row in group:
                part = slice(starts[row] - first, ends[row] - first)
                total[part] += projected[row]
                count[part] += 1
            for offset, value in enumerate((total / count).tolist()):
                if 0 <= first + offset < lengths[chrom]:
                    yield chrom, first + offset, first + offset + 1, value

    write_bigwig(out, lengths, entries())


def modisco_of(attributions: Path, folder: Path) -> None:
    """Write what ``modisco motifs -s ohe.npz -a attr.npz -w WIDTH`` reads, and where its rows lie.

    ``ohe.npz`` and ``attr.npz`` hold ``arr_0``, (rows, 4, bases), sequences and hypothetical scores; of an odd number
    of bases the last is left out, since TF-MoDISco takes an even window. ``rows.bed`` has their rows in the same order:
    seqlet [s, e) of row i, with the whole width as window, lies at ``start + s`` to ``start + e``. ALT haplotypes are
    among them, at the bases of the genome that their window has. Rows without an answer are not.
    """
    whole = read_attributions(attributions)
    explained = whole.arrays["status"] == OK
    held = replace(whole, arrays={name: values[explained] for name, values in whole.arrays.items()})
    width = held.arrays["sequence"].shape[1] // 2 * 2
    np.savez(folder / "ohe.npz", held.onehot[:, :, :width].astype(np.int8))
    np.savez(folder / "attr.npz", held.arrays["hypothetical"][:, :, :width])
    columns = [held.arrays[name] for name in ("chrom", "start", "name", "strand")]
    lines = [
        f"{chrom}\t{start}\t{start + width}\t{name}\t0\t+\n" for chrom, start, name, _ in zip(*columns, strict=True)
    ]
    (folder / "rows.bed").write_text("".join(lines), encoding="utf-8")
