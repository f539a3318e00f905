"""Judge a model repository without a server: what Triton would refuse, and what it would accept and do wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backends.triton import parse_model_config
from ..bundle.graph_check import check_graph_file
from ..bundle.opening import WEIGHTS
from ..errors import FormatError
from .config import ANNOTATION, MODEL_FILE
from .graphs import Signature, external_files, read_signature
from .local.launcher import CPU_CONFIG

# What onnxruntime 1.19 of the oldest supported container (24.10) reads.
MAX_IR_VERSION = 10
MAX_OPSET = 21
# Triton ignores a misspelt key in silence.
PARAMETERS = {
    "threads",
    "identity",
    "bundle_sha256",
    "graph",
    "explain",
    "fasta",
    "fasta_index_sha256",
    "genes_sha256",
    "options",
    "tile_cache",
    "rows",
    "most",
    "windows",
}


def lint_repository(repository: str | os.PathLike[str]) -> list[str]:
    """Return what is wrong with the models of a repository; an empty list if nothing is.

    Both configurations of every model are parsed with Triton's own schema and compared with each other and with the
    ONNX file beside them.
    """
    folder = Path(repository)
    models = sorted(path.parent for path in folder.glob("*/config.pbtxt"))
    if not models:
        return [f"{folder}: holds no model"]
    return [f"{model.name}: {text}" for model in models for text in _lint_model(model)]


def _lint_model(model: Path) -> list[str]:
    configs, wrong = {}, []
    for path in (model / "config.pbtxt", model / "configs" / f"{CPU_CONFIG}.pbtxt"):
        try:
            configs[path.name] = parse_model_config(path.read_text(encoding="utf-8"))
        except OSError:
            wrong.append(f"{path.name} is missing, and Triton would fall back on another in silence")
        except FormatError as error:
            wrong.append(f"{path.name}: {error}")
    for file, config in configs.items():
        wrong += [f"{file}: {text}" for text in _lint_config(config, model)]
    if len(configs) == 2:
        first, second = configs.values()
        wrong += [
            f"the two configurations differ in {part}"
            for part in ("name", "max_batch_size", "input", "output", "parameters")
            if getattr(first, part) != getattr(second, part)
        ]
    return wrong


def _lint_config(config: Any, model: Path) -> list[str]:
    wrong = []
    if config.name != model.name:
        wrong.append(f"name {config.name!r} is not that of the directory")
    versions = list(config.version_policy.specific.versions)
    if not versions:
        wrong.append("no version is named: a directory copied in would go live")
    if any(not group.count for group in config.instance_group) or not config.instance_group:
        wrong.append("an instance group has no count")
    wrong += [f"parameter {key!r} is unknown, and ignored" for key in sorted(config.parameters.keys() - PARAMETERS)]
    if not config.max_batch_size:
        scalars = [tensor.name for tensor in (*config.input, *config.output) if not tensor.dims]
        wrong += [f"{name!r} is a scalar, which Triton does not know without batching" for name in scalars]
    for version in versions:
        folder = model / str(version)
        if not (folder / "model.py").is_file():
            wrong.append(f"{version}/model.py is missing")
        wrong += [f"{version}/{name} is no file of a model" for name in _strangers(folder)]
        if (folder / MODEL_FILE).is_file():
            wrong += _lint_graph(config, folder / MODEL_FILE)
        elif config.backend == "onnxruntime":
            wrong.append(f"{version}/{MODEL_FILE} is missing")
    return wrong


def _strangers(version: Path) -> list[str]:
    """Return the files of a version that `borzoi-rt triton repo` does not write: Triton may run them."""
    known = {"model.py", MODEL_FILE, WEIGHTS, "bundle", ANNOTATION, "__pycache__"}
    return sorted(path.name for path in version.iterdir() if path.name not in known) if version.is_dir() else []


def _lint_graph(config: Any, path: Path) -> list[str]:
    try:
        signature = read_signature(path)
        wrong = [
            f"{name} is missing beside {path.name}"
            for name in external_files(path)
            if not (path.parent / name).is_file()
        ]
        if not wrong:
            check_graph_file(path)
    except FormatError as error:
        return [str(error)]
    if signature.ir_version > MAX_IR_VERSION or signature.opset > MAX_OPSET:
        wrong.append(
            f"IR {signature.ir_version}, opset {signature.opset}: the container's onnxruntime reads up to "
            f"{MAX_IR_VERSION} and {MAX_OPSET}"
        )
    return wrong + _lint_tensors(config, signature)


def _lint_tensors(config: Any, signature: Signature) -> list[str]:
    wrong = []
    for declared, held in ((config.input, signature.inputs), (config.output, signature.outputs)):
        tensors = {tensor.name: tensor for tensor in held}
        missing = [name for name in tensors if name not in {item.name for item in declared}]
        if declared is config.input:
            wrong += [f"input {name!r} of the graph is not declared" for name in missing]
        for item in declared:
            if item.name not in tensors:
                wrong.append(f"{item.name!r} is not in the graph, which has {', '.join(tensors)}")
                continue
            tensor = tensors[item.name]
            kind = _type_name(config, item)
            if kind != f"TYPE_{tensor.kind}":
                wrong.append(f"{item.name!r} is {kind}, the graph has TYPE_{tensor.kind}")
            wrong += _lint_dims(config.max_batch_size, item.name, list(item.dims), tensor.dims)
    return wrong


def _lint_dims(batch: int, name: str, declared: Sequence[int], held: Sequence[int]) -> list[str]:
    if batch > 0 and (not held or held[0] != -1):
        return [f"max_batch_size is {batch}, but {name!r} has no open first axis: {list(held)}"]
    needed = list(held[1:] if batch > 0 else held)
    # A configuration may be tighter than the graph, not looser.
    if len(declared) != len(needed) or any(want not in (-1, have) for have, want in zip(declared, needed, strict=True)):
        return [f"{name!r} has dims {list(declared)}, the graph {needed}"]
    return []


def _type_name(config: Any, item: Any) -> str:
    field = item.DESCRIPTOR.fields_by_name["data_type"]
    return str(field.enum_type.values_by_number[item.data_type].name)
