# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Packets into spools: one pass over frames of any source, a table of ways (socket to socket), and spools.

A packet of a way that is known goes to the way's spool without a Python object. The run stops at what Python decides:
the first packet of a way, a signalling message, a segment of a connection that carries signalling.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from callreplay.packets.classify cimport is_dtls, is_q931, is_sip, is_stun, is_udptl, is_websocket_sip, is_zrtp
from callreplay.packets.connections cimport kind_by_content, kind_by_port
from callreplay.packets.fragments cimport Fragments, free_fragments, new_fragments
from callreplay.packets.packet cimport *
from callreplay.packets.peel cimport peel
from callreplay.packets.records cimport *
from callreplay.packets.tables cimport STREAM_HEP, STREAM_SIP, STREAM_TLS, STREAM_WEBSOCKET
from callreplay.packets.wire cimport be16, be32
from callreplay.splitting.pcapng cimport *

import os

cdef extern from "<fcntl.h>" nogil:
    int openat(int, const char*, int, ...)
    int O_WRONLY, O_CREAT, O_APPEND, O_CLOEXEC, O_NOFOLLOW

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void**, size_t, size_t)

cdef extern from * nogil:
    """
    #define callreplay_prefetch(address) __builtin_prefetch((address), 1)
    """
    void callreplay_prefetch(const void*)

cdef extern from "<unistd.h>" nogil:
    Py_ssize_t write(int, const void*, size_t)
    int close(int)
    int ftruncate(int, int64_t)

# What run() stopped at.
cdef enum Stop:
    STOP_MORE = 0        # as many records as were asked for
    STOP_END = 1         # the octets are used up
    STOP_CUT = 2         # they end inside a record, where ``used`` says
    STOP_WAY = 3         # the first media packet of a way
    STOP_MESSAGE = 4     # a datagram with a SIP message
    STOP_SEGMENT = 5     # what carries messages: a segment, the chunks of SCTP, a message that a HEP agent took from TCP
    STOP_DAMAGED = 6     # a record that makes no sense, where ``used`` says

# Kinds of notes, as the scanner has them.
cdef enum:
    NOTE_TCP_SIP = 3
    NOTE_TCP_SKINNY = 4
    NOTE_SIP_STREAM = 5
    NOTE_TCP_WEBSOCKET = 6
    NOTE_TCP_TLS = 7
    NOTE_TCP_HEP = 8
    NOTE_SCTP = 9
    NOTE_PACKED = 10
    NOTE_FRAME = 11

cdef enum WayState:
    WAY_NEW = 0
    WAY_PLACED = 1       # its packets have a spool
    WAY_BESIDE = 2       # STUN and the like that nobody announced: no spool yet
    WAY_SIGNALLING = 3

cdef enum:
    LINK_RAW = 101
    MAX_LINKS = 64
    NAME_OCTETS = 64
    SPILL_OCTETS = 1 << 18
    BY_PORT = 0x80
    AHEAD = 16            # records read ahead, a power of two
    AHEAD_SPOOL = 10      # so far ahead its spool is asked for, and then the spool's octets
    AHEAD_OCTETS = 5

cdef int64_t MAX_WAYS = 1 << 20
cdef int64_t MAX_SPOOLS = 1 << 19
cdef int64_t SHRINK_OCTETS = 1 << 17
cdef int64_t BLOCK_HEAD = 48  # of struct tpacket_block_desc and of struct tpacket3_hdr
cdef int64_t SECOND = 1000000000
cdef int64_t LEAP_NS = 60 * SECOND
cdef int32_t LEAP_PACKETS = 64
cdef int64_t LARGE_FRAME = 1600  # above Ethernet's 1,518 with tags and a tunnel's headers

WAYS_AT_MOST = MAX_WAYS
SPOOLS_AT_MOST = MAX_SPOOLS

cdef struct Way:          # one line of the cache
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t source_port
    uint16_t destination_port
    uint8_t version
    uint8_t transport
    uint8_t state
    uint8_t kind          # of TCP: a StreamKind, with BY_PORT where it is no more than what the port says
    uint8_t used
    uint8_t run           # packets in a row of one SSRC, while the spool is not believed
    uint16_t sequence     # of the last of them
    uint32_t ssrc
    int32_t spool
    int32_t next          # in its bucket, or of the unused
    int64_t last_ns

cdef struct Spool:
    uint8_t* octets
    int64_t used
    int64_t room
    int64_t written       # octets of the file
    int64_t packets
    int64_t first_ns
    int64_t last_ns
    int32_t links         # interfaces that the file has
    uint8_t live
    uint8_t believed      # is to be kept: signalling names it, or it shows RTP
    char[NAME_OCTETS] name
    int32_t next
    uint8_t[60] unused    # to the end of a line of the cache

cdef struct Link:
    int32_t link
    int32_t interface

cdef struct Ahead:        # a record that was read ahead, and the way that it most likely is of
    Record record
    int32_t way


