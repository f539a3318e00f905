"""Promoter models: motif removal, effect curves, and the score of a motif by discrete Fourier transform.

Names are resolved on first use; only :mod:`borzoi_rt.promoter.fftw` loads pyfftw.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..motifs.files import read_motifs as read_motifs
    from ..motifs.matrices import Motif as Motif
    from ..runs.dft import score_file as score_file
    from .dft import DFTScores as DFTScores
    from .dft import dft_scores as dft_scores
    from .dft import keep_wisdom as keep_wisdom
    from .ensemble import combine_replicates as combine_replicates
    from .mutations import insertion_scan as insertion_scan
    from .options import DftOptions as DftOptions
    from .removal import ChannelRemoval as ChannelRemoval
    from .removal import RemovalCurves as RemovalCurves
    from .removal import SequenceRemoval as SequenceRemoval
    from .sites import Site as Site
    from .sites import read_sites as read_sites

_HOME = {
    "ChannelRemoval": "promoter.removal",
    "DFTScores": "promoter.dft",
    "DftOptions": "promoter.options",
    "Motif": "motifs.matrices",
    "RemovalCurves": "promoter.removal",
    "SequenceRemoval": "promoter.removal",
    "Site": "promoter.sites",
    "combine_replicates": "promoter.ensemble",
    "dft_scores": "promoter.dft",
    "insertion_scan": "promoter.mutations",
    "keep_wisdom": "promoter.dft",
    "read_motifs": "motifs.files",
    "read_sites": "promoter.sites",
    "score_file": "runs.dft",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"borzoi_rt.{_HOME[name]}"), name)
