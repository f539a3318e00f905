"""Options of published commands, by name."""

from __future__ import annotations

from collections.abc import Mapping

from ..bundle.manifest import BundleInfo
from ..errors import InputError
from .options import ScoreOptions

PRESETS: Mapping[str, ScoreOptions] = {
    # `hound_snp` as it stands, indels averaged over two phases, wrong-way records flipped, deletions included.
    "hound-default": ScoreOptions.for_family(
        "hound",
        stats=("logSUM",),
        indel="average",
        edge_fill="pad",
        n_code="zero",
        ref_policy="flip",
        flip_deletions=True,
    ),
    "hound-stitch": ScoreOptions.for_family(
        "hound",
        stats=("logSUM",),
        indel="stitch",
        edge_fill="pad",
        n_code="zero",
        ref_policy="flip",
        flip_deletions=True,
    ),
    # `hound_snp -c 0.25`: neighbours share windows, so that a score depends on what else the file holds.
    "hound-cluster": ScoreOptions.for_family(
        "hound",
        stats=("logSUM",),
        indel="average",
        edge_fill="pad",
        n_code="zero",
        ref_policy="flip",
        flip_deletions=True,
        window="cluster:0.25",
    ),
    # The paper's eQTL scores (6,144 bins).
    "paper-eqtl-sad": ScoreOptions.for_family(
        "sad",
        stats=("SAD", "logSAD", "D2", "logD2"),
        rc=True,
        n_code="uniform",
        ref_policy="edit",
        unscale=False,
        unclip=True,
    ),
    # The paper's saturation mutagenesis scores, for a bundle exported with crop 8,128 (128 bins).
    "paper-satmut-sad": ScoreOptions.for_family(
        "sad",
        stats=("SAD", "logSAD", "SADlog"),
        rc=True,
        n_code="uniform",
        ref_policy="edit",
        unscale=False,
        unclip=True,
    ),
}

# The squash kind that a published command names (`-u`); a preset without one takes the bundle's.
PRESET_SQUASH: Mapping[str, str] = {"paper-eqtl-sad": "old", "paper-satmut-sad": "old"}


def check_preset(name: str, bundle: BundleInfo, squash: str | None = None) -> None:
    """Refuse a preset whose published command undoes another squash than the run would.

    Parameters
    ----------
    name : str
        A key of ``PRESETS``.
    bundle : BundleInfo
        The model.
    squash : str, optional
        The kind that is undone instead of the bundle's.

    Raises
    ------
    InputError
        Naming both kinds.
    """
    kind, wanted = squash or bundle.squash.kind, PRESET_SQUASH.get(name)
    if wanted not in (None, kind):
        raise InputError(
            f"preset {name!r} is a command for squash kind {wanted!r}, {bundle.name} is of kind {kind!r}; use a bundle "
            f"of kind {wanted!r}, undo that kind on purpose (squash {wanted!r}), or give the options one by one"
        )
