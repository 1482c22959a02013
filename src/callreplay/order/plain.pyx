# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The short road of a plain stream: all of its passes in one, for the rows of a scan that need no second look.

A stream is plain where its packets came in order of their numbers and in time, hold one codec of one payload length
(and events), and its timestamps keep step with arrival. Then ``unwrap``, ``walk_stream``, ``settle`` and ``gap_table``
(sequence.pyx, media.pyx, placing.pyx) come to what is done here, to the last bit; at the first row for which one of
them might do anything else, ``take`` says so and the stream goes the long road. What each test below answers for is
named beside it. Every row number is held against the length of the columns before it is used, so Cython's bounds
checks are off.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from callreplay.arrays cimport column, length_of, written
from callreplay.gaps cimport Gap, Gaps
from callreplay.arrays import empty_each
from callreplay.model import GAP_DTYPE

cdef tuple OF_GAPS = (GAP_DTYPE,)

cdef enum:
    NOISE_FLAG = 8
    REDUNDANT = 16
    RESTART = 128

cdef enum:
    AUDIO = 1  # kinds, as in payloads.Kind
    EVENT = 3

cdef enum:  # GapReason
    LOST = 1
    SILENCE = 2
    HOLD = 3

cdef enum:
    SMALL_LEAP = 16  # sequence.pyx: numbers ahead that need no witness
    HEAD = 64        # ahead.py: the rows whose pace is looked at first, and
    RUN = 16         # how many make a bunch

# As in sequence.pyx: the key of a number is its epoch, the first, and a position that starts in the middle.
cdef int64_t FIRST_KEY = (<int64_t>1 << 32) + (<int64_t>1 << 30)
cdef int64_t NO_TICK = -(<int64_t>1 << 62)
cdef double SUSPECT_NS = 60e6   # media.pyx
cdef int64_t LATEST_NS = 6_000_000_000_000_000_000  # sequence.pyx reckons with times up to here

cdef struct State:
    int64_t rows        # seen
    int64_t kept        # of them audio
    int64_t events
    int64_t gaps
    int64_t number      # of the last row, from 1
    int64_t missing     # before the next audio
    int64_t lost
    int64_t ticks       # of the last audio, before it was settled
    int64_t end         # of the last audio, settled
    int64_t before_ns   # arrival of the last row
    int64_t first_ns    # arrival of the first audio
    int64_t audio_ns    # arrival of the last audio
    double departure    # of the last audio
    int64_t usual       # step of neighbours in number, 0: none met
    double jitter
    double jitter_sum
    double jitter_max
    int64_t head_ns     # arrival of the first row,
    int64_t head_last   # and of the last of the first HEAD
    int64_t mark_ns     # arrival RUN rows ago
    int64_t bunch_ns    # the least time of RUN rows
    uint32_t stamp      # raw timestamp of the last audio
    uint16_t first_sequence
    uint16_t sequence   # of the last row
    uint16_t audio_sequence


def long_losses(table, int64_t least):
    """How many rows of a gap table (GAP_DTYPE) are of lost packets, ``least`` or more."""
    cdef Gaps gaps = Gaps(table)
    cdef int64_t i, found = 0, rows = gaps.rows
    cdef const Gap* gap = gaps.gap
    for i in range(rows):
        found += gap[i].reason == LOST and gap[i].packets >= least
    return found


