"""One direction of a TCP connection, put in order: segments in, octets out."""

from __future__ import annotations

import heapq
from dataclasses import field
from typing import Final

from callreplay.deferred import dataclass

__all__ = ["MAX_HELD", "Direction"]

MAX_HELD: Final = 1 << 20
"""Octets held back for one missing segment, or one message that is not whole."""
_SYN: Final = 2


@dataclass(slots=True)
class Direction:
    """One direction of one TCP connection, put in order."""

    flow: int
    kind: int
    base: int | None = None  # sequence number of the next octet wanted, never wrapped
    waiting: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    order: list[int] = field(
        default_factory=list
    )  # heap of the keys of waiting: a drain costs log n a segment
    held: int = 0
    ready: bytearray = field(default_factory=bytearray)
    begun: int = 0  # how often a connection began on these ports
    gaps: int = 0  # how often octets were missing

    def add(self, sequence: int, data: bytes, flags: int, arrival_ns: int) -> bool:
        """Take a segment; True when ``ready`` grew."""
        if flags & _SYN:
            sequence = (sequence + 1) & 0xFFFFFFFF
            if self.base is None or sequence != self.base & 0xFFFFFFFF:  # a new connection on the same ports
                self.base, self.held = sequence, 0
                self.begun += 1
                self.waiting.clear()
                self.order.clear()
                self.ready.clear()
        if self.base is None:
            self.base = sequence
        ahead = (sequence - self.base + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if ahead < 0:  # retransmitted, at least in part
            data, ahead = data[-ahead:], 0
        if not data:
            return False
        if ahead:
            key = self.base + ahead
            if key not in self.waiting:
                heapq.heappush(self.order, key)
            if key not in self.waiting or len(self.waiting[key][0]) < len(data):
                self.held += len(data) - len(self.waiting.get(key, (b"", 0))[0])
                self.waiting[key] = (data, arrival_ns)
            if self.held <= MAX_HELD:
                return False
            self.skip()
            return True
        self._take(data)
        self._drain()
        return True

    def _take(self, data: bytes) -> None:
        assert self.base is not None
        self.ready += data
        self.base += len(data)

    def _drain(self) -> None:
        assert self.base is not None
        while self.order and self.order[0] <= self.base:
            key = heapq.heappop(self.order)
            data, _ = self.waiting.pop(key)
            self.held -= len(data)
            self._take(data[self.base - key :])

    def skip(self) -> None:
        """Give up on what is missing before the first segment held back: the message it cut is lost."""
        if self.waiting:
            self.base = self.order[0]
            self.gaps += 1
            self.ready.clear()
            self._drain()
