"""TCAV of rows of bases: examples are made and read, run_tcav, written and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..explain.rows import Row
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..inside.activation_run import about_of
from ..inside.activations import TOKENS, Activations
from ..inside.slopes import check_layer, slope_of_layer
from ..inside.tables import Table, write_table
from ..plain import check_types
from ..report.concepts import plot_tcav
from ..types import ByteArray, DoubleArray
from .examples import Backgrounds, Concept, check_names
from .implants import Implant
from .tcav import LEAST_EXAMPLES, LEAST_REPEATS, Pooled, Tcav, tcav
from .vectors import VECTORS

KIND = "tcav"
SHOWN = (
    *("score", "score_sd", "random_mean", "random_sd", "p_value", "p_bonferroni"),
    *("accuracy", "random_accuracy", "p_accuracy", "mean_slope", "says"),
)


@dataclass(frozen=True, kw_only=True)
class TcavOptions:
    """How concepts are tested.

    Parameters
    ----------
    layer : str
        ``tokens``, ``layer_N`` or ``embedding``.
    repeats : int
        Vectors of each concept, and of chance.
    examples : int
        Examples of each, with and without the concept; no two repeats share one.
    vector : str
        One of :data:`borzoi_rt.concepts.vectors.VECTORS`.
    seed : int
        Of chance.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    layer: str = TOKENS
    repeats: int = 20
    examples: int = 10
    vector: str = "logistic"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_layer(self.layer)
        for name, least in (("repeats", LEAST_REPEATS), ("examples", LEAST_EXAMPLES)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; {least} or more are needed")
        if self.vector not in VECTORS:
            raise InputError(f"vector {self.vector!r} is unknown; allowed: {', '.join(VECTORS)}")


def pooled(
    activations: Activations,
    concept: Concept,
    backgrounds: Backgrounds,
    options: TcavOptions,
    progress: Callable[[], None] | None = None,
) -> Pooled:
    """Return the layer of every example of a concept, the mean over the positions that hold the bases put in."""
    layer = activations.layer(options.layer)
    found = np.empty((3, options.repeats * options.examples, layer.units))
    for number in range(found.shape[1]):
        rng = np.random.default_rng([options.seed, number])  # concepts are put into the same shuffles
        example = concept.example(number, backgrounds, rng)
        for kind, window in enumerate(example[:3]):
            found[kind, number] = _mean(activations, window, options.layer, example.bases)
        if progress is not None:
            progress()
    return Pooled(*found.reshape(3, options.repeats, options.examples, layer.units))


def _mean(activations: Activations, window: ByteArray, layer: str, bases: tuple[int, int]) -> DoubleArray:
    found: DoubleArray = activations.of(window, layer, bases=bases).values.mean(axis=1, dtype=np.float64)
    return found


def slopes_of(
    activations: Activations, rows: Sequence[Row], fasta: Fasta, spec: TargetSpec, layer: str
) -> tuple[DoubleArray, DoubleArray]:
    """Return the target of each row, (rows,), and its derivative by the layer, summed over the row's positions."""
    bundle, values, slopes = activations.network.bundle, [], []
    for row in rows:
        window = row.window(fasta, bundle.geometry)
        found = slope_of_layer(activations, window, spec.bind(bundle, row.where), layer)
        low, high = found.layer.overlapping(row.columns)
        values.append(found.value)
        slopes.append(found.slopes[:, low:high].sum(axis=1))
    return np.array(values), np.stack(slopes)


def run_tcav(
    rows: Sequence[Row],
    concepts: Sequence[Concept],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: TcavOptions,
    progress: Callable[[], None] | None = None,
) -> list[Tcav]:
    """Test concepts on rows, which are inputs, and whose shuffled bases are what concepts are put into.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows`.
    concepts : sequence of Concept
        See :mod:`borzoi_rt.concepts.examples`.
    activations, fasta, spec, options
        Model, genome, target, method.
    progress : callable, optional
        Called after each example.

    Returns
    -------
    list of Tcav
        One for each concept.
    """
    check_names([concept.name for concept in concepts])
    if not rows:
        raise InputError("there is no row to test concepts on")
    slopes = slopes_of(activations, rows, fasta, spec, options.layer)[1]
    backgrounds = Backgrounds(rows, fasta, activations.network.bundle.geometry)
    return [
        tcav(
            pooled(activations, concept, backgrounds, options, progress),
            slopes,
            kind=options.vector,
            tests=len(concepts),
        )
        for concept in concepts
    ]


def tcav_table(
    found: Sequence[Tcav],
    concepts: Sequence[Concept],
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: TcavOptions,
    implants: Sequence[Implant | None] = (),
) -> Table:
    """Return a table with a row for each concept.

    Its arrays are ``scores``, ``random_scores``, (concepts, repeats), and ``vectors`` (concepts, repeats, units); the
    metadata hold scores and accuracies of every repeat. ``implants``, of every concept, are what
    :func:`borzoi_rt.concepts.implants.implanted` says of it.
    """
    told = [one.to_json() for one in found]
    layer = activations.layer(options.layer)
    about = {
        **about_of(activations.network, fasta),
        "target": spec.name,
        "target_options": spec.to_json(),
        "layer": layer.name,
        "resolution_bp": layer.resolution_bp,
        "options": asdict(options),
        "inputs": [row.name for row in rows],
        "repeats": [
            {
                "concept": concept.name,
                "scores": one.found.scores.tolist(),
                "random_scores": one.chance.scores.tolist(),
                "accuracies": one.found.accuracies.tolist(),
                "random_accuracies": one.chance.accuracies.tolist(),
            }
            for concept, one in zip(concepts, found, strict=True)
        ],
    }
    columns: dict[str, Any] = {
        "concept": [concept.name for concept in concepts],
        "kind": [concept.kind for concept in concepts],
        **{name: [one[name] for one in told] for name in SHOWN},
    }
    if implants:
        columns["implant"] = [np.nan if one is None else one.mean for one in implants]
        columns["implant_se"] = [np.nan if one is None else one.error for one in implants]
    arrays = {
        "scores": np.stack([one.found.scores for one in found]),
        "random_scores": np.stack([one.chance.scores for one in found]),
        "vectors": np.stack([one.found.vectors for one in found]),
    }
    return Table(KIND, about, columns, arrays=arrays)


def write_tcav(
    out: Path,
    found: Sequence[Tcav],
    concepts: Sequence[Concept],
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: TcavOptions,
    implants: Sequence[Implant | None] = (),
    plot: Path | None = None,
) -> None:
    """Write what :func:`tcav_table` returns, and a figure; ``.h5`` and ``.npz`` hold the arrays, too."""
    what: dict[str, Any] = {"activations": activations, "fasta": fasta, "spec": spec, "options": options}
    write_table(out, tcav_table(found, concepts, rows, implants=implants, **what))
    if plot is not None:
        panels = [
            {"name": concept.name, "scores": one.found.scores, "chance": one.chance.scores, **one.to_json()}
            for concept, one in zip(concepts, found, strict=True)
        ]
        title = f"TCAV of {spec.name} by {activations.layer(options.layer).name}, {len(rows)} inputs"
        plot_tcav(plot, panels, title=title)
