"""The two ``config.pbtxt`` of a served model, written from one description.

``config.pbtxt`` is for production: NVIDIA's container, a GPU, graphs in the onnxruntime backend.
``configs/python-cpu.pbtxt`` serves the same files with the python backend on a CPU, which is what the tests run. What
is set, and why:

- *Graphs* have ``max_batch_size: 0``: a request's first axis is its own batch, and requests are not joined. Joined
  windows would be computed in another shape, and the same window could give other bits; the input ``track_index`` has
  no batch axis either. Throughput on a GPU comes from windows sent together and from instances.
- *The scorer* joins whatever waits (``dynamic_batching``), without holding a request back: each variant is scored by
  itself, so company changes no number, and a lone request would wait the whole delay.
- *Queues* are bounded in production, and a request that waits too long is refused with UNAVAILABLE: clients come again.
  On the CPU only where ``cpu_queue`` says so: where a queue has a bound or a time-out, Triton 2.51 may miss a request
  that comes in while an answer goes out, and looks again after half a second. Measured in closed loops of 1 to 4
  callers: up to 7 % of calls took 0.5 s more with a bound, 0 of 10,800 without.
- *Bounds*: the largest shape of every input lies in the served graph itself, whatever runs it, and in the parameter
  ``most``: a request for a million tracks is refused before anything is computed.
- *Warm-up*: a graph runs one window of zeros before the server says READY, the scorer the bundle's golden example.
- *Response cache*: off for graphs (answers are large), on for the scorer (kilobytes); it works only where the server is
  started with ``--cache-config``.
- *Rate limit*: on a CPU all models ask for the one resource ``compute``, so that two do not fight for the same cores;
  it works only where the server is started with ``--rate-limit=execution_count``, as ``borzoi-rt triton serve`` does.
- *The version* is a number that follows from the model's identity (bundle; with the scorer also genome and options) and
  is pinned: a directory copied in beside it does not go live, and a client that names the version it has checked is
  never answered by another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..backends.triton import version_of
from ..errors import InputError
from .graphs import Tensor

MODEL_FILE = "model.onnx"
TENSORRT_CACHE = "/cache/trt"
ANNOTATION = "annotation"  # file of genes beside the bundle of a scorer
FASTA_VARIABLE = "BORZOI_RT_FASTA"  # where the genome of a scorer lies, if elsewhere than its configuration says


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Queues and instances of the models of a repository.

    Parameters
    ----------
    queue_size : int
        Requests that may wait for one model; more are refused.
    queue_timeout_s : float
        How long a request may wait.
    cpu_queue : bool
        Bound the queues of the CPU configuration too.
    windows : int
        Most windows of one request to a graph; clients of ours cut larger batches.
    scorer_batch : int
        Most variants of one request to the scorer, and of one joined batch.
    explain_passes : int
        Most passes of the network that one request for explanations may cost, a gradient counting as three.
    gpu_instances : int
        Instances of each model on each GPU: every one holds the weights once more.
    cpu_threads : int
        Threads of a model on a CPU; 0 for all usable cores.
    tensorrt : bool
        Build TensorRT engines in FP16 in production, cached under ``/cache/trt``.
    """

    queue_size: int = 64
    queue_timeout_s: float = 60.0
    cpu_queue: bool = False
    windows: int = 32
    scorer_batch: int = 64
    explain_passes: int = 1024
    gpu_instances: int = 1
    cpu_threads: int = 0
    tensorrt: bool = False

    def __post_init__(self) -> None:
        for name in ("queue_size", "windows", "scorer_batch", "explain_passes", "gpu_instances"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; a positive number is needed")
        if self.queue_timeout_s <= 0 or self.cpu_threads < 0:
            raise InputError(f"{self!r}: a positive time-out and 0 or more threads are needed")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One served model, whatever runs it.

    Attributes
    ----------
    name : str
        Of the model, and of its directory.
    identity : str
        A hash of all that its answers depend on.
    inputs, outputs : tuple of Tensor
        ``dims`` without the batch axis where ``max_batch_size`` is positive.
    max_batch_size : int
        0: requests are not joined.
    graph : bool
        An ONNX graph; otherwise a model of the python backend in both configurations.
    parameters : mapping of str to str
        What the model and its clients read.
    """

    name: str
    identity: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 0
    graph: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


def production_config(spec: ModelSpec, limits: Limits) -> str:
    """Return ``config.pbtxt``."""
    if spec.graph:
        head = ['backend: "onnxruntime"', f"default_model_filename: {_quoted(MODEL_FILE)}"]
        tail = [_optimization(spec, limits), _warm_up(spec)]
    else:
        head, tail = ['backend: "python"'], []
    instances = f"instance_group [ {{ count: {limits.gpu_instances}, kind: KIND_GPU }} ]"
    return _joined(spec, limits, head, [instances, _queue(limits)], tail)


def cpu_config(spec: ModelSpec, limits: Limits) -> str:
    """Return ``configs/python-cpu.pbtxt``."""
    resource = 'rate_limiter { resources [ { name: "compute", global: true, count: 1 } ] }'
    instances = f"instance_group [ {{ count: 1, kind: KIND_CPU, {resource} }} ]"
    queue = _queue(limits) if limits.cpu_queue else "" if spec.graph else "dynamic_batching { }"
    return _joined(spec, limits, ['backend: "python"'], [instances, queue], [_warm_up(spec)] if spec.graph else [])


def _joined(
    spec: ModelSpec, limits: Limits, head: Sequence[str], scheduling: Sequence[str], tail: Sequence[str]
) -> str:
    parameters = {**spec.parameters, "identity": spec.identity, "threads": str(limits.cpu_threads)}
    blocks = [
        f"name: {_quoted(spec.name)}",
        *head,
        f"max_batch_size: {spec.max_batch_size}",
        _tensors("input", spec.inputs),
        _tensors("output", spec.outputs),
        f"version_policy {{ specific {{ versions: [ {version_of(spec.identity)} ] }} }}",
        *scheduling,
        f"response_cache {{ enable: {'false' if spec.graph else 'true'} }}",
        *tail,
        *(
            f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _tensors(section: str, tensors: Sequence[Tensor]) -> str:
    rows = []
    for tensor in tensors:
        dims = ", ".join(map(str, tensor.dims))
        kind = "STRING" if tensor.kind == "BYTES" else tensor.kind
        optional = ", optional: true" if tensor.optional else ""
        rows.append(f"  {{ name: {_quoted(tensor.name)}, data_type: TYPE_{kind}, dims: [ {dims} ]{optional} }}")
    return f"{section} [\n" + ",\n".join(rows) + "\n]"


def _queue(limits: Limits) -> str:
    policy = (
        f"timeout_action: REJECT, default_timeout_microseconds: {round(limits.queue_timeout_s * 1e6)}, "
        f"allow_timeout_override: true, max_queue_size: {limits.queue_size}"
    )
    return f"dynamic_batching {{\n  max_queue_delay_microseconds: 0\n  default_queue_policy {{ {policy} }}\n}}"


def _warm_up(spec: ModelSpec) -> str:
    rows = []
    for tensor in spec.inputs:
        dims = ", ".join(str(max(size, 1)) for size in tensor.dims)
        value = f"{{ data_type: TYPE_{tensor.kind}, dims: [ {dims} ], zero_data: true }}"
        rows.append(f"  inputs {{ key: {_quoted(tensor.name)} value {value} }}")
    return 'model_warmup [ {\n  name: "zeros"\n  batch_size: 0\n' + "\n".join(rows) + "\n} ]"


def _optimization(spec: ModelSpec, limits: Limits) -> str:
    pinned = "  input_pinned_memory { enable: true }\n  output_pinned_memory { enable: true }"
    if not limits.tensorrt:
        return f"optimization {{\n{pinned}\n}}"
    engine = {
        "precision_mode": "FP16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": TENSORRT_CACHE,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": TENSORRT_CACHE,
    }
    # All three for every input with an open size, or each new size builds an engine, which takes minutes.
    for bound, size in (("min", 1), ("opt", 1), ("max", 4)):
        engine[f"trt_profile_{bound}_shapes"] = ",".join(
            f"{tensor.name}:{'x'.join(str(size if dim < 0 else dim) for dim in tensor.dims)}"
            for tensor in spec.inputs
            if -1 in tensor.dims and tensor.name != "track_index"
        )
    rows = "\n".join(
        f"    parameters {{ key: {_quoted(key)} value: {_quoted(value)} }}" for key, value in engine.items()
    )
    accelerator = f'execution_accelerators {{ gpu_execution_accelerator [ {{\n    name: "tensorrt"\n{rows}\n  }} ] }}'
    return f"optimization {{\n  {accelerator}\n{pinned}\n}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
