"""The published network with random weights as a bundle: ``python -m benchmarks.full_model OUT PARAMS TARGETS``."""

from __future__ import annotations

import sys
import time

import torch
from borzoi_export.graphs import export_bundle
from borzoi_export.models.borzoi import Borzoi
from borzoi_export.models.config import BorzoiConfig, read_params

from borzoi_rt.manifest import SquashSpec
from borzoi_rt.tracks import TrackTable

from ._common import peak_rss_gb

SEED = 1


def full_model(params: str) -> Borzoi:
    """Build the network of a params.json with seeded weights and plausible normalisation statistics."""
    torch.manual_seed(SEED)
    model = Borzoi(BorzoiConfig.from_params(read_params(params))).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0.0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
    return model


def main(out: str, params: str, targets: str) -> None:
    """Export and print seconds and peak memory."""
    model = full_model(params)
    tracks = TrackTable.read(targets, n_tracks=model.config.tracks)
    started = time.perf_counter()
    bundle = export_bundle(model, tracks, out, squash=SquashSpec(kind="old"), name="random", overwrite=True)
    seconds = time.perf_counter() - started
    size = sum(entry.bytes for entry in bundle.files.values()) / 1e9
    print(f"export with parity gate: {seconds:.0f} s, peak RSS {peak_rss_gb():.2f} GB, bundle {size:.2f} GB")
    print(f"parity: {dict(bundle.info.parity)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
