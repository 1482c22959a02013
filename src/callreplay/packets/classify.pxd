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
