"""Read the genes of a GTF or GFF3 file.

Only exons count, and what says to which gene they belong: ``gene_id`` (GTF of Ensembl, GENCODE, RefSeq and UCSC, GFF3
of GENCODE), or the chain of ``Parent`` up to a feature that has none (GFF3 of Ensembl and RefSeq). Attributes may be
written ``key "value"`` or ``key=value``, features may come in any order, comments stand anywhere. A file without exons
is read by its CDS. An id on two contigs is two genes (pseudoautosomal regions), and so is one on both strands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from ..errors import FormatError
from ..types import IndexArray
from .genes import STRANDS, Genes, Texts, Transcripts, unite
from .lines import text_lines

log = logging.getLogger(__name__)

_VALUE = rb'(?:"([^"]*)"|([^;"\s][^;"]*))'
_GENE_ID = re.compile(rb"(?:^|;)\s*gene_id(?:\s*=\s*|\s+)" + _VALUE)
_TRANSCRIPT_ID = re.compile(rb"(?:^|;)\s*transcript_id(?:\s*=\s*|\s+)" + _VALUE)
_QUOTED_TRANSCRIPT = b' transcript_id "'  # as GTF has it nearly always
_ATTRIBUTE = re.compile(rb"\s*([^\s=;]+)(?:\s*=\s*|\s+)" + _VALUE + rb"\s*(?:;|$)")
_NAME_KEYS = ("gene_name", "gene", "Name")
_TYPE_KEYS = ("gene_type", "gene_biotype", "biotype")
_PARTS = (b"exon", b"CDS", b"start_codon", b"stop_codon", b"five_prime_utr", b"three_prime_utr", b"UTR")
_LATEST = 2**40

_Key = tuple[bytes, bytes, bytes]  # id, contig, strand


@dataclass
class _Feature:
    """What a feature of GFF3 says of itself."""

    parent: bytes | None
    attributes: dict[str, str]


@dataclass
class _Found:
    """What was read so far: intervals by gene or by parent, and what is known of both."""

    genes: dict[_Key, int] = field(default_factory=dict)
    owner: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    transcripts: dict[tuple[int, bytes], int] = field(default_factory=dict)  # of a gene, by name
    transcript: list[int] = field(default_factory=list)
    about: dict[bytes, dict[str, str]] = field(default_factory=dict)
    features: dict[bytes, _Feature] = field(default_factory=dict)
    children: list[tuple[bytes, bytes, bytes, int, int]] = field(default_factory=list)  # parent, contig, strand, ...
    aliases: dict[str, str] = field(default_factory=dict)
    kinds: dict[bytes, None] = field(default_factory=dict)

    def add(self, key: _Key, start: int, end: int, transcript: bytes) -> None:
        owner = self.genes.setdefault(key, len(self.genes))
        self.owner.append(owner)
        self.transcript.append(self.transcripts.setdefault((owner, transcript), len(self.transcripts)))
        self.start.append(start)
        self.end.append(end)


def read_genes(path: Path) -> Genes:
    """Read an annotation, plain or compressed.

    Raises
    ------
    FormatError
        If a line is no feature, or the file has neither exons nor CDS of genes.
    """
    found = _read(path, b"exon")
    if not found.owner:
        by_cds = _read(path, b"CDS")
        if not by_cds.owner:
            kinds = ", ".join(_short(kind)[1:-1] for kind in list(found.kinds)[:8]) or "no features"
            raise FormatError(
                f"{path}: no exon with a gene_id or a Parent; found {kinds}; an annotation in GTF or GFF3 is needed"
            )
        log.warning("%s: has no exons; the CDS of its genes are taken instead", path)
        found = by_cds
    return _genes(path, found)


def _read(path: Path, part: bytes) -> _Found:
    found = _Found()
    nameless = 0
    last: bytes | None = None
    for number, fields in _features(path):
        contig, kind, strand, text = fields[0], fields[2], fields[6], fields[8]
        if kind != part:
            if kind not in _PARTS:
                _describe(found, contig, kind, text)
            continue
        start, end = _interval(path, number, fields)
        match = _GENE_ID.search(text)
        if match:
            gene = _text_of(match)
            if not gene:  # RefSeq writes gene_id "" where it knows none
                nameless += 1
                continue
            if gene != last:  # mostly it is the gene of the line before
                _learn(found, gene, text)
                last = gene
            found.add((gene, contig, strand), start, end, _transcript_of(text))
            continue
        parents = _attributes(text).get("Parent")
        if not parents:
            raise FormatError(f"{path}, line {number}: {part.decode()} without gene_id or Parent, found {_short(text)}")
        for parent in dict.fromkeys(parents.encode("utf-8", "surrogateescape").split(b",")):
            found.children.append((parent, contig, strand, start, end))
    if nameless:
        log.warning("%s: %d exons have an empty gene_id and are left out", path, nameless)
    _adopt(path, found)
    return found


def _transcript_of(text: bytes) -> bytes:
    """Return the transcript_id of an exon; nothing where it has none."""
    start = text.find(_QUOTED_TRANSCRIPT)
    if start < 0:
        named = _TRANSCRIPT_ID.search(text)
        return _text_of(named) if named else b""
    start += len(_QUOTED_TRANSCRIPT)
    return text[start : text.find(b'"', start)]


def _features(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of features, split into nine columns, with their numbers."""
    for number, raw in enumerate(text_lines(path, "annotation"), start=1):
        line = raw.rstrip(b"\r\n")
        if line.startswith(b"#"):
            if line.startswith(b"##FASTA"):
                return
            continue
        fields = line.split(b"\t", 8)
        if len(fields) < 9:
            if not line.strip() or line.startswith((b"track", b"browser")):
                continue
            if line.startswith(b">"):
                return
            why = "columns are split by spaces; tabs are needed" if len(line.split()) >= 9 else "nine columns needed"
            raise FormatError(f"{path}, line {number}: {len(fields)} columns, {why}, found {_short(line)}")
        yield number, fields


