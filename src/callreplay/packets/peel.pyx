# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One decapsulator for every layer: each step looks at the octets left, moves past one header, and names the next.

All transitions are tail transitions, so the recursion is a loop, bounded by MAX_DEPTH steps. Each step checks
``end - offset`` before it reads. Lengths come from IP, UDP and the tunnels; the captured length only cuts them short
(trap 24: Ethernet padding and trailers). Checksums are never looked at: offloading leaves them wrong.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from callreplay.packets.fragments cimport Datagram, Fragments, add_fragment, drop_datagram
from callreplay.packets.packet cimport *
from callreplay.packets.tunnels cimport gre_layer, hep_layer, tunnel_layer
from callreplay.packets.wire cimport be16, be32, le16, le32


cdef int peel(Packet* packet, int32_t link, Fragments* fragments, Spill* spill) noexcept nogil:
    """Peel the frame at ``packet.offset .. end`` down to a UDP payload or TCP segment.

    ``base``, ``offset``, ``end``, ``time_ns``, ``cut`` and ``spilled`` are set by the caller; everything else here.
    """
    cdef int layer
    packet.depth = 0
    packet.value = 0
    packet.version = packet.transport = 0
    packet.macs = NULL
    memset(packet.path, 0, sizeof(packet.path))
    if link == 1 and _plain(packet):
        return FOUND_UDP
    layer = _link(packet, link)
    while layer > L_DONE:
        packet.depth += 1
        if packet.depth > MAX_DEPTH:
            return _nothing(packet, TOO_DEEP, 0)
        if layer == L_ETHERTYPE:
            layer = _ethertype(packet)
        elif layer == L_IPV4:
            layer = _ipv4(packet, fragments, spill)
        elif layer == L_UDP:
            if packet.end - packet.offset < 8:
                return _nothing(packet, MALFORMED, L_UDP)
            _udp(packet)
            layer = tunnel_layer(packet)
            if layer == L_DONE:
                return FOUND_UDP
        elif layer == L_ETHERNET:
            layer = _ethernet(packet)
        elif layer == L_IPV6:
            layer = _ipv6(packet, fragments, spill)
        elif layer == L_IP:
            layer = _ip(packet)
        elif layer == L_PROTOCOL:
            layer = _protocol(packet)
        elif layer == L_TCP:
            return _tcp(packet)
        elif layer == L_SCTP:
            return _sctp(packet)
        elif layer == L_GRE:
            layer = gre_layer(packet)
        elif layer == L_MPLS:
            layer = _mpls(packet)
        elif layer == L_PPP:
            layer = _ppp(packet)
        elif layer == L_PPPOE:
            layer = _pppoe(packet)
        elif layer == L_WIFI:
            layer = _wifi(packet)
        elif layer == L_LLC:
            layer = _llc(packet)
        else:
            layer = hep_layer(packet)
            if layer == L_DONE:
                if packet.packed:
                    return FOUND_PACKED
                return FOUND_MESSAGE if packet.transport == 6 else FOUND_UDP
    return FOUND_NOTHING


cdef inline bint _plain(Packet* packet) noexcept nogil:
    """Peel RTP or RTCP whole in UDP in IPv4 in Ethernet, as the layers below do one by one; False for all else."""
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset, total, length
    cdef uint32_t address
    if left < 50 or p[12] != 0x08 or p[13] != 0 or p[14] != 0x45 or p[23] != 17 or p[42] & 0xC0 != 0x80:
        return False
    total, length = be16(p + 16), be16(p + 38)
    # Eight octets of payload at least: ``tunnel_layer`` looks no further than at the first of them then.
    if be16(p + 20) & 0x3FFF or not 36 <= total <= left - 14 or not 16 <= length <= total - 20:
        return False
    packet.depth = 4
    packet.value = 17
    packet.macs = p
    packet.version = 4
    memcpy(&address, p + 26, 4)
    packet.source[0] = address
    memcpy(&address, p + 30, 4)
    packet.destination[0] = address
    packet.source[1] = packet.destination[1] = 0
    packet.transport = 17
    packet.source_port = <uint16_t>be16(p + 34)
    packet.destination_port = <uint16_t>be16(p + 36)
    packet.offset += 42
    packet.end = packet.offset + length - 8
    return True


