"""Motif files: MEME and JASPAR in and out, told apart by content."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import FormatError, InputError
from ..reading import read_small
from ..sequence import BASES
from .matrices import Motif

SITES = 1000  # what stands for the number of sites where a matrix has none of its own
SUM_TOLERANCE = 0.05  # of a row of probabilities, which files round

_LARGEST = 2**26  # bytes; JASPAR as a whole has 4 MB
_MEME_VERSION = re.compile(r"\s*MEME version\s+\d", re.IGNORECASE)
_MATRIX = re.compile(r"letter-probability matrix\b", re.IGNORECASE)
_KEY = re.compile(r"\b(alength|w)\s*=\s*([0-9]{1,9})\b")
_CORE_SYMBOL = re.compile(r"([A-Za-z])\b[^~=]*(?:~\s*([A-Za-z])\b)?")
_JASPAR_ROW = re.compile(r"\s*([ACGT])\s*\[([^\]]*)\]\s*")
_BARE_ROW = re.compile(r"[\s\d.eE+-]+")


def read_motifs(path: str | os.PathLike[str]) -> list[Motif]:
    """Read a MEME or a JASPAR file, plain or gzip-compressed.

    MEME: the minimal motif format, whose keys after ``letter-probability matrix:`` are all optional, or the text output
    of the MEME suite; only matrices of probabilities are read. JASPAR: four rows of counts, with or without letters and
    brackets, which are divided by the sum of their column. A second name after the first is kept as
    :attr:`Motif.alternative`.

    Raises
    ------
    FormatError
        Naming file and line.
    """
    path = Path(path)
    try:
        lines = read_small(path, _LARGEST).decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as motifs ({error})") from error
    first = next((line for line in lines if line.strip()), "")
    if first.startswith(">"):
        motifs = list(_jaspar(lines, path))
    elif any(_MEME_VERSION.match(line) for line in lines):
        motifs = list(_meme(lines, path))
    else:
        raise FormatError(
            f"{path}: {first[:40]!r} begins neither a MEME ('MEME version 4') nor a JASPAR file ('>name')"
        )
    if not motifs:
        raise FormatError(f"{path}: no motifs")
    labels = [motif.label for motif in motifs]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise FormatError(f"{path}: two motifs are called {twice!r}; rename one")
    return motifs


def write_meme(path: str | os.PathLike[str], motifs: Sequence[Motif]) -> None:
    """Write MEME minimal motif format, version 4, background uniform."""
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", "", "Background letter frequencies"]
    lines.append("A 0.25 C 0.25 G 0.25 T 0.25")
    for motif in motifs:
        _check_name(motif.name)
        lines += ["", f"MOTIF {motif.name} {motif.alternative}".rstrip()]
        lines.append(f"letter-probability matrix: alength= 4 w= {motif.matrix.shape[1]} nsites= {SITES} E= 0")
        lines += [" ".join(f"{value:.6f}" for value in column) for column in motif.matrix.T]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jaspar(path: str | os.PathLike[str], motifs: Sequence[Motif]) -> None:
    """Write JASPAR counts of ``SITES`` sites a position, to three decimals."""
    lines = []
    for motif in motifs:
        _check_name(motif.name)
        lines.append(f">{motif.name} {motif.alternative}".rstrip())
        rows = zip(BASES, motif.matrix * SITES, strict=True)
        lines += [f"{base} [ {' '.join(f'{value:.3f}' for value in row)} ]" for base, row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _meme(lines: Sequence[str], path: Path) -> Iterator[Motif]:
    names: tuple[str, str] | None = None
    started = number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if line.startswith("ALPHABET"):
            number = _check_alphabet(lines, number, path)
        elif re.match(r"MOTIF(\s|$)", line):
            if names is not None:
                raise FormatError(f"{path}, line {started}: motif {names[0]!r} has no letter-probability matrix")
            names, started = _meme_names(line, path, number), number
        elif _MATRIX.match(line):
            if names is None:
                raise FormatError(f"{path}, line {number}: a matrix needs a MOTIF line before it")
            rows = _meme_rows(lines, number, names[0], path)
            yield _motif(names, rows, path, number, probabilities=True)
            number += len(rows)
            names = None
    if names is not None:
        raise FormatError(
            f"{path}, line {started}: motif {names[0]!r} has no letter-probability matrix; is the file truncated?"
        )


def _meme_names(line: str, path: Path, number: int) -> tuple[str, str]:
    """Return both names of a MOTIF line; the text output of the suite goes on with ``width = 8  sites = ...``."""
    fields = re.split(r"\s+width\s*=", line)[0].split()
    if len(fields) < 2:
        raise FormatError(f"{path}, line {number}: a motif without a name")
    return fields[1], "_".join(fields[2:3])


def _meme_rows(lines: Sequence[str], number: int, name: str, path: Path) -> list[list[float]]:
    """Return the rows of a matrix whose first one is line ``number``, counted from 0."""
    keys = {key: int(value) for key, value in _KEY.findall(lines[number - 1])}
    if keys.get("alength", 4) != 4:
        raise FormatError(f"{path}, line {number}: alength= {keys['alength']}; four letters, A, C, G and T, are needed")
    rows: list[list[float]] = []
    width = keys.get("w")
    for at, line in enumerate(lines[number:], start=number + 1):
        fields = line.split()
        full = width is not None and len(rows) == width
        if not fields or ((full or width is None) and not _is_numeric(fields)):
            break
        if full:
            raise FormatError(f"{path}, line {at}: motif {name!r} has more rows than w= {width}")
        if fields[0] == "MOTIF":
            break
        rows.append(_numbers(fields, path, at))
    if width is not None and len(rows) < width:
        raise FormatError(f"{path}: motif {name!r} has {len(rows)} of {width} rows; the file is truncated")
    return rows


def _is_numeric(fields: Sequence[str]) -> bool:
    """Whether a line is meant as numbers."""
    return re.fullmatch(r"[+-]?(\d.*|\.\d.*|nan|inf)", fields[0], re.IGNORECASE) is not None


def _check_alphabet(lines: Sequence[str], number: int, path: Path) -> int:
    """Refuse any alphabet but that of DNA; return the number of the line after it."""
    line = lines[number - 1].strip()
    simple = re.fullmatch(r"ALPHABET\s*=\s*(\S+)", line)
    if simple is not None:
        letters, end = simple[1], number
    else:
        # ALPHABET "DNA" DNA-LIKE, then A "Adenine" CC0000 ~ T "Thymine" 008000 and the like, then END ALPHABET
        end = next((at for at in range(number, len(lines)) if lines[at].startswith("END ALPHABET")), len(lines))
        plain = [re.sub(r'"[^"]*"', "", text).strip() for text in lines[number:end]]
        core = [_CORE_SYMBOL.match(text) for text in plain if "=" not in text]  # others are ambiguity codes
        letters = "".join(sorted({letter for found in core if found for letter in found.groups() if letter}))
    if letters.upper() != BASES:
        shown = letters or "no letters"
        raise FormatError(f"{path}, line {number}: {line!r} of {shown!r}; only ALPHABET= ACGT is read")
    return end


def _jaspar(lines: Sequence[str], path: Path) -> Iterator[Motif]:
    names, started, rows = ("", ""), 0, dict[str, list[float]]()
    for number, line in enumerate([*lines, ">"], start=1):
        if not line.startswith(">"):
            if not line.strip():
                continue
            row = _JASPAR_ROW.fullmatch(line)
            if row is not None:
                base, text = row[1], row[2]
            elif _BARE_ROW.fullmatch(line) and len(rows) < 4:
                base, text = BASES[len(rows)], line  # A, C, G, T in this order
            else:
                raise FormatError(f"{path}, line {number}: {line[:40]!r}; a row like 'A [ 1 2 3 ]' is needed")
            if base in rows:
                raise FormatError(f"{path}, line {number}: motif {names[0]!r} has a second row of {base}")
            rows[base] = _numbers(text.split(), path, number)
            continue
        if names[0]:
            if sorted(rows) != list(BASES) or len({len(row) for row in rows.values()}) != 1:
                raise FormatError(f"{path}, line {started}: motif {names[0]!r} needs one row of equal length per base")
            yield _motif(names, np.array([rows[base] for base in BASES]).T.tolist(), path, started, probabilities=False)
        fields = line[1:].split()
        names, started, rows = ("_".join(fields[:1]), "_".join(fields[1:2])), number, {}
        if number <= len(lines) and not names[0]:
            raise FormatError(f"{path}, line {number}: a motif without a name")


def _motif(names: tuple[str, str], rows: list[list[float]], path: Path, line: int, *, probabilities: bool) -> Motif:
    name, alternative = names
    if not rows or any(len(row) != 4 for row in rows):
        raise FormatError(f"{path}, line {line}: motif {name!r} needs four numbers per position")
    matrix = np.array(rows, dtype=np.float64).T
    total = matrix.sum(axis=0)
    if not ((matrix >= 0).all() and np.isfinite(matrix).all() and (total > 0).all()):
        raise FormatError(f"{path}, line {line}: motif {name!r} holds negative numbers or an empty position")
    off = np.abs(total - 1.0)
    if probabilities and off.max() > SUM_TOLERANCE:
        worst = int(off.argmax())
        raise FormatError(
            f"{path}, line {line}: motif {name!r}, position {worst + 1}: probabilities sum to {total[worst]:.3g}, not 1"
        )
    return Motif(name, matrix / total, alternative if alternative != name else "")


def _numbers(fields: Sequence[str], path: Path, line: int) -> list[float]:
    try:
        return [float(field) for field in fields]
    except ValueError:
        raise FormatError(f"{path}, line {line}: {' '.join(fields)[:40]!r}; numbers are needed") from None


def _check_name(name: str) -> None:
    if not name or name.split() != [name]:
        raise InputError(f"motif name {name!r} is empty or holds white space, which no motif file can carry")
