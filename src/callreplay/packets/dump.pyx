# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records of rtpdump from rows of a scan, in one pass: each packet as it was, its header found ahead of its payload."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from callreplay.packets.wire cimport be16, put_be16, put_be32

cdef enum:
    HEAD = 8  # of a record
    FIXED = 12  # octets of an RTP header (RFC 3550 5.1)
    AHEAD = 140  # FIXED, 15 CSRC and an extension of 64 octets with its four
    LARGEST = 0xFFFF - HEAD  # a record is counted in 16 bits, its head included
    PADDED = 32  # of callreplay.model.PacketFlag
    MARKER = 1
    MOST_MS = 0xFFFFFFFF

LARGEST_HEADER = AHEAD


cdef int64_t _header(const uint8_t* payload, int64_t ahead, const uint8_t* plain) noexcept nogil:
    """Octets of the header that ends at ``payload``, of which ``ahead`` are there; 0 where none with these fields does.

    Version, payload type, sequence, timestamp and SSRC are as in ``plain``, and its own lengths say where it ends.
    """
    cdef int64_t size, claimed
    cdef const uint8_t* head
    cdef int same
    for size in range(FIXED, min(ahead, <int64_t>AHEAD) + 1, 4):
        head = payload - size
        if head[0] >> 6 != 2 or (head[1] ^ plain[1]) & 0x7F:
            continue
        same = 2
        while same < FIXED and head[same] == plain[same]:
            same += 1
        if same < FIXED:
            continue
        claimed = FIXED + 4 * (head[0] & 15)
        if head[0] & 16:
            if claimed + 4 > size:
                continue
            claimed += 4 + 4 * <int64_t>be16(head + claimed + 2)
        if claimed == size:
            return size
    return 0


def records(
    const uint8_t[::1] source, const int64_t[::1] at, const int64_t[::1] rows, const int64_t[::1] arrival_ns,
    const uint32_t[::1] timestamp, const int32_t[::1] stream, const uint16_t[::1] sequence, const uint16_t[::1] size,
    const uint8_t[::1] payload_type, const uint8_t[::1] flags, const uint32_t[::1] ssrcs, int64_t start_ns,
    uint8_t[::1] out, uint16_t[::1] lengths,
):
    """Write ``rows`` of columns into ``out`` as records; the octets written, and of each record into ``lengths``.

    ``at[n]`` is where the payload of ``rows[n]`` begins in ``source``, its header ahead of it if it is there. A row
    whose header is not there gets a plain one. ``out`` has room for ``LARGEST_HEADER`` and ``HEAD`` octets a row beyond
    the payloads. Raises ValueError where a row lies outside.
    """
    cdef int64_t number, row, header, octets, copied, ms, room = out.shape[0], done = 0, bad = -1
    cdef int64_t count = rows.shape[0], columns = size.shape[0]
    cdef uint8_t[FIXED] plain
    cdef uint8_t* to
    cdef uint32_t value
    if at.shape[0] != count or lengths.shape[0] != count or not (
        arrival_ns.shape[0] == timestamp.shape[0] == stream.shape[0] == sequence.shape[0] == payload_type.shape[0]
        == flags.shape[0] == columns
    ):
        raise ValueError("columns of several lengths")
    with nogil:
        for number in range(count):
            row = rows[number]
            if row < 0 or row >= columns or stream[row] < 0 or stream[row] >= ssrcs.shape[0]:
                bad = number
                break
            octets = size[row]
            if at[number] < 0 or at[number] > source.shape[0] - octets or (
                room - done < HEAD + AHEAD + octets
            ):
                bad = number
                break
            plain[0] = 0x80
            plain[1] = payload_type[row] & 0x7F | (0x80 if flags[row] & MARKER else 0)
            put_be16(&plain[2], sequence[row])
            put_be32(&plain[4], timestamp[row])
            put_be32(&plain[8], ssrcs[stream[row]])
            to = &out[done]
            header = 0
            if at[number] >= FIXED:  # or there is no octet of a header, and perhaps none to point at
                header = _header(&source[0] + at[number], at[number], plain)
            copied = (header if header else FIXED) + octets
            if copied > LARGEST:
                octets -= copied - LARGEST
                copied = LARGEST
            ms = (arrival_ns[row] - start_ns) // 1000000 if arrival_ns[row] > start_ns else 0
            value = <uint32_t>min(ms, <int64_t>MOST_MS)
            put_be16(to, copied + HEAD)
            put_be16(to + 2, copied)
            put_be32(to + 4, value)
            if header:
                memcpy(to + HEAD, &source[0] + at[number] - header, copied)
                if flags[row] & PADDED:
                    to[HEAD] &= 0xDF
            else:
                memcpy(to + HEAD, plain, FIXED)
                if octets:
                    memcpy(to + HEAD + FIXED, &source[0] + at[number], octets)
            lengths[number] = <uint16_t>(copied + HEAD)
            done += copied + HEAD
    if bad >= 0:
        raise ValueError(f"row {bad} lies outside its buffer")
    return done
