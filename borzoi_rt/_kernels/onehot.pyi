from typing import Any

import numpy as np

def encode(letters: bytes | bytearray | np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None: ...
def decode(onehot: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None: ...
def edit(
    batch: np.ndarray[Any, Any],
    reference: np.ndarray[Any, Any],
    restore: np.ndarray[Any, Any],
    position: np.ndarray[Any, Any],
    alt: np.ndarray[Any, Any],
) -> None: ...
