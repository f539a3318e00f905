"""What is judged: a file of attributions, opened so that its target and its method can be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...bundle.opening import Bundle
from ...errors import InputError
from ...genome.fasta import Fasta
from ...genome.genes import Gene
from ...genome.intervals import Interval
from ...genome.pas import Sites
from ...genome.variants import Variant
from ..attr_file import read_attributions
from ..explainer import Explainer, ExplainOptions
from ..methods import METHODS, find_method
from ..result import Explanation
from ..rows import GENOME, Row, codes_of, region_row, variant_rows
from ..segments import SegmentSource
from ..target import TargetSpec
from .faithful import ExactEffects, Scene
from .maps import ScoreMap

# Of a bound target, no fields of a spec; tracks_used is what release 0.1 called the count.
_BOUND = ("target", "squash", "tracks_count", "tracks_used", "sites_used")
_PLAIN = "ism"  # a method that needs values alone
_CLOSE = 1e-2  # share of the target by which another device may differ
_LIGHT = ("chrom", "start", "end", "strand", "name", "allele", "window_start", "sequence", "hypothetical", "score")


@dataclass(frozen=True)
class Subject:
    """A file of attributions.

    Attributes
    ----------
    name : str
        Of the file.
    spec : TargetSpec
    options : ExplainOptions
    rows : list of Row
    maps : list of ScoreMap
    values : list of float
        The target of each row, as the file has it.
    facts : list of dict
        What the method said of each row.
    """

    name: str
    spec: TargetSpec
    options: ExplainOptions
    rows: list[Row]
    maps: list[ScoreMap]
    values: list[float]
    facts: list[dict[str, Any]]

    @property
    def segments(self) -> str:
        """Where the stretches of the method come from; empty where it has one length for all, or none."""
        return str(getattr(self.options.options, "segments", ""))

    def scene(self, number: int, explainer: Explainer) -> Scene:
        """Return a row as measures of faithfulness take it.

        Raises
        ------
        InputError
            If the model gives another number than the file has.
        """
        row, own = self.rows[number], self.options
        plain = ExplainOptions(method=_PLAIN, rc=own.rc, n_code=own.n_code)
        objective = explainer.objective(row, self.spec, plain)
        window = row.window(explainer.fasta, explainer.bundle.geometry)
        value, stored = float(objective.values(window[None])[0]), self.values[number]
        if not abs(value - stored) <= _CLOSE * max(abs(value), abs(stored), 1e-6):
            raise InputError(
                f"{self.name}: the target of row {row.name} is {stored:.6g} there and {value:.6g} of this model; give "
                "the gene, sites and bundle that it was made with"
            )
        return Scene(objective, window, row.columns, self.maps[number], METHODS[own.method].projected)


def subject_of(name: str, explanation: Explanation) -> Subject:
    """Return an explanation in memory as what is judged.

    Parameters
    ----------
    name : str
        What it is called in the table.
    explanation : Explanation
        Of the model that judges.
    """
    about = explanation.about
    fields = {key: value for key, value in about["target"].items() if key not in _BOUND}
    given = {key: value for key, value in about["options"].items() if value is not None}
    options = ExplainOptions(method=about["method"], options=given or None, rc=about["rc"], n_code=about["n_code"])
    held = ScoreMap(explanation.codes, np.asarray(explanation.hypothetical, dtype=np.float64))
    spec, facts = TargetSpec.from_json(fields), dict(explanation.facts)
    return Subject(name, spec, options, [explanation.row], [held], [explanation.value], [facts])


def read_subject(
    path: Path,
    bundle: Bundle,
    fasta: Fasta,
    *,
    gene: Gene | None = None,
    sites: Sites | None = None,
    segments: SegmentSource | None = None,
    most: int | None = None,
) -> Subject:
    """Open a file of attributions.

    Parameters
    ----------
    path : Path
        See :mod:`borzoi_rt.explain.attr_file`.
    bundle, fasta
        Model and genome that it was made with.
    gene : Gene, optional
        Of the target; a file does not hold it.
    sites : Sites, optional
        Polyadenylation sites of the target.
    segments : SegmentSource, optional
        Stretches of the method, which a file names and does not hold.
    most : int, optional
        Rows that are taken, the first that have an explanation; all when None.

    Raises
    ------
    InputError
        If the file is of another model or genome, of several models, or lacks what it needs.
    """
    about = read_attributions(path, names=("status",)).about
    name = path.name
    _check_origin(name, about, bundle, fasta)
    fields = {key: value for key, value in about["target"].items() if key not in _BOUND}
    spec = TargetSpec.from_json(fields)
    given = {key: value for key, value in about["options"].items() if value is not None}
    find_method(about["method"])
    options = ExplainOptions(method=about["method"], options=given or None, rc=about["rc"], n_code=about["n_code"])
    if spec.of_genes and gene is None:
        raise InputError(f"{name}: target {spec.name} is of a gene, which no file holds; give it (gene, genes)")
    asked = getattr(options.options, "segments", "")
    if asked and (segments is None or segments.label != asked):
        raise InputError(f"{name}: its stretches are those of {asked}; give that file (segments)")
    chosen = read_attributions(path, names=("status",)).explained[:most].tolist()
    if not chosen:
        raise InputError(f"{name}: no row has an explanation; there is nothing to judge")
    held = read_attributions(path, names=(*_LIGHT, "facts"), rows=chosen).arrays
    rows = [_row(held, number, name, bundle, fasta, gene, sites) for number in range(len(chosen))]
    if asked and segments is not None:
        rows = segments.of(rows, fasta, bundle.geometry, keep=False)
    maps = [
        ScoreMap(codes, hypothetical.astype(np.float64))
        for codes, hypothetical in zip(held["sequence"], held["hypothetical"], strict=True)
    ]
    facts = [_facts(text) for text in held["facts"]]
    return Subject(name, spec, options, rows, maps, [float(value) for value in held["score"]], facts)


def _check_origin(name: str, about: Mapping[str, Any], bundle: Bundle, fasta: Fasta) -> None:
    models = about.get("models") or []
    if len(models) != 1:
        raise InputError(
            f"{name}: holds the mean of {len(models)} models; judge files of one model each, and give the other folds "
            "as folds"
        )
    if models[0]["sha256"] != bundle.sha256:
        raise InputError(
            f"{name}: is of model {models[0]['name']} ({models[0]['sha256'][:12]}), the bundle is {bundle.info.name} "
            f"({bundle.sha256[:12]}); give the bundle that it was made with"
        )
    if (about.get("genome") or {}).get("fingerprint") != fasta.fingerprint():
        raise InputError(f"{name}: is of another genome than {fasta.name}; give the one that it was made with")


def _row(
    held: Mapping[str, np.ndarray],
    number: int,
    file: str,
    bundle: Bundle,
    fasta: Fasta,
    gene: Gene | None,
    sites: Sites | None,
) -> Row:
    """Return a row as it was explained.

    Raises
    ------
    InputError
        If its letters or its window are others.
    """
    chrom, strand, name, allele = (str(held[key][number]) for key in ("chrom", "strand", "name", "allele"))
    start, end, window = (int(held[key][number]) for key in ("start", "end", "window_start"))
    if allele == GENOME:
        bases = Interval(chrom, start, end, name, strand)
        row = region_row(bases, fasta, bundle.geometry, gene=gene, sites=sites, window_start=window)
    else:
        variant = Variant.parse(name.rpartition(" ")[0])
        pair = variant_rows(variant, fasta, bundle.geometry, width_bp=end - start, gene=gene, sites=sites)
        row = next(one for one in pair if one.allele == allele)
    low, high = row.columns
    letters = codes_of(row.window(fasta, bundle.geometry)[:, low:high])
    if row.where.window_start != window or not np.array_equal(letters, held["sequence"][number]):
        raise InputError(f"{file}: row {name} has other letters, or another window, in this genome")
    return row


def _facts(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(str(text))
    return found


def read_exact(path: Path, subject: Subject, bundle: Bundle) -> list[ExactEffects]:
    """Return the effects of exact mutagenesis of every row of a subject, from a file of ``ism``.

    Raises
    ------
    InputError
        If the file is of another method, model or target, or lacks a row.
    """
    light = read_attributions(path, names=("status", "name", "allele", "chrom", "start", "end", "window_start"))
    about, arrays = light.about, light.arrays
    if about["method"] != _PLAIN or len(about["models"]) != 1 or about["models"][0]["sha256"] != bundle.sha256:
        raise InputError(f"{path.name}: is no ism of this model; make it with the method ism and this bundle")
    fields = {key: value for key, value in about["target"].items() if key not in _BOUND}
    same = (TargetSpec.from_json(fields), about["rc"], about["n_code"])
    if same != (subject.spec, subject.options.rc, subject.options.n_code):
        raise InputError(f"{path.name}: explains another target, or other strands, than {subject.name}; make it alike")
    keys = [
        tuple(str(arrays[key][row]) for key in ("chrom", "start", "end", "window_start", "allele"))
        for row in range(len(arrays["status"]))
    ]
    explained, found = set(light.explained.tolist()), []
    for row, held in zip(subject.rows, subject.maps, strict=True):
        span = (row.bases.chrom, row.bases.start, row.bases.end, row.where.window_start, row.allele)
        wanted = tuple(str(part) for part in span)
        if wanted not in keys or keys.index(wanted) not in explained:
            raise InputError(f"{path.name}: holds no effects of row {row.name}; make it of the same regions")
        effects = read_attributions(path, names=("effects",), rows=[keys.index(wanted)]).arrays["effects"][0]
        columns = np.flatnonzero(held.known)
        found.append(ExactEffects(columns, effects[:, columns].astype(np.float64)))
    return found
