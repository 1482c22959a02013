import numpy as np
from numpy.typing import NDArray

class Walk:
    first_ms: int
    last_ms: int
    longest_ms: int
    sources: int
    def __init__(self, head: int) -> None: ...
    def at(self) -> int: ...
    def take(
        self,
        data: NDArray[np.uint8],
        length: NDArray[np.uint16],
        offset: NDArray[np.int64],
        timestamp: NDArray[np.uint32],
        sequence: NDArray[np.uint16],
        size: NDArray[np.uint16],
        payload_type: NDArray[np.uint8],
        flags: NDArray[np.uint8],
    ) -> bool: ...
