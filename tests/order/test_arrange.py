"""Senders of one leg that overlap in time."""

import dataclasses

import numpy as np

from callreplay.codecs import STATIC
from callreplay.order.legs import LegMedia, assemble
from tests.scenario.call import Call, Direction, Network, Packet, SyntheticScan
from tests.scenario.truth import numbers, placement_errors_ms


def merged(*parts: tuple[Direction, Network]) -> LegMedia:
    packets: list[Packet] = []
    for direction, network in parts:
        packets += network.carry(direction.packets, direction.start_ns)
    return assemble(SyntheticScan(packets))[0].caller


def beside(call: Call, start_s: float, ssrc: int = 0xCC) -> Direction:
    other = Direction(call.caller.flow, ssrc=ssrc, numbers=call.caller.numbers)
    other.start_ns += round(start_s * 1e9)
    return other


def test_a_nested_stream_with_less_loss_is_kept() -> None:
    call = Call.between()
    call.caller.talk(10)
    nested = beside(call, 4).talk(3)
    leg = merged((call.caller, Network(20, 0, 0.3, seed=2)), (nested, Network()))
    assert [span.ssrc for span in leg.columns.spans] == [0xAAAA0001, 0xCC, 0xAAAA0001]
    assert set(range(500, 650)) <= set(numbers(leg).tolist())
    assert leg.statistics.parallel > 0
    assert np.abs(placement_errors_ms(leg, [*call.caller.packets, *nested.packets])).max() < 0.1


def test_a_nested_stream_with_more_loss_is_set_aside() -> None:
    call = Call.between()
    call.caller.talk(10)
    nested = beside(call, 4).talk(3)
    leg = merged((call.caller, Network()), (nested, Network(20, 0, 0.3, seed=2)))
    assert [span.ssrc for span in leg.columns.spans] == [0xAAAA0001]
    assert numbers(leg).tolist() == list(range(500))
    assert any("second sender" in text for text in leg.warnings)


def test_parallel_digital_silence_erases_no_speech() -> None:
    call = Call.between()
    call.caller.talk(10)
    silent = beside(call, 2)
    silent.payload = lambda number, octets: b"\xff" * octets
    silent.talk(5)
    leg = merged((call.caller, Network(20, 0, 0.1, seed=2)), (silent, Network()))
    assert {span.ssrc for span in leg.columns.spans} == {0xAAAA0001}


def test_the_same_media_under_another_ssrc_is_a_copy() -> None:
    call = Call.between()
    call.caller.talk(10)
    packets = Network().carry(call.caller.packets, call.caller.start_ns)
    again = [
        dataclasses.replace(p, ssrc=0xDD, sequence=p.sequence ^ 0x1000, arrival_ns=p.arrival_ns + 1_000_000)
        for p in packets
    ]
    media = assemble(SyntheticScan(packets + again))[0]
    assert media.copies == 1
    assert len(numbers(media.caller)) == 500
    assert len(media.caller.columns.spans) == 1


def test_a_handover_keeps_every_packet_in_time_order() -> None:
    call = Call.between()
    call.caller.talk(5)
    after = beside(call, 5.02).use(STATIC[9], 9, 160, 160).talk(5)
    leg = merged((call.caller, Network()), (after, Network()))
    assert leg.statistics.parallel == 0
    assert numbers(leg).tolist() == list(range(500))
