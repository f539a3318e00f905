"""The motifs of a window, scored with one or more nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backends.protocols import Session
from ..bundle.opening import Bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..motifs.matrices import Motif
from ..motifs.scan import PVALUE
from ..types import IndexArray
from .dft import NOISE_FACTOR, DFTScores, dft_scores
from .options import BANDS, DftOptions
from .removal import FAMILY, SHUFFLES, ChannelRemoval, Removal, RemovalCurves, SequenceRemoval
from .sites import Site, allele_window, site_window

STRANDS = "of each site: + tracks are its sense strand, - tracks its antisense strand"


@dataclass(frozen=True)
class ScoredWindow:
    """One window of one net and track, scored.

    Attributes
    ----------
    site : Site
    variant : Variant or None
        The variant whose ALT is in the window; None for the window of the genome.
    net, track : str
        Names of bundle and track, see :func:`track_labels`.
    curves : RemovalCurves
        Predictions; one track of them was scored.
    row : int
        That track.
    scores : DFTScores
        Of the scored motifs.
    others : DFTScores or None
        Of the motifs that stay out of the normalised score.
    """

    site: Site
    variant: Variant | None
    net: str
    track: str
    curves: RemovalCurves
    row: int
    scores: DFTScores
    others: DFTScores | None

    @property
    def dominant(self) -> str:
        """Name of the motif with the largest score, empty where no motif has an effect."""
        index = int(self.scores.dominant)
        return self.curves.motifs[index] if index >= 0 else ""


class SiteScorer:
    """Score the motifs of windows with one or more nets.

    Parameters
    ----------
    nets : sequence of Bundle
        Models with the same motifs, window and tracks.
    sessions : sequence of Session
        The same models, loaded.
    genome : Fasta
    motifs : sequence of Motif or None
        What to look for, for sequence mode.
    options : DftOptions

    Raises
    ------
    InputError
        If nets, motifs and options do not go together.
    """

    def __init__(
        self,
        nets: Sequence[Bundle],
        sessions: Sequence[Session],
        genome: Fasta,
        motifs: Sequence[Motif] | None,
        options: DftOptions,
    ) -> None:
        self.options, self._genome = resolved(options, nets[0], motifs), genome
        self.nets = net_names(nets)
        tracks = [_track_positions(net, options.tracks) for net in nets]
        self._removals = [
            _removal(net, session, positions, motifs, self.options)
            for net, session, positions in zip(nets, sessions, tracks, strict=True)
        ]
        first = self._removals[0]
        self.motifs, self.scored = first.motifs, first.scored
        self.tracks = track_labels(nets[0], tracks[0])
        for net, removal, positions in zip(nets, self._removals, tracks, strict=True):
            if (removal.motifs, removal.scored, net.geometry) != (first.motifs, first.scored, nets[0].geometry):
                raise InputError(f"{net.path.name} has other motifs or another window than {nets[0].path.name}")
            if track_labels(net, positions) != self.tracks:
                raise InputError(f"{net.path.name} has other tracks than {nets[0].path.name}")
        self._window = window_of(nets[0])

    def score(self, site: Site, variant: Variant | None = None) -> list[ScoredWindow]:
        """Score one window with every net, on every track.

        Parameters
        ----------
        site : Site
            On a contig under the genome's own name of it.
        variant : Variant, optional
            What the window carries; its REF is what the genome holds.
        """
        if variant is None:
            onehot = site_window(self._genome, site, **self._window)
        else:
            onehot = allele_window(self._genome, site, variant, **self._window)
        scored = []
        for name, removal in zip(self.nets, self._removals, strict=True):
            curves = removal.curves(onehot)
            if self.options.window_bp is not None:
                curves = curves.around(*self.options.window_bp)
            for row, track in enumerate(self.tracks):
                scores = self._dft(curves, row, slice(0, self.scored))
                others = self._dft(curves, row, slice(self.scored, None)) if len(self.motifs) > self.scored else None
                scored.append(ScoredWindow(site, variant, name, track, curves, row, scores, others))
        return scored

    def _dft(self, curves: RemovalCurves, row: int, motifs: slice) -> DFTScores:
        return dft_scores(
            curves.wt[row],
            curves.ko[motifs, row],
            dt=curves.dt,
            center=curves.center,
            compat=self.options.compat,
            spectra=False,
            bands=BANDS,
            shift_window_bp=self.options.shift_window_bp,
            replica=curves.replica[row],
        )


def net_names(nets: Sequence[Bundle]) -> list[str]:
    """Return what the nets are called in tables: the names of the models, of the bundles where these are not unique."""
    names = [net.info.name for net in nets]
    if len(set(names)) == len(nets):
        return names
    folders = [net.path.name for net in nets]
    return folders if len(set(folders)) == len(nets) else [str(net.path) for net in nets]


def track_labels(net: Bundle, positions: IndexArray) -> list[str]:
    """Return what tracks are called in tables: of a stranded one also which strand of the site it is.

    Windows are read on the strand of the site, so that ``RNA+`` at a site of the - strand is what the genome calls
    ``RNA-``: it is the sense strand of every site.
    """
    meant, held = {"+": " (sense)", "-": " (antisense)", ".": ""}, net.tracks
    names = [name + meant[strand] for name, strand in zip(held.identifier, held.strand, strict=True)]
    return [names[index] for index in positions]


def window_of(net: Bundle) -> dict[str, int]:
    """Return the length of the window of a model and the base of it that is the TSS, the middle where it has none."""
    length = net.geometry.sequence_length_bp
    return {"length_bp": length, "tss_bp": int(net.info.architecture.get("tss_bp", length // 2))}


def resolved(options: DftOptions, net: Bundle, motifs: Sequence[Motif] | None) -> DftOptions:
    """Return the options with what the bundle and the motifs decide filled in.

    Raises
    ------
    InputError
        If they do not go together.
    """
    _track_positions(net, options.tracks)
    promoter = net.info.architecture.get("family") == FAMILY
    mode = options.ablation or ("channel" if promoter and motifs is None else "sequence")
    options.check_mode(mode)
    scale = options.scale or ("log1p" if promoter else "linear")
    if mode == "channel":
        if not promoter:
            raise InputError(f"{net.path.name} has no motif channels; use ablation 'sequence' and give motifs")
        if motifs is not None:
            raise InputError("a motif file is for sequence mode; channel mode removes the motifs of the model")
        return replace(options, ablation=mode, scale=scale, baseline=options.baseline or "zero")
    if options.compat:
        raise InputError(
            f"compat {options.compat!r} is a score of channel removal; {net.path.name} has no motif channels"
        )
    if not motifs:
        raise InputError("sequence mode needs motifs to look for; give a motif file")
    return replace(
        options,
        ablation=mode,
        scale=scale,
        pvalue=PVALUE if options.pvalue is None else options.pvalue,
        shuffles=SHUFFLES if options.shuffles is None else options.shuffles,
        seed=options.seed or 0,
    )


def description(options: DftOptions, nets: Sequence[Bundle], motifs: Sequence[Motif] | None) -> dict[str, Any]:
    """Return how scores are made with :func:`resolved` options, as JSON values."""
    about = nets[0].info.architecture
    if options.ablation == "channel":
        names, scored = list(about["motif_names"]), int(about["scored"])
        removal: dict[str, Any] = {"baseline": options.baseline}
    else:
        names = [motif.label for motif in motifs or ()]
        scored = len(names)
        removal = {"baseline": "dinuc_shuffle"}
        removal.update(shuffles=options.shuffles, pvalue=options.pvalue, seed=options.seed)
    positions = _track_positions(nets[0], options.tracks)
    return {
        "models": {name: net.sha256 for name, net in zip(net_names(nets), nets, strict=True)},
        "bin_size_bp": nets[0].geometry.bin_size_bp,
        "motifs": names,
        "scored_motifs": names[:scored],
        "tracks": [nets[0].tracks.identifier[index] for index in positions],
        "track_labels": track_labels(nets[0], positions),
        "strands": STRANDS,
        "window_bp": options.window_bp,
        "compat": options.compat,
        "noise_factor": NOISE_FACTOR,
        "shift_window_bp": options.shift_window_bp,
        "bands_bp": {name: list(band) for name, band in BANDS.items()},
        "ensemble": "uniform" if len(nets) > 1 else None,
        "ablation": options.ablation,
        "scale": options.scale,
        **removal,
        "effect": "KO - WT",
        "removed": "motif",
    }


def _removal(
    net: Bundle, session: Session, positions: IndexArray, motifs: Sequence[Motif] | None, options: DftOptions
) -> Removal:
    assert options.scale is not None  # resolved
    if options.ablation == "channel":
        baseline = options.baseline or "zero"
        return ChannelRemoval(session, net, baseline=baseline, scale=options.scale, positions=positions)
    assert options.pvalue is not None
    assert options.shuffles is not None
    assert options.seed is not None
    return SequenceRemoval(
        session,
        net,
        motifs or [],
        positions=positions,
        pvalue=options.pvalue,
        shuffles=options.shuffles,
        scale=options.scale,
        seed=options.seed,
    )


def _track_positions(net: Bundle, expression: str | None) -> IndexArray:
    if expression is None and net.info.architecture.get("family") != FAMILY and len(net.tracks) > 1:
        raise InputError(f"{net.path.name} has {len(net.tracks)} tracks; name those to score, sense strand (tracks)")
    return np.array([0]) if expression is None else net.tracks.select(expression)
