"""Coverage-guided fuzzing of everything that parses octets from outside: ``scripts/fuzz`` runs it.

usage: python -m tests.fuzz.parsers TARGET [libFuzzer options] CORPUS
       python -m tests.fuzz.parsers --seed TARGET CORPUS

The Cython modules are built for it with the address and undefined-behaviour sanitizers and with coverage, and found on
PYTHONPATH before the installed ones; the parsers in Python get their coverage from atheris. A target takes any octets:
what it raises beyond the errors that the parser documents, what it reads outside its buffers, and what takes ten
seconds is a crash.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["callreplay"]):
    from callreplay import packets, signalling
    from callreplay.errors import CallReplayError
    from callreplay.outputs.tag_reading import read_tags_of
    from callreplay.packets import dump, hep, keylog, recording, rtcp, sctp, srtp, tls, websocket
    from callreplay.packets import stored as stored_legs
    from callreplay.packets.arena import fetch as from_capture
    from callreplay.packets.recognise import recognise
    from callreplay.packets.scanner import NOTE_DTYPE
    from callreplay.signalling import bodies, heads, rsmetadata, rtpengine, sdp, sip, skinny
    from callreplay.splitting.recovery import merged
    from callreplay.splitting.spooling import Closed, Spooler
    from callreplay.splitting.stops import Stop

import numpy as np

from callreplay.model import CallDescription, Flow, Message, PacketFlag, RtpColumns, Stream
from tests import captures as c

T: Final = 1_700_000_000_000_000_000
FLOW: Final = Flow("10.0.0.1", 5060, "10.0.0.2", 5060)
LINKS: Final = (1, 0, 9, 12, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 239, 276)
KEYS: Final = keylog.KeyLog(
    {
        ("CLIENT_RANDOM", bytes(32)): bytes(48),
        ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", bytes(32)): bytes(32),
        ("SERVER_HANDSHAKE_TRAFFIC_SECRET", bytes(32)): bytes(32),
    }
)
LEG_HEAD: Final = b"#!rtpplay1.0 10.0.0.1/4000\n" + struct.pack(">IIIHH", T // 10**9, 0, 0x0A000001, 4000, 0)
SHM: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
_TOLD: Final = "arrival_ns", "timestamp", "stream", "sequence", "size", "payload_type", "flags"
CUT: Final = b"\xff\x00\xff"
"""Parts a signalling input into messages."""


def _columns_hold(found: packets.Scan) -> None:
    rtp, rooms = found.rtp, np.array([len(found.data), len(found.spill)])
    room = rooms[((rtp.flags & PacketFlag.SPILL) != 0).astype(np.intp)]
    assert (rtp.offset >= 0).all()
    assert (rtp.offset + rtp.size <= room).all()
    assert (rtp.stream >= 0).all()
    assert (rtp.stream < max(1, len(found.streams))).all()
    assert sum(len(rtp.offset[stream.rows]) for stream in found.streams) == len(rtp.offset)


def _scan(octets: bytes) -> None:
    try:
        found = packets.scan(packets.open_buffer(octets, limit=1 << 24, warnings=[]))
    except CallReplayError:
        return
    _columns_hold(found)
    _columns_hold(packets.unpack_red(found, {0, 96, 111}))


def capture(octets: bytes) -> None:
    """Any octets as a capture: containers, compression, layers, TCP, RTCP."""
    _scan(octets)


def frames(octets: bytes) -> None:
    """A link type, then frames that each tell their length: layers, tunnels, fragments, streams."""
    if len(octets) < 3:
        return
    records: list[tuple[int, bytes]] = []
    at = 1
    while at < len(octets):
        end = at + 1 + octets[at]
        records.append((T + len(records) * 20_000_000, octets[at + 1 : end]))
        at = end
    _scan(c.pcap(records, link=LINKS[octets[0] % len(LINKS)]))


def sip_sdp(octets: bytes) -> None:
    """SIP and SDP, alone and as the messages of one dialog."""
    parts = octets.split(CUT)
    for part in parts:
        read = heads.read(part)
        assert read is None or read == sip._read(part, None)
        assert heads.call_id(part) is None or b":" in part
        heads.asked(part)
        message = sip.parse(part)
        if message is not None:
            assert message.method or 100 <= message.status < 700
            for name in ("from", "to", "contact", "p-asserted-identity", "diversion"):
                list(message.identities(name))
            assert isinstance(message.sdp, bytes)
        session = sdp.parse(part)
        assert session is None or all(0 <= section.port <= 0xFFFF for section in session.media)
        sip.parse_name_address(part.decode("utf-8", "replace"))
    said = [Message("sip", T + i * 10**9, FLOW, "udp", part) for i, part in enumerate(parts)]
    signalling.merge_related(signalling.describe(said))


def skinny_frames(octets: bytes) -> None:
    """Skinny: a TCP stream of frames, parsed and described."""
    said = []
    for i, part in enumerate(octets.split(CUT)):
        skinny.parse(part)
        said.append(Message("skinny", T + i * 10**9, Flow("10.0.0.1", 2000, "10.0.0.2", 5060), "tcp", part))
    for call in signalling.describe(said):
        assert call.protocol == "skinny"
    skinny.registrations(said)


def rtcp_compound(octets: bytes) -> None:
    """One RTCP compound."""
    data = np.frombuffer(octets, np.uint8)
    notes = np.zeros(1, NOTE_DTYPE)
    notes["size"], notes["kind"] = len(octets), 1
    rtcp.parse(notes, data, data[:0])


def red_payloads(octets: bytes) -> None:
    """RED payloads of one stream, each at most 255 octets."""
    records: list[tuple[int, bytes]] = []
    at = 0
    while at < len(octets):
        end = at + 1 + octets[at]
        records.append((T, c.rtp(len(records), len(records) * 160, 7, 96, octets[at + 1 : end])))
        at = end
    if records:
        _columns_hold(packets.unpack_red(packets.scan(np.frombuffer(c.rtpdump(records), np.uint8)), {96}))


def srtp_packet(octets: bytes) -> None:
    """A crypto line and, with a known key, a packet with any header size."""
    line, _, packet = octets.partition(b"\n")
    try:
        key = srtp.parse_crypto(line.decode("utf-8", "replace"))
    except CallReplayError:
        return
    assert srtp.SrtpStream(key).decrypt(packet, 12 + 4 * (packet[0] & 15 if packet else 0)) is None or packet


def side_index(octets: bytes) -> None:
    """A side index whose checksum fits, so that what stands behind it is reached."""
    for text in (octets, octets + struct.pack("<I", zlib.crc32(octets))):
        try:
            index = recording.parse_index(text)
        except CallReplayError:
            continue
        for stream in index.streams:
            index.arrival_ns[stream.rows]  # IndexError beyond the records


def stored_leg(octets: bytes) -> None:
    """The lengths that a side index keeps, as many as the first octet says, then the leg: walked as it is scanned."""
    count = octets[0] if octets else 0
    lengths = octets[1 : 1 + 2 * count]
    if not count or len(lengths) < 2 * count:
        return
    data = np.frombuffer(LEG_HEAD + octets[1 + 2 * count :], np.uint8)

    def index() -> recording.LegIndex:
        arrival = T + np.arange(count, dtype=np.int64) * 20_000_000
        streams = [Stream(0, FLOW, 7, slice(0, count), count)]
        zeros = np.zeros(count, np.uint16), np.zeros(count, np.uint8)
        of = arrival, zeros[0], np.frombuffer(lengths, "<u2").astype(np.uint16), zeros[1]
        return recording.LegIndex("caller", CallDescription("x"), streams, *of, len(LEG_HEAD))

    short = stored_legs.walked(data, index())
    if short is not None:
        _columns_hold(short)
        whole = stored_legs.restored(packets.scan(data, recorded=True), index())
        assert (short.counters, short.first_ns, short.last_ns) == (
            whole.counters,
            whole.first_ns,
            whole.last_ns,
        )
        for name in RtpColumns.__dataclass_fields__:
            assert np.array_equal(getattr(short.rtp, name), getattr(whole.rtp, name)), name


def leg_records(octets: bytes) -> None:
    """RTP packets that each tell their length: records of a stored leg, which scan to the same; then rows anywhere."""
    packets_: list[tuple[int, bytes]] = []
    at = 0
    while at < len(octets):
        end = at + 1 + octets[at]
        if len(octets[at + 1 : end]) > 1:
            packets_.append((T + len(packets_) * 20_000_000, octets[at + 1 : end]))
        at = end
    found = packets.scan(np.frombuffer(c.rtpdump(packets_, start_ns=T), np.uint8))
    rtp, ssrcs = found.rtp, np.array([stream.ssrc for stream in found.streams], np.uint32)
    count = len(rtp.offset)
    rows = np.argsort(rtp.arrival_ns, kind="stable")
    leg = io.BytesIO()
    written, lengths = recording.write_packets(
        leg, found.data, found.spill, rtp, rows, ssrcs, FLOW, from_capture
    )
    assert (written, len(lengths)) == (len(leg.getvalue()), count)
    again = packets.scan(np.frombuffer(leg.getvalue(), np.uint8), recorded=True).rtp
    assert len(again.offset) == count
    order = np.argsort(again.arrival_ns, kind="stable")
    for name in ("timestamp", "sequence", "size", "payload_type"):
        assert np.array_equal(getattr(rtp, name)[rows], getattr(again, name)[order]), name
    anywhere = np.resize(np.frombuffer(octets + b"\0", np.int8), count)
    told = {name: getattr(rtp, name) for name in _TOLD}
    told |= {"source": found.data, "at": rtp.offset[rows], "rows": rows.astype(np.int64), "ssrcs": ssrcs}
    told |= {"start_ns": T, "out": np.empty(1 << 16, np.uint8), "lengths": np.empty(count, np.uint16)}
    assert dump.records(**told) == written - len(LEG_HEAD)
    for name in ("at", "rows", "stream", "size"):
        with contextlib.suppress(ValueError):
            dump.records(**told | {name: (told[name] + anywhere).astype(told[name].dtype)})
    with contextlib.suppress(ValueError):
        dump.records(**told | {"out": told["out"][: len(octets)]})


def file_tags(octets: bytes) -> None:
    """An audio file, by its magic, whose tags are read."""
    try:
        tags = read_tags_of(io.BytesIO(octets), "fuzzed")
    except CallReplayError:
        return
    assert all(isinstance(text, str) for pair in tags.comments.items() for text in pair)
    assert tags.duration_s is None or tags.duration_s >= 0


def transports(octets: bytes) -> None:
    """What carries SIP on TCP and SCTP, by its first octet; then parts that each tell their length."""
    if not octets:
        return
    at, parts = 1, []
    while at < len(octets):
        end = at + 1 + octets[at]
        parts.append(octets[at + 1 : end])
        at = end
    counters: dict[str, int] = {}
    frames, chunks, session = websocket.Frames(), sctp.Chunks(), tls.Session(KEYS)
    ready, back, clear = bytearray(), bytearray(), bytearray()
    for number, part in enumerate(parts):
        if octets[0] % 4 == 0:
            ready += part
            assert all(len(message) <= 1 << 20 for message in frames.cut(ready, counters))
        elif octets[0] % 4 == 1:
            list(chunks.cut(part, counters))
        elif octets[0] % 4 == 2:
            ready += part
            for frame in hep.cut(ready, counters):
                hep.parse(frame, T)
        else:
            half = back if number % 2 else ready
            half += part
            clear += session.cut(number % 2, half, number // 8)
            clear += session.cut(1 - number % 2, ready if number % 2 else back, number // 8)


def recorders(octets: bytes) -> None:
    """Bodies of SIP, recording metadata, digits, rtpengine's metadata and key logs."""
    kind, _, rest = octets.partition(b"\n")
    name = kind.decode("latin-1")
    for part in bodies.parts(name, bodies.decoded(name, rest)):
        assert len(part.content) <= bodies.MAX_BODY or len(part.content) <= len(octets)
    metadata = rsmetadata.Metadata()
    for number, text in enumerate(rest.split(CUT)):
        metadata.take(text, T + number)
    rtpengine.is_metadata(octets)
    rtpengine.parse(octets)
    keylog.KeyLog().add(octets)
    keylog.in_capture(np.frombuffer(octets, np.uint8))
    kinds = f"Content-Type: {name[:100]}"
    head = c.sip("INVITE sip:200@pbx SIP/2.0", headers=("Require: siprec", kinds))
    info = c.sip("INFO sip:200@pbx SIP/2.0", cseq="2 INFO", to="<sip:200@pbx>;tag=b", headers=(kinds,))
    said = []
    for number, message in enumerate((head, info)):
        plain = message.replace(b"Content-Length: 0", b"Content-Length: %d" % len(rest))
        said.append(Message("sip", T + number, FLOW, "udp", plain + rest))
    signalling.calls_of(said)


