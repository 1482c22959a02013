import numpy as np
from numpy.typing import NDArray

def group(stream: NDArray[np.int32], starts: NDArray[np.int64], out: NDArray[np.int32]) -> None: ...
def places(stream: NDArray[np.int32], starts: NDArray[np.int64], out: NDArray[np.int32]) -> int: ...
def mend_times(
    arrival_ns: NDArray[np.int64],
    timestamp: NDArray[np.uint32],
    stream: NDArray[np.int32],
    flags: NDArray[np.uint8],
) -> tuple[int, bool]: ...
def most_below_second(data: NDArray[np.uint8], big: bool, header: int, records: int) -> int: ...
def leaps(arrival_ns: NDArray[np.int64], ahead_ns: int, back_ns: int) -> bool: ...
def hash_payloads(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.uint16],
    flags: NDArray[np.uint8],
) -> NDArray[np.uint64]: ...
def examine(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.uint16],
    flags: NDArray[np.uint8],
    sequence: NDArray[np.uint16],
    timestamp: NDArray[np.uint32],
    payload_type: NDArray[np.uint8],
    rows: NDArray[np.integer],
    enough: float,
) -> tuple[int, float, int, int, int, int, int]: ...
def spread(offset: NDArray[np.int64], rows: NDArray[np.integer]) -> int: ...
def count_parity(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.uint16],
    flags: NDArray[np.uint8],
    rows: NDArray[np.integer],
) -> tuple[int, int]: ...
