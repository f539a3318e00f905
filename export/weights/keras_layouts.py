"""Layers and their tensors in the two layouts that Keras has for weights, read with h5py alone.

``.h5`` of Keras 2, and of ``model.save("m.h5")`` in Keras 3 (the legacy layout): the attribute ``layer_names`` lists
the layers, ``weight_names`` of each its tensors.

``.weights.h5`` and the archive ``.keras`` of Keras 3: ``layers/NAME/vars/NUMBER``, numbered in the order in which the
layer made them; a layer inside another lies below it under the attribute that holds it. Eight tensors of an attention
that has no layers inside it are taken in the order of the legacy layout.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from borzoi_rt.errors import FormatError

Layers = list[tuple[str, list[NDArray[np.float32]]]]

_LAYERS = ("layers", "_layer_checkpoint_dependencies")  # the second in the first versions of the layout
_ARCHIVED, _LARGEST = "model.weights.h5", 16 * 2**30
# Of the attention: the layers inside it in the order in which the legacy layout lists their tensors.
_INNER = ("q_layer", "k_layer", "v_layer", "embedding_layer", "r_k_layer")
_INNER_SIZES = {"embedding_layer": 2}
_SAVE = "save it by model.save('model.h5') or, in Keras 2, model.save_weights('model.h5'), whose layout is read"


class _LayoutError(Exception):
    """The file is whole, but its layout is not one that can be read."""


def read_layers(path: Path) -> Layers:
    """Return the layers that have tensors, with the tensors of each in the order of the legacy layout.

    Raises
    ------
    FormatError
        If there is no such file, it is damaged, or it has another layout; the message says what to do.
    """
    try:
        with h5py.File(_hdf5(path), "r") as file:
            group = _member(file, "model_weights") if "model_weights" in list(file) else file
            if "layer_names" in group.attrs:
                return _legacy(group)
            return _numbered(file)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such weight file") from None
    except _LayoutError as error:
        raise FormatError(f"{path}: {error}; {_SAVE}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: not a complete Keras HDF5 weight file ({reason}); copy it again") from error


def _hdf5(path: Path) -> Path | io.BytesIO:
    """Return the HDF5 file: the path itself, or the weights of a ``.keras`` archive."""
    if path.is_dir() and (path / "saved_model.pb").is_file():
        raise _LayoutError("a TensorFlow SavedModel, not a weight file")
    if not path.is_file() or not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if _ARCHIVED not in names:
            found = ", ".join(names[:3]) or "nothing"
            raise _LayoutError(
                f"an archive without {_ARCHIVED} (it holds {found}); a .keras file has its weights there"
            )
        if archive.getinfo(_ARCHIVED).file_size > _LARGEST:
            raise _LayoutError(f"{_ARCHIVED} in it is larger than 16 GiB")
        return io.BytesIO(archive.read(_ARCHIVED))


def _legacy(group: Any) -> Layers:
    found = []
    for layer in map(_text, np.atleast_1d(group.attrs["layer_names"])):
        held = _member(group, layer)
        names = [_text(name) for name in np.atleast_1d(held.attrs["weight_names"])]
        if names:
            found.append((layer, [_tensor(held, name) for name in names]))
    return found


def _numbered(file: Any) -> Layers:
    root = next((name for name in _LAYERS if name in list(file)), None)
    if root is None:
        groups = ", ".join(map(repr, list(file)[:4])) or "nothing"
        raise _LayoutError(
            f"HDF5, but neither with layer_names (Keras .h5) nor with layers/ (Keras 3); it holds {groups}"
        )
    layers = _member(file, root)
    _check_group(layers)
    found = []
    for name in layers:
        tensors = list(_layer_tensors(name, _member(layers, name)))
        if tensors:
            found.append((name, tensors))
    if not found:
        raise _LayoutError(f"the Keras 3 layout, but no layer below {root}/ has weights")
    return found


def _layer_tensors(name: str, layer: Any) -> Iterator[NDArray[np.float32]]:
    """Yield the tensors of a layer: its own, then those of the layers inside it in the order that is known."""
    _check_group(layer)
    inner = {}
    for child in layer:
        if child != "vars" and _own_count(_member(layer, child)):
            inner[child.lstrip("_")] = _member(layer, child)
    inner.pop("seed_generator", None)  # the state of a dropout's random numbers
    yield from _own(layer)
    if not inner:
        return
    if inner.keys() != set(_INNER):
        raise _LayoutError(f"the Keras 3 layout, but layer {name!r} holds the layers {', '.join(sorted(inner))}")
    for part in _INNER:
        tensors = list(_own(inner[part]))
        if len(tensors) != _INNER_SIZES.get(part, 1):
            raise _LayoutError(f"the Keras 3 layout, but {part} of layer {name!r} has {len(tensors)} tensors")
        yield from tensors


def _own_count(layer: Any) -> int:
    """Return how many members a layer has, of its own or inside others."""
    _check_group(layer)
    return sum(len(_member(layer, child)) if child == "vars" else _own_count(_member(layer, child)) for child in layer)


def _check_group(layer: Any) -> None:
    if not isinstance(layer, h5py.Group):
        raise _LayoutError(f"the Keras 3 layout, but {layer.name!r} is not a group")


def _own(layer: Any) -> list[NDArray[np.float32]]:
    held = _member(layer, "vars") if "vars" in list(layer) else None
    if held is None:
        return []
    names = sorted(held, key=lambda name: (len(name), name))
    if names != [str(number) for number in range(len(names))]:
        raise _LayoutError(
            f"the Keras 3 layout, but the tensors in {held.name!r} are {', '.join(names)}, not 0, 1, ..."
        )
    return [_tensor(held, name) for name in names]


def _member(group: Any, name: str) -> Any:
    """Return what a path inside a group names, by hard links only: the others can lead into other files."""
    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group):
            raise ValueError(f"{group.name!r} is not a group")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{part!r} in {group.name!r} is a link; weights must lie in the file itself")
        group = group[part]
    return group


def _tensor(layer: Any, name: str) -> NDArray[np.float32]:
    values = _member(layer, name)
    if not isinstance(values, h5py.Dataset) or values.dtype.kind != "f":
        raise ValueError(f"{values.name!r} is not an array of floating-point numbers")
    if values.external or values.is_virtual:
        raise ValueError(f"{values.name!r} keeps its values in another file")
    return np.asarray(values[()], dtype=np.float32)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
