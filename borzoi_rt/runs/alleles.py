"""The alleles of an input, read once into numbered blocks that any process can take one of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from ..errors import FormatError
from ..genome.haplotypes import Haplotype, Part
from ..genome.variants import Variant, VariantRecord

# Text as bytes: a VCF may hold what is not UTF-8.
_SCHEMA = pa.schema(
    [
        ("record", pa.int64()),
        ("alt_index", pa.int32()),
        ("chrom", pa.binary()),
        ("pos", pa.int64()),
        ("id", pa.binary()),
        ("ref", pa.binary()),
        ("alt", pa.binary()),
        ("window_start", pa.int64()),
        ("problem", pa.string()),
        ("detail", pa.string()),
        ("haplotype", pa.string()),
    ]
)


@dataclass(frozen=True)
class AlleleFile:
    """Alleles in blocks; block N is the input of job N.

    Attributes
    ----------
    path : Path
        Arrow IPC file, one record batch a block.
    count : int
        Number of alleles.
    block : int
        Alleles of every block but the last.
    """

    path: Path
    count: int
    block: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.count // self.block)

    def items(self, number: int) -> int:
        """Return how many alleles a block holds."""
        return min(self.block, self.count - number * self.block)

    def read(self, number: int) -> list[VariantRecord]:
        """Return the alleles of a block."""
        return [_record(row) for row in self._opened.get_batch(number).to_pylist()]

    @cached_property
    def _opened(self) -> Any:
        """The file with its index, read once; not mapped, for pages that were read would stay in memory."""
        return ipc.open_file(pa.OSFile(str(self.path)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out of what goes to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}


def write_alleles(path: Path, records: Iterable[VariantRecord], block: int) -> AlleleFile:
    """Write alleles in blocks, in their order."""
    source, count = iter(records), 0
    path.unlink(missing_ok=True)  # were it a link, what it names would be written over
    try:
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, _SCHEMA) as writer:
            while items := list(islice(source, block)):
                writer.write_batch(pa.RecordBatch.from_pylist([_row(item) for item in items], _SCHEMA))
                count += len(items)
    except pa.ArrowException as error:
        raise FormatError(f"{path}: cannot be written ({error})") from error
    return AlleleFile(path, count, block)


def _row(item: VariantRecord) -> dict[str, Any]:
    variant = item.variant
    return {
        "record": item.record,
        "alt_index": item.alt_index,
        "chrom": _bytes(variant.chrom),
        "pos": variant.pos,
        "id": _bytes(variant.id),
        "ref": _bytes(variant.ref),
        "alt": _bytes(variant.alt),
        "window_start": item.window_start,
        **_haplotype_row(item),
    }


def _haplotype_row(item: VariantRecord) -> dict[str, str | None]:
    """Return what a haplotype is, and its problem, as text; of a variant its alleles say that."""
    named = item.haplotype
    if named is None:
        return {"problem": None, "detail": None, "haplotype": None}
    parts = [
        [part.variant.pos, part.variant.id, part.variant.ref, part.variant.alt, part.in_ref, part.in_alt]
        for part in named.parts
    ]
    # JSON keeps bytes that are not UTF-8, which Arrow's text does not.
    text = json.dumps([named.sample, named.name, named.against, named.middle_pos, parts])
    return {"problem": item.problem, "detail": json.dumps(item.detail), "haplotype": text}


def _record(row: dict[str, Any]) -> VariantRecord:
    chrom, name, ref, alt = (_text(row[key]) for key in ("chrom", "id", "ref", "alt"))
    variant = Variant(chrom, row["pos"], ref, alt, name)
    item = VariantRecord(row["record"], row["alt_index"], variant, window_start=row["window_start"])
    if row["haplotype"] is None:
        return item
    sample, which, against, middle_pos, held = json.loads(row["haplotype"])
    parts = tuple(
        Part(Variant(chrom, pos, ref, alt, name), in_ref, in_alt) for pos, name, ref, alt, in_ref, in_alt in held
    )
    haplotype = Haplotype(sample, which, against, parts, middle_pos)
    detail = json.loads(row["detail"])
    return VariantRecord(item.record, item.alt_index, variant, row["problem"], detail, haplotype=haplotype)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
