"""Production inference for Borzoi-family models: sequence in, coverage and variant scores out.

Names are resolved on first use, so that ``import borzoi_rt`` costs NumPy and the compiled kernels at most.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import sequence as sequence
    from .backends.device import Device as Device
    from .backends.opening import open_session as open_session
    from .bundle.opening import Bundle as Bundle
    from .bundle.opening import open_bundle as open_bundle
    from .engine.options import PredictionOptions as PredictionOptions
    from .engine.prediction import Predictor as Predictor
    from .engine.sessions import EngineOptions as EngineOptions
    from .errors import BackendError as BackendError
    from .errors import BorzoiError as BorzoiError
    from .errors import FormatError as FormatError
    from .errors import InputError as InputError
    from .errors import ParityError as ParityError
    from .errors import ReferenceMismatchError as ReferenceMismatchError
    from .genome.fasta import Fasta as Fasta
    from .genome.gene_index import open_genes as open_genes
    from .genome.genes import Genes as Genes
    from .genome.intervals import Interval as Interval
    from .genome.variants import Variant as Variant
    from .genome.variants import VariantRecord as VariantRecord
    from .model import Model as Model
    from .model import open_model as open_model
    from .results.alleles import AlleleCoverage as AlleleCoverage
    from .results.coverage import CoverageResult as CoverageResult
    from .results.ism import IsmResult as IsmResult
    from .results.scores import ScoreResult as ScoreResult
    from .results.variant import TrackValues as TrackValues
    from .results.variant import VariantScores as VariantScores
    from .runs.calibrate import calibrate as calibrate
    from .runs.explain import ExplainOptions as ExplainOptions
    from .runs.ism import score_ism as score_ism
    from .runs.predict import CoverageOptions as CoverageOptions
    from .runs.predict import predict_regions as predict_regions
    from .runs.predict_variant import predict_variant as predict_variant
    from .runs.score import score_file as score_file
    from .runs.settings import RunSettings as RunSettings
    from .scoring.haplotypes import HaplotypeOptions as HaplotypeOptions
    from .scoring.options import ScoreOptions as ScoreOptions
    from .scoring.results import ScoredVariant as ScoredVariant
    from .scoring.stream import score_variants as score_variants
    from .squash import Squash as Squash
    from .tracks import TrackTable as TrackTable

__version__ = "0.1.0"

_HOME = {
    "AlleleCoverage": "results.alleles",
    "BackendError": "errors",
    "BorzoiError": "errors",
    "Bundle": "bundle.opening",
    "CoverageOptions": "runs.predict",
    "CoverageResult": "results.coverage",
    "Device": "backends.device",
    "EngineOptions": "engine.sessions",
    "ExplainOptions": "runs.explain",
    "Fasta": "genome.fasta",
    "FormatError": "errors",
    "Genes": "genome.genes",
    "HaplotypeOptions": "scoring.haplotypes",
    "InputError": "errors",
    "Interval": "genome.intervals",
    "IsmResult": "results.ism",
    "Model": "model",
    "ParityError": "errors",
    "PredictionOptions": "engine.options",
    "Predictor": "engine.prediction",
    "ReferenceMismatchError": "errors",
    "RunSettings": "runs.settings",
    "ScoreOptions": "scoring.options",
    "ScoreResult": "results.scores",
    "ScoredVariant": "scoring.results",
    "Squash": "squash",
    "TrackTable": "tracks",
    "TrackValues": "results.variant",
    "Variant": "genome.variants",
    "VariantRecord": "genome.variants",
    "VariantScores": "results.variant",
    "calibrate": "runs.calibrate",
    "open_bundle": "bundle.opening",
    "open_genes": "genome.gene_index",
    "open_model": "model",
    "open_session": "backends.opening",
    "predict_regions": "runs.predict",
    "predict_variant": "runs.predict_variant",
    "score_file": "runs.score",
    "score_ism": "runs.ism",
    "score_variants": "scoring.stream",
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
