"""One stream put in order: rows gathered from the capture, sorted, cleaned and given media time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import STATIC, Codec
from callreplay.deferred import dataclass
from callreplay.evidence import Verdict
from callreplay.model import PacketFlag, RtpColumns, Stream
from callreplay.order.ahead import play_ahead
from callreplay.order.columns import Columns
from callreplay.order.gathering import Survey, restarts
from callreplay.order.media import NO_TICK, walk_stream
from callreplay.order.payloads import Kind, PayloadTables, resolve
from callreplay.order.placing import codec_runs, count_late, packet_ends, settle
from callreplay.order.sample import Sample
from callreplay.order.sequence import STRAY, unwrap, usual_step
from callreplay.order.timeline import Clock, fit_clock, stretch_shifts
from callreplay.order.trust import mend_time, set_aside
from callreplay.packets.arena import Arena, fetch, release

__all__ = [
    "NO_EVENTS",
    "EventRows",
    "Line",
    "OrderedStream",
    "Packets",
    "beyond_arrival",
    "order_stream",
    "payloads",
]

SAMPLE_PACKETS: Final = 2000  # of a payload type that nobody names
FIT_PACKETS: Final = 200  # of one whose name is held against its payloads
LATE_NS: Final = 200e6
_LONGEST_MS: Final = 120  # of audio in one packet
_BEYOND_NS: Final = 2e9
_SPILL: Final = int(PacketFlag.SPILL)
_AUDIO: Final = int(Kind.AUDIO)
_EVENT: Final = int(Kind.EVENT)
BLOCK: Final = 1 << 16  # rows between two releases of pages
_NO_SHIFT: Final = np.zeros(1, np.int64)


class Packets(Protocol):
    """What this room needs of ``packets.Scan``."""

    @property
    def data(self) -> NDArray[np.uint8]: ...
    @property
    def spill(self) -> NDArray[np.uint8]: ...
    @property
    def rtp(self) -> RtpColumns: ...
    @property
    def streams(self) -> Sequence[Stream]: ...


@dataclass(slots=True)
class EventRows:
    """RFC 4733 packets taken out of a stream, in arrival order: raw timestamps and unwrapped numbers."""

    timestamp: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    payloads: list[bytes]
    row: NDArray[np.int64]  # of the clean audio that follows; -1: a copy
    tick: NDArray[np.int64]  # on that row's line; NO_TICK: no audio yet
    clock_rate_hz: int = 8000


_NOTHING: Final = np.zeros(0, np.int64)
NO_EVENTS: Final = EventRows(_NOTHING, _NOTHING, _NOTHING, [], _NOTHING, _NOTHING)


@dataclass(slots=True)
class Line:
    """Rows ``first`` to ``stop`` that share one line of ticks: one clock rate, one sender clock."""

    first: int
    stop: int
    clock_rate_hz: int
    clock: Clock
    end_tick: int
    late: int = 0  # packets more than 200 ms behind the lower envelope


@dataclass(slots=True)
class OrderedStream:
    """A stream in media order. ``columns.timestamp`` counts ticks of the row's line; ``counts`` as ``walk_stream``."""

    stream: Stream
    columns: Columns
    tables: PayloadTables
    lines: list[Line]
    runs: list[tuple[int, int, int]]  # first row, stop row, row of tables.listed
    events: EventRows
    counts: dict[str, int]
    first_arrival_ns: int = 0
    last_arrival_ns: int = 0
    received: int = 0
    jitter_ms: float = 0.0
    jitter_max_ms: float = 0.0
    deepest: int = 0
    late: int = 0
    step_ticks: int = 160
    mended_rate: bool = False
    warnings: list[str] = field(default_factory=list)
    belied: list[str] = field(default_factory=list)  # where length, timestamps and arrival do not agree
    gaps: NDArray[np.void] | None = None  # of a stream that is one span whole, where they are known already

    @property
    def evidence(self) -> list[Verdict]:
        """What was weighed of its codecs and its time, with reasons and rivals."""
        weighed = self.counts["restarts"] or self.counts["shifted"] or self.belied
        return [*self.tables.resolution.evidence, *(_weighed(self) if weighed else ())]

    @property
    def reference(self) -> tuple[int, int] | None:
        """A raw timestamp and its tick, where one line holds for the whole stream; else None."""
        unbroken = not any(self.counts[key] for key in ("shifted", "restarts", "double_ticks"))
        if len(self.lines) != 1 or not unbroken or self.mended_rate:
            return None
        return self.counts["line_timestamp"], self.counts["line_tick"]

    @property
    def start_ns(self) -> int:
        """Absolute time of the first media."""
        return self.time_ns(0) if len(self.columns.offset) else self.first_arrival_ns

    @property
    def end_ns(self) -> int:
        """Absolute time of the end of the last media."""
        if not self.lines:
            return self.last_arrival_ns
        line = self.lines[-1]
        return line.clock.anchor_ns + _elapsed_ns(line.end_tick, line)

    def time_ns(self, row: int) -> int:
        """Absolute time of a row on the timeline."""
        for line in self.lines:
            if line.first <= row < line.stop:
                break
        else:
            raise IndexError(row)
        return line.clock.anchor_ns + _elapsed_ns(self.columns.timestamp.item(row), line)


