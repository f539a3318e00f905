"""DeepLIFT with torch, of the network that a bundle holds; opened by name from :mod:`borzoi_rt.explain.secants`."""

from __future__ import annotations

from .network import open_paired as open_paired
