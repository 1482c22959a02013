"""RTP found and believed, what is not RTP left out, SRTP suspected, RTCP and messages read."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from tests import captures as c

from callreplay import packets
from callreplay.model import PacketFlag

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
Sent = list[tuple[int, bytes]]


def scan(records: Sent) -> packets.Scan:
    return packets.scan(packets.open_buffer(c.pcap(sorted(records))))


def flow(payloads: list[bytes], sport: int = 4000, dport: int = 5000, step: int = 20_000_000) -> Sent:
    return [(T + i * step, c.udp(A, sport, B, dport, payload)) for i, payload in enumerate(payloads)]


def law(generator: np.random.Generator, size: int, level: float) -> bytes:
    """µ-law white noise at ``level`` of full scale, clipped."""
    pcm = np.clip(generator.normal(0, level * 32767, size), -32635, 32635).astype(np.int32)
    magnitude = np.abs(pcm) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    code = exponent << 4 | magnitude >> (exponent + 3) & 15
    return bytes((~(code | np.where(pcm < 0, 0x80, 0)) & 0xFF).astype(np.uint8))


def test_header_fields() -> None:
    sent = [
        c.rtp(1, 0, 9, 8, b"a" * 20, True),
        c.rtp(2, 160, 9, 8, b"b" * 21, csrc=(1, 2, 3)),
        c.rtp(3, 320, 9, 8, b"c" * 22, extension=(0xBEDE, b"x" * 12)),
        c.rtp(4, 480, 9, 8, b"d" * 23, padding=5),
        c.rtp(5, 640, 9, 101, b"e" * 4, csrc=(7,), extension=(1, b""), padding=1),
        c.rtp(6, 800, 9, 8, b""),
    ]
    found = scan(flow(sent))
    rows = zip(found.rtp.offset, found.rtp.size, strict=True)
    assert [found.data[at : at + n].tobytes() for at, n in rows] == [
        b"a" * 20, b"b" * 21, b"c" * 22, b"d" * 23, b"e" * 4, b"",
    ]  # fmt: skip
    flags = [PacketFlag(int(f)) for f in found.rtp.flags]
    assert flags == [
        PacketFlag.MARKER, PacketFlag(0), PacketFlag.EXTENSION, PacketFlag.PADDED,
        PacketFlag.EXTENSION | PacketFlag.PADDED, PacketFlag(0),
    ]  # fmt: skip
    assert found.rtp.payload_type.tolist() == [8, 8, 8, 8, 101, 8]


@pytest.mark.parametrize(
    "bad",
    [
        b"\xa0" + c.rtp(3, 0, 9)[1:-1] + b"\0",
        b"\xa0" + c.rtp(3, 0, 9)[1:-1] + b"\xff",
        b"\x8f" + c.rtp(3, 0, 9, 0, b"z")[1:],
    ],
)
def test_malformed_rtp_is_counted(bad: bytes) -> None:
    found = scan(flow([c.rtp(1, 0, 9), c.rtp(2, 160, 9), bad, c.rtp(4, 480, 9)]))
    assert found.counters["rtp_malformed"] == 1
    assert found.rtp.sequence.tolist() == [1, 2, 4]


def test_streams_are_ssrc_and_flow() -> None:
    sent = flow([c.rtp(i, i * 160, 1) for i in range(50)])
    sent += [(t + 5, c.udp(B, 5000, A, 4000, c.rtp(i, i * 160, 1))) for i, (t, _) in enumerate(sent)]
    sent += [(t + 9, c.udp(A, 4000, B, 5000, c.rtp(i + 9, i * 160, 2))) for i, (t, _) in enumerate(sent[:50])]
    found = scan(sent)
    assert sorted((s.ssrc, s.flow.source, s.packets) for s in found.streams) == [
        (1, A, 50),
        (1, B, 50),
        (2, A, 50),
    ]
    for stream in found.streams:
        assert (found.rtp.stream[found.stream_rows(stream.index)] == stream.index).all()
        assert len(found.rtp.sequence[found.stream_rows(stream.index)]) == 50


def _junk(generator: random.Random, kind: str) -> bytes:
    if kind == "random":
        return generator.randbytes(generator.randrange(12, 200))
    if kind == "dns":
        flags = generator.choice([0x0100, 0x8180])
        return struct.pack(">HHHHHH", generator.randrange(65536), flags, 1, 1, 0, 0) + b"\3www\3tst\0\0\1\0\1"
    if kind == "quic":
        return (
            bytes([0xC3]) + generator.randbytes(80)
            if generator.random() < 0.3
            else bytes([0x50]) + generator.randbytes(99)
        )
    if kind == "constant":
        return b"\x80\x00\x00\x05" + bytes(40)
    # a game: version octets, its own counter elsewhere, a constant where RTP has the SSRC
    return b"\x80\x7a" + generator.randbytes(6) + b"GAME" + generator.randbytes(30)


@pytest.mark.parametrize("kind", ["random", "dns", "quic", "constant", "game"])
def test_other_udp_is_no_call(kind: str) -> None:
    generator = random.Random(kind)
    sent = [
        (T + i * 1_000_000, c.udp(A, 40000 + i % 3, B, 50000, _junk(generator, kind))) for i in range(3000)
    ]
    found = scan(sent)
    assert found.streams == []
    assert len(found.rtp.offset) == 0


def test_junk_and_a_call_on_the_same_ports() -> None:
    generator = random.Random(1)
    sent = flow([b"\x80" + generator.randbytes(60) for _ in range(500)], step=1_000_000)
    sent += [(T + 10**9 + i * 20_000_000, c.udp(A, 4000, B, 5000, c.rtp(i, i * 160, 77))) for i in range(100)]
    found = scan(sent)
    assert [s.ssrc for s in found.streams] == [77]
    assert found.streams[0].packets >= 99  # the first packet after so much junk may be lost


def test_one_packet_is_no_stream_and_two_are() -> None:
    assert scan(flow([c.rtp(1, 0, 5)])).streams == []
    assert [s.packets for s in scan(flow([c.rtp(1, 0, 5), c.rtp(2, 160, 5)])).streams] == [2]


def test_loss_and_duplicates_do_not_hide_a_stream() -> None:
    generator = random.Random(3)
    sent = [c.rtp(i, i * 160, 5) for i in range(400) if generator.random() > 0.4]
    twice = [octets for octets in sent for _ in range(2)]
    assert [s.packets for s in scan(flow(twice)).streams] == [len(twice)]


def test_neighbours_are_told_apart() -> None:
    media = flow([c.rtp(i, i * 160, 5) for i in range(20)])
    beside = flow([c.stun(), c.stun(), c.dtls(), c.zrtp()])
    fax = flow([c.udptl(i, b"\6\1\2", *([b"\0\1"] if i else [])) for i in range(30)], 4100, 5100)
    found = scan(media + beside + fax)
    counts = {key: found.counters.get(key) for key in ("stun", "dtls", "zrtp", "t38", "rtp")}
    assert counts == {"stun": 2, "dtls": 1, "zrtp": 1, "t38": 30, "rtp": 20}
    assert {(b.flow.source_port, b.stun, b.dtls, b.t38) for b in found.beside} == {
        (4000, 2, 1, 0),
        (4100, 0, 0, 30),
    }


@pytest.mark.parametrize("tag", [4, 10, 16])
def test_srtp_is_suspected(tag: int) -> None:
    generator = random.Random(4)
    found = scan(flow([c.rtp(i, i * 160, 5, 0, generator.randbytes(160 + tag)) for i in range(60)]))
    assert found.streams[0].srtp_suspect
    assert f"{tag} octets longer" in found.streams[0].srtp_evidence


@pytest.mark.parametrize("level", [0.001, 0.05, 0.3, 1.0, 3.0])
def test_noise_in_the_clear_is_not_srtp(level: float) -> None:
    generator = np.random.default_rng(5)
    for size in (160, 170):  # 170: an odd packet length, step and all
        sent = [c.rtp(i, i * size, 5, 0, law(generator, size, level)) for i in range(200)]
        assert not scan(flow(sent)).streams[0].srtp_suspect


def test_uniform_octets_alone_are_not_srtp() -> None:
    generator = random.Random(6)
    assert (
        not scan(flow([c.rtp(i, i * 160, 5, 0, generator.randbytes(160)) for i in range(60)]))
        .streams[0]
        .srtp_suspect
    )


def test_dtls_beside_random_payloads_is_srtp() -> None:
    generator = random.Random(7)
    sent = [c.dtls(), *(c.rtp(i, i * 960, 5, 111, generator.randbytes(90)) for i in range(60))]
    assert scan(flow(sent)).streams[0].srtp_suspect


def test_rtcp() -> None:
    report = (0xABC, 64, -3, 70000, 55, 0x11112222, 65536)
    ntp = T + 123_456_789
    compound = c.rtcp_sr(0x51, ntp, 4711, report, sent=9) + c.rtcp_sdes(0x51, "me@host") + c.rtcp_bye(0x51)
    sent = flow([c.rtp(i, i * 160, 0x51) for i in range(5)]) + flow(
        [compound, c.rtcp_rr(0x52, report)], 4001, 5001
    )
    found = scan(sent).rtcp
    (sr,) = found.sender_reports
    assert (sr.ssrc, sr.rtp_timestamp, sr.packets, sr.arrival_ns) == (0x51, 4711, 9, T)
    assert abs(sr.ntp_ns - ntp) <= 1
    assert [(r.reporter, r.source, r.fraction_lost, r.lost, r.jitter, r.delay) for r in found.reception] == [
        (0x51, 0xABC, 0.25, -3, 55, 65536), (0x52, 0xABC, 0.25, -3, 55, 65536),
    ]  # fmt: skip
    assert [(n.ssrc, n.cname) for n in found.names] == [(0x51, "me@host")]
    assert [b.ssrc for b in found.byes] == [0x51]
    assert not packets.scan(packets.open_buffer(c.pcap(sent)), keep_rtcp=False).sender_reports


def test_rtcp_shares_the_port() -> None:
    sent = flow([c.rtp(1, 0, 5), c.rtcp_rr(5), c.rtp(2, 160, 5, marker=True), c.rtp(3, 320, 5)])
    found = scan(sent)
    assert found.counters["rtcp"] == 1
    assert found.rtp.sequence.tolist() == [1, 2, 3]


def test_payload_hashes_tell_payloads_apart() -> None:
    sent = [c.rtp(i, i * 160, 5, 0, bytes([i % 7]) * (100 + i % 3)) for i in range(100)]
    found = scan(flow(sent))
    hashes = packets.hash_payloads(found.data, found.spill, found.rtp.offset, found.rtp.size, found.rtp.flags)
    assert len(set(hashes.tolist())) == 21
    with pytest.raises(ValueError, match="outside"):
        packets.hash_payloads(
            found.data[:500], found.spill, found.rtp.offset, found.rtp.size, found.rtp.flags
        )


def test_the_scan_lets_other_threads_run() -> None:
    """The pass holds no Python object: it can be repeated from threads and gives the same columns."""
    from concurrent.futures import ThreadPoolExecutor

    octets = c.pcap(flow([c.rtp(i, i * 160, 5) for i in range(2000)]))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: packets.scan(packets.open_buffer(octets)), range(8)))
    assert all((one.rtp.offset == found[0].rtp.offset).all() for one in found)
