"""What rides on UDP and TCP in a call, octet by octet: RTP, RTCP, RED, events, STUN, DTLS, UDPTL, SIP and Skinny."""

from __future__ import annotations

import struct

__all__ = [
    "dtls",
    "event",
    "red",
    "rtcp_bye",
    "rtcp_rr",
    "rtcp_sdes",
    "rtcp_sr",
    "rtp",
    "sdp",
    "sip",
    "skinny",
    "stun",
    "udptl",
    "zrtp",
]


def rtp(
    seq: int,
    ts: int,
    ssrc: int,
    pt: int = 0,
    payload: bytes = b"\xff" * 160,
    marker: bool = False,
    *,
    csrc: tuple[int, ...] = (),
    extension: tuple[int, bytes] | None = None,
    padding: int = 0,
) -> bytes:
    """One RTP packet. ``extension`` is (profile, octets, a multiple of four); ``padding`` counts all padding octets."""
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension is not None else 0) | len(csrc)
    second = pt | (0x80 if marker else 0)
    header = struct.pack(">BBHII", first, second, seq & 0xFFFF, ts & 0xFFFFFFFF, ssrc)
    header += b"".join(struct.pack(">I", source) for source in csrc)
    if extension is not None:
        profile, octets = extension
        header += struct.pack(">HH", profile, len(octets) // 4) + octets
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return header + payload + tail


def event(code: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    """The payload of an RFC 4733 event; ``duration`` in ticks, ``volume`` in -dBm0."""
    return struct.pack(">BBH", code, (0x80 if end else 0) | volume, duration)


def red(primary: bytes, primary_pt: int, *blocks: tuple[int, int, bytes]) -> bytes:
    """An RFC 2198 payload; ``blocks`` are (payload type, timestamp offset, octets), oldest first."""
    headers = b"".join(
        struct.pack(">I", 0x80000000 | pt << 24 | offset << 10 | len(octets)) for pt, offset, octets in blocks
    )
    return headers + bytes([primary_pt]) + b"".join(octets for _, _, octets in blocks) + primary


def _rtcp(packet_type: int, count: int, body: bytes) -> bytes:
    assert len(body) % 4 == 0
    return struct.pack(">BBH", 0x80 | count, packet_type, len(body) // 4) + body


def _report(
    source: int, fraction: int, lost: int, highest: int, jitter: int, last_sr: int, delay: int
) -> bytes:
    return struct.pack(">IIIIII", source, fraction << 24 | lost & 0xFFFFFF, highest, jitter, last_sr, delay)


def rtcp_sr(
    ssrc: int, ntp_ns: int, ts: int, *reports: tuple[int, int, int, int, int, int, int], sent: int = 0
) -> bytes:
    """A sender report; ``ntp_ns`` is Unix time; reports are (ssrc, fraction, lost, highest, jitter, LSR, DLSR)."""
    seconds, rest = divmod(ntp_ns, 10**9)
    ntp = (seconds + 2_208_988_800 & 0xFFFFFFFF, (rest << 32) // 10**9)
    body = struct.pack(">IIIIII", ssrc, *ntp, ts & 0xFFFFFFFF, sent, sent * 160)
    return _rtcp(200, len(reports), body + b"".join(_report(*report) for report in reports))


def rtcp_rr(ssrc: int, *reports: tuple[int, int, int, int, int, int, int]) -> bytes:
    """A receiver report."""
    return _rtcp(
        201, len(reports), struct.pack(">I", ssrc) + b"".join(_report(*report) for report in reports)
    )


def rtcp_sdes(ssrc: int, cname: str) -> bytes:
    """A source description of one chunk with a CNAME."""
    name = cname.encode()
    chunk = struct.pack(">IBB", ssrc, 1, len(name)) + name
    return _rtcp(202, 1, chunk + bytes(4 - len(chunk) % 4))


def rtcp_bye(*sources: int) -> bytes:
    """A BYE."""
    return _rtcp(203, len(sources), b"".join(struct.pack(">I", ssrc) for ssrc in sources))


def stun(attributes: bytes = b"", method: int = 1) -> bytes:
    """A STUN binding request (RFC 5389)."""
    return struct.pack(">HHI", method, len(attributes), 0x2112A442) + bytes(range(12)) + attributes


def dtls(body: bytes = bytes(40), content_type: int = 22) -> bytes:
    """A DTLS 1.2 record."""
    return struct.pack(">BHHHIH", content_type, 0xFEFD, 0, 0, 1, len(body)) + body


def zrtp() -> bytes:
    """A ZRTP Hello, as far as its magic cookie."""
    return struct.pack(">BBHII", 0x10, 0, 1, 0x5A525450, 0x1234) + bytes(24)


def udptl(seq: int, primary: bytes, *secondary: bytes) -> bytes:
    """A T.38 UDPTL packet with redundancy (secondary IFP packets, newest first)."""
    return (
        struct.pack(">HB", seq, len(primary))
        + primary
        + bytes([0, len(secondary)])
        + b"".join(bytes([len(packet)]) + packet for packet in secondary)
    )


def sip(
    start: str,
    *,
    call_id: str = "1@test",
    sender: str = "<sip:100@pbx>;tag=a",
    to: str = "<sip:200@pbx>",
    cseq: str = "1 INVITE",
    body: str = "",
    headers: tuple[str, ...] = (),
) -> bytes:
    """A SIP message: a start line (``INVITE sip:200@pbx SIP/2.0``, ``SIP/2.0 200 OK``), the usual headers, SDP."""
    lines = [
        start,
        "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1",
        f"From: {sender}",
        f"To: {to}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq}",
        *headers,
    ]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def sdp(
    address: str,
    port: int,
    formats: dict[int, str],
    *,
    ptime: int = 20,
    direction: str = "sendrecv",
    fmtp: dict[int, str] | None = None,
    profile: str = "RTP/AVP",
) -> str:
    """An SDP body with one audio stream; ``formats`` maps payload types to rtpmap values."""
    family = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o=- 1 1 IN {family} {address}",
        "s=-",
        f"c=IN {family} {address}",
        "t=0 0",
        f"m=audio {port} {profile} {' '.join(map(str, formats))}",
        *(f"a=rtpmap:{pt} {value}" for pt, value in formats.items()),
        *(f"a=fmtp:{pt} {value}" for pt, value in (fmtp or {}).items()),
        f"a=ptime:{ptime}",
        f"a={direction}",
    ]
    return "\r\n".join(lines) + "\r\n"


def skinny(message_id: int, body: bytes = b"", version: int = 0) -> bytes:
    """A Skinny frame: length (of message id and body), version, message id, body."""
    return struct.pack("<III", 4 + len(body), version, message_id) + body
