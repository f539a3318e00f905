"""What ``bundle.json`` says, as frozen dataclasses that check themselves and round-trip to JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import FormatError
from ..squash import KINDS
from .names import GRAPHS, allowed_names, graph_file, is_file_name, is_graph_name
from .parity import Noise

FORMAT = "borzoi-rt-bundle"
FORMAT_VERSION = 1
N_POLICIES = {"zero": 0.0, "uniform": 0.25}
PRECISIONS = ("fp32", "fp16")
TARGETS = ("cpu", "gpu")
NOISES = ("noise", "golden_noise")
RETIRED = ("averaging", "positional_widths")  # once written, never read

# No chromosome is longer, no model has as many tracks; what is larger would be allocated before it is found wrong.
LARGEST_WINDOW_BP = 2**24
MOST_CHANNELS = 2**20
LONGEST_NAME = 200
LONGEST_TEXT = 65_536
MOST_MOTIFS = 4096
DEEPEST = 32
MOST_SKIPS = 64
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Window and output grid of a model.

    Parameters
    ----------
    sequence_length_bp : int
        Length of the input window in bp.
    bin_size_bp : int
        Width of one output bin in bp.
    bins : int
        Number of output bins, centred in the window.
    """

    sequence_length_bp: int
    bin_size_bp: int
    bins: int

    def __post_init__(self) -> None:
        for name in ("sequence_length_bp", "bin_size_bp", "bins"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise FormatError(f"geometry: {name} is {value!r}; a positive integer is needed")
            if value > LARGEST_WINDOW_BP:
                raise FormatError(f"geometry: {name} is {value}; at most {LARGEST_WINDOW_BP} is allowed")
        spare_bp = self.sequence_length_bp - self.bins * self.bin_size_bp
        if spare_bp < 0 or spare_bp % 2:
            raise FormatError(
                f"geometry: {self.bins} bins of {self.bin_size_bp} bp cannot be centred in {self.sequence_length_bp} bp"
            )

    @property
    def crop_bp(self) -> int:
        """Bases without output on each side of the window."""
        return (self.sequence_length_bp - self.bins * self.bin_size_bp) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SquashSpec:
    """Name of the squashed scale and how far it is undone by default (spec of the weights, never guessed)."""

    kind: str
    unscale: bool = False
    unclip: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FormatError(f"squash kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        for name in ("unscale", "unclip"):
            if not isinstance(getattr(self, name), bool):
                raise FormatError(f"squash: {name} is {getattr(self, name)!r}; true or false is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInfo:
    """One ONNX graph of the bundle: its file and the names of its inputs and outputs, in order."""

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in (self.file, *self.inputs, *self.outputs)):
            raise FormatError(f"graph: {self!r} holds a name that is not text")


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyInfo:
    """A ``body`` graph: how many bins it gives and which part of each skip it reads.

    ``skips`` are ``[start, end)`` of the whole grid of each skip, or, where the body is ``moving``, counted from its
    input ``token_start``.
    """

    bins: int
    skips: tuple[tuple[int, int], ...]
    moving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How tiles of the convolution tower make a window.

    A tile owns ``own_tokens`` tokens of ``token_bp`` and reads ``halo_tokens`` more on each side. ``channels`` is the
    width of tokens and skips, ``skips_per_token`` the positions of each skip in a token, ``bodies`` the body graphs
    by name.
    """

    token_bp: int
    own_tokens: int
    halo_tokens: int
    channels: int
    skips_per_token: tuple[int, ...]
    bodies: Mapping[str, BodyInfo]

    def __post_init__(self) -> None:
        # The halo alone may be 0.
        sizes = (self.token_bp, self.own_tokens, self.channels, *self.skips_per_token, self.halo_tokens + 1)
        if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
            raise FormatError(f"tiling: {self!r} holds a size that is not a positive integer")
        if max(sizes) > LARGEST_WINDOW_BP or len(self.skips_per_token) > MOST_SKIPS:
            raise FormatError(
                f"tiling: {max(sizes)} is its largest size, {len(self.skips_per_token)} its number of skips; at most "
                f"{LARGEST_WINDOW_BP} and {MOST_SKIPS} are allowed"
            )
        if "body" not in self.bodies:
            raise FormatError(f"tiling: no body named 'body' among {sorted(self.bodies)}")
        for name, body in self.bodies.items():
            if len(body.skips) != len(self.skips_per_token):
                raise FormatError(
                    f"tiling: body {name!r} reads {len(body.skips)} skips, the tiles have {len(self.skips_per_token)}; "
                    "export the model again"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """Manifest of a bundle without its file list.

    ``architecture`` is the JSON form of the network's config, ``parity`` the noise of the network and the figures of
    the gate run at export (see :mod:`borzoi_rt.bundle.parity`), ``precision`` that of the trunk (inputs, outputs and
    head are float32), ``target`` what the graphs were written for (they run on the other, too, more slowly), ``tiling``
    how the split graphs work together (None: there is only ``predict``).
    """

    name: str
    head: str
    geometry: Geometry
    squash: SquashSpec
    graphs: Mapping[str, GraphInfo]
    architecture: Mapping[str, Any]
    n_policy: str = "zero"
    precision: str = "fp32"
    target: str = "cpu"
    opset: int = 20
    tiling: Tiling | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n_policy not in N_POLICIES:
            raise FormatError(f"n_policy {self.n_policy!r} is unknown; allowed: {', '.join(N_POLICIES)}")
        if self.precision not in PRECISIONS:
            raise FormatError(f"precision {self.precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
        if self.target not in TARGETS:
            raise FormatError(f"target {self.target!r} is unknown; allowed: {', '.join(TARGETS)}")
        if "predict" not in self.graphs:
            raise FormatError(f"no graph named 'predict' among {sorted(self.graphs)}")
        for name, graph in self.graphs.items():
            if not is_graph_name(name) or graph.file != graph_file(name):
                raise FormatError(
                    f"graph {name!r} in the file {graph.file!r} is not allowed; a bundle has {', '.join(GRAPHS)}, each "
                    "in NAME.onnx"
                )
        for name in ("name", "head"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_NAME:
                raise FormatError(f"{name} is {str(value)[:80]!r}; up to {LONGEST_NAME} printable letters are needed")
        for name in ("architecture", "parity", "provenance"):
            if not isinstance(getattr(self, name), Mapping):
                raise FormatError(f"{name} is {getattr(self, name)!r}; an object is needed")
        if self.architecture.get("family") == "promoter":
            _check_promoter(self.architecture, self.geometry)
        elif "tss_bp" in self.architecture:
            _check_count("tss_bp", self.architecture["tss_bp"], self.geometry.sequence_length_bp - 1)
        if self.tiling is not None:
            _check_tiling(self.tiling, self.geometry)
        for name in NOISES:
            Noise.read(self.parity, name)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values (no file list)."""
        values = asdict(self)
        if self.target == "cpu":  # as in manifests that are older than the target, which thus stay as they are
            del values["target"]
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **values}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str) -> BundleInfo:
        """Read what :meth:`to_json` wrote; unknown versions and unknown or missing keys are errors.

        Raises
        ------
        FormatError
            Naming ``source`` and the offending key.
        """
        found = (document.get("format"), document.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION) or type(found[1]) is not int:  # True is 1, and so is 1.0
            raise FormatError(
                f"{source}: format {found[0]!r} version {found[1]!r}; this release reads {FORMAT!r} "
                f"version {FORMAT_VERSION}; export the model again or upgrade borzoi-rt"
            )
        values = {
            key: value for key, value in document.items() if key not in ("format", "format_version", "files", *RETIRED)
        }
        try:
            values["geometry"] = _build(Geometry, values.get("geometry"))
            values["squash"] = _build(SquashSpec, values.get("squash"))
            values["graphs"] = {
                name: _build(GraphInfo, {**graph, "inputs": tuple(graph["inputs"]), "outputs": tuple(graph["outputs"])})
                for name, graph in values["graphs"].items()
            }
            if values.get("tiling") is not None:
                values["tiling"] = _tiling(values["tiling"])
            info: BundleInfo = _build(cls, values)
            return info
        except FormatError as error:
            raise FormatError(f"{source}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise FormatError(f"{source}: the manifest is incomplete or malformed ({error})") from error


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size and hash of one file of a bundle."""

    sha256: str
    bytes: int


def read_file_list(document: Mapping[str, Any], source: str) -> dict[str, FileEntry]:
    """Return the ``files`` section; names must be plain file names."""
    listed = document.get("files")
    if not isinstance(listed, dict):
        raise FormatError(f"{source}: no 'files' section; the manifest is incomplete")
    entries = {}
    for name, entry in listed.items():
        check_file_name(name, source)
        stated = dict(entry) if isinstance(entry, Mapping) else {}
        size, digest = stated.pop("bytes", None), stated.pop("sha256", None)
        known = isinstance(digest, str) and _SHA256.fullmatch(digest)
        if stated or not known or not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise FormatError(
                f"{source}: the entry of file {name!r} is {str(entry)[:200]!r}; sha256 of 64 hexadecimal digits and "
                "bytes are needed"
            )
        entries[name] = FileEntry(sha256=str(digest), bytes=size)
    return entries


def check_file_name(name: str, source: str) -> None:
    """Refuse what is no file of a bundle."""
    if not is_file_name(name):
        raise FormatError(f"{source}: file name {name!r} is not allowed; a bundle has {allowed_names()}")


def check_texts(value: Any, source: str, depth: int = 0) -> None:
    """Refuse text that is not printable anywhere in a JSON value: names go to tables, headers and terminals."""
    if depth > DEEPEST:
        raise FormatError(f"{source}: is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        if not value.isprintable() or len(value) > LONGEST_TEXT:
            raise FormatError(f"{source}: {value[:80]!r} is not text of up to {LONGEST_TEXT} printable letters")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_texts(key, source)
            check_texts(item, source, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_texts(item, source, depth + 1)


def _check_promoter(about: Mapping[str, Any], geometry: Geometry) -> None:
    """Check what a reader needs to know of a promoter model."""
    names, scored = about.get("motif_names"), about.get("scored")
    if not isinstance(names, list | tuple) or not 1 <= len(names) <= MOST_MOTIFS or set(map(type, names)) != {str}:
        raise FormatError(f"architecture: motif_names is {str(names)[:80]}; 1 to {MOST_MOTIFS} names are needed")
    if len(set(names)) != len(names):
        raise FormatError("architecture: motif_names holds a name twice")
    _check_count("scored", scored, len(names))
    _check_count("tss_bp", about.get("tss_bp"), geometry.sequence_length_bp - 1)
    if not isinstance(about.get("scale"), str):
        raise FormatError(f"architecture: scale is {about.get('scale')!r}; a name is needed")


def _check_count(name: str, value: Any, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise FormatError(f"architecture: {name} is {value!r}; an integer of 0 to {most} is needed")


def _check_tiling(tiling: Tiling, geometry: Geometry) -> None:
    """Refuse tiles that cannot make the window, as those of another release may be."""
    window_bp, token_bp = geometry.sequence_length_bp, tiling.token_bp
    if window_bp % token_bp or token_bp % geometry.bin_size_bp:
        raise FormatError(
            f"tiling: tokens of {token_bp} bp do not divide a window of {window_bp} bp into whole bins of "
            f"{geometry.bin_size_bp} bp; export the model again"
        )
    for name, body in tiling.bodies.items():
        for (start, end), scale in zip(body.skips, tiling.skips_per_token, strict=True):
            tokens = window_bp // token_bp * scale
            if start >= end or not (body.moving or 0 <= start < end <= tokens):
                raise FormatError(
                    f"tiling: body {name!r} reads [{start}, {end}) of a skip of {tokens} positions; "
                    "export the model again"
                )


def _tiling(section: Mapping[str, Any]) -> Tiling:
    bodies = {
        name: _build(BodyInfo, {**body, "skips": tuple((int(start), int(end)) for start, end in body["skips"])})
        for name, body in section["bodies"].items()
    }
    found: Tiling = _build(Tiling, {**section, "skips_per_token": tuple(section["skips_per_token"]), "bodies": bodies})
    return found


def _build(cls: type[Any], values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise FormatError(f"section for {cls.__name__} is {values!r}; an object is needed")
    known = {item.name for item in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise FormatError(f"unknown key {unknown[0]!r}; allowed: {', '.join(sorted(known))}")
    return cls(**values)


def all_finite(value: Any) -> bool:
    """Tell whether a JSON value holds no NaN or infinity (which JSON cannot carry)."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(all_finite, value))
    return True
