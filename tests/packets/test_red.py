"""RFC 2198 payloads become rows: primary in place, redundancy before it, offsets into the same octets."""

from __future__ import annotations

import random

import numpy as np
from tests import captures as c

from callreplay import packets
from callreplay.model import PacketFlag

T = 1_700_000_000_000_000_000


def speech(index: int) -> bytes:
    return bytes([index & 0xFF]) * 160


def scan(payloads: list[bytes], pt: int = 96) -> packets.Scan:
    records = [
        (
            T + i * 20_000_000,
            c.udp("10.0.0.1", 4000, "10.0.0.2", 5000, c.rtp(i, 1000 + i * 160, 5, pt, payload, i == 0)),
        )
        for i, payload in enumerate(payloads)
    ]
    return packets.scan(packets.open_buffer(c.pcap(records)))


def doubled(count: int) -> list[bytes]:
    return [
        c.red(speech(i), 0, *((0, 160 * back, speech(i - back)) for back in (2, 1) if i >= back))
        for i in range(count)
    ]


def test_blocks_become_rows() -> None:
    found = packets.unpack_red(scan(doubled(10)), {96})
    rtp = found.rtp
    assert len(rtp.offset) == 10 + 9 + 8
    redundant = (rtp.flags & PacketFlag.REDUNDANT) != 0
    assert int(redundant.sum()) == 17
    for row in range(len(rtp.offset)):
        index = (int(rtp.timestamp[row]) - 1000) // 160
        assert found.data[rtp.offset[row] : rtp.offset[row] + rtp.size[row]].tobytes() == speech(index)
        assert redundant[row] == (index != int(rtp.sequence[row]))
    assert set(rtp.payload_type.tolist()) == {0}
    assert int((rtp.flags & PacketFlag.MARKER).astype(bool).sum()) == 1
    (stream,) = found.streams
    assert stream.packets == 10
    assert np.arange(27).tolist() == np.asarray(stream.rows).tolist()
    assert found.counters["red"] == 10
    assert found.counters["red_blocks"] == 17


def test_what_is_not_red_stays() -> None:
    generator = random.Random(2)
    plain = scan([generator.randbytes(160) for _ in range(50)])
    assert packets.unpack_red(plain, {96}) is plain
    assert packets.unpack_red(scan(doubled(5)), {97}).rtp.payload_type.tolist() == [96] * 5


def test_a_malformed_payload_is_kept_and_counted() -> None:
    payloads = doubled(30)
    payloads[7] = b"\x80\xff\xff\xff" + bytes(3)
    found = packets.unpack_red(scan(payloads), {96})
    assert found.counters["red_malformed"] == 1
    assert found.rtp.payload_type.tolist().count(96) == 1


def test_hostile_payloads() -> None:
    generator = random.Random(3)
    for _ in range(300):
        payloads = doubled(8)
        for i in range(len(payloads)):
            octets = bytearray(payloads[i])
            for _ in range(generator.randrange(4)):
                octets[generator.randrange(min(len(octets), 12))] = generator.randrange(256)
            payloads[i] = bytes(octets[: generator.randrange(1, len(octets) + 1)])
        found = packets.unpack_red(scan(payloads), {96})
        assert ((found.rtp.offset + found.rtp.size) <= len(found.data)).all()
