# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The rows of one stream gathered from the columns of a scan, and what is seen of them on the way: one pass.

Every row number is held against the length of the columns before it is used, so Cython's bounds checks are off.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from callreplay.arrays cimport column, length_of

cdef enum:
    NOISE_FLAG = 8
    RESTART = 128


cdef class Survey:
    """What one look at the rows of a stream tells, before they are put in order.

    ``packets``: of each payload type, 256. Sizes in octets and times in ns are 0 where there are no rows.
    """

    cdef readonly int64_t rows
    cdef readonly int64_t first_ns
    cdef readonly int64_t last_ns
    cdef readonly int64_t smallest
    cdef readonly int64_t largest
    cdef readonly bint in_time
    cdef int64_t[256] counts
    cdef int64_t before_ns

    def __cinit__(self):
        cdef int i
        self.rows = self.first_ns = self.last_ns = self.smallest = self.largest = self.before_ns = 0
        self.in_time = True
        for i in range(256):
            self.counts[i] = 0

    def present(self):
        """Payload types that occur, in order, with how many packets each has: a dict."""
        cdef int i
        return {i: self.counts[i] for i in range(256) if self.counts[i]}

    def commonest(self, const uint8_t[::1] kinds not None, uint8_t kind):
        """The payload type of ``kind`` (``kinds``: 256) with most packets, the lowest of several; -1 for none."""
        cdef int i, best = -1
        cdef int64_t most = 0
        if kinds.shape[0] != 256:
            raise ValueError("kinds needs 256 entries")
        for i in range(256):
            if kinds[i] == kind and self.counts[i] > most:
                best, most = i, self.counts[i]
        return best

    def count(self, uint8_t payload_type):
        """Packets of one payload type."""
        return self.counts[payload_type]

    cdef inline void see(self, int64_t arrival, uint16_t size, uint8_t payload_type) noexcept nogil:
        self.counts[payload_type] += 1
        if self.rows == 0:
            self.first_ns = self.last_ns = arrival
            self.smallest = self.largest = size
        else:
            if arrival < self.before_ns:
                self.in_time = False
            self.first_ns = min(self.first_ns, arrival)
            self.last_ns = max(self.last_ns, arrival)
            self.smallest = min(self.smallest, <int64_t>size)
            self.largest = max(self.largest, <int64_t>size)
        self.before_ns = arrival
        self.rows += 1

    def look(self, sizes, arrivals, payload_types, rows, int64_t first, int64_t count, int64_t step):
        """``take`` without a copy of anything."""
        cdef int64_t i, row, n = length_of(arrivals), numbers = 0 if rows is None else length_of(rows)
        cdef const uint16_t* size = <const uint16_t*>column(sizes, b"u", 2, n)
        cdef const int64_t* arrival = <const int64_t*>column(arrivals, b"i", 8, n)
        cdef const uint8_t* payload_type = <const uint8_t*>column(payload_types, b"u", 1, n)
        cdef const int32_t* chosen = NULL
        cdef bint listed = rows is not None, bad = False
        if listed:
            chosen = <const int32_t*>column(rows, b"i", 4, numbers)
            if not (0 <= first <= numbers and 0 <= count <= numbers - first):
                raise ValueError("no such rows")
        with nogil:
            for i in range(count):
                row = chosen[first + i] if listed else first + i * step
                if not 0 <= row < n:
                    bad = True
                    break
                self.see(arrival[row], size[row], payload_type[row])
        if bad:
            raise ValueError("no such rows")

    def take(self, const int64_t[::1] offset not None, const uint16_t[::1] size not None,
             const uint32_t[::1] timestamp not None, const int64_t[::1] arrival not None,
             const uint16_t[::1] sequence not None, const uint8_t[::1] payload_type not None,
             const uint8_t[::1] flags not None, const int32_t[::1] rows, int64_t first, int64_t count, int64_t step,
             int64_t at,
             int64_t[::1] offset_to not None, uint16_t[::1] size_to not None, int64_t[::1] timestamp_to not None,
             int64_t[::1] arrival_to not None, int64_t[::1] sequence_to not None,
             uint8_t[::1] payload_type_to not None, uint8_t[::1] flags_to not None):
        """Copy ``count`` rows to the targets, from ``at`` on: those that ``rows`` lists from place ``first`` on.

        Where ``rows`` is None they are row ``first`` and every ``step``-th from there.

        ValueError, with nothing copied of the row at fault or after it, where there is no such row.
        """
        cdef int64_t i, row, to, n = offset.shape[0], room
        cdef bint listed = rows is not None, bad = False
        if (size.shape[0] != n or timestamp.shape[0] != n or arrival.shape[0] != n or sequence.shape[0] != n
                or payload_type.shape[0] != n or flags.shape[0] != n):
            raise ValueError("columns differ in length")
        if listed and not (0 <= first <= rows.shape[0] and 0 <= count <= rows.shape[0] - first):
            raise ValueError("no such rows")
        room = offset_to.shape[0]
        if (size_to.shape[0] != room or timestamp_to.shape[0] != room or arrival_to.shape[0] != room
                or sequence_to.shape[0] != room or payload_type_to.shape[0] != room or flags_to.shape[0] != room
                or not (0 <= at <= room and 0 <= count <= room - at)):
            raise ValueError("no room for the rows")
        with nogil:
            for i in range(count):
                row = rows[first + i] if listed else first + i * step
                if not 0 <= row < n:
                    bad = True
                    break
                to = at + i
                offset_to[to] = offset[row]
                size_to[to] = size[row]
                timestamp_to[to] = timestamp[row]
                arrival_to[to] = arrival[row]
                sequence_to[to] = sequence[row]
                payload_type_to[to] = payload_type[row]
                flags_to[to] = flags[row]
                self.see(arrival[row], size[row], payload_type[row])
        if bad:
            raise ValueError("no such rows")


def bunched(const int64_t[::1] arrival not None, int64_t head, int64_t run, double packet_ns):
    """Whether the first ``head`` rows, or any ``run`` one after the other, came in less than half of their time."""
    cdef int64_t rows = arrival.shape[0], i, least, most, few = min(head, rows), apart
    if head < 1 or run < 1:
        raise ValueError("head and run must be positive")
    cdef double room = run * packet_ns / 2
    cdef bint found = False
    with nogil:
        if few > 2:
            least = most = arrival[0]
            for i in range(1, few):
                least = min(least, arrival[i])
                most = max(most, arrival[i])
            found = <double>(most - least) < (few - 1) * packet_ns / 2
        i = run
        while i < rows and not found:
            apart = arrival[i] - arrival[i - run]
            found = <double>(apart if apart >= 0 else -apart) < room
            i += run
    return bool(found)


def restarts(const uint8_t[::1] flags not None):
    """How many rows after the first have the flag RESTART."""
    cdef int64_t i, found = 0
    with nogil:
        for i in range(1, flags.shape[0]):
            found += (flags[i] & RESTART) != 0
    return found


def audio_rows(const uint8_t[::1] flags not None):
    """The first and the last row that is no comfort noise; (-1, -1) where all are."""
    cdef int64_t i, first = -1, last = -1
    with nogil:
        for i in range(flags.shape[0]):
            if not flags[i] & NOISE_FLAG:
                first = i
                break
        if first >= 0:
            for i in range(flags.shape[0] - 1, -1, -1):
                if not flags[i] & NOISE_FLAG:
                    last = i
                    break
    return first, last
