"""Motif files: MEME and JASPAR in and out, told apart by content."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import FormatError, InputError
from ..sequence import BASES
from .matrices import Motif

SITES = 1000  # what stands for the number of sites where a matrix has none of its own

_JASPAR_ROW = re.compile(r"\s*([ACGT])\s*\[([^\]]*)\]\s*")


def read_motifs(path: str | os.PathLike[str]) -> list[Motif]:
    """Read a MEME (minimal motif format) or a JASPAR file.

    MEME matrices must be of base probabilities (``letter-probability matrix``); JASPAR counts are divided by the sum
    of their column.

    Raises
    ------
    FormatError
        Naming file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as motifs ({error})") from error
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("MEME version"):
        motifs = list(_meme(lines, path))
    elif first.startswith(">"):
        motifs = list(_jaspar(lines, path))
    else:
        raise FormatError(
            f"{path}: {first[:40]!r} begins neither a MEME ('MEME version 4') nor a JASPAR file ('>name')"
        )
    if not motifs:
        raise FormatError(f"{path}: no motifs")
    names = [motif.name for motif in motifs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormatError(f"{path}: two motifs are called {twice!r}; rename one")
    return motifs


def write_meme(path: str | os.PathLike[str], motifs: Sequence[Motif]) -> None:
    """Write MEME minimal motif format, version 4, background uniform."""
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", "", "Background letter frequencies"]
    lines.append("A 0.25 C 0.25 G 0.25 T 0.25")
    for motif in motifs:
        _check_name(motif.name)
        lines += ["", f"MOTIF {motif.name}"]
        lines.append(f"letter-probability matrix: alength= 4 w= {motif.matrix.shape[1]} nsites= {SITES} E= 0")
        lines += [" ".join(f"{value:.6f}" for value in column) for column in motif.matrix.T]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jaspar(path: str | os.PathLike[str], motifs: Sequence[Motif]) -> None:
    """Write JASPAR counts of ``SITES`` sites a position, to three decimals."""
    lines = []
    for motif in motifs:
        _check_name(motif.name)
        lines.append(f">{motif.name}")
        rows = zip(BASES, motif.matrix * SITES, strict=True)
        lines += [f"{base} [ {' '.join(f'{value:.3f}' for value in row)} ]" for base, row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _meme(lines: Sequence[str], path: Path) -> Iterator[Motif]:
    name, number = "", 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if line.startswith("ALPHABET") and line.replace(" ", "") != "ALPHABET=ACGT":
            raise FormatError(f"{path}, line {number}: {line!r}; only ALPHABET= ACGT is read")
        if line.startswith("MOTIF"):
            fields = line.split()
            if len(fields) < 2:
                raise FormatError(f"{path}, line {number}: a motif without a name")
            name = fields[1]
        elif line.startswith("letter-probability matrix"):
            width = re.search(r"\bw=\s*(\d+)", line)
            if not name or width is None:
                raise FormatError(f"{path}, line {number}: a matrix needs a MOTIF line before it, and w=")
            rows = lines[number : number + int(width[1])]
            yield _motif(
                name, [_numbers(row.split(), path, number + at) for at, row in enumerate(rows, 1)], path, number
            )
            if len(rows) < int(width[1]):
                raise FormatError(f"{path}: motif {name!r} has {len(rows)} of {width[1]} rows; the file is truncated")
            number += int(width[1])
            name = ""


def _jaspar(lines: Sequence[str], path: Path) -> Iterator[Motif]:
    name, started, rows = "", 0, dict[str, list[float]]()
    for number, line in enumerate([*lines, ">"], start=1):
        if not line.startswith(">"):
            row = _JASPAR_ROW.fullmatch(line)
            if row is None:
                if line.strip():
                    raise FormatError(f"{path}, line {number}: {line[:40]!r}; a row like 'A [ 1 2 3 ]' is needed")
                continue
            rows[row[1]] = _numbers(row[2].split(), path, number)
            continue
        if name:
            if sorted(rows) != list(BASES) or len({len(row) for row in rows.values()}) != 1:
                raise FormatError(f"{path}, line {started}: motif {name!r} needs one row of equal length per base")
            yield _motif(name, np.array([rows[base] for base in BASES]).T.tolist(), path, started)
        name, started, rows = "_".join(line[1:].split()[:1]), number, {}
        if number <= len(lines) and not name:
            raise FormatError(f"{path}, line {number}: a motif without a name")


def _motif(name: str, rows: list[list[float]], path: Path, line: int) -> Motif:
    if not rows or any(len(row) != 4 for row in rows):
        raise FormatError(f"{path}, line {line}: motif {name!r} needs four numbers per position")
    matrix = np.array(rows, dtype=np.float64).T
    total = matrix.sum(axis=0)
    if not ((matrix >= 0).all() and np.isfinite(matrix).all() and (total > 0).all()):
        raise FormatError(f"{path}, line {line}: motif {name!r} holds negative numbers or an empty position")
    return Motif(name, matrix / total)


def _numbers(fields: Sequence[str], path: Path, line: int) -> list[float]:
    try:
        return [float(field) for field in fields]
    except ValueError:
        raise FormatError(f"{path}, line {line}: {' '.join(fields)[:40]!r}; numbers are needed") from None


def _check_name(name: str) -> None:
    if not name or name.split() != [name]:
        raise InputError(f"motif name {name!r} is empty or holds white space, which no motif file can carry")
