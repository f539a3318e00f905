"""Production inference for Borzoi-family models: sequence in, coverage and variant scores out.

Names are resolved on first use, so that ``import borzoi_rt`` costs NumPy and the compiled kernels at most.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import sequence as sequence
    from .backends.opening import open_session as open_session
    from .bundle.opening import Bundle as Bundle
    from .bundle.opening import open_bundle as open_bundle
    from .engine.options import PredictionOptions as PredictionOptions
    from .engine.prediction import Predictor as Predictor
    from .engine.sessions import EngineOptions as EngineOptions
    from .genome.fasta import Fasta as Fasta
    from .genome.intervals import Interval as Interval
    from .genome.variants import Variant as Variant
    from .scoring.options import ScoreOptions as ScoreOptions
    from .scoring.pipeline import score_variants as score_variants
    from .squash import Squash as Squash
    from .tracks import TrackTable as TrackTable

__version__ = "0.1.0"

_HOME = {
    "Bundle": "bundle",
    "EngineOptions": "engine.sessions",
    "Fasta": "genome.fasta",
    "Interval": "genome.intervals",
    "PredictionOptions": "engine.options",
    "Predictor": "engine.prediction",
    "ScoreOptions": "scoring.options",
    "Squash": "squash",
    "TrackTable": "tracks",
    "Variant": "genome.variants",
    "open_bundle": "bundle",
    "open_session": "backends.opening",
    "score_variants": "scoring.pipeline",
}

__all__ = ["__version__", "sequence", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name == "sequence":
        return import_module(".sequence", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
