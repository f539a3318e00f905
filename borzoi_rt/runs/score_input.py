"""What is scored: the alleles of a file, of a pipe or of a list, read once into the journal of a run."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError, InputError
from ..genome.genotypes import GenotypeReader
from ..genome.variants import VariantReader, VariantRecord
from ..reading import sha256_of
from ..scoring.haplotypes import HaplotypeOptions
from .alleles import AlleleFile, write_alleles
from .journal import Journal

_ALLELES = "alleles.arrow"

Share = Callable[[Iterable[Any]], Iterator[VariantRecord]]  # gives records the windows they share, or the haplotypes


@dataclass(frozen=True)
class Input:
    """What is scored.

    Attributes
    ----------
    name : str
        As the record of the run calls it.
    source : Path, optional
        A file that can be copied.
    alleles : AlleleFile
        Its alleles in blocks.
    digest : str
        SHA-256 of its content.
    """

    name: str
    source: Path | None
    alleles: AlleleFile
    digest: str

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Refuse to copy an input that is not what was scored: its records would stand beside scores of others.

        Raises
        ------
        FormatError
            If the file was changed or is gone, before or after what is done here.
        """
        self._check_unchanged()
        yield
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        assert self.source is not None
        try:
            same = sha256_of(self.source) == self.digest
        except OSError:
            same = False
        if not same:
            raise FormatError(
                f"{self.source}: was changed after its variants were read; the scores are kept: put the file back and "
                "resume, or score it anew"
            )


Reader = Callable[[Journal, Share, int], Input]


def read_file(
    vcf: str | os.PathLike[str],
    journal: Journal,
    share: Share,
    block: int,
    *,
    keep: bool,
    again: bool,
    haplotypes: HaplotypeOptions | None,
) -> Input:
    """Read the variants of a file into the journal; ``keep`` what can be read only once, where a copy is to be made.

    ``again``: the file must be such that other runs can read it too.
    """
    path, stdin = Path(vcf), str(vcf) == "-"
    once = stdin or path.is_fifo()
    if not once and not path.is_file():
        raise FormatError(f"{path}: no such VCF file")
    name = "stdin" if stdin else path.name
    if once and again:
        raise InputError(f"{name}: can be read only once, and every shard reads the whole input; name a file")
    copied = once and (keep or not stdin)  # a reader of variants takes stdin as it comes, but no other pipe
    kept = journal.directory / f"{name}.vcf" if copied else path
    if copied:
        with kept.open("wb") as handle, nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as stream:
            shutil.copyfileobj(stream, handle)
    name_or_path = "-" if stdin and not copied else kept
    reader: VariantReader | GenotypeReader = (
        VariantReader(name_or_path) if haplotypes is None else GenotypeReader(name_or_path, haplotypes.samples)
    )
    alleles = write_alleles(journal.directory / _ALLELES, share(reader), block)
    return Input(name, kept, alleles, reader.sha256)


def read_list(records: Sequence[VariantRecord], journal: Journal, share: Share, block: int) -> Input:
    """Write variants given one by one into the journal."""
    text = "\n".join(f"{item.variant.chrom}\t{item.variant}" for item in records)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return Input("variants", None, write_alleles(journal.directory / _ALLELES, share(records), block), digest)