cdef inline int _nothing(Packet* packet, int reason, int32_t value) noexcept nogil:
    packet.reason = reason
    packet.value = value
    return FOUND_NOTHING  # is L_DONE too, but every caller returns it as the end


cdef int _stop(Packet* packet, int reason, int32_t value) noexcept nogil:
    packet.reason = reason
    packet.value = value
    return -1


cdef inline void _pass(Packet* packet, uint8_t via) noexcept nogil:
    if packet.depth < MAX_DEPTH:
        packet.path[packet.depth] = via


cdef int _link(Packet* packet, int32_t link) noexcept nogil:
    """The first layer of a link type (https://www.tcpdump.org/linktypes.html)."""
    cdef int64_t left = packet.end - packet.offset
    cdef const uint8_t* p = packet.base + packet.offset
    cdef uint32_t family
    if link == 1:
        return L_ETHERNET
    if link == 113:  # SLL: ethertype after 14 octets
        if left < 16:
            return _stop(packet, MALFORMED, L_LINK)
        packet.value = be16(p + 14)
        packet.offset += 16
        return L_LLC if packet.value == 4 else L_ETHERTYPE  # 4: LLC follows
    if link == 276:  # SLL2: ethertype first, 20 octets
        if left < 20:
            return _stop(packet, MALFORMED, L_LINK)
        packet.value = be16(p)
        packet.offset += 20
        return L_LLC if packet.value == 4 else L_ETHERTYPE
    if link == 101 or link == 12 or link == 14 or link == 228 or link == 229:
        return L_IP
    if link == 0 or link == 108:
        # BSD loopback. Whoever wrote the file had either byte order, and every family is below 256.
        if left < 4:
            return _stop(packet, MALFORMED, L_LINK)
        family = le32(p) if le32(p) < 256 else be32(p)
        packet.offset += 4
        if family == 2 or family == 24 or family == 28 or family == 30 or family == 10:
            return L_IP
        return _stop(packet, IP_PROTOCOL, <int32_t>(0x10000 | (family & 0xFFFF)))
    if link == 9 or link == 50:
        return L_PPP
    if link == 51:  # PPP_ETHER: PPPoE without its Ethernet header
        return L_PPPOE
    if link == 104:  # Cisco HDLC: address, control, ethertype
        if left < 4:
            return _stop(packet, MALFORMED, L_LINK)
        packet.value = be16(p + 2)
        packet.offset += 4
        return L_ETHERTYPE
    if link == 105:
        return L_WIFI
    if link == 127:  # radiotap: its length is little-endian, at 2
        if left < 4 or le16(p + 2) < 8 or le16(p + 2) > left:
            return _stop(packet, MALFORMED, L_LINK)
        packet.offset += le16(p + 2)
        return L_WIFI
    if link == 239:
        return _nflog(packet)
    return _stop(packet, LINK_TYPE, link)


cdef int _nflog(Packet* packet) noexcept nogil:
    # Four octets, then TLVs in the order of the host that wrote them; type 9 is the packet from its IP header on.
    cdef int64_t length, at = packet.offset + 4
    cdef uint32_t kind
    while packet.end - at >= 4:
        length = le16(packet.base + at)
        kind = le16(packet.base + at + 2) & 0x7FFF
        if length < 4:
            break
        if kind == 9:
            packet.offset = at + 4
            if at + length < packet.end:
                packet.end = at + length
            return L_IP
        at += (length + 3) & ~<int64_t>3
    return _stop(packet, MALFORMED, L_LINK)


cdef int _ethernet(Packet* packet) noexcept nogil:
    cdef const uint8_t* p = packet.base + packet.offset
    if packet.end - packet.offset < 14:
        return _stop(packet, MALFORMED, L_ETHERNET)
    packet.macs = p
    packet.value = be16(p + 12)
    packet.offset += 14
    return L_ETHERTYPE


