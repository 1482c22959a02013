"""Streams grouped into calls and directions, with and without signalling."""

import numpy as np
import pytest

from callreplay.codecs import BY_NAME, STATIC, Codec
from callreplay.model import CallDescription, Flow, GapReason, MediaDescription
from callreplay.order.legs import assemble
from tests.scenario.call import EPOCH_NS, Call, Direction, Network, Packet, SyntheticScan
from tests.scenario.truth import numbers, placement_errors_ms


def described(
    call: Call, caller: dict[int, Codec] | None = None, called: dict[int, Codec] | None = None
) -> CallDescription:
    flow = call.caller.flow
    return CallDescription(
        "a@b",
        "sip",
        start_ns=EPOCH_NS - 3_000_000_000,
        answer_ns=EPOCH_NS,
        end_ns=EPOCH_NS + 600_000_000_000,
        media=[
            MediaDescription("caller", flow.source, flow.source_port, caller or {0: STATIC[0]}),
            MediaDescription("called", flow.destination, flow.destination_port, called or {0: STATIC[0]}),
        ],
    )


def carried(*directions: Direction) -> list[Packet]:
    return [packet for d in directions for packet in Network().carry(d.packets, d.start_ns)]


def test_two_directions_of_one_pair_of_ports_are_a_call() -> None:
    call = Call.between()
    call.caller.talk(5)
    call.called.talk(5)
    calls = assemble(call.scan())
    assert len(calls) == 1
    assert [s.ssrc for s in calls[0].caller.streams] == [0xAAAA0001]
    assert [s.ssrc for s in calls[0].called.streams] == [0xBBBB0001]
    assert calls[0].sides_inferred
    assert any("sends first" in guess for guess in calls[0].guesses)


def test_signalling_says_who_called() -> None:
    call = Call.between()
    call.called.start_ns -= 900_000_000  # early media comes from the called side
    call.caller.talk(5)
    call.called.talk(6)
    media = assemble(call.scan(), [described(call)])[0]
    assert media.caller.streams[0].ssrc == 0xAAAA0001
    assert not media.sides_inferred
    assert media.guesses == []
    guessed = assemble(call.scan())[0]
    assert guessed.caller.streams[0].ssrc == 0xBBBB0001


def test_payload_types_differ_by_direction() -> None:
    call = Call.between()
    call.caller.payload_type, call.called.payload_type = 96, 97
    call.caller.talk(2)
    call.called.use(STATIC[9], 97, 160, 160).talk(2)
    # The caller receives 97 as G.722, the called receives 96 as PCMA; each also uses the other number otherwise.
    description = described(call, {97: STATIC[9], 96: BY_NAME["OPUS"]}, {96: STATIC[8], 97: BY_NAME["ILBC"]})
    media = assemble(call.scan(), [description])[0]
    assert str(media.caller.codec) == "PCMA/8000"
    assert str(media.called.codec) == "G722/8000"


def test_nat_matches_by_port_and_by_symmetry() -> None:
    call = Call.between()
    call.caller.talk(3)
    call.called.talk(3)
    description = described(call)
    description.media[0].address = "192.168.1.10"  # what the phone believes; the tap sees 10.0.0.1
    description.media[1].address = "192.168.7.7"
    media = assemble(call.scan(), [description])
    assert len(media) == 1
    assert media[0].caller.streams[0].ssrc == 0xAAAA0001
    shifted = described(call)
    shifted.media[0].port = 9  # the caller's NAT changed its port too: only the called's address fits
    media = assemble(call.scan(), [shifted])
    assert len(media) == 1
    assert media[0].called.streams[0].ssrc == 0xBBBB0001


def test_a_reused_port_belongs_to_the_call_of_its_time() -> None:
    first, second = Call.between(), Call.between()
    shift = 1_000_000_000_000
    first.caller.talk(5)
    second.caller.start_ns += shift
    second.caller.ssrc = 0xCCCC0001
    second.caller.talk(5)
    one, two = described(first), described(second)
    two.call_id, two.start_ns, two.end_ns = "c@d", EPOCH_NS + shift - 1_000_000_000, EPOCH_NS + 2 * shift
    calls = assemble(SyntheticScan(first.arrived() + second.arrived()), [one, two])
    assert [(c.description.call_id if c.description else "", c.caller.streams[0].ssrc) for c in calls] == [
        ("a@b", 0xAAAA0001),
        ("c@d", 0xCCCC0001),
    ]


def test_re_invite_moves_media_to_another_address() -> None:
    call = Call.between()
    call.caller.talk(5)
    description = described(call)
    moved = Direction(
        Flow("10.0.0.9", 30000, "10.0.0.2", 20000), call.caller.start_ns + 5_000_000_000, ssrc=0xDDDD0001
    )
    moved.numbers = call.caller.numbers
    moved.talk(5)
    call.called.talk(10)
    description.media.append(
        MediaDescription("caller", "10.0.0.9", 30000, {0: STATIC[0]}, valid_from_ns=moved.start_ns - 10**8)
    )
    packets = carried(call.caller, moved, call.called)
    calls = assemble(SyntheticScan(packets), [description])
    assert len(calls) == 1
    assert [span.ssrc for span in calls[0].caller.columns.spans] == [0xAAAA0001, 0xDDDD0001]
    errors = placement_errors_ms(calls[0].caller, [*call.caller.packets, *moved.packets])
    assert np.abs(errors).max() < 0.1


