"""Which container a capture is, by its content."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import CaptureError

__all__ = ["Container", "recognise"]

PCAP, PCAPNG, RTPDUMP, RTPPROXY = 1, 2, 3, 4
_PCAP_MAGIC: Final = {0xA1B2C3D4: (False, 16), 0xA1B23C4D: (True, 16), 0xA1B2CD34: (False, 24)}
_OTHERS: Final = (
    (b"RIFF", "a WAV file"), (b"OggS", "an Ogg file"), (b"snoop\0\0\0", "a snoop file"), (b"PK\3\4", "a ZIP archive"),
    (b"#!AMR", "an AMR file"), (b"ID3", "an MP3 file"), (b"BZh", "compressed with bzip2"), (b"\xfd7zXZ", "compressed with xz"),
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A container: its number and name, the octets of its smallest packet, and what the Scanner must know of it."""

    number: int
    name: str
    smallest: int
    options: dict[str, Any] = field(default_factory=dict)
    link: int = 0
    warnings: tuple[str, ...] = ()


def recognise(data: NDArray[np.uint8], name: str = "") -> Container:
    """The container of ``data``; CaptureError, naming what was found instead, where it is none."""
    where = name or "capture"
    head = data[:256].tobytes()
    if head[:12] == b"#!rtpplay1.0":
        return _rtpdump(head, where)
    if head[:4] == b"\x0a\x0d\x0d\x0a" and head[8:12] in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
        return Container(PCAPNG, "pcapng", 56)
    if len(head) >= 4:
        for order, big in (("<", False), (">", True)):
            magic = struct.unpack_from(order + "I", head)[0]
            if magic in _PCAP_MAGIC:
                return _pcap(data, head, order, big, *_PCAP_MAGIC[magic], where)
    if _is_rtpproxy(data):
        return Container(RTPPROXY, "rtpproxy", 38)
    for magic_octets, text in _OTHERS:
        if head.startswith(magic_octets):
            raise CaptureError(f"{where}: not a capture but {text}")
    raise CaptureError(
        f"{where}: not a capture: starts with {head[:8].hex(' ')}, which is neither pcap, pcapng, rtpdump nor rtpproxy"
    )


def _pcap(
    data: NDArray[np.uint8], head: bytes, order: str, big: bool, nano: bool, header: int, where: str
) -> Container:
    if len(head) < 24:
        raise CaptureError(f"{where}: pcap header cut at octet {len(head)}")
    link = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF  # FCS length and flags stand above
    name = "pcap-modified" if header == 24 else "pcap-ns" if nano else "pcap"
    said: tuple[str, ...] = ()
    if not nano and _holds_nanoseconds(data, order, header):
        nano = True
        said = ("the capture says microseconds but holds nanoseconds below the second; read as nanoseconds",)
    options = {"position": 24, "big": big, "nano": nano, "header": header, "link": link}
    return Container(PCAP, name, 56, options, link, said)


def _holds_nanoseconds(data: NDArray[np.uint8], order: str, header: int) -> bool:
    """Whether the first records of a microsecond file have a million or more below the second, one of them at least."""
    at, most = 24, 0
    for _ in range(64):
        if at + 16 > len(data):
            break
        _, below, captured, _ = struct.unpack(order + "IIII", data[at : at + 16].tobytes())
        if below >= 10**9 or captured > 1 << 18:
            return False
        most = max(most, below)
        at += header + captured
    return most >= 10**6


def _rtpdump(head: bytes, where: str) -> Container:
    line, newline, rest = head.partition(b"\n")
    if not newline or len(rest) < 16:
        raise CaptureError(f"{where}: rtpdump header cut")
    ends = line[12:].strip().decode("ascii", "replace")
    address_text, _, port_text = ends.rpartition("/")
    seconds, micro, source, source_port = struct.unpack_from(">II4sH", rest)
    try:
        destination = ipaddress.IPv4Address(address_text).packed
    except ValueError:
        destination = b""
    port = int(port_text) if port_text.isascii() and port_text.isdigit() and int(port_text) < 65536 else 0
    if source == destination or source == bytes(4):
        source, source_port = b"", 0  # both name the receiving end: the sender is not known
    options = {
        "position": len(line) + 17, "start_ns": seconds * 10**9 + micro * 1000, "source": source,
        "source_port": source_port, "destination": destination, "destination_port": port,
    }  # fmt: skip
    return Container(RTPDUMP, "rtpdump", 16, options)


def _is_rtpproxy(data: NDArray[np.uint8]) -> bool:
    """Records without a magic: sockaddr_in (20 octets), double time, uint16 length, that many octets of RTP or RTCP."""
    at, before, walked = 0, 0.0, 0
    while at + 30 <= len(data) and walked < 8:
        record = data[at : at + 32].tobytes()
        time, length = struct.unpack_from("<dH", record, 20)
        family = (record[0] == 2 and record[1] == 0) or (record[0] == 16 and record[1] == 2)
        if not family or not before - 60 <= time <= 9e9 or time != time or length < 8:
            return False
        if len(record) > 30 and record[30] & 0xC0 != 0x80:
            return False
        at, before, walked = at + 30 + length, time, walked + 1
    return walked > 0
