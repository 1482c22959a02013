# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""From media ticks to final positions, gaps and the lower envelope: passes over clean rows (see media.pyx).

Every column is checked for length before each loop, so Cython's bounds checks are off. No payload is read
here.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from callreplay.arrays cimport column, length_of, written
from callreplay.order.durations cimport covers

import numpy as np

from callreplay.arrays import empty_each
from callreplay.model import GAP_DTYPE

cdef enum:
    NOISE_FLAG = 8
    RESTART = 128

cdef enum:  # GapReason
    LOST = 1
    SILENCE = 2
    HOLD = 3

cdef tuple WINDOW = (np.dtype("i8"), np.dtype("i8"), np.dtype("f8"), np.dtype("i8"))
ALIGNED = np.dtype(GAP_DTYPE.descr, align=True)

cdef struct Gap:  # ALIGNED
    int32_t span
    int64_t start
    int64_t ticks
    int32_t packets
    uint8_t reason


def window_minima(stamps, arrivals, marks, int64_t origin_ns, double ns_per_tick, int64_t window_ticks,
                  int64_t shift=0):
    """The least (arrival - media time) of each window of media time, per stretch between restarts.

    Returns (stretch, tick, d, packets): int64, int64, float64 (ns against ``origin_ns``), int64, one entry
    per window with audio; ``tick`` is where the least was. Comfort noise does not count: its timestamps are
    not to be trusted. ``shift`` is added to every timestamp.
    """
    cdef int64_t rows = length_of(stamps), i, windows = 0, current = -1
    cdef const int64_t* timestamp = <const int64_t*>column(stamps, b"i", 8, rows)
    cdef const int64_t* arrival = <const int64_t*>column(arrivals, b"i", 8, rows)
    cdef const uint8_t* flags = <const uint8_t*>column(marks, b"u", 1, rows)
    if window_ticks < 1:
        raise ValueError("a window of no time")
    # The window of the row before, from ``low`` to ``high``: most rows lie in it and need no division.
    cdef int64_t tick, low = 0, high = 0, stretch = 0
    cdef double d
    with nogil:
        for i in range(rows):
            if flags[i] & RESTART and i:
                low = high = 0
            if flags[i] & NOISE_FLAG:
                continue
            tick = timestamp[i] + shift
            if not low <= tick < high:
                low = tick // window_ticks * window_ticks
                high = low + window_ticks
                if low == 0:
                    low = 1 - window_ticks  # division is towards nought
                windows += 1
    stretches, ticks, least, packets = empty_each(windows, WINDOW)
    cdef int64_t* stretches_v = <int64_t*>written(stretches, b"i", 8, windows)
    cdef int64_t* ticks_v = <int64_t*>written(ticks, b"i", 8, windows)
    cdef int64_t* packets_v = <int64_t*>written(packets, b"i", 8, windows)
    cdef double* least_v = <double*>written(least, b"f", 8, windows)
    low = high = 0
    with nogil:
        for i in range(rows):
            if flags[i] & RESTART and i:
                stretch += 1
                low = high = 0
            if flags[i] & NOISE_FLAG:
                continue
            tick = timestamp[i] + shift
            d = <double>(arrival[i] - origin_ns) - tick * ns_per_tick
            if not low <= tick < high:
                low = tick // window_ticks * window_ticks
                high = low + window_ticks
                if low == 0:
                    low = 1 - window_ticks  # division is towards nought
                current += 1
                stretches_v[current] = stretch
                ticks_v[current] = tick
                least_v[current] = d
                packets_v[current] = 0
            elif d < least_v[current]:
                least_v[current] = d
                ticks_v[current] = tick
            packets_v[current] += 1
    return stretches, ticks, least, packets


