"""Consensus motifs on disk, the link between the stages.

A directory: ``motif.npy`` float32 (motifs, 4, width) and ``motif_effect.npy`` float32 (2, 2 * motifs, taps), the
weights of the two convolutions; ``motifs.tsv`` with name, pattern, source and number of members of each;
``motifs.meme``, ``motifs.jaspar`` and the logos of ``motifs.png`` as base probabilities.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.motifs.files import write_jaspar, write_meme
from borzoi_rt.motifs.matrices import Motif, motif_identity, motif_name, probabilities, similarities, unique_names
from borzoi_rt.report.figures import plot_logos

from .consensus import Kernels, across_tissues, centred, within_tissue
from .runs import load_run


def consensus_of_runs(
    runs: Sequence[str | os.PathLike[str]], *, layers: str = "motif", compat: bool = False
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
    """
    if layers not in ("motif", "other"):
        raise InputError(f"layers {layers!r} is unknown; allowed: motif, other")
    tissues: dict[str, list[Kernels]] = {}
    for run in runs:
        model, about = load_run(run)
        first, second = (layers, "effect") if layers == "motif" else ("other", "effect_other")
        if not hasattr(model, second):
            raise InputError(f"{run}: a run of stage {model.config.stage} has no {layers!r} kernels with curves")
        kernel, effect = (getattr(model, name).weight.detach().numpy() for name in (first, second))
        kernels = Kernels.of_layers(kernel, effect, Path(run).name)
        tissues.setdefault(str(about["options"]["tissue"]), []).append(kernels)
    found = [within_tissue(nets, long_motifs=layers == "motif", compat=compat) for nets in tissues.values()]
    merged = across_tissues(found, compat=compat)
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
        raise InputError(f"{path}: exists and is not an empty directory; choose another with --out")
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "motif.npy", kernels.kernel.astype(np.float32))
    np.save(path / "motif_effect.npy", kernels.effect.astype(np.float32))
    sizes = kernels.size or (1,) * len(kernels)
    lines = ["name\tpattern\tsource\tmembers"]
    lines += [
        f"{name}\t{motif_name(kernel)}\t{source}\t{size}"
        for name, kernel, source, size in zip(names, kernels.kernel, kernels.source, sizes, strict=True)
    ]
    (path / "motifs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
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
        rows = [line.split("\t") for line in lines]
        names, sources, sizes = (
            [row[0] for row in rows],
            tuple(row[2] for row in rows),
            tuple(int(row[3]) for row in rows),
        )
    except (OSError, ValueError, IndexError) as error:
        raise FormatError(f"{path}: not a directory of consensus motifs ({error})") from error
    if kernel.ndim != 3 or effect.ndim != 3 or effect.shape[:2] != (2, 2 * len(kernel)) or len(names) != len(kernel):
        raise FormatError(
            f"{path}: {len(names)} names, kernels {kernel.shape} and curves {effect.shape} do not go together"
        )
    found = Kernels.of_layers(kernel, effect, path.name)
    return Kernels(found.kernel, found.forward, found.reverse, sources, sizes), tuple(names)


def _widened(word: np.ndarray, width: int) -> np.ndarray:
    """Put a motif into the middle of a kernel of zeros, or cut it to the width."""
    out = np.zeros((4, width))
    size = min(word.shape[1], width)
    start = (width - size) // 2
    out[:, start : start + size] = word[:, :size]
    return out
