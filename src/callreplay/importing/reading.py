"""From a capture file to the calls that are to be filed: scan, signalling, order, and what a row asks of each."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay import packets, signalling
from callreplay.codecs import Codec
from callreplay.importing import talk
from callreplay.importing.filing import CallRecord, CaptureRows, LegRecord
from callreplay.model import CallDescription, Flow, GapReason, Message, RtpColumns, Stream
from callreplay.order.legs import CallMedia, LegMedia, assemble
from callreplay.packets.arena import Arena, release
from callreplay.sources import metadata_of

__all__ = ["Reading", "gather", "named", "read"]

_MOST_GAPS: Final = 10_000
"""Gaps of a leg that go into the database; the recording has them all."""


@dataclass(slots=True)
class Reading:
    """A capture read: its rows, its calls by start time, and what was odd about it."""

    rows: CaptureRows
    calls: list[CallRecord]
    warnings: list[str] = field(default_factory=list)
    last_ns: int = 0


def read(*paths: Path, speech: bool = False) -> Reading:
    """Read the capture at ``paths``, one file or those of a rotation in order. They stay mapped with the reading.

    ``speech``: calls can find out who talks how long (`CallRecord.hear`), for which they hold on to their legs.

    Raises:
        CaptureError: it is not a capture.
        OSError: it cannot be read.
    """
    said: list[str] = []
    if len(paths) == 1:
        name = named(paths)
        data = packets.open_buffer(paths[0], warnings=said)
        scan = packets.scan(data, name=str(paths[0]), announced=signalling.sockets_of, by_stream=True)
    else:
        name = named(paths)
        data, spans = packets.join(paths, warnings=said)
        parts = [packets.Part(*span, path.name) for span, path in zip(spans, paths, strict=True)]
        scan = packets.scan(
            data, name=str(paths[0]), parts=parts, announced=signalling.sockets_of, by_stream=True
        )
    rows = CaptureRows(name, scan.data, scan.spill, scan.rtp, list(scan.streams))
    described = metadata_of(paths[0]) if len(paths) == 1 else []
    found = gather(
        rows,
        scan.messages,
        scan.sender_reports,
        _said_once(paths, said, scan.warnings),
        described,
        scan.codecs,
        speech=speech,
    )
    found.last_ns = scan.last_ns
    return found


def _said_once(paths: Sequence[Path], said: Sequence[str], scanned: Sequence[str]) -> list[str]:
    """What opening and scanning said; that a record is cut follows from compressed data that end too soon."""
    cut = {Path(line.partition(": ")[0]).name for line in said}
    kept = []
    for line in scanned:
        part, found, _ = line.partition(packets.CUT)
        if not found or (part.removesuffix(": ") or paths[0].name) not in cut:
            kept.append(line)
    return [*(line.removeprefix(f"{paths[0]}: ") for line in said), *kept]


def named(paths: Sequence[Path]) -> str:
    """What calls say that they were captured from: the file, or the first and the last of several."""
    if len(paths) == 1:
        return _shown(paths[0])
    return f"{_shown(paths[0])} … {_shown(Path(paths[-1].name))}"


def _shown(path: Path) -> str:
    """The path as text that UTF-8 can hold: a file name need not be UTF-8, a database's text must be."""
    return os.fsencode(path).decode("utf-8", "replace")


class _Scan:
    """What the order room needs of a scan."""

    def __init__(self, rows: CaptureRows) -> None:
        self.data: NDArray[np.uint8] = rows.data
        self.spill: NDArray[np.uint8] = rows.spill
        self.rtp: RtpColumns = rows.columns
        self.streams: list[Stream] = rows.streams


def gather(
    rows: CaptureRows,
    messages: list[Message],
    reports: Sequence[packets.SenderReport] = (),
    warnings: list[str] | None = None,
    described: Sequence[CallDescription] = (),
    codecs: Mapping[int, Codec] | None = None,
    *,
    speech: bool = False,
) -> Reading:
    """Find the calls of scanned rows: signalled ones with or without media, then those that only RTP tells of.

    ``described`` are calls that a file beside the capture tells of, ``codecs`` payload types that the container names.
    """
    descriptions = [*signalling.calls_of(messages), *described]
    scan = _Scan(rows)
    media = assemble(scan, descriptions, codecs, reports)
    release(rows.data)
    with_media = {id(call.description) for call in media if call.description is not None}
    arena = Arena()
    calls = [_record(rows, call, reports, arena) for call in media]
    for record, call in zip(calls, media, strict=True) if speech else ():
        record.listen = partial(talk.measure, call, rows, scan)
    calls += [_silent(description) for description in descriptions if id(description) not in with_media]
    calls.sort(key=lambda call: (call.start_ns, call.description.call_id))
    return Reading(rows, calls, warnings or [])


def _silent(description: CallDescription) -> CallRecord:
    """A call without media: refused, cancelled, or its media was not captured."""
    end_ns = max(description.end_ns, description.answer_ns, description.start_ns)
    quality = {"media": False, **_transfer(description)}
    return CallRecord(description, [], description.start_ns, end_ns, quality=quality)


def _transfer(description: CallDescription) -> dict[str, Any]:
    """Whom the call was meant for before, and whom it was sent to after."""
    said: dict[str, Any] = {}
    if description.transferred_to:
        said["transferred_to"] = description.transferred_to
    if description.diversions:
        said["diversions"] = [hop._asdict() for hop in description.diversions]
    return said


