from typing import Any

import numpy as np

def inverse(
    z: np.ndarray[Any, Any],
    divisor: np.ndarray[Any, Any],
    knee: np.ndarray[Any, Any],
    offset: float,
    power: np.ndarray[Any, Any],
    factor: np.ndarray[Any, Any],
) -> None: ...
def slope(
    z: np.ndarray[Any, Any],
    divisor: np.ndarray[Any, Any],
    knee: np.ndarray[Any, Any],
    offset: float,
    power: np.ndarray[Any, Any],
    factor: np.ndarray[Any, Any],
) -> None: ...
def forward(
    y: np.ndarray[Any, Any],
    before: np.ndarray[Any, Any],
    knee: np.ndarray[Any, Any],
    offset: float,
    limit: np.ndarray[Any, Any],
    power: np.ndarray[Any, Any],
    after: np.ndarray[Any, Any],
) -> None: ...
