"""SIP over WebSocket, SCTP, HEP3 on TCP, and signalling that is counted because it cannot be read."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import captures as c

from callreplay import packets
from callreplay.packets import sctp, websocket

T = 1_700_000_000_000_000_000
A, B = "10.1.0.1", "10.2.0.1"
BODY = c.sdp(A, 10000, {0: "PCMU/8000"})
INVITE = c.sip("INVITE sip:200@pbx SIP/2.0", body=BODY)
OK = c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=c.sdp(B, 20000, {0: "PCMU/8000"}))
BYE = c.sip("BYE sip:200@pbx SIP/2.0", cseq="2 BYE")
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n"


def _stream(
    said: Sequence[tuple[bool, bytes]], *, size: int = 1400, port: int = 80, drop: int = -1
) -> list[tuple[int, bytes]]:
    """A TCP connection: (whether the client sends, octets), in segments of ``size``."""
    numbers = {True: 1000, False: 9000}
    frames: list[tuple[int, bytes]] = []
    for client, octets in said:
        for at in range(0, len(octets), size):
            piece = octets[at : at + size]
            ends = (A, 40000, B, port) if client else (B, port, A, 40000)
            frames.append((T + len(frames) * 20_000_000, c.tcp(*ends, piece, numbers[client])))
            numbers[client] += len(piece)
    return [frame for index, frame in enumerate(frames) if index != drop]


def _heard(frames: Sequence[tuple[int, bytes]]) -> list[bytes]:
    return [message.payload for message in packets.scan(packets.open_buffer(c.pcap(frames))).messages]


@pytest.mark.parametrize("size", [1, 3, 100, 1400])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("opcode", [1, 2])
def test_sip_over_websocket_is_read(size: int, parts: int, opcode: int) -> None:
    said = [
        (True, UPGRADE),
        (False, ACCEPT + b"\r\n"),
        (True, c.websocket(INVITE, masked=True, parts=parts, opcode=opcode)),
        (False, c.websocket(b"", opcode=9) + c.websocket(OK, parts=parts, opcode=opcode)),
        (True, c.websocket(b"\r\n", masked=True) + c.websocket(BYE, masked=True)),
    ]
    frames = _stream(said, size=max(size, 60) if size == 1 else size)
    if size >= 100:  # a segment must show what the connection is
        assert _heard(frames) == [INVITE, OK, BYE]
    else:
        assert _heard(_stream(said[:2]) + _stream_after(said, size)) == [INVITE, OK, BYE]


def _stream_after(said: Sequence[tuple[bool, bytes]], size: int) -> list[tuple[int, bytes]]:
    """The whole connection with its opening in one piece and the rest in small ones."""
    whole = _stream(said, size=size)
    opened = sum(-(-len(octets) // size) for _, octets in said[:2])
    return [(time + 10**9, frame) for time, frame in whole[opened:]]


def test_a_connection_without_its_opening_is_known_by_its_frames() -> None:
    said = [(True, c.websocket(INVITE, masked=True)), (False, c.websocket(OK))]
    assert _heard(_stream(said)) == [INVITE, OK]


def test_compressed_frames_are_inflated_with_one_window() -> None:
    there, back = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15)
    accept = ACCEPT + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    said = [
        (True, UPGRADE),
        (False, accept),
        (True, c.websocket(INVITE, masked=True, deflate=there)),
        (False, c.websocket(OK, deflate=back)),
        (True, c.websocket(BYE, masked=True, deflate=there)),
    ]
    assert _heard(_stream(said)) == [INVITE, OK, BYE]


def test_a_frame_as_long_as_it_likes_holds_no_memory() -> None:
    frames = websocket.Frames()
    counters: dict[str, int] = {}
    ready = bytearray(bytes([0x81, 127]) + struct.pack(">Q", 1 << 60) + b"INVITE")
    assert list(frames.cut(ready, counters)) == []
    assert counters == {"websocket_malformed": 1}
    assert not ready
    bomb = c.websocket(b"\0" * (32 << 20), deflate=zlib.compressobj(wbits=-15))
    assert all(len(part) <= 1 << 20 for part in websocket.unframe(bomb))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_octets_as_frames_end(octets: bytes, size: int) -> None:
    frames, counters = websocket.Frames(), dict[str, int]()
    ready = bytearray()
    for at in range(0, len(octets), size):
        ready += octets[at : at + size]
        list(frames.cut(ready, counters))


@pytest.mark.parametrize("interleaved", [None, 7])
@pytest.mark.parametrize("shuffled", [False, True])
def test_sip_over_sctp_is_read_whole_and_in_parts(interleaved: int | None, shuffled: bool) -> None:
    there = c.sctp_data(INVITE, 100, interleaved=interleaved)
    there += c.sctp_data(BYE, 200, parts=4, interleaved=None if interleaved is None else 8)
    back = c.sctp_data(OK, 100, parts=3, interleaved=interleaved)
    if shuffled:
        random.Random(1).shuffle(there)
        back.reverse()
    frames = [
        *((c.frame(c.ip(c.sctp(5060, 5060, [chunk]), A, B, 132))) for chunk in there),
        *((c.frame(c.ip(c.sctp(5060, 5060, [chunk]), B, A, 132))) for chunk in back),
    ]
    heard = _heard([(T + index * 10**7, frame) for index, frame in enumerate(frames)])
    assert sorted(heard) == sorted([INVITE, BYE, OK])


def test_chunks_share_a_packet_and_a_port_of_its_own() -> None:
    chunks = [struct.pack(">BBH", 3, 0, 16) + bytes(12), *c.sctp_data(INVITE, 1), *c.sctp_data(BYE, 2)]
    frames = [(T, c.frame(c.ip(c.sctp(6000, 7000, chunks), A, B, 132)))]
    assert _heard(frames) == [INVITE, BYE]


def test_parts_whose_rest_never_comes_make_room() -> None:
    chunks, counters = sctp.Chunks(), dict[str, int]()
    for number in range(10_000):
        (part, *_) = c.sctp_data(b"x" * 200, number * 3, parts=2)
        assert list(chunks.cut(part, counters)) == []
    assert len(chunks._parts) <= 4096
    assert chunks._held <= 1 << 20


def test_other_sctp_is_counted_as_before() -> None:
    frames = [(T, c.frame(c.ip(c.sctp(2905, 2905, c.sctp_data(b"m3ua", 1)), A, B, 132)))]
    found = packets.scan(packets.open_buffer(c.pcap(frames)))
    assert found.counters["ip_protocol 132 SCTP"] == 1
    assert not found.warnings


@pytest.mark.parametrize("packed", [False, True])
def test_hep3_over_tcp_has_the_ends_of_its_messages(packed: bool) -> None:
    octets = c.hep3_stream(INVITE, A, 5060, B, 5070, T, packed=packed)
    octets += c.hep3_stream(c.websocket(OK), B, 80, A, 40000, T + 10**9, transport=6)
    found = packets.scan(packets.open_buffer(c.pcap(_stream([(True, octets)], port=9061))))
    assert [message.payload for message in found.messages] == [INVITE, OK]
    flow = found.messages[0].flow
    assert (flow.source, flow.source_port, flow.destination, flow.destination_port) == (A, 5060, B, 5070)
    assert [message.arrival_ns for message in found.messages] == [T, T + 10**9]


def test_hep3_over_udp_may_be_compressed_or_hold_frames() -> None:
    packed = c.hep3_stream(INVITE, A, 5060, B, 5060, T, packed=True)
    framed = c.hep3(c.websocket(OK, masked=True), B, 80, A, 40000, time_ns=T, protocol=6)
    frames = [(T, c.udp("10.9.0.1", 9000, "10.9.0.2", 9060, each)) for each in (packed, framed)]
    assert _heard(frames) == [INVITE, OK]


def _tls_record(size: int = 200) -> bytes:
    return b"\x17\x03\x03" + struct.pack(">H", size) + random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("TLS", _stream([(True, _tls_record()), (False, _tls_record(300))], port=5061)),
        ("H.323", _stream([(True, b"\x03\0\0\x20\x08\x02\0\x01\x05" + bytes(23))], port=1720)),
        ("H.323", [(T, c.udp(A, 1719, B, 1719, b"\x0e\x80\x00\x06" + bytes(30)))]),
        ("MGCP", [(T, c.udp(A, 2427, B, 2427, b"CRCX 1204 aaln/1@rgw.example MGCP 1.0\r\nC: A\r\n"))]),
        ("MGCP", [(T, c.udp(A, 7727, B, 6000, b"RQNT 1207 aaln/1@rgw.example MGCP 1.0\r\n"))]),
        ("MGCP", [(T, c.udp(B, 2427, A, 2427, b"200 1204 OK\r\nI: FDE234C8\r\n"))]),
        ("H.248", [(T, c.udp(A, 2944, B, 2944, b"MEGACO/1 [10.1.0.1]:2944\nTransaction = 1 {}"))]),
        ("IAX2", [(T, c.udp(A, 4569, B, 4569, b"\x12\x34\x00\x10" + bytes(20)))]),
        (
            "SCTP",
            [(T, c.frame(c.ip(c.sctp(5061, 5061, c.sctp_data(b"\x16\xfe\xfd" + bytes(60), 1)), A, B, 132)))],
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_connection(name: str, frames: list[tuple[int, bytes]]) -> None:
    found = packets.scan(packets.open_buffer(c.pcap(frames)))
    (unread,) = found.unread
    assert (unread.protocol, unread.packets) == (name, len(frames))
    assert {unread.client, unread.server} == {A, B}
    (warning,) = found.warnings
    assert f"signalling over {name} was not read" in warning
    assert f"{unread.server}:{unread.server_port}" in warning


def test_tls_of_other_ports_is_named_where_media_has_no_signalling() -> None:
    media = [
        (T + index * 20_000_000, c.udp(A, 4000, B, 5000, c.rtp(index, index * 160, 7))) for index in range(50)
    ]
    web = _stream([(True, _tls_record())], port=443)
    assert any("may carry signalling" in text for text in packets.scan(_buffer(web + media)).warnings)
    assert not packets.scan(_buffer(web)).warnings
    sip = [(T, c.udp(A, 5060, B, 5060, INVITE))]
    assert not packets.scan(_buffer(sip + web + media)).warnings


def _buffer(frames: Sequence[tuple[int, bytes]]) -> NDArray[np.uint8]:
    return packets.open_buffer(c.pcap(sorted(frames)))