def _text_of(match: re.Match[bytes]) -> bytes:
    """Return a value with its quotation marks taken away."""
    quoted: bytes | None = match[1]
    plain: bytes = match[2] or b""
    return plain.strip() if quoted is None else quoted


def _interval(path: Path, number: int, fields: list[bytes]) -> tuple[int, int]:
    """Return [start, end), 0-based."""
    try:
        start, end = int(fields[3]) - 1, int(fields[4])
    except ValueError:
        start, end = -1, -1
    if not 0 <= start < end < _LATEST:
        raise FormatError(
            f"{path}, line {number}: an exon from {_short(fields[3])} to {_short(fields[4])}; "
            "1-based numbers are needed, the start not above the end"
        )
    return start, end


def _describe(found: _Found, contig: bytes, kind: bytes, text: bytes) -> None:
    """Keep what a gene, a transcript or a region says."""
    found.kinds[kind] = None
    match = _GENE_ID.search(text)
    if match and (gene := _text_of(match)):
        _learn(found, gene, text)
    if b"ID=" not in text:
        return
    attributes = _attributes(text)
    name = attributes.get("ID")
    if name is None:
        return
    parent = attributes.get("Parent")
    found.features.setdefault(
        name.encode("utf-8", "surrogateescape"),
        _Feature(parent.encode("utf-8", "surrogateescape").split(b",")[0] if parent else None, attributes),
    )
    if kind == b"region" and attributes.get("chromosome") and attributes.get("genome") == "chromosome":
        found.aliases.setdefault(contig.decode("utf-8", "surrogateescape"), attributes["chromosome"])


def _learn(found: _Found, gene: bytes, text: bytes) -> None:
    """Take name and type of a gene from a line of its own, of a transcript or of an exon, whichever has them first."""
    known = found.about.setdefault(gene, {})
    if "name" not in known or "type" not in known:
        _complete(known, {key: value for key, value in _attributes(text).items() if key != "Name"})


def _attributes(text: bytes) -> dict[str, str]:
    """Return the ninth column as a dictionary; of a key that repeats, the first value."""
    found: dict[str, str] = {}
    for key, quoted, plain in _ATTRIBUTE.findall(text):
        value = (quoted or plain.strip()).decode("utf-8", "surrogateescape")
        if b"%" in plain:
            value = unquote(value, errors="surrogateescape")
        found.setdefault(key.decode("utf-8", "surrogateescape"), value)
    return found


def _adopt(path: Path, found: _Found) -> None:
    """Give the exons that name a parent to the feature at the end of the chain."""
    roots: dict[bytes, bytes] = {}
    orphans = 0
    for parent, contig, strand, start, end in found.children:
        if parent not in roots:
            roots[parent] = _root(path, found.features, parent)
            orphans += roots[parent] not in found.features
        root = roots[parent]
        feature = found.features.get(root)
        if feature is None:
            found.add((root, contig, strand), start, end, parent)
            continue
        gene = _gene_name(root, feature)
        _complete(found.about.setdefault(gene, {}), feature.attributes)
        found.add((gene, contig, strand), start, end, parent)
    if orphans:
        log.warning("%s: %d parents of exons are not in the file; each is taken for a gene", path, orphans)


