"""The kinds of captures that made wrong calls, each made in variations with the truth known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callreplay import signalling
from callreplay.model import Flow, Message
from callreplay.order import Aside, CallMedia
from callreplay.order.legs import assemble
from tests.laws import nothing_goes_unsaid
from tests.scenario.call import EPOCH_NS, Direction, Network, Packet, SyntheticScan
from tests.scenario.office import Socket, sdp, sip

MS, S = 1_000_000, 1_000_000_000
varied = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
offsets = st.one_of(st.just(0), st.integers(1, 400), st.integers(400, 40_000))  # ms
networks = st.builds(
    Network, st.floats(1, 80), st.floats(0, 60), st.floats(0, 0.1), st.just(0.0), st.integers(1, 1 << 20)
)


def voice(number: int, seconds: float, octets: int = 160) -> list[bytes]:
    """Payloads that nobody else has."""
    random = np.random.default_rng(number)
    return [random.integers(0, 256, octets, np.uint8).tobytes() for _ in range(round(seconds * 50))]


def spoken(
    flow: Flow, start_ns: int, payloads: Sequence[bytes], ssrc: int, network: Network | None = None
) -> list[Packet]:
    direction = Direction(flow, start_ns, ssrc=ssrc, payload=lambda number, octets: payloads[number])
    direction.talk(len(payloads) / 50)
    return (network or Network()).carry(direction.packets, start_ns)


def dialog(
    name: str,
    parties: tuple[str, str],
    hosts: tuple[str, str],
    sockets: tuple[Socket, Socket],
    times: tuple[int, int, int],
    *more: str,
) -> list[Message]:
    """A call of two hosts: invited, answered and ended at ``times`` (0: no BYE)."""
    ends = f"<sip:{parties[0]}@{hosts[0]}>;tag=f{name}", f"<sip:{parties[1]}@{hosts[1]}>"
    tagged = ends[0], f"{ends[1]};tag=t{name}"
    there, back = hosts, hosts[::-1]
    invited, answered, ended = times
    uri = f"sip:{parties[1]}@{hosts[1]} SIP/2.0"
    found = [
        sip(invited, there, f"INVITE {uri}", name, ends, "1 INVITE", sdp(sockets[0], *more)),
        sip(answered, back, "SIP/2.0 200 OK", name, tagged, "1 INVITE", sdp(sockets[1], *more)),
    ]
    if ended:
        found.append(sip(ended, there, f"BYE {uri}", name, tagged, "2 BYE"))
    return found


def both_ways(one: Socket, other: Socket) -> tuple[Flow, Flow]:
    return Flow(*one, *other), Flow(*other, *one)


def calls_of(packets: Sequence[Packet], messages: Sequence[Message] = ()) -> list[CallMedia]:
    scan = SyntheticScan(packets)
    unplaced: list[Aside] = []
    described = signalling.calls_of(sorted(messages, key=lambda message: message.arrival_ns))
    calls = assemble(scan, described, unplaced=unplaced)
    nothing_goes_unsaid(scan, calls, unplaced)
    return calls


def names(calls: Sequence[CallMedia]) -> list[str]:
    return sorted(call.description.call_id if call.description else "" for call in calls)


@varied
@given(st.lists(offsets, min_size=2, max_size=5), st.booleans(), networks, st.floats(0.5, 4))
def test_callers_who_hear_one_greeting_stay_apart(
    starts: list[int], described: bool, network: Network, greeting_s: float
) -> None:
    greeting = voice(1, greeting_s)
    packets: list[Packet] = []
    messages: list[Message] = []
    for number, offset in enumerate(starts):
        start = EPOCH_NS + offset * MS
        phone, server = (f"10.0.1.{number}", 20000), ("10.0.0.9", 40000 + 4 * number)
        there, back = both_ways(phone, server)
        packets += spoken(there, start, voice(100 + number, greeting_s + 2), 2 * number, network)
        packets += spoken(back, start, greeting + voice(200 + number, 2), 2 * number + 1, network)
        times = start - 2 * S, start - S, start + 60 * S
        messages += dialog(
            f"ivr{number}", (f"1{number}", "2002"), (phone[0], server[0]), (phone, server), times
        )
    calls = calls_of(packets, messages if described else [])
    assert len(calls) == len(starts)
    assert not any(call.one_way or call.aside for call in calls)


@varied
@given(st.lists(offsets, min_size=2, max_size=6), st.booleans(), st.booleans())
def test_calls_of_a_load_generator_stay_apart(starts: list[int], described: bool, one_ssrc: bool) -> None:
    file = voice(7, 3)
    packets: list[Packet] = []
    messages: list[Message] = []
    for number, offset in enumerate(starts):
        start = EPOCH_NS + offset * MS
        one, other = ("10.0.0.1", 20000 + 4 * number), ("10.0.0.2", 30000 + 4 * number)
        for way, flow in enumerate(both_ways(one, other)):
            packets += spoken(flow, start, file, 0xDEE if one_ssrc else 2 * number + way)
        times = start - 2 * S, start - S, start + 10 * S
        messages += dialog(f"{number}-load", ("sipp", "service"), (one[0], other[0]), (one, other), times)
    calls = calls_of(packets, messages if described else [])
    assert len(calls) == len(starts)
    assert not any(call.one_way or call.aside for call in calls)


@varied
@given(st.booleans(), st.integers(0, 200_000), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0, 1.5))
def test_two_taps_and_both_sides_of_a_relay_are_one(
    rewritten: bool, delay_us: int, loss: float, loss_too: float, late_s: float
) -> None:
    random = np.random.default_rng(delay_us)
    near, relay, beyond, far = (
        ("10.0.0.1", 10000),
        ("10.0.0.99", 5000),
        ("10.0.0.99", 6000),
        ("10.0.0.2", 20000),
    )
    inner = dict(zip(both_ways(near, relay), both_ways(beyond, far), strict=True))
    outer = [
        packet
        for number, flow in enumerate(inner)
        for packet in spoken(flow, EPOCH_NS, voice(number, 6), 17 + number)
    ]
    again = [dataclasses.replace(packet, flow=inner[packet.flow]) for packet in outer]
    for packet in again:
        packet.arrival_ns += delay_us * 1000 * (1 if packet.flow.source == beyond[0] else -1)
        if rewritten:
            packet.ssrc, packet.sequence = packet.ssrc ^ 0x5555, packet.sequence + 99 & 0xFFFF
    begin = EPOCH_NS + round(late_s * S)
    seen = [packet for packet in outer if random.random() >= loss]
    seen += [packet for packet in again if random.random() >= loss_too and packet.arrival_ns >= begin]
    calls = calls_of(seen)
    assert len(calls) == 1
    assert not calls[0].one_way
    assert calls[0].copies == 2
    for leg in calls[0].legs:
        # One hop plays: no more than was said, and no packet of both.
        assert len(leg.columns.offset) <= 300
        assert len(leg.columns.offset) >= 0.75 * 300 * (1 - loss) if loss_too >= loss else True
    if not rewritten and delay_us <= 20_000:
        # Taps that lose packets of their own fill each other's holes.
        heard = {packet.payload for packet in seen}
        assert sum(len(leg.columns.offset) for leg in calls[0].legs) == len(heard)


@varied
@given(offsets, st.integers(1024, 60000), networks)
def test_two_sites_with_one_private_socket_are_two_calls(offset: int, port: int, network: Network) -> None:
    packets: list[Packet] = []
    messages: list[Message] = []
    for number, start in enumerate((EPOCH_NS, EPOCH_NS + offset * MS)):
        said, seen = ("192.168.1.100", port), (f"198.51.100.{number}", 41000 + number)
        server = ("203.0.113.1", 12000 + 4 * number)
        for way, flow in enumerate(both_ways(seen, server)):
            packets += spoken(flow, start, voice(2 * number + way, 4), 2 * number + way, network)
        times = start - 2 * S, start - S, start + 5 * S
        hosts = seen[0], server[0]
        messages += dialog(f"site{number}", (f"10{number}", f"20{number}"), hosts, (said, server), times)
    calls = calls_of(packets, messages)
    assert names(calls) == ["site0", "site1"]
    assert not any(call.one_way or call.aside for call in calls)
    for call in calls:
        assert call.description is not None
        assert call.caller.streams[0].flow.source.endswith(call.description.call_id[-1])


@varied
@given(st.floats(0.5, 20), st.booleans(), networks)
def test_an_attended_transfer_keeps_all_voices(talk_s: float, byes: bool, network: Network) -> None:
    one, two, aside, three = (
        ("10.0.0.1", 20000),
        ("10.0.0.2", 30000),
        ("10.0.0.2", 30002),
        ("10.0.0.3", 34000),
    )
    length = round(talk_s * S)
    packets: list[Packet] = []
    messages: list[Message] = []
    ends = [(one, two, "1001", "2002"), (aside, three, "2002", "3003"), (one, three, "1001", "3003")]
    for number, (caller, called, who, whom) in enumerate(ends):
        start = EPOCH_NS + number * (length + 3 * S)
        # Phones keep their SSRC over the transfer.
        for flow in both_ways(caller, called):
            packets += spoken(flow, start, voice(hash(flow) & 0xFFFF, talk_s), int(flow.source[-1]), network)
        times = start - 2 * S, start - S, start + length + 2 * S + S // 2 if byes else 0
        messages += dialog(f"t{number}", (who, whom), (caller[0], called[0]), (caller, called), times)
    calls = calls_of(packets, messages)
    assert names(calls) == ["t0", "t1", "t2"]
    assert not any(call.one_way or call.aside for call in calls)


@varied
@given(st.integers(1, 5), st.booleans(), st.booleans(), st.floats(1, 15))
def test_a_hunt_group_is_one_call_that_every_number_finds(
    agents: int, at_once: bool, session_id: bool, ring_s: float
) -> None:
    """``at_once``: the queue answers before any agent is rung."""
    caller, queue = ("10.1.0.1", 10000), ("10.5.0.1", 30000)
    answer = EPOCH_NS + round(ring_s * agents * S) + 3 * S
    header = "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=" + "0" * 32 + "\r\n"
    hops: list[Message] = []
    for number in range(agents):
        start = EPOCH_NS + S + round(ring_s * number * S)
        host = f"10.2.0.{number}"
        name, whom = f"hop{number}xyz", f"agent{number}"
        ends = f"<sip:100@10.5.0.1>;tag=f{name}", f"<sip:{whom}@{host}>"
        route, back = ("10.5.0.1", host), (host, "10.5.0.1")
        offer = sdp(("10.5.0.1", 31000 + 2 * number))
        hops.append(sip(start, route, f"INVITE sip:{whom}@{host} SIP/2.0", name, ends, "1 INVITE", offer))
        tagged = ends[0], f"{ends[1]};tag=t{number}"
        if number == agents - 1:
            hops.append(sip(answer, back, "SIP/2.0 200 OK", name, tagged, "1 INVITE", sdp((host, 20000))))
        else:
            gone = start + round(ring_s * 0.9 * S)
            hops.append(sip(gone, route, f"CANCEL sip:{whom}@{host} SIP/2.0", name, ends, "1 CANCEL"))
            hops.append(sip(gone + MS, back, "SIP/2.0 487 Request Terminated", name, tagged, "1 INVITE"))
    first = EPOCH_NS + 50 * MS if at_once else answer + 20 * MS
    times = EPOCH_NS, first, answer + 30 * S
    near = dialog("inbound-1", ("100", "QUEUE"), (caller[0], queue[0]), (caller, queue), times)
    messages = [*near, *hops]
    if session_id:
        messages = [
            dataclasses.replace(
                message, payload=message.payload.replace(b"Via:", header.encode() + b"Via:", 1)
            )
            if message.payload.startswith(b"INVITE")
            else message
            for message in messages
        ]
    packets = [
        packet
        for number, flow in enumerate(both_ways(caller, queue))
        for packet in spoken(flow, first + S, voice(number, 2), number)
    ]
    (call,) = calls_of(packets, messages)
    assert call.description is not None
    said = call.description
    assert (said.caller_number, said.called_number) == ("100", f"agent{agents - 1}")
    assert said.called_numbers == ["QUEUE", *(f"agent{number}" for number in range(agents))]
    assert not call.one_way


@varied
@given(st.booleans(), st.integers(2, 3), st.integers(1, 60), st.booleans())
def test_a_call_that_began_before_the_capture_has_its_sides(
    by_called: bool, number: int, other: int, ended_by_caller: bool
) -> None:
    """What the requests' numbers prove: a 1 is the called's, a 2 the caller's when the called counts otherwise."""
    other = other if other not in (2, 3) else 1
    caller, called = ("10.1.0.1", 10000), ("10.2.0.1", 20000)
    ends = "<sip:100@10.1.0.1>;tag=xx", "<sip:200@10.2.0.1>;tag=yy"
    start = EPOCH_NS + 3 * S

    def request(at: int, from_called: bool, method: str, body: str = "") -> Message:
        route = (called[0], caller[0]) if from_called else (caller[0], called[0])
        count = other if from_called else number
        return sip(
            at,
            route,
            f"{method} sip:x@y SIP/2.0",
            "mid",
            ends[::-1] if from_called else ends,
            f"{count} {method}",
            body,
        )

    mine, theirs = (called, caller) if by_called else (caller, called)
    route = (theirs[0], mine[0])
    answer_ends = ends[::-1] if by_called else ends
    count = other if by_called else number
    messages = [
        request(start, by_called, "INVITE", sdp(mine)),
        sip(start + 10 * MS, route, "SIP/2.0 200 OK", "mid", answer_ends, f"{count} INVITE", sdp(theirs)),
        request(start + 5 * S, not ended_by_caller if by_called else ended_by_caller, "BYE"),
    ]
    packets = [
        packet
        for way, flow in enumerate(both_ways(caller, called))
        for packet in spoken(flow, EPOCH_NS, voice(way, 6), way)
    ]
    (call,) = calls_of(packets, messages)
    assert call.description is not None
    proved = by_called or not ended_by_caller or other == 1
    if by_called and not ended_by_caller:
        proved = other == 1  # the caller never asked for anything
    if proved:
        assert (call.description.caller_number, call.description.called_number) == ("100", "200")
        assert call.caller.streams[0].flow.source == caller[0]
    assert call.description.begun_before
    assert call.sides_inferred
    assert call.end_ns - call.start_ns >= 5.9 * S


