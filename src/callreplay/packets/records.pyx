# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Container files as a sequence of records. Every read is preceded by a check against the end of the file.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, rtptools (rtpdump), RFC 1761 (snoop); rtpproxy ad-hoc files
and Janus MJR have no specification, see ``recognise.py`` for what is known of them.
"""

from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from callreplay.packets.wire cimport be16, be32, le16, le32, le64, ordered16, ordered32

cdef int64_t SECOND = 1000000000
# Larger than any frame: a length above it is damage, not a frame (libpcap's own limit is 256 KiB; jumbo TSO 16 MiB).
cdef int64_t MAX_FRAME = 16 << 20
cdef int64_t MAX_SECONDS = 9000000000  # year 2255: the last whole seconds that fit in int64 nanoseconds
cdef int32_t MAX_INTERFACES = 1 << 20
# The magics of pcap: microseconds, nanoseconds, and with record headers of 24 octets (Kuznetzov).
cdef uint32_t PCAP_MICRO = 0xA1B2C3D4
cdef uint32_t PCAP_NANO = 0xA1B23C4D
cdef uint32_t PCAP_MODIFIED = 0xA1B2CD34


cdef int next_record(Reader* reader, Record* record) noexcept nogil:
    """Read the next record into ``record``: RECORD, RECORD_END or NO_MEMORY."""
    cdef int status
    while reader.container <= PCAPNG:
        status = _pcap(reader, record) if reader.container == PCAP else _pcapng(reader, record)
        if status != AGAIN:
            return status
    if reader.container == RTPDUMP:
        return _rtpdump(reader, record)
    if reader.container == RTPPROXY:
        return _rtpproxy(reader, record)
    if reader.container == SNOOP:
        return _snoop(reader, record)
    return _mjr(reader, record)


cdef void free_reader(Reader* reader) noexcept nogil:
    free(reader.interfaces)
    reader.interfaces = NULL
    reader.count = reader.capacity = 0


cdef int _end(Reader* reader, bint truncated, bint damaged) noexcept nogil:
    reader.truncated = reader.truncated or truncated
    reader.damaged = reader.damaged or damaged
    if truncated or damaged:
        reader.stop_offset = reader.position
    reader.position = reader.size
    return RECORD_END


cdef bint _pcap_begins(Reader* reader, const uint8_t* p, int64_t left) noexcept nogil:
    """Whether a file header of pcap stands at ``p``: files laid end to end. The reader then goes on behind it."""
    cdef uint32_t magic
    cdef bint big
    if left < 24:
        return False
    big = p[0] == 0xA1
    magic = ordered32(p, big)
    if (magic != PCAP_MICRO and magic != PCAP_NANO and magic != PCAP_MODIFIED) or ordered16(p + 4, big) != 2:
        return False
    reader.container = PCAP
    reader.big, reader.nano = big, magic == PCAP_NANO
    reader.header = 24 if magic == PCAP_MODIFIED else 16
    reader.link = <int32_t>(ordered32(p + 20, big) & 0xFFFF)
    reader.position += 24
    return True


cdef bint _pcapng_begins(const uint8_t* p, int64_t left) noexcept nogil:
    return (left >= 16 and be32(p) == 0x0A0D0D0A
            and (be32(p + 8) == 0x1A2B3C4D or le32(p + 8) == 0x1A2B3C4D))


cdef int _pcap(Reader* reader, Record* record) noexcept nogil:
    cdef int64_t left = reader.size - reader.position
    cdef const uint8_t* p = reader.data + reader.position
    cdef int64_t seconds, below
    if left < reader.header:
        return _end(reader, left > 0, False)
    seconds = ordered32(p, reader.big)
    below = ordered32(p + 4, reader.big)
    record.captured = ordered32(p + 8, reader.big)
    record.original = ordered32(p + 12, reader.big)
    if record.captured == 0 and _pcap_begins(reader, p, left):  # its time zone of nought stands where the length does
        return AGAIN
    if record.captured > MAX_FRAME:
        if _pcapng_begins(p, left):
            reader.container = PCAPNG
            return AGAIN
        return _end(reader, False, True)
    if below >= (SECOND if reader.nano else 1000000):
        reader.odd_times += 1
    record.time_ns = seconds * SECOND + (below if reader.nano else below * 1000)
    record.offset = reader.position + reader.header
    record.link = reader.link
    record.interface = 0
    if record.captured > left - reader.header:
        record.captured = left - reader.header
        _end(reader, True, False)
    else:
        reader.position = record.offset + record.captured
    # Some writers leave the original length zero.
    if record.original < record.captured:
        record.original = record.captured
    return RECORD


cdef int64_t _stamp_ns(Reader* reader, const Interface* interface, uint64_t ticks) noexcept nogil:
    cdef int n = interface.resolution & 0x7F
    cdef int _i
    cdef uint64_t seconds, rest, per_second = 1
    if interface.resolution & 0x80:
        if n > 63:
            reader.odd_times += 1
            return interface.offset_s * SECOND
        seconds = ticks >> n
        rest = ticks & ((<uint64_t>1 << n) - 1)
        if n > 32:  # so that rest * 10^9 stays below 2^62
            rest >>= n - 32
            n = 32
        rest = (rest * <uint64_t>SECOND) >> n
    else:
        if n > 19:
            reader.odd_times += 1
            return interface.offset_s * SECOND
        for _i in range(n):
            per_second *= 10  # 10^19 fits in 64 bits
        seconds = ticks / per_second
        rest = ticks % per_second
        if n <= 9:
            for _i in range(9 - n):
                rest *= 10
        else:
            for _i in range(n - 9):
                rest /= 10
    if seconds > <uint64_t>MAX_SECONDS or <int64_t>seconds + interface.offset_s > MAX_SECONDS:
        reader.odd_times += 1
        return 0
    if <int64_t>seconds + interface.offset_s < -MAX_SECONDS:
        reader.odd_times += 1
        return 0
    return (<int64_t>seconds + interface.offset_s) * SECOND + <int64_t>rest


cdef int _section(Reader* reader, const uint8_t* p) noexcept nogil:
    # 16 octets are there. The byte-order magic tells how to read everything of this section, its own length too.
    if be32(p + 8) == 0x1A2B3C4D:
        reader.big = True
    elif le32(p + 8) == 0x1A2B3C4D:
        reader.big = False
    else:
        return RECORD_END
    reader.section = reader.count
    return RECORD


cdef int _add_interface(Reader* reader, const uint8_t* body, int64_t size) noexcept nogil:
    cdef Interface* grown
    cdef Interface* interface
    cdef int64_t at = 8, length
    cdef uint32_t code
    cdef uint64_t offset
    if size < 8:
        return RECORD
    if reader.count == MAX_INTERFACES:
        return NO_MEMORY
    if reader.count == reader.capacity:
        grown = <Interface*>realloc(reader.interfaces, (2 * reader.capacity + 8) * sizeof(Interface))
        if grown == NULL:
            return NO_MEMORY
        reader.interfaces = grown
        reader.capacity = 2 * reader.capacity + 8
    interface = &reader.interfaces[reader.count]
    reader.count += 1
    interface.link = <int32_t>ordered16(body, reader.big)
    interface.snaplen = ordered32(body + 4, reader.big)
    interface.resolution = 6
    interface.offset_s = 0
    while size - at >= 4:
        code = ordered16(body + at, reader.big)
        length = ordered16(body + at + 2, reader.big)
        at += 4
        if code == 0 or length > size - at:
            break
        if code == 9 and length >= 1:
            interface.resolution = body[at]
        elif code == 14 and length >= 8:
            if reader.big:
                offset = (<uint64_t>be32(body + at) << 32) | be32(body + at + 4)
            else:
                offset = (<uint64_t>le32(body + at + 4) << 32) | le32(body + at)
            interface.offset_s = <int64_t>offset
            if interface.offset_s > MAX_SECONDS or interface.offset_s < -MAX_SECONDS:
                reader.odd_times += 1
                interface.offset_s = 0
        at += (length + 3) & ~<int64_t>3
    return RECORD


cdef bint _packet_block(Reader* reader, Record* record, uint32_t kind, const uint8_t* body,
                        int64_t size) noexcept nogil:
    """Fill ``record`` from a packet block whose body of ``size`` octets is there; False if it cannot be used."""
    cdef int64_t head = 4 if kind == 3 else 20
    cdef int64_t number = 0
    cdef const Interface* interface
    cdef uint64_t ticks
    if size < head:
        return False
    if kind == 6:
        number = ordered32(body, reader.big)
    elif kind == 2:
        number = ordered16(body, reader.big)
    if number >= reader.count - reader.section:
        return False
    record.interface = reader.section + <int32_t>number
    interface = &reader.interfaces[record.interface]
    record.link = interface.link
    if kind == 3:
        record.original = ordered32(body, reader.big)
        record.captured = record.original
        if interface.snaplen and record.captured > interface.snaplen:
            record.captured = interface.snaplen
        record.time_ns = reader.last_ns  # a simple packet block has no time
    else:
        ticks = (<uint64_t>ordered32(body + 4, reader.big) << 32) | ordered32(body + 8, reader.big)
        record.time_ns = _stamp_ns(reader, interface, ticks)
        record.captured = ordered32(body + 12, reader.big)
        record.original = ordered32(body + 16, reader.big)
    if record.captured > size - head:
        record.captured = size - head
    if record.original < record.captured:
        record.original = record.captured
    record.offset = (body - reader.data) + head
    reader.last_ns = record.time_ns
    return True


cdef int _pcapng(Reader* reader, Record* record) noexcept nogil:
    cdef const uint8_t* p
    cdef int64_t left, length
    cdef uint32_t kind
    cdef int status
    cdef bint cut, usable
    while True:
        left = reader.size - reader.position
        p = reader.data + reader.position
        if left < 12:
            return _end(reader, left > 0, False)
        kind = ordered32(p, reader.big)
        if kind == 0x0A0D0D0A:  # a palindrome: the same in both orders
            if left < 16:
                return _end(reader, True, False)
            if _section(reader, p) != RECORD:
                return _end(reader, False, True)
        length = ordered32(p + 4, reader.big)
        if (kind >> 24 == 0xA1 or kind & 0xFF == 0xA1) and _pcap_begins(reader, p, left):
            return AGAIN
        if length < 12:
            return _end(reader, False, True)
        length = (length + 3) & ~<int64_t>3
        cut = length > left
        if kind == 1 and not cut:
            status = _add_interface(reader, p + 8, length - 12)
            if status != RECORD:
                return status
        elif kind == 6 or kind == 3 or kind == 2:
            # A block that the file cuts still gives what is there of its packet.
            usable = _packet_block(reader, record, kind, p + 8, left - 8 if cut else length - 12)
            if cut:
                _end(reader, True, False)
            else:
                reader.position += length
            if usable:
                return RECORD
            reader.skipped_blocks += 1
            continue
        elif kind != 0x0A0D0D0A:
            reader.skipped_blocks += 1
        if cut:
            return _end(reader, True, False)
        reader.position += length


cdef int _rtpdump(Reader* reader, Record* record) noexcept nogil:
    cdef int64_t left = reader.size - reader.position
    cdef const uint8_t* p = reader.data + reader.position
    cdef int64_t length, packet
    if left < 8:
        return _end(reader, left > 0, False)
    length = be16(p)
    packet = be16(p + 2)
    if length < 8:
        return _end(reader, False, True)
    record.offset = reader.position + 8
    record.captured = length - 8
    record.link = LINK_RTP if packet else LINK_RTCP
    record.time_ns = reader.start_ns + <int64_t>be32(p + 4) * 1000000
    record.interface = 0
    if length > left:
        record.captured = left - 8
        record.original = length - 8
        _end(reader, True, False)
    else:
        record.original = record.captured
        reader.position += length
    if packet:
        record.original = packet
        if record.captured > packet:
            record.captured = packet
    return RECORD


cdef int _rtpproxy(Reader* reader, Record* record) noexcept nogil:
    cdef int64_t left = reader.size - reader.position
    cdef const uint8_t* p = reader.data + reader.position
    cdef double seconds
    cdef uint64_t bits
    if left < 30:
        return _end(reader, left > 0, False)
    # Files are written in the order of their host; every one met so far was little-endian.
    bits = le64(p + 20)
    memcpy(&seconds, &bits, 8)
    record.captured = record.original = le16(p + 28)
    record.offset = reader.position + 30
    record.link = LINK_RTPPROXY
    record.interface = 0
    if not isfinite(seconds) or seconds < 0 or seconds > <double>MAX_SECONDS:
        return _end(reader, False, True)
    # A double near 1.4e9 resolves 0.24 us: whole microseconds are all it tells.
    record.time_ns = <int64_t>(seconds * 1e6 + 0.5) * 1000
    if record.captured > left - 30:
        record.captured = left - 30
        _end(reader, True, False)
    else:
        reader.position = record.offset + record.captured
    return RECORD


cdef int _snoop(Reader* reader, Record* record) noexcept nogil:
    # RFC 1761 section 4.2: original length, included length, length of the record with its padding, drops, time.
    cdef int64_t left = reader.size - reader.position
    cdef const uint8_t* p = reader.data + reader.position
    cdef int64_t length, below
    if left < 24:
        return _end(reader, left > 0, False)
    record.original = be32(p)
    record.captured = be32(p + 4)
    length = be32(p + 8)
    below = be32(p + 20)
    if record.captured > MAX_FRAME or length < 24 + record.captured:
        return _end(reader, False, True)
    if below >= 1000000:
        reader.odd_times += 1
    record.time_ns = <int64_t>be32(p + 16) * SECOND + below * 1000
    record.offset = reader.position + 24
    record.link = reader.link
    record.interface = 0
    if record.captured > left - 24:
        record.captured = left - 24
        _end(reader, True, False)
    elif length > left:  # the padding of the last record
        reader.position = reader.size
    else:
        reader.position += length
    if record.original < record.captured:
        record.original = record.captured
    return RECORD


cdef int _mjr(Reader* reader, Record* record) noexcept nogil:
    # "MEET", milliseconds since the file was made (before version 2 "ECHO" stands there), length, an RTP packet.
    cdef int64_t left = reader.size - reader.position
    cdef const uint8_t* p = reader.data + reader.position
    cdef uint32_t timestamp
    if left < 10:
        return _end(reader, left > 0, False)
    if be32(p) != 0x4D454554:
        return _end(reader, False, True)
    record.captured = record.original = be16(p + 8)
    record.offset = reader.position + 10
    record.link = LINK_RTP
    record.interface = 0
    if not reader.clock_hz:
        record.time_ns = reader.start_ns + <int64_t>be32(p + 4) * 1000000
    elif record.captured >= 12 and left >= 22:
        timestamp = be32(p + 14)
        if not reader.begun:
            reader.begun = True
            reader.first_timestamp = timestamp
        record.time_ns = reader.start_ns + (
            <int64_t><int32_t>(timestamp - reader.first_timestamp) * SECOND // reader.clock_hz)
    else:
        record.time_ns = reader.start_ns
    if record.captured > left - 10:
        record.captured = left - 10
        _end(reader, True, False)
    else:
        reader.position = record.offset + record.captured
    return RECORD
