"""What is asked of a scorer on a server that explains: one JSON object, judged here, whoever brought it.

=========================  ==========================================================================================
``method``                 a key of :data:`SERVED`
``options``                options of the method by name (default: its own)
``target``                 text like ``log SUM@exons``, or the fields of :class:`~borzoi_rt.explain.target.TargetSpec`
``tracks``, ``against``    numbers of tracks, rows of the table of the model (default: all, and none)
``rc``, ``n_code``         as of :class:`~borzoi_rt.explain.explainer.ExplainOptions`
``chrom, start, end``      the bases, 0-based and half-open; with ``variant`` as columns of its window
``window_start``           0-based start of the window (default: around the bases, the gene, or the variant)
``anchor``                 1-based base that ``span:BP`` and ``center:BP`` are around (default: the middle)
``gene``                   of the target: ``id``, ``chrom``, ``strand``, ``exons``, ``isoforms``; exons are [start, end)
``variant``, ``allele``    text like ``chr1:14677:G:A``, and ``ref`` or ``alt``
=========================  ==========================================================================================

What is wrong with a request is an :class:`~borzoi_rt.errors.InputError`, before anything is allocated for it; what is
wrong with its bases is the status of the answer. Tracks are numbers, since a regular expression of a stranger may take
for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ..bundle.manifest import Geometry
from ..bundle.opening import Bundle
from ..engine.regions import Region
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import STRANDS, Gene
from ..genome.intervals import Interval
from ..genome.variants import LAST_POS, Variant
from ..types import IndexArray
from .explainer import ExplainOptions
from .methods import METHODS
from .rows import ALT, REF, Row, region_row, variant_rows
from .target import TargetSpec

EXPLAIN, EXPLANATION = "explain", "explanation"  # names of the input and of the output of a scorer
LONGEST_BYTES = 2**20
LONGEST_NAME = 256
MOST_EXONS = 50_000

# Passes of the network that a method makes for some bases, a gradient counting as three.
SERVED: Mapping[str, Callable[[Any, int], int]] = {
    "saliency": lambda options, bases: 3,
    "ixg": lambda options, bases: 3,
    "ig": lambda options, bases: 1 + options.references * (3 * options.steps + 1),
    "expected-gradients": lambda options, bases: 1 + 4 * options.samples,
    "smoothgrad": lambda options, bases: 1 + 3 * options.samples,
    "ism": lambda options, bases: 1 + 4 * bases,
}
_FIELDS = {
    "method": str,
    "options": dict,
    "target": (str, dict),
    "tracks": list,
    "against": list,
    "rc": bool,
    "n_code": str,
    "chrom": str,
    "start": int,
    "end": int,
    "window_start": int,
    "anchor": int,
    "gene": dict,
    "variant": str,
    "allele": str,
}
_OF_TARGET: dict[str, Any] = {"log": bool, "squashed": bool, "unscale": bool, "unclip": bool}
_OF_TARGET |= {"pseudo": (int, float), "site_pseudo": (int, float)}
_OF_GENE = {"id": str, "chrom": str, "strand": str, "exons": list, "isoforms": list}


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """A request that makes sense.

    Attributes
    ----------
    spec : TargetSpec
    options : ExplainOptions
    bases : Interval
    window_start, anchor : int or None
    gene : Gene or None
    variant : Variant or None
    allele : str
    """

    spec: TargetSpec
    options: ExplainOptions
    bases: Interval
    window_start: int | None
    anchor: int | None
    gene: Gene | None
    variant: Variant | None
    allele: str

    @property
    def passes(self) -> int:
        """Passes of the network that it costs."""
        count = SERVED[self.options.method](self.options.options, self.bases.end - self.bases.start)
        return count * (2 if self.options.rc else 1)

    def row(self, fasta: Fasta, geometry: Geometry) -> Row:
        """Return what is explained.

        Raises
        ------
        InputError
            If it cannot be: a :class:`~borzoi_rt.explain.rows.RowError` where that has a status of its own.
        """
        if self.variant is None:
            how: dict[str, Any] = {"gene": self.gene, "window_start": self.window_start, "anchor": self.anchor}
            return region_row(self.bases, fasta, geometry, **how)
        pair = variant_rows(self.variant, fasta, geometry, width_bp=1, gene=self.gene)
        row = pair[1 if self.allele == ALT else 0]
        start = row.where.window_start
        bases = replace(self.bases, chrom=row.bases.chrom)
        if not start <= bases.start < bases.end <= start + geometry.sequence_length_bp:
            raise InputError(f"bases {bases.start}:{bases.end} do not lie in the window of {self.variant}")
        return replace(row, bases=bases)


def request_text(row: Row, spec: TargetSpec, options: ExplainOptions, bundle: Bundle) -> str:
    """Return the request that asks for what :meth:`borzoi_rt.explain.explainer.Explainer.explain` gives.

    Raises
    ------
    InputError
        If that is not served.
    """
    check_served(options.method)
    where = row.where
    if where.sites is not None:
        raise InputError(f"target {spec.name}: sites are not served; explain it on this machine")
    document: dict[str, Any] = {
        "method": options.method,
        "options": asdict(options.options),
        "rc": options.rc,
        "n_code": options.n_code,
        "target": {**spec.to_json(), "tracks": None, "against": None},
        "tracks": _numbers_of(spec.tracks, bundle),
        "against": _numbers_of(spec.against, bundle),
        "chrom": row.bases.chrom,
        "start": row.bases.start,
        "end": row.bases.end,
        "gene": None if where.gene is None else _gene_to_json(where.gene, transcripts=_of_transcripts(spec.region)),
    }
    if row.variant is None:
        anchor = None if where.anchor is None else where.anchor.pos
        document |= {"window_start": where.window_start, "anchor": anchor}
    else:
        document |= {"variant": str(row.variant), "allele": row.allele}
    return json.dumps({name: value for name, value in document.items() if value is not None})


def read_request(text: str | bytes, bundle: Bundle) -> ExplainRequest:
    """Read and judge a request.

    Raises
    ------
    InputError
        If it makes no sense.
    """
    held = _object(text)
    _check_kinds("explain", held, _FIELDS)
    method = held.get("method", "saliency")
    check_served(method)
    options = ExplainOptions(
        method=method, options=held.get("options") or None, rc=held.get("rc", False), n_code=held.get("n_code")
    )
    for name in ("chrom", "start", "end"):
        if name not in held:
            raise InputError(f"explain has no {name}; chrom, start and end say which bases")
    low, high = held["start"], held["end"]
    _check_range("start", low)
    _check_range("end", high)
    longest = bundle.geometry.sequence_length_bp
    if not 0 < high - low <= longest:
        raise InputError(f"explain is of {high - low} bases; 1 to {longest} are allowed")
    for name in ("window_start", "anchor"):
        if name in held:
            _check_range(name, held[name])
    variant, allele = _variant(held, longest)
    gene = _gene(held["gene"]) if "gene" in held else None
    spec = _spec(held, bundle)
    if spec.of_genes and gene is None:
        raise InputError(f"target {spec.name} is of a gene; give one (gene)")
    return ExplainRequest(
        spec=spec,
        options=options,
        bases=Interval(_short("chrom", held["chrom"]), low, high),
        window_start=held.get("window_start"),
        anchor=held.get("anchor"),
        gene=gene,
        variant=variant,
        allele=allele,
    )


def check_served(method: str) -> None:
    """Refuse a method that is not served.

    Raises
    ------
    InputError
        Saying which are.
    """
    if method not in SERVED:
        known = "is not served" if method in METHODS else "is unknown"
        raise InputError(f"method {method!r:.40} {known}; a scorer explains by {', '.join(SERVED)}")


def _object(text: str | bytes) -> dict[str, Any]:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    if len(text) > LONGEST_BYTES:
        raise InputError(f"explain has {len(text)} bytes; {LONGEST_BYTES} are allowed")
    try:
        held = json.loads(text, parse_constant=refuse)
        if not json.dumps(held, ensure_ascii=False).isascii():
            raise ValueError("other letters than ASCII")
    except (ValueError, RecursionError) as error:
        raise InputError(f"explain is no JSON ({str(error) or type(error).__name__:.80})") from None
    if not isinstance(held, dict):
        raise InputError(f"explain is a {type(held).__name__}; an object is needed")
    return {name: value for name, value in held.items() if value is not None}


def _check_kinds(what: str, held: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Refuse fields that are unknown or of another kind; true and false are no numbers."""
    for name, value in held.items():
        if name not in kinds:
            raise InputError(f"{what} has the unknown field {name!r:.40}; allowed: {', '.join(kinds)}")
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and kinds[name] is not bool):
            raise InputError(f"{name} of {what} is {value!r:.40}, which is of the wrong kind")


