"""Published or own weights -> bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.writing import check_bundle_target
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.reading import sha256_of
from borzoi_rt.tracks import TrackTable

from .graphs import export_bundle
from .models.borzoi import Borzoi
from .models.config import BorzoiConfig, read_params
from .weights.borzoi_pytorch import convert_state_dict, read_config_json, read_state_dict
from .weights.checkpoint import network_state, read_checkpoint
from .weights.hub import locate
from .weights.keras_h5 import read_keras_h5


def convert_calico(
    weights: str | os.PathLike[str],
    params: str | os.PathLike[str],
    targets: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    squash: SquashSpec,
    head: int | str = 0,
    crop: int | None = None,
    **options: Any,
) -> Bundle:
    """Convert a Calico Keras ``.h5`` with its params.json.

    Parameters
    ----------
    weights, params, targets : path
        Files of one model and one head.
    out : path
        Bundle to make.
    squash : SquashSpec
        How the training targets were squashed.
    head : int or str
        Number (0 human, 1 mouse) or name of the head the file holds.
    crop : int, optional
        Output bins to drop on each side, instead of what the params say.
    **options
        ``name, n_policy, overwrite, convolution, precision, target`` of :func:`borzoi_export.graphs.export_bundle`.

    Raises
    ------
    FormatError
        If the files do not belong together.
    """
    check_bundle_target(Path(out), overwrite=options.get("overwrite", False))
    try:
        config = BorzoiConfig.from_params(read_params(params), head=head, crop=crop)
    except FormatError as error:
        raise FormatError(f"{params}: {error}") from error
    tracks = TrackTable.read(targets, n_tracks=config.tracks)
    state = read_keras_h5(weights, config)
    return _export(config, state, tracks, out, weights=Path(weights), squash=squash, source="calico", **options)


def convert_torch(
    weights: str | os.PathLike[str],
    targets: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    squash: SquashSpec,
    config: str | os.PathLike[str] | None = None,
    head: int | str = "human",
    revision: str | None = None,
    **options: Any,
) -> Bundle:
    """Convert a borzoi-pytorch checkpoint: Borzoi, Borzoi Prime or Flashzoi.

    Parameters
    ----------
    weights : path or str
        ``.safetensors`` or ``.bin`` file, a directory with one, or a Hugging Face repository id.
    config : path, optional
        config.json; looked for beside the weights when None.
    revision : str, optional
        Revision of the repository.
    targets, out, squash, head, **options
        See :func:`convert_calico`.
    """
    check_bundle_target(Path(out), overwrite=options.get("overwrite", False))
    path, beside = locate(weights, revision=revision)
    config_path = Path(config) if config is not None else beside
    values = read_config_json(config_path) if config_path is not None else None
    network, state = convert_state_dict(read_state_dict(path), values, head=head, source=str(path))
    tracks = TrackTable.read(targets, n_tracks=network.tracks)
    return _export(network, state, tracks, out, weights=path, squash=squash, source="borzoi-pytorch", **options)


def convert_checkpoint(
    checkpoint: str | os.PathLike[str],
    targets: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    squash: str | None = None,
    unscale: bool = False,
    unclip: bool = True,
    head: int | str | None = None,
    crop: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> Bundle:
    """Convert a checkpoint of ``borzoi-rt train``; adapters are merged into the weights.

    Parameters
    ----------
    checkpoint : path
        ``last.ckpt`` or ``best.ckpt``.
    squash : str, optional
        How the targets were squashed; None takes what the training data say.
    unscale, unclip : bool
        Defaults of the inverse.
    head : int or str, optional
        Number or name of the head. When None: the head that the checkpoint is the best of, else the first.
    crop : int, optional
        Output bins to drop on each side, instead of what the params say.
    provenance : mapping, optional
        JSON values to record beside those of the checkpoint.
    targets, out, **options
        See :func:`convert_calico`.
    """
    check_bundle_target(Path(out), overwrite=options.get("overwrite", False))
    meta, tensors = read_checkpoint(checkpoint)
    try:
        config, state = network_state(meta, tensors, head=head)
    except (FormatError, InputError) as error:
        raise type(error)(f"{checkpoint}: {error}") from error
    config = config if crop is None else replace(config, crop_bins=crop)
    entry = next(item for item in meta["heads"] if item["name"] == config.head)
    recorded = entry["squash"]
    if recorded is None and squash is None:
        raise InputError(f"{checkpoint}: its training data do not say how they were squashed; pass squash")
    if recorded and squash and recorded != squash:
        raise InputError(f"{checkpoint}: trained on targets squashed by {recorded!r}, not {squash!r}")
    spec = SquashSpec(kind=squash or recorded, unscale=unscale, unclip=unclip)
    tracks = TrackTable.read(targets, n_tracks=config.tracks)
    facts = {
        "step": meta["step"],
        "seed": meta["options"]["seed"],
        "ema": meta["options"].get("ema", 0.0),
        "targets_sha256": entry["targets_sha256"],
        "statistics_sha256": entry["statistics_sha256"],
        "validation_pearson": meta["validation_pearson"].get(config.head),
        **(provenance or {}),
    }
    return _export(
        config,
        state,
        tracks,
        out,
        weights=Path(checkpoint),
        squash=spec,
        source="borzoi-rt train",
        facts=facts,
        **options,
    )


def _export(
    config: BorzoiConfig,
    state: dict[str, torch.Tensor],
    tracks: TrackTable,
    out: str | os.PathLike[str],
    *,
    weights: Path,
    squash: SquashSpec,
    source: str,
    name: str | None = None,
    facts: Mapping[str, Any] | None = None,
    **options: Any,
) -> Bundle:
    with torch.device(
        "meta"
    ):  # no storage for weights that are about to be replaced; position tables are made on the CPU
        model = Borzoi(config)
    counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
    model.load_state_dict({**state, **counters}, assign=True)
    provenance = {"source": source, "weights": weights.name, "weights_sha256": sha256_of(weights), **(facts or {})}
    title = name or weights.stem
    return export_bundle(model, tracks, out, squash=squash, name=title, provenance=provenance, **options)
