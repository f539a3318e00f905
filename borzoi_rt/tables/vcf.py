"""The input VCF with INFO fields: per ALT the status, and of each statistic the score that is largest in size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.vcf_copy import annotate_vcf, first_records, info_value
from ..scoring.spec import ScoreSpec
from ..types import FloatArray
from . import vcf_haplotypes
from .groups import GeneGroups, allele_scores, covered_fractions, gene_groups, region_vectors
from .kept import Rows, kept_extra

if TYPE_CHECKING:
    from . import Shards, TableContext


GENE_FORMAT = "ALLELE|GENE|GENE_NAME|COVERED_FRACTION|TRACK|SCORE"
_EXTRAS = {
    "score_sd": "standard deviation (n - 1) over the models of an ensemble",
    "sign_agreement": "share of the models of an ensemble with the sign of the score",
    "quantile": "quantile among null variants",
    "phred": "-10 log10 of the share of null variants at least as far out",
    "vs_null_max": "score over that of the farthest null variant",
    "phase_floor": "median size of the scores of neutral indels near by",
}


_NORMALIZED, _FLOOR_POS = "BRT_NORMALIZED", "BRT_PHASE_FLOOR_POS"
_FACTS = {
    "norm_pos": (_NORMALIZED, "Left-normalised spelling that was scored, POS:REF:ALT"),
    "phase_floor_pos": (_FLOOR_POS, "Positions of the neutral indels of the phase floor, joined by plus signs"),
}


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write ``.vcf.gz``, with a tabix index when the input is sorted."""
    if context.source is None:
        raise InputError("a VCF is a copy of the input, and there is none; choose another suffix")
    fields = _Fields(shards, context)
    annotate_vcf(context.source, path, _headers(context), fields.of)


def annotate_some(path: Path, shards: Shards, context: TableContext) -> None:
    """Write results of some records as if they were of the first: what that takes is what is asked for."""
    assert context.source is not None
    found = [table["record"].to_numpy() for table in shards()]
    numbers = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    source = path.with_name(f"{path.name}.source.vcf")
    with source.open("wb") as handle:
        handle.writelines(first_records(context.source, len(numbers)))

    def renumbered() -> Iterator[pa.Table]:
        for table in shards():
            records = pa.array(np.searchsorted(numbers, table["record"].to_numpy()))
            yield table.set_column(table.column_names.index("record"), "record", records)

    write(path, renumbered, replace(context, source=source))
    source.unlink()


def _headers(context: TableContext) -> list[str]:
    lines = [f"##borzoi_rt={context.metadata['borzoi_rt']}; model {_one_line(context.metadata['model'])}"]
    if "haplotype" in context.rows.facts:
        return lines + vcf_haplotypes.header_lines(context.rows, _key, context.metadata["score_ids"])
    lines.append('##INFO=<ID=BRT_STATUS,Number=A,Type=String,Description="Status of the score">')
    for fact, (key, text) in _FACTS.items():
        if fact in context.rows.facts:
            lines.append(f'##INFO=<ID={key},Number=A,Type=String,Description="{text}">')
    for spec in context.rows.specs:
        key, identity = _key(spec), context.metadata["score_ids"][spec.name][:16]
        if spec.of_genes:
            lines.append(
                f'##INFO=<ID={key},Number=.,Type=String,Description="{spec.name} of each gene, of the track where it '
                f'is largest in size (score id {identity}). Format: {_gene_format(context.rows)}">'
            )
            continue
        lines.append(
            f'##INFO=<ID={key},Number=A,Type=Float,Description="{spec.name} of the track where it is largest in size '
            f'(score id {identity})">'
        )
        lines.append(f'##INFO=<ID={key}_TRACK,Number=A,Type=String,Description="Track of {key}">')
        for extra in context.rows.extras:
            text = f"Of {key}: {_EXTRAS[extra]}"
            lines.append(f'##INFO=<ID={key}_{extra.upper()},Number=A,Type=Float,Description="{text}">')
    return lines


def _gene_format(rows: Rows) -> str:
    """Return what an entry of a gene holds."""
    return "|".join([GENE_FORMAT, *(extra.upper() for extra in rows.extras)])


def _key(spec: ScoreSpec) -> str:
    """Return the INFO key of a score: letters, digits and underscores."""
    return f"BRT_{re.sub(r'[^0-9A-Za-z]+', '_', spec.name)}"


def _one_line(text: str) -> str:
    """Return the name of a model as it may stand in a header: it comes from a bundle, which may hold anything."""
    return re.sub(r"[^ -~]+", " ", text)[:200]


