"""From a trained promoter network to a bundle whose motif removals are proved, not only its tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.backends.onnx import OnnxSession, open_session
from borzoi_rt.backends.parity import PARITY_LIMITS
from borzoi_rt.bundle.manifest import BundleInfo, GraphInfo, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.writing import staged_bundle
from borzoi_rt.errors import ParityError
from borzoi_rt.tracks import TrackTable

from ..graphs.builder import OPSET, WeightsFile
from ..graphs.promoter import write_promoter
from ..models.promoter import MotifNetwork
from ..models.puffin import ASSAYS, Puffin
from ..weights import check_finite

_CHECKED_MOTIFS = 8


def export_promoter(
    model: MotifNetwork | Puffin,
    out: str | os.PathLike[str],
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a network as an ONNX bundle with the motif mask as input.

    Parameters
    ----------
    model : MotifNetwork or Puffin
        The trained network; put into inference mode.
    out : path
        Directory to make.
    name : str
        Name of the model, for people.
    provenance : mapping, optional
        JSON values: where the weights come from.
    overwrite : bool
        Replace an existing bundle.

    Returns
    -------
    Bundle

    Raises
    ------
    FormatError
        If a weight is not finite.
    ParityError
        If onnxruntime and PyTorch differ by more than 2e-5 or 1e-4 of a value, with or without motifs removed; no
        bundle is left.
    """
    model.eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            check_finite(tensor.numpy(), f"parameter {key!r}")
    tracks = promoter_tracks(model)
    with staged_bundle(out, overwrite=overwrite) as (directory, finish):
        weights = WeightsFile(directory)
        try:
            graphs = {"predict": write_promoter(model, directory, weights)}
        finally:
            weights.close()
        info = _info(model, name, graphs, {}, provenance)
        parity, golden = _gate(model, directory, info, tracks)
        return finish(_info(model, name, graphs, parity, provenance), tracks, golden)


def promoter_tracks(model: MotifNetwork | Puffin) -> TrackTable:
    """Return the tracks of a network: sense and antisense start of transcription, or Puffin's five assays."""
    if isinstance(model, Puffin):
        names = [f"{assay}+" for assay in ASSAYS] + [f"{assay}-" for assay in reversed(ASSAYS)]
    else:
        names = ["TSS+", "TSS-"]
    count = len(names)
    return TrackTable(
        index=np.arange(count),
        identifier=tuple(names),
        description=tuple(f"ln(1 + count), {name[:-1]}, {'anti' * (name[-1] == '-')}sense" for name in names),
        sum_stat=("sum",) * count,
        clip=np.full(count, 1e6, dtype=np.float32),
        clip_soft=np.full(count, 1e6, dtype=np.float32),
        scale=np.ones(count, dtype=np.float32),
        strand_pair=np.arange(count)[::-1].copy(),
    )


def _info(
    model: MotifNetwork | Puffin,
    name: str,
    graphs: Mapping[str, GraphInfo],
    parity: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
) -> BundleInfo:
    return BundleInfo(
        name=name,
        head="promoter",
        geometry=model.config.geometry,
        squash=SquashSpec(kind="none"),
        graphs=graphs,
        architecture=model.config.architecture(),
        n_policy="uniform",
        opset=OPSET,
        parity=parity,
        provenance={"torch": torch.__version__, **(provenance or {})},
    )


def _gate(
    model: MotifNetwork | Puffin, directory: Path, info: BundleInfo, tracks: TrackTable
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare PyTorch and onnxruntime on a random window, as it is and with motifs, positions or a baseline changed."""
    draft = Bundle(path=directory, info=info, files={}, sha256="0" * 64)
    draft.__dict__["tracks"] = tracks  # not on disk yet
    session = open_session(draft, "cpu")
    try:
        sequence = _parity_sequence(info.geometry.sequence_length_bp)
        masks, fills = _parity_masks(model.config.motifs, info.geometry.sequence_length_bp)
        want = _reference(model, sequence, masks, fills)
        got = _batch(session, sequence, masks, fills)
        difference = np.abs(got - want)
        if not np.isfinite(difference).all():
            raise ParityError("the exported graph gives NaN or infinite values; no bundle was written")
        effect = np.abs((got[1:].astype(np.float64) - got[:1]) - (want[1:].astype(np.float64) - want[:1]))
        report: dict[str, Any] = {
            "max_abs": float(difference.max()),
            "max_rel": float((difference / (want + 1e-4)).max()),
            "max_abs_of_removal": float(effect.max()),
            "largest_removal": float(np.abs(want[1:] - want[:1]).max()),
            "tracks": len(tracks),
            "bins": info.geometry.bins,
            "provider": session.provider,
        }
        limits = PARITY_LIMITS[info.precision]
        if not (report["max_abs"] <= limits.atol * max(1.0, float(want.max())) and report["max_rel"] <= limits.rtol):
            raise ParityError(
                f"onnxruntime differs from PyTorch by {report['max_abs']:.3g} absolute and {report['max_rel']:.3g} "
                f"relative (allowed {limits.atol:g} and {limits.rtol:g}); no bundle was written"
            )
        index = np.arange(len(tracks))
        return report, {"sequence": sequence, "track_index": index, "coverage": session.run(sequence, index)}
    finally:
        session.close()


def _parity_sequence(length: int) -> np.ndarray:
    letters = np.random.default_rng(20240229).integers(0, 4, length)
    letters[length // 3 : length // 3 + length // 50] = 4
    return (letters[None, :] == np.arange(4)[:, None]).astype(np.uint8)[None]


def _parity_masks(motifs: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return masks and fills (cases, channels, length): nothing, single motifs, a stretch of bases, a baseline."""
    chosen = np.unique(np.linspace(0, motifs - 1, _CHECKED_MOTIFS).astype(int))
    masks = np.ones((len(chosen) + 3, 2 * motifs, length), dtype=np.float32)
    for row, motif in enumerate(chosen, start=1):
        masks[row, [motif, motif + motifs]] = 0.0
    masks[-2, :, length // 2 : length // 2 + 50] = 0.0
    fills = np.zeros_like(masks)
    masks[-1, 0], fills[-1, 0] = 0.0, 0.25
    return masks, fills


def _reference(model: torch.nn.Module, sequence: np.ndarray, masks: np.ndarray, fills: np.ndarray) -> np.ndarray:
    # One case at a time: the published network needs 80 MB per activation and window.
    x = torch.from_numpy(sequence).float()
    with torch.inference_mode():
        return np.concatenate(
            [
                model(x, torch.from_numpy(masks[i : i + 1]), torch.from_numpy(fills[i : i + 1])).numpy()
                for i in range(len(masks))
            ]
        )


def _batch(session: OnnxSession, sequence: np.ndarray, masks: np.ndarray, fills: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [session.run(sequence, mask=masks[i : i + 1], fill=fills[i : i + 1]) for i in range(len(masks))]
    )
