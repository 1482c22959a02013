# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""IP fragments put together again, in any order (RFC 791 section 3.2, RFC 8200 section 4.5).

At most SLOTS datagrams wait at a time, each of at most 64 KiB, so memory is bounded by 16 MiB whatever the capture
holds. A datagram that gets no fragment for TIMEOUT_NS of capture time, or whose slot is needed, is counted incomplete.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

cdef int32_t SLOTS = 256
cdef int64_t TIMEOUT_NS = 30000000000
cdef int32_t MAX_OCTETS = 65536


cdef int new_fragments(Fragments* self) noexcept nogil:
    """Zero on success."""
    memset(self, 0, sizeof(Fragments))
    return 0


cdef void free_fragments(Fragments* self) noexcept nogil:
    cdef int32_t i
    if self.slots != NULL:
        for i in range(SLOTS):
            free(self.slots[i].octets)
    free(self.slots)
    self.slots = NULL


cdef void drop_datagram(Fragments* self, Datagram* datagram) noexcept nogil:
    """Free the slot; the buffer stays for the next one."""
    datagram.used = False
    self.live -= 1


cdef Datagram* _slot(Fragments* self, const uint64_t* source, const uint64_t* destination, uint32_t identification,
                     uint8_t protocol, uint8_t version, int64_t time_ns) noexcept nogil:
    cdef int32_t i
    cdef Datagram* datagram
    cdef Datagram* unused = NULL
    cdef Datagram* oldest = NULL
    for i in range(SLOTS):
        datagram = &self.slots[i]
        if datagram.used and time_ns - datagram.last_ns > TIMEOUT_NS:
            self.incomplete += 1
            drop_datagram(self, datagram)
        if not datagram.used:
            if unused == NULL:
                unused = datagram
            continue
        if (datagram.identification == identification and datagram.source[0] == source[0]
                and datagram.source[1] == source[1] and datagram.destination[0] == destination[0]
                and datagram.destination[1] == destination[1] and datagram.protocol == protocol
                and datagram.version == version):
            return datagram
        if oldest == NULL or datagram.last_ns < oldest.last_ns:
            oldest = datagram
    if unused == NULL:
        self.incomplete += 1
        drop_datagram(self, oldest)
        unused = oldest
    memcpy(unused.source, source, 16)
    memcpy(unused.destination, destination, 16)
    unused.identification = identification
    unused.protocol = protocol
    unused.version = version
    unused.used = True
    unused.first_ns = time_ns
    unused.total = -1
    unused.blocks = 0
    memset(unused.seen, 0, sizeof(unused.seen))
    self.live += 1
    return unused


cdef Datagram* add_fragment(
    Fragments* self, const uint64_t* source, const uint64_t* destination, uint32_t identification, uint8_t protocol,
    uint8_t version, int64_t time_ns, const uint8_t* octets, int64_t size, int64_t offset, bint more
) noexcept nogil:
    """Take in one fragment. Returns the datagram once it is whole, else NULL; the caller copies and drops it.

    ``offset`` is a multiple of 8 below 65536. A fragment that is not the last must be a multiple of 8 octets.
    """
    cdef Datagram* datagram
    cdef uint8_t* grown
    cdef int64_t block, blocks, capacity
    self.fragments += 1
    if self.slots == NULL:  # most captures have no fragment
        self.slots = <Datagram*>calloc(SLOTS, sizeof(Datagram))
        if self.slots == NULL:
            self.incomplete += 1
            return NULL
    if size <= 0 or offset + size > MAX_OCTETS or (more and size % 8):
        self.incomplete += 1
        return NULL
    datagram = _slot(self, source, destination, identification, protocol, version, time_ns)
    datagram.last_ns = time_ns
    if time_ns < datagram.first_ns:
        datagram.first_ns = time_ns
    if offset + size > datagram.capacity:
        capacity = min(<int64_t>MAX_OCTETS, max(2 * (offset + size), <int64_t>4096))
        grown = <uint8_t*>realloc(datagram.octets, capacity)
        if grown == NULL:
            self.incomplete += 1
            drop_datagram(self, datagram)
            return NULL
        datagram.octets = grown
        datagram.capacity = <int32_t>capacity
    memcpy(datagram.octets + offset, octets, size)
    blocks = (size + 7) // 8
    for block in range(offset // 8, offset // 8 + blocks):  # below 8192
        if not datagram.seen[block >> 3] & (1 << (block & 7)):
            datagram.seen[block >> 3] |= <uint8_t>(1 << (block & 7))
            datagram.blocks += 1
    if not more:
        datagram.total = <int32_t>(offset + size)
    if datagram.total >= 0 and datagram.blocks == (datagram.total + 7) // 8 and _without_holes(datagram):
        self.completed += 1
        return datagram
    return NULL


cdef bint _without_holes(const Datagram* datagram) noexcept nogil:
    # The count alone is not enough: a block beyond a short total, as forged fragments have it, makes up for a hole.
    cdef int64_t block
    for block in range((datagram.total + 7) // 8):
        if not datagram.seen[block >> 3] & (1 << (block & 7)):
            return False
    return True
