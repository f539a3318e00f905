"""Several models of one kind, as folds or replicates: the mean of their scores, its spread, and where they agree.

Order of the averages, as in the reference (``borzoi_bench_gtex_folds_*``): each member averages its strands and shifts
and makes its score, then scores are averaged over members (``mean_scores``). With ``mean_predictions`` the un-squashed
coverage of both alleles is averaged over members and scored once; spread and agreement are of the members' scores all
the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..backends.protocols import Session
from ..bundle.names import WEIGHTS
from ..bundle.opening import Bundle, open_bundle
from ..engine.alleles import Comparison
from ..engine.prediction import AllelePrediction, Predictor
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.variants import Variant, VariantRecord
from ..tracks import TrackTable
from ..types import FloatArray
from .options import ScoreOptions
from .phase_floor import AnyScorer, FloorScorer
from .pipeline import Scorer
from .results import RegionScores, ScoredVariant

SCORE_SD, SIGN_AGREEMENT = "score_sd", "sign_agreement"
ENSEMBLE_EXTRAS = (SCORE_SD, SIGN_AGREEMENT)

Models = Bundle | str | os.PathLike[str] | Sequence[Bundle | str | os.PathLike[str]]


def open_members(bundles: Models) -> tuple[Bundle, ...]:
    """Open the bundle or bundles that one argument means; several must be members of one ensemble.

    Raises
    ------
    InputError
        If there is none, or two cannot be averaged; the message says what differs.
    """
    single = isinstance(bundles, Bundle | str | os.PathLike)
    several = isinstance(bundles, Iterable) and not isinstance(bundles, bytes)
    given = list(bundles) if several and not single else [bundles]  # type: ignore[arg-type]
    members = tuple(item if isinstance(item, Bundle) else open_bundle(item) for item in given)  # type: ignore[arg-type]
    if not members:
        raise InputError("no bundle is given; name one, or the members of an ensemble")
    check_members(members)
    return members


def check_members(members: Sequence[Bundle]) -> None:
    """Refuse bundles whose scores are not of one kind.

    Raises
    ------
    InputError
        Naming two bundles and what differs.
    """
    first = members[0]
    for number, other in enumerate(members[1:], start=1):
        for what, one, two in _facts(first, other):
            if one != two:
                raise InputError(
                    f"{first.path.name} and {other.path.name} are no ensemble: {what} {one} and {two}; members have "
                    "the same tracks, window and squashed scale"
                )
        same = [item.path for item in members[:number] if _weights(item) == _weights(other)]
        if same:
            raise InputError(
                f"{other.path} and {same[0]} hold the same model; a member that counts twice makes the spread too small"
            )


def _weights(bundle: Bundle) -> str:
    """Return what tells one trained network from another, whatever its bundle is called."""
    held = bundle.files.get(WEIGHTS) or bundle.files.get(bundle.info.graphs["predict"].file)
    return bundle.sha256 if held is None else held.sha256


def _facts(one: Bundle, two: Bundle) -> list[tuple[str, object, object]]:
    """Return what members must have in common: in words, of the one and of the other."""
    found: list[tuple[str, object, object]] = [
        (name.replace("_", " "), getattr(one.geometry, name), getattr(two.geometry, name))
        for name in ("sequence_length_bp", "bin_size_bp", "bins", "crop_bp")
    ]
    found += [("precision", one.info.precision, two.info.precision), ("head", one.info.head, two.info.head)]
    found += [
        (f"squash {name}", getattr(one.info.squash, name), getattr(two.info.squash, name))
        for name in ("kind", "unscale", "unclip")
    ]
    found += [
        ("code of unknown bases", one.info.n_policy, two.info.n_policy),
    ]
    found.append(("number of tracks", len(one.tracks), len(two.tracks)))
    return found + _track_facts(one.tracks, two.tracks)


def _track_facts(one: TrackTable, two: TrackTable) -> list[tuple[str, object, object]]:
    """Return the first track in which two tables of one length differ, in each of its columns."""
    found: list[tuple[str, object, object]] = []
    if len(one) != len(two):
        return found
    for name in ("identifier", "index", "strand_pair", "sum_stat", "clip", "clip_soft", "scale"):
        mine, theirs = (np.asarray(getattr(table, name)) for table in (one, two))
        differ = np.flatnonzero(mine != theirs)
        if len(differ):
            row = int(differ[0])
            found.append((f"{name} of track {row}", str(mine[row]), str(theirs[row])))
    return found


def member_engine(options: EngineOptions | None, members: int) -> EngineOptions | None:
    """Return the options of the engine of each member: together they keep as much in memory as one model would."""
    if members == 1:
        return options
    options = options or EngineOptions()
    return replace(options, memory_bytes=options.memory_bytes // members)


def model_identity(members: Sequence[Bundle], options: ScoreOptions, genome: Fasta) -> dict[str, Any]:
    """Return what fixes model and genome in the identity of a score, as JSON values; members have no order."""
    model: dict[str, Any] = {"bundle": members[0].sha256}
    if len(members) > 1:
        model = {"bundle": sorted(item.sha256 for item in members), "ensemble": options.ensemble}
    return {**model, "genome": genome.fingerprint(), "bins": members[0].geometry.bins}


def ensemble_facts(members: Sequence[Bundle], options: ScoreOptions) -> dict[str, Any]:
    """Return what the record of a run says of an ensemble, as JSON values."""
    means = {
        "mean_scores": "strands, shifts and score within each member, then the mean of scores over members",
        "mean_predictions": "strands and shifts within each member, the mean of coverage over members, then the score",
    }
    return {
        "members": [{"model": item.info.name, "bundle": item.sha256} for item in members],
        "average": options.ensemble,
        "order": means[options.ensemble],
        SCORE_SD: "standard deviation of the members' scores, n - 1",
        SIGN_AGREEMENT: "share of members whose score has the sign of the score",
    }


class EnsembleScorer:
    """The scorers of several models as one.

    Parameters
    ----------
    members : sequence of Scorer
        With the same options, genome and annotation.
    names : sequence of str
        What a member is called where something is said of it alone.

    Attributes
    ----------
    options, notes, specs, rows
        See :class:`borzoi_rt.scoring.pipeline.Scorer`; of the first member.
    """

    def __init__(self, members: Sequence[Scorer], names: Sequence[str]) -> None:
        first = members[0]
        self.options, self.notes, self.specs, self.rows = first.options, first.notes, first.specs, first.rows
        self._members, self._names = tuple(members), tuple(names)
        self._score: Callable[[VariantRecord], ScoredVariant] | None = None
        if self.options.ensemble == "mean_predictions":
            self._score = first.with_predictor(MeanPredictor([item.predictor for item in members])).score

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one ALT allele with every member; where one of them fails, the allele has no score and a reason."""
        found = [member.score(item) for member in self._members]
        for name, result in zip(self._names, found, strict=True):
            if not result.regions:
                same = all(other == result for other in found)
                return result if same else replace(result, detail=f"{name}: {result.detail}")
        if len(found) == 1:
            return found[0]
        means = None if self._score is None else self._score(item)
        return means if means is not None and not means.regions else self._joined(found, means)

    def _joined(self, found: Sequence[ScoredVariant], means: ScoredVariant | None) -> ScoredVariant:
        lead = means or found[0]
        parts = zip(*(result.regions for result in found), strict=True)
        if means is not None:
            own = tuple((self._region(part, held), held) for part, held in zip(parts, means.regions, strict=True))
            return replace(means, regions=tuple(replace(held, extras=part.extras) for part, held in own))
        regions = tuple(self._region(part) for part in parts)
        for name, result in zip(self._names, found, strict=True):
            if result.status == "undefined":
                return replace(lead, status="undefined", detail=f"{name}: {result.detail}", regions=regions)
        return replace(lead, regions=regions)

    def _region(self, parts: Sequence[RegionScores], shown: RegionScores | None = None) -> RegionScores:
        """Return the mean over members of the scores of one region, with spread, and agreement with what is shown."""
        first = parts[0]
        scores: dict[str, FloatArray] = {}
        extras: dict[str, dict[str, FloatArray]] = {SCORE_SD: {}, SIGN_AGREEMENT: {}}
        for stat in first.scores:
            stack = np.stack([part.scores[stat] for part in parts]).astype(np.float64)
            scores[stat], extras[SCORE_SD][stat], extras[SIGN_AGREEMENT][stat] = spread(
                stack, None if shown is None else shown.scores[stat]
            )
        stronger = {
            stat: np.where(np.all([part.stronger[stat] == signs for part in parts], axis=0), signs, 0).astype(np.int8)
            for stat, signs in first.stronger.items()
        }
        details = [part.detail for part in parts]
        said = details[0]
        if len(set(details)) > 1:
            said = "; ".join(f"{name}: {text}" for name, text in zip(self._names, details, strict=True))
        return replace(
            first, scores=scores, stronger=stronger, coverage=_mean_coverage(parts), detail=said, extras=extras
        )


