from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Merger:
    """Captures (pcap, pcapng, snoop) as one pcapng in order of time, a buffer full at a time.

    ``captures`` are (octets, container's number, options), as `callreplay.packets.recognise.recognise` tells them.
    """

    packets: int
    cut: int
    """Captures whose last record was not whole."""

    def __init__(self, captures: Iterable[tuple[NDArray[np.uint8], int, Mapping[str, Any]]]) -> None: ...
    def take(self, out: NDArray[np.uint8]) -> int: ...
