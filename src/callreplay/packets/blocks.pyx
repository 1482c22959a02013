# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""RFC 2198 payloads into rows: a pass that counts, and one that fills. Offsets only, no octet is copied.

A header of a redundant block is F=1, payload type (7), timestamp offset (14), length (10); the last header is one octet,
F=0 and the primary's payload type. The blocks follow in the order of their headers.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from callreplay.packets.wire cimport be32

import numpy as np

cdef enum:
    SPILL = 2
    REDUNDANT = 16
    MAX_BLOCKS = 32

cdef struct Block:
    int64_t offset
    int32_t size
    uint32_t behind        # ticks before the packet's timestamp
    uint8_t payload_type


cdef int _parse(const uint8_t* p, int64_t size, uint8_t own, Block* blocks) noexcept nogil:
    """The blocks of a payload, offsets from its start, primary last; 0 if it is not RED."""
    cdef int n = 0
    cdef int64_t at = 0, i
    while at < size and p[at] & 0x80:
        if n == MAX_BLOCKS - 1 or at + 4 > size:
            return 0
        blocks[n].payload_type = p[at] & 0x7F
        blocks[n].behind = be32(p + at) >> 10 & 0x3FFF
        blocks[n].size = be32(p + at) & 0x3FF
        n += 1
        at += 4
    if at >= size:
        return 0
    blocks[n].payload_type = p[at] & 0x7F
    blocks[n].behind = 0
    at += 1
    for i in range(n):
        blocks[i].offset = at
        at += blocks[i].size
    if at > size:
        return 0
    blocks[n].offset = at
    blocks[n].size = <int32_t>(size - at)
    for i in range(n + 1):  # RED inside RED is forbidden (section 3)
        if blocks[i].payload_type == own:
            return 0
    return n + 1


@cython.final
cdef class _View:
    cdef const uint8_t[::1] data, spill
    cdef const int64_t[::1] offset
    cdef const uint16_t[::1] size
    cdef const uint8_t[::1] payload_type, flags
    cdef const int32_t[::1] stream
    cdef const uint8_t[:, ::1] wanted

    def __init__(self, data, spill, columns, wanted):
        self.data, self.spill, self.wanted = data, spill, wanted
        self.offset, self.size, self.stream = columns.offset, columns.size, columns.stream
        self.payload_type, self.flags = columns.payload_type, columns.flags
        rows = self.offset.shape[0]
        if not (self.size.shape[0] == self.stream.shape[0] == self.payload_type.shape[0] == self.flags.shape[0] == rows):
            raise ValueError("columns of unequal length")
        if self.wanted.shape[1] != 128:
            raise ValueError("wanted is (streams, 128)")

    cdef int blocks(self, int64_t row, Block* blocks) noexcept nogil:
        """-1 for a row that is not asked for, 0 for one that is not RED after all."""
        cdef int64_t room = self.spill.shape[0] if self.flags[row] & SPILL else self.data.shape[0]
        cdef const uint8_t* base
        if not 0 <= self.stream[row] < self.wanted.shape[0] or self.payload_type[row] > 127:
            return -1
        if not self.wanted[self.stream[row], self.payload_type[row]]:
            return -1
        if self.size[row] == 0 or self.offset[row] < 0 or self.offset[row] > room - self.size[row]:
            return 0
        base = &self.spill[0] if self.flags[row] & SPILL else &self.data[0]
        return _parse(base + self.offset[row], self.size[row], self.payload_type[row], blocks)


def count_blocks(data, spill, columns, wanted):
    """(rows after unpacking, RED payloads that make no sense, RED payloads that do, per stream (streams,))."""
    cdef _View view = _View(data, spill, columns, wanted)
    cdef Block[MAX_BLOCKS] blocks
    cdef int64_t row, rows = 0, bad = 0
    cdef int n, i
    good = np.zeros(len(wanted), np.int64)
    cdef int64_t[::1] good_view = good
    with nogil:
        for row in range(view.offset.shape[0]):
            n = view.blocks(row, blocks)
            rows += 1
            if n == 0:
                bad += 1
            elif n > 0:
                good_view[view.stream[row]] += 1
                for i in range(n - 1):
                    rows += blocks[i].size > 0
    return rows, bad, good


def fill_blocks(data, spill, columns, wanted, out):
    """Write the rows that ``count_blocks`` counted into ``out``; redundant rows stand before their primary."""
    cdef _View view = _View(data, spill, columns, wanted)
    cdef const int64_t[::1] arrival_ns = columns.arrival_ns
    cdef const uint32_t[::1] timestamp = columns.timestamp
    cdef const uint16_t[::1] sequence = columns.sequence
    cdef int64_t[::1] to_offset = out.offset, to_arrival = out.arrival_ns
    cdef uint32_t[::1] to_timestamp = out.timestamp
    cdef int32_t[::1] to_stream = out.stream
    cdef uint16_t[::1] to_sequence = out.sequence, to_size = out.size
    cdef uint8_t[::1] to_type = out.payload_type, to_flags = out.flags
    cdef Block[MAX_BLOCKS] blocks
    cdef int64_t row, to = 0, room = to_offset.shape[0]
    cdef int n, i
    with nogil:
        for row in range(view.offset.shape[0]):
            n = view.blocks(row, blocks)
            if n <= 0:
                n = 1
                blocks[0].offset = blocks[0].behind = 0
                blocks[0].size = view.size[row]
                blocks[0].payload_type = view.payload_type[row]
            for i in range(n):
                if i < n - 1 and blocks[i].size == 0:
                    continue
                if to >= room:
                    break
                to_offset[to] = view.offset[row] + blocks[i].offset
                to_size[to] = <uint16_t>blocks[i].size
                to_timestamp[to] = timestamp[row] - blocks[i].behind
                to_arrival[to] = arrival_ns[row]
                to_sequence[to] = sequence[row]
                to_stream[to] = view.stream[row]
                to_type[to] = blocks[i].payload_type
                # The marker is the primary's: it began no talkspurt in the past.
                to_flags[to] = view.flags[row] if i == n - 1 else <uint8_t>((view.flags[row] & SPILL) | REDUNDANT)
                to += 1
