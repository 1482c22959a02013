"""What is sent ahead of its time plays where it arrived; what a queue held back, or came early alone, moves nothing."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from callreplay.order.legs import LegMedia, assemble
from tests.cases import UNSHRUNK
from tests.scenario.call import Call, Network, Packet, SyntheticScan
from tests.scenario.truth import placement_errors_ms


def _leg(packets: list[Packet]) -> LegMedia:
    return assemble(SyntheticScan(packets))[0].caller


@settings(max_examples=30, deadline=None, phases=UNSHRUNK)
@given(
    answers=st.lists(
        st.tuples(st.floats(0.8, 6.0), st.floats(0.5, 8.0)), min_size=1, max_size=5
    ),  # length, and the silence after it
    apart_ms=st.floats(0.05, 4.0),
    clock_runs=st.booleans(),
    jitter_ms=st.sampled_from([0.0, 5.0]),
)
@example(
    answers=[(1.5, 1.9), (1.1, 3.378), (2.684, 5.073), (1.662, 5.022), (2.135, 1.0)],
    apart_ms=0.1876,
    clock_runs=False,
    jitter_ms=5.0,
)
@example(answers=[(3.0, 3.0), (3.0, 3.0), (3.0, 3.0)], apart_ms=0.667, clock_runs=True, jitter_ms=0.0)
def test_a_bots_answers_play_where_they_arrived(
    answers: list[tuple[float, float]], apart_ms: float, clock_runs: bool, jitter_ms: float
) -> None:
    silent = np.cumsum([0.0, *(silence for _, silence in answers)])[:-1]
    ends = silent - np.array([length for length, _ in answers]) * (1 - apart_ms / 20)
    # Lumps that end alike against a clock that stands between them are those of a link that lets go: docs/time.md.
    assume(clock_runs or len(ends) == 1 or np.ptp(ends[: max(2, len(ends) - 1)]) > 0.4)
    call = Call.between()
    for length, silence in answers:
        first = len(call.caller.packets)
        call.caller.talk(length).advance(silence, timestamp_runs=clock_runs)
        sent = call.caller.packets[first:]
        start_ns = sent[0].sent_ns
        for index, packet in enumerate(sent):
            packet.lasts_ns = 0
            packet.lasts_ns = start_ns + round(index * apart_ms * 1e6) - packet.sent_ns
    packets = Network(20, jitter_ms, seed=3).carry(call.caller.packets, call.caller.start_ns)
    leg = _leg(packets)
    errors = placement_errors_ms(leg, call.caller.packets)
    assert np.abs(errors).max() <= 25 + jitter_ms
    assert leg.statistics.late == 0


@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_a_sender_that_fills_the_buffer_first_plays_from_its_first_packet(seconds: float) -> None:
    call = Call.between()
    call.caller.talk(30)
    sent = call.caller.packets
    ahead = round(seconds * 50)
    for index, packet in enumerate(sent):
        due = packet.sent_ns - round(seconds * 1e9) if index >= ahead else sent[0].sent_ns + index * 300_000
        packet.lasts_ns = due - packet.sent_ns
    leg = _leg(Network(20, 0).carry(sent, call.caller.start_ns))
    assert np.abs(placement_errors_ms(leg, sent)).max() <= 25
    assert leg.statistics.late == 0


def test_the_timely_part_anchors_a_leg_with_one_answer_ahead() -> None:
    call = Call.between()
    call.caller.talk(5).advance(3)
    first = len(call.caller.packets)
    call.caller.talk(4).advance(3).talk(5)
    burst = call.caller.packets[first : first + 200]
    for index, packet in enumerate(burst):
        packet.lasts_ns = burst[0].sent_ns + index * 500_000 - packet.sent_ns
    leg = _leg(Network(20, 20, seed=2).carry(call.caller.packets, call.caller.start_ns))
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 25
    assert leg.statistics.late == 0


def test_lumps_of_a_stalled_network_are_not_ahead() -> None:
    """Every two seconds the link lets go of what it holds: the ends of the lumps are in time."""
    call = Call.between()
    call.caller.talk(29.9)
    packets = Network(20, 0).carry(call.caller.packets, call.caller.start_ns)
    for packet in packets:
        packet.arrival_ns = -(-packet.arrival_ns // 2_000_000_000) * 2_000_000_000
    leg = _leg(packets)
    assert np.abs(np.diff(leg.columns.timestamp) - 160).max() == 0
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 25


@pytest.mark.parametrize("early_ms", [100, 300, 900])
@pytest.mark.parametrize("which", [0, 700])
def test_one_early_packet_makes_no_others_late(early_ms: int, which: int) -> None:
    call = Call.between()
    call.caller.talk(59.2)
    packets = Network(1000, 10, seed=4).carry(call.caller.packets, call.caller.start_ns)
    packets[which].arrival_ns -= early_ms * 1_000_000
    leg = _leg(packets)
    assert leg.statistics.late == 0
    errors = placement_errors_ms(leg, call.caller.packets)
    assert np.abs(np.delete(errors, which)).max() <= 5
