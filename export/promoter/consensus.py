"""Consensus motifs: what several nets of a tissue, and then several tissues, have found alike.

Within a tissue: kernels of two nets that are each other's best match, r > 0.9, make the edges of a graph; a connected
component that spans more than 0.3 of the nets is a motif, and the member that fits all nets best stands for it. Across
tissues: edges are similarities above 0.8 of kernels as they are, components are motifs, and the member with most edges
stands for it. Kernels are centred for good only together with their curves of effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from borzoi_rt.errors import InputError
from borzoi_rt.motifs.matrices import COMPAT_SHIFTS, centre_offset, cleaned, recentred, recentred_curves, similarities

WITHIN_R = 0.9
WITHIN_SHARE = 0.3
ACROSS_R = 0.8
MIN_WEIGHT = 0.1
MAX_LENGTH_SHARE = 40 / 51  # a motif as long as its kernel is no motif


@dataclass(frozen=True)
class Fate:
    """What became of one kernel of one net.

    Attributes
    ----------
    source, tissue : str
        The kernel, ``run:number``, and the tissue of its net.
    motif : str
        The kernel that stands for the motif it was merged into; empty where it was left out.
    similarity : float
        To that kernel, or to its best match in another net where it was left out; NaN where there is none.
    reason : str
        Why, with the numbers that decided.
    """

    source: str
    tissue: str
    motif: str
    similarity: float
    reason: str


@dataclass(frozen=True)
class Kernels:
    """Kernels of one net or one consensus.

    Attributes
    ----------
    kernel : ndarray of shape (kernels, 4, width)
    forward, reverse : ndarray of shape (kernels, 2, taps)
        Weights of the second convolution for the kernel as written and for its reverse complement.
    source : tuple of str
        Where each kernel comes from.
    size : tuple of int
        Kernels of nets that were merged into each; 1 for the kernels of one net.
    tissues : tuple of int
        Tissues that each was found in.
    initiator : tuple of bool
        Kernels that are removed like the others but do not enter the normalised score.
    fates : tuple of Fate
        What became of every kernel of every net.
    """

    kernel: np.ndarray
    forward: np.ndarray
    reverse: np.ndarray
    source: tuple[str, ...]
    size: tuple[int, ...] = ()
    tissues: tuple[int, ...] = ()
    initiator: tuple[bool, ...] = ()
    fates: tuple[Fate, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("size", 1), ("tissues", 1), ("initiator", False)):
            if not getattr(self, name):
                object.__setattr__(self, name, (value,) * len(self.kernel))

    def __len__(self) -> int:
        return len(self.kernel)

    def take(self, rows: Sequence[int], size: Sequence[int] | None = None) -> Kernels:
        """Return some of the kernels, with other counts of members where they are given."""
        index = list(rows)
        return Kernels(
            self.kernel[index],
            self.forward[index],
            self.reverse[index],
            tuple(self.source[row] for row in index),
            tuple(self.size[row] for row in index) if size is None else tuple(size),
            tuple(self.tissues[row] for row in index),
            tuple(self.initiator[row] for row in index),
            self.fates,
        )

    @property
    def effect(self) -> np.ndarray:
        """Curves as the weight of a second convolution, (2, 2 * kernels, taps)."""
        return np.concatenate([self.forward, self.reverse]).transpose(1, 0, 2)

    @classmethod
    def of_layers(cls, kernel: np.ndarray, effect: np.ndarray, source: str) -> Kernels:
        """Read the weights of a net: (kernels, 4, width) and (2, 2 * kernels, taps), reverse curves last."""
        count = len(kernel)
        names = tuple(f"{source}:{row}" for row in range(count))
        return cls(kernel, effect[:, :count].transpose(1, 0, 2), effect[:, count:].transpose(1, 0, 2), names)


def within_tissue(
    nets: Sequence[Kernels],
    *,
    similarity: float = WITHIN_R,
    share: float = WITHIN_SHARE,
    long_motifs: bool = True,
    compat: bool = False,
    tissue: str = "",
) -> Kernels:
    """Return the motifs that enough nets of a tissue have found.

    Parameters
    ----------
    nets : sequence of Kernels
    similarity, share : float
        Thresholds of an edge, and of the members of a motif as a share of the nets.
    long_motifs : bool
        Ask of a motif that its cleaned kernel be shorter than ``MAX_LENGTH_SHARE`` of its width, and hold two letters
        at least; off for trinucleotides. The member most alike to the other nets' stands for all, among those that are
        motifs.
    compat : bool
        Similarity over the published, asymmetric range of shifts; a motif is dropped where the member most alike to the
        others is not one itself.
    tissue : str
        Its name, for the fates.

    Raises
    ------
    InputError
        If there are no nets, or nothing is left.
    """
    if not nets:
        raise InputError("no nets to take motifs from")
    for name, value in (("similarity", similarity), ("share", share)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value!r}; a number in [0, 1] is needed")
    every = _joined(nets)
    net = np.repeat(np.arange(len(nets)), [len(item) for item in nets])
    r = similarities(every.kernel, every.kernel, shifts=_shifts(every, compat))
    strong = np.abs(every.kernel).max(axis=(1, 2)) > MIN_WEIGHT
    graph = nx.Graph()
    if len(nets) == 1:  # nothing to compare with
        graph.add_nodes_from(np.flatnonzero(strong).tolist())
    for first in range(len(nets)):
        for second in range(first + 1, len(nets)):
            a, b = np.flatnonzero(net == first), np.flatnonzero(net == second)
            block = r[np.ix_(a, b)]
            best, back = block.argmax(axis=1), block.argmax(axis=0)
            for row, column in enumerate(best):
                mutual = back[column] == row and block[row, column] > similarity
                if mutual and strong[a[row]] and strong[b[column]]:
                    graph.add_edge(int(a[row]), int(b[column]))
    fit = np.stack([r[:, net == number].max(axis=1) for number in range(len(nets))], axis=1)
    fit[np.arange(len(net)), net] = 0.0
    fates = _Fates(every.source, tissue, r, net)
    chosen, sizes = [], []
    for component in sorted(nx.connected_components(graph), key=min):
        members = sorted(component)
        candidates = [max(members, key=lambda row: fit[row].sum())] if compat else members
        if long_motifs:
            candidates = [row for row in candidates if is_motif(every.kernel[row])]
        if len(members) <= share * len(nets):
            fates.leave(
                members, f"{len(members)} alike kernels in {len(nets)} nets, more than {share:g} of them needed"
            )
        elif not candidates:
            fates.leave(members, "no motif: as long as its kernel, or of one letter")
        else:
            best = max(candidates, key=lambda row: fit[row].sum())
            fates.merge(members, best, "mutual best match" if len(nets) > 1 else "the only net")
            chosen.append(best)
            sizes.append(len(members))
    if not chosen:
        raise InputError(f"no motif is shared by more than {share:g} of {len(nets)} nets; train more nets, or longer")
    return replace(every.take(chosen, sizes), fates=fates.all(strong, similarity))


class _Fates:
    """Collects what becomes of the kernels of a tissue."""

    def __init__(self, source: Sequence[str], tissue: str, r: np.ndarray, net: np.ndarray) -> None:
        self._source, self._tissue, self._r = source, tissue, r
        self._elsewhere = np.where(net[:, None] == net[None, :], -np.inf, r)
        self._found: dict[int, Fate] = {}

    def merge(self, members: Sequence[int], into: int, reason: str) -> None:
        for row in members:
            said = f"stands for {len(members)} kernels" if row == into else reason
            self._found[row] = self._fate(row, self._source[into], float(self._r[row, into]), said)

    def leave(self, rows: Sequence[int], reason: str) -> None:
        for row in rows:
            best = float(self._elsewhere[row].max())
            self._found[row] = self._fate(row, "", best if np.isfinite(best) else float("nan"), reason)

    def all(self, strong: np.ndarray, similarity: float) -> tuple[Fate, ...]:
        for row in set(range(len(self._source))) - self._found.keys():
            if not strong[row]:
                self.leave([row], f"weak: no weight above {MIN_WEIGHT:g}")
                continue
            column = int(self._elsewhere[row].argmax())
            mutual = "" if self._elsewhere[row, column] <= similarity else ", which is closer to another"
            self.leave([row], f"no match above {similarity:g}; the best is {self._source[column]}{mutual}")
        return tuple(self._found[row] for row in sorted(self._found))

    def _fate(self, row: int, motif: str, similarity: float, reason: str) -> Fate:
        return Fate(self._source[row], self._tissue, motif, similarity, reason)


def across_tissues(tissues: Sequence[Kernels], *, similarity: float = ACROSS_R, compat: bool = False) -> Kernels:
    """Return one motif per group of alike motifs of the tissues.

    Raises
    ------
    InputError
        If there are none.
    """
    if not tissues:
        raise InputError("no tissues to take motifs from")
    if not 0 <= similarity <= 1:
        raise InputError(f"similarity is {similarity!r}; a number in [0, 1] is needed")
    every = _joined(tissues)
    r = similarities(every.kernel, every.kernel, centred=False, shifts=_shifts(every, compat))
    graph = nx.Graph()
    graph.add_nodes_from(range(len(every)))
    graph.add_edges_from((int(a), int(b)) for a, b in np.argwhere(np.triu(r > similarity, k=1)))
    groups = sorted(
        (sorted(group) for group in nx.connected_components(graph)), key=lambda group: (-len(group), group[0])
    )
    representatives = [max(group, key=lambda row: (graph.degree[row], -row)) for group in groups]
    tissue_of = np.repeat(np.arange(len(tissues)), [len(item) for item in tissues])
    merged = every.take(representatives, [sum(every.size[row] for row in group) for group in groups])
    return replace(
        merged,
        tissues=tuple(len(set(tissue_of[group].tolist())) for group in groups),
        fates=_passed_on(every, groups, representatives, r),
    )


def _passed_on(
    every: Kernels, groups: Sequence[Sequence[int]], representatives: Sequence[int], r: np.ndarray
) -> tuple[Fate, ...]:
    """Return the fates within tissues with the motifs that stand for theirs in the end."""
    final = {
        every.source[row]: (row, best) for group, best in zip(groups, representatives, strict=True) for row in group
    }
    fates = []
    for fate in every.fates:
        if fate.motif in final and final[fate.motif][0] != final[fate.motif][1]:
            row, best = final[fate.motif]
            reason = f"{fate.reason}; its motif {fate.motif} is alike across tissues, r {r[row, best]:.3f}"
            fate = replace(fate, motif=every.source[best], reason=reason)
        fates.append(fate)
    return tuple(fates)


def centred(kernels: Kernels) -> Kernels:
    """Return the kernels moved to their middle, and their curves moved against that: the network computes the same."""
    offsets = [centre_offset(kernel) for kernel in kernels.kernel]
    moved = np.stack([recentred(kernel, offset) for kernel, offset in zip(kernels.kernel, offsets, strict=True)])
    curves = [
        recentred_curves(forward, reverse, offset)
        for forward, reverse, offset in zip(kernels.forward, kernels.reverse, offsets, strict=True)
    ]
    forward, reverse = (np.stack(part) for part in zip(*curves, strict=True))
    return replace(kernels, kernel=moved, forward=forward, reverse=reverse)


def is_motif(kernel: np.ndarray) -> bool:
    """Tell whether a cleaned kernel is shorter than most of its width and holds two letters at least."""
    m = cleaned(kernel)
    used = np.flatnonzero(m.max(axis=0) != 0)
    if not used.size:
        return False
    length = used[-1] - used[0]
    letters = set(m[:, used].argmax(axis=0).tolist())
    return 0 < length < MAX_LENGTH_SHARE * kernel.shape[-1] and len(letters) >= 2


def _joined(parts: Sequence[Kernels]) -> Kernels:
    shapes = {part.kernel.shape[1:] + part.forward.shape[1:] for part in parts}
    if len(shapes) != 1:
        raise InputError(f"the nets have kernels and curves of {len(shapes)} shapes; one is needed")
    kernel, forward, reverse = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("kernel", "forward", "reverse")
    )
    source, size, tissues, initiator, fates = (
        tuple(value for part in parts for value in getattr(part, name))
        for name in ("source", "size", "tissues", "initiator", "fates")
    )
    return Kernels(kernel, forward, reverse, source, size, tissues, initiator, fates)


def _shifts(kernels: Kernels, compat: bool) -> int | None:
    width = kernels.kernel.shape[-1]
    return width - (51 - COMPAT_SHIFTS) if compat and width > 51 - COMPAT_SHIFTS else None
