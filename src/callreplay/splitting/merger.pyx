# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Captures that overlap in time as one pcapng: a heap of readers, the earliest packet next, frames as they are."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from callreplay.packets.records cimport *
from callreplay.splitting.pcapng cimport *

cdef enum:
    MAX_LINKS = 64

cdef struct Source:
    Reader reader
    Record record

cdef struct Link:
    int32_t link
    int32_t interface


@cython.final
cdef class Merger:
    """See ``merger.pyi``."""

    cdef list held
    cdef Source* sources
    cdef int32_t* heap
    cdef int32_t count, waiting
    cdef Link[MAX_LINKS] links
    cdef int32_t link_count
    cdef bint begun, failed
    cdef readonly int64_t packets, cut

    def __cinit__(self):
        self.sources, self.heap = NULL, NULL

    def __init__(self, captures):
        cdef const uint8_t[::1] data
        cdef Source* source
        cdef int32_t i
        captures = list(captures)
        self.held = []
        self.count = len(captures)
        self.sources = <Source*>calloc(self.count + 1, sizeof(Source))
        self.heap = <int32_t*>calloc(self.count + 1, sizeof(int32_t))
        if self.sources == NULL or self.heap == NULL:
            raise MemoryError("no memory for the captures to merge")
        for i, (octets, container, options) in enumerate(captures):
            data = octets
            if container not in (1, 2, 5):
                raise ValueError("only pcap, pcapng and snoop are merged")
            self.held.append(data)
            source = &self.sources[i]
            source.reader.data = &data[0] if data.shape[0] else NULL
            source.reader.size = data.shape[0]
            source.reader.container = <Container><int>container
            source.reader.position = options.get("position", 0)
            source.reader.big, source.reader.nano = options.get("big", False), options.get("nano", False)
            source.reader.header, source.reader.link = options.get("header", 16), options.get("link", 1)
            self._read(i)

    def __dealloc__(self):
        cdef int32_t i
        if self.sources != NULL:
            for i in range(self.count):
                free_reader(&self.sources[i].reader)
        free(self.sources)
        free(self.heap)

    cdef bint _earlier(self, int32_t one, int32_t other) noexcept nogil:
        cdef int64_t a = self.sources[one].record.time_ns, b = self.sources[other].record.time_ns
        return a < b or (a == b and one < other)

    cdef void _read(self, int32_t index) noexcept nogil:
        """Put a source in its place by its next record; one that has none is done."""
        cdef int32_t at, above
        if next_record(&self.sources[index].reader, &self.sources[index].record) != RECORD:
            self.cut += self.sources[index].reader.truncated
            return
        at = self.waiting
        self.waiting += 1
        while at:
            above = (at - 1) // 2
            if not self._earlier(index, self.heap[above]):
                break
            self.heap[at] = self.heap[above]
            at = above
        self.heap[at] = index

    cdef int32_t _take(self) noexcept nogil:
        """The source with the earliest record, out of the heap."""
        cdef int32_t first = self.heap[0], last, at = 0, below
        self.waiting -= 1
        last = self.heap[self.waiting]
        while True:
            below = 2 * at + 1
            if below >= self.waiting:
                break
            if below + 1 < self.waiting and self._earlier(self.heap[below + 1], self.heap[below]):
                below += 1
            if not self._earlier(self.heap[below], last):
                break
            self.heap[at] = self.heap[below]
            at = below
        self.heap[at] = last
        return first

    cdef int32_t _link(self, const Source* source) noexcept nogil:
        cdef int32_t i, interface = source.record.interface
        if source.reader.container == PCAPNG:
            interface -= source.reader.section
        for i in range(self.link_count):
            if self.links[i].link == source.record.link and self.links[i].interface == interface:
                return i
        if self.link_count == MAX_LINKS:
            for i in range(MAX_LINKS):
                if self.links[i].link == source.record.link:
                    return i
            return -1
        return self.link_count

    def take(self, uint8_t[::1] out):
        """Fill ``out`` with blocks of pcapng; the octets written, 0 at the end. ValueError where no record fits."""
        cdef int64_t used = 0
        with nogil:
            used = self._fill(&out[0] if out.shape[0] else NULL, out.shape[0])
        if used < 0:
            raise ValueError(f"a record needs {-used} octets")
        return used

    cdef int64_t _fill(self, uint8_t* out, int64_t room) noexcept nogil:
        cdef int64_t used = 0, wanted
        cdef int32_t index, link
        cdef Source* source
        cdef Record* record
        while self.waiting:
            source = &self.sources[self.heap[0]]
            record = &source.record
            wanted = PACKET_OCTETS + padded(record.captured) + INTERFACE_OCTETS + SECTION_OCTETS
            if wanted > room - used:
                return used if used else -wanted
            if not self.begun:
                put_section(out + used)
                used += SECTION_OCTETS
                self.begun = True
            link = self._link(source)
            if link >= 0:
                if link == self.link_count:
                    self.links[link].link = record.link
                    self.links[link].interface = record.interface
                    if source.reader.container == PCAPNG:
                        self.links[link].interface -= source.reader.section
                    self.link_count += 1
                    put_interface(out + used, record.link)
                    used += INTERFACE_OCTETS
                put_packet(out + used, link, record.time_ns, record.captured, record.original)
                if record.captured:
                    memcpy(out + used + 28, source.reader.data + record.offset, record.captured)
                used += PACKET_OCTETS + padded(record.captured)
                self.packets += 1
            index = self._take()
            self._read(index)
        return used