def split_up(octets: bytes) -> None:
    """Blocks of a ring, a stream cut anywhere, or frames of any link type, split into spools that are captures."""
    if len(octets) < 2:
        return
    kind, rest = octets[0] % 3, octets[1:]
    with tempfile.TemporaryDirectory(dir=SHM) as folder:
        handed: list[Closed] = []
        spooler = Spooler(Path(folder), 1, handed.append, durable=False)
        splitter = spooler.splitter
        if kind == 0:
            try:
                found = recognise(np.frombuffer(rest, np.uint8))
            except CallReplayError:
                return
            if found.number not in (1, 2):
                return
            middle = max(28, len(rest) * octets[0] // 255)
            splitter.open(np.frombuffer(rest[:middle], np.uint8), found.number, **found.options, stream=True)
            if spooler.drain() != Stop.DAMAGED:
                left = rest[splitter.used : middle] + rest[middle:]
                splitter.rest()
                splitter.feed(np.frombuffer(left, np.uint8))
                spooler.drain()
        elif kind == 1:
            for part in rest.split(CUT):
                splitter.block(
                    np.frombuffer(part.ljust(48, b"\0"), np.uint8), LINKS[octets[0] % len(LINKS)], True
                )
                spooler.drain()
        else:
            records: list[tuple[int, bytes]] = []
            at = 1
            while at < len(rest):
                end = at + 1 + rest[at]
                records.append((T + len(records) * 20_000_000, rest[at + 1 : end]))
                at = end
            data = np.frombuffer(c.pcap(records, link=LINKS[rest[0] % len(LINKS)]), np.uint8)
            splitter.open(data, 1, **recognise(data).options)
            spooler.drain()
        spooler.finish()
        spooler.shut()
        for one in handed:
            whole = b"".join(chunk.tobytes() for chunk in merged(one.files))
            _columns_hold(packets.scan(packets.open_buffer(whole, warnings=[])))
        assert all(ends.group is None for ends in spooler.board.ways.values())
        assert not spooler.board.groups


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        capture, frames, sip_sdp, skinny_frames, rtcp_compound, red_payloads, srtp_packet, side_index,
        stored_leg, leg_records, transports, recorders, file_tags, split_up,
    )
}  # fmt: skip


