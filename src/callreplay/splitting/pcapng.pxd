# What a spool's file consists of: the blocks of draft-ietf-opsawg-pcapng, little-endian on every host.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

from callreplay.packets.wire cimport put_le16, put_le32

cdef enum:
    SECTION_OCTETS = 28
    INTERFACE_OCTETS = 32
    PACKET_OCTETS = 32     # of an enhanced packet block, beside its frame and the padding to four octets


cdef inline void put_section(uint8_t* p) noexcept nogil:
    """A section header without options, of a length not told."""
    memset(p, 0, SECTION_OCTETS)
    put_le32(p, 0x0A0D0D0A)
    put_le32(p + 4, SECTION_OCTETS)
    put_le32(p + 8, 0x1A2B3C4D)
    put_le16(p + 12, 1)
    memset(p + 16, 0xFF, 8)
    put_le32(p + 24, SECTION_OCTETS)


cdef inline void put_interface(uint8_t* p, int32_t link) noexcept nogil:
    """An interface of a link type whose times are nanoseconds."""
    memset(p, 0, INTERFACE_OCTETS)
    put_le32(p, 1)
    put_le32(p + 4, INTERFACE_OCTETS)
    put_le16(p + 8, <uint32_t>link)
    put_le16(p + 16, 9)
    put_le16(p + 18, 1)
    p[20] = 9
    put_le32(p + 28, INTERFACE_OCTETS)


cdef inline int64_t padded(int64_t octets) noexcept nogil:
    return (octets + 3) & ~<int64_t>3


cdef inline void put_packet(uint8_t* p, int32_t interface, int64_t time_ns, int64_t captured,
                            int64_t original) noexcept nogil:
    """The head, the tail and the padding of a packet block; its frame goes to ``p + 28`` thereafter."""
    cdef uint32_t total = <uint32_t>(PACKET_OCTETS + padded(captured))
    put_le32(p + total - 8, 0)  # the padding, and, where there is none, octets that others go over
    put_le32(p, 6)
    put_le32(p + 4, total)
    put_le32(p + 8, <uint32_t>interface)
    put_le32(p + 12, <uint32_t>(time_ns >> 32))
    put_le32(p + 16, <uint32_t>time_ns)
    put_le32(p + 20, <uint32_t>captured)
    put_le32(p + 24, <uint32_t>original)
    put_le32(p + total - 4, total)
