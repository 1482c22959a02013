# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Passes over the rows of a scan: grouping by stream, times mended, payloads hashed, encryption suspected."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.math cimport ceil, fabs
from libc.string cimport memcpy, memset

import sys

import numpy as np

from callreplay.arrays cimport column, length_of, written

cdef bint BIG_ENDIAN = sys.byteorder == "big"
cdef uint8_t SPILL = 2
cdef uint8_t TRUNCATED = 4
cdef uint8_t MENDED = 128  # RESTART, which rows have once they are in order; no row leaves mend_times with it
cdef int64_t DAY_NS = 86400000000000
cdef int64_t MOST_APART = 100  # numbers between neighbours in time, two seconds of packets of 20 ms
cdef double SHORTEST_TICK_NS = 5000  # 200 kHz
cdef double SLOWEST_TICK_NS = 125000  # 8 kHz
cdef double LONGEST_TICK_NS = 250000

cdef enum:
    FIRST = 0
    LAST = 1
    WAITING = 2
    EARLY = 3


def group(streams_of, first, grouped):
    """Counting sort: rows of each stream together, in order. ``first`` (streams,) is moved to where each one ends."""
    cdef int64_t row, at, streams = length_of(first), n = length_of(streams_of)
    cdef const int32_t* stream = <const int32_t*>column(streams_of, b"i", 4, n)
    cdef int64_t* starts = <int64_t*>written(first, b"i", 8, streams)
    cdef int32_t* out = <int32_t*>written(grouped, b"i", 4, n)
    if n > 0x7FFFFFFF:
        raise ValueError("one index of 32 bits a row")
    with nogil:
        for row in range(n):
            if not 0 <= stream[row] < streams:
                continue
            at = starts[stream[row]]
            if 0 <= at < n:
                out[at] = <int32_t>row
                starts[stream[row]] = at + 1


def places(const int32_t[::1] stream, int64_t[::1] starts, int32_t[::1] out):
    """Where ``group`` puts each row. Returns the rows that have a stream; ``out`` of others is not set."""
    cdef int64_t row, found = 0, streams = starts.shape[0]
    if out.shape[0] != stream.shape[0] or stream.shape[0] > 0x7FFFFFFF:
        raise ValueError("one index of 32 bits a row")
    with nogil:
        for row in range(stream.shape[0]):
            if 0 <= stream[row] < streams:
                out[row] = <int32_t>starts[stream[row]]
                starts[stream[row]] += 1
                found += 1
    return found


def mend_times(arrivals, timestamps, streams, marks):
    """Give a row whose time is more than a day off while its neighbours agree the time that its stream shows.

    That is the one on the line through the rows of its stream before and after it: what timestamps make of it lies
    nowhere below what these two make, so that no mended row is the least delay from which a clock is told. A row whose
    stream has no other takes the time of the row before.

    Returns (rows mended, whether the times are out of order afterwards).
    """
    cdef int64_t row, n = length_of(arrivals), mended = 0, before, after
    cdef int64_t* arrival_ns = <int64_t*>written(arrivals, b"i", 8, n)
    cdef uint8_t* flags = <uint8_t*>written(marks, b"u", 1, n)
    cdef bint unordered = False
    column(timestamps, b"u", 4, n)
    column(streams, b"i", 4, n)
    with nogil:
        if n > 2 and _apart(arrival_ns[0], arrival_ns[1]) and not _apart(arrival_ns[1], arrival_ns[2]):
            arrival_ns[0] = arrival_ns[1]
            flags[0] |= MENDED
            mended += 1
        for row in range(1, n):
            before = arrival_ns[row - 1]
            if _apart(arrival_ns[row], before):
                after = arrival_ns[row + 1] if row + 1 < n else before
                if not _apart(after, before):
                    arrival_ns[row] = before
                    flags[row] |= MENDED
                    mended += 1
            unordered = unordered or arrival_ns[row] < before
    if mended:
        if np.min(streams) < 0:
            raise ValueError("a row without a stream")
        unordered = _settle_mended(arrivals, timestamps, streams, marks,
                                   np.full((int(np.max(streams)) + 1, 4), -1, np.int64))
    return mended, bool(unordered)