def _framed(*parts: bytes) -> bytes:
    return b"".join(bytes([min(255, len(part))]) + part[:255] for part in parts)


def _seeds(target: str) -> Iterator[bytes]:
    """What a fuzzer starts from: one of everything that the parser knows."""
    media = [(T + i * 20_000_000, c.rtp(i, i * 160, 7, 0, bytes([i]) * 20)) for i in range(4)]
    control = c.rtcp_sr(7, T, 160) + c.rtcp_sdes(7, "me") + c.rtcp_bye(7)
    body = c.sdp("10.0.0.1", 4000, {0: "PCMU/8000", 96: "red/8000", 101: "telephone-event/8000"})
    invite = c.sip("INVITE sip:200@pbx SIP/2.0", body=body)
    others = [control, invite, c.stun(), c.dtls(), c.zrtp(), c.udptl(1, b"\6\1\2", b"\0\1")]
    udp = [(t, c.udp("10.0.0.1", 4000, "10.0.0.2", 5000, p)) for t, p in media]
    udp += [(T, c.udp("10.0.0.1", 5060, "10.0.0.2", 5060, p)) for p in others]
    if target == "capture":
        yield from (c.pcap(udp), c.pcap(udp, big=True, nano=True), c.pcap(udp, modified=True))
        yield from (c.pcapng(udp, unknown=True), c.pcapng(udp, simple=True), c.pcapng(udp, old=True))
        yield c.pcapng(udp, [c.Interface(resolution=9, offset=5)], big=True)
        yield from (c.rtpdump(media, start_ns=T), c.rtpproxy(media), c.gz(c.pcap(udp)), c.zst(c.pcap(udp)))
        yield from (c.snoop(udp), c.mjr(media, start_ns=T), c.mjr_old([packet for _, packet in media]))
        yield from (c.rtpproxy_any([(T, c.stun()), *media]), c.rtpproxy_any(media, address="2001:db8::1"))
        yield from (c.pcap(udp) + c.pcapng(udp), c.pcapng(udp) + c.pcap(udp, big=True))
        yield from (c.zipped({"x.pcap": c.pcap(udp)}), bz2.compress(c.pcap(udp)), lzma.compress(c.pcap(udp)))
    elif target == "transports":
        frame = c.websocket(invite, masked=True)
        yield b"\0" + _framed(*[frame[at : at + 200] for at in range(0, len(frame), 200)])
        yield b"\0" + _framed(c.websocket(b"INVITE x", deflate=zlib.compressobj(wbits=-15)))
        whole = c.sctp_data(b"x" * 300, 1, parts=3) + c.sctp_data(b"y" * 100, 9, parts=2, interleaved=1)
        yield b"\1" + _framed(*whole)
        yield b"\2" + _framed(c.hep3_stream(b"INVITE", "10.0.0.1", 1, "10.0.0.2", 2, T, packed=True))
        hello = b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03" + bytes(36)
        answer = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\0\x13\x01\0"
        yield b"\3" + _framed(hello, answer, b"\x17\x03\x03\x00\x28" + bytes(40), b"\x14\x03\x03\0\1\1")
        yield b"\3" + _framed(hello, answer.replace(b"\x13\x01", b"\xc0\x2f"), b"\x14\x03\x03\0\1\1")
    elif target == "recorders":
        people = [("p1", "1001", "Ann", ["s1"]), ("p2", "2002", "Bob", ["s2"])]
        text = c.rs_metadata(people, [("s1", "1"), ("s2", "2")])
        lines = c.siprec_sdp("10.0.0.1", [(24000, "1"), (24002, "2")])
        yield b"multipart/mixed;boundary=bnd\n" + c.siprec_body(lines, text).encode()
        yield b"application/rs-metadata+xml\n" + text.encode()
        yield b"gzip\n" + gzip.compress(lines.encode())
        yield b"application/dtmf-relay\nSignal=5\r\nDuration=100\r\n"
        yield c.rtpengine_metadata(
            "/x/y-0123456789abcdef.pcap", [("offer", lines), ("answer", lines)]
        ).encode()
        yield b"CLIENT_RANDOM " + b"00" * 32 + b" " + b"11" * 48 + b"\n"
    elif target == "frames":
        yield from (bytes([link]) + _framed(*(frame for _, frame in udp)) for link in range(len(LINKS)))
        inner = udp[0][1]
        for kind in (0x8100, 0x8847, 0x8864, 0x8926, 0x8903, 0x6558, 0x86DD):
            yield b"\0" + _framed(inner[:12] + kind.to_bytes(2, "big") + inner[14:] + inner)
        segment = c.tcp("10.0.0.1", 4000, "10.0.0.2", 80, c.websocket(invite[:150], masked=True), 1)
        chunks = c.frame(c.ip(c.sctp(5060, 5060, c.sctp_data(invite[:150], 1)), "10.0.0.1", "10.0.0.2", 132))
        record = c.tcp("10.0.0.1", 4000, "10.0.0.2", 5061, b"\x17\x03\x03\0\x20" + bytes(32), 1)
        yield b"\0" + _framed(segment, chunks, record)
        for port in (4789, 6081, 2152, 37008, 9060, 1701, 4790):
            yield b"\0" + _framed(c.udp("10.0.0.1", 4000, "10.0.0.2", port, b"\x08" + bytes(7) + inner))
    elif target == "split_up":
        yield from (b"\0" + c.pcap(udp), b"\x7e" + c.pcapng(udp))
        yield from (
            b"\2" + bytes([link]) + _framed(*(frame for _, frame in udp)) for link in range(len(LINKS))
        )
        agent = c.hep3(invite[:180], "10.0.0.1", 5060, "10.0.0.2", 5060, time_ns=T)
        yield b"\2\0" + _framed(c.udp("10.0.0.9", 1, "10.0.0.8", 9060, agent), udp[0][1], udp[1][1])
        block = struct.pack("<4xI4xIII28x", 0, len(udp), 48, 0)
        for number, (_, frame) in enumerate(udp):
            size = 80 + (len(frame) + 15 & ~15)
            head = struct.pack("<6IHH20x", size, 1_700_000_000, number, len(frame), len(frame), 0, 80, 80)
            block += head.ljust(80, b"\0") + frame.ljust(size - 80, b"\0")
        yield b"\1" + block
    elif target == "sip_sdp":
        yield from (invite, body if isinstance(body, bytes) else body.encode())
        yield CUT.join((invite, c.sip("SIP/2.0 200 OK", body=body), c.sip("BYE sip:200@pbx SIP/2.0")))
    elif target == "skinny_frames":
        for message in sorted(skinny._HANDLERS):
            for version in (0, 17, 20):
                yield struct.pack("<III", 204, version, message) + bytes(range(1, 201))
    elif target == "rtcp_compound":
        yield control
    elif target == "red_payloads":
        yield _framed(*[c.red(b"p" * 20, 0, (0, 160, b"r" * 20))] * 12)
    elif target == "srtp_packet":
        inline = "A" * 40
        yield f"1 AES_CM_128_HMAC_SHA1_80 inline:{inline}|2^31|1:4\n".encode() + media[0][1]
        yield f"1 AEAD_AES_128_GCM inline:{inline[:38]}==\n".encode() + media[0][1]
    elif target == "side_index":
        stream = {"ssrc": 7, "source": "a", "source_port": 1, "destination": "b", "destination_port": 2}
        call = {"protocol": "sip", "call_id": "x", "media": [{"side": "caller", "address": "a", "port": 1,
                "payload_types": {"0": {"name": "PCMU", "clock_rate_hz": 8000}}}]}  # fmt: skip
        header = {"side": "caller", "call": call, "streams": [stream], "head": 40, "capture": "",
                  "inferred": False, "extra": {}, "reports": [[1] * 7]}  # fmt: skip
        said = json.dumps(header).encode()
        yield recording._MAGIC + struct.pack("<I", len(said)) + said + struct.pack("<Q", 1) + bytes(13)
    elif target == "stored_leg":
        records = [
            struct.pack(">HHI", len(one) + 8, len(one), i * 20) + one for i, (_, one) in enumerate(media)
        ]
        yield (
            bytes([len(records)])
            + b"".join(struct.pack("<H", len(one)) for one in records)
            + b"".join(records)
        )
    elif target == "leg_records":
        extended = bytes([0xB2]) + media[0][1][1:12] + bytes(8) + b"\xbe\xde\0\1" + bytes(4) + b"voice"
        yield _framed(*[packet for _, packet in media], extended)
        yield _framed(media[0][1][:12], bytes([0xA0]) + media[1][1][1:] + b"\0\0\0\4")
    elif target == "file_tags":
        from callreplay.outputs.tags import wav_with_tags

        about = {"TITLE": "a call", "CALLID": "x@y", "DATE": "2026-01-06"}
        riff = (
            b"RIFF"
            + struct.pack("<I", 36)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        )
        yield wav_with_tags(riff + b"data" + bytes(4), about, T, 8000, 1)
        comments = struct.pack("<I", 1) + b"x" + struct.pack("<II", 1, 7) + b"TITLE=a"
        yield b"fLaC\0\0\0\x22" + bytes(34) + b"\x84" + len(comments).to_bytes(3, "big") + comments
        for packets_ in (
            (b"OpusHead\1\1" + bytes(9), b"OpusTags" + comments),
            (b"Speex   " + bytes(72), comments),
        ):
            lacing = bytes(len(packet) for packet in packets_)
            yield b"OggS" + bytes(22) + bytes([len(lacing)]) + lacing + b"".join(packets_)
        yield b"ID3\4\0\0\0\0\0\x0eTIT2\0\0\0\4\0\0\3abc"
        item = struct.pack(">I4s", 28, b"\xa9nam") + struct.pack(">I4s", 20, b"data") + bytes(8) + b"name"
        ilst = struct.pack(">I4s", 8 + len(item), b"ilst") + item
        meta = struct.pack(">I4s", 12 + len(ilst), b"meta") + bytes(4) + ilst
        udta = struct.pack(">I4s", 8 + len(meta), b"udta") + meta
        yield (
            struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0)
            + struct.pack(">I4s", 8 + len(udta), b"moov")
            + udta
        )


def main() -> None:
    """Run a target, or write its seeds."""
    if sys.argv[1] == "--seed":
        for seed in _seeds(sys.argv[2]):
            name = hashlib.sha1(seed).hexdigest()
            (Path(sys.argv[3]) / name).write_bytes(seed)
        return
    target = TARGETS[sys.argv.pop(1)]
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