def _complete(known: dict[str, str], attributes: dict[str, str]) -> None:
    """Take from a gene's own line what no other line has said."""
    for what, keys in (("name", _NAME_KEYS), ("type", _TYPE_KEYS)):
        value = next((attributes[key] for key in keys if attributes.get(key)), None)
        if value is not None:
            known.setdefault(what, value)


def _root(path: Path, features: dict[bytes, _Feature], name: bytes) -> bytes:
    seen = {name}
    while (feature := features.get(name)) is not None and feature.parent is not None:
        name = feature.parent
        if name in seen:
            raise FormatError(f"{path}: feature {_short(name)} is its own parent")
        seen.add(name)
    return name


def _gene_name(root: bytes, feature: _Feature) -> bytes:
    own = feature.attributes.get("gene_id")
    if own is not None:
        return own.encode("utf-8", "surrogateescape")
    return root[5:] if root.startswith((b"gene:", b"gene-")) else root


def _genes(path: Path, found: _Found) -> Genes:
    """Turn what was read into arrays, ordered by contig and start."""
    owner, exons = unite(*(np.array(values, dtype=np.int64) for values in (found.owner, found.start, found.end)))
    keys = list(found.genes)
    counts = np.bincount(owner, minlength=len(keys))
    ends = np.cumsum(counts)
    firsts = ends - counts
    contigs = tuple(dict.fromkeys(contig.decode("utf-8", "surrogateescape") for _, contig, _ in keys))
    contig_code = {name: code for code, name in enumerate(contigs)}
    contig = np.array([contig_code[key[1].decode("utf-8", "surrogateescape")] for key in keys], dtype=np.int64)
    order = np.lexsort((exons[ends - 1, 1], exons[firsts, 0], contig))
    about = [found.about.get(key[0], {}) for key in keys]
    ids = _distinct(path, keys)
    names = [
        known.get("name") or key[0].decode("utf-8", "surrogateescape") for key, known in zip(keys, about, strict=True)
    ]
    kinds = [known.get("type", "") for known in about]
    types = tuple(dict.fromkeys(kinds))
    rows = np.concatenate([np.arange(firsts[gene], ends[gene]) for gene in order])
    strands = [STRANDS.find(key[2].decode("ascii", "replace")) for key in keys]
    return Genes(
        source=path.name,
        contigs=contigs,
        types=types,
        ids=Texts.of([ids[gene] for gene in order]),
        names=Texts.of([names[gene] for gene in order]),
        contig=contig[order],
        type_code=np.array([types.index(kinds[gene]) for gene in order], dtype=np.int64),
        strand=np.array([strands[gene] if strands[gene] >= 0 else 2 for gene in order], dtype=np.int64),
        exon_ends=np.cumsum(counts[order]),
        exons=np.ascontiguousarray(exons[rows]),
        aliases=found.aliases,
        transcripts=_transcripts(found, order),
    )


def _transcripts(found: _Found, order: IndexArray) -> Transcripts:
    """Return the exons of every transcript, in the order of the genes, then in that of the file."""
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    gene = number[np.array([owner for owner, _ in found.transcripts], dtype=np.int64)]
    ranked = np.argsort(gene, kind="stable")
    rank = np.empty(len(ranked), dtype=np.int64)
    rank[ranked] = np.arange(len(ranked))
    starts, ends = np.array(found.start, dtype=np.int64), np.array(found.end, dtype=np.int64)
    owner, exons = unite(rank[np.array(found.transcript, dtype=np.int64)], starts, ends)
    return Transcripts(
        ends=np.cumsum(np.bincount(gene, minlength=len(order))),
        exon_ends=np.cumsum(np.bincount(owner, minlength=len(gene))),
        exons=exons,
    )


def _distinct(path: Path, keys: list[_Key]) -> list[str]:
    """Return ids that no two genes of a contig share: the second strand of an id is marked, as ``ID(-)``."""
    seen: dict[tuple[bytes, bytes], int] = {}
    ids, twice = [], 0
    for gene, contig, strand in keys:
        text = gene.decode("utf-8", "surrogateescape")
        if (gene, contig) in seen:
            twice += 1
            text = f"{text}({strand.decode('ascii', 'replace')})"
        seen[gene, contig] = 1
        ids.append(text)
    if twice:
        log.warning("%s: %d gene ids have exons on both strands; each strand is a gene of its own", path, twice)
    return ids


def _short(text: bytes) -> str:
    return repr(text.decode("utf-8", "backslashreplace")[:60])