cdef int _ethertype(Packet* packet) noexcept nogil:
    cdef int32_t kind = packet.value
    cdef int64_t left = packet.end - packet.offset
    cdef const uint8_t* p = packet.base + packet.offset
    if kind == 0x0800:
        return L_IPV4
    if kind == 0x86DD:
        return L_IPV6
    if kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200:
        if left < 4:
            return _stop(packet, MALFORMED, L_ETHERTYPE)
        _pass(packet, VIA_VLAN)
        packet.value = be16(p + 2)
        packet.offset += 4
        return L_ETHERTYPE
    if kind == 0x8847 or kind == 0x8848:
        return L_MPLS
    if kind == 0x8864:
        return L_PPPOE
    if kind == 0x8926:  # VN-Tag: four octets of tag, then an ethertype
        if left < 6:
            return _stop(packet, MALFORMED, L_ETHERTYPE)
        _pass(packet, VIA_VNTAG)
        packet.value = be16(p + 4)
        packet.offset += 6
        return L_ETHERTYPE
    if kind == 0x8903:  # FabricPath: forwarding tag and TTL, then the frame that came in
        _pass(packet, VIA_FABRICPATH)
        packet.offset += 2
        return L_ETHERNET
    if kind == 0x6558:  # transparent Ethernet bridging
        return L_ETHERNET
    if kind == 0x880B:
        return L_PPP
    if kind < 0x0600:  # an IEEE 802.3 length
        return L_LLC
    return _stop(packet, ETHERTYPE, kind)


cdef int _llc(Packet* packet) noexcept nogil:
    # SNAP with an OUI of zero (RFC 1042) or of Cisco's or Apple's bridges: the ethertype follows.
    cdef const uint8_t* p = packet.base + packet.offset
    if packet.end - packet.offset < 8:
        return _stop(packet, MALFORMED, L_LLC)
    if p[0] != 0xAA or p[1] != 0xAA or p[2] != 3:
        return _stop(packet, ETHERTYPE, 0x20000 | p[0])
    _pass(packet, VIA_LLC)
    packet.value = be16(p + 6)
    packet.offset += 8
    return L_ETHERTYPE


cdef int _ip(Packet* packet) noexcept nogil:
    cdef uint8_t nibble
    if packet.offset >= packet.end:
        return _stop(packet, MALFORMED, L_IP)
    nibble = packet.base[packet.offset] >> 4
    if nibble == 4:
        return L_IPV4
    if nibble == 6:
        return L_IPV6
    return _stop(packet, MALFORMED, L_IP)


cdef int _whole(Packet* packet, Fragments* fragments, Spill* spill, uint32_t identification, int64_t offset,
                bint more) noexcept nogil:
    """Hand a fragment in; go on in the spill with the whole datagram once it is there."""
    cdef Datagram* datagram
    if packet.cut:
        return _stop(packet, CUT_FRAGMENT, 0)
    datagram = add_fragment(fragments, packet.source, packet.destination, identification, <uint8_t>packet.value,
                            packet.version, packet.time_ns, packet.base + packet.offset,
                            packet.end - packet.offset, offset, more)
    if datagram == NULL:
        return _stop(packet, FRAGMENT, 0)
    if datagram.total > spill.capacity - spill.size:
        drop_datagram(fragments, datagram)
        return _stop(packet, SPILL_FULL, 0)
    memcpy(spill.octets + spill.size, datagram.octets, datagram.total)
    packet.base = spill.octets
    packet.spilled = True
    packet.offset = spill.size
    packet.end = spill.size + datagram.total
    packet.time_ns = datagram.first_ns
    spill.size += datagram.total
    drop_datagram(fragments, datagram)
    return L_PROTOCOL


cdef int _ipv4(Packet* packet, Fragments* fragments, Spill* spill) noexcept nogil:
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t header, total
    cdef uint32_t fragment, address
    if left < 20 or p[0] >> 4 != 4:
        return _stop(packet, MALFORMED, L_IPV4)
    header = (p[0] & 15) * 4
    total = be16(p + 2)
    if header < 20 or header > left or (total and total < header):
        return _stop(packet, MALFORMED, L_IPV4)
    # A total length of zero is a frame taken before segmentation offload filled it in: all that is left.
    if total > left:
        packet.cut = True
    elif total:
        packet.end = packet.offset + total
    packet.version = 4
    memcpy(&address, p + 12, 4)
    packet.source[0] = address
    memcpy(&address, p + 16, 4)
    packet.destination[0] = address
    packet.source[1] = packet.destination[1] = 0
    packet.value = p[9]
    packet.offset += header
    fragment = be16(p + 6)
    if fragment & 0x3FFF:
        return _whole(packet, fragments, spill, be16(p + 4), <int64_t>(fragment & 0x1FFF) * 8,
                      (fragment & 0x2000) != 0)
    if packet.value == 17:
        return L_UDP
    return L_PROTOCOL


