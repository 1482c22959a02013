"""Every container, byte order and compression gives the same packets; cut and damaged files give what is there."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from tests.captures import Interface, gz, pcap, pcapng, rtcp_sr, rtp, rtpdump, rtpproxy, udp, zst

from callreplay import packets
from callreplay.errors import CaptureError
from callreplay.model import PacketFlag

T = 1_700_000_000_123_000_000
STEP = 20_000_000
BARE = [(T + i * STEP, rtp(i + 65530, i * 160, 7, 0, bytes([i]) * 160)) for i in range(12)]
FRAMES = [(time, udp("10.0.0.1", 4000, "10.0.0.2", 5000, octets)) for time, octets in BARE]

WHOLE: dict[str, Callable[[], bytes]] = {
    "pcap": lambda: pcap(FRAMES),
    "pcap-big": lambda: pcap(FRAMES, big=True),
    "pcap-ns": lambda: pcap(FRAMES, nano=True),
    "pcap-ns-big": lambda: pcap(FRAMES, nano=True, big=True),
    "modified": lambda: pcap(FRAMES, modified=True),
    "modified-big": lambda: pcap(FRAMES, modified=True, big=True),
    "pcapng": lambda: pcapng(FRAMES),
    "pcapng-big": lambda: pcapng(FRAMES, big=True),
    "pcapng-unknown": lambda: pcapng(FRAMES, unknown=True),
    "pcapng-old": lambda: pcapng(FRAMES, old=True),
    "pcapng-ns": lambda: pcapng(FRAMES, [Interface(resolution=9)]),
    "pcapng-binary": lambda: pcapng(FRAMES, [Interface(resolution=0x80 | 30)]),
    "pcapng-pico": lambda: pcapng(FRAMES, [Interface(resolution=10)]),
    "pcapng-offset": lambda: pcapng(FRAMES, [Interface(offset=1_600_000_000)], big=True),
    "rtpdump": lambda: rtpdump(BARE, start_ns=T),
    "rtpproxy": lambda: rtpproxy(BARE),
}


def scan(octets: bytes) -> packets.Scan:
    return packets.scan(packets.open_buffer(octets))


def payloads(found: packets.Scan) -> list[bytes]:
    rows = zip(found.rtp.offset, found.rtp.size, found.rtp.flags, strict=True)
    buffers = (found.data, found.spill)
    return [buffers[bool(flag & PacketFlag.SPILL)][at : at + n].tobytes() for at, n, flag in rows]


@pytest.mark.parametrize("squeeze", [bytes, gz, zst], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("name", WHOLE)
def test_containers_agree(name: str, squeeze: Callable[[bytes], bytes]) -> None:
    found = scan(squeeze(WHOLE[name]()))
    assert payloads(found) == [bytes([i]) * 160 for i in range(12)]
    assert found.rtp.sequence.tolist() == [(i + 65530) & 0xFFFF for i in range(12)]
    assert found.rtp.timestamp.tolist() == [i * 160 for i in range(12)]
    tolerance = 1 if "binary" in name else 0
    assert np.abs(found.rtp.arrival_ns - [time for time, _ in BARE]).max() <= tolerance
    assert [(s.ssrc, s.packets) for s in found.streams] == [(7, 12)]
    assert not found.truncated
    assert found.warnings == []


def test_simple_packet_blocks_have_no_time_but_packets() -> None:
    found = scan(pcapng(FRAMES, simple=True))
    assert len(payloads(found)) == 12
    assert set(found.rtp.arrival_ns.tolist()) == {0}


def test_interfaces_have_their_own_links_resolutions_and_order() -> None:
    from tests.captures import ipv4, udp_datagram

    raw = [(t, ipv4(udp_datagram(5000, 4000, octets), "10.0.0.2", "10.0.0.1"), 1) for t, octets in BARE]
    one: list[tuple[int, bytes] | tuple[int, bytes, int]] = [*FRAMES, *raw]  # one interface after the other
    found = scan(pcapng(one, [Interface(), Interface(link=101, resolution=9)]))
    assert found.links == ["Ethernet", "RAW"]
    assert sorted(stream.packets for stream in found.streams) == [12, 12]
    assert (np.diff(found.rtp.arrival_ns) >= 0).all()
    assert {stream.flow.interface for stream in found.streams} == {0, 1}


def test_sections_may_change_byte_order() -> None:
    found = scan(pcapng(FRAMES[:6]) + pcapng(FRAMES[6:], [Interface(resolution=9)], big=True))
    assert len(payloads(found)) == 12
    assert found.rtp.arrival_ns.tolist() == [time for time, _ in BARE]


@pytest.mark.parametrize("name", WHOLE)
def test_cut_anywhere(name: str) -> None:
    whole = WHOLE[name]()
    expected = [bytes([i]) * 160 for i in range(12)]
    # Every record is like every other: those before the sixth, and the end.
    for size in (*range(1, len(whole) * 5 // 12), *range(len(whole) - 250, len(whole))):
        try:
            found = scan(whole[:size])
        except CaptureError:
            assert size < 300  # only the file header and the first record may be too short to know the format
            continue
        got = payloads(found)
        cut = [bool(flag & PacketFlag.TRUNCATED) for flag in found.rtp.flags]
        assert all(a == b for a, b, c in zip(got, expected, cut, strict=False) if not c)
        assert all(b.startswith(a) for a, b in zip(got, expected, strict=False))
        assert sum(cut) <= 1


def test_a_cut_is_told() -> None:
    found = scan(pcap(FRAMES)[:-10])
    assert found.truncated
    assert "ends inside the record" in found.warnings[0]
    assert found.rtp.size[-1] == 150
    assert found.rtp.flags[-1] & PacketFlag.TRUNCATED


def test_damage_stops_with_a_word() -> None:
    octets = bytearray(pcap(FRAMES))
    record = 24 + 5 * (16 + len(FRAMES[0][1]))
    octets[record + 8 : record + 12] = b"\xff\xff\xff\x7f"
    found = scan(bytes(octets))
    assert len(payloads(found)) == 5
    assert f"record at octet {record} makes no sense" in found.warnings[0]


def test_nanoseconds_in_a_microsecond_file() -> None:
    """Trap 23."""
    octets = bytearray(pcap(FRAMES, nano=True))
    octets[:4] = struct.pack("<I", 0xA1B2C3D4)
    found = scan(bytes(octets))
    assert found.rtp.arrival_ns.tolist() == [time for time, _ in BARE]
    assert any("nanoseconds" in warning for warning in found.warnings)


def test_absurd_times_are_mended_and_told() -> None:
    wild = [*FRAMES[:4], (FRAMES[4][0] + 400 * 86400 * 10**9, FRAMES[4][1]), *FRAMES[5:]]
    found = scan(pcap(wild))
    assert found.counters["times_mended"] == 1
    assert int(np.ptp(found.rtp.arrival_ns)) == 11 * STEP
    assert any("span 400 days" in warning for warning in found.warnings)


def test_rtpdump_tells_rtcp_and_ends() -> None:
    records = [*BARE, (T + STEP, rtcp_sr(7, T, 160))]
    found = scan(rtpdump(records, start_ns=T, address="10.0.0.2", port=5004, binary=("10.0.0.9", 4002)))
    flow = found.streams[0].flow
    assert (flow.source, flow.source_port, flow.destination, flow.destination_port) == (
        "10.0.0.9",
        4002,
        "10.0.0.2",
        5004,
    )
    assert [report.rtp_timestamp for report in found.sender_reports] == [160]
    assert found.flows[found.sender_reports[0].flow].destination_port == 5005


def test_rtpdump_of_headers_only() -> None:
    found = scan(rtpdump(BARE, start_ns=T, header_only=True))
    assert found.rtp.size.tolist() == [0] * 12
    assert all(flag & PacketFlag.TRUNCATED for flag in found.rtp.flags)
    assert found.counters["cut_by_snaplen"] == 12


def test_snaplen_is_not_the_payload_length() -> None:
    found = scan(pcap(FRAMES, snaplen=100))
    assert found.rtp.size.tolist() == [100 - 54] * 12
    assert all(flag & PacketFlag.TRUNCATED for flag in found.rtp.flags)


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (b"", "empty"),
        (b"RIFF1234WAVE", "WAV"),
        (b"hello world, no capture", "68 65 6c"),
        (b"\xd4\xc3\xb2\xa1", "cut"),
    ],
)
def test_what_is_no_capture(octets: bytes, word: str) -> None:
    with pytest.raises(CaptureError, match=word):
        scan(octets)