@cython.final
cdef class Splitter:
    """The table and the spools; see ``splitter.pyi``."""

    cdef Reader reader
    cdef Fragments fragments
    cdef Spill spill
    cdef Packet packet
    cdef Way* ways
    cdef Spool* spools
    cdef int32_t* buckets
    cdef uint64_t mask, seed
    cdef int32_t way_count, way_room, way_unused, ways_live
    cdef int32_t spool_count, spool_room, spool_unused, spools_live
    cdef Link[MAX_LINKS] links
    cdef int32_t link_count
    cdef const uint8_t[::1] data
    cdef const uint8_t* frame     # of the pending packet, as it was captured
    cdef int64_t frame_captured, frame_original, frame_ns
    cdef int32_t frame_link, frame_interface
    cdef int32_t pending_way
    cdef uint8_t pending_kind
    cdef bint pending_media
    cdef Ahead[AHEAD] queue
    cdef int32_t queue_first, queued
    cdef int ending
    cdef bint ring
    cdef int64_t ring_next, ring_left
    cdef bint outgoing
    cdef bint stream
    cdef bint failed
    cdef public int64_t used
    cdef readonly int64_t last_ns, buffered
    cdef int64_t leap_ns
    cdef int32_t leapt
    cdef uint64_t records, media, beside, other, segments, messages, nothing, no_room, unread, cut, large

    def __cinit__(self):
        memset(&self.reader, 0, sizeof(Reader))
        memset(&self.fragments, 0, sizeof(Fragments))
        memset(&self.packet, 0, sizeof(Packet))
        self.ways, self.spools, self.buckets = NULL, NULL, NULL
        self.spill.octets = NULL

    def __init__(self):
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.mask = 4095
        self.buckets = <int32_t*>malloc(4096 * sizeof(int32_t))
        self.spill.octets = <uint8_t*>malloc(SPILL_OCTETS)
        self.spill.capacity = SPILL_OCTETS
        if self.buckets == NULL or self.spill.octets == NULL or new_fragments(&self.fragments):
            raise MemoryError("no memory for the splitter")
        memset(self.buckets, 0xFF, 4096 * sizeof(int32_t))
        self.way_unused = self.spool_unused = -1
        self.links[0].link, self.links[0].interface = LINK_RAW, -1  # what was put together again
        self.link_count = 1
        self.pending_way = -1

    def __dealloc__(self):
        cdef int32_t i
        free_reader(&self.reader)
        free_fragments(&self.fragments)
        for i in range(self.spool_count):
            free(self.spools[i].octets)
        free(self.spools)
        free(self.ways)
        free(self.buckets)
        free(self.spill.octets)

    # Sources.

    def open(self, const uint8_t[::1] data, int container, *, int64_t position=0, bint big=False, bint nano=False,
             int header=16, int link=1, bint stream=False):
        """Begin a pcap, pcapng or snoop file, whole in ``data``; of a ``stream`` it holds the beginning."""
        if container not in (1, 2, 5) or not 0 <= position <= data.shape[0] or header not in (16, 24):
            raise ValueError("nothing to split")
        free_reader(&self.reader)
        memset(&self.reader, 0, sizeof(Reader))
        self.reader.container = <Container>container
        self.reader.big, self.reader.nano, self.reader.header, self.reader.link = big, nano, header, link
        self.stream = stream
        self.feed(data, position)

    def feed(self, const uint8_t[::1] data, int64_t position=0):
        """Go on with the octets of a stream from ``position`` on."""
        if not 0 <= position <= data.shape[0] or not self.reader.container:
            raise ValueError("nothing to split")
        self._begin()
        self.ring = False
        self.data = data
        self.reader.data = &data[0] if data.shape[0] else NULL
        self.reader.size, self.reader.position = data.shape[0], position
        self.reader.truncated = self.reader.damaged = False
        self.used = position

    cdef int _begin(self) except -1:
        if self.queued:
            raise ValueError("the octets before are not through yet")
        self.ending = 0
        self.pending_way = -1
        return 0

    def block(self, const uint8_t[::1] data, int link, bint outgoing):
        """Take a block of a TPACKET_V3 ring; ``outgoing``: with what this host sends."""
        cdef const uint8_t* p
        cdef uint32_t packets, first, length
        if data.shape[0] < BLOCK_HEAD:
            raise ValueError("no block of a ring")
        p = &data[0]
        memcpy(&packets, p + 12, 4)
        memcpy(&first, p + 16, 4)
        memcpy(&length, p + 20, 4)
        self._begin()
        self.data = data
        self.ring, self.outgoing = True, outgoing
        self.reader.link = link
        self.ring_next, self.ring_left = first, packets

    def rest(self):
        """Let go of the octets of the source, which are through."""
        self._begin()
        self.ring = False
        self.data = None
        self.reader.data = NULL
        self.reader.size = self.reader.position = 0

    cdef int _ring_record(self, Record* record) noexcept nogil:
        """The next packet of a block. The kernel's lengths are checked like everyone's."""
        cdef const uint8_t* p
        cdef uint32_t step, seconds, below, captured, original
        cdef uint16_t mac
        cdef int64_t size = self.data.shape[0]
        while self.ring_left > 0:
            if self.ring_next < BLOCK_HEAD or self.ring_next + BLOCK_HEAD + 20 > size:
                return RECORD_END
            p = &self.data[0] + self.ring_next
            memcpy(&step, p, 4)
            memcpy(&seconds, p + 4, 4)
            memcpy(&below, p + 8, 4)
            memcpy(&captured, p + 12, 4)
            memcpy(&original, p + 16, 4)
            memcpy(&mac, p + 24, 2)
            self.ring_left -= 1
            record.offset = self.ring_next + mac
            self.ring_next += step
            if not step:
                self.ring_left = 0
            if record.offset + captured > size:
                return RECORD_END
            # struct sockaddr_ll: its type 4 is a packet that this host sends.
            if p[BLOCK_HEAD + 10] == 4 and not self.outgoing:
                continue
            record.captured, record.original = captured, original if original > captured else captured
            record.time_ns = <int64_t>seconds * SECOND + below
            record.link, record.interface = self.reader.link, 0
            return RECORD
        return RECORD_END

    def run(self, int64_t most, int64_t until_ns=0x7FFFFFFFFFFFFFFF):
        """Split up to ``most`` records, or until one has a time of ``until_ns`` or later; a STOP_… code.

        What is pending then is placed, or dropped by the next run.
        """
        cdef int stop
        with nogil:
            stop = self._run(most, until_ns)
        if self.failed:
            self.failed = False
            raise MemoryError("no memory for the packets of the spools")
        return stop

    cdef int _run(self, int64_t most, int64_t until_ns) noexcept nogil:
        cdef Ahead* next
        cdef int64_t _i
        cdef int stop
        self.pending_way = -1
        self.pending_media = False
        for _i in range(most):
            while self.queued < AHEAD and not self.ending:
                self.ending = self._read_ahead()
            if not self.queued:
                stop, self.ending = self.ending, 0
                return stop
            self._ask_for(AHEAD_SPOOL, False)
            self._ask_for(AHEAD_OCTETS, True)
            next = &self.queue[self.queue_first]
            self.queue_first = (self.queue_first + 1) & (AHEAD - 1)
            self.queued -= 1
            stop = self._record(&next.record)
            if stop or self.failed:
                return stop
            if self.last_ns >= until_ns:
                return STOP_MORE
        return STOP_MORE

    cdef int _read_ahead(self) noexcept nogil:
        """Put the next record into the queue; a STOP_… code where there is none."""
        cdef Ahead* next = &self.queue[(self.queue_first + self.queued) & (AHEAD - 1)]
        cdef int64_t position = self.reader.position
        cdef int status
        if self.ring:
            status = self._ring_record(&next.record)
        else:
            status = next_record(&self.reader, &next.record)
            if self.stream and self.reader.truncated:
                # The record goes on in octets that are not there yet.
                self.used = position
                return STOP_CUT
            self.used = self.reader.position
            if self.reader.container == PCAPNG:
                next.record.interface -= self.reader.section
        if status == NO_MEMORY:
            self.failed = True
            return STOP_END
        if status == RECORD_END:
            if self.reader.damaged and not self.ring:
                self.used = self.reader.stop_offset
                return STOP_DAMAGED
            return STOP_END
        next.way = self._likely(&next.record)
        self.queued += 1
        return 0

    cdef int32_t _likely(self, const Record* record) noexcept nogil:
        """The first way in the bucket of a plain UDP packet, asked for from memory; -1 for none.

        Ways, spools and their octets lie all over the memory: asked for some packets ahead, they are there in time.
        """
        cdef const uint8_t* p = &self.data[0] + record.offset
        cdef uint64_t[4] ends
        cdef uint32_t address
        cdef uint64_t bucket
        cdef int32_t index
        if record.link != 1 or record.captured < 42 or be16(p + 12) != 0x0800 or p[14] != 0x45 or p[23] != 17:
            return -1
        memcpy(&address, p + 26, 4)
        ends[0], ends[1] = address, 0
        memcpy(&address, p + 30, 4)
        ends[2], ends[3] = address, 0
        bucket = self._hash(ends, ends + 2, <uint64_t>17 << 40 | <uint64_t>4 << 32 | be32(p + 34)) & self.mask
        index = self.buckets[bucket]
        if index >= 0:
            callreplay_prefetch(&self.ways[index])
        return index

    cdef inline void _ask_for(self, int32_t ahead, bint octets) noexcept nogil:
        cdef const Ahead* next = &self.queue[(self.queue_first + ahead) & (AHEAD - 1)]
        cdef int32_t spool
        if ahead >= self.queued or not 0 <= next.way < self.way_count:
            return
        spool = self.ways[next.way].spool
        if 0 <= spool < self.spool_count:
            if octets:
                callreplay_prefetch(self.spools[spool].octets + self.spools[spool].used)
                callreplay_prefetch(self.spools[spool].octets + self.spools[spool].used + 64)
                callreplay_prefetch(self.spools[spool].octets + self.spools[spool].used + 128)
            else:
                callreplay_prefetch(&self.spools[spool])

    cdef int _record(self, const Record* record) noexcept nogil:
        cdef Packet* packet = &self.packet
        cdef int found
        cdef const uint8_t* base = &self.data[0]
        self.records += 1
        self._tell_time(record.time_ns)
        self.frame = base + record.offset
        self.frame_captured, self.frame_original = record.captured, record.original
        self.frame_ns, self.frame_link = record.time_ns, record.link
        self.frame_interface = record.interface
        packet.base = base
        packet.offset = record.offset
        packet.end = record.offset + record.captured
        packet.time_ns = record.time_ns
        packet.cut = record.captured < record.original
        packet.spilled = False
        self.cut += packet.cut
        self.large += record.original > LARGE_FRAME
        self.spill.size = 0
        found = peel(packet, record.link, &self.fragments, &self.spill)
        if found == FOUND_UDP:
            return self._datagram(packet)
        if found == FOUND_TCP:
            return self._segment(packet)
        if found == FOUND_MESSAGE:
            return self._taken(packet)
        if found == FOUND_SCTP:
            return self._chunks(packet)
        if found == FOUND_PACKED:
            return self._pend(packet, NOTE_PACKED)
        self.nothing += packet.reason != FRAGMENT
        return 0

    cdef void _tell_time(self, int64_t time_ns) noexcept nogil:
        """Let the capture's clock go on. A leap, either way, is believed once many packets in a row are there."""
        cdef int64_t ahead = time_ns - self.last_ns
        if self.records == 1 or 0 <= ahead < LEAP_NS:
            self.last_ns = time_ns
            self.leapt = 0
        elif ahead >= LEAP_NS or ahead <= -LEAP_NS:
            if -LEAP_NS < time_ns - self.leap_ns < LEAP_NS:
                self.leapt += 1
                if self.leapt >= LEAP_PACKETS:
                    self.last_ns = time_ns
                    self.leapt = 0
            else:
                self.leapt = 1
            self.leap_ns = time_ns

    cdef int _pend(self, Packet* packet, uint8_t kind) noexcept nogil:
        """Stop at a note for the reader of messages."""
        cdef int32_t way = self._find(packet, True)
        if way < 0:
            return 0
        self.ways[way].state = WAY_SIGNALLING
        self.ways[way].last_ns = self.last_ns
        self.pending_way, self.pending_kind = way, kind
        return STOP_SEGMENT

    cdef int _datagram(self, Packet* packet) noexcept nogil:
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef bint media
        cdef int32_t index
        if size < 1:
            self.other += 1
            return 0
        if p[0] & 0xC0 == 0x80:
            if size < 8:
                self.other += 1
                return 0
            media = True
        elif is_sip(p, size):
            self.messages += 1
            index = self._find(packet, True)
            if index < 0:
                return 0
            self.ways[index].last_ns = self.last_ns
            if self.ways[index].state == WAY_NEW:
                self.ways[index].state = WAY_SIGNALLING
            self.pending_way, self.pending_kind = index, 0
            return STOP_MESSAGE
        elif is_stun(p, size) or is_dtls(p, size) or is_zrtp(p, size) or is_udptl(p, size):
            media = False
        else:
            self.other += 1
            return 0
        index = self._find(packet, True)
        if index < 0:
            return 0
        self.media += media
        self.beside += not media
        cdef Way* way = &self.ways[index]
        way.last_ns = self.last_ns
        if way.state == WAY_PLACED:
            if media and not self.spools[way.spool].believed:
                self._believe(way, p, size)
            self._append(&self.spools[way.spool])
            return 0
        if way.state == WAY_BESIDE and not media:
            return 0
        self.pending_way, self.pending_media = index, media
        return STOP_WAY

    cdef void _believe(self, Way* way, const uint8_t* p, int64_t size) noexcept nogil:
        """Two packets in sequence of one SSRC, or eight of it in whatever order, are worth a look by the scanner."""
        cdef uint16_t sequence
        cdef uint32_t ssrc
        if size < 12 or 200 <= p[1] <= 207:
            return
        sequence, ssrc = <uint16_t>be16(p + 2), be32(p + 8)
        if way.run and ssrc == way.ssrc:
            way.run += way.run < 255
            if <uint16_t>(sequence - way.sequence) == 1 or way.run >= 8:
                self.spools[way.spool].believed = 1
        else:
            way.run = 1
        way.ssrc, way.sequence = ssrc, sequence

    cdef int _segment(self, Packet* packet) noexcept nogil:
        """As the scanner does: which connections carry signalling shows by their octets, else by their ports."""
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef uint8_t kind = kind_by_content(p, size)
        cdef uint8_t port_kind = 0 if kind else kind_by_port(packet)
        cdef int32_t index
        cdef Way* way
        self.segments += 1
        if size < 1 and not packet.tcp_flags & 2:
            return 0
        if kind == STREAM_TLS or (not kind and is_q931(p, size)):
            self.unread += 1
            return 0
        index = self._find(packet, kind or port_kind)
        if index < 0:
            return 0
        way = &self.ways[index]
        if kind and (not way.kind or way.kind & BY_PORT):
            way.kind = kind
        elif not way.kind and port_kind:
            way.kind = port_kind | BY_PORT
        way.state = WAY_SIGNALLING
        way.last_ns = self.last_ns
        self.pending_way = index
        kind = way.kind & 0x7F
        if kind == STREAM_SIP:
            self.pending_kind = NOTE_TCP_SIP
        elif kind == STREAM_WEBSOCKET:
            self.pending_kind = NOTE_TCP_WEBSOCKET
        elif kind == STREAM_HEP:
            self.pending_kind = NOTE_TCP_HEP
        else:
            self.pending_kind = NOTE_TCP_SKINNY
        return STOP_SEGMENT

    cdef int _taken(self, Packet* packet) noexcept nogil:
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef bint framed = is_websocket_sip(p, size)
        if not framed and not is_sip(p, size):
            self.other += 1
            return 0
        return self._pend(packet, NOTE_FRAME if framed else NOTE_SIP_STREAM)

    cdef int _chunks(self, Packet* packet) noexcept nogil:
        """An SCTP packet whose chunks of data begin with SIP, or that runs to SIP's port."""
        cdef int64_t at = packet.offset, length, head
        cdef const uint8_t* p
        cdef bint sip = packet.source_port == 5060 or packet.destination_port == 5060
        while packet.end - at >= 4:
            p = packet.base + at
            length = be16(p + 2)
            head = 16 if p[0] == 0 else 20
            if length < 4:
                break
            if (p[0] == 0 or p[0] == 64) and length > head and packet.end - at > head:
                sip = sip or is_sip(p + head, min(length, packet.end - at) - head)
            at += (length + 3) & ~<int64_t>3
        if not sip:
            self.other += 1
            return 0
        return self._pend(packet, NOTE_SCTP)

    # The table of ways.

    cdef inline uint64_t _hash(self, const uint64_t* source, const uint64_t* destination,
                               uint64_t ports) noexcept nogil:
        cdef uint64_t h = self.seed ^ source[0]
        h = _fold(h + source[1])
        h = _fold(h ^ destination[0]) + destination[1]
        return _fold(h ^ (ports * <uint64_t>0x9E3779B97F4A7C15))

    cdef int32_t _find(self, const Packet* packet, bint make) noexcept nogil:
        """The way of a packet; -1 where it is not there, -2 where there is no room for it."""
        cdef uint64_t ports = (<uint64_t>packet.transport << 40 | <uint64_t>packet.version << 32
                               | <uint64_t>packet.source_port << 16 | packet.destination_port)
        cdef uint64_t bucket = self._hash(packet.source, packet.destination, ports) & self.mask
        cdef int32_t index = self.buckets[bucket]
        cdef Way* way
        while index >= 0:
            way = &self.ways[index]
            if (way.source[0] == packet.source[0] and way.destination[0] == packet.destination[0]
                    and way.source_port == packet.source_port and way.destination_port == packet.destination_port
                    and way.source[1] == packet.source[1] and way.destination[1] == packet.destination[1]
                    and way.transport == packet.transport and way.version == packet.version):
                return index
            index = way.next
        if not make:
            return -1
        index = self._new_way()
        if index < 0:
            self.no_room += 1
            return -2
        if self.ways_live > <int64_t>self.mask:
            self._rehash()
        bucket = self._hash(packet.source, packet.destination, ports) & self.mask
        way = &self.ways[index]
        memset(way, 0, sizeof(Way))
        memcpy(way.source, packet.source, 16)
        memcpy(way.destination, packet.destination, 16)
        way.source_port, way.destination_port = packet.source_port, packet.destination_port
        way.version, way.transport = packet.version, packet.transport
        way.spool, way.used = -1, 1
        way.next = self.buckets[bucket]
        self.buckets[bucket] = index
        return index

    cdef int32_t _new_way(self) noexcept nogil:
        cdef Way* grown
        cdef int32_t index = self.way_unused
        if self.ways_live >= MAX_WAYS:
            return -1
        if index >= 0:
            self.way_unused = self.ways[index].next
        else:
            if self.way_count == self.way_room:
                grown = <Way*>_lines((2 * self.way_room + 1024) * sizeof(Way), self.ways,
                                     self.way_count * sizeof(Way))
                if grown == NULL:
                    self.failed = True
                    return -1
                self.ways = grown
                self.way_room = 2 * self.way_room + 1024
            index = self.way_count
            self.way_count += 1
            self.ways[index].used = 0
        self.ways_live += 1
        return index

    cdef uint64_t _bucket(self, const Way* way) noexcept nogil:
        return self._hash(way.source, way.destination, <uint64_t>way.transport << 40 | <uint64_t>way.version << 32
                          | <uint64_t>way.source_port << 16 | way.destination_port) & self.mask

    cdef void _rehash(self) noexcept nogil:
        cdef uint64_t mask = 4 * self.mask + 3, bucket
        cdef int32_t* buckets = <int32_t*>malloc((mask + 1) * sizeof(int32_t))
        cdef int32_t i
        if buckets == NULL:
            return  # longer chains are slow, not wrong
        memset(buckets, 0xFF, (mask + 1) * sizeof(int32_t))
        free(self.buckets)
        self.buckets, self.mask = buckets, mask
        for i in range(self.way_count):
            # The one that is being made has no sockets yet, and is put in by its maker.
            if self.ways[i].used:
                bucket = self._bucket(&self.ways[i])
                self.ways[i].next = buckets[bucket]
                buckets[bucket] = i

    def forget(self, int32_t index):
        """Take a way out of the table: its next packet is that of a new one."""
        cdef uint64_t bucket
        cdef int32_t* at
        self._check_way(index)
        bucket = self._bucket(&self.ways[index])
        at = &self.buckets[bucket]
        while at[0] >= 0 and at[0] != index:
            at = &self.ways[at[0]].next
        if at[0] == index:
            at[0] = self.ways[index].next
        self.ways[index].used = 0
        self.ways[index].next = self.way_unused
        self.way_unused = index
        self.ways_live -= 1
        if self.pending_way == index:
            self.pending_way = -1

    def stale(self, int64_t before_ns):
        """The ways without a spool that were last met before ``before_ns``."""
        cdef int32_t i
        found = []
        for i in range(self.way_count):
            if self.ways[i].used and self.ways[i].state != WAY_PLACED and self.ways[i].last_ns < before_ns:
                found.append(i)
        return found

    cdef int _check_way(self, int32_t index) except -1:
        if not 0 <= index < self.way_count or not self.ways[index].used:
            raise IndexError(index)
        return 0

    def way(self, int32_t index):
        """(source, source port, destination, destination port) of a way, addresses as octets."""
        self._check_way(index)
        cdef Way* way = &self.ways[index]
        cdef int octets = 16 if way.version == 6 else 4
        return (PyBytes_FromStringAndSize(<char*>way.source, octets), way.source_port,
                PyBytes_FromStringAndSize(<char*>way.destination, octets), way.destination_port)

    def spool_of(self, int32_t index):
        """The spool of a way, -1 for none."""
        self._check_way(index)
        return self.ways[index].spool if self.ways[index].state == WAY_PLACED else -1

    def place(self, int32_t index, int32_t spool):
        """From now on the packets of a way go to ``spool``."""
        self._check_way(index)
        self._check_spool(spool)
        self.ways[index].spool, self.ways[index].state = spool, WAY_PLACED

    def leave(self, int32_t index):
        """A way that carries nothing but STUN and the like that nobody announced: stop at it again for media."""
        self._check_way(index)
        self.ways[index].state = WAY_BESIDE

    # What is pending.

    def pending(self):
        """(way, kind of note, whether it is media, time in ns, TCP sequence, TCP flags) of what run() stopped at."""
        return (self.pending_way, self.pending_kind, bool(self.pending_media), self.packet.time_ns,
                self.packet.tcp_sequence, self.packet.tcp_flags)

    def payload(self):
        """The octets of what is pending: a message, a segment."""
        if self.pending_way < 0 or self.packet.end <= self.packet.offset:
            return b""
        return PyBytes_FromStringAndSize(<char*>(self.packet.base + self.packet.offset),
                                         self.packet.end - self.packet.offset)

    def pending_frame(self):
        """(link type, time in ns, octets on the wire, octets) of the frame that is pending, for another splitter."""
        cdef int64_t size, header
        if self.pending_way < 0:
            raise ValueError("nothing is pending")
        if not self.packet.spilled:
            return (self.frame_link, self.frame_ns, self.frame_original,
                    PyBytes_FromStringAndSize(<char*>self.frame, self.frame_captured))
        size = self.packet.end - self.packet.offset
        header = 28 if self.packet.version == 4 else 48
        made = bytearray(size + header)
        cdef uint8_t[::1] view = made
        _put_udp(&view[0], &self.packet, size)
        if size:
            memcpy(&view[0] + header, self.packet.base + self.packet.offset, size)
        return LINK_RAW, self.packet.time_ns, size + header, bytes(made)

    def keep(self, int32_t spool):
        """Put the frame that is pending into ``spool``; False where a spool is full."""
        self._check_spool(spool)
        if self.pending_way < 0:
            raise ValueError("nothing is pending")
        cdef const uint8_t* p = self.packet.base + self.packet.offset
        if self.pending_media:
            self._believe_first(&self.ways[self.pending_way], p, self.packet.end - self.packet.offset)
        self._append(&self.spools[spool])
        if self.failed:
            self.failed = False
            raise MemoryError("no memory for the packets of the spools")

    cdef void _believe_first(self, Way* way, const uint8_t* p, int64_t size) noexcept nogil:
        if way.state == WAY_PLACED and not self.spools[way.spool].believed:
            self._believe(way, p, size)

    def write(self, int32_t spool, int64_t time_ns, const uint8_t[::1] frame):
        """Put an IP packet of our own making into ``spool``."""
        self._check_spool(spool)
        cdef Spool* chosen = &self.spools[spool]
        cdef uint8_t* to = self._room(chosen, 0, frame.shape[0], frame.shape[0], time_ns)
        if to == NULL:
            self.failed = False
            raise MemoryError("no memory for the packets of the spools")
        if frame.shape[0]:
            memcpy(to, &frame[0], frame.shape[0])

    # Spools.

    cdef int _check_spool(self, int32_t index) except -1:
        if not 0 <= index < self.spool_count or not self.spools[index].live:
            raise IndexError(index)
        return 0

    def spool(self, bytes name, bint believed):
        """A new spool whose file will have ``name``; -1 where there are too many."""
        cdef Spool* grown
        cdef int32_t index = self.spool_unused
        if not 0 < len(name) < NAME_OCTETS or b"/" in name or b"\0" in name:
            raise ValueError(f"no name of a spool: {name!r}")
        if self.spools_live >= MAX_SPOOLS:
            self.no_room += 1
            return -1
        if index >= 0:
            self.spool_unused = self.spools[index].next
        else:
            if self.spool_count == self.spool_room:
                grown = <Spool*>_lines((2 * self.spool_room + 256) * sizeof(Spool), self.spools,
                                       self.spool_count * sizeof(Spool))
                if grown == NULL:
                    raise MemoryError("no memory for the spools")
                self.spools = grown
                self.spool_room = 2 * self.spool_room + 256
            index = self.spool_count
            self.spool_count += 1
        memset(&self.spools[index], 0, sizeof(Spool))
        memcpy(self.spools[index].name, <char*>name, len(name))
        self.spools[index].live, self.spools[index].believed = 1, believed
        self.spools_live += 1
        return index

    def believe(self, int32_t index):
        """The spool is to be kept whatever its packets look like."""
        self._check_spool(index)
        self.spools[index].believed = 1

    def believed(self, int32_t index):
        """Whether the spool is to be kept."""
        self._check_spool(index)
        return bool(self.spools[index].believed)

    def rename(self, int32_t index, bytes name):
        """What comes from now on goes to another file. What is buffered must have been flushed."""
        self._check_spool(index)
        cdef Spool* chosen = &self.spools[index]
        if chosen.used:
            raise ValueError("flush the spool first")
        if not 0 < len(name) < NAME_OCTETS or b"/" in name or b"\0" in name:
            raise ValueError(f"no name of a spool: {name!r}")
        memset(chosen.name, 0, NAME_OCTETS)
        memcpy(chosen.name, <char*>name, len(name))
        chosen.written = chosen.packets = chosen.first_ns = 0
        chosen.links = 0

    def drop(self, int32_t index):
        """Let go of a spool and what is buffered of it; its file stays. No way may lead to it any more."""
        self._check_spool(index)
        cdef Spool* chosen = &self.spools[index]
        self.buffered -= chosen.used
        free(chosen.octets)
        memset(chosen, 0, sizeof(Spool))
        chosen.next = self.spool_unused
        self.spool_unused = index
        self.spools_live -= 1

    def figures(self, int32_t index):
        """(octets in all, octets of the file, packets, first ns, last ns) of a spool."""
        self._check_spool(index)
        cdef Spool* chosen = &self.spools[index]
        return chosen.written + chosen.used, chosen.written, chosen.packets, chosen.first_ns, chosen.last_ns

    def last_of(self, spools):
        """The latest packet's time in ns of several spools, 0 without any."""
        cdef int64_t last = 0
        cdef int32_t index
        for index in spools:
            self._check_spool(index)
            last = max(last, self.spools[index].last_ns)
        return last

    cdef uint8_t* _room(self, Spool* spool, int32_t link, int64_t captured, int64_t original,
                        int64_t time_ns) noexcept nogil:
        """Room for a frame at the end of a spool, its block's head and tail written; NULL without memory."""
        cdef int64_t wanted = PACKET_OCTETS + padded(captured)
        cdef uint8_t* grown
        cdef int64_t room
        if spool.links <= link:
            wanted += (link + 1 - spool.links) * INTERFACE_OCTETS + SECTION_OCTETS
        if spool.room - spool.used < wanted:
            room = max(2 * spool.room, spool.used + wanted, <int64_t>2048)
            grown = <uint8_t*>realloc(spool.octets, room)
            if grown == NULL:
                self.failed = True
                return NULL
            spool.octets, spool.room = grown, room
        self.buffered -= spool.used
        if spool.links == 0 and spool.written + spool.used == 0:
            put_section(spool.octets + spool.used)
            spool.used += SECTION_OCTETS
        while spool.links <= link:
            put_interface(spool.octets + spool.used, self.links[spool.links].link)
            spool.used += INTERFACE_OCTETS
            spool.links += 1
        grown = spool.octets + spool.used
        put_packet(grown, link, time_ns, captured, original)
        spool.used += PACKET_OCTETS + padded(captured)
        self.buffered += spool.used
        # By the clock of all packets: one whose own time is odd must keep no spool open.
        if not spool.packets:
            spool.first_ns = self.last_ns
        spool.last_ns = self.last_ns
        spool.packets += 1
        return grown + 28

    cdef int32_t _link(self) noexcept nogil:
        """The number of the frame's interface among those that spools have."""
        cdef int32_t i
        for i in range(1, self.link_count):
            if self.links[i].link == self.frame_link and self.links[i].interface == self.frame_interface:
                return i
        if self.link_count == MAX_LINKS:
            for i in range(1, self.link_count):
                if self.links[i].link == self.frame_link:
                    return i
            return -1
        self.links[self.link_count].link = self.frame_link
        self.links[self.link_count].interface = self.frame_interface
        self.link_count += 1
        return self.link_count - 1

    cdef void _append(self, Spool* spool) noexcept nogil:
        """The frame at hand, as it was captured; what was put together from fragments as one IP packet."""
        cdef uint8_t* to
        cdef int32_t link
        cdef int64_t size, header
        if self.packet.spilled:
            size = self.packet.end - self.packet.offset
            header = 28 if self.packet.version == 4 else 48
            to = self._room(spool, 0, size + header, size + header, self.packet.time_ns)
            if to != NULL:
                _put_udp(to, &self.packet, size)
                memcpy(to + header, self.packet.base + self.packet.offset, size)
            return
        link = self._link()
        if link < 0:
            self.no_room += 1
            return
        to = self._room(spool, link, self.frame_captured, self.frame_original, self.frame_ns)
        if to != NULL:
            memcpy(to, self.frame, self.frame_captured)

    def flush(self, int folder, int64_t least=1, spools=None):
        """Append what is buffered of believed spools to their files in the directory ``folder``; octets written.

        Without ``spools``, of all with ``least`` octets. Raises OSError where a file cannot be written; what is not in
        it stays buffered, and its file has whole blocks.
        """
        cdef int32_t index
        cdef int64_t octets = 0, done
        cdef int failed = 0
        if spools is None:
            with nogil:
                for index in range(self.spool_count):
                    if self.spools[index].live and self.spools[index].believed and self.spools[index].used >= least:
                        done = self._flush(&self.spools[index], folder)
                        if done < 0:
                            failed = <int>-done
                            break
                        octets += done
        else:
            for index in spools:
                self._check_spool(index)
                if self.spools[index].used:
                    done = self._flush(&self.spools[index], folder)
                    if done < 0:
                        failed = <int>-done
                        break
                    octets += done
        if failed:
            raise OSError(failed, os.strerror(failed))
        return octets

    cdef int64_t _flush(self, Spool* spool, int folder) noexcept nogil:
        """Octets written, or minus the error's number."""
        cdef int fd = openat(folder, spool.name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        cdef int64_t done = 0
        cdef Py_ssize_t got
        cdef int reason
        if fd < 0:
            return -<int64_t>errno
        while done < spool.used:
            got = write(fd, spool.octets + done, spool.used - done)
            if got < 0:
                if errno == EINTR:
                    continue
                reason = errno
                ftruncate(fd, spool.written)
                close(fd)
                return -<int64_t>reason
            done += got
        close(fd)
        spool.written += spool.used
        self.buffered -= spool.used
        spool.used = 0
        if spool.room > SHRINK_OCTETS:
            free(spool.octets)
            spool.octets, spool.room = NULL, 0
        return done

    def damage(self):
        """(whether the file ends inside a record, whether one makes no sense, where)."""
        return bool(self.reader.truncated), bool(self.reader.damaged), self.reader.stop_offset

    def counters(self):
        """What was counted, by name."""
        return {
            "records": self.records, "media": self.media, "beside": self.beside, "messages": self.messages,
            "segments": self.segments, "other": self.other, "nothing": self.nothing, "unread": self.unread,
            "no_room": self.no_room, "cut_by_snaplen": self.cut, "large": self.large,
            "fragments": self.fragments.fragments,
            "fragments_reassembled": self.fragments.completed,
            "ways": self.ways_live, "spools": self.spools_live,
        }


cdef void* _lines(size_t octets, void* before, size_t held) noexcept nogil:
    """Memory at the beginning of a line of the cache, with what was ``held`` before; NULL without, and all as it was."""
    cdef void* found = NULL
    if posix_memalign(&found, 64, octets):
        return NULL
    if held:
        memcpy(found, before, held)
    free(before)
    return found


cdef inline uint64_t _fold(uint64_t h) noexcept nogil:
    h = (h ^ (h >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    return h ^ (h >> 29)


cdef void _put_udp(uint8_t* p, const Packet* packet, int64_t size) noexcept nogil:
    """IP and UDP headers; lengths beyond 16 bits are left zero, which readers take for all that there is."""
    cdef int64_t whole = size + 8
    cdef uint8_t* udp
    if packet.version == 4:
        memset(p, 0, 28)
        p[0] = 0x45
        if whole + 20 < 65536:
            p[2], p[3] = <uint8_t>((whole + 20) >> 8), <uint8_t>((whole + 20) & 0xFF)
        p[8], p[9] = 64, 17
        memcpy(p + 12, packet.source, 4)
        memcpy(p + 16, packet.destination, 4)
        udp = p + 20
    else:
        memset(p, 0, 48)
        p[0] = 0x60
        if whole < 65536:
            p[4], p[5] = <uint8_t>(whole >> 8), <uint8_t>(whole & 0xFF)
        p[6], p[7] = 17, 64
        memcpy(p + 8, packet.source, 16)
        memcpy(p + 24, packet.destination, 16)
        udp = p + 40
    udp[0], udp[1] = <uint8_t>(packet.source_port >> 8), <uint8_t>(packet.source_port & 0xFF)
    udp[2], udp[3] = <uint8_t>(packet.destination_port >> 8), <uint8_t>(packet.destination_port & 0xFF)
    if whole < 65536:
        udp[4], udp[5] = <uint8_t>(whole >> 8), <uint8_t>(whole & 0xFF)
