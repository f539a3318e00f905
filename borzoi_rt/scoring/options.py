"""How variants are scored: one frozen object, which with the model and the genome is the identity of a score."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..bundle.manifest import BundleInfo
from ..engine.gene_bins import BIN_RULES
from ..engine.options import PredictionOptions
from ..errors import InputError
from ..genome.pas import SITE_KINDS
from ..plain import check_types
from ..squash import KINDS
from .alphagenome import native_name
from .formulas import SiteSplit
from .spec import ScoreSpec, read_specs
from .statistics import STRAND_ORDERS

REF_POLICIES = ("strict", "flip", "edit")
GENE_MODES = ("all", "nearest")
ENSEMBLES = ("mean_scores", "mean_predictions")
_STRAND_ORDERS = ("after", "before")

# What a family means unless the caller says otherwise (specification of the reference programs).
FAMILY_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "hound": {"shift_space": "unsquashed", "indel": "stitch", "edge_fill": "genome"},
    "sad": {"shift_space": "squashed", "indel": "centre_trim", "edge_fill": "pad", "n_code": "uniform"},
}
# `hound_snpgene` takes every bin that an exon meets, `borzoi_sed` those that rounded ends hold.
FAMILY_BIN_RULES: Mapping[str, str] = {"hound": "overlap", "sad": "half"}
_OF_GENES = ("gene_names", "gene_types", "gene_mode", "bin_rule")  # options that only scores of genes heed
_OF_SITES = ("sites", "site_pseudo", "site_min_coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """Statistics, and the policies under which they are made; None leaves a choice to the family or the bundle.

    Parameters
    ----------
    stats : tuple of str
        Scores, ``STAT`` or ``STAT@REGION``: names of :mod:`borzoi_rt.scoring.statistics`, regions of
        :mod:`borzoi_rt.engine.regions`.
    region : str
        Region of the scores that name none. A choice that no score or no other choice heeds is refused, here and below.
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
    squash : str, optional
        Kind of the squashed scale to undo instead of the bundle's; the output names it.
    unscale, unclip : bool, optional
        Inverse of the squashed scale; None keeps the bundle's own.
    merge_strands : bool
        Join the two strands of a stranded track into one row.
    strand_order : str, optional
        ``after``: join strands after the statistic. ``before``: join their coverage first. None is the family's.
    max_n_fraction : float, optional
        Largest share of unknown bases in a window; more gives the status ``too_many_n``.
    with_alleles : bool
        Keep beside every score the sum of coverage over its region for REF and for ALT, strands added.
    gene_names : tuple of str
        Names or ids of the genes whose scores are wanted; all when empty. This and what follows is for scores over
        regions of genes alone.
    gene_types : tuple of str
        Types of genes, like ``protein_coding``; all when empty.
    gene_mode : str
        ``all``: every gene whose region the output window holds at least in part. ``nearest``: of these the one whose
        span is nearest to the variant.
    bin_rule : str, optional
        One of :data:`borzoi_rt.engine.gene_bins.BIN_RULES`; None is the family's.
    sites : str
        Which polyadenylation sites scores of region ``pas`` compare, see :meth:`borzoi_rt.genome.pas.Sites.of_kind`.
    site_pseudo, site_min_coverage : float
        Pseudo-count, also of region ``splice``, and limit of these scores, in coverage as it is un-squashed; the
        published 50 and 100 are reads.
    normalize : bool
        Score every allele in its left-normalised spelling, which its window then lies around; both spellings are kept.
    phase_floor : int
        How many neutral indels near every indel are scored too, see :mod:`borzoi_rt.scoring.phase_floor`; 0 for none.
    phase_floor_seed : int
        What the positions of these are drawn by.
    ensemble : str
        Of several models ``mean_scores``, as in the reference, or ``mean_predictions``, see
        :mod:`borzoi_rt.scoring.ensemble`.
    """

    stats: tuple[str, ...] = ("SUM", "logSUM", "logSED")
    region: str = "window"
    family: str = "hound"
    prediction: PredictionOptions = field(default_factory=PredictionOptions)
    tracks: str | None = None
    ref_policy: str = "strict"
    flip_deletions: bool = False
    squash: str | None = None
    unscale: bool | None = None
    unclip: bool | None = None
    merge_strands: bool = True
    strand_order: str | None = None
    max_n_fraction: float | None = None
    with_alleles: bool = False
    gene_names: tuple[str, ...] = ()
    gene_types: tuple[str, ...] = ()
    gene_mode: str = "all"
    bin_rule: str | None = None
    sites: str = "utr3"
    site_pseudo: float = 50.0
    site_min_coverage: float = 100.0
    normalize: bool = False
    phase_floor: int = 0
    phase_floor_seed: int = 0
    ensemble: str = "mean_scores"

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("stats", "gene_names", "gene_types"):
            object.__setattr__(self, name, texts_of(name, getattr(self, name)))
        if not isinstance(self.prediction, PredictionOptions):
            raise InputError(f"prediction is {self.prediction!r:.40}; a PredictionOptions is needed")
        specs = read_specs(self.stats, self.family, self.region)
        for name, allowed in (
            ("ref_policy", REF_POLICIES),
            ("strand_order", _STRAND_ORDERS),
            ("squash", KINDS),
            ("gene_mode", GENE_MODES),
            ("bin_rule", BIN_RULES),
            ("sites", SITE_KINDS),
            ("ensemble", ENSEMBLES),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")
        if self.max_n_fraction is not None and not 0.0 <= self.max_n_fraction <= 1.0:
            raise InputError(f"max_n_fraction is {self.max_n_fraction!r}; a share between 0 and 1 is needed")
        if not 0 < self.site_pseudo < math.inf or not 0 <= self.site_min_coverage < math.inf:
            raise InputError(
                f"site_pseudo is {self.site_pseudo!r} and site_min_coverage {self.site_min_coverage!r}; a number above "
                "0 and one of at least 0 are needed"
            )
        for name in ("phase_floor", "phase_floor_seed"):
            count = getattr(self, name)
            if count < 0:
                raise InputError(f"{name} is {count!r}; a whole number from 0 on is needed")
        self._check_heeded(specs)

    def _check_heeded(self, specs: Sequence[ScoreSpec]) -> None:
        """Refuse a choice, other than the default, that nothing heeds."""
        changed = {item.name for item in fields(self) if getattr(self, item.name) != item.default}
        idle = [name for name in _OF_GENES if name in changed and not any(spec.of_genes for spec in specs)]
        if idle:
            raise InputError(
                f"{idle[0]} is for scores of genes, and there are none; name one, like {specs[0].stat}@exons"
            )
        heeded = {name for spec in specs for name in self.site_choices(spec)}
        idle = [name for name in _OF_SITES if name in changed - heeded]
        if idle:
            raise InputError(f"{idle[0]} is for scores of sites, and there are none; name one, like COVR@pas")
        if "phase_floor_seed" in changed and not self.phase_floor:
            raise InputError("phase_floor_seed is for a phase floor; give phase_floor too, or leave it out")
        if self.flip_deletions and self.ref_policy != "flip":
            raise InputError("flip_deletions is for ref_policy 'flip'; choose that, or leave it out")
        if "region" in changed and all("@" in native_name(name) for name in self.stats):
            raise InputError(
                f"region {self.region!r} is for scores that name none, and all do, as {self.stats[0]!r}; leave it out"
            )

    @classmethod
    def for_family(cls, family: str = "hound", **choices: Any) -> ScoreOptions:
        """Return the options of a family, with those choices that are not None on top.

        ``choices`` are fields of this class or of :class:`PredictionOptions`.
        """
        given = {name: value for name, value in choices.items() if value is not None}
        inner = {item.name for item in fields(PredictionOptions)}
        prediction = PredictionOptions(**{name: given.pop(name) for name in list(given) if name in inner})
        return cls(family=family, prediction=prediction, **given)

    @property
    def specs(self) -> tuple[ScoreSpec, ...]:
        """The scores, read."""
        return read_specs(self.stats, self.family, self.region)

    @property
    def of_genes(self) -> bool:
        """Whether a score is over a region of genes, so that an annotation is needed."""
        return any(spec.of_genes for spec in self.specs)

    def resolved(self, bundle: BundleInfo) -> ScoreOptions:
        """Return the options with nothing left open: the family's choices, then the bundle's."""
        spec = bundle.squash
        return replace(
            self,
            stats=tuple(item.name for item in self.specs),
            region="window",
            prediction=self.prediction.resolved(FAMILY_DEFAULTS[self.family], bundle.n_policy),
            squash=self.squash or spec.kind,
            unscale=spec.unscale if self.unscale is None else self.unscale,
            unclip=spec.unclip if self.unclip is None else self.unclip,
            strand_order=self.strand_order or STRAND_ORDERS[self.family],
            bin_rule=(self.bin_rule or FAMILY_BIN_RULES[self.family]) if self.of_genes else None,
        )

    def notes(self, bundle: BundleInfo) -> list[str]:
        """Return, in words, where these options depart from what the bundle's weights were trained with."""
        chosen = self.resolved(bundle)
        notes = []
        if chosen.prediction.n_code != bundle.n_policy:
            whose = f"family {self.family}" if self.prediction.n_code is None else "the options"
            notes.append(
                f"unknown bases are coded {chosen.prediction.n_code!r} ({whose}); the bundle says {bundle.n_policy!r}"
            )
        if chosen.squash == "none" and bundle.squash.kind != "none":
            notes.append(f"the squashed scale is kept; the bundle's is of kind {bundle.squash.kind!r}")
        elif chosen.squash != bundle.squash.kind:
            notes.append(f"squash kind {chosen.squash!r} is undone instead of the bundle's {bundle.squash.kind!r}")
        return notes

    def site_choices(self, spec: ScoreSpec) -> dict[str, Any]:
        """Return the options that a score of sites depends on, by name; none for other scores."""
        if not isinstance(spec.statistic, SiteSplit):
            return {}
        names = (*_OF_SITES, *(("tracks",) if spec.statistic.of_tracks else ()))
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def score_ids(
        self, context: dict[str, Any], genes: str | None = None, transcripts: str | None = None
    ) -> dict[str, str]:
        """Return the identity of each score: a hash of everything its value depends on.

        Which genes are kept is no part of it, for it changes no value.

        Parameters
        ----------
        context : dict
            JSON values that fix model and genome: hashes, bins.
        genes, transcripts : str, optional
            Hash of the annotation, which fixes scores of genes, and of its transcripts, which fixes some of them.
        """
        apart = ("stats", "region", "tracks", "max_n_fraction", "with_alleles", "ensemble", *_OF_GENES, *_OF_SITES)
        apart += ("phase_floor", "phase_floor_seed", *(() if self.normalize else ("normalize",)))
        shared = {key: value for key, value in self.to_dict().items() if key not in apart}
        of_genes = {"bin_rule": self.bin_rule, "annotation": genes}
        of_transcripts = {"transcripts": transcripts}

        def more(spec: ScoreSpec) -> dict[str, Any]:
            found = {**(of_genes if spec.of_genes else {}), **self.site_choices(spec)}
            return {**found, **(of_transcripts if spec.region.of_transcripts else {})}

        return {spec.name: _hash({"score": spec.name, **shared, **context, **more(spec)}) for spec in self.specs}


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
        lists = {name: tuple(values.get(name, ())) for name in ("stats", "gene_names", "gene_types")}
        return ScoreOptions(**{**values, **lists}, prediction=prediction)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"options cannot be read ({error}); they come from another release of borzoi-rt") from error


def texts_of(name: str, values: object) -> tuple[str, ...]:
    """Return texts as a tuple; one text is a list with commas outside of parentheses."""
    if isinstance(values, str):
        return tuple(part.strip() for part in re.split(r",(?![^()]*\))", values))
    texts = tuple(values) if isinstance(values, Iterable) else (values,)
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{name} is {values!r:.40}; a tuple of texts is needed")
    return tuple(map(str, texts))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
