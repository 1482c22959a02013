"""The same media seen twice."""

import dataclasses

import pytest

from callreplay.codecs import STATIC
from callreplay.model import CallDescription, Flow, MediaDescription
from callreplay.order.legs import assemble
from callreplay.order.taps import find_copies, gather_facts
from tests.scenario.call import Call, Packet, SyntheticScan
from tests.scenario.truth import numbers


def two_legs() -> Call:
    call = Call.between()
    call.caller.talk(10)
    call.called.talk(10)
    return call


def copies(packets: list[Packet], delay_ns: int, **changes: object) -> list[Packet]:
    again = [dataclasses.replace(packet) for packet in packets]
    for packet in again:
        packet.arrival_ns += delay_ns
        for name, value in changes.items():
            setattr(packet, name, value(packet) if callable(value) else value)
    return again


def test_trap_15_every_packet_twice_on_one_flow() -> None:
    packets = two_legs().arrived()
    media = assemble(SyntheticScan(packets + copies(packets, 50_000)))
    assert len(media) == 1
    for leg in media[0].legs:
        assert leg.statistics.duplicates == 500
        assert leg.statistics.lost == 0
        assert len(numbers(leg)) == 500
        assert leg.statistics.reordered == 0


def test_trap_15_every_packet_at_two_taps() -> None:
    packets = two_legs().arrived()
    tagged = copies(packets, 700_000, flow=lambda p: dataclasses.replace(p.flow, encapsulation="vlan"))
    media = assemble(SyntheticScan(packets + tagged))
    assert len(media) == 1
    assert media[0].copies == 2
    assert [len(leg.streams) for leg in media[0].legs] == [1, 1]
    assert [len(numbers(leg)) for leg in media[0].legs] == [500, 500]
    assert any("two taps" in guess for guess in media[0].guesses)


def test_the_fuller_tap_is_kept() -> None:
    packets = two_legs().arrived()
    tagged = copies(packets, 700_000, flow=lambda p: dataclasses.replace(p.flow, encapsulation="vlan"))
    media = assemble(SyntheticScan(packets[::3] + tagged))
    assert [leg.streams[0].flow.encapsulation for leg in media[0].legs] == ["vlan", "vlan"]
    assert [leg.statistics.lost for leg in media[0].legs] == [0, 0]


@pytest.mark.parametrize("rewritten", [False, True])
def test_trap_15_both_sides_of_a_b2bua(rewritten: bool) -> None:
    call = two_legs()
    call.caller.flow = Flow("10.0.0.1", 10000, "10.0.0.99", 5000)
    call.called.flow = Flow("10.0.0.99", 5000, "10.0.0.1", 10000)
    for direction in (call.caller, call.called):
        for packet in direction.packets:
            packet.flow = direction.flow
    outer = call.arrived()
    inner_flows = {
        call.caller.flow: Flow("10.0.0.99", 6000, "10.0.0.2", 20000),
        call.called.flow: Flow("10.0.0.2", 20000, "10.0.0.99", 6000),
    }
    changes: dict[str, object] = {"flow": lambda p: inner_flows[p.flow]}
    if rewritten:
        changes |= {
            "ssrc": lambda p: p.ssrc ^ 0x55555555,
            "sequence": lambda p: (p.sequence + 999) & 0xFFFF,
            "timestamp": lambda p: (p.timestamp + 123456) & 0xFFFFFFFF,
        }
    media = assemble(SyntheticScan(outer + copies(outer, 400_000, **changes)))
    assert len(media) == 1
    assert not media[0].one_way
    assert set(numbers(media[0].caller)) & set(numbers(media[0].called)) == set()
    assert media[0].copies == 2
    assert any(("B2BUA" if rewritten else "two taps") in guess for guess in media[0].guesses)


def test_directions_seen_on_different_sides_of_a_b2bua_are_joined() -> None:
    call = two_legs()
    call.caller.flow = Flow("10.0.0.1", 10000, "10.0.0.99", 5000)
    for packet in call.caller.packets:
        packet.flow = call.caller.flow
    called = Flow("10.0.0.2", 20000, "10.0.0.99", 6000)
    for packet in call.called.packets:
        packet.flow = called
    packets = call.arrived()
    through = copies(
        [p for p in packets if p.flow == call.caller.flow],
        400_000,
        flow=Flow("10.0.0.99", 6000, "10.0.0.2", 20000),
    )
    media = assemble(SyntheticScan(packets + through))
    assert len(media) == 1
    assert {leg.streams[0].ssrc for leg in media[0].legs} == {0xAAAA0001, 0xBBBB0001}
    assert media[0].copies == 1


def test_the_described_hop_is_kept() -> None:
    packets = two_legs().arrived()
    hop = {
        packets[0].flow: Flow("10.9.0.1", 700, "10.9.0.2", 800),
        packets[-1].flow: Flow("10.9.0.2", 800, "10.9.0.1", 700),
    }
    other = copies(packets, 300_000, flow=lambda p: hop[p.flow])
    description = CallDescription(
        "x",
        "sip",
        media=[
            MediaDescription("called", "10.9.0.1", 700, {0: STATIC[0]}),
            MediaDescription("caller", "10.9.0.2", 800, {0: STATIC[0]}),
        ],
    )
    media = assemble(SyntheticScan(packets + other), [description])
    assert len(media) == 1
    assert media[0].description is description
    assert media[0].caller.streams[0].flow.source == "10.9.0.2"


def test_different_calls_with_the_same_music_are_not_copies() -> None:
    melody = [bytes([n % 251, n % 13, n % 7, 1, 2, 3, 4, 5] * 20) for n in range(300)]
    packets: list[Packet] = []
    for index in range(12):
        call = Call.between(("10.0.0.1", 10000 + 2 * index), ("10.0.0.2", 20000 + 2 * index))
        call.caller.ssrc = index
        call.caller.payload = lambda number, octets: melody[number]
        call.caller.talk(5)
        packets += call.arrived()
    assert len(assemble(SyntheticScan(packets))) == 12


def test_silence_is_no_proof() -> None:
    call = two_legs()
    for direction in (call.caller, call.called):
        for packet in direction.packets:
            packet.payload = b"\xff" * 160
    scan = call.scan()
    assert find_copies(scan, gather_facts(scan)) == []


def test_an_echo_is_a_leg_of_its_own() -> None:
    call = Call.between()
    call.caller.talk(10)
    there = call.arrived()
    back = copies(there, 3_000_000, flow=Flow("10.0.0.2", 20000, "10.0.0.1", 10000))
    media = assemble(SyntheticScan(there + back))
    assert len(media) == 1
    assert media[0].copies == 0
    assert [len(numbers(leg)) for leg in media[0].legs] == [500, 500]
