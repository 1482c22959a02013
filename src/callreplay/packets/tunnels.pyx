# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Tunnels over GRE and UDP, and what capture agents send (HEP3, TZSP): each returns the next layer.

A tunnel over UDP is believed by port *and* header, so that RTP which happens to use such a port stays RTP.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from callreplay.packets.packet cimport *
from callreplay.packets.wire cimport be16, be32

# A HEP agent's own time is taken when it is this near to the time of the record that carries it.
cdef int64_t HEP_CLOCK_NS = 10000000000


cdef int _stop(Packet* packet, int reason, int32_t value) noexcept nogil:
    packet.reason = reason
    packet.value = value
    return -1


cdef inline void _pass(Packet* packet, uint8_t via) noexcept nogil:
    if packet.depth < MAX_DEPTH:
        packet.path[packet.depth] = via


cdef int gre_layer(Packet* packet) noexcept nogil:
    """GRE (RFC 2784, 2890; version 1 of RFC 2637) and, in it, ERSPAN I, II and III."""
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t header = 4
    cdef uint32_t flags, version
    cdef bint sequence
    if left < 4:
        return _stop(packet, MALFORMED, L_GRE)
    flags = be16(p)
    version = flags & 7
    packet.value = be16(p + 2)
    sequence = (flags & 0x1000) != 0
    if version > 1 or flags & 0x4000:  # source routing died with RFC 1701
        return _stop(packet, TUNNEL, 47)
    header += 4 * ((flags >> 15) + (flags >> 13 & 1) + (flags >> 12 & 1))
    if version == 1:
        header += 4 * (flags >> 7 & 1)  # acknowledgment number
    if left < header:
        return _stop(packet, MALFORMED, L_GRE)
    packet.offset += header
    if packet.value != 0x88BE and packet.value != 0x22EB:
        _pass(packet, VIA_GRE)
        return L_ETHERTYPE
    _pass(packet, VIA_ERSPAN)
    if packet.value == 0x88BE and not sequence:  # type I has no header of its own
        return L_ETHERNET
    return _erspan(packet)


cdef int _erspan(Packet* packet) noexcept nogil:
    # draft-foschiano-erspan: version 1 is type II (8 octets), version 2 is type III (12, and 8 more with the O bit).
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t header = 8
    cdef uint32_t kind
    if left < 8:
        return _stop(packet, MALFORMED, L_GRE)
    if p[0] >> 4 == 2:
        if left < 12:
            return _stop(packet, MALFORMED, L_GRE)
        header = 20 if p[11] & 1 else 12
        kind = p[10] >> 2 & 31  # frame type: 0 Ethernet, 2 IP
    elif p[0] >> 4 == 1:
        kind = 0
    else:
        return _stop(packet, TUNNEL, 0x88BE)
    if left < header:
        return _stop(packet, MALFORMED, L_GRE)
    packet.offset += header
    return L_IP if kind == 2 else L_ETHERNET


cdef int tunnel_layer(Packet* packet) noexcept nogil:
    """The layer inside a UDP payload, or L_DONE where the payload is its own."""
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef uint32_t port = packet.destination_port
    cdef uint8_t first
    if left < 8:
        return L_DONE
    first = p[0]
    if first & 0xC0 == 0x80:  # RTP and RTCP: no tunnel below begins so
        return L_DONE
    if first == 0x48 and be32(p) == 0x48455033:  # "HEP3"
        _pass(packet, VIA_HEP)
        return L_HEP
    if first & 0xC0 == 0x40 and first < 0x50:
        return _turn(packet, p, left)
    if port == 4789 or port == 8472 or port == 4790:
        return _vxlan(packet, p)
    if port == 6081:
        return _geneve(packet, p, left)
    if port == 37008:
        return _tzsp(packet, p, left)
    if port == 2152:
        return _gtp(packet, p, left)
    if port == 1701:
        return _l2tp(packet, p, left)
    return L_DONE


cdef int _turn(Packet* packet, const uint8_t* p, int64_t left) noexcept nogil:
    # TURN channel data (RFC 8656): channel 0x4000-0x4FFF, length; padded to four octets over TCP, maybe over UDP.
    cdef int64_t length = be16(p + 2)
    if length < 8 or length > left - 4 or left - 4 - length > 3 or p[4] & 0xC0 != 0x80:
        return L_DONE
    _pass(packet, VIA_TURN)
    packet.offset += 4
    packet.end = packet.offset + length
    return L_DONE


cdef int _vxlan(Packet* packet, const uint8_t* p) noexcept nogil:
    # RFC 7348: flag I and a network identifier, everything else zero; GPE (port 4790) names the next protocol.
    if packet.destination_port == 4790 and p[0] & 0x0C == 0x0C:
        _pass(packet, VIA_VXLAN)
        packet.offset += 8
        if p[3] == 1 or p[3] == 2:
            return L_IP
        return L_ETHERNET if p[3] == 3 else _stop(packet, TUNNEL, 4790)
    if p[0] & 0xF7 or not p[0] & 8 or p[7]:
        return L_DONE
    _pass(packet, VIA_VXLAN)
    packet.offset += 8
    return L_ETHERNET


