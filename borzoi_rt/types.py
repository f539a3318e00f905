"""Names for arrays by the type of their elements; shapes are in the docstrings."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Model output, coverage, stored scores."""
DoubleArray: TypeAlias = npt.NDArray[np.float64]
"""Sums, logarithms and what is made of them."""
IndexArray: TypeAlias = npt.NDArray[np.int64]
"""Positions in a table, units of a head, bins."""
ByteArray: TypeAlias = npt.NDArray[np.uint8]
"""One-hot DNA and letters."""
BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""Masks."""
SignArray: TypeAlias = npt.NDArray[np.int8]
"""-1, 0 or 1."""
