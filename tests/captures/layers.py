"""Headers around a payload: link layers, IP, UDP, TCP, fragments and tunnels. Each takes octets and returns octets.

``udp()`` and ``tcp()`` give whole Ethernet frames for the common case; everything else composes from the inside out:
``ethernet(vlan(ipv4(udp_datagram(...), "10.0.0.1", "10.0.0.2"), 7), 0x8100)``. Checksums are left zero where the test
does not ask for them: the reader must not care.
"""

from __future__ import annotations

import ipaddress
import struct

__all__ = [
    "ERSPAN_II",
    "ERSPAN_III",
    "erspan",
    "ethernet",
    "fabricpath",
    "fragments",
    "fragments6",
    "frame",
    "geneve",
    "gre",
    "gtp",
    "hep3",
    "ip",
    "ipv4",
    "ipv6",
    "linux_sll",
    "linux_sll2",
    "mpls",
    "null",
    "ppp",
    "pppoe",
    "qinq",
    "tcp",
    "tcp_segment",
    "tzsp",
    "udp",
    "udp_datagram",
    "vlan",
    "vntag",
    "vxlan",
]

ERSPAN_II, ERSPAN_III = 0x88BE, 0x22EB
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(
    payload: bytes,
    ethertype: int = 0x0800,
    *,
    source: str = MAC_A,
    destination: str = MAC_B,
    trailer: bytes = b"",
) -> bytes:
    """An Ethernet frame, padded to 60 octets as a receiving card sees it, plus ``trailer``."""
    whole = _mac(destination) + _mac(source) + struct.pack(">H", ethertype) + payload
    return whole + bytes(max(0, 60 - len(whole))) + trailer


def udp_datagram(
    source_port: int, destination_port: int, payload: bytes, *, length: int | None = None
) -> bytes:
    """A UDP datagram; ``length`` overrides its length field."""
    size = 8 + len(payload) if length is None else length
    return struct.pack(">HHHH", source_port, destination_port, size, 0) + payload


def tcp_segment(
    source_port: int,
    destination_port: int,
    payload: bytes,
    seq: int,
    *,
    flags: int = 0x18,
    ack: int = 0,
    options: bytes = b"",
) -> bytes:
    """A TCP segment; flags: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK."""
    header = struct.pack(
        ">HHIIBBHHH",
        source_port,
        destination_port,
        seq & 0xFFFFFFFF,
        ack,
        (5 + len(options) // 4) << 4,
        flags,
        65535,
        0,
        0,
    )
    return header + options + payload


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(
    payload: bytes,
    source: str,
    destination: str,
    protocol: int = 17,
    *,
    identification: int = 1,
    fragment: int = 0,
    more: bool = False,
    ttl: int = 64,
    options: bytes = b"",
    length: int | None = None,
    bad_checksum: bool = False,
) -> bytes:
    """An IPv4 packet. ``fragment`` is the fragment offset in octets; ``length`` overrides the total length (0: TSO)."""
    size = 20 + len(options) + len(payload) if length is None else length
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        size,
        identification,
        fragment // 8 | (0x2000 if more else 0),
        ttl,
        protocol,
        0,
        ipaddress.IPv4Address(source).packed,
        ipaddress.IPv4Address(destination).packed,
    )
    checksum = 0xDEAD if bad_checksum else _checksum(header + options)
    return header[:10] + struct.pack(">H", checksum) + header[12:] + options + payload


