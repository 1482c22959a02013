"""Names for the numbers that a scan counts."""

from __future__ import annotations

from typing import Final

__all__ = ["LINKS", "TABLES", "UNREAD", "encapsulation", "unknown_name"]

VIA: Final = (
    "", "vlan", "mpls", "pppoe", "ppp", "vntag", "fabricpath", "gre", "erspan", "vxlan", "geneve", "tzsp", "hep",
    "ipip", "gtp", "l2tp", "turn", "llc", "wifi",
)  # fmt: skip
LAYERS: Final = (
    "", "ethernet", "ethertype", "ip", "ipv4", "ipv6", "ip_protocol", "udp", "tcp", "gre", "mpls", "ppp", "pppoe",
    "wifi", "llc", "hep", "link", "sctp",
)  # fmt: skip
LINKS: Final = {
    0: "NULL", 1: "Ethernet", 9: "PPP", 12: "RAW", 14: "RAW", 50: "PPP_HDLC", 51: "PPP_ETHER", 101: "RAW",
    104: "C_HDLC", 105: "802.11", 108: "LOOP", 113: "LINUX_SLL", 127: "radiotap", 228: "IPV4", 229: "IPV6",
    239: "NFLOG", 276: "LINUX_SLL2",
}  # fmt: skip
ETHERTYPES: Final = {
    0x0806: "ARP", 0x8035: "RARP", 0x88CC: "LLDP", 0x8863: "PPPoE discovery", 0x8809: "slow protocols",
    0x888E: "EAPOL", 0x88E5: "MACsec", 0x88E7: "PBB", 0x894F: "NSH", 0x9000: "loopback",
}  # fmt: skip
PROTOCOLS: Final = {
    1: "ICMP", 2: "IGMP", 50: "ESP", 58: "ICMPv6", 88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 115: "L2TPv3",
    132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip
UNREAD: Final = ("", "TLS", "H.323", "MGCP", "H.248", "IAX2", "SCTP", "DTLS")
"""By UnreadKind of tables.pxd; and DTLS on a port of signalling, which is counted with what shares ports with RTP."""
TABLES: Final = {"ethertype": ETHERTYPES, "ip_protocol": PROTOCOLS, "link_type": LINKS}
_PLAIN: Final = {5: "too_deep", 7: "fragments_cut", 8: "spill_full"}


def encapsulation(path: bytes) -> str:
    """What stood between the outer frame and the media, outermost first: ``vlan/gre/erspan``; '' for nothing."""
    return "/".join([VIA[step] for step in path if 0 < step < len(VIA)]) if path.strip(b"\0") else ""


def _named(table: dict[int, str], value: int, text: str) -> str:
    return f"{text} {table[value]}" if value in table else text


def unknown_name(reason: int, value: int) -> str:
    """The counter's name for a frame in which nothing was found; ``reason`` as in packet.pxd."""
    if value == -1:
        return "others"
    if reason == 0:
        return _named(LINKS, value, f"link_type {value}")
    if reason == 1:
        kind = ("ethertype", "ppp_protocol", "llc_dsap")[value >> 16]
        text = f"{kind} 0x{value & 0xFFFF:04X}"
        return _named(ETHERTYPES, value, text) if kind == "ethertype" else text
    if reason == 2:
        return (
            _named(PROTOCOLS, value, f"ip_protocol {value}")
            if value < 0x10000
            else f"family {value & 0xFFFF}"
        )
    if reason == 3:
        return f"tunnel {value}"
    if reason == 4:
        return f"malformed {LAYERS[value]}" if value < len(LAYERS) else "malformed"
    return _PLAIN.get(reason, "others")
