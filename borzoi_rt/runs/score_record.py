"""What is recorded of a run over alleles: everything a score depends on, and what must be equal to go on."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.device import Device
from ..bundle.opening import Bundle
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..scoring.calibration import chosen_genes
from ..scoring.ensemble import Models, ensemble_facts, model_identity
from ..scoring.haplotypes import HaplotypeOptions
from ..scoring.options import ScoreOptions
from ..scoring.selection import UNITS, Selection
from .score_plan import fitted_calibration

SCHEMA_VERSION = 2

log = logging.getLogger(__name__)


def inputs_of(bundle: Models, options: ScoreOptions) -> list[str | os.PathLike[str]]:
    """Return what is read besides the variants and the genome: the bundle and, where there is one, a list of tracks."""
    listed = [options.tracks.removeprefix("@")] if options.tracks is not None and options.tracks[:1] == "@" else []
    bundles = [bundle] if isinstance(bundle, Bundle | str | os.PathLike) else bundle
    return [*(item.path if isinstance(item, Bundle) else item for item in bundles), *listed]


def run_identity(context: Mapping[str, Any], selection: Selection, source: str) -> dict[str, Any]:
    """Return what must be equal for results to be used again.

    The device is not part of it: a run may be finished on another, results do not depend on it beyond rounding.
    """
    return {
        "schema": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "bundle": context["identity_bundle"],
        "genome": context["identity_genome"],
        "genes": context.get("identity_genes"),
        **({"gene_labels": context["identity_gene_labels"]} if "identity_gene_labels" in context else {}),
        "scores": context["score_ids"],
        "options": context["options"],
        "input": source,
        "tracks": [selection.positions.tolist(), list(selection.rows.identifier)],
        **({"calibration": context["calibration"]} if "calibration" in context else {}),
        **({"haplotypes": context["haplotypes"]} if "haplotypes" in context else {}),
    }


def calibration_facts(
    folder: Path,
    members: Sequence[Bundle],
    options: ScoreOptions,
    selection: Selection,
    device: Device,
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the record of a run says of a calibration, and say what a reader of quantiles should know.

    Raises
    ------
    InputError
        If the null does not hold for what is scored.
    """
    found, document = fitted_calibration(folder, members, options, selection.rows, device)
    genes = chosen_genes(options) if options.of_genes else None
    notes = found.notes(context["identity_genome"], context.get("identity_genes", ""), genes)
    for note in notes:
        log.warning("%s", note)
    facts = {
        "source": found.source,
        "positions_sha256": document["positions_sha256"],
        "files": document["files"],
        "n": {name: null.count for name, null in found.nulls.items()},
    }
    return {"calibration": facts, "notes": [*context["notes"], *notes]}


def run_context(
    model: Bundle,
    genome: Fasta,
    options: ScoreOptions,
    selection: Selection,
    device: Device,
    genes: Genes | None = None,
    others: Sequence[Bundle] = (),
    haplotypes: HaplotypeOptions | None = None,
) -> dict[str, Any]:
    """Return everything a score depends on, as JSON values; ``others`` make an ensemble with the model."""
    chosen, members = options.resolved(model.info), (model, *others)
    identity = model_identity(members, chosen, genome)
    if haplotypes is not None:  # whose they are changes no score; what belongs to one does
        identity["haplotype_bp"] = haplotypes.within_bp
    notes = options.notes(model.info)
    if selection.added:
        notes.append(f"the other strand was taken along: {', '.join(selection.added)}")
    return {
        "schema_version": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "python": platform.python_version(),
        "device": str(device),
        "precision": model.info.precision,
        "model": " + ".join(item.info.name for item in members),
        "genome": genome.name,
        "input": "",
        "options": chosen.to_dict(),
        **({UNITS: model.tracks.index[selection.positions].tolist()} if str(chosen.tracks)[:1] == "@" else {}),
        "notes": notes,
        "score_ids": chosen.score_ids(
            identity, *((None, None) if genes is None else (genes.digest, genes.transcript_digest))
        ),
        **{f"identity_{key}": value for key, value in identity.items()},
        **({"ensemble": ensemble_facts(members, chosen)} if others else {}),
        **({} if genes is None else _genes_context(genes)),
        **({} if haplotypes is None else {"haplotypes": asdict(haplotypes)}),
    }


def _genes_context(genes: Genes) -> dict[str, str]:
    """Return which annotation it is; names and types change no score, but which genes have one."""
    return {
        "genes": genes.source,
        "identity_genes": genes.digest,
        "identity_gene_labels": genes.label_digest,
    }
