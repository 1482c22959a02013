"""Gaps that only show when both legs are seen: late starts, early ends, and losses of the capture itself."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import delay_ns
from callreplay.model import GAP_DTYPE, GapReason, LegColumns, Span
from callreplay.order.arrange import ns_of, ticks_of
from callreplay.order.plain import long_losses

__all__ = ["mark_call_gaps"]

_LOST: Final = int(GapReason.LOST)
_LEAST_PACKETS: Final = 3
_TOGETHER_NS: Final = 60_000_000  # both ends of the two losses agree this well
_EDGE_NS: Final = 1_000_000  # and what the codecs' own delays set legs apart


def mark_call_gaps(caller: LegColumns, called: LegColumns) -> None:
    """Add LATE_START and EARLY_END, and turn LOST into CAPTURE where both directions stop and resume together.

    Networks do not lose both directions to the packet; a capture that drops does. Three packets or more on each side,
    beginning and ending within 60 ms of each other, are taken for the capture's loss.
    """
    _mark_capture(caller, called)
    legs = [leg for leg in (caller, called) if leg.spans]
    if not legs:
        return
    start = min([leg.spans[0].anchor_ns for leg in legs])
    last_ns = [ns_of(leg.spans[-1], leg.spans[-1].end_tick) for leg in legs]
    end = max([*last_ns, *[_end_ns(leg) for leg in legs if len(leg.spans) > 1]])
    edge = _EDGE_NS + max([delay_ns(leg.spans[0].codec) for leg in legs])
    for leg, stop in zip(legs, last_ns, strict=True):
        if stop + edge >= end and leg.spans[0].anchor_ns <= start + edge:
            continue
        first, last = leg.spans[0], leg.spans[-1]
        rows: list[tuple[int, int, int, int, int]] = []
        if first.anchor_ns - start > edge:
            ticks = ticks_of(first, first.anchor_ns - start)
            rows.append((0, -ticks, ticks, 0, GapReason.LATE_START))
        remaining = end - stop
        if remaining > edge:
            rows.append(
                (len(leg.spans) - 1, last.end_tick, ticks_of(last, remaining), 0, GapReason.EARLY_END)
            )
        if rows:
            merged = np.concatenate([leg.gaps, np.array(rows, GAP_DTYPE)])
            leg.gaps = merged[np.lexsort((merged["start"], merged["span"]))]


def _end_ns(leg: LegColumns) -> int:
    return max([ns_of(span, span.end_tick) for span in leg.spans])


def _losses(leg: LegColumns) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the gap table that are losses worth a comparison, with their absolute start and end, by start."""
    rows = np.flatnonzero((leg.gaps["reason"] == _LOST) & (leg.gaps["packets"] >= _LEAST_PACKETS))
    start, end = (
        np.array([_edge_ns(leg.spans, leg.gaps, row, at) for row in rows], np.int64) for at in (0, 1)
    )
    order = np.argsort(start, kind="stable")
    return rows[order], start[order], end[order]


def _edge_ns(spans: list[Span], gaps: NDArray[np.void], row: np.intp, end: int) -> int:
    gap = gaps[row]
    return ns_of(spans[int(gap["span"])], int(gap["start"]) + end * int(gap["ticks"]))


def _mark_capture(caller: LegColumns, called: LegColumns) -> None:
    if not long_losses(caller.gaps, _LEAST_PACKETS) or not long_losses(called.gaps, _LEAST_PACKETS):
        return
    rows, start, end = _losses(caller)
    other_rows, other_start, other_end = _losses(called)
    for row, one, two in zip(rows, start, end, strict=True):
        near = np.searchsorted(other_start, (one - _TOGETHER_NS, one + _TOGETHER_NS))
        for index in range(int(near[0]), int(near[1])):
            if abs(int(other_end[index]) - int(two)) <= _TOGETHER_NS:
                caller.gaps["reason"][row] = GapReason.CAPTURE
                called.gaps["reason"][other_rows[index]] = GapReason.CAPTURE
