import numpy as np
import numpy.typing as npt

from ..types import FloatArray

def inverse(
    z: FloatArray,
    divisor: FloatArray,
    knee: FloatArray,
    offset: float,
    power: npt.NDArray[np.intc],
    factor: FloatArray,
) -> None: ...
def slope(
    z: FloatArray,
    divisor: FloatArray,
    knee: FloatArray,
    offset: float,
    power: npt.NDArray[np.intc],
    factor: FloatArray,
) -> None: ...
def forward(
    y: FloatArray,
    before: FloatArray,
    knee: FloatArray,
    offset: float,
    limit: FloatArray,
    power: npt.NDArray[np.intc],
    after: FloatArray,
) -> None: ...