cdef class Plain:
    """What one pass finds of a stream and makes of it. ``take`` its rows, block by block; then read the rest."""

    cdef State state
    cdef Gap* table
    cdef int64_t room
    cdef uint8_t[256] kinds
    cdef int64_t duration, hold
    cdef int32_t clock
    cdef uint16_t octets
    cdef uint8_t audio
    cdef bint doubtful, failed

    def __cinit__(self):
        self.table = NULL
        self.room = 0

    def __init__(self, kinds, uint8_t audio, uint16_t octets, int64_t duration,
                 int32_t clock, bint doubtful, int64_t hold_ticks):
        """``kinds`` by payload type, 256; ``audio``: the payload type of audio, all of ``octets`` and ``duration`` ticks
        of ``clock`` Hz; ``doubtful``: a codec that may tick at twice its clock.
        """
        memcpy(self.kinds, column(kinds, b"u", 1, 256), 256)
        if self.kinds[audio] != AUDIO or octets < 1 or duration < 1 or clock < 1000:
            raise ValueError("no audio of known length")
        self.audio, self.octets, self.duration = audio, octets, duration
        self.clock, self.doubtful, self.hold = clock, doubtful, hold_ticks
        self.state.bunch_ns = (<int64_t>1) << 62

    def __dealloc__(self):
        free(self.table)

    cdef bint gap(self, int64_t end, int64_t ticks, int64_t missing) noexcept nogil:
        """Note a hole of ``ticks`` after the end of the last audio, as ``gap_table`` does; False without memory."""
        cdef int64_t lost = 0, room
        cdef Gap* table
        if self.state.gaps + 2 > self.room:
            room = 2 * self.room + 16
            table = <Gap*>realloc(self.table, room * sizeof(Gap))
            if table == NULL:
                return False
            self.table, self.room = table, room
        if missing:
            lost = missing * self.duration
            if lost + self.duration // 2 >= ticks:
                lost = ticks
            table = self.table + self.state.gaps
            table.span, table.start, table.ticks, table.packets, table.reason = 0, end, lost, <int32_t>missing, LOST
            self.state.gaps += 1
        if ticks > lost:
            table = self.table + self.state.gaps
            table.span, table.start, table.ticks, table.packets = 0, end + lost, ticks - lost, 0
            table.reason = HOLD if ticks - lost >= self.hold else SILENCE
            self.state.gaps += 1
        return True

    def take(self, tuple source not None, listed, int64_t first, int64_t count, int64_t step,
             tuple target not None, int64_t[:, ::1] events):
        """Go on with ``count`` rows, chosen as by ``Survey.take``; False where the stream is not plain.

        ``source`` has the columns offset, size, timestamp, arrival, sequence, payload type and flags of the scan,
        ``target`` those of ``Columns``. The audio goes to the targets, after what went there before. ``events`` receives
        four numbers of each event row: its row in the scan, its key, the row of audio that follows it, and its tick (see
        ``EventRows``); None: no room.

        ValueError where there is no such row, or no room.
        """
        cdef int64_t i, row, ticks, raw, expected, ahead, position, gap
        offsets, sizes, stamps, arrivals, sequences, types, marks = source
        cdef int64_t n = length_of(offsets)
        cdef const int64_t* offset = <const int64_t*>column(offsets, b"i", 8, n)
        cdef const uint16_t* size = <const uint16_t*>column(sizes, b"u", 2, n)
        cdef const uint32_t* timestamp = <const uint32_t*>column(stamps, b"u", 4, n)
        cdef const int64_t* arrival = <const int64_t*>column(arrivals, b"i", 8, n)
        cdef const uint16_t* sequence = <const uint16_t*>column(sequences, b"u", 2, n)
        cdef const uint8_t* payload_type = <const uint8_t*>column(types, b"u", 1, n)
        cdef const uint8_t* flags = <const uint8_t*>column(marks, b"u", 1, n)
        offsets, sizes, stamps, arrivals, sequences, types, marks, losses = target
        cdef int64_t room = length_of(offsets), numbers = 0 if listed is None else length_of(listed)
        cdef int64_t* offset_to = <int64_t*>written(offsets, b"i", 8, room)
        cdef uint16_t* size_to = <uint16_t*>written(sizes, b"u", 2, room)
        cdef int64_t* timestamp_to = <int64_t*>written(stamps, b"i", 8, room)
        cdef int64_t* arrival_to = <int64_t*>written(arrivals, b"i", 8, room)
        cdef int64_t* sequence_to = <int64_t*>written(sequences, b"i", 8, room)
        cdef uint8_t* payload_type_to = <uint8_t*>written(types, b"u", 1, room)
        cdef uint8_t* flags_to = <uint8_t*>written(marks, b"u", 1, room)
        cdef int32_t* missing_to = <int32_t*>written(losses, b"i", 4, room)
        cdef const int32_t* rows = NULL if listed is None else <const int32_t*>column(listed, b"i", 4, numbers)
        cdef int64_t slack = self.clock // 1000
        cdef double d, difference, ticks_per_ns = self.clock * 1e-9, ns_per_tick = 1e9 / self.clock
        cdef bint bad = False, plain = True
        cdef uint16_t number
        cdef uint32_t stamp
        # In registers: for all the compiler knows, a column that is written might be the state.
        cdef State* of = &self.state
        cdef int64_t seen = of.rows, kept = of.kept, met = of.events, total = of.number, missing = of.missing
        cdef int64_t lost = of.lost, last_ticks = of.ticks, end = of.end, before_ns = of.before_ns
        cdef int64_t first_ns = of.first_ns, audio_ns = of.audio_ns, usual = of.usual, head_ns = of.head_ns
        cdef int64_t head_last = of.head_last, mark_ns = of.mark_ns, bunch_ns = of.bunch_ns
        cdef double last_d = of.departure, jitter = of.jitter, jitter_sum = of.jitter_sum, jitter_max = of.jitter_max
        cdef uint32_t last_stamp = of.stamp
        cdef uint16_t first_sequence = of.first_sequence, last = of.sequence, audio_sequence = of.audio_sequence
        cdef uint16_t octets = self.octets
        cdef uint8_t audio = self.audio
        cdef int64_t duration = self.duration, most = 2 * self.clock
        cdef bint doubtful = self.doubtful
        cdef int64_t most_events = 0
        if events is not None:
            most_events = events.shape[0]
            if events.shape[1] != 4:
                raise ValueError("no room for the rows")
        if rows != NULL and not (0 <= first <= numbers and 0 <= count <= numbers - first):
            raise ValueError("no such rows")
        with nogil:
            for i in range(count):
                row = rows[first + i] if rows != NULL else first + i * step
                if not 0 <= row < n:
                    bad = True
                    break
                # Order of arrival, of which ``unwrap`` makes keys.
                number = sequence[row]
                if seen == 0:
                    head_ns = mark_ns = head_last = arrival[row]
                    first_sequence = number
                    total = 1
                    plain = 0 <= arrival[row] < LATEST_NS
                else:
                    ahead = <uint16_t>(number - last)
                    plain = 0 < ahead <= SMALL_LEAP and before_ns <= arrival[row] < LATEST_NS
                    total += ahead
                    missing += ahead - 1
                    lost += ahead - 1
                    if seen < HEAD:
                        head_last = arrival[row]
                    if seen % RUN == 0:
                        bunch_ns = min(bunch_ns, arrival[row] - mark_ns)
                        mark_ns = arrival[row]
                if flags[row] & (REDUNDANT | NOISE_FLAG | RESTART):
                    plain = False
                if not plain:
                    break
                seen += 1
                last = number
                before_ns = arrival[row]
                stamp = timestamp[row]
                if payload_type[row] != audio:
                    if self.kinds[payload_type[row]] != EVENT or met >= most_events:
                        plain = False
                        break
                    events[met, 0] = row
                    events[met, 1] = FIRST_KEY + first_sequence + total - 1
                    events[met, 2] = kept
                    events[met, 3] = last_ticks + <int32_t>(stamp - last_stamp) if kept else NO_TICK
                    met += 1
                    continue
                if size[row] != octets:
                    plain = False
                    break
                if kept == 0:
                    first_ns = arrival[row]
                    ticks = position = 0
                    d = 0
                else:
                    # Media time as ``walk_stream`` reads it off, where it sees nothing to look at more closely.
                    raw = <int32_t>(stamp - last_stamp)
                    expected = (1 + missing) * duration
                    ticks = last_ticks + raw
                    d = <double>(arrival[row] - first_ns) - ticks * ns_per_tick
                    if raw <= 0 or d - last_d > SUSPECT_NS or last_d - d > SUSPECT_NS:
                        plain = False
                        break
                    if doubtful and raw == 2 * expected:
                        plain = False
                        break
                    if <uint16_t>(number - audio_sequence) == 1 and raw < 65536:
                        if usual == 0:
                            usual = raw
                        elif usual != raw:
                            plain = False  # the commonest step is to be counted
                            break
                    # ``settle``: hairline gaps close, and nothing overlaps.
                    position = ticks
                    gap = position - end
                    if gap < 0 or (gap <= slack and missing == 0):
                        position = end
                    if position > end and not self.gap(end, position - end, missing):
                        self.failed = True
                        break
                    # RFC 3550, as ``unwrap`` reckons it.
                    difference = (arrival[row] - audio_ns) * ticks_per_ns
                    difference -= <int32_t>(stamp - last_stamp)
                    if difference < 0:
                        difference = -difference
                    if difference < most:
                        jitter += (difference - jitter) * 0.0625
                        jitter_sum += jitter
                        if jitter > jitter_max:
                            jitter_max = jitter
                if kept >= room:
                    bad = True
                    break
                last_stamp, audio_sequence, audio_ns = stamp, number, arrival[row]
                last_ticks, last_d, end = ticks, d, position + duration
                offset_to[kept] = offset[row]
                size_to[kept] = size[row]
                timestamp_to[kept] = position
                arrival_to[kept] = arrival[row]
                sequence_to[kept] = total
                payload_type_to[kept] = audio
                flags_to[kept] = flags[row]
                missing_to[kept] = <int32_t>(missing if missing < 0x7FFFFFFF else 0x7FFFFFFF)
                missing = 0
                kept += 1
        of.rows, of.kept, of.events, of.number, of.missing = seen, kept, met, total, missing
        of.lost, of.ticks, of.end, of.before_ns = lost, last_ticks, end, before_ns
        of.first_ns, of.audio_ns, of.usual, of.head_ns = first_ns, audio_ns, usual, head_ns
        of.head_last, of.mark_ns, of.bunch_ns = head_last, mark_ns, bunch_ns
        of.departure, of.jitter, of.jitter_sum, of.jitter_max = last_d, jitter, jitter_sum, jitter_max
        of.stamp, of.first_sequence, of.sequence, of.audio_sequence = last_stamp, first_sequence, last, audio_sequence
        if bad:
            raise ValueError("no such rows, or no room for them")
        if self.failed:
            raise MemoryError("no memory for the gaps of a stream")
        return bool(plain)

    def bunched(self, double packet_ns):
        """``gathering.bunched`` of all rows, 64 at the head and 16 in a run."""
        cdef int64_t few = min(<int64_t>HEAD, self.state.rows)
        if few > 2 and <double>(self.state.head_last - self.state.head_ns) < (few - 1) * packet_ns / 2:
            return True
        return self.state.rows > RUN and <double>self.state.bunch_ns < RUN * packet_ns / 2

    def gaps(self):
        """The gaps of the one span that the audio is, as GAP_DTYPE."""
        (table,) = empty_each(self.state.gaps, OF_GAPS)
        if self.state.gaps:
            memcpy(written(table, b"V", sizeof(Gap), self.state.gaps), self.table, self.state.gaps * sizeof(Gap))
        return table

    @property
    def kept(self):
        """Rows of audio."""
        return self.state.kept

    @property
    def events(self):
        """Event rows."""
        return self.state.events

    @property
    def usual(self):
        """The step of timestamps between neighbours in number, which is always the same; 0 where there are none."""
        return self.state.usual

    @property
    def end_tick(self):
        """Where the last audio ends."""
        return self.state.end

    @property
    def jitter(self):
        """(mean, greatest) of RFC 3550, in ticks."""
        return self.state.jitter_sum / max(self.state.kept - 1, 1), self.state.jitter_max

    def counts(self):
        """The counts of ``walk_stream`` and ``order_stream``."""
        return {
            "rows": self.state.kept, "duplicates": 0, "conflicts": 0, "stale": 0, "lost": self.state.lost,
            "recovered": 0, "redundant_unused": 0, "restarts": 0, "shifted": 0, "wild": 0, "double_ticks": 0,
            "wild_noise": 0, "line_timestamp": self.state.stamp, "line_tick": self.state.ticks, "strays": 0,
            "epochs": 1, "reordered": 0,
        }
