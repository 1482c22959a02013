from typing import Final

import numpy as np
from numpy.typing import NDArray

LARGEST_HEADER: Final[int]

def records(
    source: NDArray[np.uint8],
    at: NDArray[np.int64],
    rows: NDArray[np.int64],
    arrival_ns: NDArray[np.int64],
    timestamp: NDArray[np.uint32],
    stream: NDArray[np.int32],
    sequence: NDArray[np.uint16],
    size: NDArray[np.uint16],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    ssrcs: NDArray[np.uint32],
    start_ns: int,
    out: NDArray[np.uint8],
    lengths: NDArray[np.uint16],
) -> int: ...