def _elapsed_ns(ticks: int, line: Line) -> int:
    return round(ticks * 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6))


def order_stream(
    packets: Packets,
    stream: Stream,
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
    arena: Arena,
) -> OrderedStream:
    """Put one stream in order (see the passes in sequence.pyx, media.pyx and placing.pyx)."""
    columns, survey = _gather(packets.rtp, stream, arena)
    steps: dict[bytes, int] = {}
    tables = _tables(packets, columns, survey, signalled, hints, steps)
    clock = _main_clock(survey, tables)
    step = _usual_step(columns, _of_kind(tables, _AUDIO), steps) or max(1, clock // 50)
    ordered, late, deepest, strays, epochs, jitter, jitter_max = unwrap(
        columns.sequence,
        columns.timestamp,
        columns.arrival_ns,
        columns.payload_type,
        columns.flags,
        tables.kinds,
        step,
        clock,
    )
    if not ordered:
        order = np.argsort(columns.sequence, kind="stable")
        columns.take(order)
        del order
    said = set_aside(columns, tables)
    mended, recounted = mend_time(columns, tables, survey, lambda rows: payloads(packets, columns, rows))
    said += [mended] if mended else []
    sent_ahead = play_ahead(columns, tables, clock, step)
    said += [sent_ahead] if sent_ahead else []
    events = _take_events(packets, columns, tables)
    counts = walk_stream(
        columns.sequence,
        columns.timestamp,
        columns.arrival_ns,
        columns.offset,
        columns.size,
        columns.payload_type,
        columns.flags,
        columns.missing,
        packets.data,
        packets.spill,
        tables.kinds,
        tables.clocks,
        tables.codecs,
        tables.durations,
        tables.typical,
        tables.doubtful,
        events.row,
        events.tick,
    )
    counts |= {"strays": strays, "epochs": epochs, "reordered": max(0, late - counts["duplicates"])}
    columns = columns.rows(0, counts["rows"])
    release(columns.offset, columns.sequence)
    result = OrderedStream(
        stream,
        columns,
        tables,
        [],
        codec_runs(columns.payload_type, columns.flags, tables.codecs),
        events,
        counts,
    )
    result.received, result.first_arrival_ns, result.last_arrival_ns = (
        survey.rows,
        survey.first_ns,
        survey.last_ns,
    )
    result.jitter_ms, result.jitter_max_ms = jitter * 1e3 / clock, jitter_max * 1e3 / clock
    result.deepest, result.step_ticks = deepest, step
    result.lines = _lines(columns, tables, arena)
    result.late = sum(line.late for line in result.lines)
    result.mended_rate = recounted
    result.belied = [text for text in (mended, sent_ahead) if text]
    result.warnings = [*said, *_warnings(counts), *beyond_arrival(result)]
    return result


def _weighed(ordered: OrderedStream) -> list[Verdict]:
    """Leaps and lengths as they were decided; most streams have none."""
    about = f"SSRC {ordered.stream.ssrc:#010x}"
    found = []
    if count := ordered.counts["restarts"]:
        found.append(
            Verdict(
                "what are leaps of number and timestamp?",
                about,
                f"{count} restarts",
                ("what follows each goes on from it, at the pace of its timestamps",),
                (("late packets", ()), ("a loss", ())),
            )
        )
    if count := ordered.counts["shifted"]:
        found.append(
            Verdict(
                "why did the delay rise or fall for good?",
                about,
                f"{count} pauses or leaps of the timestamps",
                ("nothing came meanwhile, and then packets at their pace",),
                (("a growing delay", ()), ("the capture's clock", ())),
            )
        )
    found += [
        Verdict("is a payload's length its time, and its arrival in time?", about, "no", (text,))
        for text in ordered.belied
    ]
    return found


def beyond_arrival(ordered: OrderedStream) -> list[str]:
    """What to say where the media lasts longer than it took to arrive: no jitter does that."""
    if not len(ordered.columns.offset):
        return []
    arrival = ordered.last_arrival_ns - ordered.first_arrival_ns
    if len(ordered.lines) == 1:  # as nearly all have it, and are far from it: to the microsecond will do
        line = ordered.lines[0]
        ticks = line.end_tick - ordered.columns.timestamp.item(0)
        about = ticks * 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6)
        if about <= arrival * 1.05 + _BEYOND_NS - 1e3:
            return []
    media = ordered.end_ns - ordered.start_ns
    if media <= arrival * 1.05 + _BEYOND_NS:
        return []
    return [f"its timestamps cover {media * 1e-9:.1f} s, but it arrived within {arrival * 1e-9:.1f} s"]


