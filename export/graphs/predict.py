"""The ``predict`` graph: one-hot uint8 in, squashed coverage of chosen tracks out."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto

from borzoi_rt.bundle.manifest import GraphInfo

from ..models.borzoi import Borzoi
from .builder import GraphBuilder, WeightsFile
from .emitter import Emitter
from .form import Form

FILE = "predict.onnx"


def write_predict(model: Borzoi, directory: Path, weights: WeightsFile, form: Form) -> GraphInfo:
    """Write ``predict.onnx`` and return its description."""
    config = model.config
    graph = GraphBuilder("predict", weights)
    sequence = graph.input("sequence", TensorProto.UINT8, ["batch", 4, config.sequence_length_bp])
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    n_fill = graph.input("n_fill", TensorProto.FLOAT, [])
    emitter = Emitter(graph, model, form=form)
    tokens, skips = emitter.trunk(emitter.filled(sequence, n_fill))
    coverage = emitter.head(emitter.embed(tokens, skips), track_index)
    graph.save(directory / FILE, {"coverage": (coverage, ["batch", "tracks", config.bins])})
    return GraphInfo(file=FILE, inputs=("sequence", "track_index", "n_fill"), outputs=("coverage",))
