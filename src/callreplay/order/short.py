"""The short road of a stream that is plain (see plain.pyx): put in order in one pass over its rows.

Most streams are: in sequence, of one codec and one payload length, perhaps with events, in time. Whatever is not goes
the long road, `callreplay.order.streams.order_stream`, and both come to the same: a property of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import STATIC, Codec
from callreplay.model import RtpColumns, Stream
from callreplay.order.columns import Columns
from callreplay.order.gathering import Survey
from callreplay.order.payloads import Kind, PayloadTables, Resolution, resolve
from callreplay.order.placing import count_late
from callreplay.order.plain import Plain
from callreplay.order.sample import Sample
from callreplay.order.streams import (
    BLOCK,
    FIT_PACKETS,
    LATE_NS,
    NO_EVENTS,
    SAMPLE_PACKETS,
    EventRows,
    Line,
    OrderedStream,
    Packets,
    beyond_arrival,
    payloads,
)
from callreplay.order.timeline import fit_clock
from callreplay.order.trust import FEWEST, OFF
from callreplay.packets.arena import Arena, release

__all__ = ["order_plainly"]

_AUDIO: Final = int(Kind.AUDIO)
_EVENT: Final = int(Kind.EVENT)
_HOLD_NS: Final = 2_000_000_000

_Rows = tuple[NDArray[np.int32] | None, int, int, int]
"""Which rows of a scan: as a list or None, the first, how many, the step."""


def order_plainly(
    packets: Packets,
    stream: Stream,
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
    arena: Arena,
) -> OrderedStream | None:
    """What ``order_stream`` makes of a stream, made in one pass; None for one that is not plain. Changes no column."""
    rtp = packets.rtp
    rows = _rows(stream.rows, len(rtp.offset))
    survey = _look(rtp, rows)
    if not survey.rows or not survey.in_time:
        return None
    present = survey.present()
    resolution = _resolved(packets, rows, present, signalled, hints)
    sounds = [kind for kind, codec in resolution.codecs.items() if codec.kind != "event"]
    if len(sounds) != 1 or (codec := resolution.codecs[sounds[0]]).kind != "audio":
        return None
    tables = PayloadTables.shared(resolution, survey.largest)
    kind = sounds[0]
    which = tables.codecs.item(kind)
    size = survey.largest if len(present) == 1 else _size(rtp, rows, kind)
    duration, clock = tables.durations.item(which, size), codec.clock_rate_hz
    if size < 1 or duration < 1 or clock < 1000:
        return None
    doubtful = bool(tables.doubtful[which])
    plain = Plain(tables.kinds, kind, size, duration, clock, doubtful, _HOLD_NS * clock // 1_000_000_000)
    events = np.empty((survey.rows - present[kind], 4), np.int64) if len(present) > 1 else None
    columns = _walked(rtp, rows, plain, Columns.empty(present[kind], arena), events)
    step = plain.usual
    if columns is None or not step or plain.bunched(step * 1e9 / clock):
        return None
    if step <= clock // 5:
        tables.typical[which] = step
    usual = tables.typical.item(which)
    if (
        survey.count(kind) >= FEWEST
        and abs(usual / duration - 1) > OFF
        and not (doubtful and usual > duration)
    ):
        return None
    return _ordered(packets, stream, survey, tables, columns, plain, kind, duration, events)


def _rows(rows: NDArray[np.integer] | slice, total: int) -> _Rows:
    if isinstance(rows, slice):
        every = range(*rows.indices(total))
        return None, every.start, len(every), every.step
    return rows.astype(np.int32, copy=False), 0, len(rows), 1


def _look(rtp: RtpColumns, rows: _Rows) -> Survey:
    survey = Survey()
    listed, first, count, step = rows
    columns = rtp.size, rtp.arrival_ns, rtp.payload_type
    if count <= BLOCK:
        survey.look(*columns, listed, first, count, step)
        return survey
    for at in range(0, count, BLOCK):
        survey.look(*columns, listed, first + at * step, min(BLOCK, count - at), step)
        release(*columns)
    return survey


def _resolved(
    packets: Packets,
    rows: _Rows,
    present: Mapping[int, int],
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
) -> Resolution:
    if len(present) == 1 and not signalled and not hints:
        (kind,) = present
        if kind in STATIC and kind < 20:
            return Resolution({kind: STATIC[kind]}, {kind: "static"})
    samples = {kind: _sample(packets, rows, kind, most) for kind, most in _asked(present, signalled, hints)}
    return resolve(present, samples, signalled, hints)


def _asked(
    present: Mapping[int, int], signalled: Sequence[Mapping[int, Codec]], hints: Mapping[int, Codec]
) -> list[tuple[int, int]]:
    """The payload types whose payloads are held against their name, or name them, and how many are looked at."""
    if max(present) < 20 and not signalled and not hints:
        return []
    named = {kind for described in signalled for kind in described} | set(hints)
    return [
        (kind, FIT_PACKETS if kind in named else SAMPLE_PACKETS)
        for kind in present
        if kind >= 20 or (kind in named and kind not in STATIC)
    ]


def _numbers(rows: _Rows) -> NDArray[np.integer]:
    listed, first, count, step = rows
    return listed if listed is not None else np.arange(first, first + count * step, step, dtype=np.int64)


def _sample(packets: Packets, rows: _Rows, kind: int, most: int) -> Sample:
    rtp, numbers = packets.rtp, _numbers(rows)
    at = numbers[: 64 * most]
    at = at[rtp.payload_type[at] == kind]
    if not len(at):
        at = numbers[rtp.payload_type[numbers] == kind]
    at = at[:most]
    return Sample(
        rtp.sequence[at].astype(np.int64),
        rtp.timestamp[at].astype(np.int64),
        rtp.arrival_ns[at],
        rtp.size[at].astype(np.int64),
        lambda: payloads(packets, rtp, at),
    )


def _size(rtp: RtpColumns, rows: _Rows, kind: int) -> int:
    """The length of the first payload of a kind, which has some."""
    numbers = _numbers(rows)
    for at in range(0, len(numbers), BLOCK):
        block = numbers[at : at + BLOCK]
        mine = block[rtp.payload_type[block] == kind]
        if len(mine):
            return int(rtp.size[mine[0]])
    return 0


def _walked(
    rtp: RtpColumns, rows: _Rows, plain: Plain, columns: Columns, events: NDArray[np.int64] | None
) -> Columns | None:
    listed, first, count, step = rows
    source = (rtp.offset, rtp.size, rtp.timestamp, rtp.arrival_ns, rtp.sequence, rtp.payload_type, rtp.flags)
    target = columns.each()
    if count <= BLOCK:
        return columns if plain.take(source, listed, first, count, step, target, events) else None
    for at in range(0, count, BLOCK):
        if not plain.take(source, listed, first + at * step, min(BLOCK, count - at), step, target, events):
            return None
        release(*target, *source)
    return columns


def _ordered(
    packets: Packets,
    stream: Stream,
    survey: Survey,
    tables: PayloadTables,
    columns: Columns,
    plain: Plain,
    kind: int,
    duration: int,
    events: NDArray[np.int64] | None,
) -> OrderedStream:
    clock, which = tables.clocks.item(kind), tables.codecs.item(kind)
    fitted = fit_clock(columns.timestamp, columns.arrival_ns, columns.flags, clock, shift=duration)
    late = count_late(
        columns.timestamp,
        columns.arrival_ns,
        fitted.anchor_ns,
        0.0,
        1e9 / clock / (1 + fitted.drift_ppm * 1e-6),
        LATE_NS,
        duration,
    )
    jitter, jitter_max = plain.jitter
    rows = len(columns.offset)
    result = OrderedStream(
        stream,
        columns,
        tables,
        [Line(0, rows, clock, fitted, plain.end_tick, late)],
        [(0, rows, which)],
        _events(packets, tables, events) if events is not None else NO_EVENTS,
        plain.counts(),
        survey.first_ns,
        survey.last_ns,
        survey.rows,
        jitter * 1e3 / clock,
        jitter_max * 1e3 / clock,
        0,
        late,
        plain.usual,
        gaps=plain.gaps(),
    )
    result.warnings = beyond_arrival(result)
    return result


def _events(packets: Packets, tables: PayloadTables, events: NDArray[np.int64]) -> EventRows:
    rtp, at = packets.rtp, events[:, 0]
    return EventRows(
        rtp.timestamp[at].astype(np.int64),
        rtp.arrival_ns[at],
        events[:, 1].copy(),
        payloads(packets, rtp, at),
        events[:, 2].copy(),
        events[:, 3].copy(),
        int(tables.clocks[rtp.payload_type[at[0]]]),
    )
