from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.scenario.ladder import MS, A, B, Ladder, P, sdp

from callreplay import signalling
from callreplay.model import CallDescription, Message
from callreplay.signalling import heads


@pytest.fixture
def ladder() -> Ladder:
    return Ladder()


def rows(call: CallDescription) -> list[tuple[str, str, int, list[int], str, int]]:
    return [
        (row.side, row.address, row.port, list(row.payload_types), row.direction, row.valid_from_ns // MS)
        for row in call.media
    ]


def test_plain_call(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000, "0 8"))
    ladder.reply("100 Trying", tag="")
    ladder.reply("180 Ringing")
    ladder.reply("200 OK", sdp(B, 5000, "8"))
    ladder.ack()
    ladder.add("BYE", "2 BYE", swap=True, route=(B, A), gap_ms=5000)
    ladder.add("SIP/2.0 200 OK", "2 BYE", swap=True)
    call = ladder.call()
    assert (call.call_id, call.protocol, call.status) == ("abcdef@a", "sip", "answered")
    assert (call.caller_number, call.called_number) == ("100", "200")
    assert (call.caller_address, call.called_address) == (A, B)
    assert (call.start_ns, call.answer_ns, call.end_ns) == (1010 * MS, 1040 * MS, 6050 * MS)
    assert rows(call) == [
        ("caller", A, 4000, [0, 8], "sendrecv", 1010),
        ("called", B, 5000, [8], "sendrecv", 1040),
    ]


