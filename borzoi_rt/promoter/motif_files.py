"""Motif files under their module path of release 0.1; they live in :mod:`borzoi_rt.motifs.files`."""

from ..motifs.files import read_motifs as read_motifs
