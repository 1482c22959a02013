import numpy as np
from numpy.typing import NDArray

def copy(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    before: int,
    out: NDArray[np.uint8],
) -> None: ...
def read(
    files: NDArray[np.int64],
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    before: int,
    out: NDArray[np.uint8],
) -> bool: ...
