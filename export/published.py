"""Published weights by name -> bundle: what is fetched, where it is kept, and what to do without a network."""

from __future__ import annotations

import os
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

from borzoi_rt.backends.cores import cache_root
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.writing import check_bundle_target
from borzoi_rt.errors import BackendError, FormatError
from borzoi_rt.published import DOWNLOAD, Published, published

from .convert import convert_calico, convert_torch
from .weights.hub import WEIGHT_NAMES, locate

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


def get_bundle(
    name: str,
    out: str | os.PathLike[str],
    *,
    files: str | os.PathLike[str] | None = None,
    targets: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    unscale: bool = False,
    unclip: bool = True,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Bundle:
    """Download published weights, unless they are in the cache, and export them with the squash kind they have.

    Parameters
    ----------
    name : str
        A key of :data:`borzoi_rt.published.PUBLISHED`.
    out : path
        Bundle to make.
    files : path, optional
        Directory with the files, fetched by hand under the names of :meth:`borzoi_rt.published.Published.addresses`;
        nothing is downloaded then.
    targets : path, optional
        Another targets table than the published one.
    revision : str, optional
        Branch, tag or commit of a Hugging Face repository.
    unscale, unclip : bool
        Defaults of the inverse of the squash.
    say : callable, optional
        Is told of every download.
    **options
        See :func:`borzoi_export.convert.convert_calico`.

    Raises
    ------
    InputError
        If no published weights have this name.
    BackendError
        If a file cannot be downloaded; the message says what to fetch and where to put it.
    FormatError
        If the directory lacks a file.
    """
    entry = published(name)
    check_bundle_target(Path(out), overwrite=options.get("overwrite", False))
    folder = Path(files) if files is not None else None
    if folder is not None:
        _check_folder(entry, folder, table=targets is None)
    table = Path(targets) if targets is not None else _file(entry, entry.targets, folder, say)
    shared: dict[str, Any] = {"squash": SquashSpec(kind=entry.squash, unscale=unscale, unclip=unclip), "name": name}
    if entry.repository is None:
        weights, params = (_file(entry, file, folder, say) for file in (entry.weights, "params.json"))
        return convert_calico(weights, params, table, out, head=int(entry.head == "mouse"), **shared, **options)
    if folder is None:
        say(f"{entry.repository}: reading from the Hugging Face hub, or from its cache")
        try:
            where = locate(entry.repository, revision=revision)[0]
        except BackendError as error:
            raise BackendError(f"{error}. {_by_hand(entry)}") from error
    else:
        where = locate(folder)[0]
    return convert_torch(where, table, out, head=entry.head, **shared, **options)


def _check_folder(entry: Published, folder: Path, *, table: bool) -> None:
    wanted = [name for name in entry.addresses() if table or name != entry.targets]
    missing = [
        name
        for name in wanted
        if not (folder / name).is_file()
        and not (name == WEIGHT_NAMES[0] and any((folder / other).is_file() for other in WEIGHT_NAMES))
    ]
    if missing:
        raise FormatError(f"{folder}: lacks {', '.join(missing)}. {_by_hand(entry, missing)}")


def _by_hand(entry: Published, names: list[str] | None = None) -> str:
    """Return what to fetch and the command that goes on: a line to paste, hence with its options."""
    size = f" ({DOWNLOAD})" if names is None or entry.weights in names else ""
    addresses = [address for name, address in entry.addresses().items() if names is None or name in names]
    return (
        f"Fetch {' and '.join(addresses)}{size} into a directory DIR, then "
        f"`borzoi-rt get {entry.name} --files DIR --out BUNDLE`"
    )


def _file(entry: Published, name: str, folder: Path | None, say: Callable[[str], None]) -> Path:
    """Return a file: of the directory, of the cache, or downloaded into it."""
    if folder is not None:
        return folder / name
    kept = cache_root() / "borzoi_rt" / "published" / entry.name / name
    if not kept.is_file():
        say(f"{entry.files[name]}: downloading to {kept}")
        try:
            _download(entry.files[name], kept)
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise BackendError(f"{entry.files[name]}: cannot be downloaded ({reason}). {_by_hand(entry)}") from error
    return kept


def _download(address: str, path: Path) -> None:
    """Write what an address holds; the name appears when the file is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer, draft.open("wb") as handle:
            shutil.copyfileobj(answer, handle, _CHUNK)
            size = answer.headers.get("Content-Length")
        if size is not None and draft.stat().st_size != int(size):
            raise ValueError(f"{draft.stat().st_size} of {size} bytes came")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
