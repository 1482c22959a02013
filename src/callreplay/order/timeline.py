"""Where a sender's clock stands on the capture's: anchor and drift from the lower envelope of arrival minus media time.

Delay only ever adds. So the least of (arrival - media time) over many packets is the sender's clock plus the smallest
delay of the network, whatever the jitter, and its slope over the call is the error of the sender's clock. A packet
leaves when its last sample was spoken, so the media time of an arrival is that of the packet's end: legs whose packets
are of different length would lie apart by the difference otherwise. Truth, for the tests and for readers: media stand
where they were spoken, plus the smallest delay their network showed.

The slope is the median over many pairs of window minima a quarter of the call apart (Theil and Sen): a step of the
route touches the few pairs that straddle it and leaves the median where it was; least squares would tilt.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.order.placing import short_floor, window_minima
from callreplay.order.slopes import slope as slope_of

__all__ = ["Clock", "fit_clock", "stretch_shifts"]

_CORRECT_ABOVE_NS: Final = 1e6
_SURE: Final = 3.0  # standard errors from nought
_APART_NS: Final = 60e6  # a window's least this far below all others' is one packet's, and
_NEAR_NS: Final = 30e6
_SUPPORT: Final = 3  # believed where so many packets are as near to it
_LARGEST_PPM: Final = 3000.0
_SHORTEST_S: Final = 60.0
_FEWEST_IN_STRETCH: Final = 25
_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Clock:
    """A sender's clock against the capture's.

    ``anchor_ns`` is the absolute time of tick 0 and ``drift_ppm`` what the timeline corrects (0 where the estimate is
    small or unsure); ``estimated_ppm`` is the estimate itself, ``error_ppm`` its standard error (NaN: none was made).
    """

    anchor_ns: int
    drift_ppm: float
    estimated_ppm: float
    error_ppm: float


def _window_ticks(ticks: int, clock_rate_hz: int) -> int:
    """A twenty-fourth of the call, between one second and ten: enough windows for a median, enough packets in each."""
    window = ticks // 24
    if window <= clock_rate_hz:
        return clock_rate_hz
    return window if window <= 10 * clock_rate_hz else 10 * clock_rate_hz


def fit_clock(
    ends: NDArray[np.int64],
    arrival_ns: NDArray[np.int64],
    flags: NDArray[np.uint8],
    clock_rate_hz: int,
    *,
    correct: bool = True,
    shift: int = 0,
) -> Clock:
    """Fit one sender clock to rows of one line of ticks; each row's audio ends at ``ends`` plus ``shift``, in ticks.

    The drift is corrected when it is worth more than a millisecond over the call, more than three standard errors from
    nought, and at most 3000 ppm (beyond that the timestamps are wrong, not the quartz).
    """
    timestamp = ends
    if len(timestamp) == 0:
        return Clock(0, 0.0, _NAN, _NAN)
    origin = arrival_ns.item(0)
    ns_per_tick = 1e9 / clock_rate_hz
    window = _window_ticks(timestamp.item(-1) - timestamp.item(0), clock_rate_hz)
    # The most there are of, and nothing comes of them but the least.
    known = short_floor(timestamp, arrival_ns, flags, clock_rate_hz, window, _SHORTEST_S, _APART_NS, shift)
    if known is not None:
        return Clock(origin + round(known), 0.0, _NAN, _NAN)
    stretch, ticks, least, _ = window_minima(timestamp, arrival_ns, flags, origin, ns_per_tick, window, shift)
    if len(least) == 0:
        return Clock(origin - round((int(timestamp[0]) + shift) * ns_per_tick), 0.0, _NAN, _NAN)
    duration = ticks.item(-1) / clock_rate_hz - ticks.item(0) / clock_rate_hz
    estimated, error, drift = _NAN, _NAN, 0.0
    if duration >= _SHORTEST_S:
        slope, error = slope_of(stretch, ticks, least, clock_rate_hz, _SHORTEST_S / 2)
        # d falls by p / (1 + p) for a clock that is p too fast.
        estimated = -slope / (1 + slope * 1e-6)
        worth = abs(estimated) * duration * 1e3 > _CORRECT_ABOVE_NS
        sure = abs(estimated) > _SURE * error and abs(estimated) <= _LARGEST_PPM
        drift = estimated if correct and worth and sure else 0.0
    lifted = least if drift == 0.0 else least + ticks * ns_per_tick * (drift * 1e-6 / (1 + drift * 1e-6))
    levels: list[float] = sorted(lifted.tolist())
    # One window in fifty may be a glitch of the capture's clock.
    floor = levels[len(levels) // 50]
    if 4 <= len(levels) < 50 and levels[1] - levels[0] > _APART_NS:
        # One packet that came early would make all others late.
        scale = ns_per_tick / (1 + drift * 1e-6)
        near = arrival_ns - origin - (timestamp + shift) * scale <= floor + _NEAR_NS
        if np.count_nonzero(near) < _SUPPORT:
            floor = levels[1]
    return Clock(origin + round(floor), drift, estimated, error)


def stretch_shifts(
    ends: NDArray[np.int64],
    arrival_ns: NDArray[np.int64],
    flags: NDArray[np.uint8],
    clock_rate_hz: int,
) -> NDArray[np.int64]:
    """Fine corrections, in ticks, of each stretch between restarts: its envelope against the first one's.

    Stretches of fewer than 25 packets take the correction of the stretch before.
    """
    timestamp = ends
    restarts = int(np.count_nonzero(flags[1:] & 128))
    shifts = np.zeros(restarts + 1, np.int64)
    if restarts == 0 or len(timestamp) == 0:
        return shifts
    origin = int(arrival_ns[0])
    ns_per_tick = 1e9 / clock_rate_hz
    window = _window_ticks(int(timestamp[-1] - timestamp[0]), clock_rate_hz)
    stretch, ticks, least, packets = window_minima(timestamp, arrival_ns, flags, origin, ns_per_tick, window)
    slope, error = slope_of(stretch, ticks, least, clock_rate_hz, _SHORTEST_S / 2)
    if not abs(slope) > 3 * error or abs(slope) > _LARGEST_PPM:
        slope = 0.0
    level = least - ticks * ns_per_tick * slope * 1e-6
    first: float | None = None
    for one in range(restarts + 1):
        rows = stretch == one
        if packets[rows].sum() < _FEWEST_IN_STRETCH:
            shifts[one] = shifts[one - 1] if one else 0
            continue
        floor = float(level[rows].min())
        if first is None:
            first = floor
        shifts[one] = round((floor - first) / ns_per_tick)
    return shifts
