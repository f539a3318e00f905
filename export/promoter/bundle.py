"""From a trained promoter network to a bundle whose motif removals are proved, not only its tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.backends.onnx import OnnxSession, open_session
from borzoi_rt.bundle.manifest import BundleInfo, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.bundle.parity import Noise, differences
from borzoi_rt.tracks import TrackTable

from ..graphs.builder import OPSET, WeightsFile
from ..graphs.exact import doubled, one_thread
from ..graphs.finish import NO_GRAPHS, THREADS, Check, Reference, Written, finish_bundle
from ..graphs.parity import noise_of, random_window
from ..graphs.promoter import write_promoter
from ..models.promoter import MotifNetwork
from ..models.puffin import ASSAYS, Puffin

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
        If onnxruntime breaks the rule of :mod:`borzoi_rt.bundle.parity`, with or without motifs removed; no bundle is
        left.
    """
    info = BundleInfo(
        name=name,
        head="promoter",
        geometry=model.config.geometry,
        squash=SquashSpec(kind="none"),
        graphs=NO_GRAPHS,
        architecture=model.config.architecture(),
        n_policy="uniform",
        opset=OPSET,
        provenance=provenance or {},
    )

    def write(directory: Path, _form: str) -> Written:
        weights = WeightsFile(directory)
        try:
            return {"predict": write_promoter(model, directory, weights)}, None
        finally:
            weights.close()

    return finish_bundle(
        model,
        promoter_tracks(model),
        out,
        info=info,
        forms=("",),
        write=write,
        reference=lambda: promoter_reference(model),
        overwrite=overwrite,
    )


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


def promoter_reference(model: MotifNetwork | Puffin) -> Reference:
    """Run the network in float64 and float32 on a random window, as it is and with motifs, bases or a baseline changed.

    The effect of a removal is a difference of two passes; its rounding is judged as one.
    """
    length = model.config.geometry.sequence_length_bp
    sequence = random_window(length)
    masks, fills = _parity_masks(model.config.motifs, length)
    exact = _passes(doubled(model), sequence, masks, fills)
    with one_thread():
        rounded = _passes(model, sequence, masks, fills)
    noise = noise_of(rounded, exact)

    def run(draft: Bundle) -> np.ndarray:
        session = open_session(draft, f"cpu:{THREADS}")
        try:
            return _batch(session, sequence, masks, fills)
        finally:
            session.close()

    removal = Noise.of(_of_removal(rounded, exact), noise.largest)
    index = np.arange(exact.shape[1])
    return Reference(
        checks=[
            Check(name="tracks", run=run, want=exact, noise=noise, errors=differences),
            Check(name="effects of removal", run=run, want=exact, noise=removal, errors=_of_removal),
        ],
        golden={"sequence": sequence, "track_index": index, "coverage": exact[:1].astype(np.float32)},
        noise=noise,
        golden_noise=Noise.measure(rounded[:1], exact[:1]),
        inherited=lambda: noise_of(_inherited(model, doubled(model), sequence), exact[:1]).rms,
    )


def _inherited(model: MotifNetwork | Puffin, exact: MotifNetwork | Puffin, sequence: np.ndarray) -> np.ndarray:
    """Return tracks (1, tracks, bins) where the motif activations alone are rounded; all after them is float64."""
    x = torch.from_numpy(sequence)
    crop = model.config.crop_bp
    with torch.inference_mode():
        with one_thread():
            activations = model.activations(x.float())
        tracks: np.ndarray = exact.effects(x.double(), activations.double())[..., crop : x.shape[-1] - crop].numpy()
    return tracks


def _of_removal(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Return differences, in logits, of the effects of removal: every case less the first, which removes nothing."""
    errors = differences(got, want)
    return errors[1:] - errors[:1]


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


def _passes(model: torch.nn.Module, sequence: np.ndarray, masks: np.ndarray, fills: np.ndarray) -> np.ndarray:
    """Return tracks of every case, (cases, tracks, bins), in the precision of the network."""
    kind = next(model.parameters()).dtype
    x = torch.from_numpy(sequence).to(kind)
    # One case at a time: the published network needs 160 MB per activation and window.
    with torch.inference_mode():
        return np.concatenate(
            [
                model(
                    x, torch.from_numpy(masks[i : i + 1]).to(kind), torch.from_numpy(fills[i : i + 1]).to(kind)
                ).numpy()
                for i in range(len(masks))
            ]
        )


def _batch(session: OnnxSession, sequence: np.ndarray, masks: np.ndarray, fills: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [session.run(sequence, mask=masks[i : i + 1], fill=fills[i : i + 1]) for i in range(len(masks))]
    )
