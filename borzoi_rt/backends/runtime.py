"""The only door to onnxruntime: its import, its options, and a graph loaded where it is to run."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from ..bundle.names import GRADIENT_BODY, SLOPES
from ..bundle.opening import Bundle
from ..errors import BackendError, FormatError, missing_package
from .cores import cache_root, usable_cores
from .device import Device

# Environment of every process that imports onnxruntime, ours and a server's.
NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1"}
_DEFAULT_STREAM = "1"  # cudaStreamLegacy of the CUDA runtime: the one queue that needs no library to make it
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def load_graph(bundle: Bundle, graph: str, device: Device, *, queued: bool = False) -> Any:
    """Load one graph of a bundle; ``queued`` as in :func:`open_on`.

    Raises
    ------
    BackendError
        If onnxruntime or the provider is missing, or the provider did not start; the CPU is never a silent fallback.
    FormatError
        If the graph cannot be read.
    """
    cache = _engine_cache(bundle) if device.kind == "tensorrt" else None
    channels_last = bundle.info.target == "gpu"
    # There is a graph of slopes for every block, run once for a window: each would keep what its way back took, 0.9 GB.
    arena = not graph.startswith(SLOPES)
    # Planned as one block beside what the first run left, the second run would need 16 GB of memory instead of 10.
    planned = arena and graph != GRADIENT_BODY
    return open_on(
        bundle.check_graph(graph),
        device,
        engine_cache=cache,
        channels_last=channels_last,
        planned=planned,
        arena=arena,
        queued=queued,
    )


def open_on(
    graph: os.PathLike[str] | str | bytes,
    device: Device,
    *,
    engine_cache: Path | None = None,
    channels_last: bool = False,
    planned: bool = True,
    arena: bool = True,
    queued: bool = False,
) -> Any:
    """Load a graph, a file or its bytes, and make sure that the provider asked for is the one that runs it.

    ``engine_cache`` is where TensorRT keeps what it builds; ``channels_last`` lets CUDA turn convolutions and what lies
    between them to the layout that its kernels take; ``planned`` lets onnxruntime lay activations out in one block
    after the first run, and ``arena`` keep what memory they took on a CPU; ``queued`` puts the work of every such
    session on CUDA into one queue of the card, so that a run may follow another without waiting for it. Errors as in
    :func:`load_graph`.
    """
    check_provider(device)
    runtime, wanted = onnxruntime(device), PROVIDERS[device.kind]
    model, name = (graph, "a graph of our own") if isinstance(graph, bytes) else (str(graph), str(graph))
    providers = _providers(device, engine_cache, channels_last, queued)
    options = _session_options(runtime, device)
    options.enable_mem_pattern = planned
    options.enable_cpu_mem_arena = arena
    try:
        session = runtime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base below Exception
        if device.kind == "cpu":
            raise FormatError(f"{name}: onnxruntime cannot load the graph ({line(error)})") from error
        raise BackendError(f"{name}: onnxruntime cannot start {device.kind!r} ({line(error)})") from error
    # onnxruntime only warns when a provider's libraries do not load, and carries on with the CPU.
    started = session.get_providers()[0]
    if started != wanted:
        raise BackendError(
            f"provider {device.kind!r} is installed but did not start (onnxruntime fell back to {started}); "
            "check the CUDA, cuDNN and TensorRT libraries and the driver, or choose the device cpu"
        )
    return session


def check_provider(device: Device) -> None:
    """Refuse a device whose provider this onnxruntime lacks."""
    available = onnxruntime().get_available_providers()
    if PROVIDERS[device.kind] not in available:
        raise BackendError(
            f"device {str(device)!r} was asked for, but this onnxruntime has {', '.join(available)}; "
            "install the GPU build in an environment without the CPU one: pip install 'borzoi-rt[gpu]'"
        )


def onnxruntime(device: Device | None = None) -> ModuleType:
    """Import onnxruntime, for a GPU with CUDA and cuDNN of the packages installed beside it."""
    # From release 1.29 on it writes an identifier under HOME and reports to its maker, unless told so before import.
    os.environ.update(NO_REPORTS)
    try:
        import onnxruntime as module
    except ImportError as error:
        raise missing_package(error, "onnxruntime", "cpu") from error
    module.disable_telemetry_events()  # where somebody else has imported it before
    if device is not None and device.gpu and hasattr(module, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            module.preload_dlls()  # a bare machine has a driver and no libraries in the linker's path
    runtime: ModuleType = module
    return runtime


def line(error: Exception) -> str:
    """Return what an exception of onnxruntime says, in one line."""
    return " ".join(str(error).split())[:300]


def _session_options(runtime: ModuleType, device: Device) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # The graph is one chain of large operators: all threads inside the operator, none between operators.
    # One level below "all": the blocked layout pads the 8 channels of a Cook-Toom tile to 16 and reorders twice.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    # Threads stop waiting for work when a run ends: several graphs take turns, and would else compete for the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.intra_op_num_threads = device.threads or usable_cores()
    options.use_deterministic_compute = device.gpu
    return options


def _providers(device: Device, engine_cache: Path | None, channels_last: bool, queued: bool) -> list[Any]:
    if device.kind == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = {
        "device_id": device.number,
        # Activations differ by stage from 10 MB to 1 GB, doubling the arena would waste most of a card.
        "arena_extend_strategy": "kSameAsRequested",
        # EXHAUSTIVE times kernels, so that two processes may take two; what it took was 50 times as slow.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": int(device.tf32),
        "prefer_nhwc": int(channels_last),
    }
    if device.kind == "cuda":
        if queued:
            cuda["user_compute_stream"] = _DEFAULT_STREAM
        return [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    tensorrt = {"device_id": device.number, "trt_engine_cache_enable": True, "trt_engine_cache_path": str(engine_cache)}
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]


def _engine_cache(bundle: Bundle) -> Path:
    """Return the folder of TensorRT engines of one bundle; engines take minutes to build and depend on its hash."""
    cache = cache_root() / "borzoi_rt" / "tensorrt" / bundle.sha256[:16]
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(
            f"{cache}: cannot be made ({error.strerror}); TensorRT keeps its engines there, name another folder in "
            "XDG_CACHE_HOME"
        ) from error
    return cache