def short_floor(stamps, arrivals, marks, int32_t clock_rate_hz, int64_t window_ticks, double shortest_s,
                double apart_ns, int64_t shift):
    """What ``fit_clock`` makes of ``window_minima`` where their windows span less than ``shortest_s``: the envelope.

    In ns against the first arrival. None where it takes a closer look: for a longer stretch, one without audio, one in
    which the least of all lies more than ``apart_ns`` below the next, or one of a hundred windows.
    """
    cdef int64_t rows = length_of(stamps), i, windows = 0, tick, low = 0, high = 0, origin, first = 0, last = 0
    cdef const int64_t* timestamp = <const int64_t*>column(stamps, b"i", 8, rows)
    cdef const int64_t* arrival = <const int64_t*>column(arrivals, b"i", 8, rows)
    cdef const uint8_t* flags = <const uint8_t*>column(marks, b"u", 1, rows)
    cdef double d, here = 0, least = float("inf"), next_least = float("inf"), ns_per_tick
    if window_ticks < 1 or clock_rate_hz < 1:
        raise ValueError("a window of no time")
    if rows == 0:
        return None
    origin, ns_per_tick = arrival[0], 1e9 / clock_rate_hz
    with nogil:
        for i in range(rows + 1):
            if i < rows:
                if flags[i] & RESTART and i:
                    low = high = 0
                if flags[i] & NOISE_FLAG:
                    continue
                tick = timestamp[i] + shift
                d = <double>(arrival[i] - origin) - tick * ns_per_tick
                if low <= tick < high:
                    if d < here:
                        here, last = d, tick
                        if windows == 1:
                            first = tick
                    continue
            # The end of a window, if there was one.
            if windows:
                if here < least:
                    least, next_least = here, least
                elif here < next_least:
                    next_least = here
            if i == rows:
                break
            low = tick // window_ticks * window_ticks
            high = low + window_ticks
            if low == 0:
                low = 1 - window_ticks  # division is towards nought
            windows += 1
            here, last = d, tick
            if windows == 1:
                first = tick
    if not 0 < windows < 100 or <double>last / clock_rate_hz - <double>first / clock_rate_hz >= shortest_s:
        return None
    if 4 <= windows < 50 and next_least - least > apart_ns:
        return None
    return least if windows < 50 else next_least


def packet_ends(const int64_t[::1] timestamp not None, const uint16_t[::1] size not None,
                const uint8_t[::1] payload_type not None, const uint8_t[::1] flags not None,
                const int32_t[::1] missing not None, const uint8_t[::1] codecs not None,
                const int32_t[:, ::1] durations not None, const int32_t[::1] typical not None, int64_t longest,
                int64_t[::1] ends not None):
    """Fill ``ends`` with the tick at which each row's audio ends: a packet leaves when its last sample was spoken.

    Where the payload does not tell its length, the step to the packets beside it in number does, if both are
    alike and at most ``longest``; else the usual step. Comfort noise takes no time.
    """
    cdef Py_ssize_t rows = timestamp.shape[0], i
    if (size.shape[0] != rows or payload_type.shape[0] != rows or flags.shape[0] != rows
            or missing.shape[0] != rows or ends.shape[0] != rows):
        raise ValueError("columns differ in length")
    if rows == 0:
        return
    if codecs.shape[0] != 256 or not covers(durations, codecs, size):
        raise ValueError("durations do not cover every codec and size")
    if typical.shape[0] < durations.shape[0]:
        raise ValueError("tables differ in length")
    cdef int64_t duration, step, before = 0
    with nogil:
        for i in range(rows):
            duration = 0
            if not flags[i] & NOISE_FLAG:
                duration = durations[codecs[payload_type[i]], size[i]]
                if duration == 0:
                    duration = typical[codecs[payload_type[i]]]
                    step = 0
                    if i + 1 < rows and missing[i + 1] == 0 and not flags[i + 1] & RESTART:
                        step = timestamp[i + 1] - timestamp[i]
                    if 0 < step <= longest and step == before:
                        duration = step
                    before = step
            ends[i] = timestamp[i] + duration


