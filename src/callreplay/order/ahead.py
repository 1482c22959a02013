"""Audio that is sent ahead of its time: a bot's answer that arrives faster than it is spoken plays where it arrived.

The lower envelope of arrival minus media time (see timeline.py) is the sender's clock only while the sender sends in
time. A packet that is sent ahead lies below it, by as much as it is ahead, and would drag its whole leg to before it
was there. A queue on the way makes lumps too, but of packets that were held back: these end where packets in time lie,
and do not go below.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.model import PacketFlag
from callreplay.order.columns import Columns
from callreplay.order.gathering import bunched
from callreplay.order.payloads import Kind, PayloadTables
from callreplay.order.sequence import STRAY

__all__ = ["play_ahead"]

_HEAD: Final = 64  # packets whose pace is looked at first
_RUN: Final = (
    16  # packets, one after the other, that come in half of their time: jitter alone does not do that
)
_PAUSE_S: Final = 0.5  # in which nothing arrives: a spurt ends where the timestamps pause as well, or after
_LONG_S: Final = 1.0  # of it
_SILENT_S: Final = 0.2
_AHEAD_S: Final = 0.3  # that a spurt must be ahead of its time at least
_PREBUFFER_S: Final = 1.0  # where it goes on in time after that
_DISORDER_S: Final = 0.15
_DISORDERED: Final = 0.02  # of the packets
_PACE: Final = 0.7  # of its time or less


@dataclass(slots=True)
class _Spurt:
    """Rows ``first`` to ``stop`` (of audio); ``start`` and ``least`` are arrival minus media time, in seconds."""

    first: int
    stop: int
    media_s: float
    ahead_s: float  # how far the fastest part of it gets ahead
    burst: bool
    start: float
    least: float


def play_ahead(columns: Columns, tables: PayloadTables, clock_hz: int, step_ticks: int) -> str:
    """Give packets that were sent ahead of their time the arrival that they would have had in time, in place.

    Rows are sorted by number. Returns what must be said of it, or ''.
    """
    if not _suspected(columns, clock_hz, step_ticks):
        return ""
    audio = (tables.kinds == Kind.AUDIO) & (tables.clocks == clock_hz)
    plain = (columns.flags & PacketFlag.REDUNDANT) == 0
    rows = np.flatnonzero(audio[columns.payload_type] & plain & (columns.sequence != STRAY))
    if len(rows) < 2:
        return ""
    stamp = columns.timestamp[rows]
    since = np.diff(stamp, prepend=stamp[:1]).astype(np.uint32).view(np.int32)
    media = np.cumsum(since.astype(np.int64)) / clock_hz
    arrival = (columns.arrival_ns[rows] - columns.arrival_ns[rows[0]]) * 1e-9
    if np.count_nonzero(np.diff(arrival) < -_DISORDER_S) > _DISORDERED * len(arrival):
        return (
            ""  # out of order by more than any network's jitter: arrival tells nothing of the sender's pace
        )
    spurts = _spurts(media, arrival, step_ticks / clock_hz)
    chosen = _ahead(spurts, media)
    if not chosen:
        return ""
    moved = 0
    base, packet_s = -np.inf, step_ticks / clock_hz
    for spurt in spurts:
        if spurt not in chosen:
            continue
        # A packet in time comes when its last sample was spoken. What comes while the spurt before still plays
        # goes on from it.
        base = base if spurt.start < base + _SILENT_S else spurt.start
        mine = slice(spurt.first, spurt.stop)
        due = columns.arrival_ns[rows[0]] + np.rint((media[mine] + base + packet_s) * 1e9).astype(np.int64)
        moved += int(np.count_nonzero(due > columns.arrival_ns[rows[mine]] + 1_000_000))
        columns.arrival_ns[rows[mine]] = np.maximum(due, columns.arrival_ns[rows[mine]])
    most = max(spurt.ahead_s for spurt in chosen)
    return f"{moved} packets were sent up to {most:.1f} s ahead of their time; played from where they arrived"


def _suspected(columns: Columns, clock_hz: int, step_ticks: int) -> bool:
    """Whether packets arrive in bunches, at the start or altogether: most streams are let go here."""
    return bunched(columns.arrival_ns, _HEAD, _RUN, step_ticks * 1e9 / clock_hz)


def _spurts(media: NDArray[np.float64], arrival: NDArray[np.float64], packet_s: float) -> list[_Spurt]:
    gap, step = np.diff(arrival), np.diff(media)
    ends = (gap > _PAUSE_S) & ((step > packet_s + _SILENT_S) | (gap > _LONG_S))
    edges = [0, *(np.flatnonzero(ends) + 1).tolist(), len(media)]
    level = arrival - media
    found = []
    for first, stop in pairwise(edges):
        mine = level[first:stop]
        lasts = float(media[stop - 1] - media[first]) + packet_s
        took = float(arrival[stop - 1] - arrival[first])
        least = float(mine.min())
        # the longest part from the start that comes in a quarter of its time
        quick = np.flatnonzero(
            arrival[first:stop] - arrival[first] <= 0.25 * (media[first:stop] - media[first])
        )
        head = float(media[first + int(quick[-1])] - media[first]) if len(quick) else 0.0
        whole = lasts - took > _AHEAD_S and took < _PACE * lasts
        found.append(
            _Spurt(
                first,
                stop,
                lasts,
                float(mine[0]) - least,
                whole or head >= _PREBUFFER_S,
                float(mine[0]),
                least,
            )
        )
    return found


def _ahead(spurts: list[_Spurt], media: NDArray[np.float64]) -> list[_Spurt]:
    """Those spurts that were sent ahead of their time, and not held back by a queue."""
    bursts = [spurt for spurt in spurts if spurt.burst]
    timely = [spurt.least for spurt in spurts if not spurt.burst and spurt.media_s >= _PAUSE_S]
    if not bursts:
        return []
    if timely:
        return [spurt for spurt in bursts if spurt.least < min(timely) - _SILENT_S]
    if len(bursts) == 1:
        return bursts
    whole = bursts[:-1] if len(bursts) > 2 else bursts  # the last lump of a queue may be cut short
    starts, least = np.array([s.start for s in whole]), np.array([s.least for s in whole])
    silences = any(
        media[after.first] - media[before.stop - 1] > _SILENT_S + 0.12 for before, after in pairwise(bursts)
    )
    # A queue lets go of all it holds: its lumps all end where packets in time lie, wherever they begin.
    if np.ptp(least) < _SILENT_S and (np.ptp(starts) > _SILENT_S or not silences):
        return []
    return bursts
