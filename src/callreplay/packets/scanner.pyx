# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One pass over a capture: records, layers, streams; rows straight into columns. No Python object per packet."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from callreplay.arrays cimport column, length_of, written
from callreplay.packets.classify cimport (
    is_dtls, is_h248, is_mgcp, is_q931, is_sip, is_stun, is_udptl, is_websocket_sip, is_zrtp,
)
from callreplay.packets.connections cimport kind_by_content, kind_by_port
from callreplay.packets.fragments cimport Fragments, free_fragments, new_fragments
from callreplay.packets.packet cimport *
from callreplay.packets.peel cimport peel
from callreplay.packets.records cimport *
from callreplay.packets.tables cimport *
from callreplay.packets.wire cimport be16, be32

import numpy as np

cdef enum:
    NOTE_RTCP = 1
    NOTE_SIP = 2       # a datagram
    NOTE_TCP_SIP = 3   # a segment
    NOTE_TCP_SKINNY = 4
    NOTE_SIP_STREAM = 5  # a whole message that an agent took from TCP
    NOTE_TCP_WEBSOCKET = 6
    NOTE_TCP_TLS = 7
    NOTE_TCP_HEP = 8
    NOTE_SCTP = 9        # the chunks of a packet
    NOTE_PACKED = 10     # what an agent compressed
    NOTE_FRAME = 11      # a WebSocket frame that an agent took from TCP

# Bits of model.PacketFlag
cdef enum:
    MARKER = 1
    SPILL = 2
    TRUNCATED = 4
    PADDED = 32
    EXTENSION = 64

# RFC 3550 A.1
cdef int32_t MAX_DROPOUT = 3000
cdef int32_t MAX_MISORDER = 100
cdef int32_t TIMELY = 1 << 27  # ticks: 25 minutes at 90 kHz, and 1 in 32 of random timestamps
cdef int32_t MAX_UNPROVEN = 32
cdef int64_t SOON_NS = 250_000_000  # packets of audio last up to 200 ms (RFC 3551 section 4.2)
cdef int64_t NEAR = 32768  # ticks
cdef int64_t MIN_PACED = 7  # pairs: eight packets
cdef int32_t MAX_PACE = 36000  # ticks: 200 ms of any clock that there is
cdef int64_t DAY_NS = 86_400_000_000_000
cdef int64_t LARGEST_EVENT = 4 + 16  # RFC 4733, with the tag of SRTP
cdef int UNKNOWN_KINDS = 512

cdef packed struct Note:
    int64_t offset
    int64_t arrival_ns
    int32_t flow
    uint32_t size
    uint32_t tcp_sequence
    uint8_t kind
    uint8_t flags
    uint8_t tcp_flags
    uint8_t reserved

NOTE_DTYPE = np.dtype([
    ("offset", np.int64), ("arrival_ns", np.int64), ("flow", np.int32), ("size", np.uint32),
    ("tcp_sequence", np.uint32), ("kind", np.uint8), ("flags", np.uint8), ("tcp_flags", np.uint8),
    ("reserved", np.uint8),
])

cdef struct Unknown:
    int32_t reason
    int32_t value
    uint64_t count

cdef enum Status:
    OK = 0
    OUT_OF_MEMORY = 1
    COLUMNS_FULL = 2


