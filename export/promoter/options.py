"""How long and how fast a promoter network is trained, as one frozen dataclass with the published values by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from borzoi_rt.errors import InputError

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
    """

    steps: int = 200_000
    batch: int = 16
    rate: float = 2e-3
    seed: int = 0
    schedule: str = "constant"
    validate_every: int = 1000
    save_every: int = 1000
    tissue: str = "all"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule {self.schedule!r} is unknown; allowed: {', '.join(SCHEDULES)}")
        for name, least in (("steps", 1), ("batch", 2), ("validate_every", 1), ("save_every", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; a whole number of {least} or more is needed")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate!r}; a positive number is needed")
        if self.validate_every > self.steps:
            raise InputError(
                f"validate_every is {self.validate_every}, more than the {self.steps} steps, so that no best network "
                f"would be kept; {self.steps} at most is allowed, give --validate-every"
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
