"""Options of published commands, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..bundle.manifest import BundleInfo
from ..errors import InputError
from .alphagenome import RECOMMENDED
from .options import ScoreOptions
from .spec import read_specs

# What `hound_snp` does of itself: wrong-way records are flipped, deletions included; zeros for unknown bases.
_HOUND: dict[str, Any] = {"edge_fill": "pad", "n_code": "zero", "ref_policy": "flip", "flip_deletions": True}
# The paper's own options; `borzoi_sed` and `borzoi_sed_paqtl_cov` share the ways of `borzoi_sad`.
_PAPER: dict[str, Any] = {"rc": True, "n_code": "uniform", "ref_policy": "edit", "unscale": False, "unclip": True}
_SITES: dict[str, Any] = {**_PAPER, "stats": ("COVR@pas",), "unscale": True, "unclip": False}

_OF_WINDOWS: Mapping[str, ScoreOptions] = {
    # `hound_snp` as it stands, indels averaged over two phases.
    "hound-default": ScoreOptions.for_family("hound", stats=("logSUM",), indel="average", **_HOUND),
    "hound-stitch": ScoreOptions.for_family("hound", stats=("logSUM",), indel="stitch", **_HOUND),
    # `hound_snp -c 0.25`: neighbours share windows, so that a score depends on what else the file holds.
    "hound-cluster": ScoreOptions.for_family(
        "hound", stats=("logSUM",), indel="average", window="cluster:0.25", **_HOUND
    ),
    # The paper's eQTL scores (6,144 bins).
    "paper-eqtl-sad": ScoreOptions.for_family("sad", stats=("SAD", "logSAD", "D2", "logD2"), **_PAPER),
    # The paper's saturation mutagenesis scores, for a bundle exported with crop 8,128 (128 bins).
    "paper-satmut-sad": ScoreOptions.for_family("sad", stats=("SAD", "logSAD", "SADlog"), **_PAPER),
}
PRESETS: Mapping[str, ScoreOptions] = {
    **_OF_WINDOWS,
    "eqtl-sad": _OF_WINDOWS["paper-eqtl-sad"],
    "eqtl-sed": ScoreOptions.for_family("sad", stats=("SED@exons", "logSED@exons"), **_PAPER),
    # Saturation mutagenesis scores of genes, for a bundle exported with crop 1,024 (14,336 bins).
    "paper-satmut-sed": ScoreOptions.for_family(
        "sad", stats=("SED@exons", "logSED@exons", "D2@exons", "logD2@exons"), **_PAPER
    ),
    # `--span --no_untransform`: the squashed scale is kept.
    "sqtl": ScoreOptions.for_family(
        "sad", stats=("nDi@span",), squash="none", **{**_PAPER, "unscale": None, "unclip": None}
    ),
    # AlphaGenome's recommended scorers, for outputs that models of this family have.
    "alphagenome": ScoreOptions.for_family("hound", stats=RECOMMENDED),
    "paqtl": ScoreOptions.for_family("sad", sites="utr3", **_SITES),
    "ipaqtl": ScoreOptions.for_family("sad", sites="intron", **_SITES),
}

# The squash kind that a published command names (`-u`); a preset without one takes the bundle's.
PRESET_SQUASH: Mapping[str, str] = {
    **dict.fromkeys(("paper-eqtl-sad", "paper-satmut-sad", "eqtl-sad", "paqtl", "ipaqtl"), "old"),
    **dict.fromkeys(("eqtl-sed", "paper-satmut-sed"), "old"),
}
# The bins of the output for which a command was published: what lies beyond them it could not see, and sums over a
# window depend on them.
PRESET_BINS: Mapping[str, int] = {
    **dict.fromkeys(("paper-eqtl-sad", "eqtl-sad", "eqtl-sed"), 6144),
    **dict.fromkeys(("sqtl", "paqtl", "ipaqtl"), 16352),
    "paper-satmut-sad": 128,
    "paper-satmut-sed": 14336,
}


def preset_options(name: str, stats: tuple[str, ...] | None = None, **changes: Any) -> ScoreOptions:
    """Return the options of a preset, perhaps with other scores; what of it is for its own scores is then left out.

    Parameters
    ----------
    name : str
        A key of ``PRESETS``.
    stats : tuple of str, optional
        Scores instead of the preset's.
    **changes
        Fields of :class:`ScoreOptions`.
    """
    held = PRESETS[name]
    if stats is None:
        return replace(held, **changes)
    of_sites = any(spec.region.of_sites for spec in read_specs(stats, held.family))
    return replace(held, stats=stats, sites=held.sites if of_sites else ScoreOptions().sites, **changes)


def check_preset(name: str, bundle: BundleInfo, squash: str | None = None) -> list[str]:
    """Refuse a preset whose published command undoes another squash than the run would.

    Parameters
    ----------
    name : str
        A key of ``PRESETS``.
    bundle : BundleInfo
        The model.
    squash : str, optional
        The kind that is undone instead of the bundle's.

    Returns
    -------
    list of str
        In words, where the bundle's output is not that of the published command.

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
    if PRESETS[name].squash is not None and squash not in (None, PRESETS[name].squash):
        raise InputError(f"preset {name!r} keeps the squashed scale; leave squash {squash!r} out")
    bins = PRESET_BINS.get(name, bundle.geometry.bins)
    if bins == bundle.geometry.bins:
        return []
    return [f"preset {name!r} is a command for an output of {bins} bins, {bundle.name} gives {bundle.geometry.bins}"]
