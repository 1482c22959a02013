"""Traps 22 and 24: each link layer and tunnel, alone and nested, gives the same packet; lengths are IP's and UDP's."""

from __future__ import annotations

import random

import pytest
from tests import captures as c

from callreplay import packets
from callreplay.model import PacketFlag

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"


def media(seq: int, size: int = 160) -> bytes:
    return c.rtp(seq, seq * 160, 0x1234, 0, bytes([seq & 0xFF]) * size)


def datagram(seq: int) -> bytes:
    return c.udp_datagram(4000, 5000, media(seq))


def v4(seq: int) -> bytes:
    return c.ipv4(datagram(seq), A, B)


def v6(seq: int) -> bytes:
    return c.ipv6(datagram(seq), A6, B6)


def inner(seq: int) -> bytes:
    return c.ethernet(v4(seq), source="02:aa:00:00:00:01", destination="02:aa:00:00:00:02")


def over_udp(payload: bytes, port: int) -> bytes:
    return c.udp("192.0.2.1", 3333, "192.0.2.2", port, payload)


def outer(payload: bytes, protocol: int) -> bytes:
    return c.frame(c.ipv4(payload, "192.0.2.1", "192.0.2.2", protocol))


WAYS = {
    "ethernet": (1, lambda s: c.ethernet(v4(s)), ""),
    "ipv6": (1, lambda s: c.frame(v6(s)), ""),
    "vlan": (1, lambda s: c.ethernet(c.vlan(v4(s), 7), 0x8100), "vlan"),
    "vlan-v6": (1, lambda s: c.ethernet(c.vlan(v6(s), 7, 0x86DD), 0x8100), "vlan"),
    "qinq": (1, lambda s: c.qinq(v4(s), 7, 8), "vlan/vlan"),
    "qinq-9100": (1, lambda s: c.qinq(v4(s), 7, 8, outer_type=0x9100), "vlan/vlan"),
    "sll": (113, lambda s: c.linux_sll(v4(s)), ""),
    "sll-vlan": (113, lambda s: c.linux_sll(c.vlan(v4(s), 7), 0x8100), "vlan"),
    "sll2": (276, lambda s: c.linux_sll2(v4(s)), ""),
    "null": (0, lambda s: c.null(v4(s)), ""),
    "null-v6": (0, lambda s: c.null(v6(s), 30), ""),
    "null-other-order": (0, lambda s: c.null(v4(s), big=True), ""),
    "loop": (108, lambda s: c.null(v6(s), 24, big=True), ""),
    "raw": (101, v4, ""),
    "raw-12": (12, v6, ""),
    "ipv4-link": (228, v4, ""),
    "ipv6-link": (229, v6, ""),
    "ppp": (9, lambda s: c.ppp(v4(s)), "ppp"),
    "ppp-hdlc": (50, lambda s: c.ppp(v6(s), 0x57, hdlc=True), "ppp"),
    "ppp-short": (9, lambda s: b"\x21" + v4(s), "ppp"),
    "c-hdlc": (104, lambda s: b"\x0f\x00\x08\x00" + v4(s), ""),
    "pppoe": (1, lambda s: c.pppoe(v4(s)), "pppoe/ppp"),
    "mpls": (1, lambda s: c.mpls(v4(s), 16), "mpls"),
    "mpls-deep-v6": (1, lambda s: c.mpls(v6(s), 16, 17, 18), "mpls"),
    "mpls-ethernet": (1, lambda s: c.mpls(inner(s), 16), "mpls"),
    "mpls-pseudowire": (1, lambda s: c.mpls(bytes(4) + inner(s), 16), "mpls"),
    "vntag": (1, lambda s: c.vntag(v4(s)), "vntag"),
    "vntag-vlan": (1, lambda s: c.vntag(c.vlan(v4(s), 3), 0x8100), "vntag/vlan"),
    "fabricpath": (1, lambda s: c.fabricpath(inner(s)), "fabricpath"),
    "fabricpath-vlan": (1, lambda s: c.fabricpath(c.ethernet(c.vlan(v4(s), 3), 0x8100)), "fabricpath/vlan"),
    "snap": (1, lambda s: c.ethernet(b"\xaa\xaa\x03\0\0\0\x08\x00" + v4(s), 8 + len(v4(s))), "llc"),
    "ipv4-options": (1, lambda s: c.ethernet(c.ipv4(datagram(s), A, B, options=b"\x01" * 8)), ""),
    "ipv6-extensions": (
        1,
        lambda s: c.frame(c.ipv6(datagram(s), A6, B6, extensions=((0, b"\0" + bytes(6)), (60, b"\1" + bytes(14))))),
        "",
    ),
    "ipv6-atomic": (1, lambda s: c.frame(c.ipv6(datagram(s), A6, B6, extensions=((44, bytes(7)),))), ""),
    "ipip": (1, lambda s: outer(v4(s), 4), "ipip"),
    "6in4": (1, lambda s: outer(v6(s), 41), "ipip"),
    "gre": (1, lambda s: outer(c.gre(v4(s)), 47), "gre"),
    "gre-all-words": (1, lambda s: outer(c.gre(v4(s), key=1, seq=2, checksum=True), 47), "gre"),
    "gre-ethernet": (1, lambda s: outer(c.gre(inner(s), 0x6558), 47), "gre"),
    "erspan-1": (1, lambda s: outer(c.erspan(inner(s), 1), 47), "erspan"),
    "erspan-2": (1, lambda s: outer(c.erspan(inner(s), 2), 47), "erspan"),
    "erspan-3": (1, lambda s: outer(c.erspan(inner(s), 3), 47), "erspan"),
    "erspan-3-option": (1, lambda s: outer(c.erspan(inner(s), 3, option=True), 47), "erspan"),
    "vxlan": (1, lambda s: over_udp(c.vxlan(inner(s)), 4789), "vxlan"),
    "geneve": (1, lambda s: over_udp(c.geneve(inner(s), b"\1\2\3\1abcd"), 6081), "geneve"),
    "tzsp": (1, lambda s: over_udp(c.tzsp(inner(s)), 37008), "tzsp"),
    "gtp": (1, lambda s: over_udp(c.gtp(v4(s)), 2152), "gtp"),
    "gtp-extension": (1, lambda s: over_udp(c.gtp(v6(s), extension=True), 2152), "gtp"),
    "l2tp": (1, lambda s: over_udp(bytes.fromhex("000200010001") + c.ppp(v4(s), hdlc=True), 1701), "l2tp/ppp"),
    "hep3": (1, lambda s: over_udp(c.hep3(media(s), A, 4000, B, 5000, kind=4), 9060), "hep"),
    "hep3-v6": (1, lambda s: over_udp(c.hep3(media(s), A6, 4000, B6, 5000, kind=4), 9060), "hep"),
    "wifi": (105, lambda s: b"\x08\x01" + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\x00" + v4(s), "wifi/llc"),
    "radiotap-qos": (
        127,
        lambda s: b"\0\0\x08\0" + bytes(4) + b"\x88\x01" + bytes(24) + b"\xaa\xaa\x03\0\0\0\x08\x00" + v4(s),
        "wifi/llc",
    ),
    "vlan-gre-vlan-erspan": (
        1,
        lambda s: c.ethernet(
            c.vlan(c.ipv4(c.erspan(c.ethernet(c.vlan(v4(s), 9), 0x8100), 2), "192.0.2.1", "192.0.2.2", 47), 5), 0x8100
        ),
        "vlan/erspan/vlan",
    ),
    "erspan-in-vxlan": (
        1,
        lambda s: over_udp(c.vxlan(outer(c.erspan(inner(s), 3), 47)), 4789),
        "vxlan/erspan",
    ),
}  # fmt: skip


def scan(frames: list[bytes], link: int = 1) -> packets.Scan:
    records = [(T + i * 20_000_000, frame) for i, frame in enumerate(frames)]
    return packets.scan(packets.open_buffer(c.pcap(records, link=link)))


def payloads(found: packets.Scan) -> list[bytes]:
    buffers = (found.data, found.spill)
    rows = zip(found.rtp.offset, found.rtp.size, found.rtp.flags, strict=True)
    return [buffers[bool(f & PacketFlag.SPILL)][at : at + n].tobytes() for at, n, f in rows]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_leads_to_the_media(way: str) -> None:
    link, build, path = WAYS[way]
    found = scan([build(seq) for seq in range(1, 6)], link)
    assert payloads(found) == [bytes([seq]) * 160 for seq in range(1, 6)]
    (stream,) = found.streams
    ends = {(A, 4000, B, 5000), (A6, 4000, B6, 5000)}
    flow = stream.flow
    assert (flow.source, flow.source_port, flow.destination, flow.destination_port) in ends
    assert flow.encapsulation == path
    assert not any(found.rtp.flags)


def test_macs_are_those_nearest_the_media() -> None:
    found = scan([outer(c.erspan(inner(seq), 2), 47) for seq in range(4)])
    assert found.streams[0].flow.source_mac == "02:aa:00:00:00:01"
    assert found.streams[0].flow.destination_mac == "02:aa:00:00:00:02"


@pytest.mark.parametrize("way", WAYS)
def test_cut_frames_never_break(way: str) -> None:
    link, build, _ = WAYS[way]
    frames = [build(seq) for seq in range(1, 4)]
    for snaplen in range(len(frames[0])):
        records = [(T + i, frame) for i, frame in enumerate(frames)]
        found = packets.scan(packets.open_buffer(c.pcap(records, link=link, snaplen=snaplen)))
        for payload, seq, flags in zip(payloads(found), range(1, 4), found.rtp.flags, strict=False):
            assert (bytes([seq]) * 160).startswith(payload)
            assert flags & PacketFlag.TRUNCATED or len(payload) == 160


@pytest.mark.parametrize("size", [1, 2, 4])
def test_padding_and_trailers_are_no_payload(size: int) -> None:
    frames = [
        c.ethernet(c.ipv4(c.udp_datagram(4000, 5000, media(s, size)), A, B), trailer=b"T" * 7)
        for s in range(4)
    ]
    assert payloads(scan(frames)) == [bytes([s]) * size for s in range(4)]


def test_bad_lengths_of_offload() -> None:
    zero = [c.ethernet(c.ipv4(datagram(s), A, B, length=0, bad_checksum=True)) for s in range(4)]
    assert payloads(scan(zero)) == [bytes([s]) * 160 for s in range(4)]
    short = [c.ethernet(c.ipv4(c.udp_datagram(1, 2, media(s), length=8 + 12 + 50), A, B)) for s in range(4)]
    assert payloads(scan(short)) == [bytes([s]) * 50 for s in range(4)]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_fragments_in_any_order(family: int, seed: int) -> None:
    generator = random.Random(seed)
    frames: list[bytes] = []
    for seq in range(1, 7):
        cut = c.fragments if family == 4 else c.fragments6
        ends = (A, B) if family == 4 else (A6, B6)
        parts = [
            c.frame(part)
            for part in cut(c.udp_datagram(4000, 5000, media(seq, 1001)), *ends, 240, identification=seq)
        ]
        generator.shuffle(parts)
        frames += [*parts, parts[0]] if seq == 3 else parts  # one is seen twice
    found = scan(frames)
    assert payloads(found) == [bytes([seq]) * 1001 for seq in range(1, 7)]
    assert all(flag & PacketFlag.SPILL for flag in found.rtp.flags)
    assert found.counters["fragments_reassembled"] == 6
    assert found.counters["fragments_incomplete"] == 1


def test_fragmented_tunnel() -> None:
    frames = []
    for seq in range(4):
        whole = c.udp_datagram(3333, 4789, c.vxlan(inner(seq)))
        frames += [
            c.frame(part) for part in c.fragments(whole, "192.0.2.1", "192.0.2.2", 64, identification=seq)
        ]
    found = scan(frames)
    assert payloads(found) == [bytes([seq]) * 160 for seq in range(4)]
    assert found.streams[0].flow.source_mac == "02:aa:00:00:00:01"


def test_incomplete_fragments_are_counted_and_bounded() -> None:
    frames = [
        c.frame(c.fragments(c.udp_datagram(4000, 5000, media(1, 1000)), A, B, 240, identification=n)[0])
        for n in range(1000)
    ]
    found = scan(frames)
    assert found.counters["fragments_incomplete"] == 1000
    assert len(found.rtp.offset) == 0


def test_depth_is_limited() -> None:
    packet = v4(1)
    for _ in range(20):
        packet = c.ipv4(packet, A, B, 4)
    assert scan([c.ethernet(packet)]).counters["too_deep"] == 1


def test_the_unknown_is_counted_by_value() -> None:
    frames = [c.ethernet(bytes(50), 0x1234)] * 3 + [
        c.frame(c.ipv4(bytes(8), A, B, 132)),
        c.ethernet(bytes(50), 0x0806),
    ]
    counters = scan(frames).counters
    assert counters["ethertype 0x1234"] == 3
    assert counters["ip_protocol 132 SCTP"] == 1
    assert counters["ethertype 0x0806 ARP"] == 1
    found = scan([bytes(60)], link=147)
    assert found.counters["link_type 147"] == 1
    assert any("link_type 147" in warning for warning in found.warnings)


def test_a_block_beyond_the_end_makes_up_for_no_hole() -> None:
    whole = c.udp_datagram(4000, 5000, media(1, 44))  # 64 octets
    parts = [(0, whole[:24], True), (32, whole[32:], False), (200, bytes(8), True)]  # 24 to 32 is missing
    frames = [
        c.frame(c.ipv4(octets, A, B, identification=9, fragment=at, more=more)) for at, octets, more in parts
    ]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        found = scan([frames[i] for i in order])
        assert found.counters["fragments_incomplete"] == 1
        assert "fragments_reassembled" not in found.counters
