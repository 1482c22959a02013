# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Media time from timestamps, held against arrival: one walk over the packets of a stream in sequence order.

``d`` below is arrival minus media time. A sender with a steady clock keeps the lower envelope of d level but
for its drift; a leap of the timestamps, or a pause that the timestamps do not show, moves the envelope for
good. Jitter, late bursts and single wild packets do not. That is the whole rule, and the marker bit has no
part in it.

Columns are checked for length before each loop, so Cython's bounds checks are off; payload octets are read in
``same_payload`` alone, which checks offsets against the buffers.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from callreplay.order.durations cimport covers


cdef enum:
    SPILL = 2
    TRUNCATED = 4
    NOISE_FLAG = 8
    REDUNDANT = 16
    RESTART = 128

cdef enum:
    AUDIO = 1
    NOISE = 2
    EVENT = 3

cdef int64_t STRAY = <int64_t>1 << 62
cdef double SUSPECT_NS = 60e6     # d moved by this much between neighbours: look closer
cdef double STEP_NS = 200e6       # the envelope moved by this much: the timestamps leapt, or hid a pause
cdef double STALE_NS = 1e9        # this late and followed by a leap: left over from before a hold
cdef double AT_PACE_NS = 150e6    # after a pause packets come at their pace; jitter spreads the first by less
cdef double CLOCK = 1e-3          # a queue drains faster than any clock is wrong
cdef double SLEW = 3e-3           # the envelope may follow a clock wrong by up to 3000 ppm
cdef double LOOK_NS = 1.5e9       # how far the look ahead goes, and
cdef enum:
    LOOK_FEWEST = 50              # how many packets it takes at least
    LOOK_MOST = 2000              # and at most: bounds the work on hostile captures


cdef int64_t MISSING_TICK = -(<int64_t>1 << 62)

NO_TICK = -(1 << 62)


cdef struct Walk:
    # the columns
    const int64_t* arrival
    int64_t* timestamp
    int64_t* sequence
    const uint8_t* payload_type
    const uint8_t* flags
    const uint8_t* kinds
    Py_ssize_t rows
    # the line that maps timestamps to media ticks
    int64_t first_arrival
    double ns_per_tick
    int32_t clock
    uint32_t line_timestamp
    int64_t line_ticks
    int ratio             # 2 while a G.722 sender ticks at 16000
    # lower envelope of d
    double floor_ns
    int64_t floor_arrival
    double quiet_ns  # in which nothing came, beyond what timestamps said, since the floor was touched
    # per row: how far d will yet fall while timestamps run on; made when first asked for
    double* coming


cdef inline double departure(const Walk* walk, Py_ssize_t row, int64_t ticks) noexcept nogil:
    return <double>(walk.arrival[row] - walk.first_arrival) - ticks * walk.ns_per_tick


cdef inline double drifted(const Walk* walk, Py_ssize_t row) noexcept nogil:
    """How far the envelope may have moved by drift alone since it was last touched, in ns."""
    cdef double elapsed = <double>(walk.arrival[row] - walk.floor_arrival)
    return elapsed * SLEW if elapsed > 0 else 0.0


cdef inline void lower(Walk* walk, Py_ssize_t row, double d) noexcept nogil:
    cdef double raised = walk.floor_ns + drifted(walk, row)
    if d <= raised:
        walk.floor_ns = d
        walk.floor_arrival = walk.arrival[row]
        walk.quiet_ns = 0


cdef Py_ssize_t next_audio(const Walk* walk, Py_ssize_t row, const int32_t* clocks) noexcept nogil:
    """The next audio row of the same epoch and clock, or -1."""
    cdef Py_ssize_t j
    for j in range(row + 1, min(row + 65, walk.rows)):
        if walk.sequence[j] >> 32 != walk.sequence[row] >> 32:
            return -1
        if walk.kinds[walk.payload_type[j]] == AUDIO and not walk.flags[j] & REDUNDANT and (
                walk.sequence[j] != walk.sequence[row]):
            return j if clocks[walk.payload_type[j]] == walk.clock else -1
    return -1


