"""Motif removal: the same window with and without each motif, by switching off channels or by editing the sequence.

``ChannelRemoval`` needs a promoter bundle, whose graph takes a motif mask. ``SequenceRemoval`` serves any model: it
finds motifs by their matrices and replaces them by shuffled surroundings. The two answer different questions (a channel
is switched off wherever it is active, however weakly; a sequence edit removes strong matches for everything that reads
them), so their results carry the mode and never stand in one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..backends.protocols import Session
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import Bundle
from ..errors import InputError
from ..motifs.matrices import Motif
from ..motifs.scan import MotifScanner, without

FAMILY = "promoter"
BASELINES = ("zero", "min", "median")
SCALES = ("log1p", "linear")
SHUFFLES = 10


@dataclass(frozen=True)
class RemovalCurves:
    """Predictions of one window with and without motifs.

    Attributes
    ----------
    motifs : tuple of str
        What was removed.
    wt, replica : float32 ndarray of shape (tracks, bins)
        Prediction as it is, first and last of the run: what they differ by is noise.
    ko : float32 ndarray of shape (motifs, tracks, bins)
        Prediction without each motif.
    center : int
        Bin of the TSS.
    dt : float
        Width of a bin in bp.
    metadata : dict
        JSON values: ablation, baseline, scale and the like.
    hits : int64 ndarray of shape (motifs,), optional
        Matches that were replaced, in sequence mode.
    """

    motifs: tuple[str, ...]
    wt: np.ndarray
    replica: np.ndarray
    ko: np.ndarray
    center: int
    dt: float
    metadata: dict[str, Any] = field(default_factory=dict)
    hits: np.ndarray | None = None

    @property
    def effect(self) -> np.ndarray:
        """Removal effect KO - WT, float64 (motifs, tracks, bins): negative where the motif drives transcription."""
        return self.ko.astype(np.float64) - self.wt.astype(np.float64)

    @property
    def contribution(self) -> np.ndarray:
        """Contribution WT - KO, the other sign convention."""
        return -self.effect

    @property
    def position_bp(self) -> np.ndarray:
        """Position of each bin relative to the TSS, in bp."""
        return (np.arange(self.wt.shape[-1]) - self.center) * self.dt

    def around(self, upstream_bp: int, downstream_bp: int) -> RemovalCurves:
        """Return the bins in [-upstream, downstream) of the TSS."""
        keep = (self.position_bp >= -upstream_bp) & (self.position_bp < downstream_bp)
        if not keep.any():
            raise InputError(f"window {upstream_bp},{downstream_bp} holds no bin; bins are {self.dt:g} bp wide")
        first = int(np.flatnonzero(keep)[0])
        cut = {name: getattr(self, name)[..., keep] for name in ("wt", "replica", "ko")}
        return RemovalCurves(
            self.motifs, **cut, center=self.center - first, dt=self.dt, metadata=self.metadata, hits=self.hits
        )


class Removal(Protocol):
    """Anything that predicts a window with and without motifs."""

    motifs: tuple[str, ...]
    scored: int

    @property
    def metadata(self) -> dict[str, Any]:
        """What the curves carry."""

    def curves(self, onehot: np.ndarray) -> RemovalCurves:
        """Remove every motif from a window, uint8 (4, length)."""


class ChannelRemoval:
    """Switch motifs off in a promoter model.

    Parameters
    ----------
    session : Session
        A promoter bundle in a backend that takes ``mask`` and ``fill``.
    bundle : Bundle
        The same bundle.
    baseline : str
        What replaces a motif's activation: ``zero`` (as published), or its ``min`` or ``median`` over the
        window, which keeps the background that every position has.
    scale : str
        ``log1p`` as predicted, or ``linear`` counts.
    positions : int64 ndarray, optional
        Tracks; the sense strand alone when None.
    batch_size : int, optional
        Windows a run; all of a site when None, so that WT and KO see the same kernels.
    """

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        *,
        baseline: str = "zero",
        scale: str = "log1p",
        positions: np.ndarray | None = None,
        batch_size: int | None = None,
    ) -> None:
        about = bundle.info.architecture
        if about.get("family") != FAMILY:
            raise InputError(f"{bundle.path.name} has no motif channels; use ablation 'sequence' and give motifs")
        if not hasattr(session, "activations"):
            raise InputError("this backend takes no motif mask; open the bundle in this process, not on a server")
        _check("baseline", baseline, BASELINES)
        _check("scale", scale, SCALES)
        self.session: Any = session
        self.motifs: tuple[str, ...] = tuple(about["motif_names"])
        self.scored = int(about["scored"])
        self._tss_bp = int(about["tss_bp"])
        self._grid = bundle.geometry
        self._n_fill = N_POLICIES[bundle.info.n_policy]
        self._positions = np.array([0]) if positions is None else positions
        self._baseline, self._scale, self._batch_size = baseline, scale, batch_size

    @property
    def metadata(self) -> dict[str, Any]:
        """What the curves carry."""
        return {"ablation": "channel", "baseline": self._baseline, "scale": self._scale, "effect": "KO - WT"}

    def curves(self, onehot: np.ndarray) -> RemovalCurves:
        """Remove every motif, one at a time."""
        return self.groups(onehot, {name: [index] for index, name in enumerate(self.motifs)})

    def groups(self, onehot: np.ndarray, groups: Mapping[str, Sequence[int]]) -> RemovalCurves:
        """Remove sets of motifs, given by their numbers, one set at a time."""
        count, channels = len(self.motifs), 2 * len(self.motifs)
        mask = np.ones((len(groups), channels, 1), dtype=np.float32)
        for row, members in zip(mask, groups.values(), strict=True):
            chosen = np.asarray(members, dtype=np.int64)
            if not chosen.size or chosen.min() < 0 or chosen.max() >= count:
                raise InputError(f"motif numbers {list(members)} are not all in 0 to {count - 1}")
            row[chosen] = row[chosen + count] = 0.0
        return self._run(onehot, tuple(groups), mask, "motif")

    def positions(self, onehot: np.ndarray, ranges: Iterable[tuple[int, int]]) -> RemovalCurves:
        """Remove all motifs at stretches [start, end) of the window, one stretch at a time."""
        ranges = list(ranges)
        length = self._grid.sequence_length_bp
        mask = np.ones((len(ranges), 2 * len(self.motifs), length), dtype=np.float32)
        for row, (start, end) in zip(mask, ranges, strict=True):
            if not 0 <= start < end <= length:
                raise InputError(f"positions [{start}, {end}) do not lie in a window of {length} bases")
            row[:, start:end] = 0.0
        return self._run(onehot, tuple(f"{start}-{end}" for start, end in ranges), mask, "position")

    def _run(self, onehot: np.ndarray, names: tuple[str, ...], mask: np.ndarray, removed: str) -> RemovalCurves:
        ones = np.ones((1, *mask.shape[1:]), dtype=np.float32)
        mask = np.concatenate([ones, mask, ones])
        fill = None
        if self._baseline != "zero":
            a = self.session.activations(onehot[None], n_fill=self._n_fill)[0]
            level = a.min(axis=-1) if self._baseline == "min" else np.median(a, axis=-1)
            fill = (1.0 - mask) * level[None, :, None]
        step = self._batch_size or len(mask)
        parts = []
        for start in range(0, len(mask), step):
            here = slice(start, start + step)
            windows = np.repeat(onehot[None], len(mask[here]), axis=0)
            given = {"mask": mask[here], "fill": None if fill is None else fill[here]}
            parts.append(self.session.run(windows, self._positions, n_fill=self._n_fill, **given))
        tracks = np.concatenate(parts)
        if self._scale == "linear":
            tracks = np.expm1(tracks)
        center = self._tss_bp - self._grid.crop_bp
        metadata = {**self.metadata, "removed": removed}
        return RemovalCurves(
            names, tracks[0], tracks[-1], tracks[1:-1], center, float(self._grid.bin_size_bp), metadata
        )


class SequenceRemoval:
    """Replace the matches of motifs in the sequence, and average over shuffles.

    Parameters
    ----------
    session : Session
        Any model.
    bundle : Bundle
        The same model on disk.
    motifs : sequence of Motif
        Matrices to look for, both strands.
    positions : int64 ndarray
        Tracks, sense strand.
    pvalue : float
        See :class:`borzoi_rt.motifs.scan.MotifScanner`.
    shuffles : int
        Replacements to average over.
    seed : int
        Of the shuffles; a window gives the same result wherever it stands in a run.
    batch_size : int
        Windows a run.
    """

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        motifs: Sequence[Motif],
        *,
        positions: np.ndarray,
        pvalue: float = 1e-4,
        shuffles: int = SHUFFLES,
        scale: str = "linear",
        seed: int = 0,
        batch_size: int = 1,
    ) -> None:
        if not motifs:
            raise InputError("sequence mode needs motifs to look for; give a motif file")
        if shuffles < 1:
            raise InputError(f"shuffles is {shuffles}; a positive number is needed")
        _check("scale", scale, SCALES)
        self.session = session
        self.motifs = tuple(motif.label for motif in motifs)
        self.scored = len(motifs)
        self._scanner = MotifScanner(motifs, pvalue=pvalue)
        about = bundle.info.architecture
        self._grid = bundle.geometry
        self._tss_bp = int(about.get("tss_bp", self._grid.sequence_length_bp // 2))
        self._log1p = about.get("scale") == "log1p"
        self._n_fill = N_POLICIES[bundle.info.n_policy]
        self._squash = bundle.squash(positions)
        self._positions, self._shuffles, self._seed, self._batch_size = positions, shuffles, seed, batch_size
        self._scale, self._pvalue = scale, pvalue

    @property
    def metadata(self) -> dict[str, Any]:
        """What the curves carry."""
        about = {
            "ablation": "sequence",
            "baseline": "dinuc_shuffle",
            "shuffles": self._shuffles,
            "pvalue": self._pvalue,
        }
        return {**about, "seed": self._seed, "scale": self._scale, "effect": "KO - WT", "removed": "motif"}

    def curves(self, onehot: np.ndarray) -> RemovalCurves:
        """Remove every motif, one at a time; a motif without a match leaves the prediction as it is."""
        hits = self._scanner.hits(onehot)
        edited = [onehot]
        for number, found in enumerate(hits):
            generator = np.random.default_rng((self._seed, number))
            edited += [without(onehot, found, generator) for _ in range(self._shuffles if found else 0)]
        edited.append(onehot)
        tracks = self._predict(np.stack(edited))
        ko = np.empty((len(hits), *tracks.shape[1:]), dtype=np.float32)
        row = 1
        for number, found in enumerate(hits):
            ko[number] = tracks[row : row + self._shuffles].mean(axis=0, dtype=np.float64) if found else tracks[0]
            row += self._shuffles if found else 0
        center = (self._tss_bp - self._grid.crop_bp) // self._grid.bin_size_bp
        counts = np.array([len(found) for found in hits], dtype=np.int64)
        dt = float(self._grid.bin_size_bp)
        return RemovalCurves(self.motifs, tracks[0], tracks[-1], ko, center, dt, self.metadata, counts)

    def _predict(self, windows: np.ndarray) -> np.ndarray:
        parts = [
            self.session.run(windows[start : start + self._batch_size], self._positions, n_fill=self._n_fill)
            for start in range(0, len(windows), self._batch_size)
        ]
        tracks = self._squash.inverse(np.concatenate(parts))
        if self._log1p and self._scale == "linear":
            return np.expm1(tracks)
        if not self._log1p and self._scale == "log1p":
            return np.log1p(np.maximum(tracks, 0.0))
        return tracks


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")
