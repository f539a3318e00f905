"""The end of every export, whatever the family: finite weights, graphs, gate, golden example, manifest.

The gate runs each *check* of a network on onnxruntime and judges it by :mod:`borzoi_rt.bundle.parity` against a float64
forward, with the noise of PyTorch in the bundle's precision. PyTorch and onnxruntime run on one thread here, and so are
the weights of the graphs made: neither what passes nor a bundle's bytes depend on the number of cores.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.bundle.manifest import BundleInfo, GraphInfo, Tiling
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.parity import BOUND, EXPORT_FACTOR, Comparison, Noise, ParityRule
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import ParityError
from borzoi_rt.tracks import TrackTable

from ..weights import check_finite
from .exact import one_thread

log = logging.getLogger(__name__)

NO_GRAPHS = {"predict": GraphInfo(file="predict.onnx", inputs=(), outputs=())}  # until they are written
THREADS = 1
# Share of the noise that rounding before the transformer explains, from which on a network is said to magnify rounding.
MAGNIFIED = 0.5

Written = tuple[Mapping[str, GraphInfo], Tiling | None]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the gate's table: what onnxruntime must give, and how to make it give that.

    Parameters
    ----------
    name : str
        What is checked, for people.
    run : callable
        Returns coverage of a draft bundle by onnxruntime on one thread.
    want : float64 ndarray
        The same coverage by a float64 forward.
    noise : Noise
        Of PyTorch.
    errors : callable
        Differences in logits of two such arrays.
    """

    name: str
    run: Callable[[Bundle], np.ndarray]
    want: np.ndarray
    noise: Noise
    errors: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What PyTorch says about a network: checks, golden example, noise, and what rounding inside it grows to.

    ``inherited`` returns the rms, in logits, of what rounding before the transformer alone makes of the output.
    """

    checks: Sequence[Check]
    golden: Mapping[str, np.ndarray]
    noise: Noise
    golden_noise: Noise
    inherited: Callable[[], float]


def finish_bundle(
    model: torch.nn.Module,
    tracks: TrackTable,
    out: str | os.PathLike[str],
    *,
    info: BundleInfo,
    forms: Sequence[str],
    write: Callable[[Path, str], Written],
    reference: Callable[[], Reference],
    overwrite: bool,
    further: Callable[[Bundle], Mapping[str, Any]] | None = None,
) -> Bundle:
    """Write a bundle in the first of several forms that passes the gate.

    Parameters
    ----------
    model : torch.nn.Module
        The trained network; put into inference mode.
    tracks : TrackTable
        One row per output.
    out : path
        Directory to make.
    info : BundleInfo
        Manifest without graphs and parity.
    forms : sequence of str
        Names of the forms of convolution to try, the preferred first; the empty name where there is no choice.
    write : callable
        Writes the graphs of a form into a directory.
    reference : callable
        Runs PyTorch.
    overwrite : bool
        Replace an existing bundle.
    further : callable, optional
        Judges a draft by more than coverage; what it returns goes to the parity section of the manifest.

    Raises
    ------
    FormatError
        If a weight is not finite.
    ParityError
        If no form passes; no bundle is left.
    """
    model.eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            check_finite(tensor.numpy(), f"parameter {key!r}")
    provenance = {"torch": torch.__version__, **info.provenance}
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        told = reference()
        for form in forms:
            with one_thread():  # the same bytes on any machine: products of weights are made while they are written
                graphs, tiling = write(directory, form)
            written = replace(info, graphs=graphs, tiling=tiling, provenance=provenance)
            draft = Bundle(path=directory, info=written, files={}, sha256="0" * 64)
            draft.__dict__["tracks"] = tracks  # not on disk yet
            try:
                parity = gate(told, draft) | dict(further(draft) if further is not None else {})
            except ParityError as error:
                if form == forms[-1]:
                    raise
                log.warning("%s convolutions: %s; %s ones are tried", form, error, forms[-1])
                continue
            form_said = {"convolution": form} if form else {}
            return finish(replace(written, parity={**parity, **form_said}), tracks, told.golden)
    raise AssertionError("the last form returns or raises")


def gate(reference: Reference, draft: Bundle) -> dict[str, Any]:
    """Run every check on onnxruntime.

    Returns
    -------
    dict
        The ``parity`` section of the manifest: ``noise``, ``golden_noise``, ``magnifies_rounding`` and ``checks``.

    Raises
    ------
    ParityError
        If a check fails. All lines of the table are logged.
    """
    found = {check.name: measured(check, draft) for check in reference.checks}
    magnifies = reference.noise.peak * EXPORT_FACTOR > BOUND[draft.info.precision] * reference.noise.largest
    if excused(reference, list(found.values())):
        magnifies = True
        found = {name: replace(result, allowed_rms=2.0 * result.allowed_rms) for name, result in found.items()}
    checks = {name: asdict(Row.of(result)) for name, result in found.items()}
    for check in reference.checks:
        if not found[check.name].passed:
            for line in table(checks):
                log.warning("%s", line)
            raise ParityError(
                f"{check.name}: onnxruntime and a float64 forward disagree, {found[check.name]}, where PyTorch's noise "
                f"is {check.noise.rms:.2e} and {check.noise.peak:.2e}; no bundle was written"
            )
    return {
        "noise": asdict(reference.noise),
        "golden_noise": asdict(reference.golden_noise),
        "magnifies_rounding": magnifies,
        "checks": checks,
    }


def measured(check: Check, draft: Bundle) -> Comparison:
    """Return how far onnxruntime is from float64 in one check, and what is allowed."""
    rule = ParityRule(factor=EXPORT_FACTOR, noise=check.noise, precision=draft.info.precision)
    with np.errstate(invalid="ignore", over="ignore"):
        return rule.judge(check.errors(check.run(draft), check.want), check.want)


def excused(reference: Reference, results: Sequence[Comparison]) -> bool:
    """Tell whether a network that misses the bound of the rms, by twice at most, does so because it magnifies rounding.

    That is measured: at least half of PyTorch's own noise comes from rounding in the tower alone. A form of the tower
    that rounds a little more then errs in proportion.
    """
    if all(result.passed for result in results):
        return False
    if not all(replace(result, allowed_rms=2.0 * result.allowed_rms).passed for result in results):
        return False
    return reference.inherited() >= MAGNIFIED * reference.noise.rms


@dataclass(frozen=True)
class Row:
    """One line of the table as the manifest keeps it, in logits."""

    rms: float
    allowed_rms: float
    peak: float
    allowed_peak: float

    @classmethod
    def of(cls, result: Comparison) -> Row:
        """Return the line of a result."""
        return cls(result.rms, result.allowed_rms, result.peak, result.allowed_peak)


def table(checks: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the gate's table as lines: one output a line, what was measured and what is allowed, in logits."""
    width = max(len(name) for name in ("output", *checks))
    lines = [f"{'output':<{width}}  result  rms       allowed   largest   allowed"]
    for name, values in checks.items():
        row = Row(**values)
        passed = row.rms <= row.allowed_rms and row.peak <= row.allowed_peak
        figures = "  ".join(f"{value:.2e}" for value in (row.rms, row.allowed_rms, row.peak, row.allowed_peak))
        lines.append(f"{name:<{width}}  {'pass' if passed else 'FAIL':<6}  {figures}")
    return lines