cdef int _ipv6(Packet* packet, Fragments* fragments, Spill* spill) noexcept nogil:
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t total, length
    cdef int32_t following, _step
    cdef uint32_t fragment
    if left < 40 or p[0] >> 4 != 6:
        return _stop(packet, MALFORMED, L_IPV6)
    total = be16(p + 4)
    if total > left - 40:
        packet.cut = True
    elif total:
        packet.end = packet.offset + 40 + total
    packet.version = 6
    memcpy(packet.source, p + 8, 16)
    memcpy(packet.destination, p + 24, 16)
    following = p[6]
    packet.offset += 40
    for _step in range(MAX_DEPTH):
        p = packet.base + packet.offset
        left = packet.end - packet.offset
        # Hop-by-hop, routing, destination options, mobility, HIP and Shim6 have one shape (RFC 6564).
        if (following == 0 or following == 43 or following == 60 or following == 135 or following == 139
                or following == 140):
            if left < 8:
                return _stop(packet, MALFORMED, L_IPV6)
            length = (p[1] + 1) * 8
        elif following == 51:  # authentication header: its length counts words of four octets
            if left < 8:
                return _stop(packet, MALFORMED, L_IPV6)
            length = (p[1] + 2) * 4
        elif following == 44:
            if left < 8:
                return _stop(packet, MALFORMED, L_IPV6)
            fragment = be16(p + 2)
            packet.value = p[0]
            packet.offset += 8
            if fragment & 0xFFF9 == 0:  # an atomic fragment (RFC 6946)
                following = p[0]
                continue
            return _whole(packet, fragments, spill, be32(p + 4), fragment & 0xFFF8, (fragment & 1) != 0)
        else:
            packet.value = following
            return L_PROTOCOL
        if length > left:
            return _stop(packet, MALFORMED, L_IPV6)
        following = p[0]
        packet.offset += length
    return _stop(packet, TOO_DEEP, 0)


cdef int _protocol(Packet* packet) noexcept nogil:
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    if packet.value == 17:
        return L_UDP
    if packet.value == 6:
        return L_TCP
    if packet.value == 47:
        return L_GRE
    if packet.value == 132:
        return L_SCTP
    if packet.value == 4:
        _pass(packet, VIA_IPIP)
        return L_IPV4
    if packet.value == 41:
        _pass(packet, VIA_IPIP)
        return L_IPV6
    if packet.value == 137:
        return L_MPLS
    if packet.value == 51 or packet.value == 60:
        # Authentication header under IPv4; destination options after a fragment header of IPv6.
        if left < 8:
            return _stop(packet, MALFORMED, L_PROTOCOL)
        packet.offset += (p[1] + 2) * 4 if packet.value == 51 else (p[1] + 1) * 8
        packet.value = p[0]
        if packet.offset > packet.end:
            return _stop(packet, MALFORMED, L_PROTOCOL)
        return L_PROTOCOL
    return _stop(packet, IP_PROTOCOL, packet.value)


cdef void _udp(Packet* packet) noexcept nogil:
    # The eight octets are there.
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t length = be16(p + 4)
    packet.transport = 17
    packet.source_port = <uint16_t>be16(p)
    packet.destination_port = <uint16_t>be16(p + 2)
    packet.offset += 8
    if 8 <= length <= left:
        packet.end = packet.offset + length - 8
    elif length > left:  # beyond its IP packet: cut by the capture, or a lie
        packet.cut = True


cdef int _tcp(Packet* packet) noexcept nogil:
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t header
    if left < 20:
        return _nothing(packet, MALFORMED, L_TCP)
    header = (p[12] >> 4) * 4
    if header < 20 or header > left:
        return _nothing(packet, MALFORMED, L_TCP)
    packet.transport = 6
    packet.source_port = <uint16_t>be16(p)
    packet.destination_port = <uint16_t>be16(p + 2)
    packet.tcp_sequence = be32(p + 4)
    packet.tcp_flags = p[13]
    packet.offset += header
    return FOUND_TCP


