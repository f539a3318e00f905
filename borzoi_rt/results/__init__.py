"""What the facade gives: scores and coverage with the names of their variants, tracks and positions."""

from .alleles import AlleleCoverage
from .coverage import CoverageResult
from .ism import IsmResult
from .scores import ScoreResult
from .variant import TrackValues, VariantScores

__all__ = ["AlleleCoverage", "CoverageResult", "IsmResult", "ScoreResult", "TrackValues", "VariantScores"]