@cython.final
cdef class Scanner:
    """The state of one scan; see ``scanner.pyi``."""

    cdef Reader reader
    cdef Fragments fragments
    cdef Spill spill
    cdef Tables tables
    cdef Packet packet
    cdef Packet fixed           # rtpdump: the ends that every record shares
    cdef Unknown* unknown
    cdef int unknown_count
    cdef object held            # what the pointers below point into
    cdef int64_t octets         # of the capture
    cdef int64_t room           # rows of the columns
    cdef int64_t note_room
    cdef int64_t* offset
    cdef int64_t* arrival_ns
    cdef uint32_t* timestamp
    cdef int32_t* stream
    cdef uint16_t* sequence
    cdef uint16_t* size
    cdef uint8_t* payload_type
    cdef uint8_t* flags
    cdef Note* notes
    cdef int64_t rows
    cdef int64_t note_count
    cdef int64_t first_ns, last_ns
    cdef int status
    cdef bint keep_rtcp, keep_tls
    cdef uint64_t records, rtp, rtcp, malformed_rtp, junk_rtp, other, cut
    cdef uint64_t sip, stun, dtls, zrtp, t38, segments, too_small

    def __cinit__(self):
        memset(&self.reader, 0, sizeof(Reader))
        memset(&self.fragments, 0, sizeof(Fragments))
        memset(&self.tables, 0, sizeof(Tables))
        memset(&self.packet, 0, sizeof(Packet))
        memset(&self.fixed, 0, sizeof(Packet))
        self.unknown = NULL

    def __init__(self, data, int container, columns, notes, spill, *,
                 int64_t position=0, bint big=False, bint nano=False, int header=16, int link=1,
                 int64_t start_ns=0, bytes source=b"", int source_port=0, bytes destination=b"",
                 int destination_port=0, bint keep_rtcp=True, bint keep_tls=False, uint64_t seed=0, int64_t end=-1,
                 int64_t clock_hz=0):
        cdef int64_t octets = length_of(data), room = length_of(columns.offset)
        if octets == 0 or not 1 <= container <= 6 or clock_hz < 0 or position < 0 or header not in (16, 24):
            raise ValueError("nothing to scan")
        if notes.dtype != NOTE_DTYPE:
            raise ValueError("no table of notes")
        self.held = (
            data, columns.offset, columns.arrival_ns, columns.timestamp, columns.stream, columns.sequence,
            columns.size, columns.payload_type, columns.flags, notes, spill,
        )
        self._lay(octets, room)
        self.reader.size = octets if end < 0 else min(end, octets)
        self.reader.position = min(position, self.reader.size)
        self.reader.container = <Container>container
        self.reader.big, self.reader.nano, self.reader.header = big, nano, header
        self.reader.link, self.reader.start_ns, self.reader.clock_hz = link, start_ns, clock_hz
        self.keep_rtcp, self.keep_tls = keep_rtcp, keep_tls
        self.fixed.version = 4
        self.fixed.transport = 17
        for i in range(min(4, len(source))):
            (<uint8_t*>self.fixed.source)[i] = source[i]
        for i in range(min(4, len(destination))):
            (<uint8_t*>self.fixed.destination)[i] = destination[i]
        self.fixed.source_port = <uint16_t>source_port
        self.fixed.destination_port = <uint16_t>destination_port
        self.unknown = <Unknown*>malloc(UNKNOWN_KINDS * sizeof(Unknown))
        if self.unknown == NULL or new_fragments(&self.fragments) or new_tables(&self.tables, seed):
            raise MemoryError("no memory for the scan")

    cdef int _lay(self, int64_t octets, int64_t room) except -1:
        """Take the places of what is held."""
        data, offset, arrival_ns, timestamp, stream, sequence, size, payload_type, flags, notes, spill = self.held
        self.octets, self.room, self.note_room, self.spill.capacity = octets, room, length_of(notes), length_of(spill)
        self.reader.data = <const uint8_t*>column(data, b"u", 1, octets)
        self.offset = <int64_t*>written(offset, b"i", 8, room)
        self.arrival_ns = <int64_t*>written(arrival_ns, b"i", 8, room)
        self.timestamp = <uint32_t*>written(timestamp, b"u", 4, room)
        self.stream = <int32_t*>written(stream, b"i", 4, room)
        self.sequence = <uint16_t*>written(sequence, b"u", 2, room)
        self.size = <uint16_t*>written(size, b"u", 2, room)
        self.payload_type = <uint8_t*>written(payload_type, b"u", 1, room)
        self.flags = <uint8_t*>written(flags, b"u", 1, room)
        self.notes = <Note*>written(notes, b"V", sizeof(Note), self.note_room)
        self.spill.octets = <uint8_t*>written(spill, b"u", 1, self.spill.capacity)
        return 0

    def __dealloc__(self):
        free_reader(&self.reader)
        free_fragments(&self.fragments)
        free_tables(&self.tables)
        free(self.unknown)

    def open(self, int container, *, int64_t position=0, int64_t end=0, bint big=False, bint nano=False,
             int header=16, int link=1):
        """Go on with the pcap, pcapng or snoop file from ``position`` to ``end``: streams and fragments go on too."""
        if container not in (1, 2, 5) or not 0 <= position <= end <= self.octets or header not in (16, 24):
            raise ValueError("nothing to scan")
        self.reader.position, self.reader.size = position, end
        self.reader.container = <Container>container
        self.reader.big, self.reader.nano, self.reader.header, self.reader.link = big, nano, header, link
        self.reader.truncated = self.reader.damaged = False
        self.reader.section = self.reader.count

    def run(self, int64_t most, int64_t octets):
        """Read at most ``most`` records and few more than ``octets``, without the GIL; True while there may be more."""
        cdef bint more
        with nogil:
            more = self._run(most, octets)
        if self.status == OUT_OF_MEMORY:
            raise MemoryError("no memory for the streams of the capture")
        if self.status == COLUMNS_FULL:
            raise RuntimeError("more packets than the capture has room for")
        return more

    cdef bint _run(self, int64_t most, int64_t octets) noexcept nogil:
        cdef Record record
        cdef int64_t start = self.reader.position
        cdef int status, found
        cdef Packet* packet = &self.packet
        cdef int64_t _i, spilled
        for _i in range(most):
            if self.reader.position - start >= octets:
                return True
            status = next_record(&self.reader, &record)
            if status == RECORD_END:
                return False
            if status == NO_MEMORY:
                self.status = OUT_OF_MEMORY
                return False
            self.records += 1
            if self.records == 1 or record.time_ns < self.first_ns:
                self.first_ns = record.time_ns
            if self.records == 1 or record.time_ns > self.last_ns:
                self.last_ns = record.time_ns
            packet.base = self.reader.data
            packet.offset = record.offset
            packet.end = record.offset + record.captured
            packet.time_ns = record.time_ns
            packet.cut = record.captured < record.original
            packet.spilled = False
            if record.link > 0xFFFF:
                self._bare(packet, record.link)
            else:
                self.cut += packet.cut
                spilled = self.spill.size
                found = peel(packet, record.link, &self.fragments, &self.spill)
                if found == FOUND_UDP:
                    self._datagram(packet, record.interface)
                elif found == FOUND_TCP:
                    self._segment(packet, record.interface)
                elif found == FOUND_MESSAGE:
                    self._message(packet, record.interface)
                elif found == FOUND_SCTP:
                    self._chunks(packet, record.interface)
                elif found == FOUND_PACKED:
                    self._packed(packet, record.interface)
                else:
                    self._nothing(packet.reason, packet.value)
                if self.spill.size > spilled and not self._spill_used(spilled):
                    self.spill.size = spilled
            if self.status:
                return False
        return True

    cdef bint _spill_used(self, int64_t start) noexcept nogil:
        # Only the last row or note can point into what this record spilled.
        cdef int64_t row = self.rows - 1, note = self.note_count - 1
        if row >= 0 and self.flags[row] & SPILL and self.offset[row] >= start:
            return True
        return note >= 0 and self.notes[note].flags & SPILL and self.notes[note].offset >= start

    cdef void _nothing(self, int32_t reason, int32_t value) noexcept nogil:
        cdef int i
        if reason == FRAGMENT:
            return
        for i in range(self.unknown_count):
            if self.unknown[i].reason == reason and self.unknown[i].value == value:
                self.unknown[i].count += 1
                return
        if self.unknown_count == UNKNOWN_KINDS:
            self.unknown[UNKNOWN_KINDS - 1].count += 1
            self.unknown[UNKNOWN_KINDS - 1].value = -1  # many values: the last entry stands for the rest
            return
        self.unknown[self.unknown_count].reason = reason
        self.unknown[self.unknown_count].value = value
        self.unknown[self.unknown_count].count = 1
        self.unknown_count += 1

    cdef void _bare(self, Packet* packet, int32_t link) noexcept nogil:
        # rtpdump and rtpproxy: no layers, the ends come from the file or the record.
        cdef const uint8_t* p
        cdef int i
        packet.source[0], packet.source[1] = self.fixed.source[0], 0
        packet.destination[0], packet.destination[1] = self.fixed.destination[0], 0
        packet.source_port = self.fixed.source_port
        packet.destination_port = self.fixed.destination_port
        packet.version, packet.transport, packet.macs = 4, 17, NULL
        if link == LINK_RTCP:
            packet.source_port += 1 if packet.source_port else 0
            packet.destination_port += 1 if packet.destination_port else 0
        elif link == LINK_RTPPROXY:
            p = packet.base + packet.offset - 30  # of the sender: family, port, address
            packet.source_port = <uint16_t>be16(p + 2)
            packet.source[0] = 0
            # AF_INET is 2 everywhere, AF_INET6 10 with Linux and 24 to 30 with the BSDs.
            packet.version = 4 if p[0] == 2 or p[0] == 16 else 6
            for i in range(4 if packet.version == 4 else 16):
                (<uint8_t*>packet.source)[i] = p[4 + i]
        self.cut += packet.cut
        self._datagram(packet, 0)

    cdef int32_t _flow(self, Packet* packet, int32_t interface) noexcept nogil:
        cdef int32_t flow = find_flow(&self.tables, packet, interface, True)
        if flow < 0:
            self.status = OUT_OF_MEMORY
        return flow

    cdef void _datagram(self, Packet* packet, int32_t interface) noexcept nogil:
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef int32_t flow
        if size < 1:
            self.other += 1
            return
        if p[0] & 0xC0 == 0x80:
            if size < 8 or (size < 12 and not 200 <= p[1] <= 207):
                self.too_small += packet.cut
                self.other += not packet.cut
                return
            flow = self._flow(packet, interface)
            if flow < 0:
                return
            if 192 <= p[1] <= 223 and self._rtcp(packet, flow, p, size):
                return
            if size >= 12 and not 200 <= p[1] <= 207:
                self._rtp(packet, flow, p, size)
            else:
                self.other += 1
        elif is_sip(p, size):
            flow = self._flow(packet, interface)
            if flow >= 0:
                self.sip += 1
                self.tables.flows[flow].sip += 1
                self._note(packet, flow, NOTE_SIP)
        elif is_stun(p, size) or is_dtls(p, size) or is_zrtp(p, size) or is_udptl(p, size):
            flow = self._flow(packet, interface)
            if flow >= 0:
                self._beside(&self.tables.flows[flow], p, size)
        else:
            self.other += 1
            flow = self._foreign(packet, p, size)
            if flow:
                self._unread(packet, interface, <uint8_t>flow)

    cdef int32_t _foreign(self, Packet* packet, const uint8_t* p, int64_t size) noexcept nogil:
        """The UnreadKind of a datagram of signalling that is not read; 0 for none."""
        cdef uint16_t source = packet.source_port, destination = packet.destination_port
        if is_mgcp(p, size) or ((source == 2427 or destination == 2427 or source == 2727 or destination == 2727)
                                and 0x30 <= p[0] <= 0x5A):
            return UNREAD_MGCP
        if is_h248(p, size):
            return UNREAD_H248
        if (source == 1719 or destination == 1719) and size >= 8:
            return UNREAD_H323  # registration, admission and status
        if source == 4569 and destination == 4569 and size >= 4:
            return UNREAD_IAX2
        return 0

    cdef int32_t _unread(self, Packet* packet, int32_t interface, uint8_t kind) noexcept nogil:
        cdef int32_t index = self._flow(packet, interface)
        if index >= 0:
            self.tables.flows[index].unread_kind = kind
            self.tables.flows[index].unread += 1
        return index

    cdef void _beside(self, Flow* flow, const uint8_t* p, int64_t size) noexcept nogil:
        """Count what may share a port with RTP, or take its place."""
        cdef uint16_t step
        if is_stun(p, size):
            self.stun += 1
            flow.stun += 1
        elif is_dtls(p, size):
            self.dtls += 1
            flow.dtls += 1
        elif is_zrtp(p, size):
            self.zrtp += 1
            flow.zrtp += 1
        else:
            # UDPTL has no magic: three packets in sequence (copies allowed) make it believable.
            step = <uint16_t>(be16(p) - flow.udptl_sequence)
            flow.udptl_run = flow.udptl_run + 1 if step <= 1 and flow.udptl_run else 1
            flow.udptl_sequence = <uint16_t>be16(p)
            if flow.udptl_run == 3:
                flow.t38 += 3
                self.t38 += 3
                self.other -= 2
            elif flow.udptl_run > 3:
                flow.udptl_run = 4
                flow.t38 += 1
                self.t38 += 1
            else:
                self.other += 1

    cdef void _note(self, Packet* packet, int32_t flow, uint8_t kind) noexcept nogil:
        cdef Note* note
        if self.note_count >= self.note_room:
            self.status = COLUMNS_FULL
            return
        note = &self.notes[self.note_count]
        note.offset = packet.offset
        note.arrival_ns = packet.time_ns
        note.flow = flow
        note.size = <uint32_t>(packet.end - packet.offset)
        note.kind = kind
        note.flags = (SPILL if packet.spilled else 0) | (TRUNCATED if packet.cut else 0)
        note.tcp_sequence = packet.tcp_sequence
        note.tcp_flags = packet.tcp_flags
        note.reserved = 0
        self.note_count += 1

    cdef bint _rtcp(self, Packet* packet, int32_t flow, const uint8_t* p, int64_t size) noexcept nogil:
        # RFC 5761 section 4: packet types 192-223. The first packet of the compound must fit; with SRTCP only that
        # much is in clear.
        cdef int64_t first = (be16(p + 2) + 1) * 4
        if first < 8 or (first > size and not packet.cut) or (not 200 <= p[1] <= 207 and first != size):
            return False
        self.rtcp += 1
        self.tables.flows[flow].rtcp += 1
        if self.keep_rtcp:
            self._note(packet, flow, NOTE_RTCP)
        return True

    cdef void _rtp(self, Packet* packet, int32_t index, const uint8_t* p, int64_t size) noexcept nogil:
        cdef Flow* flow = &self.tables.flows[index]
        cdef uint32_t ssrc = be32(p + 8)
        cdef int64_t at = 12 + 4 * (p[0] & 15)
        cdef int64_t row = self.rows
        cdef uint8_t flags = (MARKER if p[1] & 0x80 else 0) | (SPILL if packet.spilled else 0)
        cdef int32_t stream
        if p[0] & 0x10:
            at += 4 if size < at + 4 else 4 + 4 * be16(p + at + 2)
            flags |= EXTENSION
        if packet.cut:
            flags |= TRUNCATED  # the end is missing: padding, if any, went with it
            at = min(at, size)
        elif at > size:
            self._not_rtp(flow)
            return
        elif p[0] & 0x20:
            if p[size - 1] == 0 or p[size - 1] > size - at:
                self._not_rtp(flow)
                return
            size -= p[size - 1]
            flags |= PADDED
        stream = self._stream(flow, index, p, ssrc)
        if stream < 0:
            return
        if row >= self.room:
            self.status = COLUMNS_FULL
            return
        self._follow(&self.tables.streams[stream], p, packet.time_ns, row, size - at)
        self.offset[row] = packet.offset + at
        self.arrival_ns[row] = packet.time_ns
        self.timestamp[row] = be32(p + 4)
        self.stream[row] = stream
        self.sequence[row] = <uint16_t>be16(p + 2)
        self.size[row] = <uint16_t>min(size - at, <int64_t>65535)
        self.payload_type[row] = p[1] & 0x7F
        self.flags[row] = flags
        self.rows = row + 1
        self.rtp += 1
        flow.rtp += 1

    cdef void _not_rtp(self, Flow* flow) noexcept nogil:
        if flow.rtp:
            self.malformed_rtp += 1
        else:
            self.other += 1

    cdef int32_t _stream(self, Flow* flow, int32_t index, const uint8_t* p, uint32_t ssrc) noexcept nogil:
        """The stream of a packet, or -1 where the flow has shown that what looks like RTP in it is not."""
        cdef int32_t stream = flow.last_stream
        cdef uint16_t sequence
        if stream >= 0 and self.tables.streams[stream].ssrc == ssrc:
            return stream
        stream = find_stream(&self.tables, index, ssrc)
        if stream < 0:
            if flow.unproven >= MAX_UNPROVEN:
                # So many SSRCs without two packets in sequence are chance hits. A stream that begins here all the
                # same shows itself by two packets in sequence, and loses the first.
                sequence = <uint16_t>(flow.junk_sequence + 1)
                flow.junk_sequence = <uint16_t>be16(p + 2)
                if flow.junk_ssrc != ssrc or sequence != flow.junk_sequence:
                    flow.junk_ssrc = ssrc
                    self.junk_rtp += 1
                    return -1
            stream = add_stream(&self.tables, index, ssrc)
            if stream < 0:
                self.status = OUT_OF_MEMORY
                return -1
            flow.unproven += 1
        flow.last_stream = stream
        return stream

    cdef void _follow(self, Candidate* stream, const uint8_t* p, int64_t time_ns, int64_t row,
                      int64_t size) noexcept nogil:
        cdef uint16_t sequence = <uint16_t>be16(p + 2)
        cdef uint32_t timestamp = be32(p + 4)
        cdef uint8_t payload_type = p[1] & 0x7F
        cdef int32_t step, ticks
        cdef int64_t since_ns = time_ns - stream.last_ns
        stream.types[payload_type >> 6] |= <uint64_t>1 << (payload_type & 63)
        stream.small += size <= LARGEST_EVENT
        stream.assigned += payload_type >= 96 or payload_type <= 34
        if stream.packets == 0:
            stream.first_ns, stream.first_row = time_ns, row
            stream.first_payload_type = payload_type
        else:
            step = <int32_t>(<uint16_t>(sequence - stream.last_sequence))
            ticks = <int32_t>(timestamp - stream.last_timestamp)
            if step == 0:
                stream.repeated += 1
            elif step < MAX_DROPOUT or step > 65536 - MAX_MISORDER:
                stream.plausible += 1
            if step > 1:
                keep_pace(stream, step, ticks, since_ns)
            if step > 32768:
                ticks = <int32_t>(0 - <uint32_t>ticks)  # half of the circle is its own opposite
            if not stream.proven and (step == 1 or stream.paced >= MIN_PACED):
                stream.proven = 1
                self.tables.flows[stream.flow].unproven -= 1
            if step == 1:
                stream.sequential += 1
                if ticks > 0 and 0 <= since_ns < SOON_NS:
                    stream.timed += 1
                    stream.timed_ticks += ticks
                    stream.timed_ns += since_ns
            stream.timely += 0 <= ticks < TIMELY
            # 100,000 ticks a second are above every clock of RTP.
            stream.near += 0 <= ticks and (ticks < NEAR or ticks - NEAR < since_ns // 10_000)
            stream.still += ticks == 0
        stream.packets += 1
        stream.last_sequence = sequence
        stream.last_timestamp = timestamp
        stream.last_ns, stream.last_row = time_ns, row

    cdef void _segment(self, Packet* packet, int32_t interface) noexcept nogil:
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef uint8_t kind = kind_by_content(p, size)
        cdef uint8_t port_kind = 0 if kind else kind_by_port(packet)
        cdef int32_t index
        cdef Flow* flow
        self.segments += 1
        if size < 1 and not packet.tcp_flags & 2:
            return
        if not kind and not port_kind and self.keep_tls and packet.tcp_flags & 2:
            port_kind = STREAM_TLS  # where its octets begin must be known should it be TLS
        if not kind and is_q931(p, size):
            self._unread(packet, interface, UNREAD_H323)
            return
        index = find_flow(&self.tables, packet, interface, kind or port_kind)
        if index == -1:
            self.status = OUT_OF_MEMORY
        if index < 0:
            return
        flow = &self.tables.flows[index]
        # What a connection's octets show outweighs its port, and what they showed first what looks like it later: a
        # segment may begin with the SIP inside a frame.
        if kind and (not flow.signalling or flow.by_port):
            flow.signalling, flow.by_port = kind, 0
        elif not flow.signalling and port_kind:
            flow.signalling, flow.by_port = port_kind, 1
        if flow.signalling == STREAM_TLS and size and not flow.by_port:
            flow.unread_kind = UNREAD_TLS
            flow.unread += 1
        if flow.unread_kind and flow.unread_kind != UNREAD_TLS:
            flow.unread += 1
        elif flow.signalling != STREAM_TLS or self.keep_tls:
            self._note(packet, index, self._stream_note(flow.signalling))

    cdef uint8_t _stream_note(self, uint8_t kind) noexcept nogil:
        if kind == STREAM_SIP:
            return NOTE_TCP_SIP
        if kind == STREAM_WEBSOCKET:
            return NOTE_TCP_WEBSOCKET
        if kind == STREAM_TLS:
            return NOTE_TCP_TLS
        return NOTE_TCP_HEP if kind == STREAM_HEP else NOTE_TCP_SKINNY

    cdef void _message(self, Packet* packet, int32_t interface) noexcept nogil:
        cdef const uint8_t* p = packet.base + packet.offset
        cdef int64_t size = packet.end - packet.offset
        cdef int32_t flow
        cdef bint framed = is_websocket_sip(p, size)
        if not framed and not is_sip(p, size):
            self.other += 1
            return
        flow = self._flow(packet, interface)
        if flow >= 0:
            self.sip += 1
            self.tables.flows[flow].sip += 1
            self._note(packet, flow, NOTE_FRAME if framed else NOTE_SIP_STREAM)

    cdef void _packed(self, Packet* packet, int32_t interface) noexcept nogil:
        cdef int32_t flow = self._flow(packet, interface)
        if flow >= 0:
            self._note(packet, flow, NOTE_PACKED)

    cdef void _chunks(self, Packet* packet, int32_t interface) noexcept nogil:
        """An SCTP packet: kept where a chunk of data begins with SIP, or others of its association did."""
        cdef int64_t at = packet.offset, length, head
        cdef const uint8_t* p
        cdef bint sip = False, other = False, here = packet.source_port == 5060 or packet.destination_port == 5060
        cdef int32_t index
        while packet.end - at >= 4:
            p = packet.base + at
            length = be16(p + 2)
            head = 16 if p[0] == 0 else 20  # DATA (RFC 9260 section 3.3.1), I-DATA (RFC 8260 section 2.1)
            if length < 4:
                break
            if (p[0] == 0 or p[0] == 64) and length > head and packet.end - at > head:
                if is_sip(p + head, min(length, packet.end - at) - head):
                    sip = True
                else:
                    other = True
            at += (length + 3) & ~<int64_t>3
        index = find_flow(&self.tables, packet, interface, sip or (other and here))
        if index == -1:
            self.status = OUT_OF_MEMORY
        elif index >= 0 and (sip or self.tables.flows[index].signalling == STREAM_SIP or here):
            self.tables.flows[index].signalling = STREAM_SIP
            self._note(packet, index, NOTE_SCTP)
        elif other and (packet.source_port == 5061 or packet.destination_port == 5061):
            self._unread(packet, interface, UNREAD_SCTP)
        else:
            self._nothing(IP_PROTOCOL, 132)

    # What was found, for Python, after the last run().

    def undecided(self):
        """Whether a stream may be RTP that only signalling can tell for."""
        cdef int32_t i
        for i in range(self.tables.stream_count):
            if believable(&self.tables.streams[i]):
                self.tables.flows[self.tables.streams[i].flow].believed = 1
        for i in range(self.tables.stream_count):
            if not self.tables.flows[self.tables.streams[i].flow].believed:
                return True
        return False

    def settle(self, dict announced, bint recorded):
        """Keep the streams that are RTP and compact the columns; returns (rows, streams as a list of tuples).

        ``announced`` maps (address, port) that signalling names to the payload types named there, as two words of bits;
        call ``undecided`` before it matters. ``recorded``: all streams are RTP.
        """
        cdef int32_t i, kept = 0
        cdef int32_t* names
        streams = []
        names = <int32_t*>malloc((self.tables.stream_count + 1) * sizeof(int32_t))
        if names == NULL:
            raise MemoryError("no memory for the streams of the capture")
        cdef Candidate* stream
        for i in range(self.tables.stream_count):
            stream = &self.tables.streams[i]
            names[i] = -1
            if recorded or believable(stream) or (announced and self._is_announced(stream, announced)):
                names[i] = kept
                kept += 1
                streams.append((stream.flow, stream.ssrc, stream.packets, stream.first_ns, stream.last_ns))
        if kept < self.tables.stream_count:
            with nogil:
                self._compact(names)
        free(names)
        return self.rows, streams

    cdef bint _is_announced(self, const Candidate* stream, dict announced):
        """Whether a stream too short to be believed by itself is what signalling says of one of its ends.

        Where the flow has a stream that is believed, a lone packet of another SSRC is a damaged one of that.
        """
        cdef Flow* flow = &self.tables.flows[stream.flow]
        cdef int octets = 16 if flow.version == 6 else 4
        if flow.believed or stream.plausible * 2 < stream.packets - 1 - stream.repeated:
            return False
        for end in ((PyBytes_FromStringAndSize(<char*>flow.destination, octets), flow.destination_port),
                    (PyBytes_FromStringAndSize(<char*>flow.source, octets), flow.source_port)):
            named = announced.get(end)
            if named is None:
                continue
            if not (stream.types[0] & ~<uint64_t>named[0] or stream.types[1] & ~<uint64_t>named[1]):
                return True
        return False

    cdef void _compact(self, const int32_t* names) noexcept nogil:
        cdef int64_t row, to = 0
        cdef int32_t stream
        for row in range(self.rows):
            stream = names[self.stream[row]]
            if stream < 0:
                continue
            self.stream[to] = stream
            self.offset[to] = self.offset[row]
            self.arrival_ns[to] = self.arrival_ns[row]
            self.timestamp[to] = self.timestamp[row]
            self.sequence[to] = self.sequence[row]
            self.size[to] = self.size[row]
            self.payload_type[to] = self.payload_type[row]
            self.flags[to] = self.flags[row]
            to += 1
        self.junk_rtp += self.rows - to
        self.rtp -= self.rows - to
        self.rows = to

    def flow(self, int32_t index):
        """(version, source, source port, destination, destination port, MACs, path, interface, transport) of a flow."""
        if not 0 <= index < self.tables.flow_count:
            raise IndexError(index)
        cdef Flow* flow = &self.tables.flows[index]
        cdef int octets = 16 if flow.version == 6 else 4
        return (
            flow.version,
            PyBytes_FromStringAndSize(<char*>flow.source, octets), flow.source_port,
            PyBytes_FromStringAndSize(<char*>flow.destination, octets), flow.destination_port,
            PyBytes_FromStringAndSize(<char*>flow.macs, 12) if flow.has_macs else b"",
            PyBytes_FromStringAndSize(<char*>flow.path, MAX_DEPTH), flow.interface, flow.transport,
        )

    def beside(self):
        """(flow, STUN, DTLS, ZRTP, T.38, RTP) for each flow that carried one of the first four."""
        cdef int32_t i
        cdef Flow* flow
        found = []
        for i in range(self.tables.flow_count):
            flow = &self.tables.flows[i]
            if flow.stun or flow.dtls or flow.zrtp or flow.t38:
                found.append((i, flow.stun, flow.dtls, flow.zrtp, flow.t38, flow.rtp))
        return found

    def unread(self):
        """(flow, UnreadKind, packets) for each flow of signalling that the scan itself does not read."""
        return [(i, self.tables.flows[i].unread_kind, self.tables.flows[i].unread)
                for i in range(self.tables.flow_count) if self.tables.flows[i].unread]

    def unknowns(self):
        """(reason, value, count) of frames in which nothing was found."""
        return [(self.unknown[i].reason, self.unknown[i].value, self.unknown[i].count)
                for i in range(self.unknown_count)]

    def interfaces(self):
        """Link types: of the file, or of each pcapng interface."""
        if self.reader.container == PCAPNG:
            return [self.reader.interfaces[i].link for i in range(self.reader.count)]
        return [self.reader.link] if self.reader.container in (PCAP, SNOOP) else []

    def counters(self):
        """What was counted, by name, without noughts."""
        counted = {
            "records": self.records, "rtp": self.rtp, "rtcp": self.rtcp, "sip": self.sip,
            "tcp_segments": self.segments, "rtp_malformed": self.malformed_rtp, "rtp_unproven": self.junk_rtp,
            "stun": self.stun, "dtls": self.dtls, "zrtp": self.zrtp, "t38": self.t38,
            "non_rtp_udp": self.other, "cut_by_snaplen": self.cut, "cut_too_short": self.too_small,
            "fragments": self.fragments.fragments, "fragments_reassembled": self.fragments.completed,
            "fragments_incomplete": self.fragments.incomplete + self.fragments.live,
            "skipped_blocks": self.reader.skipped_blocks, "odd_times": self.reader.odd_times,
        }
        return {key: count for key, count in counted.items() if count}

    def state(self):
        """(first ns, last ns, truncated, damaged, offset of the stop, octets of spill, notes)."""
        return (self.first_ns, self.last_ns, bool(self.reader.truncated), bool(self.reader.damaged),
                self.reader.stop_offset, self.spill.size, self.note_count)


def span(const uint8_t[::1] data, int container, *, int64_t position=0, bint big=False, bint nano=False,
         int header=16, int link=1):
    """(first ns, last ns) of the records of a pcap, pcapng or snoop file, (0, 0) without any; without the GIL."""
    cdef Reader reader
    cdef Record record
    cdef int64_t first = 0, last = 0
    cdef bint any_yet = False
    if container not in (1, 2, 5) or not 0 <= position <= data.shape[0] or header not in (16, 24):
        raise ValueError("nothing to read")
    memset(&reader, 0, sizeof(Reader))
    reader.data = &data[0] if data.shape[0] else NULL
    reader.size, reader.position, reader.container = data.shape[0], position, <Container>container
    reader.big, reader.nano, reader.header, reader.link = big, nano, header, link
    with nogil:
        while next_record(&reader, &record) == RECORD:
            if not any_yet or record.time_ns < first:
                first = record.time_ns
            if not any_yet or record.time_ns > last:
                last = record.time_ns
            any_yet = True
        free_reader(&reader)
    return first, last


cdef inline void keep_pace(Candidate* stream, int32_t step, int32_t ticks, int64_t since_ns) noexcept nogil:
    """Hold a pair that is not in sequence, ``step`` modulo 65536 apart, against the ticks a number of those before.

    The pace is what most pairs vote for (Boyer and Moore): one pass and no memory. A pair may lie whole laps of the
    numbers apart, which its timestamps tell.
    """
    cdef int64_t apart = step if step < 32768 else step - 65536
    cdef int64_t pace
    if stream.pace and ticks % stream.pace == 0 and <uint16_t>(ticks // stream.pace) == step:
        stream.votes += 1
        stream.paced += 1
    elif stream.votes:
        stream.votes -= 1
        return
    else:
        pace = ticks // apart
        if ticks % apart or not 0 < pace <= MAX_PACE:
            return
        stream.pace = <int32_t>pace
        stream.votes = stream.paced = 1
        stream.paced_ticks = stream.paced_ns = 0
    if -DAY_NS < since_ns < DAY_NS:
        stream.paced_ticks += ticks if ticks > 0 else -<double>ticks
        stream.paced_ns += since_ns if ticks > 0 else -since_ns


cdef bint keeps_pace(const Candidate* stream, int64_t types) noexcept nogil:
    """Whether numbers, timestamps and arrival advance together, though no two packets need stand in sequence.

    Of two taps of one link one behind the other, of each second packet, of packets that a capture wrote in any order,
    timestamps are the same multiple of the numbers, to the tick, in three pairs of four, and the time between them is
    that of a clock (4 to 200 kHz leave the slowest and the fastest room for jitter) and of packets of 2 to 250 ms.
    What reads a clock when it sends is not exact; what counts octets, frames or milliseconds has no such clock.
    """
    cdef int64_t others = stream.packets - 1 - stream.repeated - stream.sequential
    if stream.paced < MIN_PACED or stream.paced * 4 < others * 3:
        return False
    if types > 4 or stream.assigned * 8 < stream.packets * 7:
        return False
    # Written without division: either sum may be nought or less.
    if not stream.paced_ns * 4e-6 < stream.paced_ticks < stream.paced_ns * 2e-4:
        return False
    return 2e6 * stream.paced_ticks < stream.paced_ns * stream.pace < 250e6 * stream.paced_ticks


cdef bint believable(const Candidate* stream) noexcept nogil:
    """Whether a stream is RTP: RFC 3550 A.1 over all of it, or its pace, and more is asked of short ones.

    A protocol with constant octets where RTP has its SSRC passes that check of a random one, and one that also counts
    its packets where RTP does passes more; payload types, and the clock that timestamps keep, tell them apart.
    """
    cdef int64_t steps = stream.packets - 1, pairs = steps - stream.repeated
    cdef int64_t types = _bits(stream.types[0]) + _bits(stream.types[1])
    cdef bint paced = keeps_pace(stream, types)
    if not paced and (stream.sequential < 1 or stream.plausible * 2 < pairs):
        return False
    # The same number again and again is a constant with exceptions (the flags of DNS), no packet seen at many taps.
    if stream.packets >= 16 and pairs * 8 < steps:
        return False
    if not paced and stream.timely * 2 < steps:
        return False
    if stream.packets < 4 and (stream.near < steps or stream.assigned < stream.packets):
        return False
    # Payload types 35 to 95 are unassigned: a short stream of them is nothing to believe.
    if stream.assigned * 2 < stream.packets and stream.packets < 25:
        return False
    # Codecs, noise and events are few; what changes with every packet is no payload type.
    if types > min(1 + stream.packets // 3, <int64_t>16):
        return False
    # The slowest clock is 8000 Hz (RFC 3551). Games count milliseconds, or frames: 1300 leaves both room for jitter.
    if stream.timed >= 4 and stream.timed_ticks * 769_231 < stream.timed_ns:
        return False
    # RTP whose clock stands still is not audio, unless all of it is one event, and events end.
    return stream.still < steps or (stream.packets < 100 and stream.small == stream.packets)


cdef inline int64_t _bits(uint64_t word) noexcept nogil:
    cdef int64_t count = 0
    while word:
        word &= word - 1
        count += 1
    return count
