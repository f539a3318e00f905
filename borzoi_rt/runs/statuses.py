"""How many alleles of a run have which status, and what that says of the run."""

from __future__ import annotations

import logging
from collections import Counter

from ..errors import ReferenceMismatchError
from ..genome.fasta import Fasta
from ..scoring.results import SCORED
from .journal import Journal

log = logging.getLogger(__name__)


def count_statuses(journal: Journal) -> Counter[str]:
    """Return how many alleles have which status."""
    counts: Counter[str] = Counter()
    for table in journal.tables():
        for found in table["status"].filter(table["first"]).value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def judge(counts: Counter[str], journal: Journal, genome: Fasta, name: str) -> None:
    """Refuse a table in which nothing can be right; an empty one is only said."""
    if not counts:
        log.warning("%s: no variants; the table has no rows", name)
        return
    checked = counts.total() - counts["symbolic_alt"] - counts["invalid_allele"]
    if not checked or checked not in (counts["ref_mismatch"], counts["contig_missing"]):
        return
    first = next(
        row
        for table in journal.tables()
        for row in table.select(["status", "status_detail"]).to_pylist()
        if row["status"] in ("ref_mismatch", "contig_missing")
    )
    raise ReferenceMismatchError(
        f"{name}: none of {checked} variants agrees with {genome.name} ({first['status_detail']}); "
        "use the assembly the variants were called on"
    )


def say_unscored(counts: Counter[str]) -> None:
    """Say how many alleles a table without statuses leaves out."""
    missing = sum(count for status, count in counts.items() if status not in SCORED)
    if missing:
        log.warning("%d of %d alleles have no scores, and no row in this layout", missing, counts.total())
