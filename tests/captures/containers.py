"""Capture files: records of (time in ns, octets) become pcap, pcapng, rtpdump or rtpproxy ad-hoc bytes."""

from __future__ import annotations

import gzip
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Interface", "Record", "gz", "pcap", "pcapng", "rtpdump", "rtpproxy", "zst"]

Record = tuple[int, bytes]
"""Arrival time in nanoseconds and the frame."""


def pcap(
    records: Iterable[Record],
    *,
    link: int = 1,
    nano: bool = False,
    big: bool = False,
    modified: bool = False,
    snaplen: int = 262144,
) -> bytes:
    """A pcap file: µs or ns, little or big endian, or Kuznetzov's modified form; frames are cut at ``snaplen``."""
    order = ">" if big else "<"
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    for time_ns, octets in records:
        seconds, rest = divmod(time_ns, 10**9)
        kept = octets[:snaplen]
        parts.append(
            struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, len(kept), len(octets))
        )
        if modified:
            parts.append(struct.pack(order + "IHBB", 1, 0x0800, 0, 0))
        parts.append(kept)
    return b"".join(parts)


@dataclass(frozen=True)
class Interface:
    """A pcapng interface: link type; ``resolution`` as if_tsresol (None: absent, 10^-6); ``offset`` in seconds."""

    link: int = 1
    resolution: int | None = None
    offset: int | None = None
    snaplen: int = 262144

    def ticks(self, time_ns: int) -> int:
        """The 64-bit timestamp of this interface."""
        time_ns -= (self.offset or 0) * 10**9
        resolution = 6 if self.resolution is None else self.resolution
        if resolution & 0x80:
            return (time_ns << (resolution & 0x7F)) // 10**9
        ticks: int = time_ns * 10**resolution // 10**9
        return ticks


def _option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def pcapng(
    records: Iterable[tuple[int, bytes] | tuple[int, bytes, int]],
    interfaces: Sequence[Interface] = (Interface(),),
    *,
    big: bool = False,
    simple: bool = False,
    old: bool = False,
    unknown: bool = False,
    section_length: int = -1,
) -> bytes:
    """A pcapng section. Records are (time, frame[, interface]); ``simple``: SPB; ``old``: the obsolete packet block.

    ``unknown`` puts a name resolution, a statistics, a secrets and a custom block between the packets.
    """
    order = ">" if big else "<"
    parts = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, section_length))]
    for interface in interfaces:
        options = b""
        if interface.resolution is not None:
            options += _option(order, 9, bytes([interface.resolution]))
        if interface.offset is not None:
            options += _option(order, 14, struct.pack(order + "q", interface.offset))
        if options:
            options += _option(order, 0, b"")
        parts.append(
            _block(order, 1, struct.pack(order + "HHI", interface.link, 0, interface.snaplen) + options)
        )
    for record in records:
        number = record[2] if len(record) == 3 else 0
        octets, interface = record[1], interfaces[number]
        kept = octets[: interface.snaplen]
        stamp = interface.ticks(record[0])
        high, low = stamp >> 32, stamp & 0xFFFFFFFF
        if simple:
            parts.append(_block(order, 3, struct.pack(order + "I", len(octets)) + kept))
        elif old:
            head = struct.pack(order + "HHIIII", number, 0, high, low, len(kept), len(octets))
            parts.append(_block(order, 2, head + kept))
        else:
            head = struct.pack(order + "IIIII", number, high, low, len(kept), len(octets))
            body = head + kept + bytes(-len(kept) % 4)
            parts.append(_block(order, 6, body + _option(order, 1, b"a comment") + _option(order, 0, b"")))
        if unknown:
            parts += [_block(order, kind, bytes(24)) for kind in (4, 5, 0x0A, 0xBAD)]
    return b"".join(parts)


def rtpdump(
    records: Iterable[tuple[int, bytes]],
    *,
    address: str = "10.0.0.2",
    port: int = 5004,
    start_ns: int = 1_700_000_000_000_000_000,
    header_only: bool = False,
    binary: tuple[str, int] | None = None,
) -> bytes:
    """An rtpdump file; RTCP (second octet 200 to 207) is written with a packet length of zero, as the format asks."""
    seconds, rest = divmod(start_ns, 10**9)
    source, source_port = binary or (address, port)
    parts = [
        f"#!rtpplay1.0 {address}/{port}\n".encode(),
        struct.pack(">II4sHH", seconds, rest // 1000, ipaddress.IPv4Address(source).packed, source_port, 0),
    ]
    for time_ns, octets in records:
        rtcp = 200 <= octets[1] <= 207
        kept = octets[:12] if header_only and not rtcp else octets
        offset_ms = (time_ns - start_ns) // 10**6
        parts.append(struct.pack(">HHI", 8 + len(kept), 0 if rtcp else len(octets), offset_ms) + kept)
    return b"".join(parts)


def rtpproxy(records: Iterable[Record], *, address: str = "10.0.0.1", port: int = 16384) -> bytes:
    """An rtpproxy ad-hoc recording (little-endian, packed)."""
    parts = []
    for time_ns, octets in records:
        parts.append(struct.pack("<H", 2) + struct.pack(">H4s", port, ipaddress.IPv4Address(address).packed))
        parts.append(bytes(12) + struct.pack("<dH", time_ns / 1e9, len(octets)) + octets)
    return b"".join(parts)


def gz(octets: bytes) -> bytes:
    """Gzip, in two members to try the joint."""
    half = len(octets) // 2
    return gzip.compress(octets[:half], mtime=0) + gzip.compress(octets[half:], mtime=0)


def zst(octets: bytes) -> bytes:
    """Zstandard, in two frames to try the joint."""
    import zstandard

    half = len(octets) // 2
    compressor = zstandard.ZstdCompressor()
    return compressor.compress(octets[:half]) + compressor.compress(octets[half:])
