"""Rows of a stream gathered and surveyed in one pass: equal to NumPy's way, whatever the rows, and never outside."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay.codecs import STATIC
from callreplay.order.columns import Columns
from callreplay.order.gathering import Survey, audio_rows, bunched, restarts
from callreplay.order.payloads import PayloadTables, Resolution
from callreplay.order.placing import codec_runs
from callreplay.order.sequence import usual_step
from callreplay.packets.arena import Arena
from callreplay.packets.rows import leaps, most_below_second

Source = Any  # columns of several types, for a call that takes them one by one


def _source(rows: int, seed: int = 1) -> Source:
    random = np.random.default_rng(seed)
    kinds = (np.int64, np.uint16, np.uint32, np.int64, np.uint16, np.uint8, np.uint8)
    return tuple(random.integers(0, 200, rows).astype(kind) for kind in kinds)


def _take(
    source: Source, rows: NDArray[np.int32] | None, first: int, count: int, step: int
) -> tuple[Columns, Survey]:
    columns, survey = Columns.empty(count, Arena()), Survey()
    for at in range(0, count, 7):  # in blocks, as long streams are
        start = first + at * (1 if rows is not None else step)
        survey.take(*source, rows, start, min(7, count - at), step, at, *columns.each()[:7])  # type: ignore[call-arg]
    return columns, survey


@pytest.mark.parametrize(("first", "count", "step"), [(0, 40, 1), (1, 20, 2), (5, 0, 1), (39, 1, 3)])
def test_rows_are_those_of_the_slice(first: int, count: int, step: int) -> None:
    source = _source(40)
    columns, survey = _take(source, None, first, count, step)
    for target, column in zip(columns.each(), source, strict=False):
        assert target.tolist() == column[first : first + count * step : step].tolist()
    assert survey.rows == count


def test_what_is_seen_is_what_numpy_sees() -> None:
    source, rows = _source(60), np.random.default_rng(2).permutation(60)[:45].astype(np.int32)
    columns, survey = _take(source, rows, 0, len(rows), 1)
    arrival, size, types = columns.arrival_ns, columns.size, columns.payload_type
    assert (survey.first_ns, survey.last_ns) == (arrival.min(), arrival.max())
    assert (survey.smallest, survey.largest) == (size.min(), size.max())
    assert survey.in_time is bool(np.all(np.diff(arrival) >= 0))
    counts = np.bincount(types, minlength=256)
    assert survey.present() == {kind: count for kind, count in enumerate(counts.tolist()) if count}
    kinds = (np.arange(256) % 2).astype(np.uint8)
    assert survey.commonest(kinds, 1) == int((counts * kinds).argmax())
    assert survey.commonest(kinds, 7) == -1


@pytest.mark.parametrize("rows", [[0, 40], [-1], [3, 2**31 - 1]])
def test_rows_that_are_not_there_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="no such rows"):
        _take(_source(40), np.array(rows, np.int32), 0, len(rows), 1)


def test_places_beyond_the_targets_are_refused() -> None:
    columns = Columns.empty(4, Arena())
    for first, count, at in ((0, 5, 0), (0, 1, 4), (0, 1, -1), (2, 3, 0)):
        with pytest.raises(ValueError, match=r"no such rows|no room"):
            Survey().take(  # type: ignore[call-arg]
                *_source(9),
                np.arange(4, dtype=np.int32),
                first,
                count,
                1,
                at,
                *columns.each()[:7],
            )


@pytest.mark.parametrize("seed", range(8))
def test_bunches_are_what_the_differences_say(seed: int) -> None:
    arrival = np.cumsum(np.random.default_rng(seed).integers(-5, 40, 200)).astype(np.int64)
    head = arrival[:64]
    early = int(head.max() - head.min()) < 63 * 20.0 / 2
    apart = bool(np.any(np.abs(np.diff(arrival[::16])) < 16 * 20.0 / 2))
    assert bunched(arrival, 64, 16, 20.0) is (early or apart)
    assert not bunched(arrival[:2], 64, 16, 20.0)


def test_marks_of_rows_are_found() -> None:
    flags = np.array([128 | 8, 0, 128, 8], np.uint8)
    assert (restarts(flags), audio_rows(flags)) == (1, (1, 2))
    assert audio_rows(flags[3:]) == (-1, -1)
    assert audio_rows(flags[:0]) == (-1, -1)


def test_runs_of_codecs_take_noise_along() -> None:
    types, flags = np.array([5, 1, 1, 5, 2, 5], np.uint8), np.array([8, 0, 0, 8, 0, 8], np.uint8)
    table = np.arange(256, dtype=np.uint8)
    assert codec_runs(types, flags, table) == [(0, 4, 1), (4, 6, 2)]
    assert codec_runs(types[:1], flags[:1], table) == [(0, 1, 5)]
    assert codec_runs(types[:0], flags[:0], table) == []


@pytest.mark.parametrize(
    "steps", [[160] * 9, [80, 160, 160], [160, 80], [80, 80, 240, 240, 240, 80, 80], [65536, 7]]
)
def test_the_usual_step_is_the_commonest_and_of_equals_the_least(steps: list[int]) -> None:
    sequence, timestamp = np.arange(len(steps) + 1), np.cumsum([0, *steps])
    none = np.zeros(len(sequence), np.uint8)
    counts = np.bincount([step for step in steps if step < 65536])
    assert usual_step(sequence, timestamp, none, none, np.ones(256, np.uint8)) == int(counts.argmax())


def test_tables_that_are_kept_are_each_streams_own() -> None:
    first, second = (PayloadTables.build(Resolution({0: STATIC[0]}), 160) for _ in range(2))
    first.kinds[0], first.typical[0], first.durations[0, 160] = 0, 1, 1
    assert (second.kinds[0], second.typical[0], second.durations[0, 160]) == (1, 160, 160)


def test_a_leap_of_the_times_is_seen_either_way() -> None:
    times = np.array([0, 10, 15, 12], np.int64)
    assert not leaps(times, 10, 3)
    assert leaps(times, 9, 3)
    assert leaps(times, 10, 2)
    assert leaps(np.array([-(2**63), 2**63 - 1]), 10, 10)


def test_the_first_records_tell_what_they_have_below_the_second() -> None:
    def record(below: int, captured: int, body: int, order: str) -> bytes:
        return np.array([1, below, captured, captured], f"{order}u4").tobytes() + bytes(body)

    for order, big in (("<", False), (">", True)):
        data = bytes(24) + record(5, 3, 3, order) + record(999_999_999, 0, 0, order) + record(7, 2, 0, order)
        octets = np.frombuffer(data, np.uint8)
        assert most_below_second(octets, big, 16, 64) == 999_999_999
        assert most_below_second(octets, big, 16, 1) == 5
        for short in range(len(data)):
            assert most_below_second(octets[:short], big, 16, 64) >= 0
        absurd = np.frombuffer(bytes(24) + record(0, (1 << 18) + 1, 0, order), np.uint8)
        assert most_below_second(absurd, big, 16, 64) == -1
