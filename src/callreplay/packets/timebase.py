"""The capture's own clock: where it is set in mid-capture, every stream leaps at once, and the times are put right.

A sender that holds its media leaps alone. Where all streams that send before and after a leap of the times go on with
the next number and the next timestamp, at their pace and by the same leap, no sender paused: the clock was set.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.clock import utc
from callreplay.deferred import dataclass
from callreplay.model import PacketFlag, RtpColumns
from callreplay.packets.rows import leaps as any_leaps

__all__ = ["Step", "mend_steps"]

_AHEAD_NS: Final = 1_000_000_000  # less is told from a stall of the capturing host by nothing
_BACK_NS: Final = 50_000_000
_MOST: Final = 256  # leaps that are looked at, the largest: bounds the work
_AROUND: Final = 8192  # rows before and after a leap
_STREAMS: Final = 64
_ROWS: Final = 48  # of a stream, on either side
_AGREE_NS: Final = 40_000_000
_CLOCKS_HZ: Final = np.array(
    [8000, 16000, 48000, 90000, 44100, 32000, 11025, 12000, 22050, 24000], np.float64
)
_JITTER: Final = 0.12  # so far may jitter take a clock that is reckoned from a second of packets
_BLOCK: Final = 1 << 16
_SANE_NS: Final = 946_684_800 * 10**9  # the year 2000: a clock before it was not set yet


@dataclass(frozen=True, slots=True)
class Step:
    """The capture's clock was set by ``leap_ns`` just before row ``row`` (capture order), with ``streams`` to show.

    ``after_ns`` is the time that the row had; ``counted_back``: the times before it were changed, not those after.
    """

    row: int
    leap_ns: int
    streams: int
    after_ns: int
    counted_back: bool


def mend_steps(columns: RtpColumns, warnings: list[str]) -> list[Step]:
    """Count times on over each step of the capture's clock, in place; rows are in capture order.

    Returns the steps, in order: what else was captured needs them too. The clock that stood first goes on, but where it
    told a time before the year 2000: then the one that it was set to is counted back.
    """
    steps = _steps(columns)
    arrival = columns.arrival_ns
    for step in steps:
        before = int(arrival[step.row - 1])
        if step.counted_back:
            arrival[: step.row] += step.leap_ns
        else:
            arrival[step.row :] -= step.leap_ns
        warnings.append(
            f"the capture's clock was set by {step.leap_ns / 1e9:+.3f} s at {utc(before)}: {step.streams} streams leap "
            "at once and go on without a break; times are counted on"
        )
    return steps


def _steps(columns: RtpColumns) -> list[Step]:
    rows, leaps = _candidates(columns.arrival_ns)
    found: list[Step] = []
    for row, rough in zip(rows.tolist(), leaps.tolist(), strict=True):
        if found and row - found[-1].row < 2:
            continue
        shown = _shown(columns, row)
        if len(shown) < 2:
            continue
        leap = float(np.median(shown))
        enough = leap >= _AHEAD_NS if rough > 0 else -leap >= _BACK_NS
        agree = int(np.count_nonzero(np.abs(shown - leap) <= _AGREE_NS))
        if enough and agree >= max(2, 0.75 * len(shown)):
            before, after = columns.arrival_ns[row - 1 : row + 1].tolist()
            found.append(Step(row, round(leap), agree, after, before < _SANE_NS <= after))
    return found


def _candidates(arrival: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows before which the times leap, and by how much (ns); the largest few, in order of rows."""
    rows, leaps = [], []
    if not any_leaps(arrival, _AHEAD_NS, _BACK_NS):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(1, len(arrival), _BLOCK):
        change = np.diff(arrival[start - 1 : start + _BLOCK])
        at = np.flatnonzero((change > _AHEAD_NS) | (change < -_BACK_NS))
        if len(at):
            rows.append(at + start)
            leaps.append(change[at])
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row, leap = np.concatenate(rows), np.concatenate(leaps)
    if len(row) > _MOST:
        largest = np.sort(np.argsort(-np.abs(leap), kind="stable")[:_MOST])
        row, leap = row[largest], leap[largest]
    return row, leap


def _shown(columns: RtpColumns, row: int) -> NDArray[np.float64]:
    """The leap before ``row``, in ns, as each stream around it shows it; 0 for one that pauses, leaps or bursts."""
    around = slice(max(0, row - _AROUND), min(len(columns.arrival_ns), row + _AROUND))
    stream = columns.stream[around]
    plain = (columns.flags[around] & PacketFlag.REDUNDANT) == 0
    middle = row - around.start
    both = np.intersect1d(stream[:middle], stream[middle:])
    shown = []
    for one in both[:_STREAMS].tolist():
        rows = np.flatnonzero((stream == one) & plain)
        split = int(np.searchsorted(rows, middle))
        near = rows[max(0, split - _ROWS) : split + _ROWS] + around.start
        split = min(split, _ROWS)
        if split < 2 or len(near) - split < 2:
            continue
        shown.append(_leap(columns, near, split))
    # what shows no leap is no witness for one: it counts as one of none
    return np.nan_to_num(np.array(shown, np.float64))


def _leap(columns: RtpColumns, rows: NDArray[np.int64], split: int) -> float:
    """By how much one stream's times leap between its rows before ``split`` and those from it on."""
    number = np.cumsum(np.diff(columns.sequence[rows].astype(np.int64), prepend=0).astype(np.int16))
    stamp = np.cumsum(np.diff(columns.timestamp[rows].astype(np.int64), prepend=0).astype(np.int32))
    arrival = columns.arrival_ns[rows]
    last, first = (
        int(number[:split].argmax()),
        split + int(number[split:].argmin()),
    )  # some overtake each other
    onward, step = number[first] - number[last], stamp[first] - stamp[last]
    usual = max(1.0, float(np.median(np.abs(np.delete(np.diff(stamp), split - 1)))))
    if not -4 <= onward <= 4 or abs(step) > (abs(onward) + 1) * usual:
        return float("nan")
    ends = ((0, split - 1), (split, len(rows) - 1))
    took = [int(arrival[stop] - arrival[start]) for start, stop in ends]
    ticks = [int(stamp[stop] - stamp[start]) for start, stop in ends]
    if min(took) <= 0 or min(ticks) <= 0 or not 1 / 3 < took[0] / ticks[0] * ticks[1] / took[1] < 3:
        return float("nan")
    ns_per_tick = sum(took) / sum(ticks)
    known = 1e9 / _CLOCKS_HZ
    nearest = float(known[np.argmin(np.abs(known / ns_per_tick - 1))])
    if abs(nearest / ns_per_tick - 1) < _JITTER:
        ns_per_tick = nearest
    line = arrival - stamp * ns_per_tick
    return _floor(line[split:]) - _floor(line[:split])


def _floor(line: NDArray[np.float64]) -> float:
    """The least delay but for one row: jitter only adds, and one row may be wrong."""
    return float(np.partition(line, min(1, len(line) - 1))[min(1, len(line) - 1)])
