"""The numbers of a leg's journey."""

import pytest

from callreplay.model import GapReason
from callreplay.order.legs import assemble
from tests.scenario.call import Call, Network


def test_counts_of_a_damaged_leg_add_up() -> None:
    call = Call.between()
    call.caller.talk(60)
    call.networks = (Network(20, 50, 0.08, 0.05, seed=21), Network())
    arrived = [p for p in call.arrived() if p.flow == call.caller.flow]
    unique = {packet.number for packet in arrived}
    sent = {packet.number for packet in call.caller.packets}
    leg = assemble(call.scan())[0].caller
    numbers = leg.statistics
    assert numbers.packets == len(arrived)
    assert numbers.duplicates == len(arrived) - len(unique)
    inner = {n for n in sent if min(unique) < n < max(unique)}
    assert numbers.lost == len(inner - unique)
    assert numbers.loss_percent == pytest.approx(100 * numbers.lost / (numbers.lost + len(unique)))
    lost = leg.columns.gaps[leg.columns.gaps["reason"] == GapReason.LOST]
    assert int(lost["packets"].sum()) == numbers.lost
    assert int(lost["ticks"].sum()) == numbers.lost * 160
    assert numbers.bursts == len(lost)
    assert numbers.burst_ratio == pytest.approx(1.0, abs=0.1)
    assert numbers.ptime_ms == 20.0
    assert numbers.mos is not None
    assert 1.0 < numbers.mos < 4.4
    assert numbers.late == 0


def test_losses_that_cling_together_have_a_burst_ratio_above_one() -> None:
    call = Call.between()
    call.caller.talk(60)
    del call.caller.packets[500:520], call.caller.packets[1500:1520]
    numbers = assemble(call.scan())[0].caller.statistics
    assert (numbers.lost, numbers.bursts) == (40, 2)
    assert numbers.burst_ratio == pytest.approx(20 * (1 - 40 / 3000), rel=1e-3)


def test_late_packets_are_counted() -> None:
    call = Call.between()
    call.caller.talk(20)
    call.networks = (
        Network(20, 0, extra_delay_ms=lambda s: 260.0 if int(s * 50) % 100 == 7 else 0.0),
        Network(),
    )
    numbers = assemble(call.scan())[0].caller.statistics
    assert numbers.late == 10
    assert numbers.lost == 0


def test_an_empty_leg_has_empty_statistics() -> None:
    call = Call.between()
    call.caller.talk(1)
    numbers = assemble(call.scan())[0].called.statistics
    assert (numbers.packets, numbers.lost, numbers.mos) == (0, 0, None)
