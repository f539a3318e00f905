"""How variants are scored: one frozen object, which with the model and the genome is the identity of a score."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..bundle.opening import Bundle
from ..engine.options import PredictionOptions
from ..errors import InputError
from .statistics import find_statistics

REF_POLICIES = ("strict", "flip", "edit")

# What a family means unless said otherwise (specification of the reference programs).
FAMILY_DEFAULTS: dict[str, PredictionOptions] = {
    "hound": PredictionOptions(shift_space="unsquashed", indel="stitch", edge_fill="genome", n_code="zero"),
    "sad": PredictionOptions(shift_space="squashed", indel="centre_trim", edge_fill="pad", n_code="uniform"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """Statistics, and the policies under which they are made.

    Parameters
    ----------
    stats : tuple of str
        Names of :mod:`borzoi_rt.scoring.statistics`.
    family : str
        ``hound``: statistic first, strands joined last. ``sad``: strands joined first.
    prediction : PredictionOptions
        Strands, shifts, indels, window ends, unknown bases.
    tracks : str, optional
        Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`.
    ref_policy : str
        What to do where REF is not what the genome holds. ``strict``: status ``ref_mismatch``. ``flip``: where the
        genome holds ALT, score the opposite change and turn it round (status ``flipped``). ``edit``: where the genome
        holds ALT, put REF into it (status ``ref_edited``).
    flip_deletions : bool
        Let ``flip`` apply to deletions too. Any deletion whose anchor base is right looks flipped, so this is not safe.
    unscale, unclip : bool, optional
        Inverse of the squashed scale; None keeps the bundle's own.
    merge_strands : bool
        Join the two strands of a stranded track into one row.
    max_n_fraction : float, optional
        Largest share of unknown bases in a window; more gives the status ``too_many_n``.
    """

    stats: tuple[str, ...] = ("SUM", "logSUM", "logSED")
    family: str = "hound"
    prediction: PredictionOptions = field(default_factory=lambda: FAMILY_DEFAULTS["hound"])
    tracks: str | None = None
    ref_policy: str = "strict"
    flip_deletions: bool = False
    unscale: bool | None = None
    unclip: bool | None = None
    merge_strands: bool = True
    max_n_fraction: float | None = None

    def __post_init__(self) -> None:
        find_statistics(self.stats, self.family)
        twice = [name for name in self.stats if self.stats.count(name) > 1]
        if twice:
            raise InputError(f"statistic {twice[0]!r} is named twice; a table holds each once")
        if self.ref_policy not in REF_POLICIES:
            raise InputError(f"ref_policy {self.ref_policy!r} is unknown; allowed: {', '.join(REF_POLICIES)}")
        if self.max_n_fraction is not None and not 0.0 <= self.max_n_fraction <= 1.0:
            raise InputError(f"max_n_fraction is {self.max_n_fraction!r}; a share between 0 and 1 is needed")

    @classmethod
    def for_family(cls, family: str = "hound", **choices: Any) -> ScoreOptions:
        """Return the options of a family, with those choices that are not None on top.

        ``choices`` are fields of this class or of :class:`PredictionOptions`.
        """
        if family not in FAMILY_DEFAULTS:
            raise InputError(f"family {family!r} is unknown; allowed: {', '.join(FAMILY_DEFAULTS)}")
        given = {name: value for name, value in choices.items() if value is not None}
        inner = {item.name for item in fields(PredictionOptions)}
        prediction = replace(
            FAMILY_DEFAULTS[family], **{name: given.pop(name) for name in list(given) if name in inner}
        )
        return cls(family=family, prediction=prediction, **given)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def score_ids(self, context: dict[str, Any]) -> dict[str, str]:
        """Return the identity of each statistic: a hash of everything its value depends on.

        Parameters
        ----------
        context : dict
            JSON values that fix model and genome: hashes, squash, bins, window rule.
        """
        shared = {
            key: value for key, value in self.to_dict().items() if key not in ("stats", "tracks", "max_n_fraction")
        }
        return {name: _hash({"statistic": name, **shared, **context}) for name in self.stats}


def read_options(text: str) -> ScoreOptions:
    """Read options from JSON, as :meth:`ScoreOptions.to_dict` gives them.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value not allowed.
    """
    try:
        values = json.loads(text)
        inner = values.pop("prediction")
        prediction = PredictionOptions(**{**inner, "shifts": tuple(inner["shifts"])})
        return ScoreOptions(**{**values, "stats": tuple(values["stats"])}, prediction=prediction)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"options cannot be read ({error}); they come from another release of borzoi-rt") from error


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


PRESETS: dict[str, ScoreOptions] = {
    # `hound_snp` as it stands, indels averaged over two phases, wrong-way records flipped, deletions included.
    "hound-default": ScoreOptions.for_family(
        "hound", stats=("logSUM",), indel="average", edge_fill="pad", ref_policy="flip", flip_deletions=True
    ),
    "hound-stitch": ScoreOptions.for_family(
        "hound", stats=("logSUM",), indel="stitch", edge_fill="pad", ref_policy="flip", flip_deletions=True
    ),
    # The paper's eQTL scores (6,144 bins).
    "paper-eqtl-sad": ScoreOptions.for_family(
        "sad", stats=("SAD", "logSAD", "D2", "logD2"), rc=True, ref_policy="edit", unscale=False, unclip=True
    ),
    # The paper's saturation mutagenesis scores, for a bundle exported with crop 8,128 (128 bins).
    "paper-satmut-sad": ScoreOptions.for_family(
        "sad", stats=("SAD", "logSAD", "SADlog"), rc=True, ref_policy="edit", unscale=False, unclip=True
    ),
}

# The squash kind that a published command names (`-u`); a preset without one takes the bundle's.
PRESET_SQUASH = {"paper-eqtl-sad": "old", "paper-satmut-sad": "old"}


def check_preset(name: str, bundle: Bundle) -> None:
    """Refuse a preset whose published command undoes another squash than that of the bundle.

    Raises
    ------
    InputError
        Naming both kinds.
    """
    kind, wanted = bundle.info.squash.kind, PRESET_SQUASH.get(name)
    if wanted not in (None, kind):
        raise InputError(
            f"preset {name!r} is a command for squash kind {wanted!r}, {bundle.path.name} is of kind {kind!r}; "
            f"use a bundle of kind {wanted!r}, or give the options one by one without the preset"
        )