def _gather(rtp: RtpColumns, stream: Stream, arena: Arena) -> tuple[Columns, Survey]:
    """The rows of one stream, in order of arrival, and what was seen of them; lets the capture's columns go."""
    rows = stream.rows
    listed: NDArray[np.int32] | None = None
    first, step = 0, 1
    if isinstance(rows, slice):
        every = range(*rows.indices(len(rtp.offset)))
        first, step, count = every.start, every.step, len(every)
    else:
        listed, count = rows.astype(np.int32, copy=False), len(rows)
    columns = Columns.empty(count, arena)
    survey = Survey()
    source = (rtp.offset, rtp.size, rtp.timestamp, rtp.arrival_ns, rtp.sequence, rtp.payload_type, rtp.flags)
    target = columns.each()[:7]
    for at in range(0, count, BLOCK):
        survey.take(*source, listed, first + at * step, min(BLOCK, count - at), step, at, *target)
        release(*target, *source)
    if not survey.in_time:
        # pcapng interfaces and merged files: capture order is not time order
        columns.take(np.argsort(columns.arrival_ns, kind="stable"))
    return columns, survey


def _tables(
    packets: Packets,
    columns: Columns,
    survey: Survey,
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
    steps: dict[bytes, int],
) -> PayloadTables:
    present = survey.present()
    named = {pt for described in signalled for pt in described} | set(hints)
    samples = {
        payload_type: _sample(
            packets, columns, payload_type, FIT_PACKETS if payload_type in named else SAMPLE_PACKETS
        )
        for payload_type in present
        if payload_type >= 20 or (payload_type in named and payload_type not in STATIC)
    }
    resolution = resolve(present, samples, signalled, hints)
    tables = PayloadTables.build(resolution, survey.largest)
    for index, codec in enumerate(tables.listed):
        wanted = np.zeros(256, np.uint8)
        wanted[[kind for kind, named in resolution.codecs.items() if named == codec]] = 1
        step = _usual_step(columns, wanted, steps)
        if codec.kind in ("audio", "other") and 0 < step <= codec.clock_rate_hz // 5:
            tables.typical[index] = step
    return tables


def _sample(packets: Packets, columns: Columns, payload_type: int, most: int) -> Sample:
    rows = np.flatnonzero(columns.payload_type[: 64 * most] == payload_type)
    if len(rows) == 0:
        rows = np.flatnonzero(columns.payload_type == payload_type)
    rows = rows[:most]
    return Sample(
        columns.sequence[rows],
        columns.timestamp[rows],
        columns.arrival_ns[rows],
        columns.size[rows].astype(np.int64),
        lambda: payloads(packets, columns, rows),
    )


def payloads(packets: Packets, columns: Columns | RtpColumns, rows: NDArray[np.integer]) -> list[bytes]:
    """The octets of each of ``rows``; those outside the buffer do not exist."""
    found = [b""] * len(rows)
    spilled = (columns.flags[rows] & _SPILL) != 0
    for buffer, mine in ((packets.data, np.flatnonzero(~spilled)), (packets.spill, np.flatnonzero(spilled))):
        if len(mine):
            starts = np.clip(columns.offset[rows[mine]], 0, len(buffer))
            sizes = np.minimum(columns.size[rows[mine]], len(buffer) - starts)
            octets = fetch(buffer, starts, sizes).tobytes()
            for place, end, size in zip(
                mine.tolist(), np.cumsum(sizes).tolist(), sizes.tolist(), strict=True
            ):
                found[place] = octets[end - size : end]
    return found


def _of_kind(tables: PayloadTables, kind: int) -> NDArray[np.uint8]:
    """Which payload types are of a kind: 1 or 0 for each of 256."""
    wanted: NDArray[np.uint8] = (tables.kinds == kind).view(np.uint8)
    return wanted


