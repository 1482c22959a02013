# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sequence numbers unwrapped in arrival order: RFC 3550 appendix A.1, with timestamps as the second witness.

Every index below is within 0..rows-1, and every column is checked to have that length before the loop: so the
bounds checks of Cython are off here. No payload is read in this file.
"""

from libc.stdlib cimport calloc, free
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

import numpy as np

# RFC 3550 A.1. MIN_SEQUENTIAL is 2: the second packet in order proves a restart.
cdef enum:
    MAX_DROPOUT = 3000
    MAX_MISORDER = 100
    RING = 256
    SMALL_LEAP = 16

# A leap is judged by the packets after it: at least so many, at most so many; nearer leaps back are disorder.
cdef enum:
    WITNESSES = 8
    MOST_WITNESSES = 64
    NEAREST_LEAP = 10
    LATE_RUN = 6  # so many one after the other behind the newest are a second path's copies, not a restart

cdef enum:
    REDUNDANT = 16  # PacketFlag.REDUNDANT

cdef enum:
    AUDIO = 1  # kinds, as in payloads.Kind
    EVENT = 3

# A key is epoch << 32 | position; positions start in the middle, so late packets of an epoch stay inside it.
cdef int64_t EPOCH = <int64_t>1 << 32
cdef int64_t MIDDLE = <int64_t>1 << 30
cdef int64_t LOST_KEY = <int64_t>1 << 62
cdef int64_t UNDER_WAY_NS = 200_000_000  # a packet this much later than its run was under way at the restart

STRAY = 1 << 62


cdef struct State:
    int64_t newest      # highest key so far
    uint32_t timestamp  # of the packet with that key
    int64_t arrival
    uint16_t bad_next   # RFC 3550: bad_seq
    uint32_t bad_timestamp
    int64_t bad_row     # -1: none
    int64_t ring_key[RING]
    uint32_t ring_timestamp[RING]
    uint16_t last_late  # number of the last packet that came far behind the newest, and
    int64_t late_run    # how many like it came one after the other
    int64_t advances    # packets of this epoch that were the newest when they came
    int64_t old_newest  # the key and
    uint32_t old_timestamp  # timestamp of the newest packet before the last restart, and
    int64_t old_arrival  # and arrival of it


cdef bint neighbourly(const State* state, int64_t key, uint32_t timestamp, int64_t sane) noexcept nogil:
    """Whether a packet near in number has a timestamp near in time; leaps and wild noise may lie between."""
    cdef int64_t near
    cdef int slot, distance, side
    for distance in range(1, 9):
        for side in range(2):
            near = key + distance if side else key - distance
            slot = near & (RING - 1)
            if state.ring_key[slot] == near and (
                    -sane < <int32_t>(timestamp - state.ring_timestamp[slot]) < sane):
                return True
    return False


cdef int64_t place(State* state, uint16_t sequence, uint32_t timestamp, int64_t arrival, int64_t per_packet,
                   int64_t clock, bint event) noexcept nogil:
    """The key of a packet that did not simply come next; LOST_KEY when it fits nowhere."""
    cdef int64_t delta = <int16_t>(sequence - <uint16_t>state.newest)
    cdef int64_t ticks = <int32_t>(timestamp - state.timestamp)
    cdef int64_t elapsed = <int64_t>(<double>(arrival - state.arrival) * 1e-9 * clock)
    cdef int64_t sane = 10 * clock
    cdef int64_t key, packets
    cdef int slot
    if 0 < delta < MAX_DROPOUT:
        if delta <= SMALL_LEAP or event or -sane < ticks - elapsed < sane or (
                -sane < ticks - delta * per_packet < sane):
            return state.newest + delta
        return LOST_KEY
    if -MAX_MISORDER <= delta <= 0:
        key = state.newest + delta
        slot = key & (RING - 1)
        if state.ring_key[slot] == key:
            # The same number with another timestamp is no duplicate: the sender began anew close by.
            return key if state.ring_timestamp[slot] == timestamp else LOST_KEY
        if event or -sane < ticks - delta * per_packet < sane or neighbourly(state, key, timestamp, sane):
            return key
        return LOST_KEY
    # A long leap is no restart when the timestamp leapt by as many packets (whole laps of 65536 included):
    # that is a long loss, or a packet later than MAX_MISORDER.
    packets = (ticks + (per_packet >> 1 if ticks > 0 else -(per_packet >> 1))) // per_packet
    if packets != 0 and ((packets - delta) & 0xFFFF) == 0 and -MIDDLE < packets < MIDDLE:
        return state.newest + packets
    # With silence suppressed the timestamp runs further than the packets; arrival then bears witness.
    if delta > 0 and -2 * clock < ticks - elapsed < 2 * clock and delta * per_packet <= ticks + sane:
        return state.newest + delta
    return LOST_KEY


cdef bint begins_a_hole(const State* state, int64_t key) noexcept nogil:
    """Whether the packets before ``key`` were heard, and not it: it fills a hole.

    Of a hole that is further back than packets overtake each other, those after it were not heard either; else it is
    the place of one that was lost. Further back than a lap the ring knows nothing: it has old keys only where the
    packet a lap later was lost.
    """
    cdef int64_t j
    cdef bint before = False, far = state.newest - key > MAX_MISORDER
    if state.newest - key > RING - WITNESSES or state.ring_key[key & (RING - 1)] == key:
        return False
    for j in range(1, WITNESSES + 1):
        before = before or state.ring_key[(key - j) & (RING - 1)] == key - j
        if far and state.ring_key[(key + j) & (RING - 1)] == key + j:
            return False
    return before


cdef bint begins_anew(const State* state, const int64_t[::1] sequence, const int64_t[::1] timestamp,
                      const int64_t[::1] arrival, const uint8_t[::1] flags, Py_ssize_t row, int64_t key,
                      int64_t clock) noexcept nogil:
    """Whether a leap, back or ahead, by as many numbers as the timestamps leap, is a sender that began anew.

    A late packet comes between those that go on where the newest one stood, or in a lump after them; a lost
    stretch takes its time. A sender that began anew goes on from the leap, packet after packet at the pace of
    its timestamps, and hardly anything more comes from before it.
    """
    cdef int64_t leap = key - state.newest, ticks, elapsed, media
    cdef Py_ssize_t j, last = row
    cdef int seen = 0, others = 0, farthest = 0
    cdef uint16_t number = <uint16_t>sequence[row], newest = <uint16_t>state.newest, onward, behind
    if leap > 0:
        ticks = <int32_t>(<uint32_t>timestamp[row] - state.timestamp)
        elapsed = <int64_t>(<double>(arrival[row] - state.arrival) * 1e-9 * clock)
        if leap < MAX_MISORDER or elapsed * 4 > ticks or ticks < 5 * clock:
            return False
    elif leap > -NEAREST_LEAP or state.late_run >= LATE_RUN or state.advances < WITNESSES:
        return False
    elif begins_a_hole(state, key):
        return False  # the newest came before its time
    for j in range(row + 1, min(row + 1 + MOST_WITNESSES, sequence.shape[0])):
        if flags[j] & REDUNDANT:
            continue
        onward = <uint16_t>(<uint16_t>sequence[j] - number)
        behind = <uint16_t>(<uint16_t>sequence[j] - newest)
        if 0 < onward < MAX_MISORDER and not (
                leap < 0 and 0 < behind < MAX_MISORDER and seen + 3 < -leap):
            seen += 1
            farthest = max(farthest, onward)
            last = j
        elif onward:
            others += 1
        if others > 2 and 4 * others > seen + WITNESSES:
            return False
        if seen >= WITNESSES and 4 * others <= seen:
            break
    if seen < WITNESSES and state.ring_key[key & (RING - 1)] != key:
        return False  # the last few of all, never heard before: late
    if seen < 3 or 4 * others > seen or farthest > (seen + WITNESSES if seen >= WITNESSES else seen + 1):
        return False
    media = <int32_t>(<uint32_t>timestamp[last] - <uint32_t>timestamp[row])
    elapsed = <int64_t>(<double>(arrival[last] - arrival[row]) * 1e-9 * clock)
    return media > 0 and 2 * elapsed >= media


cdef inline void leave(State* state, int64_t key) noexcept nogil:
    """Go on from ``key``, the first of a sender that began anew; what came before may have some under way."""
    state.old_newest = state.newest
    state.old_timestamp = state.timestamp
    state.old_arrival = state.arrival
    state.newest = key - 1
    state.late_run = 0
    state.advances = 0


cdef int64_t of_before(const State* state, uint16_t number, uint32_t timestamp, int64_t arrival,
                       int64_t per_packet, int64_t clock) noexcept nogil:
    """The key of a packet that was under way when its sender began anew, else LOST_KEY."""
    cdef int64_t delta, ticks, nearer = <int16_t>(number - <uint16_t>state.newest)
    cdef int64_t late
    if arrival - state.old_arrival > 2 * UNDER_WAY_NS:
        return LOST_KEY
    delta = <int16_t>(number - <uint16_t>state.old_newest)
    if (nearer if nearer > 0 else -nearer) <= (delta if delta > 0 else -delta):
        return LOST_KEY
    ticks = <int32_t>(timestamp - state.old_timestamp)
    late = arrival - state.old_arrival - <int64_t>(delta * per_packet * 1e9 / clock)
    if -UNDER_WAY_NS < late < UNDER_WAY_NS and -MAX_MISORDER < delta < MAX_MISORDER and (
            -clock < ticks - delta * per_packet < clock) and (
            state.ring_key[(state.old_newest + delta) & (RING - 1)] != state.old_newest + delta):
        return state.old_newest + delta
    return LOST_KEY


def unwrap(int64_t[::1] sequence not None, const int64_t[::1] timestamp not None,
           const int64_t[::1] arrival not None, const uint8_t[::1] payload_type not None,
           const uint8_t[::1] flags not None, const uint8_t[::1] kinds not None, int64_t per_packet,
           int64_t clock):
    """Turn raw sequence numbers into sortable keys, in place; rows are in arrival order.

    ``sequence`` holds 0..65535 and becomes ``epoch << 32 | position`` (STRAY where the packet fits nowhere);
    ``timestamp`` holds raw 32-bit values; ``kinds`` has 256 entries, what each payload type carries;
    ``per_packet`` is the usual step of the timestamp, in ticks of ``clock`` Hz.

    Redundant rows (RFC 2198) stand beside the row of their primary and get the key of the packet they repeat.
    Returns (sorted, late, deepest, strays, epochs, mean jitter, greatest jitter), the jitter of RFC 3550 in
    ticks.
    """
    cdef Py_ssize_t rows = sequence.shape[0], i
    if timestamp.shape[0] != rows or arrival.shape[0] != rows or payload_type.shape[0] != rows:
        raise ValueError("columns differ in length")
    if flags.shape[0] != rows or kinds.shape[0] != 256 or per_packet < 1 or clock < 1:
        raise ValueError("flags, kinds, per_packet or clock out of range")
    cdef State state
    cdef int64_t key, late = 0, deepest = 0, strays = 0, epochs = 0, measured = 0, sane = 10 * clock
    cdef int64_t jitter_arrival = 0, jitter_timestamp = 0
    cdef double jitter = 0, jitter_sum = 0, jitter_max = 0, difference, ticks_per_ns = clock * 1e-9
    cdef bint ordered = True, started = False, redundant = False
    cdef uint16_t number
    cdef uint32_t stamp
    cdef uint8_t kind
    with nogil:
        state.bad_row = -1
        state.last_late = 0
        state.late_run = 0
        state.advances = 0
        state.old_newest = 0
        state.old_timestamp = 0
        state.old_arrival = -(<int64_t>1 << 61)
        for i in range(RING):
            state.ring_key[i] = -1
        for i in range(rows):
            if flags[i] & REDUNDANT:
                redundant = True
                ordered = False
                continue
            number = <uint16_t>sequence[i]
            stamp = <uint32_t>timestamp[i]
            kind = kinds[payload_type[i]]
            if not started:
                started = True
                epochs = 1
                key = EPOCH + MIDDLE + number
                state.newest = key - 1
                state.timestamp = stamp
                state.arrival = arrival[i]
            elif <uint16_t>(number - <uint16_t>state.newest) == 1:
                key = state.newest + 1
            else:
                key = of_before(&state, number, stamp, arrival[i], per_packet, clock)
                if key == LOST_KEY:
                    key = place(&state, number, stamp, arrival[i], per_packet, clock, kind == EVENT)
                    if key != LOST_KEY and kind != EVENT and begins_anew(
                            &state, sequence, timestamp, arrival, flags, i, key, clock):
                        epochs += 1
                        key = epochs * EPOCH + MIDDLE + number
                        leave(&state, key)
                if key == LOST_KEY:
                    if state.bad_row >= 0 and number == state.bad_next and (
                            -sane < <int32_t>(stamp - state.bad_timestamp) < sane):
                        epochs += 1
                        key = epochs * EPOCH + MIDDLE + number
                        sequence[state.bad_row] = key - 1
                        strays -= 1
                        if state.bad_row != i - 1:
                            ordered = False
                        leave(&state, key)
                        state.timestamp = stamp
                        state.arrival = arrival[i]
                    else:
                        state.bad_next = number + 1
                        state.bad_timestamp = stamp
                        state.bad_row = i
                        strays += 1
                        sequence[i] = LOST_KEY
                        ordered = ordered and i + 1 < rows
                        continue
            sequence[i] = key
            state.ring_key[key & (RING - 1)] = key
            state.ring_timestamp[key & (RING - 1)] = stamp
            if key > state.newest:
                state.newest = key
                state.advances += 1
                state.bad_row = -1
                if kind == AUDIO:  # comfort noise and events are no measure of media time
                    state.timestamp = stamp
                    state.arrival = arrival[i]
            else:
                ordered = False
                late += 1
                if state.newest - key >= NEAREST_LEAP and state.newest >> 32 == key >> 32:
                    state.late_run = state.late_run + 1 if <uint16_t>(number - state.last_late) < 16 else 1
                    state.last_late = number
                if state.newest - key > deepest and state.newest - key < EPOCH >> 1:
                    deepest = state.newest - key
            if kind == AUDIO:
                if measured:
                    difference = (arrival[i] - jitter_arrival) * ticks_per_ns
                    difference -= <int32_t>(stamp - <uint32_t>jitter_timestamp)
                    if difference < 0:
                        difference = -difference
                    # Beyond two seconds it is a leap of the timestamps, which RFC 3550 jitter does not mean.
                    if difference < 2 * clock:
                        jitter += (difference - jitter) * 0.0625
                        jitter_sum += jitter
                        if jitter > jitter_max:
                            jitter_max = jitter
                measured += 1
                jitter_arrival = arrival[i]
                jitter_timestamp = stamp
        if strays:
            ordered = False
        if redundant:
            strays += place_redundant(sequence, timestamp, flags, per_packet)
    return (bool(ordered), late, deepest, strays, epochs, jitter_sum / max(measured - 1, 1), jitter_max)


cdef int64_t place_redundant(int64_t[::1] sequence, const int64_t[::1] timestamp, const uint8_t[::1] flags,
                             int64_t per_packet) noexcept nogil:
    """Key each redundant row by its primary, the next or last plain row; returns how many found none."""
    cdef Py_ssize_t rows = sequence.shape[0], i, j, primary
    cdef int64_t offset, steps, lost = 0
    for i in range(rows):
        if not flags[i] & REDUNDANT:
            continue
        primary = -1
        for j in range(i + 1, min(i + 17, rows)):
            if not flags[j] & REDUNDANT:
                primary = j
                break
        # The primary shares the carrier's number; keys keep it in their low 16 bits.
        if primary >= 0 and <uint16_t>sequence[primary] != <uint16_t>sequence[i]:
            primary = -1
        if primary < 0:
            for j in range(i - 1, max(i - 17, -1), -1):
                if not flags[j] & REDUNDANT:
                    if <uint16_t>sequence[j] == <uint16_t>sequence[i]:
                        primary = j
                    break
        if primary < 0 or sequence[primary] == LOST_KEY:
            sequence[i] = LOST_KEY
            lost += 1
            continue
        offset = <int64_t><uint32_t>(<uint32_t>timestamp[primary] - <uint32_t>timestamp[i])
        steps = (offset + (per_packet >> 1)) // per_packet
        if offset >= 1 << 14 or steps < 1:  # RFC 2198: the offset has 14 bits
            sequence[i] = LOST_KEY
            lost += 1
        else:
            sequence[i] = sequence[primary] - steps
    return lost


def usual_step(const int64_t[::1] sequence not None, const int64_t[::1] timestamp not None,
               const uint8_t[::1] payload_type not None, const uint8_t[::1] flags not None,
               const uint8_t[::1] wanted not None, Py_ssize_t limit=4096):
    """The commonest step in ticks between packets next to each other in number; 0 if there is none.

    Looks at the first ``limit`` pairs of payload types with ``wanted[type] != 0``. Steps above 65535 do not
    count.
    """
    cdef Py_ssize_t rows = sequence.shape[0], i, last = -1, pairs = 0, longest = 0
    if timestamp.shape[0] != rows or payload_type.shape[0] != rows or flags.shape[0] != rows:
        raise ValueError("columns differ in length")
    if wanted.shape[0] != 256:
        raise ValueError("wanted needs 256 entries")
    cdef int32_t* counts = NULL  # made when a second step is met: most streams have one
    cdef int64_t step, only = 0, alike = 0
    with nogil:
        for i in range(rows):
            if flags[i] & REDUNDANT or not wanted[payload_type[i]]:
                continue
            if last >= 0 and <uint16_t>(<uint16_t>sequence[i] - <uint16_t>sequence[last]) == 1:
                step = <int32_t>(<uint32_t>timestamp[i] - <uint32_t>timestamp[last])
                if 0 < step < 65536:
                    pairs += 1
                    if counts == NULL and (alike == 0 or step == only):
                        only = step
                        alike += 1
                    else:
                        if counts == NULL:
                            counts = <int32_t*>calloc(65536, sizeof(int32_t))
                            if counts == NULL:
                                break
                            counts[only] = <int32_t>alike
                            longest = only
                        counts[step] += 1
                        longest = max(longest, step)
                    if pairs >= limit:
                        break
            last = i
        if pairs > alike and counts != NULL:
            for step in range(longest + 1):
                if counts[step] > counts[only] or (counts[step] == counts[only] and step < only):
                    only = step
            free(counts)
            counts = NULL
            alike = pairs
    if alike < pairs:
        raise MemoryError
    return only


def histogram(const uint8_t[::1] values not None):
    """How often each octet value occurs: int64 ``(256,)``."""
    counts_array = np.zeros(256, np.int64)
    cdef int64_t[::1] counts = counts_array
    cdef Py_ssize_t i
    with nogil:
        for i in range(values.shape[0]):
            counts[values[i]] += 1
    return counts_array
