import numpy as np
import numpy.typing as npt

from ..types import ByteArray

def encode(letters: bytes | bytearray | ByteArray, out: ByteArray) -> None: ...
def decode(onehot: ByteArray, out: ByteArray) -> None: ...
def edit(
    batch: ByteArray,
    reference: ByteArray,
    restore: npt.NDArray[np.intp],
    position: npt.NDArray[np.intp],
    alt: ByteArray,
) -> None: ...
