"""The one judge of alleles, and how bases of a genome and of a REF allele compare.

Every variant passes it, whoever made it: a VCF, Python, a request to a server, or a scan of all substitutions.
"""

from __future__ import annotations

import re

_BASES = re.compile(r"[ACGTacgt]+")
_LETTERS = re.compile(r"[A-Za-z]+")
_SHOWN = 40  # letters of an allele that a message repeats

# What the letters of a genome stand for (IUPAC). N is left out: VCF writes it as N, and so as no base.
_STANDS_FOR = {
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
}


def judge_alleles(ref: str, alt: str) -> tuple[str | None, str]:
    """Tell whether both alleles are bases, in upper or lower case.

    Parameters
    ----------
    ref, alt : str
        As written in a VCF.

    Returns
    -------
    problem : str or None
        ``symbolic_alt`` where ALT is a valid VCF allele without a sequence of its own (``<DEL>``, ``*``, a breakend),
        ``invalid_allele`` where either is no allele of A, C, G and T, None where both are.
    detail : str
        What was found; empty where there is no problem.
    """
    if alt in ("", "."):
        return "invalid_allele", "no ALT allele"
    if alt == "*" or alt[0] == "<" or "[" in alt or "]" in alt or alt[0] == "." or alt[-1] == ".":
        return "symbolic_alt", f"ALT {_shown(alt)} has no sequence"
    for name, allele in (("ALT", alt), ("REF", ref)):
        if not is_bases(allele):
            return "invalid_allele", _complaint(name, allele)
    return None, ""


def is_bases(allele: str) -> bool:
    """Tell whether an allele is made of A, C, G and T, in upper or lower case."""
    return _BASES.fullmatch(allele) is not None


def has_length(allele: str) -> bool:
    """Tell whether an allele is made of letters, so that it has a length in bases."""
    return _LETTERS.fullmatch(allele) is not None


def covers(genome: str, allele: str) -> bool:
    """Tell whether bases of a genome may be written as an allele.

    VCF has no letters for bases that a genome leaves open (R is A or G): REF then holds one base, by version 4.3 of the
    format the first in the alphabet. Any base that the letter includes is taken for it. N includes none, because VCF
    writes N as N.

    Parameters
    ----------
    genome, allele : str
        Upper case.
    """
    if genome == allele:
        return True
    return len(genome) == len(allele) and all(
        held == base or base in _STANDS_FOR.get(held, "") for held, base in zip(genome, allele, strict=True)
    )


def _complaint(name: str, allele: str) -> str:
    if not allele:
        return f"{name} is empty"
    if allele == "-":
        return f"{name} '-' is no allele of VCF; write the base before the change in both alleles"
    if "," in allele:
        return f"{name} {_shown(allele)} holds several alleles; give one ALT a variant"
    if has_length(allele):
        found = next(letter for letter in allele if letter not in "ACGTacgt")
        return f"{name} {_shown(allele)} holds {found!r}; only A, C, G and T can be scored"
    return f"{name} {_shown(allele)} is not made of bases"


def _shown(allele: str) -> str:
    """Return an allele for a message, cut where it is long."""
    return repr(allele) if len(allele) <= _SHOWN else f"{allele[:_SHOWN]!r}... ({len(allele)} letters)"