def _check_range(name: str, value: int) -> None:
    if not -LAST_POS <= value <= LAST_POS:
        raise InputError(f"{name} lies outside every contig")


def _short(name: str, text: str) -> str:
    if not 0 < len(text) <= LONGEST_NAME or not text.isascii() or not text.isprintable():
        raise InputError(f"{name} is {text!r:.40}; 1 to {LONGEST_NAME} ASCII letters are needed")
    return text


def _variant(held: Mapping[str, Any], longest: int) -> tuple[Variant | None, str]:
    if "variant" not in held:
        if "allele" in held:
            raise InputError("allele is of a variant; give one, or leave it out")
        return None, ""
    if "window_start" in held or "anchor" in held:
        raise InputError("the window of a variant is that of its scores: leave out window_start and anchor")
    text, allele = held["variant"], held.get("allele", ALT)
    if len(text) > LONGEST_NAME + 2 * longest + 20 or not text.isascii():
        raise InputError(f"variant has {len(text)} letters, or others than ASCII; alleles fit into the window")
    if allele not in (REF, ALT):
        raise InputError(f"allele is {allele!r:.40}; allowed: {REF}, {ALT}")
    variant = Variant.parse(text)
    if not 0 < variant.pos <= LAST_POS or max(len(variant.ref), len(variant.alt)) > longest:
        raise InputError(f"variant {text!r:.60} does not fit into a window")
    return variant, allele