def _usual_step(columns: Columns, wanted: NDArray[np.uint8], known: dict[bytes, int]) -> int:
    """The usual timestamp step of the payload types ``wanted``, 0 where nothing tells; ``known`` from before."""
    key = wanted.tobytes()
    if key not in known:
        known[key] = usual_step(
            columns.sequence, columns.timestamp, columns.payload_type, columns.flags, wanted
        )
    return known[key]


def _main_clock(survey: Survey, tables: PayloadTables) -> int:
    """The clock rate of the audio that most packets carry."""
    commonest = survey.commonest(tables.kinds, _AUDIO)
    return int(tables.clocks[commonest]) if commonest >= 0 else 8000


def _take_events(packets: Packets, columns: Columns, tables: PayloadTables) -> EventRows:
    """Copies of the event packets, which the walk then drops; they are few."""
    if _EVENT not in tables.kinds.tobytes():
        return NO_EVENTS
    is_event = _of_kind(tables, _EVENT)
    rows = np.flatnonzero(is_event[columns.payload_type] & (columns.sequence != STRAY))
    clock = int(tables.clocks[columns.payload_type[rows[0]]]) if len(rows) else 8000
    return EventRows(
        columns.timestamp[rows],
        columns.arrival_ns[rows],
        columns.sequence[rows],
        payloads(packets, columns, rows),
        np.full(len(rows), -1, np.int64),
        np.full(len(rows), NO_TICK, np.int64),
        clock,
    )


def _clock_runs(columns: Columns, tables: PayloadTables) -> list[tuple[int, int, int]]:
    """First row, stop row and clock rate of every run of one clock rate."""
    rates = sorted({8000, *(codec.clock_rate_hz for codec in tables.resolution.codecs.values())})
    if len(rates) == 1:
        return [(0, len(columns), rates[0])] if len(columns) else []
    by_type = np.searchsorted(rates, tables.clocks).astype(np.uint8)
    return [
        (first, stop, rates[which])
        for first, stop, which in codec_runs(columns.payload_type, columns.flags, by_type)
    ]


def _lines(columns: Columns, tables: PayloadTables, arena: Arena) -> list[Line]:
    """Settle positions and fit the clock, line by line: a new line begins where the clock rate changes."""
    lines: list[Line] = []
    ends = arena.empty(len(columns), np.int64)
    for first, stop, rate in _clock_runs(columns, tables):
        rows = columns.rows(first, stop)
        shifts = _NO_SHIFT
        if restarts(rows.flags):
            _fill_ends(rows, tables, rate, ends[first:stop])
            shifts = stretch_shifts(ends[first:stop], rows.arrival_ns, rows.flags, rate)
        end = settle(
            rows.timestamp,
            rows.size,
            rows.payload_type,
            rows.flags,
            rows.missing,
            shifts,
            tables.codecs,
            tables.durations,
            tables.typical,
            rate // 1000,
        )
        _fill_ends(rows, tables, rate, ends[first:stop])
        clock = fit_clock(ends[first:stop], rows.arrival_ns, rows.flags, rate)
        late = _late(rows, ends[first:stop], clock, rate)
        lines.append(Line(first, stop, rate, clock, end, late))
    release(ends)
    return lines


def _fill_ends(rows: Columns, tables: PayloadTables, rate: int, ends: NDArray[np.int64]) -> None:
    packet_ends(
        rows.timestamp,
        rows.size,
        rows.payload_type,
        rows.flags,
        rows.missing,
        tables.codecs,
        tables.durations,
        tables.typical,
        rate * _LONGEST_MS // 1000,
        ends,
    )


def _late(rows: Columns, ends: NDArray[np.int64], clock: Clock, rate: int) -> int:
    """Packets more than 200 ms behind the lower envelope."""
    ns_per_tick = 1e9 / rate / (1 + clock.drift_ppm * 1e-6)
    return count_late(ends, rows.arrival_ns, clock.anchor_ns, 0.0, ns_per_tick, LATE_NS)


def _warnings(counts: dict[str, int]) -> list[str]:
    texts = {
        "conflicts": "{} packets share a sequence number with other content; the first was kept",
        "stale": "{} stale packets from before a hold dropped",
        "shifted": "timestamps leapt or hid a pause {} times; arrival times bound them",
        "wild": "{} packets with a wild timestamp placed by sequence number",
        "wild_noise": "{} comfort noise packets with a wild timestamp placed by arrival",
        "double_ticks": "{} G.722 packets tick at 16000 instead of 8000; corrected",
        "strays": "{} packets fit no sequence and were dropped",
        "restarts": "sequence numbers restarted {} times",
    }
    return [text.format(counts[key]) for key, text in texts.items() if counts.get(key)]
