"""How long and how fast a promoter network is trained, as one frozen dataclass with the published values by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from borzoi_rt.errors import InputError

from ..training.options import PRECISIONS

SCHEDULES = ("constant", "cosine", "cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How long and how fast.

    Attributes
    ----------
    steps, batch, rate, seed
        Updates, windows in one, learning rate, and the seed of order, reverse complements and dropout.
    schedule : str
        ``constant`` (published stages 1 and 2), ``cosine`` (one fall to 0), or ``cycle`` (published stage 3: from the
        rate to 0 and back every 200 steps).
    validate_every, save_every : int
        Steps between validations, and between checkpoints.
    tissue : str
        What the data are from; consensus works within a tissue first.
    accumulate : int
        Batches whose mean gradient makes one update.
    precision : str
        ``32``, ``bf16`` or ``16``; weights, losses and regularisers stay in float32.
    ema : float
        Decay of the running average of the weights; 0 for none. See :class:`borzoi_export.training.average.Average`.
    """

    steps: int = 200_000
    batch: int = 16
    rate: float = 2e-3
    seed: int = 0
    schedule: str = "constant"
    validate_every: int = 1000
    save_every: int = 1000
    tissue: str = "all"
    accumulate: int = 1
    precision: str = "32"
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule {self.schedule!r} is unknown; allowed: {', '.join(SCHEDULES)}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision {self.precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema is {self.ema!r}; a number in [0, 1) is needed")
        counts = ("steps", "validate_every", "save_every", "accumulate")
        for name, least in (*((name, 1) for name in counts), ("batch", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; a whole number of {least} or more is needed")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate!r}; a positive number is needed")
        if self.validate_every > self.steps:
            raise InputError(
                f"validate_every is {self.validate_every}, more than the {self.steps} steps, so that no best network "
                f"would be kept; {self.steps} at most is allowed"
            )

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of ``rate``."""
        if self.schedule == "cosine":
            return 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return 0.5 + 0.5 * math.cos(math.pi * step / 100) if self.schedule == "cycle" else 1.0


OPTIONS = {
    1: TrainOptions(),
    2: TrainOptions(steps=375_000),
    3: TrainOptions(steps=12_500, batch=64, rate=1e-4, schedule="cycle", validate_every=200, save_every=200),
}

TUNE_FREEZE = ("kernels", "nothing", "body")
_TUNE_BATCH, _TUNE_EPOCHS = 32, 10


def tuning_options(sites: int, tissue: str) -> TrainOptions:
    """Return the published options of fine-tuning to one tissue with so many training sites."""
    epoch = max(sites // _TUNE_BATCH, 1)
    return TrainOptions(
        steps=_TUNE_EPOCHS * epoch,
        batch=_TUNE_BATCH,
        rate=1e-4,
        validate_every=epoch,
        save_every=epoch,
        tissue=tissue,
    )
