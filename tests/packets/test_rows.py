"""Times that are more than a day off, mended row by row; whole captures are in test_containers, audio in
test_timeline_audio."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay.packets.rows import mend_times

T = 1_700_000_000_000_000_000
YEAR_NS = 365 * 86400 * 10**9


def _mend(
    arrival_ns: list[int] | NDArray[np.int64],
    ticks: list[int] | NDArray[np.int64],
    streams: list[int] | None = None,
) -> tuple[list[int], int, bool]:
    """The times, how many rows were mended, and whether the times are out of order; the flags stay as they were."""
    times = np.array(arrival_ns, np.int64)
    flags = np.full(len(times), 0x61, np.uint8)
    stamps = (np.array(ticks, np.int64) & 0xFFFFFFFF).astype(np.uint32)
    stream = np.zeros(len(times), np.int32) if streams is None else np.array(streams, np.int32)
    mended, unordered = mend_times(times, stamps, stream, flags)
    assert (flags == 0x61).all()
    assert unordered == bool((np.diff(times) < 0).any())
    return times.tolist(), mended, unordered


@pytest.mark.parametrize("step_ns", [20_000_000, -20_000_000])
@pytest.mark.parametrize("clock_rate_hz", [8000, 44_100, 48_000])
def test_every_row_of_an_even_stream_gets_its_time_back(step_ns: int, clock_rate_hz: int) -> None:
    """In a file in reverse too; timestamps wrap on the way."""
    times = [T + i * step_ns for i in range(20)]
    ticks = [2**32 - 1000 + i * clock_rate_hz // 50 * (1 if step_ns > 0 else -1) for i in range(20)]
    for row in range(20):
        for wrong in (0, T + YEAR_NS):
            found, mended, _ = _mend([*times[:row], wrong, *times[row + 1 :]], ticks)
            assert (found, mended) == (times, 1)


def test_rows_one_by_one_of_two_streams() -> None:
    """Every other row is wrong: stream 0 lost them all but the first, and the last of stream 1 has no row after it."""
    times = [T + i * 10_000_000 for i in range(12)]
    ticks = [i // 2 * 160 for i in range(12)]
    wrong = [times[i] if i % 2 == 0 else T - YEAR_NS for i in range(12)]
    assert _mend(wrong, ticks, [i % 2 for i in range(12)])[1] == 6
    assert _mend(wrong, ticks, [0] * 12)[0][::2] == times[::2]
    # All of a stream wrong: the row before tells.
    found = _mend(wrong, ticks, [i % 2 for i in range(12)])[0]
    assert found == [times[i - i % 2] for i in range(12)]


def test_a_row_is_never_earlier_than_its_neighbours_make_it() -> None:
    generator = np.random.default_rng(1)
    ticks = np.cumsum(generator.integers(1, 5, 500)) * 160
    sent = T + ticks * 125_000
    times = np.sort(sent + generator.integers(0, 15_000_000, 500))
    late = times - sent
    for row in range(1, 499):
        wrong = times.copy()
        wrong[row] = 0
        found = _mend(wrong, ticks)[0][row] - int(sent[row])
        assert min(late[row - 1], late[row + 1]) <= found <= max(late[row - 1], late[row + 1]) + 1


@pytest.mark.parametrize("timestamps", ["still", "leap", "backwards"])
def test_a_row_beyond_the_others_is_late_rather_than_early(timestamps: str) -> None:
    """Where the others' timestamps tell no pace: at the end that of 8 kHz, at the start none."""
    ticks = {
        "still": [0] * 8,
        "leap": [i * 10**8 for i in range(8)],
        "backwards": [-i * 160 for i in range(8)],
    }[timestamps]
    times = [T + i * 20_000_000 for i in range(8)]
    ticks = [*ticks, ticks[-1] + 160]
    assert _mend([*times, 0], ticks)[0] == [*times, times[-1] + 20_000_000]
    if timestamps != "backwards":
        ticks = [ticks[0] - 160, *ticks[:-1]]
        assert _mend([0, *times], ticks)[0] == [times[0], *times]


def test_a_leg_of_two_packets() -> None:
    streams = [0, 0, 0, 1, 0, 1]
    times = [T + i * 10_000_000 for i in range(6)]
    ticks = [0, 80, 160, 0, 240, 160]
    found = _mend([*times[:5], 0], ticks, streams)[0]
    assert found == [*times[:5], times[3] + 20_000_000]


def test_times_at_the_edge_of_64_bits() -> None:
    edge = 2**63 - 1
    times = [edge] * 6
    for row in range(6):
        assert _mend([*times[:row], 0, *times[row + 1 :]], [i * 160 for i in range(6)])[1] == 1


def test_columns_of_unequal_length_are_refused() -> None:
    full, short = np.zeros(3, np.int64), np.zeros(2, np.uint32)
    with pytest.raises(ValueError, match="length"):
        mend_times(full, short, np.zeros(3, np.int32), np.zeros(3, np.uint8))
    wrong = np.array([T, 0, T], np.int64)
    with pytest.raises(ValueError, match="without a stream"):
        mend_times(wrong, np.zeros(3, np.uint32), np.full(3, -1, np.int32), np.zeros(3, np.uint8))
