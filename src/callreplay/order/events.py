"""RFC 4733 events out of their packets: one Event per key press, whatever the updates, repeats and odd timestamps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.model import CallDescription, Event, Side, Span
from callreplay.order.media import NO_TICK
from callreplay.order.streams import OrderedStream

__all__ = ["collect_events", "event_span", "signalled_events"]

_DIGITS: Final = "0123456789*#ABCD"
_SAME_NS: Final = 2_000_000_000  # a digit sent in RTP and in signalling comes twice within this time
_NEAR_MS: Final = 200.0  # end packets with new timestamps stay this near the event


@dataclass(slots=True)
class _Press:
    """An event being put together, in ticks of the event clock."""

    code: int
    timestamp: int  # raw, of the current segment
    start_ns: int
    volume: int
    duration: int  # of the current segment
    before: int = 0  # ticks of earlier segments
    ended: bool = False


def _digit(code: int) -> str:
    if code < len(_DIGITS):
        return _DIGITS[code]
    return "flash" if code == 16 else f"event {code}"


def _start_ns(ordered: OrderedStream, index: int, duration: int) -> int:
    """Absolute start of the event of packet ``index``: its timestamp on the audio's line, if arrival agrees."""
    events = ordered.events
    by_arrival = int(events.arrival_ns[index]) - round(duration * 1e9 / events.clock_rate_hz)
    tick = int(events.tick[index])
    if tick == NO_TICK or not ordered.lines:
        return max(by_arrival, ordered.first_arrival_ns)  # nothing is heard before it was there
    row = min(max(int(events.row[index]) - 1, 0), len(ordered.columns) - 1)
    line = next(line for line in ordered.lines if line.first <= row < line.stop)
    elapsed = tick * 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6)
    by_timestamp = line.clock.anchor_ns + round(elapsed)
    return by_timestamp if abs(by_timestamp - by_arrival) < 1_000_000_000 else by_arrival


def collect_events(ordered: OrderedStream) -> list[Event]:
    """The events of one stream in order of their start.

    One event has one timestamp (RFC 4733 section 2.5.1). Senders are met that give each of the three end packets a new
    one: an end with the same code and duration close by belongs to the event that just ended. A segment that follows
    one of nearly 0xFFFF ticks continues it (section 2.5.1.3). Payloads shorter than 4 octets are ignored.
    """
    events = ordered.events
    clock = events.clock_rate_hz
    near = round(_NEAR_MS * clock / 1000)
    presses: list[_Press] = []
    for index, payload in enumerate(events.payloads):
        if len(payload) < 4 or events.row[index] < 0:
            continue
        code, end, volume = payload[0], bool(payload[1] & 0x80), payload[1] & 0x3F
        duration = payload[2] << 8 | payload[3]
        timestamp = int(events.timestamp[index])
        last = presses[-1] if presses else None
        if last is not None and last.code == code:
            ahead = (timestamp - last.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
            if ahead == 0:
                last.duration = max(last.duration, duration)
                last.ended = last.ended or end
                continue
            repeat = end and last.ended and duration == last.duration and 0 < ahead <= last.duration + near
            late_end = end and not last.ended and duration >= last.duration and 0 < ahead <= near + duration
            if repeat or late_end:
                last.ended = True
                last.duration = max(last.duration, duration)
                continue
            if not last.ended and last.duration >= 0xFFFF - near and 0 < ahead <= last.duration + near:
                last.before += ahead
                last.timestamp, last.duration, last.ended = timestamp, duration, end
                continue
        start = _start_ns(ordered, index, duration)
        presses.append(_Press(code, timestamp, start, volume, duration, ended=end))
    found = [
        Event(_digit(p.code), p.start_ns, (p.before + p.duration) * 1000.0 / clock, -p.volume)
        for p in presses
    ]
    return sorted(found, key=lambda event: event.start_ns)


def signalled_events(description: CallDescription | None, side: Side, heard: Sequence[Event]) -> list[Event]:
    """The digits of a party that signalling carried, without those that ``heard`` has from its RTP as well."""
    times: dict[str, list[int]] = {}
    for event in sorted(heard, key=lambda event: event.start_ns):
        times.setdefault(event.digit, []).append(event.start_ns)
    found: list[Event] = []
    for digit in description.digits if description is not None else ():
        if digit.side != side:
            continue
        same = times.get(digit.digit, [])
        twin = bisect_left(same, digit.start_ns - _SAME_NS)
        if twin < len(same) and same[twin] < digit.start_ns + _SAME_NS:
            same.pop(twin)
        else:
            found.append(Event(digit.digit, digit.start_ns, digit.duration_ms))
    return found


def event_span(ordered: OrderedStream, events: Sequence[Event]) -> Span:
    """A span without rows for a stream of nothing but events: they have their time where no audio gives one."""
    start = min(event.start_ns for event in events)
    end = max(event.start_ns + round(event.duration_ms * 1e6) for event in events)
    clock = min(max(ordered.events.clock_rate_hz, 8000), 48000)
    codec = Codec("TELEPHONE-EVENT", clock, clock, kind="event")
    ticks = round((end - start) * 1e-9 * clock)
    kinds = [pt for pt, named in ordered.tables.resolution.codecs.items() if named.kind == "event"]
    return Span(
        codec, 0, 0, ordered.stream.ssrc, ordered.stream.index, kinds[0] if kinds else 101, start, ticks
    )
