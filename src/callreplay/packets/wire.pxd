# Integers from the wire. The caller has checked that the octets are there.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef inline uint32_t be16(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t be24(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 16) | (<uint32_t>p[1] << 8) | p[2]


cdef inline uint32_t be32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint64_t be64(const uint8_t* p) noexcept nogil:
    return (<uint64_t>be32(p) << 32) | be32(p + 4)


cdef inline uint32_t le16(const uint8_t* p) noexcept nogil:
    return p[0] | (<uint32_t>p[1] << 8)


cdef inline uint32_t le32(const uint8_t* p) noexcept nogil:
    return p[0] | (<uint32_t>p[1] << 8) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 24)


cdef inline uint64_t le64(const uint8_t* p) noexcept nogil:
    return le32(p) | (<uint64_t>le32(p + 4) << 32)


cdef inline void put_be16(uint8_t* p, uint32_t value) noexcept nogil:
    p[0], p[1] = <uint8_t>(value >> 8), <uint8_t>value


cdef inline void put_be32(uint8_t* p, uint32_t value) noexcept nogil:
    p[0], p[1], p[2], p[3] = <uint8_t>(value >> 24), <uint8_t>(value >> 16), <uint8_t>(value >> 8), <uint8_t>value


cdef inline void put_le16(uint8_t* p, uint32_t value) noexcept nogil:
    p[0], p[1] = <uint8_t>value, <uint8_t>(value >> 8)


cdef inline void put_le32(uint8_t* p, uint32_t value) noexcept nogil:
    p[0], p[1], p[2], p[3] = <uint8_t>value, <uint8_t>(value >> 8), <uint8_t>(value >> 16), <uint8_t>(value >> 24)


cdef inline uint32_t ordered16(const uint8_t* p, bint big) noexcept nogil:
    return be16(p) if big else le16(p)


cdef inline uint32_t ordered32(const uint8_t* p, bint big) noexcept nogil:
    return be32(p) if big else le32(p)