cdef bint _settle_mended(int64_t[::1] arrival_ns, const uint32_t[::1] timestamp, const int32_t[::1] stream,
                         uint8_t[::1] flags, int64_t[:, ::1] known):
    """Times for the rows marked MENDED, and the marks off; returns whether the times are out of order.

    ``known`` has, for each stream, its first and its last sound row, and the last of the mended rows that wait for a
    sound one after them and of those that came before any; -1 where there is none. Rows that wait hold, as their time,
    the one that waits before them.
    """
    cdef int64_t row, one, n = arrival_ns.shape[0]
    cdef bint unordered = False
    with nogil:
        for row in range(n):
            one = stream[row]
            if flags[row] & MENDED:
                arrival_ns[row] = known[one, WAITING]
                known[one, WAITING] = row
                continue
            if known[one, FIRST] < 0:
                known[one, FIRST] = row
                known[one, EARLY] = known[one, WAITING]
            else:
                _draw(arrival_ns, timestamp, flags, known[one, WAITING], known[one, LAST], known[one, LAST], row)
            known[one, WAITING] = -1
            known[one, LAST] = row
        for one in range(known.shape[0]):
            if known[one, FIRST] >= 0:
                _draw(arrival_ns, timestamp, flags, known[one, EARLY], known[one, FIRST], known[one, FIRST],
                      known[one, LAST])
                _draw(arrival_ns, timestamp, flags, known[one, WAITING], known[one, LAST], known[one, FIRST],
                      known[one, LAST])
        if n > 1 and flags[0] & MENDED:
            arrival_ns[0] = arrival_ns[1]  # a sound row, or it would not have been mended, and perhaps moved since
        for row in range(n):
            if row and flags[row] & MENDED:
                arrival_ns[row] = arrival_ns[row - 1]
            flags[row] &= <uint8_t>~MENDED
            unordered = unordered or (row and arrival_ns[row] < arrival_ns[row - 1])
    return unordered


cdef void _draw(int64_t[::1] arrival_ns, const uint32_t[::1] timestamp, uint8_t[::1] flags, int64_t row, int64_t beside,
                int64_t a, int64_t b) noexcept nogil:
    """Put ``row``, and all that wait before it, on the line through rows ``a`` and ``b``, from ``beside`` on.

    Outside of the two, the line may not be steeper or flatter than a clock of RTP: then a row is late rather than early.
    Upwards to the nanosecond, for the same reason.
    """
    cdef int64_t next_row, time
    cdef int32_t span = <int32_t>(timestamp[b] - timestamp[a])
    cdef int32_t ticks
    cdef double elapsed = 0, moved
    if not _apart(arrival_ns[a], arrival_ns[b]):
        elapsed = <double>(arrival_ns[b] - arrival_ns[a])
    while row >= 0:
        next_row = arrival_ns[row]
        ticks = <int32_t>(timestamp[row] - timestamp[beside])
        if span and beside == a and 0 <= <double>ticks * span <= <double>span * span:
            moved = elapsed * ticks / span
        elif span and SHORTEST_TICK_NS < elapsed / span < LONGEST_TICK_NS:
            moved = elapsed * ticks / span
        else:
            moved = SLOWEST_TICK_NS * ticks if ticks > 0 else 0
        if fabs(moved) > DAY_NS:
            moved = 0
        time = <int64_t>(<uint64_t>arrival_ns[beside] + <uint64_t><int64_t>ceil(moved))
        arrival_ns[row] = time if not _apart(time, arrival_ns[beside]) else arrival_ns[beside]  # beyond 64 bits
        flags[row] &= <uint8_t>~MENDED
        row = next_row


cdef inline bint _apart(int64_t a, int64_t b) noexcept nogil:
    # Differences of two int64 may overflow: as unsigned they cannot.
    return (<uint64_t>a - <uint64_t>b if a > b else <uint64_t>b - <uint64_t>a) > <uint64_t>DAY_NS