cdef int _sctp(Packet* packet) noexcept nogil:
    # RFC 9260 section 3: ports, verification tag, checksum; chunks follow.
    cdef const uint8_t* p = packet.base + packet.offset
    if packet.end - packet.offset < 12:
        return _nothing(packet, IP_PROTOCOL, 132)
    packet.transport = 132
    packet.source_port = <uint16_t>be16(p)
    packet.destination_port = <uint16_t>be16(p + 2)
    packet.offset += 12
    return FOUND_SCTP


cdef int _mpls(Packet* packet) noexcept nogil:
    # RFC 3032: labels of four octets, the last has the bottom-of-stack bit.
    cdef const uint8_t* p
    cdef int64_t left
    cdef int32_t _step
    _pass(packet, VIA_MPLS)
    for _step in range(MAX_DEPTH):
        if packet.end - packet.offset < 4:
            return _stop(packet, MALFORMED, L_MPLS)
        packet.offset += 4
        if packet.base[packet.offset - 2] & 1:
            break
    else:
        return _stop(packet, TOO_DEEP, 0)
    # What follows is not said. IP shows its version and a sane header; a pseudowire control word begins with a zero
    # nibble (RFC 4385) and an Ethernet frame comes next; anything else is an Ethernet frame at once.
    p = packet.base + packet.offset
    left = packet.end - packet.offset
    if left >= 20 and p[0] >> 4 == 4 and p[0] & 15 >= 5 and be16(p + 2) <= left + 65535 * packet.cut:
        return L_IPV4
    if left >= 40 and p[0] >> 4 == 6 and be16(p + 4) <= left - 40 + 65535 * packet.cut:
        return L_IPV6
    if left >= 18 and be32(p) >> 28 == 0 and not _ethertype_known(p + 12) and _ethertype_known(p + 16):
        packet.offset += 4
    return L_ETHERNET


cdef bint _ethertype_known(const uint8_t* p) noexcept nogil:
    cdef uint32_t kind = be16(p)
    return (kind == 0x0800 or kind == 0x86DD or kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x8847
            or kind == 0x8864)


cdef int _ppp(Packet* packet) noexcept nogil:
    # RFC 1662: address and control octets may be there, the protocol may be compressed to one odd octet.
    cdef const uint8_t* p
    _pass(packet, VIA_PPP)
    if packet.end - packet.offset >= 2 and be16(packet.base + packet.offset) == 0xFF03:
        packet.offset += 2
    p = packet.base + packet.offset
    if packet.end - packet.offset < 2:
        return _stop(packet, MALFORMED, L_PPP)
    if p[0] & 1:
        packet.value = p[0]
        packet.offset += 1
    else:
        packet.value = be16(p)
        packet.offset += 2
    if packet.value == 0x0021:
        return L_IPV4
    if packet.value == 0x0057:
        return L_IPV6
    if packet.value == 0x0281 or packet.value == 0x0283:
        return L_MPLS
    return _stop(packet, ETHERTYPE, 0x10000 | packet.value)


cdef int _pppoe(Packet* packet) noexcept nogil:
    # RFC 2516: version and type 1, code 0 for a session, length of what follows.
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    if left < 8 or p[0] != 0x11 or p[1] != 0:
        return _stop(packet, MALFORMED, L_PPPOE)
    _pass(packet, VIA_PPPOE)
    packet.offset += 6
    if be16(p + 4) > left - 6:
        packet.cut = True
    else:
        packet.end = packet.offset + be16(p + 4)
    return L_PPP


cdef int _wifi(Packet* packet) noexcept nogil:
    # IEEE 802.11 data frames in clear; frame control is little-endian.
    cdef const uint8_t* p = packet.base + packet.offset
    cdef int64_t left = packet.end - packet.offset
    cdef int64_t header = 24
    if left < 24:
        return _stop(packet, MALFORMED, L_WIFI)
    if (p[0] & 0x0C) != 0x08 or p[0] & 0x40 or p[1] & 0x40:  # not data, no data, or protected
        return _stop(packet, LINK_TYPE, 105)
    if p[1] & 3 == 3:  # four addresses
        header += 6
    if p[0] & 0x80:  # QoS; with the order bit an HT control field too
        header += 6 if p[1] & 0x80 else 2
    if header > left:
        return _stop(packet, MALFORMED, L_WIFI)
    _pass(packet, VIA_WIFI)
    packet.offset += header
    return L_LLC
