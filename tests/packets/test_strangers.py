"""UDP that is no RTP, on ports where calls are: none of it is a leg; and legs that only signalling can tell of are."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests import captures as c

import callreplay
from callreplay import packets

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
Payloads = Callable[[random.Random], Iterator[bytes]]
KINDS: dict[str, Payloads] = {}


def kind(make: Payloads) -> Payloads:
    KINDS[make.__name__] = make
    return make


def _name(generator: random.Random) -> bytes:
    label = generator.randbytes(6).hex().encode()
    return bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


@kind
def dns_random_identifiers(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield struct.pack(">HHHHHH", generator.randrange(65536), 0x0100, 1, 0, 0, 1) + _name(generator)


@kind
def dns_answers(generator: random.Random) -> Iterator[bytes]:
    """Response codes make neighbours of the flags: 0x8180, 0x8181, 0x8182, 0x8183."""
    for number in itertools.count(0x8000):
        flags = 0x8180 | generator.choice([0, 0, 0, 1, 2, 3])
        yield struct.pack(
            ">HHHHHH", number & 0xBFFF | 0x8000, flags, 1, generator.randrange(3), 0, 0
        ) + _name(generator)


@kind
def mdns(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + _name(generator)


@kind
def snmp(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield (
            b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04"
            + struct.pack(">I", number)
            + generator.randbytes(20)
        )


@kind
def quic(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield bytes([0x40 | generator.randrange(64)]) + b"connect1" + generator.randbytes(60)


@kind
def quic_greased(generator: random.Random) -> Iterator[bytes]:
    """RFC 9287 lets the fixed bit be zero: long headers then begin like RTP."""
    while True:
        first = bytes([0x80 | generator.randrange(64)])
        yield (
            first
            + b"\0\0\0\1\x08connect1\x08connect2\0"
            + struct.pack(">H", 0x4050)
            + generator.randbytes(60)
        )


@kind
def source_engine(generator: random.Random) -> Iterator[bytes]:
    """Two counters of 32 bits, little-endian, then flags: the first octet is a counter's."""
    for number in itertools.count(0x80):
        yield struct.pack("<IIBH", number, number - 3, 0, 0) + b"\0" + generator.randbytes(40)


