"""Short runs on toy data, for the tests of training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import toys
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.run import train
from borzoi_export.training.session import RunOptions

from borzoi_rt.dataset import Data

CPU = RunOptions(accelerator="cpu", threads=1)


def toy_params(*, dropout: float = 0.1, **changes: Any) -> dict[str, Any]:
    """Return a params.json of the toy network."""
    model = toys.params(augment_rc=True, augment_shift=3)
    model["trunk"][2].update(dropout=dropout, attention_dropout=dropout)
    recipe = {"batch_size": 2, "learning_rate": 2e-3, "warmup_steps": 3, "global_clipnorm": 0.5}
    limits = {"train_epochs_min": 1, "train_epochs_max": 100, "patience": 50}
    return {"train": {**recipe, **limits, **changes}, "model": model}


def run(params: dict[str, Any], data: Sequence[Data], out: Path, **changes: Any) -> Path:
    """Train on the CPU with one thread; ``changes`` are of the training options but for those of ``train``."""
    own = {name: changes.pop(name) for name in ("heads", "penalties", "tune", "resume", "run") if name in changes}
    changes.setdefault("max_steps", 6)
    options = TrainOptions.from_params(params, **changes)
    return train(params, [item.path for item in data], out, options=options, **{"run": CPU, **own})


def rows(path: Path) -> list[dict[str, str]]:
    """Read a log."""
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def losses(out: Path) -> list[str]:
    """Return the losses of a run as text: equal means equal to the last bit that is written."""
    return [row["loss"] for row in rows(out / "train.csv")]
