"""Comparing ordered legs with what the simulation knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import delay_ns
from callreplay.model import LegColumns, PacketFlag
from callreplay.order.legs import LegMedia
from tests.scenario.call import Packet, row_numbers


def audio_rows(columns: LegColumns) -> NDArray[np.intp]:
    """Rows that carry a packet number."""
    return np.flatnonzero(((columns.flags & PacketFlag.NOISE) == 0) & (columns.size >= 8))


def row_times(columns: LegColumns) -> NDArray[np.float64]:
    """Absolute time of each row on the timeline, in ms since the first span's anchor."""
    times = np.empty(len(columns.offset), np.float64)
    for span in columns.spans:
        scale = 1e3 / span.codec.clock_rate_hz / (1 + span.drift_ppm * 1e-6)
        anchor = (span.anchor_ns - columns.spans[0].anchor_ns) * 1e-6
        anchor += delay_ns(span.codec) * 1e-6  # what was spoken is heard that much later in what is decoded
        times[span.first : span.stop] = anchor + columns.timestamp[span.first : span.stop] * scale
    return times


def numbers(leg: LegMedia) -> NDArray[np.int64]:
    """The packet numbers of a leg's audio rows, in media order."""
    return row_numbers(leg.columns.data, leg.columns.offset[audio_rows(leg.columns)])


def placement_errors_ms(leg: LegMedia, packets: Sequence[Packet]) -> NDArray[np.float64]:
    """Where each audio packet stands minus where it belongs."""
    truth = {packet.number: packet.truth_ns for packet in packets}
    anchor = leg.columns.spans[0].anchor_ns
    wanted = np.array([(truth[int(number)] - anchor) * 1e-6 for number in numbers(leg)])
    errors: NDArray[np.float64] = row_times(leg.columns)[audio_rows(leg.columns)] - wanted
    return errors


def duration_ms(leg: LegMedia) -> float:
    """From the first media to the end of the last."""
    return (leg.end_ns - leg.start_ns) * 1e-6
