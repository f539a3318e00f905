"""Open a bundle and check every file of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, InputError
from ..plain import path_of
from ..squash import Squash
from ..tracks import TrackTable
from .files import check_files, read_manifest
from .golden import read_golden
from .graph_check import check_graph_file, check_signature, weights_beside
from .graph_memory import Limits
from .manifest import BundleInfo, FileEntry, Geometry, check_texts, read_file_list
from .names import GOLDEN as GOLDEN
from .names import MANIFEST as MANIFEST
from .names import STATISTICS as STATISTICS
from .names import TRACKS as TRACKS
from .names import WEIGHTS as WEIGHTS


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; nothing is loaded into a backend yet.

    Attributes
    ----------
    path : Path
        The directory.
    info : BundleInfo
        The manifest.
    files : dict of str to FileEntry
        Size and hash of every file but the manifest.
    sha256 : str
        Hash of ``bundle.json``, which fixes the hashes of all other files: the identity of the model.
    """

    path: Path
    info: BundleInfo
    files: Mapping[str, FileEntry]
    sha256: str

    def __repr__(self) -> str:
        grid = self.geometry
        return (
            f"<Bundle {self.path}: {self.info.name}, {grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of "
            f"{grid.bin_size_bp} bp, squash {self.info.squash.kind}>"
        )

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self.info.geometry

    @cached_property
    def tracks(self) -> TrackTable:
        """The track table, one row per output."""
        return TrackTable.read(self.path / TRACKS)

    def squash(
        self,
        positions: np.ndarray | None = None,
        *,
        kind: str | None = None,
        unscale: bool | None = None,
        unclip: bool | None = None,
    ) -> Squash:
        """Return the squashed scale of the selected tracks; None keeps what the manifest says."""
        spec = self.info.squash
        tracks = self.tracks if positions is None else self.tracks.take(positions)
        return Squash.from_tracks(
            tracks,
            kind=kind or spec.kind,
            unscale=spec.unscale if unscale is None else unscale,
            unclip=spec.unclip if unclip is None else unclip,
        )

    def graph_path(self, name: str = "predict") -> Path:
        """Return the file of a graph.

        Raises
        ------
        InputError
            If the bundle has no graph of that name.
        """
        if name not in self.info.graphs:
            raise InputError(f"{self.path.name} has no graph {name!r}; it has {', '.join(sorted(self.info.graphs))}")
        return self.path / self.info.graphs[name].file

    def golden(self) -> dict[str, np.ndarray]:
        """Return the stored example: ``sequence`` (n, 4, length), ``track_index`` (t,), ``coverage`` (n, t, bins)."""
        return read_golden(self.path / GOLDEN, self.geometry)

    def check_graph(self, name: str) -> Path:
        """Return the file of a graph after a look at what it holds; see :mod:`borzoi_rt.bundle.graph_check`.

        Raises
        ------
        FormatError
            If a bundle may not hold such a graph, or the manifest says otherwise of it.
        """
        path, stated = self.graph_path(name), self.info.graphs[name]
        # While a bundle is written it lists no files yet.
        size = self.files[WEIGHTS].bytes if WEIGHTS in self.files else weights_beside(path)
        grid = self.geometry
        limits = Limits(grid.sequence_length_bp, grid.bins, len(self.tracks), size)
        facts = check_graph_file(path, weights_bytes=size, limits=limits)
        check_signature(facts, name, stated.inputs, stated.outputs, grid.sequence_length_bp)
        return path


def open_bundle(path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
    """Open a bundle directory.

    Parameters
    ----------
    path : path
        The directory.
    verify : bool
        Compare the SHA-256 of every file (about 1 s per GB) and look into the graphs. Without it only names and sizes
        are checked; a graph is looked into whenever it is loaded.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If anything is missing, unlisted, changed or malformed; the message names the file.
    """
    directory = path_of("bundle", path)
    manifest_path = directory / MANIFEST
    if not directory.is_dir():
        raise FormatError(f"{directory}: no such bundle directory; `borzoi-rt get` or `borzoi-rt export` makes one")
    raw = read_manifest(directory)
    try:
        document = json.loads(raw, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{manifest_path}: not JSON ({error}); copy the bundle again") from error
    if not isinstance(document, dict):
        raise FormatError(f"{manifest_path}: holds {type(document).__name__}; a JSON object is needed")
    check_texts(document, str(manifest_path))
    info = BundleInfo.from_json(document, str(manifest_path))
    files = read_file_list(document, str(manifest_path))
    check_files(directory, files, hashes=verify)
    for graph in info.graphs.values():
        if graph.file not in files:
            raise FormatError(f"{manifest_path}: graph file {graph.file!r} is not among the listed files")
    known = {TRACKS, GOLDEN, WEIGHTS, *(graph.file for graph in info.graphs.values())}
    for name in sorted(files.keys() - known):
        raise FormatError(f"{manifest_path}: {name} is listed, but is no graph of the manifest")
    for name in (TRACKS, GOLDEN):
        if name not in files:
            raise FormatError(f"{manifest_path}: {name} is not among the listed files")
    bundle = Bundle(path=directory, info=info, files=files, sha256=hashlib.sha256(raw).hexdigest())
    for name in info.graphs if verify else ():
        bundle.check_graph(name)
    stated = info.architecture.get("tracks")
    if stated is not None and len(bundle.tracks) != stated:
        raise FormatError(
            f"{directory / TRACKS}: {len(bundle.tracks)} rows, {MANIFEST} says that the head has {stated!r} outputs; "
            "export the model again with the table it was trained with"
        )
    return bundle


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found
