"""Consensus motifs on disk, the link between the stages.

A directory: ``motif.npy`` float32 (motifs, 4, width) and ``motif_effect.npy`` float32 (2, 2 * motifs, taps), the
weights of the two convolutions; ``motifs.tsv`` with name, pattern, source, members (kernels of nets that were merged),
tissues and group (``motif`` or ``initiator``; initiators stand last and do not enter the normalised score) of each;
``merged.tsv`` with a row per kernel of every net: what it was merged into, or why it was left out; ``motifs.meme``,
``motifs.jaspar`` and the logos of ``motifs.png`` as base probabilities.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.motifs.files import write_jaspar, write_meme
from borzoi_rt.motifs.matrices import Motif, motif_identity, motif_name, probabilities, similarities, unique_names
from borzoi_rt.report.figures import plot_logos

from .consensus import ACROSS_R, WITHIN_R, WITHIN_SHARE, Fate, Kernels, across_tissues, centred, within_tissue
from .runs import load_run

log = logging.getLogger(__name__)


def consensus_of_runs(
    runs: Sequence[str | os.PathLike[str]],
    *,
    layers: str = "motif",
    compat: bool = False,
    min_correlation: float = WITHIN_R,
    min_correlation_across: float = ACROSS_R,
    min_share: float = WITHIN_SHARE,
    min_validation: float | None = None,
) -> Kernels:
    """Return the consensus of trained networks: within each tissue, then across, then centred with their curves.

    Parameters
    ----------
    runs : sequence of path
        Runs of stage 1, or of stage 2 for its short kernels.
    layers : str
        ``motif`` or ``other``.
    compat : bool
        As published; see :func:`.consensus.within_tissue`.
    min_correlation, min_correlation_across : float
        Kernels more alike than this are one motif: of two nets of a tissue, of two tissues.
    min_share : float
        A motif needs kernels in more than this share of a tissue's nets.
    min_validation : float, optional
        Nets whose best validation has a lower mean Pearson are left out.

    Raises
    ------
    InputError
        If no net or no motif is left.
    """
    if layers not in ("motif", "other"):
        raise InputError(f"layers {layers!r} is unknown; allowed: motif, other")
    labels = [Path(run).name for run in runs]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"two runs are called {twice!r}; kernels are named by their run, rename one")
    tissues: dict[str, list[Kernels]] = {}
    for run in runs:
        model, about = load_run(run)
        first, second = (layers, "effect") if layers == "motif" else ("other", "effect_other")
        if not hasattr(model, second):
            raise InputError(f"{run}: a run of stage {model.config.stage} has no {layers!r} kernels with curves")
        pearson = about["validation"]["pearson"]
        if min_validation is not None and not pearson >= min_validation:
            log.warning("%s left out: validation Pearson %.4f, %g or more asked for", run, pearson, min_validation)
            continue
        kernel, effect = (getattr(model, name).weight.detach().numpy() for name in (first, second))
        kernels = Kernels.of_layers(kernel, effect, Path(run).name)
        tissues.setdefault(str(about["options"]["tissue"]), []).append(kernels)
    if not tissues:
        raise InputError(f"none of {len(runs)} runs has a validation Pearson of {min_validation:g} or more")
    found = [
        within_tissue(
            nets,
            similarity=min_correlation,
            share=min_share,
            long_motifs=layers == "motif",
            compat=compat,
            tissue=tissue,
        )
        for tissue, nets in tissues.items()
    ]
    merged = across_tissues(found, similarity=min_correlation_across, compat=compat)
    return centred(merged) if layers == "motif" else merged


def named(kernels: Kernels, words: Mapping[str, np.ndarray] | None = None, least_r: float = 0.6) -> list[str]:
    """Return a name per kernel: of the word it resembles most, if any is alike enough, else its published identity.

    Parameters
    ----------
    kernels : Kernels
    words : mapping of str to float ndarray of shape (4, width), optional
        Known motifs; each lends its name to the kernel most alike, and numbered names to others.
    least_r : float
        Least similarity of a name.
    """
    names = [motif_identity(kernel) or "blank" for kernel in kernels.kernel]
    if words:
        width = kernels.kernel.shape[-1]
        known = np.stack([_widened(word, width) for word in words.values()])
        r = similarities(kernels.kernel, known)
        for row in np.argsort(-r.max(axis=1)):
            if r[row].max() >= least_r:
                names[row] = list(words)[int(r[row].argmax())]
        order = np.argsort(-r.max(axis=1), kind="stable")
        for row, name in zip(order, unique_names([names[row] for row in order]), strict=True):
            names[row] = name
        return names
    return unique_names(names)


def write_consensus(folder: str | os.PathLike[str], kernels: Kernels, names: Sequence[str]) -> None:
    """Write a directory of consensus motifs.

    Raises
    ------
    InputError
        If it exists and is not empty.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: exists and is not an empty directory; choose another")
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "motif.npy", kernels.kernel.astype(np.float32))
    np.save(path / "motif_effect.npy", kernels.effect.astype(np.float32))
    groups = [("motif", "initiator")[flag] for flag in kernels.initiator]
    lines = ["name\tpattern\tsource\tmembers\ttissues\tgroup"]
    lines += [
        f"{name}\t{motif_name(kernel)}\t{source}\t{size}\t{tissues}\t{group}"
        for name, kernel, source, size, tissues, group in zip(
            names, kernels.kernel, kernels.source, kernels.size, kernels.tissues, groups, strict=True
        )
    ]
    (path / "motifs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path / "merged.tsv").write_text(_fates(kernels, names), encoding="utf-8")
    motifs = [Motif(name, probabilities(kernel)) for name, kernel in zip(names, kernels.kernel, strict=True)]
    write_meme(path / "motifs.meme", motifs)
    write_jaspar(path / "motifs.jaspar", motifs)
    plot_logos(path / "motifs.png", [motif.matrix for motif in motifs], names=names)


def read_consensus(folder: str | os.PathLike[str]) -> tuple[Kernels, tuple[str, ...]]:
    """Return what :func:`write_consensus` wrote: kernels and names.

    Raises
    ------
    FormatError
        If a file is missing or the shapes do not go together.
    """
    path = Path(folder)
    try:
        kernel, effect = (np.load(path / name, allow_pickle=False) for name in ("motif.npy", "motif_effect.npy"))
        lines = (path / "motifs.tsv").read_text(encoding="utf-8").splitlines()[1:]
        # Directories of older releases end with the members.
        rows = [[*line.split("\t"), "1", "motif"] if line.count("\t") == 3 else line.split("\t") for line in lines]
        names = tuple(row[0] for row in rows)
        sources, groups = (tuple(row[column] for row in rows) for column in (2, 5))
        sizes, tissues = (tuple(int(row[column]) for row in rows) for column in (3, 4))
        fates = _read_fates(path / "merged.tsv", dict(zip(names, sources, strict=True)))
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise FormatError(f"{path}: not a directory of consensus motifs ({error})") from error
    if kernel.ndim != 3 or effect.ndim != 3 or effect.shape[:2] != (2, 2 * len(kernel)) or len(names) != len(kernel):
        raise FormatError(
            f"{path}: {len(names)} names, kernels {kernel.shape} and curves {effect.shape} do not go together"
        )
    wrong = next((group for group in groups if group not in ("motif", "initiator")), None)
    if wrong is not None:
        raise FormatError(f"{path / 'motifs.tsv'}: group {wrong!r} is unknown; allowed: motif, initiator")
    initiator = tuple(group == "initiator" for group in groups)
    if any(first and not second for first, second in itertools.pairwise(initiator)):
        raise FormatError(f"{path / 'motifs.tsv'}: initiators must stand last; `promoter arrange` orders a directory")
    found = Kernels.of_layers(kernel, effect, path.name)
    return Kernels(found.kernel, found.forward, found.reverse, sources, sizes, tissues, initiator, fates), names


def arranged(
    kernels: Kernels,
    names: Sequence[str],
    *,
    order: Sequence[str] = (),
    initiators: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> tuple[Kernels, list[str]]:
    """Return motifs in another order, with initiators marked and last.

    Parameters
    ----------
    kernels, names
        What :func:`read_consensus` returned.
    order : sequence of str
        Names that come first, in this order; the others follow as they were.
    initiators : sequence of str, optional
        Names of the initiators; those that are marked already when None.
    drop : sequence of str
        Names to leave out.

    Raises
    ------
    InputError
        If a name is unknown or given twice, or no motif is left to score.
    """
    marked = [name for name, flag in zip(names, kernels.initiator, strict=True) if flag]
    chosen = marked if initiators is None else list(initiators)
    for words in (order, chosen, drop):
        unknown = next((word for word in words if word not in names), None)
        if unknown is not None:
            raise InputError(f"no motif is called {unknown!r}; motifs: {', '.join(names)}")
        if len(set(words)) != len(words):
            raise InputError(f"{', '.join(words)}: a name is given twice")
    ranked = [*order, *(name for name in names if name not in order)]
    kept = [name for name in ranked if name not in drop]
    kept = [name for name in kept if name not in chosen] + [name for name in kept if name in chosen]
    if not any(name not in chosen for name in kept):
        raise InputError("no motif is left to score; fewer must be dropped or marked as initiators")
    taken = kernels.take([list(names).index(name) for name in kept])
    return replace(taken, initiator=tuple(name in chosen for name in kept)), kept


def _fates(kernels: Kernels, names: Sequence[str]) -> str:
    """Return merged.tsv."""
    final = dict(zip(kernels.source, names, strict=True))
    lines = ["source\ttissue\tmotif\tsimilarity\treason"]
    for fate in kernels.fates:
        similarity = f"{fate.similarity:.4f}" if math.isfinite(fate.similarity) else ""
        reason = fate.reason if not fate.motif or fate.motif in final else f"{fate.reason}; that motif was dropped"
        lines.append(f"{fate.source}\t{fate.tissue}\t{final.get(fate.motif, '')}\t{similarity}\t{reason}")
    return "\n".join(lines) + "\n"


def _read_fates(path: Path, sources: Mapping[str, str]) -> tuple[Fate, ...]:
    if not path.is_file():
        return ()
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return tuple(
        Fate(source, tissue, sources[motif] if motif else "", float(similarity or "nan"), reason)
        for source, tissue, motif, similarity, reason in rows
    )


def _widened(word: np.ndarray, width: int) -> np.ndarray:
    """Put a motif into the middle of a kernel of zeros, or cut it to the width."""
    out = np.zeros((4, width))
    size = min(word.shape[1], width)
    start = (width - size) // 2
    out[:, start : start + size] = word[:, :size]
    return out
