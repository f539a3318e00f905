"""Readers of weight files; each returns the state dict of :class:`borzoi_export.models.borzoi.Borzoi`."""

from __future__ import annotations

from typing import Any

import numpy as np

from borzoi_rt.errors import FormatError


def check_finite(values: Any, what: str) -> None:
    """Refuse NaN and infinite weights, which would spread over every prediction."""
    wrong = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise FormatError(f"{what}: {wrong} values are NaN or infinite; the file is damaged or training diverged")
