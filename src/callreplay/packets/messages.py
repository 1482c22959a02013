"""SIP and Skinny out of a scan's notes: datagrams as they are, TCP put in order and cut into messages."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Flow, Message

__all__ = ["messages"]

RTCP, SIP, TCP_SIP, TCP_SKINNY, SIP_STREAM = 1, 2, 3, 4, 5
_SPILL: Final = 2
_SYN: Final = 2
_MAX_WAITING: Final = 1 << 20  # octets held back for one missing segment
_MAX_MESSAGE: Final = 1 << 20
_START: Final = re.compile(rb"(?:SIP/2\.0 \d{3} |[A-Z]{1,20} \S{1,2000} SIP/2\.0\r?\n)")
_LENGTH: Final = re.compile(
    rb"^(?:content-length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")


@dataclass(slots=True)
class _Direction:
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

    def add(self, sequence: int, data: bytes, flags: int, arrival_ns: int) -> bool:
        """Take a segment; True when ``ready`` grew."""
        if flags & _SYN:
            sequence = (sequence + 1) & 0xFFFFFFFF
            if self.base is None or sequence != self.base & 0xFFFFFFFF:  # a new connection on the same ports
                self.base, self.held = sequence, 0
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
            if self.held <= _MAX_WAITING:
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
            self.ready.clear()
            self._drain()


def messages(
    notes: NDArray[np.void],
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    flow: Callable[[int], Flow],
    counters: dict[str, int],
) -> list[Message]:
    """Every whole SIP message and Skinny frame, in order of arrival (of the last octet). Counts what was lost."""
    found: list[Message] = []
    directions: dict[int, _Direction] = {}
    for note in notes[notes["kind"] != RTCP].tolist():
        offset, arrival_ns, index, size, sequence, kind, flags, tcp_flags, _ = note
        payload = (spill if flags & _SPILL else data)[offset : offset + size].tobytes()
        if kind in (SIP, SIP_STREAM):
            found.append(Message("sip", arrival_ns, flow(index), "udp" if kind == SIP else "tcp", payload))
            continue
        direction = directions.setdefault(index, _Direction(index, kind))
        direction.kind = kind
        if direction.add(sequence, payload, tcp_flags, arrival_ns):
            found += _framed(direction, arrival_ns, flow, counters)
    last_ns = int(notes["arrival_ns"][-1]) if len(notes) else 0
    for direction in directions.values():
        while direction.waiting:
            counters["tcp_gaps"] = counters.get("tcp_gaps", 0) + 1
            arrival_ns = direction.waiting[direction.order[0]][1]
            direction.skip()
            found += _framed(direction, arrival_ns or last_ns, flow, counters)
    found.sort(key=lambda message: message.arrival_ns)
    return found


def _framed(
    direction: _Direction, arrival_ns: int, flow: Callable[[int], Flow], counters: dict[str, int]
) -> Iterator[Message]:
    protocol: Literal["sip", "skinny"] = "sip" if direction.kind == TCP_SIP else "skinny"
    cut = _cut_sip if protocol == "sip" else _cut_skinny
    for payload in cut(direction.ready, counters):
        yield Message(protocol, arrival_ns, flow(direction.flow), "tcp", payload)


def _cut_sip(ready: bytearray, counters: dict[str, int]) -> Iterator[bytes]:
    """RFC 3261 section 18.3: Content-Length frames messages on a stream."""
    at = 0
    while True:
        while bytes(ready[at : at + 1]) in (b"\r", b"\n"):  # keep-alives of RFC 5626
            at += 1
        start = _START.match(ready, at)
        if start is None and len(ready) - at >= 12:
            later = _START.search(ready, at)
            first_line = ready.find(b"\n", at)
            if later is None and first_line < 0 and len(ready) - at < 4096:
                break
            counters["tcp_resynchronised"] = counters.get("tcp_resynchronised", 0) + 1
            at = later.start() if later else len(ready)
            if later is None:
                break
        head = _HEAD_END.search(ready, at)
        if head is None:
            if len(ready) - at > _MAX_MESSAGE:
                at = len(ready)
            break
        length = _LENGTH.search(ready, at, head.end())
        end = head.end() + (int(length[1]) if length else 0)
        if end - at > _MAX_MESSAGE:
            at = head.end()
            continue
        if end > len(ready):
            break
        yield bytes(ready[at:end])
        at = end
    del ready[:at]


def _cut_skinny(ready: bytearray, counters: dict[str, int]) -> Iterator[bytes]:
    """Length (little-endian, of what follows the second word), version or zero, message id, body."""
    at = 0
    while len(ready) - at >= 12:
        length = int.from_bytes(ready[at : at + 4], "little")
        version = int.from_bytes(ready[at + 4 : at + 8], "little")
        if not 4 <= length <= 1 << 16 or version > 0xFF:
            counters["skinny_malformed"] = counters.get("skinny_malformed", 0) + 1
            at = len(ready)
            break
        if len(ready) - at < 8 + length:
            break
        yield bytes(ready[at : at + 8 + length])
        at += 8 + length
    del ready[:at]
