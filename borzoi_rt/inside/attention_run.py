"""Attention of rows: which tokens ask, what is made of their rows, and the files and figure of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..explain.rows import Row, on_contigs
from ..explain.target import Target, TargetSpec
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..plain import check_types
from ..report.inside import plot_attention
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .activation_run import about_of
from .activations import Activations, Layer
from .attention import (
    MOST_SHARES,
    NOT_ATTRIBUTION,
    attention_rows,
    chosen_layers,
    profile,
    relevance,
    rollout,
    tokens_of_target,
)
from .map_run import add_positions, checked, compared, gene_of
from .tables import Matrix, Table, write_table

KIND = "attention"
HOW = ("rows", "rollout", "relevance")
QUERIES = "bases, variant, tss, target, every:N"


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What is made of attention.

    Parameters
    ----------
    how : str
        ``rows`` for each layer and head, ``rollout``, or ``relevance`` for a target.
    queries : str, optional
        Tokens that ask: those that hold the ``bases`` of the row, its ``variant``, the ``tss`` of its gene, the bins of
        the ``target``, or ``every:N`` tokens; None takes the variant, else the gene's TSS, else the bases, and for
        relevance the bins of the target.
    layers : sequence of int, optional
        Blocks of the transformer for ``rows`` and profiles; all when None.
    check : int
        Positions to shuffle for the check of :mod:`borzoi_rt.inside.check`; 0 leaves it out.
    seed : int
        Of the check.

    Raises
    ------
    InputError
        If they are not what they may be, or do not go together.
    """

    how: str = "rows"
    queries: str | None = None
    layers: tuple[int, ...] | None = None
    check: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.how not in HOW:
            raise InputError(f"how {self.how!r} is unknown; allowed: {', '.join(HOW)}")
        if self.layers is not None and self.how != "rows":
            raise InputError(f"layers are chosen of rows; {self.how} goes through all of them")
        name, colon, number = (self.queries or "bases").partition(":")
        known = name in ("bases", "variant", "tss", "target") and not colon
        if not known and not (name == "every" and number.isdecimal() and len(number) < 7 and int(number) > 0):
            raise InputError(f"queries {self.queries!r} is unknown; allowed: {QUERIES}")


@dataclass(frozen=True, eq=False)
class Asked:
    """What was found for one row: ``columns`` (tokens, columns) are means over queries."""

    row: Row
    queries: IndexArray
    columns: DoubleArray
    by_query: FloatArray
    arcs: DoubleArray
    facts: dict[str, Any]


