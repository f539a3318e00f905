"""The squashed scale drawn: ``python -m benchmarks.squash_figure [--out docs/squash.png]``.

Left: coverage of a bin to the squashed value of a GTEx track; right: the way back, in reads. The knee is the soft clip.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from borzoi_rt import Squash
from borzoi_rt.report.style import ALT_COLOUR, REF_COLOUR

# A GTEx track of the published human table.
SCALE, CLIP_SOFT, CLIP, SUM_STAT = 0.01, 384.0, 768.0, "sum_sqrt"
KNEES = {"old": CLIP_SOFT ** (4 / 3), "new": ((CLIP_SOFT + 1) ** 2 - 1) / SCALE}
KNEES["bp_new"] = ((CLIP_SOFT + 1) ** (4 / 3) - 1) / SCALE
STYLES = {"old": (ALT_COLOUR, "-"), "new": (REF_COLOUR, "-"), "bp_new": (REF_COLOUR, "--")}
LABELS = {"old": "old, bp_old", "new": "new", "bp_new": "bp_new"}


def track(kind: str) -> Squash:
    """Return the squash of the track; its inverse gives reads."""
    scale, knee, clip = (np.array([value], np.float32) for value in (SCALE, CLIP_SOFT, CLIP))
    return Squash(kind, scale, knee, clip, (SUM_STAT,), unscale=True)


def draw(path: Path) -> None:
    """Draw both directions."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    forward, inverse = figure.subplots(1, 2)
    coverage = np.geomspace(1, 1e8, 400).astype(np.float32)
    for kind, (colour, line) in STYLES.items():
        squashed = track(kind).forward(coverage[None].copy())[0]
        below = squashed < (CLIP if kind != "old" else CLIP * SCALE)  # what the hard clip cut has no way back
        reads = track(kind).inverse(squashed[None].copy())[0]
        forward.plot(coverage, squashed, line, color=colour, label=LABELS[kind])
        inverse.plot(squashed[below], reads[below], line, color=colour, label=LABELS[kind])
        knee = np.array([[KNEES[kind]]], np.float32)
        for panel, x, y in (
            (forward, knee.copy(), track(kind).forward(knee.copy())),
            (inverse, track(kind).forward(knee.copy()), knee.copy()),
        ):
            panel.plot(x.ravel(), y.ravel(), "o", color=colour, label="knee" if kind == "old" else None)
    forward.set(xlabel="coverage of a bin, reads", ylabel="squashed value", title="forward: what a model learns")
    inverse.set(xlabel="squashed value", ylabel="reads", title="inverse, unscaled")
    for panel in (forward, inverse):
        panel.set(xscale="log", yscale="log")
        panel.spines[["top", "right"]].set_visible(False)
    forward.legend(frameon=False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Draw the figure of docs/squash.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/squash.png"))
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