def _spec(held: Mapping[str, Any], bundle: Bundle) -> TargetSpec:
    target = held.get("target", "log SUM")
    chosen = {name: _chosen(name, held[name], bundle) for name in ("tracks", "against") if name in held}
    if isinstance(target, str):
        return TargetSpec.parse(_short("target", target), **chosen)
    given = {name: value for name, value in target.items() if value is not None and name != "target"}
    for name in ("tracks", "against"):
        if name in given:
            raise InputError(f"{name} of a target are numbers beside it, and no text")
    known = {item.name: _OF_TARGET.get(item.name, str) for item in fields(TargetSpec)}
    _check_kinds("target", given, known)
    for name, value in given.items():
        if isinstance(value, str):
            _short(f"{name} of target", value)
    if "pseudo" in given and not 0 <= given["pseudo"] < 1e30:
        raise InputError("pseudo of target is too large, or below 0")
    return TargetSpec.from_json({**given, **chosen})


def _chosen(name: str, numbers: Sequence[Any], bundle: Bundle) -> str:
    """Return the text that selects tracks by their rows in the table."""
    count = len(bundle.tracks)
    if not 0 < len(numbers) <= count:
        raise InputError(f"{name} holds {len(numbers)} numbers; 1 to {count} are allowed")
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < count:
            raise InputError(f"{name} holds {number!r:.40}; whole numbers from 0 to {count - 1} are needed")
    return ",".join(str(unit) for unit in bundle.tracks.index[np.array(numbers)])


def _numbers_of(selection: str | None, bundle: Bundle) -> list[int] | None:
    return None if selection is None else [int(position) for position in bundle.tracks.select(selection)]


def _of_transcripts(region: str) -> bool:
    """Tell whether a region depends on the transcripts of a gene, and not on its exons alone."""
    return region.startswith("tss") or Region.parse(region).of_transcripts


def _gene_to_json(gene: Gene, *, transcripts: bool) -> dict[str, Any]:
    found = {"id": gene.id, "chrom": gene.chrom, "strand": gene.strand, "exons": gene.exons.tolist()}
    return {**found, "isoforms": [exons.tolist() for exons in gene.isoforms]} if transcripts else found


def _gene(held: Mapping[str, Any]) -> Gene:
    _check_kinds("gene", held, _OF_GENE)
    for name in ("chrom", "strand", "exons"):
        if name not in held:
            raise InputError(f"gene has no {name}; chrom, strand and exons are needed")
    if held["strand"] not in tuple(STRANDS):
        raise InputError(f"strand of gene is {held['strand']!r:.40}; allowed: {', '.join(STRANDS)}")
    isoforms = held.get("isoforms", [])
    if not all(isinstance(exons, list) for exons in isoforms):
        raise InputError("isoforms of gene hold something else than lists of exons")
    if len(held["exons"]) + sum(map(len, isoforms)) > MOST_EXONS:
        raise InputError(f"gene has more than {MOST_EXONS} exons")
    name = _short("id of gene", held.get("id", "gene"))
    chrom, exons = _short("chrom of gene", held["chrom"]), _exons(held["exons"])
    return Gene(name, name, "", chrom, held["strand"], exons, tuple(_exons(item) for item in isoforms))


def _exons(held: Sequence[Any]) -> IndexArray:
    """Return [start, end) of exons, ascending and apart."""
    last = -1
    for exon in held:
        whole = isinstance(exon, list) and len(exon) == 2 and all(type(edge) is int for edge in exon)
        if not whole or not last < exon[0] < exon[1] <= LAST_POS:
            raise InputError(f"gene has the exon {exon!r:.40}; [start, end) in ascending order are needed")
        last = exon[1] - 1
    if not held:
        raise InputError("gene has no exon")
    return np.array(held, dtype=np.int64)
