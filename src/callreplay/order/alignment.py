"""Legs aligned by RTCP sender reports, where those can be believed.

A sender report ties a stream's timestamps to its sender's wall clock (RFC 3550 section 6.4.1). When both senders'
clocks are synchronised (to each other and to the capture's host) the reports give the moment of sending without the
network's delay, and the legs may be moved by the difference of their delays. Most phones' clocks are not: then the
reports say nothing of the other leg. A leg is therefore moved only when both senders' clocks put their media between 0
and 300 ms before its arrival, as a network's delay would, and every report of a leg agrees within 20 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from callreplay.model import LegColumns, Side
from callreplay.order.streams import OrderedStream

__all__ = ["SenderReport", "align_by_reports"]

_LONGEST_DELAY_NS: Final = 300_000_000
_CLOCK_ERROR_NS: Final = 2_000_000  # of an NTP-synchronised host on a LAN
_AGREE_NS: Final = 20_000_000
_FEWEST: Final = 2
_MOST_NS: Final = 150_000_000  # that two paths differ by: G.114 asks for no more delay in all


class SenderReport(Protocol):
    """An RTCP SR as ``packets`` hands it on; ``ntp_ns`` counts from the Unix epoch."""

    @property
    def arrival_ns(self) -> int: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def ntp_ns(self) -> int: ...
    @property
    def rtp_timestamp(self) -> int: ...


def _delay_ns(streams: Sequence[OrderedStream], reports: Sequence[SenderReport]) -> int | None:
    """The delay of a leg's media by its sender's clock, or None when the reports are few or disagree."""
    delays: list[int] = []
    for ordered in streams:
        if len(ordered.lines) != 1 or ordered.reference is None:
            continue
        line = ordered.lines[0]
        raw, tick = ordered.reference
        for report in reports:
            if report.ssrc != ordered.stream.ssrc or not report.ntp_ns:
                continue
            if not ordered.first_arrival_ns <= report.arrival_ns <= ordered.last_arrival_ns + 5_000_000_000:
                continue
            ahead = (report.rtp_timestamp - raw + (1 << 31)) % (1 << 32) - (1 << 31)
            elapsed = (tick + ahead) * 1e9 / line.clock_rate_hz / (1 + line.clock.drift_ppm * 1e-6)
            delays.append(line.clock.anchor_ns + round(elapsed) - report.ntp_ns)
    if len(delays) < _FEWEST or max(delays) - min(delays) > _AGREE_NS:
        return None
    return round(float(np.median(delays)))


def align_by_reports(
    legs: Mapping[Side, LegColumns],
    streams: Mapping[Side, Sequence[OrderedStream]],
    reports: Sequence[SenderReport],
) -> list[str]:
    """Move the leg with the longer delay earlier by the difference; returns what to say of it in the report."""
    if not reports:
        return []
    caller, called = (_delay_ns(streams[side], reports) for side in ("caller", "called"))
    if caller is None or called is None:
        return []
    lawful = [-_CLOCK_ERROR_NS <= delay <= _LONGEST_DELAY_NS for delay in (caller, called)]
    if not all(lawful):
        return ["RTCP sender reports come from unsynchronised clocks; legs aligned by arrival"]
    later: Side = "caller" if caller > called else "called"
    difference = abs(caller - called)
    if difference > _MOST_NS:
        # One sender's clock a tenth of a second wrong looks like that much delay; a path that long is rarer.
        return [
            f"RTCP sender reports put the {later}'s leg {difference / 1e6:.1f} ms earlier than it arrived, more than "
            "paths differ by; legs aligned by arrival"
        ]
    for span in legs[later].spans:
        span.anchor_ns -= difference
    return [f"RTCP sender reports moved the {later}'s leg {difference / 1e6:.1f} ms earlier"]
