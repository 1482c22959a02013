import numpy as np
from numpy.typing import NDArray

from callreplay.model import RtpColumns

NOTE_DTYPE: np.dtype[np.void]
"""Datagrams and segments for later: kind 1 RTCP, 2 SIP, 3 TCP of SIP, 4 TCP of Skinny, 5 SIP by HEP.

And 6 TCP of WebSocket, 7 TCP of TLS, 8 TCP of HEP, 9 SCTP, 10 compressed by HEP, 11 a WebSocket frame by HEP.
"""

class Scanner:
    """One pass over a capture into ``columns`` and ``notes``, which must be long enough for every record."""

    def __init__(
        self,
        data: NDArray[np.uint8],
        container: int,
        columns: RtpColumns,
        notes: NDArray[np.void],
        spill: NDArray[np.uint8],
        *,
        position: int = 0,
        big: bool = False,
        nano: bool = False,
        header: int = 16,
        link: int = 1,
        start_ns: int = 0,
        source: bytes = b"",
        source_port: int = 0,
        destination: bytes = b"",
        destination_port: int = 0,
        keep_rtcp: bool = True,
        keep_tls: bool = False,
        seed: int = 0,
        end: int = -1,
        clock_hz: int = 0,
    ) -> None: ...
    def open(
        self,
        container: int,
        *,
        position: int = 0,
        end: int = 0,
        big: bool = False,
        nano: bool = False,
        header: int = 16,
        link: int = 1,
    ) -> None: ...
    def run(self, most: int, octets: int) -> bool: ...
    def undecided(self) -> bool: ...
    def settle(
        self, announced: dict[tuple[bytes, int], tuple[int, int]], recorded: bool
    ) -> tuple[int, list[tuple[int, int, int, int, int]]]: ...
    def flow(self, index: int) -> tuple[int, bytes, int, bytes, int, bytes, bytes, int, int]: ...
    def beside(self) -> list[tuple[int, int, int, int, int, int]]: ...
    def unread(self) -> list[tuple[int, int, int]]: ...
    def unknowns(self) -> list[tuple[int, int, int]]: ...
    def interfaces(self) -> list[int]: ...
    def counters(self) -> dict[str, int]: ...
    def state(self) -> tuple[int, int, bool, bool, int, int, int]: ...

def span(
    data: NDArray[np.uint8],
    container: int,
    *,
    position: int = 0,
    big: bool = False,
    nano: bool = False,
    header: int = 16,
    link: int = 1,
) -> tuple[int, int]: ...
