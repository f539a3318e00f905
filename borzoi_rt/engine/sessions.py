"""How the engine runs a model: whole passes, or only what differs, perhaps checked against whole passes."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..backends.device import Device
from ..backends.opening import open_parts, open_session
from ..backends.parity import replay_golden
from ..backends.protocols import Session, SummingParts
from ..backends.resident import open_resident
from ..bundle.manifest import Geometry
from ..bundle.opening import STATISTICS, Bundle
from ..bundle.parity import ParityRule, require
from ..errors import InputError, ParityError
from ..plain import check_types
from .cache import MEMORY_BYTES, Cache
from .incremental import IncrementalSession
from .replay import replay_sums
from .resident import ResidentSession, ResidentSummingSession
from .summing import SummingSession
from .tile_cache import TileCache, TileStore


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How coverage is computed; what is computed does not depend on it.

    Parameters
    ----------
    full : bool
        Run whole passes only, even where the bundle has split graphs.
    tile_cache : Path, optional
        Folder of tiles that outlive the process and are shared by several.
    memory_bytes : int
        Bound of what is kept in memory: tiles, coverage and embeddings computed before, together.
    verify_fraction : float
        Share of windows that is computed by a whole pass too; a difference beyond the parity rule ends the run.
    fused : bool, optional
        Reduce coverage to sums over bins inside the graph, so that only these leave the device; None does so on GPUs.
        Statistics that no sum gives (JS) are then made of coverage nevertheless.
    """

    full: bool = False
    tile_cache: Path | None = None
    memory_bytes: int = MEMORY_BYTES
    verify_fraction: float = 0.0
    fused: bool | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not 0.0 <= self.verify_fraction <= 1.0:
            raise InputError(f"verify_fraction is {self.verify_fraction!r}; a share between 0 and 1 is needed")
        if self.memory_bytes < 0:
            raise InputError(f"memory_bytes is {self.memory_bytes!r}; 0 or more is needed")
        if self.full and (self.tile_cache is not None or self.verify_fraction):
            raise InputError("whole passes use no tiles: leave out tile_cache and verify_fraction, or full")
        if self.fused and (self.full or self.verify_fraction):
            raise InputError("sums over bins leave nothing to compare: leave out full and verify_fraction, or fused")


def open_engine(
    bundle: Bundle,
    device: str | Device = "cpu",
    *,
    threads: int | None = None,
    options: EngineOptions | None = None,
) -> Session:
    """Open a bundle for many related windows: incremental where it has split graphs, else by whole passes.

    Parameters and errors are those of :func:`borzoi_rt.open_session`. The golden example is run before it returns,
    everywhere but on the CPU.
    """
    if options is not None and not isinstance(options, EngineOptions):
        raise InputError(f"engine is {options!r:.40}; an EngineOptions is needed")
    options, where = options or EngineOptions(), Device.parse(device, threads=threads)
    if options.full or bundle.info.tiling is None:
        if options.tile_cache is not None or options.verify_fraction or options.fused:
            raise InputError(f"{bundle.path.name} has no split graphs: leave out tile_cache, verify_fraction and fused")
        return open_session(bundle, where)
    session = _incremental(bundle, where, options)
    if where.kind != "cpu":
        _replay(session, bundle)
    if not options.verify_fraction:
        return session
    whole = open_session(bundle, where)
    rule = ParityRule.pair(bundle.info.parity, bundle.info.precision, tf32=where.tf32)
    return VerifiedSession(session, whole, options.verify_fraction, rule)


def _incremental(bundle: Bundle, where: Device, options: EngineOptions) -> IncrementalSession:
    """Open the split graphs; on CUDA what they compute stays there, but for tiles that are to be kept in a folder."""
    fused, model = _fuses(bundle, where, options), bundle.sha256
    if where.kind == "cuda" and options.tile_cache is None:
        resident = open_resident(bundle, where, bank_bytes=options.memory_bytes)
        kind = ResidentSummingSession if fused else ResidentSession
        return kind(resident, model=model, cache=Cache(options.memory_bytes))
    store = TileStore(options.tile_cache) if options.tile_cache is not None else None
    parts, cache = open_parts(bundle, where), TileCache(Cache(options.memory_bytes), store)
    if fused:
        return SummingSession(cast("SummingParts", parts), model=model, cache=cache)
    return IncrementalSession(parts, model=model, cache=cache)


def _replay(session: IncrementalSession, bundle: Bundle) -> None:
    """Run the golden example where the exporter has not; a session that gives other numbers is closed."""
    try:
        replay_golden(session, bundle, split=True)
        if isinstance(session, SummingSession):
            golden = bundle.golden()
            replay_sums(session, bundle, golden["sequence"], golden["track_index"])
    except ParityError:
        session.close()
        raise
    session.clear()


def can_sum(bundle: Bundle, device: str | Device) -> bool:
    """Tell whether sums over bins can be made inside a graph of the bundle on a device."""
    return STATISTICS in bundle.info.graphs and Device.parse(device).kind != "triton"


def _fuses(bundle: Bundle, device: Device, options: EngineOptions) -> bool:
    """Tell whether sums are made inside the graph; on a CPU nothing is gained by it (benchmarks/NOTES.md).

    The graph stays until it has been measured on a GPU, which decides whether it is worth keeping.
    """
    there = can_sum(bundle, device)
    if options.fused is None:
        return there and device.gpu and not options.verify_fraction
    if options.fused and not there:
        raise InputError(
            f"{bundle.path.name} on {device} cannot make sums over bins: a bundle with the graph {STATISTICS!r} on "
            "cpu, cuda or tensorrt is needed; export the model again, or leave out fused"
        )
    return options.fused


class VerifiedSession:
    """A session of which a share of windows is computed by another as well; which windows follows from their bases."""

    def __init__(self, session: Session, other: Session, fraction: float, rule: ParityRule) -> None:
        self._session, self._other, self._rule = session, other, rule
        self._drawn = fraction * 2.0**64
        self.verified = 0

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self._session.geometry

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""
        return self._session.tracks_count

    @property
    def provider(self) -> str:
        """Name of what computes."""
        return self._session.provider

    @property
    def counts(self) -> Counter[str] | None:
        """See :class:`borzoi_rt.engine.incremental.IncrementalSession`."""
        return getattr(self._session, "counts", None)

    @property
    def memory(self) -> Cache | None:
        """See :attr:`borzoi_rt.engine.incremental.IncrementalSession.memory`."""
        return getattr(self._session, "memory", None)

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Session.run`.

        Raises
        ------
        ParityError
            If the two sessions differ beyond the parity rule.
        """
        coverage = self._session.run(sequence, track_index, n_fill=n_fill, bins=bins)
        for window, got in zip(sequence, coverage, strict=True):
            draw = int.from_bytes(hashlib.blake2b(np.ascontiguousarray(window).data, digest_size=8).digest(), "little")
            if draw >= self._drawn:
                continue
            want = self._other.run(window[None], track_index, n_fill=n_fill, bins=bins)[0]
            self.verified += 1
            report = self._rule.compare(got, want)
            track, position = report.worst
            require(
                report,
                "incremental and whole passes differ",
                f"worst in selected track {track}, bin {position}; run whole passes only (full=True) and report this",
            )
        return coverage

    def close(self) -> None:
        """Close both sessions."""
        self._session.close()
        self._other.close()
