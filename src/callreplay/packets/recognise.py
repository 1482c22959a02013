"""Which container a capture is, by its content."""

from __future__ import annotations

import re
import struct
from dataclasses import field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass, pattern
from callreplay.errors import CaptureError
from callreplay.packets.rows import most_below_second

__all__ = ["RTPDUMP", "Container", "recognise"]

PCAP, PCAPNG, RTPDUMP, RTPPROXY, SNOOP, MJR = 1, 2, 3, 4, 5, 6
JOINABLE: Final = (PCAP, PCAPNG, SNOOP)
"""Containers whose records have their own ends and times: several may be read as one capture."""
_PCAP_MAGIC: Final = {0xA1B2C3D4: (False, 16), 0xA1B23C4D: (True, 16), 0xA1B2CD34: (False, 24)}
_RECORDS: Final = 64  # that tell microseconds from nanoseconds
_OTHERS: Final = (
    (b"RIFF", "a WAV file"), (b"OggS", "an Ogg file"), (b"fLaC", "a FLAC file"), (b"#!AMR", "an AMR file"),
    (b"ID3", "an MP3 file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"), (b"Rar!", "a RAR archive"), (b"RTSS", "a capture of Network Monitor 1"),
    (b"GMBU", "a capture of Network Monitor 2"), (b"{", "JSON"), (b"<?xml", "XML"),
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
    codec: str = ""
    """An rtpmap encoding that the file itself names for its payload type, where the file names one."""


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
    if head[:8] == _SNOOP_MAGIC:
        return _snoop(head, where)
    if head[:8] in _MJR_MAGIC:
        return _mjr(data, head, where)
    if _is_rtpproxy(data):
        return Container(RTPPROXY, "rtpproxy", 38)
    for magic_octets, text in _OTHERS:
        if head.startswith(magic_octets):
            raise CaptureError(f"{where}: not a capture but {text}")
    if data[257:262].tobytes() == b"ustar":
        raise CaptureError(f"{where}: not a capture but a tar archive: unpack it")
    raise CaptureError(
        f"{where}: not a capture: starts with {head[:8].hex(' ')}, which is neither "
        "pcap, pcapng, snoop, rtpdump, MJR nor rtpproxy"
    )


def _pcap(
    data: NDArray[np.uint8], head: bytes, order: str, big: bool, nano: bool, header: int, where: str
) -> Container:
    if len(head) < 24:
        raise CaptureError(f"{where}: pcap header cut at octet {len(head)}")
    link = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF  # FCS length and flags stand above
    name = "pcap-modified" if header == 24 else "pcap-ns" if nano else "pcap"
    said: tuple[str, ...] = ()
    # The first records of a microsecond file have a million or more below the second, one of them at least.
    if not nano and most_below_second(data, big, header, _RECORDS) >= 10**6:
        nano = True
        said = ("the capture says microseconds but holds nanoseconds below the second; read as nanoseconds",)
    options = {"position": 24, "big": big, "nano": nano, "header": header, "link": link}
    return Container(PCAP, name, 56, options, link, said)


def _rtpdump(head: bytes, where: str) -> Container:
    line, newline, rest = head.partition(b"\n")
    if not newline or len(rest) < 16:
        raise CaptureError(f"{where}: rtpdump header cut")
    ends = line[12:].strip().decode("ascii", "replace")
    address_text, _, port_text = ends.rpartition("/")
    seconds, micro, source, source_port = struct.unpack_from(">II4sH", rest)
    destination = _packed(address_text)
    port = int(port_text) if port_text.isascii() and port_text.isdigit() and int(port_text) < 65536 else 0
    if source == destination or source == bytes(4):
        source, source_port = b"", 0  # both name the receiving end: the sender is not known
    options = {
        "position": len(line) + 17, "start_ns": seconds * 10**9 + micro * 1000, "source": source,
        "source_port": source_port, "destination": destination, "destination_port": port,
    }  # fmt: skip
    return Container(RTPDUMP, "rtpdump", 16, options)


_IPV4: Final = pattern(r"(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})", re.ASCII)


def _packed(address: str) -> bytes:
    """An IPv4 address in four octets, none where it is none: as ``ipaddress`` has it, in a fifth of the calls."""
    match = _IPV4.fullmatch(address)
    try:
        return bytes(map(int, match.groups())) if match else b""
    except ValueError:  # one above 255
        return b""


def _snoop(head: bytes, where: str) -> Container:
    """RFC 1761: magic, version 2, datalink type (RFC 1761 section 4.1, IANA's registry of snoop)."""
    if len(head) < 16:
        raise CaptureError(f"{where}: snoop header cut at octet {len(head)}")
    version, datalink = struct.unpack_from(">II", head, 8)
    if version != 2:
        raise CaptureError(f"{where}: a snoop file of version {version}, at octet 8; version 2 is read")
    link = _SNOOP_LINKS.get(datalink, 0x8000 | datalink & 0x7FFF)
    return Container(SNOOP, "snoop", 64, {"position": 16, "link": link}, link)


_SNOOP_MAGIC: Final = b"snoop\0\0\0"
_SNOOP_LINKS: Final = {0: 1, 4: 1}  # IEEE 802.3 and Ethernet are told apart by the frame itself
_MJR_MAGIC: Final = (b"MJR00001", b"MJR00002", b"MEETECHO")
_MJR_CODECS: Final = {
    "opus": "opus/48000/2", "multiopus": "multiopus/48000/6", "pcmu": "PCMU/8000", "pcma": "PCMA/8000",
    "g722": "G722/8000", "g711": "PCMU/8000", "isac32": "isac/32000", "isac16": "isac/16000", "l16-48": "L16/48000",
    "l16": "L16/16000",
}  # fmt: skip


def _mjr(data: NDArray[np.uint8], head: bytes, where: str) -> Container:
    """A recording of Janus, one direction of one participant: magic, length of a JSON text, the text, then frames.

    The oldest ("MEETECHO") have "audio" or "video" instead of the text and no times: its RTP timestamps are all there
    is. The JSON says the kind ("t"), the codec ("c") and, in microseconds, when the file was made ("s").
    """
    if len(head) < 10:
        raise CaptureError(f"{where}: MJR header cut at octet {len(head)}")
    import json

    size = int.from_bytes(head[8:10], "big")
    text = data[10 : 10 + size].tobytes()
    if len(text) < size:
        raise CaptureError(f"{where}: MJR header cut at octet {len(data)}")
    kind, name, start_us = "", "", 0
    if head[:8] == b"MEETECHO":
        kind, name = ("a", "opus") if text == b"audio" else (text.decode("ascii", "replace"), "")
    else:
        try:
            said = json.loads(text)
            kind, name = str(said.get("t", "")), str(said.get("c", "")).lower()
            start_us = int(said.get("s") or said.get("u") or 0)
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise CaptureError(
                f"{where}: the MJR header at octet 10 is not what Janus writes: {error}"
            ) from None
    if kind != "a":
        what = {"v": "video", "d": "data"}.get(kind, kind or "no kind of media")
        raise CaptureError(f"{where}: an MJR file of {what}, not of audio")
    codec = _MJR_CODECS.get(name, "")
    timed = head[:8] == b"MJR00002"
    clock_hz = 0 if timed else int((codec or "opus/48000").split("/")[1])
    said_of_times = (
        () if timed else ("an MJR file without times: packets are placed by their RTP timestamps",)
    )
    start_ns = min(max(start_us, 0), 9_000_000_000_000_000) * 1000
    options = {"position": 10 + size, "start_ns": start_ns, "clock_hz": clock_hz}
    return Container(MJR, "mjr", 18, options, warnings=said_of_times, codec=codec)


_RTPPROXY_FAMILIES: Final = ((2, 0), (16, 2), (10, 0), (28, 0), (28, 28), (24, 0), (30, 0))
"""AF_INET everywhere, with a length octet as BSDs write it; AF_INET6 with Linux, FreeBSD, NetBSD and macOS."""
_RTPPROXY_WALK: Final = 256


def _is_rtpproxy(data: NDArray[np.uint8]) -> bool:
    """Records without a magic: socket address (20 octets), double time, uint16 length, that many octets.

    What came to the port is written as it came: STUN, DTLS or keep-alives may stand before the first RTP. One packet
    of RTP or RTCP must be among the first records, and all of them must be sane.
    """
    at, before, walked, media = 0, 0.0, 0, 0
    while at + 30 <= len(data) and walked < _RTPPROXY_WALK and (walked < 8 or not media):
        record = data[at : at + 32].tobytes()
        time, length = struct.unpack_from("<dH", record, 20)
        family = (record[0], record[1])
        # Not before 1979: zeros and small numbers, which files of many kinds hold, are no times.
        if family not in _RTPPROXY_FAMILIES or not 3e8 <= time <= 9e9 or time < before - 60:
            return False
        if length >= 8 and len(record) > 30 and record[30] & 0xC0 == 0x80:
            media += 1
        at, before, walked = at + 30 + length, time, walked + 1
    return media > 0