@kind
def quake(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count(0x80):
        yield struct.pack("<IH", number, 27015) + struct.pack("<I", number // 2) + generator.randbytes(30)


@kind
def raknet(generator: random.Random) -> Iterator[bytes]:
    """A counter of 24 bits, little-endian, behind 0x84."""
    for number in itertools.count():
        body = (
            struct.pack(">BH", 0x60, 320)
            + struct.pack("<I", number)[:3]
            + struct.pack("<I", number)[:3]
            + b"\0"
        )
        yield b"\x84" + struct.pack("<I", number)[:3] + body + generator.randbytes(40)


@kind
def game_in_milliseconds(generator: random.Random) -> Iterator[bytes]:
    """All that RTP has, in its places: a constant type, a counter, a clock, the number of the session."""
    for number in itertools.count():
        yield struct.pack(
            ">BBHII", 0x80, 0x7A, number & 0xFFFF, number * 20, 0x47414D45
        ) + generator.randbytes(30)


@kind
def game_in_frames(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield struct.pack(">BBHII", 0x80, 0x60, number & 0xFFFF, number, 0x47414D45) + generator.randbytes(30)


@kind
def counter_and_constants(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield struct.pack(">BBHII", 0x80, 0x60, number & 0xFFFF, 7, 0x47414D45) + generator.randbytes(30)


@kind
def counter_and_kinds(generator: random.Random) -> Iterator[bytes]:
    """Types of message where RTP has its payload type, and a clock of 8 kHz even."""
    for number in itertools.count():
        head = 0x80, generator.randrange(128), number & 0xFFFF, number * 160 & 0xFFFFFFFF, 0x47414D45
        yield struct.pack(">BBHII", *head) + generator.randbytes(30)


@kind
def ntp(generator: random.Random) -> Iterator[bytes]:
    """LI 2 (a minute of 59 s), versions 1 to 4: the first octet is 0x8b to 0xa4."""
    for number in itertools.count():
        yield (
            bytes([0x80 | 4 << 3 | 3, 2, 6, 0xEC])
            + struct.pack(">II", 70, 900 + number)
            + generator.randbytes(36)
        )


@kind
def radius(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield struct.pack(">BBH", 4, number & 255, 60) + generator.randbytes(56)


@kind
def tftp(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield struct.pack(">HH", 3, number & 0xFFFF) + generator.randbytes(512)


@kind
def syslog(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield b"<134>Jan  1 00:00:00 host app[1]: " + generator.randbytes(8).hex().encode()


@kind
def wireguard(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield struct.pack("<IIQ", 4, 0x80808080, number) + generator.randbytes(64)


@kind
def esp_in_udp(generator: random.Random) -> Iterator[bytes]:
    """RFC 3948: an SPI that begins like RTP, a counter, and with AES-GCM a counter as initialisation vector."""
    for number in itertools.count(1):
        yield struct.pack(">IIQ", 0x80601234, number, number) + generator.randbytes(64)


@kind
def random_octets(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield generator.randbytes(generator.randrange(1, 200))


@kind
def random_octets_of_a_session(generator: random.Random) -> Iterator[bytes]:
    while True:
        yield b"\x80" + generator.randbytes(7) + b"SESS" + generator.randbytes(40)


# Strangers to fool the proof by pace (test_paced.py): numbers that never follow each other, and timestamps.


def _paced(number: int, timestamp: int, kind: int = 0x60, session: int = 0x47414D45) -> bytes:
    return struct.pack(">BBHII", 0x80, kind, number & 0xFFFF, timestamp & 0xFFFFFFFF, session)


@kind
def steps_of_two_in_milliseconds(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 20 * number) + generator.randbytes(30)


@kind
def steps_of_two_in_microseconds(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 20_000 * number) + generator.randbytes(30)


@kind
def steps_of_two_in_frames(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 2 * number) + generator.randbytes(30)


@kind
def steps_of_two_by_a_clock(generator: random.Random) -> Iterator[bytes]:
    """A clock of 65536 Hz, the middle of an NTP timestamp, read when the packet goes: up to 2 ms late."""
    for number in itertools.count():
        yield _paced(2 * number, round((number * 0.02 + generator.random() * 0.002) * 65536)) + bytes(30)


@kind
def steps_at_random_by_a_clock(generator: random.Random) -> Iterator[bytes]:
    """160 ticks from packet to packet, as RTP has, whatever the numbers do."""
    at = 0
    for number in itertools.count():
        at += generator.randrange(2, 40)
        yield _paced(at, 160 * number) + generator.randbytes(30)


@kind
def steps_of_two_and_kinds(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 320 * number, generator.randrange(128)) + generator.randbytes(30)


@kind
def steps_of_two_of_an_unassigned_kind(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 320 * number, 0x30) + generator.randbytes(30)


@kind
def steps_of_two_and_sessions(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield _paced(2 * number, 320 * number, session=generator.randrange(1 << 32)) + bytes(30)


@kind
def counting_down(generator: random.Random) -> Iterator[bytes]:
    """Numbers and clock of RTP, backwards in time."""
    for number in itertools.count():
        yield _paced(-number, -160 * number) + generator.randbytes(30)


@kind
def octets_sent(generator: random.Random) -> Iterator[bytes]:
    """Offsets in a transfer of 1000 octets a packet, of 16 and of 32 bits."""
    for number in itertools.count():
        yield _paced(1000 * number, 1000 * number) + generator.randbytes(1000)


@kind
def octets_sent_and_their_bits(generator: random.Random) -> Iterator[bytes]:
    """As many ticks a second as a slow clock has, but 100 numbers in 20 ms."""
    for number in itertools.count():
        yield _paced(100 * number, 800 * number) + generator.randbytes(100)


@kind
def little_endian_counters(generator: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        yield b"\x80\x60" + struct.pack("<HII", number & 0xFFFF, number * 160, 7) + generator.randbytes(30)


@kind
def little_endian_number_and_clock(generator: random.Random) -> Iterator[bytes]:
    """Steps of 256 as RTP reads it, and a clock that RTP reads rightly."""
    for number in itertools.count():
        yield b"\x80\x60" + struct.pack("<H", number & 0xFFFF) + struct.pack(">II", number * 160, 7)


@kind
def acknowledgements(generator: random.Random) -> Iterator[bytes]:
    """Each second one, with the clock of the receiver in milliseconds eight times over: jitter shows in it."""
    for number in itertools.count():
        yield _paced(2 * number, 8 * (20 * number + generator.randrange(6))) + bytes(20)


@kind
def numbers_in_pairs(generator: random.Random) -> Iterator[bytes]:
    """Half of the pairs keep RTP's pace, half do not."""
    for number in itertools.count():
        yield _paced(2 * number, 320 * (number // 3) + 80 * (number % 3)) + generator.randbytes(30)


def _capture(name: str, most: int, each: int, step_ns: int = 20_000_000) -> list[tuple[int, bytes]]:
    """``most`` datagrams of a kind, ``each`` on one pair of ports."""
    generator = random.Random(name)
    records: list[tuple[int, bytes]] = []
    while len(records) < most:
        port = 10000 + 2 * (len(records) // each)
        for index, payload in enumerate(itertools.islice(KINDS[name](generator), each)):
            records.append((T + index * step_ns, c.udp(A, port % 65536, B, 40000, payload)))
    return records


@pytest.mark.parametrize("name", KINDS)
def test_nothing_of_it_is_a_leg(name: str) -> None:
    # Two or three packets of a counter and a clock, where RTP has them, look like RTP in every field; five do not.
    counting = name.startswith(("game_in", "counter_and_kinds"))
    for each in (5, 8, 40, 2000) if counting else (2, 3, 5, 8, 40, 2000):
        found = packets.scan(packets.open_buffer(c.pcap(_capture(name, 2000, each))))
        assert found.streams == [], each
        assert len(found.rtp.offset) == 0


@pytest.mark.parametrize("tunnel", [4789, 6081])
def test_nor_within_tunnels(tunnel: int) -> None:
    head = b"\x08\0\0\0\0\0\x07\0" if tunnel == 4789 else b"\0\0\x65\x58\0\0\x07\0"
    for name in ("dns_answers", "game_in_milliseconds", "random_octets"):
        inner = _capture(name, 500, 250)
        records = [
            (time, c.udp(A, 50000 + i % 7, B, tunnel, head + frame)) for i, (time, frame) in enumerate(inner)
        ]
        assert packets.scan(packets.open_buffer(c.pcap(records))).streams == []
    media = [(T + i * 20_000_000, c.udp(A, 4000, B, 5000, c.rtp(i, i * 160, 7))) for i in range(20)]
    records = [(time, c.udp(A, 50000, B, tunnel, head + frame)) for time, frame in media]
    assert [stream.packets for stream in packets.scan(packets.open_buffer(c.pcap(records))).streams] == [20]


@pytest.mark.parametrize("each", [2, 3, 4, 6, 1000])
def test_a_million_random_datagrams(each: int) -> None:
    """Version and session fixed, the rest at random: what a chance hit needs least. Written as one array of records."""
    count = 200_000
    frame = np.frombuffer(c.pcap([(T, c.udp(A, 4000, B, 5000, b"\x80" + bytes(43)))])[24:], np.uint8)
    records = np.tile(frame, (count, 1))
    generator = np.random.default_rng(each)
    head = 16 + 42
    records[:, head + 1 :] = generator.integers(0, 256, (count, frame.size - head - 1), dtype=np.uint8)
    session = np.arange(count, dtype=np.uint32) // each
    records[:, head + 8 : head + 12] = session.astype(">u4").view(np.uint8).reshape(-1, 4)
    records[:, 16 + 34 : 16 + 36] = (session % 50000 + 1024).astype(">u2").view(np.uint8).reshape(-1, 2)
    capture = np.concatenate([np.frombuffer(c.pcap([])[:24], np.uint8), records.ravel()])
    found = packets.scan(capture)
    assert found.streams == []
    assert (
        found.counters["rtp_unproven"] + found.counters.get("rtcp", 0) + found.counters["non_rtp_udp"]
        >= count
    )


def _calls(
    payloads: dict[str, list[bytes]], formats: dict[int, str] | None = None, address: str = A
) -> list[callreplay.Call]:
    """A call by SIP between ``address``, port 4000, and B, port 5000, and the datagrams from each."""
    formats = formats or {0: "PCMU/8000", 13: "CN/8000"}
    invite = c.sip("INVITE sip:200@pbx SIP/2.0", body=c.sdp(address, 4000, formats))
    ok = c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=c.sdp(B, 5000, formats))
    records = [(T - 10**9, c.udp(A, 5060, B, 5060, invite)), (T - 10**8, c.udp(B, 5060, A, 5060, ok))]
    for here, ends in ((A, (4000, B, 5000)), (B, (5000, A, 4000))):
        records += [
            (T + i * 20_000_000, c.udp(here, *ends, payload))
            for i, payload in enumerate(payloads.get(here, []))
        ]
    with callreplay.open(c.pcap(records)) as capture:
        return list(capture.calls)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_leg_as_short_as_one_packet_that_signalling_names(count: int) -> None:
    other = [c.rtp(i, i * 160, 8) for i in range(100)]
    (call,) = _calls({A: other, B: [c.rtp(700 + i, i * 160, 9, payload=b"\x20" * 160) for i in range(count)]})
    assert (
        sum(stop - first for first, stop in ((s.first, s.stop) for s in call.called.columns.spans)) == count
    )
    assert call.mix()[: count * 160, 1].any()
    assert not any("encrypted" in warning for warning in call.warnings)


def test_a_call_of_one_packet_in_all() -> None:
    (call,) = _calls({A: [c.rtp(1, 0, 8)]})
    assert call.duration_s == pytest.approx(0.02)


@pytest.mark.parametrize(
    "payload",
    [
        c.rtp(1, 0, 9, pt=18, payload=bytes(20)),  # a payload type that nobody named
        bytes(40),
        b"\x80" + bytes(5),
    ],
)
def test_what_signalling_does_not_name_is_none(payload: bytes) -> None:
    assert not _calls({B: [payload]})


def test_a_lone_packet_beside_a_stream_is_no_stream() -> None:
    media = [c.rtp(i, i * 160, 8) for i in range(50)]
    media.insert(20, c.rtp(20, 20 * 160, 0xBAD))
    (call,) = _calls({A: media})
    assert (len(call.caller.columns.spans), call.caller.statistics.packets) == (1, 50)


def test_jumps_that_a_game_would_make_are_believed_where_signalling_names_them() -> None:
    """A sender whose clock ticks in milliseconds, or stands still: a fault, but media all the same."""
    for step in (20, 0):
        (call,) = _calls({A: [c.rtp(i, i * step, 8) for i in range(50)]})
        assert call.caller.statistics.packets == 50