def test_retransmissions_and_a_second_tap_add_nothing(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.ack()
    ladder.add("BYE", "2 BYE", gap_ms=1000)
    once = ladder.call()
    twice = signalling.describe(sorted(ladder.messages * 2, key=lambda message: message.arrival_ns))
    assert twice == [once]


def test_delayed_offer(ladder: Ladder) -> None:
    ladder.invite("")
    ladder.reply("200 OK", sdp(B, 5000, "0 8"))
    ladder.ack(sdp(A, 4000, "8"))
    assert [(row.side, row.port) for row in ladder.call().media] == [("called", 5000), ("caller", 4000)]


def test_early_media_and_reliable_provisional(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("183 Session Progress", sdp(B, 5000), headers="Require: 100rel\r\nRSeq: 1\r\n")
    ladder.add("PRACK", "2 PRACK")
    ladder.reply("200 OK", cseq="2 PRACK")
    ladder.reply("200 OK", sdp(B, 5000))
    call = ladder.call()
    assert call.answer_ns == 1050 * MS
    assert rows(call)[1] == ("called", B, 5000, [0], "sendrecv", 1020)
    assert len(call.media) == 2


def test_reinvite_from_the_called_side_keeps_the_sides(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.ack()
    ladder.add("INVITE", "7 INVITE", body=sdp(B, 5002, "8"), swap=True, route=(B, A))
    ladder.add("SIP/2.0 200 OK", "7 INVITE", body=sdp(A, 4002, "8"), swap=True)
    call = ladder.call()
    assert (call.caller_number, call.answer_ns) == ("100", 1020 * MS)
    assert rows(call)[2:] == [
        ("called", B, 5002, [8], "sendrecv", 1040),
        ("caller", A, 4002, [8], "sendrecv", 1050),
    ]


@pytest.mark.parametrize(
    ("hold", "direction"),
    [
        (sdp(A, 4000, extra="a=sendonly\r\n"), "sendonly"),
        (sdp(A, 4000, extra="a=inactive\r\n"), "inactive"),
        (sdp("0.0.0.0", 4000), "sendonly"),
    ],
)
def test_hold_and_retrieve(ladder: Ladder, hold: str, direction: str) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.add("INVITE", "2 INVITE", body=hold)
    ladder.reply("200 OK", sdp(B, 5000, extra="a=recvonly\r\n"), cseq="2 INVITE")
    ladder.add("INVITE", "3 INVITE", body=sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000), cseq="3 INVITE")
    mine = [
        (address, port, way) for side, address, port, _, way, _ in rows(ladder.call()) if side == "caller"
    ]
    assert mine == [(A, 4000, "sendrecv"), (A, 4000, direction), (A, 4000, "sendrecv")]


def test_update_and_session_refresh(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.add("INVITE", "2 INVITE", body=sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000), cseq="2 INVITE")
    ladder.add("UPDATE", "3 UPDATE", body=sdp(A, 4010))
    ladder.reply("200 OK", sdp(B, 5000), cseq="3 UPDATE")
    assert [row.port for row in ladder.call().media] == [4000, 5000, 4010]


def test_refused_reinvite_changes_nothing(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.add("INVITE", "2 INVITE", body=sdp(A, 4002, "9"))
    ladder.reply("488 Not Acceptable Here", cseq="2 INVITE")
    ladder.add("INVITE", "3 INVITE", body=sdp(A, 4000))
    call = ladder.call()
    assert [row.port for row in call.media] == [4000, 5000]
    assert call.status == "answered"


def test_authentication_round_trip(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("407 Proxy Authentication Required")
    ladder.ack()
    ladder.invite(sdp(A, 4000), cseq=2, headers="Proxy-Authorization: Digest x\r\n")
    ladder.reply("200 OK", sdp(B, 5000), cseq="2 INVITE", tag="C")
    call = ladder.call()
    assert (call.status, call.start_ns, call.answer_ns) == ("answered", 1010 * MS, 1050 * MS)
    assert [row.port for row in call.media] == [4000, 5000]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("486 Busy Here", "failed 486 Busy Here"),
        ("401 Unauthorized", "failed 401 Unauthorized"),
        ("302 Moved Temporarily", "redirected 302 Moved Temporarily"),
        ("603 Decline", "failed 603 Decline"),
    ],
)
def test_failures_are_kept(ladder: Ladder, answer: str, status: str) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply(answer)
    ladder.ack()
    call = ladder.call()
    assert (call.status, call.answer_ns, call.end_ns) == (status, 0, 1020 * MS)


def test_cancel(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("180 Ringing")
    ladder.add("CANCEL", "1 CANCEL", tags=("A", ""))
    ladder.reply("200 OK", cseq="1 CANCEL")
    ladder.reply("487 Request Terminated")
    call = ladder.call()
    assert (call.status, call.answer_ns, call.end_ns) == ("cancelled", 0, 1050 * MS)


def test_unanswered_at_the_end_of_the_capture(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("180 Ringing")
    assert (ladder.call().status, ladder.call().end_ns) == ("unanswered", 0)


def test_forked_answers(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("183 Session Progress", sdp(B, 5000), tag="B1")
    ladder.reply("183 Session Progress", sdp("10.0.0.3", 6000), tag="B2")
    ladder.reply("200 OK", sdp("10.0.0.3", 6000), tag="B2")
    ladder.reply("200 OK", sdp(B, 5000), tag="B1")
    ladder.add("BYE", "2 BYE", tags=("A", "B1"))
    ladder.reply("486 Busy Here", tag="B3")
    ladder.add("BYE", "3 BYE", tags=("A", "B2"), gap_ms=4000)
    call = ladder.call()
    assert call.status == "answered"
    assert call.end_ns == 5070 * MS
    assert {(row.address, row.port) for row in call.media} == {(A, 4000), (B, 5000), ("10.0.0.3", 6000)}


def test_same_call_id_on_two_hops_with_rewritten_media(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.add("INVITE", "1 INVITE", body=sdp(P, 7000), tags=("A", ""), route=(P, B))
    ladder.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(B, 5000), route=(B, P))
    ladder.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(P, 7002), route=(P, A))
    call = ladder.call()
    assert [(row.side, row.address, row.port) for row in call.media] == [
        ("caller", A, 4000),
        ("caller", P, 7000),
        ("called", B, 5000),
        ("called", P, 7002),
    ]


def test_identities(ladder: Ladder) -> None:
    ladder.caller = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    ladder.invite(
        sdp(A, 4000),
        headers='Remote-Party-ID: "R" <sip:555@a>;party=calling\r\n'
        'P-Asserted-Identity: "Zo\u00eb" <sip:zoe@a>, <tel:+3712345>\r\n',
    )
    ladder.reply("200 OK", sdp(B, 5000), headers='P-Asserted-Identity: "Bob Desk" <sip:299@b>\r\n')
    call = ladder.call()
    assert (call.caller_number, call.called_number, call.called_name) == ("+3712345", "200", "Bob Desk")
    assert call.caller_name == "Zoë"


def test_transfer(ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.add("REFER", "2 REFER", headers="Refer-To: <sip:300@b.example?Replaces=x>\r\n")
    assert ladder.call().transferred_to == "300"


def test_several_streams_and_encryption(ladder: Ladder) -> None:
    extra = (
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\nm=video 4002 RTP/AVP 99\r\nm=audio 4004 RTP/AVP 8\r\n"
    )
    ladder.invite(sdp(A, 4000, extra=extra, profile="RTP/SAVP"))
    call = ladder.call()
    assert [(row.port, row.encrypted, len(row.crypto)) for row in call.media] == [
        (4000, True, 1),
        (4004, False, 0),
    ]


def test_capture_that_begins_inside_a_call(ladder: Ladder) -> None:
    ladder.add("INVITE", "5 INVITE", body=sdp(A, 4000))
    ladder.reply("200 OK", sdp(B, 5000), cseq="5 INVITE")
    call = ladder.call()
    assert [row.side for row in call.media] == ["caller", "called"]
    assert call.status == "answered"


def test_call_id_used_again() -> None:
    first, second = Ladder(), Ladder(start_ms=60_000)
    for ladder in (first, second):
        ladder.invite(sdp(A, 4000))
        ladder.reply("200 OK", sdp(B, 5000))
        ladder.add("BYE", "2 BYE")
    later = [
        Message(m.protocol, m.arrival_ns, m.flow, m.transport, m.payload.replace(b"tag=A", b"tag=Z"))
        for m in second.messages
    ]
    calls = signalling.describe(first.messages + later)
    assert [call.start_ns // MS for call in calls] == [1010, 60_010]
    assert all(call.end_ns for call in calls)


@pytest.mark.parametrize("apart_s", [2, 40])
def test_call_id_used_again_with_the_same_tag(apart_s: int) -> None:
    first, second = Ladder(), Ladder(start_ms=3000 + apart_s * 1000)
    for cseq, ladder in ((1, first), (5, second)):
        ladder.invite(sdp(A, 4000), cseq=cseq)
        ladder.reply("200 OK", sdp(B, 5000), cseq=f"{cseq} INVITE")
        ladder.add("BYE", f"{cseq + 1} BYE")
    calls = signalling.describe(first.messages + second.messages)
    assert [call.start_ns // MS for call in calls] == [1010, 3010 + apart_s * 1000]
    assert all(call.end_ns and call.answer_ns for call in calls)


def test_call_id_used_again_where_the_bye_was_lost() -> None:
    first, second = Ladder(), Ladder(start_ms=60_000)
    for ladder in (first, second):
        ladder.invite(sdp(A, 4000))
        ladder.reply("200 OK", sdp(B, 5000))
    later = [
        Message(m.protocol, m.arrival_ns, m.flow, m.transport, m.payload.replace(b"tag=A", b"tag=Z"))
        for m in second.messages
    ]
    assert len(signalling.describe(first.messages + later)) == 2


def test_every_number_that_was_called_is_kept(ladder: Ladder) -> None:
    """A proxy that rings one phone after another under one Call-ID, and who was connected in the end."""
    for number in ("201", "202"):
        ladder.invite(sdp(A, 4000))
        ladder.messages[-1] = Message(
            "sip",
            ladder.messages[-1].arrival_ns,
            ladder.messages[-1].flow,
            "udp",
            ladder.messages[-1].payload.replace(b"INVITE sip:200@", f"INVITE sip:{number}@".encode()),
        )
    ladder.reply("200 OK", sdp(B, 5000), headers='P-Asserted-Identity: "Bob" <sip:299@b>\r\n')
    call = ladder.call()
    assert (call.called_number, call.called_numbers) == ("200", ["200", "201", "202", "299"])


def b2bua(**outbound: str) -> list[Message]:
    near, far = Ladder("near-side@a"), Ladder(outbound.get("call_id", "far-side@p"), 1100)
    near.invite(sdp(A, 4000), headers=outbound.get("near", ""))
    far.caller = "<sip:100@p.example>"
    body = sdp(A, 4000) if outbound.get("pass_media") else sdp(P, 7000)
    far.add("INVITE", "1 INVITE", body=body, tags=("F", ""), route=(P, B), headers=outbound.get("far", ""))
    far.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(B, 5000), tags=("F", "G"), route=(B, P))
    near.time_ms = far.time_ms
    near.reply("200 OK", sdp(P, 7002))
    far.add("BYE", "2 BYE", tags=("F", "G"), route=(P, B), gap_ms=9000)
    near.add("BYE", "2 BYE", gap_ms=9010)
    return sorted(near.messages + far.messages, key=lambda message: message.arrival_ns)


@pytest.mark.parametrize(
    "outbound",
    [
        {"far": "X-Original-Call-ID: near-side@a\r\n"},
        {"call_id": "near-side@a_b2b-1"},
        {
            "near": "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n",
            "far": "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n",
        },
        {"pass_media": "yes"},
    ],
)
def test_b2bua_sides_are_one_call(outbound: dict[str, str]) -> None:
    calls = signalling.describe(b2bua(**outbound))
    far_id = outbound.get("call_id", "far-side@p")
    assert {call.call_id: call.related for call in calls} == {
        "near-side@a": [far_id],
        far_id: ["near-side@a"],
    }
    (whole,) = signalling.merge_related(calls)
    assert (whole.call_id, whole.related, whole.status) == ("near-side@a", [far_id], "answered")
    assert (whole.caller_address, whole.called_address) == (A, B)
    sides = {(row.address, row.port): row.side for row in whole.media}
    assert sides[A, 4000] == "caller"
    assert sides[B, 5000] == sides[P, 7002] == "called"


def test_strangers_are_not_joined() -> None:
    calls = signalling.describe(b2bua())
    assert [call.related for call in calls] == [[], []]
    assert signalling.merge_related(calls) == calls


def test_sip_dtmf2(capture: Callable[[str], list[Message]]) -> None:
    refused, call = signalling.describe(capture("SIP_DTMF2.cap"))
    assert (refused.status, refused.media) == ("failed 603 Decline", [])
    assert (call.caller_number, call.called_number, call.status) == ("2502", "2504", "answered")
    assert [(row.side, row.port, row.ptime_ms) for row in call.media] == [
        ("called", 4376, 30.0),
        ("caller", 4374, 30.0),
    ]
    assert call.media[1].payload_types[96].kind == "event"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sip-rtp-g711.pcap", [("sipp", "test", 2, True), ("sipp", "test", 2, False)]),
        ("sip-rtp-g729a.pcap", [("sipp", "test", 2, True)]),
        ("rtp-protocol.pcap", [("MP114.FXS1", "101", 2, True)]),
        ("codec-negotiation.pcap", [("alice", "bob", 4, True)]),
        ("register-invite-reinvite-bye.pcap", [("alice", "bob", 4, True)]),
    ],
)
def test_real_calls(
    capture: Callable[[str], list[Message]], name: str, expected: list[tuple[str, str, int, bool]]
) -> None:
    calls = signalling.describe(capture(name))
    found = [(call.caller_number, call.called_number, len(call.media), bool(call.end_ns)) for call in calls]
    assert found == expected
    assert {call.status for call in calls} == {"answered"}


def test_codec_negotiation_changes_codec_in_call(capture: Callable[[str], list[Message]]) -> None:
    (call,) = signalling.describe(capture("codec-negotiation.pcap"))
    assert [
        [str(codec) for codec in row.payload_types.values()] for row in call.media if row.side == "called"
    ] == [
        ["PCMU/8000"],
        ["G722/8000"],
    ]


def test_the_same_octets_again_are_known_before_they_are_read(
    ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two taps, or a retransmission: the same calls and the same faults as by reading all of it again."""
    ladder.invite(sdp(A, 4000))
    ladder.reply("180 Ringing")
    ladder.reply("200 OK", sdp(B, 5000))
    ladder.ack()
    ladder.add("BYE", "2 BYE")
    said = [
        replace(message, payload=message.payload.replace(b"CSeq", b"no header line\r\nCSeq"))
        if message.payload.startswith(b"BYE")
        else message
        for message in ladder.messages
    ]
    twice = [
        each for message in said for each in (message, replace(message, arrival_ns=message.arrival_ns + MS))
    ]
    known, read = Counter[str](), Counter[str]()
    calls = signalling.describe(twice, known)
    monkeypatch.setattr(heads, "call_id", lambda data: None)
    assert repr(signalling.describe(twice, read)) == repr(calls)
    assert known == read == {"sip: message seen before": 5, "sip: bad header line": 2}
    assert [call.status for call in calls] == ["answered"]