def test_trap_13_a_leg_takes_as_many_ssrcs_as_come() -> None:
    call = Call.between()
    for index in range(12):
        call.caller.ssrc = 0xAAAA0000 + index
        call.caller.sequence += 7777
        call.caller.timestamp += 0x1234567
        call.caller.talk(1).advance(0.1)
    call.called.talk(13)
    media = assemble(call.scan())
    assert len(media) == 1
    leg = media[0].caller
    assert len(leg.columns.spans) == 12
    assert len(leg.streams) == 12
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1
    assert len(numbers(leg)) == 600


def test_trap_14_a_leg_without_packets_stays_silent_and_is_flagged() -> None:
    call = Call.between()
    call.caller.talk(5)
    media = assemble(call.scan(), [described(call)])[0]
    assert media.one_way
    assert media.called.empty
    assert media.end_ns - media.start_ns == 5_000_000_000
    assert any("one-way" in text for text in media.warnings)


def test_trap_14_the_shorter_leg_does_not_cut_the_longer() -> None:
    call = Call.between()
    call.caller.talk(10)
    call.called.talk(3)
    media = assemble(call.scan())[0]
    assert media.end_ns - media.start_ns == 10_000_000_000
    early = media.called.columns.gaps[-1]
    assert early["reason"] == GapReason.EARLY_END
    assert int(early["ticks"]) == pytest.approx(7 * 8000 - 24, abs=1)


def test_trap_8_interleave_a_b_a_of_two_ssrcs_with_different_codecs() -> None:
    call = Call.between()
    other = Direction(call.caller.flow, ssrc=0xEEEE0001, numbers=call.caller.numbers)
    other.use(STATIC[9], 9, 160, 160)
    call.caller.talk(3).advance(2).talk(3)
    other.start_ns += 3_000_000_000
    other.talk(2)
    media = assemble(SyntheticScan(carried(call.caller, other)))[0].caller
    assert [(span.ssrc, str(span.codec)) for span in media.columns.spans] == [
        (0xAAAA0001, "PCMU/8000"),
        (0xEEEE0001, "G722/8000"),
        (0xAAAA0001, "PCMU/8000"),
    ]
    assert np.abs(placement_errors_ms(media, [*call.caller.packets, *other.packets])).max() < 0.1
    assert len(media.columns.gaps) == 0


def test_same_destination_port_for_both_directions() -> None:
    call = Call.between()
    call.caller.flow = Flow("10.0.0.1", 31000, "10.0.0.2", 4000)
    call.called.flow = Flow("10.0.0.2", 31002, "10.0.0.1", 4000)
    call.caller.talk(5)
    call.called.talk(5)
    calls = assemble(call.scan())
    assert len(calls) == 1
    assert not calls[0].one_way
    assert any("different ports" in guess for guess in calls[0].guesses)


def test_an_ssrc_that_moves_stays_in_its_leg() -> None:
    call = Call.between()
    call.caller.talk(5)
    call.caller.flow = Flow("10.0.0.1", 10444, "10.0.0.2", 20000)
    call.caller.talk(5)
    call.called.talk(10)
    calls = assemble(call.scan())
    assert len(calls) == 1
    assert len(calls[0].caller.streams) == 2
    assert np.abs(placement_errors_ms(calls[0].caller, call.caller.packets)).max() < 0.1


def test_calls_on_the_same_ports_an_hour_apart_are_two() -> None:
    call = Call.between()
    call.caller.talk(5).advance(3600)
    call.caller.ssrc = 0x77
    call.caller.talk(5)
    assert len(assemble(call.scan())) == 2


def test_one_capture_for_each_leg() -> None:
    call = Call.between()
    call.caller.talk(5)
    call.called.talk(5)
    one = SyntheticScan(carried(call.caller))
    other = SyntheticScan(carried(call.called))
    calls = assemble([other, one])
    assert len(calls) == 1
    assert calls[0].caller.streams[0].ssrc == 0xBBBB0001
    assert calls[0].caller.columns.data is other.data
    assert np.abs(placement_errors_ms(calls[0].called, call.caller.packets)).max() < 0.1
    with pytest.raises(ValueError, match="one for each leg"):
        assemble([one, other, one])


def test_nothing_gives_no_call() -> None:
    assert assemble(SyntheticScan([])) == []


def test_many_calls_at_once_stay_apart() -> None:
    calls = [Call.between(("10.0.0.1", 10000 + 2 * i), ("10.0.0.2", 20000 + 2 * i)) for i in range(20)]
    packets: list[Packet] = []
    for index, call in enumerate(calls):
        call.caller.ssrc, call.called.ssrc = 2 * index, 2 * index + 1
        start = 1_000_000 * index
        call.caller.numbers = call.called.numbers = iter(range(start, start + 1_000_000)).__next__
        call.caller.talk(2)
        call.called.talk(2)
        packets += call.arrived()
    media = assemble(SyntheticScan(packets))
    assert len(media) == 20
    assert {(c.caller.streams[0].ssrc, c.called.streams[0].ssrc) for c in media} == {
        (2 * i, 2 * i + 1) for i in range(20)
    }


def test_opposed_streams_are_parted_though_signalling_gives_both_sides_one_address() -> None:
    call = Call.between(("10.0.0.1", 4374), ("10.0.0.2", 4376))
    call.called.flow = Flow("10.0.0.2", 4376, "10.0.0.1", 4376)
    call.caller.talk(5)
    call.called.talk(5)
    description = described(call)
    description.media[1].address = "10.0.0.1"
    media = assemble(call.scan(), [description])
    assert len(media) == 1
    assert [leg.streams[0].ssrc for leg in media[0].legs] == [0xAAAA0001, 0xBBBB0001]
    assert any("parted" in guess for guess in media[0].guesses)
