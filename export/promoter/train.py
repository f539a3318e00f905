"""Train a promoter network of any stage; a run is a directory.

``run.json`` holds config, options and what validation gave, ``best.safetensors`` and ``last.safetensors`` the weights,
``log.csv`` one row per validation. As published: AdamW, reverse complements of half of the batches. Unlike the
published code, windows are drawn anew for every batch, validation runs in inference mode, and its data are never those
of the final test.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from borzoi_rt.errors import FormatError, InputError

from ..models.promoter import MotifNetwork, build
from ..models.promoter_config import PromoterConfig
from .data import PromoterData
from .objectives import PUBLISHED, Objective, data_loss, penalty

RUN = "run.json"
N_FILL = 0.25  # an unknown base is a quarter of each


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How long and how fast.

    Attributes
    ----------
    steps, batch, rate, seed
        Batches, windows in one, learning rate, and the seed of everything that is drawn.
    schedule : str
        ``constant`` (published stages 1 and 2), ``cosine`` (one fall to 0), or ``cycle`` (published stage 3: from the
        rate to 0 and back every 200 steps).
    validate_every : int
        Steps between validations.
    tissue : str
        What the data are from; consensus works within a tissue first.
    """

    steps: int = 200_000
    batch: int = 16
    rate: float = 2e-3
    seed: int = 0
    schedule: str = "constant"
    validate_every: int = 1000
    tissue: str = "all"

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine", "cycle"):
            raise InputError(f"schedule {self.schedule!r} is unknown; allowed: constant, cosine, cycle")
        for name in ("steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; a positive number is needed")

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of ``rate``."""
        if self.schedule == "cosine":
            return 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return 0.5 + 0.5 * math.cos(math.pi * step / 100) if self.schedule == "cycle" else 1.0


OPTIONS = {
    1: TrainOptions(),
    2: TrainOptions(steps=375_000),
    3: TrainOptions(steps=12_500, batch=64, rate=1e-4, schedule="cycle", validate_every=200),
}


def train(
    model: MotifNetwork,
    training: PromoterData,
    validation: PromoterData,
    out: str | os.PathLike[str],
    *,
    options: TrainOptions,
    objective: Objective | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Train a network in place and write the run.

    Parameters
    ----------
    model : MotifNetwork
        With its frozen kernels set.
    training, validation : PromoterData
    out : path
        Directory to make.
    options : TrainOptions
    objective : Objective, optional
        The published one of the stage when None.
    progress : callable, optional
        Called with the number of steps done.

    Returns
    -------
    dict
        ``loss`` and ``pearson`` (mean over sites, both strands) of the best validation, and its ``step``.

    Raises
    ------
    InputError
        If ``out`` exists and is not an empty directory, or the loss stops being finite: the message names the step, and
        the best weights so far are kept.
    """
    folder = _new_folder(out)
    stage = model.config.stage
    objective = objective or PUBLISHED[stage]
    generator = torch.Generator().manual_seed(options.seed)
    torch.manual_seed(options.seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.rate, weight_decay=objective.adamw_wd)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, options.factor)
    best: dict[str, float] = {}
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ("step", "train_loss", "penalty", "loss", "pearson"), lineterminator="\n")
        writer.writeheader()
        for step in range(1, options.steps + 1):
            x, t = batch_of(training, options.batch, generator)
            model.train()
            fit, extra = data_loss(stage, model(x), t, objective), penalty(stage, model, objective)
            loss = fit + extra
            if not torch.isfinite(loss):
                raise InputError(
                    f"the loss is {loss.item()} at step {step}; lower the rate, the best weights are kept in {folder}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if step % options.validate_every == 0 or step == options.steps:
                report = evaluate(model, validation, objective)
                writer.writerow({"step": step, "train_loss": fit.item(), "penalty": extra.item(), **report})
                handle.flush()
                if not best or report["loss"] < best["loss"]:
                    best = {"step": step, **report}
                    _save(model, folder / "best.safetensors")
                    _write_run(folder, model.config, options, objective, best, len(training), len(validation))
            if progress is not None:
                progress(step)
    _save(model, folder / "last.safetensors")
    return best


def batch_of(data: PromoterData, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw windows without replacement within the batch; half of the batches are read on the other strand."""
    chosen = torch.randperm(len(data), generator=generator)[:size].numpy()
    x, t = inputs_of(data.sequence[chosen]), torch.from_numpy(data.target[chosen])
    if torch.rand((), generator=generator) < 0.5:
        x, t = x.flip(1, 2), t.flip(1, 2)
    return x, t


def inputs_of(sequence: np.ndarray) -> Tensor:
    """Return one-hot DNA as the network reads it: float32, unknown bases a quarter of each."""
    x = torch.from_numpy(sequence).float()
    return x + N_FILL * (1.0 - x.sum(dim=1, keepdim=True))


def evaluate(model: MotifNetwork, data: PromoterData, objective: Objective, batch: int = 64) -> dict[str, float]:
    """Return loss (without regularisers) and the mean over sites of Pearson's r, both strands flattened.

    A site without counts, or without any variation in the prediction, has no correlation and is left out of that mean.
    """
    model.eval()
    losses, correlations = [], []
    with torch.inference_mode():
        for start in range(0, len(data), batch):
            t = torch.from_numpy(data.target[start : start + batch])
            p = model(inputs_of(data.sequence[start : start + batch]))
            losses.append(data_loss(model.config.stage, p, t, objective).item() * len(t))
            a, b = (values.flatten(1).double() for values in (p, t))
            a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
            correlations.append((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1)))
    r = torch.cat(correlations)
    r = r[torch.isfinite(r)]
    return {"loss": sum(losses) / len(data), "pearson": r.mean().item() if len(r) else 0.0}


def load_run(path: str | os.PathLike[str], weights: str = "best") -> tuple[MotifNetwork, dict[str, Any]]:
    """Open a run and return its network in inference mode, and what ``run.json`` says.

    Raises
    ------
    FormatError
        If the directory is not a run, or its weights are not those of its config.
    """
    folder = Path(path)
    try:
        about = json.loads((folder / RUN).read_text(encoding="utf-8"))
        model = build(PromoterConfig.from_dict(about["config"]))
        model.load_state_dict(load_file(folder / f"{weights}.safetensors"), strict=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FormatError(f"{folder}: not a promoter run ({' '.join(str(error).split())[:200]})") from error
    return model.eval(), about


def _save(model: MotifNetwork, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial)
    partial.replace(path)


def _write_run(
    folder: Path,
    config: PromoterConfig,
    options: TrainOptions,
    objective: Objective,
    best: dict[str, float],
    training: int,
    validation: int,
) -> None:
    about = {
        "config": config.to_dict(),
        "options": asdict(options),
        "objective": asdict(objective),
        "best": best,
        "sites": {"training": training, "validation": validation},
        "torch": torch.__version__,
    }
    (folder / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _new_folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty directory; choose another with --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