@varied
@given(st.integers(0, 2000), st.integers(0, 2000), st.booleans(), st.integers(2, 2), networks)
def test_both_directions_to_one_recorder_are_one_call(
    begin_ms: int, end_ms: int, one_host: bool, apart: int, network: Network
) -> None:
    sources = [("10.0.0.1", 20000), ("10.0.0.1" if one_host else "10.0.0.2", 20002)]
    packets = spoken(Flow(*sources[0], "10.9.9.9", 40000), EPOCH_NS, voice(1, 10), 1, network)
    payloads = voice(2, 10 - begin_ms / 1000 - end_ms / 1000)
    packets += spoken(
        Flow(*sources[1], "10.9.9.9", 40000 + apart), EPOCH_NS + begin_ms * MS, payloads, 2, network
    )
    (call,) = calls_of(packets)
    assert not call.one_way
    assert call.guesses


@varied
@given(st.booleans(), st.booleans(), st.integers(0, 900))
def test_a_phone_s_built_in_bridge_is_one_call(far_first: bool, refci: bool, offset_ms: int) -> None:
    phone, recorder, manager = "10.0.0.1", "10.8.8.8", "10.0.0.20"
    packets: list[Packet] = []
    messages: list[Message] = []
    for number, end in enumerate(("farend", "nearend") if far_first else ("nearend", "farend")):
        start = EPOCH_NS + number * offset_ms * MS
        mine, there = (phone, 24000 + 2 * number), (recorder, 50000 + 2 * number)
        more = f"x-{end};x-nearendaddr=1001;x-farendaddr=2002" + (";x-refci=27298698" if refci else "")
        times = start, start + S, start + 12 * S
        part = dialog(f"bib{number}", ("1001", "9999"), (manager, recorder), (mine, there), times)
        messages += [
            dataclasses.replace(m, payload=m.payload.replace(b"@10.0.0.20>", f"@10.0.0.20;{more}>".encode()))
            for m in part
        ]
        packets += spoken(Flow(*mine, *there), start + S + S // 5, voice(end == "farend", 5), number)
    (call,) = calls_of(packets, messages)
    assert call.description is not None
    assert (call.description.caller_number, call.description.called_number) == ("1001", "2002")
    first = [leg.columns.data[leg.columns.offset[0] :][:160].tobytes() for leg in call.legs]
    assert first == [voice(0, 1)[0], voice(1, 1)[0]]


@varied
@given(st.permutations(["host", "srflx", "relay"]), st.integers(1, 60000), networks)
def test_media_between_ice_candidates_is_the_call_s(kinds: list[str], port: int, network: Network) -> None:
    pairs = {"host": ("10.0.0.", port), "srflx": ("198.51.100.", 1024), "relay": ("203.0.113.", 3478)}
    used = kinds[0]
    sockets: list[Socket] = [(f"{pairs[used][0]}{side}", pairs[used][1] + side) for side in (1, 2)]
    named: tuple[Socket, Socket] = ("203.0.113.1", 3479), ("203.0.113.2", 3480)
    messages: list[Message] = []
    part = dialog(
        "ice", ("1001", "2002"), ("10.0.0.1", "10.0.0.2"), named, (EPOCH_NS, EPOCH_NS + S, EPOCH_NS + 9 * S)
    )
    for side, message in enumerate(part[:2], 1):
        lines = "".join(
            f"a=candidate:{index} 1 UDP 1 {pairs[kind][0]}{side} {pairs[kind][1] + side} typ {kind}\r\n"
            for index, kind in enumerate(kinds)
        ).encode()
        head, body = message.payload.split(b"\r\n\r\n", 1)
        length = f"Content-Length: {len(body) + len(lines)}".encode()
        head = b"\r\n".join(
            length if row.startswith(b"Content-Length") else row for row in head.split(b"\r\n")
        )
        messages.append(dataclasses.replace(message, payload=head + b"\r\n\r\n" + body + lines))
    packets = [
        packet
        for way, flow in enumerate(both_ways(*sockets))
        for packet in spoken(flow, EPOCH_NS + S, voice(way, 3), way, network)
    ]
    (call,) = calls_of(packets, [*messages, part[2]])
    assert names([call]) == ["ice"]
    assert call.caller.streams[0].flow.source == sockets[0][0]
    assert not call.one_way


@varied
@given(offsets, st.booleans(), st.text("0123456789", min_size=1, max_size=3))
def test_calls_held_to_one_music_server_and_call_ids_that_begin_alike_stay_apart(
    offset: int, music: bool, suffix: str
) -> None:
    group = ("239.1.1.1", 16384) if music else ("10.7.7.7", 16384)
    packets: list[Packet] = []
    messages: list[Message] = []
    for number, name in enumerate(("10000001", "10000001" + suffix)):
        start = EPOCH_NS + number * offset * MS
        one, other = (f"10.1.0.{number}", 10000), (f"10.2.0.{number}", 20000)
        part = dialog(
            name,
            (f"10{number}", f"20{number}"),
            (one[0], other[0]),
            (one, other),
            (start, start + S, start + 20 * S),
        )
        ends = f"<sip:20{number}@{other[0]}>;tag=t{name}", f"<sip:10{number}@{one[0]}>;tag=f{name}"
        hold = start + 4 * S
        messages += [
            *part,
            sip(
                hold,
                (other[0], one[0]),
                "INVITE sip:x@y SIP/2.0",
                name,
                ends,
                "5 INVITE",
                sdp(group, "a=sendonly"),
            ),
            sip(hold + MS, (one[0], other[0]), "SIP/2.0 200 OK", name, ends, "5 INVITE", sdp(one)),
        ]
        for way, flow in enumerate(both_ways(one, other)):
            packets += spoken(flow, start + S, voice(2 * number + way, 6), 2 * number + way)
    calls = calls_of(packets, messages)
    assert names(calls) == ["10000001", "10000001" + suffix]
    assert not any(call.one_way or call.aside for call in calls)


@varied
@given(st.integers(1, 2000), st.booleans(), networks)
def test_a_second_hop_is_linked_and_a_shared_server_s_calls_are_not(
    apart_ms: int, relayed: bool, network: Network
) -> None:
    """Calls 100→200 and 101→201 over one relay that uses one audio socket for all, both waiting at one time."""
    packets: list[Packet] = []
    messages: list[Message] = []
    for number in (0, 1):
        start = EPOCH_NS + number * apart_ms * MS
        phone, callee = (f"10.1.0.{number}", 10000), (f"10.2.0.{number}", 20000)
        server: Socket = ("10.5.0.1", 30000)
        parties = f"10{number}", f"20{number}"
        near = dialog(
            f"leg{number}-xyz",
            parties,
            (phone[0], server[0]),
            (phone, server),
            (start, start + 3 * S + 50 * MS, start + 12 * S),
        )
        far = dialog(
            f"q{number}w8e7abc",
            parties,
            (server[0], callee[0]),
            (server, callee),
            (start + 50 * MS, start + 3 * S, start + 12 * S),
        )
        messages += [*near, *far]
        for way, flow in enumerate(both_ways(phone, server)):
            payloads = voice(2 * number + way, 3)
            heard = spoken(flow, start + 4 * S, payloads, 0x100 * number + way, network)
            packets += heard
            if relayed:
                onward = both_ways(server, callee)[way]
                packets += [
                    dataclasses.replace(p, flow=onward, arrival_ns=p.arrival_ns + (MS if way == 0 else -MS))
                    for p in heard
                ]
    calls = calls_of(packets, messages)
    assert names(calls) == ["leg0-xyz", "leg1-xyz"]
    for call in calls:
        assert call.description is not None
        number = int(call.description.call_id[3])
        assert call.description.related == [f"q{number}w8e7abc"]
        assert not call.one_way
        assert {stream.ssrc >> 8 for leg in call.legs for stream in leg.streams} == {number}
        assert call.copies == (2 if relayed else 0)
