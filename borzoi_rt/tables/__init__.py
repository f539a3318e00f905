"""Writers of score tables, chosen by suffix. Each reads the kept results of a run as often as it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import InputError
from ..genome.intervals import Interval
from .rows import Rows

Shards = Callable[[], Iterator[pa.Table]]
LAYOUTS = ("long", "wide", "alphagenome")
_BOTH_LAYOUTS = (".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True)
class Stretches:
    """Several intervals whose substitutions are scored, their bases, and the window of each, ``at:START``."""

    intervals: tuple[Interval, ...]
    sequences: tuple[str, ...]
    windows: tuple[str, ...]


@dataclass(frozen=True)
class TableContext:
    """What a writer needs besides the kept results.

    Attributes
    ----------
    rows : Rows
        Meaning of the entries of every vector.
    metadata : dict
        JSON values that describe the run.
    source : Path, optional
        The input VCF, where there is one.
    layout : str
        One of ``LAYOUTS``.
    stretches : Stretches, optional
        Of mutagenesis, where it is of a list of intervals.
    """

    rows: Rows
    metadata: dict[str, Any]
    source: Path | None = None
    layout: str = "long"
    stretches: Stretches | None = None


Writer = Callable[[Path, Shards, TableContext], None]


def check_layout(layout: str, *, haplotypes: bool = False) -> None:
    """Refuse a layout that is none, or that has no columns for what is scored.

    Raises
    ------
    InputError
        Naming the layouts.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
    if layout == "alphagenome" and haplotypes:
        raise InputError("layout 'alphagenome' has columns for variants alone; choose long or wide for haplotypes")


def suffix_of(path: Path, writers: Mapping[str, Writer], layout: str = "long") -> str:
    """Return the suffix that names the form of a table.

    Raises
    ------
    InputError
        If it names none, or a form that has no such layout.
    """
    check_layout(layout)
    for suffix in writers:
        if path.name.endswith(suffix) and path.name != suffix:
            if layout != "long" and suffix not in _BOTH_LAYOUTS:
                raise InputError(f"{path.name}: {suffix} has one layout; {layout!r} is for {', '.join(_BOTH_LAYOUTS)}")
            return suffix
    raise InputError(f"{path.name}: the suffix names no table; allowed: {', '.join(writers)}")


def _writers() -> tuple[dict[str, Writer], dict[str, Writer]]:
    from . import hdf5, ism, parquet, tsv, vcf

    common: dict[str, Writer] = {".tsv": tsv.write, ".tsv.gz": tsv.write, ".parquet": parquet.write}
    return {**common, ".h5": hdf5.write, ".vcf.gz": vcf.write}, {**common, ".h5": ism.write}


WRITERS, ISM_WRITERS = _writers()