class _Fields:
    """INFO fields by record, read from the shards in step with the copy."""

    def __init__(self, shards: Shards, context: TableContext) -> None:
        self._records = self._by_record(shards, context)
        self._of_haplotypes = "haplotype" in context.rows.facts
        self._next = next(self._records, None)

    def of(self, record: int) -> dict[str, str]:
        """Return the fields of the next record; no haplotype need begin at it."""
        if self._next is None or self._next[0] != record:
            if self._of_haplotypes and (self._next is None or self._next[0] > record):
                return {}
            found = "none" if self._next is None else f"record {self._next[0]}"
            raise RuntimeError(f"record {record} of the copy met {found} of the scores")
        fields = self._next[1]
        self._next = next(self._records, None)
        return fields

    def _by_record(self, shards: Shards, context: TableContext) -> Iterator[tuple[int, dict[str, str]]]:
        held: dict[str, list[str]] = {}
        current = -1
        for shard in shards():
            for record, values in self._alleles(shard, context.rows):
                if record != current and held:
                    yield current, {key: ",".join(parts) for key, parts in held.items()}
                    held = {}
                current = record
                for key, parts in values.items():
                    held.setdefault(key, []).extend(parts)
        if held:
            yield current, {key: ",".join(parts) for key, parts in held.items()}

    def _alleles(self, table: pa.Table, rows: Rows) -> Iterator[tuple[int, dict[str, list[str]]]]:
        if "haplotype" in rows.facts:
            yield from vcf_haplotypes.entries(table, rows, _key, _best)
            return
        specs = [spec for spec in rows.specs if not spec.of_genes]
        matrices = list(allele_scores(table, rows, specs))
        beside = [_beside(table, rows, None, spec) for spec in specs]
        genes = _gene_entries(table, rows)
        alleles = table.filter(table["first"])
        facts = _fact_columns(alleles, rows)
        for number, (record, status) in enumerate(
            zip(alleles["record"].to_pylist(), alleles["status"].to_pylist(), strict=True)
        ):
            values = {"BRT_STATUS": [status]}
            values |= {key: [column[number]] for key, column in facts.items()}
            for spec, matrix, extras in zip(specs, matrices, beside, strict=True):
                key, best = _key(spec), _largest(matrix[number])
                score, track = _named(matrix[number], best, rows)
                values[key], values[f"{key}_TRACK"] = [score], [track]
                for extra, found in extras.items():
                    values[f"{key}_{extra.upper()}"] = [_number(found[number], best)]
            yield record, values | genes.get(number, {})


def _fact_columns(alleles: pa.Table, rows: Rows) -> dict[str, list[str]]:
    """Return what else is said of each allele, by key; a dot where there is nothing."""
    found: dict[str, list[str]] = {}
    if "norm_pos" in rows.facts:
        spelled = alleles.select(["norm_pos", "norm_ref", "norm_alt"]).to_pylist()
        found[_NORMALIZED] = ["." if row["norm_pos"] is None else ":".join(map(str, row.values())) for row in spelled]
    if "phase_floor_pos" in rows.facts:
        found[_FLOOR_POS] = [(text or ".").replace(";", "+") for text in alleles["phase_floor_pos"].to_pylist()]
    return found


def _largest(vector: FloatArray) -> int | None:
    """Return the row where a score is largest in size; None where there is none."""
    size = np.abs(vector)
    known = np.isfinite(size)
    return int(np.where(known, size, -1.0).argmax()) if known.any() else None


def _named(vector: FloatArray, best: int | None, rows: Rows) -> tuple[str, str]:
    """Return a score and its track; dots where there is none."""
    return (".", ".") if best is None else (str(vector[best]), info_value(rows.tracks.identifier[best]))


def _number(vector: FloatArray, best: int | None) -> str:
    """Return what stands beside a score; a dot where there is nothing."""
    return "." if best is None or np.isnan(vector[best]) else str(vector[best])


def _best(scores: FloatArray, beside: Mapping[str, FloatArray], rows: Rows) -> list[str]:
    """Return track and score where a score is largest in size, and what stands beside it there."""
    best = _largest(scores)
    score, track = _named(scores, best, rows)
    return [track, score, *(_number(values, best) for values in beside.values())]


def _beside(table: pa.Table, rows: Rows, groups: GeneGroups | None, spec: ScoreSpec) -> dict[str, FloatArray]:
    """Return what stands beside a score, by its name, float32 (alleles or groups, rows)."""
    region = str(spec.region)
    return {extra: region_vectors(table, rows, groups, region, kept_extra(spec.stat, extra)) for extra in rows.extras}


def _gene_entries(table: pa.Table, rows: Rows) -> dict[int, dict[str, list[str]]]:
    """Return the entries of genes by number of the allele and key."""
    found: dict[int, dict[str, list[str]]] = {}
    specs = [spec for spec in rows.specs if spec.of_genes]
    if not specs:
        return found
    groups = gene_groups(table)
    names, alts = table["gene_name"].to_pylist(), table["alt"].to_pylist()
    for spec in specs:
        region = str(spec.region)
        scores, covered = (
            region_vectors(table, rows, groups, region, spec.stat),
            covered_fractions(table, groups, region),
        )
        beside = _beside(table, rows, groups, spec)
        for number, (allele, row, gene) in enumerate(zip(groups.allele, groups.row, groups.gene, strict=True)):
            if not gene or np.isnan(covered[number]):
                continue
            best = _largest(scores[number])
            score, track = _named(scores[number], best, rows)
            more = [_number(found[number], best) for found in beside.values()]
            cells = (alts[row], gene, names[row] or "", f"{covered[number]:.4g}", track, score, *more)
            entry = "|".join(info_value(cell.replace("|", "_")) for cell in cells)
            found.setdefault(int(allele), {}).setdefault(_key(spec), []).append(entry)
    return found
