"""The model on disk. This docstring is the format page, version 1.

A bundle is a directory.

- It MUST hold ``bundle.json`` (UTF-8 JSON): ``format`` is ``"borzoi-rt-bundle"``, ``format_version`` is 1, and the keys
  of :class:`borzoi_rt.bundle.manifest.BundleInfo` follow.
  Nothing MAY stand before or after the JSON object but one line feed; text in it MUST be printable.
- ``files`` MUST list every other file of the directory with its ``sha256`` and ``bytes``. A file MUST have one of these
  names: ``tracks.tsv``, ``golden.npz``, ``weights.bin``, and for every graph its name and ``.onnx``; a graph MUST be
  called ``predict``, ``trunk_tile``, ``body``, ``body_BINS`` (a number of bins), ``head``, ``statistics``,
  ``gradient_trunk``, ``gradient_body``, ``gradient_tile``, ``activations_tile``, ``activations_layers``,
  ``attention_N``, ``slopes_N`` (a block of the transformer, from 1), ``slopes_head`` or ``slopes_decoder``. The set is
  closed: any other file or folder, a file that is not listed, a listed file that is missing, a pipe or a device, and a
  wrong size or hash are errors. Readers MUST ignore, with a warning, and MUST NOT copy what file managers and
  downloads leave behind: ``.DS_Store``, ``Thumbs.db``, ``desktop.ini``, ``.gitattributes``, ``.cache``, ``README.md``,
  and names that begin with ``._`` (what a Mac keeps of a file on another disk) or ``.nfs``.
- A symbolic link is an error, but in a cache of Hugging Face: where the directory lies below ``snapshots``, a file MAY
  be a link to a regular file in ``blobs`` beside that folder; its hash MUST then be compared, always.
- Readers MUST refuse windows of more than 2**24 bp, a table of more than 16 MiB, a graph file of more than 8 MiB.
- ``tracks.tsv`` MUST be a Calico targets table with one row per output of the ``predict`` graph, in order.
  ``architecture.tracks`` SHOULD say how many these are; a table of another length is then an error.
- ``graphs`` MUST name ``predict``: inputs ``sequence`` uint8 ``(batch, 4, length)`` in the order A, C, G, T (a
  column of zeros is an unknown base), ``track_index`` int64 ``(tracks,)`` and ``n_fill`` float32 ``()``; output
  ``coverage`` float32 ``(batch, tracks, bins)`` in squashed scale.
- ``tiling`` MAY describe the same network in parts (:class:`borzoi_rt.bundle.manifest.Tiling`). ``graphs`` MUST
  then name ``trunk_tile`` (``sequence`` and ``n_fill`` to ``tokens`` and ``skip_0, ...``, all
  ``(batch, positions, channels)``),
  every body of the tiling (these, cropped to its ``skips``, and ``token_start`` if it moves, to ``embedding``), and
  ``head`` (``embedding`` and ``track_index`` to ``coverage``).
- ``graphs`` MAY then name ``statistics``, which sums the coverage of two alleles over bins: ``ref`` and ``alt`` float32
  ``(views, bins, channels)``, embeddings; ``ref_share`` and ``alt_share`` float32 ``(views, bins)``; ``ref_tracks`` and
  ``alt_tracks`` int64 ``(views, tracks)``, the output a view reads for a track; ``divisor``, ``knee``, ``factor``
  float32 and ``powered`` bool ``(tracks,)``, see :meth:`borzoi_rt.squash.Squash.inverse_terms`; ``strand_share``
  float64 ``(rows, strands)``, tracks being rows x strands. Outputs, float64, are those of
  :class:`borzoi_rt.backends.protocols.BinSums`, each with a leading axis: ``ref_sum, alt_sum, absolute_sum,
  square_sum`` of 3 scales, ``extreme`` of 1.
- ``graphs`` MAY then name, all together, those of activations; one window at a time, all but ``n_fill``, indices and
  bases float32 with a leading axis of 1: ``activations_tile`` (bases of a tile and ``n_fill`` to ``stem`` and
  ``tower_1, ...``, before their pools, ``(positions, channels)``), ``activations_layers`` (``tokens`` that enter the
  transformer to ``layer_1, ...``, those behind every block), and for every block N ``attention_N`` (``tokens`` before
  it, ``queries`` int64 and ``to_attended``, the derivative of a number by what its attention adds to them, to
  ``shares`` and ``by_share``, ``(heads, queries, tokens)``) and ``slopes_N`` (``tokens`` before it and ``to_layer``,
  the derivative by those behind it, to ``to_tokens`` and ``to_attended``); ``slopes_decoder`` (``tokens`` behind the
  transformer, the skips of ``body`` and ``to_embedding`` to ``to_tokens``) and ``slopes_head`` (``embedding``,
  ``track_index`` and ``cotangent``, the derivative by squashed coverage, to ``to_embedding`` and ``linear``, what the
  head's weights alone make of the embedding).
- Where ``architecture.family`` is ``"promoter"``, ``predict`` MUST also take ``mask`` and ``fill``, float32
  ``(1 or batch, channels, 1 or length)``, and give ``activations``, float32 ``(batch, channels, length)``: the model
  replaces its motif activations a by ``a * mask + fill``. Channels are the motifs of ``architecture.motif_names`` as
  written, then their reverse complements; zeros in the mask at m and m + motifs remove motif m. Both inputs MUST have
  defaults (ones and zeros) in the graph, so that a reader MAY leave them out. ``architecture.tss_bp`` is the 0-based
  position of the TSS in the window, ``architecture.scale`` the scale of the coverage (``"log1p"``: ln(1 + count)), and
  ``architecture.scored`` says how many motifs, from the first, enter the normalised DFT score.
- A graph MUST hold operators of the list in :mod:`borzoi_rt.bundle.graph_check` alone, of ``ai.onnx`` 18 to 21, IR 8 to
  10; no sub-graphs, functions, sparse or text tensors, nor attributes that are tensors; fixed sizes, and integer
  constants up to 2**24. Weights that are not in the graph MUST lie in ``weights.bin``, each with offset and length.
- ``squash.kind`` MUST be one of ``old, new, bp_old, bp_new, none``; readers MUST NOT assume a default.
- ``golden.npz`` MUST hold ``sequence``, ``track_index`` and ``coverage``: what a float64 forward of the trained network
  gives for a window, rounded to float32. Readers MUST load it without pickle.
  :func:`borzoi_rt.backends.parity.replay_golden` runs it again.
- ``parity`` SHOULD hold ``noise`` and ``golden_noise``, objects of ``rms``, ``peak`` and ``largest``: what the training
  framework differs by from float64, over the tracks of the exporter's gate and over those of ``golden.npz``, in logits
  (:mod:`borzoi_rt.bundle.parity`). Readers take their tolerance from it; without it they MUST assume the noise given
  there. ``averaging`` and ``positional_widths``, which earlier releases wrote, MUST be ignored.
- Versions. A release MUST read every bundle of its version that an earlier release wrote, with the same numbers: within
  a version keys, graphs and operators are added, with a meaning of their absence, and none gets another meaning.
  Readers MUST refuse keys and versions that they do not know, so that an earlier release says "upgrade" and not a wrong
  number. What would make a bundle mean something else gets the next version, and the release that brings it reads the
  one before. ``tests/data/bundles`` holds bundles of each form that was ever written; tiles with channels before
  positions, of before the first release, are refused, while whole passes of such a bundle are read.
- Nothing in a bundle is a pickle, and nothing in it is executed but the ONNX graphs.
"""

from __future__ import annotations

from .opening import GOLDEN, MANIFEST, STATISTICS, TRACKS, WEIGHTS, Bundle, open_bundle
from .writing import staged_bundle

__all__ = ["GOLDEN", "MANIFEST", "STATISTICS", "TRACKS", "WEIGHTS", "Bundle", "open_bundle", "staged_bundle"]
