import numpy as np
from numpy.typing import NDArray

NO_TICK: int

def walk_stream(
    sequence: NDArray[np.int64],
    timestamp: NDArray[np.int64],
    arrival: NDArray[np.int64],
    offset: NDArray[np.int64],
    size: NDArray[np.uint16],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    missing: NDArray[np.int32],
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    clocks: NDArray[np.int32],
    codecs: NDArray[np.uint8],
    durations: NDArray[np.int32],
    typical: NDArray[np.int32],
    doubtful: NDArray[np.uint8],
    event_row: NDArray[np.int64],
    event_tick: NDArray[np.int64],
) -> dict[str, int]: ...
