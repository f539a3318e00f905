"""The model on disk. This docstring is the format page, version 1.

A bundle is a directory.

- It MUST hold ``bundle.json`` (UTF-8 JSON): ``format`` is ``"borzoi-rt-bundle"``, ``format_version`` is 1, and the keys
  of :class:`borzoi_rt.manifest.BundleInfo` follow.
- ``files`` MUST list every other file of the directory with its ``sha256`` and ``bytes``. The set is closed: a
  file that is not listed, a listed file that is missing, a sub-directory, a symbolic link, a name with ``/`` or ``..``
  and a wrong size or hash are errors.
- ``tracks.tsv`` MUST be a Calico targets table with one row per output of the ``predict`` graph, in order.
- ``graphs`` MUST name ``predict``: inputs ``sequence`` uint8 ``(batch, 4, length)`` in the order A, C, G, T (a
  column of zeros is an unknown base), ``track_index`` int64 ``(tracks,)`` and ``n_fill`` float32 ``()``; output
  ``coverage`` float32 ``(batch, tracks, bins)`` in squashed scale.
- ``tiling`` MAY describe the same network in parts (:class:`borzoi_rt.manifest.Tiling`). ``graphs`` MUST then name
  ``trunk_tile`` (``sequence`` and ``n_fill`` to ``tokens`` and ``skip_0, ...``, all ``(batch, positions, channels)``),
  every body of the tiling (these, cropped to its ``skips``, and ``token_start`` if it moves, to ``embedding``), and
  ``head`` (``embedding`` and ``track_index`` to ``coverage``).
- ``graphs`` MAY then name ``statistics``, which sums the coverage of two alleles over bins: ``ref`` and ``alt`` float32
  ``(views, bins, channels)``, embeddings; ``ref_share`` and ``alt_share`` float32 ``(views, bins)``; ``ref_tracks`` and
  ``alt_tracks`` int64 ``(views, tracks)``, the output a view reads for a track; ``divisor``, ``knee``, ``factor``
  float32 and ``powered`` bool ``(tracks,)``, see :meth:`borzoi_rt.squash.Squash.inverse_terms`; ``strand_share``
  float64 ``(rows, strands)``, tracks being rows x strands. Outputs, float64, are those of
  :class:`borzoi_rt.backends.BinSums`, each with a leading axis: ``ref_sum, alt_sum, absolute_sum, square_sum`` of 3
  scales, ``extreme`` of 1.
- Where ``architecture.family`` is ``"promoter"``, ``predict`` MUST also take ``mask`` and ``fill``, float32
  ``(1 or batch, channels, 1 or length)``, and give ``activations``, float32 ``(batch, channels, length)``: the model
  replaces its motif activations a by ``a * mask + fill``. Channels are the motifs of ``architecture.motif_names`` as
  written, then their reverse complements; zeros in the mask at m and m + motifs remove motif m. Both inputs MUST have
  defaults (ones and zeros) in the graph, so that a reader MAY leave them out. ``architecture.tss_bp`` is the 0-based
  place of the TSS in the window, ``architecture.scale`` the scale of the coverage (``"log1p"``: ln(1 + count)), and
  ``architecture.scored`` says how many motifs, from the first, enter the normalised DFT score.
- All graphs SHOULD keep their weights in one external data file, ``weights.bin``.
- ``squash.kind`` MUST be one of ``old, new, bp_old, bp_new, none``; readers MUST NOT assume a default.
- ``golden.npz`` MUST hold ``sequence``, ``track_index`` and ``coverage``: what the exporter's onnxruntime gave for a
  short input. Readers MUST load it without pickle. :func:`borzoi_rt.backends.replay_golden` runs it again.
- Nothing in a bundle is a pickle, and nothing in it is executed but the ONNX graphs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FormatError, InputError
from .manifest import BundleInfo, FileEntry, Geometry, all_finite, check_file_name, read_file_list
from .squash import Squash
from .tracks import TrackTable

MANIFEST = "bundle.json"
TRACKS = "tracks.tsv"
GOLDEN = "golden.npz"
WEIGHTS = "weights.bin"
STATISTICS = "statistics"


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

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self.info.geometry

    @cached_property
    def tracks(self) -> TrackTable:
        """The track table, one row per output."""
        return TrackTable.read(self.path / TRACKS)

    def squash(
        self, positions: np.ndarray | None = None, *, unscale: bool | None = None, unclip: bool | None = None
    ) -> Squash:
        """Return the squashed scale of the selected tracks; None keeps what the manifest says."""
        spec = self.info.squash
        tracks = self.tracks if positions is None else self.tracks.take(positions)
        return Squash.from_tracks(
            tracks,
            kind=spec.kind,
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
        path = self.path / GOLDEN
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in ("sequence", "track_index", "coverage")}
        # TypeError: a lone .npy array is no archive.
        except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise FormatError(f"{path}: not a golden archive ({error}); export the model again") from error
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # NumPy gives the bytes of what does not begin as an array does
                raise FormatError(f"{path}: not a golden archive ({name} is no array); export the model again")
        return arrays


def open_bundle(path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
    """Open a bundle directory.

    Parameters
    ----------
    path : path
        The directory.
    verify : bool
        Compare the size and SHA-256 of every file (about 1 s per GB). Without it only names and sizes are checked.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If anything is missing, unlisted, changed or malformed; the message names the file.
    """
    directory = Path(path)
    manifest_path = directory / MANIFEST
    if not directory.is_dir():
        raise FormatError(f"{directory}: no such bundle directory; `borzoi-rt export` makes one")
    try:
        raw = manifest_path.read_bytes()
    except OSError as error:
        raise FormatError(f"{directory}: not a bundle, {MANIFEST} cannot be read ({error.strerror})") from error
    try:
        document = json.loads(raw, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{manifest_path}: not JSON ({error}); copy the bundle again") from error
    if not isinstance(document, dict):
        raise FormatError(f"{manifest_path}: holds {type(document).__name__}; a JSON object is needed")
    info = BundleInfo.from_json(document, str(manifest_path))
    files = read_file_list(document, str(manifest_path))
    _check_files(directory, files, hashes=verify)
    for graph in info.graphs.values():
        if graph.file not in files:
            raise FormatError(f"{manifest_path}: graph file {graph.file!r} is not among the listed files")
    for name in (TRACKS, GOLDEN):
        if name not in files:
            raise FormatError(f"{manifest_path}: {name} is not among the listed files")
    return Bundle(path=directory, info=info, files=files, sha256=hashlib.sha256(raw).hexdigest())


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found


def _check_files(directory: Path, files: Mapping[str, FileEntry], *, hashes: bool) -> None:
    for entry in sorted(os.scandir(directory), key=lambda item: item.name):
        if entry.is_symlink():
            raise FormatError(f"{entry.path}: a symbolic link; a bundle holds regular files only")
        if entry.name != MANIFEST and entry.name not in files:
            raise FormatError(f"{entry.path}: not listed in {MANIFEST}; a bundle is a closed set of files")
    for name, expected in files.items():
        path = directory / name
        if not path.is_file():
            raise FormatError(f"{path}: listed in {MANIFEST} but missing; copy the bundle again")
        size = path.stat().st_size
        if size != expected.bytes:
            raise FormatError(f"{path}: {size} bytes, {MANIFEST} says {expected.bytes}; copy the bundle again")
        if hashes and _sha256(path) != expected.sha256:
            raise FormatError(f"{path}: SHA-256 differs from {MANIFEST}; the file was changed, copy the bundle again")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def staged_bundle(
    out: str | os.PathLike[str], *, overwrite: bool = False
) -> Iterator[tuple[Path, Callable[..., Bundle]]]:
    """Write a bundle so that it appears whole or not at all.

    Yields a staging directory beside ``out``, to be filled with the ONNX graphs and their weights, and a function
    ``finish(info, tracks, golden) -> Bundle`` that adds the table, the golden example and the manifest, and renames the
    directory to ``out``. If the block fails, or ends without ``finish``, the staging directory is removed.

    Raises
    ------
    InputError
        If ``out`` exists and ``overwrite`` is False, or if it exists and is not a bundle.
    """
    target = Path(out)
    _check_target(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    staging.chmod(0o755)

    def finish(info: BundleInfo, tracks: TrackTable, golden: Mapping[str, np.ndarray]) -> Bundle:
        tracks.write(staging / TRACKS)
        # Without allow_pickle=False, which NumPy 1.26 would store as one more array: reading back refuses a pickle.
        np.savez_compressed(staging / GOLDEN, **golden)  # type: ignore[arg-type]
        _write_manifest(staging, info)
        open_bundle(staging).golden()
        _replace_directory(staging, target)
        return open_bundle(target, verify=False)

    try:
        yield staging, finish
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not (target / MANIFEST).is_file():
        raise InputError(f"{target}: exists and is not a bundle; choose another name, it will not be replaced")
    if not overwrite:
        raise InputError(f"{target}: exists; choose another name or pass overwrite (--overwrite)")


def _write_manifest(directory: Path, info: BundleInfo) -> None:
    document: dict[str, Any] = info.to_json()
    if not all_finite(document):
        raise FormatError("the manifest holds a NaN or infinite number, which JSON cannot carry")
    files = {}
    for path in sorted(directory.iterdir()):
        check_file_name(path.name, str(directory))
        files[path.name] = asdict(FileEntry(sha256=_sha256(path), bytes=path.stat().st_size))
    document["files"] = files
    (directory / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _replace_directory(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    # A directory cannot be replaced in one step: move the old one aside first, so that a failure can put it back.
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        staging.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
