"""RFC 4733 events beside the audio."""

import struct

import numpy as np
import pytest

from callreplay.codecs import BY_NAME
from callreplay.model import GapReason
from callreplay.order.legs import LegMedia, assemble
from tests.scenario.call import Call, Network
from tests.scenario.truth import duration_ms, placement_errors_ms

EVENT = BY_NAME["TELEPHONE-EVENT"]


def caller(call: Call, network: Network | None = None) -> LegMedia:
    call.networks = (network or Network(), Network())
    return assemble(call.scan(), hints={101: EVENT, 97: EVENT})[0].caller


@pytest.mark.parametrize("network", [Network(), Network(20, 120, 0.05, seed=4)])
def test_trap_11_digits_do_not_move_the_audio(network: Network) -> None:
    call = Call.between()
    starts = []
    call.caller.talk(2)
    for code in (1, 2, 2, 11):
        starts.append(call.caller.now_ns() + 20_000_000)
        call.caller.digit(code, 0.2).talk(1)
    leg = caller(call, network)
    assert [event.digit for event in leg.events] == ["1", "2", "2", "#"]
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5.0
    for event, start in zip(leg.events, starts, strict=True):
        assert event.start_ns == pytest.approx(start, abs=5_000_000)
        assert event.duration_ms == pytest.approx(200, abs=41)
        assert event.volume_dbm0 == -10
    assert duration_ms(leg) == pytest.approx(6800, abs=20)


def test_event_time_is_silence_not_loss() -> None:
    call = Call.between()
    call.caller.talk(1).digit(5, 0.4).talk(1)
    leg = caller(call)
    assert [(int(g["reason"]), int(g["ticks"])) for g in leg.columns.gaps] == [(GapReason.SILENCE, 3200)]
    assert leg.statistics.lost == 0
    assert len(leg.columns.spans) == 1


def test_trap_11_end_packets_with_new_timestamps_are_one_digit() -> None:
    call = Call.between()
    call.caller.talk(1).digit(7, 0.2, fresh_ends=True).talk(0.5).digit(7, 0.2, fresh_ends=True).talk(1)
    leg = caller(call)
    assert [event.digit for event in leg.events] == ["7", "7"]
    assert [event.duration_ms for event in leg.events] == pytest.approx([200, 200])


def test_trap_12_events_overlay_audio_on_the_same_timestamps() -> None:
    call = Call.between()
    call.caller.talk(1)
    start = call.caller.timestamp
    for index in range(1, 11):  # audio goes on while the event is signalled
        call.caller.talk(0.02)
        call.caller.send(struct.pack(">BBH", 3, 10, index * 160), payload_type=101, timestamp=start)
    for _ in range(3):
        call.caller.send(struct.pack(">BBH", 3, 0x8A, 1600), payload_type=101, timestamp=start)
    call.caller.talk(1)
    leg = caller(call)
    assert [(event.digit, event.duration_ms) for event in leg.events] == [("3", 200.0)]
    assert len(leg.columns.gaps) == 0
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1


def test_an_event_of_more_than_65535_ticks_is_one() -> None:
    call = Call.between()
    call.caller.talk(1)
    start = call.caller.timestamp
    for index in range(1, 600):
        call.caller.advance(0.02)
        ticks = index * 160
        segment, within = divmod(ticks - 1, 65440)
        call.caller.send(
            struct.pack(">BBH", 9, 10, within + 1), payload_type=101, timestamp=start + segment * 65440
        )
    call.caller.send(
        struct.pack(">BBH", 9, 0x8A, within + 1), payload_type=101, timestamp=start + segment * 65440
    )
    call.caller.talk(1)
    leg = caller(call)
    assert len(leg.events) == 1
    assert leg.events[0].duration_ms == pytest.approx(599 * 20)


def test_lost_ends_and_lost_starts() -> None:
    call = Call.between()
    call.caller.talk(1).digit(1, 0.2).talk(0.5)
    call.caller.digit(2, 0.2).talk(0.5)
    events = [p for p in call.caller.packets if p.payload_type == 101]
    for packet in (*events[10:13], *events[13:20]):  # the ends of the first, the start of the second
        call.caller.packets.remove(packet)
    leg = caller(call)
    assert [event.digit for event in leg.events] == ["1", "2"]
    assert leg.statistics.lost == 10


def test_the_event_payload_type_is_not_always_101() -> None:
    call = Call.between()
    call.caller.talk(1).digit(4, 0.2, payload_type=97).talk(1)
    assert [event.digit for event in caller(call).events] == ["4"]
    # Neither signalled nor hinted: the packets show it.
    call.networks = (Network(), Network())
    media = assemble(call.scan())[0].caller
    assert [event.digit for event in media.events] == ["4"]
    assert any("TELEPHONE-EVENT" in text and "inferred" in text for text in media.warnings)


def test_events_before_any_audio_and_odd_payloads() -> None:
    call = Call.between()
    call.caller.digit(0, 0.1)
    call.caller.send(b"\x01", payload_type=101)
    call.caller.send(struct.pack(">BBH", 99, 0, 800), payload_type=101, timestamp=1)
    call.caller.talk(1)
    leg = caller(call)
    assert [event.digit for event in leg.events] == ["0", "event 99"]
    assert leg.events[0].start_ns == pytest.approx(call.caller.start_ns + 20_000_000, abs=25_000_000)


def test_a_leg_of_events_alone() -> None:
    call = Call.between()
    call.caller.digit(16, 0.1)
    media = caller(call)
    assert media.empty
    assert [event.digit for event in media.events] == ["flash"]