def ipv6(
    payload: bytes,
    source: str,
    destination: str,
    protocol: int = 17,
    *,
    extensions: tuple[tuple[int, bytes], ...] = (),
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; ``extensions`` are (type, octets after the next-header octet), in order."""
    chain = [kind for kind, _ in extensions] + [protocol]
    body = b"".join(
        bytes([following]) + octets for (_, octets), following in zip(extensions, chain[1:], strict=True)
    )
    size = len(body) + len(payload) if length is None else length
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    return struct.pack(">IHBB", 0x60000000, size, chain[0], 64) + addresses + body + payload


def ip(payload: bytes, source: str, destination: str, protocol: int = 17) -> bytes:
    """An IP packet of the family of its addresses."""
    return (ipv6 if ":" in source else ipv4)(payload, source, destination, protocol)


def frame(packet: bytes, **options: str) -> bytes:
    """An IP packet in an Ethernet frame, the ethertype by its first nibble."""
    return ethernet(packet, 0x86DD if packet[0] >> 4 == 6 else 0x0800, **options)  # type: ignore[arg-type]


def udp(source: str, source_port: int, destination: str, destination_port: int, payload: bytes) -> bytes:
    """A whole Ethernet frame with a UDP datagram, IPv4 or IPv6 by the addresses."""
    return frame(ip(udp_datagram(source_port, destination_port, payload), source, destination))


def tcp(
    source: str,
    source_port: int,
    destination: str,
    destination_port: int,
    payload: bytes,
    seq: int,
    *,
    flags: int = 0x18,
) -> bytes:
    """A whole Ethernet frame with a TCP segment, IPv4 or IPv6 by the addresses."""
    segment = tcp_segment(source_port, destination_port, payload, seq, flags=flags)
    return frame(ip(segment, source, destination, 6))


def fragments(
    payload: bytes, source: str, destination: str, size: int, *, protocol: int = 17, identification: int = 77
) -> list[bytes]:
    """IPv4 fragments of ``payload`` (a whole UDP datagram), each of ``size`` octets, a multiple of eight."""
    return [
        ipv4(
            payload[start : start + size],
            source,
            destination,
            protocol,
            identification=identification,
            fragment=start,
            more=start + size < len(payload),
        )
        for start in range(0, len(payload), size)
    ]


def fragments6(
    payload: bytes, source: str, destination: str, size: int, *, protocol: int = 17, identification: int = 77
) -> list[bytes]:
    """IPv6 fragments, as ``fragments``."""
    return [
        ipv6(
            payload[start : start + size],
            source,
            destination,
            protocol,
            extensions=((44, struct.pack(">BHI", 0, start | (start + size < len(payload)), identification)),),
        )
        for start in range(0, len(payload), size)
    ]


def vlan(payload: bytes, vid: int, ethertype: int = 0x0800) -> bytes:
    """What follows an 802.1Q ethertype: tag control, inner ethertype, payload."""
    return struct.pack(">HH", vid, ethertype) + payload


def qinq(packet: bytes, outer: int, inner: int, *, outer_type: int = 0x88A8) -> bytes:
    """An IPv4 packet under two VLAN tags, as an Ethernet frame."""
    return ethernet(vlan(vlan(packet, inner), outer, 0x8100), outer_type)


def linux_sll(payload: bytes, ethertype: int = 0x0800, address: str = MAC_A) -> bytes:
    """Linux cooked capture v1 (link type 113)."""
    return struct.pack(">HHH6s2xH", 0, 1, 6, _mac(address), ethertype) + payload


def linux_sll2(payload: bytes, ethertype: int = 0x0800, address: str = MAC_A) -> bytes:
    """Linux cooked capture v2 (link type 276)."""
    return struct.pack(">HHIHBB6s2x", ethertype, 0, 3, 1, 0, 6, _mac(address)) + payload


def null(payload: bytes, family: int = 2, *, big: bool = False) -> bytes:
    """BSD loopback (link type 0; 108 with ``big``)."""
    return struct.pack(">I" if big else "<I", family) + payload


def ppp(payload: bytes, protocol: int = 0x0021, *, hdlc: bool = False) -> bytes:
    """PPP, with address and control octets if ``hdlc``."""
    return (b"\xff\x03" if hdlc else b"") + struct.pack(">H", protocol) + payload


def pppoe(payload: bytes, protocol: int = 0x0021) -> bytes:
    """A PPPoE session as an Ethernet frame."""
    return ethernet(struct.pack(">BBHHH", 0x11, 0, 1, len(payload) + 2, protocol) + payload, 0x8864)


def mpls(payload: bytes, *labels: int) -> bytes:
    """A label stack as an Ethernet frame."""
    stack = b"".join(
        struct.pack(">I", label << 12 | (index == len(labels) - 1) << 8 | 64)
        for index, label in enumerate(labels)
    )
    return ethernet(stack + payload, 0x8847)


def vntag(payload: bytes, ethertype: int = 0x0800) -> bytes:
    """A VN-Tag as an Ethernet frame."""
    return ethernet(struct.pack(">IH", 0x00010002, ethertype) + payload, 0x8926)


def fabricpath(inner: bytes) -> bytes:
    """Cisco FabricPath around an Ethernet frame."""
    return ethernet(struct.pack(">H", 0x1040) + inner, 0x8903)


def gre(
    payload: bytes,
    protocol: int = 0x0800,
    *,
    key: int | None = None,
    seq: int | None = None,
    checksum: bool = False,
) -> bytes:
    """GRE version 0 (RFC 2784, RFC 2890)."""
    flags = (
        (0x8000 if checksum else 0) | (0x2000 if key is not None else 0) | (0x1000 if seq is not None else 0)
    )
    words = [0] * checksum + [word for word in (key, seq) if word is not None]
    return struct.pack(">HH", flags, protocol) + b"".join(struct.pack(">I", word) for word in words) + payload


def erspan(inner: bytes, kind: int, *, option: bool = False) -> bytes:
    """GRE with ERSPAN of type I, II or III around an Ethernet frame; ``option``: the platform header of type III."""
    if kind == 1:
        return gre(inner, ERSPAN_II)
    if kind == 2:
        return gre(struct.pack(">HHI", 0x1064, 0x0001, 7) + inner, ERSPAN_II, seq=5)
    header = struct.pack(">HHIHH", 0x2064, 0x0001, 12345, 0, 1 if option else 0)
    return gre(header + (bytes(8) if option else b"") + inner, ERSPAN_III, seq=5)


def vxlan(inner: bytes, vni: int = 42) -> bytes:
    """VXLAN around an Ethernet frame, as a UDP payload (port 4789)."""
    return struct.pack(">II", 0x08000000, vni << 8) + inner


def geneve(inner: bytes, options: bytes = b"", protocol: int = 0x6558) -> bytes:
    """Geneve as a UDP payload (port 6081)."""
    return struct.pack(">BBHI", len(options) // 4, 0, protocol, 42 << 8) + options + inner


def tzsp(inner: bytes, tags: bytes = b"\x00\x0a\x01\xc8") -> bytes:
    """TZSP around an Ethernet frame, as a UDP payload (port 37008)."""
    return b"\x01\x00\x00\x01" + tags + b"\x01" + inner


def gtp(inner: bytes, *, extension: bool = False) -> bytes:
    """GTP-U around an IP packet, as a UDP payload (port 2152)."""
    optional = struct.pack(">HBB", 1, 0, 0x85) + b"\x01\x00\x09\x00" if extension else b""
    first = 0x34 if extension else 0x30
    return struct.pack(">BBHI", first, 0xFF, len(optional) + len(inner), 99) + optional + inner


def hep3(
    payload: bytes,
    source: str,
    source_port: int,
    destination: str,
    destination_port: int,
    *,
    kind: int = 1,
    time_ns: int = 0,
    protocol: int = 17,
) -> bytes:
    """HEP3 as a UDP payload (port 9060); kind: 1 SIP, 4 RTP, 5 RTCP."""
    v6 = ":" in source
    packed = [ipaddress.ip_address(text).packed for text in (source, destination)]
    values = [
        (1, bytes([10 if v6 else 2])),
        (2, bytes([protocol])),
        (5 if v6 else 3, packed[0]),
        (6 if v6 else 4, packed[1]),
        (7, struct.pack(">H", source_port)),
        (8, struct.pack(">H", destination_port)),
        (9, struct.pack(">I", time_ns // 10**9)),
        (10, struct.pack(">I", time_ns % 10**9 // 1000)),
        (11, bytes([kind])),
        (15, payload),
    ]
    body = b"".join(struct.pack(">HHH", 0, number, 6 + len(value)) + value for number, value in values)
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body
