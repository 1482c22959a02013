"""SIP and Skinny out of a scan's notes: datagrams as they are, TCP put in order and cut into messages.

On TCP, SIP may be inside WebSocket frames, HEP3 of a capture agent, or TLS whose secrets are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass, pattern
from callreplay.model import Flow, Message
from callreplay.packets.segments import MAX_HELD, Direction

if TYPE_CHECKING:  # what few captures have is loaded where it is met
    from callreplay.packets import sctp, tls, websocket
    from callreplay.packets.keylog import KeyLog

__all__ = ["MessageReader", "messages"]

RTCP, SIP, TCP_SIP, TCP_SKINNY, SIP_STREAM = 1, 2, 3, 4, 5
TCP_WEBSOCKET, TCP_TLS, TCP_HEP, SCTP, PACKED, FRAME = 6, 7, 8, 9, 10, 11
_COUNTED: Final = {SCTP: "sip_sctp", PACKED: "sip_compressed", FRAME: "sip_websocket"}
_SPILL: Final = 2
_MAX_MESSAGE: Final = MAX_HELD
_START: Final = pattern(rb"(?:SIP/2\.0 \d{3} |[A-Z]{1,20} \S{1,2000} SIP/2\.0\r?\n)")
_LENGTH: Final = pattern(
    rb"^(?:content-length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_HEAD_END: Final = pattern(rb"\r?\n\r?\n")


def _agreement() -> websocket.Agreement:
    from callreplay.packets import websocket

    return websocket.Agreement()


@dataclass(slots=True)
class _Connection:
    """What both directions of a connection share."""

    agreement: websocket.Agreement = field(default_factory=_agreement)
    session: tls.Session | None = None
    begun: int = 0
    flows: list[int] = field(default_factory=list)


class MessageReader:
    """Takes a scan's notes in order of arrival. ``unread`` has, by flow, why its TLS could not be read."""

    def __init__(
        self, flow: Callable[[int], Flow], counters: dict[str, int], keys: KeyLog | None = None
    ) -> None:
        self.unread: dict[int, str] = {}
        self._flow = flow
        self._counters = counters
        self._keys = keys
        self._directions: dict[int, Direction] = {}
        self._connections: dict[frozenset[tuple[str, int]], _Connection] = {}
        self._frames: dict[int, websocket.Frames] = {}
        self._chunks: dict[int, sctp.Chunks] = {}
        self._clear: dict[int, bytearray] = {}

    def read(
        self, notes: NDArray[np.void], data: NDArray[np.uint8], spill: NDArray[np.uint8]
    ) -> list[Message]:
        """Every whole SIP message and Skinny frame, in order of arrival (of the last octet)."""
        found: list[Message] = []
        if not len(notes):
            return found
        for note in notes[notes["kind"] != RTCP].tolist():
            offset, arrival_ns, index, size, sequence, kind, flags, tcp_flags, _ = note
            payload = (spill if flags & _SPILL else data)[offset : offset + size].tobytes()
            found += self.take(index, kind, arrival_ns, payload, sequence, tcp_flags)
        found += self._rest(int(notes["arrival_ns"][-1]) if len(notes) else 0)
        found.sort(key=lambda message: message.arrival_ns)
        return found

    def take(
        self, index: int, kind: int, arrival_ns: int, payload: bytes, sequence: int = 0, tcp_flags: int = 0
    ) -> list[Message]:
        """The messages that are whole with one more note of the flow ``index``."""
        if kind in (SIP, SIP_STREAM):
            transport: Final = "udp" if kind == SIP else "tcp"
            return [Message("sip", arrival_ns, self._flow(index), transport, payload)]
        if kind in (SCTP, PACKED, FRAME):
            return list(self._one(index, arrival_ns, kind, payload))
        direction = self._directions.setdefault(index, Direction(index, kind))
        direction.kind = kind
        if not direction.add(sequence, payload, tcp_flags, arrival_ns):
            return []
        return list(self._framed(direction, arrival_ns))

    def overdue(self, before_ns: int) -> list[Message]:
        """Give up on octets that segments have waited for since before ``before_ns``; the messages behind them."""
        found: list[Message] = []
        for direction in self._directions.values():
            while direction.waiting and direction.waiting[direction.order[0]][1] < before_ns:
                self._count("tcp_gaps")
                arrival_ns = direction.waiting[direction.order[0]][1]
                direction.skip()
                found += self._framed(direction, arrival_ns)
        return found

    def forget(self, index: int) -> None:
        """Let go of what is known of a flow."""
        for known in (self._directions, self._frames, self._chunks, self._clear, self.unread):
            known.pop(index, None)
        for ends, connection in list(self._connections.items()):
            if index in connection.flows:
                connection.flows.remove(index)
                if not connection.flows:
                    del self._connections[ends]

    def _rest(self, last_ns: int) -> Iterator[Message]:
        """What waits behind octets that the capture never had."""
        for direction in self._directions.values():
            while direction.waiting:
                self._count("tcp_gaps")
                arrival_ns = direction.waiting[direction.order[0]][1]
                direction.skip()
                yield from self._framed(direction, arrival_ns or last_ns)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1

    def _one(self, index: int, arrival_ns: int, kind: int, payload: bytes) -> Iterator[Message]:
        """Messages of a note that stands for itself."""
        from callreplay.packets import hep, sctp, websocket

        if kind == SCTP:
            parts = self._chunks.setdefault(index, sctp.Chunks()).cut(payload, self._counters)
        elif kind == FRAME:
            parts = websocket.unframe(payload)
        else:
            parts = iter((hep.inflated(payload),))
        for part in parts:
            if _START.match(part.lstrip(b"\r\n")):
                self._count(_COUNTED[kind])
                yield Message("sip", arrival_ns, self._flow(index), "tcp", part)

    def _framed(self, direction: Direction, arrival_ns: int) -> Iterator[Message]:
        if direction.kind == TCP_TLS:
            yield from self._decrypted(direction, arrival_ns)
        else:
            yield from self._cut(direction.kind, direction.flow, direction.ready, arrival_ns)

    def _cut(self, kind: int, index: int, ready: bytearray, arrival_ns: int) -> Iterator[Message]:
        if kind == TCP_HEP:
            yield from self._agents(ready, arrival_ns)
            return
        if kind == TCP_WEBSOCKET:
            from callreplay.packets import websocket

            frames = self._frames.get(index)
            if frames is None:
                frames = self._frames[index] = websocket.Frames(self._connection(index).agreement)
            parts = frames.cut(ready, self._counters)
        else:
            parts = (_cut_skinny if kind == TCP_SKINNY else _cut_sip)(ready, self._counters)
        protocol: Final = "skinny" if kind == TCP_SKINNY else "sip"
        for payload in parts:
            if kind == TCP_WEBSOCKET:
                self._count("sip_websocket")
            yield Message(protocol, arrival_ns, self._flow(index), "tcp", payload)

    def _agents(self, ready: bytearray, arrival_ns: int) -> Iterator[Message]:
        from callreplay.packets import hep, websocket

        for frame in hep.cut(ready, self._counters):
            read = hep.parse(frame, arrival_ns)
            if read is None:
                self._count("hep_malformed")
                continue
            flow, own_ns, payload = read
            for part in (payload,) if _START.match(payload) else websocket.unframe(payload):
                yield Message("sip", own_ns, flow, "tcp", part)

    def _connection(self, index: int) -> _Connection:
        flow = self._flow(index)
        ends = frozenset(((flow.source, flow.source_port), (flow.destination, flow.destination_port)))
        found = self._connections.setdefault(ends, _Connection())
        if index not in found.flows:
            found.flows.append(index)
        return found

    def _decrypted(self, direction: Direction, arrival_ns: int) -> Iterator[Message]:
        if self._keys is None:
            direction.ready.clear()
            return
        connection = self._connection(direction.flow)
        if connection.session is None or direction.begun > connection.begun:
            from callreplay.packets import tls

            connection.session, connection.begun = tls.Session(self._keys), direction.begun
            for index in connection.flows:
                self._clear.pop(index, None)
        # What one direction said may be what the other one waits for.
        for index in (direction.flow, *(other for other in connection.flows if other != direction.flow)):
            waiting = self._directions.get(index)
            if waiting is None:
                continue
            clear = self._clear.setdefault(index, bytearray())
            clear += connection.session.cut(index, waiting.ready, waiting.gaps)
            if connection.session.reason:
                self.unread[index] = connection.session.reason
            yield from self._cut(self._inside(index, clear), index, clear, arrival_ns)

    def _inside(self, index: int, clear: bytearray) -> int:
        """What a connection in clear carries, by how it begins."""
        if index in self._frames or clear.startswith((b"GET ", b"HTTP")):
            return TCP_WEBSOCKET
        return TCP_HEP if clear.startswith(b"HEP3") else TCP_SIP


def messages(
    notes: NDArray[np.void],
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    flow: Callable[[int], Flow],
    counters: dict[str, int],
) -> list[Message]:
    """Every whole SIP message and Skinny frame that needs no keys, in order of arrival. Counts what was lost."""
    return MessageReader(flow, counters).read(notes, data, spill)


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
