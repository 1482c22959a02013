"""Delay that grows and drains is no pause; a pause that the timestamps hide is one, whatever the jitter."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callreplay.model import GapReason
from callreplay.order.legs import LegMedia, assemble
from tests.cases import UNSHRUNK
from tests.scenario.call import Call, Network, Packet, SyntheticScan
from tests.scenario.truth import numbers, placement_errors_ms


def _queue(
    packets: list[Packet], start_s: float, rise_s: float, up_s: float, down_s: float, lump_ms: int
) -> None:
    """A queue fills by ``rise_s`` over ``up_s`` and drains over ``down_s``; it hands on in lumps, in order."""
    begin = packets[0].truth_ns
    last = 0
    for packet in packets:
        at = (packet.truth_ns - begin) * 1e-9 - start_s
        share = np.interp(at, [0, up_s, up_s + down_s], [0, 1, 0])
        come = packet.arrival_ns + round(share * rise_s * 1e9)
        if lump_ms and 0 <= at <= up_s + down_s:
            come = -(-come // (lump_ms * 1_000_000)) * lump_ms * 1_000_000
        last = packet.arrival_ns = max(come, last)


def _leg(packets: list[Packet]) -> LegMedia:
    return assemble(SyntheticScan(packets))[0].caller


@settings(max_examples=25, deadline=None, phases=UNSHRUNK)
@given(
    rise_s=st.floats(0.1, 4.0),
    up_s=st.floats(2.0, 12.0),
    down_s=st.floats(0.1, 8.0),
    lump_ms=st.sampled_from([0, 50, 100, 200, 300, 500]),
    silences=st.booleans(),
    jitter_ms=st.sampled_from([0.0, 5.0, 20.0]),
    seed=st.integers(0, 9),
)
@example(rise_s=3.0, up_s=12.0, down_s=1.0, lump_ms=200, silences=False, jitter_ms=0.0, seed=1)
def test_a_queue_that_fills_and_drains_moves_nothing(
    rise_s: float, up_s: float, down_s: float, lump_ms: int, silences: bool, jitter_ms: float, seed: int
) -> None:
    call = Call.between()
    for _ in range(6):
        call.caller.talk(4.3)
        if silences:
            call.caller.advance(0.8)
    sent = call.caller.packets
    arrived = Network(20, jitter_ms, seed=seed).carry(sent, call.caller.start_ns)
    _queue(arrived, 2.0, rise_s, up_s, down_s, lump_ms)
    leg = _leg(arrived)
    assert len(numbers(leg)) == len(sent)
    assert np.abs(placement_errors_ms(leg, sent)).max() <= 50
    assert len(leg.columns.gaps) == (5 if silences else 0)


@settings(max_examples=15, deadline=None, phases=UNSHRUNK)
@given(
    pauses_s=st.lists(st.sampled_from([0.3, 0.45, 1.0, 3.0, 40.0]), min_size=1, max_size=4),
    talk_s=st.floats(2.0, 8.0),
    jitter_ms=st.sampled_from([0.0, 20.0, 60.0]),
    loss=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 9),
)
def test_pauses_that_the_timestamps_hide_are_put_in(
    pauses_s: list[float], talk_s: float, jitter_ms: float, loss: float, seed: int
) -> None:
    call = Call.between()
    for pause in pauses_s:
        call.caller.talk(talk_s).advance(pause, timestamp_runs=False)
    call.caller.talk(talk_s)
    sent = call.caller.packets
    arrived = Network(20, jitter_ms, loss, seed=seed).carry(sent, call.caller.start_ns)
    leg = _leg(arrived)
    assert np.abs(placement_errors_ms(leg, sent)).max() <= 5 + jitter_ms / 10
    # a packet lost beside a pause makes the whole of it a loss or a silence with a loss
    long = sum(int(g["ticks"]) for g in leg.columns.gaps if g["ticks"] > 1200)
    assert long == pytest.approx(
        sum(pauses_s) * 8000, abs=8 * (20 + 20 * len(pauses_s)) + 0.01 * sum(pauses_s)
    )


def test_a_late_packet_before_a_silence_is_speech_where_the_queue_is_long() -> None:
    """Not what a hold left behind: the packets before it came as late."""
    call = Call.between()
    for _ in range(5):
        call.caller.talk(3).advance(2)
    arrived = Network().carry(call.caller.packets, call.caller.start_ns)
    _queue(arrived, 2.0, 2.5, 6.0, 4.0, 0)
    leg = _leg(arrived)
    assert leg.statistics.stale == 0
    assert len(numbers(leg)) == len(arrived)
    assert [int(gap["reason"]) for gap in leg.columns.gaps] == [GapReason.HOLD] * 4