cdef int _geneve(Packet* packet, const uint8_t* p, int64_t left) noexcept nogil:
    # RFC 8926: version 0, options in words, an ethertype.
    cdef int64_t header = 8 + (p[0] & 63) * 4
    if p[0] >> 6 or p[1] & 0x3F or p[7]:
        return L_DONE
    if header > left:
        return _stop(packet, MALFORMED, L_UDP)
    _pass(packet, VIA_GENEVE)
    packet.value = be16(p + 2)
    packet.offset += header
    return L_ETHERTYPE


cdef int _tzsp(Packet* packet, const uint8_t* p, int64_t left) noexcept nogil:
    # Version 1, type 0 (received) or 1 (to be sent), encapsulated protocol, tags until tag 1.
    cdef int64_t at = 4
    if p[0] != 1 or p[1] > 1:
        return L_DONE
    packet.value = be16(p + 2)
    while at < left:
        if p[at] == 1:
            _pass(packet, VIA_TZSP)
            packet.offset += at + 1
            if packet.value == 1:
                return L_ETHERNET
            return L_WIFI if packet.value == 0x12 else _stop(packet, TUNNEL, 37008)
        if p[at] == 0:
            at += 1
        elif at + 1 < left:
            at += 2 + p[at + 1]
        else:
            break
    return _stop(packet, MALFORMED, L_UDP)


cdef int _gtp(Packet* packet, const uint8_t* p, int64_t left) noexcept nogil:
    # 3GPP TS 29.281: version 1, protocol type 1, message 255 carries a user packet; E, S or PN add four octets.
    cdef int64_t at = 8, length
    cdef uint8_t following
    if p[0] & 0xF0 != 0x30 or p[1] != 255:
        return L_DONE
    length = be16(p + 2)
    if length + 8 < left:
        packet.end = packet.offset + 8 + length
        left = length + 8
    if p[0] & 7:
        if left < 12:
            return _stop(packet, MALFORMED, L_UDP)
        following = p[11] if p[0] & 4 else 0
        at = 12
        while following:
            # Extension header: length in words of four octets, the type of the next one at its end.
            if at >= left or p[at] == 0 or at + p[at] * 4 > left:
                return _stop(packet, MALFORMED, L_UDP)
            at += p[at] * 4
            following = p[at - 1]
    _pass(packet, VIA_GTP)
    packet.offset += at
    return L_IP


cdef int _l2tp(Packet* packet, const uint8_t* p, int64_t left) noexcept nogil:
    # RFC 2661 data messages: T bit zero, version 2; L, S and O bits add fields. PPP follows.
    cdef uint32_t flags = be16(p)
    cdef int64_t at = 6
    if flags & 0x8000 or flags & 15 != 2:
        return L_DONE
    if flags & 0x4000:
        at += 2
    if flags & 0x0800:
        at += 4
    if flags & 0x0200:
        if left < at + 2:
            return _stop(packet, MALFORMED, L_UDP)
        at += 2 + be16(p + at)
    if at > left:
        return _stop(packet, MALFORMED, L_UDP)
    _pass(packet, VIA_L2TP)
    packet.offset += at
    return L_PPP


cdef int hep_layer(Packet* packet) noexcept nogil:
    """HEP3: addresses, ports and time come from the agent's chunks; what is left is the payload chunk."""
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t total, at = 6, length, payload = -1, payload_end = 0
    cdef uint64_t seconds = 0, micro = 0
    cdef int64_t stamp
    cdef uint32_t vendor, kind, address
    cdef const uint8_t* value
    total = be16(p + 4)
    if total < 6:
        return _stop(packet, MALFORMED, L_HEP)
    if total > left:
        packet.cut = True
        total = left
    packet.transport = 17
    packet.packed = False
    while total - at >= 6:
        vendor = be16(p + at)
        kind = be16(p + at + 2)
        length = be16(p + at + 4)
        value = p + at + 6
        if length < 6:
            return _stop(packet, MALFORMED, L_HEP)
        if length > total - at:
            if vendor or kind not in (15, 16):
                return _stop(packet, MALFORMED, L_HEP)
            length = total - at  # a payload that the capture cut
            packet.cut = True
        length -= 6
        if vendor == 0:
            if kind == 2 and length == 1:
                packet.transport = 6 if value[0] == 6 else 17
            elif (kind == 3 or kind == 4) and length == 4:
                memcpy(&address, value, 4)
                packet.version = 4
                if kind == 3:
                    packet.source[0], packet.source[1] = address, 0
                else:
                    packet.destination[0], packet.destination[1] = address, 0
            elif (kind == 5 or kind == 6) and length == 16:
                packet.version = 6
                memcpy(&packet.source[0] if kind == 5 else &packet.destination[0], value, 16)
            elif kind == 7 and length == 2:
                packet.source_port = <uint16_t>be16(value)
            elif kind == 8 and length == 2:
                packet.destination_port = <uint16_t>be16(value)
            elif kind == 9 and length == 4:
                seconds = be32(value)
            elif kind == 10 and length == 4:
                micro = be32(value)
            elif kind == 15 or kind == 16:
                packet.packed = kind == 16
                payload = packet.offset + at + 6
                payload_end = payload + length
        at += length + 6
    if payload < 0:
        return _stop(packet, MALFORMED, L_HEP)
    packet.offset = payload
    packet.end = payload_end
    packet.macs = NULL
    stamp = <int64_t>(seconds * 1000000 + micro) * 1000
    if -HEP_CLOCK_NS < stamp - packet.time_ns < HEP_CLOCK_NS:
        packet.time_ns = stamp
    return L_DONE
