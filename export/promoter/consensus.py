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
        Members of its component.
    """

    kernel: np.ndarray
    forward: np.ndarray
    reverse: np.ndarray
    source: tuple[str, ...]
    size: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.kernel)

    def take(self, rows: Sequence[int], size: Sequence[int]) -> Kernels:
        """Return some of the kernels."""
        index = list(rows)
        source = tuple(self.source[row] for row in index)
        return Kernels(self.kernel[index], self.forward[index], self.reverse[index], source, tuple(size))

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

    Raises
    ------
    InputError
        If there are no nets, or nothing is left.
    """
    if not nets:
        raise InputError("no nets to take motifs from")
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
    chosen, sizes = [], []
    for component in sorted(nx.connected_components(graph), key=min):
        members = sorted(component)
        candidates = [max(members, key=lambda row: fit[row].sum())] if compat else members
        if long_motifs:
            candidates = [row for row in candidates if is_motif(every.kernel[row])]
        if len(members) > share * len(nets) and candidates:
            chosen.append(max(candidates, key=lambda row: fit[row].sum()))
            sizes.append(len(members))
    if not chosen:
        raise InputError(f"no motif is shared by more than {share:g} of {len(nets)} nets; train more nets, or longer")
    return every.take(chosen, sizes)


def across_tissues(tissues: Sequence[Kernels], *, similarity: float = ACROSS_R, compat: bool = False) -> Kernels:
    """Return one motif per group of alike motifs of the tissues.

    Raises
    ------
    InputError
        If there are none.
    """
    if not tissues:
        raise InputError("no tissues to take motifs from")
    every = _joined(tissues)
    r = similarities(every.kernel, every.kernel, centred=False, shifts=_shifts(every, compat))
    graph = nx.Graph()
    graph.add_nodes_from(range(len(every)))
    graph.add_edges_from((int(a), int(b)) for a, b in np.argwhere(np.triu(r > similarity, k=1)))
    groups = sorted(
        (sorted(group) for group in nx.connected_components(graph)), key=lambda group: (-len(group), group[0])
    )
    representatives = [max(group, key=lambda row: (graph.degree[row], -row)) for group in groups]
    return every.take(representatives, [len(group) for group in groups])


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
    return Kernels(kernel, forward, reverse, tuple(name for part in parts for name in part.source))


def _shifts(kernels: Kernels, compat: bool) -> int | None:
    width = kernels.kernel.shape[-1]
    return width - (51 - COMPAT_SHIFTS) if compat and width > 51 - COMPAT_SHIFTS else None
