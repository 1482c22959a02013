# IP fragments put together again, in bounded memory.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef struct Datagram:
    uint64_t source[2]
    uint64_t destination[2]
    uint32_t identification
    uint8_t protocol
    uint8_t version
    bint used
    int64_t first_ns
    int64_t last_ns
    int32_t total        # octets of the whole datagram, -1 until the last fragment is seen
    int32_t blocks       # blocks of 8 octets received
    int32_t capacity
    uint8_t* octets
    uint8_t seen[1024]   # a bit per block of 8 octets

cdef struct Fragments:
    Datagram* slots
    int32_t live
    uint64_t fragments
    uint64_t completed
    uint64_t incomplete

cdef int new_fragments(Fragments* self) noexcept nogil
cdef void free_fragments(Fragments* self) noexcept nogil
cdef Datagram* add_fragment(
    Fragments* self, const uint64_t* source, const uint64_t* destination, uint32_t identification, uint8_t protocol,
    uint8_t version, int64_t time_ns, const uint8_t* octets, int64_t size, int64_t offset, bint more) noexcept nogil
cdef void drop_datagram(Fragments* self, Datagram* datagram) noexcept nogil
