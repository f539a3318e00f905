"""Memory of one training step at the published size, by batch, precision and form of attention, without computing it.

python -m benchmarks.memory_table --params params.json [--batch-size 1 2 4] [--head 0]

The step is run on fake tensors, which have shapes and no values, and PyTorch's own tracker counts what is alive at the
peak: weights, gradients, Adam's moments, activations. What a device needs beside (its libraries, fragments between
blocks, workspaces of convolutions) is not counted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest import mock

import torch
from borzoi_export.models.config import BorzoiConfig, read_params
from borzoi_export.training.attention import set_attention
from borzoi_export.training.losses import poisson_multinomial
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import ATTENTION
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from ._common import print_header, print_table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", required=True, type=Path)
    parser.add_argument("--head", default="0")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--precision", nargs="+", choices=["32", "bf16"], default=["32", "bf16"])
    options = parser.parse_args()
    print_header("python -m benchmarks.memory_table " + " ".join(sys.argv[1:]))
    config = BorzoiConfig.from_params(read_params(options.params), head=options.head)
    rows = []
    for precision in options.precision:
        for attention in ATTENTION:
            for blocks in (False, True):
                peaks = [_peak(config, size, precision, attention, blocks) for size in options.batch_size]
                rows.append((precision, attention, "yes" if blocks else "no", *(f"{peak:.1f}" for peak in peaks)))
                print(f"{precision} {attention} {blocks}: {peaks}", file=sys.stderr)
    print("GiB at the peak of a step, weights, gradients and Adam included\n")
    print_table(("precision", "attention", "--checkpoint-blocks", *(f"batch {n}" for n in options.batch_size)), rows)


def _peak(config: BorzoiConfig, batch: int, precision: str, attention: str, blocks: bool) -> float:
    """Return the peak of the second step, when the moments of Adam are there, in GiB."""
    # Initial weights are drawn by rejection, which looks at values.
    with mock.patch("torch.nn.init.trunc_normal_", lambda tensor, **_: tensor), FakeTensorMode():
        model = MultiHead([config]).train()
        set_attention(model.network, attention)
        if blocks:
            model.recompute()
        optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        x = torch.zeros(batch, 4, config.sequence_length_bp)
        y = torch.zeros(batch, config.tracks, config.bins)
        tracker = MemTracker()
        tracker.track_external(model, optimizer, x, y)
        with tracker:
            for _ in range(2):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                    prediction = model(x)
                poisson_multinomial(prediction, y).mean().backward()
                del prediction
                optimizer.step()
                optimizer.zero_grad()
                tracker.reset_mod_stats()
        peak = tracker.get_tracker_snapshot("peak")
        return sum(found["Total"] for found in peak.values()) / 2**30


if __name__ == "__main__":
    main()
