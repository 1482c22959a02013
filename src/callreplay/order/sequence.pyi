import numpy as np
from numpy.typing import NDArray

STRAY: int

def unwrap(
    sequence: NDArray[np.int64],
    timestamp: NDArray[np.int64],
    arrival: NDArray[np.int64],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    per_packet: int,
    clock: int,
) -> tuple[bool, int, int, int, int, float, float]: ...
def usual_step(
    sequence: NDArray[np.int64],
    timestamp: NDArray[np.int64],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    limit: int = 4096,
) -> int: ...
def histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]: ...
