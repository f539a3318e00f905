"""Variants to a scorer on a Triton server and scores back: kilobytes, where coverage would be hundreds of megabytes."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from ..backends.address import Address
from ..backends.device import Device
from ..backends.triton import Connection, Counters
from ..bundle.opening import Bundle
from ..closing import Closing
from ..errors import BackendError, InputError
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.variants import Variant
from .gene_text import GENES, genes_from_text
from .haplotypes import HaplotypeOptions
from .options import ScoreOptions, read_options
from .results import SCORED, RegionScores, ScoredVariant

BATCH = 16
_SIDE = ("status", "reference", "detail", "window_start", "stitch_bin", "n_fraction")
_NOWHERE = Variant(".", 0, "N", "N")


def check_served(options: ScoreOptions) -> None:
    """Refuse what a scorer on a server does not compute.

    Raises
    ------
    InputError
        Naming it.
    """
    of_sites = [spec.name for spec in options.specs if spec.region.of_sites]
    if of_sites:
        raise InputError(
            f"{of_sites[0]}: scores of sites are not served; name a server of the whole model, or score on this machine"
        )
    if options.with_alleles:
        raise InputError("with_alleles: the coverage of alleles is not served; score on this machine")
    for name in ("normalize", "phase_floor"):
        if getattr(options, name):
            raise InputError(f"{name} is not served; score on this machine")


def check_not_served(device: Device, haplotypes: HaplotypeOptions | None) -> None:
    """Refuse haplotypes where a scorer on a server would have to know what they are.

    Raises
    ------
    InputError
        Naming the device.
    """
    if haplotypes is not None and device.kind == "triton" and is_scorer(device.url):
        raise InputError(
            f"{device}: haplotypes are not served; name a server of the whole model, or score on this machine"
        )


def genes_identity(genes: Genes) -> str:
    """Return what tells one annotation from another: its genes, their exons, and those of their transcripts."""
    return f"{genes.digest} {genes.transcript_digest}"


def open_served(
    url: str | Address,
    *,
    bundle: Bundle | None = None,
    fasta: Fasta | None = None,
    genes: Genes | None = None,
) -> tuple[Connection, str, dict[str, str]]:
    """Connect to a scorer, and return the connection, the name of its model and its parameters.

    Parameters and errors are those of :class:`RemoteScorer`.
    """
    address = Address.parse(url.removeprefix("triton:")) if isinstance(url, str) else url
    connection = Connection(address)
    try:
        parameters = connection.parameters(address.model)
        if "options" not in parameters:
            raise InputError(
                f"{address}: is no scorer; a model repository that is written with a genome (fasta) has one, "
                "NAME_scorer"
            )
        expected = parameters["bundle_sha256"] if bundle is None else bundle.sha256
        connection.expect(address.model, expected)
        if fasta is not None and fasta.fingerprint() != parameters["fasta_index_sha256"]:
            raise BackendError(f"{address}: has another genome than {fasta.name}; serve this one")
        if genes is not None and genes_identity(genes) != parameters.get("genes_sha256"):
            held = "another annotation than" if "genes_sha256" in parameters else "no annotation, and not"
            raise BackendError(f"{address}: has {held} {genes.source}; serve this one")
    except BaseException:
        connection.close()
        raise
    return connection, address.model, parameters


class RemoteScorer(Closing):
    """A scorer on a server; may be used by several threads.

    Parameters
    ----------
    url : str or Address
        Where it is, like ``grpc://127.0.0.1:8001/borzoi_scorer``.
    bundle : Bundle, optional
        The model that must be served, now and after every interruption.
    fasta : Fasta, optional
        The genome that must be served.
    genes : Genes, optional
        The annotation that must be served.

    Attributes
    ----------
    options : ScoreOptions
        What the server computes.
    rows : tuple of str
        Tracks of every score, in order.

    Raises
    ------
    InputError
        If the model is no scorer, or the server has none of that name.
    BackendError
        If the server cannot be reached, or serves another bundle or genome.
    """

    def __init__(
        self,
        url: str | Address,
        *,
        bundle: Bundle | None = None,
        fasta: Fasta | None = None,
        genes: Genes | None = None,
    ) -> None:
        self._connection, self._model, parameters = open_served(url, bundle=bundle, fasta=fasta, genes=genes)
        self.options: ScoreOptions = read_options(parameters["options"])
        self._specs = {spec.name: spec for spec in self.options.specs}
        self.rows: tuple[str, ...] = tuple(json.loads(parameters["rows"]))
        self._pool = ThreadPoolExecutor(self._connection.address.flight, thread_name_prefix="borzoi-rt-scorer")

    def check(self, options: ScoreOptions, rows: Sequence[str]) -> None:
        """Refuse a server that scores otherwise than asked for.

        Parameters
        ----------
        options : ScoreOptions
            What is asked for, with nothing left open; its scores may be some of the server's.
        rows : sequence of str
            Tracks of every score.

        Raises
        ------
        InputError
            Naming the first difference.
        """
        check_served(options)
        missing = [spec.name for spec in options.specs if spec.name not in self._specs]
        if missing:
            raise InputError(f"{self._connection.address}: computes {', '.join(self._specs)}, not {missing[0]!r}")
        if tuple(rows) != self.rows:
            raise InputError(
                f"{self._connection.address}: scores {len(self.rows)} tracks, first {self.rows[0]!r}; the tracks asked "
                f"for are {len(rows)}, first {rows[0]!r}"
            )
        mine, theirs = options.to_dict(), self.options.to_dict()
        for name in mine.keys() - {"stats", "tracks"}:
            if mine[name] != theirs[name]:
                raise InputError(
                    f"{self._connection.address}: scores with {name} {theirs[name]!r}, asked for is {mine[name]!r}; "
                    "ask for what it does, or name a server of the whole model"
                )

    @property
    def counters(self) -> Counters:
        """What was sent and received so far."""
        return self._connection.counters

    def close(self) -> None:
        """Close the connection."""
        self._pool.shutdown(cancel_futures=True)
        self._connection.close()

    def score(self, variants: Sequence[Variant], *, stats: Sequence[str] | None = None) -> list[ScoredVariant]:
        """Score variants in one request.

        Parameters
        ----------
        variants : sequence of Variant
            At most as many as the server takes at once.
        stats : sequence of str, optional
            Which of the server's scores are wanted back; all when None.

        Returns
        -------
        list of ScoredVariant
            One per variant; what is wrong with it is its status.

        Raises
        ------
        InputError
            If the server refuses the request.
        """
        if not variants:
            return []
        inputs = {
            "chrom": _strings(variant.chrom for variant in variants),
            "pos": np.array([[variant.pos] for variant in variants], dtype=np.int64),
            "ref": _strings(variant.ref for variant in variants),
            "alt": _strings(variant.alt for variant in variants),
        }
        return self._ask(inputs, variants, stats)

    def score_windows(
        self, pairs: Sequence[tuple[str, str]], *, stats: Sequence[str] | None = None
    ) -> list[ScoredVariant]:
        """Score pairs of windows given as bases; see :meth:`borzoi_rt.scoring.pipeline.Scorer.score_windows`."""
        if not pairs:
            return []
        inputs = {"ref_sequence": _strings(ref for ref, _ in pairs), "alt_sequence": _strings(alt for _, alt in pairs)}
        return self._ask(inputs, [_NOWHERE] * len(pairs), stats)

    def score_all(
        self, variants: Iterable[Variant], *, stats: Sequence[str] | None = None, batch: int = BATCH
    ) -> Iterator[ScoredVariant]:
        """Score any number of variants, in order, with several requests on their way at once."""
        source, waiting = iter(variants), deque[Future[list[ScoredVariant]]]()
        try:
            while True:
                while len(waiting) <= self._connection.address.flight and (part := list(islice(source, batch))):
                    waiting.append(self._pool.submit(self.score, part, stats=stats))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _ask(
        self, inputs: dict[str, np.ndarray], variants: Sequence[Variant], stats: Sequence[str] | None
    ) -> list[ScoredVariant]:
        chosen = tuple(self._specs) if stats is None else tuple(stats)
        unknown = [name for name in chosen if name not in self._specs]
        if unknown:
            raise InputError(f"{self._connection.address}: computes {', '.join(self._specs)}, not {unknown[0]!r}")
        shapes: dict[str, tuple[int, ...] | None] = {name: (len(variants), 1) for name in _SIDE}
        shapes.update({name: (len(variants), len(self.rows)) for name in chosen if not self._specs[name].of_genes})
        if any(self._specs[name].of_genes for name in chosen):
            shapes[GENES] = (len(variants), 1)
        answer = self._connection.infer(self._model, inputs, shapes)
        return [self._result(number, variant, answer, chosen) for number, variant in enumerate(variants)]

    def _result(
        self, number: int, variant: Variant, answer: dict[str, np.ndarray], names: Sequence[str]
    ) -> ScoredVariant:
        status, reference, detail, start, seam, share = (answer[name][number, 0] for name in _SIDE)
        scored = status.decode() in SCORED
        by_region: dict[str, dict[str, np.ndarray]] = {}
        specs = [self._specs[name] for name in names] if scored else []
        for spec in (spec for spec in specs if not spec.of_genes):
            name = spec.name
            by_region.setdefault(str(spec.region), {})[spec.stat] = answer[name][number].copy()
        of_genes = [(str(spec.region), spec.stat) for spec in specs if spec.of_genes]
        genes = genes_from_text(answer[GENES][number, 0].decode(), len(self.rows), of_genes) if of_genes else []
        return ScoredVariant(
            record=number,
            alt_index=0,
            variant=variant,
            status=status.decode(),
            detail=detail.decode(),
            window_start=int(start) if scored else None,
            stitch_bin=int(seam) if scored and seam >= 0 else None,
            n_fraction=float(share) if scored else None,
            reference=reference.decode(),
            regions=(*(RegionScores(region, ".", scores) for region, scores in by_region.items()), *genes),
        )


def is_scorer(url: str) -> bool:
    """Tell whether an address names a scorer, which takes variants, and not a network, which takes sequences."""
    address = Address.parse(url)
    connection = Connection(address)
    try:
        return "options" in connection.parameters(address.model)
    finally:
        connection.close()


def _strings(texts: Iterable[str]) -> np.ndarray:
    return np.array([[text.encode()] for text in texts], dtype=np.object_)
