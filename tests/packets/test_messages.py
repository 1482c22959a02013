"""SIP over UDP and TCP, and Skinny: whole messages whatever TCP did to them."""

from __future__ import annotations

import random
import time

import pytest
from tests import captures as c

from callreplay import packets

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
SDP = c.sdp(A, 4000, {0: "PCMU/8000"})
SIP = [
    c.sip("INVITE sip:200@pbx SIP/2.0", body=SDP),
    c.sip("SIP/2.0 100 Trying"),
    c.sip("SIP/2.0 200 OK", body=SDP),
    c.sip("ACK sip:200@pbx SIP/2.0", cseq="1 ACK"),
    c.sip("BYE sip:200@pbx SIP/2.0", cseq="2 BYE"),
]
SKINNY = [c.skinny(0x8A, bytes(range(40))), c.skinny(0x105, bytes(100)), c.skinny(0x82)]


def messages(frames: list[bytes]) -> list[tuple[str, str, bytes]]:
    records = [(T + i * 1_000_000, frame) for i, frame in enumerate(frames)]
    found = packets.scan(packets.open_buffer(c.pcap(records))).messages
    assert [m.arrival_ns for m in found] == sorted(m.arrival_ns for m in found)
    return [(m.protocol, m.transport, m.payload) for m in found]


def segments(stream: bytes, sizes: random.Random, port: int = 5060, start: int = 0xFFFFFF00) -> list[bytes]:
    parts, at = [], 0
    while at < len(stream):
        size = sizes.randrange(1, 300)
        parts.append(c.tcp(A, 33000, B, port, stream[at : at + size], start + at))
        at += size
    return parts


def test_sip_over_udp_on_any_port() -> None:
    frames = [c.udp(A, 5060, B, 17777, message) for message in SIP] + [c.udp(A, 5060, B, 17777, b"\r\n\r\n")]
    assert messages(frames) == [("sip", "udp", message) for message in SIP]


@pytest.mark.parametrize("port", [5060, 45678])
@pytest.mark.parametrize("seed", range(4))
def test_sip_over_tcp_in_segments(port: int, seed: int) -> None:
    parts = segments(b"\r\n\r\n".join(SIP), random.Random(seed), port)
    assert messages(parts) == [("sip", "tcp", message) for message in SIP]


@pytest.mark.parametrize("seed", range(6))
def test_segments_out_of_order_and_again(seed: int) -> None:
    generator = random.Random(seed)
    parts = segments(b"".join(SIP), generator)
    disturbed = [c.tcp(A, 33000, B, 5060, b"", 0xFFFFFEFF, flags=2)]
    for start in range(0, len(parts), 3):
        group = parts[start : start + 3]
        generator.shuffle(group)
        disturbed += [*group, group[0]]
    assert messages(disturbed) == [("sip", "tcp", message) for message in SIP]


def test_a_lost_segment_costs_its_message_only() -> None:
    whole = [c.tcp(A, 33000, B, 5060, m, 1 + sum(map(len, SIP[:i]))) for i, m in enumerate(SIP)]
    assert messages(whole[:1] + whole[2:]) == [("sip", "tcp", m) for m in (SIP[0], *SIP[2:])]


def test_a_capture_that_starts_in_a_message() -> None:
    stream = b"".join(SIP)
    parts = [c.tcp(A, 33000, B, 5060, stream[50:700], 1050), c.tcp(A, 33000, B, 5060, stream[700:], 1700)]
    assert messages(parts) == [("sip", "tcp", message) for message in SIP[1:]]


def test_a_new_connection_on_the_same_ports() -> None:
    frames = []
    for base in (100, 5_000_000):
        frames.append(c.tcp(A, 33000, B, 5060, b"", base, flags=2))
        frames.append(c.tcp(A, 33000, B, 5060, SIP[0], base + 1))
    assert messages(frames) == [("sip", "tcp", SIP[0])] * 2


@pytest.mark.parametrize("seed", range(3))
def test_skinny_frames(seed: int) -> None:
    parts = segments(b"".join(SKINNY), random.Random(seed), 2000)
    assert messages(parts) == [("skinny", "tcp", frame) for frame in SKINNY]


def test_sip_from_a_hep_agent() -> None:
    frames = [
        c.udp("192.0.2.1", 9060, "192.0.2.9", 9060, c.hep3(m, A, 5060, B, 5060, time_ns=T, protocol=p))
        for m, p in zip(SIP, (17, 6, 17, 6, 17), strict=True)
    ]
    found = packets.scan(packets.open_buffer(c.pcap([(T + 10**9, frame) for frame in frames])))
    assert [(m.payload, m.transport, m.arrival_ns) for m in found.messages] == [
        (m, "udp" if i % 2 == 0 else "tcp", T) for i, m in enumerate(SIP)
    ]
    assert found.messages[0].flow.source == A


def test_a_fragmented_invite() -> None:
    big = c.sip("INVITE sip:200@pbx SIP/2.0", body=SDP, headers=("X: " + "y" * 3000,))
    parts = c.fragments(c.udp_datagram(5060, 5060, big), A, B, 1400)
    assert messages([c.frame(part) for part in reversed(parts)]) == [("sip", "udp", big)]


def test_many_small_segments_behind_a_gap_take_no_quadratic_time() -> None:
    """A minute and more where each drained segment looked at all that wait; the bar is far from both."""
    message = c.sip("INVITE sip:200@pbx SIP/2.0", body="x" * 30000)
    records = [
        (T + i, c.tcp("10.0.0.1", 40000, "10.0.0.2", 5060, message[i : i + 1], seq=1000 + i))
        for i in [0, *range(2, len(message)), 1]
    ]
    begin = time.process_time()
    found = packets.scan(
        packets.open_buffer(c.pcap([(T + i, frame) for i, (_, frame) in enumerate(records)]))
    )
    assert [one.payload for one in found.messages] == [message]
    assert time.process_time() - begin < 15
