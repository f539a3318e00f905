"""An ONNX graph as a model of Triton's python backend, for servers without the onnxruntime backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import gt
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.checks import check_fill
from ..backends.onnx import Graph
from ..errors import InputError
from .answering import answer
from .config import MODEL_FILE


class TritonPythonModel:
    """One graph; every request is one run, as in process, so that both give the same bits."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph that lies beside ``model.py``."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        threads = int(config["parameters"]["threads"]["string_value"])
        path = Path(args["model_repository"]) / args["model_version"] / MODEL_FILE
        self._graph = Graph(path, threads=threads or None)
        self._inputs = [item["name"] for item in config["input"]]
        self._outputs = [item["name"] for item in config["output"]]
        self._most = json.loads(config["parameters"].get("most", {"string_value": "{}"})["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself; one that is wrong does not touch the others."""
        return [answer(self._name, request, self._tensors) for request in requests]

    def finalize(self) -> None:
        """Free the graph."""
        self._graph.close()

    def _tensors(self, triton: Any, request: Any) -> list[Any]:
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        _check(feeds, self._most)
        wanted = [name for name in self._outputs if name in request.requested_output_names()]
        values = self._graph.run(feeds, wanted)
        return [triton.Tensor(name, value) for name, value in zip(wanted, values, strict=True)]


def _check(feeds: dict[str, np.ndarray], most: Mapping[str, Sequence[int]]) -> None:
    """Refuse what is larger than the model, and what a graph would turn into nonsense without a word."""
    for name, values in feeds.items():
        allowed = most.get(name, values.shape)
        if len(values.shape) != len(allowed) or any(map(gt, values.shape, allowed)):
            raise InputError(f"{name} has shape {values.shape}; at most {tuple(allowed)} is allowed")
        if values.dtype == np.float32 and not np.isfinite(values).all():
            raise InputError(f"{name} holds NaN or infinite numbers")
        if not values.size:
            raise InputError(f"{name} has shape {values.shape}; nothing can be computed of it")
        if values.dtype == np.int64 and (values < 0).any():
            raise InputError(f"{name} holds {values.min()}; 0 or more is needed")
    fill = feeds.get("n_fill")
    if fill is not None:
        check_fill(fill)
    sequence = feeds.get("sequence")
    if sequence is not None and (sequence > 1).any():
        raise InputError("sequence holds other numbers than 0 and 1; one-hot DNA is needed")
