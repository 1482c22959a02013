"""SIP out of a WebSocket connection (RFC 6455, RFC 7118): frames unmasked, joined and, if need be, inflated."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import field
from typing import Final

from callreplay.deferred import dataclass

__all__ = ["Agreement", "Frames", "unframe"]

_MAX_MESSAGE: Final = 1 << 20
_MAX_HEAD: Final = 1 << 16
_HEAD_END: Final = b"\r\n\r\n"
_DEFLATE: Final = re.compile(rb"^sec-websocket-extensions[ \t]*:.*permessage-deflate", re.I | re.M)
_FRESH: Final = re.compile(rb"(client|server)_no_context_takeover", re.I)
_SIP: Final = re.compile(rb"(?:\r?\n)*(?:SIP/2\.0 |[A-Z]{1,20} \S)")
_TAIL: Final = (
    b"\x00\x00\xff\xff"  # what a sender leaves out at the end of a deflated message (RFC 7692 section 7.2.1)
)


@dataclass(slots=True)
class Agreement:
    """What both ends of a connection agreed on when it was opened; one object for both directions."""

    deflate: bool = False
    fresh: set[bytes] = field(default_factory=set)  # who begins each message with an empty window


@dataclass(slots=True)
class Frames:
    """One direction of a connection: octets in, SIP messages out."""

    agreement: Agreement = field(default_factory=Agreement)
    client: bool = False
    _parts: bytearray = field(default_factory=bytearray)
    _deflated: bool = False
    _window: zlib._Decompress | None = None

    def cut(self, ready: bytearray, counters: dict[str, int]) -> Iterator[bytes]:
        """The whole SIP messages in ``ready``; what they took is removed from it."""
        if ready.startswith((b"GET ", b"HTTP")):
            end = ready.find(_HEAD_END)
            if end < 0:
                if len(ready) > _MAX_HEAD:
                    ready.clear()
                return
            self._opened(bytes(ready[:end]))
            del ready[: end + 4]
        at = 0
        while True:
            frame = _frame(ready, at)
            if frame is None:
                break
            first, masked, start, stop = frame
            if stop - start > _MAX_MESSAGE or first & 0x30 or first & 15 not in (0, 1, 2, 8, 9, 10):
                counters["websocket_malformed"] = counters.get("websocket_malformed", 0) + 1
                at = len(ready)
                self._parts.clear()
                break
            if stop > len(ready):
                break
            payload = bytes(ready[start:stop])
            if masked:
                self.client = True
                payload = _unmask(payload, bytes(ready[start - 4 : start]))
            at = stop
            if first & 8:  # close, ping, pong
                continue
            message = self._joined(first, payload, counters)
            if message is not None and _SIP.match(message):
                yield message
        del ready[:at]

    def _opened(self, head: bytes) -> None:
        if head.startswith(b"GET "):
            self.client = True
            return
        self.agreement.deflate = bool(_DEFLATE.search(head))
        self.agreement.fresh = {found[1].lower() for found in _FRESH.finditer(head)}

    def _joined(self, first: int, payload: bytes, counters: dict[str, int]) -> bytes | None:
        if first & 15:  # not a continuation
            self._parts.clear()
            self._deflated = bool(first & 0x40)
        self._parts += payload
        if len(self._parts) > _MAX_MESSAGE:
            counters["websocket_malformed"] = counters.get("websocket_malformed", 0) + 1
            self._parts.clear()
            return None
        if not first & 0x80:
            return None
        message = bytes(self._parts)
        self._parts.clear()
        return self._inflated(message, counters) if self._deflated else message

    def _inflated(self, message: bytes, counters: dict[str, int]) -> bytes | None:
        fresh = (b"client" if self.client else b"server") in self.agreement.fresh
        if self._window is None or fresh:
            self._window = zlib.decompressobj(-15)
        try:
            return self._window.decompress(message + _TAIL, _MAX_MESSAGE)
        except zlib.error:  # the window began before the capture
            self._window = None
            counters["websocket_compressed"] = counters.get("websocket_compressed", 0) + 1
            return None


def _frame(ready: bytearray, at: int) -> tuple[int, bool, int, int] | None:
    """(first octet, masked, start and stop of the payload) of the frame at ``at``; None until its head is there."""
    left = len(ready) - at
    if left < 2:
        return None
    first, second = ready[at], ready[at + 1]
    length, head = second & 127, 2
    if length >= 126:
        head = 4 if length == 126 else 10
        if left < head:
            return None
        length = int.from_bytes(ready[at + 2 : at + head], "big")
    masked = bool(second & 128)
    head += 4 if masked else 0
    if left < head:
        return None
    return first, masked, at + head, at + head + length


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def unframe(octets: bytes) -> Iterator[bytes]:
    """The SIP messages of whole frames, as a capture agent hands them on."""
    yield from Frames().cut(bytearray(octets), {})
