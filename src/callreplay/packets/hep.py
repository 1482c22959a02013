"""HEP3 over TCP, and what agents compress: frames cut from a stream, each with the ends and the time of its message.

HEP3 over UDP is peeled off with the other layers (``tunnels.pyx``).
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterator
from typing import Final

from callreplay.model import Flow

__all__ = ["cut", "inflated", "parse"]

_MAGIC: Final = b"HEP3"
_NEAR_NS: Final = 10_000_000_000
_MAX_PAYLOAD: Final = 1 << 18


def inflated(octets: bytes) -> bytes:
    """What zlib compressed, at most 256 KiB of it; b'' where it did not."""
    try:
        return zlib.decompressobj(47).decompress(octets, _MAX_PAYLOAD)
    except zlib.error:
        return b""


def cut(ready: bytearray, counters: dict[str, int]) -> Iterator[bytes]:
    """The whole frames in ``ready``; what they took is removed from it."""
    at = 0
    while len(ready) - at >= 6:
        size = int.from_bytes(ready[at + 4 : at + 6], "big")
        if ready[at : at + 4] != _MAGIC or size < 6:
            counters["hep_resynchronised"] = counters.get("hep_resynchronised", 0) + 1
            later = ready.find(_MAGIC, at + 1)
            at = later if later >= 0 else max(at, len(ready) - 3)
            continue
        if len(ready) - at < size:
            break
        yield bytes(ready[at : at + size])
        at += size
    del ready[:at]


def parse(frame: bytes, arrival_ns: int) -> tuple[Flow, int, bytes] | None:
    """(flow, time in ns, payload) of a frame; None where it has no payload or makes no sense.

    The agent's own time is taken where it is within ten seconds of ``arrival_ns``.
    """
    chunks: dict[int, bytes] = {}
    at = 6
    while len(frame) - at >= 6:
        vendor, kind, size = (int.from_bytes(frame[at + n : at + n + 2], "big") for n in (0, 2, 4))
        if size < 6 or size > len(frame) - at:
            return None
        if not vendor:
            chunks[kind] = frame[at + 6 : at + size]
        at += size
    payload = chunks.get(15) or inflated(chunks.get(16, b""))
    if not payload:
        return None
    ends = [_address(chunks.get(four) or chunks.get(six, b"")) for four, six in ((3, 5), (4, 6))]
    ports = [int.from_bytes(chunks.get(kind, b"")[:2], "big") for kind in (7, 8)]
    flow = Flow(ends[0], ports[0], ends[1], ports[1], encapsulation="hep")
    seconds, micro = (int.from_bytes(chunks.get(kind, b"")[:4], "big") for kind in (9, 10))
    own_ns = (seconds * 1_000_000 + micro) * 1000
    return flow, own_ns if abs(own_ns - arrival_ns) < _NEAR_NS else arrival_ns, payload


def _address(octets: bytes) -> str:
    return str(ipaddress.ip_address(octets)) if len(octets) in (4, 16) else ""
