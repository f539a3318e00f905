"""What a worker has computed so far: passes, tiles, and how much arithmetic that was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..bundle.opening import Bundle
from .flops import BorzoiFlops


class CountedSession:
    """A session that counts whole passes; everything else is the session's own."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, sequence: Any, *given: Any, **named: Any) -> Any:
        """See :meth:`borzoi_rt.backends.Session.run`."""
        self.counts["whole"] += len(sequence)
        return self._session.run(sequence, *given, **named)


def counted(session: Any) -> Any:
    """Return a session that has ``counts``, as those that compute tiles do by themselves."""
    return session if getattr(session, "counts", None) is not None else CountedSession(session)


@dataclass(frozen=True)
class Tally:
    """What was computed.

    Attributes
    ----------
    forwards : float
        Passes of the network, whole or from tiles.
    tiles, computed : float
        Tiles that were asked for, and of these computed.
    flops : float or None
        Arithmetic; None where the family of the network has no count.
    """

    forwards: float
    tiles: float
    computed: float
    flops: float | None

    def times(self, factor: float) -> Tally:
        """Return the same, so many times."""
        flops = None if self.flops is None else factor * self.flops
        return Tally(factor * self.forwards, factor * self.tiles, factor * self.computed, flops)

    @classmethod
    def sum(cls, tallies: Iterable[Tally]) -> Tally:
        """Return all together."""
        found = list(tallies)
        flops = [item.flops for item in found if item.flops is not None]
        return cls(
            forwards=sum(item.forwards for item in found),
            tiles=sum(item.tiles for item in found),
            computed=sum(item.computed for item in found),
            flops=sum(flops) if len(flops) == len(found) else None,
        )


def tally_of(counts: Counter[str], bundle: Bundle, tracks: int) -> Tally:
    """Return what the counts of a session come to.

    Parameters
    ----------
    counts : Counter
        See :class:`borzoi_rt.engine.incremental.IncrementalSession`, and ``whole`` for whole passes.
    bundle : Bundle
    tracks : int
        Outputs of the head that are computed.
    """
    tiling, geometry = bundle.info.tiling, bundle.geometry
    bodies = {} if tiling is None else {name: body.bins for name, body in tiling.bodies.items()}
    forwards = counts["whole"] + sum(counts[name] for name in bodies)
    network, flops = BorzoiFlops.of(bundle.info), None
    if network is not None:
        flops = counts["whole"] * network.whole(geometry.bins, tracks)
        flops += sum(counts[name] * network.body(bins) for name, bins in bodies.items())
        flops += network.head(1, tracks) * counts["head bins"]
        if tiling is not None:
            width = min(tiling.own_tokens + 2 * tiling.halo_tokens, network.tokens)
            flops += counts["computed"] * network.tile(width)
    return Tally(forwards, counts["tiles"], counts["computed"], flops)
