"""Leaps back and ahead: restarts by any count are played where they arrived; late packets stay late ones."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callreplay.order.legs import LegMedia, assemble
from tests.cases import UNSHRUNK
from tests.scenario.call import Call, Network, Packet, SyntheticScan
from tests.scenario.truth import numbers, placement_errors_ms


def _leg(packets: list[Packet]) -> LegMedia:
    return assemble(SyntheticScan(packets))[0].caller


@settings(max_examples=25, deadline=None, phases=UNSHRUNK)
@given(
    before=st.lists(st.integers(30, 400), min_size=1, max_size=3),
    to=st.sampled_from([0, 0, 1, 60_000]),
    first=st.integers(0, 300),
    pause_s=st.sampled_from([0.0, 0.0, 0.5, 7.0]),
    jitter_ms=st.sampled_from([0.0, 15.0, 60.0]),
    loss=st.sampled_from([0.0, 0.0, 0.05]),
    seed=st.integers(0, 99),
)
@example(before=[175, 300], to=0, first=0, pause_s=0.0, jitter_ms=0.0, loss=0.0, seed=0)
@example(before=[397, 355, 291], to=0, first=10, pause_s=7.0, jitter_ms=15.0, loss=0.05, seed=92)
@example(before=[297, 208], to=60_000, first=34, pause_s=0.5, jitter_ms=60.0, loss=0.05, seed=23)
@example(before=[12], to=0, first=0, pause_s=0.0, jitter_ms=0.0, loss=0.0, seed=0)
def test_a_sender_that_goes_back_by_one_count_of_both_began_anew(
    before: list[int], to: int, first: int, pause_s: float, jitter_ms: float, loss: float, seed: int
) -> None:
    """Sequence and timestamp are set to zero, or to one known place, as one sender does that is started again."""
    call = Call.between()
    sender = call.caller
    sender.sequence, sender.timestamp = to + first, (to + first) * 160
    for index, count in enumerate([*before, 200]):
        if index:
            sender.sequence, sender.timestamp = to, to * 160
            sender.advance(pause_s, timestamp_runs=False)
        sender.talk(count * 0.02)
    arrived = Network(20, jitter_ms, loss, seed=seed).carry(sender.packets, sender.start_ns)
    leg = _leg(arrived)
    assert len(numbers(leg)) >= len(arrived) - 2 * len(before)
    errors = placement_errors_ms(leg, sender.packets)
    assert np.abs(errors).max() <= jitter_ms + 5
    assert not (leg.columns.gaps["reason"] == 3).any() or pause_s > 2
    assert leg.statistics.lost <= len(sender.packets) - len(arrived) + 2 * len(before)


@settings(max_examples=15, deadline=None, phases=UNSHRUNK)
@given(
    depth=st.integers(10, 1500),
    count=st.integers(1, 60),
    at=st.integers(200, 1200),
    burst=st.booleans(),
    jitter_ms=st.sampled_from([0.0, 15.0, 60.0]),
)
def test_late_packets_are_no_restart(depth: int, count: int, at: int, burst: bool, jitter_ms: float) -> None:
    """A run of packets comes ``depth`` packets late, among those sent then: at pace, or in one lump."""
    call = Call.between()
    call.caller.talk(60)
    arrived = Network(20, jitter_ms, seed=count).carry(call.caller.packets, call.caller.start_ns)
    for packet in arrived[at : at + count]:
        packet.arrival_ns += depth * 20_000_000
    if burst:
        for packet in arrived[at : at + count]:
            packet.arrival_ns = arrived[at].arrival_ns
    leg = _leg(arrived)
    assert leg.statistics.restarts == 0
    assert numbers(leg).tolist() == list(range(3000))


@pytest.mark.parametrize("lag", [10, 40, 150, 290])
def test_a_second_path_is_no_restart(lag: int) -> None:
    """Every packet twice in one stream, the copies a fixed time later: their tail goes on when the first has ended."""
    call = Call.between()
    call.caller.talk(6)
    arrived = Network().carry(call.caller.packets, call.caller.start_ns)
    copies = [dataclasses.replace(p, arrival_ns=p.arrival_ns + lag * 20_000_000) for p in arrived]
    leg = _leg([*arrived, *copies])
    assert leg.statistics.restarts == 0
    assert numbers(leg).tolist() == list(range(300))
    assert leg.statistics.duplicates == 300


def test_a_file_played_in_a_loop_is_played_each_time() -> None:
    """A load generator that replays its file repeats numbers, timestamps and payloads: it is heard each time."""
    call = Call.between()
    call.caller.talk(8)
    arrived = Network().carry(call.caller.packets, call.caller.start_ns)
    again = [dataclasses.replace(p, arrival_ns=p.arrival_ns + 8_000_000_000) for p in arrived]
    leg = _leg([*arrived, *again])
    assert leg.statistics.restarts == 1
    assert len(numbers(leg)) == 800
    assert (leg.end_ns - leg.start_ns) * 1e-9 == pytest.approx(16, abs=0.01)


@pytest.mark.parametrize("ahead", [500, 2000, 2990, 12_000])
def test_a_leap_ahead_at_pace_is_a_restart_and_not_a_loss(ahead: int) -> None:
    call = Call.between()
    call.caller.talk(6)
    call.caller.sequence += ahead
    call.caller.timestamp += ahead * 160
    call.caller.talk(6)
    for packet in call.caller.packets:
        packet.sequence &= 0xFFFF
    leg = _leg(Network().carry(call.caller.packets, call.caller.start_ns))
    assert leg.statistics.lost == 0
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5
