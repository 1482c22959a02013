"""The ordered streams of one direction made into one leg: parallel senders settled, spans laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import delay_ns
from callreplay.deferred import dataclass
from callreplay.model import GAP_DTYPE, GapReason, LegColumns, Span
from callreplay.order.aside import Aside
from callreplay.order.columns import Columns
from callreplay.order.gathering import audio_rows
from callreplay.order.placing import gap_table
from callreplay.order.streams import Line, OrderedStream, Packets, payloads
from callreplay.packets.arena import Arena

__all__ = ["HOLD_NS", "arrange", "ns_of", "ticks_of"]

HOLD_NS: Final = 2_000_000_000
_PAUSE_NS: Final = 200_000_000  # a sender silent for longer gives way to another
_SAME: Final = 0.02  # coverages this close are equal


@dataclass(slots=True)
class _Piece:
    """Rows ``first`` to ``stop`` of one stream, one codec, one line; becomes a span, or part of one."""

    source: OrderedStream
    line: Line
    run: int  # index into source.runs
    first: int
    stop: int
    start_ns: int


@dataclass(slots=True)
class _Activity:
    """Stretches of a stream without a pause: rows ``first`` to ``stop`` and the times ``start_ns`` to ``end_ns``."""

    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]


def ns_of(span: Span, tick: int) -> int:
    """Absolute time of a tick of a span."""
    return span.anchor_ns + round(tick * 1e9 / span.codec.clock_rate_hz / (1 + span.drift_ppm * 1e-6))


def ticks_of(span: Span, nanoseconds: int) -> int:
    """Ticks of a span in a length of absolute time."""
    return round(nanoseconds * 1e-9 * span.codec.clock_rate_hz * (1 + span.drift_ppm * 1e-6))


def arrange(
    packets: Packets, streams: Sequence[OrderedStream], arena: Arena
) -> tuple[LegColumns, list[Aside]]:
    """One leg out of the streams of one direction; returns it and what was set aside of parallel senders.

    Streams take turns (re-INVITE, transfer, A-B-A): each run of a stream and a codec is a span. Where two send at the
    same time the one with better coverage is kept, unless it is digital silence; equal ones: the one that began first.
    The streams' columns are used up: their timestamps become ticks of spans.
    """
    full = [ordered for ordered in streams if len(ordered.columns.offset)]
    if len(full) == 1 and full[0].gaps is not None:
        return _whole(packets, full[0], full[0].gaps), []
    kept = _settle_parallel(packets, full)
    aside = [
        _parallel(ordered, mask)
        for ordered, mask in zip(full, kept, strict=True)
        if mask is not None and not mask.all()
    ]
    pieces = [
        piece
        for ordered, rows in zip(full, kept, strict=True)
        for piece in _pieces(ordered, rows, len(full) > 1)
    ]
    pieces.sort(key=lambda piece: piece.start_ns)
    pieces = _joined(pieces)
    columns, bounds = _concatenated(pieces, arena)
    leg = LegColumns(
        packets.data,
        packets.spill,
        columns.offset,
        columns.size,
        columns.timestamp,
        columns.arrival_ns,
        columns.sequence,
        columns.payload_type,
        columns.flags,
    )
    tables = []
    for index, (piece, (first, stop)) in enumerate(zip(pieces, bounds, strict=True)):
        span, gaps = _span(piece, columns.rows(first, stop), first, index)
        leg.spans.append(span)
        tables.append(gaps)
    if len(tables) == 1:
        leg.gaps = tables[0]
    else:
        leg.gaps = np.concatenate([np.zeros(0, GAP_DTYPE), *tables, _between(leg, columns.missing)])
        leg.gaps = leg.gaps[np.lexsort((leg.gaps["start"], leg.gaps["span"]))]
    return leg, aside


def _whole(packets: Packets, ordered: OrderedStream, gaps: NDArray[np.void]) -> LegColumns:
    """A leg of one stream that is one span, of audio from its first row to its last."""
    columns, line, tables = ordered.columns, ordered.lines[0], ordered.tables
    which = ordered.runs[0][2]
    codec = tables.listed[which]
    payload_type = columns.payload_type.item(0)
    span = Span(
        codec,
        0,
        len(columns.offset),
        ordered.stream.ssrc,
        ordered.stream.index,
        payload_type,
        line.clock.anchor_ns - delay_ns(codec, tables.typical.item(which)),
        line.end_tick,
        line.clock.drift_ppm,
        tables.resolution.sources[payload_type] in ("inferred", "unknown"),
    )
    return LegColumns(
        packets.data,
        packets.spill,
        columns.offset,
        columns.size,
        columns.timestamp,
        columns.arrival_ns,
        columns.sequence,
        columns.payload_type,
        columns.flags,
        [span],
        gaps,
    )


def _span(piece: _Piece, rows: Columns, first: int, index: int) -> tuple[Span, NDArray[np.void]]:
    source, line = piece.source, piece.line
    tables = source.tables
    codec = tables.listed[source.runs[piece.run][2]]
    origin = int(rows.timestamp[0])
    if origin:
        rows.timestamp -= origin
    elapsed = origin * 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6)
    first_audio, last_audio = audio_rows(rows.flags)
    payload_type = int(rows.payload_type[max(first_audio, 0)])
    duration = 0
    if last_audio >= 0:
        which = int(tables.codecs[rows.payload_type[last_audio]])
        duration = int(tables.durations[which, rows.size[last_audio]]) or int(tables.typical[which])
    span = Span(
        codec,
        first,
        first + len(rows),
        source.stream.ssrc,
        source.stream.index,
        payload_type,
        line.clock.anchor_ns
        + round(elapsed)
        - delay_ns(codec, int(tables.typical[source.runs[piece.run][2]])),
        max(int(rows.timestamp[max(last_audio, 0)]) + duration, int(rows.timestamp[-1])),
        line.clock.drift_ppm,
        tables.resolution.sources.get(payload_type) in ("inferred", "unknown"),
    )
    gaps = gap_table(
        rows.timestamp,
        rows.size,
        rows.payload_type,
        rows.flags,
        rows.missing,
        tables.codecs,
        tables.durations,
        tables.typical,
        index,
        HOLD_NS * line.clock_rate_hz // 1_000_000_000,
        line.clock_rate_hz * 120 // 1000,
    )
    return span, gaps


def _between(leg: LegColumns, missing: NDArray[np.int32]) -> NDArray[np.void]:
    """Gaps from the end of each span to the start of the next; they belong to the earlier span."""
    rows: list[tuple[int, int, int, int, int]] = []
    for index, (span, following) in enumerate(pairwise(leg.spans)):
        pause = following.anchor_ns - ns_of(span, span.end_tick)
        ticks = ticks_of(span, pause)
        least = abs(delay_ns(span.codec) - delay_ns(following.codec)) + 1_000_000
        if pause < least or ticks <= 0:
            continue  # a hole by the codecs' own delays is none
        lost = int(missing[following.first]) if span.stream == following.stream else 0
        reason = GapReason.LOST if lost else GapReason.HOLD if pause >= HOLD_NS else GapReason.SILENCE
        rows.append((index, span.end_tick, ticks, lost, reason))
    return np.array(rows, GAP_DTYPE)


def _settle_parallel(packets: Packets, streams: Sequence[OrderedStream]) -> list[NDArray[np.bool_] | None]:
    """Which rows of each stream stay (None: all) where streams of one leg overlap in time."""
    kept: list[NDArray[np.bool_] | None] = [None] * len(streams)
    if len(streams) < 2:
        return kept
    active = [_activity(ordered) for ordered in streams]
    for index, ordered in enumerate(streams):
        if not _audible(ordered) and any(_audible(other) and _beside(ordered, other) for other in streams):
            kept[index] = np.zeros(len(ordered.columns), np.bool_)
    for one in range(len(streams)):
        for other in range(one + 1, len(streams)):
            if any(mask is not None and not mask.any() for mask in (kept[one], kept[other])):
                continue
            if active[other].start_ns[0] >= active[one].end_ns[-1]:
                continue
            # A handover overlaps by the jitter of its anchors; less than a packet is no second sender.
            least = max(_packet_ns(streams[one]), _packet_ns(streams[other]))
            for start, stop in _overlaps(active[one], active[other]):
                if stop - start < least:
                    continue
                loser = _worse(packets, (streams[one], streams[other]), start, stop)
                index = (one, other)[loser]
                times = _times(streams[index])
                mask = kept[index]
                if mask is None:
                    mask = np.ones(len(streams[index].columns), np.bool_)
                    kept[index] = mask
                first, last = np.searchsorted(times, (start, stop))
                mask[first:last] = False
    return kept


def _parallel(ordered: OrderedStream, mask: NDArray[np.bool_]) -> Aside:
    packets = int(np.count_nonzero(~mask))
    gone = ordered.columns.arrival_ns[~mask]
    seconds = min(packets * _packet_ns(ordered), int(gone.max() - gone.min()) + _packet_ns(ordered)) * 1e-9
    if _audible(ordered):
        reason = "another stream of the same leg plays at that time: it has more packets, is no silence, or began first"
    else:
        reason = "nobody can decode it, and another stream of the same leg plays at that time"
    return Aside("parallel", ordered.stream, packets, seconds, reason)


def _audible(ordered: OrderedStream) -> bool:
    """Whether any of a stream is of a codec that is audio."""
    return any(ordered.tables.listed[which].kind == "audio" for _, _, which in ordered.runs)


def _beside(one: OrderedStream, other: OrderedStream) -> bool:
    """Whether a stream arrives while another does, half of its time at least: of unknown codecs nothing else tells."""
    common = min(one.last_arrival_ns, other.last_arrival_ns) - max(
        one.first_arrival_ns, other.first_arrival_ns
    )
    return common > 0 and 2 * common >= one.last_arrival_ns - one.first_arrival_ns


def _times(ordered: OrderedStream) -> NDArray[np.int64]:
    """Absolute time of every row; only made for legs of several streams."""
    times = np.empty(len(ordered.columns), np.int64)
    for line in ordered.lines:
        ticks = ordered.columns.timestamp[line.first : line.stop]
        scale = 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6)
        times[line.first : line.stop] = line.clock.anchor_ns + np.rint(ticks * scale).astype(np.int64)
    return times


def _packet_ns(ordered: OrderedStream) -> int:
    rate = ordered.lines[0].clock_rate_hz if ordered.lines else 8000
    return max(1, ordered.step_ticks * 1_000_000_000 // rate)


def _activity(ordered: OrderedStream) -> _Activity:
    times = _times(ordered)
    breaks = np.flatnonzero(np.diff(times) > _PAUSE_NS + _packet_ns(ordered)) + 1
    first = np.concatenate([[0], breaks]).astype(np.int64)
    stop = np.concatenate([breaks, [len(times)]]).astype(np.int64)
    return _Activity(first, stop, times[first], times[stop - 1] + _packet_ns(ordered))


def _overlaps(one: _Activity, other: _Activity) -> list[tuple[int, int]]:
    """Stretches of time in which both are active, in order."""
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(one.first) and j < len(other.first):
        start = max(int(one.start_ns[i]), int(other.start_ns[j]))
        stop = min(int(one.end_ns[i]), int(other.end_ns[j]))
        if stop > start:
            found.append((start, stop))
        if one.end_ns[i] < other.end_ns[j]:
            i += 1
        else:
            j += 1
    return found


def _worse(packets: Packets, pair: tuple[OrderedStream, OrderedStream], start: int, stop: int) -> int:
    """Index of the stream to set aside between two times."""
    coverage: list[float] = []
    silent: list[bool] = []
    for ordered in pair:
        first, last = (int(row) for row in np.searchsorted(_times(ordered), (start, stop)))
        coverage.append((last - first) * _packet_ns(ordered) / (stop - start))
        sample = np.arange(first, last, max(1, (last - first) // 32))
        bodies = {bytes(set(body)) for body in payloads(packets, ordered.columns, sample)}
        silent.append(all(len(body) <= 1 for body in bodies))
    if silent[0] != silent[1]:
        return 0 if silent[0] else 1
    if abs(coverage[0] - coverage[1]) > _SAME:
        return 0 if coverage[0] < coverage[1] else 1
    return 1 if pair[0].start_ns <= pair[1].start_ns else 0


def _pieces(ordered: OrderedStream, kept: NDArray[np.bool_] | None, shared: bool) -> list[_Piece]:
    """A stream cut where codec, line or (when it shares its leg) activity changes, without the rows set aside."""
    rows = len(ordered.columns)
    cuts = {0, rows, *(run[0] for run in ordered.runs), *(line.first for line in ordered.lines)}
    if shared:
        cuts |= set(_activity(ordered).first.tolist())
    if kept is not None:
        cuts |= set((np.flatnonzero(np.diff(kept.view(np.int8))) + 1).tolist())
    edges = sorted(cuts)
    pieces: list[_Piece] = []
    run = line = 0
    for first, stop in pairwise(edges):
        if kept is not None and not kept[first]:
            continue
        while ordered.runs[run][1] <= first:
            run += 1
        while ordered.lines[line].stop <= first:
            line += 1
        # Lines of different clock rates are tied by arrival, so their edges may cross by the jitter: within one
        # stream the sequence numbers decide.
        start_ns = max(ordered.time_ns(first), pieces[-1].start_ns if pieces else 0)
        pieces.append(_Piece(ordered, ordered.lines[line], run, first, stop, start_ns))
    return pieces


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces of one span that ended up side by side become one again."""
    joined: list[_Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.source is piece.source
            and last.run == piece.run
            and last.line is piece.line
            and last.stop == piece.first
        ):
            last.stop = piece.stop
        else:
            joined.append(piece)
    return joined


def _concatenated(pieces: Sequence[_Piece], arena: Arena) -> tuple[Columns, list[tuple[int, int]]]:
    """The rows of all pieces in order; without copying when they already stand in one stream in order."""
    total = sum(piece.stop - piece.first for piece in pieces)
    bounds: list[tuple[int, int]] = []
    row = 0
    for piece in pieces:
        bounds.append((row, row + piece.stop - piece.first))
        row += piece.stop - piece.first
    if not pieces:
        return Columns.empty(0, arena), bounds
    source = pieces[0].source
    in_place = all(
        piece.source is source and piece.first == first
        for piece, (first, _) in zip(pieces, bounds, strict=True)
    )
    if in_place and total == len(source.columns):
        return source.columns, bounds
    target = Columns.empty(total, arena)
    for piece, (first, stop) in zip(pieces, bounds, strict=True):
        for to, of in zip(target.each(), piece.source.columns.each(), strict=True):
            to[first:stop] = of[piece.first : piece.stop]
    return target, bounds
