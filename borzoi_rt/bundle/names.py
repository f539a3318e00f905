"""Every name that a file of a bundle can have; nothing else is opened, copied or served."""

from __future__ import annotations

import re

MANIFEST = "bundle.json"
TRACKS = "tracks.tsv"
GOLDEN = "golden.npz"
WEIGHTS = "weights.bin"
STATISTICS = "statistics"
GRADIENT_TRUNK, GRADIENT_BODY, GRADIENT_TILE = "gradient_trunk", "gradient_body", "gradient_tile"
ACTIVATIONS_TILE, ACTIVATIONS_LAYERS = "activations_tile", "activations_layers"
SLOPES = "slopes_"  # begins the name of every graph that leads back
SLOPES_HEAD, SLOPES_DECODER = SLOPES + "head", SLOPES + "decoder"

GRAPHS = (
    "predict",
    "trunk_tile",
    "body",
    "body_BINS",
    "head",
    STATISTICS,
    GRADIENT_TRUNK,
    GRADIENT_BODY,
    GRADIENT_TILE,
    ACTIVATIONS_TILE,
    ACTIVATIONS_LAYERS,
    "attention_LAYER",
    "slopes_LAYER",
    SLOPES_HEAD,
    SLOPES_DECODER,
)
_GRAPH = re.compile(
    r"predict|trunk_tile|body|body_[1-9][0-9]{0,8}|head|statistics|gradient_(trunk|body|tile)"
    r"|activations_(tile|layers)|(attention|slopes)_[1-9][0-9]{0,2}|slopes_(head|decoder)"
)

# What file managers and download tools leave behind: neither read nor copied, and no part of the model.
_IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".gitattributes", ".cache", "README.md"})
_IGNORED_STARTS = ("._", ".nfs")  # what a Mac keeps of a file on another disk, and a network drive of a removed one

# Largest size in bytes of the files that are read whole.
LARGEST = {MANIFEST: 4 * 2**20, TRACKS: 16 * 2**20, GOLDEN: 2**30}
LARGEST_GRAPH = 8 * 2**20


def is_ignored(name: str) -> bool:
    """Tell whether a name is of what file managers, downloads and network drives leave behind."""
    return name in _IGNORED or name.startswith(_IGNORED_STARTS)


def attention_graph(layer: int) -> str:
    """Return the graph of the attention of a layer of the transformer, counted from 1."""
    return f"attention_{layer}"


def slopes_graph(layer: int) -> str:
    """Return the graph that leads back through a layer of the transformer, counted from 1."""
    return f"{SLOPES}{layer}"


def is_served(name: str) -> bool:
    """Tell whether a server runs a graph: sums and looks inside are for programs that open the bundle themselves."""
    return name != STATISTICS and not name.startswith(("gradient_", "activations_", "attention_", "slopes_"))


def is_graph_name(name: str) -> bool:
    """Tell whether a graph of a bundle can have a name."""
    return _GRAPH.fullmatch(name) is not None


def graph_file(name: str) -> str:
    """Return the file of a graph."""
    return f"{name}.onnx"


def is_file_name(name: str) -> bool:
    """Tell whether ``files`` of a manifest can list a name."""
    return name in (TRACKS, GOLDEN, WEIGHTS) or (name.endswith(".onnx") and is_graph_name(name.removesuffix(".onnx")))


def allowed_names() -> str:
    """Return all names, in words."""
    return ", ".join((TRACKS, GOLDEN, WEIGHTS, *map(graph_file, GRAPHS)))


def largest_size(name: str) -> int | None:
    """Return the most bytes that a file may have; None for the weights, which are mapped and not read."""
    return LARGEST_GRAPH if name.endswith(".onnx") else LARGEST.get(name)