def settle(int64_t[::1] timestamp not None, const uint16_t[::1] size not None,
           const uint8_t[::1] payload_type not None, const uint8_t[::1] flags not None,
           const int32_t[::1] missing not None, const int64_t[::1] shifts not None,
           const uint8_t[::1] codecs not None, const int32_t[:, ::1] durations not None,
           const int32_t[::1] typical not None, int64_t snap_ticks):
    """Shift each stretch, close hairline gaps and keep audio from overlapping; returns the end tick.

    ``shifts`` has one entry per stretch between restarts. Without packets missing, a hole or overlap of at
    most ``snap_ticks`` is the sender's rounding and vanishes; greater overlaps push the later packet back, so
    no sample of audio is lost or played twice (events and noise overlay, they have no length here).
    """
    cdef Py_ssize_t rows = timestamp.shape[0], i
    if (size.shape[0] != rows or payload_type.shape[0] != rows or flags.shape[0] != rows
            or missing.shape[0] != rows):
        raise ValueError("columns differ in length")
    if rows == 0:
        return 0
    if codecs.shape[0] != 256 or not covers(durations, codecs, size):
        raise ValueError("durations do not cover every codec and size")
    if typical.shape[0] < durations.shape[0] or shifts.shape[0] < 1:
        raise ValueError("tables differ in length")
    cdef int64_t end = 0, position, gap, stretch = 0, last = shifts.shape[0] - 1
    cdef int64_t duration = 0
    with nogil:
        for i in range(rows):
            if flags[i] & RESTART and i and stretch < last:
                stretch += 1
            position = timestamp[i] + shifts[stretch]
            if i == 0:
                end = position
            gap = position - end
            if gap < 0 or (gap <= snap_ticks and missing[i] == 0):
                position = end
            timestamp[i] = position
            if flags[i] & NOISE_FLAG:
                end = position
                continue
            duration = durations[codecs[payload_type[i]], size[i]]
            if duration == 0:
                # The payload does not tell its length: up to the next packet when that one follows at once.
                duration = typical[codecs[payload_type[i]]]
                if i + 1 < rows and missing[i + 1] == 0 and not flags[i + 1] & RESTART:
                    gap = timestamp[i + 1] + shifts[stretch] - position
                    if 0 < gap < duration:
                        duration = gap
            end = position + duration
    return int(end)


cdef inline Py_ssize_t put(Gap[::1] table, Py_ssize_t index, bint fill, int32_t span, int64_t start,
                           int64_t ticks, int64_t packets, uint8_t reason) noexcept nogil:
    if fill:
        table[index].span = span
        table[index].start = start
        table[index].ticks = ticks
        table[index].packets = <int32_t>packets
        table[index].reason = reason
    return index + 1


cdef Py_ssize_t gap_pass(const int64_t[::1] timestamp, const uint16_t[::1] size,
                         const uint8_t[::1] payload_type, const uint8_t[::1] flags,
                         const int32_t[::1] missing, const uint8_t[::1] codecs,
                         const int32_t[:, ::1] durations, const int32_t[::1] typical, int32_t span,
                         int64_t hold_ticks, int64_t longest, Gap[::1] table, bint fill) noexcept nogil:
    cdef Py_ssize_t rows = timestamp.shape[0], i, found = 0
    cdef int64_t end = 0, gap, lost, duration = 0, last_audio = 0
    for i in range(rows):
        gap = timestamp[i] - end if i else 0
        if gap > 0:
            lost = 0
            if missing[i]:
                lost = missing[i] * last_audio
                if lost + last_audio // 2 >= gap or last_audio == 0:
                    lost = gap
                found = put(table, found, fill, span, end, lost, missing[i], LOST)
            if gap > lost:
                found = put(table, found, fill, span, end + lost, gap - lost, 0,
                            HOLD if gap - lost >= hold_ticks else SILENCE)
        if flags[i] & NOISE_FLAG:
            end = timestamp[i]
            continue
        duration = durations[codecs[payload_type[i]], size[i]]
        if duration == 0:
            duration = typical[codecs[payload_type[i]]]
            if i + 1 < rows and missing[i + 1] == 0 and 0 < timestamp[i + 1] - timestamp[i] <= longest:
                duration = timestamp[i + 1] - timestamp[i]
        last_audio = duration
        end = timestamp[i] + duration
    return found