def spread(scores: np.ndarray, shown: np.ndarray | None = None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, standard deviation (n - 1) and sign agreement over members, float32 (rows,) each.

    Parameters
    ----------
    scores : float64 ndarray of shape (members, rows)
        NaN of one member makes all three NaN.
    shown : ndarray of shape (rows,), optional
        The scores that are reported, whose signs members share or not; the mean when None.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = scores.mean(axis=0), scores.std(axis=0, ddof=1)
        sign_of = mean if shown is None else shown
        agreement = np.where(np.isfinite(mean), (np.sign(scores) == np.sign(sign_of)).mean(axis=0), np.nan)
        return mean.astype(np.float32), deviation.astype(np.float32), agreement.astype(np.float32)


def _mean_coverage(parts: Sequence[RegionScores]) -> tuple[FloatArray, FloatArray] | None:
    held = [part.coverage for part in parts if part.coverage is not None]
    if not held:
        return None
    return _average([pair[0] for pair in held]), _average([pair[1] for pair in held])


def _average(arrays: Sequence[np.ndarray]) -> FloatArray:
    """Return the mean of arrays, summed in float64."""
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64), dtype=np.float32)


class MeanPredictor:
    """The predictors of several members as one: un-squashed coverage of both alleles, averaged over members."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        self._members = tuple(members)

    def variant(self, fasta: Fasta, variant: Variant | Comparison, **how: Any) -> AllelePrediction:
        """See :meth:`borzoi_rt.engine.prediction.Predictor.variant`."""
        return _mean([member.variant(fasta, variant, **how) for member in self._members])

    def pair(self, ref: np.ndarray, alt: np.ndarray) -> AllelePrediction:
        """See :meth:`borzoi_rt.engine.prediction.Predictor.pair`."""
        return _mean([member.pair(ref, alt) for member in self._members])


def _mean(found: Sequence[AllelePrediction]) -> AllelePrediction:
    ref, alt = _average([item.ref for item in found]), _average([item.alt for item in found])
    return replace(found[0], ref=ref, alt=alt)


def open_scorer(
    members: Sequence[Bundle],
    sessions: Sequence[Session],
    fasta: Fasta,
    options: ScoreOptions,
    genes: Genes | None = None,
) -> AnyScorer:
    """Return the scorer of a model, or of an ensemble of several, whose sessions are open."""
    check_ensemble(members, options)
    scorers = [
        Scorer(bundle, session, fasta, options, genes) for bundle, session in zip(members, sessions, strict=True)
    ]
    scorer: AnyScorer = scorers[0] if len(scorers) == 1 else EnsembleScorer(scorers, member_names(members))
    return FloorScorer(scorer, fasta, members[0].geometry.sequence_length_bp) if options.phase_floor else scorer


def check_ensemble(members: Sequence[Bundle], options: ScoreOptions) -> None:
    """Refuse a choice of what is averaged over a single model.

    Raises
    ------
    InputError
        Naming it.
    """
    if len(members) == 1 and options.ensemble != "mean_scores":
        raise InputError(
            f"ensemble {options.ensemble!r} is for several bundles, and there is one; give more, or leave it out"
        )


def member_names(members: Sequence[Bundle]) -> tuple[str, ...]:
    """Return what members are called: by their models, or where these repeat by their folders, or by number."""
    for names in ([item.info.name for item in members], [item.path.name for item in members]):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"member {number}" for number in range(1, len(members) + 1))
