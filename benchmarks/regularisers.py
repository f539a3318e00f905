"""What L1 and L2 do to a stage 1 network: ``python benchmarks/regularisers.py [--steps 1000] [--out FIGURE.png]``.

Networks of the demo's recipe are trained on its synthetic promoters with one regulariser after the other: as published,
none, in the textbook forms at the published coefficients, and along paths of coefficients of the textbook L1 on both
layers and of the group lasso on whole effect curves. Printed are the validation loss and correlation, the share of
weights that are small (less than a hundredth of the largest of their layer: subgradient descent makes small ones, not
zeros), that of curves whose norm is less than a tenth of the largest, and the roughness of the effect curves, the mean
squared step over the variance. ``--out`` draws both paths.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from borzoi_export.models.promoter import build
from borzoi_export.models.promoter_config import PromoterConfig
from borzoi_export.promoter.data import load_data, read_tss_table
from borzoi_export.promoter.objectives import PUBLISHED, Objective
from borzoi_export.promoter.options import TrainOptions
from borzoi_export.promoter.runs import load_run
from borzoi_export.promoter.train import train
from borzoi_export.training.penalties import PENALTIES
from borzoi_export.training.session import RunOptions

from borzoi_rt.demo import promoter_grammar as grammar

SEED = 7
WINDOW = {"sequence_length_bp": 600, "crop_bp": 90, "tss_bp": 360, "motif_width": 15, "effect_width": 161}
SMALL = 0.01  # of the largest weight of a layer
SMALL_CURVE = 0.1  # of the largest norm of a curve
PATH = (0.0, 1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
GROUP_PATH = (0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)


@dataclass(frozen=True)
class Outcome:
    """What became of a network: correlation, loss, small weights of both layers, small curves, their roughness."""

    pearson: float
    loss: float
    small_motif: float
    small_effect: float
    small_curves: float
    roughness: float


def objectives() -> dict[str, Objective]:
    """Return the settings that are compared, by name."""
    published = PUBLISHED[1]
    plain = replace(published, smooth_deconv=0.0, l1_deconv=0.0, l1_motif=0.0)
    settings = {
        "none": plain,
        "published: mean L1, roughness": published,
        "mean L1 alone": replace(published, smooth_deconv=0.0),
        "roughness alone": replace(plain, smooth_deconv=published.smooth_deconv),
        "textbook L2 2e-3, sum of squares": replace(plain, smooth_deconv=2e-3, smooth_form="l2_sum"),
        "textbook L1 4e-5 and 5e-5, sum": replace(published, smooth_deconv=0.0, l1_form="l1_sum"),
    }
    path = {
        f"sum L1 {factor:g}, roughness": replace(published, l1_motif=factor, l1_deconv=factor, l1_form="l1_sum")
        for factor in PATH
    }
    groups = {
        f"group L2 {factor:g}, roughness": replace(published, l1_motif=0.0, l1_deconv=factor, l1_form="group_l2")
        for factor in GROUP_PATH[1:]
    }
    return {**settings, **path, **groups}


def outcome(folder: Path, objective: Objective, steps: int) -> Outcome:
    """Train a network and measure it."""
    names = tuple(f"kernel{number}" for number in range(12))
    config = PromoterConfig(stage=1, motif_names=names, **WINDOW)
    files = {"fasta": folder / "genome.fa", "plus": folder / "plus.bw", "minus": folder / "minus.bw"}
    rest, _ = load_data(config, read_tss_table(folder / "tss.bed"), **files, smoothing_bp=1).split([grammar.TEST])
    training, validation = rest.split([grammar.VALID])
    torch.manual_seed(SEED)
    plan = TrainOptions(steps=steps, rate=5e-3, schedule="cosine", validate_every=steps, save_every=steps, seed=SEED)
    with tempfile.TemporaryDirectory(dir=folder) as run:
        where = Path(run) / "run"
        train(
            build(config),
            training,
            validation,
            where,
            objective=objective,
            options=plan,
            run=RunOptions(accelerator="cpu"),
        )
        model, about = load_run(where)
    motif, effect = model.motif.weight.detach(), model.effect.weight.detach()
    small = [float((layer.abs() < SMALL * layer.abs().max()).float().mean()) for layer in (motif, effect)]
    scores = about["validation"]
    norms = effect.norm(dim=-1)
    curves = float((norms < SMALL_CURVE * norms.max()).float().mean())
    roughness = float(PENALTIES["smoothness_p2"](effect))
    return Outcome(float(scores["pearson"]), float(scores["loss"]), *small, curves, roughness)


def draw(path: Path, found: dict[str, Outcome]) -> None:
    """Draw sparsity and correlation along both paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    points = [found[f"sum L1 {factor:g}, roughness"] for factor in PATH]
    left.plot(range(len(PATH)), [point.small_motif for point in points], "o-", label="small weights, motifs")
    left.plot(range(len(PATH)), [point.small_effect for point in points], "s-", label="small weights, effect curves")
    left.plot(range(len(PATH)), [point.pearson for point in points], "^--", color="C2", label="validation correlation")
    left.set_xticks(range(len(PATH)), [f"{factor:g}" for factor in PATH])
    left.set_xlabel("coefficient of the sum of |w|, both layers")
    points = [found["sum L1 0, roughness"], *(found[f"group L2 {factor:g}, roughness"] for factor in GROUP_PATH[1:])]
    right.plot(range(len(GROUP_PATH)), [point.small_curves for point in points], "o-", label="small effect curves")
    right.plot(
        range(len(GROUP_PATH)), [point.pearson for point in points], "^--", color="C2", label="validation correlation"
    )
    right.set_xticks(range(len(GROUP_PATH)), [f"{factor:g}" for factor in GROUP_PATH])
    right.set_xlabel("coefficient of the sum of norms of effect curves")
    for panel in (left, right):
        panel.set_ylim(0, 1)
        panel.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {options.steps} steps")
    print(f"{'':36}{'pearson':>9}{'loss':>9}{'small, motifs':>15}{'small, effect':>15}{'curves':>8}{'roughness':>11}")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        grammar.write_data(Path(folder), seed=SEED)
        for name, objective in objectives().items():
            found[name] = item = outcome(Path(folder), objective, options.steps)
            print(
                f"{name:36}{item.pearson:9.3f}{item.loss:9.4f}{item.small_motif:15.3f}{item.small_effect:15.3f}"
                f"{item.small_curves:8.3f}{item.roughness:11.5f}",
                flush=True,
            )
    if options.out is not None:
        draw(options.out, found)


if __name__ == "__main__":
    main()
