"""onnxruntime, in process: the only door to it."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..errors import BackendError, FormatError, InputError
from ..manifest import Geometry
from . import check_run_input

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxSession:
    """A bundle loaded into onnxruntime; made by :func:`open_session`."""

    def __init__(self, session: Any, geometry: Geometry, tracks_count: int, provider: str) -> None:
        self._session = session
        self.geometry = geometry
        self.tracks_count = tracks_count
        self.provider = provider

    def run(self, sequence: np.ndarray, track_index: np.ndarray | None = None, *, n_fill: float = 0.0) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Session.run`."""
        if self._session is None:
            raise BackendError("this session is closed; open another with open_session")
        index = check_run_input(sequence, track_index, self.geometry, self.tracks_count)
        coverage = np.empty((len(sequence), len(index), self.geometry.bins), dtype=np.float32)
        if not coverage.size:
            return coverage
        # Bound to our own buffer, the output is written once; session.run would hand over a copy of up to 187 MB.
        binding = self._session.io_binding()
        binding.bind_cpu_input("sequence", np.ascontiguousarray(sequence))
        binding.bind_cpu_input("track_index", index)
        binding.bind_cpu_input("n_fill", np.asarray(n_fill, dtype=np.float32))
        binding.bind_output("coverage", "cpu", 0, np.float32, coverage.shape, coverage.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise BackendError(f"onnxruntime ({self.provider}) failed on {sequence.shape}: {_line(error)}") from error
        return coverage

    def close(self) -> None:
        """Free the graph and its arenas."""
        self._session = None


def open_session(bundle: Bundle, device: str, *, threads: int | None = None) -> OnnxSession:
    """Load the ``predict`` graph of a bundle on ``cpu``, ``cuda[:N]`` or ``tensorrt[:N]``.

    Raises
    ------
    BackendError
        If onnxruntime or the provider is missing, or the provider did not start; the CPU is never a silent fallback.
    FormatError
        If the graph cannot be read.
    """
    kind, _, ordinal = device.partition(":")
    if kind not in PROVIDERS or (ordinal and not ordinal.isdigit()) or (kind == "cpu" and ordinal):
        raise InputError(f"onnxruntime device {device!r} is unknown; allowed: cpu, cuda[:N], tensorrt[:N]")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; a positive number is needed")
    runtime = _onnxruntime()
    wanted = PROVIDERS[kind]
    available = runtime.get_available_providers()
    if wanted not in available:
        raise BackendError(
            f"provider {kind!r} was asked for, but this onnxruntime has {', '.join(available)}; "
            "install the GPU build in an environment without the CPU one: pip install 'borzoi-rt[gpu]'"
        )
    path = bundle.graph_path()
    providers = _providers(kind, int(ordinal or 0), bundle)
    try:
        session = runtime.InferenceSession(str(path), _session_options(runtime, threads), providers=providers)
    except Exception as error:  # see run
        if kind == "cpu":
            raise FormatError(f"{path}: onnxruntime cannot load the graph ({_line(error)})") from error
        raise BackendError(f"{path}: onnxruntime cannot start {kind!r} ({_line(error)})") from error
    # onnxruntime only warns when a provider's libraries do not load, and carries on with the CPU.
    if session.get_providers()[0] != wanted:
        raise BackendError(
            f"provider {kind!r} is installed but did not start (onnxruntime fell back to {session.get_providers()[0]}); "
            "check the CUDA, cuDNN and TensorRT libraries and the driver, or pass --provider cpu"
        )
    name = kind if kind == "cpu" else f"{kind}:{int(ordinal or 0)}"
    return OnnxSession(session, bundle.geometry, len(bundle.tracks), name)


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "onnxruntime is not installed; pip install 'borzoi-rt[cpu]' (or 'borzoi-rt[gpu]' for NVIDIA)"
        ) from error
    return onnxruntime


def _session_options(runtime: ModuleType, threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # The graph is one chain of large operators: all threads inside the operator, none between operators.
    # One level below "all": the blocked layout pads the 8 channels of a Cook-Toom tile to 16 and reorders twice.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    return options


def _providers(kind: str, ordinal: int, bundle: Bundle) -> list[Any]:
    # kSameAsRequested: activations differ by stage from 10 MB to 1 GB, doubling the arena would waste most of a card.
    cuda = {
        "device_id": ordinal,
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "use_tf32": 0,
    }
    if kind == "cpu":
        return [PROVIDERS["cpu"]]
    if kind == "cuda":
        return [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    cache = _engine_cache(bundle)
    tensorrt = {"device_id": ordinal, "trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)}
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]


def _engine_cache(bundle: Bundle) -> Path:
    """Return the folder of TensorRT engines of one bundle; engines take minutes to build and depend on its hash."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = root / "borzoi_rt" / "tensorrt" / bundle.sha256[:16]
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
