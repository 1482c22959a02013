"""Sequence numbers: wraps, restarts, lateness at any depth, copies."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.order.legs import LegMedia, assemble
from callreplay.order.sequence import STRAY, histogram, unwrap, usual_step
from tests.scenario.call import Call, Direction, Network, Packet, SyntheticScan
from tests.scenario.truth import duration_ms, numbers, placement_errors_ms

TABLE = np.ones(256, np.uint8)


def keys(
    sequence: list[int], timestamp: list[int] | None = None
) -> tuple[list[int], tuple[bool, int, int, int, int, float, float]]:
    column = np.array(sequence, np.int64)
    times = np.array([s * 160 & 0xFFFFFFFF for s in sequence] if timestamp is None else timestamp, np.int64)
    arrival = np.arange(len(sequence), dtype=np.int64) * 20_000_000
    zeros = np.zeros(len(sequence), np.uint8)
    found = unwrap(column, times, arrival, zeros, zeros, TABLE, 160, 8000)
    return column.tolist(), found


def ordered(packets: list[Packet], *, sort: bool = True) -> LegMedia:
    return assemble(SyntheticScan(packets, sort=sort))[0].caller


def clean(seconds: float = 6) -> tuple[Direction, list[Packet]]:
    call = Call.between()
    call.caller.talk(seconds)
    return call.caller, Network().carry(call.caller.packets, call.caller.start_ns)


def test_in_order_is_known_without_sorting() -> None:
    found, (in_order, late, deepest, strays, epochs, *_) = keys([65534, 65535, 0, 1, 2])
    assert (in_order, late, deepest, strays, epochs) == (True, 0, 0, 0, 1)
    assert np.diff(found).tolist() == [1, 1, 1, 1]


def test_many_wraps() -> None:
    count = 3 * 65536 + 10
    sequence = [n & 0xFFFF for n in range(count)]
    found, (in_order, *_) = keys(sequence, [n * 160 & 0xFFFFFFFF for n in range(count)])
    assert in_order
    assert found[-1] - found[0] == count - 1


def test_two_in_order_prove_a_restart_and_one_does_not() -> None:
    times = [n * 160 for n in range(10)]
    found, (*_, strays, epochs, _, _) = keys(
        [10, 11, 12, 40000, 13, 14, 15, 16, 17, 18], [*times[:3], 7_000_000, *times[3:9]]
    )
    assert (strays, epochs) == (1, 1)
    assert found[3] == STRAY
    _, (*_, strays, epochs, _, _) = keys(
        [10, 11, 12, 40000, 40001, 40002], [0, 160, 320, 7_000_000, 7_000_160, 7_000_320]
    )
    assert (strays, epochs) == (0, 2)


def test_a_restart_just_behind_is_no_run_of_copies() -> None:
    sequence = [*range(50), *range(50)]
    times = [n * 160 for n in range(100)]  # the numbers begin again, time goes on
    _, (_, _, _, strays, epochs, *_) = keys(sequence, times)
    assert (strays, epochs) == (0, 2)


def test_a_long_loss_is_no_restart() -> None:
    count = 20_000
    found, (_, _, _, strays, epochs, *_) = keys([1, 2, 3, 3 + count, 4 + count])
    assert (strays, epochs) == (0, 1)
    assert found[3] - found[2] == count


def test_a_loss_of_more_than_a_lap_is_counted_whole() -> None:
    count = 70_000
    call = Call.between()
    call.caller.talk(1).advance(count * 0.02)
    call.caller.sequence += count
    call.caller.talk(1)
    call.caller.sequence &= 0xFFFF
    packets = Network().carry(call.caller.packets, call.caller.start_ns)
    assert ordered(packets).statistics.lost == count


def test_jitter_of_rfc_3550_by_hand() -> None:
    sequence = np.arange(4, dtype=np.int64)
    timestamp = sequence * 160
    arrival = np.array([0, 25, 40, 60], np.int64) * 1_000_000
    zeros = np.zeros(4, np.uint8)
    *_, mean, greatest = unwrap(sequence, timestamp, arrival, zeros, zeros, TABLE, 160, 8000)
    j1 = 40 / 16
    j2 = j1 + (40 - j1) / 16
    j3 = j2 - j2 / 16
    assert mean == pytest.approx((j1 + j2 + j3) / 3)
    assert greatest == pytest.approx(j2)


def test_columns_of_different_length_are_refused() -> None:
    zeros = np.zeros(3, np.uint8)
    with pytest.raises(ValueError, match="length"):
        unwrap(
            np.zeros(3, np.int64),
            np.zeros(2, np.int64),
            np.zeros(3, np.int64),
            zeros,
            zeros,
            TABLE,
            160,
            8000,
        )


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(60)), copies=st.lists(st.integers(0, 59), max_size=40), data=st.data())
def test_any_permutation_and_duplication_gives_the_same_columns(
    order: list[int], copies: list[int], data: st.DataObject
) -> None:
    direction, packets = clean(1.2)
    expected = ordered(packets).columns
    shuffled = [packets[index] for index in order]
    for index in copies:
        shuffled.insert(data.draw(st.integers(0, len(shuffled))), packets[index])
    # Same packets, other arrival: the order of arrival is the order of the list.
    start = direction.start_ns
    shuffled = [
        dataclasses.replace(packet, arrival_ns=start + 20_000_000 * position)
        for position, packet in enumerate(shuffled)
    ]
    leg = ordered(shuffled, sort=False)
    assert leg.columns.timestamp.tolist() == expected.timestamp.tolist()
    assert np.diff(leg.columns.sequence).tolist() == np.diff(expected.sequence).tolist()
    assert numbers(leg).tolist() == list(range(60))
    assert leg.statistics.duplicates == len(copies)
    assert leg.statistics.lost == 0


def test_reordering_at_any_depth() -> None:
    _, packets = clean(10)
    packets[100].arrival_ns += 6_010_000_000  # 300 packets late
    leg = ordered(packets)
    assert numbers(leg).tolist() == list(range(500))
    assert leg.statistics.reorder_depth == 300
    assert leg.statistics.late == 1
    assert leg.statistics.reordered == 1
    assert len(leg.columns.gaps) == 0


def test_capture_out_of_time_order_is_sorted() -> None:
    _, packets = clean(2)
    leg = ordered(packets[1::2] + packets[::2], sort=False)
    assert numbers(leg).tolist() == list(range(100))
    assert leg.statistics.reordered == 0


def test_same_number_with_other_content_is_a_conflict() -> None:
    _, packets = clean(2)
    other = dataclasses.replace(packets[50], payload=b"\x11" * 160, arrival_ns=packets[50].arrival_ns + 1000)
    leg = ordered([*packets, other])
    assert leg.statistics.conflicts == 1
    assert leg.statistics.duplicates == 0
    assert numbers(leg).tolist() == list(range(100))


@pytest.mark.parametrize("wrap", [0, 65500])
def test_restart_of_both_counters_in_mid_call(wrap: int) -> None:
    call = Call.between()
    call.caller.sequence = wrap
    call.caller.talk(5)
    call.caller.sequence, call.caller.timestamp = 30_000, 77
    call.caller.advance(1.5).talk(5)
    packets = Network(20, 60, 0.05, seed=8).carry(call.caller.packets, call.caller.start_ns)
    leg = ordered(packets)
    assert leg.statistics.restarts == 1
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5
    assert duration_ms(leg) == pytest.approx(11_500, abs=45)
    assert len(numbers(leg)) == len(packets)


def test_histogram_and_usual_step() -> None:
    zeros = np.zeros(9, np.uint8)
    assert histogram(np.array([3, 3, 255], np.uint8))[[3, 255]].tolist() == [2, 1]
    sequence = np.array([1, 2, 3, 4, 9, 10, 11, 12, 13], np.int64)
    step = usual_step(sequence, sequence * 240, zeros, zeros, TABLE)
    assert step == 240
    assert usual_step(sequence[:1], sequence[:1], zeros[:1], zeros[:1], TABLE) == 0
