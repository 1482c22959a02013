"""What recorders and softswitches write and send: containers and transports beside the usual ones, SIPREC metadata."""

from __future__ import annotations

import ipaddress
import json
import os
import struct
import zlib
from collections.abc import Iterable, Sequence

__all__ = [
    "hep3_stream",
    "mjr",
    "mjr_old",
    "rs_metadata",
    "rtpengine_metadata",
    "rtpproxy_any",
    "sctp",
    "sctp_data",
    "siprec_body",
    "siprec_sdp",
    "snoop",
    "websocket",
    "zipped",
]

Record = tuple[int, bytes]


def snoop(records: Iterable[Record], *, datalink: int = 4, snaplen: int = 0) -> bytes:
    """A snoop file (RFC 1761), each record padded to four octets."""
    out = b"snoop\0\0\0" + struct.pack(">II", 2, datalink)
    for time_ns, frame in records:
        kept = frame[:snaplen] if snaplen else frame
        pad = -len(kept) % 4
        seconds, rest = divmod(time_ns, 10**9)
        length = 24 + len(kept) + pad
        out += (
            struct.pack(">IIIIII", len(frame), len(kept), length, 0, seconds, rest // 1000)
            + kept
            + bytes(pad)
        )
    return out


def mjr(
    records: Iterable[Record], *, codec: str = "opus", kind: str = "a", start_ns: int = 0, version: int = 2
) -> bytes:
    """A recording of Janus: version 1 has no times in its frames."""
    said = json.dumps({"t": kind, "c": codec, "s": start_ns // 1000, "u": start_ns // 1000}).encode()
    out = b"MJR0000%d" % version + struct.pack(">H", len(said)) + said
    for time_ns, packet in records:
        head = struct.pack(">I", (time_ns - start_ns) // 10**6) if version == 2 else b"ECHO"
        out += b"MEET" + head + struct.pack(">H", len(packet)) + packet
    return out


def mjr_old(packets: Iterable[bytes], kind: bytes = b"audio") -> bytes:
    """A recording of an old Janus: a word instead of the JSON text, and no times."""
    out = b"MEETECHO" + struct.pack(">H", len(kind)) + kind
    return out + b"".join(b"MEETECHO" + struct.pack(">H", len(packet)) + packet for packet in packets)


def rtpproxy_any(
    records: Iterable[Record], *, address: str = "10.0.0.1", port: int = 16384, family: int = 0
) -> bytes:
    """An rtpproxy recording of any datagrams, from an IPv4 or IPv6 sender; ``family`` as another system has it."""
    ip = ipaddress.ip_address(address)
    family = family or (2 if ip.version == 4 else 10)
    out = b""
    for time_ns, octets in records:
        end = struct.pack("<H", family) + struct.pack(">H", port) + ip.packed
        out += end + bytes(20 - len(end)) + struct.pack("<dH", time_ns / 1e9, len(octets)) + octets
    return out


def websocket(
    message: bytes,
    *,
    masked: bool = False,
    parts: int = 1,
    opcode: int = 1,
    deflate: zlib._Compress | None = None,
) -> bytes:
    """A WebSocket message in ``parts`` frames; with ``deflate`` compressed as permessage-deflate asks."""
    if deflate is not None:
        message = deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)
        message = message.removesuffix(b"\x00\x00\xff\xff")
    size = -(-len(message) // parts)
    out = b""
    for part in range(parts):
        piece = message[part * size : (part + 1) * size]
        first = (opcode if part == 0 else 0) | (0x80 if part == parts - 1 else 0)
        first |= 0x40 if deflate is not None and part == 0 else 0
        mask = 0x80 if masked else 0
        if len(piece) < 126:
            out += bytes([first, mask | len(piece)])
        elif len(piece) < 65536:
            out += bytes([first, mask | 126]) + struct.pack(">H", len(piece))
        else:
            out += bytes([first, mask | 127]) + struct.pack(">Q", len(piece))
        if masked:
            key = os.urandom(4)
            piece = bytes(octet ^ key[index % 4] for index, octet in enumerate(piece))
            out += key
        out += piece
    return out


def sctp_data(
    message: bytes, tsn: int, *, parts: int = 1, stream: int = 0, interleaved: int | None = None
) -> list[bytes]:
    """The DATA chunks (or, with a message id in ``interleaved``, I-DATA chunks) of a user message."""
    size = -(-len(message) // parts)
    chunks = []
    for part in range(parts):
        piece = message[part * size : (part + 1) * size]
        flags = (2 if part == 0 else 0) | (1 if part == parts - 1 else 0)
        if interleaved is None:
            body = struct.pack(">IHHI", tsn + part, stream, 0, 0) + piece
            kind = 0
        else:
            body = struct.pack(">IHHII", tsn + part, stream, 0, interleaved, 0 if part == 0 else part) + piece
            kind = 64
        chunks.append(struct.pack(">BBH", kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4))
    return chunks


def sctp(source_port: int, destination_port: int, chunks: Sequence[bytes]) -> bytes:
    """An SCTP packet."""
    return struct.pack(">HHII", source_port, destination_port, 1, 0) + b"".join(chunks)


def hep3_stream(
    payload: bytes, source: str, source_port: int, destination: str, destination_port: int, time_ns: int, *,
    packed: bool = False, transport: int = 17,
) -> bytes:  # fmt: skip
    """A HEP3 frame as agents send it over TCP, its payload compressed or not."""
    seconds, rest = divmod(time_ns, 10**9)
    chunks = [
        (1, b"\2"), (2, bytes([transport])), (3, ipaddress.ip_address(source).packed),
        (4, ipaddress.ip_address(destination).packed), (7, struct.pack(">H", source_port)),
        (8, struct.pack(">H", destination_port)), (9, struct.pack(">I", seconds)),
        (10, struct.pack(">I", rest // 1000)), (11, b"\1"),
        (16, zlib.compress(payload)) if packed else (15, payload),
    ]  # fmt: skip
    body = b"".join(struct.pack(">HHH", 0, kind, 6 + len(value)) + value for kind, value in chunks)
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body


def rs_metadata(
    participants: Sequence[tuple[str, str, str, Sequence[str]]],
    streams: Sequence[tuple[str, str]],
    *,
    sessions: Sequence[str] = ("cs1",),
    session_of: dict[str, str] | None = None,
    sip_session_id: str = "",
    mode: str = "complete",
) -> str:
    """Recording metadata (RFC 7865).

    ``participants`` are (id, number, name, ids of streams sent), ``streams`` (id, label); ``session_of`` gives the
    session of a stream or participant that is not of the first.
    """
    of = session_of or {}
    first = sessions[0]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1">',
    ]
    lines.append(f"<datamode>{mode}</datamode>")
    for session in sessions:
        inner = f"<sipSessionID>{sip_session_id}</sipSessionID>" if sip_session_id else ""
        lines.append(f'<session session_id="{session}">{inner}</session>')
    for key, number, name, _ in participants:
        named = f'<name xml:lang="en">{name}</name>' if name else ""
        aor = f"sip:{number}@example.com"
        lines.append(
            f'<participant participant_id="{key}"><nameID aor="{aor}">{named}</nameID></participant>'
        )
    for key, label in streams:
        lines.append(
            f'<stream stream_id="{key}" session_id="{of.get(key, first)}"><label>{label}</label></stream>'
        )
    for key, *_ in participants:
        lines.append(f'<participantsessionassoc participant_id="{key}" session_id="{of.get(key, first)}"/>')
    for key, _, _, sent in participants:
        inner = "".join(f"<send>{stream}</send>" for stream in sent)
        inner += "".join(f"<recv>{stream}</recv>" for stream, _ in streams if stream not in sent)
        lines.append(f'<participantstreamassoc participant_id="{key}">{inner}</participantstreamassoc>')
    return "\n".join([*lines, "</recording>"])


def siprec_sdp(address: str, lines: Sequence[tuple[int, str]], direction: str = "sendonly") -> str:
    """A description with an m= line for each (port, label)."""
    out = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    for port, label in lines:
        out += [f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}"]
        out += [f"a=label:{label}"] if label else []
    return "\r\n".join(out) + "\r\n"


def siprec_body(description: str, metadata: str, boundary: str = "bnd") -> str:
    """The multipart body of a recording session."""
    return (
        f"--{boundary}\r\nContent-Type: application/sdp\r\n\r\n{description}\r\n--{boundary}\r\n"
        "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n"
        f"{metadata}\r\n--{boundary}--\r\n"
    )


def rtpengine_metadata(
    pcap: str, descriptions: Sequence[tuple[str, str]], *, started_ms: float = 0.0, more: str = ""
) -> str:
    """The metadata file of rtpengine: path of the pcap, (mode, SDP) of each offer and answer, times, other text."""
    out = f"{pcap}\n\n"
    for mode, description in descriptions:
        out += f"\nTimestamp started ms: {started_ms:.3f}" if started_ms else ""
        out += f"\nSDP mode: {mode}\nSDP before RTP packet: 1\n\n{description}"
    return out + f"\n\ncall start time: 2026-01-06T08:30:02\ncall end time: 2026-01-06T08:30:22\n\n\n{more}\n"


def zipped(files: dict[str, bytes], *, method: int = 8) -> bytes:
    """A ZIP archive."""
    import io
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, octets in files.items():
            archive.writestr(name, octets)
    return target.getvalue()
