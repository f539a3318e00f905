"""An annotation, parsed once: its genes are kept in the user's cache under the SHA-256 of the file.

A file that was not touched since is known by its size, its times and its inode, and is not even read; anything else is
hashed. Where no cache can be written, as without a home, genes are read from the annotation every time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..errors import FormatError
from ..plain import path_of
from ..reading import sha256_of
from .annotation import read_genes
from .contig_names import read_contig_names
from .genes import Genes, Texts, Transcripts
from .pas import read_sites

log = logging.getLogger(__name__)

_FORMAT = 2
_SETTLED_NS = 2 * 10**9  # a file changed this short ago might change again within one step of its clock
_TRANSCRIPTS = ("ends", "exon_ends", "exons")
_ARRAYS = ("contig", "type_code", "strand", "exon_ends", "exons")


@overload
def genes_of(given: Genes | str | os.PathLike[str]) -> Genes: ...
@overload
def genes_of(given: Genes | str | os.PathLike[str] | None) -> Genes | None: ...
def genes_of(given: Genes | str | os.PathLike[str] | None) -> Genes | None:
    """Return an annotation that is given as such or as its file."""
    return given if given is None or isinstance(given, Genes) else open_genes(given)


def open_genes(
    path: str | os.PathLike[str],
    *,
    pas: str | os.PathLike[str] | None = None,
    chrom_aliases: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Genes:
    """Open an annotation, from the index where there is one.

    Parameters
    ----------
    path : path
        GTF or GFF3, plain, gzip or bgzip.
    pas : path, optional
        Table of polyadenylation sites, see :mod:`borzoi_rt.genome.pas`.
    chrom_aliases : path, optional
        Names of contigs, where the annotation calls them otherwise than the genome; see
        :func:`borzoi_rt.genome.contig_names.read_contig_names`.
    cache : path, optional
        Folder of indices; ``borzoi_rt/genes`` in ``XDG_CACHE_HOME`` or in ``~/.cache`` when None.

    Returns
    -------
    Genes

    Raises
    ------
    FormatError
        If the file is missing or malformed.
    """
    genes = _opened(path_of("genes", path), cache)
    if chrom_aliases is not None:
        genes = replace(genes, contig_names=read_contig_names(chrom_aliases))
    return genes if pas is None else replace(genes, sites=read_sites(pas))


def _opened(path: Path, cache: str | os.PathLike[str] | None) -> Genes:
    if not path.is_file():
        raise FormatError(f"{path}: no such annotation file")
    folder = Path(cache) if cache is not None else cache_folder()
    if folder is None:
        return read_genes(path)
    digest = _content_digest(path, folder)
    index = folder / f"{digest[:40]}.{_FORMAT}.npz"
    genes = _load(index, path.name)
    if genes is None:
        genes = read_genes(path)
        _store(index, genes)
    return genes


def cache_folder() -> Path | None:
    """Return the folder of indices; None where there is no home."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "borzoi_rt" / "genes"
    except RuntimeError:
        return None


def _content_digest(path: Path, folder: Path) -> str:
    """Return the SHA-256 of a file; the note of the last time is believed where the file was not touched since."""
    note = folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:40]}.json"
    found = path.stat()
    state = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        if held["state"] == state:
            return str(held["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = sha256_of(path)
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS:
        _write(note, json.dumps({"state": state, "sha256": digest}).encode())
    return digest


def _load(index: Path, source: str) -> Genes | None:
    """Return the genes of an index; None where there is none, or it is damaged."""
    try:
        with np.load(index, allow_pickle=False) as held:
            about = json.loads(held["about"].tobytes())
            return Genes(
                source=source,
                contigs=tuple(about["contigs"]),
                types=tuple(about["types"]),
                aliases=about["aliases"],
                ids=Texts(held["id_letters"], held["id_ends"]),
                names=Texts(held["name_letters"], held["name_ends"]),
                **{name: held[name] for name in _ARRAYS},
                transcripts=Transcripts(*(held[f"transcript_{name}"] for name in _TRANSCRIPTS)),
            )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s: cannot be used (%s); the annotation is read again", index, error)
        return None


def _store(index: Path, genes: Genes) -> None:
    assert genes.transcripts is not None, "a reader of annotations names them"
    about = {"contigs": genes.contigs, "types": genes.types, "aliases": genes.aliases}
    arrays: dict[str, Any] = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "id_letters": genes.ids.letters,
        "id_ends": genes.ids.ends,
        "name_letters": genes.names.letters,
        "name_ends": genes.names.ends,
        **{name: getattr(genes, name) for name in _ARRAYS},
        **{f"transcript_{name}": getattr(genes.transcripts, name) for name in _TRANSCRIPTS},
    }
    _write(index, arrays)


def _write(path: Path, content: bytes | dict[str, Any]) -> None:
    """Write a file whole or not at all; a cache that cannot be written is no error."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as handle:
            if isinstance(content, bytes):
                handle.write(content)
            else:
                np.savez(handle, **content)
        draft.replace(path)
    except OSError as error:
        log.info("%s: cannot be written (%s)", path, error.strerror)
        with suppress(OSError):
            draft.unlink()
