import numpy as np
from numpy.typing import NDArray

class Plain:
    def __init__(
        self,
        kinds: NDArray[np.uint8],
        audio: int,
        octets: int,
        duration: int,
        clock: int,
        doubtful: bool,
        hold_ticks: int,
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
        offset_to: NDArray[np.int64],
        size_to: NDArray[np.uint16],
        timestamp_to: NDArray[np.int64],
        arrival_to: NDArray[np.int64],
        sequence_to: NDArray[np.int64],
        payload_type_to: NDArray[np.uint8],
        flags_to: NDArray[np.uint8],
        missing_to: NDArray[np.int32],
        events: NDArray[np.int64],
    ) -> bool: ...
    def bunched(self, packet_ns: float) -> bool: ...
    def gaps(self) -> NDArray[np.void]: ...
    @property
    def kept(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def usual(self) -> int: ...
    @property
    def end_tick(self) -> int: ...
    @property
    def jitter(self) -> tuple[float, float]: ...
    def counts(self) -> dict[str, int]: ...

def long_losses(table: NDArray[np.void], least: int) -> int: ...
