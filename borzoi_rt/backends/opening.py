"""Load a bundle where it is to run."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..bundle.opening import Bundle, open_bundle
from ..errors import ParityError
from .device import Device
from .parity import replay_golden
from .protocols import Parts, Session

_MODULES = {"cpu": "onnx", "cuda": "onnx", "tensorrt": "onnx", "triton": "served"}


def open_session(
    bundle: Bundle | str, device: str | Device = "cpu", *, threads: int | None = None, check: bool | None = None
) -> Session:
    """Load a bundle, to run whole passes.

    Parameters
    ----------
    bundle : Bundle or path
        The model; a path is opened and verified first.
    device : str or Device
        ``cpu``, ``cpu:THREADS``, ``cuda[:N]``, ``tensorrt[:N]``, or ``triton:`` and the address of a model on a Triton
        server, see :mod:`borzoi_rt.backends.address`.
    threads : int, optional
        CPU threads inside one operator; every core this process may use when None.
    check : bool, optional
        Run the bundle's golden example before returning. None checks everywhere but on the CPU, where the exporter has
        done it (a forward pass of the published shape costs half a minute there).

    Returns
    -------
    Session

    Raises
    ------
    InputError
        If there is no such device.
    BackendError
        If the provider or its package is missing; the message names the fix.
    ParityError
        If the golden example gives other numbers here.
    """
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(bundle)
    where = Device.parse(device, threads=threads)
    session: Session = _module(where).open_session(bundle, where)
    if check or (check is None and where.kind != "cpu"):
        try:
            replay_golden(session, bundle)
        except ParityError:
            session.close()
            raise
    return session


def open_parts(bundle: Bundle, device: str | Device = "cpu", *, threads: int | None = None) -> Parts:
    """Prepare the split graphs of a bundle; parameters and errors as in :func:`open_session`."""
    where = Device.parse(device, threads=threads)
    parts: Parts = _module(where).open_parts(bundle, where)
    return parts


def _module(device: Device) -> Any:
    return import_module(f".{_MODULES[device.kind]}", __package__)
