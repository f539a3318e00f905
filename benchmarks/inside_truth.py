"""Do maps and attention find the promoters planted in the demo's genome, and does a network of random weights?

For windows of the demo's grammar that the network has not seen, the sum of DNASE over the window is mapped; positions
that hold one of the 60 bases upstream of an active promoter's TSS, or the TSS, are to be found. Printed are the mean
area under the ROC curve over windows, and in how many of them the check of :mod:`borzoi_rt.inside.check` says so (p of
at most 0.05), for the trained network and for one of the same sizes whose weights were drawn.

    python -m borzoi_export.demo_model --out DIR
    python -m benchmarks.inside_truth --bundle DIR [--windows 12]

The bundle needs graphs of activations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt import Interval, open_bundle
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo import grammar
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.inside.activations import Activations, Layer
from borzoi_rt.inside.attention import attention_rows, relevance, rollout, tokens_of_target
from borzoi_rt.inside.check import holding, recovery
from borzoi_rt.inside.maps import map_window
from borzoi_rt.sequence import encode

from ._common import print_header, print_table

TARGET = TargetSpec.parse("log SUM", tracks="DNASE")
UPSTREAM_BP = 60
SEED = 77


def main() -> None:
    """Map, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=12)
    options = parser.parse_args()
    print_header(f"python -m benchmarks.inside_truth --windows {options.windows}")
    trained = open_bundle(options.bundle)
    with tempfile.TemporaryDirectory() as scratch:
        drawn = random_twin(trained, Path(scratch) / "random")
        found = {name: study(bundle, options.windows) for name, bundle in (("trained", trained), ("random", drawn))}
    rows = []
    for method in found["trained"]:
        cells: list[Any] = [method]
        for name in ("trained", "random"):
            results = found[name][method]
            cells += [float(np.mean([auroc for auroc, _ in results])), f"{sum(told for _, told in results)}"]
        rows.append(tuple(cells))
    columns = ("map", "AUROC", f"of {options.windows} found", "AUROC, random weights", f"of {options.windows} found")
    print_table(columns, rows)


def random_twin(bundle: Bundle, out: Path) -> Bundle:
    """Write a network of the same sizes with weights of chance, statistics of normalisation left at their start."""
    import torch
    from borzoi_export.graphs.unproven import write_unproven
    from borzoi_export.models.borzoi import Borzoi
    from borzoi_export.models.config import BorzoiConfig

    torch.manual_seed(SEED)
    about = {name: value for name, value in bundle.info.architecture.items() if name != "family"}
    config = BorzoiConfig(**{**about, "tower_widths": tuple(about["tower_widths"])})
    model = Borzoi(config).eval()
    with torch.no_grad():
        for block in model.transformer:
            torch.nn.init.normal_(block.attention.out.weight, std=config.tower_widths[-1] ** -0.5)
    write_unproven(model, bundle.tracks, out, squash=bundle.info.squash, activations=True)
    return open_bundle(out, verify=False)


def study(bundle: Bundle, windows: int) -> dict[str, list[tuple[float, bool]]]:
    """Return AUROC and verdict of each map in each window."""
    length = bundle.geometry.sequence_length_bp
    generator, found = np.random.default_rng(SEED), dict[str, list[tuple[float, bool]]]()
    where = Where(window_start=0, anchor=anchored("chr1", length // 2, length // 2 + 1))
    target = TARGET.bind(bundle, where)
    with Activations(bundle) as inside:
        for _ in range(windows):
            text = grammar.plant(generator, length)
            truth = [_before(promoter) for promoter in grammar.promoters(text)]
            for name, (layer, scores) in _maps(inside, encode(text), target).items():
                known = holding(layer, 0, "chr1", truth)
                every = np.arange(layer.positions)  # the target is of the whole window: no position is far from it
                told = recovery(scores, known, near=every)
                found.setdefault(name, []).append((told.auroc, told.recovers))
    return found


def _before(promoter: grammar.Promoter) -> Interval:
    if promoter.strand == "+":
        return Interval("chr1", max(promoter.tss - UPSTREAM_BP, 0), promoter.tss + 1)
    return Interval("chr1", promoter.tss, promoter.tss + UPSTREAM_BP + 1)


def _maps(inside: Activations, window: np.ndarray, target: Any) -> dict[str, tuple[Layer, np.ndarray]]:
    tokens, queries = inside.layer("layer_0"), tokens_of_target(inside, target)
    found = {}
    for method, layer in (
        ("cam", "embedding"),
        ("gradcam", "embedding"),
        ("gradcam++", "embedding"),
        ("gradcam", "tokens"),
        ("gradcam++", "tokens"),
    ):
        told = map_window(inside, window, target, method=method, layer=layer)
        found[f"{method}, {layer}"] = (told.layer, told.scores)
    shares = attention_rows(inside, window, queries).mean  # (layers, heads, tokens)
    found["attention, mean of all heads"] = (tokens, shares.mean(axis=(0, 1)))
    found["attention, rollout"] = (tokens, rollout(inside, window, queries).mean(axis=0))
    found["attention, relevance"] = (tokens, relevance(inside, window, target, queries).mean(axis=0))
    return found


if __name__ == "__main__":
    main()
