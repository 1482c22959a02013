"""SIP out of SCTP (RFC 4168): the user messages of DATA (RFC 9260) and I-DATA (RFC 8260) chunks, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Final

from callreplay.deferred import dataclass

__all__ = ["Chunks"]

_DATA: Final = 0
_I_DATA: Final = 64
_BEGIN: Final = 2
_END: Final = 1
_MOST_PARTS: Final = 256  # of one message
_MOST_WAITING: Final = 4096
_MAX_HELD: Final = 1 << 20


@dataclass(slots=True)
class Chunks:
    """One direction of an association: the chunks of its packets in, user messages out.

    A message in one chunk is given at once: none waits for what a capture may have missed. Parts are joined by their
    numbers; of those whose rest never comes the oldest make room.
    """

    _parts: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    _held: int = 0

    def cut(self, packet: bytes, counters: dict[str, int]) -> Iterator[bytes]:
        """The user messages that are whole with this packet, given from its first chunk on."""
        at = 0
        while len(packet) - at >= 4:
            length = int.from_bytes(packet[at + 2 : at + 4], "big")
            kind, flags = packet[at], packet[at + 1]
            head = 16 if kind == _DATA else 20
            if length < 4:
                counters["sctp_malformed"] = counters.get("sctp_malformed", 0) + 1
                return
            if kind in (_DATA, _I_DATA) and length > head and len(packet) - at > head:
                body = packet[at + head : at + length]
                if flags & (_BEGIN | _END) == _BEGIN | _END:
                    yield body
                else:
                    message = self._add(_number(packet, at, kind, flags), flags, body)
                    if message is not None:
                        yield message
            at += (length + 3) & ~3

    def _add(self, number: int, flags: int, body: bytes) -> bytes | None:
        if number not in self._parts:
            self._parts[number] = flags, body
            self._held += len(body)
        first = last = number
        for _ in range(_MOST_PARTS):
            if self._parts[first][0] & _BEGIN or first - 1 not in self._parts:
                break
            first -= 1
        for _ in range(_MOST_PARTS):
            if self._parts[last][0] & _END or last + 1 not in self._parts:
                break
            last += 1
        whole = self._parts[first][0] & _BEGIN and self._parts[last][0] & _END
        if whole and last - first < _MOST_PARTS:
            return b"".join(self._pop(each) for each in range(first, last + 1))
        while len(self._parts) > _MOST_WAITING or self._held > _MAX_HELD:
            self._pop(next(iter(self._parts)))
        return None

    def _pop(self, number: int) -> bytes:
        body = self._parts.pop(number)[1]
        self._held -= len(body)
        return body


def _number(packet: bytes, at: int, kind: int, flags: int) -> int:
    """A number that the parts of one message have one after the other, and no other part has."""
    if kind == _DATA:
        return int.from_bytes(packet[at + 4 : at + 8], "big")  # TSN
    stream, message = packet[at + 8 : at + 10], packet[at + 12 : at + 16]
    part = b"\0\0\0\0" if flags & _BEGIN else packet[at + 16 : at + 20]  # the first has its protocol there
    return int.from_bytes(b"\1" + stream + message + part, "big")
