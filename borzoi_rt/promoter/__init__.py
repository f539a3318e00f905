"""Promoter models: motif removal, effect curves, and the score of a motif by discrete Fourier transform.

Names are resolved on first use; only :mod:`borzoi_rt.promoter.dft` loads pyfftw.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dft import DFTScores as DFTScores
    from .dft import dft_scores as dft_scores
    from .dft import keep_wisdom as keep_wisdom
    from .ensemble import combine_replicates as combine_replicates

_HOME = {
    "DFTScores": "dft",
    "combine_replicates": "ensemble",
    "dft_scores": "dft",
    "keep_wisdom": "dft",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