def _record(
    rows: CaptureRows, media: CallMedia, reports: Sequence[packets.SenderReport], arena: Arena
) -> CallRecord:
    description = media.description
    inferred = description is None
    if description is None:
        description = _inferred(media)
    start_ns = description.start_ns or media.start_ns
    if description.begun_before and media.start_ns:
        start_ns = min(start_ns, media.start_ns)
    end_ns = max(description.end_ns or media.end_ns, start_ns)
    # Not the earlier one of the two: a first packet that is late puts the start of the media before the INVITE.
    call = CallRecord(description, [], start_ns, end_ns, inferred)
    for leg in media.legs:
        if not leg.streams:
            continue
        call.legs.append(_leg(rows, leg, call.start_ns, reports, arena))
    call.quality = _quality(media) | _transfer(description)
    return call


def _inferred(media: CallMedia) -> CallDescription:
    """RTP alone: the addresses are all there is; the side that spoke first is taken for the caller."""
    description = CallDescription("", status="", start_ns=media.start_ns, end_ns=media.end_ns)
    for leg in media.legs:
        for stream in leg.streams[:1]:
            ends = (stream.flow.source, stream.flow.destination)
            caller, called = ends if leg.side == "caller" else ends[::-1]
            description.caller_address = description.caller_address or caller
            description.called_address = description.called_address or called
    return description


def _leg(
    rows: CaptureRows, leg: LegMedia, start_ns: int, reports: Sequence[packets.SenderReport], arena: Arena
) -> LegRecord:
    ssrcs = {stream.ssrc for stream in leg.streams}
    own = [astuple(report) for report in reports if report.ssrc in ssrcs]
    return LegRecord(
        leg.side,
        _rows(rows, leg.streams, arena),
        _main_flow(leg),
        _figures(leg, start_ns),
        list(leg.events),
        own,
    )


def _rows(rows: CaptureRows, streams: Sequence[Stream], arena: Arena) -> NDArray[np.int32]:
    """The rows of a leg in order of arrival; a scan has fewer than 2^31 (`callreplay.packets.rows.group`)."""
    counts = [
        len(range(*stream.rows.indices(len(rows.columns.offset))))
        if isinstance(stream.rows, slice)
        else len(stream.rows)
        for stream in streams
    ]
    chosen: NDArray[np.int32] = arena.empty(sum(counts), np.int32)
    at = 0
    for stream, count in zip(streams, counts, strict=True):
        if isinstance(stream.rows, slice):
            chosen[at : at + count] = np.arange(
                *stream.rows.indices(len(rows.columns.offset)), dtype=np.int32
            )
        else:
            chosen[at : at + count] = stream.rows
        at += count
    if len(streams) > 1:
        chosen[:] = chosen[np.argsort(rows.columns.arrival_ns[chosen], kind="stable")]
    release(rows.columns.arrival_ns, chosen)
    return chosen


def _main_flow(leg: LegMedia) -> Flow:
    return max(leg.streams, key=lambda stream: stream.packets).flow


def _finite(value: float | None, digits: int = 3) -> float | None:
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _figures(leg: LegMedia, start_ns: int) -> dict[str, Any]:
    statistics = leg.statistics
    figures: dict[str, Any] = {
        "packets": statistics.packets,
        "lost": statistics.lost,
        "duplicates": statistics.duplicates,
        "reordered": statistics.reordered,
        "jitter_ms": _finite(statistics.jitter_ms),
        "mos": _finite(statistics.mos),
        "start_ns": leg.start_ns or statistics.first_arrival_ns,
        "ssrc": leg.streams[0].ssrc,
    }
    codec = leg.codec
    if codec is not None:
        span = max(leg.columns.spans, key=lambda span: span.stop - span.first)
        figures |= {
            "codec": str(codec),
            "codecs": list(dict.fromkeys(str(span.codec) for span in leg.columns.spans)),
            "clock_rate": codec.clock_rate_hz,
            "payload_type": span.payload_type,
            "ssrc": span.ssrc,
            "duration_ms": max(0, (leg.end_ns - leg.start_ns) // 1_000_000),
            "gaps": _gaps(leg, start_ns),
        }
    return figures


def _gaps(leg: LegMedia, start_ns: int) -> list[list[Any]]:
    """``[start_ms, length_ms, reason]`` of each gap, on the call's own clock."""
    found: list[list[Any]] = []
    for index, start, ticks, _, reason in leg.columns.gaps[:_MOST_GAPS].tolist():
        span = leg.columns.spans[index]
        rate = span.codec.clock_rate_hz
        begin_ns = span.anchor_ns + start * 1_000_000_000 // rate
        why = GapReason(reason).name.lower()
        found.append([max(0, begin_ns - start_ns) // 1_000_000, ticks * 1000 // rate, why])
    return found


def _quality(media: CallMedia) -> dict[str, Any]:
    """The call as a whole: the worse leg's figures, and what was guessed or odd."""
    legs = [leg for leg in media.legs if not leg.empty]
    rated = [leg.statistics.mos for leg in legs if leg.statistics.mos is not None]
    return {
        "media": True,
        "one_way": media.one_way,
        "sides_inferred": media.sides_inferred,
        "copies": media.copies,
        "mos": _finite(min(rated)) if rated else None,
        "loss_percent": _finite(max((leg.statistics.loss_percent for leg in legs), default=0.0)),
        "jitter_ms": _finite(max((leg.statistics.jitter_ms for leg in legs), default=0.0)),
        "guesses": media.guesses[:50],
        "warnings": [*media.warnings, *(f"{leg.side}: {text}" for leg in legs for text in leg.warnings)][:50],
    }
