"""Messages that came in pieces (TCP, WebSocket, SCTP, compressed by an agent) as TCP segments of our own: one each.

Each begins as a new connection would, with SYN: the messages of one connection lie in the spools of many calls, and
none may wait in its spool for octets that lie in another.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final

from callreplay.model import Flow

__all__ = ["segments"]

_MOST: Final = 60_000
"""Octets of one segment: an IP packet has 65,535 at most."""
_SYN: Final = 0x02
_ACK_PUSH: Final = 0x18


def segments(flow: Flow, payload: bytes, sequence: int) -> Iterator[bytes]:
    """IP packets that carry ``payload`` from ``flow``'s source on; ``sequence`` numbers the first."""
    ports = flow.source_port, flow.destination_port
    for at in range(0, len(payload), _MOST):
        piece = payload[at : at + _MOST]
        number, flags = (sequence + at + 1, _ACK_PUSH) if at else (sequence, _SYN | _ACK_PUSH)
        tcp = struct.pack(">HHIIBBHHH", *ports, number & 0xFFFFFFFF, 0, 5 << 4, flags, 65535, 0, 0) + piece
        yield _packet(flow.source, flow.destination, tcp)


def _packet(source: str, destination: str, tcp: bytes) -> bytes:
    ends = [ipaddress.ip_address(address or "0.0.0.0") for address in (source, destination)]
    if all(end.version == 4 for end in ends):
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    else:
        ends = [ipaddress.ip_address(bytes(16)) if end.version == 4 else end for end in ends]
        head = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64)
    return head + ends[0].packed + ends[1].packed + tcp