def gap_table(const int64_t[::1] timestamp not None, const uint16_t[::1] size not None,
              const uint8_t[::1] payload_type not None, const uint8_t[::1] flags not None,
              const int32_t[::1] missing not None, const uint8_t[::1] codecs not None,
              const int32_t[:, ::1] durations not None, const int32_t[::1] typical not None, int span,
              int64_t hold_ticks, int64_t longest):
    """The gaps of one span as GAP_DTYPE: LOST for what numbers say is missing, SILENCE or HOLD for the rest.

    ``longest`` (ticks): a packet whose length its payload does not tell reaches to the next in number up to
    this far.
    """
    cdef Py_ssize_t rows = timestamp.shape[0]
    if (size.shape[0] != rows or payload_type.shape[0] != rows or flags.shape[0] != rows
            or missing.shape[0] != rows):
        raise ValueError("columns differ in length")
    if rows == 0:
        return np.zeros(0, GAP_DTYPE)
    if codecs.shape[0] != 256 or not covers(durations, codecs, size):
        raise ValueError("durations do not cover every codec and size")
    if typical.shape[0] < durations.shape[0]:
        raise ValueError("tables differ in length")
    table = np.zeros(1, ALIGNED)
    cdef Gap[::1] view = table
    cdef Py_ssize_t found
    with nogil:
        found = gap_pass(timestamp, size, payload_type, flags, missing, codecs, durations, typical, span,
                         hold_ticks, longest, view, False)
    if not found:
        return np.zeros(0, GAP_DTYPE)
    table = np.zeros(found, ALIGNED)
    view = table
    with nogil:
        gap_pass(timestamp, size, payload_type, flags, missing, codecs, durations, typical, span,
                 hold_ticks, longest, view, True)
    return table.astype(GAP_DTYPE)


def codec_runs(const uint8_t[::1] payload_type not None, const uint8_t[::1] flags not None,
               const uint8_t[::1] codecs not None):
    """First row, stop row and codec of every run of one codec; comfort noise belongs to the run it stands in.

    Returns a list of (first, stop, codec); noise before any audio belongs to the first run. A leg of noise
    alone is one run with the codec of its noise.
    """
    cdef Py_ssize_t rows = payload_type.shape[0], i, begun = 0
    if flags.shape[0] != rows or codecs.shape[0] != 256:
        raise ValueError("columns differ in length")
    cdef int current = -1
    runs = []
    i = 0
    while True:
        with nogil:
            while i < rows and (flags[i] & NOISE_FLAG or codecs[payload_type[i]] == current):
                i += 1
        if i == rows:
            break
        if current >= 0:
            runs.append((begun, i, current))
            begun = i
        current = codecs[payload_type[i]]
    if current >= 0:
        runs.append((begun, rows, current))
    elif rows:
        runs.append((0, rows, codecs[payload_type[0]]))
    return runs


def count_late(stamps, arrivals, int64_t origin_ns, double floor_ns, double ns_per_tick, double late_ns,
               int64_t shift=0):
    """How many packets came more than ``late_ns`` after the envelope ``floor_ns`` (against ``origin_ns``).

    ``shift`` is added to every timestamp.
    """
    cdef int64_t rows = length_of(stamps), i, late = 0
    cdef const int64_t* timestamp = <const int64_t*>column(stamps, b"i", 8, rows)
    cdef const int64_t* arrival = <const int64_t*>column(arrivals, b"i", 8, rows)
    with nogil:
        for i in range(rows):
            if <double>(arrival[i] - origin_ns) - (timestamp[i] + shift) * ns_per_tick - floor_ns > late_ns:
                late += 1
    return late
