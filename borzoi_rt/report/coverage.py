"""The coverage that a model predicts for both alleles of a few variants, as reports and figures show it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..backends.device import Device
from ..backends.opening import open_session
from ..engine.alleles import Comparison
from ..engine.options import PredictionOptions
from ..engine.prediction import AllelePrediction, Predictor
from ..errors import BorzoiError, InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.variants import Variant, VariantRecord
from ..scoring.compare import compare
from ..scoring.ensemble import MeanPredictor, Models, model_identity, open_members
from ..scoring.gene_scores import contigs_of
from ..scoring.options import ScoreOptions
from ..scoring.selection import UNITS, select_rows
from .ranking import Allele, Effect

NEAR_BINS = 64  # on each side of the variant
MOST_POINTS = 512  # of a curve over the whole output
TRACKS = 4
_GENES = 60


@dataclass(frozen=True)
class Curves:
    """Coverage of both alleles, per bin, in steps of one or more bins.

    Attributes
    ----------
    start : int
        0-based start of the first step.
    step_bp : int
        Width of a step; where it holds several bins their mean is shown.
    ref, alt : float32 ndarray of shape (tracks, steps)
    gap : tuple of (int, int), optional
        Where bases have no step, as they are deleted: the step before which they lie, and how many they are.
    """

    start: int
    step_bp: int
    ref: np.ndarray
    alt: np.ndarray
    gap: tuple[int, int] | None = None


@dataclass(frozen=True)
class Picture:
    """What is drawn of a variant.

    Attributes
    ----------
    tracks : tuple of str
        What the curves are called, top to bottom.
    rows : tuple of int
        Which row of the scores each curve is of; both strands of a pair are of one.
    near, whole : Curves
        The bins around the variant, and all of the output.
    genes : list of (str, str, list of (int, int))
        Name, strand and exons, 0-based and half-open, of the genes in the output.
    bin_size_bp : int
    more_genes : int
        Genes beyond those.
    """

    tracks: tuple[str, ...]
    rows: tuple[int, ...]
    near: Curves
    whole: Curves
    genes: list[tuple[str, str, list[tuple[int, int]]]]
    bin_size_bp: int
    more_genes: int = 0

    def take(self, rows: Sequence[int]) -> Picture:
        """Return the curves of some of the rows, in this order."""
        held = [number for row in rows for number, own in enumerate(self.rows) if own == row]
        near, whole = (replace(item, ref=item.ref[held], alt=item.alt[held]) for item in (self.near, self.whole))
        names, kept = (tuple(values[number] for number in held) for values in (self.tracks, self.rows))
        return replace(self, tracks=tuple(map(str, names)), rows=tuple(map(int, kept)), near=near, whole=whole)


class Pictures:
    """Predicts both alleles of a few variants. A context manager.

    Parameters
    ----------
    bundle : Bundle or path, or a sequence of these
        The model, or the members of an ensemble, whose coverage is averaged.
    fasta : path
        The genome.
    options : ScoreOptions
        Tracks, strands, shifts, scale and policies.
    genes : Genes or path, optional
        Annotation for the gene model.
    device, threads
        See :func:`borzoi_rt.open_session`.
    made : mapping, optional
        Description of a run whose model and genome these must be.

    Raises
    ------
    InputError
        If model or genome are not those of the run.
    """

    def __init__(
        self,
        bundle: Models,
        fasta: str | os.PathLike[str],
        options: ScoreOptions,
        *,
        genes: Genes | str | os.PathLike[str] | None = None,
        device: str | Device = "cpu",
        threads: int | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> None:
        members = open_members(bundle)
        model = members[0]
        self._options = options.resolved(model.info)
        self._stack = ExitStack()
        self._fasta = self._stack.enter_context(Fasta(fasta))
        try:
            if made is not None:
                _check_same(made, model_identity(members, self._options, self._fasta))
        except BaseException:
            self._stack.close()
            raise
        self._selection = select_rows(model.tracks, self._options, None if made is None else made.get(UNITS))
        # Strands are drawn as they are scored: added only where their coverage is, before the statistic.
        self._added = self._options.strand_order == "before" and not self._options.of_genes
        self._tracks, self._grid = model.tracks, model.geometry
        self._genes = genes if genes is None or isinstance(genes, Genes) else open_genes(genes)
        self._contigs = {} if self._genes is None else contigs_of(self._genes, self._fasta)
        self._sessions = []
        for member in members:
            session = open_session(member, device, threads=threads)
            self._stack.callback(session.close)
            self._sessions.append((member, session))

    @classmethod
    def of_run(cls, bundle: Models, fasta: str | os.PathLike[str], metadata: Mapping[str, Any], **how: Any) -> Pictures:
        """Open what a run was made with, to predict again with its options; ``metadata`` is its description."""
        return cls(bundle, fasta, options_of(metadata), made=metadata, **how)

    @property
    def has_genes(self) -> bool:
        """Whether there is an annotation, so that genes are drawn where there are some."""
        return self._genes is not None

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, allele: Allele, effects: Sequence[Effect]) -> Picture | str:
        """Return what is drawn of an allele in the tracks where its score is strongest, or why nothing is."""
        if allele.key[2]:
            return "no coverage: that of haplotypes is not drawn"
        if self._options.prediction.window.startswith("cluster:"):
            return "no coverage: in this run the window of a variant depends on its neighbours"
        variant = Variant(allele.chrom, allele.pos, allele.ref, allele.alt, allele.id)
        longest = self._grid.sequence_length_bp // 4
        try:
            record = VariantRecord(allele.key[0], allele.key[1], variant)
            judged = compare(self._fasta, record, self._options, longest_bp=longest)
            compared = judged.comparison
            if compared is None:
                return f"no coverage: the allele has the status {allele.status}"
            chosen = self._rows(effects)
            found = self._predictor(chosen).variant(self._fasta, compared)
            if judged.status == "flipped":  # the genome holds ALT, so that the model compared them the other way round
                found = replace(found, ref=found.alt, alt=found.ref)
        except BorzoiError as error:
            return f"no coverage: {error}"
        return self._picture(chosen, found, compared, allele.pos)

    def variant(self, variant: Variant, *, count: int = TRACKS, width_bp: int | None = None) -> Picture:
        """Return what is drawn of a variant, in the tracks where the coverage near it changes most.

        Tracks are ordered by the size of ``log2((sum ALT + 1) / (sum REF + 1))`` over the bins that are shown near it,
        of a pair of strands by the larger of both.

        Parameters
        ----------
        count : int
            Number of tracks, or of pairs of strands.
        width_bp : int, optional
            Width of what is shown near it; ``2 x NEAR_BINS + 1`` bins when None.

        Raises
        ------
        InputError
            If the variant cannot be predicted.
        """
        record = VariantRecord(0, 0, variant)
        compared = compare(self._fasta, record, self._options, longest_bp=self._grid.sequence_length_bp // 4)
        if compared.comparison is None:
            raise InputError(f"{variant}: {compared.status}: {compared.detail}")
        near = NEAR_BINS if width_bp is None else max(1, width_bp // self._grid.bin_size_bp // 2)
        rows = list(range(len(self._selection.rows)))
        found = self._predictor(rows).variant(self._fasta, compared.comparison)
        whole = self._picture(rows, found, compared.comparison, variant.pos, near_bins=near)
        sums = [values.sum(axis=1, dtype=np.float64) for values in (whole.near.ref, whole.near.alt)]
        sizes = np.zeros(len(rows))
        np.maximum.at(sizes, list(whole.rows), np.abs(np.log2((sums[1] + 1) / (sums[0] + 1))))
        return whole.take(np.argsort(-sizes, kind="stable")[:count].tolist())

    def _rows(self, effects: Sequence[Effect]) -> list[int]:
        """Return the rows of the scores that are shown."""
        index = self._selection.rows.index.tolist()
        known = [index.index(item.track_index) for item in effects if item.track_index in index]
        return list(dict.fromkeys(known))[:TRACKS] or list(range(min(TRACKS, len(index))))

    def _predictor(self, rows: Sequence[int]) -> MeanPredictor:
        """Return a predictor of the '+' track of each row, followed by the '-' tracks."""
        table = self._selection.rows
        units = np.concatenate([table.index[list(rows)], table.index_pair[list(rows)]])
        positions, options = self._tracks.positions_of(units), self._options
        predictors = []
        for member, session in self._sessions:
            squash = member.squash(positions, kind=options.squash, unscale=options.unscale, unclip=options.unclip)
            predictors.append(
                Predictor(session, member.tracks, squash, positions=positions, options=options.prediction)
            )
        return MeanPredictor(predictors)

    def _picture(
        self,
        rows: Sequence[int],
        found: AllelePrediction,
        compared: Comparison,
        pos: int,
        *,
        near_bins: int = NEAR_BINS,
    ) -> Picture:
        table, size = self._selection.rows, self._grid.bin_size_bp
        paired = (table.index != table.index_pair)[list(rows)]
        drawn = _shown(paired, added=self._added)
        ref, alt = (_curves(values.mean(axis=0), paired, drawn, added=self._added) for values in (found.ref, found.alt))
        start = found.window_start + self._grid.crop_bp + found.first_bin * size
        bins = ref.shape[1]
        middle = min(max((pos - 1 - start) // size, 0), bins - 1)
        first, last = max(middle - near_bins, 0), min(middle + near_bins + 1, bins)
        names = self._names(rows, paired, drawn)
        near = Curves(start + first * size, size, ref[:, first:last], alt[:, first:last])
        whole = reduced(start, size, ref, alt)
        gone = -min(compared.moves[-1])  # bases of the genome that the shorter allele lacks
        if found.stitch_bin is not None and gone > 0:
            seam = found.stitch_bin - found.first_bin
            near = replace(near, gap=(seam - first, gone))
            whole = replace(whole, gap=(round(seam * size / whole.step_bp), gone))
        genes, more = self._models(compared.chrom, start, bins * size + max(gone, 0))
        of_rows = tuple(number % len(paired) for number in drawn)
        return Picture(tuple(names), of_rows, near, whole, genes, size, more)

    def _names(self, rows: Sequence[int], paired: np.ndarray, drawn: Sequence[int]) -> list[str]:
        """Return what curves are called: by the track of one strand, or by the pair that was added."""
        table = self._selection.rows
        units = np.concatenate([table.index[list(rows)], table.index_pair[list(rows)]])[list(drawn)]
        tracks = self._tracks.take(self._tracks.positions_of(units))
        names = [titled(*both) for both in zip(tracks.identifier, tracks.description, strict=True)]
        if not self._added:
            return names
        pairs = [titled(table.identifier[row], table.description[row]) for row in rows]
        return [
            f"{pairs[number]} (both strands added)" if paired[number] else name
            for number, name in zip(drawn, names, strict=True)
        ]

    def _models(self, chrom: str, start: int, length: int) -> tuple[list[tuple[str, str, list[tuple[int, int]]]], int]:
        if self._genes is None:
            return [], 0
        numbers = [
            int(number)
            for contig in self._contigs.get(chrom, ())
            for number in self._genes.overlapping(contig, start, start + length)
        ]
        found = []
        for number in numbers[:_GENES]:
            gene = self._genes[number]
            found.append((gene.name, gene.strand, [(int(one), int(two)) for one, two in gene.exons]))
        return found, max(len(numbers) - _GENES, 0)


def reduced(start: int, size: int, ref: np.ndarray, alt: np.ndarray) -> Curves:
    """Return curves of at most ``MOST_POINTS`` steps, each the mean of its bins; the last may hold fewer."""
    per = -(-ref.shape[1] // MOST_POINTS)
    ends = np.arange(0, ref.shape[1], per)
    held = np.diff(np.append(ends, ref.shape[1]))
    means = [np.add.reduceat(values, ends, axis=1) / held for values in (ref, alt)]
    return Curves(start, size * per, means[0], means[1])


def titled(identifier: str, label: str) -> str:
    """Return what a track is called over its curve: identifier and label, where that says more."""
    return identifier if not label or label.endswith(identifier) else f"{identifier} {label}"


def options_of(metadata: Mapping[str, Any]) -> ScoreOptions:
    """Return the options of a run from its description.

    Raises
    ------
    InputError
        If it has none, or such as this version does not know.
    """
    given = metadata.get("options")
    if not isinstance(given, Mapping):
        raise InputError(
            "the table comes without the description of its run (TABLE.meta.json), so its options are not known; "
            "put it beside the table, or leave bundle and fasta out"
        )
    known = {item.name for item in fields(ScoreOptions)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"the run has an option {unknown[0]!r} that this version does not know; score it anew")
    values = {name: _frozen(value) for name, value in given.items()}
    return ScoreOptions(**{**values, "prediction": PredictionOptions(**values.get("prediction", {}))})


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _shown(paired: np.ndarray, *, added: bool) -> list[int]:
    """Return which are drawn of the '+' tracks of rows, which come first, and their '-' tracks: one or both of each."""
    count = len(paired)
    both = [(row, row + count) if pair and not added else (row,) for row, pair in enumerate(paired)]
    return [number for numbers in both for number in numbers]


def _curves(values: np.ndarray, paired: np.ndarray, drawn: Sequence[int], *, added: bool) -> np.ndarray:
    """Return the coverage that is drawn, (curves, bins), from that of '+' tracks and, below, '-' tracks of rows."""
    if not added:
        return values[list(drawn)]
    plus, minus = values[: len(paired)], values[len(paired) :]
    return plus + np.where(paired[:, None], minus, np.float32(0))


def _check_same(metadata: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a model or genome that the table was not made with: its coverage would contradict the scores."""
    for name, called in (("genome", "genome"), ("bundle", "model")):
        if metadata.get(f"identity_{name}") != identity[name]:
            made = metadata.get(called, "another")
            raise InputError(f"the {called} is not the one that the table was made with ({made}); give that one")
