# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Flows and streams by open addressing with linear probing; at most half of the slots are used.

The seed is drawn for each scan, so that a capture cannot be made to collide.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from callreplay.packets.packet cimport Packet

cdef uint64_t ODD = 0x9E3779B97F4A7C15


cdef int new_tables(Tables* self, uint64_t seed) noexcept nogil:
    """Zero on success."""
    memset(self, 0, sizeof(Tables))
    self.seed = seed
    self.flow_slots = _slots(1024)
    self.stream_slots = _slots(1024)
    self.flow_mask = self.stream_mask = 1023
    return self.flow_slots == NULL or self.stream_slots == NULL


cdef void free_tables(Tables* self) noexcept nogil:
    free(self.flows)
    free(self.streams)
    free(self.flow_slots)
    free(self.stream_slots)
    memset(self, 0, sizeof(Tables))


cdef int32_t* _slots(uint64_t count) noexcept nogil:
    cdef int32_t* slots = <int32_t*>malloc(count * sizeof(int32_t))
    if slots != NULL:
        memset(slots, 0xFF, count * sizeof(int32_t))  # every slot -1
    return slots


cdef inline uint64_t _mix(uint64_t h) noexcept nogil:
    h ^= h >> 32
    h *= ODD
    h ^= h >> 29
    h *= <uint64_t>0xBF58476D1CE4E5B9
    return h ^ (h >> 32)


cdef inline uint64_t _flow_hash(uint64_t seed, const uint64_t* source, const uint64_t* destination, uint64_t ports,
                                uint8_t version) noexcept nogil:
    cdef uint64_t h
    if version == 4:
        h = seed ^ (source[0] << 32) ^ destination[0]
        return _mix(h + ports * ODD)
    h = _mix(seed ^ source[0]) + source[1]
    h = _mix(h ^ destination[0]) + destination[1]
    return _mix(h + ports * ODD)


cdef inline uint64_t _ports(uint16_t source_port, uint16_t destination_port, uint8_t transport) noexcept nogil:
    return <uint64_t>transport << 32 | <uint64_t>source_port << 16 | destination_port


cdef inline bint _same(const Flow* flow, const Packet* packet) noexcept nogil:
    return (flow.source[0] == packet.source[0] and flow.destination[0] == packet.destination[0]
            and flow.source_port == packet.source_port and flow.destination_port == packet.destination_port
            and flow.source[1] == packet.source[1] and flow.destination[1] == packet.destination[1]
            and flow.transport == packet.transport and flow.version == packet.version)


cdef int _grow_flow_slots(Tables* self) noexcept nogil:
    cdef uint64_t mask = 2 * self.flow_mask + 1
    cdef int32_t* slots = _slots(mask + 1)
    cdef int32_t i
    cdef uint64_t at
    cdef Flow* flow
    if slots == NULL:
        return 1
    for i in range(self.flow_count):
        flow = &self.flows[i]
        at = _flow_hash(self.seed, flow.source, flow.destination,
                        _ports(flow.source_port, flow.destination_port, flow.transport), flow.version) & mask
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = i
    free(self.flow_slots)
    self.flow_slots = slots
    self.flow_mask = mask
    return 0


cdef int32_t find_flow(Tables* self, const Packet* packet, int32_t interface, bint make) noexcept nogil:
    """The flow of a packet; if there is none, a new one with ``make``, else NOT_FOUND. -1 if memory ran out."""
    cdef uint64_t at
    cdef int32_t index
    cdef Flow* flow
    cdef Flow* grown
    for index in self.recent[:2]:
        if index and _same(&self.flows[index - 1], packet):
            return index - 1
    at = _flow_hash(self.seed, packet.source, packet.destination,
                    _ports(packet.source_port, packet.destination_port, packet.transport), packet.version)
    at &= self.flow_mask
    while self.flow_slots[at] >= 0:
        index = self.flow_slots[at]
        if _same(&self.flows[index], packet):
            self.turn ^= 1
            self.recent[self.turn] = index + 1
            return index
        at = (at + 1) & self.flow_mask
    if not make:
        return NOT_FOUND
    if self.flow_count == self.flow_capacity:
        if self.flow_capacity > 1 << 29:
            return -1
        grown = <Flow*>realloc(self.flows, (2 * <uint64_t>self.flow_capacity + 64) * sizeof(Flow))
        if grown == NULL:
            return -1
        self.flows = grown
        self.flow_capacity = 2 * self.flow_capacity + 64
    index = self.flow_count
    flow = &self.flows[index]
    memset(flow, 0, sizeof(Flow))
    memcpy(flow.source, packet.source, 16)
    memcpy(flow.destination, packet.destination, 16)
    flow.source_port = packet.source_port
    flow.destination_port = packet.destination_port
    flow.version = packet.version
    flow.transport = packet.transport
    flow.interface = interface
    flow.last_stream = -1
    memcpy(flow.path, packet.path, sizeof(flow.path))
    if packet.macs != NULL:
        flow.has_macs = 1
        memcpy(flow.macs, packet.macs, 12)
    self.flow_slots[at] = index
    self.flow_count += 1
    if <uint64_t>self.flow_count * 2 > self.flow_mask and _grow_flow_slots(self):
        return -1
    return index


cdef inline uint64_t _stream_hash(uint64_t seed, int32_t flow, uint32_t ssrc) noexcept nogil:
    return _mix(seed + (<uint64_t>flow << 32 | ssrc) * ODD)


cdef int32_t find_stream(Tables* self, int32_t flow, uint32_t ssrc) noexcept nogil:
    """The stream of an SSRC on a flow, or -1."""
    cdef uint64_t at = _stream_hash(self.seed, flow, ssrc) & self.stream_mask
    cdef int32_t index
    while self.stream_slots[at] >= 0:
        index = self.stream_slots[at]
        if self.streams[index].ssrc == ssrc and self.streams[index].flow == flow:
            return index
        at = (at + 1) & self.stream_mask
    return -1


cdef int32_t add_stream(Tables* self, int32_t flow, uint32_t ssrc) noexcept nogil:
    """Make the stream of an SSRC on a flow, which has none yet; -1 if memory ran out."""
    cdef Candidate* grown
    cdef int32_t* slots
    cdef int32_t i, index = self.stream_count
    cdef uint64_t at, mask
    if index == self.stream_capacity:
        if index > 1 << 29:
            return -1
        grown = <Candidate*>realloc(self.streams, (2 * <uint64_t>index + 64) * sizeof(Candidate))
        if grown == NULL:
            return -1
        self.streams = grown
        self.stream_capacity = 2 * index + 64
    if <uint64_t>(index + 1) * 2 > self.stream_mask:
        mask = 2 * self.stream_mask + 1
        slots = _slots(mask + 1)
        if slots == NULL:
            return -1
        for i in range(index):
            at = _stream_hash(self.seed, self.streams[i].flow, self.streams[i].ssrc) & mask
            while slots[at] >= 0:
                at = (at + 1) & mask
            slots[at] = i
        free(self.stream_slots)
        self.stream_slots = slots
        self.stream_mask = mask
    at = _stream_hash(self.seed, flow, ssrc) & self.stream_mask
    while self.stream_slots[at] >= 0:
        at = (at + 1) & self.stream_mask
    self.stream_slots[at] = index
    memset(&self.streams[index], 0, sizeof(Candidate))
    self.streams[index].ssrc = ssrc
    self.streams[index].flow = flow
    self.stream_count += 1
    return index
