"""What can be known of a run without Lightning: which of its processes this is, and how it was stopped."""

from __future__ import annotations

import os
from pathlib import Path


def is_first_process() -> bool:
    """Tell whether this process is the first of those that Lightning or torchrun started."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


class StoppedError(KeyboardInterrupt):
    """A run ended by a signal.

    Attributes
    ----------
    checkpoint : Path
        ``last.ckpt`` of the run.
    step, total : int
        Updates that were done, and those of the whole run.
    kept : int or None
        Updates that ``checkpoint`` holds; None where there is none yet.
    exit_code : int
        128 plus the number of the signal, as shells count.
    """

    def __init__(self, checkpoint: Path, *, step: int, total: int, kept: int | None, exit_code: int) -> None:
        self.checkpoint, self.step, self.total, self.kept, self.exit_code = checkpoint, step, total, kept, exit_code
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"stopped at step {self.step} of {self.total}"
        if self.kept is None:
            return f"{where}, before the first checkpoint: nothing is kept"
        lost = f"; the {self.step - self.kept} steps after it are lost" if self.step > self.kept else ""
        return f"{where}; {self.checkpoint} holds step {self.kept}{lost}"
