"""Which windows train, which validate, which test: by file, by chromosome or by fold."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..errors import InputError
from ..genome.intervals import Interval, read_bed


def split_regions(
    regions: Path,
    *,
    valid: Path | None = None,
    test: Path | None = None,
    valid_by: Collection[str] = (),
    test_by: Collection[str] = (),
    column: str = "chrom",
) -> dict[str, list[Interval]]:
    """Return the regions of each split.

    Parameters
    ----------
    regions : path
        BED of the training windows, or of all of them.
    valid, test : path, optional
        BED of the other splits.
    valid_by, test_by : collection of str
        Chromosomes, or names in column 4 (folds), that are taken from ``regions`` instead.
    column : str
        ``chrom`` or ``fold``.

    Raises
    ------
    InputError
        If a split is given twice, a name occurs nowhere, or in two splits.
    """
    found = {"train": read_bed(regions), "valid": [], "test": []}
    for split, path, names in (("valid", valid, valid_by), ("test", test, test_by)):
        if path is not None and names:
            raise InputError(f"split {split!r} is given by a file and by names; leave one of the two out")
        if path is not None:
            found[split] = read_bed(path)
    both = sorted(set(valid_by) & set(test_by))
    if both:
        raise InputError(f"{column} {both[0]!r} is in two splits")
    for split, names in (("valid", valid_by), ("test", test_by)):
        known = {_key(region, column) for region in read_bed(regions)}
        absent = sorted(set(names) - known)
        if absent:
            raise InputError(f"{regions}: no region of {column} {absent[0]!r}; it has {', '.join(sorted(known)[:6])}")
        if names:
            found[split] = [region for region in found["train"] if _key(region, column) in names]
            found["train"] = [region for region in found["train"] if _key(region, column) not in names]
    return found


def _key(region: Interval, column: str) -> str:
    return region.chrom if column == "chrom" else region.name
