"""Optional packages: which extra brings what, and which command needs which."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from ..errors import BackendError

EXPORT_WORLD = "borzoi_export"  # all that may import torch

# Import roots of the extras of pyproject.toml.
_EXPORT = ("torch", "onnx", "networkx", "safetensors", "huggingface_hub")
PACKAGES: dict[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),
    "promoter": ("pyfftw", "lightmotif"),
    "ray": ("ray",),
    "report": ("jinja2",),
    "neighbours": ("faiss",),
    "surrogate": ("sklearn",),
    "triton": ("tritonclient", "onnx"),
    "explain": _EXPORT,
    "export": _EXPORT,
    "train": (*_EXPORT, "lightning", "tensorboard", "peft", "yaml"),
}
# What a command cannot do without; that of the longest name counts. Commands that a server can serve (``score`` and
# others) are not here: they need onnxruntime or a client of Triton, and the one that is used says what is missing.
NEEDS: dict[str, tuple[str, ...]] = {
    "bench": ("cpu",),
    "bottleneck": ("surrogate",),
    "demo": ("cpu",),
    "dft": ("promoter",),
    "explain rate": ("report",),
    "export": ("cpu", "export"),
    "get": ("cpu", "export"),
    "promoter": ("export",),
    "promoter export": ("cpu", "export"),
    "promoter puffin": ("cpu", "export"),
    "promoter train": ("train",),
    "report": ("report",),
    "surrogate": ("surrogate",),
    "tcav": ("surrogate",),
    "train": ("train",),
    "triton check": ("triton",),
    "triton lint": ("triton",),
    "triton repo": ("triton",),
}


def needs_of(words: Iterable[str]) -> tuple[str, ...]:
    """Return the extras that a command needs.

    Parameters
    ----------
    words : iterable of str
        Its name, and that of the command below it where there is one.
    """
    parts = list(words)
    for count in range(len(parts), 0, -1):
        found = NEEDS.get(" ".join(parts[:count]))
        if found is not None:
            return found
    return ()


def check_extras(words: Iterable[str]) -> None:
    """Refuse a command whose packages are missing, with the one line that installs them all.

    Raises
    ------
    BackendError
        Naming what is missing.
    """
    parts = list(words)
    extras = needs_of(parts)
    missing = {extra: [name for name in PACKAGES[extra] if find_spec(name) is None] for extra in extras}
    wanted = [extra for extra in extras if missing[extra]]
    if not wanted:
        return
    names = ", ".join(dict.fromkeys(name for extra in wanted for name in missing[extra]))
    raise BackendError(f"`{' '.join(parts)}` needs {names}; pip install 'borzoi-rt[{','.join(wanted)}]'")
