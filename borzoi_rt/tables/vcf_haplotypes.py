"""INFO fields of haplotypes: at the first record of each group, an entry for every comparison of every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from ..genome.vcf_copy import info_value
from ..scoring.spec import ScoreSpec
from ..types import FloatArray
from .groups import GeneGroups, allele_scores, covered_fractions, gene_groups, region_vectors
from .kept import Rows, kept_extra

Best = Callable[[FloatArray, Mapping[str, FloatArray], Rows], list[str]]

STATUS_KEY = "BRT_HAP_STATUS"
STATUS_FORMAT = "SAMPLE|HAPLOTYPE|AGAINST|VARIANTS|STATUS"
HAPLOTYPE_FORMAT = "SAMPLE|HAPLOTYPE|AGAINST|TRACK|SCORE"
GENE_FORMAT = "SAMPLE|HAPLOTYPE|AGAINST|GENE|GENE_NAME|COVERED_FRACTION|TRACK|SCORE"
_NAMES = ("sample", "haplotype", "against")


def header_lines(rows: Rows, key_of: Callable[[ScoreSpec], str], identities: dict[str, str]) -> list[str]:
    """Return the ``##INFO`` lines."""
    lines = [
        f'##INFO=<ID={STATUS_KEY},Number=.,Type=String,Description="Haplotypes whose first record this is. '
        f'Format: {STATUS_FORMAT}">'
    ]
    for spec in rows.specs:
        form, whose = (GENE_FORMAT, " of each gene") if spec.of_genes else (HAPLOTYPE_FORMAT, "")
        form = "|".join((form, *(extra.upper() for extra in rows.extras)))
        lines.append(
            f'##INFO=<ID={key_of(spec)},Number=.,Type=String,Description="{spec.name} of haplotypes{whose}, of the '
            f'track where it is largest in size (score id {identities[spec.name][:16]}). Format: {form}">'
        )
    return lines


def entries(
    table: pa.Table, rows: Rows, key_of: Callable[[ScoreSpec], str], best: Best
) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """Yield, for every comparison of kept results, the number of its record and the entries by key."""
    windows = [spec for spec in rows.specs if not spec.of_genes]
    matrices = list(allele_scores(table, rows, windows))
    others = [_beside(table, rows, None, spec) for spec in windows]
    genes = _gene_entries(table, rows, key_of, best)
    alleles = table.filter(table["first"])
    for number, row in enumerate(alleles.select(["record", "status", "variants", *_NAMES]).to_pylist()):
        named = [row[name] for name in _NAMES]
        carried = (row["variants"] or ".").replace(" ", ":").replace(";", "+")
        found = {STATUS_KEY: [_entry(*named, carried, row["status"])]}
        for spec, matrix, extras in zip(windows, matrices, others, strict=True):
            beside = {extra: values[number] for extra, values in extras.items()}
            found[key_of(spec)] = [_entry(*named, *best(matrix[number], beside, rows))]
        yield row["record"], found | genes.get(number, {})


def _gene_entries(
    table: pa.Table, rows: Rows, key_of: Callable[[ScoreSpec], str], best: Best
) -> dict[int, dict[str, list[str]]]:
    found: dict[int, dict[str, list[str]]] = {}
    if not rows.of_genes:
        return found
    groups = gene_groups(table)
    columns = {name: table[name].to_pylist() for name in (*_NAMES, "gene_name")}
    for spec in (spec for spec in rows.specs if spec.of_genes):
        scores = region_vectors(table, rows, groups, str(spec.region), spec.stat)
        covered = covered_fractions(table, groups, str(spec.region))
        extras = _beside(table, rows, groups, spec)
        for number, (allele, row, gene) in enumerate(zip(groups.allele, groups.row, groups.gene, strict=True)):
            if not gene or np.isnan(covered[number]):
                continue
            named = [columns[name][row] for name in _NAMES]
            beside = {extra: values[number] for extra, values in extras.items()}
            shown = (gene, columns["gene_name"][row] or "", f"{covered[number]:.4g}")
            text = _entry(*named, *shown, *best(scores[number], beside, rows))
            found.setdefault(int(allele), {}).setdefault(key_of(spec), []).append(text)
    return found


def _beside(table: pa.Table, rows: Rows, groups: GeneGroups | None, spec: ScoreSpec) -> dict[str, FloatArray]:
    return {
        extra: region_vectors(table, rows, groups, str(spec.region), kept_extra(spec.stat, extra))
        for extra in rows.extras
    }


def _entry(*cells: str) -> str:
    return "|".join(info_value(cell.replace("|", "_")) for cell in cells)
