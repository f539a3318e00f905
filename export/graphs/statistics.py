"""The ``statistics`` graph: embeddings of both alleles in, sums over the bins of chosen tracks out.

What scoring needs of a variant is a few numbers a track, so the coverage, bins x tracks, is made and used up inside one
graph: head, strands and shifts averaged, the halves of an indel joined, squash undone, strands of a track added, and
the sums that :mod:`borzoi_rt.scoring.statistics` needs. Float32 up to the coverage, float64 from there on, as there.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from onnx import TensorProto

from borzoi_rt.bundle.manifest import GraphInfo
from borzoi_rt.bundle.opening import STATISTICS

from ..models.borzoi import Borzoi
from .builder import GraphBuilder, WeightsFile
from .emitter import Emitter

FILE = f"{STATISTICS}.onnx"


def write_statistics(model: Borzoi, squash: str, directory: Path, weights: WeightsFile) -> GraphInfo:
    """Write the graph for targets squashed by ``squash`` and return its description."""
    graph = GraphBuilder(STATISTICS, weights)
    writer = _Writer(graph, model, squash)
    ref, alt = writer.coverage("ref"), writer.coverage("alt")
    scaled = [(ref, alt), (writer.log2p(ref), writer.log2p(alt)), (writer.root(ref), writer.root(alt))]
    differences = [graph.node("Sub", b, a) for a, b in scaled]
    rows: dict[str, list[str]] = {
        "ref_sum": [writer.total(a) for a, _ in scaled],
        "alt_sum": [writer.total(b) for _, b in scaled],
        "absolute_sum": [writer.total(graph.node("Abs", part)) for part in differences],
        "square_sum": [writer.total(graph.node("Mul", part, part)) for part in differences],
        "extreme": [writer.extreme(differences[0])],
    }
    outputs: dict[str, tuple[str, list[int | str]]] = {
        name: (graph.concat(parts, 0), [len(parts), "rows"]) for name, parts in rows.items()
    }
    graph.save(directory / FILE, outputs, TensorProto.DOUBLE)
    return GraphInfo(file=FILE, inputs=tuple(graph.input_names), outputs=tuple(outputs))


class _Writer:
    """Writes the parts of the graph; the squash parameters of the tracks are inputs, its kind is not."""

    def __init__(self, graph: GraphBuilder, model: Borzoi, squash: str) -> None:
        self.graph = graph
        self.emitter = Emitter(graph, model)
        self.channels = model.config.embedding_channels
        self.squash = squash
        self.parameters = {
            name: graph.node("Unsqueeze", graph.input(name, kind, ["tracks"]), graph.integers(1))
            for name, kind in (
                ("divisor", TensorProto.FLOAT),
                ("knee", TensorProto.FLOAT),
                ("powered", TensorProto.BOOL),
                ("factor", TensorProto.FLOAT),
            )
        }
        self.strands = graph.input("strand_share", TensorProto.DOUBLE, ["rows", "strands"])

    def coverage(self, allele: str) -> str:
        """Return the coverage of one allele, float64 (rows, bins)."""
        graph = self.graph
        embedding = graph.input(allele, TensorProto.FLOAT, [f"{allele}_views", "bins", self.channels])
        share = graph.input(f"{allele}_share", TensorProto.FLOAT, [f"{allele}_views", "bins"])
        tracks = graph.input(f"{allele}_tracks", TensorProto.INT64, [f"{allele}_views", "tracks"])
        views = graph.node(
            "Mul", self.emitter.head(embedding, tracks), graph.node("Unsqueeze", share, graph.integers(1))
        )
        squashed = graph.node("ReduceSum", views, graph.integers(0), keepdims=0)
        coverage = graph.node("Cast", self._unsquashed(squashed), to=TensorProto.DOUBLE)
        shape = graph.node("Concat", graph.node("Shape", self.strands), graph.integers(-1), axis=0)
        by_strand = graph.node("Reshape", coverage, shape)
        weighted = graph.node("Mul", by_strand, graph.node("Unsqueeze", self.strands, graph.integers(2)))
        return graph.node("ReduceSum", weighted, graph.integers(1), keepdims=0)

    def _unsquashed(self, squashed: str) -> str:
        """Undo the squash, by the formulas of :mod:`borzoi_rt.squash`."""
        if self.squash == "none":
            return squashed
        graph, given = self.graph, self.parameters
        offset = self._constant("offset", 0.0 if self.squash in ("old", "bp_old") else 1.0)
        scaled = graph.node("Div", squashed, given["divisor"])
        above = graph.node("Add", graph.node("Sub", scaled, given["knee"]), offset)
        bent = graph.node("Add", graph.node("Mul", above, above), graph.node("Sub", given["knee"], offset))
        plain = graph.node("Where", graph.node("Greater", scaled, given["knee"]), bent, scaled)
        value = graph.node("Where", given["powered"], self._power(plain), plain)
        return graph.node("Mul", value, given["factor"])

    def _power(self, x: str) -> str:
        graph = self.graph
        if self.squash == "new":  # (x + 1)^2 - 1
            return graph.node("Mul", x, graph.node("Add", x, self._constant("two", 2.0)))
        if self.squash == "bp_new":
            # (x + 1)^(4/3) - 1 = x (c + 1 / (c^2 + c + 1)) with c = (x + 1)^(1/3): nothing cancels near 0
            one = self._constant("unit", 1.0)
            root = graph.node("Pow", graph.node("Add", x, one), self._constant("third", 1.0 / 3.0))
            sum_of_powers = graph.node("Add", graph.node("Add", graph.node("Mul", root, root), root), one)
            return graph.node("Mul", x, graph.node("Add", root, graph.node("Reciprocal", sum_of_powers)))
        return graph.node("Pow", x, self._constant("four_thirds", 4.0 / 3.0))

    def _constant(self, name: str, value: float) -> str:
        return self.graph.weight(name, np.array(value, dtype=np.float32), exact=True)

    def log2p(self, x: str) -> str:
        """log2(x + 1)."""
        one = self.graph.weight("double_one", np.array(1.0))
        per_bit = self.graph.weight("per_bit", np.array(1.0 / math.log(2.0)))
        return self.graph.node("Mul", self.graph.node("Log", self.graph.node("Add", x, one)), per_bit)

    def root(self, x: str) -> str:
        """Square root."""
        return self.graph.node("Sqrt", x)

    def total(self, x: str) -> str:
        """Sum over bins, (1, rows)."""
        return self._row(self.graph.node("ReduceSum", x, self.graph.integers(1), keepdims=0))

    def extreme(self, difference: str) -> str:
        """Return the difference where its size is largest, (1, rows); the first such bin."""
        graph = self.graph
        position = graph.node("ArgMax", graph.node("Abs", difference), axis=1, keepdims=1)
        found = graph.node("GatherElements", difference, position, axis=1)
        return self._row(graph.node("Squeeze", found, graph.integers(1)))

    def _row(self, x: str) -> str:
        return self.graph.node("Unsqueeze", x, self.graph.integers(0))
