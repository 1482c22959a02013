# What a TCP segment's octets or ports say that its connection carries.
from libc.stdint cimport int64_t, uint8_t

from callreplay.packets.classify cimport is_sip, is_tls, is_upgrade, is_websocket_sip
from callreplay.packets.packet cimport Packet
from callreplay.packets.tables cimport (
    STREAM_HEP, STREAM_SIP, STREAM_SKINNY, STREAM_TLS, STREAM_UNKNOWN, STREAM_WEBSOCKET,
)
from callreplay.packets.wire cimport be16, be32


cdef inline uint8_t kind_by_content(const uint8_t* p, int64_t size) noexcept nogil:
    """The StreamKind that the octets of a segment show, if they are the beginning of something."""
    if size < 6:
        return STREAM_UNKNOWN
    if is_tls(p, size):
        return STREAM_TLS
    if is_upgrade(p, size) or is_websocket_sip(p, size):
        return STREAM_WEBSOCKET
    if be32(p) == 0x48455033 and 6 < be16(p + 4):  # "HEP3"
        return STREAM_HEP
    return STREAM_SIP if is_sip(p, size) else STREAM_UNKNOWN


cdef inline uint8_t kind_by_port(const Packet* packet) noexcept nogil:
    if packet.source_port == 5060 or packet.destination_port == 5060:
        return STREAM_SIP
    return STREAM_SKINNY if packet.source_port == 2000 or packet.destination_port == 2000 else STREAM_UNKNOWN