cdef inline uint64_t _fold(uint64_t h) noexcept nogil:
    # The finaliser of SplitMix64: every bit of the input reaches every bit of the output.
    h = (h ^ (h >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    h = (h ^ (h >> 27)) * <uint64_t>0x94D049BB133111EB
    return h ^ (h >> 31)


cdef uint64_t _hash(const uint8_t* p, int64_t size) noexcept nogil:
    cdef uint64_t h = <uint64_t>0x9E3779B97F4A7C15 * <uint64_t>(size + 1)
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, p, 8)
        h = _fold(h ^ word) + <uint64_t>0x9E3779B97F4A7C15
        p += 8
        size -= 8
    if size:
        word = 0
        memcpy(&word, p, size)
        h = _fold(h ^ word)
    return _fold(h)


def most_below_second(const uint8_t[::1] data not None, bint big, int64_t header, int64_t records):
    """The most that one of the first ``records`` of a pcap has below the second; -1 where one of them makes no sense.

    ``header`` is what a record has before its packet, ``big`` whether its numbers are big-endian.
    """
    cdef int64_t at = 24, _number
    cdef uint32_t below, captured, most = 0
    if header < 16:
        raise ValueError("a record's header has 16 octets or more")
    for _number in range(records):
        if at > data.shape[0] - 16:
            break
        memcpy(&below, &data[at + 4], 4)
        memcpy(&captured, &data[at + 8], 4)
        if big != BIG_ENDIAN:
            below, captured = _swapped(below), _swapped(captured)
        if below >= 1000000000 or captured > 1 << 18:
            return -1
        most = max(most, below)
        at += header + captured
    return int(most)


cdef inline uint32_t _swapped(uint32_t value) noexcept nogil:
    return value >> 24 | value >> 8 & 0xFF00 | value << 8 & 0xFF0000 | value << 24


def leaps(arrivals, int64_t ahead_ns, int64_t back_ns):
    """Whether the time of any row is more than ``ahead_ns`` after the one before it, or ``back_ns`` before that."""
    cdef int64_t row, n = length_of(arrivals)
    cdef const int64_t* arrival_ns = <const int64_t*>column(arrivals, b"i", 8, n)
    cdef uint64_t later
    cdef bint found = False
    if ahead_ns < 0 or back_ns < 0:
        raise ValueError("lengths of time are not negative")
    with nogil:
        for row in range(1, n):
            # Differences of two int64 may overflow: as unsigned they cannot.
            if arrival_ns[row] >= arrival_ns[row - 1]:
                later = <uint64_t>arrival_ns[row] - <uint64_t>arrival_ns[row - 1]
                found = later > <uint64_t>ahead_ns
            else:
                later = <uint64_t>arrival_ns[row - 1] - <uint64_t>arrival_ns[row]
                found = later > <uint64_t>back_ns
            if found:
                break
    return bool(found)


def hash_payloads(const uint8_t[::1] data, const uint8_t[::1] spill, const int64_t[:] offset, const uint16_t[:] size,
                  const uint8_t[:] flags):
    """A 64-bit hash per payload, ``(n,)`` uint64; ValueError where a row lies outside its buffer."""
    cdef int64_t row, n = offset.shape[0], room, bad = -1
    cdef const uint8_t* base
    cdef const uint8_t* first = &data[0] if data.shape[0] else NULL
    cdef const uint8_t* second = &spill[0] if spill.shape[0] else NULL
    if size.shape[0] != n or flags.shape[0] != n:
        raise ValueError("columns of unequal length")
    result = np.empty(n, np.uint64)
    cdef uint64_t[::1] out = result
    with nogil:
        for row in range(n):
            base, room = first, data.shape[0]
            if flags[row] & SPILL:
                base, room = second, spill.shape[0]
            if offset[row] < 0 or size[row] > room or offset[row] > room - size[row]:
                bad = row
                break
            out[row] = _hash(base + offset[row], size[row])
    if bad >= 0:
        raise ValueError(f"row {bad} lies outside its buffer")
    return result


cdef struct Payloads:
    const uint8_t* data
    const uint8_t* spill
    const int64_t* offset
    const uint16_t* size
    const uint8_t* flags
    int64_t octets
    int64_t spilled
    int64_t rows


cdef Payloads _payloads(data, spill, offset, size, flags) except *:
    """Where the payloads of a scan lie. Valid as long as all five are held."""
    cdef Payloads of
    of.octets, of.spilled, of.rows = length_of(data), length_of(spill), length_of(offset)
    of.data = <const uint8_t*>column(data, b"u", 1, of.octets)
    of.spill = <const uint8_t*>column(spill, b"u", 1, of.spilled)
    of.offset = <const int64_t*>column(offset, b"i", 8, of.rows)
    of.size = <const uint16_t*>column(size, b"u", 2, of.rows)
    of.flags = <const uint8_t*>column(flags, b"u", 1, of.rows)
    return of


cdef inline const uint8_t* _payload(const Payloads* of, int64_t row) noexcept nogil:
    # NULL for a row that is not there, or whose payload is empty, cut short or outside.
    cdef int64_t room
    if not 0 <= row < of.rows:
        return NULL
    room = of.spilled if of.flags[row] & SPILL else of.octets
    if of.flags[row] & TRUNCATED or of.size[row] == 0 or of.offset[row] < 0 or of.offset[row] > room - of.size[row]:
        return NULL
    return (of.spill if of.flags[row] & SPILL else of.data) + of.offset[row]


cdef object _chosen(rows):
    """Numbers of rows as ``column`` takes them."""
    return np.ascontiguousarray(rows, dtype=np.int32)


def examine(data, spill, offsets, sizes, marks, sequences, timestamps, payload_types, rows, double enough):
    """Evidence of encryption in the payloads of ``rows`` (one stream, in order).

    Returns (the payload types that occur, as bits,
    chi-square of their octets against a uniform spread, or the least that it can be as soon as that is ``enough``,
    octets counted, pairs of near neighbours of one static
    codec and one size, how many of these payloads are as long as the codec makes the time step, how many are longer by
    the same 4 to 20 octets, and by how many).
    """
    listed = _chosen(rows)
    cdef int64_t i, j, row, last, n = length_of(listed), total = 0, pairs = 0, exact = 0, step, expected, excess
    cdef const int32_t* chosen = <const int32_t*>column(listed, b"i", 4, n)
    cdef Payloads of = _payloads(data, spill, offsets, sizes, marks)
    cdef const uint16_t* size = of.size
    cdef const uint16_t* sequence = <const uint16_t*>column(sequences, b"u", 2, of.rows)
    cdef const uint32_t* timestamp = <const uint32_t*>column(timestamps, b"u", 4, of.rows)
    cdef const uint8_t* payload_type = <const uint8_t*>column(payload_types, b"u", 1, of.rows)
    cdef int64_t best = 4
    cdef uint32_t ticks
    cdef int64_t[21] longer
    cdef uint64_t low = 0, high = 0
    # Four counters an octet value: an octet that comes twice in a row need not wait for itself.
    cdef int64_t[4][256] histogram
    cdef const uint8_t* base
    cdef double chi = 0, even, d, high_sum, high_squares
    cdef int64_t high_count
    with nogil:
        memset(histogram, 0, sizeof(histogram))
        memset(longer, 0, sizeof(longer))
        for i in range(n):
            row = chosen[i]
            if not 0 <= row < of.rows:
                continue
            if payload_type[row] < 64:
                low |= <uint64_t>1 << payload_type[row]
            else:
                high |= <uint64_t>1 << (payload_type[row] & 63)
            if _payload(&of, row) == NULL:
                continue
            total += size[row]
            if i == 0 or not 0 <= chosen[i - 1] < of.rows:
                continue
            last = chosen[i - 1]
            step = <uint16_t>(sequence[row] - sequence[last])
            ticks = timestamp[row] - timestamp[last]
            # Lost packets between the two, or such as were not captured, leave the time step known.
            if not 1 <= step <= MOST_APART or ticks % step:
                continue
            if payload_type[row] != payload_type[last] or size[row] != size[last]:
                continue
            expected = _octets(payload_type[row], <uint32_t>(ticks // step))
            if expected <= 0:
                continue
            excess = size[row] - expected
            pairs += 1
            if excess == 0:
                exact += 1
            elif 4 <= excess <= 20:
                longer[excess] += 1
        for i in range(4, 21):
            if longer[i] > longer[best]:
                best = i
        even = total / 256.0
        for i in range(n):
            base = _payload(&of, chosen[i])
            if base == NULL:
                continue
            row = chosen[i]
            for j in range(0, size[row] - 3, 4):
                histogram[0][base[j]] += 1
                histogram[1][base[j + 1]] += 1
                histogram[2][base[j + 2]] += 1
                histogram[3][base[j + 3]] += 1
            for j in range(size[row] & ~3, size[row]):
                histogram[0][base[j]] += 1
            if i % 8 != 7:
                continue
            # What is above the mean already stays there, and the rest can at best be spread evenly over the others: the
            # sum of squares is least then.
            high_count = 0
            high_sum = high_squares = 0
            for j in range(256):
                d = histogram[0][j] + histogram[1][j] + histogram[2][j] + histogram[3][j]
                if d > even:
                    high_count += 1
                    high_sum += d
                    high_squares += d * d
            if high_count < 256:
                d = total - high_sum
                chi = (high_squares + d * d / (256 - high_count)) / even - total
                if chi >= enough:
                    break
        else:
            chi = 0
            for i in range(256 if total else 0):
                d = histogram[0][i] + histogram[1][i] + histogram[2][i] + histogram[3][i] - even
                chi += d * d / even
    return int(low) | int(high) << 64, chi, total, pairs, exact, longer[best], best


def spread(offsets, rows):
    """How far apart the least and the greatest of the offsets of ``rows`` lie; 0 for no rows."""
    listed = _chosen(rows)
    cdef int64_t i, least = 0, most = 0, at, n = length_of(listed), total = length_of(offsets)
    cdef const int32_t* chosen = <const int32_t*>column(listed, b"i", 4, n)
    cdef const int64_t* offset = <const int64_t*>column(offsets, b"i", 8, total)
    with nogil:
        for i in range(n):
            if 0 <= chosen[i] < total:
                at = offset[chosen[i]]
                if i == 0 or at < least:
                    least = at
                if i == 0 or at > most:
                    most = at
    return most - least


def count_parity(data, spill, offsets, sizes, marks, rows):
    """How many G.729 frames of the payloads of ``rows`` have the parity of clause 3.7.2, and of how many frames.

    P0 is the parity of the six upper bits of P1, so that any octets have it in one frame of two.
    """
    listed = _chosen(rows)
    cdef int64_t i, at, row, held = 0, frames = 0, n = length_of(listed)
    cdef const int32_t* chosen = <const int32_t*>column(listed, b"i", 4, n)
    cdef Payloads of = _payloads(data, spill, offsets, sizes, marks)
    cdef const uint8_t* base
    cdef uint32_t bits
    with nogil:
        for i in range(n):
            row = chosen[i]
            base = _payload(&of, row)
            if base == NULL:
                continue
            for at in range(0, of.size[row] - 9, 10):
                bits = (<uint32_t>(base[at + 2] & 0x3F)) << 1 | (base[at + 3] >> 5 & 1)
                bits ^= bits >> 4
                held += (0x6996 >> (bits & 0xF)) & 1  # the parity of four bits, by their value
                frames += 1
    return held, frames


cdef int64_t _octets(uint8_t payload_type, uint32_t ticks) noexcept nogil:
    # What static codecs make of a time step (RFC 3551); above 200 ms it is no packet's length.
    if ticks > 1600 or ticks == 0:
        return 0
    if payload_type == 0 or payload_type == 8 or payload_type == 9:
        return ticks
    if payload_type == 2:  # G726-32
        return ticks // 2
    if payload_type == 18:
        return ticks // 8
    if payload_type == 3:
        return ticks // 160 * 33
    return 0
