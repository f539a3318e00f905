"""How much memory and work a graph takes, found without running it, and what it may take.

Only sizes are followed, by the rules of :mod:`.graph_shapes`. Each open axis of an input counts as what the engine
gives it: one window, all tracks, all bins. No tensor may grow with the square of a number of windows or tracks, so that
twice as many of them need at most twice as much. What one window may take follows from its length, from tracks and bins
and from the weights that come along; the constants are two to four times what the largest graphs of the published
shape take (tests/bundle/test_graph_memory.py holds them to it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import FormatError
from .graph_shapes import ELEMENT_BYTES, Node, Tensor, operations, results
from .graph_sizes import Size

# First axis of every input that may leave it open, and what its other open axes count as; a digit at the end of a name
# is left out. A new input with an open axis is allowed by a line here.
_BINS, _WINDOW = "bins", "window_bp"
_WINDOWS, _TRACKS, _ROWS = Size(1, ("windows",)), Size(1, ("tracks",)), Size(1, ("rows", "strands"))
_QUERIES = Size(1, ("queries",))
QUERIES = 256  # that the engine gives a graph of attention at once
OPEN_AXES: Mapping[str, tuple[Size | None, Size | str | None]] = {
    **dict.fromkeys(("sequence", "tokens", "skip_"), (_WINDOWS, None)),
    **dict.fromkeys(("embedding", "ref", "alt", "ref_share", "alt_share"), (_WINDOWS, _BINS)),
    **dict.fromkeys(("mask", "fill"), (_WINDOWS, _WINDOW)),
    "track_index": (_TRACKS, None),
    "cotangent": (None, _TRACKS),
    **dict.fromkeys(("divisor", "knee", "powered", "factor"), (_ROWS, None)),
    "strand_share": (Size(1, ("rows",)), Size(1, ("strands",))),
    "queries": (_QUERIES, None),
    "to_attended": (None, _QUERIES),
    **dict.fromkeys(("ref_tracks", "alt_tracks"), (_WINDOWS, _ROWS)),
}
Declared = Mapping[str, tuple[int, tuple[int | None, ...]]]


@dataclass(frozen=True, slots=True)
class Program:
    """The operators of a graph in order, its constants, and the element type and shape of each input."""

    nodes: Sequence[Node]
    constants: Mapping[str, Tensor]
    inputs: Declared


@dataclass(frozen=True, slots=True)
class Limits:
    """What the graphs of a model may take.

    Parameters
    ----------
    window_bp, bins, tracks : int
        Length of the window in bp, bins and tracks of the output.
    weights_bytes : int
        Size of the weights: what a wider network takes grows with them.
    """

    window_bp: int
    bins: int
    tracks: int
    weights_bytes: int

    @property
    def tensor_bytes(self) -> int:
        """Largest tensor."""
        return 2**26 + 4096 * self.window_bp + 16 * self.bins * self.tracks + self.weights_bytes

    @property
    def live_bytes(self) -> int:
        """All tensors that are held at once, without the weights."""
        return 2**28 + 16_384 * self.window_bp + 96 * self.bins * self.tracks + 4 * self.weights_bytes

    @property
    def operations(self) -> int:
        """Multiplications and the like of one run."""
        return 2**32 + (2**24 + self.weights_bytes // 64) * self.window_bp + 2**12 * self.bins * self.tracks

    def count(self, size: Size) -> int:
        """Return a size for one window and all tracks.

        Raises
        ------
        FormatError
            If it grows with a square.
        """
        if not size.symbols:
            return size.factor
        if len(set(size.symbols)) < len(size.symbols) or {"tracks", "rows"} <= set(size.symbols):
            raise FormatError(f"a tensor of {size} elements grows with a square")
        counted: dict[tuple[str, ...], int] = {("windows",): 1, ("queries",): QUERIES}
        return size.factor * counted.get(size.symbols, self.tracks)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a graph takes for one window and all tracks."""

    tensor_bytes: int
    live_bytes: int
    operations: int


def check_memory(program: Program, limits: Limits) -> Cost:
    """Return what a graph takes.

    Raises
    ------
    FormatError
        If that is more than the limits allow, or cannot be told.
    """
    last_use = {name: number for number, node in enumerate(program.nodes) for name in node.inputs}
    sizes: dict[str, int] = {}
    largest = live = peak = work = 0
    for number, (node, inputs, made) in enumerate(follow(program, limits)):
        for name, tensor in zip(node.outputs, made, strict=True):
            size = limits.count(tensor.elements) * ELEMENT_BYTES[tensor.kind]
            _refuse_above(limits.tensor_bytes, size, f"bytes in one tensor, of {node.kind}")
            largest, live = max(largest, size), live + size
            # A runtime computes what depends on constants alone when it loads the graph, and keeps it.
            sizes[name] = 0 if tensor.constant else size
        peak = max(peak, live)
        work += sum(map(limits.count, operations(node, inputs, made)))
        _refuse_above(limits.live_bytes, peak, "bytes in all tensors at once")
        _refuse_above(limits.operations, work, "operations")
        live -= sum(sizes.get(name, 0) for name in set(node.inputs) if last_use[name] == number)
    return Cost(largest, peak, work)


def follow(program: Program, limits: Limits) -> Iterator[tuple[Node, list[Tensor | None], list[Tensor]]]:
    """Yield every operator with what it takes and what it makes.

    Raises
    ------
    FormatError
        If a size cannot be told.
    """
    held = {**program.constants, **{name: _input(name, *what, limits) for name, what in program.inputs.items()}}
    for node in program.nodes:
        inputs = [held[name] if name else None for name in _known(node, held)]
        made = results(node, inputs)
        for name, tensor in zip(node.outputs, made, strict=True):
            if name in held:
                raise FormatError(f"{name!r} is made twice")
            if name:
                held[name] = tensor
        yield node, inputs, made


def _known(node: Node, held: Mapping[str, Tensor]) -> Iterator[str]:
    for name in node.inputs:
        if name and name not in held:
            raise FormatError(f"{node.kind} takes {name!r}, which nothing before it makes")
        yield name


def _refuse_above(most: int, found: int, what: str) -> None:
    if found > most:
        raise FormatError(f"{found} {what} for one window; at most {most} are allowed for a model of this size")


def _input(name: str, kind: int, shape: Sequence[int | None], limits: Limits) -> Tensor:
    first, others = OPEN_AXES.get(name.rstrip("0123456789"), (None, None))
    dims: list[Size] = []
    exact = True
    for axis, size in enumerate(shape):
        counted = Size(size) if size is not None else others if axis else first
        if counted is None:
            raise FormatError(f"input {name!r} leaves axis {axis} open, which no graph of a bundle does")
        if isinstance(counted, str):
            counted, exact = Size(getattr(limits, counted)), False
        dims.append(counted)
    return Tensor(tuple(dims), kind, exact=exact)
