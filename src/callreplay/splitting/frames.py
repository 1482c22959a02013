"""Messages that came in pieces (TCP, WebSocket, SCTP, compressed by an agent) as TCP segments of our own: one each."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final

from callreplay.model import Flow

__all__ = ["segments"]

_MOST: Final = 60_000
"""Octets of one segment: an IP packet has 65,535 at most."""
_ACK_PUSH: Final = 0x18


def segments(flow: Flow, payload: bytes, sequence: int) -> Iterator[tuple[bytes, int]]:
    """(IP packet, sequence number after it) for each segment that carries ``payload`` from ``flow``'s source on."""
    for at in range(0, len(payload), _MOST):
        piece = payload[at : at + _MOST]
        ports = flow.source_port, flow.destination_port
        tcp = struct.pack(">HHIIBBHHH", *ports, sequence, 0, 5 << 4, _ACK_PUSH, 65535, 0, 0) + piece
        sequence = (sequence + len(piece)) & 0xFFFFFFFF
        yield _packet(flow.source, flow.destination, tcp), sequence


def _packet(source: str, destination: str, tcp: bytes) -> bytes:
    ends = [ipaddress.ip_address(address or "0.0.0.0") for address in (source, destination)]
    if all(end.version == 4 for end in ends):
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    else:
        ends = [ipaddress.ip_address(bytes(16)) if end.version == 4 else end for end in ends]
        head = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64)
    return head + ends[0].packed + ends[1].packed + tcp
