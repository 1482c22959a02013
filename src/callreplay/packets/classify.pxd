# What a UDP payload or the start of a TCP segment is, by its octets alone.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from callreplay.packets.wire cimport be16, be32


cdef inline bint is_stun(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 8489: two zero bits, magic cookie, a length in words.
    return (size >= 20 and p[0] & 0xC0 == 0 and be32(p + 4) == 0x2112A442 and be16(p + 2) % 4 == 0
            and be16(p + 2) <= size - 20)


cdef inline bint is_dtls(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 6347 record: content type 20-25, version 1.0 or 1.2, a length that fits.
    return (size >= 13 and 20 <= p[0] <= 25 and p[1] == 0xFE and (p[2] == 0xFD or p[2] == 0xFF)
            and be16(p + 11) <= size - 13)


cdef inline bint is_zrtp(const uint8_t* p, int64_t size) noexcept nogil:
    return size >= 12 and p[0] == 0x10 and be32(p + 4) == 0x5A525450  # RFC 6189: "ZRTP"


cdef inline bint is_udptl(const uint8_t* p, int64_t size) noexcept nogil:
    # T.38 clause 9.1: sequence number, primary IFP packet, then error recovery: copies of earlier packets (0x00,
    # count, each with its length) or parity (0x80). Lengths below 128 take one octet.
    cdef int64_t at
    cdef uint32_t copies
    if size < 6 or p[2] == 0 or p[2] > 127:
        return False
    at = 3 + p[2]
    if at + 2 > size:
        return False
    if p[at] == 0x80:
        return True
    if p[at]:
        return False
    copies = p[at + 1]
    at += 2
    if copies > 15:
        return False
    while copies:
        if at >= size or p[at] > 127:
            return False
        at += 1 + p[at]
        copies -= 1
    return at == size


cdef inline bint is_sip(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 3261 section 7: "SIP/2.0 200 ..." or "METHOD uri SIP/2.0".
    cdef int64_t i, end = size if size < 2048 else 2048
    if size < 12 or not 0x41 <= p[0] <= 0x5A:
        return False
    if p[0] == 0x53 and p[1] == 0x49 and p[2] == 0x50 and p[3] == 0x2F:
        return p[4] == 0x32 and p[5] == 0x2E and p[6] == 0x30 and p[7] == 0x20
    for i in range(end):
        if p[i] == 0x0A or p[i] == 0x0D:
            return (i >= 12 and p[i - 8] == 0x20 and p[i - 7] == 0x53 and p[i - 6] == 0x49 and p[i - 5] == 0x50
                    and p[i - 4] == 0x2F and p[i - 3] == 0x32 and p[i - 2] == 0x2E and p[i - 1] == 0x30)
        if p[i] < 0x20:
            return False
    return False


cdef inline bint is_masked_sip(const uint8_t* p, int64_t size, const uint8_t* mask) noexcept nogil:
    cdef uint8_t clear[512]
    cdef int64_t i
    size = size if size < 512 else 512
    for i in range(size):
        clear[i] = p[i] ^ mask[i & 3]
    return is_sip(clear, size)


cdef inline bint is_websocket_sip(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 6455 section 5.2: a text or binary frame, whole or a first fragment, masked where a client sends it; in it SIP
    # (RFC 7118). A whole one must be no longer than what it frames says.
    cdef int64_t at = 2, length
    if size < 16 or p[0] & 0x70 or not 1 <= p[0] & 15 <= 2:
        return False
    length = p[1] & 127
    if length == 126:
        length = be16(p + 2)
        at = 4
    elif length == 127:
        length = be32(p + 6) if be32(p + 2) == 0 else 0
        at = 10
    if length < 12:
        return False
    if p[1] & 128:
        at += 4
        return at < size and is_masked_sip(p + at, size - at, p + at - 4)
    return at < size and is_sip(p + at, size - at)


cdef inline bint is_upgrade(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 6455 section 4: a GET, or the answer with status 101, that speaks of a WebSocket.
    cdef int64_t i, end = size if size < 4096 else 4096
    if size < 16:
        return False
    if be32(p) == 0x48545450:  # "HTTP/1.1 101"
        if p[4] != 0x2F or p[8] != 0x20 or p[9] != 0x31 or p[10] != 0x30 or p[11] != 0x31:
            return False
    elif be32(p) != 0x47455420:  # "GET "
        return False
    for i in range(end - 8):
        if p[i] | 0x20 == 0x77 and p[i + 3] | 0x20 == 0x73 and p[i + 8] | 0x20 == 0x74 and p[i + 6] | 0x20 == 0x6B:
            return True  # w..s..k.t
    return False


cdef inline bint is_tls(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 8446 section 5.1: a record of a known type, version 3.0 to 3.4, no longer than records may be.
    return (size >= 6 and 20 <= p[0] <= 23 and p[1] == 3 and p[2] <= 4 and 0 < be16(p + 3) <= 18432)


cdef inline bint is_q931(const uint8_t* p, int64_t size) noexcept nogil:
    # H.225.0 call signalling: TPKT (RFC 1006) and in it Q.931, whose call references have two octets.
    return size >= 9 and p[0] == 3 and p[1] == 0 and be16(p + 2) >= 9 and p[4] == 8 and p[5] == 2


cdef inline bint is_mgcp(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 3435 section 3.2.1: a verb of four letters, and "MGCP" with its version in the first line.
    cdef int64_t i, end = size if size < 512 else 512
    if size < 16 or not 0x41 <= p[0] <= 0x5A or p[4] != 0x20:
        return False
    for i in range(5, end - 5):
        if p[i] == 0x0A or p[i] == 0x0D:
            return False
        if p[i] == 0x20 and be32(p + i + 1) == 0x4D474350 and p[i + 5] == 0x20:
            return True
    return False


cdef inline bint is_h248(const uint8_t* p, int64_t size) noexcept nogil:
    # RFC 3525 annex B: "MEGACO/1" or "!/1"; an authentication header may come first, and is not looked for.
    return size >= 12 and ((be32(p) == 0x4D454741 and p[4] == 0x43 and p[5] == 0x4F and p[6] == 0x2F)
                           or (p[0] == 0x21 and p[1] == 0x2F and 0x31 <= p[2] <= 0x39 and p[3] == 0x20))
