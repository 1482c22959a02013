from typing import Any

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
        source: tuple[NDArray[Any], ...],
        listed: NDArray[np.int32] | None,
        first: int,
        count: int,
        step: int,
        target: tuple[NDArray[Any], ...],
        events: NDArray[np.int64] | None,
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