cdef double envelope_ahead(const Walk* walk, Py_ssize_t row, int64_t ticks, const int32_t* clocks,
                           double enough, int64_t* earliest) noexcept nogil:
    """The least d of the packets from ``row`` on, were ``row`` at ``ticks``; stops early at ``enough``.

    ``earliest`` receives the first arrival among them.
    """
    cdef double least = departure(walk, row, ticks), d
    cdef uint32_t origin = <uint32_t>walk.timestamp[row]
    cdef int64_t until = walk.arrival[row] + <int64_t>LOOK_NS
    cdef Py_ssize_t j, seen = 1
    earliest[0] = walk.arrival[row]
    for j in range(row + 1, walk.rows):
        if least <= enough or seen >= LOOK_MOST or (seen >= LOOK_FEWEST and walk.arrival[j] > until):
            break
        if walk.sequence[j] >> 32 != walk.sequence[row] >> 32:
            break
        if walk.kinds[walk.payload_type[j]] != AUDIO or walk.flags[j] & REDUNDANT:
            continue
        if clocks[walk.payload_type[j]] != walk.clock:
            break
        seen += 1
        d = departure(walk, j, ticks + <int32_t>(<uint32_t>walk.timestamp[j] - origin) // walk.ratio)
        if d < least:
            least = d
        if walk.arrival[j] < earliest[0]:
            earliest[0] = walk.arrival[j]
    return least


cdef void foresee(Walk* walk, const int32_t* clocks) noexcept nogil:
    """Fill ``coming``: backwards over the rows, the least d from each on, relative to its own, until the next leap.

    Leaps are of the epoch, the clock, or of the timestamps by more than a silence in speech (two seconds). A clock
    that is wrong by CLOCK lowers nothing.
    """
    cdef Py_ssize_t i
    cdef Py_ssize_t after = -1  # the audio row after this one
    cdef double least = 0, change, onward
    walk.coming = <double*>malloc(walk.rows * sizeof(double))
    if walk.coming == NULL:
        return
    for i in range(walk.rows - 1, -1, -1):
        walk.coming[i] = 0
        if walk.kinds[walk.payload_type[i]] != AUDIO or walk.flags[i] & REDUNDANT or walk.sequence[i] >= STRAY:
            continue
        if after >= 0:
            onward = <int32_t>(<uint32_t>walk.timestamp[after] - <uint32_t>walk.timestamp[i]) // walk.ratio
            onward *= walk.ns_per_tick
            change = <double>(walk.arrival[after] - walk.arrival[i]) * (1 + CLOCK) - onward
            if (walk.sequence[after] >> 32 != walk.sequence[i] >> 32 or onward < 0
                    or clocks[walk.payload_type[after]] != clocks[walk.payload_type[i]]
                    or onward > (walk.sequence[after] - walk.sequence[i]) * 6e7 + 2 * STALE_NS):
                least = 0
            else:
                least += change
                if least > 0:
                    least = 0
            walk.coming[i] = least
        after = i


cdef bint hidden_pause(Walk* walk, Py_ssize_t row, double d, double step, int64_t quiet,
                       const int32_t* clocks) noexcept nogil:
    """Whether the envelope rose by a pause that the timestamps do not show, and not by a growing delay.

    In a pause, or some short ones (``quiet`` is the last, in ns), nothing arrives for as long as the envelope
    rises; then packets come at their pace, and the envelope stays. A delay brings what it held back in lumps,
    and falls again.
    """
    cdef double rise = step - walk.floor_ns
    if walk.quiet_ns + SUSPECT_NS < rise or (d - step > AT_PACE_NS and quiet < STALE_NS):
        return False
    if walk.coming == NULL:
        foresee(walk, clocks)
        if walk.coming == NULL:
            return True
    return d + walk.coming[row] > walk.floor_ns + 0.5 * rise


cdef bint same_payload(const uint8_t[::1] data, const uint8_t[::1] spill, int64_t offset_a, uint16_t size_a,
                       uint8_t flags_a, int64_t offset_b, uint16_t size_b, uint8_t flags_b) noexcept nogil:
    cdef const uint8_t[::1] a = spill if flags_a & SPILL else data
    cdef const uint8_t[::1] b = spill if flags_b & SPILL else data
    if size_a != size_b:
        return False
    if offset_a < 0 or offset_b < 0 or offset_a + size_a > a.shape[0] or offset_b + size_b > b.shape[0]:
        return False
    return size_a == 0 or memcmp(&a[offset_a], &b[offset_b], size_a) == 0


cdef int tick_ratio(const Walk* walk, Py_ssize_t row, const int32_t[:, ::1] durations,
                    const uint8_t[::1] codecs, const uint16_t[::1] size) noexcept nogil:
    """1 or 2 when the next three steps between packets next to each other say so with one voice, else 0."""
    cdef Py_ssize_t j, last = row
    cdef int votes = 0, vote = 0, this
    cdef int64_t step, duration
    for j in range(row + 1, min(row + 17, walk.rows)):
        if walk.sequence[j] != walk.sequence[last] + 1 or walk.payload_type[j] != walk.payload_type[row]:
            return 0
        step = <int32_t>(<uint32_t>walk.timestamp[j] - <uint32_t>walk.timestamp[last])
        duration = durations[codecs[walk.payload_type[last]], size[last]]
        this = 1 if step == duration else 2 if step == 2 * duration else 0
        if this == 0 or (vote and vote != this):
            return 0
        vote = this
        votes += 1
        if votes == 3:
            return vote
        last = j
    return 0


cdef bint primary_follows(const Walk* walk, Py_ssize_t row) noexcept nogil:
    """Whether the packet that a redundant row repeats came itself, only later."""
    cdef Py_ssize_t j
    for j in range(row + 1, walk.rows):
        if walk.sequence[j] != walk.sequence[row]:
            return False
        if not walk.flags[j] & REDUNDANT:
            return True
    return False


cdef bint leap(const Walk* walk, Py_ssize_t row, Py_ssize_t ahead, int64_t duration) noexcept nogil:
    """Whether the timestamps leap by more than STALE_NS from this row to the next without numbers missing."""
    cdef int64_t onward = <int32_t>(<uint32_t>walk.timestamp[ahead] - <uint32_t>walk.timestamp[row])
    onward //= walk.ratio
    return onward - (walk.sequence[ahead] - walk.sequence[row]) * duration > walk.clock * STALE_NS * 1e-9


cdef int64_t within_arrival(const Walk* walk, Py_ssize_t row, int64_t latest, int64_t least,
                            int64_t expected) noexcept nogil:
    """``expected`` ticks, at least ``least``, at most what arrival since ``latest`` allows and 200 ms."""
    cdef int64_t room = walk.clock // 5
    if walk.arrival[row] > latest:
        room += <int64_t>((walk.arrival[row] - latest) / walk.ns_per_tick)
    return least if expected < least or room < 0 else min(expected, least + room)


cdef int32_t coming_clock(const Walk* walk, Py_ssize_t row, const int32_t* clocks) noexcept nogil:
    """The clock of the first audio from ``row`` on: noise that comes before it counts by it."""
    cdef Py_ssize_t j
    for j in range(row, walk.rows):
        if walk.kinds[walk.payload_type[j]] == AUDIO and not walk.flags[j] & REDUNDANT:
            return clocks[walk.payload_type[j]]
    return clocks[walk.payload_type[row]]


cdef bint wild_alone(const Walk* walk, Py_ssize_t row, Py_ssize_t ahead, int64_t expected,
                     int64_t duration) noexcept nogil:
    """Whether the next audio goes on, in number, time and arrival, as if ``row`` had the timestamp due."""
    cdef int64_t onward = <int32_t>(<uint32_t>walk.timestamp[ahead] - walk.line_timestamp) // walk.ratio
    cdef int64_t due = expected + (walk.sequence[ahead] - walk.sequence[row]) * duration
    cdef double slack = drifted(walk, row) + STEP_NS
    cdef double here = departure(walk, row, walk.line_ticks + expected)
    cdef double there = departure(walk, ahead, walk.line_ticks + onward)
    if onward - due > walk.clock >> 2 or due - onward > walk.clock >> 2:
        return False
    return -slack < here - walk.floor_ns < slack and -slack < there - walk.floor_ns < slack


def walk_stream(int64_t[::1] sequence not None, int64_t[::1] timestamp not None,
                int64_t[::1] arrival not None, int64_t[::1] offset not None, uint16_t[::1] size not None,
                uint8_t[::1] payload_type not None, uint8_t[::1] flags not None,
                int32_t[::1] missing not None, const uint8_t[::1] data not None,
                const uint8_t[::1] spill not None, const uint8_t[::1] kinds not None,
                const int32_t[::1] clocks not None, const uint8_t[::1] codecs not None,
                const int32_t[:, ::1] durations not None, const int32_t[::1] typical not None,
                const uint8_t[::1] doubtful not None, int64_t[::1] event_row not None,
                int64_t[::1] event_tick not None):
    """Sorted rows in, clean rows out: compacts all columns in place and turns timestamps into media ticks.

    ``sequence`` holds the keys of ``unwrap`` in rising order and becomes plain numbers without the leaps of
    restarts; ``timestamp`` holds raw values and becomes ticks of the row's clock from the first row's on;
    ``missing`` receives how many packets are missing before each row; ``flags`` gains RESTART where the line
    was laid anew and NOISE. Tables by payload type: ``kinds``, ``clocks`` (Hz), ``codecs`` (row of
    ``durations``); by codec: ``durations[codec, octets]`` in ticks (0: unknown), ``typical[codec]`` then
    stands in; ``doubtful[codec]``: may tick at twice its clock. Rows that are neither audio nor noise vanish,
    their numbers do not count as missing. For the n-th event row that is no stray, ``event_row[n]`` receives
    the row of clean audio it stands before (-1 for a copy) and ``event_tick[n]`` its timestamp in ticks on
    that row's line (NO_TICK before any audio).

    Returns a dict of counts: rows (kept), duplicates, conflicts (one number, other content), stale, lost,
    recovered (by redundancy), redundant_unused, restarts, shifted (lines laid anew), wild (placed by number,
    not timestamp), double_ticks (packets of a G.722 sender that ticks at 16000), wild_noise; and the last raw
    timestamp of audio, line_timestamp, with its tick, line_tick.
    """
    cdef Py_ssize_t rows = sequence.shape[0], i, k = 0, ahead, event = -1
    if (timestamp.shape[0] != rows or arrival.shape[0] != rows or offset.shape[0] != rows
            or size.shape[0] != rows
            or payload_type.shape[0] != rows or flags.shape[0] != rows or missing.shape[0] != rows):
        raise ValueError("columns differ in length")
    if kinds.shape[0] != 256 or clocks.shape[0] != 256 or codecs.shape[0] != 256:
        raise ValueError("tables by payload type need 256 entries")
    if rows == 0:
        return dict.fromkeys((
            "rows", "duplicates", "conflicts", "stale", "lost", "recovered", "redundant_unused", "restarts",
            "shifted", "wild", "double_ticks", "wild_noise", "line_timestamp", "line_tick"), 0)
    if typical.shape[0] < durations.shape[0] or doubtful.shape[0] < durations.shape[0]:
        raise ValueError("tables by codec differ in length")
    if not covers(durations, codecs, size):
        raise ValueError("durations do not cover every codec and size")

    cdef Walk walk
    walk.arrival = &arrival[0]
    walk.timestamp = &timestamp[0]
    walk.sequence = &sequence[0]
    walk.payload_type = &payload_type[0]
    walk.flags = &flags[0]
    walk.kinds = &kinds[0]
    walk.rows = rows
    walk.first_arrival = arrival[0]
    walk.clock = 0
    walk.ratio = 1
    walk.ns_per_tick = 0
    walk.line_timestamp = 0
    walk.line_ticks = 0
    walk.floor_ns = 0
    walk.floor_arrival = arrival[0]
    walk.coming = NULL
    walk.quiet_ns = 0
    cdef int64_t duplicates = 0, conflicts = 0, stale = 0, lost = 0, recovered = 0, unused = 0, restarts = 0
    cdef int64_t shifted = 0, wild = 0, double_ticks = 0, wild_noise = 0
    cdef int64_t key, last_key = 0, hole, ticks, raw, expected, end = 0, number = 0, held_missing = 0
    cdef int64_t seen_timestamp = 0, seen_offset = 0
    cdef int32_t duration = 0, last_duration = 0
    cdef double d = 0, last_d = 0, step, ceiling, slack
    cdef uint8_t kind, codec, seen_flags = 0
    cdef uint16_t seen_size = 0
    cdef int64_t due, earliest = 0, latest = arrival[0]
    cdef bint begun = False, anew, epoch_new = False, line = False, filled = False
    with nogil:
        for i in range(rows):  # of a capture without payloads the times are left
            if size[i] and kinds[payload_type[i]] == AUDIO:
                filled = True
                break
        for i in range(rows):
            key = sequence[i]
            if key >= STRAY:
                break
            if kinds[payload_type[i]] == EVENT:
                event += 1
                if event >= event_row.shape[0] or event >= event_tick.shape[0]:
                    break
                event_row[event] = -1
                event_tick[event] = MISSING_TICK
            if begun and key == last_key:
                if flags[i] & REDUNDANT:
                    unused += 1
                elif timestamp[i] == seen_timestamp and same_payload(
                        data, spill, offset[i], size[i], flags[i], seen_offset, seen_size, seen_flags):
                    duplicates += 1
                else:
                    conflicts += 1
                continue
            if flags[i] & REDUNDANT and (not line or primary_follows(&walk, i)):
                unused += 1
                continue
            hole = key - last_key - 1 if begun and key >> 32 == last_key >> 32 else 0
            if begun and key >> 32 != last_key >> 32:
                restarts += 1
                epoch_new = True
            begun = True
            last_key = key
            seen_timestamp = timestamp[i]
            seen_offset = offset[i]
            seen_size = size[i]
            seen_flags = flags[i]
            lost += hole
            held_missing += hole
            number += hole + 1
            kind = kinds[payload_type[i]]
            codec = codecs[payload_type[i]]
            if flags[i] & REDUNDANT:
                # Redundant audio fills a hole or nothing; it does not move the line.
                lost += 1
                raw = <int32_t>(<uint32_t>timestamp[i] - walk.line_timestamp)
                ticks = walk.line_ticks + raw // walk.ratio
                if (kind != AUDIO or clocks[payload_type[i]] != walk.clock or ticks < end
                        or ticks > end + (held_missing + 1) * last_duration + walk.clock):
                    unused += 1
                    held_missing += 1
                    continue
                recovered += 1
                duration = durations[codec, size[i]]
                if duration == 0:
                    duration = typical[codec]
                anew = False
            elif kind == NOISE:
                anew = False
                duration = 0
                if line:
                    # CN is met with wild timestamps: believed only near its arrival; it never lays the line.
                    raw = <int32_t>(<uint32_t>timestamp[i] - walk.line_timestamp)
                    ticks = walk.line_ticks + raw // walk.ratio
                    d = departure(&walk, i, ticks)
                    slack = drifted(&walk, i) + STEP_NS
                    if d < walk.floor_ns - slack or d > walk.floor_ns + slack:
                        ticks = <int64_t>((<double>(arrival[i] - walk.first_arrival) - walk.floor_ns)
                                          / walk.ns_per_tick)
                        wild_noise += 1
                else:
                    if k == 0:
                        walk.first_arrival = arrival[i]
                        walk.clock = coming_clock(&walk, i, &clocks[0])
                        walk.ns_per_tick = 1e9 / walk.clock
                    ticks = <int64_t>((arrival[i] - walk.first_arrival) / walk.ns_per_tick)
                ticks = ticks if ticks > end else end
            elif kind == EVENT:
                event_row[event] = k
                if line:
                    event_tick[event] = walk.line_ticks + (
                        <int32_t>(<uint32_t>timestamp[i] - walk.line_timestamp) // walk.ratio)
                continue
            elif kind != AUDIO or (filled and size[i] == 0 and not flags[i] & TRUNCATED):
                continue  # among audio, an empty payload keeps a path open and takes no time
            elif not line or clocks[payload_type[i]] != walk.clock:
                duration = durations[codec, size[i]]
                if duration == 0:
                    duration = typical[codec]
                anew = k > 0
                if k == 0 or clocks[payload_type[i]] != walk.clock:
                    # Ticks of another clock cannot be compared: arrival alone ties the two lines together.
                    walk.first_arrival = arrival[i]
                    walk.clock = clocks[payload_type[i]]
                    walk.ns_per_tick = 1e9 / walk.clock
                    ticks = 0
                    end = 0
                else:  # comfort noise came before the first audio
                    ticks = <int64_t>((arrival[i] - walk.first_arrival) / walk.ns_per_tick)
                    ticks = ticks if ticks > end else end
                line = True
                epoch_new = False
                walk.ratio = 1
                if doubtful[codec] and tick_ratio(&walk, i, durations, codecs, size) == 2:
                    walk.ratio = 2
                d = departure(&walk, i, ticks)
                walk.floor_ns = d
                walk.floor_arrival = arrival[i]
            else:
                duration = durations[codec, size[i]]
                if duration == 0:
                    duration = typical[codec]
                anew = False
                raw = <int32_t>(<uint32_t>timestamp[i] - walk.line_timestamp)
                expected = last_duration + held_missing * duration
                if doubtful[codec] and raw == (3 - walk.ratio) * expected and raw != walk.ratio * expected:
                    # This step fits the other ratio; the next ones decide whether the sender changed.
                    if tick_ratio(&walk, i, durations, codecs, size) == 3 - walk.ratio:
                        walk.ratio = 3 - walk.ratio
                raw //= walk.ratio
                ticks = walk.line_ticks + raw
                d = departure(&walk, i, ticks)
                if d - last_d > SUSPECT_NS or last_d - d > SUSPECT_NS or raw <= 0 or epoch_new:
                    slack = drifted(&walk, i)
                    walk.quiet_ns += max(0.0, arrival[i] - latest - raw * walk.ns_per_tick)
                    ahead = next_audio(&walk, i, &clocks[0])
                    if (ahead >= 0 and not epoch_new and (raw < 0 or raw - expected > walk.clock >> 2)
                            and wild_alone(&walk, i, ahead, expected, duration)):
                        raw = expected
                        ticks = walk.line_ticks + raw
                        timestamp[i] = <uint32_t>(walk.line_timestamp + <uint32_t>(raw * walk.ratio))
                        d = departure(&walk, i, ticks)
                        wild += 1
                    ceiling = walk.floor_ns + slack + STEP_NS
                    if d > ceiling:
                        step = envelope_ahead(&walk, i, ticks, &clocks[0], ceiling, &earliest)
                        # A pause or a leap back that the timestamps hide. Packets that overtake each other by
                        # as much are only out of order.
                        if step > ceiling and (raw <= 0 or epoch_new or (
                                earliest - latest > SUSPECT_NS and hidden_pause(
                                    &walk, i, d, step, earliest - latest, &clocks[0]))):
                            ticks += <int64_t>((step - walk.floor_ns) / walk.ns_per_tick)
                            anew = True
                    elif raw > expected:
                        step = envelope_ahead(&walk, i, ticks, &clocks[0], -1e300, &earliest)
                        if step < walk.floor_ns - slack - STEP_NS:
                            # A leap beyond what the capture's clock allows: take the excess out, no more.
                            ticks -= <int64_t>((walk.floor_ns - step) / walk.ns_per_tick)
                            due = walk.line_ticks + within_arrival(
                                &walk, i, latest, last_duration, expected)
                            ticks = ticks if ticks > due else due
                            anew = True
                    if anew:
                        shifted += 1
                    elif d > walk.floor_ns + slack + STALE_NS and d - last_d > 0.5 * STALE_NS and (
                            raw <= 0 or (ahead >= 0 and leap(&walk, i, ahead, duration))):
                        stale += 1  # left in a queue since before a hold
                        continue
                    if ticks <= walk.line_ticks:
                        ticks = walk.line_ticks + within_arrival(&walk, i, latest, last_duration, expected)
                        wild += 1
                    d = departure(&walk, i, ticks)
                anew = anew or epoch_new
                epoch_new = False
                lower(&walk, i, d)
            if kind == AUDIO and not flags[i] & REDUNDANT:
                walk.line_timestamp = <uint32_t>timestamp[i]
                walk.line_ticks = ticks
                last_d = d
                last_duration = duration
                double_ticks += walk.ratio == 2
                if arrival[i] > latest and d < walk.floor_ns + 3 * STALE_NS:
                    latest = arrival[i]
            end = ticks + duration if ticks + duration > end else end
            sequence[k] = number
            timestamp[k] = ticks
            arrival[k] = arrival[i]
            offset[k] = offset[i]
            size[k] = size[i]
            payload_type[k] = payload_type[i]
            flags[k] = (flags[i] & ~(RESTART | NOISE_FLAG)) | (RESTART if anew else 0) | (
                NOISE_FLAG if kind == NOISE else 0)
            missing[k] = <int32_t>(held_missing if held_missing < 0x7FFFFFFF else 0x7FFFFFFF)
            held_missing = 0
            k += 1
    free(walk.coming)
    return {"rows": k, "duplicates": duplicates, "conflicts": conflicts, "stale": stale, "lost": lost,
            "recovered": recovered, "redundant_unused": unused, "restarts": restarts, "shifted": shifted,
            "wild": wild, "double_ticks": double_ticks, "wild_noise": wild_noise,
            "line_timestamp": walk.line_timestamp,
            "line_tick": walk.line_ticks}
