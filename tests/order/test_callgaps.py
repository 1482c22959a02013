"""Gaps that only show when both legs are seen."""

import numpy as np

from callreplay.model import GapReason
from callreplay.order.legs import assemble
from tests.scenario.call import Call, Network, SyntheticScan


def test_trap_16_both_directions_stopping_together_is_the_captures_loss() -> None:
    call = Call.between()
    call.caller.talk(20)
    call.called.talk(20)
    start = call.caller.start_ns + 8_030_000_000  # between packets
    arrived = [p for p in call.arrived() if not start < p.arrival_ns < start + 700_000_000]
    media = assemble(SyntheticScan(arrived))[0]
    for leg in media.legs:
        assert [int(g["reason"]) for g in leg.columns.gaps if g["packets"]] == [GapReason.CAPTURE]
        assert leg.statistics.lost_in_capture == leg.statistics.lost == 35


def test_network_loss_in_one_direction_is_not_the_captures() -> None:
    call = Call.between()
    call.caller.talk(20)
    call.called.talk(20)
    del call.caller.packets[300:340]
    del call.called.packets[600:640]
    media = assemble(call.scan())[0]
    for leg in media.legs:
        assert [int(g["reason"]) for g in leg.columns.gaps if g["packets"]] == [GapReason.LOST]
        assert leg.statistics.lost_in_capture == 0


def test_scattered_loss_of_both_is_not_taken_for_the_captures() -> None:
    call = Call.between()
    call.caller.talk(60)
    call.called.talk(60)
    call.networks = (Network(20, 0, 0.05, seed=1), Network(20, 0, 0.05, seed=2))
    media = assemble(call.scan())[0]
    assert [leg.statistics.lost_in_capture for leg in media.legs] == [0, 0]


def test_late_start_and_early_end_fill_the_timeline() -> None:
    call = Call.between()
    call.caller.talk(10)
    call.called.start_ns = call.caller.start_ns + 2_000_000_000
    call.called.talk(5)
    media = assemble(call.scan())[0]
    gaps = media.called.columns.gaps
    assert [int(reason) for reason in gaps["reason"]] == [GapReason.LATE_START, GapReason.EARLY_END]
    assert gaps["start"].tolist() == [-16_000, 40_000]
    assert gaps["ticks"].tolist() == [16_000, 24_000]
    assert np.all(media.caller.columns.gaps["ticks"] > 0)
