"""Options of `score` that say what is compared: haplotypes of samples, spellings of indels, and their background."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..runs.explain import TOP, ExplainOptions
from ..scoring.haplotypes import WITHIN_BP, HaplotypeOptions
from ..scoring.motif_changes import CHANGES
from . import _shared
from ._talk import say

normalize_option = click.option(
    "--normalize",
    is_flag=True,
    default=None,
    help="Score every allele in its left-normalised spelling, as bcftools norm writes it; columns norm_pos, norm_ref "
    "and norm_alt of a table of scores hold it beside the given one  [default: as given].",
)


def allele_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add haplotypes, normalisation and the phase floor; see :func:`take_haplotypes`."""
    for option in (
        click.option(
            "--phase-floor-seed",
            type=click.IntRange(min=0),
            metavar="N",
            help="What the positions of --phase-floor are drawn by  [default: 0].",
        ),
        click.option(
            "--phase-floor",
            type=click.IntRange(min=1),
            metavar="N",
            help="Beside every indel score N neutral indels of its length near by; column phase_floor is the median "
            "size of their scores, phase_floor_pos says where they are. N + 1 times the work of an indel  [default: "
            "none].",
        ),
        normalize_option,
        click.option(
            "--haplotype-bp",
            type=click.IntRange(min=0),
            metavar="BP",
            help="With --samples: variants of a sample that lie at most BP apart are scored together, in one window  "
            f"[default: {WITHIN_BP}].",
        ),
        click.option(
            "--samples",
            metavar="S1,S2",
            help="Score haplotypes of these samples instead of alleles: each of the two with the reference, and the "
            "second with the first. VCF must be sorted and phased; columns sample, haplotype, against and variants "
            "name the rows  [default: alleles].",
        ),
    ):
        command = option(command)
    return command


def explain_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add which alleles are explained, and by what; see :func:`take_explain`."""
    for option in (
        click.option(
            "--motif-pvalue",
            type=float,
            metavar="P",
            help="With --explain: chance of a match of a motif at one position of random DNA  [default: 1e-4].",
        ),
        click.option(
            "--motifs",
            type=click.Path(path_type=Path),
            help="With --explain: motifs to look for, a MEME or JASPAR file  [default: none].",
        ),
        click.option(
            "--top-by",
            metavar="SCORE",
            help="With --explain: the score whose size ranks alleles, over tracks and genes  [default: the first of "
            "--stats].",
        ),
        click.option(
            "--top",
            type=click.IntRange(min=1),
            metavar="N",
            help=f"With --explain: how many alleles, the strongest first  [default: {TOP}].",
        ),
        click.option(
            "--explain",
            is_flag=True,
            help="Write the motifs that the strongest alleles gain and lose beside the table, to OUT.motifs.tsv and "
            "OUT.motifs.json; needs --motifs  [default: the table alone].",
        ),
    ):
        command = option(command)
    return command


def take_explain(choices: dict[str, Any]) -> ExplainOptions | None:
    """Take the options of an explanation out of a command's arguments.

    Raises
    ------
    InputError
        If one is given without ``--explain``, or that without motifs.
    """
    asked = choices.pop("explain")
    names = {"top": "--top", "top_by": "--top-by", "motifs": "--motifs", "motif_pvalue": "--motif-pvalue"}
    given = {name: value for name in names if (value := choices.pop(name)) is not None}
    if not asked:
        if given:
            raise InputError(f"{names[next(iter(given))]} is for an explanation; add --explain")
        return None
    if "motifs" not in given:
        raise InputError("--explain needs motifs to look for; name a MEME or JASPAR file with --motifs")
    renamed = {"top_by": "by", "motif_pvalue": "pvalue"}
    return ExplainOptions(**{renamed.get(name, name): value for name, value in given.items()})


def say_explained(table: Path) -> None:
    """Say on stderr how many of the strongest alleles change a motif, as it stands beside their table."""
    document = json.loads(table.with_name(table.name + ".motifs.json").read_text(encoding="utf-8"))
    counts = [len(item["motifs"]) for item in document["alleles"]]
    if not counts:
        say("no allele has a score by which motifs could be looked for")
        return
    changed, many = sum(count > 0 for count in counts), len(counts) > 1
    if not changed:
        where = f"any of the strongest {len(counts)} alleles" if many else "the strongest allele"
        say(f"no motif of {document['motif_file']} changes in {where}; a larger --motif-pvalue counts weaker matches")
        return
    where = f"{changed} of the strongest {len(counts)} alleles" if many else "the strongest allele"
    say(f"{_shared.counted(sum(counts), 'change')} of motifs in {where} -> {table.name}.motifs.tsv")
    say(_changes_of(document["alleles"]))


_NAMED = 8  # motifs of each kind of change


def _changes_of(alleles: Sequence[Mapping[str, Any]]) -> str:
    """Return in words which motifs change, each with the number of alleles where it does so in more than one."""
    kinds: dict[str, Counter[str]] = {}
    for item in alleles:
        for part in item["motifs"]:
            kinds.setdefault(part["change"], Counter())[part["motif_name"] or part["motif"]] += 1
    texts = []
    for change in (name for name in CHANGES if name in kinds):
        found = kinds[change]
        named = [f"{motif} ({count} times)" if count > 1 else motif for motif, count in found.most_common(_NAMED)]
        more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        texts.append(f"{change}: {', '.join(named + more)}")
    return "; ".join(texts)


def take_haplotypes(choices: dict[str, Any], *, of_file: bool) -> HaplotypeOptions | None:
    """Take the options of haplotypes out of a command's arguments.

    Raises
    ------
    InputError
        If one is given without samples, or samples without a VCF.
    """
    samples, within_bp = choices.pop("samples"), choices.pop("haplotype_bp")
    if samples is None:
        if within_bp is not None:
            raise InputError("--haplotype-bp is for haplotypes; name samples with --samples")
        return None
    if not of_file:
        raise InputError("--samples needs a VCF with genotypes, and not --variant")
    names = tuple(name.strip() for name in samples.split(","))
    return HaplotypeOptions(samples=names, within_bp=WITHIN_BP if within_bp is None else within_bp)
