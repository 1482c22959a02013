import numpy as np
from numpy.typing import NDArray

class Survey:
    rows: int
    first_ns: int
    last_ns: int
    smallest: int
    largest: int
    in_time: bool
    def present(self) -> dict[int, int]: ...
    def commonest(self, kinds: NDArray[np.uint8], kind: int) -> int: ...
    def count(self, payload_type: int) -> int: ...
    def look(
        self,
        size: NDArray[np.uint16],
        arrival: NDArray[np.int64],
        payload_type: NDArray[np.uint8],
        rows: NDArray[np.int32] | None,
        first: int,
        count: int,
        step: int,
    ) -> None: ...
    def take(
        self,
        offset: NDArray[np.int64],
        size: NDArray[np.uint16],
        timestamp: NDArray[np.uint32],
        arrival: NDArray[np.int64],
        sequence: NDArray[np.uint16],
        payload_type: NDArray[np.uint8],
        flags: NDArray[np.uint8],
        rows: NDArray[np.int32] | None,
        first: int,
        count: int,
        step: int,
        at: int,
        offset_to: NDArray[np.int64],
        size_to: NDArray[np.uint16],
        timestamp_to: NDArray[np.int64],
        arrival_to: NDArray[np.int64],
        sequence_to: NDArray[np.int64],
        payload_type_to: NDArray[np.uint8],
        flags_to: NDArray[np.uint8],
    ) -> None: ...

def bunched(arrival: NDArray[np.int64], head: int, run: int, packet_ns: float) -> bool: ...
def restarts(flags: NDArray[np.uint8]) -> int: ...
def audio_rows(flags: NDArray[np.uint8]) -> tuple[int, int]: ...
