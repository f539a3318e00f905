"""How well a network predicts chromosomes it has not seen: correlations per strand and per site, in ln(1 + count)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from borzoi_rt.errors import InputError
from borzoi_rt.promoter.sites import Site

from ..models.promoter import MotifNetwork
from .data import SMOOTHING_BP, PromoterData, load_data, read_tss_table
from .inputs import STRANDS, inputs_of
from .runs import load_run

_BATCH = 16
_PARTS = (*STRANDS, "both")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Correlations of held-out sites.

    Attributes
    ----------
    assay : str
        Name of the counts.
    sites : tuple of Site
    pearson : float64 ndarray of shape (sites, 3)
        Pearson's r over the bins of a site: sense, antisense, both strands together; NaN where either does not vary.
    observed, predicted : float64 ndarray of shape (sites, 2)
        Sums over the bins, sense and antisense.
    bins : float64 ndarray of shape (3,)
        Pearson's r over the bins of all sites.
    """

    assay: str
    sites: tuple[Site, ...]
    pearson: NDArray[np.float64]
    observed: NDArray[np.float64]
    predicted: NDArray[np.float64]
    bins: NDArray[np.float64]

    def rows(self) -> list[tuple[str, int, int, float, float, float, float]]:
        """Return strand, sites, sites with an r, its mean and median, r over all bins, r of sums over sites."""
        found = []
        observed, predicted = (np.column_stack([sums, sums.sum(axis=1)]) for sums in (self.observed, self.predicted))
        for part, strand in enumerate(_PARTS):
            r = self.pearson[:, part]
            r = r[np.isfinite(r)]
            mean, median = (float(np.mean(r)), float(np.median(r))) if r.size else (float("nan"),) * 2
            sums = pearson(predicted[:, part], observed[:, part])
            found.append((strand, len(self.sites), r.size, mean, median, float(self.bins[part]), sums))
        return found

    def summary(self) -> str:
        """Return one line: mean correlation of sites per strand."""
        means = ", ".join(f"{row[0]} {row[3]:.4f}" for row in self.rows())
        return f"{len(self.sites)} sites, {self.assay}: mean Pearson of sites {means}"


def evaluate_run(
    run: str | os.PathLike[str],
    *,
    fasta: str | os.PathLike[str],
    plus: str | os.PathLike[str],
    minus: str | os.PathLike[str],
    tss: str | os.PathLike[str],
    chroms: Sequence[str],
    assay: str = "TSS",
    top: int | None = None,
    weights: str = "best",
    seen: bool = False,
) -> Evaluation:
    """Evaluate the network of a run on some chromosomes.

    Parameters
    ----------
    run : path
        Directory made by training.
    fasta, plus, minus, tss : path
        As for training; targets are smoothed as in training.
    chroms : sequence of str
        Chromosomes whose sites are taken.
    assay : str
        Name of the counts.
    top : int, optional
        Sites of a table, by score; all when None.
    weights : str
        ``best`` or ``last``.
    seen : bool
        Allow chromosomes that the run was trained on.

    Raises
    ------
    InputError
        If no site lies on the chromosomes, or the run was trained on one of them.
    """
    model, about = load_run(run, weights)
    trained = [chrom for chrom in chroms if chrom in about.get("trained_chroms", ())]
    if trained and not seen:
        raise InputError(f"{', '.join(trained)}: the run was trained on it; name other chromosomes, or allow it (seen)")
    every = read_tss_table(tss, top=top)
    sites = [site for site in every if site.chrom in chroms]
    if not sites:
        held = ", ".join(sorted({site.chrom for site in every}))
        raise InputError(f"none of {len(every)} sites lies on {', '.join(chroms)}; {Path(tss).name} has {held}")
    smoothing = SMOOTHING_BP if model.config.stage == 3 else 1
    return evaluate(
        model, load_data(model.config, sites, fasta=fasta, plus=plus, minus=minus, smoothing_bp=smoothing), assay=assay
    )


def evaluate(model: MotifNetwork, data: PromoterData, *, assay: str = "TSS") -> Evaluation:
    """Correlate the predictions of a network in inference mode with data."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(data), _BATCH):
            parts.append(model(inputs_of(torch.from_numpy(data.codes[start : start + _BATCH]))).numpy())
    predicted, observed = np.concatenate(parts).astype(np.float64), data.target.astype(np.float64)
    strands = [slice(0, 1), slice(1, 2), slice(0, 2)]
    return Evaluation(
        assay,
        data.sites,
        np.array([[pearson(p[part], t[part]) for part in strands] for p, t in zip(predicted, observed, strict=True)]),
        observed.sum(axis=2),
        predicted.sum(axis=2),
        np.array([pearson(predicted[:, part], observed[:, part]) for part in strands]),
    )


def pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Pearson's r of all values; NaN where either does not vary."""
    a, b = one.ravel() - one.mean(), other.ravel() - other.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else float("nan")


def write_strands(path: str | os.PathLike[str], result: Evaluation) -> None:
    """Write a row per strand."""
    head = ("assay", "strand", "sites", "correlated", "mean_pearson", "median_pearson", "bin_pearson", "sum_pearson")
    _write(path, head, [(result.assay, *row) for row in result.rows()])


def write_sites(path: str | os.PathLike[str], result: Evaluation) -> None:
    """Write a row per site: 1-based position of the TSS, correlations, sums of ln(1 + count)."""
    head = ["assay", "site", "chrom", "pos", "strand", *(f"pearson_{part}" for part in _PARTS)]
    head += [f"{name}_{strand}" for name in ("observed", "predicted") for strand in STRANDS]
    numbers = np.column_stack([result.pearson, result.observed, result.predicted])
    rows = [
        (result.assay, site.label, site.chrom, site.pos0 + 1, site.strand, *values)
        for site, values in zip(result.sites, numbers.tolist(), strict=True)
    ]
    _write(path, head, rows)


def _write(path: str | os.PathLike[str], head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table whole or not at all; what is not a number is empty."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.partial")
    lines = ["\t".join(head), *("\t".join(map(_text, row)) for row in rows)]
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.replace(path)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return str(value)
