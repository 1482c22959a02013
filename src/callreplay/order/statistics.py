"""What a leg's packets say of its journey, as numbers for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.gaps import losses
from callreplay.order.mos import Quality, burst_ratio, estimate
from callreplay.order.streams import OrderedStream

__all__ = ["LegStatistics", "measure"]


@dataclass(slots=True)
class LegStatistics:
    """Counts of packets unless a unit says otherwise. Loss is by sequence number and is what the tap did not see."""

    packets: int = 0  # received: audio, comfort noise and events, copies included
    lost: int = 0  # numbers never seen, recovered ones included
    recovered: int = 0  # of those, filled by RFC 2198 redundancy
    lost_in_capture: int = 0  # of the lost: both directions stopped together, so the capture lost them
    late: int = 0  # more than 200 ms after the lower envelope of their sender's clock
    duplicates: int = 0
    conflicts: int = 0
    reordered: int = 0
    reorder_depth: int = 0  # greatest number of packets by which one came too late
    stale: int = 0
    strays: int = 0
    wild_timestamps: int = 0
    restarts: int = 0  # of sequence numbers
    shifts: int = 0  # leaps of the timestamps, or pauses they hid, bounded by arrival
    parallel: int = 0  # packets of another SSRC of the leg at the same time, set aside
    gaps: int = 0
    bursts: int = 0  # runs of lost packets
    loss_percent: float = 0.0
    burst_ratio: float = 1.0  # G.107: 1 for random loss, above when losses cling together
    jitter_ms: float = 0.0  # RFC 3550, mean over the leg
    jitter_max_ms: float = 0.0
    drift_ppm: float = 0.0  # estimate for the longest stream; 0 where none could be made
    drift_error_ppm: float = 0.0
    drift_corrected: bool = False
    ptime_ms: float = 0.0  # usual media time of a packet
    first_arrival_ns: int = 0
    last_arrival_ns: int = 0
    r_factor: float | None = None  # G.107, one-way delay taken as 100 ms or less
    mos: float | None = None
    mos_assumed: bool = False  # no figures for the codec in G.113; others stand in


def measure(streams: Sequence[OrderedStream], gaps: NDArray[np.void], codec: Codec | None) -> LegStatistics:
    """The statistics of a leg made of ``streams``; ``codec`` is its main one."""
    result = LegStatistics()
    if not streams:
        return result

    if len(streams) == 1:
        counts, (longest,) = streams[0].counts, streams
        result.packets, result.reorder_depth, result.late = longest.received, longest.deepest, longest.late
        rows = len(longest.columns.offset) or 1
        result.jitter_ms, result.jitter_max_ms = longest.jitter_ms * rows / rows, longest.jitter_max_ms
        result.first_arrival_ns, result.last_arrival_ns = longest.first_arrival_ns, longest.last_arrival_ns
    else:
        counts = _added([ordered.counts for ordered in streams])
        longest = _of_several(result, streams)
    result.lost, result.recovered = counts["lost"], counts["recovered"]
    result.duplicates, result.conflicts = counts["duplicates"], counts["conflicts"]
    result.reordered, result.stale, result.strays = counts["reordered"], counts["stale"], counts["strays"]
    result.wild_timestamps = counts["wild"] + counts["wild_noise"]
    result.restarts, result.shifts = counts["restarts"], counts["shifted"]
    if longest.lines:
        line = longest.lines[0]
        if len(longest.lines) > 1:
            line = max(longest.lines, key=lambda line: line.stop - line.first)
        if math.isfinite(line.clock.estimated_ppm):
            result.drift_ppm, result.drift_error_ppm = line.clock.estimated_ppm, line.clock.error_ppm
        result.drift_corrected = line.clock.drift_ppm != 0.0
        result.ptime_ms = 1000.0 * longest.step_ticks / line.clock_rate_hz
    _loss(result, gaps, codec)
    return result


def _of_several(result: LegStatistics, streams: Sequence[OrderedStream]) -> OrderedStream:
    """Put in what streams have together; returns the longest."""
    result.packets = sum(ordered.received for ordered in streams)
    result.reorder_depth = max(ordered.deepest for ordered in streams)
    result.late = sum(ordered.late for ordered in streams)
    result.jitter_max_ms = max(ordered.jitter_max_ms for ordered in streams)
    weights = [max(len(ordered.columns), 1) for ordered in streams]
    result.jitter_ms = float(np.average([ordered.jitter_ms for ordered in streams], weights=weights))
    result.first_arrival_ns = min(ordered.first_arrival_ns for ordered in streams)
    result.last_arrival_ns = max(ordered.last_arrival_ns for ordered in streams)
    return max(streams, key=lambda ordered: len(ordered.columns))


def _added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {key: sum(each[key] for each in counts) for key in counts[0]}


def _loss(result: LegStatistics, gaps: NDArray[np.void], codec: Codec | None) -> None:
    result.gaps = len(gaps)
    result.bursts, result.lost_in_capture = losses(gaps)
    expected = result.packets - result.duplicates + result.lost
    result.loss_percent = 100.0 * result.lost / expected if expected > 0 else 0.0
    result.burst_ratio = burst_ratio(result.lost, result.bursts, expected)
    quality: Quality | None = estimate(codec, result.loss_percent, result.burst_ratio) if codec else None
    if quality is not None:
        result.r_factor, result.mos, result.mos_assumed = quality.r, quality.mos, quality.assumed