def asking(activations: Activations, row: Row, text: str, target: Target | None) -> IndexArray:
    """Return the tokens that ask in one row, ascending; ``text`` as of :class:`AttentionOptions`.

    Raises
    ------
    InputError
        If the row has no variant, gene or target, or that lies outside the window.
    """
    grid, token_bp = activations.network.bundle.geometry, activations.network.parts.tiling.token_bp
    tokens = activations.network.plan.tokens
    if text == "target":
        if target is None:
            raise InputError("queries target needs a target")
        return tokens_of_target(activations, target)
    if text.startswith("every:"):
        step = int(text.partition(":")[2])
        return np.arange(min(step, tokens) // 2, tokens, step, dtype=np.int64)
    if text == "bases":
        start, end = row.columns
        return np.arange(start // token_bp, -(-end // token_bp), dtype=np.int64)
    if text == "variant":
        if row.variant is None:
            raise InputError("queries variant needs a row of a variant")
        position = row.variant.pos - 1 - row.where.window_start
    else:
        if row.where.gene is None:
            raise InputError("queries tss needs a row with a gene")
        lifted = row.where.framed(grid).lift(np.array([row.where.gene.tss]))
        position = int(lifted[0]) + grid.crop_bp
    if not 0 <= position < grid.sequence_length_bp:
        raise InputError(f"{text} of row {row.name} lies outside its window")
    return np.array([position // token_bp], dtype=np.int64)


def default_queries(row: Row, how: str) -> str:
    """Return which tokens ask where nobody says."""
    if how == "relevance":
        return "target"
    if row.variant is not None:
        return "variant"
    return "tss" if row.where.gene is not None else "bases"


def attend_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    options: AttentionOptions,
    spec: TargetSpec | None = None,
    plot: Path | None = None,
    profiles: Path | None = None,
    genes: Sequence[tuple[str, str, list[tuple[int, int]]]] = (),
    truth: Sequence[Interval] = (),
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Write attention of rows: a row of the table for each token of each window.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows`.
    out : Path
        See :mod:`borzoi_rt.inside.tables`. Columns ``name, chrom, start, end, allele``, and means over queries: of
        ``rows`` one for each layer and head (``l1h1``), of others ``rollout`` or ``relevance``. In ``.h5`` and ``.npz``
        every query by itself, too: ``by_query`` (queries, columns, tokens), with ``query_row`` and ``query_token``.
    activations, fasta, options
        Model, genome, and what to do.
    spec : TargetSpec, optional
        Target of ``relevance``, of queries ``target`` and of the check.
    plot : Path, optional
        Figure of the first row.
    profiles : Path, optional
        Another table: a row for each row, layer, head and class of distance.
    genes : sequence of (str, str, list of (int, int))
        Genes to draw.
    truth : sequence of Interval
        Known features, which the mean over columns and queries is compared with.
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    list of dict
        The facts of each row.
    """
    how: dict[str, Any] = {"spec": spec, "truth": truth, "progress": progress}
    found, table = attention_table(rows, activations=activations, fasta=fasta, options=options, **how)
    write_table(out, table)
    if profiles is not None:
        write_table(profiles, _profiles(activations, found, fasta, options, dict(table.about)))
    if plot is not None:
        panel = _panel(activations, found[0], _layer(activations), options, genes)
        title = f"{options.how} of attention{'' if spec is None else f', {spec.name}'}: NOT ATTRIBUTION"
        plot_attention(plot, panel, title=title, note=NOT_ATTRIBUTION)
    return [one.facts for one in found]


def attention_table(
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    options: AttentionOptions,
    spec: TargetSpec | None = None,
    truth: Sequence[Interval] = (),
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Asked], Table]:
    """Return attention of each row, and all of it as the table that :func:`attend_rows` writes.

    Parameters and errors are those of :func:`attend_rows`.
    """
    if spec is None and (options.how == "relevance" or options.queries == "target" or options.check):
        raise InputError("relevance, queries target and the check need a target")
    network, found = activations.network, list[Asked]()
    truth = on_contigs(truth, fasta, "known features")
    layer, size = _layer(activations), 0
    for number, row in enumerate(rows, start=1):
        found.append(_asked(activations, row, fasta, options, spec, truth))
        size += found[-1].by_query.size
        if size > MOST_SHARES:
            raise InputError(f"{len(rows)} rows are more than 1 GiB of shares; choose fewer rows, queries or layers")
        if progress is not None:
            progress(number)
    columns: dict[str, list[Any]] = {name: [] for name in ("name", "chrom", "start", "end", "allele")}
    for one in found:
        add_positions(columns, one.row, layer)
    about = {
        **about_of(network, fasta),
        "how": options.how,
        "target": None if spec is None else spec.to_json(),
        "layers": list(_layers(activations, options)),
        "resolution_bp": layer.resolution_bp,
        "note": NOT_ATTRIBUTION,
        "rows": [one.facts for one in found],
    }
    arrays = {
        "by_query": np.concatenate([one.by_query for one in found]),
        "query_row": np.repeat(np.arange(len(found)), [len(one.queries) for one in found]),
        "query_token": np.concatenate([one.queries for one in found]),
    }
    matrix = Matrix("mean", _names(activations, options), np.concatenate([one.columns for one in found]))
    return found, Table(KIND, about, columns, matrix, arrays)


def _asked(
    activations: Activations,
    row: Row,
    fasta: Fasta,
    options: AttentionOptions,
    spec: TargetSpec | None,
    truth: Sequence[Interval],
) -> Asked:
    bundle = activations.network.bundle
    window = row.window(fasta, bundle.geometry)
    target = None if spec is None else spec.bind(bundle, row.where)
    text = options.queries or default_queries(row, options.how)
    queries = asking(activations, row, text, target)
    by_query = _by_query(activations, window, queries, options, target)
    mean = by_query.mean(axis=0, dtype=np.float64)  # (columns, tokens)
    arcs = by_query.mean(axis=1, dtype=np.float64)  # (queries, tokens)
    facts: dict[str, Any] = {"name": row.name, "queries": text, "query_tokens": queries.tolist()}
    if options.check:
        assert target is not None
        facts["check"] = checked(
            activations,
            window,
            target,
            _layer(activations),
            mean.mean(axis=0),
            near=queries,
            signed=False,
            count=options.check,
            seed=options.seed,
        )
    if truth:
        layer = _layer(activations)
        facts["truth"] = compared(row, layer, mean.mean(axis=0), truth, near=queries, seed=options.seed)
    return Asked(row, queries, mean.T, by_query, arcs, facts)


def _by_query(
    activations: Activations, window: ByteArray, queries: IndexArray, options: AttentionOptions, target: Target | None
) -> FloatArray:
    """Return float32 (queries, columns, tokens)."""
    if options.how == "rows":
        shares = attention_rows(activations, window, queries, layers=options.layers).shares
        return np.ascontiguousarray(shares.reshape(-1, *shares.shape[2:]).transpose(1, 0, 2))
    if options.how == "rollout":
        return rollout(activations, window, queries)[:, None].astype(np.float32)
    assert target is not None
    return relevance(activations, window, target, queries)[:, None].astype(np.float32)


def _layers(activations: Activations, options: AttentionOptions) -> tuple[int, ...]:
    return chosen_layers(activations, options.layers)


def _names(activations: Activations, options: AttentionOptions) -> list[str]:
    if options.how != "rows":
        return [options.how]
    heads = activations.network.heads
    return [f"l{layer}h{head + 1}" for layer in _layers(activations, options) for head in range(heads)]


def _layer(activations: Activations) -> Layer:
    return activations.layer("layer_0")


def _profiles(
    activations: Activations, found: Sequence[Asked], fasta: Fasta, options: AttentionOptions, about: dict[str, Any]
) -> Table:
    """Return shares by distance as a table."""
    names = ("name", "layer", "head", "low_bp", "high_bp", "keys", "share", "entropy", "mean_distance_bp")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    step, tokens = activations.network.parts.tiling.token_bp, activations.network.plan.tokens
    for one in found:
        window = one.row.window(fasta, activations.network.bundle.geometry)
        held = profile(activations, window, one.queries, layers=options.layers)
        for number, layer in enumerate(_layers(activations, options)):
            for head in range(held.share.shape[1]):
                count = len(held.low)
                columns["name"] += [one.row.name] * count
                columns["layer"] += [layer] * count
                columns["head"] += [head + 1] * count
                columns["low_bp"] += (held.low * step).tolist()
                columns["high_bp"] += (held.high * step).tolist()
                columns["keys"] += held.keys.tolist()
                columns["share"] += held.share[number, head].tolist()
                columns["entropy"] += [float(held.entropy[number, head])] * count
                columns["mean_distance_bp"] += [float(held.distance[number, head] * step)] * count
    return Table("profiles", {**about, "tokens": tokens}, columns)


def _panel(
    activations: Activations,
    one: Asked,
    layer: Layer,
    options: AttentionOptions,
    genes: Sequence[tuple[str, str, list[tuple[int, int]]]],
) -> dict[str, Any]:
    names = _names(activations, options)
    strips, labels = one.columns.T, names
    if options.how == "rows" and len(_layers(activations, options)) > 1:  # a strip for each layer: mean over its heads
        strips = strips.reshape(-1, activations.network.heads, strips.shape[1]).mean(axis=1)
        labels = [f"layer {number}" for number in _layers(activations, options)]
    drawn = list(genes) or ([] if one.row.where.gene is None else [gene_of(one.row)])
    end = one.row.where.window_start + layer.positions * layer.resolution_bp
    return {
        "name": one.row.name,
        "chrom": one.row.bases.chrom,
        "start": one.row.where.window_start,
        "step_bp": layer.resolution_bp,
        "queries": one.queries.tolist(),
        "arcs": one.arcs,
        "strips": strips,
        "labels": labels,
        "what": {"rows": "share", "rollout": "share", "relevance": "relevance"}[options.how],
        "genes": [gene for gene in drawn if gene[2][0][0] < end and gene[2][-1][1] > one.row.where.window_start],
    }
