"""Load a bundle into a backend."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..bundle import Bundle, open_bundle
from ..errors import InputError, ParityError
from .parity import replay_golden
from .protocols import Parts, Session

BACKENDS = {"onnx": "onnx", "triton": "served"}
KNOWN = "onnx:cpu, onnx:cuda[:N], onnx:tensorrt[:N], triton:grpc://HOST:PORT/MODEL (or grpcs, http, https)"


def open_session(
    bundle: Bundle | str, backend: str = "onnx:cpu", *, threads: int | None = None, check: bool | None = None
) -> Session:
    """Load a bundle into a backend.

    Parameters
    ----------
    bundle : Bundle or path
        The model; a path is opened and verified first.
    backend : str
        ``onnx:cpu``, ``onnx:cuda[:device]``, ``onnx:tensorrt[:device]``, or ``triton:`` and the address of a model on a
        Triton server, see :mod:`borzoi_rt.backends.address`.
    threads : int, optional
        CPU threads inside one operator; the cores this process may use when None.
    check : bool, optional
        Run the bundle's golden example before returning. None checks everywhere but on the CPU provider, where the
        exporter has done it (a forward pass of the published shape costs half a minute there).

    Returns
    -------
    Session

    Raises
    ------
    BackendError
        If the provider or its package is missing; the message names the fix.
    ParityError
        If the golden example gives other numbers here.
    """
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(bundle)
    module, device = _backend(backend)
    session: Session = module.open_session(bundle, device, threads=threads)
    if check or (check is None and session.provider != "cpu"):
        try:
            replay_golden(session, bundle)
        except ParityError:
            session.close()
            raise
    return session


def open_parts(bundle: Bundle, backend: str = "onnx:cpu", *, threads: int | None = None) -> Parts:
    """Prepare the split graphs of a bundle; parameters and errors as in :func:`open_session`."""
    module, device = _backend(backend)
    parts: Parts = module.open_parts(bundle, device, threads=threads)
    return parts


def _backend(backend: str) -> tuple[Any, str]:
    """Return the module of a backend and the device in it."""
    name, _, device = backend.partition(":")
    if name not in BACKENDS or not device:
        raise InputError(f"backend {backend!r} is unknown; allowed: {KNOWN}")
    return import_module(f".{BACKENDS[name]}", __package__), device
