"""What a server costs: latencies of one variant in process and through Triton, on the same variants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np

from ..backends.opening import open_session
from ..backends.parity import replay_golden
from ..bundle.opening import Bundle
from ..bundle.parity import Comparison
from ..engine.sessions import open_engine
from ..errors import InputError, ParityError
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import Scorer
from ..scoring.remote import RemoteScorer
from ..scoring.results import ScoredVariant
from .latency import Latencies, closed_loop, open_loop

Call = Callable[[Variant], ScoredVariant]
_BASES = "ACGT"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Latencies under one load; ``load`` says which, ``where`` who answered."""

    where: str
    load: str
    latencies: Latencies


def check_server(bundle: Bundle, address: str, *, calls: int = 20) -> tuple[Comparison, Latencies]:
    """Replay the golden example on a server, then time windows of it.

    Parameters
    ----------
    bundle : Bundle
        The model that must be served.
    address : str
        Address of the plain model, like ``grpc://127.0.0.1:8001/borzoi``.
    calls : int
        How many windows are sent and timed.

    Returns
    -------
    Comparison, Latencies
        Differences (see :func:`borzoi_rt.backends.parity.replay_golden`), and the latencies.

    Raises
    ------
    ParityError
        If the server gives other numbers.
    """
    session = open_session(bundle, f"triton:{address.removeprefix('triton:')}", check=False)
    try:
        report = replay_golden(session, bundle)
        golden = bundle.golden()
        window, index = golden["sequence"][:1], golden["track_index"]
        return report, closed_loop(lambda _: session.run(window, index), calls=calls)
    finally:
        session.close()


def bench_latency(
    bundle: Bundle,
    fasta: Fasta,
    url: str | None = None,
    *,
    calls: int = 100,
    concurrency: tuple[int, ...] = (1,),
    rates: tuple[float, ...] = (),
    threads: int | None = None,
    seed: int = 0,
) -> Iterator[Measurement]:
    """Time single substitutions, each a call of its own, in process and through a scorer on a server.

    Both score the same variants under the server's options; the first of each are compared, and must agree.

    Parameters
    ----------
    bundle, fasta : Bundle, Fasta
        Model and genome; the server must have the same.
    url : str, optional
        The scorer, like ``grpc://127.0.0.1:8001/borzoi_scorer``; in process alone when None.
    calls : int
        Variants that each measurement times.
    concurrency : tuple of int
        Closed loops: how many callers. In process there is one model, which callers use in turn.
    rates : tuple of float
        Open loops: how many calls a second.
    threads : int, optional
        CPU threads of the model in process.
    seed : int
        Random seed by which variants are drawn.

    Yields
    ------
    Measurement
    """
    sides = _Sides(bundle, fasta, url, threads)
    loads = [(f"{count} at once", _closed(count)) for count in concurrency]
    loads += [(f"{rate:g} a second", _open(rate)) for rate in rates]
    # Every load has variants of its own, so that none finds its answer in a cache; both sides have the same ones.
    variants = random_substitutions(fasta, calls * len(loads) + 2, seed=seed)
    try:
        for variant in variants[-2:]:
            sides.compare(variant)
        for number, (load, run) in enumerate(loads):
            part = variants[number * calls : (number + 1) * calls]
            for where, call in sides.calls.items():
                yield Measurement(where, load, run(partial(_numbered, call, part), calls))
    finally:
        sides.close()


class _Sides:
    """The same scorer in process and, where there is an address, on a server."""

    def __init__(self, bundle: Bundle, fasta: Fasta, url: str | None, threads: int | None) -> None:
        self._remote = RemoteScorer(url, bundle=bundle, fasta=fasta) if url is not None else None
        self._session = open_engine(bundle, threads=threads)
        options = self._remote.options if self._remote else ScoreOptions()
        self._scorer, self._turn = Scorer(bundle, self._session, fasta, options), Lock()
        self.calls: dict[str, Call] = {"in process": self._here}
        if self._remote is not None:
            self.calls["triton"] = self._there

    def compare(self, variant: Variant) -> None:
        """Score once on every side: that warms them, and they must agree."""
        results = [call(variant) for call in self.calls.values()]
        for result in results[1:]:
            for name, want in (results[0].scores or {}).items():
                got = (result.scores or {}).get(name)
                if got is None or not np.allclose(got, want, rtol=1e-4, atol=1e-4):  # another CPU rounds otherwise
                    raise ParityError(f"{variant}: {name} is {got} on the server, {want} in process")

    def close(self) -> None:
        """Close both."""
        self._session.close()
        if self._remote is not None:
            self._remote.close()

    def _here(self, variant: Variant) -> ScoredVariant:
        with self._turn:
            return self._scorer.score(VariantRecord(0, 0, variant))

    def _there(self, variant: Variant) -> ScoredVariant:
        if self._remote is None:
            raise InputError("there is no server to ask")
        return self._remote.score([variant])[0]


def random_substitutions(fasta: Fasta, count: int, *, seed: int = 0) -> list[Variant]:
    """Draw substitutions of known bases, evenly over the genome.

    Raises
    ------
    InputError
        If hardly a base of the genome is known.
    """
    random = np.random.default_rng(seed)
    names = list(fasta.contigs)
    lengths = np.array([fasta.contigs[name] for name in names], dtype=np.float64)
    found: list[Variant] = []
    for _ in range(100 * count + 1000):
        chrom = names[int(random.choice(len(names), p=lengths / lengths.sum()))]
        start = int(random.integers(fasta.contigs[chrom]))
        ref = fasta.fetch(chrom, start, start + 1)
        if ref in _BASES:
            alt = _BASES.replace(ref, "")[int(random.integers(3))]
            found.append(Variant(chrom, start + 1, ref, alt))
            if len(found) == count:
                return found
    raise InputError(f"{fasta.name}: {len(found)} known bases drawn, {count} are needed")


def _closed(count: int) -> Callable[[Callable[[int], object], int], Latencies]:
    return lambda call, calls: closed_loop(call, calls=calls, concurrency=count)


def _open(rate: float) -> Callable[[Callable[[int], object], int], Latencies]:
    return lambda call, calls: open_loop(call, calls=calls, rate=rate)


def _numbered(call: Call, variants: list[Variant], number: int) -> ScoredVariant:
    return call(variants[number])
