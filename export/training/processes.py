"""Which of several processes this is; plain, so that modules without Lightning can ask."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Tell whether this process is the first of those that Lightning or torchrun started."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
