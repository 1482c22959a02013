# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The short road of a stored leg: its packets stand where the lengths in its side index say, so nothing is looked for.

A leg is plain where each record holds one whole RTP packet, as `callreplay.packets.recording` writes them. At the first
record for which the scanner (records.pyx, scanner.pyx) might come to anything else, ``take`` says so and the leg is
scanned as any capture is. Every offset is held against the length of the file before it is read.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from callreplay.packets.wire cimport be16, be32

cdef enum:
    MARKER = 1      # bits of model.PacketFlag
    EXTENSION = 64
    HEAD = 8        # of a record
    FIXED = 12      # octets of every RTP header
    MOST = 16       # SSRCs; from 32 on that are not proven the scanner drops packets


cdef class Walk:
    """A walk over the records of a leg, from ``head`` on. ``take`` them, block by block; then read the rest."""

    cdef int64_t position
    cdef int64_t records
    cdef readonly int64_t first_ms    # of the first record, as it counts from the start of the file
    cdef readonly int64_t last_ms
    cdef readonly int64_t longest_ms  # between two records
    cdef readonly int sources         # SSRCs met
    cdef uint32_t[MOST] ssrc

    def __init__(self, int64_t head):
        if head < 0:
            raise ValueError("records begin within the file")
        self.position = head

    def at(self):
        """Where the next record begins."""
        return self.position

    def take(self, const uint8_t[::1] data not None, const uint16_t[::1] length not None,
             int64_t[::1] offset not None, uint32_t[::1] timestamp not None, uint16_t[::1] sequence not None,
             uint16_t[::1] size not None, uint8_t[::1] payload_type not None, uint8_t[::1] flags not None):
        """Read a record for each of ``length``, octets with the record's own head, into the columns: as many rows.

        False where the leg is not plain.
        """
        cdef int64_t row, rows = length.shape[0], room = data.shape[0], at = self.position, octets, inner, ms
        cdef int64_t last_ms = self.last_ms, longest_ms = self.longest_ms, records = self.records
        cdef const uint8_t* p
        cdef uint32_t ssrc, last_ssrc = 0
        cdef uint8_t flag
        cdef bint plain = True, known = False
        if (offset.shape[0] != rows or timestamp.shape[0] != rows or sequence.shape[0] != rows
                or size.shape[0] != rows or payload_type.shape[0] != rows or flags.shape[0] != rows):
            raise ValueError("columns differ in length")
        with nogil:
            for row in range(rows):
                octets = length[row]
                plain = octets >= HEAD + FIXED and octets <= room - at
                if not plain:
                    break
                p = &data[at]
                ms = be32(p + 4)
                plain = be16(p) == octets and be16(p + 2) == octets - HEAD and (records == 0 or ms >= last_ms)
                if not plain:
                    break
                if records == 0:
                    self.first_ms = ms
                elif ms - last_ms > longest_ms:
                    longest_ms = ms - last_ms
                last_ms = ms
                records += 1
                p += HEAD
                # Version 2 without padding, and nothing that RFC 5761 section 4 leaves to RTCP.
                if p[0] & 0xE0 != 0x80 or 192 <= p[1] <= 223:
                    plain = False
                    break
                ssrc = be32(p + 8)
                if not known or ssrc != last_ssrc:
                    if not self.knows(ssrc):
                        plain = False
                        break
                    known, last_ssrc = True, ssrc
                octets -= HEAD
                inner = FIXED + 4 * (p[0] & 15)
                flag = MARKER if p[1] & 0x80 else 0
                if p[0] & 0x10:
                    flag |= EXTENSION
                    inner += 4 if octets < inner + 4 else 4 + 4 * <int64_t>be16(p + inner + 2)
                if inner > octets:
                    plain = False
                    break
                offset[row] = at + HEAD + inner
                timestamp[row] = be32(p + 4)
                sequence[row] = <uint16_t>be16(p + 2)
                size[row] = <uint16_t>(octets - inner)
                payload_type[row] = p[1] & 0x7F
                flags[row] = flag
                at += HEAD + octets
        self.position, self.records, self.last_ms, self.longest_ms = at, records, last_ms, longest_ms
        return bool(plain)

    cdef bint knows(self, uint32_t ssrc) noexcept nogil:
        """Whether it is one of few SSRCs; one that was not met before is noted."""
        cdef int i
        for i in range(self.sources):
            if self.ssrc[i] == ssrc:
                return True
        if self.sources == MOST:
            return False
        self.ssrc[self.sources] = ssrc
        self.sources += 1
        return True
